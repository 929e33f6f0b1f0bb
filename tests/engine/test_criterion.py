"""gisegkit.engine.criterion: the weighted sum, precision, ignored pixels."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from gisegkit.components.losses.ratios import BCE, DiceLoss, Tversky
from gisegkit.engine.criterion import Criterion
from gisegkit.errors import ComponentError, TrainingError

LOSSES = {
    "bce": BCE(),
    "dice": DiceLoss(),
    "dice by image": DiceLoss(ratio_over="image"),
    "dice unsmoothed": DiceLoss(smooth=0.0),
    "tversky": Tversky(alpha=0.3, beta=0.7),
    "tversky by image": Tversky(alpha=0.9, beta=0.1, ratio_over="image", smooth=0.5),
}


def inputs(seed=0, shape=(2, 3, 5, 7), dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(shape, generator=generator, dtype=dtype) * 2
    target = (torch.rand(shape, generator=generator) < 0.4).to(dtype)
    return logits, target


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(loss, dtype):
    logits, target = inputs(shape=(2, 3, 300, 300), dtype=torch.float32)  # 90000 pixels: a float16 sum would overflow
    half = logits.to(dtype)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = Criterion([("it", 1.0, loss)])(half, target)
    assert value.dtype == torch.float32
    assert float(value) == pytest.approx(float(loss(half.float(), target)), abs=1e-7)


class Matmul(nn.Module):
    """A loss that autocast would round."""

    def forward(self, logits, target):
        assert not torch.is_autocast_enabled("cpu")
        return (logits.flatten() @ target.flatten()).abs() / target.numel()


def test_criterion_switches_autocast_off_for_every_loss():
    logits, target = inputs(dtype=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = Criterion([("matmul", 1.0, Matmul())])(logits, target)
    assert float(value) == pytest.approx(float((logits * target).sum().abs()) / target.numel(), rel=1e-5)


def test_criterion_is_the_weighted_sum():
    logits, target = inputs()
    criterion = Criterion([("bce", 0.5, BCE()), ("tversky", 2.0, Tversky())])
    expected = 0.5 * float(BCE()(logits, target)) + 2.0 * float(Tversky()(logits, target))
    assert float(criterion(logits, target)) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_ignored_pixels_change_nothing_and_have_no_gradient(loss):
    criterion = Criterion([("it", 1.0, loss)])
    logits, target = inputs(dtype=torch.float32)
    target[:, :, 1:3] = math.nan
    target[0, 2] = math.nan
    other = torch.where(target.isnan(), torch.tensor(7e3), logits)
    other[0, 2, 0, 0] = math.inf
    results = []
    for values in (logits, other):
        point = values.clone().requires_grad_(True)
        value = criterion(point, target)
        (gradient,) = torch.autograd.grad(value, point)
        assert bool((gradient[target.isnan()] == 0).all())
        assert bool((gradient[~target.isnan()] != 0).all())
        results.append((float(value.detach()), gradient))
    assert results[0][0] == results[1][0]
    assert torch.equal(results[0][1], results[1][1])


def test_ignored_rows_equal_a_smaller_image():
    logits, target = inputs(shape=(2, 3, 6, 7))
    masked = target.clone()
    masked[:, :, 4:] = math.nan
    for name, loss in LOSSES.items():
        whole = float(Criterion([(name, 1.0, loss)])(logits, masked))
        assert whole == pytest.approx(float(loss(logits[:, :, :4], target[:, :, :4])), abs=1e-12), name


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_everything_ignored_costs_nothing(loss):
    logits, target = inputs(dtype=torch.float32)
    logits.requires_grad_(True)
    value = Criterion([("it", 1.0, loss)])(logits, torch.full_like(target, math.nan))
    value.backward()
    assert float(value.detach()) == pytest.approx(0, abs=1e-6)
    assert bool((logits.grad == 0).all())


def test_other_shapes_are_refused_with_both_named():
    criterion = Criterion([("bce", 1.0, BCE())])
    with pytest.raises(TrainingError, match=r"\[2, 3, 8, 8\] for targets \[2, 3, 4, 4\]"):
        criterion(torch.zeros(2, 3, 8, 8), torch.zeros(2, 3, 4, 4))


def test_a_criterion_needs_a_loss():
    with pytest.raises(ComponentError, match="at least one loss"):
        Criterion([])


def test_terms_have_names_of_their_own_and_count_in_their_epochs():
    logits, target = inputs()
    terms = [("dice", 2.0, DiceLoss()), ("bce", 0.5, BCE()), ("dice", 1.0, DiceLoss(ratio_over="image"))]
    criterion = Criterion(terms, epochs=[(1, 0), (2, 3), (3, 0)])
    assert criterion.names == ("dice", "bce", "dice_2")
    values = [float(loss(logits, target)) for _, _, loss in terms]
    for epoch, active in (
        (1, (True, False, False)),
        (2, (True, True, False)),
        (3, (True,) * 3),
        (4, (True, False, True)),
    ):
        criterion.epoch = epoch
        assert criterion.active == active
        assert criterion.terms(logits, target).tolist() == pytest.approx(
            [value if counts else 0.0 for value, counts in zip(values, active, strict=True)], abs=1e-12
        )
        expected = sum(w * v for (_, w, _), v, counts in zip(terms, values, active, strict=True) if counts)
        assert float(criterion(logits, target)) == pytest.approx(expected, abs=1e-12)
