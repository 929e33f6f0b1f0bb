"""Devices and precision."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import pytest
import torch

from gisegkit.cli import main
from gisegkit.engine.device import Device, pick_device
from gisegkit.errors import TrainingError
from gisegkit.machine import free_memory


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


NO_DEVICES = ["cuda:99", "tpu", "gpu", "cuda:x", "cuda:0,1", "0", "meta", "cpu,mps", ""]


@pytest.mark.parametrize("name", NO_DEVICES)
def test_a_device_that_is_not_there_is_an_error_that_lists_those_that_are(name):
    with pytest.raises(TrainingError, match=rf"--device {name}: .*there are: .*cpu"):
        pick_device(name)


@pytest.mark.parametrize("name", NO_DEVICES)
@pytest.mark.parametrize("arguments", [("check",), ("check", "--memory"), ("train",)], ids=" ".join)
@pytest.mark.slow
def test_every_command_refuses_it_in_one_line(home, tmp_path, capsys, arguments, name):
    out = ["--out", str(tmp_path / "run")] if arguments == ("train",) else []
    with pytest.raises(SystemExit) as ended:
        main([*arguments, str(home / "tiny.toml"), "--device", name, *out])
    said = capsys.readouterr()
    assert ended.value.code == 2 and said.out == ""
    assert said.err.startswith(f"error: --device {name}: ") and said.err.count("\n") == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_evaluate_and_predict_refuse_it_too(finished, capsys):
    run, _ = finished
    for verb in ("evaluate", "predict"):
        with pytest.raises(SystemExit) as ended:
            main([verb, str(run.path), "--device", "cuda:0,1"])
        said = capsys.readouterr()
        assert ended.value.code == 2 and said.err.startswith("error: --device cuda:0,1: ") and said.err.count("\n") == 1


@pytest.mark.parametrize("name", [name for name in NO_DEVICES if name != "cuda:99"])
def test_a_device_to_plan_for_need_not_be_here_and_must_be_one(home, capsys, name):
    with pytest.raises(SystemExit) as ended:
        main(["check", str(home / "tiny.toml"), "--budget", "1GiB", "--device", name])
    said = capsys.readouterr()
    assert ended.value.code == 2 and said.err.startswith(f"error: --device {name}: ") and said.err.count("\n") == 1


def test_several_devices_are_refused_as_such():
    with pytest.raises(TrainingError, match="on one device, not on several"):
        pick_device("cuda:0,1")


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


@pytest.mark.parametrize(("cores", "workers", "threads"), [(1, 1, 1), (2, 1, 2), (4, 3, 4), (64, 8, 4)])
def test_beside_a_gpu_the_processors_cores_settle_workers_and_threads(monkeypatch, cores, workers, threads):
    for module in ("device", "threaded_map"):
        monkeypatch.setattr(f"gisegkit.engine.{module}.usable_cores", lambda: cores)
    gpu = Device(torch.device("cuda"), torch.float32)
    assert (gpu.workers("auto"), gpu.threads) == (workers, threads)
    assert gpu.workers(0) == 0
    assert pick_device("cpu").threads == 0


@pytest.mark.parametrize(("hardware", "dtype"), [(True, torch.bfloat16), (False, torch.float16)])
def test_a_gpu_that_only_emulates_bf16_computes_in_fp16(monkeypatch, hardware, dtype):
    """As torch tells it on a T4: supported, but only with emulation. What a real GPU says is tests/gpu's business."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "device", lambda device: contextlib.nullcontext())
    monkeypatch.setattr(
        torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation or hardware
    )
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Tesla T4")
    assert pick_device("cuda").dtype is dtype
    if not hardware:
        with pytest.raises(TrainingError, match="no hardware for it; use fp16 or fp32"):
            pick_device("cuda", "bf16")


@pytest.mark.parametrize(("name", "chosen"), [("cuda:1", [1]), ("cuda:0", [0]), ("cuda", [])])
def test_the_gpu_that_is_asked_for_is_the_one_that_everything_uses(monkeypatch, name, chosen):
    """Page-locked memory and contexts go to the current GPU; what a real one does is tests/gpu's business."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "device", lambda device: contextlib.nullcontext())
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: True)
    current = []
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: current.append(device.index))
    assert pick_device(name).device == torch.device(name)
    assert current == chosen


@pytest.mark.parametrize(("driver", "tensors", "left"), [(0, 0, 16), (7, 5, 14), (5, 5, 16), (20, 1, 0)])
def test_on_mps_what_lies_beside_tensors_is_not_available(monkeypatch, driver, tensors, left):
    monkeypatch.setattr(torch.mps, "recommended_max_memory", lambda: 16)
    monkeypatch.setattr(torch.mps, "driver_allocated_memory", lambda: driver)
    monkeypatch.setattr(torch.mps, "current_allocated_memory", lambda: tensors)
    assert Device(torch.device("mps"), torch.float32).available() == left


@pytest.mark.parametrize("name", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
@pytest.mark.slow
def test_tensors_go_to_the_device_and_back(name):
    if name == "cuda" and not torch.cuda.is_available():
        pytest.skip("no GPU here")
    device = pick_device(name)
    images, masks = torch.rand(64, 3, 256, 256), torch.randint(0, 2, (64, 3, 256, 256), dtype=torch.uint8)
    given = [tensor.pin_memory() if device.pin else tensor for tensor in (images, masks)]
    taken = device.take(*given)
    assert [tensor.device.type for tensor in taken] == [name, name]
    waits = [device.to_cpu_async(tensor + 1) for tensor in taken]
    assert torch.equal(waits[0](), images + 1)
    assert torch.equal(waits[1](), masks + 1)


def test_losses_are_read_every_step_where_that_costs_nothing():
    assert pick_device("cpu").log_every == 1
    assert Device(torch.device("cuda"), torch.float32).log_every > 1
