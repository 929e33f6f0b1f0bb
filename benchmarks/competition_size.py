"""A set of the competition's size, 274 scans and 38,496 slices: building its store, starting again, predicting it all.

    python benchmarks/competition_size.py [--folder FOLDER]

Everything is done REPETITIONS times, each build from nothing. Each measurement is a ``giseg`` command in a process of
its own, timed from its start to its end, imports included, and bound to two cores. Peak memory is the most that the
process had resident (VmHWM), mapped pages of the store included; the share that no other process could have shared is
given as well. None of these commands has child processes on a CPU. The files are read through the system's page cache,
as they are found there. FOLDER keeps the phantom for the next time (5 GB); the stores (12 GB) are made beside it and
removed.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from competition_phantom import Scan, make, scans
from harness import ROOT, Row, compare, save

CORES = 2
REPETITIONS = 3
STARTS = 5
MIB = 2**20
RECIPE = ROOT / "recipes" / "unet_effb1.toml"

COMMAND = """
import sys
from gisegkit.cli import main
try:
    main(sys.argv[1:])
finally:
    print(open("/proc/self/status").read())
"""

TINY = """
name = "tiny"
[dataset]
name = "uwmgi"
root = "{root}"
exclude = "none"
[input]
size = [64, 64]
store = "native"
[normalization]
name = "maximum"
[split]
folds = 5
[model]
name = "unet"
encoder = "mobilenet_v2"
weights = "none"
depth = 3
decoder_channels = [32, 16, 8]
[[loss]]
name = "bce"
[[loss]]
name = "dice"
[optimizer]
name = "adam"
lr = 5e-3
[train]
epochs = 12
batch_size = 16
validate_every = 12
[[metric]]
name = "uwmgi_score"
[evaluate]
batch_size = 32
"""
"""A network of 2 million weights, trained for half a minute so that its masks look like masks."""


class Usage(NamedTuple):
    """Of one command: seconds, and MiB resident at most, all and what is not backed by a file."""

    seconds: float
    peak: float
    anonymous: float


def giseg(*arguments: object, cache: Path) -> Usage:
    """Run a command to its end."""
    command = [sys.executable, "-c", COMMAND, *map(str, arguments)]
    environment = os.environ | {"GISEG_CACHE": str(cache), "PYTHONPATH": str(ROOT)}
    anonymous = 0
    with tempfile.TemporaryFile("w+") as output:
        start = time.perf_counter()
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=subprocess.STDOUT)
        while process.poll() is None:
            anonymous = max(anonymous, _kib("RssAnon", Path(f"/proc/{process.pid}/status").read_text()))
            time.sleep(0.01)
        seconds = time.perf_counter() - start
        output.seek(0)
        text = output.read()
    if process.returncode:
        raise RuntimeError(f"giseg {' '.join(map(str, arguments))} failed:\n{text}")
    usage = Usage(seconds, _kib("VmHWM", text) / 1024, anonymous / 1024)
    print(f"giseg {arguments[0]}: {usage.seconds:.1f} s, {usage.peak:.0f} MiB ({usage.anonymous:.0f})", flush=True)
    return usage


def _kib(key: str, status: str) -> int:
    found = re.findall(rf"^{key}:\s+(\d+) kB$", status, flags=re.MULTILINE)
    return int(found[-1]) if found else 0  # a process that is about to end has none


def building(root: Path, cache: Path, slices: int) -> list[Row]:
    """Rows on the store: made in both layouts, then found as it is."""
    rows = []
    sets = ["--set", f"dataset.root={root}", "--set", "dataset.exclude=none"]
    for layout, name in (("size", "224 x 224"), ("native", "native size")):
        command = ("prepare", RECIPE, *sets, "--set", f"input.store={layout}")
        built = []
        for _ in range(REPETITIONS):
            shutil.rmtree(cache, ignore_errors=True)
            built.append(giseg(*command, cache=cache))
        starts = [giseg(*command, cache=cache) for _ in range(STARTS)]
        what = f"store of {slices:,} slices at {name}"
        note = f"of the peak, {max(usage.anonymous for usage in built):.0f} MiB are anonymous"
        rows += [
            bound(f"{what}: build", [slices / usage.seconds for usage in built], 300, unit="slices/s"),
            bound(
                f"{what}: peak memory of the build",
                [usage.peak for usage in built],
                1536,
                unit="MiB",
                cost=True,
                note=note,
            ),
            bound(f"{what}: repeat start-up", [start.seconds for start in starts], 3, unit="s", cost=True),
        ]
    return rows


def bound(what: str, values: Sequence[float], limit: float, *, unit: str, cost: bool = False, note: str = "") -> Row:
    """A row against a number that was asked for."""
    measured = {"giseg prepare": values, "asked": [limit] * len(values)}
    given = {"ours": "giseg prepare", "baseline": "asked", "unit": unit, "note": note, "cost": cost, "target": 1.0}
    return compare(what, measured, higher_is_better=not cost, **given)


def predicting(full: Path, tenth: Path, tiny: Path, work: Path, cache: Path) -> list[Row]:
    """Rows on the peaks of ``evaluate`` and ``predict``, the whole set against a tenth of it."""
    recipe, run = work / "tiny.toml", work / "run"
    recipe.write_text(TINY.format(root=tiny))
    giseg("train", recipe, "--out", run, cache=cache)
    giseg("prepare", recipe, "--set", f"dataset.root={tenth}", cache=cache)
    verbs = {"evaluate": ["evaluate", run], "predict": ["predict", run, "--part", "all", "--out", work / "all.csv"]}
    rows = []
    for verb, command in verbs.items():
        runs = [[giseg(*command, "--root", root, cache=cache) for root in (full, tenth)] for _ in range(REPETITIONS)]
        whole, part = zip(*runs, strict=True)
        anonymous = " and ".join(f"{max(usage.anonymous for usage in side):.0f}" for side in (whole, part))
        note = f"without the pages of files {anonymous} MiB; {min(usage.seconds for usage in whole):.0f} s"
        measured = {"the whole set": [u.peak for u in whole], "every tenth case": [u.peak for u in part]}
        given = {"ours": "the whole set", "baseline": "every tenth case", "higher_is_better": False, "cost": True}
        rows.append(compare(f"giseg {verb}: peak memory", measured, unit="MiB", target=1.1, note=note, **given))
    return rows


def a_tenth(chosen: Iterable[Scan]) -> list[Scan]:
    """The scans of every tenth case of either size."""
    return [scan for scan in chosen if (scan.case - 1) // 2 % 10 == 0]


def main(folder: Path) -> None:
    """Measure and save."""
    cores = sorted(os.sched_getaffinity(0))[:CORES]
    os.sched_setaffinity(0, cores)  # and every process that this one starts
    chosen = list(scans())
    full = make(folder / "full", chosen, processes=len(cores))
    tenth = make(folder / "tenth", a_tenth(chosen), processes=len(cores))
    tiny = make(folder / "tiny", [Scan(901 + number, 0, 24) for number in range(10)], processes=len(cores))
    with tempfile.TemporaryDirectory(prefix="work-", dir=folder) as name:
        work, cache = Path(name), Path(name) / "cache"
        slices = sum(scan.slices for scan in chosen)
        rows = building(full, cache, slices) + predicting(full, tenth, tiny, work, cache)
    part = sum(scan.slices for scan in a_tenth(chosen))
    save(
        "competition_size",
        "A set of the competition's size is prepared within minutes, found again at once, and predicted in the memory "
        "of a small one.",
        rows,
        packages=("torch", "opencv-python-headless", "opencv-python", "numpy", "pandas"),
        settings={
            "cores": len(cores),
            "scans": len(chosen),
            "slices": slices,
            "copies among them": "none",
            "slices of every tenth case": part,
            "repetitions": f"{STARTS} of the start-up, {REPETITIONS} of all else",
        },
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--folder", type=Path, help="where the phantom is kept; default: a temporary folder")
    given = parser.parse_args().folder
    if given is not None:
        given.mkdir(parents=True, exist_ok=True)
        main(given.resolve())
    else:
        temporary = Path(tempfile.mkdtemp())
        try:
            main(temporary)
        finally:
            shutil.rmtree(temporary)
