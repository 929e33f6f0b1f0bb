"""Processes that are not alike end the run and say why; those that are go on."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gisegkit.engine.world import ALONE
from gisegkit.errors import TrainingError
from gisegkit.plugins import Plugins
from gisegkit.registry.kinds import Owner
from gisegkit.workflows.alike import REMEDY, UNREAD, difference, refuse_other_slices, refuse_other_versions

PROGRAM = Path(__file__).with_name("alike_runs.py")


@pytest.mark.distributed
def test_processes_that_see_other_slices_or_run_other_versions_end_the_run(several, tmp_path):
    shutil.copytree(several.folder / "t", tmp_path / "t")
    text = several.recipe("split.fold=0", "train.epochs=1").text()
    (tmp_path / "r.toml").write_text(text.replace((several.folder / "t").as_posix(), (tmp_path / "t").as_posix()))
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(PROGRAM.parents[2])}
    command = [sys.executable, str(PROGRAM), str(tmp_path / "r.toml"), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500, env=environment)
    logs = {file.name: file.read_text() for file in sorted(tmp_path.glob("log_*"))}
    assert done.returncode == 0, f"{done.stderr}\n{logs}"
    codes = ast.literal_eval((tmp_path / "codes").read_text())
    assert codes == {"image": [2, 2], "mask": [2, 2], "versions": [2, 2], "none": [0, 0]}, logs
    one = "sees other {} than process 0 in t0_1, the first of 1 slice that differ: " + REMEDY
    assert f"error: process 1 {one.format('pixels')}" in logs["log_image.0"]
    assert f"error: process 1 {one.format('masks')}" in logs["log_mask.0"]
    assert "error: process 1 has torch 0.1 and process 0 torch " in logs["log_versions.0"]
    told = [name for name in codes if "error:" in logs[f"log_{name}.1"]]
    assert not told, "an error that all processes have is told once"
    assert "epoch 1/1" in logs["log_none.0"]


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
    names = ["s1", "s2", "s3"]
    told = difference(names, [[same] * 3, [same] * 3, [same, mask, image]])
    assert told.startswith("process 2 sees other masks than process 0 in s2, the first of 2 slices that differ: all ")
    told = difference(names, [[same] * 3, [same, same, (UNREAD + "no such file", "")]])
    assert told.startswith("process 1 cannot read s3: no such file: all machines")


def test_one_process_reads_nothing_to_compare(several):
    experiment = several.experiment("split.fold=0")
    refuse_other_slices(experiment, experiment.split.train)
    refuse_other_versions(ALONE, experiment.console.plugins)
    assert not experiment.seen
