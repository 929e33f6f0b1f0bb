"""Every bad file is told at once; pages become slices; endings, alpha and headers are looked at."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from gisegkit.build.data import ExperimentData
from gisegkit.components.datasets.folder import Folder
from gisegkit.data.findings import refuse_errors
from gisegkit.errors import DataError
from gisegkit.recipe.load import load_recipe
from gisegkit.testing import check_dataset

IMAGE = np.arange(48, dtype=np.uint8).reshape(6, 8) * 5
MASK = (IMAGE > 100).astype(np.uint8)


def write(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".tif":
        tifffile.imwrite(path, values, photometric="minisblack")
    else:
        Image.fromarray(values).save(path)


@pytest.fixture
def root(tmp_path):
    for name in "abcdefg":
        write(tmp_path / "images" / f"{name}.png", IMAGE)
        write(tmp_path / "masks" / f"{name}.png", MASK)
    return tmp_path


def spoil(root):
    """Five files of five kinds."""
    whole = (root / "images" / "a.png").read_bytes()
    (root / "images" / "a.png").write_bytes(whole[:-20])
    (root / "images" / "b.png").write_bytes(b"")
    (root / "masks" / "c.png").write_bytes(whole[:60])
    write(root / "masks" / "d.png", MASK * 7)
    write(root / "masks" / "e.png", MASK[:3])


def test_no_reader_stops_at_its_first(root):
    spoil(root)
    dataset = Folder(root=str(root), labels={"blob": 1})
    found = {one.ids[0]: (one.severity, one.place.removeprefix(f"{root}/"), one.kind) for one in dataset.findings()}
    assert found == {
        "a": ("error", "images/a.png", "unreadable file"),
        "b": ("error", "images/b.png", "unreadable file"),
        "c": ("error", "masks/c.png", "unreadable file"),
        "d": ("error", "masks/d.png", "unexplained value"),
        "e": ("error", "masks/e.png", "mask of another size"),
    }
    assert dataset.table["id"].tolist() == list("cdefg") and dataset.table["labelled"].all()
    with pytest.raises(DataError, match=r"unexplained|nothing explains"):
        dataset.mask(1)


def test_training_stops_and_names_all_of_them(root, tmp_path, registries):
    spoil(root)
    text = f'name = "x"\n[dataset]\nname = "folder"\nroot = "{root}"\nlabels = {{blob = 1}}\n'
    text += '[model]\nname = "unet"\n[[loss]]\nname = "bce"\n'
    (tmp_path / "r.toml").write_text(text + '[optimizer]\nname = "adam"\n')
    experiment = ExperimentData(load_recipe(tmp_path / "r.toml", registries=registries), registries)
    with pytest.raises(DataError, match="5 errors in the data") as caught:
        experiment.check_data(training=True)
    assert all(f"{name}.png" in str(caught.value) for name in "abcde") and "f.png" not in str(caught.value)


# --- pages ---


@pytest.mark.parametrize("bigtiff", [False, True])
def test_pages_are_slices_where_asked_for(tmp_path, bigtiff):
    stack = np.stack([IMAGE + page for page in range(3)])
    for name in ("s1", "s2"):
        for folder, values in (("images", stack), ("masks", np.stack([MASK, 1 - MASK, 0 * MASK]))):
            (tmp_path / folder).mkdir(exist_ok=True)
            tifffile.imwrite(
                tmp_path / folder / f"{name}.tif", values, bigtiff=bigtiff, metadata=None, photometric="minisblack"
            )
    write(tmp_path / "images" / "s3.tif", IMAGE)
    write(tmp_path / "masks" / "s3.tif", MASK)
    with pytest.raises(DataError, match=r's1\.tif: holds several pages \(3\).*dataset\.pages = "slices"'):
        refuse_errors(Folder(root=str(tmp_path), labels={"blob": 1}).findings())
    dataset = Folder(root=str(tmp_path), labels={"blob": 1}, pages="slices")
    refuse_errors(dataset.findings())
    check_dataset(dataset)
    assert dataset.table["id"].tolist() == ["s1_001", "s1_002", "s1_003", "s2_001", "s2_002", "s2_003", "s3"]
    assert dataset.table["scan"].tolist() == ["s1"] * 3 + ["s2"] * 3 + ["s3"]
    assert dataset.table["position"].tolist() == [0, 1, 2, 0, 1, 2, 0]
    assert dataset.table["empty"].tolist() == [False, False, True] * 2 + [False]
    for page in range(3):
        assert np.array_equal(dataset.image(page), stack[page])
    assert np.array_equal(dataset.mask(4)[:, :, 0], 1 - MASK)
    assert dataset.sources(0) != dataset.sources(1)  # the store must tell them apart
    tifffile.imwrite(tmp_path / "masks" / "s1.tif", np.stack([MASK] * 2), metadata=None, photometric="minisblack")
    with pytest.raises(DataError, match=r"s1\.tif: has 3 pages, and its mask .*s1\.tif 2"):
        refuse_errors(Folder(root=str(tmp_path), labels={"blob": 1}, pages="slices").findings())


def test_pages_are_no_cases_that_names_look_like(tmp_path):
    """Slices are called p0_001, p0_002 ..., but these are no names of files."""
    for name in ("p0", "p1"):
        for folder, values in (("images", IMAGE), ("masks", MASK)):
            write(tmp_path / folder / f"{name}.tif", np.stack([values] * 3))
    dataset = Folder(root=str(tmp_path), labels={"x": 1}, pages="slices")
    assert dataset.table["case"].tolist() == ["p0"] * 3 + ["p1"] * 3
    assert list(dataset.findings()) == []


def test_two_files_of_pages_in_one_scan(tmp_path):
    for name in ("p_1", "p_2"):
        write(tmp_path / "images" / f"{name}.tif", np.stack([IMAGE, IMAGE]))
    with pytest.raises(DataError, match="has 2 pages, and its scan p has other files too"):
        Folder(root=str(tmp_path), labels={"blob": 1}, pages="slices", names="{case}_{slice}")


# --- endings, alpha ---


def test_slices_that_a_file_calls_channels(tmp_path):
    for folder, photometric in (("images", "rgb"), ("masks", "minisblack")):
        (tmp_path / folder).mkdir()
        stack = np.stack([IMAGE if folder == "images" else MASK] * 3)
        planar = {"planarconfig": "separate"} if photometric == "rgb" else {}
        tifffile.imwrite(tmp_path / folder / "a.tif", stack, photometric=photometric, **planar)
    with pytest.raises(
        DataError, match=r"a\.tif: has 1 page, and its mask .* 3; its 3 channels may be slices: save it"
    ):
        refuse_errors(Folder(root=str(tmp_path), labels={"x": 1}, pages="slices").findings())


def test_content_of_another_kind_is_read_with_a_warning(root):
    content = cv2.imencode(".jpg", IMAGE)[1].tobytes()
    (root / "images" / "a.png").write_bytes(content)
    dataset = Folder(root=str(root), labels={"blob": 1})
    (finding,) = dataset.findings()
    assert (finding.kind, finding.severity, finding.ids) == ("content of another kind", "warning", ("a",))
    assert finding.what == "is a JPEG file, whatever its name ends with"
    assert np.abs(dataset.image(0).astype(int) - IMAGE).max() < 20


def test_alpha(root):
    colors = np.repeat(IMAGE[..., None], 3, axis=2)
    for name in "abcdefg":
        write(root / "images" / f"{name}.png", np.dstack([colors, np.full_like(IMAGE, 255)]))
    dataset = Folder(root=str(root), labels={"blob": 1})
    assert [(one.severity, str(one)) for one in dataset.findings()] == [
        ("note", f"{root}/images/a.png: 7 images with an alpha channel opaque everywhere, which is left out"),
    ]
    assert dataset.image(0).shape == (6, 8, 3)
    for name in "bcdefg":
        write(root / "images" / f"{name}.png", np.dstack([colors, IMAGE]))
    found = list(Folder(root=str(root), labels={"blob": 1}).findings())
    assert [one.ids for one in found if one.severity == "error"] == [(name,) for name in "bcdefg"]
    kept = Folder(root=str(root), labels={"blob": 1}, alpha="channel")
    assert list(kept.findings()) == [] and np.array_equal(kept.image(1)[..., 3], IMAGE)
    dropped = Folder(root=str(root), labels={"blob": 1}, alpha="drop")
    assert dropped.image(1).shape == (6, 8, 3) and any(
        "7 images with an alpha channel that is left out" in str(one) for one in dropped.findings()
    )
    assert kept.sources(0) != dropped.sources(0)
