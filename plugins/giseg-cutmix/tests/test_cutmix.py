"""The plugin: its entry point, and that images and targets are cut alike."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from importlib.metadata import entry_points
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats

from gisegkit import Batch
from gisegkit.testing import check_batch_transform

pytest.importorskip("giseg_cutmix", reason="giseg-cutmix is not installed: pip install ./plugins/giseg-cutmix")
from giseg_cutmix.transform import CutMix

HEIGHT, WIDTH = 24, 31


def batch(count: int = 4) -> Batch:
    """Every pixel of image and target tells which image it comes from and where it was."""
    rows, columns = torch.meshgrid(torch.arange(HEIGHT), torch.arange(WIDTH), indexing="ij")
    place = (rows * WIDTH + columns).float()
    owner = torch.arange(count).float()[:, None, None].expand(-1, HEIGHT, WIDTH)
    images = torch.stack([owner, place.expand(count, -1, -1)], 1)
    return Batch(images, ((0.25, images[:, :1] * 10), (0.75, images.flip(1))), torch.arange(count))


def inside(result: Batch, given: Batch) -> torch.Tensor:
    """Where the owner has changed, ``[B, H, W]``."""
    return result.images[:, 0] != given.images[:, 0]


@pytest.mark.parametrize("seed", range(30))
def test_one_rectangle_comes_from_one_partner_and_the_rest_stays(seed):
    given = batch()
    result = CutMix()(given, np.random.default_rng(seed))
    changed = inside(result, given)
    assert torch.equal(result.images[:, 1], given.images[:, 1])  # pixels stay at their place
    boxes = []
    for number in range(4):
        if changed[number].any():
            assert len(result.images[number, 0][changed[number]].unique()) == 1
            rows, columns = (changed[number].any(dim).nonzero().flatten() for dim in (1, 0))
            boxes.append((rows.min().item(), rows.max().item(), columns.min().item(), columns.max().item()))
            assert changed[number].sum() == len(rows) * len(columns)
    assert len(set(boxes)) <= 1
    assert all(len(columns.unique()) <= 2 for columns in result.images[:, 0])


@pytest.mark.parametrize("seed", range(10))
def test_every_target_is_cut_like_the_images(seed):
    result = CutMix()(batch(), np.random.default_rng(seed))
    assert [weight for weight, _ in result.targets] == [0.25, 0.75]
    assert torch.equal(result.targets[0][1], result.images[:, :1] * 10)
    assert torch.equal(result.targets[1][1], result.images.flip(1))


def test_partners_are_drawn_for_the_whole_batch():
    seen = set()
    for seed in range(60):
        result = CutMix(alpha=20.0)(batch(), np.random.default_rng(seed))
        seen |= {(number, int(owner)) for number in range(4) for owner in result.images[number, 0].unique()}
    assert seen == {(number, owner) for number in range(4) for owner in range(4)}


@pytest.mark.slow
def test_the_rectangle_before_it_is_cut_off_has_the_share_one_minus_lam():
    # A box never cut off shows its whole size; far from the border means a small box around the middle.
    rng = np.random.default_rng(0)
    images = torch.stack([torch.zeros(1, 60, 60), torch.ones(1, 60, 60)])
    given = Batch(images, ((1.0, images),), torch.arange(2))
    shares = []
    while len(shares) < 1000:
        result = CutMix(alpha=1.0)(given, rng)
        changed = inside(result, given)[0]
        if changed.any():
            rows = changed.any(1).nonzero().flatten()
            columns = changed.any(0).nonzero().flatten()
            if min(rows.min(), columns.min()) > 0 and max(rows.max(), columns.max()) < 59:
                assert len(rows) == len(columns)
                shares.append(len(rows) / 60)
    # Uncut boxes of side s are seen in proportion to (1 - s) squared; s squared is uniform, so s has density 2 s.
    density = stats.beta(2, 3)
    centers = np.histogram(shares, bins=np.linspace(0, 1, 11))[0] / len(shares)
    expected = np.diff(density.cdf(np.linspace(0, 1, 11)))
    np.testing.assert_allclose(centers, expected, atol=0.06)


def test_ignored_pixels_travel_along():
    given = batch(2)
    target = torch.zeros(2, 1, HEIGHT, WIDTH)
    target[1] = torch.nan
    ignored = Batch(given.images, ((1.0, target),), given.rows)
    found = 0
    for seed in range(20):
        result = CutMix()(ignored, np.random.default_rng(seed))
        ((_, cut),) = result.targets
        assert torch.equal(torch.isnan(cut[:, 0]), result.images[:, 0] == 1)
        found += int(inside(result, ignored).any())
    assert found > 3


def test_what_is_handed_in_is_not_changed():
    given, untouched = batch(), batch()
    for seed in range(5):
        CutMix()(given, np.random.default_rng(seed))
    assert torch.equal(given.images, untouched.images)
    assert all(torch.equal(one, two) for (_, one), (_, two) in zip(given.targets, untouched.targets, strict=True))


def test_the_generator_alone_decides():
    one, two, other = (CutMix()(batch(), np.random.default_rng(seed)) for seed in (5, 5, 7))
    assert torch.equal(one.images, two.images)
    assert not torch.equal(one.images, other.images)


def test_what_is_drawn_is_said_when_asked_for_and_asking_changes_nothing():
    silent, asked = CutMix(p=0.5), CutMix(p=0.5)
    asked.record = True
    given = batch()
    spoken = 0
    for seed in range(30):
        one, two = (cutmix(given, np.random.default_rng(seed)) for cutmix in (silent, asked))
        assert torch.equal(one.images, two.images)
        assert silent.drawn == []
        assert bool(asked.drawn) is (two is not given)
        if asked.drawn:
            spoken += 1
            top, bottom, left, right, *partners = map(int, re.findall(r"(?<![.\d])\d+(?![.\d])", asked.drawn[0]))
            partners = partners[-4:]  # behind "of slices 1 to 4:"
            expected = given.images.clone()
            box = (..., slice(top, bottom + 1), slice(left, right + 1))
            expected[box] = given.images[[number - 1 for number in partners]][box]
            assert torch.equal(two.images, expected)
    assert 0 < spoken < 30


def test_a_batch_of_one_and_p_of_zero_change_nothing():
    single, several = batch(1), batch()
    assert CutMix()(single, np.random.default_rng(0)) is single
    assert all(CutMix(p=0.0)(several, np.random.default_rng(seed)) is several for seed in range(10))


@pytest.mark.parametrize(("channels", "classes"), [(1, 1), (3, 2), (5, 3)])
def test_contract(channels, classes):
    check_batch_transform(CutMix(), channels=channels, classes=classes, counts=[4, 3, 2, 1])


def test_the_entry_point_is_declared_and_installed():
    declared = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]["entry-points"]
    assert declared == {"gisegkit": {"cutmix": "giseg_cutmix"}}
    points = [point for point in entry_points(group="gisegkit") if point.value == "giseg_cutmix"]
    if not points:
        pytest.skip("giseg_cutmix is on the path but not installed: pip install ./plugins/giseg-cutmix")
    assert points[0].load().register_components is not None


def test_registering_imports_no_torch():
    code = (
        "import sys, giseg_cutmix\n"
        "class Add:\n"
        "    def batch_transform(self, name, target): print(name, target)\n"
        "giseg_cutmix.register_components(Add())\n"
        "print('torch' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["cutmix giseg_cutmix.transform:CutMix", "False"]
