"""What people write instead of TOML, and what they are told."""

from __future__ import annotations

import pytest

from gisegkit.recipe.syntax import syntax_remedy
from gisegkit.recipe.text import read


@pytest.mark.parametrize(
    ("line", "remedy"),
    [
        (r'root = "C:\Users\me\data"',
         r"""write root = "C:/Users/me/data", or put it into 'single quotes', in which a """
         r"""backslash is one: root = 'C:\Users\me\data'"""),
        (r'root = "D:\scans"', "a backslash begins an escape"),
        ("root = “data”", 'typographic quotes are no quotes in TOML: root = "data"'),
        ("root = ‘data’", 'typographic quotes are no quotes in TOML: root = "data"'),
        ("root = «data»", 'root = "data"'),
        ("root = data", 'texts need quotes: root = "data"'),
        ("stretch = True", "write stretch = true"),
        ("what?", "a recipe has lines like"),
    ],
)  # fmt: skip
def test_the_remedy_names_the_cause(line, remedy):
    assert remedy in syntax_remedy(line)
    (mistake,) = read(f"{line}\n", "r.toml").mistakes
    assert remedy in mistake.remedy


def test_the_remedies_for_backslashes_are_toml():
    for line in (r"root = 'C:\Users\me'", 'root = "C:/Users/me"'):
        assert read(f"{line}\n", "r.toml").mistakes == []
