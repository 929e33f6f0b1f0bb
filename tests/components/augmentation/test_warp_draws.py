"""What the warps do to positions, against albumentations 1's definitions, step by step, with its own noise and blur."""

from __future__ import annotations

import re

import cv2
import numpy as np
import pytest
from scipy import ndimage, stats

from gisegkit.components.augmentation.warp_draws import Draws, WarpSettings, blurred_waves, grid_lines
from gisegkit.components.augmentation.warp_policies import full_maps, move

SIZE = (96, 128)
HEIGHT, WIDTH = SIZE
NOTHING = {"flip_p": 0, "shift_scale_rotate_p": 0, "distort_p": 0, "cutout_p": 0}
SIMILARITY = WarpSettings(**NOTHING | {"shift_scale_rotate_p": 1})
GRID = WarpSettings(**NOTHING | {"distort_p": 1}, elastic_share=0)
ELASTIC = {**NOTHING, "distort_p": 1, "elastic_share": 1}
EVERYTHING = {**NOTHING, "flip_p": 1, "shift_scale_rotate_p": 1, "distort_p": 1}


def draw(settings, seed, count=1, size=SIZE):
    return Draws(settings, size, count, np.random.default_rng(seed))


def maps(settings, seed, size=SIZE):
    """Where each pixel of the result comes from, ``[2, H, W]`` (x, y)."""
    return np.stack(full_maps(draw(settings, seed, size=size).field(), settings.sigma))


def positions(size=SIZE):
    return np.stack(np.meshgrid(np.arange(size[1]), np.arange(size[0]))).astype(np.float32)


def affine_of(moved):
    """The 2 x 3 matrix that best explains a field, and its largest error in pixels."""
    x, y = positions(moved.shape[1:])
    design = np.stack([x.ravel(), y.ravel(), np.ones(x.size)], axis=1)
    solution, *_ = np.linalg.lstsq(design, moved.reshape(2, -1).T, rcond=None)
    return solution.T, np.abs(design @ solution - moved.reshape(2, -1).T).max()


# --- shift, scale, rotate -------------------------------------------------------------------------------------------


def drawn_from(matrix):
    """Shift in pixels, scale and angle of the map from sample to result, about the center."""
    linear = np.linalg.inv(matrix[:, :2])  # the field says where a pixel comes from: the way back
    middle = np.array([(WIDTH - 1) / 2, (HEIGHT - 1) / 2])
    shift = -linear @ (matrix @ np.append(middle, 1) - middle)
    return shift, np.sqrt(np.linalg.det(linear)), np.degrees(np.arctan2(linear[0, 1], linear[0, 0]))


@pytest.mark.slow
def test_shift_scale_and_angle_are_uniform_within_the_decks_limits_and_independent():
    found = []
    for seed in range(300):
        matrix, error = affine_of(maps(SIMILARITY, seed))
        assert error < 1e-3, "nothing but shift, scale and rotation"
        shift, scale, angle = drawn_from(matrix)
        similar = matrix[:, :2].T @ matrix[:, :2] * scale**2
        assert np.allclose(similar, np.eye(2), atol=1e-4), "one scale for both axes, no shear"
        found.append((shift[0] / WIDTH / 0.0625, shift[1] / HEIGHT / 0.0625, (scale - 1) / 0.05, angle / 10))
    values = np.array(found)
    for column in values.T:
        assert np.abs(column).max() < 1.001
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
    for seed in range(5):
        drawn = draw(GRID, seed, size=size)
        moved = np.stack(full_maps(drawn.field(), 50.0))
        lines = [
            grid_line(length, 5, [*(1 + drawn.cells[axis][0]), 1.0]) for axis, length in enumerate((size[1], size[0]))
        ]
        np.testing.assert_allclose(moved[0], np.broadcast_to(lines[0], size), atol=1e-3)
        np.testing.assert_allclose(moved[1], np.broadcast_to(lines[1][:, None], size), atol=1e-3)


def test_cells_change_uniformly_by_up_to_five_per_cent_and_the_last_pixels_are_not_squeezed():
    changes = []
    for seed in range(60):
        moved = maps(GRID, seed, size=(224, 224))
        changes += [np.diff(moved[0][100, 0:220:44])[0] / 44 - 1, np.diff(moved[1][0:220:44, 100])[0] / 44 - 1]
        assert np.abs(np.diff(moved[0][100, 220:])).max() < 12, "4 columns end the image; they show a few, not 44"
    assert np.abs(changes).max() <= 0.0501
    assert stats.kstest(changes, stats.uniform(-0.05, 0.1).cdf).pvalue > 1e-3


@pytest.mark.parametrize("length", [1, 2, 4, 5, 7])
def test_an_image_smaller_than_the_cells_has_a_cell_a_pixel(length):
    lines = grid_lines(length, np.zeros((1, length // max(1, length // 5))), 5)
    np.testing.assert_allclose(lines, np.arange(length)[None])


# --- elastic --------------------------------------------------------------------------------------------------------


def three_points(rng):
    """Albumentations 1: the matrix from three points to where they are moved, from sample to result."""
    reach = min(SIZE) // 3
    points = np.array([WIDTH // 2, HEIGHT // 2]) + reach * np.array([[1, 1], [1, -1], [-1, -1]])
    moved = points + rng.uniform(-50, 50, (3, 2))
    return np.linalg.solve(np.column_stack([points, np.ones(3)]), moved).T


@pytest.mark.slow
def test_the_affine_part_moves_three_points_by_up_to_alpha_affine():
    """The recovered matrices have the distribution of the definition: every entry by Kolmogorov-Smirnov."""
    settings = WarpSettings(**ELASTIC, alpha=0)
    found = []
    for seed in range(300):
        matrix, error = affine_of(maps(settings, seed).astype(float))
        assert error < 1e-3 * np.abs(matrix).max()
        found.append(np.linalg.inv(np.vstack([matrix, [0, 0, 1]]))[:2].ravel())
    rng = np.random.default_rng(1)
    expected = np.array([three_points(rng).ravel() for _ in range(3000)])
    for column in range(6):
        assert stats.ks_2samp(np.array(found)[:, column], expected[:, column]).pvalue > 1e-3


def full_noise(rng, sigma, size=SIZE):
    """The definition: noise uniform in [-1, 1] in every pixel, blurred at full size."""
    noise = rng.uniform(-1, 1, size).astype(np.float32)
    return cv2.GaussianBlur(noise, (0, 0), sigma, borderType=cv2.BORDER_REFLECT)


def displacements(sigma, count, alpha=1.0, size=SIZE):
    settings = WarpSettings(**ELASTIC, alpha=alpha, sigma=sigma, alpha_affine=0)
    return np.array([maps(settings, seed, size) - positions(size) for seed in range(count)])


@pytest.mark.parametrize(("length", "sigma"), [(224, 50), (96, 50), (128, 20), (64, 4), (20, 50)])
def test_the_waves_covariance_is_that_of_the_blur_at_every_pair_of_pixels_borders_included(length, sigma):
    """White noise under a blur W has the covariance W W'; W is what OpenCV makes of single points."""
    rows = np.tile(np.eye(length)[:, None, :], (1, 3, 1))  # every point in turn, in an image of equal rows
    blur = np.stack([cv2.GaussianBlur(row, (0, 0), sigma, borderType=cv2.BORDER_REFLECT)[1] for row in rows], axis=1)
    expected = blur @ blur.T
    waves = blurred_waves(length, sigma).astype(float)
    assert np.abs(waves @ waves.T - expected).max() < 2e-3 * expected.max()
    assert waves.shape[1] < 4 * length / sigma / np.pi + 2, "few of them"


@pytest.mark.parametrize("sigma", [6, 20, 50])
@pytest.mark.slow
def test_spread_and_correlation_are_those_of_noise_blurred_at_full_size(sigma):
    """Standard deviations in the middle, at an edge and in a corner, correlations at several lags, and the values."""
    count = 300
    ours = displacements(sigma, count)[:, 0]
    rng = np.random.default_rng(99)
    full = np.array([full_noise(rng, sigma) for _ in range(count)])
    for row, column in ((48, 64), (0, 64), (48, 127), (0, 0)):
        ratio = ours[:, row, column].std() / full[:, row, column].std()
        assert abs(np.log(ratio)) < 4 / np.sqrt(count), "4 standard errors of the ratio of two deviations"
        assert stats.ks_2samp(ours[:, row, column], full[:, row, column]).pvalue > 1e-3
        for lag in (sigma // 3, sigma, 40):
            for other in ((abs(row - lag), column), (row, abs(column - lag))):
                pair = [
                    np.corrcoef(fields[:, row, column], fields[:, other[0], other[1]])[0, 1] for fields in (ours, full)
                ]
                assert abs(np.arctanh(pair[0]) - np.arctanh(pair[1])) < 4 * np.sqrt(2 / count), (row, column, lag)


@pytest.mark.parametrize("sigma", [1e-320, 1e-9])
def test_a_sigma_of_almost_nothing_leaves_the_noise_as_it_is(sigma):
    """All waves, none of them fainter: together the identity, white noise."""
    waves = blurred_waves(20, sigma).astype(float)
    np.testing.assert_allclose(waves @ waves.T, np.eye(20), atol=1e-6)


def test_the_two_axes_move_independently_and_alpha_multiplies():
    fields = displacements(10, 200)
    assert abs(np.corrcoef(fields[:, 0, 40, 40], fields[:, 1, 40, 40])[0, 1]) < 4 / np.sqrt(200)
    np.testing.assert_allclose(displacements(10, 3, alpha=7.0), 7 * fields[:3], atol=1e-4)
    assert np.abs(displacements(50, 20, size=(224, 224))).max() < 0.05, "next to nothing with the deck's numbers"


# --- the steps as one map -------------------------------------------------------------------------------------------


def step_maps(drawn, size):
    """Every step's own map, made by OpenCV and numpy of the numbers that were drawn, in the order of the steps."""
    height, width = size
    x, y = positions(size)
    rotation = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), drawn.angle[0], drawn.scale[0])
    rotation[:, 2] += drawn.shift[0]
    steps = [(width - 1 - x, y), inverse_map(rotation, x, y)]
    if drawn.grid[0]:
        lines = [grid_line(n, 5, [*(1 + drawn.cells[axis][0]), 1.0]) for axis, n in enumerate((width, height))]
        return [*steps, np.meshgrid(*lines)]
    reach = min(size) // 3
    points = np.float32([width // 2, height // 2]) + reach * np.float32([[1, 1], [1, -1], [-1, -1]])
    bent = cv2.getAffineTransform(points, (points + drawn.points[0]).astype(np.float32))
    waves = [blurred_waves(side, drawn.settings.sigma) for side in size]
    push = drawn.settings.alpha / np.sqrt(3) * np.einsum("hv,cvu,wu->chw", waves[0], drawn.noise[0], waves[1])
    return [*steps, inverse_map(bent, x, y), (x + push[0], y + push[1])]


def inverse_map(matrix, x, y):
    back = cv2.invertAffineTransform(matrix)
    return tuple(row[0] * x + row[1] * y + row[2] for row in back)


@pytest.mark.parametrize("share", [0, 1])
def test_one_map_equals_the_steps_one_after_another_away_from_the_border(share):
    """The order counts: flip, shift-scale-rotate, distortion. Compared is what no step took from beyond a border."""
    size = (120, 160)
    settings = WarpSettings(**EVERYTHING, elastic_share=share, alpha=200, sigma=12, alpha_affine=15)
    smooth = ndimage.gaussian_filter(np.random.default_rng(0).random(size), 4).astype(np.float32)
    image = np.stack([smooth, np.ones(size, np.float32)], axis=-1)
    compared = 0.0
    for seed in range(10):
        drawn = draw(settings, seed, size=size)
        steps = image
        for map_x, map_y in step_maps(drawn, size):
            grids = [np.ascontiguousarray(part, dtype=np.float32) for part in (map_x, map_y)]
            steps = cv2.remap(steps, *grids, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
        once = move(image, *full_maps(drawn.field(), settings.sigma), cv2.INTER_LINEAR)
        inside = ndimage.binary_erosion(steps[..., 1] > 0.999, iterations=2)
        compared += inside.mean() / 10
        assert np.abs(steps[..., 0] - once[..., 0])[inside].max() < 0.03 * np.ptp(smooth)
        unlike = [np.abs(other - once[..., 0])[inside].mean() for other in (smooth, smooth[:, ::-1])]
        assert min(unlike) > 0.05 * np.ptp(smooth)
    assert compared > 0.5


def test_the_border_is_reflected_once_in_the_composed_map():
    """Two steps reflect what the first one already reflected; one map reflects where the whole way leaves the image."""
    values = np.arange(40, dtype=np.float32)[None, :, None].repeat(3, 0)
    x, y = positions((3, 40))
    twice = move(move(values, x - 6, y, 1), x + 4, y, 1)  # the second step reaches beyond the first one's result
    once = move(values, x - 2, y, 1)
    assert once[1, :5, 0].tolist() == [2, 1, 0, 1, 2]
    assert twice[1, :36, 0].tolist() == once[1, :36, 0].tolist()
    assert twice[1, 36:, 0].tolist() == [32, 31, 30, 29] and once[1, 36:, 0].tolist() == [34, 35, 36, 37]


# --- many samples ---------------------------------------------------------------------------------------------------


def test_a_batchs_draws_have_the_probabilities_of_single_samples_and_are_independent():
    settings, count = WarpSettings(cutout_p=0.5), 4000
    drawn = draw(settings, 0, count, size=(24, 30))
    shares = {"flip": 0.5, "similarity": 0.5, "grid": 0.125, "elastic": 0.125, "dropout": 0.5}
    chosen = np.stack([getattr(drawn, name) for name in shares])
    for values, p in zip(chosen, shares.values(), strict=True):
        assert abs(values.mean() - p) < 4 * np.sqrt(p * (1 - p) / count)
    assert not (drawn.grid & drawn.elastic).any()
    correlation = np.corrcoef(np.stack([drawn.flip, drawn.similarity, drawn.grid | drawn.elastic, drawn.dropout]))
    assert np.abs(correlation - np.eye(4)).max() < 4 / np.sqrt(count)
    assert not drawn.hole_count[~drawn.dropout].any()
    observed = np.bincount(drawn.hole_count[drawn.dropout], minlength=9)[5:]
    assert stats.chisquare(observed).pvalue > 1e-3 and len(observed) == 4
    first = draw(settings, 0, 1, size=(24, 30))
    assert first.angle[0] == drawn.angle[0] and first.hole_count[0] == drawn.hole_count[0], "a row a sample"


def test_no_number_depends_on_another():
    count = 4000
    drawn = draw(WarpSettings(**NOTHING | {"shift_scale_rotate_p": 1, "distort_p": 1, "cutout_p": 1}), 0, count)
    parts = [drawn.flip, drawn.elastic, drawn.hole_count, drawn.angle, drawn.scale, drawn.shift, drawn.points]
    parts += [*drawn.cells, drawn.holes()[:, :5]]  # the first five are always there
    numbers = np.concatenate([np.reshape(part, (count, -1)) for part in parts], axis=1).astype(float)
    numbers = numbers[:, numbers.std(axis=0) > 0]
    assert numbers.shape[1] == 2 + 4 + 6 + 10 + 10, "all but the flip, which is off"
    assert np.abs(np.corrcoef(numbers.T) - np.eye(numbers.shape[1])).max() < 5 / np.sqrt(count)


def test_a_batchs_field_is_each_samples_own():
    drawn = draw(WarpSettings(elastic_share=0.5, distort_p=0.8, sigma=9, alpha=40), 3, 12)
    field = drawn.field()
    moved = drawn.similarity | drawn.grid | drawn.elastic
    assert sorted(field.samples) == np.flatnonzero(moved).tolist() and 0 < len(field.waves) < len(field.samples)
    assert drawn.elastic[field.samples].tolist() == [True] * len(field.waves) + [False] * (
        len(field.samples) - len(field.waves)
    )
    for place, index in enumerate(field.samples):
        alone = draw(drawn.settings, 3, 1)
        for name in ("flip", "similarity", "grid", "elastic", "angle", "scale", "shift", "points"):
            setattr(alone, name, getattr(drawn, name)[index : index + 1])
        alone.cells = tuple(part[index : index + 1] for part in drawn.cells)
        alone.noise = drawn.noise[place : place + 1]
        one = alone.field()
        np.testing.assert_allclose(one.columns[0], field.columns[place], atol=1e-3, rtol=1e-5)
        np.testing.assert_allclose(one.rows[0], field.rows[place], atol=1e-3, rtol=1e-5)


@pytest.mark.parametrize("size", [(60, 100), (224, 224)])
def test_holes_lie_inside_anywhere_and_the_others_above_the_image(size):
    drawn = draw(WarpSettings(cutout_p=0.5), 1, 500, size=size)
    height, width = drawn.hole_size()
    assert (height, width) == (size[0] // 20, size[1] // 20)
    holes = drawn.holes()
    there = np.arange(8) < drawn.hole_count[:, None]
    assert (holes[~there][:, 0] == -height).all()
    for axis, (side, hole) in enumerate(zip(size, (height, width), strict=True)):
        starts = holes[there][:, axis]
        assert starts.min() == 0 and starts.max() == side - hole
        counts = np.bincount(starts, minlength=side - hole + 1)
        assert stats.chisquare(counts).pvalue > 1e-3


def test_words_name_the_steps_in_their_order_with_their_numbers():
    drawn = draw(WarpSettings(**EVERYTHING | {"cutout_p": 1}), 5, 8)
    number = r"-?[\d.e-]+"
    for index, lines in enumerate(drawn.words()):
        assert lines[0] == "HorizontalFlip"
        found = re.fullmatch(
            rf"ShiftScaleRotate: shift x ({number}) px, shift y ({number}) px, scale ({number}), rotate ({number})",
            lines[1],
        )
        values = [float(text) for text in found.groups()]
        assert values == pytest.approx([*drawn.shift[index], drawn.scale[index], drawn.angle[index]], rel=0.01)
        distortion = "ElasticTransform: affine moves up to" if drawn.elastic[index] else "GridDistortion: moves x"
        assert lines[2].startswith(distortion)
        assert lines[3] == f"CoarseDropout: {drawn.hole_count[index]} holes"
    assert {line.split(":")[0] for lines in drawn.words() for line in lines} >= {"GridDistortion", "ElasticTransform"}
    assert draw(WarpSettings(**NOTHING), 0).words() == [[]]
