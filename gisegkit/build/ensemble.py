"""Several networks as one experiment: the folds of a run, or the members of an ensemble.

Slices that no network has trained on are predicted by all of them. A slice that validated is predicted, for each
member, by the network that has not seen it: out of fold. Those probabilities are kept as bytes, so that scores of them
can be made again without a network, and are the same.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from gisegkit.build.console import Console
from gisegkit.build.data import Rows
from gisegkit.build.experiment import Experiment
from gisegkit.build.folds import SHARED
from gisegkit.build.gate import Gate, refuse_zero
from gisegkit.build.networks import Network, voices_of
from gisegkit.build.other_classes import Reordered
from gisegkit.build.out_of_fold import out_of_fold, stored
from gisegkit.engine.gate import gated_scans
from gisegkit.engine.mixed import mixed_scans
from gisegkit.engine.predictor import Predictor, ScanProbabilities
from gisegkit.engine.scan_shares import WHOLE, Share
from gisegkit.engine.stored import Stored
from gisegkit.errors import RunError
from gisegkit.recipe.differences import fingerprint
from gisegkit.recipe.load import load_recipe
from gisegkit.recipe.sections import Recipe
from gisegkit.registry.kinds import Registries
from gisegkit.runs.decision_file import StoredDecision
from gisegkit.runs.folder import RunDir
from gisegkit.runs.members import Member
from gisegkit.runs.outputs import changes
from gisegkit.runs.parts import Part, Seen, held_out_part, joint_parts, scored_part, with_digests
from gisegkit.types import BoolArray, Progress, silent

if TYPE_CHECKING:
    import pandas as pd

DECIDES = ("evaluate.threshold", "evaluate.presence", "postprocess", "metric", "writer", "predict.part")
"""Keys that change no probability."""


class Ensemble(Experiment):
    """Several networks that predict the same data together.

    Args:
        recipe: the data, the decision, the metrics and the writers; of a run of several folds also its networks.
        registries, console: as of Experiment.
        run: the folder of the ensemble, or of the run of several folds.
        members: whose weighted mean is taken.
    """

    def __init__(
        self,
        recipe: Recipe,
        registries: Registries,
        *,
        console: Console | None,
        run: RunDir,
        members: tuple[Member, ...],
    ) -> None:
        super().__init__(recipe, registries, console=console)
        self.run = run
        self.members = members
        self.gate: Gate | None = None
        self.own: bool | None = None
        """Whether the data and settings are those of the networks' runs; None looks at the recipes."""
        self.open_to: Mapping[int, BoolArray] | None = None
        """What a gate, which is not here, saw of each row: the classes ``[K]`` that are not emptied."""

    @cached_property
    def networks(self) -> list[list[Network]]:
        """The networks of each member.

        Raises:
            RunError: if weights are missing, damaged, or not those that the ensemble was made of; or if a network has
                other classes than the data.
        """
        return [[self._network(member, at, run) for at, run in enumerate(member.networks)] for member in self.members]

    def _network(self, member: Member, at: int, run: RunDir) -> Network:
        weights = run.weights()
        digest, facts = str(weights.get("digest", "")), weights["facts"]
        if member.digests and member.digests[at] != digest:
            raise RunError(
                f"{run.path / 'best.pt'} is not what the ensemble {self.run.path} was made of: its digest is "
                f"{digest[:12]}, the ensemble has {member.digests[at][:12]}; it was trained on or exchanged. Restore "
                "it, or make the ensemble again with giseg ensemble"
            )
        classes = tuple(facts["classes"])
        if set(classes) != set(self.classes):
            raise RunError(
                f"{member.label} predicts the classes {', '.join(classes)}, the data of the ensemble have "
                f"{', '.join(self.classes)}; all members need the same ones, in any order"
            )
        order = () if classes == self.classes else tuple(classes.index(name) for name in self.classes)
        split = run.verified_split(facts)
        held = frozenset(split["id"][split["part"] == "validation"].astype(str))
        return Network(run, self._member_experiment(run, order), facts, int(weights["epoch"]), digest, order, held)

    @property
    def of_folds(self) -> bool:
        """Whether the networks are the folds of one run, maybe with other settings now."""
        return self.members[0].run.path == self.run.path

    def _member_experiment(self, run: RunDir, order: tuple[int, ...]) -> Experiment:
        if self.of_folds:
            return self.beside(self.recipe, order)
        recipe = load_recipe(run.recipe, registries=self.registries)
        if order or not hasattr(self.dataset, "sources"):  # nothing that a store could keep
            recipe = replace(recipe, input=replace(recipe.input, store="off"))
        return self.beside(recipe, order)

    def beside(self, recipe: Recipe, order: tuple[int, ...]) -> Experiment:
        """An experiment of one of the networks, with the same data.

        Args:
            order: for each class of the data, its place among the network's; empty if it is the same.
        """
        one = Experiment(recipe, self.registries, console=self.console)
        if self.of_folds:
            one.__dict__.update({name: getattr(self, name) for name in SHARED})
        else:
            one.__dict__["dataset"] = self.dataset if not order else Reordered(self.dataset, np.argsort(order).tolist())
        return one

    def take_over(self, run: RunDir, weights: Mapping[str, Any] | None = None) -> Mapping[str, Any]:
        """Look at the weights of all networks; returns what of them a score must say.

        Raises:
            RunError: as of ``networks``, or if ``decision.json`` is of other classes.
        """
        if run.decision.is_file():
            StoredDecision.read(run.decision).verify(run.decision, self.classes, exclusive=self.exclusive)
        found = [network for networks in self.networks for network in networks]
        if self.own is None:
            changed = changes(run, self.recipe, self.registries)
            self.own = all(any(f"{item.key}.".startswith(f"{key}.") for key in DECIDES) for item in changed)
        said = [{"run": str(one.run.path), "epoch": one.epoch, "weights": one.digest} for one in found]
        shares = [member.share for member in self.members for _ in member.networks]
        parts: list[object] = [[one.digest for one in found], shares]
        gate = None
        if self.gate is not None:
            refuse_zero(self.thresholds, self.gate.stored)
            gate = self.gate.take_over(self.dataset, own=self.own)
            parts += [[gate["weights"], gate["decision"]], gate["pixels"]]
        return {"epoch": None, "digest": fingerprint(*parts), "networks": said, "gate": gate}

    def parts_of(self, run: RunDir, weights: Mapping[str, Any]) -> pd.DataFrame:
        """For each slice whether every member, and the gate, has a network that has not trained on it."""
        own = [one.run.verified_split(one.facts) for networks in self.networks for one in networks]
        return with_digests(joint_parts(self._seen()), own)

    def _seen(self) -> list[Seen]:
        """What each member knows of slices, those of the gate at the end."""
        splits = [[one.run.verified_split(one.facts) for one in networks] for networks in self.networks]
        return [*(Seen.of(member) for member in splits), *(self.gate.whole._seen() if self.gate else ())]

    def skip(self, ids: Iterable[str]) -> None:
        """As of ExperimentData; networks that know other rows of the data are made anew."""
        before = self._bad
        super().skip(ids)
        if self._bad is not before:
            self.__dict__.pop("networks", None)
            if self.gate is not None and self.own is not None:
                self.gate.whole.skip(ids)
                self.gate.take_over(self.dataset, own=self.own)

    def distrust_kept(self) -> None:
        """Predict anew what was kept, since the images are others now."""
        self.own = False
        if self.gate is not None:
            self.gate.whole.distrust_kept()

    def part_of(self, split: pd.DataFrame) -> Part:
        """The slices that are scored; raises RunError if there are none but such as the networks trained on."""
        who = "a member or the gate" if self.gate else "a member"
        part = replace(scored_part(split, self.trained_table), who=who)
        return held_out_part(part, split, self.trained_table, str(self.run.path))

    def folds_of(self, rows: Rows) -> Rows:
        """The network of the first member that has not seen each of the rows, numbered from 0; -1 where there is none.

        Tuning that is nested chooses on the rows of all numbers but one, and scores on those of that one.
        """
        places = {name: at for at, one in enumerate(self.networks[0]) for name in one.validated}
        ids = self.dataset.table["id"].astype(str).iloc[rows]
        return np.array([places.get(name, -1) for name in ids], dtype=np.int64)

    def trained_in(self, split: pd.DataFrame, name: str) -> pd.DataFrame:
        """As of RunData; of named parts, all networks predict each slice, and all but one trained on what validated."""
        seen = split.assign(part=split["part"].replace("validation", "train"))
        return seen if name in ("unlabelled", "all") else split

    @property
    def exclusive(self) -> bool:
        """Whether a pixel has one class at most with every network; else the classes are mixed as independent ones."""
        return all(one.experiment.exclusive for networks in self.networks for one in networks)

    @property
    def size(self) -> tuple[int, int]:
        """Parameters of all networks, and those of them that were trained."""
        sizes = []
        for networks in self.networks:
            networks[0].load()  # those of a member are alike
            sizes.append([len(networks) * number for number in networks[0].experiment.size])
        if self.gate is not None:
            sizes.append(list(self.gate.whole.size))
            self.gate.whole.release()
        total, trained = np.sum(sizes, axis=0).tolist()
        return total, trained

    def release(self) -> None:
        """Free the memory of all networks."""
        for networks in self.networks:
            for one in networks:
                one.release()

    def probabilities(
        self,
        rows: Rows,
        *,
        label: str,
        progress: Progress,
        predictor: Predictor | None = None,
        sized: bool = False,
        share: Share = WHOLE,
    ) -> Generator[ScanProbabilities]:
        """The weighted mean over the members, scan by scan; where every row validated, out of fold.

        Probabilities of a class in slices where the gate does not see it are 0.

        Args:
            predictor, sized: of a single network; not taken here.
            share: as of ``predict_scans``; only where ``shares`` says so.
        """
        if predictor is not None or sized:
            raise RuntimeError("an ensemble has no predictor or network size of its own")
        predict = partial(self._ungated, rows, label, progress, share)
        if self.open_to is not None:
            return gated_scans(predict(), self.open_to)
        if self.gate is not None:
            return self.gate.apply(predict, rows, progress=progress)
        return predict()

    def shares(self, rows: Rows) -> bool:
        """As of Experiment; what validated is read from the run folders, where it is kept."""
        return not self._held_out(rows)

    def _held_out(self, rows: Rows) -> bool:
        """Whether every row validated in each member."""
        held = self.ids_of(rows)
        return len(rows) > 0 and all(
            held <= frozenset().union(*(one.validated for one in each)) for each in self.networks
        )

    def _ungated(self, rows: Rows, label: str, progress: Progress, share: Share) -> Generator[ScanProbabilities]:
        if not self._held_out(rows):
            return mixed_scans(voices_of(self, rows, label=label, progress=progress, share=share))
        if share != WHOLE:
            raise RuntimeError("what was kept out of fold is not shared")
        return out_of_fold(self, rows, label=label, progress=progress)

    def ids_of(self, rows: Rows) -> frozenset[str]:
        """Ids of the rows."""
        return frozenset(self.dataset.table["id"].astype(str).iloc[rows])

    def stored(self, rows: Rows, stack: ExitStack, *, progress: Progress = silent) -> list[Stored]:
        """The probabilities of each member for slices that validated, by networks that have not seen them.

        What is not kept yet is predicted: into the networks' run folders, or with other settings than theirs into a
        temporary folder.

        Args:
            rows: of the dataset's table, all of which validated in every member.
            stack: closes the files.
        """
        return stored(self, rows, stack, progress=progress)
