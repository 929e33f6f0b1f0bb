"""The report page: complete, escaped, self-contained; and its curves."""

from __future__ import annotations

import base64
import re
from html.parser import HTMLParser
from typing import Any

import pandas as pd
import pytest

from gisegkit.report.page import render_page

VOID = {"meta", "img", "br"}
SCRIPT = "<script>alert('x')</script>"


class Reader(HTMLParser):
    """Collects tags, attributes and text; fails on tags that do not match."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return "|".join(word.strip() for word in self.words if word.strip())

    def count(self, name: str) -> int:
        return sum(tag == name for tag, _ in self.tags)


def epoch(number: int, *, best: bool = False, **scores: float | None) -> dict[str, Any]:
    named = {name.replace("__", "/"): value for name, value in scores.items()}
    return {
        "epoch": number,
        "loss": 1 / number,
        "learning_rate": 1e-3,
        "seconds": 2.0,
        "images_per_second": 10.0,
        "best": best,
        "scores": named,
    }


def page(**changes: Any) -> str:
    given_: dict[str, Any] = {
        "name": "unet",
        "demo": False,
        "recipe": 'name = "unet"\n',
        "environment": {
            "versions": {"python": "3.11.2", "timm": None},
            "device": "cpu",
            "command": ["giseg", "run"],
            "plugins": {"giseg-cutmix": "0.1.0"},
            "failed_plugins": [],
        },
        "metrics": [epoch(1, dice=0.5, dice__stomach=0.4), epoch(2, best=True, dice=0.75, dice__stomach=None)],
        "scores": {
            "part": "validation",
            "slices": 96,
            "scans": 4,
            "epoch": 2,
            "scores": {"dice": 0.75, "dice/stomach": 0.71239, "iou": None, "uwmgi_score": float("nan")},
            "conventions": {"dice": "both empty: skipped", "iou": "mean over rows"},
        },
        "tables": {
            "by_class": pd.DataFrame({"class": ["stomach"], "dice": [0.71239], "slices": [33]}),
            "by_scan": pd.DataFrame({"scan": ["a", "b", "c"], "dice": [0.9, float("nan"), 0.1]}),
        },
        "preview": b"\x89PNG picture",
    }
    return render_page(**{**given_, **changes})


def test_the_page_holds_scores_with_conventions_parts_and_facts():
    text = Reader(page(submission="predictions/submission.csv")).text
    assert "dice|0.7500|both empty: skipped|stomach|0.7124" in text
    assert "validation: 96 slices of 4 scans · weights of epoch 2 · submission: predictions/submission.csv" in text
    assert "stomach|0.7124|33" in text
    assert "2 epochs · 4 s of training · 10.0 slices per second (median) · best epoch 2" in text
    assert "giseg-cutmix|0.1.0" in text
    assert "command|giseg run" in text


def test_missing_values_are_dashes():
    text = Reader(page()).text
    assert "iou|–|mean over rows" in text
    assert "uwmgi_score|–" in text
    assert "timm|–" in text
    assert "failed_plugins|–" in text
    assert "nan" not in text.lower()
    assert "None" not in text


def test_only_a_demo_says_so():
    assert "DEMO: synthetic phantoms, not real data" in Reader(page(demo=True)).text
    assert "demo" not in Reader(page(demo=False)).text.lower()


def test_everything_from_outside_is_escaped():
    html = page(
        name=SCRIPT,
        recipe=SCRIPT,
        environment={SCRIPT: SCRIPT, "plugins": {SCRIPT: SCRIPT}, "command": [SCRIPT]},
        metrics=[epoch(1, **{SCRIPT: 0.5, f"{SCRIPT}__{SCRIPT}": 0.5})],
        scores={
            "part": SCRIPT,
            "slices": SCRIPT,
            "scans": SCRIPT,
            "epoch": SCRIPT,
            "scores": {SCRIPT: 0.5, f"dice/{SCRIPT}": 0.25},
            "conventions": {SCRIPT: SCRIPT},
        },
        tables={name: pd.DataFrame({SCRIPT: [0.5], "x": [SCRIPT]}) for name in ("by_class", "by_scan")},
        submission=SCRIPT,
    )
    reader = Reader(html)
    assert "<script" not in html
    assert reader.count("script") == 0
    assert reader.text.count(SCRIPT) >= 15


def test_the_page_refers_to_nothing_outside_itself():
    html = page(demo=True)
    reader = Reader(html)
    assert "http" not in html
    assert "@import" not in html
    assert "url(" not in html
    sources = [value for _, attributes in reader.tags for key, value in attributes.items() if key in ("src", "href")]
    assert [source.partition(",")[0] for source in sources if source] == ["data:image/png;base64"]


def test_the_preview_is_embedded_whole_or_left_out():
    found = re.search(r'src="data:image/png;base64,([^"]+)"', page())
    assert found is not None
    assert base64.b64decode(found[1]) == b"\x89PNG picture"
    assert Reader(page(preview=None)).count("img") == 0


def test_scans_are_listed_lowest_first_and_at_most_fifty():
    text = Reader(page()).text
    assert "lowest dice first; 3 of 3 rows" in text
    assert "c|0.1000|a|0.9000|b|–" in text
    many = pd.DataFrame({"scan": [f"scan{i:03}." for i in range(80)], "size": 2.5, "dice": [i / 80 for i in range(80)]})
    text = Reader(page(tables={"by_scan": many})).text
    assert "50 of 80 rows" in text
    assert text.count("scan0") == 50
    assert text.index("scan000.") < text.index("scan049.")
    assert "scan050." not in text


def test_scans_are_listed_worst_first_also_where_lower_is_better():
    table = pd.DataFrame({"scan": ["a.", "b.", "c."], "hd95": [2.5, 20.5, None]})
    scores = {"conventions": {"hd95": "in mm", "dice": "of masks"}, "higher_is_better": {"hd95": False, "dice": True}}
    text = Reader(page(tables={"by_scan": table}, scores=scores)).text
    assert "highest hd95 first; 3 of 3 rows" in text
    assert text.index("b.|20.5") < text.index("a.|2.5") < text.index("c.|")


def test_tables_of_other_shapes_are_shown():
    counts = pd.DataFrame({"scan": ["a", "b"], "slices": [24.0, None], "flag": [True, False]})
    text = Reader(page(tables={"by_class": counts, "by_scan": counts[["scan"]]})).text
    assert "a|24|True|b|–|False" in text, "a count beside a gap is still a whole number"
    assert Reader(page(tables={})).count("table") == 4, "scores, and environment, versions, plugins"


@pytest.mark.parametrize("metrics", [[], [epoch(1)], [epoch(1, dice=None)], [epoch(3, best=True, dice=0.5)]])
def test_few_epochs_make_a_page(metrics):
    reader = Reader(page(metrics=metrics))
    assert ("Training" in reader.text) == bool(metrics)
