"""Makes docs/benchmarks.md of the results that are committed under benchmarks/results.

python benchmarks/page.py
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from gpu_parts import PARTS, Part, result_path, tested
from harness import RESULTS, ROOT

PAGE = ROOT / "docs" / "benchmarks.md"
INTRODUCTION = """\
# Benchmarks

`python benchmarks/page.py` makes this page of the files in `benchmarks/results/`.

Each file was written by one script.
The script runs gisegkit and what it is compared with alternately, in one process, several times.
A ratio is the median over the pairs of repetitions, with the smallest and largest in brackets; without brackets it was
measured once.
"Within the noise" means that the target is inside the 95 % confidence interval of the median.
Times depend on the machine; ratios depend on it much less.

`python benchmarks/NAME.py` repeats one benchmark, and `make bench` all that this machine can run.
A row that misses its target says why.
"""

GPU_INTRODUCTION = """\
## On a GPU

`make gpu` makes these measurements on a machine with an NVIDIA GPU, Python 3.11 or newer and its own torch.
It needs neither `.venv` nor an installation, only what `python3` can import (`make gpu PYTHON=python3.12` for another).

- It consists of parts of less than four minutes, each with a hard limit.
- A finished part is skipped the next time, as long as code, GPU, driver and torch are the same. An interrupted part
  resumes where it stopped.
- `make gpu PART=training` repeats one part. `MINUTES=9` starts only parts that end within 9 minutes.
- `make gpu-rehearsal` runs the same code on a CPU with tiny sizes, and measures nothing.

On a machine without a package registry:

1. On a machine that has one, `make gpu-needs` lists the packages and versions. `HAVE=FILE` leaves out those that FILE
   names, because they are there already.
2. Download their wheels for the other machine's Python:
   `pip download --no-deps --only-binary=:all: --platform ... --python-version 3.12`
3. Copy them to the other machine, unpack them with `pip install --no-index --no-deps --target FOLDER *.whl`, and set
   `PYTHONPATH=FOLDER`.

If a package is still missing, one line says so. Without kornia only its comparison is left out.
In a copy without git, `GPU_REVISION=...` states the commit.

A part without numbers was **not measured yet**.
"""


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(sorted(RESULTS.glob("*.json"))), encoding="utf-8")


def page(files: list[Path]) -> str:
    """The page of these result files; those of another form (memory-cpu.json) have a page of their own."""
    on_gpu = {result_path(part.name).name: part for part in PARTS}
    others = [file for file in files if file.name not in on_gpu]
    found = [content for file in others if "rows" in (content := json.loads(file.read_text())) and "claim" in content]
    results = {file.name: json.loads(file.read_text()) for file in files if file.name in on_gpu}
    gpu = [gpu_section(part, results.get(name)) for name, part in on_gpu.items()]
    return "\n".join([INTRODUCTION, *(section(content) for content in found), GPU_INTRODUCTION, *gpu])


def section(content: dict[str, Any]) -> str:
    """One script's claim, its table, and what it ran on."""
    lines = [f"## {content['benchmark']}", "", content["claim"], ""]
    lines += ["| what | gisegkit | compared with | ratio | asked | |", "|---|---|---|---|---|---|"]
    lines += [line(row) for row in content["rows"]]
    lines += [f"\n{row['what']}: {row['note']}" for row in content["rows"] if row["note"]]
    return "\n".join([*lines, "", origin(content), ""])


def origin(content: dict[str, Any]) -> str:
    """The command, when it was given, and on what."""
    machine = content["hardware"]
    versions = ", ".join(f"{name} {version}" for name, version in content["versions"].items() if version)
    kept = ", ".join(f"{key} {value}" for key, value in content["settings"].items())
    gpu = f", {machine['gpu']}" if "gpu" in machine else ""
    gpu += f", driver {machine['driver']}, CUDA {machine['cuda']}" if "driver" in machine else ""
    return (
        f"`{content['command']}` on {content['date']} at {revision(content['revision'])}; {machine['cpus']} cores "
        f"({machine['processor']}), {machine['memory_gib']} GiB{gpu}; {versions}; {kept}."
    )


def gpu_section(part: Part, content: dict[str, Any] | None) -> str:
    """One part of ``make gpu``: its claim, what it measured, and how it ended; else that nothing was measured."""
    title = f"### gpu-{part.name}\n\nClaim: {part.claim}\n"
    if content is None:
        return f"{title}\n**Not measured yet.**\n"
    rows, state = content["rows"], content["state"]
    lines = [title, *([] if state == "done" else [f"**{state}**\n"])]
    if part.arguments[0] == "gpu_tests.py":
        lines += [f"{tested(rows)}."]
        lines += [f"- {row['name']}: {row['outcome']}, {row.get('reason', '')}" for row in rows if row.get("failed")]
    elif rows and "ours" in rows[0]:
        lines += ["| what | gisegkit | compared with | ratio | asked | |", "|---|---|---|---|---|---|"]
        lines += [line(row) for row in rows]
        lines += [f"\n{row['what']}: {row['note']}" for row in rows if row["note"]]
    elif rows:
        columns = list(dict.fromkeys(key for row in rows for key in row if key not in ("parts", "failed")))
        lines += [f"| {' | '.join(key.replace('_', ' ') for key in columns)} |", "|---" * len(columns) + "|"]
        lines += [f"| {' | '.join(cell(row.get(key)) for key in columns)} |" for row in rows]
    return "\n".join([*lines, "", origin(content), ""])


def cell(value: object) -> str:
    """A value of a table, in words."""
    if value is None or isinstance(value, bool):
        return {None: "", True: "yes", False: "**no**"}[value]
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return number(value) if isinstance(value, float) else str(value).replace("|", "\\|")


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
