"""What the benchmarks share: both sides measured by turns in one process, medians with their spread, results as JSON.

A script measures one claim and saves one file under benchmarks/results; ``page.py`` makes docs/benchmarks.md of them.
"""

from __future__ import annotations

import gc
import json
import math
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gisegkit.runs.environment import git_revision, version_of

ROOT = Path(__file__).parent.parent
RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Side:
    """One side of a comparison.

    Attributes:
        name: what was measured, such as ``MONAI CacheDataset``.
        median, low, high: of the repetitions, in the row's unit.
        repetitions: how many counted.
    """

    name: str
    median: float
    low: float
    high: float
    repetitions: int


@dataclass(frozen=True)
class Row:
    """One line of the results' table: gisegkit's side against a baseline.

    Attributes:
        what: what was done, with its sizes.
        unit: of the sides' numbers, such as ``samples/s`` or ``s``.
        ratio, ratio_low, ratio_high: the median of the ratios of each pair of repetitions, and their range; how many
            times better gisegkit is, unless ``cost``.
        sure_low, sure_high: where the median lies with 95 % confidence, see ``interval``.
        target: what was asked of the ratio, None where nothing was.
        cost: whether the ratio is gisegkit's cost over the baseline's, so that the target is an upper bound.
        note: what a reader must know, such as the reason of a miss.
    """

    what: str
    unit: str
    ours: Side
    baseline: Side
    ratio: float
    ratio_low: float
    ratio_high: float
    sure_low: float
    sure_high: float
    target: float | None = None
    cost: bool = False
    note: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the target was reached; None without one."""
        if self.target is None:
            return None
        return self.ratio <= self.target if self.cost else self.ratio >= self.target

    @property
    def verdict(self) -> str:
        """In words, with what weakens it; empty without a target."""
        if self.target is None or self.met is None:
            return ""
        if not self.met:
            return "missed"
        if self.ours.repetitions == 1:
            return "reached, measured once"
        return "reached, within the noise" if self.sure_low < self.target < self.sure_high else "reached"


def by_turns(
    sides: Mapping[str, Callable[[], float | None]], *, repetitions: int, warm_up: int = 1
) -> dict[str, list[float]]:
    """Call the sides one after another, again and again, so that both meet the same state of the machine.

    Args:
        sides: by name; each returns its own measurement, or None to have its wall time in seconds taken.
        repetitions: calls of each side that count; at least 3 say something about the spread.
        warm_up: calls of each side before those.
    """
    values: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(warm_up + repetitions):
        for name, call in sides.items():
            gc.collect()
            start = time.perf_counter()
            value = call()
            seconds = time.perf_counter() - start
            if turn >= warm_up:
                values[name].append(seconds if value is None else value)
    return values


def compare(
    what: str,
    measured: Mapping[str, Sequence[float]],
    *,
    ours: str,
    baseline: str,
    unit: str,
    higher_is_better: bool,
    target: float | None = None,
    cost: bool = False,
    note: str = "",
) -> Row:
    """The row of two sides that ``by_turns`` measured.

    Args:
        unit: of the measurements; seconds where the sides returned None.
        higher_is_better: True for samples/s, False for seconds or bytes.
        target: of the ratio; see Row.
    """
    pairs = zip(measured[ours], measured[baseline], strict=True)
    ratios = sorted(a / b if higher_is_better or cost else b / a for a, b in pairs)
    low, high = interval(ratios)
    return Row(
        what=what,
        unit=unit,
        ours=_side(ours, measured[ours]),
        baseline=_side(baseline, measured[baseline]),
        ratio=statistics.median(ratios),
        ratio_low=ratios[0],
        ratio_high=ratios[-1],
        sure_low=low,
        sure_high=high,
        target=target,
        cost=cost,
        note=note,
    )


def interval(ordered: Sequence[float]) -> tuple[float, float]:
    """Where the median of what is measured lies with 95 % confidence, whatever its distribution; below 6 the range.

    Fewer than k of n values lie below the median with the probability that a fair coin falls on heads fewer than k
    times of n; k is the largest for which that is at most 2.5 %.

    Args:
        ordered: n independent measurements, rising.
    """
    count, outside, k = len(ordered), 0.0, 0
    while (outside := outside + math.comb(count, k) / 2**count) <= 0.025:
        k += 1
    place = max(k - 1, 0)
    return ordered[place], ordered[-1 - place]


def _side(name: str, values: Sequence[float]) -> Side:
    return Side(name, statistics.median(values), min(values), max(values), len(values))


def save(name: str, claim: str, rows: Sequence[Row], *, packages: Sequence[str], settings: Mapping[str, Any]) -> Path:
    """Write benchmarks/results/NAME-DEVICE.json with hardware, versions and revision, and print the rows.

    Args:
        name: the script's own, such as ``rle``.
        claim: the sentence that the numbers are about.
        packages: distributions whose versions matter.
        settings: sizes, seeds and thread counts.
    """
    device = str(settings.get("device", "cpu"))
    content = {
        "benchmark": name,
        "claim": claim,
        "command": f"python benchmarks/{name}.py",
        "hardware": hardware(device),
        "versions": {"python": platform.python_version()} | {package: version_of(package) for package in packages},
        "revision": revision(),
        "date": time.strftime("%Y-%m-%d"),
        "settings": dict(settings),
        "rows": [asdict(row) | {"met": row.met, "verdict": row.verdict} for row in rows],
    }
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}-{device.partition(':')[0]}.json"
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    for row in rows:
        print(in_words(row))
    print(f"written: {path.relative_to(ROOT)}")
    return path


def revision() -> str | None:
    """The commit of the code; results that another script has just written do not make it dirty."""
    results = [f":!{path.relative_to(ROOT)}" for path in (RESULTS, ROOT / "docs" / "benchmarks.md")]
    code = subprocess.run(["git", "diff", "--quiet", "HEAD", "--", ".", *results], cwd=ROOT, check=False)
    found = git_revision(ROOT)
    return found.removesuffix("-dirty") if found and code.returncode == 0 else found


def in_words(row: Row) -> str:
    """One line for the terminal."""
    goal = "" if row.target is None else f" (asked: {'at most' if row.cost else 'at least'} {row.target:g})"
    sides = (
        f"{row.ours.name} {row.ours.median:.4g} {row.unit}, {row.baseline.name} {row.baseline.median:.4g} {row.unit}"
    )
    return f"{row.what}: {sides}: {row.ratio:.2f} x [{row.ratio_low:.2f}, {row.ratio_high:.2f}]{goal} {row.verdict}"


def hardware(device: str) -> dict[str, Any]:
    """Cores, memory and processor of this machine, and the GPU where the benchmark ran on one."""
    found: dict[str, Any] = {"cpus": os.cpu_count(), "processor": _processor(), "platform": platform.platform()}
    found["memory_gib"] = round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    if device.startswith("cuda"):
        import torch

        found["gpu"] = torch.cuda.get_device_name(device)
    return found


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
