"""JSON files are read whole or refused; points are checked; labels that a recipe does not name are counted."""

from __future__ import annotations

from pathlib import Path

import pytest

from gisegkit.components.datasets.annotation_json import Labels, read_json, refuse_bad_points, size_of
from gisegkit.errors import DataError


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'{"a": "\xe9"}', "no JSON file in UTF-8"),
        (b'{"a": ', "cut off"),
        (b"[" * 100_000, "cut off"),
        (b"3", "holds a int"),
    ],
)
def test_files_that_are_refused(tmp_path, content, said):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(DataError, match=said):
        read_json(tmp_path / "a.json")
    with pytest.raises(DataError, match=r"b\.json: cannot be read \(No such file"):
        read_json(tmp_path / "b.json")


def test_a_byte_order_mark_is_read_over(tmp_path):
    (tmp_path / "a.json").write_bytes(b'\xef\xbb\xbf{"a": 1}')
    assert read_json(tmp_path / "a.json") == {"a": 1}


@pytest.mark.parametrize(
    ("entry", "size"),
    [
        ({"h": 6, "w": 8.0}, (6, 8)),
        ({"h": 6}, None),
        ({"h": 6, "w": None}, None),
        ({"h": 0, "w": 8}, None),
        ({"h": float("inf"), "w": 8}, None),
    ],
)
def test_a_size(entry, size):
    assert size_of(entry, "h", "w") == size


def test_points():
    refuse_bad_points([(0, 1), [2.5, -3]], least=2)
    for points in ([(0, 1, 2)], [(0, None)], [(0, float("nan"))], [3]):
        with pytest.raises(DataError, match="no pair of numbers"):
            refuse_bad_points(points, least=1)
    with pytest.raises(DataError, match="has 1 point, and needs 3"):
        refuse_bad_points([(0, 1)], least=3)


def test_labels_are_counted_by_shapes_and_images():
    labels = Labels(["liver"])
    taken = [labels.take(label, Path(image)) for label, image in (("liver", "a"), ("x", "a"), ("x", "a"), ("x", "b"))]
    assert taken == [True, False, False, False]
    (finding,) = labels.findings(Path("file.json"))
    assert finding.place == "file.json"
    assert finding.what.startswith("'x' is not in dataset.classes: 3 shapes in 2 images (a first)")
