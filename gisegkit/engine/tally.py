"""Counts the tensors of a simulated training step, as CPU, CUDA or MPS would create them."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Iterator
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from gisegkit.engine.device import Device

BLOCK = 512
"""Bytes; the caching allocator of CUDA rounds every tensor up to a multiple of it."""


class Tally(TorchDispatchMode):
    """Counts the bytes of the tensors that operations create, while anything refers to them.

    Attributes:
        peak: the most bytes that lived at once.
        workspace: bytes of input and output of the largest convolution.
        convolved: bytes of the output of all convolutions.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = 0
        self.peak = 0
        self.workspace = 0
        self.convolved = 0
        self._live: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        tensors = [leaf for leaf in tree_leaves(output) if isinstance(leaf, torch.Tensor)]
        known = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
        given = {tensor.untyped_storage()._cdata for tensor in known}
        for tensor in tensors:
            if tensor.untyped_storage()._cdata not in given:
                self._add(tensor.untyped_storage())
        if "convolution" in str(func):
            self.convolved += sum(map(size_of, tensors))
            self.workspace = max(self.workspace, sum(map(size_of, tensors)) + sum(map(size_of, known[:1])))
        return output

    def _add(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, -(-storage.nbytes() // BLOCK) * BLOCK
        if key in self._live:
            return
        self._live.add(key)
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._drop, key, size)

    def _drop(self, key: int, size: int) -> None:
        self._live.discard(key)
        self.now -= size


FULL_PRECISION = ("layer_norm", "group_norm", "softmax", "log_softmax", "normalize", "norm", "exp", "pow", "sum")
"""What CUDA's autocast computes in float32 and the CPU's in half precision."""


class _LikeCuda(TorchFunctionMode):
    """Autocast of CUDA on the CPU: the operations above get their input in float32."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(func, "__name__", "") in FULL_PRECISION and args and isinstance(args[0], torch.Tensor):
            args = (args[0].float() if args[0].is_floating_point() else args[0], *args[1:])
        return func(*args, **(kwargs or {}))


@contextlib.contextmanager
def autocast_like(device: Device) -> Iterator[None]:
    """The autocast of a device that need not be here, for tensors on the CPU."""
    if device.dtype is torch.float32:
        yield
        return
    like = _LikeCuda() if device.device.type == "cuda" else contextlib.nullcontext()
    with torch.autocast("cpu", dtype=device.dtype), like:
        yield


def size_of(value: torch.Tensor) -> int:
    """Bytes of a tensor's values."""
    return value.numel() * value.element_size()
