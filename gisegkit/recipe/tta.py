"""``[predict] tta``: the views of an image that a network predicts as well, as a recipe writes them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from gisegkit.errors import did_you_mean

FLIPS = ("hflip", "vflip", "rot90")
VALID = f"{', '.join(FLIPS)}, or scale:0.9 with a factor"
SCALES = (0.25, 4.0)
"""The smallest and the largest factor."""

Size = tuple[int, int]


@dataclass(frozen=True)
class View:
    """One entry of the list.

    Attributes:
        name: hflip, vflip, rot90 (which is three views) or scale.
        factor: of a scale.
    """

    name: str
    factor: float = 1.0

    @classmethod
    def parse(cls, text: str) -> View:
        """The view of a text.

        Raises:
            ValueError: if it is none; the message is what is valid.
        """
        if text in FLIPS:
            return cls(text)
        name, colon, number = text.partition(":")
        if name != "scale" or not colon:
            near = did_you_mean(name, [*FLIPS, "scale:0.9"])
            raise ValueError(" ".join(filter(None, [near, f"Valid: {VALID}."])))
        try:
            factor = float(number)
        except ValueError:
            factor = math.nan
        if not SCALES[0] <= factor <= SCALES[1] or factor == 1:
            raise ValueError(f"Valid: a factor from {SCALES[0]:g} to {SCALES[1]:g} that is not 1.")
        return cls(name, factor)

    def size(self, size: Size) -> Size:
        """Height and width of the view of an image of a size, pixels."""
        height, width = (max(1, round(side * self.factor)) for side in size)
        return (width, height) if self.name == "rot90" else (height, width)


def mistakes(texts: Sequence[str], size: Size) -> Iterator[tuple[str, str]]:
    """What is wrong with a list of views for images of a size: what was found, and the remedy."""
    for number, text in enumerate(texts):
        found = f'predict.tta has "{text}"'
        try:
            view = View.parse(text)
        except ValueError as error:
            yield found, str(error)
            continue
        height, width = size
        if view in [View.parse(other) for other in texts[:number] if _is_view(other)]:
            yield f"{found} twice", "keep one of them"
        elif view.name == "rot90" and height != width:
            remedy = "make input.size square, or use hflip and vflip"
            yield f"{found}, and input.size = [{height}, {width}] is not square", remedy
        elif view.name == "scale" and view.size(size) == size:
            yield f"{found}, which leaves input.size = [{height}, {width}] as it is", "choose a factor farther from 1"


def _is_view(text: str) -> bool:
    try:
        View.parse(text)
    except ValueError:
        return False
    return True
