"""The deck's policies: which steps, how often, in which order, and what holes are."""

from __future__ import annotations

import itertools

import cv2
import numpy as np
import pytest
from scipy import ndimage

from gisegkit.components.augmentation import warp_policies as augmentation_deck
from gisegkit.components.augmentation.warp_draws import Draws
from gisegkit.components.augmentation.warp_policies import FAR, WarpPolicy, baseline, final, initial, move, nearby
from gisegkit.plugins import load_plugins
from gisegkit.types import IGNORE

SIZE = (80, 100)
DRAWS = 600
OFF = {"flip_p": 0.0, "shift_scale_rotate_p": 0.0, "distort_p": 0.0}


def sample(size=SIZE, channels=1):
    rng = np.random.default_rng(0)
    image = rng.random((*size, channels), dtype=np.float32)
    return image, (image[..., :1] > 0.5).astype(np.uint8)


def applied(policy, draws=DRAWS):
    """How often each step came, and every set of steps that came together."""
    policy.record = True
    together = []
    for seed in range(draws):
        policy(*sample((24, 30)), np.random.default_rng(seed))
        together.append(tuple(line.split(":")[0] for line in policy.drawn))
    return together


def share(together, *names):
    return np.mean([all(name in one for name in names) for one in together])


def near(measured, p, draws=DRAWS):
    return abs(measured - p) < 4 * np.sqrt(p * (1 - p) / draws)


def test_every_step_comes_as_often_as_the_deck_says_and_independently():
    together = applied(final(size=(24, 30)))
    for name, p in {
        "HorizontalFlip": 0.5,
        "ShiftScaleRotate": 0.5,
        "GridDistortion": 0.125,
        "ElasticTransform": 0.125,
        "CoarseDropout": 0.5,
    }.items():
        assert near(share(together, name), p), name
    for a, b in itertools.combinations(("HorizontalFlip", "ShiftScaleRotate", "CoarseDropout"), 2):
        assert near(share(together, a, b), 0.25), (a, b)
    assert share(together, "GridDistortion", "ElasticTransform") == 0, "one of the two"
    order = ["HorizontalFlip", "ShiftScaleRotate", "GridDistortion", "ElasticTransform", "CoarseDropout"]
    assert all(list(one) == sorted(one, key=order.index) for one in together)


def test_each_policy_adds_to_the_one_before():
    kinds = [
        {name for one in applied(policy, 120) for name in one}
        for policy in (baseline(size=(24, 30)), initial(size=(24, 30)), final(size=(24, 30)))
    ]
    assert kinds[0] == {"HorizontalFlip"}
    assert kinds[1] - kinds[0] == {"ShiftScaleRotate", "GridDistortion", "ElasticTransform"}
    assert kinds[2] - kinds[1] == {"CoarseDropout"}


@pytest.mark.parametrize("build", [initial, final])
def test_probabilities_can_be_set(build):
    silent = build(size=SIZE, **OFF, **({"cutout_p": 0.0} if build is final else {}))
    image, mask = sample()
    for seed in range(10):
        result = silent(image, mask, np.random.default_rng(seed))
        np.testing.assert_array_equal(result[0], image)
        np.testing.assert_array_equal(result[1], mask)
    assert share(applied(build(size=(24, 30), distort_p=1.0), 60), "ElasticTransform") > 0.2


def holes(policy, size, seed):
    """Every hole of a bright sample: rows and columns that it covers."""
    image, mask = np.ones((*size, 2), np.float32), np.ones((*size, 3), np.uint8)
    mask[:, :, 2] = IGNORE
    new_image, new_mask = policy(image, mask, np.random.default_rng(seed))
    black = (new_image == 0).all(-1)
    np.testing.assert_array_equal(black, (new_mask == 0).all(-1))
    assert ((new_image == 1).all(-1) | black).all()
    return black, ndimage.find_objects(ndimage.label(black)[0])


@pytest.mark.parametrize("size", [(224, 224), (160, 320)])
def test_holes_are_five_to_eight_of_a_twentieth_of_the_side_black_and_of_no_class(size):
    policy = final(size=size, **OFF, cutout_p=1.0)
    height, width = size[0] // 20, size[1] // 20
    counts = set()
    for seed in range(80):
        black, objects = holes(policy, size, seed)
        single = [one for one in objects if (one[0].stop - one[0].start, one[1].stop - one[1].start) == (height, width)]
        assert 5 * height * width / 2 < black.sum() <= 8 * height * width
        if black.sum() == len(objects) * height * width and len(single) == len(objects):  # none overlaps another
            counts.add(len(objects))
        assert all(one[0].stop - one[0].start >= height for one in objects)
    assert counts == {5, 6, 7, 8}


def test_holes_of_size_0_are_none():
    image, mask = sample()
    policy = WarpPolicy(**OFF, cutout_p=1.0, hole_size=0.0)
    policy.record = True
    result = policy(image, mask, np.random.default_rng(0))
    np.testing.assert_array_equal(result[0], image)
    np.testing.assert_array_equal(result[1], mask)
    assert policy.drawn == []


# --- one map --------------------------------------------------------------------------------------------------------


def test_image_and_mask_are_sampled_once_and_not_at_all_where_nothing_but_a_flip_was_drawn(monkeypatch):
    calls = []
    remap = cv2.remap
    monkeypatch.setattr(cv2, "remap", lambda *args, **kw: (calls.append(args[3]), remap(*args, **kw))[1])
    policy = final(size=SIZE, cutout_p=0.0)
    policy.record = True
    image, mask = sample()
    seen = set()
    for seed in range(80):
        calls.clear()
        result = policy(image, mask, np.random.default_rng(seed))
        names = {line.split(":")[0] for line in policy.drawn}
        seen.add(frozenset(names))
        if names <= {"HorizontalFlip"}:
            assert calls == []
            step = -1 if names else 1
            np.testing.assert_array_equal(result[0], image[:, ::step])
            np.testing.assert_array_equal(result[1], mask[:, ::step])
        else:
            assert calls == [cv2.INTER_LINEAR, cv2.INTER_NEAREST]
    assert len(seen) == 12, "every set of steps: 2 flips x 2 x 3 distortions"


@pytest.mark.parametrize("channels", [1, 3, 4, 5, 9])
def test_any_number_of_channels_moves_alike(channels):
    values = np.random.default_rng(0).random((*SIZE, channels), dtype=np.float32)
    map_x, map_y = np.meshgrid(np.arange(SIZE[1], dtype=np.float32)[::-1], np.arange(SIZE[0], dtype=np.float32))
    np.testing.assert_allclose(move(values, map_x, map_y, cv2.INTER_LINEAR), values[:, ::-1], atol=1e-6)


def test_the_border_is_reflected():
    values = np.arange(10, dtype=np.float32)[None, :, None].repeat(3, 0)
    map_x, map_y = np.meshgrid(np.arange(10, dtype=np.float32) - 3, np.arange(3, dtype=np.float32))
    assert move(values, map_x, map_y, cv2.INTER_LINEAR)[1, :, 0].tolist() == [3, 2, 1, 0, 1, 2, 3, 4, 5, 6]


# --- far positions --------------------------------------------------------------------------------------------------

ELASTIC = {**OFF, "distort_p": 1.0, "elastic_share": 1.0, "cutout_p": 0.0}


def reflected(positions, length):
    """Which position in the image one shows: mirrored about the middles of the first and the last pixel."""
    last = length - 1
    return np.abs((positions.astype(float) + last) % (2 * last) - last) if last else np.zeros(positions.shape)


@pytest.mark.parametrize("length", [1, 2, 7, 64])
def test_far_positions_come_near_and_show_the_same_pixel_and_near_ones_stay(length):
    rng = np.random.default_rng(0)
    positions = rng.uniform(-3 * FAR * length, 3 * FAR * length, (40, 50)).astype(np.float32)
    near = np.abs(positions) <= FAR * length
    brought = nearby(positions, length)
    assert brought.dtype == np.float32 and np.abs(brought).max() <= FAR * length and 0.2 < near.mean() < 0.5
    np.testing.assert_array_equal(brought[near], positions[near])
    np.testing.assert_allclose(reflected(brought, length), reflected(positions, length), atol=1e-3)
    only = positions.clip(-FAR * length, FAR * length)
    assert nearby(only, length) is only, "nothing to do"


def almost_on_a_line(settings, size, count, rng):
    """Draws whose second point lies so near to the line through the others that positions reach 1e9 pixels."""
    draws = Draws(settings, size, count, rng)
    reach = max(1, min(size) // 3)
    draws.points[:] = [[0, 0], [-reach, reach + 1e-8], [0, 0]]
    return draws


@pytest.mark.parametrize("size", [(48, 64), (1, 9), (9, 1)])
def test_a_map_close_to_singular_is_as_quick_as_any_and_finite(size, monkeypatch):
    """OpenCV takes reflections off one by one: for positions of 1e9 pixels it would need minutes."""
    monkeypatch.setattr(augmentation_deck, "Draws", almost_on_a_line)
    furthest = []
    remap = cv2.remap

    def watched(values, x, y, *args, **kw):
        furthest.append(max(np.abs(x).max() / size[1], np.abs(y).max() / size[0]))
        return remap(values, x, y, *args, **kw)

    monkeypatch.setattr(cv2, "remap", watched)
    image, mask = sample(size)
    policy = WarpPolicy(**ELASTIC)
    field = almost_on_a_line(policy, size, 1, np.random.default_rng(0)).field()
    assert max(np.abs(field.columns).max(), np.abs(field.rows).max()) > 1e7
    new_image, new_mask = policy(image, mask, np.random.default_rng(0))
    assert max(furthest) <= FAR
    assert np.isfinite(new_image).all() and image.min() <= new_image.min() and new_image.max() <= image.max()
    assert set(np.unique(new_mask)) <= {0, 1}


@pytest.mark.parametrize("extreme", [{"alpha": 1e300}, {"alpha_affine": 1e300}, {"alpha_affine": 0}, {"sigma": 1e-320}])
def test_any_number_that_a_recipe_may_give_makes_a_finite_image(extreme):
    policy = WarpPolicy(**{**ELASTIC, "shift_scale_rotate_p": 1.0} | extreme)
    image, mask = sample((24, 30))
    for seed in range(5):
        new_image, _ = policy(image, mask, np.random.default_rng(seed))
        assert np.isfinite(new_image).all() and new_image.max() <= image.max()


# --- every policy ---------------------------------------------------------------------------------------------------

LIST = [
    {"name": "Affine", "rotate": [-20, 20], "p": 1.0},
    {"name": "OneOf", "transforms": [{"name": "ElasticTransform", "alpha": 30.0}, {"name": "OpticalDistortion"}]},
]
REGISTRY = load_plugins(selection="none").registries["augmentation"]
PARAMETERS = {"albumentations": {"steps": LIST}}


@pytest.mark.parametrize("name", list(REGISTRY))
@pytest.mark.parametrize("channels", [1, 5])
@pytest.mark.slow
def test_masks_stay_masks_and_lie_where_the_image_is(name, channels):
    """The image is its own mask: after every policy the two must still agree, up to the pixels along an edge."""
    size = (72, 90)
    policy = REGISTRY.get(name).load()(size=size, **PARAMETERS.get(name, {}))
    rows, columns = np.mgrid[: size[0], : size[1]]
    blob = ((rows - 30) ** 2 + (columns - 50) ** 2 < 400) | ((rows > 50) & (columns < 25))
    image = np.repeat(blob[..., None], channels, axis=2).astype(np.float32)
    mask = np.stack([blob, ~blob, blob], axis=-1).astype(np.uint8)
    mask[:6, :, 2] = IGNORE
    shifts = []
    for seed in range(40):
        new_image, new_mask = policy(image, mask, np.random.default_rng(seed))
        assert set(np.unique(new_mask)) <= {0, 1, IGNORE}
        assert set(np.unique(new_mask[..., :2])) <= {0, 1}, "no ignored pixel comes from elsewhere"
        inside = new_image[..., 0] > 0.5
        own = new_mask[..., 0] == 1
        differs = inside != own
        edge = ndimage.binary_dilation(inside | own) != ndimage.binary_erosion(inside & own, border_value=1)
        assert not (differs & ~edge).any()
        assert differs.mean() < 0.02
        places = [np.array(ndimage.center_of_mass(values)) for values in (new_image[..., 0], own.astype(float))]
        shifts.append(places[1] - places[0])
    assert np.abs(np.mean(shifts, axis=0)).max() < 0.2, "no shift between image and mask"
