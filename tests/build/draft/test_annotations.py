"""COCO and labelme files in a folder are recognized, and their classes named in a recipe that reads them."""

from __future__ import annotations

import json

import pytest

from gisegkit.build.draft.layouts import find_layout
from gisegkit.components.datasets.coco import Coco
from gisegkit.components.datasets.labelme import Labelme
from gisegkit.data.findings import errors_of, findings_of
from gisegkit.errors import DataError

SQUARE = [1, 1, 4, 1, 4, 4, 1, 4]


def coco(tmp_path, file, names, *, categories=("liver", "spleen", "spine")):
    """A file with a shape on all images but the last: of the first category, and of the second on the first image."""
    annotations = [{"id": k, "image_id": k, "category_id": 7, "segmentation": [SQUARE]} for k in range(len(names) - 1)]
    annotations.append({"id": 99, "image_id": 0, "category_id": 8, "segmentation": [SQUARE]})
    held = {
        "images": [{"id": k, "file_name": name} for k, name in enumerate(names)],
        "annotations": annotations,
        "categories": [{"id": 7 + k, "name": name} for k, name in enumerate(categories)],
    }
    path = tmp_path / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(held))


def made(layout, dataset):
    """The dataset that a layout describes, which reads without an error."""
    keys = dict(layout.dataset)
    assert keys.pop("name") == dataset.__name__.lower()
    found = dataset(**keys)
    assert not errors_of(findings_of(found))
    return found


@pytest.mark.parametrize(
    ("file", "images"),
    [
        ("annotations.json", "images"),
        ("annotations/instances_default.json", "images"),
        ("train/_annotations.coco.json", "train"),
        ("labels.json", "data"),
    ],
)
def test_a_coco_file_is_found_with_its_images(tmp_path, write, file, images):
    names = [f"p{case}_{number}.png" for case in (1, 2) for number in (0, 1)]
    for name in names:
        write(f"{images}/{name}")
    coco(tmp_path, file, names)
    layout = find_layout(tmp_path)
    dataset = made(layout, Coco)
    assert (layout.dataset["images"], layout.dataset["annotations"]) == (images, file)
    assert dataset.classes == ("liver", "spleen")
    assert dataset.table["case"].tolist() == ["p1", "p1", "p2", "p2"]
    assert dataset.table["empty"].tolist() == [False, False, False, True]
    assert any("Categories without an annotation are left out: spine" in line for line in layout.why)
    assert any("1 of 4 images have no annotation (p2_1.png)" in line for line in layout.asks)


def test_the_files_of_other_parts_are_left_out_and_named(tmp_path, write):
    for part in ("train", "valid"):
        for name in ("a.png", "b.png"):
            write(f"{part}/{name}")
        coco(tmp_path, f"{part}/_annotations.coco.json", ["a.png", "b.png"])
    layout = find_layout(tmp_path)
    assert layout.dataset["annotations"] == "train/_annotations.coco.json"
    assert any("valid/_annotations.coco.json (COCO) is left out" in line for line in layout.asks)
    assert any("each image is a case of its own" in line for line in layout.asks)


def test_labelme_files_beside_their_images_or_in_a_folder_of_their_own(tmp_path, write):
    for name in ("a", "b"):
        write(f"images/{name}.png")
    held = {"imagePath": "a.png", "shapes": [{"label": "tumor", "points": [[1, 1], [4, 1], [4, 4]]}]}
    (tmp_path / "images" / "a.json").write_text(json.dumps(held))
    layout = find_layout(tmp_path)
    assert "annotations" not in layout.dataset
    assert made(layout, Labelme).table["empty"].tolist() == [False, True]
    assert layout.dataset["missing"] == "empty"
    (tmp_path / "annotations").mkdir()
    (tmp_path / "images" / "a.json").rename(tmp_path / "annotations" / "a.json")
    layout = find_layout(tmp_path)
    assert layout.dataset["annotations"] == "annotations"
    assert made(layout, Labelme).classes == ("tumor",)


def test_what_cannot_be_told_is_refused_with_the_ways(tmp_path, write):
    for name in ("a.png", "b.png"):
        write(f"images/{name}")
        write(f"masks/{name}")
    coco(tmp_path, "annotations.json", ["a.png", "b.png"])
    with pytest.raises(DataError, match=r"paired in 2 ways \(images with masks, by annotations.json \(COCO\)\)"):
        find_layout(tmp_path)


def test_files_without_images_or_shapes_are_refused(tmp_path, write):
    write("images/a.png")
    coco(tmp_path, "annotations.json", ["gone.png"])
    with pytest.raises(DataError, match=r"its first image, gone.png, is in none of the folders"):
        find_layout(tmp_path)
    (tmp_path / "annotations.json").unlink()
    (tmp_path / "images" / "z.json").write_text('{"shapes": []}')
    with pytest.raises(DataError, match=r"has labelme files \(z\), and no folder has images of these names"):
        find_layout(tmp_path)
    (tmp_path / "images" / "z.json").rename(tmp_path / "images" / "a.json")
    with pytest.raises(DataError, match="its labelme files have no shape"):
        find_layout(tmp_path)
