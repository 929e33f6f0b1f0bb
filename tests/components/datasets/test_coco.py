"""COCO files become masks by category and file name; whatever is odd is told with its file, place and remedy."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from gisegkit.build.data import ExperimentData
from gisegkit.components.datasets.coco import Coco
from gisegkit.data.findings import refuse_errors
from gisegkit.errors import DataError
from gisegkit.recipe.load import load_recipe
from gisegkit.testing import check_dataset
from gisegkit.types import IGNORE

HEIGHT, WIDTH = 6, 8
SQUARE = [1, 1, 4, 1, 4, 4, 1, 4]
"""Covers rows and columns 1 to 3."""


def image(number, name=None, **more):
    return {"id": number, "file_name": name or f"{number}.png", "height": HEIGHT, "width": WIDTH, **more}


def drawn(number, image_id, segmentation, category=5, **more):
    return {"id": number, "image_id": image_id, "category_id": category, "segmentation": segmentation, **more}


def runs(mask):
    """A mask in COCO's uncompressed form."""
    flat = np.concatenate([[0], np.asarray(mask, dtype=np.uint8).T.ravel()])
    edges = np.flatnonzero(np.diff(flat, append=1 - flat[-1]))
    return {"counts": np.diff(edges, prepend=0).tolist(), "size": list(np.shape(mask))}


CATEGORIES = [{"id": 5, "name": "liver"}, {"id": 2, "name": "spleen"}, {"id": 9, "name": "spine"}]


@pytest.fixture
def make(tmp_path):
    """Writes images 1 to 3 and a file, and makes the dataset."""

    def make(annotations, *, images=None, categories=CATEGORIES, check=True, **options):
        (tmp_path / "images").mkdir(exist_ok=True)
        images = [image(number) for number in (1, 2, 3)] if images is None else images
        for number in (1, 2, 3):
            pixels = np.arange(HEIGHT * WIDTH, dtype=np.uint8).reshape(HEIGHT, WIDTH) + number
            Image.fromarray(pixels).save(tmp_path / "images" / f"{number}.png")
        held = {"images": images, "annotations": annotations, "categories": categories}
        (tmp_path / "annotations.json").write_text(json.dumps(held))
        options = {"classes": ["liver", "spleen"], "missing": "empty"} | options
        dataset = Coco(root=str(tmp_path), **options)
        if check:
            refuse_errors(dataset.findings())
            check_dataset(dataset)
        return dataset

    return make


def found(dataset):
    return {finding.kind: finding for finding in dataset.findings()}


def square(rows=(1, 4), columns=(1, 4)):
    mask = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    mask[slice(*rows), slice(*columns)] = 1
    return mask


def test_polygons_and_runs_become_planes_by_the_names_of_categories(make):
    spleen = square((0, 2), (5, 8))
    dataset = make(
        [drawn(1, 1, [SQUARE]), drawn(2, 1, runs(spleen), 2), drawn(3, 3, [SQUARE, [6, 4, 8, 4, 8, 6, 6, 6]])]
    )
    assert dataset.classes == ("liver", "spleen")
    assert dataset.table["id"].tolist() == ["1", "2", "3"]
    assert dataset.table["empty"].tolist() == [False, True, False]
    assert np.array_equal(dataset.mask(0), np.stack([square(), spleen], axis=2))
    assert np.array_equal(dataset.mask(2)[:, :, 0], square() | square((4, 6), (6, 8)))
    assert dataset.image(1)[0, 0] == 2
    assert list(dataset.findings()) == []
    assert not dataset.may_ignore


@pytest.mark.parametrize(("crowd", "value"), [("ignore", IGNORE), ("class", 1), ("leave", 0)])
def test_crowds(make, crowd, value):
    dataset = make([drawn(1, 1, [SQUARE]), drawn(2, 1, runs(square((1, 6), (1, 4))), iscrowd=1)], crowd=crowd)
    expected = square() + square((4, 6), (1, 4)) * value
    assert np.array_equal(dataset.mask(0)[:, :, 0], expected)
    assert not dataset.mask(0)[:, :, 1].any()
    assert dataset.may_ignore is (crowd == "ignore")


def test_a_category_can_be_ignored(make):
    dataset = make([drawn(1, 1, [SQUARE]), drawn(2, 1, [[3, 0, 6, 0, 6, 2, 3, 2]], 9)], ignore=["spine"])
    mask = dataset.mask(0)
    assert (mask[0:2, 3:6] == IGNORE).all()
    assert (mask == IGNORE).sum() == 2 * 3 * 2


def test_of_exclusive_classes_the_first_takes_the_pixel_and_the_crowd_what_is_left(make):
    spleen = runs(square((3, 6), (3, 6)))
    annotations = [drawn(1, 1, spleen, 2), drawn(2, 1, [SQUARE]), drawn(3, 1, runs(square((0, 6), (0, 4))), iscrowd=1)]
    dataset = make(annotations, exclusive=True)
    mask = dataset.mask(0)
    assert np.array_equal(mask[:, :, 0] == 1, square())
    assert np.array_equal(mask[:, :, 1] == 1, (square((3, 6), (3, 6)) & ~square()) == 1)
    assert ((mask[:, :, 0] == IGNORE) == (mask[:, :, 1] == IGNORE)).all()
    assert (mask[:, :, 0] == IGNORE).sum() == 6 * 4 - 3 * 3 - 2
    assert "1 pixels in 1 image are in several classes" in found(dataset)["classes overlap"].what
    both = make(annotations)
    assert np.array_equal(both.mask(0)[:, :, 1], square((3, 6), (3, 6)))


def test_categories_that_are_not_listed_are_counted(make):
    dataset = make([drawn(1, 1, [SQUARE]), drawn(2, 1, [SQUARE], 2), drawn(3, 2, [SQUARE], 2)], classes=["liver"])
    finding = found(dataset)["label that is not listed"]
    assert finding.severity == "warning"
    assert "'spleen' is not in dataset.classes: 2 shapes in 2 images (1.png first)" in finding.what
    assert dataset.table["empty"].tolist() == [False, True, True]


def test_images_without_annotation(make):
    annotations = [drawn(1, 1, [SQUARE])]
    dataset = make(annotations, missing="refuse", check=False)
    bad = [finding for finding in dataset.findings() if finding.kind == "image without annotation"]
    assert [finding.ids for finding in bad] == [("2",), ("3",)]
    assert all(finding.severity == "error" and "dataset.missing" in finding.remedy for finding in bad)
    assert make(annotations, missing="empty").table["empty"].tolist() == [False, True, True]
    assert make(annotations, missing="unlabelled").table["labelled"].tolist() == [True, False, False]


def test_without_the_file_all_images_are_for_prediction(make, tmp_path):
    make([drawn(1, 1, [SQUARE])])
    (tmp_path / "annotations.json").unlink()
    dataset = Coco(root=str(tmp_path), classes=["liver"])
    assert dataset.table["labelled"].tolist() == [False] * 3
    assert "no annotations" in found(dataset)
    with pytest.raises(DataError, match="1: has no annotation; it is for prediction"):
        dataset.mask(0)


ODD = {
    "image that is not there": ([], [image(7, "gone.png")], "lists 1 of 4 images", ()),
    "annotation without image": ([drawn(4, 99, [SQUARE])], [], "annotation 4 of image 99", ()),
    "unknown category": ([drawn(4, 2, [SQUARE], 77)], [], "has the category 77", ("2",)),
    "shape without area": ([drawn(4, 2, [[1, 1, 4, 4]])], [], "has 2 points, and needs 3", ("2",)),
    "points outside": ([drawn(4, 2, [[1, 1, 14, 1, 14, 4, 1, 4]])], [], "up to 6 pixels outside", ()),
    "shape outside": ([drawn(4, 2, [[9, 1, 14, 1, 14, 4, 9, 4]])], [], "is outside of the image", ("2",)),
    "damaged shape": ([drawn(4, 2, {"counts": [5], "size": [6, 8]})], [], "cover 5 pixels, and 6 x 8 has 48", ("2",)),
}


@pytest.mark.parametrize("kind", ODD)
def test_what_is_odd_is_told_with_its_place(make, kind):
    annotations, images, said, ids = ODD[kind]
    listed = [image(number) for number in (1, 2, 3)]
    dataset = make([drawn(1, 1, [SQUARE]), *annotations], images=[*listed, *images], check=False)
    finding = found(dataset)[kind]
    assert said in finding.what
    assert "annotations.json" in finding.place
    assert finding.remedy
    assert finding.ids == ids
    assert finding.severity == ("warning" if kind == "points outside" else "error")


@pytest.mark.parametrize(
    ("segmentation", "more", "said"),
    [
        ([], {"bbox": [1, 1, 3, 3]}, "has a box and no shape"),
        (None, {}, "has no shape"),
        ([[1, 1, 4, 1, 4]], {}, "a polygon of 5 numbers"),
        ([[1, 1, 4, 1, float("nan"), 4]], {}, "which is no pair of numbers"),
        ({"counts": [48]}, {}, "runs without counts or size"),
        ("liver", {}, "neither polygons nor runs"),
    ],
)
def test_annotations_without_a_shape(make, segmentation, more, said):
    dataset = make([drawn(1, 1, [SQUARE]), drawn(2, 2, segmentation, **more)], check=False)
    assert said in found(dataset)["shape without area"].what
    assert "annotation 2 (liver)" in found(dataset)["shape without area"].place


def test_a_size_that_differs_from_the_file_and_one_before_it_was_turned(make, tmp_path):
    images = [image(1, height=12, width=16), image(2), image(3)]
    finding = found(make([drawn(1, 1, [SQUARE])], images=images, check=False))["annotation of another size"]
    assert finding.what == "says 12 x 16 (height x width), and the image is 6 x 8"
    assert finding.ids == ("1",)
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    (tmp_path / "images" / "4.jpg").parent.mkdir(exist_ok=True)
    Image.fromarray(np.zeros((HEIGHT, WIDTH), dtype=np.uint8)).save(tmp_path / "images" / "4.jpg", exif=exif)
    images = [image(1), image(4, "4.jpg")]
    finding = found(make([drawn(1, 4, [SQUARE])], images=images, check=False))["annotation of another size"]
    assert "says 6 x 8 (height x width), and the image is 8 x 6" in finding.what
    assert "EXIF" in finding.remedy


def test_images_that_the_file_does_not_list_are_passed_over_and_named(make):
    dataset = make([drawn(1, 1, [SQUARE])], images=[image(1)])
    assert dataset.table["id"].tolist() == ["1"]
    assert "2 images are not listed" in found(dataset)["image that is not listed"].what
    assert found(dataset)["image that is not listed"].what.endswith("passed over: 2.png, 3.png")


def test_images_in_folders_and_with_backslashes(make, tmp_path):
    for case in ("a", "b"):
        (tmp_path / "images" / case).mkdir(parents=True)
        Image.fromarray(np.zeros((HEIGHT, WIDTH), dtype=np.uint8)).save(tmp_path / "images" / case / "01.png")
    images = [image(10, "a/01.png"), image(11, "b\\01.png")]
    dataset = make([drawn(1, 10, [SQUARE]), drawn(2, 11, [SQUARE], 2)], images=images, names="{case}_{slice}")
    assert dataset.table["id"].tolist() == ["a_01", "b_01"]
    assert dataset.table["case"].tolist() == ["a", "b"]
    assert dataset.mask(1)[2, 2].tolist() == [0, 1]


def test_files_that_are_no_coco_file_and_paths_that_lead_out(make, tmp_path):
    with pytest.raises(DataError, match=r"has no category 'livr'; it has liver, spine, spleen; did you mean 'liver'"):
        make([], classes=["livr"])
    Image.fromarray(np.zeros((HEIGHT, WIDTH), dtype=np.uint8)).save(tmp_path.parent / "out.png")
    with pytest.raises(DataError, match="leads out of the data's folder"):
        make([], images=[image(1, "../../out.png")])
    with pytest.raises(DataError, match=r"image id 1 is there twice \(1.png, 2.png\)"):
        make([], images=[image(1), image(1, "2.png")])
    with pytest.raises(DataError, match=r"lists the image .*1\.png twice"):
        make([], images=[image(1), image(2, "1.png")])
    (tmp_path / "annotations.json").write_text("[]")
    with pytest.raises(DataError, match="holds a list"):
        Coco(root=str(tmp_path), classes=["liver"])
    (tmp_path / "annotations.json").write_text('{"images": []')
    with pytest.raises(DataError, match=r"is no JSON file in UTF-8, or is cut off \(.*line 1"):
        Coco(root=str(tmp_path), classes=["liver"])
    (tmp_path / "annotations.json").write_text("{}")
    with pytest.raises(DataError, match="lacks the lists images and annotations and categories"):
        Coco(root=str(tmp_path), classes=["liver"])


def test_options_that_contradict_each_other(make):
    for options, said in (
        ({"names": "{case}_{slice}", "pattern": "x"}, "give dataset.names or dataset.pattern"),
        ({"ignore": ["liver"]}, "have 'liver' twice"),
        ({"spacing": [1.0]}, "give mm above 0"),
        ({"classes": []}, "names no class"),
    ):
        with pytest.raises(DataError, match=said):
            make([], **options)


RECIPE = """
name = "annotated"

[dataset]
name = "coco"
root = "{root}"
classes = ["liver"]
missing = "empty"
on_bad = "{on_bad}"

[model]
name = "unet"

[[loss]]
name = "bce"

[optimizer]
name = "adam"
"""


def test_bad_annotations_stop_or_leave_their_image_out(make, tmp_path, session):
    make([drawn(1, 1, [SQUARE]), drawn(2, 2, [], bbox=[1, 1, 2, 2])], check=False)
    path = tmp_path / "recipe.toml"

    def data(on_bad):
        path.write_text(RECIPE.format(root=tmp_path.as_posix(), on_bad=on_bad))
        recipe = load_recipe(path, registries=session.plugins.registries)
        return ExperimentData(recipe, session.plugins.registries, console=session)

    assert data("skip").dataset.table["id"].tolist() == ["1", "3"]
    with pytest.raises(DataError, match=r"annotation 2 \(liver\): has a box and no shape"):
        refuse_errors(data("stop").dataset.findings())


def test_a_changed_shape_is_another_source(make):
    before = [make([drawn(1, 1, [SQUARE]), drawn(2, 2, [SQUARE])]).sources(row) for row in (0, 1)]
    after = [make([drawn(1, 1, [[1, 1, 5, 1, 5, 4, 1, 4]]), drawn(2, 2, [SQUARE])]).sources(row) for row in (0, 1)]
    assert before[0] != after[0]
    assert before[1] == after[1]  # the other slice need not be prepared again


@pytest.mark.parametrize("front", ["images/", "D:\\data\\images\\", "../"])
def test_folders_in_front_of_file_names_that_are_not_there(make, front):
    dataset = make([drawn(1, 1, [SQUARE])], images=[image(1, f"{front}1.png"), image(2)])
    assert dataset.table["id"].tolist() == ["1", "2"] and dataset.mask(0)[:, :, 0].sum() == 9
    kinds = {finding.kind for finding in dataset.findings()}
    assert ("image elsewhere" in kinds) == (front != "images/")
    with pytest.raises(DataError, match=r"lists the image .*1\.png twice; leave one entry"):
        make([], images=[image(1), image(7, f"{front}1.png")])


def test_shapes_so_small_that_they_have_no_pixel_are_told(make):
    dataset = make([drawn(1, 1, [[share / 8 for share in SQUARE]]), drawn(2, 2, [SQUARE])])
    (finding,) = [finding for finding in dataset.findings() if finding.kind == "shape without a pixel"]
    assert finding.place.endswith("1.png, annotation 1 (liver)") and finding.what == "1 shape has no pixel"
