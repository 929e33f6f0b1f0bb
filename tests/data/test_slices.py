"""Stacks: centered, never across scans, gaps and ends by the edge rule; normalized by slice, stack or scan."""

from __future__ import annotations

import pickle
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gisegkit.components.normalizations import FileType, Maximum, Percentile, Unchanged, Window, ZScore
from gisegkit.data.intensities import UNITS
from gisegkit.data.preprocess import Preprocess
from gisegkit.data.slices import SliceReader
from gisegkit.errors import DataError

NORMALIZATIONS = {
    **{f"{kind.__name__} over {unit}": kind(over=unit) for kind in (Maximum, Percentile, ZScore) for unit in UNITS},
    "Window": Window(level=30000, width=40000),
    "FileType": FileType(),
    "Unchanged": Unchanged(),
}


class Scans:
    """Scans of 2 x 3 pixel slices; the slice at position p of scan s is filled with 100 * s + p, unless given."""

    classes = ("a",)
    exclusive = False
    dropped = ()

    def __init__(self, *scans, images=None):
        rows = [(f"v{number}", position) for number, positions in enumerate(scans) for position in positions]
        self.table = pd.DataFrame(rows, columns=["scan", "position"])
        self.table["id"] = [f"{scan}_{position}" for scan, position in rows]
        sizes = [(2, 3)] * len(rows) if images is None else [image.shape[:2] for image in images]
        self.table[["height", "width"]] = sizes
        self.images = images
        self.reads = []

    def image(self, row):
        self.reads.append(row)
        if self.images is not None:
            return self.images[row]
        scan, position = self.table["scan"][row], self.table["position"][row]
        return np.full((2, 3), 100 * int(scan[1:]) + position, dtype=np.float32)


def stack(dataset, row, **options):
    """The positions (plus 100 for each scan) that came as channels."""
    settings = {"slices": 3, "stride": 1, "edge": "clamp", "preprocess": Preprocess(Unchanged())} | options
    return SliceReader(dataset, **settings).read(row)[0, 0].tolist()


def test_centered_with_stride():
    dataset = Scans(range(1, 12))
    assert stack(dataset, 5) == [5, 6, 7]
    assert stack(dataset, 5, stride=2) == [4, 6, 8]
    assert stack(dataset, 5, slices=5, stride=2) == [2, 4, 6, 8, 10]
    assert stack(dataset, 5, slices=1, stride=3) == [6]


@pytest.mark.parametrize(("edge", "first", "last"), [("clamp", [1, 1, 3], [2, 4, 4]), ("zero", [0, 1, 3], [2, 4, 0])])
def test_never_across_scans(edge, first, last):
    dataset = Scans(range(1, 5), range(1, 5))
    assert stack(dataset, 0, stride=2, edge=edge) == first
    assert stack(dataset, 3, stride=2, edge=edge) == last
    assert stack(dataset, 4, stride=2, edge=edge) == [100 + value if value else 0 for value in first]
    assert stack(dataset, 7, stride=2, edge=edge) == [100 + value if value else 0 for value in last]


def test_gaps():
    """As in a sample of every tenth slice: what is not there is clamped towards the center, or zero."""
    dataset = Scans([75, 85, 95])
    assert stack(dataset, 1, stride=2) == [85, 85, 85]
    assert stack(dataset, 1, stride=10) == [75, 85, 95]
    assert stack(dataset, 1, stride=11) == [75, 85, 95]  # 96 is absent; 95 lies nearest to it from within
    assert stack(dataset, 1, stride=9) == [85, 85, 85]  # 94 is absent; 95 lies beyond it
    assert stack(dataset, 1, stride=11, edge="zero") == [0, 85, 0]
    assert stack(dataset, 1, stride=10, edge="zero") == [75, 85, 95]


@given(
    st.lists(st.sets(st.integers(1, 30), min_size=1), min_size=1, max_size=3),
    st.sampled_from([1, 3, 5]), st.integers(1, 6), st.sampled_from(["clamp", "zero"]),
)  # fmt: skip
@pytest.mark.slow
def test_neighbors_against_the_definition(scans, slices, stride, edge):
    dataset = Scans(*map(sorted, scans))
    reader = SliceReader(dataset, slices=slices, stride=stride, edge=edge, preprocess=Preprocess(Unchanged()))
    row = 0
    for number, positions in enumerate(scans):
        for center in sorted(positions):
            expected = []
            for k in range(-(slices // 2), slices // 2 + 1):
                target = center + k * stride
                between = [p for p in positions if min(center, target) <= p <= max(center, target)]
                nearest = min(between, key=lambda p, target=target: abs(p - target))
                expected.append(100 * number + nearest if nearest == target or edge == "clamp" else 0)
            assert reader.read(row)[1, 2].tolist() == expected
            row += 1


def test_color_is_concatenated_slice_by_slice():
    images = [np.stack([np.full((2, 3), 10 * row + c, dtype=np.uint8) for c in range(3)], axis=2) for row in range(3)]
    reader = SliceReader(
        Scans(range(3), images=images), slices=3, stride=1, edge="clamp", preprocess=Preprocess(FileType())
    )
    assert reader.channels == 9
    values = reader.read(1)[0, 0] * 255
    np.testing.assert_allclose(values, [0, 1, 2, 10, 11, 12, 20, 21, 22], rtol=1e-6)


@pytest.fixture
def noisy():
    rng = np.random.default_rng(0)
    return Scans(
        range(4),
        range(3),
        images=[(rng.random((20, 30)) ** 3 * 2000 * (row + 1)).astype(np.uint16) for row in range(7)],
    )


def percentile(values):
    low, high = np.percentile(values, 1), np.percentile(values, 99)
    return lambda image: np.clip((image.astype(np.float64) - low) / (high - low), 0, 1)


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("kind", [Maximum, Percentile, ZScore])
def test_normalization_takes_its_unit(noisy, unit, kind):
    reader = SliceReader(noisy, slices=3, stride=1, edge="clamp", preprocess=Preprocess(kind(over=unit)))
    result = reader.read(1)
    assert result.dtype == np.float32
    assert result.shape == (20, 30, 3)
    for channel, row in enumerate([0, 1, 2]):
        rows = {"slice": [row], "stack": [0, 1, 2], "scan": [0, 1, 2, 3]}[unit]
        values = np.stack([noisy.images[r] for r in rows])
        wanted = {
            Maximum: lambda image, values: image / values.max(),
            Percentile: lambda image, values: percentile(values)(image),
            ZScore: lambda image, values: (image - values.mean()) / values.std(),
        }[kind](noisy.images[row], values)
        np.testing.assert_allclose(result[:, :, channel], wanted, atol=1e-6)
    assert reader.read(5)[:, :, 1].max() == 1.0 or kind is ZScore or unit != "slice"


def test_dtype_divides_by_the_types_range_and_leaves_floats(noisy):
    options = {"slices": 1, "stride": 1, "edge": "clamp", "preprocess": Preprocess(FileType())}
    np.testing.assert_allclose(SliceReader(noisy, **options).read(2)[:, :, 0], noisy.images[2] / 65535, rtol=1e-6)
    floats = [np.linspace(0, 1, 6, dtype=np.float32).reshape(2, 3)]
    assert np.array_equal(SliceReader(Scans([1], images=floats), **options).read(0)[:, :, 0], floats[0])


def test_zero_slices_enter_neither_maximum_nor_percentile(noisy):
    reader = SliceReader(noisy, slices=3, stride=1, edge="zero", preprocess=Preprocess(Percentile(over="stack")))
    result = reader.read(0)
    assert not result[:, :, 0].any()
    wanted = percentile(np.stack([noisy.images[0], noisy.images[1]]))
    np.testing.assert_allclose(result[:, :, 2], wanted(noisy.images[1]), atol=1e-6)


@pytest.mark.parametrize("name", [name for name in NORMALIZATIONS if name != "Window"])
def test_black_slices_stay_black(name):
    reader = SliceReader(
        Scans([1, 2], images=[np.zeros((4, 4), dtype=np.uint16)] * 2),
        slices=3,
        stride=1,
        edge="zero",
        preprocess=Preprocess(NORMALIZATIONS[name]),
    )
    assert not reader.read(0).any()  # and no warning, no NaN


@pytest.mark.parametrize("name", NORMALIZATIONS)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused(name, bad):
    images = [np.ones((4, 4), dtype=np.float32) for _ in range(3)]
    images[1][2, 2] = bad
    reader = SliceReader(
        Scans([1, 2, 3], images=images), slices=3, stride=1, edge="clamp", preprocess=Preprocess(NORMALIZATIONS[name])
    )
    with pytest.raises(DataError, match="not finite"):
        reader.read(1)


def test_a_scan_is_read_once_for_its_range(noisy):
    reader = SliceReader(noisy, slices=1, stride=1, edge="clamp", preprocess=Preprocess(Maximum(over="scan")))
    reader.read(0)
    noisy.reads.clear()
    for row in range(4):
        reader.read(row)
    assert noisy.reads == [0, 1, 2, 3]


def test_clamped_neighbors_are_read_once(noisy):
    reader = SliceReader(noisy, slices=5, stride=1, edge="clamp", preprocess=Preprocess(Maximum(over="stack")))
    reader.read(0)
    noisy.reads.clear()
    reader.read(0)
    assert noisy.reads == [0, 1, 2]


def test_pickled_reader_reads_alike(noisy):
    reader = SliceReader(noisy, slices=3, stride=1, edge="clamp", preprocess=Preprocess(Percentile(over="scan")))
    copy = pickle.loads(pickle.dumps(reader))
    assert np.array_equal(copy.read(4), reader.read(4))


def test_grey_and_color_mixed():
    images = [np.zeros((2, 2), dtype=np.uint8), np.zeros((2, 2, 3), dtype=np.uint8)]
    reader = SliceReader(
        Scans([1], [1], images=images), slices=1, stride=1, edge="clamp", preprocess=Preprocess(Maximum())
    )
    with pytest.raises(DataError, match="v1_1 has 3 channels"):
        reader.read(1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"slices": 2}, "odd number"),
        ({"slices": 0}, "odd number"),
        ({"stride": 0}, "stride = 0"),
        ({"edge": "clam"}, "did you mean 'clamp'"),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(DataError, match=message):
        stack(Scans([1]), 0, **options)


@pytest.mark.parametrize("scans", [([2, 1],), ([1, 1],)])
def test_unsorted_tables_are_refused(scans):
    with pytest.raises(DataError, match="sorted"):
        stack(Scans(*scans), 0)


def test_a_scan_in_two_pieces_is_refused():
    dataset = Scans([1], [1], [2])
    dataset.table["scan"] = ["a", "b", "a"]
    with pytest.raises(DataError, match="sorted"):
        stack(dataset, 0)


def test_import_needs_neither_torch_nor_opencv():
    code = "import sys, gisegkit.data.slices; print([m for m in ('torch', 'cv2', 'pandas') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
