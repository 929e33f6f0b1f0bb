"""``[search.space]``: axes of four kinds, and every mistake with its place and what is valid."""

from __future__ import annotations

import pytest

from gisegkit.recipe.space import ends_of, space_of
from gisegkit.recipe.text import read
from gisegkit.types import Axis

SPACE = """[search.space]
"optimizer.lr" = {log_uniform = [1e-5, 1e-1]}
loss.0.weight = {uniform = [0, 1.5]}
"train.epochs" = {integer = [3, 9]}
"model.encoder" = {choice = ["a", "b"]}
"""


def space(text):
    document = read(text, "p.toml")
    return space_of(document, document.data["search"]["space"])


def test_each_kind_of_axis():
    axes, places, mistakes = space(SPACE)
    assert not mistakes and axes == {
        "optimizer.lr": Axis("log_uniform", 1e-5, 1e-1),
        "loss.0.weight": Axis("uniform", 0, 1.5),
        "train.epochs": Axis("integer", 3, 9),
        "model.encoder": Axis("choice", values=("a", "b")),
    }
    assert places["optimizer.lr"] == "p.toml:2" and places["model.encoder"] == "p.toml:5"
    assert [ends_of(axis) for axis in axes.values()] == [(1e-5, 1e-1), (0, 1.5), (3, 9), ("a", "b")]


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("[1, 2]", "a table with one of uniform, log_uniform"),
        ("{uniform = [0, 1], choice = [1]}", "a table with one of"),
        ("{unifrom = [0, 1]}", "did you mean 'uniform' or"),
        ("{uniform = [0]}", "uniform = [low, high], two numbers"),
        ("{uniform = [2, 1]}", "the first one lower"),
        ("{uniform = [1, 1]}", "One value is no axis: write 1 below [run.set]"),
        ("{uniform = [nan, 1]}", "two numbers"),
        ("{uniform = [0, inf]}", "two numbers"),
        ("{uniform = [false, true]}", "two numbers"),
        ("{log_uniform = [0, 1]}", "both above 0"),
        ("{integer = [1, 2.5]}", "two whole numbers"),
        ("{choice = []}", "a list of values"),
        ("{choice = 3}", "a list of values"),
        ("{choice = [1, 2, 1]}", "give it once"),
    ],
)
def test_mistakes_say_what_is_valid(text, remedy):
    axes, _, (mistake,) = space(f'[search.space]\n"train.epochs" = {text}\n')
    assert not axes and mistake.place == "p.toml:2" and remedy in mistake.remedy
    assert mistake.found.startswith("train.epochs = ")


def test_a_space_must_have_axes():
    _, _, (mistake,) = space("[search]\n[search.space]\n")
    assert mistake.place == "p.toml:2" and "no space" in mistake.found
