"""What a folder lacks in which no pairs of images and masks were found, in one line, with what to do."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from gisegkit.build.draft.listing import folders_in, kinds_of, list_images
from gisegkit.components.datasets.folder_files import READ, ending_of
from gisegkit.data.images.header import ENDINGS, NOT_READ
from gisegkit.data.names import examples


def what_is_missing(folder: Path, *, parts: Collection[str], images: Collection[str], masks: Collection[str]) -> str:
    """What a folder lacks.

    Args:
        parts: folders in it that may hold those of images and masks.
        images, masks: what those are called.
    """
    return _scattered(folder) or _one_side(folder, parts, images, masks) or none_to_read(folder, "I find no")


def _scattered(folder: Path) -> str:
    """What to do with a folder for each image, as in the Data Science Bowl 2018, or each case; empty if it is none."""
    own = [path.name for path in folders_in(folder) if list_images(path / "images") and list_images(path / "masks")]
    if not own:
        return ""
    if any(len(list_images(folder / name / "images")) > 1 for name in own):
        return (
            f"holds a folder for each case ({examples(own)}) with images/ and masks/ of its own; name the files in a "
            "table pairs.csv with the columns image, mask, case and position (docs/files.md), or move them to "
            "images/CASE/ and masks/CASE/"
        )
    return (
        f"holds a folder for each image ({examples(own)}) with masks of single objects; merge the masks of an image "
        "into masks/NAME.png and put the image into images/NAME.png (docs/init.md has a script)"
    )


def _one_side(folder: Path, parts: Collection[str], images: Collection[str], masks: Collection[str]) -> str:
    """What a folder lacks that has images but no masks, or the other way around; empty if it has neither."""
    folders = [path for part in parts for path in folders_in(folder / part)]
    there = {
        side: [path for path in folders if path.name.lower() in names]
        for side, names in (("images", images), ("masks", masks))
    }
    if not any(there.values()):
        return ""
    has, lacking = ("images", "masks") if there["images"] else ("masks", "images")
    return (
        f"has {', '.join(path.relative_to(folder).as_posix() for path in there[has])}, but no folder of {lacking} "
        f"beside it; put the {lacking} of the {has} into {lacking}/, under the same names"
    )


def none_to_read(folder: Path, opening: str) -> str:
    """What a folder holds instead of images, or of pairs of them."""
    files = [path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")]
    kinds = {ending_of(path.name) for path in files}
    if not files:
        return "is empty"
    held = f"there are {kinds_of(files)}"
    if volumes := sorted({NOT_READ[kind] for kind in kinds if kind in NOT_READ}):
        formats = " and ".join(volumes)
        return f"{held}; {formats} files are not read, so export each slice of a scan and its mask to PNG or TIFF first"
    if not kinds & ENDINGS.keys():
        return f"{opening} {READ} files; {held}"
    return (
        f"{opening} folders of images and masks ({held}); put images into images/ and their masks, under the same "
        "names, into masks/, or masks/CLASS/ for each class"
    )
