"""How a recipe meets a memory: facts without data, a device that is not here, and what is printed."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
import torch

from gisegkit.build.experiment import Experiment
from gisegkit.build.memory_plan import choose_micro_batches, needs_prediction, simulate
from gisegkit.build.network import build_network
from gisegkit.engine.checkpointing import is_enabled
from gisegkit.engine.criterion import Criterion
from gisegkit.engine.device import Device, pick_device
from gisegkit.engine.memory import Simulation
from gisegkit.errors import TrainingError
from gisegkit.plugins import load_plugins
from gisegkit.recipe.load import load_recipe
from gisegkit.registry.adder import Adder
from gisegkit.registry.kinds import Owner
from gisegkit.workflows.memory import DeviceSpec, memory_lines

GIB = 2**30


@pytest.fixture
def step(recipe, registries):
    """The tiny recipe's step, with overrides, and the recipe; a network of few layers is simulated sooner."""

    def make(*overrides):
        chosen = recipe("train.activation_checkpointing=auto", *overrides)
        return chosen, simulated(registries, chosen)

    return make


def test_a_recipe_becomes_its_step(step):
    _, simulation = step()
    assert (simulation.size, simulation.batch_size) == ((32, 32), 8)
    assert simulation.targets == 2, "mixup makes two weighted targets"
    assert simulation.state_per_weight == 2, "Adam remembers two numbers a weight"
    assert step("batch_transform=[]")[1].targets == 1


@pytest.mark.slow
def test_a_loss_that_starts_late_is_planned_for(step):
    early, late = (
        step("loss.0.end_epoch=0", f"loss.1.start_epoch={first}")[1].estimate(8).activations for first in (1, 3)
    )
    assert early == late


@pytest.mark.slow
def test_auto_takes_what_fits_and_says_so(step):
    recipe, simulation = step("train.memory=64GiB")
    micro_batching, plan, line = choose_micro_batches(recipe.train, simulation, pick_device("cpu"))
    assert (micro_batching.size, plan.micro_batch, micro_batching.recomputing) == (8, 8, False)
    assert line.startswith("memory: all 8 slices at once: ")
    assert len(micro_batching.blocks) > 3, "ready to be recomputed where memory runs out all the same"


@pytest.mark.parametrize("free", [0, 10**6, 10**12])
def test_on_a_cpu_what_is_free_changes_nothing(step, monkeypatch, free):
    """The whole batch, and nothing is simulated to find that out; where it cannot fit, a line says so."""
    recipe, simulation = step()
    certain = simulation.estimate(8).total
    monkeypatch.setattr("gisegkit.engine.device.free_memory", lambda: free)
    monkeypatch.setattr(Simulation, "estimate", None)
    micro_batching, plan, line = choose_micro_batches(recipe.train, simulation, pick_device("cpu"))
    assert (micro_batching.size, plan, micro_batching.recomputing) == (8, None, False)
    assert certain / 4 < simulation.at_least(8) < certain
    assert bool(line) is (simulation.at_least(8) > 0.8 * free)
    assert not line or re.match(r"memory: a step of 8 slices takes .* or more, and .* --set train\.memory=1MiB", line)
    assert len(micro_batching.blocks) > 3


@pytest.mark.slow
def test_beside_a_gpu_it_is_what_is_free_that_counts(step, monkeypatch):
    recipe, simulation = step()
    whole = simulation.estimate(8).total
    gpu = Device(torch.device("cuda"), torch.float32)
    monkeypatch.setattr(Device, "available", lambda self: whole - 1)
    micro_batching, plan, _ = choose_micro_batches(recipe.train, simulation, gpu)
    assert plan.checkpointing or micro_batching.size < 8


@pytest.mark.parametrize("checkpointing", ["on", "auto", "off"])
@pytest.mark.parametrize("micro_batch", ["4", "0", "auto"])
@pytest.mark.parametrize(("memory", "resident"), [("auto", 1000), ("64GiB", 1000), ("64GiB", 0)])
@pytest.mark.slow
def test_slices_on_the_device_leave_activation_checkpointing_as_it_was_asked_for(
    step, resident, memory, micro_batch, checkpointing
):
    recipe, simulation = step(
        f"train.micro_batch={micro_batch}", f"train.memory={memory}", f"train.activation_checkpointing={checkpointing}"
    )
    micro_batching, _, _ = choose_micro_batches(
        recipe.train, replace(simulation, resident=resident), pick_device("cpu")
    )
    assert micro_batching.recomputing is (checkpointing == "on")


@pytest.mark.slow
def test_a_plan_that_recomputes_still_does_beside_slices_on_the_device(step):
    _, simulation = step()
    whole, spared = simulation.estimate(8), simulation.estimate(8, checkpointing=True)
    recipe, simulation = step(f"train.memory={(whole.total + spared.total) // 2 + 1000}B")
    micro_batching, plan, _ = choose_micro_batches(recipe.train, replace(simulation, resident=1000), pick_device("cpu"))
    assert plan.checkpointing and micro_batching.recomputing


class Sums(torch.nn.Module):
    """A loss that looks at values."""

    def forward(self, logits, target):
        return logits.mean() * target.sum().item()


@pytest.mark.parametrize("memory", ["auto", "64GiB"])
def test_a_loss_that_cannot_be_predicted_leaves_it_too(step, memory):
    recipe, simulation = step("train.activation_checkpointing=on", f"train.memory={memory}")
    blind = replace(simulation, criterion=Criterion([("sums", 1.0, Sums())]), resident=1000)
    micro_batching, plan, line = choose_micro_batches(recipe.train, blind, pick_device("cpu"))
    assert micro_batching.recomputing and plan is None
    assert ("memory cannot be predicted (loss 'sums': " in line) is (memory != "auto")


def test_checkpointing_that_changes_nothing_is_said(step):
    recipe, simulation = step("train.activation_checkpointing=on")
    micro_batching, _, line = choose_micro_batches(
        recipe.train, replace(simulation, model=torch.nn.Conv2d(3, 3, 1)), pick_device("cpu")
    )
    assert not micro_batching.recomputing
    assert line.startswith('train.activation_checkpointing = "on" changes nothing for this network: it has no blocks')
    _, _, line = choose_micro_batches(recipe.train, replace(simulation, model=Looking()), pick_device("cpu"))
    assert "changes nothing for this network: model 'unet' of gisegkit" in line and "DataDependent" in line


def test_the_recipe_may_settle_everything(step):
    recipe, simulation = step("train.micro_batch=3", "train.activation_checkpointing=on")
    micro_batching, plan, line = choose_micro_batches(recipe.train, simulation, pick_device("cpu"))
    assert (micro_batching.size, plan, line) == (3, None, "")
    assert micro_batching.recomputing
    recipe, simulation = step("train.micro_batch=0", "train.activation_checkpointing=off")
    micro_batching, _, _ = choose_micro_batches(recipe.train, simulation, pick_device("cpu"))
    assert (micro_batching.size, list(micro_batching.blocks)) == (8, [])


@pytest.mark.slow
def test_a_small_memory_is_met_by_recomputing_first(step):
    recipe, simulation = step()
    whole, spared = simulation.estimate(8), simulation.estimate(8, checkpointing=True)
    assert spared.total < whole.total
    recipe, simulation = step(f"train.memory={(whole.total + spared.total) // 2}B")
    micro_batching, plan, line = choose_micro_batches(recipe.train, simulation, pick_device("cpu"))
    assert (plan.micro_batch, plan.checkpointing, micro_batching.recomputing) == (8, True, True)
    assert "activations recomputed" in line
    assert all(map(is_enabled, micro_batching.blocks))


@pytest.mark.slow
def test_where_nothing_fits_the_error_says_by_how_much_and_what_would_help(step):
    recipe, simulation = step("train.memory=1MB", "input.size=[64,64]")
    with pytest.raises(TrainingError) as caught:
        choose_micro_batches(recipe.train, simulation, pick_device("cpu"))
    text = str(caught.value)
    assert "predicted to take" in text and "there are 977 KiB (train.memory)" in text
    assert "encoder" in text and "--set train.micro_batch=1" in text


class Looking(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 3, 1)

    def forward(self, images):
        return self.conv(images) if images.sum() > 0 else self.conv(-images)


def test_a_network_that_cannot_be_predicted_starts_whole_and_says_so(step):
    recipe, simulation = step("train.memory=1GiB")
    micro_batching, plan, line = choose_micro_batches(
        recipe.train, replace(simulation, model=Looking()), pick_device("cpu")
    )
    assert (micro_batching.size, plan) == (8, None)
    assert re.search(r"cannot be predicted \(model 'unet' of gisegkit \S+: DataDependent", line)
    assert "the whole batch, halved" in line and "docs/plugins.md" in line


# --- code of plugins ------------------------------------------------------------------------------------------------


class Picky:
    """A batch transform that refuses black slices."""

    def __call__(self, batch, rng):
        if not batch.images.any():
            raise ZeroDivisionError("mean of a black slice")
        return batch


class Sharp(torch.optim.SGD):
    """An optimizer that cannot take a step on its own."""

    def step(self, closure):
        return super().step(closure)


def sharp(*, params):
    """Stochastic gradient descent with a closure."""
    return Sharp(params, lr=0.1)


@pytest.fixture
def with_plugin(home):
    """Session and recipe with the two, and overrides."""

    def make(*overrides):
        plugins = load_plugins(selection="none")
        adder = Adder(Owner("giseg-picky", "0.1"))
        adder.batch_transform("picky", Picky)
        adder.optimizer("sharp", sharp)
        for component in adder.components:
            plugins.registries[component.kind].add(component)
        swaps = ("batch_transform=[{name='picky'}]", "optimizer.name=sharp")
        recipe = load_recipe(home / "tiny.toml", registries=plugins.registries, overrides=(*swaps, *overrides))
        return plugins.registries, recipe

    return make


def simulated(registries, recipe, **given):
    experiment, device = Experiment(recipe, registries), pick_device("cpu", recipe.train.precision)
    model = build_network(experiment, channels=3, classes=3)
    return simulate(experiment, model=model, channels=3, classes=3, device=device, resident=0, **given)


@pytest.mark.slow
def test_what_plugins_raise_in_a_trial_is_said_and_training_goes_on(with_plugin):
    registries, recipe = with_plugin("train.memory=64GiB")
    assert needs_prediction(recipe, pick_device("cpu"))
    simulation = simulated(registries, recipe)
    micro_batching, _, text = choose_micro_batches(recipe.train, simulation, pick_device("cpu"))
    transform, optimizer, memory = text.splitlines()
    assert transform.startswith("batch_transform 'picky' of giseg-picky 0.1 raised ZeroDivisionError: mean of a black")
    assert optimizer.startswith("optimizer 'sharp' of giseg-picky 0.1 raised TypeError")
    assert memory.startswith("memory: all 8 slices at once")
    assert (simulation.targets, simulation.state_per_weight, micro_batching.size) == (1, 2.0, 8)
    lines = list(memory_lines(Experiment(recipe, registries), DeviceSpec(GIB)))
    assert [line.strip() for line in lines[1:3]] == [transform, optimizer]


@pytest.mark.parametrize("settled", [("train.micro_batch=4",), ("train.micro_batch=0",), ()])
def test_where_nothing_is_planned_no_code_of_plugins_is_tried(with_plugin, monkeypatch, settled):
    registries, recipe = with_plugin(*settled)
    assert not needs_prediction(recipe, pick_device("cpu"))
    monkeypatch.setattr(Picky, "__call__", None)
    monkeypatch.setattr(Sharp, "step", None)
    simulation = simulated(registries, recipe, needed=needs_prediction(recipe, pick_device("cpu")))
    assert simulation.notes == ()
    assert choose_micro_batches(recipe.train, simulation, pick_device("cpu"))[2] == ""


def test_slices_on_the_device_and_gpus_need_the_prediction(recipe):
    gpu, cpu = Device(torch.device("cuda"), torch.float32), pick_device("cpu")
    kept = ("input.store=device", "augmentation.name=none", "train.micro_batch=4")
    assert needs_prediction(recipe(*kept), cpu) and needs_prediction(recipe(), gpu)
    assert not needs_prediction(recipe("train.micro_batch=4"), gpu)


# --- check --memory -------------------------------------------------------------------------------------------------
