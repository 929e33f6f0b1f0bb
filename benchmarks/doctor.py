"""What the doctor adds to the store's build and to the next start, on a twentieth of a set of the competition's size.

    python benchmarks/doctor.py [--folder FOLDER]

The store is built REPETITIONS times by turns, with the doctor and with one that keeps a fixed answer in place of the
facts of each slice. Then the facts of all prepared slices are read and judged as the next start does, for as many
slices as the competition has. Everything is done on two cores, in one process. FOLDER keeps the phantom (250 MB).
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

import numpy as np
from competition_phantom import Scan, make, scans
from harness import compare, save

from gisegkit.components.datasets.uwmgi import UWMGI
from gisegkit.data.doctor.diagnosis import diagnose
from gisegkit.data.doctor.facts import SliceFacts, facts_of
from gisegkit.data.doctor.seen import Seen
from gisegkit.data.store import store as module
from gisegkit.data.store.layout import Layout
from gisegkit.data.store.store import Store

CORES = 2
REPETITIONS = 5
PART = 20
FULL = 38_496
REST = "the asked 3 s are for the whole start-up; recipe, tables and files take about 1.8 s more"
NOTHING = SliceFacts("", "", "uint16", 1, 0.0, 1.0, 1.0, None, [], [])


def build(dataset: UWMGI, home: Path, *, doctor: bool) -> float:
    """Seconds to build the store anew."""
    module.facts_of = facts_of if doctor else (lambda image, mask, extremes: NOTHING)  # type: ignore[attr-defined]
    with tempfile.TemporaryDirectory(dir=home) as folder:
        store = Store(dataset, name="bench", layout=Layout((224, 224), "stretch", "linear"), home=Path(folder))
        start = time.perf_counter()
        store.prepare(np.arange(len(dataset.table)))
        return time.perf_counter() - start


def start_up(dataset: UWMGI, home: Path) -> list[float]:
    """Seconds to judge the facts of a whole set of images that differ, a twentieth of it repeated with other hashes."""
    rows = np.arange(len(dataset.table))
    with tempfile.TemporaryDirectory(dir=home) as folder:
        module.facts_of = facts_of  # type: ignore[attr-defined]
        store = Store(dataset, name="bench", layout=Layout((224, 224), "stretch", "linear"), home=Path(folder))
        store.prepare(rows)
        seconds = []
        for _ in range(REPETITIONS):
            start = time.perf_counter()
            facts = store.facts(rows)
            read = time.perf_counter() - start
            table = dataset.table.loc[np.arange(FULL) % len(rows)].reset_index(drop=True)
            part = np.arange(FULL) // len(rows)
            table = table.assign(**{key: table[key] + "_" + part.astype(str) for key in ("id", "scan", "case")})
            shifted = {row: _other(facts[row % len(rows)], row // len(rows)) for row in range(FULL)}
            seen = Seen(table, dataset.classes, shifted, dataset.mask)
            start = time.perf_counter()
            findings = diagnose(seen)
            seconds.append(time.perf_counter() - start + read * PART)
            assert not findings, findings[0]
    return seconds


def _other(facts: SliceFacts, part: int) -> SliceFacts:
    """The facts of another image: its hash is turned by some bytes, its digest is another."""
    look = facts.look[4 * part % 64 :] + facts.look[: 4 * part % 64] if part else facts.look
    if part >= 16:
        look = look[::-1]
    return facts._replace(digest=f"{facts.digest}{part}", look=look)


def main(folder: Path) -> None:
    """Measure and save."""
    cores = sorted(os.sched_getaffinity(0))[:CORES]
    os.sched_setaffinity(0, cores)
    chosen: list[Scan] = [scan for number, scan in enumerate(scans()) if number % PART == 0]
    dataset = UWMGI(root=str(make(folder / "twentieth", chosen, processes=len(cores))), exclude="none")
    build(dataset, folder, doctor=True)  # so that the files are in the page cache
    measured: dict[str, list[float]] = {"with the doctor": [], "without": []}
    for _ in range(REPETITIONS):
        measured["with the doctor"].append(build(dataset, folder, doctor=True))
        measured["without"].append(build(dataset, folder, doctor=False))
    slices = len(dataset.table)
    given = {"ours": "with the doctor", "baseline": "without", "higher_is_better": False, "cost": True, "unit": "s"}
    rows = [compare(f"store of {slices:,} slices: build", measured, target=1.2, **given)]
    seconds = start_up(dataset, folder)
    asked = {"giseg": seconds, "asked": [3.0] * len(seconds)}
    given |= {"ours": "giseg", "baseline": "asked"}
    rows.append(compare(f"facts of {FULL:,} prepared slices: read and judged", asked, target=1.0, note=REST, **given))
    save(
        "doctor",
        "The doctor adds at most a fifth to the time that the store's build takes, and the next start of the "
        "competition's size stays under 3 s.",
        rows,
        packages=("opencv-python-headless", "numpy", "pandas"),
        settings={"cores": len(cores), "slices": slices, "repetitions": REPETITIONS},
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "gisegkit-doctor")
    main(parser.parse_args().folder)
