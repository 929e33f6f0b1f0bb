"""labelme files become masks by label; whatever is odd is told with its file, place and remedy."""

from __future__ import annotations

import base64
import io
import json

import numpy as np
import pytest
from PIL import Image

from gisegkit.components.datasets.labelme import Labelme
from gisegkit.data.findings import refuse_errors
from gisegkit.errors import DataError
from gisegkit.testing import check_dataset
from gisegkit.types import IGNORE

HEIGHT, WIDTH = 12, 16
SQUARE = [[1, 1], [4, 1], [4, 4], [1, 4]]


def pixels(number=0):
    return np.random.default_rng(number).integers(0, 255, (HEIGHT, WIDTH), dtype=np.uint8)


def encoded(values, form="PNG"):
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, form, **({"quality": 95} if form == "JPEG" else {}))
    return base64.b64encode(buffer.getvalue()).decode()


def shape(label="liver", points=SQUARE, form="polygon", **more):
    return {"label": label, "points": points, "shape_type": form, "group_id": None, "flags": {}, **more}


@pytest.fixture
def make(tmp_path):
    """Writes images a, b, c and files by name, and makes the dataset."""

    def make(*, check=True, folder="images", facts=None, options=None, **files):
        for place in ("images", folder):
            (tmp_path / place).mkdir(exist_ok=True)
        for number, name in enumerate("abc"):
            Image.fromarray(pixels(number)).save(tmp_path / "images" / f"{name}.png")
        for name, shapes in files.items():
            size = {"imagePath": f"..\\there\\{name}.png", "imageHeight": HEIGHT, "imageWidth": WIDTH}
            held = {"version": "5.4.1", "imageData": None} | size | (facts or {}).get(name, {})
            (tmp_path / folder / f"{name}.json").write_text(json.dumps({**held, "shapes": shapes}))
        dataset = Labelme(root=str(tmp_path), **{"classes": ["liver", "spleen"], "missing": "empty"} | (options or {}))
        if check:
            refuse_errors(dataset.findings())
            check_dataset(dataset)
        return dataset

    return make


def found(dataset):
    return {finding.kind: finding for finding in dataset.findings()}


def block(rows, columns):
    mask = np.zeros((HEIGHT, WIDTH), dtype=bool)
    mask[slice(*rows), slice(*columns)] = True
    return mask


def test_every_shape_with_an_area(make):
    bitmap = np.array([[0, 1], [1, 1], [1, 0]], dtype=np.uint8)
    corners = [[10, 7], [11, 9]]
    dataset = make(
        a=[shape(), shape(points=[[7, 6], [5, 2]], form="rectangle")],
        b=[shape("spleen", [[8, 6], [8, 9]], "circle"), shape(points=corners, form="mask", mask=encoded(bitmap))],
    )
    assert dataset.table["empty"].tolist() == [False, False, True]
    assert np.array_equal(dataset.mask(0)[:, :, 0] == 1, block((1, 4), (1, 4)) | block((2, 6), (5, 7)))
    rows, columns = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    assert np.array_equal(dataset.mask(1)[:, :, 1] == 1, np.hypot(columns - 8, rows - 6) <= 3)
    assert np.argwhere(dataset.mask(1)[:, :, 0]).tolist() == [[7, 11], [8, 10], [8, 11], [9, 10]]
    assert list(dataset.findings()) == []


def test_parts_of_one_object_and_the_older_files_without_a_shape_type(make):
    other = [[6, 6], [9, 6], [9, 9], [6, 9]]
    dataset = make(a=[shape(group_id=1), {"label": "liver", "points": other, "group_id": 1}])
    assert np.array_equal(dataset.mask(0)[:, :, 0] == 1, block((1, 4), (1, 4)) | block((6, 9), (6, 9)))


def test_labels_to_ignore_and_labels_that_are_not_listed(make):
    dataset = make(
        a=[shape(), shape("doubt", [[3, 3], [6, 6]], "rectangle"), shape("lver")], options={"ignore": ["doubt"]}
    )
    mask = dataset.mask(0)
    assert (mask[3:6, 3:6] == IGNORE).all()
    assert (mask == IGNORE).sum() == 9 * 2
    finding = found(dataset)["label that is not listed"]
    assert "'lver' is not in dataset.classes: 1 shape in 1 image (a.png first)" in finding.what
    assert "did you mean 'liver'?" in finding.remedy


def test_files_in_a_folder_of_their_own(make, tmp_path):
    dataset = make(folder="json", options={"annotations": "json"}, a=[shape()])
    assert not dataset.table["empty"].iat[0]
    assert str(tmp_path / "json" / "a.json") not in dataset.sources(0)[0]  # its shapes count, not its bytes


def test_images_without_a_file(make):
    bad = [finding for finding in make(check=False, options={"missing": "refuse"}, a=[shape()]).findings()]
    assert [(finding.kind, finding.ids) for finding in bad] == [
        ("image without annotation", ("b",)),
        ("image without annotation", ("c",)),
    ]
    dataset = make(options={"missing": "unlabelled"}, a=[shape()])
    assert dataset.table["labelled"].tolist() == [True, False, False]


def test_without_any_file_all_images_are_for_prediction(make):
    dataset = make(check=False)
    assert dataset.table["labelled"].tolist() == [False] * 3
    assert "no annotations" in found(dataset)


@pytest.mark.parametrize(
    ("shapes", "said"),
    [
        ([shape(points=[[1, 1], [4, 4]], form="line")], "is a line, which has no area"),
        ([shape(points=[[1, 1]], form="point")], "is a point"),
        ([shape(form="cuboid")], "is a cuboid, which is not read"),
        ([shape(points=[[1, 1], [4, 4]])], "has 2 points, and needs 3"),
        ([shape(points=[[1, 1], [4, "x"], [3, 3]])], "which is no pair of numbers"),
        ([{"points": SQUARE}], "has no label"),
        ([shape(points=[[1, 1], [3, 3]], form="mask")], "is a mask without its pixels"),
    ],
)
def test_shapes_without_area_are_errors_with_their_number(make, shapes, said):
    finding = found(make(check=False, a=[shape(), *shapes]))["shape without area"]
    assert said in finding.what
    assert finding.place.endswith("a.json, shape 2")
    assert (finding.severity, finding.ids) == ("error", ("a",))


def test_shapes_of_labels_that_are_not_listed_may_have_any_form(make):
    dataset = make(a=[shape(), shape("note", [[1, 1], [4, 4]], "line")])
    assert list(found(dataset)) == ["label that is not listed"]


def test_a_file_of_an_image_that_is_not_there_and_of_another_image(make):
    dataset = make(check=False, a=[shape()], z=[shape()])
    assert found(dataset)["image that is not there"].place.endswith("z.json")
    dataset = make(check=False, a=[shape()], b=[shape()], facts={"b": {"imagePath": "c.png"}})
    finding = found(dataset)["name of another image"]
    assert "is called b, and its imagePath says c.png" in finding.what
    assert finding.ids == ("b", "c")
    assert dataset.table["labelled"].tolist() == [True, False, False]


def test_a_renamed_pair_and_a_jpeg_that_became_a_png_are_paired(make, tmp_path):
    dataset = make(a=[shape()], facts={"a": {"imagePath": "scan 17.jpg"}})
    assert not dataset.table["empty"].iat[0]
    finding = found(dataset)["paired by its own name"]
    assert finding.severity == "warning"
    assert "its imagePath says scan 17.jpg" in finding.what
    assert "annotation of a.png" in finding.remedy
    (tmp_path / "images" / "a.json").rename(tmp_path / "images" / "other.json")
    held = json.loads((tmp_path / "images" / "other.json").read_text()) | {"imagePath": "a.jpg"}
    (tmp_path / "images" / "other.json").write_text(json.dumps(held))
    dataset = make(b=[])
    assert dataset.table["empty"].tolist() == [False, True, True]
    assert list(dataset.findings()) == []


def test_two_files_of_one_image(make):
    finding = found(make(check=False, a=[shape()], z=[shape()], facts={"z": {"imagePath": "a.png"}}))["two annotations"]
    assert finding.ids == ("a",)
    assert finding.place.endswith("z.json")


def test_the_picture_in_a_file_is_compared_with_the_image(make):
    smooth = np.add.outer(np.arange(HEIGHT), np.arange(WIDTH)).astype(np.uint8) * 8
    for held, said in (
        (encoded(pixels(0)), ""),
        (encoded(pixels(0), "JPEG"), ""),
        (encoded(pixels(1)), "was drawn on another picture (imageData): its correlation is "),
        (encoded(smooth[:6]), "was drawn on a picture of 6 x 16 (imageData), and the image is 12 x 16"),
        ("no picture!", "no base64 text"),
        (base64.b64encode(b"no picture").decode(), "cannot be decoded"),
    ):
        findings = found(make(check=False, a=[shape()], facts={"a": {"imageData": held}}))
        assert ("another picture" in findings) is bool(said)
        if said:
            assert said in findings["another picture"].what
            assert findings["another picture"].ids == ("a",)


def test_another_size_and_points_outside(make):
    findings = found(make(check=False, a=[shape()], facts={"a": {"imageHeight": 99}}))
    assert "says 99 x 16" in findings["annotation of another size"].what
    findings = found(make(check=False, a=[shape(points=[[14, 10], [14, 15]], form="circle")]))
    assert "up to 3 pixels outside" in findings["points outside"].what


def test_a_damaged_file_is_named_with_its_image_and_others_are_counted(make, tmp_path):
    make(a=[shape()])
    (tmp_path / "images" / "b.json").write_text('{"shapes": [')
    (tmp_path / "images" / "dataset.json").write_text('{"labels": {}}')
    dataset = make(check=False, options={"missing": "refuse"}, c=[])
    findings = found(dataset)
    assert findings["unreadable annotation"].ids == ("b",)
    assert "cut off" in findings["unreadable annotation"].what
    assert "1 JSON file without shapes passed over: dataset.json" in findings["passed over: JSON"].what
    assert "image without annotation" not in findings
    with pytest.raises(DataError, match=r"b\.json: is no JSON file"):
        refuse_errors(dataset.findings())


def test_images_for_prediction_in_a_folder_of_their_own(make, tmp_path):
    (tmp_path / "new").mkdir()
    Image.fromarray(pixels(9)).save(tmp_path / "new" / "d.png")
    dataset = make(a=[shape()], options={"unlabelled": "new"})
    assert dict(zip(dataset.table["id"], dataset.table["labelled"], strict=True)) == {
        "a": True, "b": True, "c": True, "d": False,
    }  # fmt: skip
    Image.fromarray(pixels(9)).save(tmp_path / "new" / "a.png")
    with pytest.raises(DataError, match="have the same name"):
        make(options={"unlabelled": "new"})
