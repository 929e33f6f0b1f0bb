"""``giseg run``: train, evaluate and predict, with one experiment."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from gisegkit.build.experiment import Experiment
from gisegkit.errors import Interrupted
from gisegkit.runs.folder import RunDir
from gisegkit.runs.scored import number
from gisegkit.workflows.evaluate import Evaluated, evaluate
from gisegkit.workflows.predict import Predicted, predict
from gisegkit.workflows.tracking import Trackers
from gisegkit.workflows.train import train


class Finished(NamedTuple):
    """A run that is trained, evaluated and predicted."""

    run: RunDir
    evaluated: Evaluated
    predicted: Predicted


def run_recipe(experiment: Experiment, out: Path, *, resume: bool = False) -> Finished:
    """Train, evaluate and predict.

    Raises:
        RunError, Interrupted: as of ``train``, ``evaluate`` and ``predict``.
    """
    if not (resume and (out / "recipe.toml").is_file()):
        RunDir.check_free(out)
    with RunDir(out).locked(experiment.console.say), Trackers(experiment) as trackers:
        run = train(experiment, out, resume=resume, alone=False, trackers=trackers)
        try:
            experiment.release_training()
            weights = run.weights()
            evaluated = evaluate(run, experiment, own=True, weights=weights)
            trackers.scores = {name: number(value) for name, value in evaluated.scores["scores"].items()}
            predicted = predict(run, experiment, own=True, weights=weights)
        except KeyboardInterrupt as stop:
            raise Interrupted(
                "interrupted in evaluation or prediction; the training is finished and kept",
                folder=str(run.path),
                signum=getattr(stop, "signum", 2),
            ) from stop
    return Finished(run, evaluated, predicted)
