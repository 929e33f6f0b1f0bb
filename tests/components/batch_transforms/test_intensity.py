"""The batch transform intensity: each step against SciPy or its formula, the range, and what must not change."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage, stats

from gisegkit.components.augmentation.intensity_draws import STEPS, IntensityDraws
from gisegkit.components.batch_transforms.intensity import Intensity
from gisegkit.types import Batch

SIZE = (48, 60)
OFF = {f"{name}_p": 0.0 for name in STEPS}
ALWAYS = {f"{name}_p": 1.0 for name in STEPS}


def only(step, limit, **others):
    return Intensity(**OFF | {f"{step}_p": 1.0, f"{step}_limit": limit} | others)


def batch(images):
    target = (torch.rand(len(images), 2, *images.shape[2:], generator=torch.Generator().manual_seed(1)) < 0.4).float()
    target[:, 0, :5] = torch.nan
    return Batch(images, ((0.3, target), (0.7, target.flip(0))), torch.arange(len(images)))


def smooth(count=6, channels=1, low=0.2, high=0.8):
    values = ndimage.gaussian_filter(np.random.default_rng(0).random((count, channels, *SIZE)), (0, 0, 2, 2))
    values = (values - values.min()) / (values.max() - values.min())
    return torch.from_numpy(low + values * (high - low)).float()


def rng(seed=0):
    return np.random.default_rng(seed)


def applied(transform, images, seed=0):
    """The images before and after, and what was drawn for them."""
    after = transform(batch(images), rng(seed)).images
    return images.double().numpy(), after.double().numpy(), IntensityDraws(transform, len(images), rng(seed))


# --- each step ------------------------------------------------------------------------------------------------------


def test_gamma_is_a_power():
    before, after, drawn = applied(only("gamma", 0.8), smooth(channels=3))
    np.testing.assert_allclose(after, before ** drawn.gamma[:, None, None, None], atol=1e-6)


def test_contrast_multiplies_distances_from_the_mean_of_the_slice():
    before, after, drawn = applied(only("contrast", 0.2), smooth(channels=3, low=0.4, high=0.6))
    np.testing.assert_allclose(after.mean((1, 2, 3)), before.mean((1, 2, 3)), atol=1e-6)
    np.testing.assert_allclose(after.std((1, 2, 3)), before.std((1, 2, 3)) * drawn.contrast, atol=1e-6)


def test_blur_is_that_of_scipy():
    before, after, drawn = applied(only("blur", 2.0), smooth(channels=2))
    radius = drawn.kernels(SIZE).shape[1] // 2
    for index, sigma in enumerate(drawn.blur):
        for channel in range(2):
            expected = before[index, channel]
            for axis in (0, 1):
                expected = ndimage.gaussian_filter1d(expected, sigma, axis=axis, mode="mirror", radius=radius)
            np.testing.assert_allclose(after[index, channel], expected, atol=1e-5)


def test_the_bias_field_is_a_factor():
    before, after, drawn = applied(only("bias", 0.6), smooth(channels=3))
    np.testing.assert_allclose(after / before, np.repeat(drawn.fields(SIZE)[:, None], 3, axis=1), atol=1e-5)


def test_gaussian_noise_has_its_variance_and_no_neighbor_in_common():
    images = torch.full((5, 2, 100, 100), 0.5)
    before, after, drawn = applied(only("noise", 0.1), images)
    for index, sigma in enumerate(drawn.noise):
        noise = (after - before)[index] / sigma
        assert stats.kstest(noise.ravel(), "norm").pvalue > 0.01
        assert abs(np.corrcoef(noise[0].ravel(), noise[1].ravel())[0, 1]) < 0.04, "another for each channel"
        assert abs(np.corrcoef(noise[0, :-1].ravel(), noise[0, 1:].ravel())[0, 1]) < 0.04


@pytest.mark.parametrize("signal", [0.0, 0.05, 0.5])
def test_rician_noise_has_the_distribution_of_rice_and_brightens_the_dark(signal):
    images = torch.full((4, 1, 100, 100), signal)
    _, after, drawn = applied(only("rician", 0.1), images)
    for index, sigma in enumerate(drawn.rician):
        rice = stats.rice(signal / sigma, scale=sigma)
        assert stats.kstest(after[index].ravel(), rice.cdf).pvalue > 0.01
        assert abs(after[index].mean() - rice.mean()) < 5 * rice.std() / 100
        if signal == 0:
            assert abs(after[index].mean() - sigma * np.sqrt(np.pi / 2)) < 5 * rice.std() / 100  # Rayleigh


# --- the range ------------------------------------------------------------------------------------------------------

WILD = ALWAYS | {
    "bias_limit": 0.9, "blur_limit": 3.0, "noise_limit": 0.8, "rician_limit": 0.8, "contrast_limit": 5.0,
    "gamma_limit": 5.0,
}  # fmt: skip


@pytest.mark.parametrize("only_step", [None, *STEPS])
def test_the_range_is_kept(only_step):
    chosen = WILD if only_step is None else WILD | {f"{name}_p": float(name == only_step) for name in STEPS}
    fractions = smooth(low=0.0, high=1.0, channels=3)
    after = Intensity(**chosen)(batch(fractions), rng()).images
    assert after.min() >= 0 and after.max() <= 1 and after.isfinite().all()
    zscores = (fractions - fractions.mean()) / fractions.std() * torch.linspace(0.5, 3, 6)[:, None, None, None]
    after = Intensity(**chosen)(batch(zscores), rng()).images
    assert after.isfinite().all() and not torch.equal(after, zscores)
    for mine, given in zip(after, zscores, strict=True):
        assert mine.min() >= given.min() - 1e-5 and mine.max() <= given.max() + 1e-5


def test_steps_mean_the_same_in_any_range():
    """z-scores of an image are changed as the image is: only its units differ."""
    fractions = smooth(low=0.0, high=1.0, count=1)
    scores = fractions * 7 - 2
    a, b = (only("gamma", 0.9)(batch(images), rng()).images for images in (fractions, scores))
    torch.testing.assert_close(a * 7 - 2, b, atol=1e-4, rtol=0)


@pytest.mark.parametrize("value", [0.0, 0.3, -2.0, 900.0])
def test_a_slice_without_contrast_stays_finite(value):
    after = Intensity(**WILD)(batch(torch.full((3, 2, *SIZE), value)), rng()).images
    assert after.isfinite().all()


# --- what must not change -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", [OFF, ALWAYS | {f"{name}_limit": 0.0 for name in STEPS}])
def test_nothing_changes_at_limit_or_probability_zero(settings):
    for images in (smooth(), smooth() * 9 - 4):
        assert torch.equal(Intensity(**settings)(batch(images), rng()).images, images)


def test_masks_rows_input_and_memory_format_stay():
    given = batch(smooth(channels=3).contiguous(memory_format=torch.channels_last))
    kept = given.images.clone()
    after = Intensity(**WILD)(given, rng())
    assert after.targets is given.targets and after.rows is given.rows
    assert torch.equal(given.images, kept) and not torch.equal(after.images, kept)
    assert after.images.is_contiguous(memory_format=torch.channels_last)


def test_all_channels_of_a_stack_are_changed_alike():
    images = smooth().repeat(1, 3, 1, 1)
    after = Intensity(**WILD | {"noise_p": 0.0, "rician_p": 0.0})(batch(images), rng()).images
    torch.testing.assert_close(after, after[:, :1].expand(-1, 3, -1, -1), atol=1e-6, rtol=0)
    assert not torch.equal(after, images)


def test_draws_come_from_the_generator_that_is_handed_in():
    torch.manual_seed(3)
    np.random.seed(3)
    before = torch.get_rng_state(), np.random.get_state()[1].tolist()
    first, second, other = (Intensity(**WILD)(batch(smooth()), rng(seed)).images for seed in (4, 4, 5))
    assert torch.equal(first, second) and not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), before[0]) and np.random.get_state()[1].tolist() == before[1]


def test_it_says_what_it_draws_and_draws_the_same_either_way():
    silent, speaking = Intensity(), Intensity()
    speaking.record = True
    given = batch(smooth(count=40))
    assert torch.equal(silent(given, rng()).images, speaking(given, rng()).images)
    assert silent.drawn_by_slice == () and len(speaking.drawn_by_slice) == 40
    assert any("gamma: exponent" in line for lines in speaking.drawn_by_slice for line in lines)
    changed = (speaking(given, rng()).images != given.images).flatten(1).any(1).tolist()
    for lines, differs in zip(speaking.drawn_by_slice, changed, strict=True):
        assert lines or not differs
        assert differs or all(line.startswith("blur") for line in lines), "a blur of 0.1 px leaves float32 as it is"
