"""The format of ``last.pt`` and ``best.pt``: what they must hold, and a digest that tells any change of it."""

from __future__ import annotations

import io
import re
import warnings
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from gisegkit.data.atomic_files import first_line
from gisegkit.data.digests import digest, verify
from gisegkit.errors import RunError

FORMAT = 2
"""The version of the layout; 1 had no digest, and did not say how the slices were split."""

WEIGHTS: Mapping[str, type] = {"epoch": int, "model": Mapping, "facts": Mapping}
"""What ``best.pt`` holds."""
STATE: Mapping[str, type] = {
    **WEIGHTS,
    "optimizer": Mapping,
    "schedule": Mapping,
    "scaler": Mapping,
    "best": float,
    "since": int,
    "validations": int,
}
"""What ``last.pt`` holds at least."""
FACTS: Mapping[str, type] = {"classes": list, "channels": int, "split": str}
"""What both say of the data: names of the classes in order, channels of an image, digest of the split."""


def pack(content: Mapping[str, Any]) -> dict[str, Any]:
    """The content with its format and digest, its tensors in main memory; ready for ``torch.save``."""
    here = {"format": FORMAT, **_to_cpu(dict(content))}
    return {**here, "digest": digest(here)}


def _to_cpu(value: Any) -> Any:
    """Tensors of a device copied once, for the digest and for the file."""
    if isinstance(value, torch.Tensor):
        return value.cpu()
    if type(value) in (dict, OrderedDict):
        copied = type(value)((key, _to_cpu(item)) for key, item in value.items())
        if hasattr(value, "_metadata"):
            copied._metadata = value._metadata
        return copied
    if type(value) in (list, tuple):
        return type(value)(_to_cpu(item) for item in value)
    return value


def unpack(file: Path, wanted: Mapping[str, type]) -> dict[str, Any]:
    """Read a checkpoint and check that it is what was written.

    Args:
        file: the checkpoint.
        wanted: which keys it must hold, and of which type.

    Raises:
        RunError: if it cannot be read without running code, is of another format, was changed since it was written, or
            lacks something; one line that names the file.
    """
    again = "restore it from a copy of the run, or train again"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of damaged bytes torch may also warn
            content = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises a different type for each way in which a file can be damaged
        raise RunError(f"{file} cannot be read ({type(error).__name__}); it is damaged or no checkpoint") from error
    if not isinstance(content, dict) or "format" not in content:
        raise RunError(f"{file} is no checkpoint of gisegkit: it holds {_in_words(content)}; {again}")
    found = content["format"]
    if type(found) is not int or found != FORMAT:
        older = ""
        if type(found) is int and found < FORMAT:
            older = "; an older gisegkit wrote it: use it with that one, or train again"
        raise RunError(f"{file} has layout {_in_words(found)}, this gisegkit reads {FORMAT}{older}")
    verify(content, str(file), again)
    _check(file, content, wanted, again)
    _check(file, content["facts"], FACTS, again, "facts.")
    if content["epoch"] < 1:
        raise RunError(f"{file} is damaged: its epoch is {content['epoch']}; {again}")
    return content


def _check(file: Path, content: Mapping[str, Any], wanted: Mapping[str, type], again: str, prefix: str = "") -> None:
    for key, kind in wanted.items():
        if key not in content:
            raise RunError(f"{file} is damaged: it has no {prefix}{key}; {again}")
        value = content[key]
        if not isinstance(value, kind) or isinstance(value, bool):
            raise RunError(f"{file} is damaged: {prefix}{key} is {_in_words(value)}; {again}")


def _in_words(value: Any) -> str:
    return f"a {type(value).__name__}" if isinstance(value, Mapping | list | torch.Tensor) else repr(value)[:40]


def loads_again(content: Mapping[str, Any]) -> str:
    """Why a state could not be read back without running code, or an empty text if it could."""
    try:
        buffer = io.BytesIO()
        torch.save(dict(content), buffer)
        buffer.seek(0)
        loaded = torch.load(buffer, map_location="cpu", weights_only=True)
    except Exception as error:  # pickle's and torch's, of whatever the state holds
        found = re.search(r"Unsupported [^\n]*?(?= was not|\. Please|\n|$)", str(error))
        return (
            f"it holds more than tensors, numbers, texts, lists and dicts ({found[0] if found else first_line(error)})"
        )
    return "" if digest(loaded) == digest(content) else "it is not the same when it is read back"
