"""Processes that are not alike end the run and say why; those that are go on."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gisegkit.build.alike import (
    UNREAD,
    difference,
    refuse_other_predicted,
    refuse_other_slices,
    refuse_other_versions,
)
from gisegkit.engine.world import ALONE
from gisegkit.errors import TrainingError
from gisegkit.plugins import Plugins
from gisegkit.registry.kinds import Owner


class Two:
    """A world of two processes; the other one has what is given."""

    size = 2

    def __init__(self, other):
        self.other = other

    def collect(self, own):
        return [*own, self.other]


def test_versions_and_plugins_are_compared():
    own = Plugins(owners=[Owner("gisegkit", "1"), Owner("giseg-cutmix", "2")])
    found = []

    class Look(Two):
        def collect(self, own):
            found.extend(own)
            return [*own, *own]

    refuse_other_versions(Look(None), own)
    assert {"gisegkit", "torch", "numpy", "giseg-cutmix"} <= set(found[0]) and found[0]["giseg-cutmix"] == "2"
    with pytest.raises(TrainingError, match="process 1 has no giseg-cutmix and process 0 giseg-cutmix 2: install"):
        refuse_other_versions(Two({name: version for name, version in found[0].items() if "cutmix" not in name}), own)
    with pytest.raises(TrainingError, match="process 1 has giseg-new 3 and process 0 no giseg-new: install"):
        refuse_other_versions(Two({**found[0], "giseg-new": "3"}), own)


def test_the_first_slice_that_differs_is_named():
    same, image, mask = ("a", "b"), ("x", "b"), ("a", "x")
    first = dict.fromkeys(["s1", "s2", "s3"], same)
    assert difference([first, first, {"s2": same}]) == ""
    told = difference([first, {"s1": same}, {"s2": mask, "s3": image}])
    assert told.startswith("process 2 sees other masks than process 0 in s2, the first of 2 slices that differ: all ")
    told = difference([first, {"s3": (UNREAD + "no such file", "")}])
    assert told.startswith("process 1 cannot read s3: no such file: all machines")


def test_on_one_machine_what_is_predicted_is_not_read_to_compare_it(session, recipe):
    for one_machine in (True, False):
        world = Two("a digest")
        world.one_machine = one_machine
        experiment = replace(session, world=world).experiment(recipe("input.store=off"))
        rows = experiment.unlabelled
        if one_machine:
            refuse_other_predicted(experiment, rows)
            assert not experiment.seen
        else:
            world.collect = lambda own: [*own, {} if isinstance(own[0], dict) else "another digest"]
            refuse_other_predicted(experiment, rows)  # the other process has nothing to predict
            assert len(experiment.seen) == len(rows) > 0


def test_one_process_reads_nothing_to_compare(session, recipe):
    experiment = session.experiment(recipe())
    refuse_other_slices(experiment, experiment.split.train)
    refuse_other_versions(ALONE, experiment.console.plugins)
    assert not experiment.seen
