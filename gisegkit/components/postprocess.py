"""Built-in post-processing: what is done to a scan's probabilities or masks after the network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import cv2
import numpy as np

from gisegkit.types import AtLeast

if TYPE_CHECKING:
    from gisegkit.types import BoolArray


class MinArea:
    """Removes islands of fewer pixels than a minimum from each slice and class.

    An island is a set of pixels that touch at sides or corners (8-connected) within one slice.

    Args:
        pixels: islands of at least this many pixels stay, at the scan's native size.
    """

    stage: Literal["probabilities", "masks"] = "masks"

    def __init__(self, *, pixels: Annotated[int, AtLeast(1)]) -> None:
        self.pixels = pixels

    def __call__(self, scan: BoolArray) -> BoolArray:
        """``[D, H, W, K]`` bool to the same; the input stays as it is."""
        result = scan.copy()
        depth, _, _, classes = scan.shape
        for d, k in np.ndindex(depth, classes):
            if scan[d, :, :, k].any():
                result[d, :, :, k] = self._clean(scan[d, :, :, k])
        return result

    def _clean(self, mask: BoolArray) -> BoolArray:
        image = np.ascontiguousarray(mask, dtype=np.uint8)
        _, labels, stats, _ = cv2.connectedComponentsWithStats(image, connectivity=8)
        stays = stats[:, cv2.CC_STAT_AREA] >= self.pixels
        stays[0] = False  # the background
        cleaned: BoolArray = stays[labels]
        return cleaned
