"""The networks of several that predict together, each with its run and its recipe, and what is mixed of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gisegkit.build.data import Rows
from gisegkit.build.experiment import Experiment
from gisegkit.build.sharing import own_share
from gisegkit.data.probability_file import ProbabilityWriter
from gisegkit.engine.mixed import MeanOfNetworks, Voice
from gisegkit.engine.scan_shares import WHOLE, Share
from gisegkit.engine.stored import kept_scans
from gisegkit.runs.folder import RunDir
from gisegkit.runs.kept import keeping
from gisegkit.types import Progress, silent

if TYPE_CHECKING:
    from gisegkit.build.ensemble import Ensemble

Then = Callable[[ProbabilityWriter], None]


@dataclass
class Network:
    """One network of an ensemble.

    Attributes:
        run: its run folder.
        experiment: its recipe's; builds the network when it is needed.
        facts: of its weights; epoch, digest: of them.
        order: for each class of the ensemble, its place among the network's; empty if it is the same.
        validated: ids of the slices that it has not seen, though its run knew their labels.
    """

    run: RunDir
    experiment: Experiment
    facts: Mapping[str, Any]
    epoch: int
    digest: str
    order: tuple[int, ...]
    validated: frozenset[str]

    def load(self) -> None:
        """Build the network with its weights, unless it is there."""
        if "model" not in self.experiment.__dict__:
            self.experiment.load(self.run.weights())

    def __post_init__(self) -> None:
        """Remember how many loader processes its recipe asks for."""
        self._asked = self.experiment.recipe.train.workers

    def share_workers(self, number: int) -> None:
        """Take a share of the loader processes that its recipe asks for.

        Args:
            number: of the networks that read at the same time.
        """
        one = self.experiment
        asked = one.device.workers(self._asked)
        workers = max(1, asked // number) if asked else 0
        one.recipe = replace(one.recipe, train=replace(one.recipe.train, workers=workers))

    def release(self) -> None:
        """Free the network's memory."""
        self.experiment.forget()

    @property
    def classes(self) -> tuple[str, ...]:
        """In the order of its probabilities."""
        return tuple(self.facts["classes"])

    @property
    def exclusive(self) -> bool:
        """Whether a pixel has one class at most."""
        return self.experiment.exclusive

    def keep(self, rows: Rows, folder: Path, *, progress: Progress, then: Then | None = None) -> None:
        """Predict rows of the dataset's table into a folder, and free the network's memory.

        Args:
            then: takes what other processes have predicted; this one predicts its share.
        """
        self.load()
        label, table = f"predict {self.run.path.resolve().name}", self.experiment.dataset.table
        with self.run.locked(self.experiment.console.say), keeping(folder, self, weights=self.digest) as writer:
            share = own_share(self.experiment.console.world) if then else WHOLE
            scans = self.experiment.probabilities(rows, label=label, progress=progress, sized=True, share=share)
            for scan in kept_scans(scans, writer, table):
                deque(scan, maxlen=0)
            if then:
                then(writer)
        self.release()


def voices_of(whole: Ensemble, rows: Rows, *, label: str, progress: Progress, share: Share) -> list[Voice]:
    """Predictions by all networks; those of one input share what reads it, the others the loader processes.

    Args:
        share: of the scans, as of ``predict_scans``.
    """
    groups: dict[str, list[tuple[Network, float]]] = {}
    for member, networks in zip(whole.members, whole.networks, strict=True):
        for one in networks:
            one.load()
            recipe = one.experiment.recipe
            key = repr((recipe.input, recipe.normalization.as_dict(), one.order))
            groups.setdefault(key, []).append((one, member.share))
    voices: list[Voice] = []
    for group in groups.values():
        group[0][0].share_workers(len(groups))
        lead, weights = group[0][0], [weight for _, weight in group]
        predictor = MeanOfNetworks([one.experiment.predictor for one, _ in group], weights)
        shown = silent if voices else progress
        scans = lead.experiment.probabilities(rows, label=label, progress=shown, predictor=predictor, share=share)
        voices.append(Voice(scans, sum(weights), lead.order))
    return voices
