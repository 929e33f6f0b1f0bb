"""``giseg plan``: the runs of a plan file, and what is made of them; what is finished is never made again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from gisegkit.build.dataset import build_component
from gisegkit.build.demo import SMALL, load_demo
from gisegkit.data.atomic_files import make_folder, write_text
from gisegkit.errors import Mistake, RecipeError
from gisegkit.recipe.load import load_recipe, read_document
from gisegkit.recipe.plan import Cell
from gisegkit.recipe.plan_check import as_plan
from gisegkit.recipe.plan_parts import parts_of
from gisegkit.recipe.sections import Recipe
from gisegkit.recipe.text import value_text
from gisegkit.registry.kinds import Registries
from gisegkit.runs.locks import locked
from gisegkit.types import Executor
from gisegkit.workflows.coordinator import Coordinator
from gisegkit.workflows.plan_steps import State, Work

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
    document = read_document(file)
    plan = as_plan(document, demo=demo, small=SMALL)
    if root is not None:
        data = f"dataset.root={value_text(root)}"
        plan.cells = [
            replace(cell, sets=(*cell.sets, data), places={**cell.places, data: "--root"}) for cell in plan.cells
        ]
    plan.parts, wrong = parts_of(document, registries)
    mistakes, recipes = [*plan.mistakes, *wrong], {}
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


def run_plan(work: Work, executor: Executor | None = None, *, say: Callable[[str], None]) -> Ran:
    """Execute the steps that are not done; one that fails does not stop those that do not need it.

    Args:
        executor: where the commands run; by default, the one that the plan names.

    Raises:
        RunError: if another process works on the plan, or files cannot be written.
        Interrupted: if the user stops it; says how to continue.
    """
    with locked(work.folder, say):
        make_folder(work.folder)
        if work.demo:
            write_text(work.folder / "DEMO.txt", DEMO)
        spec = work.plan.parts["executor"]
        if executor is None:
            folder = str(work.folder.resolve())
            executor = build_component(spec, work.registries, device=work.device, folder=folder)
        tried = Coordinator(work, executor, spec.name, say=say).run()
    return Ran(work.states(), tried)
