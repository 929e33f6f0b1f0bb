"""The UW-Madison GI tract competition's folder, as it comes out of the zip."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd

from gisegkit.components.datasets.exclusions import excluded_scans
from gisegkit.components.datasets.uwmgi_rows import direction_findings, row_findings, tidy
from gisegkit.components.datasets.uwmgi_strays import stray_findings
from gisegkit.components.datasets.uwmgi_tree import THICKNESS, list_slices, subfolders
from gisegkit.data import rle
from gisegkit.data.files import no_data, png_header
from gisegkit.data.images.look import read_header
from gisegkit.data.images.read import read_image
from gisegkit.data.planes import merge
from gisegkit.data.tables import read_rows
from gisegkit.errors import DataError, Finding, did_you_mean
from gisegkit.types import Dropped

if TYPE_CHECKING:
    from gisegkit.types import AnyArray, BoolArray, MaskArray

CLASSES = ("large_bowel", "small_bowel", "stomach")

DOWNLOAD = (
    "get the data: kaggle competitions download -c uw-madison-gi-tract-image-segmentation, unzip, and let dataset.root "
    "be the folder that holds train.csv"
)
COLUMNS = ["id", "scan", "position", "case", "height", "width", "spacing_y", "spacing_x", "path"]


class UWMGI:
    """The UW-Madison GI tract competition's folder: 16-bit slices and row-major runs in train.csv.

    Slices in ``train/`` that ``train.csv`` has rows of are labelled; the others, and all in ``test/``, are for
    prediction. Exclusion concerns labelled slices alone. Making one lists files and reads ``train.csv``; of the images
    only one header a scan is read.

    Args:
        root: folder that holds ``train/``, ``train.csv`` and maybe ``test/`` and ``sample_submission.csv``.
        exclude: scans to leave out: ``standard`` (case7_day0 and case81_day30, whose annotations are wrong),
            ``third_place`` (5 scans) or ``host`` (the 12 that the organizers leave out), ``none``, or your own list
            such as ["case7_day0"].
        classes: classes to segment, in the order of the masks' last axis; other classes of the competition are left
            out.

    Paper: Lee et al., Data in Brief 57 (2024) 111159, doi 10.1016/j.dib.2024.111159

    Raises:
        DataError: if the folder is missing or not the competition's, a file's name or header is wrong, or
            ``train.csv`` does not have the format.
    """

    exclusive = False
    may_ignore = False

    def __init__(
        self,
        *,
        root: str,
        exclude: Literal["standard", "third_place", "host", "none"] | list[str] = "standard",
        classes: list[str] = ["large_bowel", "small_bowel", "stomach"],  # noqa: B006 - a recipe's default is a literal
    ) -> None:
        self.root = Path(root).expanduser()
        self.classes = tuple(classes)
        if not self.classes or len(set(self.classes)) != len(self.classes):
            raise DataError(f"dataset.classes = {classes}: give one class at least, and none twice")
        left_out = excluded_scans(exclude)
        _check_root(self.root)
        train, test = (list_slices(self.root, part) for part in ("train", "test"))
        table = pd.DataFrame(train + test, columns=COLUMNS).sort_values(["scan", "position"], ignore_index=True)
        if table.empty:
            raise no_data(
                self.root, "train/ and test/ hold no slices case1/case1_day0/scans/slice_0001_*.png", put=DOWNLOAD
            )
        _refuse_twice(table)
        table["spacing_z"] = THICKNESS
        self._found: list[Finding] = []
        runs, known = self._read_runs(table, file=self.root / "train.csv" if len(train) else None)
        table["labelled"] = np.asarray(known.any(axis=1))
        table["empty"] = table["labelled"] & (runs == "").all(axis=1)
        gone = table["labelled"] & table["scan"].isin(list(left_out))
        counts = table.loc[gone, "scan"].map(left_out).value_counts(sort=False)
        self.dropped = tuple(Dropped(str(reason), int(count)) for reason, count in counts.items())
        self.table = table[~gone].reset_index(drop=True)
        self._runs = runs[~gone.to_numpy()]
        self._ids: list[str] = self.table["id"].tolist()
        self._paths: list[str] = self.table["path"].tolist()
        self._sizes = self.table[["height", "width"]].to_numpy(dtype=np.int64)  # [N, 2]
        self._check_headers()

    # --- readers ---

    def image(self, row: int) -> AnyArray:
        """The slice ``[H, W]``, uint16 in the competition's files.

        Raises:
            DataError: if the file is missing, damaged, lossy, not grey, or not of the size that its name says.
        """
        path = self._path(row)
        image = read_image(path)
        if image.ndim != 2:
            raise DataError(f"{path}: is a color image; the competition's slices are grey")
        if image.dtype == np.uint8 and (header := read_header(path)).lossy:
            raise DataError(
                f"{path}: is a {header.format} file, whatever its name ends with, which keeps 8 of 16 bits and changes "
                "values; get the PNG file from its source"
            )
        self._check_size(row, image.shape[0], image.shape[1])
        return image

    def mask(self, row: int) -> MaskArray:
        """``[H, W, K]`` uint8, 0 or 1.

        Raises:
            DataError: if the row is not labelled, or its runs are not valid.
        """
        if not self._labelled(row):
            raise DataError(f"{self._ids[row]}: has no labels; it is for prediction")
        height, width = map(int, self._sizes[row])
        places = [f"{self.root / 'train.csv'}, {self._ids[row]}, {name}" for name in self.classes]
        return merge(rle.decode_all(self._runs[row], height=height, width=width, places=places))

    def sources(self, row: int) -> tuple[list[str], str]:
        """The file that the slice's image is read from, and the runs of its mask."""
        return [f"{self.root}/{self._paths[row]}"], "\n".join(self._runs[row])

    @property
    def submission_order(self) -> list[tuple[str, str]] | None:
        """The (id, class) pairs of ``sample_submission.csv`` in its order, None if it is missing or has no rows.

        Raises:
            DataError: if it lacks the columns id and class.
        """
        file = self.root / "sample_submission.csv"
        if not file.is_file():
            return None
        rows = _read_csv(file, ["id", "class"])
        return list(zip(rows["id"], rows["class"], strict=True)) or None

    def findings(self) -> Iterator[Finding]:
        """What ``image`` and ``mask`` cannot find in a slice; reads no image."""
        yield from self._found
        yield from stray_findings(self.root)

    def _path(self, row: int) -> Path:
        return self.root / self._paths[row]

    def _labelled(self, row: int) -> bool:
        return bool(self.table["labelled"].to_numpy()[row])

    # --- checks ---

    def _check_headers(self) -> None:
        """Slices of one scan are alike, so that one header a scan tells whether the names are right."""
        for row in np.flatnonzero(~self.table["scan"].duplicated().to_numpy()):
            header = png_header(self._path(int(row)))
            self._check_size(int(row), header.height, header.width)
            if header.bits != 16:
                what = f"has {header.bits} bits a pixel; the competition's have 16"
                self._found.append(Finding("depth", "warning", str(self._path(int(row))), what))

    def _check_size(self, row: int, height: int, width: int) -> None:
        named = tuple(map(int, self._sizes[row]))
        if named != (height, width):
            raise DataError(
                f"{self._path(row)}: the name says width {named[1]} and height {named[0]} (in this order), but the "
                f"image is {width} wide and {height} high; rename the file, or copy it again from its source"
            )

    def _read_runs(self, table: pd.DataFrame, file: Path | None) -> tuple[AnyArray, BoolArray]:
        """``[N, K]`` texts of runs and whether ``train.csv`` has a row for each; notes what does not fit together."""
        runs = np.full((len(table), len(self.classes)), "", dtype=object)
        known = np.zeros(runs.shape, dtype=bool)
        if file is None:
            return runs, known
        if not file.is_file():
            what = "is not there, so no slice is labelled"
            self._found.append(Finding("no labels", "warning", str(file), what))
            return runs, known
        rows = _read_csv(file, ["id", "class", "segmentation"], self._found)
        self._check_classes(file, rows["class"])
        twice = rows.duplicated(["id", "class"])
        if twice.any():
            first = rows[twice].iloc[0]
            raise DataError(
                f"{file}: {int(twice.sum())} rows occur twice, the first is {first['id']}, {first['class']}"
            )
        rows = rows[rows["class"].isin(self.classes)]
        places = pd.Index(table["id"]).get_indexer(pd.Index(rows["id"]))
        found = places >= 0
        if not found.any():
            raise DataError(
                f"{file}: none of its ids belongs to a slice in {self.root / 'train'}; its first id is "
                f"{rows['id'].iloc[0]}, the first slice is {table['id'].iloc[0]}; take both from the same download"
            )
        ks = pd.Index(self.classes).get_indexer(pd.Index(rows["class"]))
        runs[places[found], ks[found]] = rows["segmentation"].fillna("").str.strip().to_numpy(dtype=object)[found]
        known[places[found], ks[found]] = True
        gaps = row_findings(table, runs, known, file=file, without_file=rows["id"][~found].drop_duplicates())
        self._found += [*gaps, *direction_findings(table, runs, self.classes, file=file)]
        return runs, known

    def _check_classes(self, file: Path, column: pd.Series[str]) -> None:
        found = column.unique().tolist()
        for name in found:
            if name not in {*CLASSES, *self.classes}:
                hint = did_you_mean(name, CLASSES)
                raise DataError(
                    f"{file}: has the class {name!r}; {hint or 'put it in dataset.classes if it is meant'} "
                    f"(dataset.classes = {list(self.classes)})"
                )
        for name in self.classes:
            if name not in found:
                hint = did_you_mean(name, found)
                raise DataError(
                    f"dataset.classes has {name!r}, but {file} has only {', '.join(found)}; {hint}".rstrip("; ")
                )


def _check_root(root: Path) -> None:
    if not root.is_dir():
        problem = "there is no such folder" if not root.exists() else "is a file, not a folder"
        raise no_data(root, problem, put=DOWNLOAD)
    if not _is_competition_folder(root):
        near = [folder for folder in [root.parent, *subfolders(root)] if _is_competition_folder(folder)]
        hint = f"{near[0]} does: --set dataset.root={near[0]}" if len(near) == 1 else ""
        raise no_data(root, "holds neither train/ nor test/", put=DOWNLOAD, hint=hint)


def _is_competition_folder(root: Path) -> bool:
    return (root / "train").is_dir() or (root / "test").is_dir()


def _refuse_twice(table: pd.DataFrame) -> None:
    twice = table.duplicated(["scan", "position"], keep=False)
    if twice.any():
        first, second = table[twice]["path"].iloc[:2]
        raise DataError(f"{first} and {second} are the same slice of the same scan; remove one of the two")


def _read_csv(file: Path, columns: list[str], found: list[Finding] | None = None) -> pd.DataFrame:
    rows = read_rows(file, columns, skip_blanks=True)
    padded = tidy(rows)
    if found is not None and padded.any():
        what = f"{int(padded.sum())} rows have blanks around id or class, which are not counted"
        found.append(Finding("blanks around ids", "note", str(file), f"{what} (first: line {padded.idxmax()})"))
    blank = (rows[["id", "class"]].isna() | (rows[["id", "class"]] == "")).any(axis=1)
    if blank.any():
        raise DataError(f"{file}: line {blank.idxmax()} has no id or no class")
    return rows[columns].reset_index(drop=True)
