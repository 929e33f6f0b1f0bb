"""gisegkit.components.losses.lovasz: the definition by brute force, values by hand, Berman's own code in smp."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from segmentation_models_pytorch.losses import LovaszLoss

from gisegkit.components.losses.lovasz import Lovasz, jaccard_steps


def inputs(seed=0, shape=(2, 3, 5, 7)):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(shape, generator=generator, dtype=torch.float64) * 2
    return logits, (torch.rand(shape, generator=generator) < 0.4).double()


def row(*values):
    return torch.tensor(values, dtype=torch.float64).view(1, 1, 1, -1)


def jaccard_loss(wrong, truth):
    """1 - |P and T| / |P or T| of the mask that is wrong in exactly these pixels; 0 where both are empty."""
    predicted = truth ^ wrong
    union = (predicted | truth).sum()
    return 1 - (predicted & truth).sum() / union if union else 0.0


def extension(errors, truth):
    """The Lovász extension without any sorting of pixels: the integral of the set function over all thresholds."""
    levels = np.unique(np.concatenate([[0.0], errors]))
    return sum((high - low) * jaccard_loss(errors > low, truth) for low, high in itertools.pairwise(levels))


def test_by_hand():
    # Errors: 1 - 0 = 1 in the class; outside 1 + 0.5 = 1.5, and 1 - 2 below 0, so none. The worst pixel alone makes
    # the Jaccard loss 1 - 1/2, the two worst 1: 1.5 * 0.5 + 1 * 0.5.
    assert float(Lovasz()(row(0.0, 0.5, -2.0), row(1, 0, 0))) == pytest.approx(1.25, abs=1e-12)


def test_an_empty_class_by_hand():
    logits, target = row(-0.5, -3.0, 0.25, -1.0), row(0, 0, 0, 0)
    assert float(Lovasz()(logits, target)) == pytest.approx(1.25, abs=1e-12)  # the worst pixel alone
    assert float(Lovasz(empty="skip")(logits, target)) == 0
    mean = (1 / (1 + np.exp([0.5, 3.0, -0.25, 1.0]))).mean()
    assert float(Lovasz(empty="mean_probability")(logits, target)) == pytest.approx(mean, abs=1e-12)


def test_a_full_class_by_hand():
    # Every missed pixel of four takes 1/4 from the index: the mean error.
    assert float(Lovasz()(row(-1.0, 0.0, 2.0, 0.5), row(1, 1, 1, 1))) == pytest.approx((2 + 1 + 0 + 0.5) / 4, abs=1e-12)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.floats(-4, 4, width=16), st.booleans()), min_size=1, max_size=12))
def test_is_the_lovasz_extension_of_the_jaccard_loss(pixels):
    logits, truth = (np.array(column) for column in zip(*pixels, strict=True))
    errors = np.maximum(0, 1 - logits * np.where(truth, 1, -1))
    value = float(Lovasz()(row(*logits), row(*truth)))
    assert value == pytest.approx(extension(errors, truth), abs=1e-12)
    assert value >= jaccard_loss((logits >= 0) != truth, truth) - 1e-12  # it bounds what it stands for


@pytest.mark.parametrize("shape", [(2, 3, 5, 7), (1, 1, 9, 4), (4, 2, 16, 16)])
@pytest.mark.parametrize("over", ["image", "batch"])
@pytest.mark.parametrize("fill", [None, 0.0, 1.0])
def test_equals_smp_class_by_class(shape, over, fill):
    logits, target = inputs(shape=shape)
    if fill is not None:
        target[0, -1] = fill
    theirs = LovaszLoss("binary", per_image=over == "image")  # smp puts all classes into one set
    expected = [float(theirs(logits[:, k].float(), target[:, k].long())) for k in range(shape[1])]
    assert float(Lovasz(ratio_over=over)(logits, target)) == pytest.approx(np.mean(expected), abs=1e-6)


def test_the_gradient_equals_smp():
    logits, target = inputs(shape=(2, 1, 8, 8))
    logits = logits.float().requires_grad_(True)
    ours, theirs = (
        torch.autograd.grad(loss(logits, target.long()), logits)[0] for loss in (Lovasz(), LovaszLoss("binary"))
    )
    assert torch.allclose(ours, theirs, atol=1e-6)
    assert float(ours.abs().max()) > 1e-3


def test_pixels_that_are_right_by_a_margin_have_no_gradient():
    logits, target = row(1.5, 0.5, -1.5, -0.5).requires_grad_(True), row(1, 1, 0, 0)
    (gradient,) = torch.autograd.grad(Lovasz()(logits, target), logits)
    assert (gradient != 0).flatten().tolist() == [False, True, False, True]


def test_soft_targets_count_from_one_half_on():
    logits, _ = inputs()
    soft = torch.rand(logits.shape, generator=torch.Generator().manual_seed(3))
    soft[0, 0, 0, 0] = 0.5
    assert float(Lovasz()(logits, soft)) == float(Lovasz()(logits, (soft >= 0.5).double()))


def test_steps_of_a_large_set_are_exact_in_float32():
    """Differences of the loss itself, in float32, would be wrong by a third and more here."""
    pixels = 2_000_000
    truth = torch.rand(pixels, generator=torch.Generator().manual_seed(0)) < 0.02
    steps = jaccard_steps(truth, torch.float32)
    hits = truth.numpy().cumsum()
    size = hits[-1]
    loss = 1 - (size - hits) / (size + np.arange(1, pixels + 1) - hits)  # float64
    exact = np.diff(loss, prepend=0.0)
    large = exact > 1e-9  # where float64 differences are themselves exact to 7 digits
    np.testing.assert_allclose(steps.numpy()[large], exact[large], rtol=1e-6)
    assert float(steps.double().sum()) == pytest.approx(1, abs=1e-6)
    naive = np.diff(loss.astype(np.float32), prepend=np.float32(0))
    assert np.abs(naive[large] / exact[large] - 1).max() > 0.3
