"""Prediction against the measured peak on a GPU, and training in a small share of it; skipped if there is none."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest
import torch

from gisegkit.build.experiment import Experiment
from gisegkit.build.memory_plan import simulate
from gisegkit.build.network import build_network
from gisegkit.build.session import Session
from gisegkit.engine.checkpointing import disable, enable
from gisegkit.engine.device import pick_device
from gisegkit.recipe.load import load_recipe
from gisegkit.workflows.train import train

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no CUDA device"),
]

RECIPES = Path(__file__).parent.parent.parent / "recipes"
DECK = (
    "unet_resnet34",
    "unet_effb1",
    "unetplusplus_resnet34",
    "unetplusplus_effb1",
    "unetplusplus_effb1_mixup",
    "deeplabv3_effb1",
    "r2unet",
    "r2unet_effb1",
)


@pytest.mark.parametrize("recomputed", [False, True])
@pytest.mark.parametrize("pixels", [224, 384])
@pytest.mark.parametrize("name", DECK)
def test_the_predicted_peak_is_within_15_per_cent(registries, name, pixels, recomputed):
    recipe = load_recipe(RECIPES / f"{name}.toml", registries=registries, overrides=[f"input.size=[{pixels},{pixels}]"])
    device = pick_device("cuda", recipe.train.precision)
    experiment = Experiment(recipe, registries)
    model = build_network(experiment, channels=1, classes=3, trained=True)
    model = model.to(device.device).to(memory_format=torch.channels_last).train()
    criterion = experiment.criterion
    step = simulate(experiment, model=model, channels=1, classes=3, device=device)
    estimate = step.estimate(8, checkpointing=recomputed)
    blocks = step.recomputable if recomputed else []
    enable(blocks)
    images = torch.rand(8, 1, pixels, pixels, device="cuda").contiguous(memory_format=torch.channels_last)
    masks = (torch.rand(8, 3, pixels, pixels, device="cuda") < 0.2).float()
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    try:
        for _ in range(2):
            torch.cuda.reset_peak_memory_stats()
            before = torch.cuda.memory_allocated()
            with device.autocast():
                logits = model(images)
            sum(criterion(logits, masks) for _ in range(step.targets)).backward()
            measured = torch.cuda.max_memory_allocated() - before
            del logits
    finally:
        disable(blocks)
    fixed = estimate.parameters + estimate.gradients
    assert estimate.activations + fixed == pytest.approx(measured + fixed, rel=0.15)


def test_a_process_with_little_memory_trains_all_the_same(home, session, recipe):
    """A cap that the plan does not know of: the step is repeated in smaller pieces until it fits."""
    on_gpu = Session(session.plugins, device="cuda")
    large = recipe("input.size=[256,256]", "train.batch_size=16", "train.micro_batch=0", "train.epochs=1")
    whole = train(on_gpu.experiment(large), home / "cuda-whole").metrics()[-1]["peak_memory"]
    total = torch.cuda.get_device_properties(0).total_memory
    gc.collect()  # networks of earlier tests hold on to themselves, and so to memory that is to be given back
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(0.6 * whole / total)
    try:
        run = train(on_gpu.experiment(large), home / "cuda-capped")
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert run.metrics()[-1]["notes"], "memory ran out and the step was repeated"
    assert run.metrics()[-1]["peak_memory"] < 0.6 * whole
