"""What a plan has found: ``ranking.csv`` and ``ranking.html`` in its folder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from gisegkit.data.atomic_files import write_text
from gisegkit.errors import GisegError, count, listed
from gisegkit.registry.annotations import show
from gisegkit.report.curves import curves
from gisegkit.report.ranking import NONE, render_ranking
from gisegkit.workflows.plan_steps import EVALUATE, Work
from gisegkit.workflows.ranking import Ranking, rank
from gisegkit.workflows.ranking_table import as_csv, as_rows
from gisegkit.workflows.steps import FINISHED, State

CSV, PAGE = "ranking.csv", "ranking.html"


def rank_plan(work: Work, states: Mapping[str, State]) -> Ranking | str:
    """The ranking of the runs that are done, and of the ensemble; else why there is none."""
    settings, planned = evaluated_settings(work, states)
    if not settings:
        return NONE
    try:
        found = rank(settings, work.registries, planned=planned, metric=_ranked_by(work))
    except GisegError as error:
        return str(error)
    return replace(found, notes=(*_without_folds(work, states, settings), *found.notes))


def _without_folds(work: Work, states: Mapping[str, State], settings: Collection[str]) -> Iterator[str]:
    """Where each fold has a cell: the settings of which some are not done, so that other cases count."""
    for name in settings:
        cells = [cell for cell in work.plan.cells if cell.setting == name]
        gone = [cell.name for cell in cells if states[cell.name].word != "done"]
        seeds = {work.recipes[cell.name].seed for cell in cells}
        if gone and len(cells) > len(seeds):
            what = f"{listed(gone, shown=3)} {'are' if len(gone) > 1 else 'is'} not done"
            yield f"The score of {name} is of fewer cases than planned: {what}."


def _ranked_by(work: Work) -> str | None:
    """The metric that a search looks for; None without one, and where it is a part of a metric."""
    return None if work.goal is None or "/" in work.goal.metric else work.goal.metric


def evaluated_settings(work: Work, states: Mapping[str, State]) -> tuple[dict[str, list[Path]], Mapping[str, int]]:
    """The folders that can be ranked, by setting, and how many seeds each setting is to have."""
    settings: dict[str, list[Path]] = {}
    for cell in work.plan.cells:
        if states[cell.name].word == "done":
            settings.setdefault(cell.setting, []).append(work.folder / cell.name)
    seeds = {(cell.setting, work.recipes[cell.name].seed) for cell in work.plan.cells}
    planned = Counter(setting for setting, _ in seeds)
    for step in work.steps:
        if step.name == EVALUATE and states[step.name].word == "done":
            settings[step.folder.name] = [step.folder]
            planned[step.folder.name] = 1
    return settings, planned


def search_lines(work: Work, states: Mapping[str, State]) -> list[str]:
    """How many trials ended how, and the best one with its values; empty without a search."""
    goal = work.goal
    if goal is None:
        return []
    cells = [cell for cell in work.plan.cells if cell.trial is not None]
    numbers = Counter(states[cell.name].word for cell in cells) + Counter({"refused": len(work.refused)})
    ends = ", ".join(f"{number} {word}" for word, number in numbers.items())
    lines = [f"search for {goal.metric}: {count(len(work.trials), 'trial')}: {ends or 'none yet'}"]
    scores = {cell.name: work.score_of(cell.name) for cell in cells if states[cell.name].word == "done"}
    known = {name: score for name, score in scores.items() if score is not None}
    if known:
        best = (max if goal.maximize else min)(known, key=lambda name: known[name])
        trial = next(trial for trial in work.trials if trial.number == work.cell(best).trial)
        values = ", ".join(f"{key} = {show(value)}" for key, value in trial.values.items())
        lines.append(f"best: {best}, {goal.metric} {known[best]:.4f}: {values}")
    return lines


def _search_section(work: Work, states: Mapping[str, State], importance: Mapping[str, float]) -> dict[str, Any] | None:
    """What the page shows of the search."""
    goal = work.goal
    if goal is None:
        return None
    rows, history, course = [], [], []
    best: float | None = None
    for trial in work.trials:
        cell = next((cell for cell in work.plan.cells if cell.trial == trial.number), None)
        state = State("refused", work.refused.get(trial.number, "")) if cell is None else states[cell.name]
        score = work.score_of(cell.name) if cell is not None and state.word == "done" else None
        if score is not None:
            best = score if best is None else (max if goal.maximize else min)(best, score)
        history.append((trial.number, score))
        course.append((trial.number, best))
        rows.append(
            {
                "name": f"{trial.number}" if cell is None else cell.name,
                "state": state.word,
                "score": score,
                "settings": [show(trial.values.get(key)) for key in goal.space],
                "detail": state.detail,
            }
        )
    lines = {goal.metric: history, "best so far": course}
    ends = (0, max(1, len(work.trials) - 1))
    charts = {"history": curves(lines, label="score of each trial", epochs=ends, axis="trial")} if rows else {}
    return {
        "about": search_lines(work, states),
        "charts": charts,
        "importance": importance,
        "axes": list(goal.space),
        "trials": rows,
    }


def write_page(
    work: Work, states: Mapping[str, State], found: Ranking | str, importance: Mapping[str, float] | None = None
) -> Path:
    """Write the page, and the table if there is a ranking.

    Args:
        importance: of each key of the search.

    Returns:
        The page.

    Raises:
        RunError: if they cannot be written.
    """
    page, numbers = work.folder / PAGE, Counter(state.word for state in states.values())
    steps = ", ".join(f"{number} {word}" for word, number in numbers.items())
    about = [f"plan {work.plan.source}", count(len(work.plan.cells), "run"), f"steps: {steps}"]
    undone = [(name, state.word, state.detail) for name, state in states.items() if state.word not in FINISHED]
    search = _search_section(work, states, importance or {})
    if isinstance(found, str):
        text = render_ranking(
            name=work.plan.name,
            demo=work.demo,
            about=about,
            rows=[],
            seeds=[],
            nothing=found,
            undone=undone,
            search=search,
        )
    else:
        write_text(work.folder / CSV, as_csv(found))
        text = render_ranking(
            name=work.plan.name,
            demo=work.demo,
            about=about,
            rows=as_rows(found),
            seeds=[row.seeds for row in found.rows],
            first=found.first,
            metric=found.metric,
            convention=found.convention,
            search=search,
            undone=undone,
            notes=found.notes,
        )
    write_text(page, text)
    return page
