"""Makes docs/benchmarks.md of the results that are committed under benchmarks/results.

python benchmarks/page.py
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from harness import RESULTS, ROOT

PAGE = ROOT / "docs" / "benchmarks.md"
INTRODUCTION = """\
# Benchmarks

Made by `python benchmarks/page.py` of the files in `benchmarks/results/`. Each was written by one script, which
measures gisegkit and what it is compared with by turns in one process, several times. A ratio is the median over the
pairs of repetitions, with the smallest and largest in brackets; without brackets it was measured once. "Within the
noise" means that what was asked lies where the median lies with 95 % confidence. Times depend on the machine, ratios
much less.

To repeat one: `python benchmarks/NAME.py`; all that this machine can run: `make bench`. A row that misses what was
asked of it says why.
"""


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(sorted(RESULTS.glob("*.json"))), encoding="utf-8")


def page(files: list[Path]) -> str:
    """The page of these result files; those of another form (memory-cpu.json) have a page of their own."""
    found = [content for file in files if "rows" in (content := json.loads(file.read_text())) and "claim" in content]
    return "\n".join([INTRODUCTION, *(section(content) for content in found)])


def section(content: dict[str, Any]) -> str:
    """One script's claim, its table, and what it ran on."""
    machine, settings = content["hardware"], content["settings"]
    lines = [f"## {content['benchmark']}", "", content["claim"], ""]
    lines += ["| what | gisegkit | compared with | ratio | asked | |", "|---|---|---|---|---|---|"]
    lines += [line(row) for row in content["rows"]]
    lines += [f"\n{row['what']}: {row['note']}" for row in content["rows"] if row["note"]]
    versions = ", ".join(f"{name} {version}" for name, version in content["versions"].items() if version)
    kept = ", ".join(f"{key} {value}" for key, value in settings.items())
    gpu = f", {machine['gpu']}" if "gpu" in machine else ""
    lines += [
        "",
        f"`{content['command']}` on {content['date']} at {revision(content['revision'])}; {machine['cpus']} cores "
        f"({machine['processor']}), {machine['memory_gib']} GiB{gpu}; {versions}; {kept}.",
        "",
    ]
    return "\n".join(lines)


def line(row: dict[str, Any]) -> str:
    """One row of the table."""
    sides = [f"{number(row[side]['median'])} {row['unit']} ({row[side]['name']})" for side in ("ours", "baseline")]
    spread = f" [{row['ratio_low']:.2f}, {row['ratio_high']:.2f}]" if row["ours"]["repetitions"] > 1 else ""
    ratio = f"{row['ratio']:.2f}{spread}"
    asked = "" if row["target"] is None else f"{'at most' if row['cost'] else 'at least'} {row['target']:g}"
    words = row.get("verdict", {None: "", True: "reached", False: "missed"}[row["met"]])
    verdict = f"**{words}**" if row["met"] is False else words
    return f"| {row['what']} | {sides[0]} | {sides[1]} | {ratio} | {asked} | {verdict} |"


def revision(text: object) -> str:
    """Short, and still saying whether the tree was that of the commit."""
    commit, dash, state = str(text).partition("-")
    return f"{commit[:12]}{dash}{state}"


def number(value: float) -> str:
    """Four digits, without an exponent."""
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"


if __name__ == "__main__":
    main()
