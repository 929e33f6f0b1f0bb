"""What the other processes are asked for holds all that they need."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from gisegkit.build.tasks import ask, digest_of_ids


def test_a_task_of_one_network_holds_its_weights(session, recipe, noting):
    world = noting
    experiment = replace(session, world=world).experiment(recipe())
    ask(experiment, "slices", rows=np.arange(3), probabilities=True)
    (task,) = world.sent
    assert (task.what, task.device, task.chorus, task.probabilities) == ("slices", "cpu", None, True)
    assert task.facts == experiment.facts and task.rows.tolist() == [0, 1, 2]
    own = experiment.model.state_dict()
    assert task.weights.keys() == own.keys()
    assert all(torch.equal(task.weights[name], own[name]) for name in own)


def test_slices_are_known_by_their_ids_in_order(session, recipe):
    experiment = session.experiment(recipe())
    before = digest_of_ids(experiment)
    assert before == digest_of_ids(session.experiment(recipe()))
    experiment.dataset.table = experiment.dataset.table.iloc[::-1]
    assert digest_of_ids(experiment) != before


def test_the_networks_of_an_ensemble_follow_its_task(ensemble, noting):
    whole = ensemble()
    whole.take_over(whole.run)
    world = noting
    whole.console = replace(whole.console, world=world)
    for networks in whole.networks:
        for one in networks:
            one.experiment.console = whole.console
    ask(whole, "slices", rows=whole.unlabelled)
    task, *weights = world.sent
    assert [[voice.order for voice in voices] for voices in task.chorus.voices] == [[()], [()]]
    assert task.weights == {} and len(weights) == 2
    assert weights[0].keys() == whole.networks[0][0].experiment.model.state_dict().keys()
