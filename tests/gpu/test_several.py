"""Several processes on a GPU: NCCL with one, and gloo with two that share it; skipped if there is none."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

CHECKS = Path(__file__).parent.parent / "engine" / "ranks_checks.py"

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no CUDA device"),
]


def start(kind, folder):
    environment = {**os.environ, "PYTHONPATH": str(CHECKS.parents[2]), "NVIDIA_TF32_OVERRIDE": "0"}
    command = [sys.executable, str(CHECKS), str(folder), kind]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, env=environment)
    assert done.returncode == 0, done.stderr


def test_nccl_connects_one_process(tmp_path):
    start("nccl", tmp_path)


def test_two_processes_on_one_gpu_train_as_one(tmp_path):
    start("gpu", tmp_path)
    reference = torch.load(tmp_path / "one.pt", weights_only=False)
    for rank in range(2):
        found = torch.load(tmp_path / f"2_{rank}.pt", weights_only=False)
        assert {"plain", "whole_batch"} == set(found)
        for name, result in found.items():
            for key in ("steps", "validation", "buffers"):
                torch.testing.assert_close(result[key], reference[name][key], rtol=1e-4, atol=1e-4)
