"""How a recipe meets a memory: facts without data, a device that is not here, and what is printed."""

from __future__ import annotations

import pytest
import torch

from gisegkit.build import build_criterion, build_model
from gisegkit.engine.checkpointing import is_enabled
from gisegkit.engine.device import pick_device
from gisegkit.engine.memory import Simulation
from gisegkit.errors import TrainingError
from gisegkit.planning import Named, cut, memory_lines, simulate

GIB = 2**30


@pytest.fixture
def step(recipe, registries):
    """The tiny recipe's step, with overrides, and the recipe."""

    def make(*overrides):
        chosen = recipe(*overrides)
        model = build_model(chosen, registries, channels=3, classes=3)
        criterion = build_criterion(chosen, registries)
        device = pick_device("cpu", chosen.train.precision)
        return chosen, simulate(
            chosen, registries, model=model, criterion=criterion, channels=3, classes=3, device=device
        )

    return make


def test_a_recipe_becomes_its_step(step):
    _, simulation = step()
    assert (simulation.size, simulation.batch_size) == ((32, 32), 8)
    assert simulation.targets == 2, "mixup makes two weighted targets"
    assert simulation.state_per_weight == 2, "Adam remembers two numbers a weight"
    assert step("batch_transform=[]")[1].targets == 1


def test_a_loss_that_starts_late_is_planned_for(step):
    early, late = (
        step("loss.0.end_epoch=0", f"loss.1.start_epoch={first}")[1].estimate(8).activations for first in (1, 3)
    )
    assert early == late


def test_auto_takes_what_fits_and_says_so(step):
    recipe, simulation = step()
    cutting, plan, line = cut(recipe, simulation, pick_device("cpu"))
    assert (cutting.micro_batch, plan.micro_batch, cutting.recomputing) == (8, 8, False)
    assert line.startswith("memory: all 8 slices at once: ")
    assert len(cutting.blocks) > 3, "ready to be recomputed where memory runs out all the same"


def test_the_recipe_may_settle_everything(step):
    recipe, simulation = step("train.micro_batch=3", "train.activation_checkpointing=on")
    cutting, plan, line = cut(recipe, simulation, pick_device("cpu"))
    assert (cutting.micro_batch, plan, line) == (3, None, "")
    assert cutting.recomputing
    recipe, simulation = step("train.micro_batch=0", "train.activation_checkpointing=off")
    cutting, _, _ = cut(recipe, simulation, pick_device("cpu"))
    assert (cutting.micro_batch, list(cutting.blocks)) == (8, [])


def test_a_small_memory_is_met_by_recomputing_first(step):
    recipe, simulation = step()
    whole, spared = simulation.estimate(8), simulation.estimate(8, checkpointing=True)
    assert spared.total < whole.total
    recipe, simulation = step(f"train.memory={(whole.total + spared.total) // 2}B")
    cutting, plan, line = cut(recipe, simulation, pick_device("cpu"))
    assert (plan.micro_batch, plan.checkpointing, cutting.recomputing) == (8, True, True)
    assert "activations recomputed" in line
    assert all(map(is_enabled, cutting.blocks))


def test_where_nothing_fits_the_error_says_by_how_much_and_what_would_help(step):
    recipe, simulation = step("train.memory=1MB", "input.size=[128,128]")
    with pytest.raises(TrainingError) as caught:
        cut(recipe, simulation, pick_device("cpu"))
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
    recipe, simulation = step()
    blind = Simulation(**{**vars(simulation), "model": Looking()})
    cutting, plan, line = cut(recipe, blind, pick_device("cpu"))
    assert (cutting.micro_batch, plan) == (8, None)
    assert "cannot be predicted (DataDependent" in line and "halved" in line


# --- check --memory -------------------------------------------------------------------------------------------------


def test_check_memory_prints_parts_that_add_up(recipe, registries):
    lines = list(memory_lines(recipe(), registries, Named(16 * GIB)))
    assert "on cuda in bf16" in lines[0] and "3 x 32 x 32 pixels, 3 classes" in lines[0]
    names = [line.split()[0] for line in lines[1:-1]]
    assert names == [
        "parameters",
        "gradients",
        "optimizer",
        "batch",
        "activations",
        "workspace",
        "context",
        "together",
    ]
    assert "adam: 2 numbers a weight" in lines[3] and "8 slices with 2 weighted targets" in lines[4]
    assert lines[-1].startswith("plan: all 8 slices at once: ")


def test_the_device_decides_the_precision(recipe, registries):
    assert "on cpu in fp32" in next(memory_lines(recipe(), registries, Named(GIB, "cpu")))
    assert "on cuda in fp16" in next(memory_lines(recipe("train.precision=fp16"), registries, Named(GIB)))
    assert "on cpu in fp32" in next(memory_lines(recipe(), registries, Named(None)))


def test_a_micro_batch_of_the_recipe_is_what_is_predicted(recipe, registries):
    lines = list(memory_lines(recipe("train.micro_batch=2"), registries, Named(GIB)))
    assert "of 2 slices" in next(line for line in lines if "activations" in line)
    assert any(line.startswith("plan: 4 passes of up to 2 slices") for line in lines)


@pytest.mark.parametrize("device", ["foo", "meta"])
def test_a_device_that_memory_cannot_be_planned_for_is_refused(recipe, registries, device):
    with pytest.raises(TrainingError, match=f"--device {device}: memory is planned for cpu, cuda or mps"):
        list(memory_lines(recipe(), registries, Named(GIB, device)))


def test_data_that_are_not_here_are_assumed_and_that_is_said(recipe, registries, tmp_path):
    away = ("dataset.name=uwmgi", f"dataset.root={(tmp_path / 'nowhere').as_posix()}", "input.slices=5")
    lines = list(memory_lines(recipe(*away), registries, Named(GIB)))
    assert "5 x 32 x 32 pixels, 3 classes" in lines[0]
    assert "the data are not here" in lines[1]
    two = list(memory_lines(recipe(*away, "dataset.classes=['stomach','small_bowel']"), registries, Named(GIB)))
    assert "2 classes" in two[0]


def test_no_weights_are_downloaded_for_it(recipe, registries):
    given = ("model.encoder=resnet18", "model.weights=imagenet", "model.decoder_channels=[16,16,8,8,8]")
    assert list(memory_lines(recipe(*given), registries, Named(GIB)))[-1].startswith("plan: ")


def test_what_would_help_is_said_where_no_healthy_micro_batch_fits(recipe, registries):
    large = ("input.size=[384,384]", "train.batch_size=64", "model.encoder=resnet18", "train.precision=fp32")
    lines = list(memory_lines(recipe(*large), registries, Named(GIB)))
    plan = next(index for index, line in enumerate(lines) if line.startswith(("plan:", "no plan:")))
    assert lines[plan + 1] == "what would help:"
    assert any("train.precision=bf16" in line for line in lines[plan + 2 :])
