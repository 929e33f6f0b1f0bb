"""gisegkit.components.losses: values derived by hand or by smp, gradients, empty classes."""

from __future__ import annotations

import math

import pytest
import torch
from segmentation_models_pytorch import losses as smp

from gisegkit.components.losses import BCE, DiceLoss, Tversky
from gisegkit.errors import TrainingError
from gisegkit.testing import check_loss

LOSSES = {
    "bce": BCE(),
    "dice": DiceLoss(),
    "dice by image": DiceLoss(over="image"),
    "dice unsmoothed": DiceLoss(smooth=0.0),
    "tversky": Tversky(alpha=0.3, beta=0.7),
    "tversky by image": Tversky(alpha=0.9, beta=0.1, over="image", smooth=0.5),
}


def inputs(seed=0, shape=(2, 3, 5, 7), dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(shape, generator=generator, dtype=dtype) * 2
    target = (torch.rand(shape, generator=generator) < 0.4).to(dtype)
    return logits, target


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_contract(loss):
    check_loss(loss)


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
@pytest.mark.parametrize("soft", [False, True])
def test_gradient(loss, soft):
    logits, target = inputs(shape=(2, 2, 3, 4))
    target = target * 0.7 + 0.1 if soft else target
    assert torch.autograd.gradcheck(lambda x: loss(x, target), logits.requires_grad_(True))


# --- values ---------------------------------------------------------------------------------------------------------


def test_bce_is_the_mean_cross_entropy():
    logits, target = inputs()
    p = 1 / (1 + torch.exp(-logits))
    expected = -(target * p.log() + (1 - target) * (1 - p).log()).mean()
    assert float(BCE()(logits, target)) == pytest.approx(float(expected), abs=1e-12)


def test_tversky_by_hand():
    # Probabilities 0.75 and 0.25 on four pixels, two of them in the class:
    # TP = 0.75 + 0.25 = 1, FP = 0.75 + 0.25 = 1, FN = 0.25 + 0.75 = 1.
    logit = math.log(3)  # sigmoid(log 3) = 3/4
    logits = torch.tensor([logit, -logit, logit, -logit], dtype=torch.float64).view(1, 1, 2, 2)
    target = torch.tensor([1.0, 1.0, 0.0, 0.0]).view(1, 1, 2, 2)
    assert float(Tversky(alpha=0.2, beta=0.6, smooth=0)(logits, target)) == pytest.approx(1 - 1 / 1.8, abs=1e-6)
    assert float(Tversky(alpha=0.2, beta=0.6, smooth=2)(logits, target)) == pytest.approx(1 - 3 / 3.8, abs=1e-12)
    assert float(DiceLoss(smooth=1)(logits, target)) == pytest.approx(1 - (2 * 1 + 2) / (2 + 2 + 2), abs=1e-12)


def test_alpha_weighs_false_positives_and_beta_false_negatives():
    target = torch.zeros(1, 1, 4, 4)
    target[..., :2, :] = 1  # 8 pixels
    too_much, too_little = torch.full_like(target, 50.0), torch.full_like(target, -50.0)
    too_little[..., :1, :] = 50.0
    loss = Tversky(alpha=0.25, beta=0.75, smooth=0)
    assert float(loss(too_much, target)) == pytest.approx(1 - 8 / (8 + 0.25 * 8), abs=1e-6)
    assert float(loss(too_little, target)) == pytest.approx(1 - 4 / (4 + 0.75 * 4), abs=1e-6)


@pytest.mark.parametrize("smooth", [0.0, 1.0, 3.0])
def test_equals_smp_where_definitions_agree(smooth):
    logits, target = inputs()  # no class is empty, targets are hard: there smp means the same
    dice = smp.DiceLoss("multilabel", smooth=smooth)
    assert float(DiceLoss(smooth=smooth)(logits, target)) == pytest.approx(float(dice(logits, target)), abs=1e-6)
    tversky = smp.TverskyLoss("multilabel", smooth=smooth, alpha=0.3, beta=0.7)
    ours = Tversky(alpha=0.3, beta=0.7, smooth=smooth)
    assert float(ours(logits, target)) == pytest.approx(float(tversky(logits, target)), abs=1e-6)


def test_over_image_averages_images_and_over_batch_sums_first():
    logits, target = inputs()
    each = [
        float(DiceLoss()(logits[i : i + 1, k : k + 1], target[i : i + 1, k : k + 1])) for i in (0, 1) for k in range(3)
    ]
    assert float(DiceLoss(over="image")(logits, target)) == pytest.approx(sum(each) / 6, abs=1e-12)
    stacked = logits.transpose(0, 1).reshape(1, 3, 10, 7), target.transpose(0, 1).reshape(1, 3, 10, 7)
    assert float(DiceLoss(over="batch")(logits, target)) == pytest.approx(float(DiceLoss()(*stacked)), abs=1e-12)
    assert float(DiceLoss(over="batch")(logits, target)) != pytest.approx(sum(each) / 6, abs=1e-4)


def test_dice_is_tversky_with_equal_halves():
    logits, target = inputs()
    assert float(DiceLoss()(logits, target)) == pytest.approx(float(Tversky()(logits, target)), abs=1e-12)


# --- empty and full -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_right_prediction_of_all_empty_or_all_full_costs_nothing(loss, value):
    target = torch.full((2, 3, 4, 4), value)
    assert float(loss((target - 0.5) * 200, target)) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("loss", [LOSSES[name] for name in LOSSES if name != "dice unsmoothed"])
def test_false_positives_of_an_empty_class_cost_and_are_pushed_down(loss):
    logits, target = inputs(dtype=torch.float32)
    target[:, 1] = 0
    logits.requires_grad_(True)
    value = loss(logits, target)
    less = logits.detach().clone()
    less[:, 1] -= 3
    assert float(loss(less, target)) < float(value.detach())
    value.backward()
    assert bool((logits.grad[:, 1] > 0).all())


def test_an_empty_class_by_hand():
    # 16 pixels of probability 1/2, none in the class: FP = 8, so 1 - smooth / (alpha FP + smooth).
    zeros = torch.zeros(1, 1, 4, 4)
    assert float(Tversky(alpha=0.25, smooth=1.0)(zeros, zeros)) == pytest.approx(1 - 1 / (0.25 * 8 + 1))


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_other_shapes_are_refused_with_both_named(loss):
    with pytest.raises(TrainingError, match=r"\[2, 3, 8, 8\] for targets \[2, 3, 4, 4\]"):
        loss(torch.zeros(2, 3, 8, 8), torch.zeros(2, 3, 4, 4))
    with pytest.raises(TrainingError, match=r"\[3, 8, 8\]"):
        loss(torch.zeros(3, 8, 8), torch.zeros(3, 8, 8))
