"""The picture of a batch: how weights and order show in the lines, and that everything fits at every size."""

from __future__ import annotations

import numpy as np
import pytest

from gisegkit.report.batch import HIGHEST, NARROWEST, SIDE, WIDEST, Sample, Stage, draw_batch, outlined_stage
from gisegkit.report.batch import tile_size as size_of
from gisegkit.report.drawing import AMBER, BACKGROUND, SHEET_WIDTH
from gisegkit.report.outlines import color_of

NAMES = ("before augmentation", "after augmentation", "after batch transforms")
FLAT = np.full((60, 60), 0.5)


def square(top: int, bottom: int, left: int, right: int, *, size: tuple[int, int] = (60, 60), classes: int = 1):
    mask = np.zeros((*size, classes), dtype=np.uint8)
    mask[top:bottom, left:right] = 1
    return mask


def where(picture, color):
    return (picture == np.array(color)).all(axis=-1)


def sample(
    height: int = 60, width: int = 60, *, stages: int = 3, targets: int = 1, classes: int = 1, number: int = 1
) -> Sample:
    rng = np.random.default_rng(number)
    weights = np.arange(targets, 0, -1) / sum(range(1, targets + 1))
    masks = [square(5 + 2 * k, 20 + 2 * k, 5, 25, size=(height, width), classes=classes) for k in range(targets)]
    last = tuple((float(weight), mask) for weight, mask in zip(weights, masks, strict=True))
    plain = ((1.0, masks[0]),)
    shown = tuple(
        Stage(name, rng.random((height, width)), last if name == NAMES[-1] else plain) for name in NAMES[:stages]
    )
    return Sample(f"{number}  case123_day20_slice_{number:04}", shown, ("HorizontalFlip", "Affine: rotate 7.3 degrees"))


def draw(samples, *, classes=("organ",), demo=False, heading="run: epoch 1, batch 1 of 4", notes=("a note",)):
    return draw_batch(samples, classes, demo=demo, heading=heading, notes=notes)


# --- one slice ------------------------------------------------------------------------------------------------------


def test_the_second_target_is_broken_and_the_heavier_one_stronger():
    """Two squares side by side; how far a line differs from the tissue tells its strength."""
    left, right = square(10, 50, 5, 25), square(10, 50, 35, 55)

    def contrast(first: float, second: float):
        picture = outlined_stage(Stage("a", FLAT, ((first, left), (second, right))), (0, 1)).astype(float)
        tissue = picture[5, 5]
        edge = np.abs(picture - tissue).max(axis=-1)
        return edge[10 * 4, 5 * 4 : 25 * 4], edge[10 * 4, 35 * 4 : 55 * 4]

    solid, broken = contrast(0.8, 0.2)
    assert (solid > 60).all() and solid.mean() > 2 * broken.mean()
    weak, strong = contrast(0.2, 0.8)
    assert strong.max() > 1.5 * weak.max()
    assert (weak > 0).all(), "the first is solid even where it is weak"
    assert 0.2 < (strong > weak.max()).mean() < 0.95, "the second has gaps"
    even = contrast(0.5, 0.5)
    assert even[0].max() == pytest.approx(even[1].max())


def test_a_third_and_a_fourth_target_are_drawn_as_well():
    masks = [square(10, 50, left, left + 10) for left in (2, 16, 30, 44)]
    tissue = outlined_stage(Stage("a", FLAT, ((1.0, np.zeros_like(masks[0])),)), (0, 1))
    picture = outlined_stage(Stage("a", FLAT, tuple(zip((0.4, 0.3, 0.2, 0.1), masks, strict=True))), (0, 1))
    difference = np.abs(picture.astype(float) - tissue).max(axis=-1)
    strongest = [difference[:, 4 * left - 4 : 4 * left + 44].max() for left in (2, 16, 30, 44)]
    assert strongest == sorted(strongest, reverse=True) and strongest[-1] > 20


@pytest.mark.parametrize("weights", [(0.9, 0.1), (0.1, 0.9)])
def test_the_heaviest_target_is_on_top(weights):
    """Two classes on the same pixels."""
    both = square(10, 50, 10, 50, classes=2)
    masks = both * np.array([1, 0], dtype=np.uint8), both * np.array([0, 1], dtype=np.uint8)
    picture = outlined_stage(Stage("a", FLAT, tuple(zip(weights, masks, strict=True))), (0, 1))
    heaviest = weights.index(0.9)
    edge = where(picture, color_of(heaviest))[40, 40:200]
    assert edge.all() if heaviest == 0 else 0.4 < edge.mean() < 0.95


def test_the_stages_of_a_slice_share_black_and_white():
    """A stage twice as bright looks brighter."""
    nothing = ((1.0, np.zeros((60, 60, 1), dtype=np.uint8)),)
    ramp = np.tile(np.linspace(0, 0.5, 60), (60, 1))
    picture = draw([Sample("1  a", (Stage("dark", ramp, nothing), Stage("bright", 2 * ramp, nothing)), ())])
    rows = picture[-150:-120].astype(float)  # through the middle of both tiles
    dark, bright = rows[:, 16 : 16 + SIDE], rows[:, 16 + SIDE + 8 : 16 + 2 * SIDE + 8]
    assert bright.max() > 250 and dark.max() == pytest.approx(127, abs=3)


@pytest.mark.parametrize(("height", "width"), [(224, 224), (64, 224), (32, 1024), (1024, 32), (1, 1)])
def test_a_tile_keeps_the_aspect_ratio_and_its_bounds(height, width):
    rows, columns = size_of(height, width)
    assert 1 <= rows <= HIGHEST and 1 <= columns <= WIDEST
    assert rows / columns == pytest.approx(height / width, rel=0.06)
    assert rows in (HIGHEST, SIDE) or columns in (WIDEST, SIDE) or rows * columns == pytest.approx(SIDE**2, rel=0.02)


# --- the sheet ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "count", "stages"),
    [((64, 64), 1, 2), ((64, 64), 16, 3), ((64, 224), 2, 3), ((32, 1024), 3, 3), ((256, 64), 5, 3), ((256, 64), 2, 2)],
)
def test_everything_fits_at_every_size_and_number(size, count, stages):
    samples = [sample(*size, stages=stages, targets=2, number=number + 1) for number in range(count)]
    picture = draw(samples)
    assert picture.shape[1] <= SHEET_WIDTH
    assert (picture[:, -8:] == BACKGROUND).all() and (picture[:, :8] == BACKGROUND).all(), "nothing reaches the edge"
    tile = max(size_of(*size)[1], NARROWEST)
    block = stages * tile + (stages - 1) * 8
    across = max(1, min(count, picture.shape[1] // (block + 16)))
    assert len(picture) > -(-count // across) * size_of(*size)[0], "every slice has its place"
    gaps = [16 + column * (block + 32) + block for column in range(across)]
    for gap in gaps:
        assert (picture[110:, gap + 2 : gap + 14] == BACKGROUND).all(), "no text runs into the next slice"


def test_long_texts_take_more_lines_instead_of_being_cut():
    few, many = sample(), sample()
    long = Sample(many.title, many.stages, (" ".join(f"parameter_{number} {number / 7:.3f}" for number in range(60)),))
    assert len(draw([long])) > len(draw([few])) + 3 * 18
    assert len(draw([few], notes=["word " * 300])) > len(draw([few])) + 4 * 18
    wide = draw(
        [sample(stages=2)], heading="a_recipe_with_a_long_name: epoch 10, batch 100 of 1000, 64 slices, one shown"
    )
    assert wide.shape[1] > draw([sample(stages=2)]).shape[1]


def test_many_targets_wrap_below_a_narrow_slice():
    assert len(draw([sample(256, 64, targets=8)])) > len(draw([sample(256, 64, targets=1)]))


def test_the_legend_tells_weights_only_where_targets_are_mixed():
    def legend(targets):
        return draw([sample(targets=targets)], classes=["a", "b"])[70:100]

    assert not np.array_equal(legend(1), legend(2))
    for targets in (1, 2):
        assert where(legend(targets), color_of(0)).any() and where(legend(targets), color_of(1)).any()


def test_only_a_demo_says_so():
    assert where(draw([sample()], demo=True), AMBER).any()
    assert not where(draw([sample()]), AMBER).any()
