"""What a plan has found: ``ranking.csv`` and ``ranking.html`` in its folder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from gisegkit.data.atomic_files import write_text
from gisegkit.errors import GisegError, count
from gisegkit.report.ranking import NONE, render_ranking
from gisegkit.workflows.plan_steps import EVALUATE, State, Work
from gisegkit.workflows.ranking import Ranking, as_csv, as_rows, rank

CSV, PAGE = "ranking.csv", "ranking.html"


def rank_plan(work: Work, states: Mapping[str, State]) -> Ranking | str:
    """The ranking of the runs that are done, and of the ensemble; else why there is none."""
    settings, planned = evaluated_settings(work, states)
    if not settings:
        return NONE
    try:
        return rank(settings, work.registries, planned=planned)
    except GisegError as error:
        return str(error)


def evaluated_settings(work: Work, states: Mapping[str, State]) -> tuple[dict[str, list[Path]], Mapping[str, int]]:
    """The folders that can be ranked, by setting, and how many runs each setting is to have."""
    settings: dict[str, list[Path]] = {}
    for cell in work.plan.cells:
        if states[cell.name].word == "done":
            settings.setdefault(cell.setting, []).append(work.folder / cell.name)
    planned = Counter(cell.setting for cell in work.plan.cells)
    for step in work.steps:
        if step.name == EVALUATE and states[step.name].word == "done":
            settings[step.folder.name] = [step.folder]
            planned[step.folder.name] = 1
    return settings, planned


def write_page(work: Work, states: Mapping[str, State], found: Ranking | str) -> Path:
    """Write the page, and the table if there is a ranking.

    Returns:
        The page.

    Raises:
        RunError: if they cannot be written.
    """
    page, numbers = work.folder / PAGE, Counter(state.word for state in states.values())
    steps = ", ".join(f"{number} {word}" for word, number in numbers.items())
    about = [f"plan {work.plan.source}", count(len(work.plan.cells), "run"), f"steps: {steps}"]
    undone = [(name, state.word, state.detail) for name, state in states.items() if state.word != "done"]
    if isinstance(found, str):
        text = render_ranking(
            name=work.plan.name, demo=work.demo, about=about, rows=[], seeds=[], nothing=found, undone=undone
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
            undone=undone,
            notes=found.notes,
        )
    write_text(page, text)
    return page
