"""What components of a recipe do to memory, seen on small stand-ins: weighted targets, and what an optimizer keeps.

They run code of plugins for no other reason than a prediction, so whatever that raises becomes a note.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import nn
from torch.utils._pytree import tree_leaves

from gisegkit.engine.forward import in_short
from gisegkit.engine.step import BatchTransform
from gisegkit.engine.tally import size_of
from gisegkit.types import Batch

DRAWS = 32
"""Batches of a batch transform that are looked at for the most weighted targets that it makes."""

SLICES = 4
"""Slices of a trial batch."""

SMALL = (32, 32)
"""Rows and columns of a trial batch; the recipe's own size, which costs more, is tried where this one fails."""

ASSUMED_STATE = 2.0
"""Numbers a weight that an optimizer is taken to keep where it cannot be tried; Adam keeps 2."""


def count_targets(
    transforms: Sequence[tuple[str, BatchTransform]], *, channels: int, classes: int, size: tuple[int, int]
) -> tuple[int, str]:
    """The most weighted targets that a batch has after the transforms; 1, and a note, where they fail on black slices.

    Args:
        transforms: each with what the user calls it.
        channels, classes, size: of the network's input and output.
    """
    note = ""
    for tried in dict.fromkeys([SMALL, size]):
        at = [""]
        try:
            with torch.random.fork_rng(devices=[]):
                return _most_targets(transforms, (channels, *tried), (classes, *tried), at), ""
        except Exception as error:
            shape = " x ".join(map(str, (SLICES, channels, *tried)))
            note = (
                f"{at[-1]} raised {in_short(error)} on a black batch of {shape}, so how many targets it makes is not "
                "known; the prediction of memory assumes one"
            )
    return 1, note


def _most_targets(
    transforms: Sequence[tuple[str, BatchTransform]], image: tuple[int, ...], mask: tuple[int, ...], at: list[str]
) -> int:
    most = 1
    for seed in range(DRAWS if transforms else 0):
        rng = np.random.default_rng(seed)
        target = torch.zeros(SLICES, *mask)
        batch = Batch(torch.zeros(SLICES, *image), ((1.0, target),), torch.arange(SLICES))
        for name, transform in transforms:
            at.append(name)
            batch = transform(batch, rng)
            most = max(most, len(batch.targets))
    return most


def optimizer_state(name: str, build: Callable[..., torch.optim.Optimizer]) -> tuple[float, str]:
    """Numbers that an optimizer keeps for each weight; those of Adam, and a note, where it cannot be tried.

    Args:
        name: what the user calls it.
        build: as of ``state_per_weight``.
    """
    try:
        with torch.random.fork_rng(devices=[]):
            return state_per_weight(build), ""
    except Exception as error:
        return ASSUMED_STATE, (
            f"{name} raised {in_short(error)} when it was tried on a small weight; the prediction of memory assumes "
            f"{ASSUMED_STATE:g} numbers a weight, as Adam keeps"
        )


def state_per_weight(build: Callable[..., torch.optim.Optimizer]) -> float:
    """Numbers that an optimizer keeps for each weight, seen on a small one: 2 for Adam.

    Args:
        build: called as ``build(params=[...])``.
    """
    weight = nn.Parameter(torch.zeros(64, 64))
    optimizer = build(params=[weight])
    weight.grad = torch.ones_like(weight)
    optimizer.step()
    kept = [leaf for leaf in tree_leaves(dict(optimizer.state)) if isinstance(leaf, torch.Tensor)]
    return sum(size_of(tensor) for tensor in kept if tensor.numel() > 1) / size_of(weight)
