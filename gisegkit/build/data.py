"""The data of a recipe as live objects: dataset, metrics, split, prepared store. Imports no torch.

Importing torch would take longer than listing a large data set and looking at its store.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gisegkit.build.console import Console
from gisegkit.build.dataset import build_component, make_store, stack_warnings
from gisegkit.build.datasets import Made, assemble, build_datasets
from gisegkit.build.doctor import known_findings, parts_of, prepare_once, tell, tell_left_out
from gisegkit.build.preflight import idle_settings, refuse_overlaps
from gisegkit.data.doctor.facts import SliceFacts
from gisegkit.data.doctor.tables import split_findings
from gisegkit.data.folds import LEFT_OUT, rows_of_split, split_rows
from gisegkit.data.given_split import given_note, given_rows
from gisegkit.data.intensities import Normalization
from gisegkit.data.spacing import refuse_unmeasured
from gisegkit.data.store.layout import Prepared
from gisegkit.data.store.store import Store
from gisegkit.engine.monitor import direction_of_monitor
from gisegkit.errors import DataError
from gisegkit.plugins import Plugins
from gisegkit.recipe.per_class import per_class
from gisegkit.recipe.sections import ComponentSpec, Recipe
from gisegkit.registry.kinds import Owner, Registries
from gisegkit.types import AnyArray, Dataset, Metric, refuse_unknown_stage, silent

if TYPE_CHECKING:
    import pandas as pd

Rows = NDArray[np.int64]
NOTHING = Prepared(made=0, slices=0, size=0)
MADE_OF_SLICES = ("dataset", "split", "unlabelled", "store", "source", "samples", "sampler", "resident", "assembled")
"""Parts of an experiment that are made anew without the slices that are left out."""
MADE_OF_SPLIT = ("split", "samples", "sampler", "resident", "assembled")
"""Those of them that depend on what trains and what validates."""


class Split(NamedTuple):
    """The rows of the dataset's table that train and those that validate."""

    train: Rows
    validation: Rows


class ExperimentData:
    """The data of a recipe; each part is built once, when it is first asked for.

    Args:
        recipe: what to build.
        registries: the components that it names.
        console: the device, and where lines and progress go; default quiet, on the best device.

    Attributes:
        prepared: what the store holds of the slices, as far as it was looked at.
        seen: the doctor's facts of the slices that were looked at, by id.
        skipped: ids of slices that ``on_bad = "skip"`` leaves out, as far as is known.
    """

    def __init__(self, recipe: Recipe, registries: Registries, *, console: Console | None = None) -> None:
        self.recipe = recipe
        self.registries = registries
        self.console = console or Console(Plugins(registries=registries))
        self.prepared = NOTHING
        self.seen: dict[str, SliceFacts] = {}
        self.skipped: tuple[str, ...] = ()
        self._bad: set[str] = set()
        self._looked = self._checked = False
        self._stored_split: pd.DataFrame | None = None

    def build(self, spec: ComponentSpec, **given: Any) -> Any:
        """The object that a component's factory returns; see ``build_component``."""
        return build_component(spec, self.registries, **given)

    def owner(self, spec: ComponentSpec) -> Owner:
        """Who brings a component."""
        return self.registries[spec.kind].get(spec.name).owner

    @cached_property
    def dataset(self) -> Dataset:
        """The dataset, checked against the contract that everything else relies on.

        Raises:
            DataError, ComponentError: as of ``verify_dataset``.
        """
        dataset, self.skipped = assemble(self.made, self._bad)
        return dataset

    @cached_property
    def made(self) -> list[Made]:
        """The recipe's datasets as they are, each for itself; raises as ``dataset`` does."""
        return build_datasets(self.recipe, self.registries, say=self.console.say)

    def skip(self, ids: Iterable[str]) -> None:
        """Do without slices, where ``on_bad`` of their dataset says so; what was made with them is made anew."""
        if not (new := set(ids) - self._bad):
            return
        self._bad = self._bad | new  # a set of its own: the experiments of folds begin with that of the whole
        for name in MADE_OF_SLICES:
            self.__dict__.pop(name, None)
        self.prepared, self._looked = NOTHING, False

    @property
    def roles(self) -> AnyArray | None:
        """``[N]``: the role of each row's dataset; None if there is one dataset."""
        return getattr(self.dataset, "roles", None)

    def rows_of_role(self, role: str) -> Rows:
        """The labelled rows of datasets with a role."""
        table, roles = self.dataset.table, self.roles
        labelled = table["labelled"].to_numpy(dtype=bool)
        return np.flatnonzero(labelled & (role == "train" if roles is None else roles == role))

    @property
    def given(self) -> pd.DataFrame | None:
        """The part of every slice (columns id and part) where the data say themselves what trains; else None."""
        return getattr(self.dataset, "parts", None)

    @property
    def trained_table(self) -> pd.DataFrame:
        """The table as if slices of extra and test datasets had no labels: what folds and parts are made of."""
        table, roles = self.dataset.table, self.roles
        if roles is None:
            return table
        return table.assign(labelled=table["labelled"].to_numpy(dtype=bool) & (roles == "train"))

    @cached_property
    def normalization(self) -> Normalization:
        """Maps the intensities of slices to what the network sees."""
        made: Normalization = self.build(self.recipe.normalization)
        return made

    @cached_property
    def metrics(self) -> dict[str, Metric]:
        """The metrics by what their scores are called, in the recipe's order."""
        return {spec.label: self.build(spec) for spec in self.recipe.metric}

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the K classes."""
        return tuple(self.dataset.classes)

    @property
    def thresholds(self) -> tuple[float, ...]:
        """Of each class, the probability from which a pixel belongs to it; DataError if the classes do not fit."""
        return self._per_class("threshold")

    @property
    def presence(self) -> tuple[float, ...]:
        """Of each class, the probability that a slice must reach somewhere; raises as ``thresholds`` does."""
        return self._per_class("presence")

    @cached_property
    def postprocess(self) -> tuple[Any, ...]:
        """The post-processing steps, in the recipe's order.

        Raises:
            ComponentError: if a step cannot be built or has an unknown stage; names place, step and plugin.
            DataError: if a parameter is for a class that there is not.
        """
        steps = tuple(self.build(spec, classes=self.classes) for spec in self.recipe.postprocess)
        for spec, step in zip(self.recipe.postprocess, steps, strict=True):
            refuse_unknown_stage(step, f"{spec.place}: postprocess {spec.name!r} of {self.owner(spec)}")
        return steps

    def check_decision(self) -> None:
        """See that thresholds and post-processing fit the classes, before anything is predicted.

        Raises:
            ComponentError, DataError: as of ``thresholds`` and ``postprocess``.
        """
        _ = self.thresholds, self.presence, self.postprocess

    def _per_class(self, key: str) -> tuple[float, ...]:
        place = f"{self.recipe.source}: evaluate.{key}".removeprefix(": ")
        values: tuple[float, ...] = per_class(getattr(self.recipe.evaluate, key), self.classes, key=place)
        return values

    def keep_split(self, split: pd.DataFrame) -> None:
        """Take the parts of a run that is resumed, columns id and part, instead of drawing folds."""
        self._stored_split = split
        self.skip(split["id"][split["part"] == LEFT_OUT])
        for name in MADE_OF_SPLIT:
            self.__dict__.pop(name, None)

    @cached_property
    def split(self) -> Split:
        """The rows that train and that validate; of several folds those of the first.

        Raises:
            RunError: if the slices are not those of the run that is resumed.
            DataError: if no slice is labelled, none is left to train on, there are fewer cases than folds, or the
                data say themselves what trains and the recipe asks for several folds.
        """
        table, split = self.dataset.table, self.recipe.split
        if not table["labelled"].to_numpy(dtype=bool).any():
            place = self.recipe.dataset.place
            raise DataError(f"{place}: no slice is labelled, so there is nothing to train or score on")
        if self._stored_split is not None:
            rows = rows_of_split(table, self._stored_split)
        elif (given := self.given) is not None:
            rows = given_rows(table, given, subset=split.subset, several=split.several)
        else:
            rows = split_rows(
                self.trained_table,
                folds=split.folds,
                fold=split.chosen[0],
                group=split.group,
                stratify=split.stratify,
                subset=split.subset,
                seed=split.seed,
            )
            rows = np.union1d(rows[0], self.rows_of_role("extra")), rows[1]
        if not len(rows[0]):
            raise DataError("no slice is left to train on; look at [split] subset and folds")
        return Split(*rows)

    @cached_property
    def unlabelled(self) -> Rows:
        """The rows without labels, of the dataset that is split."""
        unlabelled = ~self.dataset.table["labelled"].to_numpy(dtype=bool)
        return np.flatnonzero(unlabelled if self.roles is None else unlabelled & (self.roles == "train"))

    def rows_to_predict(self, part: str | None = None) -> tuple[str, Rows]:
        """The name and the rows of a part of the data; of ``validation`` all that are labelled, to be looked up.

        Args:
            part: ``auto``, ``unlabelled``, ``validation`` or ``all``; default the recipe's ``[predict] part``.

        Raises:
            DataError: if the data have no such slices.
        """
        name = part or self.recipe.predict.part
        if name == "auto":
            name = "unlabelled" if len(self.unlabelled) else "validation"
        labelled = self.rows_of_role("train")
        every = np.union1d(labelled, self.unlabelled)
        rows = {"unlabelled": self.unlabelled, "validation": labelled, "all": every}[name]
        if not len(rows):
            raise DataError(f"there are no {name} slices in {type(self.dataset).__name__}; choose another predict.part")
        return name, rows

    @cached_property
    def store(self) -> Store | None:
        """Where prepared slices are kept; None if the recipe wants none, or the dataset cannot be prepared."""
        return make_store(self.recipe, self.dataset, self.normalization)

    def check_data(self, *, training: bool) -> None:
        """Find what is wrong with data and recipe together, before anything heavy is built; say notes, once.

        Raises:
            RecipeError: if the recipe monitors a score that there will not be.
            DataError: if a metric measures in mm and the data have no spacing, or a threshold is for a class that there
                is not; for training, as of ``split``.
            FindingsError: if the dataset has found errors.
            ComponentError: if a post-processing step is not usable, or a loss for exclusive classes meets classes that
                may overlap.
        """
        refuse_unmeasured(self.metrics, self.dataset.table, place=str(self.recipe.dataset.place))
        self.check_decision()
        tell_left_out(self)
        for line in getattr(self.dataset, "notes", ()):
            self.console.note(line)
        tell(self, known_findings(self))
        if training and not self._checked:
            tell(self, split_findings(self.dataset.table, parts_of(self), given=self.given is not None))
            direction_of_monitor(self.recipe, self.metrics, self.classes)
            refuse_overlaps(self.recipe, self.registries, self.dataset)
            if self.given is not None:
                self.console.note(given_note(self.given))
            for line in (*stack_warnings(self.recipe, self.dataset), *idle_settings(self.recipe)):
                self.console.note(line)
            self._checked = True

    def look_at_store(self) -> None:
        """See which slices are prepared already; the others are read from their files. Prepares none."""
        if self.store is not None and not self._looked:
            rows = np.arange(len(self.dataset.table), dtype=np.int64)
            if self.prepared is not NOTHING:  # those that train and validate were looked at
                rows = np.setdiff1d(rows, np.concatenate(self.split))
            if len(rows):
                self.prepared = self.store.prepare(rows, build=False, progress=silent)
            self._looked = True

    def prepare(self) -> None:
        """Decode and keep the slices that train or validate, if they are not kept yet, and tell what they show.

        Raises:
            DataError: if slices cannot be kept, or have errors that ``on_bad`` does not leave out.
        """
        while prepare_once(self):
            pass
