"""Masks that are drawn from shapes instead of read from image files: of ``coco`` and ``labelme``."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from gisegkit.components.datasets.folder_looks import Looks
from gisegkit.components.datasets.pairing import Item
from gisegkit.data.case_names import case_notes
from gisegkit.data.images.look import read_header
from gisegkit.data.images.read import Alpha, read_image
from gisegkit.data.looked_at import LookedAt
from gisegkit.data.names import arrange, pattern_of
from gisegkit.data.shapes import Shape, Size
from gisegkit.data.spacing import refuse_no_distances
from gisegkit.data.store.sources import code_of, digest
from gisegkit.errors import DataError, Finding, count
from gisegkit.types import IGNORE, SPACING, Dropped

if TYPE_CHECKING:
    from gisegkit.types import AnyArray, MaskArray

BEYOND = 1.0
"""Pixels by which points may lie outside of the image before that is told: tools round to its edge."""


@dataclass(frozen=True)
class Annotated:
    """What an annotation file says of an image.

    Attributes:
        image: the image file.
        shapes: what is drawn on it; None if the image is not labelled.
        file: the annotation file.
        size: height and width of the image as the annotation file says; None if it does not.
    """

    image: Path
    shapes: tuple[Shape, ...] | None = None
    file: Path = Path()
    size: Size | None = None


@dataclass(frozen=True)
class DrawRule:
    """How shapes become a mask, see the datasets for the fields."""

    classes: tuple[str, ...]
    ignore: tuple[str, ...] = ()
    exclusive: bool = False
    crowd: Literal["ignore", "class", "leave"] = "class"

    def __post_init__(self) -> None:
        names = [*self.classes, *self.ignore]
        if not self.classes:
            raise DataError('dataset.classes names no class; give ["NAME"]')
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise DataError(f"dataset.classes and dataset.ignore have {twice[0]!r} twice; a name has one meaning")

    def mask(self, shapes: Sequence[Shape], size: Size, *, unseen: list[Shape] | None = None) -> tuple[MaskArray, int]:
        """``[H, W, K]`` uint8 (0, 1, or IGNORE), and how many pixels lost all but the first of their classes.

        Args:
            shapes: what is drawn.
            size: height and width of the image.
            unseen: takes the shapes that no pixel belongs to.

        Raises:
            DataError: if a shape is damaged; names it.
        """
        mask = np.zeros((*size, len(self.classes)), dtype=np.uint8)
        doubtful = np.zeros(mask.shape, dtype=bool)  # in crowds
        ignored = np.zeros(size, dtype=bool)
        for shape in shapes:
            try:
                pixels = shape.pixels(size)
            except DataError as error:
                raise DataError(f"{shape.place} ({shape.label}): {error}") from error
            if unseen is not None and not pixels.any():
                unseen.append(shape)
            if shape.label in self.ignore:
                ignored |= pixels
            elif not shape.crowd or self.crowd == "class":
                mask[:, :, self.classes.index(shape.label)] |= pixels
            elif self.crowd == "ignore":
                doubtful[:, :, self.classes.index(shape.label)] |= pixels
        lost = 0
        if self.exclusive:
            lost = int((mask.sum(axis=2) > 1).sum())
            mask *= mask.cumsum(axis=2) <= 1
            doubtful |= doubtful.any(axis=2, keepdims=True)
            doubtful &= ~mask.any(axis=2, keepdims=True)
        mask[doubtful & (mask == 0)] = IGNORE
        mask[ignored] = IGNORE
        return mask, lost


class Drawn:
    """A dataset of images and the shapes drawn on them.

    Args:
        root: folder of the data.
        annotated: the images by name.
        findings: what was found so far; more is added.
        alpha, names, pattern, spacing: as of the dataset ``folder``.

    Raises:
        DataError: if options contradict each other.
    """

    def __init__(
        self,
        root: Path,
        annotated: dict[str, Annotated],
        rule: DrawRule,
        *,
        findings: list[Finding],
        alpha: Alpha,
        names: str,
        pattern: str,
        spacing: list[float],
    ) -> None:
        refuse_no_distances(spacing)
        if names and pattern:
            raise DataError("give dataset.names or dataset.pattern; both say what names look like")
        self.root, self.classes, self.exclusive = root, rule.classes, rule.exclusive
        self.dropped: tuple[Dropped, ...] = ()
        self._rule, self._alpha, self._findings = rule, alpha, findings
        crowds = (shape.crowd for item in annotated.values() for shape in item.shapes or ())
        self.may_ignore = bool(rule.ignore) or (rule.crowd == "ignore" and any(crowds))
        expression = pattern_of(names) if names else pattern
        arranged = arrange({name: item.image for name, item in annotated.items()}, expression, template=names)
        before = LookedAt(lambda: digest(f"{root.resolve()} {alpha} {code_of(Looks)}"), len(annotated))
        looks = Looks(findings, pages="refuse", alpha=alpha, before=before)
        items = {name: Item(item.image) for name, item in annotated.items()}
        self.table, kept, _, self._sizes = looks.rows(arranged, items)
        before.save()
        looks.finish()
        by_image = {item.image: item for item in annotated.values()}
        self._annotated = [by_image[item.image] for item in kept]
        self.table["height"] = [height for height, _ in self._sizes]
        self.table["width"] = [width for _, width in self._sizes]
        self.table["labelled"] = [item.shapes is not None for item in self._annotated]
        self.table["empty"] = self._empty()
        for column, distance in zip(reversed(SPACING), reversed(spacing), strict=False):
            self.table[column] = distance
        likely = () if expression else case_notes(self.table["id"].tolist())
        self._findings += [Finding("names look like cases", "warning", str(root), note) for note in likely]

    def image(self, row: int) -> AnyArray:
        """``[H, W]``, or ``[H, W, C]`` (colors in the order red, green, blue), upright, in the file's own depth.

        Raises:
            DataError: if the file cannot be read.
        """
        return read_image(self._annotated[row].image, alpha=self._alpha)

    def mask(self, row: int) -> MaskArray:
        """``[H, W, K]`` uint8: 0, 1, or IGNORE.

        Raises:
            DataError: if the row is not labelled, or a shape is damaged.
        """
        return self._drawn(row)[0]

    def sources(self, row: int) -> tuple[list[str], str]:
        """The image file, and what settles the mask: its shapes, of which a digest is enough."""
        shapes = repr(self._annotated[row].shapes).encode()
        return [str(self._annotated[row].image)], f"{self._rule} {self._alpha} {hashlib.sha1(shapes).hexdigest()}"

    def findings(self) -> Iterator[Finding]:
        """What was found in the files: what cannot be used (errors), what is doubtful, what is passed over."""
        yield from self._findings

    def _drawn(self, row: int, unseen: list[Shape] | None = None) -> tuple[MaskArray, int]:
        item = self._annotated[row]
        if item.shapes is None:
            raise DataError(f"{self.table['id'].iat[row]}: has no annotation; it is for prediction")
        try:
            return self._rule.mask(item.shapes, self._sizes[row], unseen=unseen)
        except DataError as error:
            raise DataError(f"{item.file}, {item.image.name}: {error}") from error

    def _empty(self) -> list[bool]:
        """Which slices have no pixel of a class; every mask is drawn once, and what is odd is told."""
        empty, lost, small = [], {}, list[str]()
        for row, item in enumerate(self._annotated):
            empty.append(False)
            if item.shapes is None:
                continue
            place, name = f"{item.file}, {item.image.name}", str(self.table["id"].iat[row])
            if problems := list(self._size_problems(row, place, name)):
                self._findings += problems
                continue
            problems, unseen = list(self._outside(row, place, name)), list[Shape]()
            try:
                mask, number = self._drawn(row, unseen)
                if not problems:
                    small += [f"{place}, {shape.place} ({shape.label})" for shape in unseen]
                empty[-1] = not (mask == 1).any()
                if number:
                    lost[place] = number
            except DataError as error:
                text = str(error).removeprefix(f"{place}: ")
                problems.append(Finding("damaged shape", "error", place, text, "draw it again, or remove it", (name,)))
            self._findings += problems
        if small:
            what = f"{count(len(small), 'shape has', 'shapes have')} no pixel"
            remedy = "remove what is so small; if coordinates are shares of the image, 0 to 1, write them in pixels"
            self._findings.append(Finding("shape without a pixel", "warning", small[0], what, remedy))
        if lost:
            what = f"{sum(lost.values()):,} pixels in {count(len(lost), 'image')} are in several classes"
            remedy = "each goes to the first of them in dataset.classes; dataset.exclusive = false keeps all"
            self._findings.append(Finding("classes overlap", "warning", next(iter(lost)), what, remedy))
        return empty

    def _size_problems(self, row: int, place: str, name: str) -> Iterator[Finding]:
        size, item = self._sizes[row], self._annotated[row]
        if item.size is None or item.size == size:
            return
        header = read_header(item.image)
        turned = header.orientation > 1 and (header.height, header.width) == item.size
        what = f"says {item.size[0]} x {item.size[1]} (height x width), and the image is {size[0]} x {size[1]}"
        remedy = "annotate this file, or put the file here that was annotated"
        if turned:
            remedy = (
                "the file has an orientation (EXIF) that the annotation does not know: save it upright, then annotate"
            )
        yield Finding("annotation of another size", "error", place, what, remedy, (name,))

    def _outside(self, row: int, place: str, name: str) -> Iterator[Finding]:
        for shape in self._annotated[row].shapes or ():
            beyond = shape.beyond(self._sizes[row])
            where = f"{place}, {shape.place} ({shape.label})"
            if math.isinf(beyond):
                what = "is outside of the image"
                yield Finding("shape outside", "error", where, what, "draw it again, or remove it", (name,))
            elif beyond > BEYOND:
                what = f"has points up to {beyond:.0f} pixels outside of the image"
                yield Finding("points outside", "warning", where, what, "what is outside is cut off")
