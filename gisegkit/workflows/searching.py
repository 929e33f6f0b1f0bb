"""The search of a plan: each trial is a cell, whose values the search gives and whose score it is told.

A trial is written into ``trials.json`` before its run begins, and how it ended is read from its run folder and from the
record of the plan. So whatever is killed, every trial is run once and none is lost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from gisegkit.build.dataset import build_component
from gisegkit.build.demo import load_demo
from gisegkit.errors import Mistake, RecipeError, RunError, did_you_mean
from gisegkit.recipe.load import load_recipe
from gisegkit.recipe.plan import Cell, Plan
from gisegkit.recipe.plan_keys import replaced, twice
from gisegkit.recipe.sections import ComponentSpec, Recipe
from gisegkit.recipe.space import ends_of, space_of
from gisegkit.recipe.text import Document, value_text
from gisegkit.registry.kinds import Registries
from gisegkit.runs.folder import RunDir
from gisegkit.runs.members import fold_folder
from gisegkit.runs.outputs import read_scores
from gisegkit.runs.scored import case_sums, combiner, read_run
from gisegkit.runs.trials_record import read_aim, read_trials, write_trials
from gisegkit.types import Axis, Course, Hunt, Search, Trial, TrialEnd
from gisegkit.workflows.plan_steps import Work
from gisegkit.workflows.steps import Goal, State, Step

ENDS: Mapping[str, TrialEnd] = {"done": "done", "pruned": "pruned", "failed": "failed"}
"""States of a step that end a trial."""


def goal_of(plan: Plan, document: Document, registries: Registries, *, demo: bool) -> tuple[Goal | None, list[Mistake]]:
    """What the search of a plan looks for, and every mistake in it; each axis is checked against the recipe.

    None without a search, or if the mistakes leave nothing to search.
    """
    spec, base = plan.parts.get("search"), plan.searched
    if spec is None or base is None:
        return None, []
    table = spec.common.get("space", {})
    axes, places, mistakes = space_of(document, table)
    varied = [text.partition("=")[0] for text in base.sets]
    for key, later in replaced([*dict.fromkeys(varied), *axes]):
        if later in axes and key != later:
            found = f"{later} replaces {key}, which is given as well"
            mistakes.append(Mistake(places[later], found, "leave one of the two out"))
    for key in axes.keys() & set(varied):
        mistakes.append(Mistake(places[key], f"{key} is searched and set", "keep one of the two"))
    for key in twice(table):
        mistakes.append(Mistake(document.place(("search", "space")), f"{key} is there twice", "keep one of the two"))
    try:
        recipe = load_cell(base, registries, demo=demo)
    except RecipeError:
        return None, mistakes  # the recipe's own mistakes are told by whoever checks the cells
    for key, axis in axes.items():
        mistakes += _refused(base, key, axis, places[key], registries, demo=demo)
    metric = spec.common.get("metric") or recipe.monitor
    scored = {one.label: one for one in recipe.metric}
    label, _, part = metric.partition("/")
    if label not in scored:
        remedy = " ".join(filter(None, [did_you_mean(label, scored), f"Valid: {', '.join(scored)}."]))
        return None, [*mistakes, Mistake(document.place(("search", "metric")), f"{metric!r} is no metric", remedy)]
    trials = spec.common.get("trials")
    maximize = _maximize(spec, scored[label], part, registries)
    epochs = max([recipe.train.epochs, *(int(end) for end in _ends(axes, "train.epochs"))])
    return Goal(axes, metric, maximize, epochs, trials, base.run), mistakes


def _ends(axes: Mapping[str, Axis], key: str) -> tuple[Any, ...]:
    return ends_of(axes[key]) if key in axes else ()


def _maximize(spec: ComponentSpec, metric: ComponentSpec, part: str, registries: Registries) -> bool:
    direction = spec.of_kind("direction")
    if direction != "auto":
        return bool(direction == "maximize")
    made = build_component(metric, registries)
    return bool(getattr(made, "part_directions", {}).get(part, made.higher_is_better))


def _refused(base: Cell, key: str, axis: Axis, place: str, registries: Registries, *, demo: bool) -> Iterable[Mistake]:
    """What the recipe says against the ends of an axis, or its choices."""
    for value in ends_of(axis):
        text = f"{key}={value_text(value)}"
        try:
            load_cell(replace(base, sets=(*base.sets, text)), registries, demo=demo)
        except RecipeError as error:
            yield from (Mistake(place, mistake.found, mistake.remedy) for mistake in error.mistakes)


def other_aim(goal: Goal, folder: Path, document: Document) -> list[Mistake]:
    """What the trials in a folder looked for that the plan does not look for now: their scores cannot be mixed."""
    trials, before, now = read_trials(folder), read_aim(folder), goal.aim
    if trials and not before:  # of an earlier version, which did not write it
        before = now | {key: "an axis" for key in trials[0].values if key not in now}
        before = {key: text for key, text in before.items() if key not in goal.space or key in trials[0].values}
    if not trials or before == now:
        return []
    changed = [
        f"{key} was {before.get(key, 'not there')} and is {now.get(key, 'not there')}"
        for key in dict.fromkeys([*before, *now])
        if before.get(key) != now.get(key)
    ]
    found = f"the {len(trials)} trials in {folder} are of another search: {'; '.join(changed)}"
    remedy = "give this search a folder of its own with --out, or write the plan as it was"
    return [Mistake(document.place(("search",)), found, remedy)]


def load_cell(cell: Cell, registries: Registries, *, demo: bool) -> Recipe:
    """The recipe of a cell, as it will be run."""
    if demo:
        return load_demo(cell.recipe, registries, cell.sets)[0]
    return load_recipe(cell.recipe, registries=registries, overrides=cell.sets)


def trial_cell(base: Cell, trial: Trial) -> Cell:
    """The run of a trial."""
    texts = {f"{key}={value_text(value)}": f"trial {trial.number}" for key, value in trial.values.items()}
    name = f"{base.run}-trial{trial.number:03d}"
    sets = (*base.sets, *texts)
    return replace(base, name=name, setting=name, sets=sets, places={**base.places, **texts}, trial=trial.number)


class Searcher:
    """Asks a search for trials, and tells it what became of them.

    Args:
        work: its trials so far are known.
        say: is told of trials that are refused.

    Raises:
        RecipeError: if a search without an end has no ``trials``.
    """

    def __init__(self, work: Work, goal: Goal, *, say: Callable[[str], None]) -> None:
        self.work, self.goal, self.say = work, goal, say
        spec = work.plan.parts["search"]
        hunt = Hunt(goal.space, goal.maximize, goal.epochs, str(work.folder.resolve()), tuple(work.trials))
        self.search: Search = build_component(spec, work.registries, hunt=hunt)
        if goal.trials is None and self.search.size is None:
            remedy = "write trials = 20, say, below [search]"
            raise RecipeError(
                work.plan.source, [Mistake(spec.place, f"search {spec.name!r} has no end of its own", remedy)]
            )
        self.exhausted = False
        self._cases: dict[str, Mapping[str, float]] = {}
        states = work.states()
        for number in work.refused:
            self.search.tell(number, None, "failed")
        for cell in work.plan.cells:
            if cell.trial is not None:
                self.tell(cell.name, states[cell.name])

    @property
    def limit(self) -> int:
        """The most trials that there will be."""
        numbers = [number for number in (self.goal.trials, self.search.size) if number is not None]
        return min(numbers)

    def about(self) -> str:
        """What the user should know before the first trial; empty if nothing."""
        size = self.search.size
        if size is not None and self.goal.trials is not None and self.goal.trials < size:
            return f"search: only {self.goal.trials} of the {size} trials of the search are run, because trials says so"
        return ""

    def ask(self) -> Step | None:
        """The step of a new trial; None if there are no more."""
        work = self.work
        assert work.plan.searched is not None  # open_plan gives a goal only with it
        while not self.exhausted and len(work.trials) < self.limit:
            trial = self.search.ask()
            if trial is None:
                self.exhausted = True
                break
            work.trials.append(trial)
            write_trials(work.folder, work.trials, self.goal.aim)
            cell = trial_cell(work.plan.searched, trial)
            try:
                return work.add(cell, load_cell(cell, work.registries, demo=work.demo))
            except RecipeError as error:
                work.refused[trial.number] = error.mistakes[0].found
                self.say(f"trial {trial.number} is refused: {error.mistakes[0].found}; it counts as failed")
                self.search.tell(trial.number, None, "failed")
        return None

    def tell(self, name: str, state: State) -> None:
        """Tell the search how a step ended, if it is a trial."""
        cell = self.work.cell(name)
        if cell.trial is None or state.word not in ENDS:
            return
        score = self.work.score_of(name) if state.word == "done" else None
        end: TrialEnd = ENDS[state.word] if score is not None or state.word != "done" else "failed"
        self.search.tell(cell.trial, score, end)

    def to_prune(self, names: Iterable[str]) -> dict[str, str]:
        """Which of the trials that run are to be ended, and why."""
        found = {}
        for name in names:
            cell = self.work.cell(name)
            if cell.trial is not None and (reason := self.search.prune(cell.trial, self.course(name))):
                found[name] = reason
        return found

    def course(self, name: str) -> Course:
        """How far a trial is; what is being written just now counts the next time."""
        recipe, run = self.work.recipes[name], RunDir(self.work.folder / name)
        several = recipe.split.several
        runs = [RunDir(fold_folder(run, fold)) for fold in recipe.split.chosen] if several else [run]
        folds, cases = [], []
        for one in runs:
            try:
                lines = one.metrics()
            except RunError:
                break
            if not lines:
                break
            scores = [(int(line["epoch"]), line.get("scores", {}).get(self.goal.metric)) for line in lines]
            folds.append(tuple((epoch, float(score)) for epoch, score in scores if score is not None))
            if several and (found := self._by_case(one)):
                cases.append(found)
        return Course(tuple(folds), tuple(cases))

    def _by_case(self, run: RunDir) -> Mapping[str, float]:
        """The score of each case of a fold that is evaluated; empty if it is not, or the metric has only parts."""
        key = str(run.path)
        if key in self._cases or "/" in self.goal.metric:
            return self._cases.get(key, {})
        try:
            if read_scores(run.evaluation) is None:
                return {}
            read = read_run(run.path, key)
            sums = case_sums(read, self.goal.metric, combiner(read, self.goal.metric, self.work.registries))
        except RunError:
            return {}
        names = sorted(read.slices["case"].unique())
        scores = sums.scores(np.eye(sums.cases))
        self._cases[key] = {name: float(score) for name, score in zip(names, scores, strict=True) if score == score}
        return self._cases[key]

    def importance(self) -> Mapping[str, float]:
        """How much each key matters for the score, as shares of 1, if the search can tell."""
        tell = getattr(self.search, "importance", None)
        return {} if tell is None else dict(tell())
