"""The search of a plan: each trial is a cell, whose values the search gives and whose score it is told.

A trial is written into ``trials.json`` before its run begins, and how it ended is read from its run folder and from the
record of the plan. So whatever is killed, every trial is run once and none is lost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

import numpy as np

from gisegkit.build.dataset import build_component
from gisegkit.errors import Mistake, RecipeError, RunError
from gisegkit.recipe.plan import Cell
from gisegkit.recipe.text import value_text
from gisegkit.registry.annotations import show
from gisegkit.runs.folder import RunDir
from gisegkit.runs.members import fold_folder
from gisegkit.runs.outputs import read_scores
from gisegkit.runs.scored import read_run, score_sums
from gisegkit.runs.trials_record import write_trials
from gisegkit.types import Course, Hunt, Search, Trial, TrialEnd
from gisegkit.workflows.goal import load_cell
from gisegkit.workflows.plan_steps import Work
from gisegkit.workflows.steps import Goal, State, Step

ENDS: Mapping[str, TrialEnd] = {"done": "done", "pruned": "pruned", "failed": "failed"}
"""States of a step that end a trial."""


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
        folder, trials = str(work.folder.resolve()), tuple(work.trials)
        hunt = Hunt(goal.space, goal.maximize, goal.epochs, folder, trials, goal.folds)
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
        """Tell the search how a step ended, if it is a trial.

        Raises:
            RunError: if it was not scored by what is searched for, so that no trial will be.
        """
        cell = self.work.cell(name)
        if cell.trial is None or state.word not in ENDS:
            return
        score = self.work.score_of(name) if state.word == "done" else None
        if score is None and state.word == "done":
            self._refuse_unscored(name)
        end: TrialEnd = ENDS[state.word] if score is not None or state.word != "done" else "failed"
        self.search.tell(cell.trial, score, end)

    def _refuse_unscored(self, name: str) -> None:
        """See that a trial without the score that is searched for has it undefined, and does not lack it."""
        there = (read_scores(self.work.folder / name / "evaluation") or {}).get("scores", {})
        if self.goal.metric not in there:
            raise RunError(
                f"{self.work.plan.source}: [search] metric = {show(self.goal.metric)}, and {name} has no such score; "
                f"there are: {', '.join(there)}. Write one of them, and give the search another --out"
            )

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
        """The score of each case of a fold that is evaluated; empty if it is not."""
        key = str(run.path)
        if key in self._cases:
            return self._cases[key]
        try:
            if read_scores(run.evaluation) is None:
                return {}
            read = read_run(run.path, key)
            sums = score_sums(read, self.goal.metric, self.work.registries)
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
