"""What is passed over in the competition's folders."""

from __future__ import annotations

import os

from gisegkit.components.datasets.uwmgi_strays import stray_findings


def test_every_folder_and_file_that_is_passed_over_is_found(tmp_path):
    def put(place):
        file = tmp_path / place
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("x")

    for place in ("train/case1/case1_day0/scans/slice_0001_9_6_1.50_1.63.png", "test/.hidden", "train.csv"):
        put(place)
    assert list(stray_findings(tmp_path)) == []
    for place in (
        "train/notes.txt",
        "train/case1/x.png",
        "train/case1/case1_day0/copy.png",
        "train/case1/case1_day0/scans/Thumbs.db",
        "train/case1/case1_day0/scans/old/slice.png",
        "train/case1/scan_two/scans/a.png",
        "train/case1/case1_day3/images/a.png",
        "test/case2/case3_day0/scans/slice_0001_9_6_1.50_1.63.png",
    ):
        put(place)
    (tmp_path / "train" / "case9").mkdir()
    found = [(finding.kind, finding.place.removeprefix(f"{tmp_path}/")) for finding in stray_findings(tmp_path)]
    passed, broken = "file that is passed over", "folder that breaks the pattern"
    assert found == [
        (passed, "train/case1/case1_day0/copy.png"),
        (passed, "train/case1/case1_day0/scans/Thumbs.db"),
        (passed, "train/case1/case1_day0/scans/old"),
        (broken, "train/case1/case1_day3"),
        (broken, "train/case1/scan_two"),
        (passed, "train/case1/x.png"),
        (broken, "train/case9"),
        (passed, "train/notes.txt"),
        ("scan in another case's folder", "test/case2/case3_day0"),
    ]
    (two,) = (finding for finding in stray_findings(tmp_path) if finding.place.endswith("scan_two"))
    assert two.what == "is not named CASE_DAY, so 1 file in it are passed over"


def test_links_may_not_leave_the_root_at_any_level(tmp_path):
    """Those inside are followed, and the root itself may be a link."""
    name = "slice_{:04}_9_6_1.50_1.63.png"
    inner = tmp_path / "root/train/case1/case1_day0/scans"
    inner.mkdir(parents=True)
    (inner / name.format(1)).write_text("x")
    os.symlink(inner / name.format(1), inner / name.format(2))
    for folder in ("case2/case2_day0/scans", "case3_day0/scans", "scans"):
        (tmp_path / "out" / folder).mkdir(parents=True)
        (tmp_path / "out" / folder / name.format(1)).write_text("x")
    os.symlink(tmp_path / "root", tmp_path / "link")
    assert list(stray_findings(tmp_path / "root")) == list(stray_findings(tmp_path / "link")) == []
    os.symlink(tmp_path / "out/scans" / name.format(1), inner / name.format(3))
    os.symlink(tmp_path / "nowhere", inner / name.format(4))
    os.symlink(tmp_path / "out/case2", tmp_path / "root/train/case2")
    (tmp_path / "root/train/case3").mkdir()
    os.symlink(tmp_path / "out/case3_day0", tmp_path / "root/train/case3/case3_day0")
    (tmp_path / "root/train/case4/case4_day0").mkdir(parents=True)
    os.symlink(tmp_path / "out/scans", tmp_path / "root/train/case4/case4_day0/scans")
    os.symlink(tmp_path / "out", tmp_path / "root/test")
    for root in (tmp_path / "root", tmp_path / "link"):
        found = [one for one in stray_findings(root) if one.kind == "link out of the data"]
        assert {one.severity for one in found} == {"error"}
        assert sorted((one.place.removeprefix(f"{root}/"), one.ids) for one in found) == [
            ("test", ()),
            (f"train/case1/case1_day0/scans/{name.format(3)}", ("case1_day0_slice_0003",)),
            (f"train/case1/case1_day0/scans/{name.format(4)}", ("case1_day0_slice_0004",)),
            ("train/case2", ()),
            ("train/case3/case3_day0", ()),
            ("train/case4/case4_day0/scans", ()),
        ]
