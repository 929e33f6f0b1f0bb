"""What fit works with is assembled from the experiment's own parts, once."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gisegkit.build.training import make_average, verify_store
from gisegkit.errors import ComponentError, RecipeError


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


CYCLES = ("train.average=swa", "schedule.name=cycles", "schedule.flat=0.25")


def averaged(session, recipe, *sets, snapshots=...):
    """The average of a recipe, whose schedule may tell other snapshots, and what is said of it."""
    said = []
    experiment = replace(session, say=said.append).experiment(recipe(*CYCLES, *sets))
    if snapshots is not ...:
        experiment.schedule.snapshots = snapshots
    _ = experiment.model
    said.clear()
    return make_average(experiment), said


def test_the_snapshots_of_a_schedule_are_what_swa_takes_in(session, recipe):
    experiment = session.experiment(recipe(*CYCLES))
    steps = len(experiment.sampler) * experiment.recipe.train.epochs
    average, said = averaged(session, recipe, "schedule.cycles=3")
    assert average.snapshots == {round(steps / 4) + round(part * (steps - round(steps / 4)) / 3) for part in (1, 2, 3)}
    assert max(average.snapshots) == steps and average.first == -(-min(average.snapshots) // len(experiment.sampler))
    (line,) = said
    assert line.startswith("train.average = \"swa\": the mean of the 3 snapshots of schedule 'cycles', after epochs ")


def test_a_schedule_without_snapshots_leaves_the_ends_of_epochs(session, recipe):
    average, said = averaged(session, recipe, snapshots=None)
    assert average.snapshots == frozenset() and average.first == 3 and said == []


def test_a_single_snapshot_and_a_start_without_effect_are_told(session, recipe):
    _, said = averaged(session, recipe, "schedule.cycles=1", "train.swa_start=0.5")
    assert "the mean of one snapshot is its weights" in said[1]
    assert said[2] == "train.swa_start = 0.5 has no effect, because schedule 'cycles' tells its snapshots"


@pytest.mark.parametrize("snapshots", [(0, 3), (3, 10_000), (4, 3), (), (2.5,), "3"])
def test_snapshots_outside_the_training_are_refused(session, recipe, snapshots):
    with pytest.raises(ComponentError, match="schedule 'cycles': snapshots"):
        averaged(session, recipe, snapshots=snapshots)


def test_without_swa_snapshots_are_not_looked_at(session, recipe):
    for average in ("none", "ema"):
        _, said = averaged(session, recipe, f"train.average={average}", snapshots=(10_000,))
        assert said == []
