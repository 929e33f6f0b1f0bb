"""What the deck's steps do to positions, against albumentations 1's definitions written down again in numpy."""

from __future__ import annotations

import random

import albumentations
import numpy as np
import pytest
from scipy import ndimage, stats

from gisegkit.components.augmentation import AlbumentationsPolicy
from gisegkit.components.warps import ElasticTransform, GridDistortion, ShiftScaleRotate, move, positions

SIZE = (96, 128)
HEIGHT, WIDTH = SIZE


def field(step, seed, size=SIZE):
    """Where each pixel of the result comes from, ``[2, H, W]`` (x, y), seen by moving an image of its positions."""
    policy = AlbumentationsPolicy(lambda: [step])
    image = np.stack(positions(*size), axis=-1)
    moved, _ = policy(image, np.zeros((*size, 1), np.uint8), np.random.default_rng(seed))
    return moved.transpose(2, 0, 1)


def centre(values, share=4):
    """The middle of a field, where no border was reflected."""
    rows, columns = values.shape[-2] // share, values.shape[-1] // share
    return values[..., rows:-rows, columns:-columns]


def affine_of(moved):
    """The 2 x 3 matrix that best explains a field, and its largest error in pixels."""
    x, y = (centre(axis) for axis in np.stack(positions(*moved.shape[1:])))
    inner = centre(moved)
    design = np.stack([x.ravel(), y.ravel(), np.ones(x.size)], axis=1)
    solution, *_ = np.linalg.lstsq(design, inner.reshape(2, -1).T, rcond=None)
    error = np.abs(design @ solution - inner.reshape(2, -1).T).max()
    return solution.T, error


# --- shift, scale, rotate -------------------------------------------------------------------------------------------


def drawn_from(matrix):
    """Shift in pixels, scale and angle of the map from sample to result, about the centre."""
    linear = np.linalg.inv(matrix[:, :2])  # the field says where a pixel comes from: the way back
    middle = np.array([(WIDTH - 1) / 2, (HEIGHT - 1) / 2])
    shift = -linear @ (matrix @ np.append(middle, 1) - middle)
    return shift, np.sqrt(np.linalg.det(linear)), np.degrees(np.arctan2(linear[0, 1], linear[0, 0]))


def test_shift_scale_and_angle_are_uniform_within_the_decks_limits_and_independent():
    step = ShiftScaleRotate(shift=0.0625, scale=0.05, rotate=10, p=1)
    found = []
    for seed in range(300):
        matrix, error = affine_of(field(step, seed))
        assert error < 0.05, "nothing but shift, scale and rotation"
        shift, scale, angle = drawn_from(matrix)
        similar = matrix[:, :2].T @ matrix[:, :2] * scale**2
        assert np.allclose(similar, np.eye(2), atol=0.01), "one scale for both axes, no shear"
        found.append((shift[0] / WIDTH / 0.0625, shift[1] / HEIGHT / 0.0625, (scale - 1) / 0.05, angle / 10))
    values = np.array(found)
    for column in values.T:
        assert np.abs(column).max() < 1.02
        assert stats.kstest(column, stats.uniform(-1, 2).cdf).pvalue > 1e-3
    assert np.abs(np.corrcoef(values.T) - np.eye(4)).max() < 0.2


# --- grid -----------------------------------------------------------------------------------------------------------


def grid_line(length, steps, factors):
    """Albumentations 1.4: positions along one axis, one factor a cell; what is left over ends at the image's end."""
    cell = length // steps
    line, previous = np.zeros(length), 0.0
    for index in range(steps + 1):
        start, end = index * cell, index * cell + cell
        if end > length:
            end, current = length, float(length)
        else:
            current = previous + cell * factors[index]
        line[start:end] = np.linspace(previous, current, end - start)
        previous = current
    return line


@pytest.mark.parametrize("size", [(100, 150), (96, 128)])
def test_a_grid_is_that_of_albumentations_1_with_the_same_factors(size):
    step = GridDistortion(num_steps=5, distort_limit=0.05, p=1)
    for seed in range(5):
        step.set_random_state(np.random.default_rng(0), random.Random(seed))
        params = step.get_params_dependent_on_data({"shape": (*size, 1)}, {})
        again = random.Random(seed)
        lines = []
        for length in (size[1], size[0]):
            count = -(-length // (length // 5))
            factors = [1 + again.uniform(-0.05, 0.05) for _ in range(count)]
            lines.append(grid_line(length, 5, [*factors, 1.0]))
        np.testing.assert_allclose(params["map_x"], np.broadcast_to(lines[0], size), atol=1e-3)
        np.testing.assert_allclose(params["map_y"], np.broadcast_to(lines[1][:, None], size), atol=1e-3)


def test_cells_change_by_up_to_five_per_cent_and_the_last_pixels_are_not_squeezed():
    step = GridDistortion(num_steps=5, distort_limit=0.05, p=1)
    most = 0.0
    for seed in range(60):
        moved = field(step, seed, size=(224, 224))
        widths = np.diff(moved[0][100, :220:44])
        most = max(most, float(np.abs(widths / 44 - 1).max()))
        assert np.abs(np.diff(moved[0][100, 220:])).max() < 12, "4 columns end the image; they show a few, not 44"
    assert 0.035 < most < 0.075  # a cell, and the one pixel by which its last one ends on the next


# --- elastic --------------------------------------------------------------------------------------------------------


def three_points(rng):
    """Albumentations 1: the matrix from three points to where they are moved, from sample to result."""
    reach = min(SIZE) // 3
    points = np.array([WIDTH // 2, HEIGHT // 2]) + reach * np.array([[1, 1], [1, -1], [-1, -1]])
    moved = points + rng.uniform(-50, 50, (3, 2))
    full = np.linalg.solve(np.column_stack([points, np.ones(3)]), moved).T
    return np.vstack([full, [0, 0, 1]])


def test_the_affine_part_moves_three_points_by_up_to_alpha_affine():
    """The recovered matrices have the distribution of the definition: every entry by Kolmogorov-Smirnov."""
    step = ElasticTransform(alpha=0, sigma=50, alpha_affine=50, p=1)
    found = []
    for seed in range(300):
        step.set_random_state(np.random.default_rng(seed), random.Random(0))
        params = step.get_params_dependent_on_data({"shape": (*SIZE, 1)}, {})
        way = np.stack([params["map_x"], params["map_y"]])
        matrix, error = affine_of(way)
        assert error < 0.05
        found.append(np.linalg.inv(np.vstack([matrix, [0, 0, 1]]))[:2].ravel())
        assert params["affine_moves_up_to_px"] <= 50
    rng = np.random.default_rng(1)
    expected = np.array([three_points(rng)[:2].ravel() for _ in range(3000)])
    for column in range(6):
        assert stats.ks_2samp(np.array(found)[:, column], expected[:, column]).pvalue > 1e-3


def test_the_smooth_part_is_blurred_uniform_noise_times_alpha():
    """Its spread is that of the definition, computed by scipy; with the deck's alpha of 1 it is next to nothing."""
    measured, defined = [], []
    for seed in range(12):
        step = ElasticTransform(alpha=200, sigma=6, alpha_affine=0, p=1)
        step.set_random_state(np.random.default_rng(seed), random.Random(0))
        params = step.get_params_dependent_on_data({"shape": (*SIZE, 1)}, {})
        measured.append((params["map_x"] - positions(*SIZE)[0]).std())
        noise = np.random.default_rng(seed + 100).uniform(-1, 1, SIZE)
        defined.append((ndimage.gaussian_filter(noise, 6) * 200).std())
    assert np.mean(measured) == pytest.approx(np.mean(defined), rel=0.1)
    deck = ElasticTransform(alpha=1, sigma=50, alpha_affine=0, p=1)
    assert np.abs(field(deck, 0) - np.stack(positions(*SIZE))).max() < 0.05


def test_the_displacement_is_looked_up_in_the_affine_maps_result():
    """Both as one map equal the two applied one after the other, in the middle, where no border was reflected."""
    whole = ElasticTransform(alpha=300, sigma=8, alpha_affine=5, p=1)
    parts = (
        ElasticTransform(alpha=0, sigma=8, alpha_affine=5, p=1),
        ElasticTransform(alpha=300, sigma=8, alpha_affine=0, p=1),
    )
    image = ndimage.gaussian_filter(np.random.default_rng(0).random(SIZE), 4)[..., None].astype(np.float32)
    results = []
    for steps in ((whole,), parts):
        result = image
        for step in steps:
            step.set_random_state(np.random.default_rng(3), random.Random(0))
            maps = step.get_params_dependent_on_data({"shape": image.shape}, {})
            result = step.apply(result, maps["map_x"], maps["map_y"])
        results.append(centre(result[..., 0]))
    assert np.abs(results[0] - results[1]).max() < 0.01 * np.ptp(image)
    assert np.abs(results[0] - centre(image[..., 0])).max() > 0.1 * np.ptp(image)


# --- moving ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 3, 4, 5, 9])
def test_any_number_of_channels_moves_alike(channels):
    values = np.random.default_rng(0).random((*SIZE, channels), dtype=np.float32)
    map_x, map_y = positions(*SIZE)
    moved = move(values, map_x[:, ::-1].copy(), map_y, 1)
    np.testing.assert_allclose(moved, values[:, ::-1], atol=1e-6)


def test_the_border_is_reflected():
    values = np.arange(10, dtype=np.float32)[None, :, None].repeat(3, 0)
    map_x, map_y = positions(3, 10)
    moved = move(values, map_x - 3, map_y, 1)
    assert moved[1, :, 0].tolist() == [3, 2, 1, 0, 1, 2, 3, 4, 5, 6]


def test_they_are_steps_like_the_librarys_own():
    step = ShiftScaleRotate(shift=0.1, scale=0.1, rotate=5, p=0.5)
    assert isinstance(step, albumentations.DualTransform)
    policy = AlbumentationsPolicy(lambda: [step])
    policy.record = True
    applied = 0
    for seed in range(200):
        policy(np.zeros((*SIZE, 1), np.float32), np.zeros((*SIZE, 1), np.uint8), np.random.default_rng(seed))
        applied += bool(policy.drawn)
    assert abs(applied - 100) < 4 * np.sqrt(50)
    policy(np.zeros((*SIZE, 1), np.float32), np.zeros((*SIZE, 1), np.uint8), np.random.default_rng(1))
