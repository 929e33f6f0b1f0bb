"""``giseg evaluate``: scores of a finished run, with the recipe that was used, a picture and a page."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from gisegkit.build.experiment import Experiment
from gisegkit.engine.scoring import Scoreboard
from gisegkit.errors import RunError, count, listed
from gisegkit.recipe.differences import Difference, fingerprint
from gisegkit.registry.culprit import names_culprits
from gisegkit.report.preview import Panel
from gisegkit.runs.folder import RunDir
from gisegkit.runs.kept import keeping
from gisegkit.runs.members import is_ensemble, members_of
from gisegkit.runs.outputs import Evaluation, changes, check_new_folder, read_table, say_own_folder
from gisegkit.runs.parts import Part, part_for_tests
from gisegkit.workflows.exclusive import in_run_folder
from gisegkit.workflows.identity import leave_out_as_before, part_of_run
from gisegkit.workflows.pages import write_preview, write_report
from gisegkit.workflows.several import score_together


@dataclass(frozen=True)
class Evaluated:
    """An evaluation that is written.

    Attributes:
        scores: what ``scores.json`` holds.
        files: where it was written.
        own: whether it is the run's own.
        test: the same of the slices of test datasets; None if the recipe has none.
    """

    scores: Mapping[str, Any]
    files: Evaluation
    own: bool
    test: Mapping[str, Any] | None = None


@names_culprits
@in_run_folder
def evaluate(
    run: RunDir,
    experiment: Experiment,
    *,
    out: Path | None = None,
    own: bool = False,
    weights: Mapping[str, Any] | None = None,
    keep: bool = False,
) -> Evaluated:
    """Score a run's best weights on its validation slices; write scores, tables, the recipe used, preview and report.

    Data that hold none of the run's validation slices are scored on all that are labelled. Where the settings or the
    data differ from the run's own, everything is written to a folder of its own, and the run's evaluation stays.

    Args:
        out: a new folder for it; default ``evaluation`` in the run folder, or ``evaluation-...`` beside that.
        own: whether the recipe is the run's own, though its data may have moved (``giseg run``).
        weights: of ``best.pt``, if it is loaded already.
        keep: whether the probabilities of the validation slices are kept in the run folder.

    Raises:
        RunError: if ``out`` exists, the checkpoint or the split is damaged, or the data do not fit the weights.
    """
    recipe, console = experiment.recipe, experiment.console
    changed = () if own else changes(run, recipe, experiment.registries)
    if out is not None:
        check_new_folder(out, run)
    weights = experiment.take_over(run, weights)
    split = experiment.parts_of(run, weights)
    leave_out_as_before(experiment, split)
    experiment.check_data(training=False)
    experiment.look_at_store()
    part, tested = _parts(experiment, split)
    about = _network_and_training(run, experiment)
    _say(part, tested, about, experiment, weights)
    if part.changed:
        experiment.distrust_kept()
    with keeping(run.oof, experiment, weights=weights["digest"]) if keep else nullcontext() as writer:
        scored = score_together(experiment, part.rows, writer)
    test_scored = score_together(experiment, tested.rows) if tested else None
    tables = [one[0].tables()["by_slice"] for one in (scored, test_scored) if one]
    home = _home(run, changed, part, tested, tables, console.say) if out is None else Evaluation.at(out)
    write = partial(_write, run, experiment, weights, about, changed)
    scores = write(home, part, *scored)
    test = write(home.test, tested, *test_scored) if tested and test_scored else None
    if tested:
        write_report(run, home.test)
    write_report(run, home)
    return Evaluated(scores, home, home == Evaluation.own(run), test)


def _say(
    part: Part, tested: Part | None, about: Mapping[str, Any], experiment: Experiment, weights: Mapping[str, Any]
) -> None:
    """Say which slices are scored, and how far the training has come, if it is not finished."""
    for line in (*part.lines(), *(tested.lines() if tested else ())):
        experiment.console.say(line)
    epochs = experiment.recipe.train.epochs
    if 0 < about["training"]["epochs"] < epochs:
        done = f"{about['training']['epochs']} of at most {count(epochs, 'epoch')}"
        experiment.console.say(f"the run has trained {done} so far; its best weights are of {epoch_of(weights)}")


def _parts(experiment: Experiment, split: pd.DataFrame) -> tuple[Part, Part | None]:
    """The slices that are scored, and those of test datasets, if there are any."""

    def tests() -> Part:
        return part_for_tests(split, experiment.dataset.table, experiment.rows_of_role("test"))

    before = None
    while before is not experiment.dataset:  # slices may be left out while the others are looked at
        before = experiment.dataset
        part = part_of_run(experiment, split, lambda: experiment.part_of(split))
        tested = part_of_run(experiment, split, tests) if len(experiment.rows_of_role("test")) else None
    return part, tested


def _write(
    run: RunDir,
    experiment: Experiment,
    weights: Mapping[str, Any],
    about: Mapping[str, Any],
    changed: Sequence[Difference],
    home: Evaluation,
    part: Part,
    board: Scoreboard,
    panels: list[Panel],
) -> dict[str, Any]:
    """Write the scores, tables, recipe and picture of a part; gives what ``scores.json`` holds."""
    recipe = experiment.recipe
    scores = _content(run, experiment, board, part, weights, about, changed)
    home.write(scores, board.tables(), recipe.text())
    folder = run.path.resolve().name
    named = folder if folder == recipe.name else f"{folder}: {recipe.name}"
    heading = f"{named}, {part.name}, {epoch_of(weights)}"
    write_preview(home.preview, panels, experiment.classes, recipe, heading=heading)
    return scores


def _content(
    run: RunDir,
    experiment: Experiment,
    board: Scoreboard,
    part: Part,
    weights: Mapping[str, Any],
    about: Mapping[str, Any],
    changed: Sequence[Difference],
) -> dict[str, Any]:
    """What ``scores.json`` holds."""
    recipe = experiment.recipe
    return {
        "demo": recipe.demo,
        "name": recipe.name,
        "run": run.path.resolve().name,
        "part": part.name,
        "slices": len(part.rows),
        "expected": part.expected,
        "trained_on": part.trained,
        "scans": int(experiment.dataset.table["scan"].iloc[part.rows].nunique()),
        "epoch": weights["epoch"],
        "weights": weights.get("digest", ""),
        "networks": weights.get("networks", []),
        "gate": weights.get("gate"),
        "changes": [str(item) for item in changed],
        "threshold": recipe.evaluate.threshold,
        "presence": recipe.evaluate.presence,
        "tta": list(recipe.predict.tta),
        **about,
        "scores": board.scores(),
        "conventions": board.conventions,
        "higher_is_better": board.directions,
        "bounds": {name: getattr(metric, "bounds", None) for name, metric in experiment.metrics.items()},
        "parts": board.parts,
    }


def epoch_of(weights: Mapping[str, Any]) -> str:
    """Which epoch the weights are of; of several networks, how many there are."""
    networks = weights.get("networks", [])
    return count(len(networks), "network") if networks else f"epoch {weights['epoch']}"


def _network_and_training(run: RunDir, experiment: Experiment) -> dict[str, Any]:
    """What a comparison wants to know of network and training, so that it need not look into other files."""
    parameters, trainable = experiment.size
    runs = [network for member in members_of(run) for network in member.networks] or [run]
    epochs = [entry for one in runs for entry in one.metrics()]
    return {
        "device": str(experiment.device),
        "parameters": parameters,
        "trainable_parameters": trainable,
        "training": {
            "epochs": 0 if is_ensemble(run) else min(len(one.metrics()) for one in runs),
            "seconds": sum(entry["seconds"] for entry in epochs) if epochs else None,
            "peak_memory": max((entry["peak_memory"] for entry in epochs), default=0) or None,
            "device": str(runs[0].environment().get("device", "")),
        },
    }


def _home(
    run: RunDir,
    changed: Sequence[Difference],
    part: Part,
    tested: Part | None,
    tables: Sequence[pd.DataFrame],
    say: Callable[[str], None],
) -> Evaluation:
    """The run's own evaluation, or where settings, data or the truth are others a folder of its own; says so.

    Args:
        tables: by slice, of the part and of the test datasets if there are any.
    """
    own, by_slice = Evaluation.own(run), tables[0]
    kept = zip((own, own.test), tables, strict=False)
    relabelled = [name for before, table in kept for name in _relabelled(before, table, say)]
    partial_ones = [one for one in (part, tested) if one is not None and not one.whole]
    if not changed and not partial_ones and not relabelled:
        return own
    material: list[object] = [changed]
    reasons = [str(item) for item in changed]
    for one in partial_ones:
        material.append(by_slice["id"].unique().tolist() if one is part else list(one.missing))
        whole = "validation" if one is part else "test slices"
        reasons.append(f"{count(len(one.rows), 'slice')} of {one.name}, not all of the run's {whole}")
    if relabelled:
        material += [table["true_pixels"].tolist() for table in tables]
        reasons.append(f"the truth of {count(len(relabelled), 'slice')} has changed: {listed(relabelled)}")
    folder = run.path / f"evaluation-{fingerprint(*material)}"
    say_own_folder(folder, "evaluation stays as it is", reasons, say)
    return Evaluation.at(folder)


def _relabelled(own: Evaluation, by_slice: pd.DataFrame, say: Callable[[str], None]) -> tuple[str, ...]:
    """Slices whose truth has another number of pixels of a class than in the run's own evaluation."""
    file = own.folder / "by_slice.csv"
    if not file.is_file():
        return ()
    keys = ["id", "class"]
    try:
        before = read_table(file)
    except RunError as error:
        say(f"the run's own evaluation is damaged and is made again ({error})")
        return ()
    if not {*keys, "true_pixels"} <= set(before.columns):
        return ()
    both = by_slice[[*keys, "true_pixels"]].merge(before[[*keys, "true_pixels"]], on=keys, suffixes=("", "_before"))
    differs = both["true_pixels"] != both["true_pixels_before"]
    return tuple(both["id"][differs].unique().tolist())
