"""2, 3 and 4 processes train as one that cuts its batches into the same pieces, and end together."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from gisegkit.engine.ranks import Ranks
from gisegkit.errors import TrainingError

CHECKS = Path(__file__).with_name("ranks_checks.py")


@pytest.mark.slow
def test_processes_train_as_one(tmp_path):
    """One program, since each start costs an import of torch: every check of ranks_checks.py, in all numbers."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(CHECKS.parents[2])}
    done = subprocess.run(
        [sys.executable, str(CHECKS), str(tmp_path)], capture_output=True, text=True, timeout=240, env=environment
    )
    assert done.returncode == 0, done.stderr
    reference = torch.load(tmp_path / "one.pt", weights_only=False)
    for size in (2, 3, 4):
        for rank in range(size):
            found = torch.load(tmp_path / f"{size}_{rank}.pt", weights_only=False)
            memory = found.pop("out_of_memory")
            # The repeated step and those after it are cut into micro-batches of 4, as in no other check.
            assert memory["steps"].shape == (3, 2) and memory["steps"].isfinite().all()
            assert set(found) == (
                set(reference) - {"half"} if size == 4 else {"plain", "resumed"} | ({"half"} if size == 2 else set())
            )
            for name, result in found.items():
                for key in ("steps", "validation", "buffers"):
                    expected, place = reference[name][key], f"{name}: {key} in process {rank} of {size}"
                    close = torch.allclose(result[key], expected, rtol=1e-5, atol=1e-5)
                    assert close, f"{place}: {result[key]} is not {expected}"
    told = [(tmp_path / f"broken_{rank}").read_text() for rank in range(3)]
    assert sorted("slice 5 cannot be read" in text for text in told) == [False, False, True]
    assert sum("another process of this run has ended" in text for text in told) == 2


def test_a_process_that_does_not_know_its_number_says_so():
    with pytest.raises(TrainingError, match="WORLD_SIZE = 2 is in the environment, and RANK is not"):
        Ranks.of_environment({"WORLD_SIZE": "2"})


def test_processes_that_do_not_find_each_other_say_so(monkeypatch):
    monkeypatch.setenv("MASTER_ADDR", "localhost")
    monkeypatch.setenv("MASTER_PORT", "no port")
    with pytest.raises(TrainingError, match=r"process 1 of 2 does not find the others .*start them with torchrun"):
        Ranks(rank=1, size=2, local_rank=1, local_size=2, nccl=False)
