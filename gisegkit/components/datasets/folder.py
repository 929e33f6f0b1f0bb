"""A folder of images and masks, paired by their names."""

from __future__ import annotations

import math
from collections.abc import Iterator, Set
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gisegkit.data.files import image_size, no_data, read_image
from gisegkit.data.names import affix, arrange, case_notes, examples
from gisegkit.errors import DataError
from gisegkit.types import IGNORE, SPACING, Dropped

if TYPE_CHECKING:
    from gisegkit.types import AnyArray, MaskArray

LOSSY = (".jpg", ".jpeg")
SUFFIXES = (".png", *LOSSY, ".tif", ".tiff")
PUT = (
    "put images (PNG, JPEG or TIFF) into images/ in this folder and their masks, under the same names, into masks/ "
    "(or name other folders with dataset.images and dataset.masks)"
)


class Folder:
    """A folder of images and masks paired by name: one label file an image, or one mask file a class.

    Images are PNG, JPEG or TIFF of 8 or 16 bits, grey or color; masks are PNG or TIFF. With ``labels`` there is one
    mask an image, ``masks/NAME.png``, and classes exclude one another. With ``classes`` there is one mask an image and
    class, ``masks/CLASS/NAME.png``, in which everything but background is the class, and classes may overlap. Without
    a folder of masks all images are for prediction. Making one reads every mask once.

    Args:
        root: folder that holds the folders of images and masks.
        images: folder of the images, in root.
        masks: folder of the masks, in root.
        labels: the value of each class in the label files, such as {liver = 1, spleen = 2}.
        classes: names of the classes where each has its own folder of masks.
        background: values that belong to no class.
        ignore: values whose pixels count in neither loss nor score, for any class.
        unlabelled: folder of images without masks, for prediction, in root; empty for none.
        pattern: regular expression that matches each file name without its suffix, with any of the named groups case,
            scan and position (the slice's number in the scan), such as "(?P<case>p\\d+)_(?P<position>\\d+)".
            A scan whose name does not contain the case is called CASE/SCAN. Without case, each scan is a case; without
            scan, each case is a scan; without both, each image is a scan of its own. Without position, slices are in
            the natural order of their names.
        spacing: mm from a slice to the next, a row to the next and a column to the next, such as [3.0, 1.5, 1.5], or
            the last two alone, for metrics that measure in mm.

    Raises:
        DataError: if folders or partners are missing, sizes differ, or a mask has a value that nothing explains.
    """

    def __init__(
        self,
        *,
        root: str,
        images: str = "images",
        masks: str = "masks",
        labels: dict[str, int] = {},  # noqa: B006 - a recipe's default is a literal
        classes: list[str] = [],  # noqa: B006
        background: list[int] = [0],  # noqa: B006
        ignore: list[int] = [],  # noqa: B006
        unlabelled: str = "",
        pattern: str = "",
        spacing: list[float] = [],  # noqa: B006
    ) -> None:
        _check_values(labels, classes, background, ignore)
        _check_spacing(spacing)
        self.root = Path(root).expanduser()
        self.exclusive = bool(labels)
        self.may_ignore = bool(ignore)
        self.classes = tuple(labels or classes)
        self.dropped: tuple[Dropped, ...] = ()
        self._labels, self._background, self._ignore = dict(labels), list(background), list(ignore)
        self._masks = self.root / masks
        found = _list_images(self.root / images, PUT)
        self._files: dict[str, list[Path]] = self._pair(found) if self._masks.is_dir() else {}
        if unlabelled:
            more = _list_images(self.root / unlabelled, "put images to predict there, or set dataset.unlabelled = ''")
            if twice := sorted(found.keys() & more.keys()):
                raise DataError(f"{found[twice[0]]} and {more[twice[0]]} have the same name; names are ids, rename one")
            found |= more
        self.table = arrange(found, pattern)
        self.notes = () if pattern else case_notes(self.table["id"].tolist())
        self._ids: list[str] = self.table["id"].tolist()
        self._images = [found[name] for name in self._ids]
        self._sizes = [image_size(path) for path in self._images]
        self.table["height"] = [height for height, _ in self._sizes]
        self.table["width"] = [width for _, width in self._sizes]
        for column, distance in zip(reversed(SPACING), reversed(spacing), strict=False):
            self.table[column] = distance
        labelled = [name in self._files for name in self._ids]
        self.table["labelled"] = labelled
        self.table["empty"] = [known and not (self.mask(row) == 1).any() for row, known in enumerate(labelled)]

    def image(self, row: int) -> AnyArray:
        """``[H, W]``, or ``[H, W, 3]`` in the order red, green, blue, in the file's own depth.

        Raises:
            DataError: if the file cannot be read.
        """
        return read_image(self._images[row])

    def mask(self, row: int) -> MaskArray:
        """``[H, W, K]`` uint8: 0, 1, or IGNORE.

        Raises:
            DataError: if the row is not labelled, a mask has another size than its image, is in color, or has a value
                that nothing explains.
        """
        name = self._ids[row]
        if name not in self._files:
            raise DataError(f"{name}: has no mask; it is for prediction")
        files = self._files[name]
        values = [self._values(file, row) for file in files]
        if self.exclusive:
            self._refuse_unexplained(files[0], values[0])
            planes = [values[0] == value for value in self._labels.values()]
        else:
            planes = [~np.isin(plane, self._background) for plane in values]
        mask = np.stack(planes, axis=-1).astype(np.uint8)
        for plane in values if self._ignore else ():
            mask[np.isin(plane, self._ignore)] = IGNORE
        return mask

    def sources(self, row: int) -> tuple[list[str], str]:
        """The files that the slice's image and mask are read from, and what the values of the masks mean."""
        masks = self._files.get(self._ids[row], [])
        return [str(file) for file in (self._images[row], *masks)], f"{self._labels} {self._background} {self._ignore}"

    def defects(self) -> Iterator[str]:
        """What is worth a look besides errors, one line each."""
        yield from self.notes
        if not self._files:
            yield f"{self._masks}: is not there, so no image is labelled"

    def _pair(self, images: dict[str, Path]) -> dict[str, list[Path]]:
        """For each image its mask files: one, or one a class."""
        folders = [self._masks] if self.exclusive else [self._masks / name for name in self.classes]
        pairs: dict[str, list[Path]] = {name: [] for name in images}
        for folder in folders:
            files = _list_images(folder, "make a folder of masks for each class, or give labels = {name = value}")
            for file in files.values():
                if file.suffix.lower() in LOSSY:
                    raise DataError(f"{file}: JPEG changes the values of a mask; save masks as PNG or TIFF")
            _refuse_lonely(images.keys(), files.keys(), folder)
            for name, file in files.items():
                pairs[name].append(file)
        return pairs

    def _values(self, file: Path, row: int) -> AnyArray:
        """The values of one mask file, ``[H, W]``."""
        values = read_image(file)
        if values.ndim == 3:
            if (values != values[:, :, :1]).any():
                raise DataError(
                    f"{file}: is a color image (also a PNG with a palette is); save it as one channel of label values"
                )
            values = values[:, :, 0]
        if values.dtype.kind not in "iu":
            raise DataError(f"{file}: has values of type {values.dtype}; save the mask with whole numbers")
        if values.shape != self._sizes[row]:
            height, width = self._sizes[row]
            raise DataError(
                f"{file}: is {values.shape[0]} x {values.shape[1]} (height x width), but its image "
                f"{self._images[row]} is {height} x {width}"
            )
        return values

    def _refuse_unexplained(self, file: Path, values: AnyArray) -> None:
        known = [*self._labels.values(), *self._background, *self._ignore]
        explained = np.isin(values, known)
        if not explained.all():
            strange = ", ".join(map(str, np.unique(values[~explained])[:10]))
            every = np.unique(values)
            shown = ", ".join(map(str, every[:20])) + (f" ... ({len(every)} in all)" if len(every) > 20 else "")
            raise DataError(
                f"{file}: has the value {strange}, which nothing explains; values found: {shown}; "
                f"labels = {self._labels}, background = {self._background}, ignore = {self._ignore}. Add it to "
                f"dataset.labels if it is a class, to dataset.background if it is none, or to dataset.ignore"
            )


def _check_values(labels: dict[str, int], classes: list[str], background: list[int], ignore: list[int]) -> None:
    if bool(labels) == bool(classes):
        raise DataError(
            "give either dataset.labels = {NAME = VALUE} (one label file an image: masks/IMAGE.png) or "
            'dataset.classes = ["NAME"] (one file a class: masks/NAME/IMAGE.png)'
        )
    if len(set(classes)) != len(classes):
        raise DataError(f"dataset.classes = {classes}: has a name twice")
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


def _check_spacing(spacing: list[float]) -> None:
    if len(spacing) not in (0, 2, 3) or not all(0 < distance < math.inf for distance in spacing):
        raise DataError(
            f"dataset.spacing = {spacing}: give mm above 0 for [slices, rows, columns] or for [rows, columns]"
        )


def _list_images(folder: Path, put: str) -> dict[str, Path]:
    """The image files of a folder by name without suffix; hidden files and other kinds are passed over."""
    if not folder.is_dir():
        raise no_data(folder, "there is no such folder", put=put)
    found: dict[str, Path] = {}
    others: set[str] = set()
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or not path.is_file():
            continue
        if path.suffix.lower() not in SUFFIXES:
            others.add(path.suffix.lower() or path.name)
        elif path.stem in found:
            raise DataError(f"{found[path.stem]} and {path} have the same name; names are ids, rename or remove one")
        else:
            found[path.stem] = path
    if not found:
        hint = f"found: {', '.join(sorted(others))}" if others else ""
        raise no_data(folder, "holds no PNG, JPEG or TIFF files", put=put, hint=hint)
    return found


def _refuse_lonely(images: Set[str], masks: Set[str], folder: Path) -> None:
    alone, without = images - masks, masks - images
    if not alone and not without:
        return
    sides = [f"{len(alone)} images have no mask in {folder}: {examples(alone)}"] if alone else []
    sides += [f"{len(without)} masks in {folder} have no image: {examples(without)}"] if without else []
    remedy = "add what is missing, or move them elsewhere"
    for plain, longer, what in ((alone, without, "masks"), (without, alone, "images")):
        if difference := affix(plain, longer):
            remedy = f"names of {what} {difference}: rename them, so that an image and its mask have the same name"
    raise DataError("; ".join([*sides, remedy]))
