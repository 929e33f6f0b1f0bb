"""The column split of a table beside what else says which slices train: folds, and slices that are left out."""

from __future__ import annotations

import csv

import cv2
import numpy as np
import pytest

from gisegkit.cli import main
from gisegkit.errors import DataError
from gisegkit.workflows.folds import train_folds
from gisegkit.workflows.train import train

SPLIT = {"t0": "train", "t1": "train", "t2": "validation", "t3": "test", "t4": "test", "t5": ""}
BAD = "t1_0"


@pytest.fixture
def tabled(several, tmp_path):
    """Overrides of the small set's recipe for a table of its images, of which BAD shows nothing."""
    root = several.folder / "t"
    rows = [["image", "mask", "id", "case", "position", "split"]]
    for name, part in SPLIT.items():
        for position in range(2):
            file = f"{name}_{position}.png"
            rows.append([f"images/{file}", f"masks/{file}", file.removesuffix(".png"), name, str(position), part])
    rows[1 + 2][0] = "blank.png"
    assert rows[1 + 2][2] == BAD and cv2.imwrite(str(root / "blank.png"), np.full((24, 20), 7, np.uint8))
    with (root / "parts.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    (tmp_path / "list.csv").write_text(f"id\n{BAD}\n", encoding="utf-8")
    return (
        f'dataset={{name="folder", root="{root.as_posix()}", table="parts.csv", labels={{a=1, b=2}}}}',
        "split.fold=0",
        "train.epochs=1",
    )


def parts(split):
    return {name: part for name, part in zip(split["id"], split["part"], strict=True) if part not in ("unused", "")}


EXPECTED = {"t0_0": "train", "t0_1": "train", "t1_1": "train", "t2_0": "validation", "t2_1": "validation"}


def test_slices_of_a_list_are_left_out_and_the_others_do_what_the_table_says(several, tabled, tmp_path):
    more = f'dataset.exclusions="{(tmp_path / "list.csv").as_posix()}"'
    run = train(several.experiment(*tabled, more), tmp_path / "run")
    assert parts(run.split()) == EXPECTED
    assert any("column split" in line and "6 labelled slices do neither" in line for line in several.lines)


def test_slices_that_turn_out_bad_are_left_out_and_the_others_do_what_the_table_says(several, tabled, tmp_path):
    run = train(several.experiment(*tabled, 'dataset.on_bad="skip"'), tmp_path / "run")
    assert parts(run.split()) == EXPECTED | {BAD: "left out"}


@pytest.mark.parametrize("fold", ['"all"', "[0, 1]"])
def test_folds_would_train_on_the_test_slices_and_are_refused(several, tabled, tmp_path, fold):
    with pytest.raises(DataError, match=r"no folds to train; set split\.fold = 0"):
        train_folds(several.experiment(*tabled, f"split.fold={fold}", 'dataset.on_bad="skip"'), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_check_and_data_say_where_the_split_is_from(several, tabled, tmp_path, capsys):
    recipe = tmp_path / "r.toml"
    more = f'dataset.exclusions="{(tmp_path / "list.csv").as_posix()}"'
    recipe.write_text(several.recipe(*tabled, more).text(), encoding="utf-8")
    for command in ("check", "data"):
        with pytest.raises(SystemExit) as stop:
            main([command, str(recipe)])
        assert not stop.value.code
        out = capsys.readouterr().out
        assert "3 slices train, 2 validate" in out
        assert "column split of dataset.table says what trains and what validates; 6 labelled slices do neither" in out
        assert "folds by case" not in out and "(fold 0)" not in out
