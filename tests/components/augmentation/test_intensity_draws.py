"""What is drawn for intensities: shares, distributions, the form of the bias field, and the words for it."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from gisegkit.components.augmentation.intensity_draws import POWERS, STEPS, IntensityDraws, IntensitySettings

LIMITS = {"bias": 0.4, "blur": 1.5, "noise": 0.1, "rician": 0.2, "contrast": 0.5, "gamma": 0.7}


def settings(p=1.0, **limits):
    return IntensitySettings(
        **{f"{name}_p": p for name in STEPS}, **({f"{name}_limit": LIMITS[name] for name in STEPS} | limits)
    )


def draws(count=4000, seed=0, **given):
    return IntensityDraws(settings(**given), count, np.random.default_rng(seed))


@pytest.mark.parametrize("p", [0.0, 0.15, 1.0])
def test_each_step_comes_with_its_probability_and_by_itself(p):
    drawn = draws(p=p)
    for name in STEPS:
        assert stats.binomtest(int(drawn.active[name].sum()), 4000, p).pvalue > 0.01
    if 0 < p < 1:
        pairs = np.corrcoef([drawn.active[name] for name in STEPS])
        assert np.abs(pairs - np.eye(len(STEPS))).max() < 4 / np.sqrt(4000)


def test_strengths_are_distributed_as_the_help_says():
    drawn = draws()
    for name in ("blur", "noise", "rician"):
        assert stats.kstest(getattr(drawn, name) / LIMITS[name], "uniform").pvalue > 0.01
    for name in ("contrast", "gamma"):  # a factor is as likely as its inverse
        values = getattr(drawn, name)
        assert 1 / (1 + LIMITS[name]) <= values.min() and values.max() <= 1 + LIMITS[name]
        share = np.log(values) / np.log(1 + LIMITS[name])
        assert stats.kstest(share, stats.uniform(-1, 2).cdf).pvalue > 0.01
    assert 1 - LIMITS["bias"] <= drawn.darkest.min() and drawn.darkest.max() <= 1
    assert stats.kstest(np.log(drawn.darkest) / np.log(1 - LIMITS["bias"]), "uniform").pvalue > 0.01


def test_a_limit_of_zero_is_no_step():
    drawn = draws(9, **{f"{name}_limit": 0.0 for name in STEPS})
    assert not any(active.any() for active in drawn.active.values())
    assert drawn.words() == [[]] * 9


@pytest.mark.parametrize("size", [(40, 56), (1, 30)])
def test_fields_are_smooth_and_go_from_the_darkest_place_to_one(size):
    drawn = draws(20)
    fields = drawn.fields(size)
    assert fields.shape == (20, *size) and fields.dtype == np.float32
    np.testing.assert_allclose(fields.max((1, 2)), 1, atol=1e-6)
    np.testing.assert_allclose(fields.min((1, 2)), drawn.darkest, atol=1e-6)
    y, x = np.meshgrid(*(np.linspace(-1, 1, side) for side in size), indexing="ij")
    cubic = np.stack([np.ones(size), *(y**i * x**j for i, j in POWERS)], axis=-1).reshape(-1, 1 + len(POWERS))
    logs = np.log(fields.astype(np.float64)).reshape(20, -1).T
    left = logs - cubic @ np.linalg.lstsq(cubic, logs, rcond=None)[0]
    assert np.abs(left).max() < 1e-5, "the logarithm is a polynomial of the third order"


def test_kernels_are_gaussians_with_the_sum_one():
    drawn = draws(12)
    kernels = drawn.kernels((64, 64))
    radius = kernels.shape[1] // 2
    assert radius == np.ceil(3 * drawn.blur.max())
    np.testing.assert_allclose(kernels.sum(1), 1, atol=1e-6)
    offsets = np.arange(-radius, radius + 1)
    for kernel, sigma in zip(kernels, drawn.blur, strict=True):
        expected = stats.norm(0, sigma).pdf(offsets)
        np.testing.assert_allclose(kernel, expected / expected.sum(), atol=1e-6)
    assert draws(12, blur_limit=10.0).kernels((5, 64)).shape[1] == 9, "a reflection has no more pixels"


def test_words_name_the_steps_that_come_in_their_order():
    drawn = draws(30, p=0.5)
    assert len({len(line) for line in drawn.words()}) > 2
    for index, line in enumerate(drawn.words()):
        assert len(line) == sum(drawn.active[name][index] for name in STEPS)
    full = draws(1).words()[0]
    assert [word.split(":")[0] for word in full] == [
        "bias field", "blur", "Gaussian noise", "Rician noise", "contrast", "gamma",
    ]  # fmt: skip
