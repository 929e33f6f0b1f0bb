"""A recipe's live objects, each built once per command, when it is first asked for.

Train, evaluate and predict hand one experiment on, so that nothing is built or read twice.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Mapping
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.optim.lr_scheduler import LRScheduler

from gisegkit.build.console import Console
from gisegkit.build.data import Rows
from gisegkit.build.model_parts import freeze, parameters_of
from gisegkit.build.network import make_preprocess, make_source, started_network, to_device
from gisegkit.build.ranges import in_range
from gisegkit.build.run_data import RunData
from gisegkit.build.training import Assembled, assemble
from gisegkit.build.views import of_slices, tried_views
from gisegkit.data.inputs import Input
from gisegkit.data.loaders import Augmentation, EpochSampler, TrainingSet
from gisegkit.data.preprocess import Preprocess
from gisegkit.data.probability_file import ProbabilityWriter
from gisegkit.engine.criterion import Criterion
from gisegkit.engine.decision import DecidedSlice, Decision, Scan, decide_scans, decide_slices
from gisegkit.engine.device import Device, pick_device
from gisegkit.engine.device_cache import Resident
from gisegkit.engine.predictor import NetworkPredictor, Predictor, ScanProbabilities, predict_scans
from gisegkit.engine.scan_shares import WHOLE, Share
from gisegkit.engine.scoring import Scoreboard, score_scans
from gisegkit.engine.stored import kept_scans
from gisegkit.engine.tta import MeanOfViews, Scaled, Turned
from gisegkit.errors import RunError
from gisegkit.recipe.sections import Recipe
from gisegkit.registry.kinds import Registries
from gisegkit.types import Progress

TRAINING_PARTS = ("assembled", "optimizer", "schedule", "samples", "sampler", "resident")
"""What takes memory only while training."""


class Experiment(RunData):
    """A recipe's live objects; each is built once, when it is first asked for.

    Args:
        recipe: what to build.
        registries: the components that it names.
        console: the device, and where lines and progress go; default quiet, on the best device.
    """

    def __init__(self, recipe: Recipe, registries: Registries, *, console: Console | None = None) -> None:
        super().__init__(recipe, registries, console=console)
        self._facts: Mapping[str, Any] | None = None

    @cached_property
    def device(self) -> Device:
        """The device, and the precision that it computes in."""
        return pick_device(self.console.world.device(self.console.device), self.recipe.train.precision)

    @cached_property
    def preprocess(self) -> Preprocess:
        """From the images of a stack to what the network gets, and from its output back."""
        return make_preprocess(self.recipe, self.normalization)

    @cached_property
    def source(self) -> Input:
        """The slices by row, as the network gets them."""
        return make_source(self.recipe, self.dataset, self.store, self.preprocess)

    def prepare(self) -> None:
        """Decode the slices that train or validate and keep them, if they are not kept yet.

        Raises:
            DataError: if slices cannot be read or kept, or have values that the normalization does not take.
        """
        super().prepare()
        self.source.reader.refuse(np.concatenate(self.split).tolist())

    @property
    def channels(self) -> int:
        """C of the network's input."""
        return self.source.reader.channels

    @property
    def facts(self) -> dict[str, Any]:
        """What a checkpoint must say so that its network can be built again without the data."""
        return {"classes": list(self.classes), "channels": self.channels}

    def expect(self, facts: Mapping[str, Any]) -> None:
        """Weights of a checkpoint will follow, so that none need be downloaded; check that the data fit them.

        Raises:
            RunError: if the data have other classes or channels than the checkpoint.
        """
        for key, value in self.facts.items():
            if value != facts[key]:
                raise RunError(f"the run was trained with {key} = {facts[key]}, these data have {value}")
        self._facts = facts

    @cached_property
    def model(self) -> nn.Module:
        """The network on the device: as the recipe starts it, which is said, or to be filled with expected weights."""
        model = started_network(self, settled=self._facts is not None)
        freeze(model, self.recipe.train.freeze, place=f"{self.recipe.source}: train.freeze")
        return to_device(model, self.recipe, self.device)

    @cached_property
    def criterion(self) -> Criterion:
        """The weighted sum of the recipe's losses."""
        losses = self.recipe.loss
        terms = [(spec.name, spec.weight, self.build(spec)) for spec in losses]
        return Criterion(terms, epochs=[(spec.start_epoch, spec.end_epoch) for spec in losses])

    @cached_property
    def augmentation(self) -> Augmentation:
        """The augmentation policy; refused as of ``in_range``."""
        policy: Augmentation = self.build(self.recipe.augmentation, size=self.recipe.input.size)
        return in_range(policy, self)

    @cached_property
    def transforms(self) -> list[Any]:
        """The batch transforms, in the recipe's order; refused as of ``in_range``."""
        return [in_range(self.build(spec), self) for spec in self.recipe.batch_transform]

    @cached_property
    def samples(self) -> TrainingSet:
        """The training samples, augmented."""
        return TrainingSet(self.source, self.augmentation, seed=self.recipe.seed)

    @cached_property
    def sampler(self) -> EpochSampler:
        """The order of the training samples."""
        train, crops = self.recipe.train, self.recipe.input.crops if self.recipe.input.mode == "crop" else 1
        return EpochSampler(self.split.train, batch_size=train.batch_size, seed=self.recipe.seed, crops=crops)

    @cached_property
    def optimizer(self) -> torch.optim.Optimizer:
        """The optimizer of the network's parameters."""
        spec, frozen = self.recipe.optimizer, self.recipe.train.freeze
        params = parameters_of(self.model, spec.of_kind("lr_by_part") or {}, frozen=bool(frozen), place=spec.place)
        built: torch.optim.Optimizer = self.build(spec, params=params)
        return built

    @cached_property
    def schedule(self) -> LRScheduler:
        """The learning rate's schedule, planned for all steps of the run."""
        steps = len(self.sampler) * self.recipe.train.epochs
        built: LRScheduler = self.build(self.recipe.schedule, optimizer=self.optimizer, steps=steps)
        return built

    @cached_property
    def resident(self) -> Resident | None:
        """The training slices in the device's memory, for ``[input] store = "device"``."""
        return Resident(self.source, self.split.train) if self.recipe.input.store == "device" else None

    @cached_property
    def assembled(self) -> Assembled:
        """What ``fit`` works with, and the memory plan; what the plan says is printed."""
        return assemble(self)

    def release_training(self) -> None:
        """Free what takes memory only while training; the network stays."""
        for name in TRAINING_PARTS:
            self.__dict__.pop(name, None)
        self.model.zero_grad(set_to_none=True)
        self.device.release()

    # --- prediction ---------------------------------------------------------------------------------------------------

    @cached_property
    def decision(self) -> Decision:
        """Probabilities to masks: thresholds, presence and the post-processing steps.

        Raises:
            ComponentError, DataError: as of ``check_decision``.
        """
        return Decision(self.thresholds, self.postprocess, exclusive=self.exclusive, presence=self.presence)

    @property
    def exclusive(self) -> bool:
        """Whether the losses that count last train a softmax, so that a pixel has one class at most."""
        last = [spec for spec in self.recipe.loss if spec.counts_in(self.recipe.train.epochs)]
        loaded = [self.registries["loss"].get(spec.name).load() for spec in last]
        return any(getattr(loss, "activation", "") == "softmax" for loss in loaded)

    @cached_property
    def network_predictor(self) -> NetworkPredictor:
        """Images to probabilities by the network alone."""
        layout = self.recipe.train.channels_last
        return NetworkPredictor(self.model, self.device, exclusive=self.exclusive, channels_last=layout)

    @property
    def batch_size(self) -> int:
        """Slices or windows that prediction has on the device at once: at most as many as a step was planned for."""
        assembled = self.__dict__.get("assembled")
        planned = assembled.plan.micro_batch if assembled is not None and assembled.plan else 0
        return min(self.recipe.evaluate.batch_size, planned or self.recipe.evaluate.batch_size)

    @cached_property
    def views(self) -> list[Turned | Scaled]:
        """The views of test-time augmentation, tried on the network.

        Raises:
            ComponentError: if the network refuses the size of a view.
        """
        return tried_views(self)

    @property
    def predictor(self) -> Predictor:
        """Images to probabilities as evaluation and prediction take them; raises as ``views`` does."""
        network = self.network_predictor
        return of_slices(self, MeanOfViews(network, self.views) if self.views else network)

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
        """Predict the rows scan by scan, with at most as many slices at once as a training step was planned for.

        Args:
            predictor: default ``self.predictor``.
            sized, share: as of ``predict_scans``.
        """
        return predict_scans(
            predictor or self.predictor,
            self.source,
            rows,
            batch_size=self.batch_size if self.recipe.input.mode == "slice" else 1,  # slices may differ in size
            workers=self.device.workers(self.recipe.train.workers),
            progress=progress,
            label=label,
            sized=sized,
            share=share,
        )

    def scans(
        self,
        rows: Rows,
        *,
        label: str,
        progress: Progress,
        keep: ProbabilityWriter | None = None,
        share: Share = WHOLE,
    ) -> Generator[Scan]:
        """The rows predicted and decided, whole scans.

        Args:
            keep: also takes the probabilities at the network's size.
            share: as of ``predict_scans``.
        """
        sized = keep is not None
        predicted = self.probabilities(rows, label=label, progress=progress, sized=sized, share=share)
        if keep is not None:
            predicted = kept_scans(predicted, keep, self.dataset.table)
        return decide_scans(predicted, self.decision, threads=self.device.threads)

    def slices(
        self, rows: Rows, *, label: str, progress: Progress, probabilities: bool = False, share: Share = WHOLE
    ) -> Generator[DecidedSlice]:
        """The rows predicted and decided slice by slice, for whoever needs no whole scan.

        Args:
            probabilities: whether each slice brings its probabilities with its masks.
            share: as of ``predict_scans``.
        """
        predicted = self.probabilities(rows, label=label, progress=progress, share=share)
        return decide_slices(predicted, self.decision, threads=self.device.threads, probabilities=probabilities)

    def score(self, rows: Rows, progress: Progress) -> Scoreboard:
        """The scores of whole scans at native size, without test-time augmentation, as training sees them.

        Of several processes each scores some scans, and all get the scores of all.
        """
        own = Scoreboard(self.metrics, self.classes)
        world, one_view = self.console.world, of_slices(self, self.network_predictor)
        share = Share(world.rank, world.size)
        predicted = self.probabilities(rows, label="validate", progress=progress, predictor=one_view, share=share)
        scans = decide_scans(predicted, self.decision, threads=self.device.threads)
        deque(score_scans(scans, own, self.dataset, threads=self.device.threads), maxlen=0)  # holds none of them
        board = Scoreboard(self.metrics, self.classes)
        for values in world.collect(own.recorded):
            board.record(values)
        return board
