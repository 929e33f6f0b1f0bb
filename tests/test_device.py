"""Devices and precision."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from gisegkit.engine.device import free_memory, pick_device
from gisegkit.errors import TrainingError


def test_cpu_is_always_there():
    device = pick_device("cpu")
    assert device.device.type == "cpu" and device.dtype is torch.float32
    assert not device.pin
    assert str(device) == "cpu, fp32"


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only Linux tells a process its peak")
def test_the_peak_of_the_process_is_counted_anew_on_a_cpu():
    device = pick_device("cpu")
    device.reset_peak()
    before = device.peak()
    block = torch.ones(64 * 2**20, dtype=torch.uint8)
    assert device.peak() >= before + 0.9 * block.numel()
    del block
    device.reset_peak()
    assert device.peak() < before + 32 * 2**20


def test_free_memory_is_a_part_of_the_machines():
    free = free_memory()
    assert 0 < free <= os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert pick_device("cpu").available() == pytest.approx(0.8 * free, rel=0.2)


def test_auto_takes_the_best_there_is():
    best = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    assert pick_device("auto").device.type == best


@pytest.mark.parametrize("name", ["cuda:99", "tpu", "gpu"])
def test_a_device_that_is_not_there_is_an_error_that_lists_those_that_are(name):
    with pytest.raises(TrainingError, match=rf"--device {name}.*there are: .*cpu"):
        pick_device(name)


@pytest.mark.parametrize(("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_autocast(precision, dtype):
    device = pick_device("cpu", precision)
    with device.autocast():
        assert torch.nn.Linear(2, 2)(torch.zeros(1, 2)).dtype is dtype
    assert not device.scaler().is_enabled()


def test_only_float16_scales_the_loss():
    assert pick_device("cpu", "fp16").scaler().is_enabled()


def test_workers():
    assert pick_device("cpu").workers("auto") == 0
    assert pick_device("cpu").workers(3) == 3
