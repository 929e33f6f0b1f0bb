"""The contract checks find what they are there to find: each is shown a component that breaks its contract."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from gisegkit.testing import (
    ContractError,
    check_augmentation,
    check_batch_transform,
    check_loss,
    check_metric,
    check_model,
    check_normalization,
    check_optimizer,
    check_postprocess,
    check_schedule,
    check_tracker,
    check_writer,
)
from gisegkit.types import Batch


class Loss(torch.nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, logits, target):
        return self.function(logits, target)


def bce(logits, target):
    return F.binary_cross_entropy_with_logits(logits.float(), target)


def soft_dice(logits, target, *, detach=False):
    p = logits.float().sigmoid()
    below = (p.detach() if detach else p).sum((0, 2, 3)) + target.sum((0, 2, 3)) + 1
    return 1 - ((2 * (p * target).sum((0, 2, 3)) + 1) / below).mean()


def in_place(logits, target):
    target.clamp_(0.1, 0.9)
    return bce(logits, target)


@pytest.mark.parametrize("function", [bce, soft_dice, lambda a, b: 100 * bce(a, b), lambda a, b: 1e-3 * bce(a, b)])
def test_right_losses_pass(function):
    check_loss(Loss(function))


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda a, b: soft_dice(a, b, detach=True), "gradient is wrong"),
        (lambda a, b: F.binary_cross_entropy_with_logits(a.float(), b, reduction="none"), "no scalar"),
        (lambda a, b: -bce(a, b), "a right prediction costs"),
        (lambda a, b: torch.tensor(bce(a, b).item()), "no gradient"),
        (lambda a, b: bce(a, b) / b.sum().sqrt(), "the loss is inf|not finite"),
        (lambda a, b: bce(a.float().exp().exp(), b), "confident logits"),
        (in_place, "in place"),
    ],
)
def test_wrong_losses_are_found(function, message):
    with pytest.raises(ContractError, match=message):
        check_loss(Loss(function))


def test_model_of_the_wrong_size_is_found():
    with pytest.raises(ContractError, match="logits"):
        check_model(lambda in_channels, classes: torch.nn.Conv2d(in_channels, classes, 3))


def test_model_that_evaluates_at_random_is_found():
    class Noisy(torch.nn.Conv2d):
        def forward(self, images):
            return super().forward(images) + torch.rand(1)

    with pytest.raises(ContractError, match="two outputs"):
        check_model(lambda in_channels, classes: Noisy(in_channels, classes, 1))


class Stateful:
    """Flips every second image, whatever generator it is handed."""

    calls = 0

    def __call__(self, image, mask, rng):
        self.calls += 1
        return (image[:, ::-1].copy(), mask[:, ::-1].copy()) if self.calls % 2 else (image, mask)


class Blur:
    def __call__(self, image, mask, rng):
        return image, np.full_like(mask, 7)


@pytest.mark.parametrize(("policy", "message"), [(Stateful(), "two results"), (Blur(), "mask has values")])
def test_wrong_augmentations_are_found(policy, message):
    with pytest.raises(ContractError, match=message):
        check_augmentation(lambda size: policy)


def test_batch_transform_that_loses_weight_is_found():
    def half(batch, rng):
        return Batch(batch.images, tuple((0.5 * w, t) for w, t in batch.targets), batch.rows)

    with pytest.raises(ContractError, match=r"sum to 0\.5"):
        check_batch_transform(half)


def test_optimizer_that_climbs_is_found():
    with pytest.raises(ContractError, match="20 steps"):
        check_optimizer(lambda params: torch.optim.SGD(params, lr=0.1, maximize=True))


def test_schedule_without_a_state_is_found():
    class Forgetful(torch.optim.lr_scheduler.LambdaLR):
        def __init__(self, optimizer):
            super().__init__(optimizer, lambda step: 1 / (1 + step))

        def load_state_dict(self, state_dict):
            pass

    with pytest.raises(ContractError, match="other rates"):
        check_schedule(lambda optimizer, steps: Forgetful(optimizer))


@pytest.mark.parametrize(
    ("snapshots", "found"),
    [
        ((0, 1), "snapshots has 0, and the training has steps 1 to 1"),
        ((2,), "snapshots has 2, and the training has steps 1 to 1"),
        ((1, 1), "do not rise"),
        ((), "is empty"),
        ((0.5,), "not a tuple of whole numbers"),
        (7, "not a tuple of whole numbers"),
    ],
)
def test_schedule_with_snapshots_that_are_no_steps_is_found(snapshots, found):
    def build(optimizer, steps):
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)
        schedule.snapshots = snapshots
        return schedule

    with pytest.raises(ContractError, match=found):
        check_schedule(build, steps=[1])


def test_schedule_with_snapshots_passes():
    def build(optimizer, steps):
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)
        schedule.snapshots = (steps,)
        return schedule

    check_schedule(build)


class Distance:
    """A distance that forgets to say that lower is better."""

    convention = "pixels that differ"
    higher_is_better = True

    def __call__(self, prediction, truth):
        return {"distance": (prediction != truth).mean(axis=(1, 2)).astype(float)}

    def combine(self, means):
        return means["distance"]


def test_metric_with_the_wrong_direction_is_found():
    with pytest.raises(ContractError, match="higher_is_better"):
        check_metric(Distance())


class Accumulated:
    """Dice whose value depends on the scans that it saw before."""

    convention = "Dice over all scans so far"
    higher_is_better = True

    def __init__(self):
        self.shared, self.pixels = 0.0, 0.0

    def __call__(self, prediction, truth):
        self.shared += 2.0 * (prediction & truth).sum(axis=(0, 1, 2))
        self.pixels += prediction.sum(axis=(0, 1, 2)) + truth.sum(axis=(0, 1, 2))
        return {"dice": self.shared / self.pixels}

    def combine(self, means):
        return means["dice"]


def test_metric_that_remembers_is_found():
    with pytest.raises(ContractError, match="asked again"):
        check_metric(Accumulated())


def test_postprocess_that_changes_its_input_is_found():
    class Clear:
        stage = "masks"

        def __call__(self, scan):
            scan[:] = False
            return scan

    with pytest.raises(ContractError, match="in place"):
        check_postprocess(Clear())


def test_postprocess_of_slices_that_looks_beyond_them_is_found():
    class Share:
        """Keeps what the slice before has as well; in the first slice, everything."""

        stage = "masks"
        unit = "slice"

        def __call__(self, scan):
            result = scan.copy()
            result[1:] &= scan[:-1]
            return result

    with pytest.raises(ContractError, match='unit is "slice", and a slice by itself gives another result'):
        check_postprocess(Share())
    Share.unit = "scan"
    check_postprocess(Share())
    Share.unit = "slices"
    with pytest.raises(ContractError, match="unit is 'slices', not 'slice' or 'scan'"):
        check_postprocess(Share())


class Lines:
    """A writer that is right: a line a slice."""

    wants = "masks"

    def begin(self, facts, out):
        self.out, self.stack, self.facts = out, out.stack(), facts
        self.file = self.stack.enter_context(self.stack.enter_context(out.path("lines.txt")).open("w"))

    def write(self, facts, masks, probabilities):
        self.file.write(f"{facts.id} {masks.sum()}\n")

    def finish(self):
        self.stack.close()
        return "lines.txt"


class Whole(Lines):
    wants = "logits"


class Beside(Lines):
    def begin(self, facts, out):
        super().begin(facts, out)
        (out.folder / "mine.txt").write_text("x")


class Unclosed(Lines):
    def finish(self):
        return "lines.txt"


class Silent(Lines):
    def finish(self):
        super().finish()


class InPlace(Lines):
    def write(self, facts, masks, probabilities):
        masks[:] = False


class Twice(Lines):
    def write(self, facts, masks, probabilities):
        with self.out.path("slice.txt") as path:
            path.write_text("x")


class Wanting(Lines):
    wants = "probabilities"

    def write(self, facts, masks, probabilities):
        assert probabilities.dtype == np.float32 and probabilities.shape == masks.shape
        assert (probabilities >= 0).all() and (probabilities <= 1).all()


def test_right_writers_pass():
    for writer in (Lines(), Wanting()):
        check_writer(writer)
        check_writer(writer, classes=1, size=(3, 5))


@pytest.mark.parametrize(
    ("writer", "message"),
    [
        (Whole(), "wants is 'logits', not 'masks' or 'probabilities'"),
        (Beside(), r"it wrote \['mine.txt'\] beside out.path"),
        (Unclosed(), r"after finish \['lines.txt'\] is not whole"),
        (Silent(), "finish returns None; one line says what was written"),
        (InPlace(), "it changes its input in place"),
        (Twice(), r"write of masks bool \[20, 24, 2\]: it raises ComponentError: .*slice.txt would be written twice"),
        (object(), "wants is None"),
    ],
)
def test_wrong_writers_are_found(writer, message):
    with pytest.raises(ContractError, match=message):
        check_writer(writer)


class Steady:
    """A tracker that is right."""

    def __init__(self, *, folder):
        pass

    def start(self, recipe, run):
        pass

    def report(self, report):
        pass

    def finish(self, scores, outcome):
        pass


class Startless:
    def __init__(self, *, folder):
        pass

    def report(self, report):
        pass

    def finish(self, summary):
        pass


class Summed(Steady):
    def finish(self, summary):
        pass


class Undefined(Steady):
    def report(self, report):
        int(report.monitored)


class Partial(Steady):
    def finish(self, scores, outcome):
        scores["dice"]


def test_a_right_tracker_passes(tmp_path):
    check_tracker(Steady, tmp_path / "a")


@pytest.mark.parametrize(
    ("tracker", "message"),
    [
        (Startless, r"it has no start\(recipe, run\); give it one, which may do nothing"),
        (Summed, r"its finish\(summary\) is called as finish\(scores, outcome\); change its parameters"),
        (Undefined, "report of epoch 1: it raises ValueError: cannot convert float NaN"),
        (Partial, "finish without scores: it raises KeyError"),
    ],
)
def test_wrong_trackers_are_found(tmp_path, tracker, message):
    with pytest.raises(ContractError, match=message):
        check_tracker(tracker, tmp_path)


class Halves(torch.nn.Module):
    """A network with two parts."""

    def __init__(self, *, in_channels, classes):
        super().__init__()
        self.first, self.second = torch.nn.Conv2d(in_channels, 4, 1), torch.nn.Conv2d(4, classes, 1)

    def forward(self, images):
        return self.second(self.first(images))

    def parts(self):
        return {"first": self.first, "second": self.second}


def test_parts_of_a_right_model_pass():
    check_model(Halves)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (lambda self: [self.first], r"parts\(\) returns list, not a dict of names and modules"),
        (lambda self: {"a": self.first, "all": self}, "the parts 'a' and 'all' share parameters"),
        (lambda self: {"a": torch.nn.Conv2d(1, 1, 1)}, "part 'a' has parameters that are not the network's"),
        (lambda self: {"a": self.third}, "parts: it raises AttributeError"),
    ],
)
def test_wrong_parts_are_found(monkeypatch, parts, message):
    monkeypatch.setattr(Halves, "parts", parts)
    with pytest.raises(ContractError, match=message):
        check_model(Halves)


class Line:
    """A normalization that divides by the maximum, but for what a test gives."""

    def __init__(self, **attributes):
        self.over, self.range = "slice", (0, 1)
        self.calls = 0
        vars(self).update(attributes)

    def scale(self, unit):
        self.calls += 1
        return self.line(self, unit)

    @staticmethod
    def line(own, unit):
        return 0.0, unit.maximum or np.inf


def in_place_line(own, unit):
    unit.images[0][:] = 0
    return 0.0, 1.0


def test_a_right_normalization_passes():
    check_normalization(Line())
    check_normalization(Line(keeps_zero=True), channels=3)
    check_normalization(Line(range=None, line=first_pixel))


def first_pixel(own, unit):
    return float(unit.pixels[0]), 5.0


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"over": "volume"}, "over is 'volume'"),
        ({"range": (1, 0)}, "rising numbers"),
        ({"range": "0 to 1"}, "rising numbers"),
        ({"range": None, "clips": True}, "it clips, and range is None"),
        ({"keeps_zero": True, "clips": True}, "both clips and keeps_zero"),
        ({"line": lambda own, unit: (0.0, unit.maximum)}, "zeros: .*divisor 0"),
        ({"line": lambda own, unit: (0.0, own.calls)}, "for the same values"),
        ({"line": in_place_line}, "changes the image in place"),
        ({"line": lambda own, unit: 3.0}, "not the pair"),
        ({"line": lambda own, unit: (0.0, 1e-9)}, "takes none of the images"),
        ({"keeps_zero": True, "line": first_pixel}, "raises ValueError"),
    ],
)
@pytest.mark.filterwarnings("ignore:it cannot be pickled")
def test_wrong_normalizations_are_found(attributes, message):
    with pytest.raises(ContractError, match=message):
        check_normalization(Line(**attributes))
