"""The datasets of a recipe, without what is to be left out."""

from __future__ import annotations

import pytest

from gisegkit.build.datasets import SKIPPED, assemble, bad_ids, build_datasets
from gisegkit.errors import DataError, Finding
from gisegkit.recipe.load import load_recipe


def made(write_recipe, registries, *, on_bad="stop", exclusions=""):
    text = """
name = "made"
[dataset]
name = "phantom"
cases = 2
days = 1
slices = 8
test_cases = 0
on_bad = "{}"
exclusions = "{}"
[input]
size = [32, 32]
[model]
name = "unet"
[[loss]]
name = "bce"
[optimizer]
name = "adam"
"""
    recipe = load_recipe(write_recipe(text.format(on_bad, exclusions)), registries=registries)
    return build_datasets(recipe, registries, say=print)


def test_only_where_the_recipe_says_so_slices_are_skipped(write_recipe, registries):
    (kept,) = made(write_recipe, registries, on_bad="stop")
    ids = kept.dataset.table["id"].tolist()
    assert not kept.skips and assemble([kept], {ids[3]})[0] is kept.dataset
    (skips,) = made(write_recipe, registries, on_bad="skip")
    assert skips.skips and assemble([skips], ())[0] is skips.dataset
    dataset, gone = assemble([skips], {ids[3], "nobody"})
    assert gone == (ids[3],) and len(dataset.table) == 15
    assert [item.reason for item in dataset.dropped] == [f"{SKIPPED}: found when they were read"]


def test_lists_with_blanks_and_lists_of_all_slices(write_recipe, registries, tmp_path, capsys):
    ids = made(write_recipe, registries)[0].dataset.table["id"].tolist()
    (tmp_path / "some.csv").write_text(f"id\n {ids[3]} \n")
    (one,) = made(write_recipe, registries, exclusions=tmp_path / "some.csv")
    assert one.dataset.left_out == (ids[3],) and not capsys.readouterr().out
    (tmp_path / "all.csv").write_text("\n".join(["id", *ids]))
    with pytest.raises(DataError, match=r"all\.csv leaves out all slices, so that none is left"):
        made(write_recipe, registries, exclusions=tmp_path / "all.csv")


def test_what_the_dataset_finds_itself_is_skipped_too(write_recipe, registries):
    (skips,) = made(write_recipe, registries, on_bad="skip")
    ids = skips.dataset.table["id"].tolist()
    skips.dataset.findings = lambda: [Finding("cut off", "error", "x", "is cut off", ids=(ids[0],))]
    dataset, gone = assemble([skips], ())
    assert gone == (ids[0],) and [item.reason for item in dataset.dropped] == [f"{SKIPPED}: cut off"]
    assert list(dataset.findings()) == []


def test_ids_of_errors_alone():
    findings = [Finding("a", "warning", "", "", ids=("x",)), Finding("b", "error", "", "", ids=("y", "z"))]
    assert list(bad_ids(findings)) == [("y", "b"), ("z", "b")]
