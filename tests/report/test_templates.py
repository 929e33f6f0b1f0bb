"""The templates: everything is escaped, nothing is missing in silence, and jinja2 is imported only for a page."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import jinja2
import pytest

from gisegkit.report import curves, templates
from gisegkit.report.templates import MISSING, is_number, number, render, text

FOLDER = Path(templates.__file__).parent


def test_a_missing_value_is_an_error():
    with pytest.raises(jinja2.UndefinedError, match="'label' is undefined"):
        render("curves.html", width=1, height=1)


def test_nothing_but_a_chart_goes_around_the_escaping():
    """A chart is a filled-in template itself."""
    sources = [file.read_text() for file in sorted(FOLDER.glob("*.html"))]
    safe = [found for source in sources for found in re.findall(r"\{\{([^}]*\bsafe\b[^}]*)\}\}", source)]
    assert safe == [" chart | safe "] * 2


def test_every_curve_has_a_color_in_light_and_in_dark():
    style = (FOLDER / "page.css").read_text()
    for index in range(curves.COLORS):
        assert style.count(f"--c{index}: #") == 2
        assert f".s{index} {{ color: var(--c{index}) }}" in style


def test_only_finite_numbers_count_as_numbers():
    values = (1, 0.5, True, None, float("nan"), float("inf"), "1")
    assert [value for value in values if is_number(value)] == [1, 0.5]
    assert [number(value) for value in (1, 0.12345, None, float("nan"))] == ["1.0000", "0.1235", MISSING, MISSING]


def test_every_value_has_a_text():
    assert {text(value) for value in (None, float("nan"), [])} == {MISSING}
    assert [text(value) for value in (["a", 1], True, 3)] == ["a 1", "True", "3"]


def test_importing_the_page_does_not_import_jinja2():
    code = "import sys, gisegkit, gisegkit.report.page; print('jinja2' in sys.modules, 'torch' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["False", "False"]
