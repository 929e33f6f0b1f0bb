"""What is kept of a slice."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from gisegkit.data.doctor import facts as module
from gisegkit.data.doctor.facts import SliceFacts, digest_of, facts_of
from gisegkit.types import IGNORE


def bits(a, b):
    return int(
        np.bitwise_count(np.frombuffer(bytes.fromhex(a), np.uint8) ^ np.frombuffer(bytes.fromhex(b), np.uint8)).sum()
    )


def test_facts_of_a_slice_survive_json(picture):
    mask = np.zeros((48, 48, 3), np.uint8)
    mask[:2, :, 0] = 1  # 96 pixels, 48 + 2 of the 188 outermost
    mask[10:12, 10:14, 1] = mask[10:12, 10:14, 2] = 1
    mask[20, 20, 1] = IGNORE
    facts = facts_of(picture(0)[..., None], mask)
    assert (facts.dtype, facts.channels, facts.pixels, facts.twins) == ("uint8", 1, [96, 8, 8], [[1, 2]])
    assert facts.border == [round(50 / 188, 4), 0.0, 0.0] and not facts.constant
    assert (facts.low, facts.high) == (float(picture(0).min()), float(picture(0).max()))
    assert SliceFacts(*json.loads(json.dumps(facts))) == facts


def test_the_digest_is_of_pixels_type_and_shape(picture):
    image = picture(0)[..., None]
    other = image.copy()
    other[3, 4] ^= 1
    digests = [digest_of(each) for each in (image, other, image.astype(np.uint16), image.reshape(24, 96, 1))]
    assert len(set(digests)) == 4
    assert digest_of(np.asfortranarray(image)) == digests[0]


def test_masks_of_as_many_pixels_are_told_apart_and_those_without_a_pixel_are_alike(picture):
    image, mask = picture(0)[..., None], np.zeros((48, 48, 2), np.uint8)
    empty = facts_of(image, mask).truth
    mask[20, 20, 0] = 1
    other = np.roll(mask, 1, axis=0)
    ignored = np.where(mask == 1, IGNORE, mask)
    found = [facts_of(image, one) for one in (mask, other, ignored)]
    assert found[0].pixels == found[1].pixels and len({facts.truth for facts in found} | {empty}) == 4
    assert empty == facts_of(image, None).truth == ""


def test_a_look_alike_has_nearly_the_same_hash_and_another_image_has_not(picture):
    image = picture(1)
    look = facts_of(image[..., None], None).look
    noisy = (image + np.random.default_rng(5).integers(-2, 3, image.shape)).clip(0, 255).astype(np.uint8)
    compressed = cv2.imdecode(cv2.imencode(".jpg", image)[1], cv2.IMREAD_UNCHANGED)
    larger = cv2.resize(image, (96, 96), interpolation=cv2.INTER_LINEAR)
    for near in (noisy, compressed, larger, image.astype(np.uint16) * 50):
        assert bits(look, facts_of(near[..., None], None).look) <= 24
    assert min(bits(look, facts_of(picture(seed)[..., None], None).look) for seed in range(2, 8)) > 50


def test_noise_is_told_from_pictures(picture):
    noise = np.random.default_rng(0).integers(0, 4000, (64, 64, 1), dtype=np.uint16)
    assert abs(facts_of(noise, None).smooth) < 0.06 and facts_of(picture(0)[..., None], None).smooth > 0.9


@pytest.mark.parametrize("image", [np.full((40, 40, 1), 7), np.full((40, 40, 3), np.nan), np.zeros((8, 8, 1))])
def test_what_shows_nothing_has_no_hash(image):
    facts = facts_of(image.astype(np.float32), None)
    assert facts.look == "" and facts.pixels is None


def test_every_row_is_in_a_band_and_bands_have_equally_many():
    for height in (32, 33, 47, 48, 310, 1001):
        rows = module._rows(height).reshape(module.SIDE, -1)
        assert sorted({*rows.ravel().tolist()}) == list(range(height))
        edges = np.linspace(0, height, module.SIDE + 1).astype(int)
        assert (rows >= edges[:-1, None]).all() and (rows < edges[1:, None]).all()


@pytest.mark.parametrize("shape", [(1, 60, 1), (60, 1, 1), (2, 2, 1), (33, 47, 3), (40, 64, 1)])
def test_smoothness_and_extremes_of_any_shape(shape):
    ramp = np.add.outer(np.arange(shape[0]), 2 * np.arange(shape[1]))[..., None].repeat(shape[2], axis=2)
    facts = facts_of(ramp.astype(np.float32), None)
    assert facts.smooth > 0.4 if min(shape[:2]) > 2 else facts.smooth <= 1
    assert facts_of(ramp.astype(np.float32), None, extremes=(facts.low, facts.high)) == facts
    assert bool(facts.look) == (min(shape[:2]) >= 32)
