"""A decision turns probabilities into masks, slice by slice or scan by scan, with the same result to the last bit."""

from __future__ import annotations

import threading
from itertools import chain

import numpy as np
import pytest
import torch

from gisegkit.build.experiment import Experiment
from gisegkit.components.postprocess.islands import MinArea
from gisegkit.engine.decision import Decision, decide_scans, decide_slices, one_class, slices_of
from gisegkit.engine.predictor import ScanProbabilities, SliceProbabilities, probabilities_of
from gisegkit.errors import ComponentError
from gisegkit.plugins import load_plugins
from gisegkit.recipe.sections import ComponentSpec
from gisegkit.registry.adder import Adder
from gisegkit.registry.kinds import Owner


class Keep:
    """A step that changes nothing."""

    def __init__(self, stage):
        self.stage = stage

    def __call__(self, name):
        return name


def test_decision_applies_steps_before_and_after_the_threshold():
    class Halve:
        stage = "probabilities"

        def __call__(self, name):
            return name / 2

    probabilities = np.zeros((1, 8, 8, 1), np.float32)
    probabilities[0, :3, :3] = 1.0
    probabilities[0, 7, 7] = 1.0
    assert Decision(0.5)(probabilities).sum() == 10
    assert Decision(0.5, (MinArea(pixels=4),))(probabilities).sum() == 9
    assert Decision(0.51, (MinArea(pixels=4), Halve()))(probabilities).sum() == 0


# --- exclusive classes ----------------------------------------------------------------------------------------------


def test_a_decision_between_exclusive_classes_takes_the_most_probable_of_classes_and_background():
    decide = Decision(0.5, exclusive=True)
    logits = torch.randn(2, 3, 9, 11, generator=torch.Generator().manual_seed(0))
    probabilities = probabilities_of(logits, exclusive=decide.exclusive)
    background = torch.zeros(2, 1, 9, 11)
    assert torch.allclose(probabilities, torch.cat([background, logits], 1).softmax(1)[:, 1:])
    masks = decide(probabilities.permute(0, 2, 3, 1).numpy())
    expected = torch.cat([background, logits], 1).argmax(1).numpy()  # 0 is the background
    assert (masks.sum(-1) <= 1).all()
    assert np.array_equal(np.where(masks.any(-1), masks.argmax(-1) + 1, 0), expected)
    assert Decision(0.9, exclusive=True)(probabilities.permute(0, 2, 3, 1).numpy()).sum() < masks.sum()


def test_classes_that_may_overlap_are_decided_one_by_one():
    logits = torch.tensor([2.0, 1.0, -1.0]).view(1, 3, 1, 1)
    decide = Decision(0.5)
    assert torch.allclose(probabilities_of(logits, exclusive=decide.exclusive), logits.sigmoid())
    probabilities = probabilities_of(logits, exclusive=False)
    assert decide(probabilities.permute(0, 2, 3, 1).numpy()).tolist() == [[[[True, True, False]]]]


@pytest.mark.parametrize("exclusive", [False, True])
def test_slice_by_slice_is_bit_for_bit_what_the_formula_says_of_the_scan(exclusive):
    """With thresholds that are values themselves, so that the last bit decides."""
    rng = np.random.default_rng(3)
    logits = torch.from_numpy(rng.normal(size=(6, 20, 17, 13)).astype(np.float32))
    values = probabilities_of(logits, exclusive=exclusive).permute(0, 2, 3, 1).contiguous().numpy()
    for threshold in rng.choice(values.reshape(-1), 5).tolist():
        decide = Decision(threshold, exclusive=exclusive)
        expected = values >= threshold
        if exclusive:
            background = 1 - values.sum(-1, keepdims=True)
            first = values.argmax(-1)[..., None] == np.arange(20)
            expected = first & (values >= threshold * (values + background))
        assert np.array_equal(decide(values), expected)
        transposed = [value.transpose(2, 0, 1).copy().transpose(1, 2, 0) for value in values]
        assert np.array_equal(np.stack([decide.cut(value) for value in transposed]), expected)


@pytest.mark.parametrize("stage", ["mask", "probability", "Masks", "", None, 3, ["masks"]])
def test_a_step_of_an_unknown_stage_is_refused_and_not_left_out(stage):
    with pytest.raises(ComponentError, match=r"post-processing step \S*Keep has stage = .*'probabilities' or 'masks'"):
        Decision(0.5, (Keep("masks"), Keep(stage)))


def test_a_step_without_a_stage_is_refused():
    with pytest.raises(ComponentError, match="stage = None"):
        Decision(0.5, (lambda name: name,))


def test_a_recipe_with_such_a_step_is_refused_with_its_plugin(recipe):
    plugins = load_plugins(selection="none")
    adder = Adder(Owner("giseg-late", "0.1"))
    adder.postprocess("late", Late)
    for component in adder.components:
        plugins.registries[component.kind].add(component)
    late = ComponentSpec("postprocess", "late", place="x:7")
    chosen = recipe().with_components(postprocess=(*recipe().postprocess, late))
    with pytest.raises(ComponentError, match=r"^x:7: postprocess 'late' of giseg-late 0\.1 has stage = 'mask'"):
        _ = Experiment(chosen, plugins.registries).decision


class Late:
    """A step whose stage is misspelled."""

    stage = "mask"

    def __call__(self, name):
        return name


# --- streams --------------------------------------------------------------------------------------------------------


def slice_of(row, *, labelled=True):
    """Random probabilities [9, 7, 2] of a row, and a truth that is told apart by its row."""
    values = np.random.default_rng(row).random((9, 7, 2), dtype=np.float32)
    return SliceProbabilities(row, values, np.full((9, 7, 2), row % 2, np.uint8) if labelled else None)


def stream():
    """Two labelled scans of 4 and 2 slices, then one of 3 without labels."""
    for name, rows in (("a", range(4)), ("b", range(4, 6)), ("c", range(6, 9))):
        yield ScanProbabilities(name, list(rows), (slice_of(row, labelled=name != "c") for row in rows))


class Invert:
    stage = "masks"

    def __call__(self, name):
        return ~name


STEPS = [(), (Invert(),), (Keep("probabilities"),), (Keep("probabilities"), Invert())]


@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("threads", [0, 3])
@pytest.mark.parametrize("exclusive", [False, True])
@pytest.mark.parametrize("kept", [False, True])
def test_slices_and_scans_are_decided_alike(steps, threads, exclusive, kept):
    decide = Decision(0.4, steps, exclusive=exclusive)
    scans = list(decide_scans(stream(), decide, threads=threads, probabilities=kept))
    slices = list(decide_slices(stream(), decide, threads=threads, probabilities=kept))
    assert [(item.scan, item.row) for item in slices] == [*[("a", n) for n in range(4)], ("b", 4), ("b", 5)] + [
        ("c", n) for n in range(6, 9)
    ]
    for item, other in zip(slices, chain.from_iterable(map(slices_of, scans)), strict=True):
        values = slice_of(item.row).values
        expected = Decision(0.4, exclusive=exclusive).cut(values)
        if any(isinstance(step, Invert) for step in steps):
            had = expected.copy()
            expected = ~had
            if exclusive:  # a pixel of no class would get both, and so gets the first
                expected[~had.any(-1)] = [True, False]
        assert np.array_equal(item.prediction, expected)
        assert np.array_equal(item.prediction, other.prediction)
        for found in (item, other):
            assert (found.truth is None) == (item.scan == "c")
            assert found.truth is None or (found.truth == item.row % 2).all()
            assert (found.probabilities is not None) == kept
            assert not kept or np.array_equal(found.probabilities, values)


@pytest.mark.parametrize("steps", STEPS)
def test_a_stream_that_is_left_early_is_closed_and_leaves_no_thread(steps):
    closed = []

    def watched():
        try:
            yield from stream()
        finally:
            closed.append(True)

    for decide in (decide_scans, decide_slices):
        decided = decide(watched(), Decision(0.5, steps), threads=3)
        next(decided)
        decided.close()
        assert closed.pop() and not [t for t in threading.enumerate() if t.name.startswith("giseg")]


def test_slices_are_decided_one_by_one_where_no_step_wants_the_scan():
    """The first slice comes before the second is predicted."""
    seen = []

    def watched():
        yield ScanProbabilities("a", [0, 1], (seen.append(row) or slice_of(row) for row in range(2)))

    decided = decide_slices(watched(), Decision(0.5))
    assert next(decided).row == 0 and seen == [0]
    assert next(decide_slices(watched(), Decision(0.5, (Invert(),)))).row == 0 and seen == [0, 0, 1]


def test_the_slices_of_a_scan_come_once():
    scan = next(stream())
    assert len(scan) == len(list(scan)) == 4
    with pytest.raises(RuntimeError, match="the slices of scan a have gone by"):
        iter(scan)
    other = next(stream())
    other.skip()
    with pytest.raises(RuntimeError, match="gone by"):
        other.whole()


# --- classes by themselves, and slices by themselves ------------------------------------------------------------------


@pytest.mark.parametrize("exclusive", [False, True])
def test_each_class_may_have_a_threshold_of_its_own(exclusive):
    values = np.random.default_rng(1).dirichlet(np.ones(4), (9, 7)).astype(np.float32)[..., :3]
    found = Decision((0.2, 0.5, 0.3), exclusive=exclusive).cut(values)
    for k, threshold in enumerate((0.2, 0.5, 0.3)):
        assert np.array_equal(found[..., k], Decision(threshold, exclusive=exclusive).cut(values)[..., k])
    assert np.array_equal(
        Decision((0.4, 0.4, 0.4), exclusive=exclusive).cut(values), Decision(0.4, exclusive=exclusive).cut(values)
    )


@pytest.mark.parametrize("exclusive", [False, True])
@pytest.mark.parametrize("steps", STEPS[::2])
def test_a_class_stays_in_a_slice_only_where_it_is_present(exclusive, steps):
    """The highest probabilities are 0.5 and 0.45; a presence that is just reached keeps the class."""
    values = np.full((2, 4, 5, 2), 0.25, np.float32)
    values[0, 1, 1] = 0.5, 0.1
    values[1, 2, 2] = 0.1, 0.45
    plain = Decision(0.2, steps, exclusive=exclusive)(values)
    assert plain.any((1, 2)).tolist() == [[True, not exclusive], [True, True]]
    found = Decision(0.2, steps, exclusive=exclusive, presence=(0.5, 0.45))(values)
    assert found.any((1, 2)).tolist() == [[True, False], [False, True]]
    assert np.array_equal(found[0, ..., 0], plain[0, ..., 0]) and np.array_equal(found[1, ..., 1], plain[1, ..., 1])
    assert not Decision(0.2, steps, exclusive=exclusive, presence=0.51)(values).any()
    assert np.array_equal(Decision(0.2, steps, exclusive=exclusive, presence=0.25)(values), plain)


class Seen:
    """Takes the first row of each slice away, and remembers the depths that it was called with."""

    def __init__(self, stage, unit):
        self.stage, self.unit, self.depths = stage, unit, []

    def __call__(self, name):
        self.depths.append(len(name))
        result = name.copy()
        result[:, 0] = 0
        return result


@pytest.mark.parametrize("threads", [0, 3])
@pytest.mark.parametrize(
    ("units", "depths"),
    [
        ("slice slice", [[1] * 9, [1] * 9]),
        ("scan slice", [[4, 2, 3], [4, 2, 3]]),  # after a scan there is a scan
        ("slice scan", [[1] * 9, [4, 2, 3]]),
    ],
)
@pytest.mark.parametrize("decide", [decide_scans, decide_slices])
def test_a_step_of_slices_is_called_slice_by_slice(units, depths, threads, decide):
    steps = tuple(Seen("masks", unit) for unit in units.split())
    decision = Decision(0.4, steps)
    assert decision.needs_scan == ("scan" in units) and not decision.needs_probabilities
    for item in decide(stream(), decision, threads=threads):
        rows = [item.row] if decide is decide_slices else item.rows
        expected = np.stack([slice_of(row).values for row in rows]) >= 0.4
        expected[:, 0] = False
        assert np.array_equal(item.prediction, expected.squeeze(0) if decide is decide_slices else expected)
    assert [step.depths for step in steps] == depths


def test_probabilities_of_a_scan_are_only_for_steps_of_scans():
    by_slice, by_scan = Seen("probabilities", "slice"), Seen("probabilities", "scan")
    for step, whole in ((by_slice, False), (by_scan, True)):
        decision = Decision(0.4, (step,))
        assert decision.needs_probabilities == decision.needs_scan == whole
        found = np.concatenate([scan.prediction for scan in decide_scans(stream(), decision)])
        expected = np.stack([slice_of(row).values for row in range(9)]) >= 0.4
        expected[:, 0] = False
        assert np.array_equal(found, expected)
    assert by_slice.depths == [1] * 9 and by_scan.depths == [4, 2, 3]


def test_what_a_step_fills_takes_no_pixel_of_another_exclusive_class():
    before = np.zeros((2, 1, 4, 3), bool)
    before[0, 0, 1, 2] = True  # has the last class
    after = before.copy()
    after[0, 0, 1, 0] = after[0, 0, 2, 1] = after[1, 0, 3, 1:] = True
    expected = before.copy()
    expected[0, 0, 2, 1] = True  # nothing was there
    expected[1, 0, 3, 1] = True  # the first of two
    assert np.array_equal(one_class(before, after), expected)


def test_streams_of_two_networks_can_be_mixed_and_gated_before_they_are_decided():
    """What ensembles and gates will do: a mean of two streams, and classes emptied that a third one does not see."""

    def mixed(first, second, gate):
        for scans in zip(first, second, gate, strict=True):
            yield ScanProbabilities(scans[0].name, scans[0].rows, map(mix, *scans))

    def mix(first, second, gate):
        seen = gate.values.max((0, 1)) >= 0.995
        return SliceProbabilities(first.row, (3 * first.values + second.values) / 4 * seen, first.truth)

    def other():
        for scan in stream():
            inverted = (item._replace(values=1 - item.values) for item in scan)
            yield ScanProbabilities(scan.name, scan.rows, inverted)

    found = list(decide_slices(mixed(stream(), other(), stream()), Decision(0.6), threads=2))
    assert [item.row for item in found] == list(range(9))
    gated = 0
    for item in found:
        values = slice_of(item.row).values
        seen = values.max((0, 1)) >= 0.995
        gated += (~seen).sum()
        assert np.array_equal(item.prediction, ((3 * values + (1 - values)) / 4 >= np.float32(0.6)) & seen)
    assert 0 < gated < 18
