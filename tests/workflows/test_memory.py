"""What giseg check --memory prints: the prediction by parts, the plan, and what would help."""

from __future__ import annotations

import re

import pytest

from gisegkit.build.experiment import Experiment
from gisegkit.engine.criterion import Criterion
from gisegkit.errors import TrainingError
from gisegkit.workflows.memory import DeviceSpec, memory_lines

GIB = 2**30


@pytest.mark.slow
def test_check_memory_prints_parts_that_add_up(recipe, registries):
    lines = list(memory_lines(Experiment(recipe(), registries), DeviceSpec(16 * GIB)))
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
    assert "on cpu in fp32" in next(memory_lines(Experiment(recipe(), registries), DeviceSpec(GIB, "cpu")))
    assert "on cuda in fp16" in next(
        memory_lines(Experiment(recipe("train.precision=fp16"), registries), DeviceSpec(GIB))
    )
    assert "on cpu in fp32" in next(memory_lines(Experiment(recipe(), registries), DeviceSpec(None)))


@pytest.mark.slow
def test_a_micro_batch_of_the_recipe_is_what_is_predicted(recipe, registries):
    lines = list(memory_lines(Experiment(recipe("train.micro_batch=2"), registries), DeviceSpec(GIB)))
    assert "of 2 slices" in next(line for line in lines if "activations" in line)
    assert any(line.startswith("plan: 4 passes of up to 2 slices") for line in lines)


@pytest.mark.slow
def test_check_memory_says_what_a_cpu_does_without_a_limit(recipe, registries, monkeypatch):
    lines = list(memory_lines(Experiment(recipe(), registries), DeviceSpec(None, "cpu")))
    assert any(line.startswith("plan: all 8 slices at once: ") for line in lines)
    assert not any("on a CPU" in line for line in lines)
    monkeypatch.setattr("gisegkit.engine.device.free_memory", lambda: 5 * 10**6)
    lines = list(memory_lines(Experiment(recipe(), registries), DeviceSpec(None, "cpu")))
    assert any(re.match("no plan: all 8 slices at once: .* does not fit", line) for line in lines)
    assert any("is cut only with --set train.memory=SIZE; in 4 MiB: " in line for line in lines)
    lines = list(memory_lines(Experiment(recipe(), registries), DeviceSpec(5 * 10**6, "cpu")))
    assert any("follows this plan only with --set train.memory=SIZE" in line for line in lines)
    lines = list(memory_lines(Experiment(recipe("train.memory=64GiB"), registries), DeviceSpec(None, "cpu")))
    assert any(line.startswith("plan: ") for line in lines) and not any("only with" in line for line in lines)


@pytest.mark.slow
def test_a_step_that_cannot_be_predicted_is_said_in_the_words_of_training(recipe, registries, monkeypatch):
    monkeypatch.setattr(Criterion, "terms", lambda self, logits, target: target.sum().item())
    (line,) = list(memory_lines(Experiment(recipe("train.micro_batch=3"), registries), DeviceSpec(GIB)))[1:]
    assert line.startswith("memory cannot be predicted (") and "starts with micro-batches of 3, halved" in line


@pytest.mark.parametrize("device", ["foo", "meta"])
def test_a_device_that_memory_cannot_be_planned_for_is_refused(recipe, registries, device):
    with pytest.raises(TrainingError, match=f"--device {device}: memory is planned for cpu, cuda or mps"):
        list(memory_lines(Experiment(recipe(), registries), DeviceSpec(GIB, device)))


@pytest.mark.slow
def test_data_that_are_not_here_are_assumed_and_that_is_said(recipe, registries, tmp_path):
    away = ("dataset.name=uwmgi", f"dataset.root={(tmp_path / 'nowhere').as_posix()}", "input.slices=5")
    lines = list(memory_lines(Experiment(recipe(*away), registries), DeviceSpec(GIB)))
    assert "5 x 32 x 32 pixels, 3 classes" in lines[0]
    assert "the data are not here" in lines[1]
    two = list(
        memory_lines(
            Experiment(recipe(*away, "dataset.classes=['stomach','small_bowel']"), registries), DeviceSpec(GIB)
        )
    )
    assert "2 classes" in two[0]


@pytest.mark.slow
def test_no_weights_are_downloaded_for_it(recipe, registries):
    given = ("model.encoder=resnet18", "model.weights=imagenet")
    assert list(memory_lines(Experiment(recipe(*given), registries), DeviceSpec(GIB)))[-1].startswith("plan: ")


@pytest.mark.slow
def test_what_would_help_is_said_where_no_healthy_micro_batch_fits(recipe, registries):
    large = (
        "input.size=[128,128]",
        "train.batch_size=8",
        "train.precision=fp32",
        "train.activation_checkpointing=auto",
    )
    lines = list(memory_lines(Experiment(recipe(*large), registries), DeviceSpec(630 * 2**20)))
    plan = next(index for index, line in enumerate(lines) if line.startswith(("plan:", "no plan:")))
    assert lines[plan + 1] == "what would help:"
    assert any("train.precision=bf16" in line for line in lines[plan + 2 :])
