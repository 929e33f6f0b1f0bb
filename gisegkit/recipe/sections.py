"""The sections of a recipe and the Recipe that they make: frozen, complete, printable. Knows nothing of torch.

A recipe is data: no inheritance, interpolation, expressions or dotted imports. The filled recipe (every default written
out) can be saved and run again with the same result.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Annotated, Any, Literal

from gisegkit.recipe.prediction import Evaluate, Predict
from gisegkit.recipe.split import Split
from gisegkit.recipe.text import dump
from gisegkit.registry.kinds import KINDS
from gisegkit.types import AtLeast, Between


@dataclass(frozen=True)
class Input:
    """``[input]``: what the network sees of a slice.

    Args:
        mode: whole slices, resized (slice); or crops: random ones train, overlapping windows predict (crop).
        size: height and width in pixels of what it sees.
        resize: stretch to the size, or fit into it with the aspect ratio kept and zero padding around.
        interpolation: how images are resized (masks: always the nearest pixel).
        slices: neighboring slices that make the channels, an odd number, centered; 1 is plain 2D.
        stride: distance between those neighbors, in slices.
        edge: beyond the first and last slice: repeat the outermost one (clamp) or zeros.
        scale: with crops, of a slice before it is cropped: 1 keeps its native resolution, 0.5 halves it.
        crops: random crops of each slice in an epoch.
        around_class: share of the crops that are put around a pixel of a random class of their slice.
        overlap: with crops, share of a window's side that prediction has in common with the next window.
        store: slices are decoded once and kept for training: at the network's size (resized); at native size, which
            serves every size and which crops and all normalizations but maximum, dtype and none use anyway; in the
            device's memory, where no policy on the CPU can change them (device); or not (off).
        store_limit: the most that all prepared files of this data set may take, 20GiB say; auto leaves 1 GiB free.
    """

    mode: Literal["slice", "crop"] = "slice"
    size: tuple[Annotated[int, AtLeast(16)], Annotated[int, AtLeast(16)]] = (224, 224)
    resize: Literal["stretch", "fit"] = "stretch"
    interpolation: Literal["nearest", "linear", "area"] = "linear"
    slices: Annotated[int, AtLeast(1)] = 1
    stride: Annotated[int, AtLeast(1)] = 1
    edge: Literal["clamp", "zero"] = "clamp"
    scale: Annotated[float, Between(0.01, 10)] = 1.0
    crops: Annotated[int, AtLeast(1)] = 1
    around_class: Annotated[float, Between(0, 1)] = 0.33
    overlap: Annotated[float, Between(0, 0.9)] = 0.5
    store: Literal["resized", "native", "device", "off"] = "resized"
    store_limit: str = "auto"


@dataclass(frozen=True)
class Train:
    """``[train]``: how training goes.

    Args:
        epochs: passes over the training slices.
        batch_size: slices that one optimizer step learns from.
        micro_batch: slices that are on the device at once; gradients are accumulated over the batch. auto: the largest
            number that fits memory, on a CPU the whole batch unless memory is set; 0: the whole batch.
        pieces: that a micro-batch is cut into; batch normalization sees one piece, losses see all of them. Several
            processes share the pieces, which changes no result. auto: as many as there are processes.
        sync_batch_norm: let batch normalization see all pieces of a micro-batch; each needs a process and a GPU.
        memory: what a step may take, e.g. 16GiB; auto is what a GPU has free.
        activation_checkpointing: compute activations again for the backward pass, which saves memory and costs time;
            auto does where a micro-batch of 8 would not fit otherwise.
        precision: of the forward pass; auto is bf16 or fp16 on a GPU that has it and fp32 on a CPU.
        max_grad_norm: largest gradient norm; 0 does not clip.
        check_gradients: compare the gradient of each plugin's loss with the loss before training; false where they are
            meant to differ, as with a detached factor.
        channels_last: memory layout that convolutions like.
        compile: have torch.compile make the training step faster; if that fails, training continues without.
        workers: processes that read and augment slices; auto is 0 on a CPU (they would fight the training for cores)
            and up to 8 beside a GPU. The number changes no result.
        monitor: the score whose best epoch is kept; empty is the first metric.
        patience: stop after so many validations without a better score; 0 never stops early.
        validate_every: epochs between two validations; the last epoch is always validated.
        average: weights that are validated and kept: those of training (none), their moving average over steps
            (ema), or the mean of the ends of the last epochs (swa).
        ema_decay: share of the average that each step keeps; it remembers about 1 / (1 - ema_decay) steps.
        swa_start: share of the epochs before the first that counts in the mean.
        swa_batches: training batches for the mean's batch normalization statistics.
        freeze: parts of the network that keep the weights and the statistics that they start with, such as "encoder".
        init_from: the folder of another run, whose best weights training starts from; empty starts as [model] says.
    """

    epochs: Annotated[int, AtLeast(1)] = 15
    batch_size: Annotated[int, AtLeast(1)] = 64
    micro_batch: Literal["auto"] | Annotated[int, AtLeast(0)] = "auto"
    pieces: Literal["auto"] | Annotated[int, AtLeast(1)] = "auto"
    sync_batch_norm: bool = False
    memory: str = "auto"
    activation_checkpointing: Literal["auto", "on", "off"] = "auto"
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    max_grad_norm: Annotated[float, AtLeast(0)] = 0.0
    check_gradients: bool = True
    channels_last: bool = True
    compile: bool = False
    workers: Literal["auto"] | Annotated[int, AtLeast(0)] = "auto"
    monitor: str = ""
    patience: Annotated[int, AtLeast(0)] = 0
    validate_every: Annotated[int, AtLeast(1)] = 1
    average: Literal["none", "ema", "swa"] = "none"
    ema_decay: Annotated[float, Between(0, 1)] = 0.999
    swa_start: Annotated[float, Between(0, 1)] = 0.75
    swa_batches: Annotated[int, AtLeast(1)] = 64
    freeze: tuple[str, ...] = ()
    init_from: str = ""


@dataclass(frozen=True)
class ComponentSpec:
    """A component as a recipe names it.

    Attributes:
        params: every parameter with a value, defaults included, without those that gisegkit hands in.
        common: what the recipe says by the keys of its kind, such as a loss's weight; a missing one has its default.
        place: ``file:line`` of its table, for messages while it is built.
    """

    kind: str
    name: str
    params: Mapping[str, Any] = field(default_factory=dict)
    common: Mapping[str, Any] = field(default_factory=dict)
    place: str = ""

    def of_kind(self, key: str) -> Any:
        """The value of a key that every component of the kind has."""
        return self.common.get(key, KINDS[self.kind].keys[key].default)

    @property
    def weight(self) -> float:
        """Of a loss in the sum."""
        return float(self.of_kind("weight"))

    @property
    def start_epoch(self) -> int:
        """The first epoch that a loss counts in."""
        return int(self.of_kind("start_epoch"))

    @property
    def end_epoch(self) -> int:
        """The last epoch that a loss counts in; 0 is the last of the run."""
        return int(self.of_kind("end_epoch"))

    @property
    def label(self) -> str:
        """What the scores of a metric are called: ``as``, or its name."""
        return str(self.of_kind("as") or self.name)

    def as_dict(self) -> dict[str, Any]:
        """The table that describes it."""
        own = {key: self.of_kind(key) for key in KINDS[self.kind].keys}
        return {"name": self.name, **{key: value for key, value in own.items() if value is not None}, **self.params}

    def counts_in(self, epoch: int) -> bool:
        """Whether a loss counts in an epoch, numbered from 1."""
        return self.start_epoch <= epoch and (epoch <= self.end_epoch or not self.end_epoch)


SECTIONS: dict[str, type[Any]] = {
    "input": Input,
    "split": Split,
    "train": Train,
    "evaluate": Evaluate,
    "predict": Predict,
}

FOLLOWS = {
    "input": "dataset",
    "split": "normalization",
    "train": "schedule",
    "evaluate": "metric",
    "predict": "postprocess",
}
"""The kind whose table each section comes after in the filled recipe."""


class _One:
    """The only component of a kind."""

    def __set_name__(self, owner: type[Recipe], name: str) -> None:
        self.kind = name

    def __get__(self, recipe: Recipe, owner: type[Recipe]) -> ComponentSpec:
        """Of several datasets, the one that is split into folds."""
        tables = recipe.tables[self.kind]
        return next((spec for spec in tables if spec.common.get("role", "train") == "train"), tables[0])


class _Several:
    """The components of a kind, in the recipe's order."""

    def __set_name__(self, owner: type[Recipe], name: str) -> None:
        self.kind = name

    def __get__(self, recipe: Recipe, owner: type[Recipe]) -> tuple[ComponentSpec, ...]:
        return recipe.tables.get(self.kind, ())


@dataclass(frozen=True)
class Recipe:
    """A complete recipe: every default is filled in, every name and parameter was checked.

    Attributes:
        tables: the components of each kind; those of gisegkit's own kinds also have an attribute each.
        source: the file that it was read from.
        header: the comment lines that the file opens with.
        notes: what overrides made of no effect, one line each; to be told to whoever gave them.
    """

    name: str
    tables: Mapping[str, tuple[ComponentSpec, ...]]
    seed: int = 0
    requires: tuple[str, ...] = ()
    demo: bool = False
    input: Input = field(default_factory=Input)
    split: Split = field(default_factory=Split)
    train: Train = field(default_factory=Train)
    evaluate: Evaluate = field(default_factory=Evaluate)
    predict: Predict = field(default_factory=Predict)
    source: str = ""
    header: str = ""
    notes: tuple[str, ...] = field(default=(), compare=False)

    # So that editors and type checkers know them; a test holds them equal to the rows of KINDS.
    dataset = _One()
    normalization = _One()
    model = _One()
    loss = _Several()
    augmentation = _One()
    batch_transform = _Several()
    optimizer = _One()
    schedule = _One()
    metric = _Several()
    postprocess = _Several()
    writer = _Several()
    tracker = _Several()

    @property
    def monitor(self) -> str:
        """The score that chooses the best checkpoint."""
        return self.train.monitor or self.metric[0].label

    def components(self) -> Iterable[ComponentSpec]:
        """Every component, in the order of KINDS."""
        for kind in KINDS:
            yield from self.tables.get(kind, ())

    def with_components(self, **kinds: tuple[ComponentSpec, ...]) -> Recipe:
        """The same recipe with other components of some kinds."""
        return replace(self, tables={**self.tables, **kinds})

    def as_dict(self) -> dict[str, Any]:
        """The filled recipe as data, in the order in which it is written."""
        data: dict[str, Any] = {"name": self.name, "seed": self.seed}
        data |= {"requires": list(self.requires), "demo": self.demo}
        for kind in KINDS.values():
            tables = [spec.as_dict() for spec in self.tables.get(kind.name, ())]
            if tables:
                data[kind.name] = tables if kind.many or len(tables) > 1 else tables[0]
            for name in (section for section, before in FOLLOWS.items() if before == kind.name):
                section = getattr(self, name)
                data[name] = {item.name: getattr(section, item.name) for item in fields(section)}
        return data

    def text(self) -> str:
        """The filled recipe as TOML; loading it gives an equal Recipe."""
        return (self.header + "\n" if self.header else "") + dump(self.as_dict())
