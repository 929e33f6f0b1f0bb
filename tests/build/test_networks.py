"""One network of several: loaded when it is needed, released, kept in a file, and a voice among others."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from gisegkit.build.networks import Network, voices_of
from gisegkit.data.output import read_manifest
from gisegkit.data.probability_file import ProbabilityReader, to_bytes
from gisegkit.engine.mixed import mixed_scans
from gisegkit.engine.scan_shares import WHOLE, Share
from gisegkit.types import silent

pytestmark = pytest.mark.slow  # a whole training


@pytest.fixture
def network(finished, session, recipe):
    run, _ = finished
    weights = run.weights()
    held = frozenset(run.split().query("part == 'validation'")["id"])
    experiment = session.experiment(recipe())
    return Network(run, experiment, weights["facts"], weights["epoch"], weights["digest"], (), held)


def test_it_is_built_once_and_released(network):
    experiment = network.experiment
    network.load()
    model = experiment.model
    network.load()
    assert experiment.model is model
    network.release()
    assert not {"model", "network_predictor"} & experiment.__dict__.keys()
    network.load()
    assert experiment.model is not model
    for one, other in zip(experiment.model.parameters(), model.parameters(), strict=True):
        assert (one == other).all()


def test_loader_processes_are_divided_once(network):
    one = network.experiment
    assert one.recipe.train.workers in (0, "auto")
    network.share_workers(2)
    assert one.recipe.train.workers == 0  # none are asked for on a CPU
    network._asked = 5
    for number, share in ((2, 2), (2, 2), (1, 5), (9, 1)):
        network.share_workers(number)
        assert one.recipe.train.workers == share


def test_what_it_keeps_are_the_bytes_of_its_prediction(network, tmp_path):
    table = network.experiment.dataset.table
    rows = np.flatnonzero(table["id"].isin(network.validated))
    network.keep(rows, tmp_path, progress=silent)
    assert "model" not in network.experiment.__dict__
    assert read_manifest(tmp_path)["weights"] == network.digest
    network.load()
    scans = network.experiment.probabilities(rows, label="", progress=silent, sized=True)
    with ProbabilityReader(tmp_path / "probabilities.npz") as reader:
        assert (reader.classes, reader.exclusive) == (network.classes, network.exclusive)
        for scan in scans:
            for item, (name, values) in zip(scan, reader.slices(scan.name), strict=True):
                assert name == table["id"][item.row]
                assert item.sized is not None and (values == to_bytes(item.sized)).all()


def test_networks_of_one_input_share_a_voice(ensemble, values, alone):
    whole = ensemble()
    whole.take_over(whole.run)
    rows = whole.unlabelled
    (voice,) = voices_of(whole, rows, label="", progress=silent, share=WHOLE)
    assert voice.weight == 4.0 and voice.order == ()
    one = alone(rows)
    assert all(np.allclose(found, one[row][0], atol=1e-6) for row, (found, _) in values(voice.scans).items())


def test_another_input_is_another_voice_and_shares_make_the_whole(ensemble, values):
    whole = ensemble()
    whole.take_over(whole.run)
    other = whole.networks[1][0].experiment
    other.recipe = replace(other.recipe, input=replace(other.recipe.input, interpolation="nearest"))
    rows = whole.unlabelled

    def predicted(share):
        voices = voices_of(whole, rows, label="", progress=silent, share=share)
        assert [voice.weight for voice in voices] == [3.0, 1.0]
        return values(mixed_scans(voices))

    expected, found = predicted(WHOLE), {}
    for number in range(2):
        found |= predicted(Share(number, 2))
    assert found.keys() == expected.keys()
    assert all(np.array_equal(found[row][0], expected[row][0]) for row in found)
