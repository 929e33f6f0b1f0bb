"""The text of a recipe holds every value and every reason, and TOML reads the same values back."""

import tomllib

from gisegkit.build.draft.data_rules import Part
from gisegkit.build.draft.text import WIDTH, recipe_text

PARTS = [
    Part("dataset", {"name": "folder", "root": 'C:\\a "b"', "labels": {"liver, left": 1}}, ("Because.",)),
    Part("loss", {"name": "bce"}, ("A reason " + "that is long " * 20 + "and ends.",)),
    Part("loss", {"name": "dice"}),
    Part("input", {"size": [64, 96], "scale": 0.5}),
]


def test_values_come_back_and_kinds_that_may_be_several_are_lists():
    text = recipe_text("mine", ["Opening."], PARTS)
    assert tomllib.loads(text) == {
        "name": "mine",
        "dataset": dict(PARTS[0].values),
        "loss": [{"name": "bce"}, {"name": "dice"}],
        "input": {"size": [64, 96], "scale": 0.5},
    }
    assert text.startswith("# Opening.\n\nname = ")
    assert "# Because.\n[dataset]\n" in text


def test_reasons_are_wrapped_and_nothing_of_them_is_lost():
    text = recipe_text("mine", [], PARTS)
    comments = [line for line in text.splitlines() if line.startswith("#")]
    assert max(map(len, comments)) <= WIDTH
    said = " ".join(line.removeprefix("#").strip() for line in comments)
    assert PARTS[1].why[0] in said


def test_a_line_break_in_a_reason_stays_a_comment():
    text = recipe_text("mine", ["one\ntwo = 3"], [])
    assert tomllib.loads(text) == {"name": "mine"}
