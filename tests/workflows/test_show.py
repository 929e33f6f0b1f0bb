"""giseg show: what is shown equals what fit feeds the network, and the words are what was drawn."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from gisegkit.components.losses.ratios import BCE
from gisegkit.engine.criterion import Criterion
from gisegkit.engine.fit import fit
from gisegkit.errors import RunError, TrainingError
from gisegkit.types import IGNORE, Batch
from gisegkit.workflows.show import STAGES, NotedPolicy, NotedTransform, as_mask, listen, see_batch, show_batch, view


class Tap(torch.nn.Module):
    """A network that keeps what it is fed in training."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.images = []

    def forward(self, images):
        if self.training:
            self.images.append(images.clone())
        return (self.weight * images[:, :1]).expand(-1, 3, -1, -1)


class Keeping(Criterion):
    """A criterion that keeps its targets in training."""

    def __init__(self):
        super().__init__([("bce", 1.0, BCE())])
        self.targets = []

    def terms(self, logits, target):
        if torch.is_grad_enabled():
            self.targets.append(target.clone())
        return super().terms(logits, target)


@pytest.fixture(scope="module")
def fed(session, recipe):
    """What fit feeds the network: images and targets by epoch and step: 3 channels, batches of 8, 8 and 4."""
    tiny = recipe("train.epochs=2", "train.validate_every=2")
    experiment = session.experiment(tiny)
    experiment.look_at_store()
    tap, criterion = Tap(), Keeping()
    optimizer = torch.optim.SGD(tap.parameters(), lr=0.1)
    training = replace(
        experiment.assembled.training,
        model=tap,
        criterion=criterion,
        optimizer=optimizer,
        schedule=torch.optim.lr_scheduler.ConstantLR(optimizer),
        validate=lambda: {"uwmgi_score": 0.5},
    )
    steps = len(training.sampler)
    list(fit(training))
    assert len(tap.images) == 2 * steps and len(criterion.targets) == 4 * steps, "two targets a batch: mixup"
    pairs = list(zip(criterion.targets[::2], criterion.targets[1::2], strict=True))
    return {
        (epoch + 1, step + 1): (tap.images[epoch * steps + step], pairs[epoch * steps + step])
        for epoch in range(2)
        for step in range(steps)
    }


@pytest.mark.parametrize("epoch", [1, 2])
@pytest.mark.parametrize("step", [1, 2, 3])
def test_what_is_shown_is_what_training_feeds_the_network(fed, session, recipe, epoch, step):
    images, targets = fed[epoch, step]
    seen = see_batch(session.experiment(recipe()), epoch=epoch, batch=step, count=16)
    assert len(seen.samples) == len(images)
    for index, sample in enumerate(seen.samples):
        last = sample.stages[-1]
        assert last.name == STAGES[2]
        np.testing.assert_array_equal(last.image, images[index, 1].numpy())  # the middle one of three channels
        for (_, mask), target in zip(last.targets, targets, strict=True):
            np.testing.assert_array_equal(mask, target[index].numpy().transpose(1, 2, 0))
    assert not torch.equal(images, fed[3 - epoch, step][0]), "another epoch, other images"


def test_the_stages_are_the_steps_of_that_way(session, recipe):
    seen = see_batch(session.experiment(recipe("input.slices=1")), epoch=1, batch=1, count=8)
    (note,) = [note for note in seen.notes if note.startswith("batch transform mixup (alpha = 0.4, p = 1.0): lambda ")]
    lam = float(note.split("lambda ")[1].split(";")[0])
    partners = [int(number) - 1 for number in note.split(": ")[-1].split()]
    assert sorted(partners) == list(range(8))
    flipped = 0
    for index, sample in enumerate(seen.samples):
        before, after, final = sample.stages
        assert [stage.name for stage in sample.stages] == list(STAGES)
        same = np.array_equal(before.image, after.image)
        flipped += not same
        turn = slice(None) if same else slice(None, None, -1)
        np.testing.assert_array_equal(after.image, before.image[:, turn])
        np.testing.assert_array_equal(after.targets[0][1], before.targets[0][1][:, turn])
        partner = seen.samples[partners[index]].stages[1]
        np.testing.assert_allclose(final.image, lam * after.image + (1 - lam) * partner.image, atol=1e-4)
        assert [weight for weight, _ in final.targets] == pytest.approx([lam, 1 - lam], abs=1e-4)
        np.testing.assert_array_equal(final.targets[0][1], after.targets[0][1])
        np.testing.assert_array_equal(final.targets[1][1], partner.targets[0][1])
    assert 0 < flipped < 8


@pytest.mark.parametrize(
    ("slices", "says"), [(1, "1 channel"), (3, "3 channels, of which channel 2"), (5, "5 channels, of which channel 3")]
)
def test_the_slice_itself_is_shown_and_named(session, recipe, slices, says):
    stack = see_batch(session.experiment(recipe(f"input.slices={slices}")), epoch=1, batch=1, count=1)
    single = see_batch(session.experiment(recipe("input.slices=1")), epoch=1, batch=1, count=1)
    np.testing.assert_array_equal(stack.samples[0].stages[0].image, single.samples[0].stages[0].image)
    assert "32 x 32 pixels" in stack.notes[0] and says in stack.notes[0]
    assert ("neighbors" in stack.notes[0]) is (slices > 1)


def test_without_batch_transforms_there_are_two_stages(session, recipe):
    plain = recipe()
    seen = see_batch(session.experiment(plain.with_components(batch_transform=())), epoch=1, batch=1, count=2)
    assert [stage.name for stage in seen.samples[0].stages] == list(STAGES[:2])
    assert seen.notes[1:] == ("augmentation: baseline (p = 0.5)", "batch transforms: none")


def test_a_transform_that_leaves_the_batch_alone_says_so(session, recipe):
    seen = see_batch(session.experiment(recipe("batch_transform.0.p=0.0")), epoch=1, batch=1, count=1)
    assert seen.notes[-1] == "batch transform mixup (alpha = 0.4, p = 0.0): not this batch"
    _, after, final = seen.samples[0].stages
    np.testing.assert_array_equal(after.image, final.image)
    assert len(final.targets) == 1


def test_a_transform_with_draws_for_each_slice_names_them_beside_it(session, recipe):
    """Slices whose words tell of nothing or of a flip alone are that, and the words are their own."""
    tiny = recipe("augmentation.name=none")
    specs = tuple(
        replace(tiny.batch_transform[0], name="final_device", params=params) for params in ({}, {"cutout_p": 0})
    )
    seen = see_batch(session.experiment(tiny.with_components(batch_transform=(specs[1],))), epoch=1, batch=1, count=8)
    assert seen.notes[-1] == "batch transform final_device (cutout_p = 0): each slice has its own draws"
    kinds = set()
    for sample in seen.samples:
        _, after, final = sample.stages
        assert all(line.startswith("final_device: ") for line in sample.drawn)
        names = [line.split(": ")[1] for line in sample.drawn]
        if names in (["nothing drawn for this slice"], ["HorizontalFlip"]):
            step = -1 if names == ["HorizontalFlip"] else 1
            np.testing.assert_array_equal(final.image, after.image[:, ::step])
            np.testing.assert_array_equal(final.targets[0][1], after.targets[0][1][:, ::step])
        else:
            assert not np.array_equal(final.image, after.image)
        kinds.add(names[-1])
    assert len(kinds) > 2
    drops = see_batch(session.experiment(tiny.with_components(batch_transform=(specs[0],))), epoch=1, batch=1, count=8)
    assert any("CoarseDropout: " in line and line.endswith(" holes") for one in drops.samples for line in one.drawn)


def test_the_title_says_which_batch_and_how_much_of_it(session, recipe):
    whole, part = (see_batch(session.experiment(recipe()), epoch=2, batch=1, count=count) for count in (8, 3))
    assert whole.title == "tiny: epoch 2, batch 1 of 3, 8 slices"
    assert part.title == "tiny: epoch 2, batch 1 of 3, 8 slices, the first 3 shown"
    assert [sample.title for sample in part.samples] == [sample.title for sample in whole.samples[:3]]
    assert part.samples[1].title.startswith("2  case")
    np.testing.assert_array_equal(part.samples[2].stages[2].image, whole.samples[2].stages[2].image)


@pytest.mark.parametrize(
    ("epoch", "batch", "message"),
    [
        (4, 1, "--epoch 4: training has 3 epochs; give 1 to 3"),
        (0, 1, "--epoch 0: "),
        (1, 99, "--batch 99: an epoch of these data has 3 batches; give 1 to 3"),
        (1, 0, "--batch 0: "),
    ],
)
def test_a_batch_that_training_does_not_have_is_refused(session, recipe, epoch, batch, message):
    with pytest.raises(TrainingError) as caught:
        see_batch(session.experiment(recipe()), epoch=epoch, batch=batch, count=1)
    assert message in str(caught.value)


@pytest.mark.slow
def test_the_file_holds_the_picture_and_replaces_an_older_one(session, recipe, tmp_path):
    out = tmp_path / "new" / "batch.png"
    show_batch(session.experiment(recipe()), out, epoch=1, batch=1, count=2)
    small = cv2.imread(str(out))
    assert small is not None
    show_batch(session.experiment(recipe()), out, epoch=1, batch=1, count=6)
    large = cv2.imread(str(out))
    assert large is not None and large.shape[0] > small.shape[0]
    assert [file.name for file in out.parent.iterdir()] == ["batch.png"]
    with pytest.raises(RunError, match="cannot be written"):
        show_batch(session.experiment(recipe()), out / "inside.png", epoch=1, batch=1, count=1)


def test_showing_needs_no_weights(session, recipe, monkeypatch):
    monkeypatch.setattr(
        "gisegkit.components.models.unet_family.unet", lambda **_: pytest.fail("the network is not needed")
    )
    seen = see_batch(session.experiment(recipe("model.weights=imagenet")), epoch=1, batch=1, count=1)
    assert len(seen.samples) == 1


# --- what is drawn, in words ----------------------------------------------------------------------------------------


class Speaks:
    """A policy and a batch transform that say what they did, if they are asked to."""

    def __init__(self):
        self.record = False
        self.drawn = ["of an earlier call"]

    def __call__(self, *arguments):
        self.drawn = ["Shift: 3 pixels"] if self.record and arguments[-1].random() < 2 else []
        return replace(arguments[0]) if len(arguments) == 2 else arguments[:2]


def plain(image, mask, rng):
    return image * 2, mask


IMAGE, MASK = np.ones((2, 2, 1), dtype=np.float32), np.zeros((2, 2, 1), dtype=np.uint8)
BATCH = Batch(torch.zeros(1, 1, 2, 2), ((1.0, torch.zeros(1, 1, 2, 2)),), torch.tensor([0]))


def test_a_policy_is_asked_to_tell_what_it_draws_and_one_that_cannot_is_left_alone():
    for policy, lines in ((Speaks(), ["Shift: 3 pixels"]), (plain, [])):
        noted = NotedPolicy(policy, count=1)
        first = noted(IMAGE, MASK, np.random.default_rng(0))
        noted(IMAGE, MASK, np.random.default_rng(0))
        assert noted.drawn == [lines, lines]
        assert len(noted.before) == 1, "no more than are shown"
        np.testing.assert_array_equal(noted.before[0][0], IMAGE)
        assert first[0] is not noted.before[0][0]


def test_a_transform_that_says_nothing_is_told_from_its_result():
    for transform, said in (
        (Speaks(), "Shift: 3 pixels"),
        (lambda batch, rng: replace(batch), "applied"),
        (lambda batch, rng: batch, "not this batch"),
    ):
        noted = NotedTransform(transform)
        noted(BATCH, np.random.default_rng(0))
        assert noted.said == said


def test_the_lines_of_each_slice_are_its_own(session, recipe, monkeypatch):
    class Numbered(Speaks):
        def __call__(self, image, mask, rng):
            number = int(rng.integers(1000))
            self.drawn = [f"Number: {number}"] if number % 2 else []
            return image + number, mask

    monkeypatch.setattr("gisegkit.components.augmentation.warp_policies.baseline", lambda *, size, p=0.5: Numbered())
    seen = see_batch(session.experiment(recipe().with_components(batch_transform=())), epoch=1, batch=1, count=8)
    found = set()
    for sample in seen.samples:
        before, after = sample.stages
        number = round(float((after.image - before.image).mean()))
        expected = f"Number: {number}" if number % 2 else "augmentation: nothing drawn for this slice"
        assert sample.drawn == (expected,)
        found.add(number % 2)
    assert found == {0, 1}


def test_listening_leaves_functions_as_they_are():
    listen(plain)
    assert not hasattr(plain, "record")


# --- arrays to pictures ---------------------------------------------------------------------------------------------


def test_targets_become_masks_with_soft_borders_at_one_half():
    target = torch.tensor([[[0.0, 0.49, 0.5, 1.0, torch.nan]]])
    assert as_mask(target)[0, :, 0].tolist() == [0, 0, 1, 1, IGNORE]


def test_color_stacks_show_the_colors_of_the_slice_itself():
    image = np.arange(9.0).reshape(1, 1, 9)
    assert view(image, slice(3, 6)).tolist() == [[[3, 4, 5]]]
    assert view(image, slice(4, 5)).tolist() == [[4]]
    assert view(image, slice(4, 6)).tolist() == [[4]]
