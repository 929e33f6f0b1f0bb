"""Names become live objects here, once, and nowhere else."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.optim.lr_scheduler import LRScheduler

from gisegkit.build.dataset import build_component, build_dataset, make_store
from gisegkit.build.preflight import refuse_overlaps
from gisegkit.components.models.networks import AnySize
from gisegkit.data.folds import rows_of_split, split_rows
from gisegkit.data.loaders import EpochSampler, Input, TrainingSet
from gisegkit.data.randomness import INITIAL, seeded
from gisegkit.data.slices import SliceReader
from gisegkit.data.spacing import refuse_unmeasured
from gisegkit.data.store.store import Prepared
from gisegkit.engine.criterion import Criterion
from gisegkit.errors import DataError
from gisegkit.recipe.sections import Recipe
from gisegkit.registry.kinds import Registries
from gisegkit.types import Dataset, Metric, Progress, refuse_unknown_stage, silent

if TYPE_CHECKING:
    import pandas as pd

Rows = NDArray[np.int64]

NOTHING = Prepared(made=0, slices=0, size=0)


@dataclass(frozen=True)
class Data:
    """The dataset of a recipe, its split, and the way to the network.

    Attributes:
        train, validation, unlabelled: rows of ``dataset.table``.
        prepared: what the store holds of them.
    """

    dataset: Dataset
    source: Input
    train: Rows
    validation: Rows
    unlabelled: Rows
    prepared: Prepared = NOTHING

    @property
    def channels(self) -> int:
        """C of the network's input."""
        return self.source.reader.channels

    def part(self, name: str) -> tuple[str, Rows]:
        """The rows of ``[predict] part`` and the part's plain name.

        Raises:
            DataError: if the data have no such slices.
        """
        if name == "auto":
            name = "unlabelled" if len(self.unlabelled) else "validation"
        every = np.arange(len(self.dataset.table), dtype=np.int64)
        rows = {"unlabelled": self.unlabelled, "validation": self.validation, "all": every}[name]
        if not len(rows):
            raise DataError(f"there are no {name} slices in {type(self.dataset).__name__}; choose another predict.part")
        return name, rows


@dataclass(frozen=True)
class Batches:
    """What makes the batches of training; needs no model."""

    samples: TrainingSet
    sampler: EpochSampler
    transforms: list[Any]


@dataclass(frozen=True)
class TrainingParts:
    """What training needs besides model and data."""

    criterion: Criterion
    optimizer: torch.optim.Optimizer
    schedule: LRScheduler
    batches: Batches


def build_data(
    recipe: Recipe,
    registries: Registries,
    *,
    training: bool = True,
    prepare: Progress | None = None,
    dataset: Dataset | None = None,
    split: pd.DataFrame | None = None,
    look: bool = True,
) -> Data:
    """Dataset, split and input of a recipe.

    Args:
        training: whether there must be slices to train on and to validate on.
        prepare: shown while slices that train or validate are prepared; None takes those that are prepared already,
            and reads the others from their files.
        look: whether the store is looked at now; else nothing is prepared before ``prepare_data``.
        dataset: the recipe's, where it is built already.
        split: which slice is in which part, of a run that goes on; None draws folds as the recipe says.

    Raises:
        RunError: if the slices are not those of ``split``.
        DataError: if the data cannot be split as the recipe says, or not be prepared, or a metric measures in mm and
            the data do not tell how far their voxels are apart.
    """
    dataset = build_dataset(recipe, registries) if dataset is None else dataset
    refuse_unmeasured(build_metrics(recipe, registries), dataset.table, place=str(recipe.dataset.place))
    inputs = recipe.input
    store = make_store(recipe, dataset)
    reader = SliceReader(
        dataset, slices=inputs.slices, stride=inputs.stride, edge=inputs.edge, normalize=inputs.normalize, store=store
    )
    source = Input(dataset, reader, size=inputs.size, resize=inputs.resize, interpolation=inputs.interpolation)
    labelled = dataset.table["labelled"].to_numpy(dtype=bool)
    train = validation = np.empty(0, dtype=np.int64)
    if training:
        if not labelled.any():
            raise DataError(f"{recipe.dataset.place}: no slice is labelled, so there is nothing to train or score on")
        train, validation = drawn(recipe, dataset) if split is None else rows_of_split(dataset.table, split)
        if not len(train):
            raise DataError("no slice is left to train on; look at [split] subset and folds")
    data = Data(dataset, source, train, validation, np.flatnonzero(~labelled))
    return prepare_data(data, prepare) if look else data


def prepare_data(data: Data, prepare: Progress | None) -> Data:
    """The data with their prepared slices.

    Args:
        prepare: shown while slices that train or validate are prepared, where they are not yet; None prepares none.

    Raises:
        DataError: if slices cannot be read, or not be kept.
    """
    store = data.source.reader.store
    if store is None:
        return data
    build = prepare is not None
    rows = np.concatenate([data.train, data.validation]) if build else np.arange(len(data.dataset.table))
    return replace(data, prepared=store.prepare(rows, build=build, progress=prepare or silent))


def drawn(recipe: Recipe, dataset: Dataset) -> tuple[Rows, Rows]:
    """The rows that train and that validate, as the recipe draws its folds."""
    split = recipe.split
    return split_rows(
        dataset.table,
        folds=split.folds,
        fold=split.fold,
        group=split.group,
        stratify=split.stratify,
        subset=split.subset,
        seed=split.seed,
    )


def build_model(
    recipe: Recipe, registries: Registries, *, channels: int, classes: int, trained: bool = False
) -> nn.Module:
    """The network on the CPU; its random initial weights derive from the recipe's seed.

    Args:
        trained: True where a checkpoint's weights follow, so that pretrained ones need not be downloaded.
    """
    spec = recipe.model
    pretrained = spec.params.get("weights", "none") != "none" or bool(recipe.train.init_from)
    if trained and "weights" in spec.params:
        spec = replace(spec, params={**spec.params, "weights": "none"})
    with seeded(recipe.seed, INITIAL):
        model: nn.Module = build_component(spec, registries, in_channels=channels, classes=classes)
    if trained and pretrained and isinstance(model, AnySize) and "batchnorm_momentum" not in spec.params:
        model.count_as_pretrained()
    return model


def build_metrics(recipe: Recipe, registries: Registries) -> dict[str, Metric]:
    """The metrics by name, in the recipe's order."""
    return {spec.name: build_component(spec, registries) for spec in recipe.metric}


def build_criterion(recipe: Recipe, registries: Registries) -> Criterion:
    """The weighted sum of the recipe's losses."""
    terms = [(spec.name, spec.weight, build_component(spec, registries)) for spec in recipe.loss]
    return Criterion(terms, epochs=[(spec.start_epoch, spec.end_epoch) for spec in recipe.loss])


def uses_softmax(recipe: Recipe, registries: Registries) -> bool:
    """Whether a loss of the last epoch trains the classes as exclusive ones, by its attribute ``activation``."""
    last = [spec for spec in recipe.loss if spec.counts_in(recipe.train.epochs)]
    return any(getattr(registries["loss"].get(spec.name).load(), "activation", "") == "softmax" for spec in last)


def build_batches(recipe: Recipe, registries: Registries, data: Data) -> Batches:
    """Samples, their order and the batch transforms."""
    augmentation = build_component(recipe.augmentation, registries, size=recipe.input.size)
    return Batches(
        samples=TrainingSet(data.source, augmentation, seed=recipe.seed),
        sampler=EpochSampler(data.train, batch_size=recipe.train.batch_size, seed=recipe.seed),
        transforms=[build_component(spec, registries) for spec in recipe.batch_transform],
    )


def build_training(recipe: Recipe, registries: Registries, data: Data, model: nn.Module) -> TrainingParts:
    """Losses, optimizer, schedule, samples and batch transforms for a model that is already on its device."""
    refuse_overlaps(recipe, registries, data.dataset)
    batches = build_batches(recipe, registries, data)
    # A list: a factory that goes through it twice, such as one with two groups, would find a generator empty.
    optimizer = build_component(recipe.optimizer, registries, params=list(model.parameters()))
    steps = len(batches.sampler) * recipe.train.epochs
    return TrainingParts(
        criterion=build_criterion(recipe, registries),
        optimizer=optimizer,
        schedule=build_component(recipe.schedule, registries, optimizer=optimizer, steps=steps),
        batches=batches,
    )


def build_postprocess(recipe: Recipe, registries: Registries) -> list[Any]:
    """The post-processing steps in the recipe's order.

    Raises:
        ComponentError: if a step works on a stage that there is not; names place, step and plugin.
    """
    steps = [build_component(spec, registries) for spec in recipe.postprocess]
    for spec, step in zip(recipe.postprocess, steps, strict=True):
        owner = registries[spec.kind].get(spec.name).owner
        refuse_unknown_stage(step, f"{spec.place}: postprocess {spec.name!r} of {owner}")
    return steps
