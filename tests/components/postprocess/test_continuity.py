"""gisegkit.components.postprocess.continuity."""

from __future__ import annotations

import numpy as np
import pytest

from gisegkit.components.postprocess.continuity import Continuity
from gisegkit.errors import DataError
from gisegkit.testing import check_postprocess


def scan_of(text, classes=1):
    """Slices of 3 x 4 pixels: a class is in rows 0 and 1 where the letter is x, in rows 1 and 2 where it is y."""
    scan = np.zeros((len(text), 3, 4, classes), bool)
    for d, letter in enumerate(text):
        scan[d, {"x": slice(0, 2), "y": slice(1, 3)}.get(letter, slice(0, 0)), :, 0] = True
    return scan


def text_of(scan, k=0):
    letters = {(True, True, False): "x", (False, True, True): "y", (False, True, False): "-", (False,) * 3: "."}
    return "".join(letters[tuple(mask[..., k].any(1))] for mask in scan)


@pytest.mark.parametrize(
    ("text", "fill", "remove", "expected"),
    [
        ("x.x", 0, 0, "x.x"),
        ("x.x", 1, 0, "xxx"),
        ("x..x", 1, 0, "x..x"),
        ("x..x", 2, 0, "xxxx"),
        (".x.y.", 1, 0, ".x-y."),  # the row that both have
        ("x.x..x.", 1, 0, "xxx..x."),
        ("..xx..x", 0, 1, "..xx..."),
        ("x.yy", 0, 1, "..yy"),
        ("x...xx.xxx", 0, 2, ".......xxx"),
        ("x.x...xxx", 1, 1, "xxx...xxx"),  # gaps first
        ("x.x...xxx", 1, 3, "........."),
        ("....", 3, 3, "...."),
        ("x", 3, 1, "."),
        ("", 1, 1, ""),
    ],
)
def test_gaps_are_closed_and_then_short_runs_removed(text, fill, remove, expected):
    scan = scan_of(text)
    kept = scan.copy()
    assert text_of(Continuity(fill=fill, remove=remove)(scan)) == expected
    assert np.array_equal(scan, kept)


def test_a_gap_gets_what_both_its_neighbors_have_and_nothing_where_they_are_apart():
    scan = np.zeros((3, 4, 5, 1), bool)
    scan[0, :2], scan[2, 2:] = True, True
    assert np.array_equal(Continuity(fill=2)(scan), scan)
    scan[2, 1, 3] = True
    found = Continuity(fill=2)(scan)
    assert np.argwhere(found[1, ..., 0]).tolist() == [[1, 3]]


def test_each_class_has_its_own_numbers():
    scan = np.concatenate([scan_of("x.x..x"), scan_of("x.x..x"), scan_of("x.x..x")], axis=-1)
    step = Continuity(fill={"a": 0, "b": 2, "c": 1}, remove={"c": 1, "default": 0}, classes=("a", "b", "c"))
    assert [text_of(step(scan), k) for k in range(3)] == ["x.x..x", "xxxxxx", "xxx..."]
    with pytest.raises(DataError, match="no class 'd'"):
        Continuity(fill={"d": 1, "default": 0}, classes=("a", "b", "c"))


@pytest.mark.parametrize("remove", [0, 1])
def test_contract(remove):
    check_postprocess(Continuity(fill=2, remove=remove))
    assert Continuity().unit == "scan"
