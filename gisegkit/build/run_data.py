"""A recipe's data beside the weights of a finished run, which evaluation and prediction take over."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import nn

from gisegkit.build.data import ExperimentData, Rows
from gisegkit.build.network import load_best
from gisegkit.data.folds import split_table
from gisegkit.data.output import WANTS
from gisegkit.errors import ComponentError
from gisegkit.recipe.sections import ComponentSpec
from gisegkit.runs.decision_file import StoredDecision
from gisegkit.runs.folder import RunDir
from gisegkit.runs.parts import Part, named_part, scored_part

if TYPE_CHECKING:
    import pandas as pd

    from gisegkit.build.networks import Network
    from gisegkit.engine.device import Device


class RunData(ExperimentData):
    """What an experiment knows of the run whose weights it has taken over."""

    _loaded: Mapping[str, Any] | None = None

    @property
    def digests(self) -> dict[str, str]:
        """Of the pixels of the slices that were looked at, by id; of those that are one value, nothing is known."""
        return {name: facts.digest for name, facts in self.seen.items() if not facts.constant}

    @property
    def true_pixels(self) -> dict[str, str]:
        """Of the labelled slices that were looked at, by id: how many pixels each class has, ``"120 0 33"``."""
        known = ((name, facts.pixels) for name, facts in self.seen.items())
        return {name: " ".join(map(str, pixels)) for name, pixels in known if pixels is not None}

    def noting_pixels(self, split: pd.DataFrame) -> pd.DataFrame:
        """A table of parts with the column pixels, so that masks that change later are noticed."""
        known = self.true_pixels
        return split.assign(pixels=[known.get(name, "") for name in split["id"]])

    @property
    def left_out(self) -> tuple[str, ...]:
        """Ids of slices that exclusion lists and ``on_bad`` leave out."""
        listed = (name for one in self.made for name in getattr(one.dataset, "left_out", ()))
        return tuple(dict.fromkeys((*listed, *self.skipped)))

    @property
    def split_table(self) -> pd.DataFrame:
        """Which slice is in which part, the digest of its pixels, and those of its classes: ``split.csv``."""
        digests, left_out = self.digests, self.skipped
        table = split_table(self.dataset.table, *self.split, roles=self.roles, digests=digests, left_out=left_out)
        return self.noting_pixels(table)

    @cached_property
    def writers(self) -> list[tuple[ComponentSpec, Any]]:
        """The writers, in the recipe's order; each begins anew with every prediction.

        Raises:
            ComponentError: if one wants something that there is not; names place, writer and plugin.
        """
        made = [(spec, self.build(spec)) for spec in self.recipe.writer]
        for spec, writer in made:
            wants = getattr(writer, "wants", None)
            if wants not in WANTS:
                what = f"{spec.place}: writer {spec.name!r} of {self.owner(spec)}"
                raise ComponentError(f"{what} has wants = {wants!r}; valid is {' or '.join(map(repr, WANTS))}")
        return made

    @property
    def device(self) -> Device:
        """Where the network computes; see Experiment."""
        raise NotImplementedError

    @property
    def model(self) -> nn.Module:
        """The network; see Experiment."""
        raise NotImplementedError

    @property
    def networks(self) -> list[list[Network]]:
        """Of each member of an ensemble its networks; empty if there is one network."""
        return []

    def shares(self, rows: Rows) -> bool:
        """Whether several processes can predict the rows, of which process 0 alone has the run folder."""
        return True

    @property
    def exclusive(self) -> bool:
        """Whether a pixel has one class at most; see Experiment."""
        raise NotImplementedError

    def expect(self, facts: Mapping[str, Any]) -> None:
        """Weights with these facts will follow; see Experiment."""
        raise NotImplementedError

    def load(self, weights: Mapping[str, Any], decision: Path | None = None) -> None:
        """Take over a run's ``best.pt``.

        Args:
            decision: the run's ``decision.json``, which must be for the same classes; it need not be there.

        Raises:
            RunError: if it is not of this network or of these data, or a weight is not finite.
        """
        if decision is not None and decision.is_file():
            StoredDecision.read(decision).verify(decision, weights["facts"]["classes"], exclusive=self.exclusive)
        if self._loaded is not weights:
            self.expect(weights["facts"])
            load_best(self.model, weights)
            self._loaded = weights

    def forget(self) -> None:
        """Free the network and what predicts with it, and know no weights any more; those that follow are loaded."""
        self._loaded = None
        for name in ("model", "network_predictor", "views"):
            self.__dict__.pop(name, None)
        if self.device.device.type != "cpu":  # which frees what nobody holds by itself
            self.device.release()

    @property
    def size(self) -> tuple[int, int]:
        """Parameters of the network, and those of them that train."""
        sizes = [(parameter.numel(), parameter.requires_grad) for parameter in self.model.parameters()]
        return sum(size for size, _ in sizes), sum(size for size, trains in sizes if trains)

    def take_over(self, run: RunDir, weights: Mapping[str, Any] | None = None) -> Mapping[str, Any]:
        """``load`` of a run's best weights and decision; returns what ``best.pt`` holds.

        Args:
            weights: of ``best.pt``, if it is loaded already.

        Raises:
            RunError: as of ``load``, or if the run has no such weights.
        """
        weights = run.weights() if weights is None else weights
        self.load(weights, run.decision)
        return weights

    def parts_of(self, run: RunDir, weights: Mapping[str, Any]) -> pd.DataFrame:
        """Which slice trained and which validated in the run that was taken over; raises as ``verified_split``."""
        return run.verified_split(weights["facts"])

    def part_of(self, split: pd.DataFrame) -> Part:
        """The slices that are scored, of those that ``parts_of`` tells; raises as ``scored_part``."""
        return scored_part(split, self.trained_table)

    def distrust_kept(self) -> None:
        """Use no probabilities that were kept before, since the images are others now; a network keeps none itself."""

    def folds_of(self, rows: Rows) -> Rows:
        """Which of several folds each of the rows validated in, numbered from 0; of a run of one network all are 0."""
        return np.zeros(len(rows), np.int64)

    def trained_in(self, split: pd.DataFrame, name: str) -> pd.DataFrame:
        """The split as it counts for a part: which of its slices the networks that predict it have trained on."""
        return split

    def named_part(self, split: pd.DataFrame, name: str, rows: Rows) -> Part:
        """Rows that are predicted and are no part of the split, such as the unlabelled ones."""
        return named_part(self.trained_in(split, name), self.trained_table, name, rows)
