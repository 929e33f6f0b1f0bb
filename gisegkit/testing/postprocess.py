"""The contract of post-processing steps: a known stage, the same shape and type, and an input that stays as it is."""

from __future__ import annotations

from typing import Any

import numpy as np

from gisegkit.testing.expect import call, expect, form
from gisegkit.types import STAGES, UNITS


def check_postprocess(step: Any, *, classes: int = 2, size: tuple[int, int] = (20, 24)) -> None:
    """A post-processing step keeps shape and type, also of an empty scan, and changes no input.

    One whose ``unit`` is ``"slice"`` gives each slice by itself what it gives the scan.

    Args:
        step: what the factory returned.
        classes: K of the scan.
        size: H and W of its slices in pixels.

    Raises:
        ContractError: at the first violation.
    """
    stage = getattr(step, "stage", None)
    expect(stage in STAGES, f"stage is {stage!r}, not {' or '.join(map(repr, STAGES))}, so it would never be called")
    unit = getattr(step, "unit", "scan")
    expect(unit in UNITS, f"unit is {unit!r}, not {' or '.join(map(repr, UNITS))}")
    random = np.random.default_rng(0).random((3, *size, classes), dtype=np.float32)
    for values in (random, np.zeros_like(random)):
        scan = values >= 0.5 if stage == "masks" else values
        kept = scan.copy()
        result, again = (call(f"a scan {form(scan)}", step, scan) for _ in range(2))
        expect(np.array_equal(scan, kept), "it changes its input in place")
        same = isinstance(result, np.ndarray) and result.shape == scan.shape and result.dtype == scan.dtype
        expect(same, f"{form(scan)} becomes {form(result)}")
        expect(bool(np.isfinite(result).all()), "it returns values that are not finite")
        expect(np.array_equal(result, again), "the same scan gives two results")
        if unit == "slice":
            alone = np.concatenate([call("one slice", step, scan[d : d + 1]) for d in range(len(scan))])
            expect(np.array_equal(result, alone), 'unit is "slice", and a slice by itself gives another result')
