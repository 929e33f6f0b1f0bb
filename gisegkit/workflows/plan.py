"""``giseg plan``: the runs of a plan file, and what is made of them; what is finished is never made again."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from gisegkit.build.demo import SMALL, load_demo
from gisegkit.data.atomic_files import make_folder, write_text
from gisegkit.errors import Interrupted, Mistake, RecipeError
from gisegkit.recipe.load import load_recipe, read_document
from gisegkit.recipe.plan import Cell
from gisegkit.recipe.plan_check import as_plan
from gisegkit.recipe.sections import Recipe
from gisegkit.recipe.text import value_text
from gisegkit.registry.kinds import Registries
from gisegkit.runs.locks import locked
from gisegkit.runs.plan_record import Ended, write_record
from gisegkit.workflows.epochs import clock
from gisegkit.workflows.executor import Executor, cause_of
from gisegkit.workflows.plan_steps import State, Step, Work

DEMO = "This plan was run as a demo on synthetic phantoms. Its scores say nothing about real data.\n"


def open_plan(
    file: Path,
    registries: Registries,
    *,
    out: Path | None = None,
    root: str | None = None,
    demo: bool = False,
    device: str = "auto",
) -> Work:
    """A plan file, checked together with every recipe that it names.

    Args:
        file: its recipes are found from the folder that it is in.
        out: of the runs; default ``plans/NAME``, or ``plans/NAME-demo``.
        root: of the data of every run, instead of what recipes and plan say.
        demo: whether every run is its recipe's demo.

    Raises:
        RecipeError: with every mistake in the plan and in its recipes.
        RunError: if the record in the folder is damaged.
    """
    plan = as_plan(read_document(file), demo=demo, small=SMALL)
    if root is not None:
        data = f"dataset.root={value_text(root)}"
        plan.cells = [
            replace(cell, sets=(*cell.sets, data), places={**cell.places, data: "--root"}) for cell in plan.cells
        ]
    mistakes, recipes = list(plan.mistakes), {}
    for cell in plan.cells:
        try:
            recipes[cell.name] = _recipe(cell, registries, demo=demo)
        except RecipeError as error:
            mistakes += [_placed(mistake, cell) for mistake in error.mistakes]
    if mistakes:
        raise RecipeError(str(file), list(dict.fromkeys(mistakes)))
    folder = out or Path("plans") / (f"{plan.name}-demo" if demo else plan.name)
    return Work(plan, folder, recipes, registries, demo, device)


def _recipe(cell: Cell, registries: Registries, *, demo: bool) -> Recipe:
    if demo:
        return load_demo(cell.recipe, registries, cell.sets)[0]
    return load_recipe(cell.recipe, registries=registries, overrides=cell.sets)


def _placed(mistake: Mistake, cell: Cell) -> Mistake:
    """A mistake of an override at the line of the plan that says it."""
    text = mistake.place.removeprefix("--set ")
    place = cell.places.get(text)
    return mistake if place is None else Mistake(place, mistake.found, mistake.remedy)


@dataclass(frozen=True)
class Ran:
    """What became of a plan.

    Attributes:
        states: of every step.
        tried: how many steps were executed.
    """

    states: Mapping[str, State]
    tried: int

    @property
    def complete(self) -> bool:
        """Whether nothing is left to do."""
        return all(state.word == "done" for state in self.states.values())


def run_plan(work: Work, execute: Executor, *, say: Callable[[str], None]) -> Ran:
    """Execute the steps that are not done, in order; one that fails does not stop those that do not need it.

    Raises:
        RunError: if another process works on the plan, or files cannot be written.
        Interrupted: if the user stops it; says how to continue.
    """
    with locked(work.folder, say):
        make_folder(work.folder)
        if work.demo:
            write_text(work.folder / "DEMO.txt", DEMO)
        tried = 0
        for number, step in enumerate(work.steps, 1):
            state = work.states()[step.name]
            if state.word in ("done", "running", "changed", "waiting"):
                if state.word != "done":
                    say(f"[{number}/{len(work.steps)}] {step.name}: {state.word} {state.detail}".rstrip())
                continue
            tried += 1
            _execute(work, step, execute, say, f"[{number}/{len(work.steps)}] {step.name}")
    return Ran(work.states(), tried)


def _execute(work: Work, step: Step, execute: Executor, say: Callable[[str], None], head: str) -> None:
    log = work.folder / "logs" / f"{step.name}.log"
    work.clear(step)
    made_of = work.made_of(step)
    _note(work, step, Ended(made_of))
    say(f"{head}: giseg {step.words[0]} ... (see {log})")
    start, begun = log.stat().st_size if log.is_file() else 0, time.monotonic()
    try:
        code = execute((*step.words, "--device", work.device), log)
    except KeyboardInterrupt as stop:
        text = f"interrupted in {step.name}; what is finished is kept: run the same command again to continue"
        raise Interrupted(text, signum=getattr(stop, "signum", 2)) from stop
    seconds = time.monotonic() - begun
    cause = "" if code == 0 else cause_of(log, start, code)
    _note(work, step, Ended(made_of, code, round(seconds, 3), cause))
    state = work.states()[step.name]
    if code == 0 and state.word != "done":
        cause = f"it ended without {', '.join(map(str, step.makes))}"
        _note(work, step, Ended(made_of, 1, round(seconds, 3), cause))
    if cause:
        say(f"{head}: failed after {clock(seconds)}: {cause}")
        return
    left = time_left(work, work.states())
    score = "" if state.score is None else f", score {state.score:.4f}"
    detail = f", {state.detail}" if state.detail else ""
    rest = f"; about {clock(left)} left for the runs" if left else ""
    say(f"{head}: {state.word} in {clock(seconds)}{score}{detail}{rest}")


def _note(work: Work, step: Step, ended: Ended) -> None:
    work.record[step.name] = ended
    write_record(work.folder, work.record)


def time_left(work: Work, states: Mapping[str, State]) -> float | None:
    """Seconds that the runs which are not done will take, as far as finished ones tell; None if none is finished.

    A run is taken to need as long as the finished ones of the same ``[[run]]``, or as all finished ones. What comes
    after the runs is not counted.
    """
    took: dict[str, list[float]] = {}
    for step in work.steps:
        seconds = states[step.name].seconds
        if step.run and states[step.name].word == "done" and seconds:
            took.setdefault(step.run, []).append(seconds)
    if not took:
        return None
    every = [seconds for values in took.values() for seconds in values]
    left = 0.0
    for step in work.steps:
        state = states[step.name]
        if step.run and state.word in ("missing", "interrupted", "running", "failed"):
            left += statistics.mean(took.get(step.run, every)) * (1 - state.done)
    return left


def evaluated_folders(work: Work, states: Mapping[str, State]) -> list[Path]:
    """The folders that can be compared: of finished runs, and of the ensemble."""
    folders = [step.folder for step in work.steps if step.run and states[step.name].word == "done"]
    return folders + [
        step.folder for step in work.steps if step.name == "evaluate" and states[step.name].word == "done"
    ]
