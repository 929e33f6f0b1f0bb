"""The steps of a plan: one ``giseg`` command each, the runs first, then what is made of them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from gisegkit.errors import GisegError, RunError, listed
from gisegkit.recipe.differences import fingerprint
from gisegkit.recipe.plan import ENSEMBLE, Cell, Plan
from gisegkit.recipe.sections import Recipe
from gisegkit.registry.kinds import Registries
from gisegkit.runs.files import read_table
from gisegkit.runs.folder import RunDir
from gisegkit.runs.locks import is_locked
from gisegkit.runs.members import fold_folder
from gisegkit.runs.outputs import changes, is_root, read_scores
from gisegkit.runs.plan_record import Ended, read_record
from gisegkit.types import Trial
from gisegkit.workflows.steps import Goal, State, Step

EVALUATE, TUNE, PREDICT = "evaluate", "tune", "predict"

APPLY = {"if shown": (), "always": ("--apply",), "never": ("--dry-run",)}


@dataclass
class Work:
    """A plan in its folder.

    Attributes:
        recipes: of each cell, as it will be run.
        demo: whether every cell is its demo.
        goal: of its search; None without one.
        trials: that the search has asked for, in order.
        refused: of trials whose values together the recipe refuses, why.
    """

    plan: Plan
    folder: Path
    recipes: dict[str, Recipe]
    registries: Registries
    demo: bool
    device: str
    goal: Goal | None = None
    trials: list[Trial] = field(default_factory=list)
    refused: dict[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.record: dict[str, Ended] = read_record(self.folder)
        self._seen: dict[str, tuple[Any, State]] = {}

    @cached_property
    def steps(self) -> tuple[Step, ...]:
        """All steps, each after those that it needs."""
        cells = [self._cell(cell) for cell in self.plan.cells if cell.trial is None]
        trials = [self._cell(cell) for cell in self.plan.cells if cell.trial is not None]
        return tuple([*cells, *self._after(cells), *trials])

    def add(self, cell: Cell, recipe: Recipe) -> Step:
        """Take a trial in that a search has asked for; returns its step."""
        self.plan.cells.append(cell)
        self.recipes[cell.name] = recipe
        self.__dict__.pop("steps", None)
        return self._cell(cell)

    def _cell(self, cell: Cell) -> Step:
        folder = self.folder / cell.name
        sets = [word for text in cell.sets for word in ("--set", text)]
        demo = ("--demo",) if self.demo else ()
        words = ("run", str(cell.recipe), *sets, *demo, "--out", str(folder), "--resume")
        makes = (folder / "evaluation" / "scores.json", folder / "predictions" / "files.json")
        return Step(cell.name, words, folder, (), makes, cell.run)

    def _after(self, cells: list[Step]) -> list[Step]:
        """What is made of the runs that are no trials of a search."""
        plan, tables = self.plan, self.plan.tables
        if not cells:
            return []
        target, steps = self.folder / cells[0].name, []
        needs: tuple[str, ...] = (cells[0].name,)
        if plan.members:
            target = self.folder / ENSEMBLE
            steps.append(self._ensemble(target))
            needs = (ENSEMBLE,)
            scores = (target / "evaluation" / "scores.json",)
            steps.append(Step(EVALUATE, ("evaluate", str(target)), target, needs, scores))
        if TUNE in tables:
            table = tables[TUNE]
            metric = ("--metric", table["metric"]) if "metric" in table else ()
            only = tuple(word for name in table.get("only", []) for word in ("--only", name))
            words = ("tune", str(target), *metric, *only, *APPLY[table.get("apply", "if shown")])
            before = (*needs, EVALUATE) if plan.members else needs  # which scores the decision as it was
            steps.append(Step(TUNE, words, target, before, (target / "tuning.json",)))
            needs = (*needs, TUNE)
        if PREDICT in tables:
            part = ("--set", f"predict.part={tables[PREDICT]['part']}") if "part" in tables[PREDICT] else ()
            first = next(iter(plan.members), cells[0].name)
            file = self.folder / "submission.csv"
            submits = any(spec.name == "submission" for spec in self.recipes[first].writer)
            out = ("--out", str(file)) if submits else ()
            words = ("predict", str(target), *part, *out)
            steps.append(Step(PREDICT, words, target, needs, (file,) if submits else ()))
        return steps

    def _ensemble(self, target: Path) -> Step:
        plan, table = self.plan, self.plan.tables.get("ensemble", {})
        paths = [str(self.folder / name) for name in plan.members]
        words = ["ensemble", *paths, "--out", str(target)]
        if table.get("greedy"):
            words += ["--greedy", *(["--rounds", str(table["rounds"])] if "rounds" in table else [])]
        else:
            words += ["--weights", ",".join(f"{weight:.9g}" for weight in plan.members.values())]
        if plan.gate:
            words += ["--gate", str(self.folder / plan.gate)]
            pixels = plan.tables["gate"].get("pixels", 0)
            by_class = isinstance(pixels, dict)
            text = ",".join(f"{name}={number}" for name, number in pixels.items()) if by_class else str(pixels)
            words += ["--gate-pixels", text]
        needs = (*plan.members, *((plan.gate,) if plan.gate else ()))
        return Step(ENSEMBLE, tuple(words), target, needs, (target / "ensemble.json",))

    def cell(self, name: str) -> Cell:
        """The cell of that name; of a step after the runs, one without a trial."""
        return next((cell for cell in self.plan.cells if cell.name == name), Cell(name, "", self.folder, (), {}))

    def score_of(self, name: str) -> float | None:
        """The score of a trial that the search looks for; None if it is undefined."""
        assert self.goal is not None  # there are no trials without
        scores = read_scores(self.folder / name / "evaluation") or {}
        score: float | None = scores.get("scores", {}).get(self.goal.metric)
        return score

    # --- where a step is ----------------------------------------------------------------------------------------------

    def states(self) -> dict[str, State]:
        """Of every step, in order."""
        found: dict[str, State] = {}
        for step in self.steps:
            waits = [name for name in step.needs if found[name].word != "done"]
            state = self._run_state(step) if step.run else self._step_state(step, waits)
            found[step.name] = state
        return found

    def _run_state(self, step: Step) -> State:
        if is_locked(step.folder):
            return State("running", *self._progress(step))
        ended = self.record.get(step.name)
        if all(file.is_file() for file in step.makes):
            return self._settled(step, ended, self._read_finished)
        detail, _, share = self._progress(step)
        if ended is not None and ended.pruned:
            return replace(self._settled(step, ended, self._read_pruned), done=share)
        if ended is not None and ended.code:
            return State("failed", ended.cause, None, share)
        if (step.folder / "recipe.toml").is_file():
            return State("interrupted", detail, None, share)
        return State("missing")

    def run_is_done(self, step: Step) -> bool:
        """Whether a step is a run that is finished, as its folder shows."""
        return bool(step.run) and all(file.is_file() for file in step.makes) and not is_locked(step.folder)

    def _settled(self, step: Step, ended: Ended | None, read: Callable[[Step, Ended | None], State]) -> State:
        """Of a run that is finished or pruned; read again only if its files have changed."""
        files = [step.folder / name for name in ("recipe.toml", "decision.json", "evaluation/scores.json")]
        seen = (ended, *(file.stat().st_mtime_ns if file.is_file() else 0 for file in files))
        if step.name not in self._seen or self._seen[step.name][0] != seen:
            self._seen[step.name] = (seen, read(step, ended))
        return self._seen[step.name][1]

    def _read_finished(self, step: Step, ended: Ended | None) -> State:
        try:
            scores = read_scores(step.folder / "evaluation")
            changed = self._changed(step)
        except RunError as error:
            return State("failed", str(error))
        if changed is not None:
            return changed
        content: Mapping[str, Any] = scores or {}
        seconds = content.get("training", {}).get("seconds")
        took = ended.seconds if ended is not None and ended.code == 0 and ended.seconds else seconds
        monitored = content.get("scores", {}).get(self.recipes[step.name].monitor)
        return State("done", "", took, 1.0, monitored)

    def _read_pruned(self, step: Step, ended: Ended | None) -> State:
        changed = None
        with suppress(GisegError):  # what is damaged here is not needed any more
            changed = self._changed(step)
        assert ended is not None  # it says that the run is pruned
        return changed or State("pruned", ended.pruned, ended.seconds)

    def _changed(self, step: Step) -> State | None:
        """That a run was made with other settings than the plan has now; None if it was not, or nothing tells."""
        if not (step.folder / "recipe.toml").is_file():
            return None
        found = changes(RunDir.open(step.folder), self.recipes[step.name], self.registries)
        differing = [item for item in found if not is_root(item.key)]  # the data may have moved
        if not differing:
            return None
        remedy = f"the plan changed since; remove {step.folder}, or give the run another name"
        return State("changed", f"{listed(differing, shown=3)} ({remedy})")

    def _progress(self, step: Step) -> tuple[str, None, float]:
        """How many epochs of a run are done, in words and as a share."""
        recipe, run = self.recipes[step.name], RunDir(step.folder)
        several = recipe.split.several
        runs = [RunDir(fold_folder(run, fold)) for fold in recipe.split.chosen] if several else [run]
        done, every = 0, len(runs) * recipe.train.epochs
        for one in runs:
            try:
                done += len(one.metrics())
            except RunError:  # damaged; the run itself says how
                continue
        return f"{done} of {every} epochs", None, done / every

    def _step_state(self, step: Step, waits: list[str]) -> State:
        if is_locked(step.folder):
            return State("running")
        if waits:
            return State("waiting", f"for {', '.join(waits)}")
        ended = self.record.get(step.name)
        there = all(file.is_file() for file in step.makes)
        if ended is None or ended.of != self.made_of(step):
            if step.name == ENSEMBLE and there:
                return State("changed", f"its runs or its settings are others now; remove {step.folder}")
            return State("missing")
        if ended.code == 0 and there:
            return State("done", _tuned(step), ended.seconds, 1.0, self._score(step))
        return State("failed", ended.cause) if ended.code else State("missing")

    def _score(self, step: Step) -> float | None:
        """Of the ensemble, as its first member monitors it."""
        if step.name != EVALUATE:
            return None
        scores = read_scores(step.folder / "evaluation") or {}
        score: float | None = scores.get("scores", {}).get(self.recipes[next(iter(self.plan.members))].monitor)
        return score

    def made_of(self, step: Step) -> str:
        """Stands for the command and everything that goes into it."""
        inside = [word.replace(str(self.folder), ".") for word in step.words]  # the folder may be moved
        parts: list[object] = [inside]
        if step.run:
            return fingerprint(*parts)
        if step.name == ENSEMBLE:
            for name in step.needs:
                scores = read_scores(self.folder / name / "evaluation") or {}
                parts.append([scores.get("weights"), [one["weights"] for one in scores.get("networks", [])]])
                parts.append(self._text(self.folder / name / "decision.json"))
        else:
            parts.append(self._text(step.folder / "ensemble.json"))
            scores = read_scores(step.folder / "evaluation") or {} if not self.plan.members else {}
            parts.append(scores.get("weights"))
        if step.name == PREDICT:
            parts.append(self._text(step.folder / "decision.json"))
        return fingerprint(*parts)

    @staticmethod
    def _text(file: Path) -> str:
        return json.dumps(file.read_text(encoding="utf-8")) if file.is_file() else ""

    def clear(self, step: Step) -> None:
        """Remove an ensemble that was left half made when its step was killed; it is made again."""
        ended = self.record.get(step.name)
        if step.name == ENSEMBLE and ended is not None and ended.code != 0 and ended.of == self.made_of(step):
            shutil.rmtree(step.folder, ignore_errors=True)


def _tuned(step: Step) -> str:
    """What tuning found, in a few words."""
    if step.name != TUNE:
        return ""
    found = read_table(step.folder / "tuning.json")
    gain = found["gain"]
    low, high = gain["low"], gain["high"]
    interval = "no interval" if low is None else f"95 % interval {low:+.4f} to {high:+.4f}"
    applied = "applied" if found["applied"] else "not applied"
    return f"{found['metric']} {gain['estimate']:+.4f} ({interval}), {applied}"
