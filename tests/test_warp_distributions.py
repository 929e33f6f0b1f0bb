"""The device's policies against the CPU's and against docs/augmentation.md: what each step samples, in distribution.

Positions are those that the samplers get (``grid_sample`` and OpenCV); that an image which shows its own coordinates is
made of them is checked. A comparison is many tests of significance; its verdict is the smallest p times their number.
What is meant to agree must reach ACCEPT. That a comparison sees anything is shown by changing one of the device's
settings at a time: it must fall below REJECT. Both limits were chosen before anything was run.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import itertools

import cv2
import numpy as np
import pytest
import torch
from scipy import ndimage, stats

from gisegkit.components.augmentation import warp_policies as augmentation_deck
from gisegkit.components.augmentation.warp_policies import WarpPolicy
from gisegkit.components.batch_transforms import device_warp
from gisegkit.components.batch_transforms.device_warp import DeviceWarp, baseline_device, final_device, initial_device
from gisegkit.types import Batch

ACCEPT, REJECT = 1e-3, 1e-4
SIZE = HEIGHT, WIDTH = 48, 64
COUNT, AT_ONCE = 2000, 250

DEVICE = {"baseline": baseline_device, "initial": initial_device, "final": final_device}
CPU = {"baseline": augmentation_deck.baseline, "initial": augmentation_deck.initial, "final": augmentation_deck.final}
STEPS = {
    "baseline": ("p",),
    "initial": ("flip_p", "shift_scale_rotate_p", "distort_p"),
    "final": ("flip_p", "shift_scale_rotate_p", "distort_p", "cutout_p"),
}
SHARES = {
    "p": 0.5,
    "flip_p": 0.5,
    "shift_scale_rotate_p": 0.5,
    "distort_p": 0.25,
    "cutout_p": 0.5,
}  # docs/augmentation.md
LIMITS = {  # docs/augmentation.md: uniform between these; shifts and cells as shares, angles in degrees, points' pixels
    "shift": (-1 / 16, 1 / 16),
    "scale": (0.95, 1.05),
    "angle": (-10, 10),
    "cell": (-0.05, 0.05),
    "point": (-50, 50),
}
ALL_OF = {"grid": "cell", "elastic": "point"}  # the groups whose numbers all have the same limits
CELLS, ALPHA, SIGMA, HOLES, HOLE = 5, 1, 50, (5, 8), (HEIGHT // 20, WIDTH // 20)

# --- what is sampled ------------------------------------------------------------------------------------------------

PLAIN = np.stack(np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT))).astype(np.float32) + 1  # [2, H, W], black nowhere
LAST = np.array([WIDTH - 1, HEIGHT - 1])[:, None, None]


def seen_on_device(policy, seed):
    """Images ``[N, 2, H, W]``, what holes cover ``[N, H, W]``, a function of positions and what they gave, both
    ``[M, 2, H, W]``."""
    sampled = []
    sample = torch.nn.functional.grid_sample

    def watched(values, grid, *, mode, **kw):
        result = sample(values, grid, mode=mode, **kw)
        if mode == "bilinear":
            sampled.append((grid.permute(0, 3, 1, 2).numpy(), result.numpy()))
        return result

    images = torch.from_numpy(PLAIN).expand(AT_ONCE, -1, -1, -1)
    given = Batch(images, ((1.0, torch.ones(AT_ONCE, 1, *SIZE)),), torch.arange(AT_ONCE))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(device_warp.functional, "grid_sample", watched)
        warped = policy(given, np.random.default_rng((1, seed)))
    covered = warped.targets[0][1][:, 0].numpy() == 0
    grid, result = sampled[0] if sampled else (np.zeros((0, 2, *SIZE)), np.zeros((0, 2, *SIZE)))
    return warped.images.numpy(), covered, lambda: (grid.astype(float) + 1) / 2 * LAST, result


def seen_on_cpu(policy, seed):
    sampled = []
    full_maps = augmentation_deck.full_maps

    def watched(*args):
        sampled.append(np.stack(full_maps(*args)))
        return sampled[-1].copy()

    image, mask = np.ascontiguousarray(PLAIN.transpose(1, 2, 0)), np.ones((*SIZE, 1), np.uint8)
    images, covered, moved = [], [], []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(augmentation_deck, "full_maps", watched)
        for number in range(AT_ONCE):
            before = len(sampled)
            new_image, new_mask = policy(image, mask, np.random.default_rng((2, seed, number)))
            images.append(new_image.transpose(2, 0, 1))
            covered.append(new_mask[..., 0] == 0)
            moved.append(len(sampled) > before)
    images = np.stack(images)
    return images, np.stack(covered), lambda: np.reshape(sampled, (-1, 2, *SIZE)).astype(float), images[moved]


def seen(policy, count=COUNT):
    """``seen_on_device`` or ``seen_on_cpu``, AT_ONCE samples at a time."""
    look = seen_on_device if isinstance(policy, DeviceWarp) else seen_on_cpu
    for seed in range(count // AT_ONCE):
        images, covered, positions, result = look(policy, seed)
        if seed == 0:
            they_are_what_images_show(images, covered, positions(), result)
        yield images, covered, positions


def they_are_what_images_show(images, covered, positions, result):
    np.testing.assert_array_equal((images == 0).all(axis=1), covered)
    if covered.any():
        return
    shown = np.abs((positions + LAST) % (2 * LAST) - LAST) + 1  # the border is reflected
    near = np.abs(positions).max(axis=(1, 2, 3), initial=0) < 1000
    assert np.abs(shown - result)[near].max(initial=0) < 0.04, "OpenCV rounds to a 32nd of a pixel"
    moved = (images != PLAIN).any(axis=(1, 2, 3)) & (images != PLAIN[:, :, ::-1]).any(axis=(1, 2, 3))
    np.testing.assert_array_equal(np.sort(result[:, 0, 5, 5]), np.sort(images[moved][:, 0, 5, 5]))


# --- its numbers ----------------------------------------------------------------------------------------------------

MIDDLE = np.array([(WIDTH - 1) / 2, (HEIGHT - 1) / 2])
DESIGN = np.stack([*(PLAIN.reshape(2, -1) - 1), np.ones(HEIGHT * WIDTH)]).astype(float)
FIT = np.linalg.pinv(DESIGN)  # [H * W, 3]
WAVE = np.tile(np.cos(np.pi * (np.arange(WIDTH) + 0.5) / WIDTH), HEIGHT)
BEND = WAVE - WAVE @ FIT @ DESIGN  # the slowest wave without what an affine map could explain
BEND /= np.linalg.norm(BEND)


def there(positions):
    """The affine part from sample to result ``[M, 2, 3]``; positions say the way back."""
    back = np.tile(np.eye(3), (len(positions), 1, 1))
    back[:, :2] = positions.reshape(len(positions), 2, HEIGHT * WIDTH) @ FIT
    return np.linalg.inv(back)[:, :2]


def similarity_numbers(positions):
    matrix = there(positions)
    x, y = (matrix[:, :, :2] @ MIDDLE + matrix[:, :, 2] - MIDDLE).T
    scale, angle = np.sqrt(np.linalg.det(matrix[:, :, :2])), np.degrees(np.arctan2(matrix[:, 0, 1], matrix[:, 0, 0]))
    assert np.abs(matrix[:, 0, 0] - matrix[:, 1, 1]).max() < 1e-4 > np.abs(matrix[:, 0, 1] + matrix[:, 1, 0]).max()
    corner = positions[:, :, 0, 0]
    numbers = {"shift x": x / WIDTH, "shift y": y / HEIGHT, "scale": scale, "angle": angle}
    return numbers | {"corner x": corner[:, 0], "corner y": corner[:, 1]}


def grid_numbers(positions):
    numbers = {}
    for name, lines, length in (("x", positions[:, 0, 0], WIDTH), ("y", positions[:, 1, :, 0], HEIGHT)):
        cell = length // CELLS
        for start in range(0, CELLS * cell, cell):  # the first pixel shows a cell's start, the last one its end
            numbers[f"cell {name} {start}"] = (lines[:, start + cell - 1] - lines[:, start]) / cell - 1
    return numbers | {"middle x": positions[:, 0, 24, 32], "middle y": positions[:, 1, 24, 32]}


def elastic_numbers(positions):
    furthest = np.abs(positions).max(axis=(1, 2, 3), initial=0)
    positions, furthest = positions[furthest < 1e5], furthest[furthest < 1e5]  # in float32 the others are lost
    matrix, reach = there(positions), min(SIZE) // 3
    numbers = {"center x": positions[:, 0, 24, 32], "center y": positions[:, 1, 24, 32]}
    for name, (x, y) in {"1": (1, 1), "2": (1, -1), "3": (-1, -1)}.items():
        point = np.array([WIDTH // 2 + reach * x, HEIGHT // 2 + reach * y])
        moves = matrix[:, :, :2] @ point + matrix[:, :, 2] - point
        numbers |= {f"point x {name}": moves[:, 0], f"point y {name}": moves[:, 1]}
    exact = furthest < 200
    projected = positions[exact].reshape(exact.sum(), 2, HEIGHT * WIDTH) @ BEND
    bends = matrix[exact, :, :2] @ projected[:, :, None]  # [M, 2, 1], as before the affine map
    return numbers, {"bend x": bends[:, 0, 0], "bend y": bends[:, 1, 0]}


def hole_numbers(covered):
    """Pixels and separate parts of a slice's holes; heights, widths, top rows and left columns of the parts."""
    within = np.zeros((3, 3, 3), bool)
    within[1] = ndimage.generate_binary_structure(2, 1)
    parts = ndimage.find_objects(ndimage.label(covered, within)[0])
    slices, rows, columns = (np.array([(part[axis].start, part[axis].stop) for part in parts]) for axis in range(3))
    return {
        "pixels": covered.sum(axis=(1, 2)),
        "parts": np.bincount(slices[:, 0], minlength=len(covered)),
        "height": rows[:, 1] - rows[:, 0],
        "width": columns[:, 1] - columns[:, 0],
        "top": rows[:, 0],
        "left": columns[:, 0],
    }


# --- a policy, step by step -----------------------------------------------------------------------------------------


def share_of_changed(policy):
    return sum(int((images != PLAIN).any(axis=(1, 2, 3)).sum()) for images, _, _ in seen(policy)), COUNT


def similarities(policy):
    return joined([similarity_numbers(positions()) for *_, positions in seen(policy)])


def distortions(policy):
    """How often a distortion is elastic, and the numbers of both kinds."""
    elastic, grids, count = [], [], 0
    for *_, give in seen(policy, 2 * COUNT):
        positions = give()
        aligned = (positions[:, 0] == positions[:, 0, :1]).all(axis=(1, 2))  # whole columns move
        assert len(positions) == AT_ONCE
        count += int((~aligned).sum())
        grids.append(grid_numbers(positions[aligned]))
        elastic.append(elastic_numbers(positions[~aligned]))
    points, bends = zip(*elastic, strict=True)
    return (count, 2 * COUNT), {"grid": joined(grids), "elastic": joined(points), "bend": joined(bends)}


def joined(parts):
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def holes(policy):
    return hole_numbers(np.concatenate([covered for _, covered, _ in seen(policy)]))


DONE = {}


def measure(make, steps, only=None):
    """What a policy does: shares as ``{name: (how often, of how many)}``, and numbers by group and name.

    Args:
        make: builds the policy from the probabilities of its steps.
        steps: their names; each is measured while the others are off.
        only: measure this one.
    """

    def look(reduce, step, **given):
        policy = make(**{other: 0.0 for other in steps if other != step} | given)
        key = (type(policy), dataclasses.astuple(policy), reduce)  # equal policies draw and give the same
        DONE[key] = DONE[key] if key in DONE else reduce(policy)
        return DONE[key]

    measured = steps if only is None else (only,)
    shares, numbers = {step: look(share_of_changed, step) for step in measured}, {}
    if "shift_scale_rotate_p" in measured:
        numbers["similarity"] = look(similarities, "shift_scale_rotate_p", shift_scale_rotate_p=1.0)
    if "distort_p" in measured:
        shares["elastic"], groups = look(distortions, "distort_p", distort_p=1.0)
        numbers |= groups
    if "cutout_p" in measured:
        numbers["holes"] = look(holes, "cutout_p", cutout_p=1.0)
    return shares, numbers


# --- the comparison -------------------------------------------------------------------------------------------------


def same(one, two):
    return stats.ks_2samp(one, two, method="asymp").pvalue if len(one) and len(two) else 0.0


def uniform(values, low, high):
    """Of values within the limits, up to a thousandth: rounding, and what smoothed noise adds to the elastic points."""
    slack = (high - low) / 1000
    if not len(values) or values.min() < low - slack or values.max() > high + slack:
        return 0.0
    return stats.kstest(values, stats.uniform(low, high - low).cdf).pvalue


def spread(values, expected):
    """Of a normal variable's standard deviation."""
    ratio = values.std() / expected if len(values) else 0.0
    return 2 * stats.norm.sf(abs(np.log(ratio)) * np.sqrt(2 * len(values))) if ratio else 0.0


def independent(numbers):
    return {
        f"{a} and {b} are independent": stats.spearmanr(numbers[a], numbers[b]).pvalue if len(numbers[a]) else 0.0
        for a, b in itertools.combinations(numbers, 2)
    }


@functools.cache
def blur(length, sigma):
    """The matrix of OpenCV's blur along one axis, of single points."""
    rows = np.tile(np.eye(length)[:, None, :], (1, 3, 1))
    return np.stack([cv2.GaussianBlur(row, (0, 0), sigma, borderType=cv2.BORDER_REFLECT)[1] for row in rows], axis=1)


@functools.cache
def expected_holes():
    rng = np.random.default_rng(3)
    covered = np.zeros((2 * COUNT, *SIZE), bool)
    for one in covered:
        for _ in range(rng.integers(HOLES[0], HOLES[1] + 1)):
            top, left = rng.integers(0, HEIGHT - HOLE[0] + 1), rng.integers(0, WIDTH - HOLE[1] + 1)
            one[top : top + HOLE[0], left : left + HOLE[1]] = True
    return hole_numbers(covered)


def as_documented(shares, numbers):
    """p of every test of a policy's measures against docs/augmentation.md."""
    wanted = SHARES | {"elastic": 0.5}
    found = {f"share of {name}": stats.binomtest(*pair, wanted[name]).pvalue for name, pair in shares.items()}
    for group in ("similarity", "grid", "elastic"):
        limited = {name: values for name, values in numbers.get(group, {}).items() if name.split()[0] in LIMITS}
        found |= {f"{name} is uniform": uniform(values, *LIMITS[name.split()[0]]) for name, values in limited.items()}
        found |= independent(limited)
        if limited and group in ALL_OF:
            found[f"{group}: all are uniform"] = uniform(np.concatenate([*limited.values()]), *LIMITS[ALL_OF[group]])
    for name, values in numbers.get("bend", {}).items():
        strength = blur(HEIGHT, SIGMA).T @ BEND.reshape(SIZE) @ blur(WIDTH, SIGMA)
        found[f"{name} has its spread"] = spread(values, ALPHA / np.sqrt(3) * np.linalg.norm(strength))
    for name, values in numbers.get("holes", {}).items():
        found[f"{name} of holes"] = same(values, expected_holes()[name])
    return found


def alike(one, two):
    """p of every test of a policy's measures against another's."""
    (shares, numbers), (other_shares, others) = one, two
    found = {}
    for name, (often, of) in shares.items():
        table = [[often, of - often], [other_shares[name][0], other_shares[name][1] - other_shares[name][0]]]
        found[f"share of {name}, device and CPU"] = stats.fisher_exact(table).pvalue
    for group, values in numbers.items():
        found |= {f"{group}: {name}, device and CPU": same(values[name], others[group][name]) for name in values}
    return found


def verdict(tests):
    """The smallest p times their number, and its name."""
    name = min(tests, key=tests.__getitem__)
    return min(1.0, len(tests) * tests[name]), name


@functools.cache
def cpu(name):
    return measure(functools.partial(CPU[name], size=SIZE), STEPS[name])


def compared(name, make, only=None):
    measured = measure(make, STEPS[name], only)
    return verdict(as_documented(*measured) | alike(measured, cpu(name)))


@pytest.mark.parametrize("name", DEVICE)
@pytest.mark.slow
def test_a_policy_is_the_same_on_device_and_cpu_and_as_documented(name):
    p, smallest = compared(name, DEVICE[name])
    assert p > ACCEPT, smallest
    p, smallest = verdict(as_documented(*cpu(name)))
    assert p > ACCEPT, ("on the CPU", smallest)


CHANGES = [
    *(("flip_p", {"flip_p": chance}) for chance in (0.7, 0.6)),
    *(("shift_scale_rotate_p", {"rotate_limit": most}) for most in (20.0, 11.0)),
    *(("shift_scale_rotate_p", {"shift_limit": most}) for most in (0.125, 0.07)),
    *(("shift_scale_rotate_p", {"scale_limit": most}) for most in (0.3, 0.055)),
    ("shift_scale_rotate_p", {"shift_scale_rotate_p": 0.4}),
    *(("distort_p", {"distort_limit": most}) for most in (0.5, 0.045)),
    *(("distort_p", {"alpha_affine": most}) for most in (25.0, 45.0)),
    *(("distort_p", {"alpha": times}) for times in (300.0, 1.2)),
    *(("distort_p", {"elastic_share": share}) for share in (0.9, 0.0, 0.56)),
    *(("distort_p", change) for change in ({"sigma": 45.0}, {"num_steps": 4}, {"distort_p": 0.33})),
    *(("cutout_p", change) for change in ({"max_holes": 7}, {"min_holes": 4}, {"hole_size": 0.1}, {"cutout_p": 0.6})),
]


@pytest.mark.parametrize(("step", "change"), CHANGES, ids=str)
@pytest.mark.slow
def test_the_comparison_sees_a_change(step, change):
    def changed(**given):
        chances = {name: value for name, value in change.items() if name in STEPS["final"]}
        warp = final_device(**chances | given)
        limits = {name: value for name, value in change.items() if name not in chances}
        return dataclasses.replace(warp, **limits)

    p, _ = compared("final", changed, step)
    assert p < REJECT


# --- the elastic displacement ---------------------------------------------------------------------------------------

NOISE = {"flip_p": 0, "shift_scale_rotate_p": 0, "distort_p": 1, "elastic_share": 1, "cutout_p": 0, "alpha_affine": 0}
PLACES = {"center": (24, 32), "edge": (0, 32), "corner": (0, 0)}
LAGS = [(0, 2), (0, 4), (0, 9), (0, 16), (2, 0), (4, 0), (9, 0), (16, 0), (4, 4)]


def displacements(policy):
    """Of the center, edge, corner and of what lies a lag from each: ``{(place, lag): [N, 2]}``."""
    moves = np.concatenate([positions() - (PLAIN - 1) for *_, positions in seen(policy)])
    places = itertools.product(PLACES.items(), [(0, 0), *LAGS])
    return {(place, lag): moves[:, :, row + lag[0], column + lag[1]] for (place, (row, column)), lag in places}


def unlike(found, expected, count):
    """Of two correlations, by Fisher's z; ``count`` pairs stand behind the difference."""
    return 2 * stats.norm.sf(abs(np.arctanh(found) - np.arctanh(expected)) * np.sqrt(count - 3))


@functools.cache
def cpu_displacements():
    return displacements(WarpPolicy(**NOISE, alpha=30, sigma=4))


def displacement_tests(moves):
    """Spread, distribution, and correlation over distance, against the CPU's and uniform noise blurred by OpenCV."""
    others, found = cpu_displacements(), {}
    down, across = (blur(side, 4) @ blur(side, 4).T for side in SIZE)  # white noise has the covariance W W'
    for (place, (row, column)), axis in itertools.product(PLACES.items(), range(2)):
        here = moves[place, (0, 0)][:, axis]
        deviation = 30 / np.sqrt(3) * np.sqrt(down[row, row] * across[column, column])
        found[f"spread, {place}, {axis}"] = spread(here, deviation)
        found[f"normal, {place}, {axis}"] = stats.kstest(here / deviation, stats.norm.cdf).pvalue
        found[f"as on the CPU, {place}, {axis}"] = same(here, others[place, (0, 0)][:, axis])
        for lag in LAGS:
            r, c = row + lag[0], column + lag[1]
            ratio = down[row, r] * across[column, c]
            ratio /= np.sqrt(down[row, row] * down[r, r] * across[column, column] * across[c, c])
            one, two = (
                np.corrcoef(fields[place, (0, 0)][:, axis], fields[place, lag][:, axis])[0, 1]
                for fields in (moves, others)
            )
            found[f"{place} and {lag} from it, {axis}"] = unlike(one, ratio, COUNT)
            found[f"{place} and {lag} from it as on the CPU, {axis}"] = unlike(one, two, COUNT / 2)
    for place in PLACES:
        found[f"axes, {place}"] = unlike(np.corrcoef(moves[place, (0, 0)].T)[0, 1], 0, COUNT)
    return found


@pytest.mark.slow
def test_the_elastic_displacement_is_blurred_noise_on_device_and_cpu():
    p, smallest = verdict(displacement_tests(displacements(DeviceWarp(**NOISE, alpha=30, sigma=4))))
    assert p > ACCEPT, smallest


@pytest.mark.parametrize("change", [{"alpha": 33}, {"sigma": 4.4}, {"alpha": 33, "sigma": 4.4}], ids=str)
@pytest.mark.slow
def test_the_comparison_sees_a_change_of_the_displacement(change):
    moves = displacements(DeviceWarp(**NOISE | {"alpha": 30, "sigma": 4} | change))
    assert verdict(displacement_tests(moves))[0] < REJECT


# --- settings -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", DEVICE)
def test_the_policies_settings_agree(name):
    assert dataclasses.asdict(DEVICE[name]()) == dataclasses.asdict(CPU[name](size=SIZE))
    chances = {step: (index + 1) / 10 for index, step in enumerate(STEPS[name])}
    assert dataclasses.asdict(DEVICE[name](**chances)) == dataclasses.asdict(CPU[name](size=SIZE, **chances))
    own, other = (
        {
            parameter.name: (parameter.default, parameter.annotation)
            for parameter in inspect.signature(made).parameters.values()
        }
        for made in (DEVICE[name], CPU[name])
    )
    assert own == {parameter: what for parameter, what in other.items() if parameter != "size"}
