"""A digest of a checkpoint's content, nested dicts, lists, numbers and tensors, that tells any change of it."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping
from typing import Any

import torch

from gisegkit.errors import RunError


def digest(content: Any) -> str:
    """A digest of nested dicts, lists, numbers, texts and tensors: of every key, type, dtype, shape and byte."""
    state = hashlib.blake2b(digest_size=32)
    _feed(state, content)
    return state.hexdigest()


def _feed(state: Any, value: Any) -> None:
    """Each value with its kind and length before it, so that no two contents give the same bytes."""
    if isinstance(value, torch.Tensor):
        flat = value.detach().cpu().contiguous().reshape(-1)
        _part(state, "tensor", f"{flat.dtype} {list(value.shape)}".encode())
        if flat.numel():
            bytes_of: Any = flat.view(torch.uint8).numpy()
            state.update(memoryview(bytes_of))
    elif isinstance(value, Mapping):
        _part(state, "mapping", str(len(value)).encode())
        for key, item in value.items():
            _feed(state, key)
            _feed(state, item)
        if hasattr(value, "_metadata"):  # of a module's state, by which torch tells older layouts
            _feed(state, value._metadata)
    elif isinstance(value, list | tuple):
        _part(state, "list" if isinstance(value, list) else "tuple", str(len(value)).encode())
        for item in value:
            _feed(state, item)
    elif isinstance(value, float):
        _part(state, "float", struct.pack("<d", value))
    else:  # bool, int, str, None, bytes, torch.dtype, sets ...: what loads without running code has a plain repr
        _part(state, type(value).__name__, repr(value).encode("utf-8", "surrogatepass"))


def _part(state: Any, kind: str, data: bytes) -> None:
    state.update(f"{kind}:{len(data)}:".encode())
    state.update(data)


def verify(content: Mapping[str, Any], source: str, remedy: str) -> None:
    """Check the digest of a checkpoint's content.

    Raises:
        RunError: if there is none, or the content was changed since it was written.
    """
    stored = content.get("digest")
    if not isinstance(stored, str):
        raise RunError(f"{source} has no digest, so whether it is damaged cannot be told; {remedy}")
    try:
        found = digest({key: value for key, value in content.items() if key != "digest"})
    except Exception:  # tensors of kinds that are never written, which damage may make
        found = ""
    if stored != found:
        raise RunError(f"{source} is damaged: its content is not what was written (its digest differs); {remedy}")
