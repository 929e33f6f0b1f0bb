"""gisegkit.components.losses.ratios, and what holds for every loss: contract, gradient, precision, ignored pixels."""

from __future__ import annotations

import math

import pytest
import torch
from monai import losses as monai
from segmentation_models_pytorch import losses as smp

from gisegkit.components.losses.cross_entropy import CrossEntropy
from gisegkit.components.losses.focal import Focal, FocalTversky
from gisegkit.components.losses.lovasz import Lovasz
from gisegkit.components.losses.ratios import BCE, DiceLoss, Jaccard, Tversky
from gisegkit.engine.criterion import Criterion
from gisegkit.errors import TrainingError
from gisegkit.testing import check_loss

CHOICES = ("penalize", "skip", "mean_probability")
RATIOS = {
    "dice": DiceLoss(),
    "dice by image": DiceLoss(ratio_over="image"),
    "dice unsmoothed": DiceLoss(smooth=0.0),
    "dice skip": DiceLoss(empty="skip"),
    "dice mean": DiceLoss(ratio_over="image", empty="mean_probability"),
    "jaccard": Jaccard(),
    "jaccard by image": Jaccard(ratio_over="image", smooth=0.0, empty="skip"),
    "tversky": Tversky(alpha=0.3, beta=0.7),
    "tversky by image": Tversky(alpha=0.9, beta=0.1, ratio_over="image", smooth=0.5),
    "tversky mean": Tversky(alpha=0.2, empty="mean_probability"),
    "focal_tversky": FocalTversky(),
    "focal_tversky by image": FocalTversky(gamma=3.0, ratio_over="image", smooth=0.0, empty="skip"),
    "focal_tversky mean": FocalTversky(gamma=0.5, empty="mean_probability"),
}
SETS = {
    "lovasz": Lovasz(),
    "lovasz by image": Lovasz(ratio_over="image"),
    "lovasz skip": Lovasz(ratio_over="image", empty="skip"),
    "lovasz mean": Lovasz(empty="mean_probability"),
}
PIXELS = {"bce": BCE(), "focal": Focal(), "focal weighted": Focal(gamma=0.7, alpha=0.25)}
BY_CLASS = RATIOS | SETS | PIXELS
LOSSES = BY_CLASS | {"ce": CrossEntropy()}


def inputs(seed=0, shape=(2, 3, 5, 7), dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(shape, generator=generator, dtype=dtype) * 2
    target = (torch.rand(shape, generator=generator) < 0.4).to(dtype)
    return logits, target


def criterion(loss):
    return Criterion([("it", 1.0, loss)])


# --- every loss -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_contract(loss):
    check_loss(loss)
    check_loss(loss, classes=1)


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
@pytest.mark.parametrize("kind", ["hard", "soft", "one class empty", "one image ignored"])
@pytest.mark.slow
def test_gradient(loss, kind):
    logits, target = inputs(shape=(2, 2, 3, 4))
    valid = torch.ones_like(target, dtype=torch.bool)
    if kind == "soft":
        target = target * 0.7 + 0.1
    elif kind == "one class empty":
        target[:, 1] = 0
    elif kind == "one image ignored":
        valid[0] = False
        target[0] = 0
    assert torch.autograd.gradcheck(lambda x: loss(x, target, valid), logits.requires_grad_(True))


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.slow
def test_half_precision_is_computed_in_float32(loss, dtype):
    logits, target = inputs(shape=(2, 3, 300, 300), dtype=torch.float32)  # 90000 pixels: a float16 sum would overflow
    half = logits.to(dtype)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = criterion(loss)(half, target.to(dtype))
        alone = loss(half, target.to(dtype))
    assert value.dtype == alone.dtype == torch.float32
    exact = loss(half.double(), target.double())
    assert exact.dtype == torch.float64
    assert float(value) == float(alone) == pytest.approx(float(exact), rel=2e-6)


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
@pytest.mark.parametrize("size", [30.0, 1e4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16])
def test_confident_logits_stay_finite(loss, size, dtype):
    _, target = inputs(dtype=dtype)
    for sign in (1, -1):
        logits = ((target * 2 - 1) * sign * size).requires_grad_(True)
        value = loss(logits, target)
        (gradient,) = torch.autograd.grad(value, logits)
        assert bool(value.isfinite()) and bool(gradient.isfinite().all())


@pytest.mark.parametrize("loss", BY_CLASS.values(), ids=BY_CLASS)
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_right_prediction_of_all_empty_or_all_full_costs_nothing(loss, value):
    target = torch.full((2, 3, 4, 4), value)
    assert float(loss((target - 0.5) * 200, target)) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("loss", BY_CLASS.values(), ids=BY_CLASS)
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_wrong_prediction_of_all_empty_or_all_full_costs_unless_it_is_skipped(loss, value):
    target = torch.full((2, 3, 4, 4), value)
    wrong = float(loss((0.5 - target) * 200, target))
    if value == 0 and getattr(loss, "empty", "") == "skip":
        assert wrong == 0
    else:
        assert wrong > 0.5


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_other_shapes_are_refused_with_both_named(loss):
    with pytest.raises(TrainingError, match=r"\[2, 3, 8, 8\] for targets \[2, 3, 4, 4\]"):
        loss(torch.zeros(2, 3, 8, 8), torch.zeros(2, 3, 4, 4))
    with pytest.raises(TrainingError, match=r"\[3, 8, 8\]"):
        loss(torch.zeros(3, 8, 8), torch.zeros(3, 8, 8))


# --- ignored pixels -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_ignored_pixels_change_nothing_and_have_no_gradient(loss):
    logits, target = inputs(dtype=torch.float32)
    target[:, :, 1:3] = math.nan
    target[0, 2] = math.nan
    other = torch.where(target.isnan(), torch.tensor(7e3), logits)
    other[0, 2, 0, 0] = math.inf
    results = []
    for values in (logits, other):
        point = values.clone().requires_grad_(True)
        value = criterion(loss)(point, target)
        (gradient,) = torch.autograd.grad(value, point)
        assert bool((gradient[target.isnan()] == 0).all())
        assert bool((gradient[~target.isnan()] != 0).any())
        results.append((float(value.detach()), gradient))
    assert results[0][0] == results[1][0]
    assert torch.equal(results[0][1], results[1][1])


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
@pytest.mark.parametrize("empty", [False, True])
def test_ignored_rows_equal_a_smaller_image(loss, empty):
    logits, target = inputs(shape=(2, 3, 6, 7))
    target[:, 1] *= not empty
    masked = target.clone()
    masked[:, :, 4:] = math.nan
    whole = float(criterion(loss)(logits, masked))
    assert whole == pytest.approx(float(loss(logits[:, :, :4], target[:, :, :4])), abs=1e-12)


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_an_ignored_image_equals_a_smaller_batch(loss):
    logits, target = inputs(shape=(3, 3, 6, 7))
    masked = target.clone()
    masked[1] = math.nan
    assert float(criterion(loss)(logits, masked)) == pytest.approx(float(loss(logits[::2], target[::2])), abs=1e-12)


@pytest.mark.parametrize("loss", BY_CLASS.values(), ids=BY_CLASS)
def test_an_ignored_class_equals_fewer_classes(loss):
    logits, target = inputs(shape=(2, 3, 6, 7))
    masked = target.clone()
    masked[:, 1] = math.nan
    expected = float(loss(logits[:, ::2], target[:, ::2]))
    assert float(criterion(loss)(logits, masked)) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_everything_ignored_costs_nothing(loss):
    logits, target = inputs(dtype=torch.float32)
    logits.requires_grad_(True)
    value = criterion(loss)(logits, torch.full_like(target, math.nan))
    value.backward()
    assert float(value.detach()) == 0
    assert bool((logits.grad == 0).all())


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
    assert float(Jaccard(smooth=0)(logits, target)) == pytest.approx(1 - 1 / 3, abs=1e-6)
    assert float(Jaccard(smooth=2)(logits, target)) == pytest.approx(1 - 3 / 5, abs=1e-12)


def test_soft_targets_by_hand():
    # p = 3/4, t = 1/2 on each of four pixels: TP = 1.5, FP = 1.5, FN = 0.5.
    logits = torch.full((1, 1, 2, 2), math.log(3), dtype=torch.float64)
    target = torch.full((1, 1, 2, 2), 0.5)
    assert float(Tversky(alpha=0.4, beta=0.8, smooth=1)(logits, target)) == pytest.approx(1 - 2.5 / 3.5, abs=1e-12)
    assert float(BCE()(logits, target)) == pytest.approx(-(math.log(3 / 4) + math.log(1 / 4)) / 2, abs=1e-12)


def test_alpha_weighs_false_positives_and_beta_false_negatives():
    target = torch.zeros(1, 1, 4, 4)
    target[..., :2, :] = 1  # 8 pixels
    too_much, too_little = torch.full_like(target, 50.0), torch.full_like(target, -50.0)
    too_little[..., :1, :] = 50.0
    loss = Tversky(alpha=0.25, beta=0.75, smooth=0)
    assert float(loss(too_much, target)) == pytest.approx(1 - 8 / (8 + 0.25 * 8), abs=1e-6)
    assert float(loss(too_little, target)) == pytest.approx(1 - 4 / (4 + 0.75 * 4), abs=1e-6)


def test_dice_is_tversky_with_equal_halves():
    logits, target = inputs()
    assert float(DiceLoss()(logits, target)) == pytest.approx(float(Tversky()(logits, target)), abs=1e-12)


@pytest.mark.parametrize("loss", (RATIOS | SETS).values(), ids=RATIOS | SETS)
def test_over_image_averages_images_and_over_batch_sums_first(loss):
    logits, target = inputs()
    target[1, 2] = 0  # one class of one image is empty
    if loss.ratio_over == "image":
        pairs = [(logits[i : i + 1, k : k + 1], target[i : i + 1, k : k + 1]) for i in (0, 1) for k in range(3)]
        expected = sum(float(loss(*pair)) for pair in pairs) / 6
    else:
        expected = float(loss(*(tensor.transpose(0, 1).reshape(1, 3, 10, 7) for tensor in (logits, target))))
    assert float(loss(logits, target)) == pytest.approx(expected, abs=1e-12)


def test_over_image_and_over_batch_differ():
    logits, target = inputs()
    assert float(DiceLoss()(logits, target)) != pytest.approx(
        float(DiceLoss(ratio_over="image")(logits, target)), abs=1e-4
    )


# --- independent implementations ------------------------------------------------------------------------------------

SHAPES = [(2, 3, 5, 7), (1, 1, 9, 4), (5, 2, 8, 8)]


def by_image(function, logits, target):
    """The mean over images of what an implementation gives for the batch."""
    return sum(float(function(*pair)) for pair in zip(logits.split(1), target.split(1), strict=True)) / len(logits)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("smooth", [0.0, 1.0, 30.0])
@pytest.mark.parametrize("over", ["image", "batch"])
@pytest.mark.parametrize("holes", ["none", "one class", "one class of one image", "all"])
def test_skip_equals_smp_whatever_is_empty(shape, smooth, over, holes):
    logits, target = inputs(shape=shape)
    where = {"none": [], "one class": (slice(None), -1), "one class of one image": (-1, -1), "all": slice(None)}[holes]
    target[where] = 0
    pairs = [
        (DiceLoss(smooth=smooth, ratio_over=over, empty="skip"), smp.DiceLoss("multilabel", smooth=smooth)),
        (Jaccard(smooth=smooth, ratio_over=over, empty="skip"), smp.JaccardLoss("multilabel", smooth=smooth)),
        (
            Tversky(alpha=0.3, beta=0.9, smooth=smooth, ratio_over=over, empty="skip"),
            smp.TverskyLoss("multilabel", smooth=smooth, alpha=0.3, beta=0.9),
        ),
    ]
    for ours, theirs in pairs:
        expected = by_image(theirs, logits, target) if over == "image" else float(theirs(logits, target))
        assert float(ours(logits, target)) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("smooth", [1e-3, 1.0, 30.0])
@pytest.mark.parametrize("over", ["image", "batch"])
@pytest.mark.parametrize("empty", [False, True])
def test_penalize_equals_monai(shape, smooth, over, empty):
    logits, target = inputs(shape=shape)
    target[:, -1] *= not empty
    same = {"sigmoid": True, "batch": over == "batch"}
    twice = {"smooth_nr": 2 * smooth, "smooth_dr": 2 * smooth}  # MONAI writes 2 TP in numerator and denominator
    once = {"smooth_nr": smooth, "smooth_dr": smooth}
    penalize = {"smooth": smooth, "ratio_over": over, "empty": "penalize"}
    pairs = [
        (DiceLoss(**penalize), monai.DiceLoss(**same, **twice)),
        (Jaccard(**penalize), monai.DiceLoss(**same, **twice, jaccard=True)),
        (
            Tversky(alpha=0.3, beta=0.9, **penalize),
            monai.TverskyLoss(**same, **once, alpha=0.3, beta=0.9),
        ),
    ]
    for ours, theirs in pairs:
        assert float(ours(logits, target)) == pytest.approx(float(theirs(logits, target)), abs=1e-12)


def test_soft_targets_equal_monai():
    logits, _ = inputs()
    target = torch.rand(logits.shape, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    dice = monai.DiceLoss(sigmoid=True, batch=True, smooth_nr=2, smooth_dr=2)
    tversky = monai.TverskyLoss(sigmoid=True, batch=True, alpha=0.3, beta=0.9, smooth_nr=1, smooth_dr=1)
    assert float(DiceLoss()(logits, target)) == pytest.approx(float(dice(logits, target)), abs=1e-12)
    ours = Tversky(alpha=0.3, beta=0.9)
    assert float(ours(logits, target)) == pytest.approx(float(tversky(logits, target)), abs=1e-12)


# --- empty classes --------------------------------------------------------------------------------------------------

PUSHING = {  # neither those that skip, nor the one without smoothing: there every false positive costs the same
    name: loss
    for name, loss in (RATIOS | PIXELS).items()
    if getattr(loss, "empty", "") != "skip" and name != "dice unsmoothed"
}


@pytest.mark.parametrize("loss", PUSHING.values(), ids=PUSHING)
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


@pytest.mark.parametrize("build", [DiceLoss, Jaccard, Tversky, FocalTversky, Lovasz])
def test_a_skipped_class_has_no_gradient_and_is_still_counted_in_the_mean(build):
    logits, target = inputs()
    target[:, 1] = 0
    loss = build(empty="skip")
    (gradient,) = torch.autograd.grad(loss(logits.requires_grad_(True), target), logits)
    assert bool((gradient[:, 1] == 0).all())
    assert bool((gradient[:, ::2] != 0).any())
    present = float(loss(logits[:, ::2].detach(), target[:, ::2]))
    assert float(loss(logits.detach(), target)) == pytest.approx(present * 2 / 3, abs=1e-12)


@pytest.mark.parametrize("build", [DiceLoss, Jaccard, Tversky, FocalTversky, Lovasz])
@pytest.mark.parametrize("over", ["image", "batch"])
def test_the_choice_changes_nothing_where_no_class_is_empty(build, over):
    logits, target = inputs()
    values = [float(build(ratio_over=over, empty=choice)(logits, target)) for choice in CHOICES]
    assert values[0] == values[1] == values[2] > 0


@pytest.mark.parametrize("build", [DiceLoss, Jaccard, Tversky, FocalTversky])
@pytest.mark.parametrize("amount", [1.0, 0.01])
def test_a_class_of_one_pixel_is_not_empty(build, amount):
    logits, target = inputs()
    target[:, 1] = 0
    target[0, 1, 2, 2] = amount
    values = [float(build(empty=choice)(logits, target)) for choice in CHOICES]
    assert values[0] == values[1] == values[2] > 0


def test_an_empty_class_by_hand():
    # 16 pixels of probability 1/4, none in the class: FP = 4, so 1 - smooth / (alpha FP + smooth), or FP / 16.
    logits, target = torch.full((1, 1, 4, 4), -math.log(3), dtype=torch.float64), torch.zeros(1, 1, 4, 4)
    expected = {"penalize": 1 - 3 / (0.25 * 4 + 3), "skip": 0.0, "mean_probability": 4 / 16}
    for choice, value in expected.items():
        assert float(Tversky(alpha=0.25, smooth=3.0, empty=choice)(logits, target)) == pytest.approx(value, abs=1e-12)


def test_by_image_the_choice_is_made_for_each_image():
    logits, target = inputs(shape=(2, 1, 5, 7))
    target[1] = 0
    first = float(DiceLoss()(logits[:1], target[:1]))
    p = torch.sigmoid(logits[1])
    loss = DiceLoss(ratio_over="image", empty="mean_probability")
    assert float(loss(logits, target)) == pytest.approx((first + float(p.mean())) / 2, abs=1e-12)
    assert float(DiceLoss(ratio_over="image", empty="skip")(logits, target)) == pytest.approx(first / 2, abs=1e-12)
