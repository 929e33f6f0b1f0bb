"""``giseg check --build``: every part is built, and one tiny batch goes through training and evaluation."""

from __future__ import annotations

from dataclasses import replace

from gisegkit.build.contracts import check_contracts
from gisegkit.build.experiment import Experiment
from gisegkit.build.training import verify_store
from gisegkit.data.loaders import EpochSampler
from gisegkit.engine.device_cache import Resident
from gisegkit.engine.fit import fit
from gisegkit.registry.culprit import names_culprits
from gisegkit.types import silent
from gisegkit.workflows.train import verify_states


@names_culprits
def smoke_test(experiment: Experiment) -> list[str]:
    """Build every part, look at the slices, and push one tiny batch through training and evaluation.

    Slices are prepared on the way, as training does, so that training finds them; nothing else is written.

    Returns:
        What was built and seen, line by line.

    Raises:
        FindingsError: if training would be wrong on the data.
    """
    recipe = experiment.recipe
    verify_store(experiment)
    _ = experiment.device  # a wrong name is told before the data are read
    check_contracts(experiment)
    experiment.check_data(training=True)
    _ = experiment.model, experiment.views
    experiment.prepare()
    train, validation = experiment.split
    rows = train[:2]
    training = experiment.assembled.training
    training = replace(
        training,
        resident=Resident(experiment.source, rows) if training.resident else None,
        sampler=EpochSampler(rows, batch_size=2, seed=recipe.seed),
        validate=lambda: experiment.score(validation[:1], silent).scores(),
        epochs=1,
        workers=0,
    )
    sizes = [parameter.numel() for parameter in experiment.model.parameters()]
    lines = [f"{recipe.model.name}: {sum(sizes):,} parameters in {len(sizes)} tensors, on {experiment.device}"]
    height, width = recipe.input.size
    channels, classes = experiment.channels, len(experiment.classes)
    lines.append(f"input [B, {channels}, {height}, {width}], output [B, {classes}, {height}, {width}]")
    lines.append(f"{len(train)} slices train, {len(validation)} validate")
    for report in fit(training):
        verify_states(experiment, report.state)
        scores = ", ".join(f"{name} {report.scores[name]:.4f}" for name in experiment.metrics)
        lines.append(f"one batch of {len(rows)}: loss {report.loss:.4f}; one slice evaluated: {scores}")
        lines.extend(report.notes)
    return lines
