"""Cross entropy: the background, values by hand, by smp and MONAI, ignored and soft pixels."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from monai import losses as monai
from scipy.special import log_softmax
from segmentation_models_pytorch.losses import SoftCrossEntropyLoss

from gisegkit.components.losses.cross_entropy import CrossEntropy
from gisegkit.components.losses.ratios import BCE
from gisegkit.engine.criterion import Criterion

SHAPES = [(2, 3, 5, 7), (1, 1, 9, 4), (4, 5, 8, 8)]


def inputs(seed=0, shape=(2, 3, 5, 7)):
    """Logits, targets of classes that exclude one another, and the same as labels, 0 being the background."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(shape, generator=generator, dtype=torch.float64) * 2
    labels = torch.randint(0, shape[1] + 1, (shape[0], *shape[2:]), generator=generator)
    target = torch.stack([labels == k + 1 for k in range(shape[1])], dim=1).double()
    return logits, target, labels


def with_background(logits):
    return torch.cat([torch.zeros_like(logits[:, :1]), logits], dim=1)


def test_by_hand():
    # Logits log 2 and log 5 beside the background's 0: probabilities 1/8, 2/8 and 5/8.
    logits = torch.tensor([math.log(2), math.log(5)], dtype=torch.float64).view(1, 2, 1, 1).expand(1, 2, 1, 3)
    target = torch.tensor([[[[1.0, 0.0, 0.0]], [[0.0, 1.0, 0.0]]]])  # first class, second class, background
    expected = -(math.log(2 / 8) + math.log(5 / 8) + math.log(1 / 8)) / 3
    assert float(CrossEntropy()(logits, target)) == pytest.approx(expected, abs=1e-12)


def test_one_class_is_binary_cross_entropy():
    logits, target, _ = inputs(shape=(2, 1, 5, 7))
    assert float(CrossEntropy()(logits, target)) == pytest.approx(float(BCE()(logits, target)), abs=1e-12)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("fill", [None, 0, 1])
def test_equals_scipy_smp_and_monai(shape, fill):
    logits, target, labels = inputs(shape=shape)
    if fill is not None:
        labels[:] = fill
        target[:] = 0
        target[:, 0] = fill
    value = float(CrossEntropy()(logits, target))
    every = log_softmax(with_background(logits).numpy(), axis=1)
    assert value == pytest.approx(-np.take_along_axis(every, labels.numpy()[:, None], axis=1).mean(), abs=1e-12)
    smp = SoftCrossEntropyLoss(smooth_factor=0.0)
    assert value == pytest.approx(float(smp(with_background(logits), labels)), abs=1e-12)
    focal = monai.FocalLoss(use_softmax=True, gamma=0.0, to_onehot_y=True)  # a mean over channels as well
    expected = float(focal(with_background(logits), labels[:, None])) * (shape[1] + 1)
    assert value == pytest.approx(expected, abs=1e-6)


def test_a_soft_target_mixes_the_hard_losses():
    logits, first, _ = inputs()
    _, second, _ = inputs(seed=1)
    loss = CrossEntropy()
    mixed = float(loss(logits, 0.3 * first + 0.7 * second))
    assert mixed == pytest.approx(0.3 * float(loss(logits, first)) + 0.7 * float(loss(logits, second)), abs=1e-12)


def test_targets_beyond_one_are_shares():
    logits, _, _ = inputs()
    loss = CrossEntropy()
    assert float(loss(logits, torch.ones_like(logits))) == pytest.approx(
        float(loss(logits, torch.full_like(logits, 1 / 3))), abs=1e-12
    )


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_right_prediction_of_all_background_or_all_of_one_class_costs_nothing(value):
    target = torch.zeros(2, 3, 4, 4)
    target[:, 1] = value
    assert float(CrossEntropy()((target - 0.5) * 200, target)) == pytest.approx(0, abs=1e-6)
    assert float(CrossEntropy()((0.5 - target) * 200, target)) > 50


def test_an_empty_class_is_pushed_down():
    logits, target, _ = inputs()
    target[:, 1] = 0
    (gradient,) = torch.autograd.grad(CrossEntropy()(logits.requires_grad_(True), target), logits)
    assert bool((gradient[:, 1] > 0).all())


def test_a_pixel_with_any_ignored_class_does_not_count():
    logits, target, _ = inputs(shape=(2, 3, 6, 7))
    masked = target.clone()
    masked[:, 1, 4:] = math.nan
    loss = Criterion([("ce", 1.0, CrossEntropy())])
    value = loss(logits.requires_grad_(True), masked)
    (gradient,) = torch.autograd.grad(value, logits)
    assert bool((gradient[:, :, 4:] == 0).all())
    expected = CrossEntropy()(logits[:, :, :4], target[:, :, :4])
    assert float(value.detach()) == pytest.approx(float(expected.detach()), abs=1e-12)


def test_it_says_what_data_it_is_for_and_how_probabilities_come_from_its_logits():
    assert CrossEntropy.exclusive_only is True
    assert CrossEntropy.activation == "softmax"
    assert not hasattr(BCE, "exclusive_only") and not hasattr(BCE, "activation")
