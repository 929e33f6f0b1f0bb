"""The types that cross the borders between rooms. Importing this module imports neither torch nor numpy.

Letters in shapes, everywhere in gisegkit:

    B batch    C input channels    K classes    D slices of a scan    H rows    W columns
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, TypeVar

from gisegkit.errors import ComponentError
from gisegkit.types.plans import *  # noqa: F403

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import torch
    from numpy.typing import NDArray

    BoolArray: TypeAlias = NDArray[np.bool_]
    FloatArray: TypeAlias = NDArray[np.floating[Any]]
    MaskArray: TypeAlias = NDArray[np.uint8]
    AnyArray: TypeAlias = NDArray[Any]
else:  # importable names all the same, without importing numpy
    BoolArray = FloatArray = MaskArray = AnyArray = Any

T = TypeVar("T")

IGNORE = 255
"""The value in a sample's mask (uint8, otherwise 0 or 1) of a pixel that counts in neither loss nor score.

On the device it becomes NaN in ``Batch.targets``; the criterion takes such pixels out before a loss sees them.
"""

STAGES = ("probabilities", "masks")
"""What a post-processing step works on, its ``stage``: ``[D, H, W, K]`` before the threshold, or bool after it."""

UNITS = ("slice", "scan")
"""What a post-processing step looks at, its ``unit``: every slice by itself, or the scan; without one, the scan."""


def refuse_unknown_stage(step: object, name: str) -> None:
    """Check that a post-processing step will be called.

    Args:
        name: what the step is called, and where it comes from.

    Raises:
        ComponentError: if its ``stage`` is none of STAGES.
    """
    stage = getattr(step, "stage", None)
    if stage not in STAGES:
        valid = " or ".join(map(repr, STAGES))
        raise ComponentError(f"{name} has stage = {stage!r}, so it would never be called; valid is {valid}")


# --- bounds: written in signatures as ``Annotated[float, Between(0, 1)]``, checked when a recipe is read ------------


@dataclass(frozen=True)
class Between:
    """The value lies in [low, high], both ends included."""

    low: float
    high: float

    def holds(self, value: float) -> bool:
        return self.low <= value <= self.high

    def __str__(self) -> str:
        return f"between {self.low:g} and {self.high:g}"


@dataclass(frozen=True)
class AtLeast:
    """The value is ``low`` or larger."""

    low: float

    def holds(self, value: float) -> bool:
        return value >= self.low

    def __str__(self) -> str:
        return f"{self.low:g} or more"


@dataclass(frozen=True)
class Above:
    """The value is larger than ``low``."""

    low: float

    def holds(self, value: float) -> bool:
        return value > self.low

    def __str__(self) -> str:
        return f"more than {self.low:g}"


@dataclass(frozen=True)
class Dropped:
    """Slices that a dataset leaves out, and why."""

    reason: str
    slices: int


COLUMNS = ("id", "scan", "position", "case", "height", "width", "labelled", "empty")
"""The columns that every dataset's table has; see Dataset."""

FORMER_COLUMNS = {"volume": "scan", "group": "case"}
"""What columns were called before 0.2, with their names now; also the named groups of the dataset ``folder``."""

SPACING = ("spacing_z", "spacing_y", "spacing_x")
"""Columns that a dataset's table may have besides: mm from one slice, row and column to the next."""


class Dataset(Protocol):
    """What a ``[dataset]`` component returns: a table of slices and readers for one row of it.

    Attributes:
        table: one row a slice, sorted by (scan, position), index 0..N-1, with the columns
            ``id`` (str, unique; the submission's id), ``scan`` (str; the scan that it belongs to), ``position`` (int;
            the slice's number in its scan, gaps allowed), ``case`` (str; slices of one case are never on both sides of
            a split, unless ``[split] group`` says so), ``height`` and ``width`` (int, pixels), ``labelled`` (bool),
            ``empty`` (bool; no pixel of any class; False if not labelled). It may have the columns of ``SPACING``, in
            mm and above 0, the same in all slices of a scan, for metrics that measure in mm.
        classes: names of the K classes, in the order of the masks' last axis.
        exclusive: True if a pixel has at most one class (a label file), False where classes may overlap.
        dropped: what was left out of the table, and why.

    A dataset is prepared (decoded once, and kept) where it also has ``root``, the folder of its files, and
    ``sources(row)``: the paths of the files that the row's image and mask are made of, and as text whatever else
    settles them, such as runs or the meaning of values. Its readers are then called from several threads. It may have
    ``notes`` (lines that training and prediction print, such as what is left out), ``version`` (another one makes what
    is prepared stale), ``may_ignore`` (False if no mask ever holds IGNORE, so that less room is asked for) and
    ``findings()``, which yields what it has found wrong or doubtful (``gisegkit.errors.Finding``): errors stop
    training, or their ``ids`` are left out.
    """

    table: pd.DataFrame
    classes: tuple[str, ...]
    exclusive: bool
    dropped: tuple[Dropped, ...]

    def image(self, row: int) -> AnyArray:
        """The slice ``[H, W]`` or ``[H, W, C]`` in the file's own depth (uint8, uint16 or float32)."""
        ...

    def mask(self, row: int) -> MaskArray:
        """``[H, W, K]`` uint8: 0, 1, or IGNORE. Raises DataError for a row that is not labelled."""
        ...


class Geometry(Protocol):
    """How one native size is brought to the network's size, and exactly back."""

    def image(self, image: AnyArray) -> AnyArray:
        """``[H, W, C]`` at native size to ``[h, w, C]``."""
        ...

    def mask(self, mask: MaskArray) -> MaskArray:
        """``[H, W, K]`` uint8 at native size to ``[h, w, K]``, nearest neighbor."""
        ...

    def invert(self, values: FloatArray) -> FloatArray:
        """``[h, w, K]`` float (probabilities) back to ``[H, W, K]``."""
        ...


@dataclass(frozen=True)
class Batch:
    """What the training step sees.

    Attributes:
        images: ``[B, C, H, W]`` float32 on the device.
        targets: pairs (weight, target), target ``[B, K, H, W]`` float32 in [0, 1], NaN where a pixel is ignored. The
            loss is ``sum(weight * criterion(logits, target))``; a plain batch has one pair of weight 1.
        rows: ``[B]`` int64 on the CPU, rows of the dataset's table.
    """

    images: torch.Tensor
    targets: tuple[tuple[float, torch.Tensor], ...]
    rows: torch.Tensor

    def send(self, drawn: AnyArray) -> torch.Tensor:
        """What a batch transform drew on the CPU, on the images' device; a GPU need not finish its work for it."""
        import torch

        tensor = torch.from_numpy(drawn)
        if self.images.device.type != "cuda":
            return tensor.to(self.images.device)
        return tensor.pin_memory().to(self.images.device, non_blocking=True)  # from other memory the copy may wait


# --- scores -----------------------------------------------------------------------------------------------------


class Metric(Protocol):
    """What a ``[[metric]]`` component returns. Called once a scan, combined once a set: sum, then divide.

    Attributes:
        convention: one line that says unit, empty policy and normalization; printed beside every score.
        higher_is_better: whether the best checkpoint has the highest or the lowest value.

    A metric may have ``bounds``, the lowest and the highest score there can be; an interval of it stays between them.

    Several threads may call a metric at once, each for another scan; so a call changes nothing in it.

    A metric of several parts may have ``part_directions``: for each part whether higher is better. Without it that is
    not known, and a recipe cannot monitor a part.

    A metric in mm also has ``spacing_columns``, names out of ``SPACING`` in their order, and is called with
    ``spacing=``, their values for the scan.
    """

    convention: str
    higher_is_better: bool

    def __call__(self, prediction: BoolArray, truth: BoolArray) -> Mapping[str, FloatArray]:
        """Values of one scan by part, both inputs ``[D, H, W, K]``.

        A part's array is ``[D, K]`` (a value for every slice and class) or ``[K]`` (for the scan and class), NaN where
        the part is undefined.
        """
        ...

    def combine(self, means: Mapping[str, float]) -> float:
        """The score from each part's mean over every defined value of the whole set."""
        ...


@dataclass(frozen=True)
class EpochReport:
    """What ``fit`` yields after each epoch (numbered from 1).

    Attributes:
        loss: mean training loss over the epoch's images; losses: that of each of its terms by name, not weighted.
        scores: validation scores by name (``uwmgi_score``, ``dice``, ``dice/stomach`` ...); empty if not validated.
        monitored: the value of the score that chooses the best checkpoint, NaN where not validated.
        best: whether this is the best epoch so far.
        learning_rate: of the first parameter group, at the epoch's end.
        seconds, images_per_second: of the training part; peak_memory: bytes, of tensors on a GPU,
            of the process on a CPU, 0 where unknown.
        notes: lines about what the epoch had to change, such as the micro-batch when memory ran out.
        state: everything a checkpoint needs to continue, as plain tensors, numbers and dicts.
        weights: the network's state to deploy: that of training, or its average.
        validation_loss: mean loss of a validation slice with these weights, without augmentation; NaN where not
            validated.
    """

    epoch: int
    epochs: int
    loss: float
    scores: Mapping[str, float]
    monitored: float
    best: bool
    learning_rate: float
    seconds: float
    images_per_second: float
    peak_memory: int
    state: Mapping[str, Any] = field(repr=False)
    losses: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    weights: Mapping[str, Any] = field(default_factory=dict, repr=False)
    validation_loss: float = math.nan


Outcome = Literal["finished", "stopped", "interrupted", "failed"]
"""How a run ended: of itself; by whoever took its epochs; by a signal, such as Ctrl-C; by an error."""


@dataclass(frozen=True)
class RunFacts:
    """What a tracker is told of a run: its folder, the names of the classes, the epoch it resumes after (0: none)."""

    name: str
    folder: str
    demo: bool
    classes: tuple[str, ...]
    epoch: int


class Progress(Protocol):
    """Shows how far long work has come: wraps an iterable and gives it back item by item."""

    def __call__(self, items: Iterable[T], label: str, total: int) -> Iterable[T]: ...


def silent(items: Iterable[T], label: str, total: int) -> Iterable[T]:
    """The progress that shows nothing; the default of every library function."""
    return items
