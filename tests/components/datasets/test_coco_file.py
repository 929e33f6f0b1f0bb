"""A COCO file as images and shapes, before anything is drawn."""

from __future__ import annotations

import json

import pytest

from gisegkit.components.datasets.coco_file import CocoFile
from gisegkit.errors import DataError

TRIANGLE = [1, 1, 4, 1, 4, 4]


@pytest.fixture
def read(tmp_path):
    def read(annotations, **more):
        held = {
            "images": [{"id": "x", "file_name": "a\\b.png"}],
            "categories": [{"id": 1, "name": "liver"}, {"id": 2, "name": "liver"}],
            "annotations": annotations,
        }
        (tmp_path / "a.json").write_text(json.dumps(held | more))
        return CocoFile(tmp_path / "a.json", classes=["liver"], ignore=[])

    return read


def test_two_categories_of_one_name_are_one_class_and_ids_may_be_text(read):
    entries = [{"id": k, "image_id": "x", "category_id": k, "segmentation": [TRIANGLE]} for k in (1, 2)]
    coco = read(entries)
    assert coco.name("x") == "a/b.png"
    assert [shape.label for shape in coco.shapes["x"]] == ["liver", "liver"]
    assert coco.shapes["x"][0].values == [[(1, 1), (4, 1), (4, 4)]]
    assert coco.shapes["x"][1].place == "annotation 2"
    assert coco.findings == []


def test_an_image_with_other_categories_alone_is_annotated(read):
    entry = {"id": 1, "image_id": "x", "category_id": 3, "segmentation": [TRIANGLE]}
    coco = read([entry], categories=[{"id": 1, "name": "liver"}, {"id": 3, "name": "bone"}])
    assert coco.shapes == {"x": []}
    assert [finding.kind for finding in coco.findings] == ["label that is not listed"]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"categories": [{"id": 1}]}, "a category lacks its id or name"),
        ({"categories": [{"id": 1, "name": "liver"}, {"id": 1, "name": "b"}]}, "two categories have one id"),
        ({"images": [{"id": 1}]}, "image 1 of the list lacks its id or file_name"),
        ({"annotations": [3]}, "annotation 1 of the list is no object"),
        ({"annotations": {}}, "lacks the list annotations"),
    ],
)
def test_what_is_no_coco_file(read, more, said):
    with pytest.raises(DataError, match=said):
        read(**{"annotations": []} | more)
