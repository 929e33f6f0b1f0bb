"""What is in a folder: every file is used, counted as passed over, or refused."""

from __future__ import annotations

import os
import unicodedata

import cv2
import numpy as np
import pytest

from gisegkit.components.datasets.folder_files import FolderFiles, ending_of, plain
from gisegkit.errors import DataError


def fill(folder, *names):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        cv2.imwrite(str(folder / "x.png"), np.zeros((4, 4), np.uint8))
        (folder / "x.png").rename(folder / name)


def test_every_kind_is_counted(tmp_path):
    fill(tmp_path / "i", "a.png", "b.PNG", "c.Tiff", "d.bmp", "e.WEBP", "f.gif", "g.JPG", ".hidden")
    fill(tmp_path / "i", "Thumbs.db", "s.dcm", "t.nii.gz", "u.nii.gz", "README")
    (tmp_path / "i" / "more").mkdir()
    files = FolderFiles(tmp_path)
    found = files.images(tmp_path / "i", put="x", take=lambda name: name)
    assert list(found) == list("abcdefg")
    told = {one.kind: (one.severity, one.what) for one in files.findings}
    assert told == {
        "passed over: .db": ("note", "1 passed over: Thumbs.db"),
        "passed over: .dcm": ("warning", "1 passed over: s.dcm"),
        "passed over: .nii.gz": ("warning", "2 passed over: t.nii.gz, u.nii.gz"),
        "passed over: folder": ("note", "1 passed over: more"),
        "passed over: hidden": ("note", "1 passed over: .hidden"),
        "passed over: no ending": ("note", "1 passed over: README"),
    }


@pytest.mark.parametrize(("name", "word"), [("a.dcm", "DICOM"), ("a.nii.gz", "NIfTI"), ("a.NRRD", "NRRD")])
def test_folders_of_other_formats_tell_what_to_do(tmp_path, name, word):
    fill(tmp_path, name)
    with pytest.raises(DataError, match=rf"holds no PNG.*found: {ending_of(name)}") as caught:
        FolderFiles(tmp_path).images(tmp_path, put="make a folder of masks for each class", take=lambda name: name)
    assert f"{word} files are not supported yet: export each slice to PNG or TIFF" in str(caught.value)
    assert "folder of masks for each class" not in str(caught.value)


def test_names_are_composed(tmp_path):
    fill(tmp_path, unicodedata.normalize("NFD", "Müller_1") + ".png")
    assert list(FolderFiles(tmp_path).images(tmp_path, put="", take=lambda name: name)) == [plain("Müller_1")]


def test_links_may_not_leave_the_root(tmp_path):
    fill(tmp_path / "out", "a.png")
    fill(tmp_path / "root" / "i", "b.png")
    fill(tmp_path / "root" / "j", "k.png")
    os.symlink(tmp_path / "out" / "a.png", tmp_path / "root" / "i" / "a.png")
    os.symlink(tmp_path / "root" / "j" / "k.png", tmp_path / "root" / "i" / "c.png")
    os.symlink(tmp_path / "nowhere.png", tmp_path / "root" / "i" / "d.png")
    os.mkfifo(tmp_path / "root" / "i" / "e.png")
    os.symlink(tmp_path / "root", tmp_path / "link")
    for root in (tmp_path / "root", tmp_path / "link"):
        files = FolderFiles(root)
        assert list(files.images(root / "i", put="", take=lambda name: name)) == ["b", "c"]
        assert [(one.severity, one.place[-5:], one.kind) for one in files.findings] == [
            ("error", "a.png", "link out of the data"),
            ("error", "d.png", "link out of the data"),
            ("error", "e.png", "no regular file"),
        ]
    os.symlink(tmp_path / "out", tmp_path / "root" / "images")
    with pytest.raises(DataError, match="leads out of the data's folder"):
        FolderFiles(tmp_path / "root").images(tmp_path / "root" / "images", put="", take=lambda name: name)


def test_subfolders(tmp_path):
    fill(tmp_path / "p1", "1.png")
    fill(tmp_path / "p2", "1.png")
    found = FolderFiles(tmp_path, subfolders=True).images(tmp_path, put="", take=lambda name: name)
    assert list(found) == ["p1_1", "p2_1"]
