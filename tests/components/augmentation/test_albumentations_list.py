"""A list of albumentations' transforms out of a recipe: what is refused, what groups and draws do."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from gisegkit.components.augmentation.albumentations_list import albumentations, transforms
from gisegkit.errors import ComponentError, RecipeError
from gisegkit.recipe.load import load_recipe
from gisegkit.types import IGNORE

SIZE = (40, 48)


def sample(channels=1):
    rng = np.random.default_rng(0)
    image = rng.random((*SIZE, channels), dtype=np.float32)
    return image, rng.choice(np.array([0, 1, IGNORE], np.uint8), size=(*SIZE, 2))


def names(policy, seeds=range(200)):
    """The set of steps applied together, with how often."""
    policy.record = True
    found = {}
    for seed in seeds:
        policy(*sample(), np.random.default_rng(seed))
        key = tuple(sorted(line.split(":")[0] for line in policy.drawn))
        found[key] = found.get(key, 0) + 1
    return found


def step(name, **params):
    return {"name": name, **params}


def test_steps_come_in_the_order_written():
    image, mask = sample()
    policy = albumentations(size=SIZE, steps=[step("HorizontalFlip", p=1.0), step("VerticalFlip", p=1.0)])
    flipped, flipped_mask = policy(image, mask, np.random.default_rng(0))
    np.testing.assert_array_equal(flipped, image[::-1, ::-1])
    np.testing.assert_array_equal(flipped_mask, mask[::-1, ::-1])


def test_one_of_takes_one_and_some_of_several():
    flips = [step("HorizontalFlip", p=1.0), step("VerticalFlip", p=1.0)]
    one = names(albumentations(size=SIZE, steps=[step("OneOf", p=1.0, transforms=flips)]))
    assert set(one) == {("HorizontalFlip",), ("VerticalFlip",)}
    assert abs(one["HorizontalFlip",] - 100) < 4 * np.sqrt(50)
    some = [*flips, step("RandomBrightnessContrast", p=1.0)]
    two = names(albumentations(size=SIZE, steps=[step("SomeOf", n=2, p=1.0, transforms=some)]))
    assert {len(key) for key in two} == {2} and len(two) == 3
    rare = names(albumentations(size=SIZE, steps=[step("OneOf", p=0.25, transforms=flips)]))
    assert abs(rare[()] - 150) < 4 * np.sqrt(200 * 0.25 * 0.75)


def test_groups_nest():
    inner = step("Sequential", p=1.0, transforms=[step("HorizontalFlip", p=1.0), step("VerticalFlip", p=1.0)])
    policy = albumentations(size=SIZE, steps=[step("OneOf", p=1.0, transforms=[inner, step("NoOp", p=1.0)])])
    image, mask = sample()
    seen = {policy(image, mask, np.random.default_rng(seed))[0].tobytes() for seed in range(40)}
    assert seen == {image.tobytes(), np.ascontiguousarray(image[::-1, ::-1]).tobytes()}


def test_the_generator_alone_decides_in_every_group():
    steps = [
        step("OneOf", p=0.7, transforms=[step("Rotate", p=1.0), step("ElasticTransform", p=1.0)]),
        step("SomeOf", n=2, transforms=[step("HorizontalFlip"), step("VerticalFlip"), step("RandomGamma")]),
        step("RandomOrder", n=2, transforms=[step("Rotate"), step("GaussNoise")]),
    ]
    first = albumentations(size=SIZE, steps=steps)
    second = pickle.loads(pickle.dumps(first))
    for seed in range(15):
        one = first(*sample(), np.random.default_rng(seed))
        second(*sample(), np.random.default_rng(seed + 99))
        other = second(*sample(), np.random.default_rng(seed))
        np.testing.assert_array_equal(one[0], other[0])
        np.testing.assert_array_equal(one[1], other[1])


def test_constants_of_opencv_are_named():
    policy = albumentations(
        size=SIZE, steps=[step("Affine", translate_px=[20, 20], border_mode="cv2.BORDER_REFLECT_101", p=1.0)]
    )
    image, _ = policy(np.ones((*SIZE, 1), np.float32), sample()[1], np.random.default_rng(0))
    assert (image == 1).all(), "nothing black comes in"


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ([], "steps is empty"),
        ([step("HorizontalFlp")], r"steps\[0\]: there is no transform 'HorizontalFlp'; did you mean 'HorizontalFlip'"),
        ([step("NoOp"), step("CoarseDropout", max_holes=8)], r"steps\[1\]: CoarseDropout has no parameter 'max_holes'"),
        ([step("ElasticTransform", alpha_affine=50)], "no parameter 'alpha_affine'; did you mean 'alpha'"),
        ([step("OpticalDistortion", shift_limit=0.1)], "no parameter 'shift_limit'"),
        ([step("GaussNoise", var_limit=3)], "no parameter 'var_limit'.*std_range"),
        ([step("HorizontalFlip", p=3)], r"steps\[0\]: HorizontalFlip is refused.*less than or equal to 1"),
        ([step("ShiftScaleRotate")], "use Affine transform instead"),
        ([step("OneOf")], r"steps\[0\]: OneOf needs transforms"),
        ([step("OneOf", transforms=[])], "OneOf needs transforms"),
        ([step("HorizontalFlip", transforms=[])], "holds no transforms; only OneOf, SomeOf"),
        (
            [step("OneOf", transforms=[step("NoOp"), step("Rotate", limit="a")])],
            r"steps\[0\]\.transforms\[1\]: Rotate is refused",
        ),
        ([step("OneOf", transforms=[step("RandomCrop", height=8, width=8)])], r"transforms\[0\]: RandomCrop cannot be"),
        ([step("Resize", height=8, width=8, p=0.01)], r"changes the size, \(40, 48\) to \(8, 8\)"),
        ([step("FDA", p=0.01)], "FDA cannot be used here.*fda_metadata"),
        ([step("FromFloat", p=0.1)], "FromFloat cannot be used here.*turns float32 images into"),
        ([step("CoarseDropout", fill_mask=7, p=0.1)], "CoarseDropout cannot be used here.*fill_mask"),
        ([step("OneOf", p=2, transforms=[step("NoOp")])], "OneOf has p = 2, n = 1; p is a number"),
        ([step("OneOf", p="x", transforms=[step("NoOp")])], 'p = "x"; p is a number between 0 and 1'),
        ([step("SomeOf", n=-1, transforms=[step("NoOp")])], "SomeOf has p = 0.5, n = -1"),
        ([step("OneOf", transforms=[step("NoOp", p=0.0)])], "OneOf is refused"),
        ([{"nam": "NoOp"}], "a step is a table with a name"),
        (["HorizontalFlip"], "a step is a table with a name"),
    ],
)
def test_what_is_wrong_is_named_by_its_place(steps, message):
    with pytest.raises(ComponentError, match=message):
        albumentations(size=SIZE, steps=steps)


@pytest.mark.slow
def test_every_transform_can_be_used_or_is_refused_in_words():
    usable = 0
    for name in transforms():
        if name in ("OneOf", "SomeOf", "Sequential", "RandomOrder", "Lambda"):
            continue
        try:
            policy = albumentations(size=SIZE, steps=[step(name, p=1.0)])
        except ComponentError as error:
            refused = str(error)
        else:
            refused = ""
        assert not refused or "augmentation.steps[0]" in refused, name
        for channels in () if refused else (1, 3):
            image, mask = sample(channels)
            try:
                new_image, new_mask = policy(image, mask, np.random.default_rng(1))
            except ComponentError as error:
                refused = str(error)
                continue
            assert new_image.shape == image.shape and set(np.unique(new_mask)) <= {0, 1, IGNORE}, name
        usable += not refused
    assert usable > 50


RECIPE = """
name = "list"
[dataset]
name = "phantom"
[model]
name = "unet"
encoder = "resnet18"
weights = "none"
[[loss]]
name = "bce"
[optimizer]
name = "adam"
[augmentation]
name = "albumentations"
[[augmentation.steps]]
name = "HorizontalFlip"
p = 0.5
[[augmentation.steps]]
name = "OneOf"
p = 0.25
[[augmentation.steps.transforms]]
name = "GridDistortion"
distort_limit = 0.05
[[augmentation.steps.transforms]]
name = "Rotate"
limit = [-5, 5]
"""


def test_a_recipe_holds_nested_steps_and_its_filled_text_runs_again(tmp_path, registries):
    (tmp_path / "list.toml").write_text(RECIPE)
    recipe = load_recipe(tmp_path / "list.toml", registries=registries)
    assert albumentations(size=SIZE, **recipe.augmentation.params)
    (tmp_path / "filled.toml").write_text(recipe.text())
    again = load_recipe(tmp_path / "filled.toml", registries=registries)
    assert again.augmentation.params == recipe.augmentation.params
    assert again.augmentation.params["steps"][1]["transforms"][1] == {"name": "Rotate", "limit": [-5, 5]}


def test_steps_must_be_a_list_of_tables(tmp_path, registries):
    (tmp_path / "list.toml").write_text(RECIPE)
    with pytest.raises(RecipeError, match=r"(?s)augmentation\.steps.*Valid: a list, each a table"):
        load_recipe(tmp_path / "list.toml", registries=registries, overrides=["augmentation.steps=[3]"])
