"""The benchmark of training on a GPU says so where there is none."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch


def test_without_a_gpu_it_ends_with_a_line_that_says_so(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parent.parent / "benchmarks")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    import gpu_training

    with pytest.raises(SystemExit, match="gpu_training: needs a CUDA GPU, and this machine has none"):
        gpu_training.main(2)
    for name in ("gpu_training", "harness"):
        sys.modules.pop(name, None)
