"""The dataset ``phantom``: synthetic abdomens made on first use, so that every recipe can be tried without data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from gisegkit.components.datasets.uwmgi import CLASSES, UWMGI
from gisegkit.data.files import cache_home
from gisegkit.data.phantom.lesions import LESION
from gisegkit.data.phantom.writer import GENERATOR_VERSION, write_phantom
from gisegkit.errors import RunError
from gisegkit.types import Between

if TYPE_CHECKING:
    from gisegkit.types import MaskArray


class Phantom(UWMGI):
    """Synthetic abdomen MR scans in the competition's format, made on first use and kept in a cache folder.

    Args:
        cases: labelled cases; odd ones have slices of 266 x 266 pixels, even ones of 360 x 310.
        days: scans of each case; the organs move between them.
        slices: slices of each scan.
        seed: another seed gives other cases.
        test_cases: unseen cases without labels, for prediction; their truth is in ``test_truth.csv``.
        root: a folder that ``giseg phantom`` wrote, or any other in the competition's format, in place of the one that
            the numbers describe; empty makes that one.
        cache: folder that holds the phantoms; empty for ``$GISEG_CACHE``, or else ``~/.cache/gisegkit``.
        exclusive: whether a pixel belongs to one class at most: of several, to the first of them. Losses such as ``ce``
            need that.
        lesions: the most that a slice of the liver has: from none to this many bright disks, each 4 to 6 pixels (6 to 9
            mm) across. Above 0 there is a fourth class, ``lesion``; organs and images are otherwise the same. With
            ``root``, whether that folder was written with lesions.
    """

    def __init__(
        self,
        *,
        cases: Annotated[int, Between(1, 1000)] = 6,
        days: Annotated[int, Between(1, 100)] = 2,
        slices: Annotated[int, Between(8, 9999)] = 24,
        seed: Annotated[int, Between(0, 1_000_000_000)] = 0,
        test_cases: Annotated[int, Between(0, 1000)] = 1,
        root: str = "",
        cache: str = "",
        exclusive: bool = False,
        lesions: Annotated[int, Between(0, 100)] = 0,
    ) -> None:
        self.exclusive = exclusive
        self.version = "exclusive" if exclusive else ""  # its masks are prepared apart
        classes = [*CLASSES, LESION] if lesions else [*CLASSES]
        if root:
            super().__init__(root=root, exclude="none", classes=classes)
            return
        home = Path(cache).expanduser() if cache else cache_home()
        name = f"phantom-v{GENERATOR_VERSION}-cases{cases}-days{days}-slices{slices}-seed{seed}-test{test_cases}"
        name += f"-lesions{lesions}" if lesions else ""
        made = home / name
        if not made.is_dir():
            try:
                write_phantom(
                    made,
                    cases=cases,
                    days=days,
                    slices=slices,
                    seed=seed,
                    test_cases=test_cases,
                    lesions=lesions,
                )
            except RunError:
                if not made.is_dir():  # else another process made it in the meantime
                    raise
        super().__init__(root=str(made), exclude="none", classes=classes)

    def mask(self, row: int) -> MaskArray:
        """``[H, W, K]`` uint8, 0 or 1."""
        mask = super().mask(row)
        return mask * (mask.cumsum(axis=2) <= 1) if self.exclusive else mask
