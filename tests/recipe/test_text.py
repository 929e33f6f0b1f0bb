"""TOML with lines: equal to tomllib where that reads it, every error reported where it does not, written back."""

from __future__ import annotations

import datetime
import math
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gisegkit.recipe.text import Document, dump, override, parse_value, read

RECIPES = sorted((Path(__file__).parents[2] / "recipes").glob("*.toml"))

SAMPLE = """\
# A comment.

name = "x" # behind
  seed = 3

[input]
size = [
    224,  # height
    224,
]

[dataset]
root.inner = "a"
labels = {a = 1, b = {c = 2}}
note = '''
[not a table]
key = 3
'''

[[loss]]
name = "bce"

[[loss]]
name = "dice"
weight = 0.5
[loss.options]
deep = [[1, 2], [3]]

[tracker.a.b]
"quoted key" = true
"""

LINES = {
    (): 1,
    ("name",): 3,
    ("seed",): 4,
    ("input",): 6,
    ("input", "size"): 7,
    ("dataset",): 12,
    ("dataset", "root"): 13,
    ("dataset", "root", "inner"): 13,
    ("dataset", "labels"): 14,
    ("dataset", "labels", "b", "c"): 14,
    ("dataset", "note"): 15,
    ("loss",): 20,
    ("loss", 0): 20,
    ("loss", 0, "name"): 21,
    ("loss", 1): 23,
    ("loss", 1, "name"): 24,
    ("loss", 1, "weight"): 25,
    ("loss", 1, "options"): 26,
    ("loss", 1, "options", "deep"): 27,
    ("tracker", "a", "b", "quoted key"): 30,
}


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("start", ["", "\ufeff"])
def test_every_key_has_its_line(newline, start):
    document = read(start + SAMPLE.replace("\n", newline), "a.toml")
    assert document.mistakes == []
    assert document.data == tomllib.loads(SAMPLE)
    for path, line in LINES.items():
        assert document.place(path) == f"a.toml:{line}", path


def test_the_place_of_what_is_not_there_is_that_of_the_table_around_it():
    document = read(SAMPLE, "a.toml")
    assert document.place(("loss", 1, "missing", "deep")) == "a.toml:23"
    assert document.place(("nothing",)) == "a.toml:1"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n\n# only\n",
        "a = 1\n[b]\n[b.c]\nx = 1\n",
        "[b.c]\nx = 1\n[b]\ny = 2\n",
        "[[a]]\n[[a.b]]\nx = 1\n[[a.b]]\nx = 2\n[[a]]\n[[a.b]]\nx = 3\n",
        "a.b.c = 1\na.b.d = 2\n",
        "a = [{x = 1}, {x = 2}]\n",
        "a = [\n\n1,\n\n]\nb = 2",
        'a = """\n# no comment\n\n"""\n',
        "a = 1979-05-27T07:32:00Z\nb = 07:32:00\n",
        "'a=b' = '['\n",
        "a = '[' # ]\nb = 1\n",
        'a = "x\u2028y\x85z"\nb = 1\n',
        "a = 0x10\nb = 1_000\nc = inf\n",
        "[ spaced . name ]\nx = 1\n",
        '["a.b".c]\nx = 1\n[a.b]\nx = 2\n',
        "[[ loss ]]\n[loss.x]\na = 1\n[[ loss ]]\n[loss.x]\na = 2\n",
        "a = []\nb = {}\n",
    ],
)
def test_valid_documents_equal_tomllib(text):
    document = read(text, "a.toml")
    assert document.mistakes == []
    assert document.data == tomllib.loads(text)


@pytest.mark.parametrize(
    ("text", "line", "found"),
    [
        ("a = 1\na = 2", 2, "'a' is given here and at line 1"),
        ("[a]\nx = 1\n\n[a]\ny = 1", 4, "[a] is here and at line 1"),
        ("a = 1\n[a]", 2, "'a' is a value, not a table"),
        ("[a]\n[[a]]", 2, "[[a]] is here and [a] is at line 1"),
        ("[[a]]\n[a]", 2, "[a] is here and at line 1"),
        ("a = {x = 1}\na = {y = 2}", 2, "not TOML: Cannot overwrite a value"),
        ("a = {x = 1}\na.y = 2", 2, "not TOML"),
        ("a = [1]\n[[a]]", 2, "not TOML"),
        ("a = []\n[a.x]", 2, "'a' is a value, not a table"),
        ("a = 1\n[a.x]\ny = 1", 2, "'a' is a value, not a table"),
        ("[a]\nb = 1\n[a.b.c]\n", 3, "'b' is a value, not a table"),
        ("a.b = 1\na.b = 2", 2, "'b' is given here and at line 1"),
        ("a.b = 1\n[a]", 2, "[a] is here and at line 1"),
        ("x = 1\n[a\ny = 2", 2, "not TOML"),
        ("x", 1, "not TOML: Expected '='"),
        ("x = 1 y = 2", 1, "not TOML"),
        ("x = [1, 2\ny = 3", 1, "not TOML"),
        ('x = """a\ny = 3', 1, "not TOML"),
        ("x = 'a\ny = 3", 1, "not TOML"),
        ("x = a[0]\ny = 3", 1, "not TOML"),
        ("x = " + "1" * 5000, 1, "not TOML"),
        ("a = 1\rb = 2", 1, "not TOML"),
    ],
)
def test_what_is_no_toml_is_one_mistake_with_its_line(text, line, found):
    with pytest.raises(ValueError):  # noqa: PT011
        tomllib.loads(text)
    (mistake,) = read(text, "a.toml").mistakes
    assert mistake.place == f"a.toml:{line}"
    assert found in mistake.found


def test_errors_in_several_places_are_all_reported_and_the_rest_is_read():
    document = read("name = unet\nseed = 3\n[model\nx = 1\n[train]\nepochs = = 2\nlr = True\npatience = 4\n", "a.toml")
    assert [mistake.place for mistake in document.mistakes] == ["a.toml:1", "a.toml:3", "a.toml:6", "a.toml:7"]
    assert document.data == {"seed": 3, "x": 1, "train": {"patience": 4}}
    assert document.unread >= {("name",), ("train", "epochs"), ("train", "lr")}


@pytest.mark.parametrize(
    ("line", "remedy"),
    [
        ("name = unet", 'texts need quotes: name = "unet"'),
        ("name = unet # mine", 'texts need quotes: name = "unet"'),
        ("flag = True", "write flag = true"),
        ("flag = False  # no", "write flag = false"),
        ("lr: 0.1", "a recipe has lines like [model], [[loss]] and name = value"),
        ("[model", "a recipe has lines like [model], [[loss]] and name = value"),
        ('name = "unet', "a recipe has lines like [model], [[loss]] and name = value"),
        ("name =", "a recipe has lines like [model], [[loss]] and name = value"),
    ],
)
def test_remedies(line, remedy):
    (mistake,) = read(line, "a.toml").mistakes
    assert mistake.remedy == remedy


@given(st.text(alphabet="ab=[]{}\"'#.,1 \n\r\u2028", max_size=40))
def test_any_text_reads_as_tomllib_reads_it_or_has_mistakes(text):
    document = read(text, "a.toml")
    try:
        expected = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        assert document.mistakes
    else:
        assert document.mistakes == []
        assert document.data == expected


SCALARS = (
    st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.text(st.characters(codec="utf-8"))
    | st.dates()
    | st.times()
)
KEYS = st.text(st.characters(codec="utf-8"), max_size=8)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4))
TABLES = st.dictionaries(KEYS, VALUES, max_size=5)


@given(
    st.dictionaries(KEYS, SCALARS | st.lists(SCALARS, max_size=4) | TABLES | st.lists(TABLES, max_size=3), max_size=6)
)
@pytest.mark.slow
def test_what_is_dumped_reads_back(data):
    document = read(dump(data), "a.toml")
    assert document.mistakes == []
    assert document.data == data


def test_dump_leaves_none_out_and_writes_tuples_as_lists():
    text = dump({"a": None, "b": (1, 2), "c": {"x": None, "y": {"z": None, "w": 1}}, "d": [{"e": None}]})
    assert tomllib.loads(text) == {"b": [1, 2], "c": {"y": {"w": 1}}, "d": [{}]}


def test_dump_of_what_is_no_finite_number():
    data = tomllib.loads(dump({"a": math.inf, "b": -math.inf, "c": math.nan}))
    assert (data["a"], data["b"]) == (math.inf, -math.inf)
    assert math.isnan(data["c"])


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_recipes_of_the_project_have_a_line_for_every_key(path):
    text = path.read_text()
    document = read(text, path.name)
    assert document.data == tomllib.loads(text)
    lines = text.splitlines()

    def walk(node, path):
        for key, value in node.items() if isinstance(node, dict) else enumerate(node):
            inner = (*path, key)
            if isinstance(key, str):
                assert lines[document.lines[inner] - 1].strip(" []").startswith(key)
            if isinstance(value, dict) or (isinstance(value, list) and value and isinstance(value[0], dict)):
                walk(value, inner)

    walk(document.data, ())


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("2e-3", 2e-3),
        ("true", True),
        ("[1, 2]", [1, 2]),
        ('"x"', "x"),
        ("unet", "unet"),
        ("data/my scans", "data/my scans"),
        ("", ""),
        ("{a = 1}", {"a": 1}),
        ("1" * 5000, "1" * 5000),
        ("2024-01-31", datetime.date(2024, 1, 31)),
    ],
)
def test_parse_value(text, value):
    assert parse_value(text) == value


def overridden(text: str, *settings: tuple[str, object]) -> Document:
    document = read(text, "a.toml")
    for key, value in settings:
        override(document, key, value, f"--set {key}")
    return document


def test_overrides_reach_tables_and_lists():
    document = overridden(SAMPLE, ("seed", 4), ("loss.1.weight", 0.7), ("train.epochs", 2), ("loss.2.name", "iou"))
    assert document.mistakes == []
    assert document.data["seed"] == 4
    assert document.data["loss"][1]["weight"] == 0.7
    assert document.data["train"] == {"epochs": 2}
    assert document.data["loss"][2] == {"name": "iou"}
    assert document.place(("loss", 1, "weight")) == "--set loss.1.weight"
    assert document.place(("loss", 1, "name")) == "a.toml:24"


def test_what_an_override_creates_has_its_place():
    document = overridden(SAMPLE, ("trian.epochs", 2), ("loss.2.weight", 1.0), ("metric.0.name", "dice"))
    for path in [("trian",), ("trian", "epochs"), ("trian", "other")]:
        assert document.place(path) == "--set trian.epochs"
    assert document.place(("loss", 2, "name")) == "--set loss.2.weight"
    assert document.place(("metric",)) == "--set metric.0.name"
    assert document.place(("loss",)) == "a.toml:20"


def test_replacing_a_table_replaces_the_places_under_it():
    document = overridden(SAMPLE, ("input.slices", 3), ("input", {"size": 3}))
    assert document.place(("input", "size")) == "--set input"
    assert document.place(("input", "slices")) == "--set input"


def test_another_name_drops_the_parameters_in_the_file():
    text = '[model]\nname = "a"\ndepth = 3\n[[loss]]\nname = "a"\nweight = 0.5\nx = 1\n'
    document = overridden(text, ("model.name", "b"), ("loss.0.name", "b"))
    assert document.data == {"model": {"name": "b"}, "loss": [{"name": "b", "weight": 0.5}]}
    same = overridden(text, ("model.name", "a"))
    assert same.data["model"] == {"name": "a", "depth": 3}


@pytest.mark.parametrize("keys", [("model.width", "model.name"), ("model.name", "model.width")])
def test_parameters_that_were_set_stay_whatever_the_order(keys):
    document = overridden('[model]\nname = "a"\ndepth = 3\n', *((key, "b") for key in keys))
    assert document.data == {"model": {"name": "b", "width": "b"}}


@pytest.mark.parametrize(
    ("key", "found", "remedy"),
    [
        ("loss.3.weight", "loss.3 cannot be reached", "the next free one appends"),
        ("loss.-1.weight", "loss.-1 cannot be reached", "indices count from 0"),
        ("seed.x.y", "seed.x cannot be reached", "indices"),
        ("loss.weight", "loss.weight names no value", "write loss.0.weight=value"),
        ("loss.0", "loss.0 names no value", "write section.key=value"),
        ("seed.x", "seed.x names no value", "write section.key=value"),
        ("3", "3 names no value", "write section.key=value"),
        ("input.²", "", ""),
    ],
)
def test_overrides_that_lead_nowhere(key, found, remedy):
    mistakes = overridden(SAMPLE, (key, 1)).mistakes
    assert len(mistakes) == bool(found)
    for mistake in mistakes:
        assert mistake.place == f"--set {key}"
        assert mistake.found == found
        assert remedy in mistake.remedy


def test_another_name_keeps_what_a_recipe_says_of_every_component_and_names_what_it_drops():
    text = (
        '[[loss]]\nname = "a"\nend_epoch = 10\n'
        '[[loss]]\nname = "b"\nweight = 0.5\nstart_epoch = 11\nend_epoch = 14\nalpha = 0.7\nbeta = 0.3\n'
    )
    document = overridden(text, ("loss.1.name", "c"))
    assert document.data["loss"][1] == {"name": "c", "weight": 0.5, "start_epoch": 11, "end_epoch": 14}
    assert document.notes == ["--set loss.1.name: left out, because they belong to loss 'b': alpha, beta"]
    assert overridden(text, ("loss.0.name", "c")).notes == []


@pytest.mark.parametrize("value", ["[" * 20_000 + "]" * 20_000, "{a = " * 20_000 + "1" + "}" * 20_000])
def test_nesting_without_end_is_a_mistake_with_its_line(value):
    document = read(f'name = "deep"\nrequires = {value}\n', "deep.toml")
    (mistake,) = document.mistakes
    assert (mistake.place, "nested too deeply" in mistake.found) == ("deep.toml:2", True)
    assert parse_value(value) == value


def test_an_index_without_end_leads_nowhere():
    (mistake,) = overridden(SAMPLE, (f"loss.{'9' * 5000}.weight", 1)).mistakes
    assert "cannot be reached" in mistake.found or "names no value" in mistake.found
