"""Generators that are handed in: each derives from the recipe's seed and from what it is for, and from nothing else.

So the number of workers changes nothing, two runs are equal, and a run continued after a kill equals the uninterrupted
one; no generator is ever stored.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import numpy as np

ORDER, SAMPLE, BATCH, NETWORK, INITIAL = range(5)
"""What a generator is for: the order of an epoch, one sample, one batch, the network's own draws, initial weights."""


def generator(seed: int, purpose: int, *numbers: int) -> np.random.Generator:
    """The numpy generator of (seed, purpose, numbers): ``generator(0, SAMPLE, epoch, row)``."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, purpose, *numbers])))


@contextlib.contextmanager
def seeded(seed: int, purpose: int, *numbers: int) -> Iterator[None]:
    """Torch's global generators under a derived seed inside the block, as they were after it.

    For draws that happen inside a network (initial weights, drop-out) and cannot be handed in.
    """
    import torch

    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_available() else []
    derived = np.random.SeedSequence([seed, purpose, *numbers]).generate_state(1, np.uint64)[0]
    number = int(derived >> np.uint64(1))
    metal = torch.mps.get_rng_state() if torch.backends.mps.is_available() else None
    with torch.random.fork_rng(devices=devices):
        # torch.manual_seed, which also writes down the stack for devices that are not there, takes ten times as long.
        torch.default_generator.manual_seed(number)
        if devices:
            torch.cuda.manual_seed_all(number)
        if metal is None:
            yield
            return
        torch.mps.manual_seed(number)
        try:
            yield
        finally:
            torch.mps.set_rng_state(metal)
