"""The same code path on a GPU; skipped, with the reason, if there is none."""

from __future__ import annotations

import pytest
import torch

from gisegkit.build.session import Session
from gisegkit.workflows.train import train

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no CUDA device"),
]


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_every_precision_trains(home, session, recipe, precision):
    on_gpu = Session(session.plugins, device="cuda")
    run = train(on_gpu.experiment(recipe(f"train.precision={precision}")), home / f"cuda-{precision}")
    losses = [entry["loss"] for entry in run.metrics()]
    assert losses[-1] < losses[0]
    assert run.metrics()[-1]["peak_memory"] > 0


def test_a_run_repeats(home, session, recipe):
    on_gpu = Session(session.plugins, device="cuda")
    first, second = (train(on_gpu.experiment(recipe()), home / f"cuda-{number}") for number in (1, 2))
    assert [entry["loss"] for entry in first.metrics()] == pytest.approx([entry["loss"] for entry in second.metrics()])
