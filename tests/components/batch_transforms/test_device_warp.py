"""The batch transform warp: the CPU policies' warps on a batch of tensors, sampled once."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from scipy import ndimage, stats

from gisegkit.components.augmentation import warp_policies as augmentation_deck
from gisegkit.components.augmentation.warp_draws import Draws, Field
from gisegkit.components.batch_transforms import device_warp
from gisegkit.components.batch_transforms.device_warp import DeviceWarp, baseline_device, final_device, initial_device
from gisegkit.components.losses.ratios import BCE
from gisegkit.data.loaders import Loaded
from gisegkit.engine.criterion import Criterion
from gisegkit.engine.device import pick_device
from gisegkit.engine.fit import train_batch
from gisegkit.engine.forward import Forward
from gisegkit.engine.step import MicroBatching
from gisegkit.errors import ComponentError
from gisegkit.types import Batch

SIZE = (48, 60)
HEIGHT, WIDTH = SIZE
ALL = {"flip_p": 0.5, "shift_scale_rotate_p": 0.7, "distort_p": 0.7, "cutout_p": 0.5}
LARGE = {
    "shift_limit": 0.4,
    "scale_limit": 0.3,
    "rotate_limit": 60.0,
    "alpha": 60.0,
    "sigma": 5.0,
    "alpha_affine": 12.0,
}


def batch(count=8, channels=1, size=SIZE, seed=0):
    """Smooth images; targets with a block of ignored pixels."""
    rng = np.random.default_rng(seed)
    images = ndimage.gaussian_filter(rng.random((count, channels, *size)), (0, 0, 2, 2))
    masks = (ndimage.gaussian_filter(rng.random((count, 3, *size)), (0, 0, 3, 3)) > 0.5).astype(np.float32)
    masks[:, 1, 10:20, 15:40] = np.nan
    target = torch.from_numpy(masks)
    return Batch(torch.from_numpy(images).float(), ((1.0, target),), torch.arange(count))


def coordinates(count, size=SIZE):
    """A batch whose images show their pixels' own column and row, and whose targets are 1 everywhere."""
    x, y = np.meshgrid(np.arange(size[1]), np.arange(size[0]))
    images = torch.from_numpy(np.stack([x, y])).float().expand(count, -1, -1, -1).clone()
    return Batch(images, ((1.0, torch.ones(count, 3, *size)),), torch.arange(count))


def rng(seed=0):
    return np.random.default_rng(seed)


# --- the same as on the CPU -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("settings", [ALL, ALL | LARGE, {**ALL, "shift_scale_rotate_p": 0.0, "elastic_share": 0.0}])
def test_every_slice_is_what_opencv_makes_of_the_same_draws(settings, channels):
    """Also beyond the border, which large shifts and angles reflect."""
    given, warp = batch(24, channels), DeviceWarp(**settings)
    warped = warp(given, rng(4))
    draws = Draws(warp, SIZE, 24, rng(4))
    field, holes = draws.field(), draws.holes()
    wrong = 0.0
    for index in range(24):
        image, mask = given.images[index].permute(1, 2, 0).numpy(), given.targets[0][1][index].permute(1, 2, 0).numpy()
        if index in field.samples:
            place = field.samples.tolist().index(index)
            own = Field(*(part[place : place + 1] for part in field))
            maps = augmentation_deck.full_maps(own, warp.sigma)
            image = augmentation_deck.move(image, *maps, cv2.INTER_LINEAR)
            mask = augmentation_deck.move(mask, *maps, cv2.INTER_NEAREST)
        elif draws.flip[index]:
            image, mask = image[:, ::-1].copy(), mask[:, ::-1].copy()
        else:
            image, mask = image.copy(), mask.copy()
        for top, left in holes[index, : draws.hole_count[index]]:
            image[top : top + 2, left : left + 3] = mask[top : top + 2, left : left + 3] = 0
        ours = warped.images[index].permute(1, 2, 0).numpy()
        assert np.abs(ours - image).max() < 0.02, "OpenCV rounds positions to a 32nd of a pixel"
        target = warped.targets[0][1][index].permute(1, 2, 0).numpy()
        wrong += np.mean((target != mask) & ~(np.isnan(target) & np.isnan(mask))) / 24
    assert wrong < 0.005, "all but pixels whose position lies between two"


POLICIES = {
    "baseline": (baseline_device, augmentation_deck.baseline),
    "initial": (initial_device, augmentation_deck.initial),
    "final": (final_device, augmentation_deck.final),
}
COUNT = 600


@pytest.fixture(scope="module", params=list(POLICIES))
def both(request):
    """Images of coordinates ``[N, 2, H, W]`` and masks ``[N, H, W]`` after a policy on the device, and on the CPU."""
    on_device, on_cpu = POLICIES[request.param]
    parts = [on_device()(coordinates(100), rng(1000 + number)) for number in range(COUNT // 100)]
    ours = np.concatenate([part.images.numpy() for part in parts])
    masks = np.concatenate([part.targets[0][1][:, 0].numpy() for part in parts])
    policy, image = on_cpu(size=SIZE), coordinates(1).images[0].permute(1, 2, 0).numpy()
    results = [policy(image, np.ones((*SIZE, 3), np.uint8), rng(seed)) for seed in range(COUNT)]
    theirs = np.stack([result[0].transpose(2, 0, 1) for result in results])
    return ours, masks, theirs, np.stack([result[1][..., 0] for result in results])


@pytest.mark.slow
def test_positions_have_the_distribution_of_the_cpu_policy(both):
    ours, masks, theirs, other_masks = both
    for row, column in ((24, 30), (12, 15), (40, 8), (3, 50)):
        seen = [
            values[:, :, row, column][kept[:, row, column] == 1]
            for values, kept in ((ours, masks), (theirs, other_masks))
        ]
        for axis in range(2):
            one, two = (np.round(values[:, axis], 2) for values in seen)
            assert stats.ks_2samp(one, two).pvalue > 1e-3, (row, column, axis)


def kinds(images):
    """How often a slice is unchanged, only flipped, and moved otherwise; seen where no hole is."""
    plain = coordinates(1).images[0].numpy()
    counts = Counter()
    for image in images:
        visible = image.any(axis=0)
        for name, other in (("same", plain), ("flipped", plain[:, :, ::-1])):
            if np.array_equal(image[:, visible], other[:, visible]):
                counts[name] += 1
                break
        else:
            counts["moved"] += 1
    return [counts[name] for name in ("same", "flipped", "moved")]


@pytest.mark.slow
def test_steps_are_as_probable_as_in_the_cpu_policy(both, request):
    name = request.node.callspec.params["both"]
    still = 1.0 if name == "baseline" else 0.5 * 0.75
    expected = np.array([still / 2, still / 2, 1 - still])
    for images in (both[0], both[2]):
        found = np.array(kinds(images)) / COUNT
        assert (np.abs(found - expected) <= 4 * np.sqrt(expected * (1 - expected) / COUNT)).all()


def test_holes_are_as_many_and_as_large_as_in_the_cpu_policy(both, request):
    areas = [(masks == 0).sum(axis=(1, 2)) for masks in (both[1], both[3])]
    hole = (HEIGHT // 20) * (WIDTH // 20)
    for area in areas:
        if request.node.callspec.params["both"] != "final":
            assert not area.any()
            continue
        assert abs((area > 0).mean() - 0.5) < 4 * np.sqrt(0.25 / COUNT)
        assert area.max() == 8 * hole and area[area > 0].min() >= 5 * hole / 2
        apart = Counter(area.tolist())
        assert all(apart[count * hole] > 20 for count in (5, 6, 7, 8)), "5 to 8, mostly apart"
    if any(area.any() for area in areas):
        assert stats.ks_2samp(*areas).pvalue > 1e-3


# --- what it promises -----------------------------------------------------------------------------------------------


def test_the_generator_alone_decides_and_each_slice_has_its_own_draws():
    one, two, other = (DeviceWarp(**ALL)(batch(), rng(seed)) for seed in (5, 5, 6))
    assert torch.equal(one.images, two.images) and not torch.equal(one.images, other.images)
    given = coordinates(8)
    warped = DeviceWarp(flip_p=0.0, shift_scale_rotate_p=1.0)(given, rng())
    assert len({tuple(image.flatten().tolist()) for image in warped.images}) == 8


class Tap(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.images = []

    def forward(self, images):
        self.images.append(images.clone())
        return (self.weight * images).expand(-1, 3, -1, -1)


def test_a_slice_is_the_same_however_its_batch_is_cut():
    masks = (torch.rand(12, 3, *SIZE, generator=torch.Generator().manual_seed(0)) > 0.5).byte()
    loaded = Loaded(batch(12).images, masks, torch.arange(12))
    fed = []
    for micro_batch in (12, 5, 1):
        tap, criterion = Tap(), Criterion([("bce", 1.0, BCE())])
        device = pick_device("cpu")
        training = SimpleNamespace(
            criterion=criterion,
            transforms=[final_device()],
            micro_batching=MicroBatching(micro_batch),
            device=device,
            channels_last=True,
            seed=3,
        )
        train_batch(training, Forward(tap), device.scaler(), loaded, epoch=1, step=0)
        fed.append(torch.cat(tap.images))
        assert len(tap.images) == -(-12 // micro_batch)
    assert torch.equal(fed[0], fed[1]) and torch.equal(fed[0], fed[2])
    assert not torch.equal(fed[0], loaded.images)


def test_image_and_mask_move_alike():
    """The image is its own mask: after any warp the two agree, up to the pixels along an edge, without a shift."""
    rows, columns = np.mgrid[:72, :90]
    blob = ((rows - 30) ** 2 + (columns - 50) ** 2 < 400) | ((rows > 50) & (columns < 25))
    values = torch.from_numpy(blob).float()[None, None].repeat(60, 1, 1, 1)
    given = Batch(values, ((1.0, values.repeat(1, 3, 1, 1)),), torch.arange(60))
    warped = DeviceWarp(**ALL, rotate_limit=30.0, alpha=40.0, sigma=8.0)(given, rng(2))
    shifts = []
    for image, target in zip(warped.images[:, 0].numpy(), warped.targets[0][1][:, 2].numpy(), strict=True):
        inside, own = image > 0.5, target == 1
        edge = ndimage.binary_dilation(inside | own) != ndimage.binary_erosion(inside & own, border_value=1)
        assert not ((inside != own) & ~edge).any()
        centers = [np.array(ndimage.center_of_mass(one)) for one in (image, target)]
        shifts.append(centers[0] - centers[1])
    assert np.abs(np.mean(shifts, axis=0)).max() < 0.1


def test_masks_keep_their_values_and_ignored_pixels_stay_whole():
    """NaN goes where its pixel goes and nowhere else: its own picture, moved as a second target, says where."""
    given = batch(16)
    target = given.targets[0][1]
    ignored = target.isnan()
    without = target.nan_to_num(0)
    three = Batch(given.images, ((0.5, target), (0.3, ignored.float()), (0.2, without)), given.rows)
    warped = DeviceWarp(**ALL, rotate_limit=40.0)(three, rng(1))
    (first, moved), (second, where), (third, plain) = warped.targets
    assert (first, second, third) == (0.5, 0.3, 0.2)
    assert set(moved[~moved.isnan()].unique().tolist()) == {0.0, 1.0} and set(where.unique().tolist()) == {0.0, 1.0}
    assert torch.equal(moved.isnan(), where == 1) and moved.isnan().any()
    assert torch.equal(moved.nan_to_num(0), plain)
    assert not moved[:, [0, 2]].isnan().any(), "not into another class"
    assert torch.isfinite(warped.images).all()


def test_holes_are_black_and_of_no_class_ignored_pixels_too():
    given = Batch(torch.ones(20, 2, 80, 100), ((1.0, torch.full((20, 3, 80, 100), torch.nan)),), torch.arange(20))
    warped = DeviceWarp(
        flip_p=0, shift_scale_rotate_p=0, distort_p=0, cutout_p=1, min_holes=3, max_holes=3, hole_size=0.1
    )(given, rng())
    black = warped.images[:, :1] == 0
    assert torch.equal(warped.targets[0][1] == 0, black.expand(-1, 3, -1, -1))
    assert torch.equal(warped.images == 0, black.expand(-1, 2, -1, -1))
    area = black.sum(dim=(1, 2, 3))
    assert area.max() == 3 * 8 * 10 and (area > 8 * 10).all()


@pytest.mark.parametrize("channels", [1, 3])
def test_the_memory_format_and_the_given_tensors_stay_as_they_are(channels):
    given = batch(6, channels)
    last = given.images.contiguous(memory_format=torch.channels_last)
    kept = last.clone()
    warped = final_device()(Batch(last, given.targets, given.rows), rng(2))
    assert warped.images.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(last, kept)
    plain = final_device()(given, rng(2))
    assert plain.images.is_contiguous() and plain.targets[0][1].is_contiguous()
    torch.testing.assert_close(plain.images, warped.images)
    assert warped.images.dtype == torch.float32


def test_what_is_not_drawn_is_left_exactly():
    given = batch()
    nothing = {"flip_p": 0.0, "shift_scale_rotate_p": 0.0, "distort_p": 0.0}
    assert torch.equal(DeviceWarp(**nothing)(given, rng()).images, given.images)
    flipped = DeviceWarp(**nothing | {"flip_p": 1.0})(given, rng())
    assert torch.equal(flipped.images, given.images.flip(-1))


def test_images_and_masks_are_sampled_once_each_and_only_slices_that_move(monkeypatch):
    calls = []
    sample = device_warp.functional.grid_sample

    def counted(values, grid, *, mode, **settings):
        calls.append((len(values), mode))
        return sample(values, grid, mode=mode, **settings)

    monkeypatch.setattr(device_warp.functional, "grid_sample", counted)
    warp = final_device(cutout_p=0.0)
    warp.record = True
    warp(batch(32), rng(7))
    moved = sum(any(line != "HorizontalFlip" for line in lines) for lines in warp.drawn_by_slice)
    assert calls == [(moved, "bilinear"), (moved, "nearest")] and 0 < moved < 32


def test_what_is_drawn_is_said_for_each_slice_when_asked_for_and_asking_changes_nothing():
    silent, asked = final_device(), final_device()
    asked.record = True
    one, two = (warp(coordinates(12), rng(3)) for warp in (silent, asked))
    assert torch.equal(one.images, two.images) and silent.drawn_by_slice == ()
    plain = coordinates(1).images[0]
    for image, words in zip(two.images, asked.drawn_by_slice, strict=True):
        names = {line.split(":")[0] for line in words}
        assert bool((image == 0).all(dim=0).any()) >= ("CoarseDropout" in names)
        if not names:
            assert torch.equal(image, plain)
        if names == {"HorizontalFlip"}:
            assert torch.equal(image, plain.flip(-1))


def test_fewest_holes_are_not_more_than_most():
    with pytest.raises(ComponentError, match=r"min_holes = 9 is more than max_holes = 8"):
        DeviceWarp(min_holes=9)


def test_holes_of_size_0_are_none():
    given = batch()
    warp = DeviceWarp(flip_p=0, shift_scale_rotate_p=0, distort_p=0, cutout_p=1, hole_size=0)
    warp.record = True
    warped = warp(given, rng())
    assert torch.equal(warped.images, given.images) and warp.drawn_by_slice == [[]] * 8
    torch.testing.assert_close(warped.targets[0][1], given.targets[0][1], equal_nan=True, rtol=0, atol=0)
    small = DeviceWarp(flip_p=0, shift_scale_rotate_p=0, distort_p=0, cutout_p=1, hole_size=1e-6)(given, rng())
    assert 1 < (small.images == 0).sum(dim=(1, 2, 3)).max() <= 8, "but a share that is not 0 makes a pixel"


@pytest.mark.parametrize("extreme", [{"alpha": 1e300}, {"alpha_affine": 1e300}, {"sigma": 1e-320}])
def test_any_number_that_a_recipe_may_give_makes_a_finite_image(extreme):
    given = batch()
    warped = DeviceWarp(**ALL | {"distort_p": 1.0, "elastic_share": 1.0} | extreme)(given, rng())
    assert torch.isfinite(warped.images).all() and warped.images.max() <= given.images.max() + 1e-6


def test_a_map_close_to_singular_makes_a_finite_image(monkeypatch):
    def almost_on_a_line(*args):
        draws = Draws(*args)
        draws.points[:] = [[0, 0], [-16, 16 + 1e-8], [0, 0]]  # 16 pixels: a third of the height
        assert np.abs(draws.field().columns).max() > 1e8
        return draws

    monkeypatch.setattr(device_warp, "Draws", almost_on_a_line)
    given = batch()
    warped = DeviceWarp(**ALL | {"distort_p": 1.0, "elastic_share": 1.0, "cutout_p": 0.0})(given, rng())
    assert torch.isfinite(warped.images).all()
    assert given.images.min() - 1e-6 <= warped.images.min() and warped.images.max() <= given.images.max() + 1e-6


@pytest.mark.parametrize("size", [(1, 9), (3, 2), (17, 5)])
def test_tiny_images_stay_in_their_range(size):
    given = Batch(torch.rand(6, 1, *size), ((1.0, torch.ones(6, 2, *size)),), torch.arange(6))
    warped = DeviceWarp(**ALL)(given, rng(1))
    assert torch.isfinite(warped.images).all() and warped.images.max() <= given.images.max() + 1e-6
