"""gisegkit.workflows.score: submissions against truth, with sizes from file names or columns."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gisegkit.components.metrics.overlap_metrics import Dice, IoU, UWMGIScore
from gisegkit.components.metrics.surface_metrics import ASSD, HD95
from gisegkit.data import rle
from gisegkit.engine.scoring import Scoreboard
from gisegkit.errors import DataError, SubmissionError
from gisegkit.types import SPACING
from gisegkit.workflows.score import score_submission

CLASSES = ("large_bowel", "small_bowel", "stomach")
SIZES = {"case1_day0": (6, 9), "case1_day3": (6, 9), "case2_day0": (8, 5)}
REAL = Path(__file__).parents[3] / "shared" / "data" / "uwmgi-sample"


def metrics():
    return {"uwmgi_score": UWMGIScore(), "dice": Dice(), "iou": IoU()}


def masks(seed):
    """``[D, H, W, K]`` by scan, the second class often empty."""
    rng = np.random.default_rng(seed)
    return {name: (rng.random((12, *size, 3)) < rng.random((12, 1, 1, 3)) - 0.3) for name, size in SIZES.items()}


def rows(scans, column, *, sizes=False):
    out = []
    for name, mask in scans.items():
        for d, k in np.ndindex(len(mask), 3):
            row = {"id": f"{name}_slice_{d + 1:04d}", "class": CLASSES[k], column: rle.encode(mask[d, :, :, k])}
            out.append(row | ({"width": mask.shape[2], "height": mask.shape[1]} if sizes else {}))
    return pd.DataFrame(out)


@pytest.fixture
def folder(tmp_path):
    """A truth with width and height, and the scans' tree for another without."""
    rows(masks(0), "segmentation", sizes=True).to_csv(tmp_path / "sized.csv", index=False)
    rows(masks(0), "segmentation").to_csv(tmp_path / "train.csv", index=False)
    rows(masks(1), "predicted").to_csv(tmp_path / "submission.csv", index=False)
    for name, (height, width) in SIZES.items():
        scans = tmp_path / ("test" if name.startswith("case2") else "train") / name.split("_")[0] / name / "scans"
        scans.mkdir(parents=True)
        for d in range(12):
            (scans / f"slice_{d + 1:04d}_{width}_{height}_1.50_1.50.png").touch()
    return tmp_path


def expected(names):
    board = Scoreboard(metrics(), CLASSES)
    for name in names:
        board.record(
            board.measure(
                name, [f"{name}_slice_{d + 1:04d}" for d in range(12)], masks(1)[name], masks(0)[name].astype(np.uint8)
            )
        )
    return board


def resave(path, change):
    table = change(pd.read_csv(path, dtype=str, keep_default_na=False))
    table.to_csv(path, index=False)


@pytest.mark.parametrize("truth", ["sized.csv", "train.csv"])
def test_equals_scores_of_the_masks_themselves(folder, truth):
    result = score_submission(folder / "submission.csv", folder / truth, metrics=metrics())
    board = expected(SIZES)
    assert result.board.scores() == board.scores()
    assert 0 < result.board.scores()["dice"] < 1
    for name, table in result.board.tables().items():
        pd.testing.assert_frame_equal(table, board.tables()[name])
    assert (result.scans, result.slices, result.scans_not_scored) == (3, 36, 0)


def test_rows_in_any_order(folder):
    resave(folder / "submission.csv", lambda table: table.sample(frac=1, random_state=0))
    resave(folder / "train.csv", lambda table: table.sample(frac=1, random_state=1))
    result = score_submission(folder / "submission.csv", folder / "train.csv", metrics=metrics())
    assert result.board.scores()["uwmgi_score"] == pytest.approx(expected(SIZES).scores()["uwmgi_score"])


def test_the_truth_itself_scores_one(folder):
    rows(masks(0), "predicted").to_csv(folder / "submission.csv", index=False)
    scores = score_submission(folder / "submission.csv", folder / "train.csv", metrics=metrics()).board.scores()
    assert {name: scores[name] for name in metrics()} == {"uwmgi_score": 1.0, "dice": 1.0, "iou": 1.0}


def test_only_the_scans_of_the_submission_are_scored_and_the_others_counted(folder):
    resave(folder / "submission.csv", lambda table: table[table["id"].str.startswith("case1_day3")])
    result = score_submission(folder / "submission.csv", folder / "train.csv", metrics=metrics())
    assert (result.scans, result.slices, result.scans_not_scored) == (1, 12, 2)
    assert result.board.scores() == expected(["case1_day3"]).scores()


def test_slices_are_ordered_by_number(folder):
    """The distance depends on the order of slices: 10 comes behind 9, padded or not."""
    for name in ("submission.csv", "sized.csv"):
        resave(folder / name, lambda table: table.assign(id=table["id"].str.replace(r"_0+(\d+)$", r"_\1", regex=True)))
    result = score_submission(folder / "submission.csv", folder / "sized.csv", metrics=metrics())
    assert result.board.scores() == expected(SIZES).scores()


def test_json(folder):
    resave(folder / "submission.csv", lambda table: table[table["id"].str.startswith("case1_day3")])
    for name, column in (("submission.csv", "predicted"), ("train.csv", "segmentation")):
        resave(
            folder / name,
            lambda table, column=column: table.assign(**{column: table[column].where(table["class"] != "stomach", "")}),
        )
    result = score_submission(folder / "submission.csv", folder / "train.csv", metrics=metrics())
    content = json.loads(json.dumps(result.as_dict(), allow_nan=False))
    assert content["scores"]["dice"] == result.board.scores()["dice"]
    assert math.isnan(result.board.scores()["dice/stomach"])
    assert content["scores"]["dice/stomach"] is None
    assert content["conventions"] == {name: metric.convention for name, metric in metrics().items()}
    assert [row["class"] for row in content["by_class"]] == [*CLASSES, "all"]
    assert content["by_scan"][-1]["scan"] == "case1_day3"
    assert content["by_scan"][-1]["slices"] == 12
    assert (content["scans"], content["slices"], content["scans_not_scored"]) == (1, 12, 2)


def test_progress_sees_every_scan(folder):
    seen = []

    def progress(items, label, total):
        for item in items:
            seen.append((label, total))
            yield item

    score_submission(folder / "submission.csv", folder / "train.csv", metrics=metrics(), progress=progress)
    assert seen == [("score", 3)] * 3


def test_ids_without_slices_are_scans_of_their_own(tmp_path):
    (tmp_path / "truth.csv").write_text("id,class,segmentation,width,height\nx,a,1 2,3,2\ny,a,,4,4\n")
    (tmp_path / "s.csv").write_text("id,class,predicted\nx,a,2 2\ny,a,\n")
    result = score_submission(tmp_path / "s.csv", tmp_path / "truth.csv", metrics={"dice": Dice()})
    assert result.scans == 2
    assert result.board.scores()["dice"] == 2 * 1 / (2 + 2)


def test_a_truth_is_read_as_the_dataset_reads_it_and_blanks_in_a_submission_are_told(tmp_path):
    rows = "id,class,segmentation,width,height\n x,a,1 2,3,2\n\ny,a ,nan,4,4\n"
    (tmp_path / "truth.csv").write_text(rows)
    (tmp_path / "s.csv").write_text("id,class,predicted\nx,a,1 2\ny,a,\n")
    result = score_submission(tmp_path / "s.csv", tmp_path / "truth.csv", metrics={"dice": Dice()})
    assert result.scans == 2 and result.board.scores()["dice"] == 1
    (tmp_path / "s.csv").write_text("id,class,predicted\n x,a,1 2\n y,a,\n")
    with pytest.raises(SubmissionError, match=r"its ids have blanks around them \(the first is ' x'\); remove them"):
        score_submission(tmp_path / "s.csv", tmp_path / "truth.csv", metrics={"dice": Dice()})


# --- refusals -------------------------------------------------------------------------------------------------------


def refusal(folder, truth="train.csv", kind=SubmissionError):
    with pytest.raises(DataError) as caught:
        score_submission(folder / "submission.csv", folder / truth, metrics=metrics())
    assert type(caught.value) is kind
    return str(caught.value)


def test_a_scan_must_be_whole(folder):
    resave(folder / "submission.csv", lambda table: table.drop(index=[4, 7]))
    message = refusal(folder)
    assert "submission.csv: 2 problems" in message
    assert "no row for case1_day0_slice_0002, small_bowel" in message
    assert "no row for case1_day0_slice_0003, small_bowel" in message


def test_unknown_ids_classes_and_bad_runs_are_one_report(folder):
    def spoil(table):
        table.loc[0, "id"] = "case9_day0_slice_0001"
        table.loc[1, "class"] = "small bowel"
        table.loc[2, "predicted"] = "54 2"
        table.loc[3, "predicted"] = "7 1 3 1"
        return table

    resave(folder / "submission.csv", spoil)
    message = refusal(folder)
    assert "4 problems" in message
    assert "line 2: the truth has no slice 'case9_day0_slice_0001'" in message
    assert "line 3: the truth has no class 'small bowel'; did you mean 'small_bowel'?" in message
    assert "line 4: case1_day0_slice_0001, stomach: the run '54 2' ends at pixel 55, but 6 rows of 9 columns" in message
    assert "line 5: case1_day0_slice_0002, large_bowel: run 2" in message


def test_a_slice_without_any_row_is_one_problem(folder):
    resave(folder / "submission.csv", lambda table: table.drop(index=[3, 4, 5, 7]))
    message = refusal(folder)
    assert "submission.csv: 2 problems" in message
    assert "no row for case1_day0_slice_0002, any class" in message
    assert "no row for case1_day0_slice_0003, small_bowel" in message


def test_the_truth_of_other_scans_is_one_line_that_names_it(folder):
    resave(folder / "train.csv", lambda table: table.assign(id="other_" + table["id"]))
    message = refusal(folder)
    assert "\n" not in message and "slices is in " in message and str(folder / "train.csv") in message


@pytest.mark.parametrize("name", ["line", "index", "size"])
def test_a_truth_may_have_columns_of_any_name(folder, name):
    before = score_submission(folder / "submission.csv", folder / "sized.csv", metrics=metrics()).board.scores()
    resave(folder / "sized.csv", lambda table: table.assign(**{name: "7"}))
    after = score_submission(folder / "submission.csv", folder / "sized.csv", metrics=metrics()).board.scores()
    assert after == before


def test_an_empty_submission(folder):
    (folder / "submission.csv").write_text("id,class,predicted\n")
    assert "no rows" in refusal(folder)


def test_no_size_anywhere(folder):
    (folder / "elsewhere").mkdir()
    (folder / "train.csv").rename(folder / "elsewhere" / "train.csv")
    message = refusal(folder, "elsewhere/train.csv", DataError)
    assert "the size of case1_day0_slice_0001 is not known (36 slices in all)" in message
    assert "width and height" in message


@pytest.mark.parametrize(
    ("row", "column", "value", "reason"),
    [
        (3, "segmentation", "9 9 1 1", "line 5: case1_day0_slice_0002, large_bowel: run 2"),
        (3, "segmentation", "54 2", "line 5: case1_day0_slice_0002, large_bowel: the run '54 2' ends at pixel 55"),
        (3, "class", "small_bowel", "line 6: a second row for case1_day0_slice_0002, small_bowel; the first is line 5"),
        (3, "width", "9.0", "line 5: width and height must be whole numbers above 0, not '9.0'"),
        (3, "width", "0", "not '0'"),
        (4, "height", "7", "line 6: case1_day0_slice_0002 has another width or height"),
    ],
)
def test_a_wrong_truth_is_named(folder, row, column, value, reason):
    def spoil(table):
        table.loc[row, column] = value
        return table

    resave(folder / "sized.csv", spoil)
    message = refusal(folder, "sized.csv", DataError)
    assert "sized.csv" in message
    assert reason in message


def test_a_truth_with_gaps_or_two_sizes_in_one_scan(folder):
    resave(folder / "sized.csv", lambda table: table.drop(index=4))
    assert "no row for case1_day0_slice_0002, small_bowel" in refusal(folder, "sized.csv", DataError)
    rows(masks(0), "segmentation", sizes=True).to_csv(folder / "sized.csv", index=False)
    resave(
        folder / "sized.csv",
        lambda table: table.assign(width=table["width"].where(~table["id"].eq("case1_day0_slice_0002"), "10")),
    )
    message = refusal(folder, "sized.csv", DataError)
    assert "case1_day0 has slices of different sizes (height, width): (6, 9), (6, 10)" in message


def test_missing_column_of_the_truth(folder):
    (folder / "train.csv").write_text("id,class,predicted\na,b,\n")
    assert "no column 'segmentation'" in refusal(folder, kind=DataError)


# --- real data ------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not REAL.is_dir(), reason="../shared/data/uwmgi-sample is not here")
def test_real_truth_scores_one_and_a_shift_less(tmp_path):
    truth = pd.read_csv(REAL / "train.csv", dtype=str, keep_default_na=False)
    renamed = truth.rename(columns={"segmentation": "predicted"})
    renamed.to_csv(tmp_path / "same.csv", index=False)
    same = score_submission(tmp_path / "same.csv", REAL / "train.csv", metrics=metrics())
    assert same.slices == 18
    assert same.scans == 4
    assert {name: same.board.scores()[name] for name in metrics()} == {"uwmgi_score": 1.0, "dice": 1.0, "iou": 1.0}

    def shift(text):
        numbers = text.split()
        return " ".join(str(int(n) + 2) if i % 2 == 0 else n for i, n in enumerate(numbers))

    renamed.assign(predicted=renamed["predicted"].map(shift)).to_csv(tmp_path / "shifted.csv", index=False)
    scores = score_submission(tmp_path / "shifted.csv", REAL / "train.csv", metrics=metrics()).board.scores()
    assert 0.7 < scores["dice"] < 0.99
    # Two columns of 360 or of 266, over √3, for every class of every scan that has one.
    assert 2 / 360 / math.sqrt(3) <= scores["uwmgi_score/hausdorff"] <= 2 / 266 / math.sqrt(3)


# --- mm -------------------------------------------------------------------------------------------------------------


def test_metrics_in_mm_take_the_spacing_of_the_scans_beside_the_truth(folder):
    for file in (folder / "train" / "case1").rglob("*.png"):  # 1.5 from column to column, 2 from row to row
        file.rename(file.with_name(file.name.replace("1.50_1.50", "1.50_2.00")))
    found = score_submission(folder / "submission.csv", folder / "train.csv", metrics={"assd": ASSD()})
    table = found.board.tables()["by_scan"].set_index(["scan", "class"])["assd"]
    for name in SIZES:
        mm = (3.0, 2.0 if name.startswith("case1_") else 1.5, 1.5)
        expected = ASSD()(masks(1)[name], masks(0)[name], spacing=mm)["assd"]
        assert [table[name, label] for label in CLASSES] == pytest.approx(expected)


def test_metrics_in_mm_take_the_spacing_given(folder):
    mm = dict(zip(SPACING, (5.0, 1.0, 2.0), strict=True))
    found = score_submission(folder / "submission.csv", folder / "sized.csv", metrics={"hd95": HD95()}, spacing=mm)
    expected = [HD95()(masks(1)[name], masks(0)[name], spacing=(5.0, 1.0, 2.0))["hd95"] for name in SIZES]
    assert found.board.scores()["hd95"] == pytest.approx(np.mean(expected))


def test_metrics_in_mm_refuse_scans_of_unknown_spacing(folder):
    for file in folder.rglob("slice_*"):
        file.unlink()
    with pytest.raises(DataError, match=r"'hd95' measures in mm, but the data do not tell spacing_z.*--spacing"):
        score_submission(folder / "submission.csv", folder / "sized.csv", metrics={"hd95": HD95()})
