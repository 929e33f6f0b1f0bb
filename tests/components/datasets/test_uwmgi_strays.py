"""What is passed over in the competition's folders."""

from __future__ import annotations

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
