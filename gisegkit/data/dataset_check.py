"""What a dataset promises, checked without torch: its table, and a few rows as its readers give them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from gisegkit.errors import GisegError, listed
from gisegkit.types import COLUMNS, FORMER_COLUMNS, IGNORE, AnyArray, Dataset

SHOWN = 3
"""Names and values that a message lists."""

ROWS = 6
"""Rows that are read to see what the readers give, half of them with a class."""


@dataclass(frozen=True)
class Problem:
    """What is wrong with a row, whether training on it would be wrong, and the reader's own error if it raised."""

    text: str
    refused: bool = True
    cause: Exception | None = None


# --- the table ------------------------------------------------------------------------------------------------------


def breaches(dataset: Dataset) -> list[str]:
    """What is missing or of the wrong type: mistakes of whoever wrote the dataset."""
    lacking = [
        name for name in ("table", "classes", "exclusive", "dropped", "image", "mask") if not hasattr(dataset, name)
    ]
    if lacking:
        return [f"it has no attribute {', '.join(lacking)}"]
    table: object = dataset.table
    if not isinstance(table, pd.DataFrame):
        return [f"its table is a {type(table).__name__}, not a pandas.DataFrame"]
    missing = [column for column in COLUMNS if column not in table.columns]
    if missing:
        former = [
            f"{old} is now {new}" for old, new in FORMER_COLUMNS.items() if new in missing and old in table.columns
        ]
        return [f"its table has no column {', '.join(missing)}" + (f" ({', '.join(former)})" if former else "")]
    classes = list(dataset.classes)
    return list(filter(None, [*_wrong_types(table), _wrong_classes(classes), _wrong_order(table)]))


def _wrong_types(table: pd.DataFrame) -> Iterator[str]:
    for column in ("id", "scan", "case"):
        wrong = [value for value in table[column].unique() if not isinstance(value, str) or not value]
        if wrong:
            yield (
                f"column {column!r} holds {_shown(wrong[0])}; it wants text that is not empty, "
                "astype(str) makes it of numbers"
            )
    for column in ("labelled", "empty"):
        wrong = [value for value in table[column].unique() if not isinstance(value, bool | np.bool_)]
        if wrong:
            yield f"column {column!r} holds {_shown(wrong[0])}; it wants True or False"
    for column in ("position", "height", "width"):
        if not pd.api.types.is_integer_dtype(table[column]):
            yield f"column {column!r} is {table[column].dtype}; it wants whole numbers"


def _shown(value: object) -> str:
    plain = value.item() if isinstance(value, np.generic) else value
    return f"{plain!r} ({type(plain).__name__})"


def _wrong_classes(classes: list[str]) -> str:
    if classes and all(isinstance(name, str) for name in classes) and len(set(classes)) == len(classes):
        return ""
    return f"its classes are {classes}; it wants at least one name, each once"


def _wrong_order(table: pd.DataFrame) -> str:
    if table.index.tolist() != list(range(len(table))):
        return "the index of its table is not 0 to N-1; reset_index(drop=True) makes it so"
    keys = list(zip(table["scan"].tolist(), table["position"].tolist(), strict=True))
    try:
        unsorted = [number for number in range(1, len(keys)) if keys[number - 1] > keys[number]]
    except TypeError:  # of types that do not compare, and that _wrong_types tells
        return ""
    if not unsorted:
        return ""
    name = table["id"].iat[unsorted[0]]
    return f"its table is not sorted by scan and position: {name} is the first slice that comes too late"


def contradictions(dataset: Dataset) -> list[str]:
    """What does not agree in the data: ids that occur twice, scans of two cases or two sizes."""
    table = dataset.table
    problems = []
    twice = table["id"][table["id"].duplicated()].unique()
    if len(twice):
        problems.append(
            f"ids must be unique, and {listed(twice, shown=SHOWN)} {'is' if len(twice) == 1 else 'are'} there twice"
        )
    groups = table.groupby("scan", sort=False)["case"].nunique()
    for scan in groups.index[groups > 1][:SHOWN]:
        cases = table["case"][table["scan"] == scan].unique()
        problems.append(
            f"scan {scan} has slices of {len(cases)} cases ({listed(cases, shown=SHOWN)}), and one scan belongs to one "
            "case: a split would put parts of it on both sides; give each case's scan a name of its own"
        )
    sizes = table.groupby("scan", sort=False)[["height", "width"]].nunique().max(axis=1)
    if (sizes > 1).any():
        for scan in sizes.index[sizes > 1][:SHOWN]:
            rows = table[table["scan"] == scan]
            kinds = rows.groupby(["height", "width"], sort=False)["id"].agg(["size", "first"])
            seen = (
                f"{height} x {width}: {size} ({first} first)" for (height, width), size, first in kinds.itertuples()
            )
            problems.append(
                f"scan {scan} has slices of different sizes, height x width {', '.join(seen)}; make each size a scan "
                "of its own"
            )
    return problems


# --- a few rows -----------------------------------------------------------------------------------------------------


def row_problems(dataset: Dataset) -> list[Problem]:
    """What a few rows, spread over the table, show of the readers; a row that cannot be read (DataError) shows none.

    Reads each of them, and the first two again.
    """
    problems: list[Problem] = []
    doubts: list[Problem] = []
    values: set[int] = set()
    for number, row in enumerate(_spread(dataset.table)):
        if len(problems) == SHOWN:
            break
        name = dataset.table["id"].iat[row]
        try:
            mask = _row(dataset, row, repeat=number < 2)
        except (GisegError, OSError):  # of a file: told by whoever needs it
            continue
        except _Wrong as wrong:
            problems.append(Problem(str(wrong)))
        except Exception as error:
            cause = f"{type(error).__name__}: {error}".split("\n", 1)[0]
            problems.append(Problem(f"slice {name} cannot be read: {cause}", cause=error))
        else:
            if mask is None:
                continue
            values |= {int(value) for value in np.unique(mask)}
            there, empty = bool((mask == 1).any()), bool(dataset.table["empty"].iat[row])
            if there is empty:
                text = f"'empty' of slice {name} is {empty}, and its mask has {'a' if there else 'no'} pixel of a class"
                doubts.append(Problem(text, refused=False))
    if not problems and IGNORE in values and 1 not in values:
        held = " and ".join(str(value) for value in sorted(values))
        text = (
            f"its masks hold {held}; gisegkit wants 0 and 1, and {IGNORE} means 'ignore this pixel', so no pixel of a "
        )
        problems.append(Problem(text + "class is left: return (mask > 0).astype(np.uint8)"))
    return problems or doubts


class _Wrong(Exception):
    """A row is not what the table says."""


def _spread(table: pd.DataFrame) -> list[int]:
    """Rows over the whole table, and rows with a class if there are any."""
    labelled = table["labelled"].to_numpy(dtype=bool)
    found = np.flatnonzero(labelled & ~table["empty"].to_numpy(dtype=bool))
    half = ROWS // 2
    chosen = [
        rows[np.linspace(0, len(rows) - 1, half).astype(int)] for rows in (found, np.arange(len(table))) if len(rows)
    ]
    return sorted({int(row) for rows in chosen for row in rows})


def _row(dataset: Dataset, row: int, *, repeat: bool) -> AnyArray | None:
    """Read one row and compare it with the table; the mask, None if it has none."""
    entry = dataset.table.iloc[row]
    name, size = entry["id"], (int(entry["height"]), int(entry["width"]))
    image = np.asarray(dataset.image(row))
    if image.ndim not in (2, 3) or image.shape[:2] != size:
        raise _Wrong(
            f"the image of slice {name} is {list(image.shape)}, and the table says height and width {list(size)}"
        )
    if repeat and not _same(image, np.asarray(dataset.image(row))):
        raise _Wrong(
            f"the image of slice {name} is another one when it is read again; a reader draws nothing at random"
        )
    if not entry["labelled"]:
        return None
    mask = np.asarray(dataset.mask(row))
    _check_mask(dataset, mask, (*size, len(dataset.classes)), name)
    if repeat and not _same(mask, np.asarray(dataset.mask(row))):
        raise _Wrong(f"the mask of slice {name} is another one when it is read again; a reader draws nothing at random")
    return mask


def _check_mask(dataset: Dataset, mask: AnyArray, shape: tuple[int, ...], name: str) -> None:
    if mask.shape != shape:
        raise _Wrong(f"the mask of slice {name} is {list(mask.shape)}; gisegkit wants [H, W, K], here {list(shape)}")
    values = np.unique(mask)
    if not set(values.tolist()) <= {0, 1, IGNORE}:
        shown = ", ".join(f"{value:g}" for value in values[: 2 * SHOWN])
        more = f" and {len(values) - 2 * SHOWN} more" if len(values) > 2 * SHOWN else ""
        raise _Wrong(
            f"the mask of slice {name} ({mask.dtype}) holds {shown}{more}; gisegkit wants a plane of 0 and 1 for each "
            f"class, and {IGNORE} for pixels to ignore: (mask > 0).astype(np.uint8), or "
            "(labels[..., None] == [1, 2, 3]).astype(np.uint8) of a label map"
        )
    if mask.dtype != np.uint8:
        raise _Wrong(f"the mask of slice {name} is {mask.dtype}; gisegkit wants uint8: mask.astype(np.uint8)")
    if dataset.exclusive and bool(((mask == 1).sum(axis=2) > 1).any()):
        raise _Wrong(f"exclusive is True, and slice {name} has pixels of two classes")


def _same(a: AnyArray, b: AnyArray) -> bool:
    return bool(np.array_equal(a, b, equal_nan=a.dtype.kind == "f"))
