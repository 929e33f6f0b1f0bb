"""``giseg tune``: a better decision for a finished run, chosen and scored on cases that its networks have not seen."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass

import numpy as np

from gisegkit.build.data import Rows
from gisegkit.build.ensemble import Ensemble
from gisegkit.build.experiment import Experiment
from gisegkit.build.folds import SHARED
from gisegkit.build.knobs import PRESENCE, THRESHOLD, Knobs
from gisegkit.data.spacing import spacing_at
from gisegkit.engine.bootstrap import FEWEST
from gisegkit.engine.decision import Decision
from gisegkit.engine.scoring import Scoreboard
from gisegkit.engine.threaded_map import thread_count
from gisegkit.engine.tuning import DecisionSearch, KeptScan, State, Tuned
from gisegkit.errors import DataError, count, did_you_mean
from gisegkit.recipe.sections import ComponentSpec
from gisegkit.registry.culprit import names_culprits
from gisegkit.runs.decision_file import StoredDecision
from gisegkit.runs.folder import RunDir
from gisegkit.runs.members import Member
from gisegkit.workflows.exclusive import in_run_folder
from gisegkit.workflows.identity import leave_out_as_before, part_of_run

NAME = "tuning.json"
"""What the last search of a run found, beside its ``decision.json``."""

GROUPS = 5
"""Into so many the cases of a run of one network are divided, to choose on four fifths and score on the others."""

RESAMPLES = 9999


@dataclass(frozen=True)
class Tuning:
    """What ``tune`` found and did.

    Attributes:
        metric: that was searched for.
        cases, slices: that were decided.
        found: states and gain.
        before, after: the score as it was, and as the other folds' choice gives it.
        changes: what the proposed decision changes, a line each.
        by_fold: what each fold's cases were decided with, likewise.
        applied: whether ``decision.json`` has the proposed decision now.
        why: why it was applied, or not.
    """

    metric: str
    cases: int
    slices: int
    found: Tuned
    before: float
    after: float
    changes: tuple[str, ...]
    by_fold: Mapping[str, tuple[str, ...]]
    applied: bool
    why: str


@names_culprits
@in_run_folder
def tune(
    run: RunDir,
    experiment: Experiment,
    *,
    metric: str | None = None,
    only: Sequence[str] = (),
    apply: bool | None = None,
    resamples: int = RESAMPLES,
) -> Tuning:
    """Search thresholds, presence and post-processing on the cases that a run's networks have not seen.

    The decision is searched on the cases of all folds but one and scored on the cases of that one, for each fold; this
    gives the gain and its interval. The decision that is written is searched on all cases.

    Args:
        experiment: of the run, of its folds, or of an ensemble.
        metric: to search for; default the one that the recipe monitors.
        only: numbers to search, such as ``threshold`` or ``min_area.pixels``; default all.
        apply: True writes the decision whatever its gain, False never does; by default it is written if the gain's
            interval is wholly above zero.
        resamples: of the bootstrap.

    Raises:
        RunError: if there are no slices that the networks have not seen, or probabilities cannot be read.
        DataError: if ``metric`` or ``only`` is unknown, a case is in several folds, or there is one case only.
    """
    name = _metric(experiment, metric)
    whole = _as_ensemble(run, experiment)
    weights = whole.take_over(run)
    split = whole.parts_of(run, weights)
    leave_out_as_before(whole, split)
    whole.check_data(training=False)
    whole.look_at_store()
    part = part_of_run(whole, split, lambda: whole.part_of(split))
    for line in part.lines():
        whole.console.say(line)
    if part.changed:
        whole.distrust_kept()
    knobs, search = _search(whole, part.rows, name, only)
    found = search.run(knobs.start, resamples=resamples, rng=np.random.default_rng(whole.recipe.split.seed))
    result = _result(name, len(part.rows), knobs, found, apply)
    _write(run, whole, knobs, result)
    return result


def _search(whole: Ensemble, rows: Rows, metric: str, only: Sequence[str]) -> tuple[Knobs, DecisionSearch]:
    """The numbers of the decision in force, and what searches them on the rows."""
    knobs = Knobs(
        whole.classes,
        threshold=whole.thresholds,
        presence=whole.presence,
        steps=[spec.as_dict() for spec in whole.recipe.postprocess],
        only=only,
        along=bool(whole.dataset.table["scan"].iloc[rows].duplicated().any()),
    )
    folds = _folds(whole, rows)
    search = DecisionSearch(
        lambda: _scans(whole, rows, folds),
        lambda state: decision_of(whole, knobs, state),
        Scoreboard({metric: whole.metrics[metric]}, whole.classes),
        [knob.values for knob in knobs.knobs],
        names=[knob.name for knob in knobs.knobs],
        threads=thread_count() if knobs.all_known else 0,  # a plugin's step is called for one scan at a time
        progress=whole.console.progress,
    )
    return knobs, search


def _metric(experiment: Experiment, wanted: str | None) -> str:
    """The name of the metric that is searched for."""
    names = list(experiment.metrics)
    if wanted is None:
        monitor = experiment.recipe.monitor
        return max((name for name in names if monitor == name or monitor.startswith(f"{name}/")), key=len)
    if wanted not in names:
        hint = did_you_mean(wanted, names) or f"there are: {', '.join(names)}"
        raise DataError(f"--metric {wanted}: the recipe has no such metric; {hint}")
    return wanted


def _as_ensemble(run: RunDir, experiment: Experiment) -> Ensemble:
    """The experiment of a run of one network as one that keeps its probabilities, with the same data."""
    if isinstance(experiment, Ensemble):
        return experiment
    member = Member(run, run.path.resolve().name, 1.0, (run,))
    whole = Ensemble(experiment.recipe, experiment.registries, console=experiment.console, run=run, members=(member,))
    whole.__dict__.update({name: getattr(experiment, name) for name in SHARED})
    return whole


def _folds(whole: Ensemble, rows: Rows) -> dict[str, str]:
    """The fold of each case.

    Raises:
        DataError: if a case is in several folds, or there is one case only.
    """
    table = whole.dataset.table
    cases = table["case"].astype(str).iloc[rows].to_numpy(dtype=object)
    folds = whole.folds_of(rows)
    unique = sorted(set(cases))
    if len(unique) < 2:
        raise DataError("a decision is chosen on some cases and scored on others, and there is one case only")
    if len(set(folds.tolist())) > 1:
        found: dict[str, set[int]] = {}
        for case, fold in zip(cases, folds.tolist(), strict=True):
            found.setdefault(case, set()).add(fold)
        several = [case for case in unique if len(found[case]) > 1]
        if several:
            raise DataError(
                f"case {several[0]} is in several folds, so its slices would choose the decision that they are scored "
                'with; train the folds with split.group = "case"'
            )
        return {case: str(fold.pop()) for case, fold in found.items()}
    shuffled = np.random.default_rng(whole.recipe.split.seed).permutation(len(unique))
    return {case: str(place % min(GROUPS, len(unique))) for case, place in zip(unique, shuffled.tolist(), strict=True)}


def _scans(whole: Ensemble, rows: Rows, folds: Mapping[str, str]) -> Generator[KeptScan]:
    """The kept probabilities, scan by scan."""
    table = whole.dataset.table
    ids, cases = table["id"].to_numpy(), table["case"].astype(str).to_numpy()
    with closing(whole.probabilities(rows, label="", progress=lambda items, *_: items)) as scans:
        for scan in scans:
            first, names = scan.rows[0], [str(ids[row]) for row in scan.rows]
            values, truth = scan.whole()
            if truth is None:
                raise DataError(f"scan {scan.name} has slices without labels, so no decision can be scored on it")
            case = str(cases[first])
            yield KeptScan(scan.name, case, folds[case], names, values, truth, spacing_at(table, int(first)))
            del values, truth, scan


def decision_of(whole: Experiment, knobs: Knobs, state: State) -> Decision:
    """The live decision of a state."""
    steps = []
    for table in knobs.tables(state):
        params = {key: value for key, value in table.items() if key != "name"}
        steps.append(whole.build(ComponentSpec("postprocess", table["name"], params), classes=whole.classes))
    return Decision(
        knobs.values_of(state, THRESHOLD),
        tuple(steps),
        exclusive=whole.exclusive,
        presence=knobs.values_of(state, PRESENCE),
    )


def _result(metric: str, slices: int, knobs: Knobs, found: Tuned, apply: bool | None) -> Tuning:
    changes = tuple(knobs.differences(knobs.start, found.state))
    cases = found.before.cases
    if not changes:
        applied, why = False, "nothing that was tried scores better than the decision as it is"
    elif apply is not None:
        applied, why = apply, "as asked" if apply else "as asked: it was only looked at"
    elif cases < FEWEST:
        applied, why = (
            False,
            f"{count(cases, 'case')} can show no gain ({FEWEST} are needed); --apply writes it all the same",
        )
    elif found.shown:
        applied, why = True, "the interval of the gain holds nothing but gains"
    else:
        applied, why = False, "the interval of the gain holds zero, so it may be luck; --apply writes it all the same"
    by_fold = {fold: tuple(knobs.differences(knobs.start, state)) for fold, state in found.by_fold.items()}
    return Tuning(
        metric, cases, slices, found, found.before.score(), found.after.score(), changes, by_fold, applied, why
    )


def _write(run: RunDir, whole: Ensemble, knobs: Knobs, result: Tuning) -> None:
    """Write what was found, and the decision where it counts from now on."""
    stored = StoredDecision(
        whole.classes,
        whole.exclusive,
        dict(zip(whole.classes, knobs.values_of(result.found.state, THRESHOLD), strict=True)),
        dict(zip(whole.classes, knobs.values_of(result.found.state, PRESENCE), strict=True)),
        tuple(knobs.tables(result.found.state)),
    )
    gain = result.found.gain
    content = {
        "format": 1,
        "metric": result.metric,
        "cases": result.cases,
        "slices": result.slices,
        "folds": len(result.by_fold),
        "before": result.before,
        "after": result.after,
        "gain": {"estimate": gain.estimate, "low": gain.low, "high": gain.high},
        "optimistic_gain": result.found.optimistic,
        "searched": [knob.name for knob in knobs.knobs],
        "changes": list(result.changes),
        "changes_by_fold": {fold: list(lines) for fold, lines in result.by_fold.items()},
        "proposed": stored.as_dict(),
        "applied": result.applied,
        "why": result.why,
    }
    run.write_json(NAME, content)
    if result.applied:
        run.write_json(run.decision.name, stored.as_dict())
