"""The contract of writers: files are made through the output alone, and predictions stay as they are."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from gisegkit.data.output import WANTS, Output, PredictionFacts, SliceFacts
from gisegkit.testing.expect import call, expect, form

NAMES = (("case1_day0", "case1_day0_slice_0001"), ("p 2/left:ä", "p 2/left:ä 1"))
"""Scans and slices; ids of data sets may hold characters that files cannot be called by."""


def check_writer(writer: Any, *, classes: int = 2, size: tuple[int, int] = (20, 24)) -> None:
    """A writer takes predictions slice by slice, makes its files through the output alone, and says what it wrote.

    It is shown two scans, of two slices and of one, with names that hold blanks, slashes and letters beyond ASCII, and
    then the same again: ``begin`` begins anew.

    Args:
        writer: what the factory returned.
        classes: K of the slices.
        size: H and W of the slices in pixels.

    Raises:
        ContractError: at the first violation.
    """
    wants = getattr(writer, "wants", None)
    expect(wants in WANTS, f"wants is {wants!r}, not {' or '.join(map(repr, WANTS))}")
    labels = tuple(f"class {number}" for number in range(classes))
    facts = PredictionFacts("check", "check", labels, exclusive=True, slices=3)
    for _ in range(2):
        _check_prediction(writer, facts, wants, (*size, classes))


def _check_prediction(writer: Any, facts: PredictionFacts, wants: Any, shape: tuple[int, ...]) -> None:
    with tempfile.TemporaryDirectory() as folder, Output(Path(folder)) as out:
        call("begin", writer.begin, facts, out)
        for index, (scan, name) in enumerate((NAMES[0], NAMES[0], NAMES[1])):
            _write(writer, wants, scan, f"{name}{index}", index % 2, 2 - index // 2, shape)
        said = call("finish", writer.finish)
        one_line = isinstance(said, str) and bool(said.strip()) and "\n" not in said
        expect(one_line, f"finish returns {said!r}; one line says what was written")
        half = sorted(out.names - out.files.keys())
        expect(not half, f"after finish {half[:1]} is not whole; leave the context of out.path before")
        made = {path.resolve() for path in out.files.values()}
        found = {path.resolve() for path in Path(folder).rglob("*") if path.is_file()}
        foreign = sorted(path.name for path in found - made)
        expect(not foreign, f"it wrote {foreign[:1]} beside out.path, so that a reader could see half a file")


def _write(writer: Any, wants: Any, scan: str, name: str, index: int, depth: int, shape: tuple[int, ...]) -> None:
    height, width, classes = shape
    draw = np.random.default_rng(index).random((height, width, classes + 1), dtype=np.float32)
    masks = draw.argmax(-1)[..., None] == np.arange(classes)  # one class a pixel, as every layout can hold
    values = draw[..., :classes] if wants == "probabilities" else None
    kept = masks.copy(), None if values is None else values.copy()
    facts = SliceFacts(name, scan, index + 1, scan, height, width, index=index, depth=depth)
    call(f"write of masks {form(masks)}", writer.write, facts, masks, values)
    same = np.array_equal(masks, kept[0]) and (values is None or kept[1] is None or np.array_equal(values, kept[1]))
    expect(same, "it changes its input in place")
