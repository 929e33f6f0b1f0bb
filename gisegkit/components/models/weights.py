"""Weights out of a file into a network or its encoder alone, and a report of what fitted. Nothing is unpickled."""

from __future__ import annotations

import itertools
import pickle
import warnings
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import nn

from gisegkit.data.atomic_files import first_line
from gisegkit.data.digests import verify
from gisegkit.errors import ComponentError, did_you_mean, listed

SUFFIXES = (".safetensors", ".pth", ".pt")
WRAPPERS = ("module.", "model.", "_orig_mod.")
"""What training programs put before every name: DataParallel, Lightning, torch.compile."""
INNER = ("model", "state_dict", "model_state_dict", "net")
"""Under which of a checkpoint's keys the tensors lie; ``model`` is gisegkit's own."""
SHOWN = 4
"""How many names a report lists of each kind."""

Tensors = dict[str, torch.Tensor]


def is_file(weights: str) -> bool:
    """Whether ``weights`` is the path of a file, not a name."""
    return weights.lower().endswith(SUFFIXES)


def read_weights(path: str) -> Tensors:
    """The tensors in a file by name.

    Raises:
        ComponentError: if there is no such file, or it is damaged, or holds anything that only pickle could read.
        RunError: if it is a run's checkpoint that was changed since it was written.
    """
    file = Path(path).expanduser()
    if not file.is_file():
        raise ComponentError(f"model: there is no file {path!r} of weights (in {Path.cwd()}); {_nearby(file)}")
    try:
        if file.suffix.lower() == ".safetensors":
            content: Any = safetensors.torch.load_file(file, device="cpu")
        else:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "Detected pickle protocol", UserWarning)
                content = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ComponentError(
            f"model: the file {path!r} is damaged, or holds Python objects beside its tensors. gisegkit never "
            "unpickles them, because that runs code out of the file. Where you trust the file, load it in a program "
            "of your own and save the tensors alone: torch.save(model.state_dict(), ...)"
        ) from error
    except (
        Exception
    ) as error:  # of damaged bytes the readers raise whatever comes: EOFError, KeyError, struct.error ...
        raise ComponentError(f"model: the file {path!r} cannot be read as weights: {first_line(error)}") from error
    if isinstance(content, Mapping) and {"format", "facts", "digest"} <= set(content):  # a run's own checkpoint
        verify(content, f"model: the file {path!r}", "restore it from a copy of the run")
    tensors = _tensors(content)
    if not tensors:
        raise ComponentError(f"model: the file {path!r} holds no tensors by name")
    return tensors


def _nearby(file: Path) -> str:
    folder = file.parent
    if not folder.is_dir():
        return f"there is no folder {str(folder)!r} either"
    names = sorted(entry.name for entry in folder.iterdir() if is_file(entry.name))
    nearest = did_you_mean(file.name, names)
    there = listed(names, shown=SHOWN) or "no such files"
    return f"{nearest + ' ' if nearest else ''}{str(folder)!r} holds {there}"


def _tensors(content: Any) -> Tensors:
    for key in INNER:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping):
        return {}
    return {name: value for name, value in content.items() if isinstance(value, torch.Tensor)}


@dataclass(frozen=True)
class Match:
    """How a file's tensors fit a network: by the network's names, and the file's names that found no place."""

    values: Tensors
    other_shape: list[str]
    unexpected: list[str]


def load_weights(model: nn.Module, path: str, in_channels: int) -> str:
    """Copy what fits from a file into a network that has an ``encoder``, and say what fitted and what did not.

    Names may have or lack the prefixes ``encoder.``, ``model.`` and ``module.``. Filters of the first layer are kept
    when the file's images had another number of channels: summed for one channel, else repeated in turn and rescaled.

    Returns:
        The report, a few lines.

    Raises:
        ComponentError: if the file cannot be read, or no tensor in it fits, or none of the encoder.
    """
    tensors, state = read_weights(path), model.state_dict()
    match = max(
        (_match(state, _stripped(tensors, strip), add, in_channels) for strip, add in _renamings(tensors)),
        key=lambda found: len(found.values),
    )
    encoder = [name for name in match.values if name.startswith("encoder.")]
    if not encoder:
        fitting = f"only {listed(match.values, shown=SHOWN)}" if match.values else "nothing"
        raise ComponentError(
            f"model: of the {len(tensors)} tensors in {path!r} {fitting} fits this network, nothing its encoder.\n"
            f"  the file holds {listed(tensors, shown=SHOWN)}\n  the network needs {listed(state, shown=SHOWN)}\n"
            "Choose the network and encoder that the file was made with, or --set model.weights=none."
        )
    model.load_state_dict(state | match.values)
    return _report(path, state, match)


def continue_from(
    model: nn.Module,
    tensors: Tensors,
    source: str,
    in_channels: int,
    *,
    classes: Sequence[str] = (),
    theirs: Sequence[str] = (),
    heads: Collection[str] = (),
) -> str:
    """Copy what fits of another run's weights into a network, by name, and say what fitted and what did not.

    Args:
        model: any network.
        tensors: the run's weights by name.
        source: where they come from, for the report.
        in_channels: of the network's images; filters of an encoder's first layer are kept for other images, as above.
        classes: names of the network's classes.
        theirs: those of the run; where they differ, the rows of ``heads`` are matched by name.
        heads: the tensors with a row for each class.

    Returns:
        The report, a few lines.

    Raises:
        ComponentError: if nothing fits.
    """
    state = model.state_dict()
    tensors, rows = _by_class(state, tensors, tuple(classes), tuple(theirs), heads)
    match = _match(state, tensors, "", in_channels)
    if not match.values:
        raise ComponentError(
            f"train.init_from: nothing in {source} fits this network.\n  it holds {listed(tensors, shown=SHOWN)}\n"
            f"  the network needs {listed(state, shown=SHOWN)}\nTake a run of the same network and encoder."
        )
    model.load_state_dict(state | match.values)
    return _report(source, state, match) + rows


def _by_class(
    state: Tensors, tensors: Tensors, classes: tuple[str, ...], theirs: tuple[str, ...], heads: Collection[str]
) -> tuple[Tensors, str]:
    """The tensors with the rows of the heads in the network's order of classes, and a line that says so.

    A class that the run did not have keeps the network's random row.
    """
    if classes == theirs:
        return tensors, ""
    shared = [name for name in classes if name in theirs]
    to, of = [classes.index(name) for name in shared], [theirs.index(name) for name in shared]
    matched, kept = dict(tensors), 0
    for name in heads:
        value, mine = tensors.get(name), state.get(name)
        if value is None or mine is None or not mine.ndim or not value.ndim:
            continue
        fits = len(mine) == len(classes) and len(value) == len(theirs) and mine.shape[1:] == value.shape[1:]
        if fits and shared:
            matched[name] = mine.detach().clone()
            matched[name][to] = value[of].to(mine)
            kept += 1
        else:
            del matched[name]  # its rows would be taken for those of other classes
    said = f"\n  classes here: {', '.join(classes)}; in the run: {', '.join(theirs)}\n  "
    if not kept:
        return matched, said + "the head is left random: no class of the run is here, or its rows cannot be told apart"
    left = [name for name in classes if name not in theirs]
    said += f"rows of the head matched by name: {', '.join(shared)}"
    return matched, said + (f"; left random: {', '.join(left)}" if left else "")


def _renamings(tensors: Tensors) -> Iterable[tuple[str, str]]:
    chains = ("".join(chain) for length in range(3) for chain in itertools.product(WRAPPERS, repeat=length))
    used = [chain for chain in chains if any(name.startswith(chain) for name in tensors)]
    return itertools.product(used, ("", "encoder.", "encoder.model."))


def _stripped(tensors: Tensors, strip: str) -> Tensors:
    return {name.removeprefix(strip): value for name, value in tensors.items() if name.startswith(strip)}


def _canonical(name: str) -> str:
    """timm names a stage ``stages.0`` in a classifier and ``stages_0`` in an encoder."""
    return name.replace("_", ".")


def _match(state: Tensors, tensors: Tensors, add: str, in_channels: int) -> Match:
    names = {_canonical(name): name for name in state}
    places = {name: names.get(_canonical(add + name), "") for name in tensors}
    first = next((name for name in state if name.startswith("encoder.") and state[name].ndim == 4), "")
    stem = next((value for name, value in tensors.items() if places[name] == first and value.ndim == 4), None)
    channels = in_channels if stem is None else stem.shape[1]
    values, other_shape = {}, []
    for name, value in tensors.items():
        place = places[name]
        if not place:
            continue
        fitted = _fitted(value, state[place].shape, channels, in_channels if place.startswith("encoder.") else 0)
        if fitted is None:
            other_shape.append(f"{place} (file {list(value.shape)}, network {list(state[place].shape)})")
        else:
            values[place] = fitted
    return Match(values, other_shape, [name for name in tensors if not places[name]])


def _fitted(value: torch.Tensor, shape: torch.Size, channels: int, wanted: int) -> torch.Tensor | None:
    """The tensor itself if it has the shape, or with ``wanted`` in place of ``channels`` input channels, or None."""
    if value.shape == shape:
        return value
    if value.ndim != 4 or tuple(shape) != (value.shape[0], wanted, *value.shape[2:]) or value.shape[1] != channels:
        return None
    if wanted == 1:
        return value.sum(1, keepdim=True)
    return value[:, torch.arange(wanted) % channels] * (channels / wanted)


def _report(path: str, state: Tensors, match: Match) -> str:
    needed = [name for name in state if not name.endswith("num_batches_tracked")]  # a counter that nothing reads
    shaped = {line.split(" ", 1)[0] for line in match.other_shape}
    counts, missing = [], []
    for part, inside in (("encoder", True), ("decoder and head", False)):
        names = [name for name in needed if name.startswith("encoder.") == inside]
        if not names:  # a plugin's network without an encoder of that name
            continue
        absent = [name for name in names if name not in match.values]
        counts.append(f"{part} {len(names) - len(absent)} of {len(names)}")
        if len(absent) == len(names):
            counts[-1] += " (random weights)"
        else:
            missing += [name for name in absent if name not in shaped]
    lines = [f"weights {path}: tensors loaded: {', '.join(counts)}"]
    lines += _listed("not in the file, left random", missing)
    lines += _listed("of another shape, left random", match.other_shape)
    lines += _listed("in the file only", match.unexpected)
    return "\n".join(lines)


def _listed(what: str, names: list[str]) -> list[str]:
    return [f"  {what}: {listed(names, shown=SHOWN)}"] if names else []
