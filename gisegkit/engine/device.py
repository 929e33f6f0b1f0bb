"""Devices and precision: one code path for ``cpu``, ``cuda`` and ``mps``."""

from __future__ import annotations

import contextlib
import functools
import gc
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from gisegkit.engine.threaded_map import thread_count
from gisegkit.errors import TrainingError
from gisegkit.machine import free_memory, usable_cores

CPU_SHARE = 0.8
"""Of the free main memory; the rest is for loaders, scoring, and other programs."""

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Device:
    """Where the run computes and with which precision.

    Attributes:
        device: the torch device.
        dtype: of the forward pass; parameters, losses and metrics stay float32.
    """

    device: torch.device
    dtype: torch.dtype

    def autocast(self) -> contextlib.AbstractContextManager[object]:
        """The context of a forward pass."""
        if self.dtype is torch.float32:
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, dtype=self.dtype)

    def scaler(self) -> torch.amp.GradScaler:
        """Scales the loss where float16 gradients would vanish; does nothing for other precisions."""
        return torch.amp.GradScaler(self.device.type, enabled=self.dtype is torch.float16)

    @property
    def precision(self) -> str:
        """The precision's name in a recipe: ``fp32``, ``bf16`` or ``fp16``."""
        return next(name for name, dtype in PRECISIONS.items() if dtype is self.dtype)

    @property
    def pin(self) -> bool:
        """Whether loaders should use page-locked memory."""
        return self.device.type == "cuda"

    @property
    def log_every(self) -> int:
        """Steps between two readings of the losses: reading waits for the device; on a CPU it costs nothing."""
        return 1 if self.device.type == "cpu" else 50

    @property
    def threads(self) -> int:
        """Threads for the CPU's share of validation and prediction; none on a CPU, whose cores the network takes."""
        return 0 if self.device.type == "cpu" else thread_count()

    def workers(self, setting: int | str) -> int:
        """The number of loader processes for ``[train] workers``.

        ``auto`` is none on a CPU, where they would take cores from the training, and beside a GPU one for each core
        but the one that drives it, 8 at most.
        """
        if setting != "auto":
            return int(setting)
        return 0 if self.device.type == "cpu" else min(8, max(1, usable_cores() - 1))

    def take(self, *tensors: torch.Tensor) -> list[torch.Tensor]:
        """The tensors on the device.

        On CUDA, and out of page-locked memory, they are copied while the device computes what it was given before; what
        it is given next waits for them. The host waits for nothing.
        """
        if self.device.type != "cuda":
            # Not on MPS either: such a copy could still read memory that a worker is filling anew.
            return [tensor.to(self.device) for tensor in tensors]
        copying, computing = _copy_stream(self.device), torch.cuda.current_stream(self.device)
        with torch.cuda.stream(copying):
            taken = [tensor.to(self.device, non_blocking=True) for tensor in tensors]
        computing.wait_stream(copying)
        for tensor in taken:
            tensor.record_stream(computing)  # else their memory could be filled anew while the computation reads it
        return taken

    def to_cpu_async(self, tensor: torch.Tensor) -> Callable[[], torch.Tensor]:
        """Start to copy a tensor to main memory; the function that comes back waits for it, in whatever thread."""
        if self.device.type != "cuda":
            here = tensor.cpu()
            return lambda: here
        here, done = tensor.to("cpu", non_blocking=True), torch.cuda.Event()  # type: ignore[no-untyped-call]
        done.record(torch.cuda.current_stream(self.device))

        def wait() -> torch.Tensor:
            done.synchronize()
            return here

        return wait

    def release(self) -> None:
        """Give memory that nothing uses back to the device."""
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        elif self.device.type == "mps":
            torch.mps.empty_cache()

    def available(self) -> int:
        """Bytes that this process can have on the device, what its tensors take already included."""
        if self.device.type == "cuda":
            return int(torch.cuda.mem_get_info(self.device)[0]) + torch.cuda.memory_reserved(self.device)
        if self.device.type == "mps":
            # What the process holds beside its tensors: Metal's compiled graphs, and memory kept to be used again.
            beside = torch.mps.driver_allocated_memory() - torch.mps.current_allocated_memory()
            return max(0, int(torch.mps.recommended_max_memory()) - max(0, beside))
        return int(free_memory() * CPU_SHARE)

    def reset_peak(self) -> None:
        """Start measuring peak memory anew."""
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
        elif self.device.type == "cpu":
            with contextlib.suppress(OSError):  # only Linux has it
                Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")

    def peak(self) -> int:
        """Bytes taken at most since ``reset_peak``: by tensors on a GPU, by the process on a CPU; 0 where unknown."""
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device)
        status = Path("/proc/self/status")
        if self.device.type != "cpu" or not status.is_file():
            return 0
        found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text(encoding="utf-8"))
        return int(found[1]) * 1024 if found else 0

    def __str__(self) -> str:
        name = f" ({torch.cuda.get_device_name(self.device)})" if self.device.type == "cuda" else ""
        return f"{self.device}{name}, {next(key for key, value in PRECISIONS.items() if value is self.dtype)}"


def pick_device(name: str = "auto", precision: str = "auto") -> Device:
    """The device of that name, checked to be there.

    Args:
        name: ``auto`` (cuda, then mps, then cpu), ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.
        precision: ``auto``, ``fp32``, ``bf16`` or ``fp16``.

    Raises:
        TrainingError: if there is no such device, or it does not know the precision.
    """
    available = ["cpu"]
    if torch.backends.mps.is_available():
        available.insert(0, "mps")
    if torch.cuda.is_available():
        available.insert(0, "cuda")
    device = parse_device(available[0] if name == "auto" else name, there=", ".join(available))
    if device.type not in available or (device.index or 0) >= max(1, torch.cuda.device_count()):
        raise TrainingError(f"--device {name}: this machine has none; there are: {', '.join(available)}")
    if device.type == "cuda" and device.index is not None:
        torch.cuda.set_device(device)  # otherwise page-locked memory would open a context on the first GPU as well
    bf16 = _computes_bf16(device)
    if precision == "auto":
        precision = {"cpu": "fp32", "mps": "fp32"}.get(device.type, "bf16" if bf16 else "fp16")
    if precision == "bf16" and not bf16:
        raise TrainingError(f"train.precision = bf16: {device} has no hardware for it; use fp16 or fp32")
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    return Device(device, PRECISIONS[precision])


def parse_device(name: str, *, there: str = "cpu, cuda, cuda:1, mps") -> torch.device:
    """The device of that name, which need not be here.

    Args:
        name: ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.
        there: what could be asked for, for the error.

    Raises:
        TrainingError: if it is no name of a device, or names several.
    """
    if "," in name:
        raise TrainingError(f"--device {name}: gisegkit computes on one device, not on several; there are: {there}")
    try:
        return torch.device(name)
    except (RuntimeError, TypeError, ValueError):
        raise TrainingError(f"--device {name}: no such device; there are: {there}") from None


def _computes_bf16(device: torch.device) -> bool:
    """Whether the hardware does; older GPUs (T4, P100, V100) only emulate it, slower than float32."""
    if device.type != "cuda":
        return device.type == "cpu"
    with torch.cuda.device(device):
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))


@functools.cache
def _copy_stream(device: torch.device) -> torch.cuda.Stream:
    """The stream for copies to a GPU, beside the one that computes."""
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
