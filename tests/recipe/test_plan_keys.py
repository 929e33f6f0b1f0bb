"""Keys of a recipe in a plan file; how plans use them is tested in test_plan_check."""

from __future__ import annotations

from gisegkit.recipe.plan_keys import keys_of
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
