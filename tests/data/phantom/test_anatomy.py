"""The phantom's anatomy: cross-sections between frames, both image sizes of the competition, tissues like organs."""

from __future__ import annotations

import pytest

from gisegkit.data.phantom.anatomy import BRIGHTNESS, CLASSES, SIZES, cut

FRAMES = [(0.0, 0.0, 0.0, 0.2, 0.1, 0.0), (1.0, 0.4, -0.2, 0.4, 0.3, 90.0)]


def test_a_cut_between_two_frames_lies_between_them():
    middle = cut(FRAMES, 0.5)
    assert middle is not None
    assert (middle.x, middle.y, middle.rx, middle.ry, middle.degrees) == pytest.approx((0.2, -0.1, 0.3, 0.2, 45.0))


def test_a_cut_is_moved_and_scaled():
    moved = cut(FRAMES, 0.0, move=(0.1, -0.1), scale=2.0, lobes=5)
    assert moved is not None
    assert (moved.x, moved.y, moved.rx, moved.ry, moved.lobes) == pytest.approx((0.1, -0.1, 0.4, 0.2, 5))


@pytest.mark.parametrize("level", [-0.01, 1.01])
def test_beyond_its_frames_an_organ_is_not_there(level):
    assert cut(FRAMES, level) is None


def test_both_image_sizes_of_the_competition():
    assert {(size.width, size.height) for size in SIZES} == {(266, 266), (360, 310)}
    small, large = sorted(SIZES, key=lambda size: size.width)
    assert large.ceiling[1] < small.ceiling[0]  # the scanners' ranges do not touch
    assert CLASSES == ("large_bowel", "small_bowel", "stomach")


def test_no_two_tissues_are_told_apart_by_brightness_alone():
    """Every tissue but lung and fat shares brightness with another one."""
    spans = {name: span for name, span in BRIGHTNESS.items() if name not in ("lung", "fat")}
    for name, (low, high) in spans.items():
        assert any(low < other[1] and other[0] < high for key, other in spans.items() if key != name), name
