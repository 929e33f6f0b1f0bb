"""Devices and precision."""

from __future__ import annotations

import pytest
import torch

from gisegkit.engine.device import pick_device
from gisegkit.errors import TrainingError


def test_cpu_is_always_there():
    device = pick_device("cpu")
    assert device.device.type == "cpu" and device.dtype is torch.float32
    assert not device.pin and device.peak() == 0
    assert str(device) == "cpu, fp32"


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
