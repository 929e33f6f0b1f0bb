"""Activation checkpointing: blocks of a network give up their inner activations and compute them again for backward.

Gradients, running statistics and random draws are those of the plain network; only time and memory change.

Paper: Chen et al., Training deep nets with sublinear memory cost, arXiv:1604.06174
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


def find_blocks(model: nn.Module) -> list[nn.Module]:
    """The blocks worth recomputing: encoder stages' residual blocks, decoder blocks, and the like.

    A block is the outermost module that is in a list or sequence of modules and has two layers with weights of
    convolutions or matrices inside. Networks that are written out without such lists have none.
    """
    blocks: list[nn.Module] = []
    seen: set[int] = set()

    def search(module: nn.Module, *, listed: bool) -> None:
        if id(module) in seen:
            return
        seen.add(id(module))
        if listed and not isinstance(module, CONTAINERS) and _layers(module) >= 2:
            blocks.append(module)
            return
        for child in module.children():
            search(child, listed=isinstance(module, CONTAINERS))

    search(model, listed=False)
    return blocks


def _layers(module: nn.Module) -> int:
    return sum(parameter.ndim >= 2 for parameter in module.parameters())


def enable(blocks: Sequence[nn.Module]) -> None:
    """Recompute these blocks' activations from now on, while they train."""
    for block in blocks:
        if not is_enabled(block):
            block.forward = _Recomputed(block, block.forward)


def disable(blocks: Sequence[nn.Module]) -> None:
    """Keep their activations again."""
    for block in blocks:
        block.__dict__.pop("forward", None)


def is_enabled(block: nn.Module) -> bool:
    """Whether the block is recomputed."""
    return isinstance(block.__dict__.get("forward"), _Recomputed)


@contextlib.contextmanager
def switched(blocks: Sequence[nn.Module], *, on: Sequence[nn.Module]) -> Iterator[None]:
    """Inside the block, of these blocks those in ``on`` are recomputed and no other; after it, those that were."""
    before = [block for block in blocks if is_enabled(block)]
    disable(blocks)
    enable(on)
    try:
        yield
    finally:
        disable(blocks)
        enable(before)


class _Recomputed:
    """A block's forward pass that keeps its inputs alone."""

    def __init__(self, block: nn.Module, forward: Any) -> None:
        self.block = block
        self.forward = forward

    def __call__(self, *args: Any, **keywords: Any) -> Any:
        if not (self.block.training and torch.is_grad_enabled()):
            return self.forward(*args, **keywords)
        # The caller may go on filling a list that it handed over (DenseNet's features), so lists are copied here.
        args, keywords = torch.utils._pytree.tree_map(lambda leaf: leaf, (args, keywords))
        return checkpoint(
            self.forward,
            *args,
            use_reentrant=False,
            context_fn=lambda: (contextlib.nullcontext(), frozen_statistics(self.block)),
            **keywords,
        )


@contextlib.contextmanager
def frozen_statistics(module: nn.Module) -> Iterator[None]:
    """Inside the block, batch normalization computes as in training and leaves its running statistics alone.

    Else the second forward pass would count every batch twice.
    """
    norms = [norm for norm in module.modules() if isinstance(norm, _BatchNorm) and norm.track_running_stats]
    kept = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    try:
        for norm in norms:
            norm.momentum = 0.0
            norm.num_batches_tracked = None
        yield
    finally:
        for norm, (momentum, count) in zip(norms, kept, strict=True):
            norm.momentum = momentum
            norm.num_batches_tracked = count


@contextlib.contextmanager
def watch_inputs(blocks: Sequence[nn.Module]) -> Iterator[list[nn.Module]]:
    """Collects the blocks that cannot be recomputed, because a forward pass changes their own input in place."""
    spoilt: list[nn.Module] = []
    versions: dict[int, list[int]] = {}

    def before(block: nn.Module, args: Any, keywords: Any) -> None:
        versions[id(block)] = _versions(args, keywords)

    def after(block: nn.Module, args: Any, keywords: Any, output: Any) -> None:
        if versions[id(block)] != _versions(args, keywords) and block not in spoilt:
            spoilt.append(block)

    hooks = [block.register_forward_pre_hook(before, with_kwargs=True) for block in blocks]
    hooks += [block.register_forward_hook(after, with_kwargs=True) for block in blocks]
    try:
        yield spoilt
    finally:
        for hook in hooks:
            hook.remove()


def _versions(args: Any, keywords: Any) -> list[int]:
    leaves = torch.utils._pytree.tree_leaves((args, keywords))
    return [leaf._version for leaf in leaves if isinstance(leaf, torch.Tensor)]
