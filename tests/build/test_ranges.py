"""A policy that clips is refused, before training, with images that have no fixed range."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from gisegkit.build.ranges import out_of_range
from gisegkit.components.augmentation.albumentations_list import albumentations
from gisegkit.components.normalizations import FileType, Maximum, Percentile, Unchanged, Window, ZScore
from gisegkit.errors import ComponentError
from gisegkit.workflows.show import show_batch
from gisegkit.workflows.train import train

FIXED = (Maximum(), Percentile(), Window(level=1, width=2), FileType())


def policy(*steps):
    return albumentations(size=(32, 32), steps=list(steps))


@pytest.mark.parametrize(
    ("steps", "clipping"),
    [
        ([{"name": "HorizontalFlip"}, {"name": "Affine", "rotate": 5}], ()),
        ([{"name": "CoarseDropout"}], ()),
        ([{"name": "RandomBrightnessContrast", "p": 0.1}], ("RandomBrightnessContrast",)),
        ([{"name": "HorizontalFlip"}, {"name": "GaussNoise"}, {"name": "RandomGamma"}], ("GaussNoise", "RandomGamma")),
        ([{"name": "OneOf", "transforms": [{"name": "VerticalFlip"}, {"name": "CLAHE"}]}], ("CLAHE",)),
        ([{"name": "Blur"}], ()),
        ([{"name": "Blur"}, {"name": "GaussianBlur"}], ("GaussianBlur",)),  # by way of uint8
    ],
)
def test_the_steps_that_clip_are_found_by_trying_them(steps, clipping):
    made = policy(*steps)
    assert made.clipping == clipping
    assert made.range == ((0.0, 1.0) if clipping else None)
    for normalization in FIXED:
        assert out_of_range(made, normalization) == ""
    for normalization in (ZScore(), Unchanged()):
        text = out_of_range(made, normalization)
        assert bool(text) is bool(clipping)
        assert all(name in text for name in clipping)


def test_any_component_may_have_a_range():
    narrow = SimpleNamespace(range=(0.0, 0.5))
    assert "gives values from 0 to 1" in out_of_range(narrow, Maximum())
    assert out_of_range(SimpleNamespace(range=(-1, 1)), Maximum()) == ""
    assert out_of_range(SimpleNamespace(), ZScore()) == out_of_range(SimpleNamespace(range=None), ZScore()) == ""


ZSCORE = "normalization.name=zscore"
CLIPS = ("augmentation.name=albumentations", 'augmentation.steps=[{name="HorizontalFlip"}, {name="RandomGamma"}]')


def test_it_is_refused_before_training_and_in_a_picture(session, recipe, tmp_path):
    for begin in (
        lambda chosen: train(session.experiment(chosen), tmp_path / "run"),
        lambda chosen: show_batch(session.experiment(chosen), tmp_path / "a.png", epoch=1, batch=1, count=1),
    ):
        with pytest.raises(ComponentError) as caught:
            begin(recipe(ZSCORE, *CLIPS))
        assert "(RandomGamma)" in str(caught.value) and "zscore" in str(caught.value)
    assert not list(tmp_path.rglob("last.pt")) and not (tmp_path / "a.png").exists()
    show_batch(session.experiment(recipe(ZSCORE)), tmp_path / "a.png", epoch=1, batch=1, count=1)  # flips do not clip
