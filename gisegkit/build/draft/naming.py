"""What names of images and masks have in common: suffixes that tell them apart, and cases."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from pathlib import Path

from gisegkit.data.case_names import case_key, likely_cases
from gisegkit.data.names import examples, misfit, two_endings
from gisegkit.errors import DataError

BESIDE = ("_mask", "-mask", "_masks", "_seg", "_segmentation", "_label", "_labels", "_gt", "_manual1")
"""What the names of masks end with where they are beside their images; in any case."""

CHANNEL = re.compile(r"_\d{4}$")
"""What nnU-Net puts after the name of an image: the number of a channel."""


def suffix_beside(names: Collection[str]) -> str:
    """The suffix of masks among the names of images, such as ``_mask``; empty if there is none."""
    for suffix in BESIDE:
        for name in names:
            if name.lower().endswith(suffix) and name[: -len(suffix)] in names:
                return name[-len(suffix) :]
    return ""


def suffixes_of(images: Collection[str], masks: Collection[str], folder: Path) -> dict[str, str]:
    """The keys ``image_suffix`` and ``mask_suffix`` where names of images and masks differ by one, or by two.

    Args:
        folder: of the masks.

    Raises:
        DataError: if they begin differently.
    """
    if set(images) == set(masks):
        return {}
    channels = {found[0] for name in images if (found := CHANNEL.search(name))}
    if "_0000" in channels and all(CHANNEL.search(name) for name in images):
        return {"image_suffix": "_0000"}
    for short, long, key in ((images, masks, "mask_suffix"), (masks, images, "image_suffix")):
        place, rest = misfit(short, long)
        if place == "end":
            return {key: rest}
        if rest:
            raise DataError(
                f"{folder}: names of images and masks differ ({examples(images)}; {examples(masks)}): some {place} "
                f"with {rest!r}; rename them, so that an image and its mask have the same name"
            )
    ends = two_endings(images, masks)
    return {"image_suffix": ends[0], "mask_suffix": ends[1]} if all(ends) else {}


def cases_of(names: Sequence[str]) -> tuple[str, str, str] | None:
    """The key that tells the cases of names (``names`` or ``pattern``), its value, and the reason; else None."""
    likely = likely_cases(names)
    if likely is None:
        return None
    reason = (
        f"The names look like {len(likely.names)} cases ({likely.names[0]} ... {likely.names[-1]}), which the split "
        "keeps together."
    )
    return *case_key(names, likely), reason
