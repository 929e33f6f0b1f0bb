"""Measures how often ``giseg tune`` finds a gain that is there, and one that is not, for the table in docs/tuning.md.

    python benchmarks/tuning.py [REPETITIONS]

Simulates the probabilities of a network: disks with uncertain borders, whose cases differ in how sure the network is.
Where there is no gain to be had, the decision that the search begins with is the best of very many cases. Where there
is, the network is off by a known amount. Everything that ``giseg tune`` searches is searched.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter

from gisegkit.build.knobs import PRESENCE, THRESHOLD, Knobs
from gisegkit.components.metrics.overlap_metrics import Dice
from gisegkit.components.postprocess.continuity import Continuity
from gisegkit.components.postprocess.islands import FillHoles, LargestComponent, MinArea
from gisegkit.engine.decision import Decision
from gisegkit.engine.scoring import Scoreboard
from gisegkit.engine.tuning import DecisionSearch, KeptScan, State, Tuned

SIZE, SLICES, CLASSES, FOLDS = 24, 3, ("a", "b"), 5
MANY = 400
"""Cases that settle which decision is the best of all."""

STEPS = {
    "fill_holes": FillHoles,
    "min_area": MinArea,
    "largest_component": LargestComponent,
    "continuity": Continuity,
}
ROWS, COLUMNS = np.mgrid[:SIZE, :SIZE]


@dataclass(frozen=True)
class Setting:
    """What a network gets wrong.

    Attributes:
        logit: by how much it is too sure of every pixel (below 0: not sure enough).
    """

    logit: float = 0.0


SETTINGS = {
    "nothing": Setting(),
    "not sure enough: every logit is 1 too low": Setting(logit=-1.0),
}


def simulated(setting: Setting, number: int, rng: np.random.Generator) -> KeptScan:
    """One case of one scan; an organ is missing in a third of the slices."""
    sure = rng.normal(0, 0.7)
    probabilities = np.empty((SLICES, SIZE, SIZE, len(CLASSES)), np.float32)
    truth = np.zeros(probabilities.shape, np.uint8)
    for d in range(SLICES):
        for k in range(len(CLASSES)):
            row, column = rng.uniform(7, SIZE - 7, 2)
            there = rng.random() < 2 / 3
            inside = (
                rng.uniform(3, 6) - np.hypot(ROWS - row, COLUMNS - column) if there else np.full((SIZE, SIZE), -6.0)
            )
            truth[d, :, :, k] = inside > 0
            logit = 1.2 * inside + 4 * gaussian_filter(rng.normal(size=(SIZE, SIZE)), 1.5) + sure + setting.logit
            probabilities[d, :, :, k] = 1 / (1 + np.exp(-logit))
    ids = [f"{number}_{d}" for d in range(SLICES)]
    return KeptScan(f"s{number}", f"c{number}", str(number % FOLDS), ids, probabilities, truth, {})


def search(scans: list[KeptScan], rng: np.random.Generator, start: State | None = None) -> tuple[Tuned, Knobs]:
    """What is found, from 0.5 and no steps or from a state."""
    knobs = Knobs(CLASSES, threshold=(0.5, 0.5), presence=(0.0, 0.0), steps=())

    def decide(state: State) -> Decision:
        tables = knobs.tables(state)
        steps = tuple(STEPS[table.pop("name")](**table, classes=CLASSES) for table in tables)
        return Decision(knobs.values_of(state, THRESHOLD), steps, presence=knobs.values_of(state, PRESENCE))

    board = Scoreboard({"dice": Dice()}, CLASSES)
    made = DecisionSearch(lambda: iter(scans), decide, board, [knob.values for knob in knobs.knobs])
    return made.run(start or knobs.start, resamples=999, rng=rng), knobs


def shown(setting: Setting, cases: int, repetitions: int, start: State | None) -> tuple[int, float]:
    """How often a gain is shown, and its mean."""
    gains, found = [], 0
    for repetition in range(repetitions):
        rng = np.random.default_rng([repetition, cases])
        result, _ = search([simulated(setting, number, rng) for number in range(cases)], rng, start)
        gains.append(result.gain.estimate)
        found += result.shown
    return found, float(np.mean(gains))


def main(repetitions: int) -> None:
    """Print the table."""
    many = np.random.default_rng(0)
    best, knobs = search([simulated(SETTINGS["nothing"], number, many) for number in range(MANY)], many)
    print("the best of", MANY, "cases:", knobs.differences(knobs.start, best.state))
    print("| what the network gets wrong | cases | data sets | gain shown in | mean gain |")
    print("|---|---|---|---|---|")
    for name, setting in SETTINGS.items():
        for cases in (20, 40) if name == "nothing" else (20,):
            begun = time.monotonic()
            found, mean = shown(setting, cases, repetitions, best.state if name == "nothing" else None)
            print(f"| {name} | {cases} | {repetitions} | {found} | {mean:+.4f} |", flush=True)
            print(f"{time.monotonic() - begun:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 200)
