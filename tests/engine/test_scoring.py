"""gisegkit.engine.scoring: sum, then divide; ignored pixels; tables."""

from __future__ import annotations

import math

import numpy as np
import pytest

from gisegkit.components.metrics.overlap_metrics import Dice, IoU, UWMGIScore
from gisegkit.engine.scoring import Scoreboard
from gisegkit.errors import ComponentError, DataError
from gisegkit.types import IGNORE

CLASSES = ("liver", "spleen")


class Given:
    """A metric that returns what its test says."""

    convention = "as given"
    higher_is_better = True

    def __init__(self, *answers):
        self.answers = list(answers)

    def __call__(self, prediction, truth):
        return {name: np.array(values, dtype=float) for name, values in self.answers.pop(0).items()}

    def combine(self, means):
        return sum(means.values())


def scan(depth, seed, shape=(6, 7)):
    rng = np.random.default_rng(seed)
    prediction = rng.random((depth, *shape, 2)) < 0.4
    truth = (rng.random((depth, *shape, 2)) < 0.4).astype(np.uint8)
    return prediction, truth


def blank(depth):
    return np.zeros((depth, 2, 2, 2), dtype=bool), np.zeros((depth, 2, 2, 2), dtype=np.uint8)


def ids(scan, depth):
    return [f"{scan}_{d}" for d in range(depth)]


def test_means_run_over_all_defined_values_of_the_set():
    nan = math.nan
    metric = Given({"x": [[0.0, nan], [0.6, nan], [0.9, 0.5]]}, {"x": [[1.0, nan]]})
    board = Scoreboard({"m": metric}, CLASSES)
    board.record(board.measure("a", ids("a", 3), *blank(3)))
    board.record(board.measure("b", ids("b", 1), *blank(1)))
    expected = {"m": (0 + 0.6 + 0.9 + 0.5 + 1) / 5, "m/liver": (0 + 0.6 + 0.9 + 1) / 4, "m/spleen": 0.5}
    assert board.scores() == pytest.approx(expected)


def test_parts_have_scores_of_their_own_and_the_metric_combines_their_means():
    metric = Given(
        {"slices": [[1.0, 0.0], [0.0, 0.0]], "scans": [3.0, 5.0]},
        {"slices": [[1.0, 1.0]], "scans": [4.0, math.nan]},
    )
    board = Scoreboard({"m": metric}, CLASSES)
    board.record(board.measure("a", ids("a", 2), *blank(2)))
    board.record(board.measure("b", ids("b", 1), *blank(1)))
    expected = {
        "m": 3 / 6 + 12 / 3,
        "m/slices": 3 / 6,
        "m/scans": 12 / 3,
        "m/liver": 2 / 3 + 7 / 2,
        "m/spleen": 1 / 3 + 5,
    }
    assert board.scores() == pytest.approx(expected)
    assert list(board.scores()) == ["m", "m/slices", "m/scans", "m/liver", "m/spleen"]


def test_undefined_is_nan():
    board = Scoreboard({"dice": Dice(), "uwmgi_score": UWMGIScore()}, CLASSES)
    assert all(math.isnan(value) for value in board.scores().values())
    board.record(board.measure("a", ids("a", 2), *blank(2)))
    assert all(math.isnan(value) for value in board.scores().values())


def test_real_metrics_against_a_second_computation():
    board = Scoreboard({"iou": IoU(), "uwmgi_score": UWMGIScore()}, CLASSES)
    scans = {"a": scan(3, 1), "b": scan(2, 2), "c": scan(5, 3, shape=(4, 9))}
    scans["b"][0][:, :, :, 1] = scans["b"][1][:, :, :, 1] = 0  # both empty: skipped
    ious = []
    for name, (prediction, truth) in scans.items():
        board.record(board.measure(name, ids(name, len(truth)), prediction, truth))
        for d, k in np.ndindex(len(truth), 2):
            p, t = prediction[d, :, :, k], truth[d, :, :, k] == 1
            if (p | t).any():
                ious.append((p & t).sum() / (p | t).sum())
    assert board.scores()["iou"] == pytest.approx(sum(ious) / len(ious))
    scores = board.scores()
    assert scores["uwmgi_score"] == pytest.approx(
        0.4 * scores["uwmgi_score/dice"] + 0.6 * (1 - scores["uwmgi_score/hausdorff"])
    )


def test_ignored_pixels_count_in_neither():
    prediction, truth = scan(3, 7)
    hidden = np.random.default_rng(8).random(truth.shape) < 0.3
    truth[hidden] = IGNORE
    with_ignored = Scoreboard({"dice": Dice()}, CLASSES)
    before = prediction.copy(), truth.copy()
    with_ignored.record(with_ignored.measure("a", ids("a", 3), prediction, truth))
    assert np.array_equal(prediction, before[0])
    assert np.array_equal(truth, before[1])
    without = Scoreboard({"dice": Dice()}, CLASSES)
    without.record(without.measure("a", ids("a", 3), prediction & ~hidden, np.where(hidden, 0, truth).astype(np.uint8)))
    flipped = Scoreboard({"dice": Dice()}, CLASSES)
    flipped.record(flipped.measure("a", ids("a", 3), prediction ^ hidden, truth))
    assert with_ignored.scores() == without.scores() == flipped.scores()


def test_tables():
    board = Scoreboard({"dice": Dice(), "uwmgi_score": UWMGIScore()}, CLASSES)
    for seed, (name, depth) in enumerate({"a": 3, "b": 2}.items()):
        board.record(board.measure(name, ids(name, depth), *scan(depth, seed)))
    tables, scores = board.tables(), board.scores()
    columns = ["dice", "uwmgi_score", "uwmgi_score/dice", "uwmgi_score/hausdorff"]

    by_class = tables["by_class"].set_index("class")
    assert by_class.index.tolist() == ["liver", "spleen", "all"]
    assert by_class.columns.tolist() == columns
    assert by_class.loc["all"].to_dict() == pytest.approx({column: scores[column] for column in columns})
    assert by_class.loc["spleen", "dice"] == scores["dice/spleen"]

    by_slice = tables["by_slice"]
    assert by_slice.columns.tolist() == ["scan", "id", "class", "true_pixels", "dice", "uwmgi_score/dice"]
    assert len(by_slice) == 5 * 2
    assert by_slice["dice"].mean() == pytest.approx(scores["dice"])
    assert by_slice["id"].tolist()[:4] == ["a_0", "a_0", "a_1", "a_1"]

    by_scan = tables["by_scan"]
    assert by_scan.columns.tolist() == ["scan", "class", "slices", *columns]
    assert by_scan[["scan", "class", "slices"]].to_numpy().tolist() == [
        [scan, label, depth] for scan, depth in (("a", 3), ("b", 2)) for label in ("liver", "spleen", "all")
    ]
    alone = Scoreboard({"uwmgi_score": UWMGIScore()}, CLASSES)
    alone.record(alone.measure("b", ids("b", 2), *scan(2, 1)))
    assert by_scan["uwmgi_score"].iloc[-1] == alone.scores()["uwmgi_score"]
    assert by_scan["uwmgi_score"].iloc[-2] == alone.scores()["uwmgi_score/spleen"]


def test_tables_say_whose_scan_it_is_where_that_is_known():
    board = Scoreboard({"dice": Dice()}, CLASSES)
    prediction, truth = scan(3, 4)
    truth[0, :2] = IGNORE
    board.record(board.measure("day1", ids("day1", 3), prediction, truth, case="patient"))
    tables = board.tables()
    assert tables["by_scan"].columns.tolist() == ["scan", "case", "class", "slices", "dice"]
    assert tables["by_scan"]["case"].unique().tolist() == tables["by_slice"]["case"].unique().tolist() == ["patient"]
    expected = [(truth[d, :, :, k] == 1).sum() for d in range(3) for k in range(2)]
    assert tables["by_slice"]["true_pixels"].tolist() == expected


def test_parts_are_what_the_score_is_combined_from():
    board = Scoreboard({"dice": Dice(), "uwmgi_score": UWMGIScore()}, CLASSES)
    assert board.parts == {}
    board.record(board.measure("a", ids("a", 2), *scan(2, 0)))
    assert board.parts == {"dice": ["dice"], "uwmgi_score": ["dice", "hausdorff"]}


def test_tables_of_nothing():
    tables = Scoreboard({"dice": Dice()}, CLASSES).tables()
    assert tables["by_class"]["class"].tolist() == ["liver", "spleen", "all"]
    assert tables["by_scan"].empty
    assert tables["by_slice"].empty


def test_conventions():
    assert Scoreboard({"m": Given(), "d": Dice()}, CLASSES).conventions == {"m": "as given", "d": Dice().convention}


def test_a_scan_is_added_once():
    board = Scoreboard({"dice": Dice()}, CLASSES)
    board.record(board.measure("a", ids("a", 2), *scan(2, 0)))
    with pytest.raises(DataError, match="scan a is scored twice"):
        board.record(board.measure("a", ids("a", 2), *scan(2, 0)))


def test_shapes_and_values_must_fit():
    board = Scoreboard({"dice": Dice()}, CLASSES)
    prediction, truth = scan(2, 0)
    for broken in (
        (prediction[:1], truth, ids("a", 2)),
        (prediction, truth, ids("a", 3)),
        (prediction[..., :1], truth[..., :1], ids("a", 2)),
    ):
        with pytest.raises(DataError, match="scan a: prediction"):
            board.record(board.measure("a", broken[2], broken[0], broken[1]))
    truth[0, 0, 0, 0] = 7
    with pytest.raises(DataError, match="values other than 0, 1 and 255"):
        board.record(board.measure("a", ids("a", 2), prediction, truth))


def test_a_metric_of_another_shape_is_named():
    board = Scoreboard({"mine": Given({"x": [[1.0], [2.0]]})}, CLASSES)
    with pytest.raises(ComponentError, match=r"metric 'mine': part 'x' has shape \(2, 1\)"):
        board.record(board.measure("a", ids("a", 2), *blank(2)))
