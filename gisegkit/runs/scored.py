"""Evaluated run folders as they are compared: their scores case by case, and whether two can be compared at all."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gisegkit.components.metrics import PREFERRED
from gisegkit.engine.bootstrap import CaseSums
from gisegkit.engine.scoring import ALL, column_of
from gisegkit.errors import RunError, did_you_mean
from gisegkit.registry.kinds import KINDS, Registries
from gisegkit.runs.decision_file import NAME, StoredDecision
from gisegkit.runs.folder import RunDir
from gisegkit.runs.outputs import TEXT_COLUMNS, read_scores, read_table

Combine = Callable[[Mapping[str, float]], float]


@dataclass(frozen=True)
class Evaluated:
    """What an evaluated run's folder says.

    Attributes:
        label: the folder's name, or its path where another run's folder has that name too.
        content: of ``scores.json``.
        slices, scans: the tables by slice and by scan and class; text but for the metrics' columns.
        recipe: the filled recipe that the evaluation used.
        seconds: of training; peak_memory: bytes, None if unknown.
        device: in words.
        seen: scored slices that the run also trained on.
        decides_otherwise: keys in which the run's ``decision.json`` has become another than the one that was scored.
    """

    path: Path
    label: str
    content: Mapping[str, Any]
    slices: pd.DataFrame
    scans: pd.DataFrame
    recipe: Mapping[str, Any]
    seconds: float | None
    peak_memory: int | None
    device: str
    seen: int
    decides_otherwise: tuple[str, ...] = ()

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the masks."""
        return tuple(self.slices["class"].unique())


def read_run(path: Path, label: str) -> Evaluated:
    """An evaluated run, or one evaluation of it.

    Args:
        path: a run folder, whose own evaluation is read, or the folder of another evaluation.

    Raises:
        RunError: if there is no run, or its evaluation is missing, damaged or of an older gisegkit.
    """
    folder = path if (path / "scores.json").is_file() else RunDir.open(path).evaluation
    content = read_scores(folder)
    again = f"run: giseg evaluate {path}"
    if content is None:
        others = sorted(str(file.parent) for file in path.glob("evaluation-*/scores.json"))
        name = f"; or name one of its other evaluations: {', '.join(others)}" if others else ""
        raise RunError(f"{path} has no evaluation/scores.json, so there is nothing to compare yet; {again}{name}")
    tables = [_table(folder / f"{name}.csv", again) for name in ("by_slice", "by_scan")]
    training = content["training"]
    recipe = used_recipe(folder / "recipe.toml", again)
    return Evaluated(
        path=path,
        label=label,
        content=content,
        slices=tables[0],
        scans=tables[1][tables[1]["class"] != ALL],
        recipe=recipe,
        seconds=training.get("seconds"),
        peak_memory=training.get("peak_memory"),
        device=str(training.get("device", "")),
        seen=int(content.get("trained_on", 0)),
        decides_otherwise=decides_otherwise(path, recipe),
    )


def decides_otherwise(path: Path, used: Mapping[str, Any]) -> tuple[str, ...]:
    """Keys in which a run's ``decision.json`` is another than the recipe of an evaluation, as after ``giseg tune``.

    Args:
        path: of a run folder; another one, such as that of one evaluation, has no such file.
        used: the recipe of the evaluation.

    Raises:
        RunError: if the file is damaged.
    """
    file = path / NAME
    return StoredDecision.read(file).differs_in(used) if file.is_file() else ()


def scored_before(path: Path, keys: Sequence[str]) -> str:
    """In words: that the scores of a run are older than its decision."""
    return (
        f"was scored before its decision.json became another ({', '.join(keys)}); giseg evaluate {path} scores the "
        "new one, in a folder of its own"
    )


def _table(file: Path, again: str) -> pd.DataFrame:
    if not file.is_file():
        raise RunError(f"{file.parent} has no {file.name}; {again}")
    table = read_table(file, remedy=f": {again}")
    missing = [column for column in TEXT_COLUMNS if column not in table.columns and column != "id"]
    if missing or table.empty:
        what = f"has no column {', '.join(missing)}" if missing else "has no row"
        raise RunError(f"{file} {what}; it is damaged, or of an older gisegkit; {again}")
    return table


def used_recipe(file: Path, again: str) -> Mapping[str, Any]:
    """The filled recipe that an evaluation used.

    Args:
        file: ``recipe.toml`` beside its ``scores.json``.
        again: what makes it again, in words.

    Raises:
        RunError: if it cannot be read.
    """
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(f"{file} cannot be read ({error}), so what was evaluated is not known; {again}") from error


def case_sums(
    run: Evaluated,
    metric: str,
    combine: Callable[[Mapping[str, float]], float],
    scans: Collection[str] | None = None,
) -> CaseSums:
    """A run's score, case by case in the order of their names.

    Args:
        scans: the scans to take; default all.
    """
    chosen = run.slices if scans is None else run.slices[run.slices["scan"].isin(scans)]
    cases = sorted(chosen["case"].unique())
    parts = run.content["parts"][metric]
    sums, counts = [], []
    for part in parts:
        column = column_of(metric, part, parts)
        table = run.slices if column in run.slices.columns else run.scans
        table = table if scans is None else table[table["scan"].isin(scans)]
        groups = table.groupby("case")[column]
        sums.append(groups.sum().reindex(cases, fill_value=0.0).to_numpy(dtype=np.float64))
        counts.append(groups.count().reindex(cases, fill_value=0).to_numpy(dtype=np.float64))
    return CaseSums(tuple(parts), np.array(sums), np.array(counts), combine)


def score_sums(run: Evaluated, score: str, registries: Registries) -> CaseSums:
    """A run's score, case by case: of a metric, ``dice``, of a class of it, ``dice/liver``, or of a part of it."""
    metric, _, part = score.partition("/")
    combine: Combine = combiner(run, metric, registries)
    if part in run.content["parts"][metric]:
        combine = itemgetter(part)
    elif part:
        slices, scans = (table[table["class"] == part] for table in (run.slices, run.scans))
        run = replace(run, slices=slices, scans=scans)
    return case_sums(run, metric, combine)


def check_sums(run: Evaluated, metric: str, sums: CaseSums) -> None:
    """The tables give the score that ``scores.json`` has.

    Raises:
        RunError: if they do not.
    """
    stored, found = number(run.content["scores"][metric]), sums.score()
    if not (math.isclose(stored, found, abs_tol=1e-9) or (math.isnan(stored) and math.isnan(found))):
        raise RunError(
            f"{run.path}: evaluation/scores.json says {metric} = {stored}, its tables say {found}; they are not of one "
            f"evaluation, or the metric has changed; run: giseg evaluate {run.path}"
        )


def number(value: float | None) -> float:
    """A number of ``scores.json``, where undefined ones are null."""
    return math.nan if value is None else float(value)


# --- what can be compared -------------------------------------------------------------------------------------------


def shared_metric(runs: Sequence[Evaluated], wanted: str | None) -> str:
    """The metric to compare by.

    Raises:
        RunError: if a run lacks it.
    """
    shared = [
        name for name in runs[0].content["conventions"] if all(name in run.content["conventions"] for run in runs)
    ]
    if wanted is None:
        if not shared:
            had = "; ".join(f"{run.label}: {', '.join(run.content['conventions'])}" for run in runs)
            raise RunError(f"the runs have no metric in common ({had}); evaluate them with the same [[metric]] tables")
        return PREFERRED[0] if PREFERRED[0] in shared else shared[0]
    if wanted not in shared:
        hint = did_you_mean(wanted, shared)
        raise RunError(f"no metric {wanted!r} that every run has; there are: {', '.join(shared)}; {hint}".rstrip("; "))
    return wanted


def combiner(run: Evaluated, metric: str, registries: Registries) -> Combine:
    """What makes a score of the means of the metric's parts.

    Raises:
        ComponentError: if the metric's plugin is not installed.
    """
    specs = [dict(spec) for spec in run.recipe.get("metric", []) if (spec.get("as") or spec["name"]) == metric]
    found = specs[0] if specs else {"name": metric}
    params = {key: value for key, value in found.items() if key != "name" and key not in KINDS["metric"].keys}
    combine: Combine = registries["metric"].get(found["name"]).load()(**params).combine
    return combine


def check_comparable(first: Evaluated, other: Evaluated, metric: str) -> None:
    """Both runs were scored alike.

    Raises:
        RunError: if one is a demo and the other is not, or conventions or classes differ; says what to do.
    """
    pair = f"{first.label} and {other.label} cannot be compared: "
    if first.content["demo"] != other.content["demo"]:
        demo = first if first.content["demo"] else other
        raise RunError(f"{pair}{demo.label} is a demo on phantoms, the other run is not")
    conventions = [run.content["conventions"][metric] for run in (first, other)]
    if conventions[0] != conventions[1]:
        raise RunError(
            f"{pair}{metric} has another convention in each:\n  {first.label}: {conventions[0]}\n  {other.label}: "
            f"{conventions[1]}\nevaluate one as the other: giseg evaluate {other.path} --set metric.0.KEY=VALUE"
        )
    if set(first.classes) != set(other.classes):
        raise RunError(
            f"{pair}the classes of {first.label} are {', '.join(first.classes)}, those of {other.label} "
            f"{', '.join(other.classes)}"
        )


def common_scans(first: Evaluated, other: Evaluated) -> set[str]:
    """The scans that both runs scored with the same slices.

    Raises:
        RunError: if a slice has another case or another truth in the other run: the data are not the same.
    """
    keys = ["scan", "id", "class"]
    both = first.slices.merge(other.slices, on=keys, suffixes=("", "_other"))
    different = both[(both["case"] != both["case_other"]) | (both["true_pixels"] != both["true_pixels_other"])]
    if len(different):
        row = different.iloc[0]
        raise RunError(
            f"{first.label} and {other.label} cannot be compared: they were scored on different data. In "
            f"{first.label}, slice {row['id']} is of case {row['case']} and has {row['true_pixels']:.0f} true pixels "
            f"of {row['class']}, in {other.label} it is of case {row['case_other']} and has "
            f"{row['true_pixels_other']:.0f}; evaluate both with the same data: giseg evaluate RUN --root DATA"
        )
    members, others = (dict(list(run.slices.groupby("scan")["id"].agg(frozenset).items())) for run in (first, other))
    return {str(scan) for scan, ids in members.items() if others.get(scan) == ids}
