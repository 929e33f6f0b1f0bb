"""A folder of images and masks, paired by their names or by a table."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import pandas as pd

from gisegkit.components.datasets.folder_files import FolderFiles
from gisegkit.components.datasets.folder_looks import Looks
from gisegkit.components.datasets.pairing import (
    Item,
    arrange_table,
    pair_by_name,
    pair_by_table,
    shared_masks,
    without_suffix,
)
from gisegkit.data.case_names import case_notes
from gisegkit.data.findings import finding_of
from gisegkit.data.images.read import read_image
from gisegkit.data.looked_at import LookedAt
from gisegkit.data.masks import RESERVED, MaskRule, parse_colors
from gisegkit.data.names import arrange, pattern_of
from gisegkit.data.spacing import refuse_no_distances
from gisegkit.data.store.sources import code_of, digest
from gisegkit.errors import DataError, Finding
from gisegkit.types import SPACING, AtLeast, Between, Dropped

if TYPE_CHECKING:
    from gisegkit.types import AnyArray, MaskArray

PUT = (
    "put images (PNG, JPEG or TIFF) into images/ in this folder and their masks, under the same names, into masks/ "
    "(or name other folders with dataset.images and dataset.masks)"
)


class Folder:
    """A folder of images and masks paired by name: one label file per image, or one mask file per class.

    Images and masks are PNG, TIFF, BMP, WebP or GIF files, images also JPEG; docs/files.md says what is done with odd
    ones. With ``labels`` or ``colors`` there is one mask an image, ``masks/NAME.png``, and classes exclude one another.
    With ``classes`` there is one mask an image and class, ``masks/CLASS/NAME.png``, in which everything but background
    is the class, and classes may overlap. Without a folder of masks all images are for prediction. Making one reads
    every mask, of a large folder only if it has changed since (``LookedAt``); what is wrong with single files is not
    raised, but told by ``findings()``.

    Args:
        root: folder that holds the folders of images and masks.
        images: folder of the images, in root.
        masks: folder of the masks, in root.
        labels: the value of each class in the label files, such as {liver = 1, spleen = 2}; of a file with a palette,
            its indices.
        classes: names of the classes where each has its own folder of masks.
        colors: the color of each class in masks that are color images, such as {liver = "#ff0000"} or [255, 0, 0].
            Black is background; the names background and ignore mark colors that are no class.
        tolerance: how far a pixel may be from the nearest of the colors (distance in RGB), for masks with smoothed
            edges or from JPEG.
        threshold: with classes: the value from which on a pixel belongs to the class, for such masks; 0 for none, so
            that values in between are refused.
        background: values that belong to no class.
        ignore: values whose pixels count in neither loss nor score, for any class.
        mask_from: where the masks' values are: in the file's values, or in its alpha channel.
        image_suffix: what the names of images end with, such as "_0000"; images without it are passed over.
        mask_suffix: what the names of masks end with, such as "_mask"; masks without it are passed over.
        missing: images without a mask: refused, or "empty": their class does not occur.
        table: CSV file in root, with the columns image and mask (with classes: one named as each class), paths in
            root, and maybe id, case, scan, position and split; in place of names. Split is train, validation or test,
            and takes the place of [split] folds; test slices neither train nor validate.
        unlabelled: folder of images without masks, for prediction, in root; empty for none.
        pages: files with several pages: refused, or "slices": each file is a scan, and its pages are the slices.
        subfolders: folders in the folders of images and masks: passed over, or "cases": each is a case.
        alpha: images with transparency that is not opaque: refused, or "channel": it is one more channel, or "drop".
        names: what names look like, such as "{case}_{slice}", made of {case}, {scan}, {slice} (a number, its position
            in the scan), {} for what does not matter, and what is between them. As of ``pattern``.
        pattern: regular expression that matches each file name without its suffix, with any of the named groups case,
            scan and position (the slice's number in the scan), such as "(?P<case>p\\d+)_(?P<position>\\d+)".
            A scan whose name does not contain the case is called CASE/SCAN. Without case, each scan is a case; without
            scan, each case is a scan; without both, each image is a scan of its own. Without position, slices are in
            the natural order of their names.
        spacing: mm from a slice to the next, a row to the next and a column to the next, such as [3.0, 1.5, 1.5], or
            the last two alone, for metrics that measure in mm.

    Raises:
        DataError: if folders are missing, names do not pair, or options contradict each other.
    """

    def __init__(
        self,
        *,
        root: str,
        images: str = "images",
        masks: str = "masks",
        labels: dict[str, int] = {},  # noqa: B006 - a recipe's default is a literal
        classes: list[str] = [],  # noqa: B006
        colors: dict[str, str | list[int]] = {},  # noqa: B006
        tolerance: Annotated[float, Between(0, 442)] = 0.0,
        threshold: Annotated[int, AtLeast(0)] = 0,
        background: list[int] = [0],  # noqa: B006
        ignore: list[int] = [],  # noqa: B006
        mask_from: Literal["values", "alpha"] = "values",
        image_suffix: str = "",
        mask_suffix: str = "",
        missing: Literal["refuse", "empty"] = "refuse",
        table: str = "",
        unlabelled: str = "",
        pages: Literal["refuse", "slices"] = "refuse",
        subfolders: Literal["pass", "cases"] = "pass",
        alpha: Literal["refuse", "channel", "drop"] = "refuse",
        names: str = "",
        pattern: str = "",
        spacing: list[float] = [],  # noqa: B006
    ) -> None:
        _check_values(labels, classes, background, ignore, colors=bool(colors), threshold=threshold)
        refuse_no_distances(spacing)
        _check_options(table, names, pattern, image_suffix, mask_suffix, subfolders)
        values = dict(labels), tuple(classes), parse_colors(colors)
        self._rule = MaskRule(*values, tolerance, threshold, tuple(background), tuple(ignore), mask_from)
        self.root = Path(root).expanduser()
        self.exclusive = not classes
        self.may_ignore = bool(ignore) or "ignore" in colors
        self.classes = tuple(labels or classes or [name for name in colors if name not in RESERVED])
        self.dropped: tuple[Dropped, ...] = ()
        self._alpha, self._pages = alpha, pages
        files = FolderFiles(self.root, subfolders=subfolders == "cases")
        self._findings: list[Finding] = files.findings
        suffixes = image_suffix, mask_suffix
        items = self._paired(files, images, masks, table, suffixes=suffixes, missing=missing)
        items |= self._unlabelled(files, unlabelled, image_suffix, items)
        expression = pattern_of(names) if names else pattern
        where = self.root if subfolders == "cases" else None
        paths = {name: item.image for name, item in items.items()}
        arranged = arrange_table(items) if table else arrange(paths, expression, folders=where, template=names)
        self._fill(items, arranged)
        for column, distance in zip(reversed(SPACING), reversed(spacing), strict=False):
            self.table[column] = distance
        self._doubt(items, named=bool(expression or where), table=bool(table))

    def image(self, row: int) -> AnyArray:
        """``[H, W]``, or ``[H, W, C]`` (colors in the order red, green, blue), upright, in the file's own depth.

        Raises:
            DataError: if the file cannot be read.
        """
        return read_image(self._items[row].image, alpha=self._alpha, page=self._page[row])

    def mask(self, row: int) -> MaskArray:
        """``[H, W, K]`` uint8: 0, 1, or IGNORE.

        Raises:
            DataError: if the row is not labelled, a mask has another size than its image, or has a color or a value
                that nothing explains.
        """
        item = self._items[row]
        if not item.masks:
            raise DataError(f"{self.table['id'].iat[row]}: has no mask; it is for prediction")
        return self._rule.mask(item.masks, self._sizes[row], item.image, page=self._page[row])

    def sources(self, row: int) -> tuple[list[str], str]:
        """The files that the slice's image and mask are read from, and what settles how they are read."""
        item = self._items[row]
        files = [str(file) for file in (item.image, *item.masks) if file is not None]
        there = [file is not None for file in item.masks]
        return files, f"{self._rule} {self._alpha} {self._page[row]} {there}"

    def findings(self) -> Iterator[Finding]:
        """What was found in the files: what cannot be used (errors), what is doubtful, what is passed over."""
        yield from self._findings

    def _paired(
        self, files: FolderFiles, images: str, masks: str, table: str, *, suffixes: tuple[str, str], missing: str
    ) -> dict[str, Item]:
        """The images with their masks, by a table or by their names."""
        if table:
            columns = ["mask"] if self.exclusive else list(self.classes)
            return pair_by_table(self.root / table, self.root, files, columns=columns)
        folder = self.root / masks
        take = without_suffix(suffixes[0], but_not=suffixes[1] if folder == self.root / images else "")
        found = files.images(self.root / images, put=PUT, take=take)
        if not folder.is_dir():
            what = "is not there, so no image is labelled"
            self._findings.append(Finding("no masks", "warning", str(folder), what))
            return {name: Item(path) for name, path in found.items()}
        folders = [folder] if self.exclusive else [folder / name for name in self.classes]
        return pair_by_name(found, folders, files, suffix=suffixes[1], missing=missing)

    def _unlabelled(self, files: FolderFiles, folder: str, suffix: str, known: dict[str, Item]) -> dict[str, Item]:
        """The images of the folder that has no masks."""
        if not folder:
            return {}
        put = "put images to predict there, or set dataset.unlabelled = ''"
        more = files.images(self.root / folder, put=put, take=without_suffix(suffix))
        if twice := sorted(known.keys() & more.keys()):
            first = known[twice[0]].image
            raise DataError(f"{first} and {more[twice[0]]} have the same name; names are ids, rename one")
        return {name: Item(path) for name, path in more.items()}

    def _doubt(self, items: dict[str, Item], *, named: bool, table: bool) -> None:
        """Doubts about the pairs of a table, and about names whose cases nobody has named."""
        if table:
            filled = zip(self._items, self.table["empty"], strict=True)
            self._findings += shared_masks(item for item, empty in filled if not empty)
        named = named or any(item.case or item.scan for item in items.values())
        notes = () if named else case_notes(list(items), table=table)
        self._findings += [Finding("names look like cases", "warning", str(self.root), note) for note in notes]

    def _fill(self, items: dict[str, Item], arranged: pd.DataFrame) -> None:
        """Look at every file; what cannot be read at all is left out of the table, and told."""
        before = LookedAt(self._key, len(items))
        looks = Looks(self._findings, pages=self._pages, alpha=self._alpha, before=before)
        self.table, self._items, self._page, self._sizes = looks.rows(arranged, items)
        self.table["height"] = [height for height, _ in self._sizes]
        self.table["width"] = [width for _, width in self._sizes]
        self.table["labelled"] = [bool(item.masks) for item in self._items]
        self.table["empty"] = [bool(item.masks) and self._is_empty(row, before) for row, item in enumerate(self._items)]
        before.save()
        looks.finish()
        self.parts: pd.DataFrame | None = None
        if any(item.split for item in self._items):
            named = [item.split or "unused" if item.masks else "unlabelled" for item in self._items]
            self.parts = pd.DataFrame({"id": self.table["id"], "part": named})

    def _key(self) -> str:
        """Of what settles what is seen in files, besides them."""
        here: type = type(self)
        rule = f"{self._rule} {self._alpha} {self._pages}"
        return digest("\0".join([str(self.root.resolve()), rule, code_of(here), code_of(Looks)]))

    def _is_empty(self, row: int, before: LookedAt) -> bool:
        item, page = self._items[row], str(self._page[row])
        note = before.of((item.image, *item.masks))
        if page in note:
            return bool(note[page])
        try:
            note[page] = not (self.mask(row) == 1).any()
            return bool(note[page])
        except DataError as error:
            masks = [file for file in item.masks if file is not None]
            place = next((file for file in masks if str(error).startswith(str(file))), masks[0])
            self._findings.append(finding_of(error, place, ids=(str(self.table["id"].iat[row]),)))
            return False


def _check_values(
    labels: dict[str, int],
    classes: list[str],
    background: list[int],
    ignore: list[int],
    *,
    colors: object,
    threshold: int,
) -> None:
    if sum(map(bool, (labels, classes, colors))) != 1:
        raise DataError(
            "give either dataset.labels = {NAME = VALUE} (one label file per image: masks/IMAGE.png), "
            'dataset.classes = ["NAME"] (one file per class: masks/NAME/IMAGE.png) or '
            'dataset.colors = {NAME = "#ff0000"} (one color image an image)'
        )
    if len(set(classes)) != len(classes):
        raise DataError(f"dataset.classes = {classes}: has a name twice")
    if threshold and not classes:
        raise DataError(
            "dataset.threshold needs dataset.classes, with a folder for each class: where a file holds several values, "
            "a value in between could be any class"
        )
    meanings = [(value, f"labels.{name}") for name, value in labels.items()]
    meanings += [(value, "background") for value in background] + [(value, "ignore") for value in ignore]
    seen: dict[int, str] = {}
    for value, meaning in meanings:
        if value in seen:
            raise DataError(
                f"the value {value} is both dataset.{seen[value]} and dataset.{meaning}; a value has one meaning"
                + (
                    " (background = [0] is the default; set the value that is no class)"
                    if meaning == "background"
                    else ""
                )
            )
        seen[value] = meaning


def _check_options(table: str, names: str, pattern: str, image_suffix: str, mask_suffix: str, subfolders: str) -> None:
    if names and pattern:
        raise DataError("give dataset.names or dataset.pattern; both say what names look like")
    given = {"names": names, "pattern": pattern, "image_suffix": image_suffix, "mask_suffix": mask_suffix}
    for key, value in (given | {"subfolders": subfolders.removeprefix("pass")}).items():
        if table and value:
            raise DataError(f"dataset.table takes the place of dataset.{key}, which would have no effect; leave it out")
