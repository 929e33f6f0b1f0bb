"""Keys of a recipe in a plan file; how plans use them is tested in test_plan_check."""

from __future__ import annotations

from gisegkit.recipe.plan_keys import keys_of, replaced, twice
from gisegkit.recipe.text import read


def test_keys_may_be_quoted_dotted_or_indexed_and_have_a_place():
    text = '"optimizer.lr" = 0.1\ntrain.epochs = 3\nloss.0.weight = 0.5\nevaluate.threshold = {a = 0.4}\nseed = 4\n'
    document = read(text, "p.toml")
    assert keys_of(document, document.data, ()) == {
        "optimizer.lr": (0.1, "p.toml:1"),
        "train.epochs": (3, "p.toml:2"),
        "loss.0.weight": (0.5, "p.toml:3"),
        "evaluate.threshold": ({"a": 0.4}, "p.toml:4"),
        "seed": (4, "p.toml:5"),
    }


def test_where_every_value_is_a_table_one_of_a_whole_section_is_its_value():
    text = "loss = {choice = [1]}\noptimizer.lr = {uniform = [0, 1]}\n"
    document = read(text, "p.toml")
    found = keys_of(document, document.data, (), tables=True)
    assert found == {"loss": ({"choice": [1]}, "p.toml:1"), "optimizer.lr": ({"uniform": [0, 1]}, "p.toml:2")}


def test_a_key_that_is_given_quoted_and_dotted_is_there_twice():
    assert twice({"train.epochs": 3, "train": {"epochs": 4, "batch_size": 2}, "seed": 1}) == ["train.epochs"]
    assert twice({"loss.0.weight": 1.0, "loss": {"0": {"weight": 2.0}}}) == ["loss.0.weight"]


def test_a_later_key_replaces_what_is_inside_it():
    assert replaced(["loss.0.weight", "loss"]) == [("loss.0.weight", "loss")]
    assert replaced(["loss", "loss.0.weight", "loss_more", "seed"]) == []
    assert replaced(["seed", "seed"]) == [("seed", "seed")]
