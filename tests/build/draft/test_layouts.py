"""The layouts that people use are found by names alone; what is missing or ambiguous is told in one line."""

import json

import numpy as np
import pytest
import tifffile

from gisegkit.build.draft.layouts import find_layout
from gisegkit.errors import DataError


@pytest.mark.parametrize(
    ("images", "masks", "keys"),
    [
        ("images", "masks", {}),
        ("images", "labels", {"masks": "labels"}),
        ("Images", "Masks", {"images": "Images", "masks": "Masks"}),
        ("imagesTr", "labelsTr", {"images": "imagesTr", "masks": "labelsTr"}),
        ("train/images", "train/masks", {"images": "train/images", "masks": "train/masks"}),
        ("training/images", "training/gt", {"images": "training/images", "masks": "training/gt"}),
    ],
)
def test_images_and_masks_are_found_by_the_names_of_their_folders(tmp_path, write, images, masks, keys):
    files = [write(f"{masks}/{name}.png") for name in ("a", "b")]
    for name in ("a", "b"):
        write(f"{images}/{name}.png")
    layout = find_layout(tmp_path)
    assert layout.dataset == {"name": "folder", "root": str(tmp_path), **keys}
    assert list(layout.files) == files
    assert any("one label file per image" in line for line in layout.why)


def test_a_folder_of_masks_for_each_class_names_the_classes(tmp_path, write):
    write("images/a.png"), write("masks/spleen/a.png"), write("masks/liver/a.png")
    layout = find_layout(tmp_path)
    assert layout.dataset["classes"] == ["liver", "spleen"]
    assert layout.files == ()
    assert any("overlap" in line for line in layout.why)


def test_the_folder_of_the_competition_is_recognized_and_needs_its_table(tmp_path, write):
    write("train/case1/case1_day0/scans/slice_0001_8_8_1.50_1.50.png")
    with pytest.raises(DataError, match=r"no train\.csv"):
        find_layout(tmp_path)
    (tmp_path / "train.csv").write_text("id,class,segmentation\n")
    assert find_layout(tmp_path).dataset == {"name": "uwmgi", "root": str(tmp_path)}


def test_names_that_look_like_cases_give_a_template_and_others_a_question(tmp_path, write):
    for folder in ("images", "masks"):
        for case in ("p1", "p2"):
            for number in range(2):
                write(f"{folder}/{case}_{number}.png")
    layout = find_layout(tmp_path)
    assert layout.dataset["names"] == "{case}_{slice}"
    assert layout.asks == ()
    assert any("2 cases (p1 ... p2)" in line for line in layout.why)


def test_names_that_tell_no_cases_are_asked_about(tmp_path, write):
    write("images/a.png"), write("masks/a.png")
    layout = find_layout(tmp_path)
    assert "names" not in layout.dataset
    (ask,) = layout.asks
    assert ask.startswith("I cannot tell which images belong to one patient")


@pytest.mark.parametrize(
    ("test", "more", "expected"),
    [
        ("test/images/z.png", "", "test/images"),
        ("test/images/z.png", "test/masks/z.png", None),
        ("val/images/z.png", "", None),
    ],
)
def test_a_test_folder_is_for_prediction_only_without_masks_beside_it(tmp_path, write, test, more, expected):
    for name in ("train/images/a.png", "train/masks/a.png", test, *filter(None, [more])):
        write(name)
    layout = find_layout(tmp_path)
    assert layout.dataset.get("unlabelled") == expected
    assert any("left out" in line for line in layout.asks) is bool(more)


@pytest.mark.parametrize("labels", [False, True])
def test_images_of_nnunet_for_tests_are_for_prediction_unless_they_have_labels(tmp_path, write, labels):
    for name in ("imagesTr/a.png", "labelsTr/a.png", "imagesTs/b.png", *(["labelsTs/b.png"] if labels else [])):
        write(name)
    assert find_layout(tmp_path).dataset.get("unlabelled") == (None if labels else "imagesTs")


@pytest.mark.parametrize(
    ("labels", "named"),
    [
        ({"background": 0, "liver": 1, "spleen": 2}, {1: "liver", 2: "spleen"}),
        ({"0": "background", "1": "liver"}, {1: "liver"}),
        ({"background": 0, "whole": [1, 2]}, {}),
        ("liver", {}),
    ],
)
def test_names_of_label_values_come_from_the_json_of_nnunet_in_both_its_forms(tmp_path, write, labels, named):
    write("imagesTr/a.png"), write("labelsTr/a.png")
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": labels}))
    assert find_layout(tmp_path).named == named


def test_a_json_that_is_none_names_nothing(tmp_path, write):
    write("images/a.png"), write("masks/a.png")
    (tmp_path / "dataset.json").write_text("{")
    assert find_layout(tmp_path).named == {}


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ([], "is empty"),
        (["a.png", "b.png"], r"there are 2 \.png files\); put images into images/"),
        (["images/a.png"], "has images, but no folder of masks beside it"),
        (["train/images/a.png"], "has train/images, but no folder of masks"),
        (["masks/a.png"], "has masks, but no folder of images beside it"),
        (["images/a.png", "masks/a.png", "labels/a.png"], "in 2 ways .images with labels, images with masks"),
        (["images/a.png", "masks/a.png", "train/images/a.png", "train/masks/a.png"], "in 2 ways"),
        (["images/a.png", "masks/a.png", "masks/liver/a.png"], r"both masks \(a\) and folders of masks \(liver\)"),
        (["images/a.png", "masks/mask_a.png"], "begin with 'mask_'; rename them"),
        (
            ["x/images/x.png", "x/masks/1.png", "y/images/y.png", "y/masks/3.png"],
            r"each image \(x, y\)",
        ),
    ],
)
def test_what_cannot_be_paired_is_told_in_one_line(tmp_path, write, files, said):
    for name in files:
        write(name)
    with pytest.raises(DataError, match=said) as caught:
        find_layout(tmp_path)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(str(tmp_path))


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (["scan.nii.gz", "scan_seg.nii.gz"], "export each slice"),
        (["images/scan.dcm", "masks/scan.dcm"], "export each slice"),
        (["images/a.txt", "masks/a.txt"], "holds no PNG, JPEG, TIFF"),
    ],
)
def test_files_of_other_kinds_are_named(tmp_path, files, said):
    for name in files:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    with pytest.raises(DataError, match=said):
        find_layout(tmp_path)


def test_a_folder_that_is_not_there_is_told(tmp_path):
    with pytest.raises(DataError, match="there is no such folder"):
        find_layout(tmp_path / "imgaes")


@pytest.mark.parametrize("folder", ["", "train/", "images/"])
def test_masks_beside_their_images_are_told_apart_by_a_suffix(tmp_path, write, folder):
    files = [write(f"{folder}{name}_mask.png") for name in ("a", "b")]
    write(f"{folder}a.png"), write(f"{folder}b.png")
    layout = find_layout(tmp_path)
    place = folder.rstrip("/") or "."
    keys = {"masks": place} if place == "images" else {"images": place, "masks": place}
    assert layout.dataset == {"name": "folder", "root": str(tmp_path), **keys, "mask_suffix": "_mask"}
    assert list(layout.files) == files


def test_channels_of_nnunet_are_named_by_their_suffix(tmp_path, write):
    for name in ("imagesTr/p1_1_0000.png", "imagesTr/p2_1_0000.png", "labelsTr/p1_1.png", "labelsTr/p2_1.png"):
        write(name)
    assert find_layout(tmp_path).dataset["image_suffix"] == "_0000"


def test_folders_of_images_are_cases(tmp_path, write):
    for name in ("images/p1/a.png", "images/p2/a.png", "masks/p1/a.png", "masks/p2/a.png"):
        write(name)
    layout = find_layout(tmp_path)
    assert layout.dataset["subfolders"] == "cases" and "classes" not in layout.dataset
    assert len(layout.files) == 2 and layout.asks == ()


@pytest.mark.parametrize("whole", [True, False])
def test_a_class_without_a_mask_is_absent_and_that_is_asked(tmp_path, write, whole):
    for name in ("images/a.png", "images/b.png", "masks/liver/a.png", *(["masks/liver/b.png"] if whole else [])):
        write(name)
    layout = find_layout(tmp_path)
    assert layout.dataset.get("missing") == (None if whole else "empty")
    assert any("1 image of 2 lack a mask" in line for line in layout.asks) is not whole


def test_a_folder_of_a_class_that_holds_no_mask_is_told(tmp_path, write):
    for name in ("images/a.png", "masks/liver/a.png"):
        write(name)
    (tmp_path / "masks" / "spleen").mkdir()
    layout = find_layout(tmp_path)
    assert layout.dataset["classes"] == ["liver"]
    assert "masks/spleen/ holds no masks, so spleen is no class of the recipe" in layout.asks


def test_pages_are_slices(tmp_path):
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
        for name in ("p1", "p2"):
            tifffile.imwrite(tmp_path / folder / f"{name}.tif", np.zeros((3, 8, 8), np.uint8), photometric="minisblack")
        tifffile.imwrite(tmp_path / folder / "a.tif", np.zeros((8, 8), np.uint8))
    layout = find_layout(tmp_path)
    assert layout.dataset["pages"] == "slices" and len(layout.asks) == 1


@pytest.mark.parametrize(
    ("columns", "asked"), [("image,mask,case", 0), ("image;mask", 1), ('"image","mask","scan"', 0)]
)
def test_a_table_of_pairs_is_taken_and_cases_are_asked_for_where_it_has_none(tmp_path, write, columns, asked):
    write("x/1.png"), write("y/one.png")
    separator = ";" if ";" in columns else ","
    row = separator.join(["x/1.png", "y/one.png", "p1"][: columns.count(separator) + 1])
    (tmp_path / "pairs.csv").write_text(f"{columns}\n{row}\n")
    (tmp_path / "other.csv").write_text("name,score\n")
    layout = find_layout(tmp_path)
    assert layout.dataset == {"name": "folder", "root": str(tmp_path), "table": "pairs.csv"}
    assert layout.files == (tmp_path / "y/one.png",)
    assert len(layout.asks) == asked


def test_a_table_beside_folders_is_another_way_to_pair(tmp_path, write):
    write("images/a.png"), write("masks/a.png")
    (tmp_path / "pairs.csv").write_text("image,mask\nimages/a.png,masks/a.png\n")
    with pytest.raises(DataError, match=r"2 ways \(by pairs\.csv, images with masks\)"):
        find_layout(tmp_path)
