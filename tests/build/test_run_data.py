"""What an experiment knows of the run whose weights it takes over."""

from __future__ import annotations

import pytest
import torch

from gisegkit.build.run_data import RunData
from gisegkit.errors import RunError
from gisegkit.runs.parts import scored_part

pytestmark = pytest.mark.slow  # a whole training


def test_a_runs_weights_split_and_parts_are_taken_over_together(finished, session, recipe):
    run, _ = finished
    experiment = session.experiment(recipe())
    weights = experiment.take_over(run)
    assert weights["digest"] == run.weights()["digest"]
    assert experiment.take_over(run, weights) is weights
    split = experiment.parts_of(run, weights)
    part = experiment.part_of(split)
    assert part.rows.tolist() == scored_part(split, experiment.dataset.table).rows.tolist()
    assert experiment.folds_of(part.rows).tolist() == [0] * len(part.rows)
    everything = experiment.named_part(split, "all", experiment.rows_to_predict("all")[1])
    assert everything.trained == (split["part"] == "train").sum()
    total, trained = experiment.size
    assert total == trained == sum(parameter.numel() for parameter in experiment.model.parameters())


def test_weights_that_were_forgotten_are_loaded_again(finished, session, recipe):
    run, _ = finished
    experiment = session.experiment(recipe())
    weights = experiment.take_over(run)
    first = next(experiment.model.parameters())
    value = first.detach().clone()
    with torch.no_grad():
        first.zero_()
    experiment.load(weights)
    assert not first.any()  # the same weights are not loaded twice
    experiment.forget()
    experiment.load(weights)
    assert (next(experiment.model.parameters()) == value).all()


def test_a_decision_of_other_classes_is_refused(finished, session, recipe, tmp_path):
    run, _ = finished
    text = run.decision.read_text().replace("stomach", "liver")
    (tmp_path / "decision.json").write_text(text)
    with pytest.raises(RunError, match="the file belongs to another run"):
        session.experiment(recipe()).load(run.weights(), tmp_path / "decision.json")


def test_data_alone_have_no_network(session, recipe):
    data = RunData(recipe(), session.plugins.registries)
    for use in (lambda: data.model, lambda: data.exclusive, lambda: data.expect({})):
        with pytest.raises(NotImplementedError):
            use()
