"""Whether image and mask moved together: shapes are painted into both, and looked for after an augmentation."""

from __future__ import annotations

from itertools import product

import numpy as np

from gisegkit.types import AnyArray, BoolArray, FloatArray

DARK, BRIGHT = 0.1, 0.9
"""The image's values outside and inside of the painted shapes."""

CERTAIN = 0.8
"""Correlation of an image and a mask from which they are surely the same shapes."""

MARGIN = 0.1
"""By how much another place of the mask must fit better than its own; blur and holes change both alike."""


def shapes(size: tuple[int, int], seed: int) -> BoolArray:
    """Discs ``[H, W]`` at random places, which cover about a fifth and look like no mirror image of themselves."""
    height, width = size
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:height, :width]
    painted = np.zeros(size, dtype=bool)
    for share in (0.16, 0.13, 0.1, 0.07, 0.05):
        radius = max(2.0, share * min(size))
        row, column = (rng.uniform(0.2, 0.8) * length for length in size)
        painted |= (rows - row) ** 2 + (columns - column) ** 2 <= radius**2
    return painted


def paint(mask: AnyArray) -> FloatArray:
    """The image of a mask: dark, and bright where the mask is 1."""
    return np.where(mask > 0.5, BRIGHT, DARK).astype(np.float32)


def misplaced(image: AnyArray, mask: AnyArray) -> str:
    """How the mask lies elsewhere than the shapes in the image, in words; an empty text if it does not.

    The mask, as it is and mirrored, is looked for at every shift; only where it surely fits at another place, and
    clearly better than at its own, it is misplaced. So holes, noise, blur and other brightness are no reason.

    Args:
        image, mask: ``[H, W]`` float.
    """
    image, mask = (values.astype(np.float64) - values.mean() for values in (image, mask))
    scale = float(np.sqrt((image**2).sum() * (mask**2).sum()))
    if scale < 1e-6:
        return ""
    own = abs(float((image * mask).sum())) / scale
    best, words = own + MARGIN, ""
    spectrum = np.fft.rfft2(image)
    for down, across in product((1, -1), repeat=2):
        found = np.fft.irfft2(spectrum * np.conj(np.fft.rfft2(mask[::down, ::across])), s=image.shape) / scale
        place = np.unravel_index(int(np.abs(found).argmax()), found.shape)
        if abs(float(found[place])) > max(best, CERTAIN):
            best = abs(float(found[place]))
            words = _words(down, across, [int(p) for p in place], image.shape)
    return words


def _words(down: int, across: int, place: list[int], shape: tuple[int, ...]) -> str:
    flips = [text for text, flipped in (("upside down", down < 0), ("left to right", across < 0)) if flipped]
    if flips:
        return f"the image is mirrored {' and '.join(flips)}, the mask is not (or the other way round)"
    rows, columns = ((p + length // 2) % length - length // 2 for p, length in zip(place, shape, strict=True))
    return f"the image lies {abs(rows)} rows and {abs(columns)} columns beside the mask"
