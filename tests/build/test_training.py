"""What fit works with is assembled from the experiment's own parts, once."""

from __future__ import annotations

import pytest

from gisegkit.build.training import verify_store
from gisegkit.errors import RecipeError


def test_training_has_the_parts_of_the_experiment(session, recipe):
    experiment = session.experiment(recipe())
    training, plan = experiment.assembled
    assert plan is None, "on a CPU nothing is planned unless train.memory is set"
    for part in ("model", "criterion", "optimizer", "schedule", "samples", "sampler", "transforms"):
        assert getattr(training, part) is getattr(experiment, part), part
    assert experiment.assembled is experiment.assembled
    assert training.monitor == experiment.recipe.monitor and training.higher_is_better


def test_released_parts_are_built_anew_and_the_network_stays(session, recipe):
    experiment = session.experiment(recipe())
    model, optimizer = experiment.model, experiment.assembled.training.optimizer
    experiment.release_training()
    assert experiment.model is model
    assert experiment.optimizer is not optimizer
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_policy_on_the_cpu_is_refused_for_slices_on_the_device(session, recipe):
    with pytest.raises(RecipeError, match=r'augmentation.name = "baseline" works on the CPU'):
        verify_store(session.experiment(recipe("input.store=device")))
    verify_store(session.experiment(recipe("input.store=device", "augmentation.name=none")))
