"""gisegkit.components.losses.focal: values by hand, by smp and MONAI, finite gradients at a loss of 0."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from monai import losses as monai
from segmentation_models_pytorch import losses as smp

from gisegkit.components.losses.focal import Focal, FocalTversky
from gisegkit.components.losses.ratios import BCE, Tversky

SHAPES = [(2, 3, 5, 7), (1, 1, 9, 4), (5, 2, 8, 8)]


def inputs(seed=0, shape=(2, 3, 5, 7)):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(shape, generator=generator, dtype=torch.float64) * 2
    return logits, (torch.rand(shape, generator=generator) < 0.4).double()


# --- focal ----------------------------------------------------------------------------------------------------------


def test_focal_by_hand():
    # p = 3/4 twice, once in the class and once not: (1/4)^2 * -log(3/4) and (3/4)^2 * -log(1/4).
    logits = torch.full((1, 1, 1, 2), math.log(3), dtype=torch.float64)
    target = torch.tensor([1.0, 0.0]).view(1, 1, 1, 2)
    inside, outside = -math.log(3 / 4) / 16, -math.log(1 / 4) * 9 / 16
    assert float(Focal()(logits, target)) == pytest.approx((inside + outside) / 2, abs=1e-12)
    weighted = (0.2 * inside + 0.8 * outside) / 2
    assert float(Focal(alpha=0.2)(logits, target)) == pytest.approx(weighted, abs=1e-12)


def test_focal_without_focus_is_cross_entropy():
    logits, target = inputs()
    assert float(Focal(gamma=0.0)(logits, target)) == pytest.approx(float(BCE()(logits, target)), abs=1e-12)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0, 5.0])
@pytest.mark.parametrize("alpha", [None, 0.25, 1.0])
def test_focal_equals_smp_and_monai_on_hard_targets(gamma, alpha):
    ours, theirs = Focal(gamma=gamma, alpha=alpha), smp.FocalLoss("multilabel", gamma=gamma, alpha=alpha)
    other = monai.FocalLoss(gamma=gamma, alpha=alpha)
    for shape, fill in itertools.product(SHAPES, (None, 0.0, 1.0)):
        logits, target = inputs(shape=shape)
        if fill is not None:
            target[:] = fill
        value = float(ours(logits, target))
        assert value == pytest.approx(float(theirs(logits, target)), abs=1e-12), (shape, fill)
        assert value == pytest.approx(float(other(logits, target)), abs=1e-6), (shape, fill)


def test_a_soft_target_mixes_the_two_hard_losses():
    logits, _ = inputs()
    for alpha in (None, 0.3):
        loss = Focal(alpha=alpha)
        hard = [float(loss(logits, torch.full_like(logits, value))) for value in (0.0, 1.0)]
        mixed = float(loss(logits, torch.full_like(logits, 0.3)))
        assert mixed == pytest.approx(0.7 * hard[0] + 0.3 * hard[1], abs=1e-12)


# --- focal Tversky --------------------------------------------------------------------------------------------------


def test_focal_tversky_by_hand():
    # As in test_losses: TP = FP = FN = 1, so the index is (1 + 2) / (1 + 0.3 + 0.7 + 2) = 3/4, and (1/4)^(1/2) = 1/2.
    logit = math.log(3)
    logits = torch.tensor([logit, -logit, logit, -logit], dtype=torch.float64).view(1, 1, 2, 2)
    target = torch.tensor([1.0, 1.0, 0.0, 0.0]).view(1, 1, 2, 2)
    assert float(FocalTversky(gamma=2.0, smooth=2.0)(logits, target)) == pytest.approx(0.5, abs=1e-12)
    assert float(FocalTversky(smooth=2.0)(logits, target)) == pytest.approx(0.25**0.75, abs=1e-12)  # gamma 4/3


def test_defaults_weigh_missed_pixels_more():
    target = torch.zeros(1, 1, 4, 4)
    target[..., :2, :] = 1
    missed, added = (target * 2 - 1) * 20, (target * 2 - 1) * 20
    missed[..., 0, :] *= -1
    added[..., 3, :] *= -1
    # 4 of 8 missed: 0.7 * 4 / (4 + 0.7 * 4 + 1); 4 added: 0.3 * 4 / (8 + 0.3 * 4 + 1).
    loss = FocalTversky()
    assert float(loss(missed, target)) == pytest.approx((2.8 / 7.8) ** 0.75, abs=1e-6)
    assert float(loss(added, target)) == pytest.approx((1.2 / 10.2) ** 0.75, abs=1e-6)


def test_gamma_one_is_tversky():
    logits, target = inputs()
    target[:, 0] = 0
    for options in ({}, {"ratio_over": "image"}, {"empty": "skip"}, {"empty": "mean_probability", "smooth": 0.0}):
        ours = FocalTversky(gamma=1.0, alpha=0.4, beta=0.9, **options)
        same = Tversky(alpha=0.4, beta=0.9, **options)
        assert float(ours(logits, target)) == pytest.approx(float(same(logits, target)), abs=1e-12)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("gamma", [0.5, 4 / 3, 3.0])
@pytest.mark.parametrize("over", ["image", "batch"])
@pytest.mark.parametrize("smooth", [1e-3, 1.0])
def test_focal_tversky_equals_monai_and_smp_ratio_by_ratio(shape, gamma, over, smooth):
    logits, target = inputs(shape=shape)
    target[0, -1] = 0
    ratios = monai.TverskyLoss(
        sigmoid=True, alpha=0.3, beta=0.7, smooth_nr=smooth, smooth_dr=smooth, batch=over == "batch", reduction="none"
    )
    expected = (ratios(logits, target) ** (1 / gamma)).mean()
    ours = FocalTversky(gamma=gamma, ratio_over=over, smooth=smooth, empty="penalize")
    assert float(ours(logits, target)) == pytest.approx(float(expected), abs=1e-12)
    # smp's gamma is the exponent itself, of the mean over classes: one class and, by image, one image at a time.
    theirs = smp.TverskyLoss("multilabel", alpha=0.3, beta=0.7, gamma=1 / gamma, smooth=smooth)
    images = range(shape[0]) if over == "image" else [slice(None)]
    values = [
        theirs(*(tensor[image, k].reshape(-1, 1, *shape[2:]) for tensor in (logits, target)))
        for image in images
        for k in range(shape[1])
    ]
    skipping = FocalTversky(gamma=gamma, ratio_over=over, smooth=smooth, empty="skip")
    assert float(skipping(logits, target)) == pytest.approx(float(torch.stack(values).mean()), abs=1e-6)


@pytest.mark.parametrize("gamma", [0.5, 4 / 3, 3.0])
def test_the_gradient_is_finite_down_to_a_loss_of_nothing(gamma):
    _, target = inputs()
    previous = math.inf
    for size in (3.0, 10.0, 16.0, 20.0, 40.0, 800.0):
        logits = ((target * 2 - 1) * size).requires_grad_(True)
        value = FocalTversky(gamma=gamma)(logits, target)
        (gradient,) = torch.autograd.grad(value, logits)
        assert bool(gradient.isfinite().all())
        assert float(value.detach()) < previous  # the line below LINEAR_BELOW meets the power
        previous = float(value.detach())
    assert previous == 0
