"""Evaluation folders: written whole, read strictly."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from gisegkit.errors import RecipeError, RunError
from gisegkit.runs.outputs import FORMAT, read_scores, read_table, refuse_settings_without_effect


@pytest.fixture
def folder(write_run):
    return write_run("a") / "evaluation"


def test_scores_are_read_back(folder):
    content = read_scores(folder)
    assert content["part"] == "validation" and content["format"] == FORMAT
    assert read_scores(folder / "nowhere") is None


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda text: text[: len(text) // 2], "cannot be read"),
        (lambda text: "[1, 2]", "written by another gisegkit"),
        (lambda text: text.replace('"format": 3', '"format": 2'), "its format is 2"),
        (lambda text: text.replace('"slices"', '"slice"'), "lacks slices"),
        (lambda text: json.dumps({"format": FORMAT}), "lacks part, slices"),
    ],
)
def test_foreign_or_damaged_scores_are_an_error_in_one_line(folder, damage, message):
    file = folder / "scores.json"
    file.write_text(damage(file.read_text()))
    with pytest.raises(RunError, match=message) as error:
        read_scores(folder)
    assert "\n" not in str(error.value)


def test_names_are_text_and_the_rest_numbers(tmp_path):
    file = tmp_path / "by_scan.csv"
    file.write_text("scan,case,class,slices,dice\n001,NA,null,3,0.5\n002,nan,None,4,\n")
    table = read_table(file)
    assert table["scan"].tolist() == ["001", "002"] and table["case"].tolist() == ["NA", "nan"]
    assert table["class"].tolist() == ["null", "None"]
    assert table["slices"].tolist() == [3, 4] and pd.isna(table["dice"][1])


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00binary", b"scan,dice\na,not a number\n"])
def test_a_damaged_table_is_an_error(tmp_path, content):
    file = tmp_path / "by_scan.csv"
    file.write_bytes(content)
    with pytest.raises(RunError, match=r"by_scan\.csv cannot be read"):
        read_table(file)


@pytest.mark.parametrize(
    ("command", "key"),
    [
        ("evaluate", "evaluate.threshold"), ("evaluate", "metric.0.unit"), ("evaluate", "dataset.root"),
        ("evaluate", "postprocess.0.pixels"), ("evaluate", "normalization.over"), ("evaluate", "train.precision"),
        ("predict", "predict.part"), ("predict", "postprocess"),
    ],
)  # fmt: skip
def test_settings_with_an_effect(command, key):
    refuse_settings_without_effect([f"{key}=1"], command)


@pytest.mark.parametrize(
    ("command", "key"),
    [
        ("predict", "metric.0.unit"),
        ("evaluate", "trains"),
        ("evaluate", "inputs"),
        ("evaluate", "input.crops"),
        ("predict", "input.around_class"),
    ],
)
def test_settings_without_one(command, key):
    with pytest.raises(RecipeError, match="has no effect"):
        refuse_settings_without_effect([f"{key}=1"], command)
