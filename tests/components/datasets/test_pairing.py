"""Pairs by suffix, by a table, by subfolders and templates; what fails shows both sides and the option."""

from __future__ import annotations

import os
import unicodedata

import cv2
import numpy as np
import pytest

from gisegkit.components.datasets.folder import Folder
from gisegkit.components.datasets.pairing import without_suffix
from gisegkit.data.findings import refuse_errors
from gisegkit.errors import DataError
from gisegkit.testing import check_dataset

IMAGE = np.arange(48, dtype=np.uint8).reshape(6, 8)
MASK = (IMAGE > 20).astype(np.uint8)


def write(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), values)


def load(root, **options):
    dataset = Folder(root=str(root), **{"labels": {"blob": 1}, **options})
    refuse_errors(dataset.findings())
    check_dataset(dataset)
    return dataset


def test_suffixes(tmp_path):
    for name in ("case_000", "case_001"):
        write(tmp_path / "images" / f"{name}_0000.PNG", IMAGE)
        write(tmp_path / "masks" / f"{name}_mask.png", MASK)
    write(tmp_path / "images" / "case_000_0001.png", IMAGE)
    dataset = load(tmp_path, image_suffix="_0000", mask_suffix="_mask")
    assert dataset.table["id"].tolist() == ["case_000", "case_001"]
    assert np.array_equal(dataset.mask(0)[:, :, 0], MASK)
    assert any("1 passed over: case_000_0001.png" in line for line in map(str, dataset.findings()))
    assert without_suffix("_m")("_m") is None


def test_the_partner_that_is_no_image_is_named(tmp_path):
    for name in ("a", "b", "c", "d", "e"):
        write(tmp_path / "masks" / f"{name}.png", MASK)
    write(tmp_path / "images" / "a.png", IMAGE)
    (tmp_path / "images" / "b.jp2").write_bytes(b"jp2")
    os.mkfifo(tmp_path / "images" / "c.png")
    (tmp_path / "images" / "d.png").symlink_to(os.__file__)
    write(tmp_path / "images" / "day" / "e.png", IMAGE)
    (tmp_path / "images" / ".e.png").write_bytes(b"")
    with pytest.raises(DataError) as caught:
        load(tmp_path)
    message = str(caught.value).replace(str(tmp_path), "")
    assert message.startswith("4 masks in /masks have no image: b, c, d ...; ")
    assert "/images/c.png: is a pipe, not a file (no regular file); /images/d.png: leads out of " in message
    assert "/images: 1 passed over: b.jp2 (.jp2); /images: 1 passed over: day (folder); add what" in message


def test_images_and_masks_in_one_folder(tmp_path):
    for name in ("a", "b"):
        write(tmp_path / f"{name}.png", IMAGE)
        write(tmp_path / f"{name}_mask.png", MASK)
    dataset = load(tmp_path, images=".", masks=".", mask_suffix="_mask")
    assert dataset.table["id"].tolist() == ["a", "b"]
    assert list(dataset.findings()) == [], "each file is an image or a mask"
    write(tmp_path / "a_old.tif", MASK)
    write(tmp_path / "a_t1.png", IMAGE)
    suffixes = {"image_suffix": "_t1", "mask_suffix": "_mask"}
    write(tmp_path / "b_t1.png", IMAGE)
    told = {one.kind: one.what for one in load(tmp_path, images=".", masks=".", **suffixes).findings()}
    assert told == {
        "passed over: .png without the suffix": "2 passed over: a.png, b.png",
        "passed over: .tif without the suffix": "1 passed over: a_old.tif",
    }
    assert np.array_equal(dataset.image(0), IMAGE)


@pytest.mark.parametrize(
    ("image", "mask", "option"),
    [("{}", "{}_mask", 'dataset.mask_suffix = "_mask"'), ("{}_0000", "{}", 'dataset.image_suffix = "_0000"')],
)
def test_a_pairing_that_fails_names_the_option_which_then_pairs(tmp_path, image, mask, option):
    for name in ("s1", "s2"):
        write(tmp_path / "images" / f"{image.format(name)}.png", IMAGE)
        write(tmp_path / "masks" / f"{mask.format(name)}.png", MASK)
    with pytest.raises(DataError, match=r"2 images have no mask in .*2 masks in .* have no image") as caught:
        load(tmp_path)
    assert option in str(caught.value)
    key, _, value = option.removeprefix("dataset.").partition(" = ")
    assert len(load(tmp_path, **{key: value.strip('"')}).table) == 2


def test_two_suffixes_and_a_suffix_in_other_letters(tmp_path):
    for name in ("s1", "s2"):
        write(tmp_path / "images" / f"{name}_img.png", IMAGE)
        write(tmp_path / "masks" / f"{name}_Seg.png", MASK)
    with pytest.raises(DataError, match=r'set dataset\.image_suffix = "_img" and dataset.mask_suffix = "_Seg"'):
        load(tmp_path)
    with pytest.raises(
        DataError, match=r"s1_Seg\.png, s2_Seg\.png\)\s+1\. correct .*mask_suffix; capital letters count"
    ):
        load(tmp_path, image_suffix="_img", mask_suffix="_seg")
    with pytest.raises(DataError, match="there is no such folder; beside it are: images, masks"):
        load(tmp_path, masks="mask", image_suffix="_img", images="imgs")


def test_composed_and_decomposed_names_pair(tmp_path):
    write(tmp_path / "images" / (unicodedata.normalize("NFD", "Müller") + ".png"), IMAGE)
    write(tmp_path / "masks" / (unicodedata.normalize("NFC", "Müller") + ".png"), MASK)
    assert load(tmp_path).table["id"].tolist() == [unicodedata.normalize("NFC", "Müller")]


def test_masks_only_where_the_class_is(tmp_path):
    for name in ("a", "b"):
        write(tmp_path / "images" / f"{name}.png", IMAGE)
    write(tmp_path / "masks" / "x" / "a.png", MASK)
    write(tmp_path / "masks" / "y" / "b.png", MASK)
    with pytest.raises(DataError, match=r'dataset.missing = "empty" takes these images for empty'):
        load(tmp_path, labels={}, classes=["x", "y"])
    dataset = load(tmp_path, labels={}, classes=["x", "y"], missing="empty")
    assert [dataset.mask(row).any(axis=(0, 1)).tolist() for row in (0, 1)] == [[True, False], [False, True]]
    assert dataset.table["labelled"].all() and len(dataset.sources(0)[0]) == 2
    write(tmp_path / "masks" / "y" / "z.png", MASK)
    with pytest.raises(DataError, match=r"1 masks in .* have no image: z"):
        load(tmp_path, labels={}, classes=["x", "y"], missing="empty")


# --- tables ---


def table(root, text, **options):
    (root / "pairs.csv").write_text(text, encoding="utf-8-sig")
    return load(root, table="pairs.csv", **options)


@pytest.fixture
def files(tmp_path):
    for number in range(1, 5):
        write(tmp_path / "scans" / f"{number}.png", IMAGE + number)
        write(tmp_path / "truth" / f"m{number}.png", MASK)
    return tmp_path


@pytest.mark.parametrize("mark", [",", ";", "\t"])
def test_a_table_of_pairs(files, mark):
    text = (
        "image,mask,case,position\nscans/2.png,truth/m1.png,p1,7\nscans/1.png,truth/m2.png,p1,3\nscans/3.png,,p2,\n\n"
    )
    dataset = table(files, text.replace(",", mark))
    rows = dataset.table[["id", "case", "scan", "position", "labelled"]].to_numpy().tolist()
    assert rows == [["1", "p1", "p1", 3, True], ["2", "p1", "p1", 7, True], ["3", "p2", "p2", 0, False]]
    assert np.array_equal(dataset.image(0), IMAGE + 1) and dataset.parts is None


def test_a_column_a_class(files):
    dataset = table(files, "image,x,y\nscans/1.png,truth/m1.png,\n", labels={}, classes=["x", "y"])
    assert dataset.mask(0).any(axis=(0, 1)).tolist() == [True, False]


def test_the_column_split_is_followed(files):
    text = "image,mask,split\nscans/1.png,truth/m1.png,train\nscans/2.png,truth/m2.png,val\n"
    text += "scans/3.png,truth/m3.png,test\nscans/4.png,,\n"
    dataset = table(files, text)
    assert dict(zip(dataset.parts["id"], dataset.parts["part"], strict=True)) == {
        "1": "train", "2": "validation", "3": "test", "4": "unlabelled",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("image,mask\nscans/9.png,truth/m1.png\nscans/1.png,truth/9.png\n",
         r"line 2: image 'scans/9.png' is not a file(.|\n)*line 3: mask 'truth/9.png'"),
        ("image,mask\n,truth/m1.png\n", "line 2: image is empty"),
        ("image,masks\nscans/1.png,truth/m1.png\n", "column 'masks' has no meaning; did you mean 'mask'"),
        ("image,case\nscans/1.png,p\n", "no column 'mask' for the masks"),
        ("file,mask\n", "no column 'image'"),
        ("image,mask\n", "has no rows"),
        ("image,mask,position\nscans/1.png,truth/m1.png,x\n", "line 2: position is 'x', no whole number"),
        ("image,mask,split\nscans/1.png,truth/m1.png,tain\n", "line 2: split is 'tain'; valid are"),
        ("image,mask,split\nscans/1.png,,train\n", "line 2: split is train, but the row has no mask"),
        ("image,mask\nscans/1.png,truth/m1.png\nscans/1.png,truth/m1.png\n", "line 3: the name 1 is there before"),
        ("image,mask\n../a.png,\n", "line 2: image '../a.png' is not a file"),
        ("image,mask,case,position\nscans/1.png,,p,1\nscans/2.png,,p,1\n",
         r"1 and 2 the same scan and position \(p, 1\)"),
    ],
)  # fmt: skip
def test_mistakes_of_a_table(files, text, words):
    with pytest.raises(DataError, match=words):
        table(files, text)


def test_a_table_does_not_lead_out_of_the_root(files):
    write(files.parent / "outside.png", IMAGE)
    with pytest.raises(DataError, match=r"line 2: .*leads out of the data's folder"):
        table(files, "image,mask\n../outside.png,\n")
    with pytest.raises(DataError, match=r"takes the place of dataset.names"):
        table(files, "image,mask\nscans/1.png,\n", names="{case}_{slice}")


# --- names ---


@pytest.mark.parametrize(
    ("template", "names", "rows"),
    [
        ("{case}_{slice}", ["p1_2", "p1_10", "p2_1"], [("p1", "p1", 2), ("p1", "p1", 10), ("p2", "p2", 1)]),
        (
            "{case}_{scan}_slice{slice}",
            ["p_1_d0_slice07", "p_1_d3_slice01"],
            [("p_1", "p_1/d0", 7), ("p_1", "p_1/d3", 1)],
        ),
        ("{}-{case}.{slice}", ["x-a.1", "yy-b.2"], [("a", "a", 1), ("b", "b", 2)]),
    ],
)
def test_templates(tmp_path, template, names, rows):
    for name in names:
        write(tmp_path / "images" / f"{name}.png", IMAGE)
    found = load(tmp_path, names=template).table[["case", "scan", "position"]]
    assert [tuple(row) for row in found.to_numpy().tolist()] == rows


@pytest.mark.parametrize(
    ("template", "words"),
    [("{cas}_{slice}", "{cas} has no meaning.*did you mean 'case'"), ("{case}_{case}", "twice"), ("x", "has no field")],
)
def test_wrong_templates(tmp_path, template, words):
    write(tmp_path / "images" / "a_1.png", IMAGE)
    with pytest.raises(DataError, match=words):
        load(tmp_path, names=template)
    with pytest.raises(DataError, match=r"give dataset.names or dataset.pattern"):
        load(tmp_path, names="{case}", pattern="(?P<case>.*)")


@pytest.mark.parametrize("template", ["", "slice{slice}"])
def test_subfolders_are_cases(tmp_path, template):
    for case in ("p1", "p2"):
        for number in (2, 10):
            write(tmp_path / "images" / case / f"slice{number}.png", IMAGE)
            write(tmp_path / "masks" / case / f"slice{number}.png", MASK)
    dataset = load(tmp_path, subfolders="cases", names=template)
    assert dataset.table["id"].tolist() == ["p1_slice2", "p1_slice10", "p2_slice2", "p2_slice10"]
    assert dataset.table["case"].tolist() == dataset.table["scan"].tolist() == ["p1", "p1", "p2", "p2"]
    assert dataset.table["position"].tolist() == ([2, 10, 2, 10] if template else [0, 1, 0, 1])
    with pytest.raises(DataError, match=r"found: folder[^$]*set dataset\.subfolders = \"cases\""):
        load(tmp_path)


def test_one_mask_of_several_images_and_names_like_cases_are_doubted(tmp_path):
    lines = ["image,mask"]
    for name in ("p0_0", "p0_1", "p1_0", "p1_1"):
        write(tmp_path / "images" / f"{name}.png", IMAGE)
        lines.append(f"images/{name}.png,masks/{'x' if name < 'p1' else 'empty'}.png")
    write(tmp_path / "masks" / "x.png", MASK)
    write(tmp_path / "masks" / "empty.png", MASK * 0)
    (tmp_path / "pairs.csv").write_text("\n".join(lines))
    found = {finding.kind: finding for finding in load(tmp_path, table="pairs.csv").findings()}
    assert set(found) == {"one mask of several images", "names look like cases"}
    assert found["one mask of several images"].what == "is the mask of 2 images: p0_0.png, p0_1.png"
    assert found["names look like cases"].what.endswith("add a column case to the table")
