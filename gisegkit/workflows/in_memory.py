"""Finished runs that predict slices in memory: one network, the folds of a run, or an ensemble; no data are needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from gisegkit.build.ensemble import Ensemble
from gisegkit.build.experiment import Experiment
from gisegkit.build.gate import Gate
from gisegkit.build.network import make_source
from gisegkit.build.session import Session
from gisegkit.data.arrays import Arrays, slices_of
from gisegkit.errors import RunError
from gisegkit.recipe.load import load_recipe
from gisegkit.recipe.sections import Recipe
from gisegkit.registry.culprit import names_culprits
from gisegkit.runs.folder import RunDir
from gisegkit.runs.gates import StoredGate, gate_of
from gisegkit.runs.members import Member, members_of
from gisegkit.runs.outputs import open_run
from gisegkit.types import AnyArray, BoolArray, silent


class InMemory(Experiment):
    """A run's network for slices in memory; what its data were is told by its checkpoint.

    Args:
        recipe: the run's, maybe with other settings.
        weights: what ``best.pt`` holds.
        slices: ``input.slices`` of the training.
        session: plugins and device.

    Raises:
        RunError: if the weights do not fit the recipe.
    """

    def __init__(self, recipe: Recipe, weights: Mapping[str, Any], *, slices: int, session: Session) -> None:
        super().__init__(_without_workers(recipe), session.plugins.registries, console=session)
        facts = weights["facts"]
        self.image_channels, rest = divmod(int(facts["channels"]), slices)
        if rest or not self.image_channels:
            raise RunError(
                f"best.pt is of a network for {facts['channels']} channels, which the run's input.slices = {slices} "
                "does not divide; one of the two files was changed: restore it from a copy of the run"
            )
        self.dataset = Arrays([], tuple(facts["classes"]))
        self.load(weights)

    @property
    def channels(self) -> int:
        """C of the network's input."""
        return self.image_channels * self.recipe.input.slices

    @property
    def stack(self) -> int:
        """Slices that the network sees at once."""
        return self.recipe.input.slices

    def show(self, slices: Sequence[AnyArray]) -> None:
        """Let these be the slices of the data set."""
        self.dataset = Arrays(slices, self.classes)
        self.__dict__["source"] = make_source(self.recipe, self.dataset, None, self.preprocess)


class EnsembleInMemory(Ensemble):
    """The folds of a run, or an ensemble, for slices in memory, with the gate if it has one.

    Args:
        recipe: the data, the decision and the writers.
        session: plugins and device.
        run: the folder.
        members: whose weighted mean is taken.
        gate: as the folder has it.

    Raises:
        RunError: if weights are missing, damaged, of other classes, or not those that the ensemble was made of.
    """

    def __init__(
        self, recipe: Recipe, session: Session, *, run: RunDir, members: tuple[Member, ...], gate: StoredGate | None
    ) -> None:
        alone = _without_workers(recipe)
        super().__init__(alone, session.plugins.registries, console=session, run=run, members=members)
        self.session = session
        self.dataset = Arrays([], tuple(members[0].networks[0].weights()["facts"]["classes"]))
        self.own = True
        if gate is not None:
            _, decides = open_run(gate.run.path, session.plugins.registries)
            whole = EnsembleInMemory(decides, session, run=gate.run, members=gate.members, gate=None)
            self.gate = Gate(gate, whole, say=session.say)
        self.take_over(run)
        found = sorted({one.image_channels for one in self._experiments()})
        if len(found) > 1:
            raise RunError(
                f"{run.path}: its networks were trained on images of {' and '.join(map(str, found))} channels"
            )

    def _experiments(self) -> list[InMemory]:
        return [
            one.experiment for networks in self.networks for one in networks if isinstance(one.experiment, InMemory)
        ]

    def _member_experiment(self, run: RunDir, order: tuple[int, ...]) -> Experiment:
        own = load_recipe(run.recipe, registries=self.registries)
        folds = self.members[0].run.path == self.run.path  # of the run itself, maybe with other settings now
        recipe = self.recipe if folds else own
        return InMemory(recipe, run.weights(), slices=own.input.slices, session=self.session)

    @property
    def image_channels(self) -> int:
        """C of a slice."""
        return self._experiments()[0].image_channels

    @property
    def stack(self) -> int:
        """The most slices that a network sees at once."""
        return max(one.stack for one in self._experiments())

    def show(self, slices: Sequence[AnyArray]) -> None:
        """Let these be the slices of the data set, also of the gate's."""
        self.dataset = Arrays(slices, self.classes)
        for one in self._experiments():
            one.show(slices)
        if self.gate is not None and isinstance(self.gate.whole, EnsembleInMemory):
            self.gate.forget()
            self.gate.whole.show(slices)


def _without_workers(recipe: Recipe) -> Recipe:
    """Arrays need no processes that read them."""
    return replace(recipe, train=replace(recipe.train, workers=0))


def open_in_memory(run: RunDir, recipe: Recipe, session: Session) -> InMemory | EnsembleInMemory:
    """A run without its data.

    Args:
        recipe: the run's, maybe with other settings.

    Raises:
        RunError: if weights are missing or damaged, or do not fit the recipe.
    """
    members = members_of(run)
    if members:
        return EnsembleInMemory(recipe, session, run=run, members=members, gate=gate_of(run))
    weights = run.weights()
    slices = load_recipe(run.recipe, registries=session.plugins.registries).input.slices
    made = InMemory(recipe, weights, slices=slices, session=session)
    made.load(weights, run.decision)
    return made


@names_culprits
def masks_of(experiment: InMemory | EnsembleInMemory, images: AnyArray | Sequence[AnyArray]) -> BoolArray:
    """The masks of one slice, ``[H, W, K]``, or of one scan, ``[D, H, W, K]``.

    Raises:
        DataError: as of ``slices_of``.
    """
    slices, single = slices_of(images, channels=experiment.image_channels, stack=experiment.stack)
    experiment.show(slices)
    (scan,) = experiment.scans(np.arange(len(slices)), label="predict", progress=silent)
    return scan.prediction[0] if single else scan.prediction
