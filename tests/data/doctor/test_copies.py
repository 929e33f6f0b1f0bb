"""The same image under two ids."""

from __future__ import annotations

import numpy as np
import pytest

from gisegkit.data.doctor.copies import copy_findings, near_pairs


def test_clean_images_and_empty_ones_are_no_copies(data):
    data.images[0] = data.images[9] = np.zeros((48, 48), np.uint8)
    assert list(copy_findings(data.seen())) == []


def test_an_image_twice_in_a_scan(data, told):
    data.images[1] = data.images[0]
    data.masks[1][:] = data.masks[0]
    (finding,) = copy_findings(data.seen())
    assert told([finding]) == [("same image twice", "warning", "s0_0 and s0_1")]
    assert "the masks are the same" in finding.what and finding.ids == ("s0_1",)
    (torn,) = copy_findings(data.seen({0: "train", 1: "validation"}))
    assert torn.severity == "error" and "train and validation" in torn.what


def test_an_image_in_two_cases_with_the_dice_of_its_masks(data, told):
    """Masks of 18 x 18 and 20 x 18 pixels agree by 2 * 324 / (324 + 360); the smaller ones by 2 * 36 / (36 + 48)."""
    data.images[10] = data.images[0]
    (finding,) = copy_findings(data.seen())
    assert told([finding]) == [("same image in two cases", "error", "s0_0 and s2_2")]
    assert "the masks differ, Dice a 0.95, b 0.92" in finding.what, 2 * 36 / (36 + 42)


def test_a_test_image_that_is_a_training_image(data, told):
    data.images[10] = data.images[0]
    data.table.loc[8:, "labelled"] = False
    assert told(copy_findings(data.seen())) == [("same image with and without labels", "warning", "s0_0 and s2_2")]


@pytest.mark.parametrize(("scan", "severity"), [(2, "error"), (1, "warning")])
def test_a_scan_that_was_copied(data, told, scan, severity):
    for k in range(4):
        data.images[4 * scan + k] = data.images[k]
    (finding,) = copy_findings(data.seen())
    assert told([finding]) == [("copied scan", severity, f"scan s{scan}")]
    assert (
        finding.ids == tuple(f"s{scan}_{k}" for k in range(4)) and "4 slices have the pixels of scan s0" in finding.what
    )


def test_nearly_the_same_image(data, told):
    rng = np.random.default_rng(0)
    near = (data.images[0].astype(int) + rng.integers(-1, 2, (48, 48))).clip(0, 255).astype(np.uint8)
    data.images[11] = near
    assert told(copy_findings(data.seen())) == [
        ("nearly the same image in two cases", "warning", "s0_0 and s2_3"),
    ]
    data.images[11], data.images[5] = type(data)().images[11], near
    assert list(copy_findings(data.seen())) == [], "neighbors of one case look alike"


@pytest.mark.slow
def test_near_pairs_are_those_that_comparing_all_finds():
    rng = np.random.default_rng(1)
    hashes = rng.integers(0, 256, (600, 32), dtype=np.uint8)
    for number in range(40):  # copies with up to 15 bits changed, every other one only in a fourth of the hash
        bits = np.unpackbits(hashes[number])
        bits[rng.permutation(256 if number % 2 else 64)[: number % 16]] ^= 1
        hashes[300 + number] = np.packbits(bits)
    cases = np.arange(600) // 3
    near = {
        (a, b)
        for a in range(600)
        for b in range(a + 1, 600)
        if cases[a] != cases[b] and np.bitwise_count(hashes[a] ^ hashes[b]).sum() <= 15
    }
    assert len(near) == 40 and {(a, b) for a, b, _ in near_pairs(hashes, cases)} == near
