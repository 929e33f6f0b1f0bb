"""augmentation.py: image and mask stay one, every draw comes from the generator, nothing is silently left out."""

from __future__ import annotations

import pickle

import albumentations
import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gisegkit.components.augmentation.albumentations_policy import AlbumentationsPolicy, in_words
from gisegkit.components.augmentation.warp_policies import baseline
from gisegkit.errors import ComponentError
from gisegkit.types import IGNORE

SIZE = (12, 15)


def sample(channels: int = 5, classes: int = 3, seed: int = 0):
    rng = np.random.default_rng(seed)
    image = rng.normal(size=(*SIZE, channels)).astype(np.float32)
    mask = rng.choice(np.array([0, 1, IGNORE], np.uint8), size=(*SIZE, classes))
    return image, mask


@settings(max_examples=25, deadline=None)
@given(channels=st.sampled_from([1, 2, 3, 4, 5, 7]), classes=st.integers(1, 6), p=st.sampled_from([0.0, 1.0]))
def test_baseline_flips_image_and_mask_together(channels, classes, p):
    image, mask = sample(channels, classes)
    kept_image, kept_mask = image.copy(), mask.copy()
    new_image, new_mask = baseline(size=SIZE, p=p)(image, mask, np.random.default_rng(1))
    np.testing.assert_array_equal(new_image, image[:, ::-1] if p else image)
    np.testing.assert_array_equal(new_mask, mask[:, ::-1] if p else mask)
    assert (new_image.dtype, new_mask.dtype) == (np.float32, np.uint8)
    assert new_image.flags.c_contiguous
    assert new_mask.flags.c_contiguous
    np.testing.assert_array_equal(image, kept_image)
    np.testing.assert_array_equal(mask, kept_mask)


def test_baseline_flips_every_second_sample():
    policy = baseline(size=SIZE)
    image, mask = sample()
    flips = [not np.array_equal(policy(image, mask, np.random.default_rng(seed))[0], image) for seed in range(400)]
    assert pytest.approx(np.mean(flips), abs=4 * np.sqrt(0.25 / 400)) == 0.5  # four standard deviations


def several() -> AlbumentationsPolicy:
    """Steps of many draws, one of them a choice, as the deck's richer policies have."""
    return AlbumentationsPolicy(
        lambda: [
            albumentations.HorizontalFlip(p=0.5),
            albumentations.Affine(rotate=(-30, 30), scale=(0.8, 1.2), p=0.5),
            albumentations.OneOf(
                [albumentations.GridDistortion(p=1), albumentations.ElasticTransform(alpha=20, p=1)], p=0.5
            ),
            albumentations.VerticalFlip(p=0.5),
        ]
    )


def test_the_generator_alone_decides():
    first, second = several(), pickle.loads(pickle.dumps(several()))
    image, mask = sample()
    results = []
    for seed in range(12):
        one = first(image, mask, np.random.default_rng(seed))
        second(*sample(seed=99), np.random.default_rng(1000 - seed))  # what ran before must not matter
        other = second(image, mask, np.random.default_rng(seed))
        np.testing.assert_array_equal(one[0], other[0])
        np.testing.assert_array_equal(one[1], other[1])
        results.append(one[0].tobytes())
    assert len(set(results)) > 6


def test_global_generators_are_left_alone():
    np.random.seed(0)
    before = np.random.get_state()[1].copy()
    several()(*sample(), np.random.default_rng(0))
    np.testing.assert_array_equal(np.random.get_state()[1], before)


def test_steps_draw_independently_of_one_another():
    policy = AlbumentationsPolicy(lambda: [albumentations.HorizontalFlip(p=0.5), albumentations.VerticalFlip(p=0.5)])
    image, mask = sample()
    seen = {policy(image, mask, np.random.default_rng(seed))[0].tobytes() for seed in range(60)}
    turned = [image, image[:, ::-1], image[::-1], image[::-1, ::-1]]
    assert seen == {np.ascontiguousarray(one).tobytes() for one in turned}


@pytest.mark.parametrize("seed", range(20))
def test_masks_hold_no_new_value_after_warping(seed):
    policy = AlbumentationsPolicy(
        lambda: [
            albumentations.Affine(rotate=(20, 20), interpolation=cv2.INTER_LINEAR, p=1),
            albumentations.ElasticTransform(p=1),
        ]
    )
    _, mask = policy(*sample(seed=seed), np.random.default_rng(seed))
    assert set(np.unique(mask)) <= {0, 1, IGNORE}


@pytest.mark.parametrize(
    "step",
    [
        lambda: albumentations.ElasticTransform(alpha=1, sigma=50, alpha_affine=50, p=1),
        lambda: albumentations.CoarseDropout(max_holes=8, max_height=11, max_width=11, p=0.5),
        lambda: albumentations.OneOf([albumentations.OpticalDistortion(shift_limit=0.1, p=1)]),
        lambda: albumentations.HorizontalFlip(p=2.0),
        lambda: albumentations.Resize([224, 224]),
    ],
)
def test_an_argument_that_albumentations_leaves_out_is_an_error(step):
    with pytest.raises(ComponentError, match=r"albumentations 2\..*does not take"):
        AlbumentationsPolicy(lambda: [step()])


# --- what was drawn -------------------------------------------------------------------------------------------------


def test_what_was_drawn_is_told_when_asked_for():
    policy = AlbumentationsPolicy(
        lambda: [albumentations.HorizontalFlip(p=1), albumentations.VerticalFlip(p=0), albumentations.Rotate(p=1)]
    )
    policy(*sample(), np.random.default_rng(0))
    assert policy.drawn == []
    policy.record = True
    policy(*sample(), np.random.default_rng(0))
    assert policy.drawn[0] == "HorizontalFlip"
    assert len(policy.drawn) == 2 and policy.drawn[1].startswith("Rotate")


def test_numbers_are_told_with_their_units_and_maps_are_not():
    drawn = {"shift_x_px": 3.14159, "scale": {"x": 1.05, "y": 1.0}, "map_x": np.zeros((4, 4)), "shape": (4, 4)}
    assert in_words("Move", drawn) == "Move: shift x 3.14 px, scale x 1.05, scale y 1"
    assert in_words("CoarseDropout", {"holes": np.zeros((7, 4)), "seed": 4}) == "CoarseDropout: 7 holes"


# --- images that a step cannot take ---------------------------------------------------------------------------------


def test_a_step_that_does_not_fit_the_images_is_named_with_their_channels():
    policy = AlbumentationsPolicy(lambda: [albumentations.HueSaturationValue(p=1)])
    with pytest.raises(ComponentError, match=r"1 channels in float32: .*not applicable to grayscale"):
        policy(*sample(channels=1), np.random.default_rng(0))


def test_a_step_that_changes_the_size_is_refused():
    policy = AlbumentationsPolicy(lambda: [albumentations.CenterCrop(8, 8, p=1)])
    with pytest.raises(ComponentError, match=r"changes the size, \(12, 15\) to \(8, 8\).*\[input\] size"):
        policy(*sample(), np.random.default_rng(0))
