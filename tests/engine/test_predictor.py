"""Prediction streams whole scans in order, at native size, whatever the batches are."""

from __future__ import annotations

import gc
import threading
import tracemalloc
import weakref

import numpy as np
import pandas as pd
import pytest
import torch

from gisegkit.components.normalizations import Maximum, Unchanged
from gisegkit.data.inputs import Input
from gisegkit.data.preprocess import Preprocess
from gisegkit.data.slices import SliceReader
from gisegkit.engine.decision import Decision, decide_scans
from gisegkit.engine.device import Device, pick_device
from gisegkit.engine.predictor import NetworkPredictor, predict_scans
from gisegkit.engine.scan_shares import Share
from gisegkit.errors import TrainingError


class Squares:
    """Three scans of 5, 1 and 3 slices in two sizes, each slice with one bright square; the last scan unlabelled."""

    classes = ("square",)
    exclusive = True
    dropped = ()

    def __init__(self):
        lengths = [("a", 5, (40, 30)), ("b", 1, (33, 47)), ("c", 3, (40, 30))]
        rows = [(name, position, size) for name, count, size in lengths for position in range(count)]
        self.table = pd.DataFrame(
            {
                "id": [f"{name}{position}" for name, position, _ in rows],
                "scan": [name for name, _, _ in rows],
                "position": [position for _, position, _ in rows],
                "case": [name for name, _, _ in rows],
                "height": [size[0] for _, _, size in rows],
                "width": [size[1] for _, _, size in rows],
                "labelled": [name != "c" for name, _, _ in rows],
                "empty": False,
            }
        )

    def square(self, row):
        entry = self.table.iloc[row]
        image = np.zeros((entry["height"], entry["width"]), np.uint8)
        image[4 + row : 16 + row, 6:20] = 200
        return image

    def image(self, row):
        return self.square(row)

    def mask(self, row):
        return (self.square(row) > 0).astype(np.uint8)[:, :, None]


class Bright(torch.nn.Module):
    """Logits that are high where the image is bright."""

    def forward(self, images):
        return (images[:, :1] - 0.5) * 20


@pytest.fixture
def source():
    dataset = Squares()
    preprocess = Preprocess(Maximum(), (96, 96), "fit", "linear")
    return Input(SliceReader(dataset, slices=1, stride=1, edge="clamp", preprocess=preprocess))


def decided(source, rows, model=None, decide=None, device=None, **options):
    """The stream of decided scans."""
    decide, device = decide or Decision(0.5), device or pick_device("cpu")
    predictor = NetworkPredictor(model or Bright(), device, exclusive=decide.exclusive)
    predicted = predict_scans(predictor, source, rows, **({"batch_size": 2} | options))
    return decide_scans(predicted, decide, threads=device.threads)


def scans(source, rows, batch_size=4, decide=None, **options):
    return list(decided(source, rows, decide=decide, batch_size=batch_size, **options))


@pytest.mark.parametrize("batch_size", [1, 2, 4, 100])
def test_scans_come_whole_in_order_at_native_size(source, batch_size):
    result = scans(source, range(9), batch_size)
    assert [(scan.name, scan.rows) for scan in result] == [("a", [0, 1, 2, 3, 4]), ("b", [5]), ("c", [6, 7, 8])]
    assert [scan.prediction.shape for scan in result] == [(5, 40, 30, 1), (1, 33, 47, 1), (3, 40, 30, 1)]
    assert [scan.truth is None for scan in result] == [False, False, True]


def test_predictions_lie_on_the_squares(source):
    for scan in scans(source, range(9)):
        for d, row in enumerate(scan.rows):
            wrong = (scan.prediction[d, :, :, 0] != (source.dataset.square(row) > 0)).sum()
            assert wrong <= 8  # a square of 12 x 14 pixels may lose its corners to interpolation


def test_rows_may_come_in_any_order(source):
    assert [scan.rows for scan in scans(source, [8, 2, 5, 0])] == [[0, 2], [5], [8]]


@pytest.mark.parametrize("processes", [1, 2, 3, 4, 9])
@pytest.mark.parametrize("rounds", [1, 2])
@pytest.mark.parametrize("batch_size", [1, 4])
def test_shares_are_scans_that_are_predicted_in_the_same_batches(source, batch_size, rounds, processes):
    """So that several processes predict what one does, to the last bit."""

    class Relative(Bright):
        def forward(self, images):
            seen.append(len(images))
            return super().forward(images) + images.mean()  # a slice depends on its batch

    seen = []
    rows = range(1, 9)
    expected = {scan.name: scan for scan in scans(source, rows, batch_size, model=Relative())}
    shares = [Share(number, processes, rounds) for number in range(processes)]
    found = [scans(source, rows, batch_size, model=Relative(), share=share) for share in shares]
    assert sum(map(len, found)) == 3 and (processes == 1 or max(map(len, found)) <= 2)
    for scan in (scan for share in found for scan in share):
        one = expected.pop(scan.name)
        assert one.rows == scan.rows
        assert np.array_equal(one.prediction, scan.prediction)
    assert sum(seen) <= 2 * 8 + 2 * batch_size * 2, "few slices are predicted twice"


def test_no_rows_no_scans(source):
    assert scans(source, []) == []


def test_one_scan_at_a_time(source):
    """The first scan comes before the last slices are read: memory does not grow with the number of scans."""
    read = []
    original = source.dataset.image
    source.dataset.image = lambda row: read.append(row) or original(row)
    stream = decided(source, range(9))
    next(stream)
    assert max(read) < 8
    stream.close()


def test_no_scan_is_held_once_it_is_handed_over(source):
    stream = decided(source, range(9))
    handed_over = [weakref.ref(scan) for scan in stream]
    assert len(handed_over) == 3 and all(scan() is None for scan in handed_over[:2])

    held = []

    class Watch:
        stage = "probabilities"

        def __call__(self, name):
            assert all(other() is None for other in held), "the probabilities of the scan before are gone"
            held.append(weakref.ref(name))
            return name

    stream = decided(source, range(9), decide=Decision(0.5, (Watch(),)))
    for _ in stream:
        assert all(name() is None for name in held)
    assert len(held) == 3


def test_training_mode_comes_back(source):
    model = Bright().train()
    stream = decided(source, range(9), model)
    next(stream)
    assert not model.training
    stream.close()
    assert model.training


# --- probabilities --------------------------------------------------------------------------------------------------


class Noisy(Bright):
    """Bright with dropout, so that a forward pass in training mode is another one each time."""

    def __init__(self):
        super().__init__()
        self.drop = torch.nn.Dropout(0.5)

    def forward(self, images):
        return self.drop(super().forward(images))


@pytest.mark.parametrize("exclusive", [False, True])
def test_a_predictor_gives_the_probabilities_of_evaluation_mode(exclusive):
    images = torch.rand(3, 2, 16, 24, generator=torch.Generator().manual_seed(0))
    logits = Bright()(images)
    expected = logits.softmax(1) if exclusive else logits.sigmoid()
    if exclusive:
        expected = torch.cat([torch.zeros_like(logits), logits], 1).softmax(1)[:, 1:]
    model = Noisy().train()
    predictor = NetworkPredictor(model, pick_device("cpu"), exclusive=exclusive, channels_last=True)
    assert torch.equal(predictor(images), expected) and model.training
    with predictor.evaluating():
        assert not model.training and torch.equal(predictor(images), expected)
    assert model.training and predictor(images).dtype == torch.float32


def test_a_stream_of_probabilities_is_what_each_slice_gives_by_itself(source):
    predictor = NetworkPredictor(Bright(), pick_device("cpu"))
    rows = []
    for scan in predict_scans(predictor, source, range(9), batch_size=4):
        for item in scan:
            image = torch.from_numpy(source.image(item.row).transpose(2, 0, 1)[None])
            expected = source.preprocess.invert(predictor(image)[0].permute(1, 2, 0).numpy(), source.native(item.row))
            assert np.array_equal(item.values, expected) and item.values.dtype == np.float32
            rows.append(item.row)
    assert rows == list(range(9))


def test_a_scan_that_is_left_or_skipped_does_not_reach_into_the_next(source):
    predictor = NetworkPredictor(Bright(), pick_device("cpu"))
    found = []
    for scan in predict_scans(predictor, source, range(9), batch_size=4):
        if scan.name != "b":
            found.append((scan.name, next(iter(scan)).row))
    assert found == [("a", 0), ("c", 6)]


def test_a_scan_of_which_one_slice_is_unlabelled_has_no_truth(source):
    source.dataset.table.loc[3, "labelled"] = False
    predictor = NetworkPredictor(Bright(), pick_device("cpu"))
    for rows, truth in ((range(6), {"a": False, "b": True}), ([0, 1], {"a": True})):
        found = {
            scan.name: [item.truth is not None for item in scan]
            for scan in predict_scans(predictor, source, rows, batch_size=4)
        }
        assert {name: set(has) for name, has in found.items()} == {name: {has} for name, has in truth.items()}


# --- beside the device ----------------------------------------------------------------------------------------------


class Beside(Device):
    """A device whose CPU is free for other work."""

    @property
    def threads(self):
        return 3


def beside(source, model=None, decide=None, **options):
    return decided(source, range(9), model, decide, Beside(torch.device("cpu"), torch.float32), **options)


def threads():
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("giseg")]


@pytest.mark.parametrize("batch_size", [1, 2, 4, 100])
def test_threads_change_nothing(source, batch_size):
    class Marked:
        """A step that depends on the scans before, as none should: they come one at a time and in order."""

        stage = "masks"

        def __init__(self):
            self.count = 0

        def __call__(self, name):
            self.count += 1
            name[: self.count, 0, 0] = True
            return name

    expected = scans(source, range(9), batch_size, Decision(0.5, (Marked(),)))
    found = list(beside(source, decide=Decision(0.5, (Marked(),)), batch_size=batch_size))
    assert [(scan.name, scan.rows) for scan in found] == [(scan.name, scan.rows) for scan in expected]
    for a, b in zip(found, expected, strict=True):
        assert np.array_equal(a.prediction, b.prediction)
        assert (a.truth is None and b.truth is None) or np.array_equal(a.truth, b.truth)
    assert threads() == []


def test_slices_are_resized_while_the_next_batch_is_predicted(source):
    """The first slice is brought back no sooner than the second batch is predicted, in another thread."""
    predicted, resized = [], []
    second = threading.Event()

    class Watched(Bright):
        def forward(self, images):
            predicted.append(threading.current_thread())
            if len(predicted) == 2:
                second.set()
            return super().forward(images)

    class Patient(Preprocess):
        def invert(self, values, native):
            assert second.wait(10)
            resized.append(threading.current_thread())
            return super().invert(values, native)

    source.preprocess = Patient(Maximum(), (96, 96), "fit", "linear")
    assert len(list(beside(source, Watched()))) == 3
    assert set(predicted) == {threading.main_thread()}
    assert threading.main_thread() not in resized


def test_an_error_in_a_thread_reaches_the_caller(source):
    class Broken:
        stage = "probabilities"

        def __call__(self, name):
            if len(name) == 1:
                raise ValueError("one slice is no scan")
            return name

    model = Bright().train()
    stream = beside(source, model, Decision(0.5, (Broken(),)))
    assert next(stream).name == "a"
    with pytest.raises(ValueError, match="one slice is no scan"):
        next(stream)
    assert model.training
    assert threads() == []


def test_closing_early_leaves_no_thread(source):
    model = Bright().train()
    stream = beside(source, model)
    next(stream)
    assert threads() != []
    stream.close()
    assert threads() == []
    assert model.training


# --- memory ---------------------------------------------------------------------------------------------------------


class Small(Bright):
    """A network whose device holds no more than so many slices."""

    def __init__(self, most):
        super().__init__()
        self.most = most
        self.seen = []

    def forward(self, images):
        if len(images) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        self.seen.append(len(images))
        return super().forward(images)


@pytest.mark.parametrize("most", [1, 2, 5])
@pytest.mark.slow
def test_where_memory_runs_out_the_batch_is_predicted_in_halves(source, most):
    model = Small(most)
    found = list(decided(source, range(9), model, batch_size=9))
    expected = scans(source, range(9), batch_size=9)
    assert sum(model.seen) == 9 and max(model.seen) <= most
    for a, b in zip(found, expected, strict=True):
        assert np.array_equal(a.prediction, b.prediction)


def test_a_single_slice_that_does_not_fit_is_an_error(source):
    found = decided(source, range(9), Small(0), batch_size=4)
    with pytest.raises(TrainingError, match=r"on cpu, fp32 with a single slice of 1 x 96 x 96.*--device cpu"):
        next(found)


# --- what is held of a scan -----------------------------------------------------------------------------------------


class Deep(Squares):
    """One scan of 40 slices of 64 x 64 pixels, without labels."""

    def __init__(self):
        super().__init__()
        rows = pd.DataFrame([{**self.table.iloc[6], "id": f"d{number:02}", "position": number} for number in range(40)])
        self.table = rows.assign(height=64, width=64)

    def image(self, row):
        return np.random.default_rng(row).integers(0, 200, (64, 64), dtype=np.uint8)


class Four(torch.nn.Module):
    """Logits of four classes around 0."""

    def forward(self, images):
        return (images[:, :1] - 0.5) * torch.tensor([3.0, -2.0, 5.0, 1.0]).view(1, 4, 1, 1)


class Keep:
    """A step that changes nothing and remembers the types that it saw."""

    def __init__(self, stage):
        self.stage, self.seen = stage, []

    def __call__(self, name):
        self.seen.append((name.dtype.name, name.shape))
        return name


VALUES = 40 * 64 * 64 * 4


def peak_of(decide):
    """The scan, and the most bytes that were allocated at once while it was predicted."""
    preprocess = Preprocess(Unchanged(), (32, 32))
    source = Input(SliceReader(Deep(), slices=1, stride=1, edge="clamp", preprocess=preprocess))
    stream = decided(source, range(40), Four(), decide)
    gc.collect()
    tracemalloc.start()
    try:
        (scan,) = stream
        return scan, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.fixture(scope="module")
def from_probabilities():
    """The masks when a step wants probabilities, by whether classes exclude one another."""
    steps = (Keep("probabilities"),)
    return {own: peak_of(Decision(0.4, steps, exclusive=own))[0].prediction for own in (False, True)}


@pytest.mark.parametrize("exclusive", [False, True])
@pytest.mark.parametrize("stages", [(), ("masks",), ("probabilities",), ("masks", "probabilities", "masks")])
@pytest.mark.slow
def test_a_scans_probabilities_are_held_only_where_a_step_wants_them(from_probabilities, stages, exclusive):
    """A byte a value otherwise, four with them; and the masks are the same to the last pixel.

    The fixture has made what is made once, at the first prediction.
    """
    steps = tuple(map(Keep, stages))
    scan, peak = peak_of(Decision(0.4, steps, exclusive=exclusive))
    assert (1 if "probabilities" not in stages else 5) * VALUES < peak
    assert peak < (1.6 if "probabilities" not in stages else 5.6) * VALUES
    types = {"masks": "bool", "probabilities": "float32"}
    assert all(step.seen == [(types[step.stage], (40, 64, 64, 4))] for step in steps)
    assert scan.prediction.dtype == bool and 0 < scan.prediction.sum() < VALUES
    assert np.array_equal(scan.prediction, from_probabilities[exclusive])
