"""``giseg plan``: the runs of a plan file, and what is made of them; what is finished is never made again."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from gisegkit.build.dataset import build_component
from gisegkit.build.demo import SMALL
from gisegkit.build.preflight import named_classes
from gisegkit.data.atomic_files import make_folder, write_text
from gisegkit.errors import Mistake, RecipeError, RunError, did_you_mean
from gisegkit.recipe.load import read_document
from gisegkit.recipe.plan import Cell, Plan
from gisegkit.recipe.plan_check import as_plan
from gisegkit.recipe.plan_parts import parts_of
from gisegkit.recipe.sections import Recipe
from gisegkit.recipe.text import Document, value_text
from gisegkit.registry.kinds import Registries
from gisegkit.runs.locks import locked
from gisegkit.runs.plan_record import read_record
from gisegkit.runs.trials_record import read_trials
from gisegkit.types import Executor
from gisegkit.workflows.coordinator import Coordinator
from gisegkit.workflows.goal import goal_of, load_cell, other_aim
from gisegkit.workflows.plan_steps import Work
from gisegkit.workflows.searching import Searcher, trial_cell
from gisegkit.workflows.steps import FINISHED, State

DEMO = "This plan was run as a demo on synthetic phantoms. Its scores say nothing about real data.\n"


WITH_ROOT = r"dataset(\.0)?(\.root)?="
"""Settings of a cell that name the data that ``--root`` names."""


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
    document = read_document(file, "plan")
    plan = as_plan(document, demo=demo, small=SMALL)
    if root is not None:
        plan.mistakes += _replaced_root(plan)
        data = f"dataset.root={value_text(root)}"
        plan.cells = [_with(cell, data) for cell in plan.cells]
        plan.searched = None if plan.searched is None else _with(plan.searched, data)
    plan.parts, wrong = parts_of(document, registries)
    goal, refused = goal_of(plan, document, registries, demo=demo)
    mistakes, recipes = [*plan.mistakes, *wrong, *refused], {}
    folder = out or Path("plans") / (f"{plan.name}-demo" if demo else plan.name)
    for cell in [*plan.cells, *([plan.searched] if plan.searched else [])]:
        try:
            recipes[cell.name] = load_cell(cell, registries, demo=demo)
        except RecipeError as error:
            mistakes += [_placed(mistake, cell) for mistake in error.mistakes]
    if not mistakes:
        mistakes += [*_of_tuning(plan, recipes, document), *_of_gate(plan, recipes, registries, document, demo=demo)]
        mistakes += [*_of_folds(plan, recipes, document), *(other_aim(goal, folder, document) if goal else ())]
    if mistakes:
        raise RecipeError(str(file), list(dict.fromkeys(mistakes)))
    work = Work(plan, folder, recipes, registries, demo, device, goal, read_trials(folder) if goal else [])
    _add_trials(work)
    _refuse_other_settings(work, document)
    return work


def _replaced_root(plan: Plan) -> list[Mistake]:
    """That ``--root`` would make cells the same that differ in their data."""
    roots = [(text, place) for cell in plan.cells for text, place in cell.places.items() if re.match(WITH_ROOT, text)]
    if len({text for text, _ in roots}) < 2:
        return []
    return [Mistake(roots[0][1], "the runs have several data, and --root is given", "leave --root out")]


def _add_trials(work: Work) -> None:
    """The cells of the trials that a search has asked for so far."""
    for trial in work.trials:
        assert work.plan.searched is not None  # there is no goal without
        cell = trial_cell(work.plan.searched, trial)
        try:
            work.add(cell, load_cell(cell, work.registries, demo=work.demo))
        except RecipeError as error:
            work.refused[trial.number] = error.mistakes[0].found


def _refuse_other_settings(work: Work, document: Document) -> None:
    """Check that the trials so far had the settings that the next ones will have: their scores are told together."""
    trials = [cell.name for cell in work.plan.cells if cell.trial is not None]
    states = work.states() if trials else {}
    changed = [name for name in trials if states[name].word == "changed"]
    if changed:
        what = states[changed[0]].detail.partition(" (the plan")[0]
        found = f"{len(changed)} of the {len(trials)} trials in {work.folder} had other settings: {what}"
        remedy = "give this search a folder of its own with --out, or write the plan and its recipe as they were"
        raise RecipeError(work.plan.source, [Mistake(document.place(("search",)), found, remedy)])


def _with(cell: Cell, text: str) -> Cell:
    return replace(cell, sets=(*cell.sets, text), places={**cell.places, text: "--root"})


def _of_tuning(plan: Plan, recipes: Mapping[str, Recipe], document: Document) -> list[Mistake]:
    """What ``[tune]`` names and the recipe that is tuned has not, so that nobody learns it after all runs."""
    if "tune" not in plan.tables:
        return []
    from gisegkit.build.knobs import NUMBERS

    cells = [*plan.cells, *([plan.searched] if plan.searched else [])]
    table, recipe = plan.tables["tune"], recipes[next(iter(plan.members), cells[0].name)]
    metrics = [spec.label for spec in recipe.metric]
    asked: dict[str, tuple[Sequence[str], Sequence[str], str]] = {
        "metric": (
            [table["metric"]] if "metric" in table else [],
            metrics,
            f"the recipe {recipe.name!r} has no metric",
        ),
        "only": (table.get("only", []), NUMBERS, "a decision has no number"),
    }
    return [
        Mistake(
            document.place(("tune", key)),
            f"{found} {name!r}",
            did_you_mean(name, valid) or f"there are: {', '.join(valid)}",
        )
        for key, (names, valid, found) in asked.items()
        for name in names
        if name not in valid
    ]


def _of_folds(plan: Plan, recipes: Mapping[str, Recipe], document: Document) -> list[Mistake]:
    """That the members of the ensemble, and its gate, have no fold in common: nothing could be scored."""
    splits = [recipes[name].split for name in (*plan.members, *([plan.gate] if plan.gate else []))]
    folds: list[set[Any]] = [set(split.chosen) if split.several else {split.fold} for split in splits]
    if not folds or set.intersection(*folds):
        return []
    table = "ensemble" if "ensemble" in plan.tables else "gate"
    every = ", ".join(str(fold) for fold in sorted(set.union(*folds), key=str))
    found = f"[{table}]: its runs validate on other folds each, so no slice can be scored by all of them"
    remedy = f"write folds = [{every}] in the [[run]], which trains them in one run, and not split.fold"
    return [Mistake(document.place((table,)), found, remedy)]


def _of_gate(
    plan: Plan, recipes: Mapping[str, Recipe], registries: Registries, document: Document, *, demo: bool
) -> list[Mistake]:
    """Classes of ``[gate] pixels`` that there are not, as far as the recipe names its classes; a demo has others."""
    pixels = plan.tables.get("gate", {}).get("pixels")
    classes = () if demo or not plan.gate else named_classes(recipes[plan.gate], registries)
    if not classes or not isinstance(pixels, Mapping):
        return []
    place = document.place(("gate", "pixels"))
    return [
        Mistake(place, f"there is no class {name!r}", did_you_mean(name, classes) or f"there are: {', '.join(classes)}")
        for name in pixels
        if name not in classes
    ]


def _placed(mistake: Mistake, cell: Cell) -> Mistake:
    """A mistake of an override, and a recipe that is not there, at the line of the plan that says it."""
    if not cell.recipe.is_file():
        return Mistake(
            cell.places.get(str(cell.recipe), mistake.place), f"there is no recipe {cell.recipe}", mistake.remedy
        )
    text = mistake.place.removeprefix("--set ")
    place = cell.places.get(text)
    return mistake if place is None else Mistake(place, mistake.found, mistake.remedy)


@dataclass(frozen=True)
class Ran:
    """What became of a plan.

    Attributes:
        states: of every step.
        tried: how many steps were executed.
        importance: of each key of the search, as far as it can tell.
    """

    states: Mapping[str, State]
    tried: int
    importance: Mapping[str, float] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Whether nothing is left to do."""
        return all(state.word in FINISHED for state in self.states.values())


def run_plan(work: Work, executor: Executor | None = None, *, say: Callable[[str], None]) -> Ran:
    """Execute the steps that are not done; one that fails does not stop those that do not need it.

    Args:
        executor: where the commands run; by default, the one that the plan names.

    Raises:
        RunError: if another process works on the plan, or has since it was opened, or files cannot be written.
        Interrupted: if the user stops it; says how to continue.
    """
    with locked(work.folder, say):
        _refuse_stale(work)
        make_folder(work.folder)
        if work.demo:
            write_text(work.folder / "DEMO.txt", DEMO)
        spec = work.plan.parts["executor"]
        if executor is None:
            folder = str(work.folder.resolve())
            executor = build_component(spec, work.registries, device=work.device, folder=folder)
        searcher = None if work.goal is None else Searcher(work, work.goal, say=say)
        tried = Coordinator(work, executor, spec.name, searcher, say=say).run()
    return Ran(work.states(), tried, {} if searcher is None else searcher.importance())


def _refuse_stale(work: Work) -> None:
    """What was read before the folder was locked must be what is there now."""
    trials = read_trials(work.folder) if work.goal else []
    if read_record(work.folder) != work.record or trials != work.trials:
        raise RunError(
            f"another giseg plan has worked in {work.folder} since this one read it; run the same command again"
        )
