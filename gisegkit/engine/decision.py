"""Decides what belongs to a class: probabilities in, masks out, slice by slice wherever no step needs a whole scan.

Scoring, drawing and writing take what comes out of ``decide_scans`` or ``decide_slices``. Beside a device that is not
the CPU, slices are decided in threads of their own, and steps that work on a whole scan in one of theirs.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, Protocol

import numpy as np

from gisegkit.data.planes import at_least, highest
from gisegkit.data.scan_arrays import new_array
from gisegkit.engine.predictor import ScanProbabilities, SliceProbabilities, stack
from gisegkit.engine.threaded_map import threaded_map
from gisegkit.types import AnyArray, BoolArray, FloatArray, MaskArray, refuse_unknown_stage


class Postprocess(Protocol):
    """What a ``[[postprocess]]`` component returns: ``[D, H, W, K]`` to the same; its stage is one of STAGES.

    One with an attribute ``unit`` that is ``"slice"`` treats every slice by itself. It is called with one slice at a
    time, ``[1, H, W, K]``, maybe by several threads at once. Any other is called with whole scans, one after another.
    """

    stage: str

    def __call__(self, scan: AnyArray) -> AnyArray: ...


def _by_slice(step: Postprocess) -> bool:
    return getattr(step, "unit", "scan") == "slice"


@dataclass(frozen=True)
class Decision:
    """How probabilities become masks: post-processing of them, thresholds, presence, post-processing of masks.

    Attributes:
        threshold: probability from which a pixel belongs to a class; of all classes, or of each. With exclusive, of the
            class against background alone, so that 0.5 takes the most probable of classes and background.
        steps: post-processing, in the recipe's order.
        exclusive: whether a pixel belongs to one class at most.
        presence: a class stays in a slice only where its highest probability there is at least this; of all classes, or
            of each. 0 keeps all.

    Raises:
        ComponentError: if a step's stage is none of STAGES: it would never be called.
    """

    threshold: float | Sequence[float]
    steps: tuple[Postprocess, ...] = ()
    exclusive: bool = False
    presence: float | Sequence[float] = 0.0

    def __post_init__(self) -> None:
        for step in self.steps:
            refuse_unknown_stage(step, f"post-processing step {type(step).__module__}.{type(step).__qualname__}")

    @cached_property
    def _cutoffs(self) -> tuple[FloatArray, FloatArray | None]:
        """Threshold and presence in the precision of the probabilities; None if every class stays."""
        presence = np.asarray(self.presence, np.float32)
        return np.asarray(self.threshold, np.float32), presence if presence.any() else None

    @cached_property
    def _before(self) -> tuple[Postprocess, ...]:
        """The steps on probabilities."""
        return tuple(step for step in self.steps if step.stage == "probabilities")

    @cached_property
    def _after(self) -> tuple[tuple[Postprocess, ...], tuple[Postprocess, ...]]:
        """The steps on masks: those that can be taken slice by slice, and from the first that cannot."""
        steps = [step for step in self.steps if step.stage == "masks"]
        first = next((at for at, step in enumerate(steps) if not _by_slice(step)), len(steps))
        return tuple(steps[:first]), tuple(steps[first:])

    @property
    def needs_probabilities(self) -> bool:
        """Whether a step wants the probabilities of a whole scan."""
        return not all(map(_by_slice, self._before))

    @property
    def needs_scan(self) -> bool:
        """Whether a step wants a whole scan, its probabilities or its masks."""
        return self.needs_probabilities or bool(self._after[1])

    def __call__(self, probabilities: FloatArray) -> BoolArray:
        """A scan, ``[D, H, W, K]`` float in [0, 1] to bool."""
        for step in self._before:
            probabilities = step(probabilities)
        masks = new_array(probabilities.shape, np.bool_)
        for mask, values in zip(masks, probabilities, strict=True):
            mask[...] = self._masks(values)  # slice by slice, since what is computed on the way is larger than the scan
        return self.finish(masks)

    def slice(self, probabilities: FloatArray) -> BoolArray:
        """One slice, ``[H, W, K]`` float in [0, 1] to bool, through all steps that can be taken slice by slice."""
        for step in self._before:
            probabilities = step(probabilities[None])[0]
        return self._masks(probabilities)

    def _masks(self, probabilities: FloatArray) -> BoolArray:
        masks: BoolArray = self._stepped(self.cut(probabilities)[None], self._after[0])[0]
        return masks

    def cut(self, probabilities: FloatArray) -> BoolArray:
        """One slice, ``[H, W, K]`` float in [0, 1] to bool: thresholds and presence alone."""
        threshold, presence = self._cutoffs
        if not self.exclusive:
            masks = at_least(probabilities, threshold)
        else:
            # The order of a sum, and so its last bit, depends on the layout.
            probabilities = np.ascontiguousarray(probabilities)
            background = 1 - probabilities.sum(-1, keepdims=True)
            first = probabilities.argmax(-1)[..., None] == np.arange(probabilities.shape[-1])
            masks = np.asarray(first & (probabilities >= threshold * (probabilities + background)))
        if presence is not None:
            masks[..., ~(highest(probabilities) >= presence)] = False
        return masks

    def finish(self, masks: BoolArray) -> BoolArray:
        """The masks of a scan, ``[D, H, W, K]`` bool, through the steps that want the whole scan, and those after."""
        return self._stepped(masks, self._after[1])

    def _stepped(self, masks: BoolArray, steps: Iterable[Postprocess]) -> BoolArray:
        for step in steps:
            stepped = step(masks)
            masks = one_class(masks, stepped) if self.exclusive else stepped
        return masks


def one_class(before: BoolArray, after: BoolArray) -> BoolArray:
    """Take back what a step did to pixels that belong to several of exclusive classes after it.

    Args:
        before: ``[D, H, W, K]``, one class a pixel at most.
        after: the same after a step, such as one that fills holes in which there is another class.

    Returns:
        ``after``; a pixel with several classes has the one that it had before, else the first of them.
    """
    for d in range(len(after)):
        several = after[d].sum(-1) > 1
        if several.any():
            had = before[d][several]
            first = after[d][several].argmax(-1)[:, None] == np.arange(after.shape[-1])
            after[d][several] = np.where(had.any(-1, keepdims=True), had, first)
    return after


@dataclass
class Scan:
    """One decided scan; its slices in the order of their positions.

    Attributes:
        rows: rows of the dataset's table.
        prediction: ``[D, H, W, K]`` bool at native size.
        truth: ``[D, H, W, K]`` uint8 with IGNORE, None if the scan is not labelled.
        probabilities: ``[D, H, W, K]`` float32 as they were predicted, None unless they were asked for.
    """

    name: str
    rows: list[int]
    prediction: BoolArray
    truth: MaskArray | None
    probabilities: FloatArray | None = None


class DecidedSlice(NamedTuple):
    """One decided slice at native size.

    Attributes:
        scan: the name of its scan.
        row: of the dataset's table.
        prediction: ``[H, W, K]`` bool.
        truth: ``[H, W, K]`` uint8 with IGNORE, None if a slice of the scan is not labelled.
        probabilities: ``[H, W, K]`` float32 as they were predicted, None unless they were asked for.
    """

    scan: str
    row: int
    prediction: BoolArray
    truth: MaskArray | None
    probabilities: FloatArray | None = None


def decide_scans(
    scans: Generator[ScanProbabilities], decision: Decision, *, threads: int = 0, probabilities: bool = False
) -> Generator[Scan]:
    """Decide whole scans, in order; at most two are held at once.

    Args:
        decision: its steps are called for one scan at a time, in order.
        threads: that decide slices, while the next ones are predicted; 0 decides right here.
        probabilities: whether to hold what was predicted beside the masks.
    """
    opened = _opened(scans, decision, threads, probabilities)
    finished = threaded_map(lambda scan: scan.finish(decision), opened, threads=min(1, threads), ahead=1)
    with closing(finished):
        yield from finished


def decide_slices(
    scans: Generator[ScanProbabilities], decision: Decision, *, threads: int = 0, probabilities: bool = False
) -> Generator[DecidedSlice]:
    """Decide slice by slice, for whoever needs no whole scan; one is held only if a post-processing step wants it.

    Args:
        threads, probabilities: as of ``decide_scans``.
    """
    if decision.needs_scan:
        with closing(decide_scans(scans, decision, threads=threads, probabilities=probabilities)) as finished:
            for scan in finished:
                yield from slices_of(scan)
                del scan  # else it would live until the next one is decided
        return
    with closing(scans):
        for predicted in scans:
            with closing(_cut(predicted, decision, threads)) as found:
                for item, masks in found:
                    kept = item.values if probabilities else None
                    decided = DecidedSlice(predicted.name, item.row, masks, item.truth, kept)
                    del item, masks, kept
                    yield decided
                    del decided  # else it would live until the next slice is predicted


def slices_of(scan: Scan) -> Generator[DecidedSlice]:
    """The slices of a scan that was decided as a whole; views of its arrays."""
    for d, row in enumerate(scan.rows):
        truth = None if scan.truth is None else scan.truth[d]
        kept = None if scan.probabilities is None else scan.probabilities[d]
        yield DecidedSlice(scan.name, row, scan.prediction[d], truth, kept)


def _cut(
    scan: Iterable[SliceProbabilities], decision: Decision, threads: int
) -> Generator[tuple[SliceProbabilities, BoolArray]]:
    """Slices with their masks; several threads may decide at once."""
    return threaded_map(lambda item: (item, decision.slice(item.values)), scan, threads=threads, ahead=threads)


@dataclass
class _Open:
    """A scan whose steps are still to be called; ``values`` are its probabilities or, if no step wants those, masks."""

    name: str
    rows: list[int]
    values: AnyArray
    truth: MaskArray | None
    probabilities: FloatArray | None

    def finish(self, decision: Decision) -> Scan:
        decide = decision if self.values.dtype != np.bool_ else decision.finish
        return Scan(self.name, self.rows, decide(self.values), self.truth, self.probabilities)


def _opened(
    scans: Generator[ScanProbabilities], decision: Decision, threads: int, probabilities: bool
) -> Generator[_Open]:
    """Each scan with what the steps want of it; forgotten here once it is handed over."""
    with closing(scans):
        for scan in scans:
            yield _open(scan, decision, threads, probabilities)


def _open(scan: ScanProbabilities, decision: Decision, threads: int, probabilities: bool) -> _Open:
    if decision.needs_probabilities:
        values, truth = scan.whole()
        return _Open(scan.name, scan.rows, values, truth, values if probabilities else None)
    held: list[FloatArray] = []
    with closing(_cut(scan, decision, threads)) as found:
        masks, truth = stack(len(scan), _masks(found, len(scan), held if probabilities else None))
    return _Open(scan.name, scan.rows, masks, truth, held.pop() if held else None)


def _masks(
    found: Iterator[tuple[SliceProbabilities, BoolArray]], depth: int, held: list[FloatArray] | None
) -> Generator[tuple[BoolArray, MaskArray | None]]:
    """Masks and truth; the probabilities of the slices go into an array that ``held`` then holds."""
    for number in range(depth):
        item, masks = next(found)  # enumerate would keep it
        if held is not None:
            if not held:
                held.append(new_array((depth, *item.values.shape), item.values.dtype))
            held[0][number] = item.values
        result = masks, item.truth
        del item, masks  # the probabilities, before the next slice is predicted
        yield result
        del result
