"""Two processes with loader workers, slices kept on the device, bf16, an extra dataset, or a slice that is left out."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

PROGRAM = Path(__file__).with_name("pairs_runs.py")
RECIPE = """
name = "pairs"
split.folds = 3
input = {{size = [32, 32], store = "off"}}
model = {{name = "r2unet", width = 2, depth = 2, steps = 1}}
loss = [{{name = "bce"}}]
optimizer = {{name = "adam", lr = 0.1}}
batch_transform = [{{name = "mixup"}}]
metric = [{{name = "dice"}}]
train = {{epochs = 2, batch_size = 4, micro_batch = 0, workers = 0}}
{datasets}
"""
DATASET = """
[[dataset]]
name = "folder"
root = "{root}"
labels = {{a = 1, b = 2}}
pattern = "(?P<case>[a-z]\\\\d)_(?P<position>\\\\d)"
{more}
"""


@pytest.mark.distributed
def test_two_processes_do_as_one_with_each_of_these_settings(several, tmp_path):
    shutil.copytree(several.folder / "t", tmp_path / "bad")
    (tmp_path / "bad" / "images" / "t0_1.png").write_bytes(b"no image")

    def dataset(root, more=""):
        return DATASET.format(root=root.as_posix(), more=more)

    plain = dataset(several.folder / "t", 'unlabelled = "more"')
    two = dataset(several.folder / "t") + dataset(several.folder / "e", 'role = "extra"')
    skip = dataset(tmp_path / "bad", 'unlabelled = "more"\non_bad = "skip"')
    for name, datasets in (("plain", plain), ("extra", two), ("skip", skip)):
        (tmp_path / f"{name}.toml").write_text(RECIPE.format(datasets=datasets))
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(PROGRAM.parents[2])}
    command = [sys.executable, str(PROGRAM), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500, env=environment)
    logs = {file.name: file.read_text() for file in sorted(tmp_path.glob("log_*"))}
    assert done.returncode == 0, f"{done.stderr}\n{logs}"
    codes = ast.literal_eval((tmp_path / "codes").read_text())
    assert codes == {name: [0, 0, 0] for name in ("workers", "device", "half", "extra", "skip")}, logs
    for name in codes:
        one, other = (tmp_path / f"{name}_{count}" for count in ("one", "two"))
        for first, second in zip(epochs(one), epochs(other), strict=True):
            assert first["loss"] == pytest.approx(second["loss"], abs=1e-5), name
            assert first["scores"] == pytest.approx(second["scores"], abs=1e-3), name
        splits = [pd.read_csv(run / "split.csv") for run in (one, other)]
        pd.testing.assert_frame_equal(*splits)
        assert logs[f"log_{name}_two.1"] == "", name
    trained = pd.read_csv(tmp_path / "extra_two" / "split.csv")
    assert (trained["part"][trained["id"].str.startswith("e")] == "extra").sum() == 4
    left = pd.read_csv(tmp_path / "skip_two" / "split.csv")
    assert left["part"][left["id"] == "t0_1"].item() == "left out"


def epochs(run):
    found = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert len(found) == 2
    return found
