"""Which scans a process predicts where several of them share the work: whole ones, so many in a row, by turns."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np

from gisegkit.types import AnyArray

BATCHES = 8
"""Batches of a turn at least: the first and the last one may be computed by two processes."""


class Share(NamedTuple):
    """One process's share of scans, about as many slices as the others have.

    Attributes:
        number: of the process, from 0.
        processes: how many there are.
        rounds: how often each of them has its turn. In one round scans stay in a row, which is the least work; in
            several, process 0 can take what the others predict in the scans' order, and nobody is far ahead.
    """

    number: int = 0
    processes: int = 1
    rounds: int = 1

    def turns(self, names: AnyArray) -> list[range]:
        """The positions of the slices of every turn, in order; turn t is that of process t modulo ``processes``.

        Args:
            names: the scan of each slice ``[N]``, in the order of prediction.
        """
        turns = self.processes * self.rounds
        edges = np.r_[0, np.flatnonzero(names[1:] != names[:-1]) + 1, len(names)]
        middles = (edges[1:] + edges[:-1]) / 2
        found = edges[np.searchsorted(middles * turns, np.arange(turns + 1) * len(names))].tolist()
        return [range(start, stop) for start, stop in pairwise(found)]

    def own(self, names: AnyArray) -> AnyArray:
        """The positions of the slices of this share, in order; ``names`` as of ``turns``."""
        return np.concatenate([np.arange(turn.start, turn.stop) for turn in self.own_turns(names)])

    def own_turns(self, names: AnyArray) -> list[range]:
        """Those of ``turns`` that are of this share."""
        return self.turns(names)[self.number :: self.processes]


WHOLE = Share()
"""What one process predicts: everything."""


def in_turns(slices: int, *, processes: int, batch_size: int) -> Share:
    """Process 0's share of so many slices, where it takes what the others predict in the scans' order."""
    return Share(0, processes, max(1, slices // (processes * BATCHES * batch_size)))
