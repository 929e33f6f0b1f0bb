"""Images with the instances of a COCO file as their masks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

from gisegkit.components.datasets.annotation_json import size_of
from gisegkit.components.datasets.coco_file import CocoFile
from gisegkit.components.datasets.drawn import Annotated, Drawn, DrawRule
from gisegkit.components.datasets.folder_files import FolderFiles, plain
from gisegkit.components.datasets.pairing import without_suffix
from gisegkit.data.names import examples
from gisegkit.errors import DataError, Finding

PUT = "put the images into images/ in this folder, or name another with dataset.images"


class Coco(Drawn):
    """A folder of images and one COCO file of instances: polygons and run lengths.

    Objects of one category are one class, and classes may overlap. Images are found by ``file_name`` in the folder of
    images. A pixel belongs to a polygon if its center is inside (docs/files.md). Without the file all images are for
    prediction. Making one draws every mask once; what is wrong with single annotations is told by ``findings()``.

    Args:
        root: folder that holds the images and the file.
        classes: names of the categories that are classes, in the order of the output; others are background, and
            counted.
        images: folder of the images, in root.
        annotations: the COCO file, in root.
        ignore: names of categories whose pixels count in neither loss nor score, for any class.
        crowd: what pixels of ``iscrowd`` annotations are: they count in neither loss nor score for their class
            ("ignore"), belong to it ("class"), or are background ("leave").
        missing: images of the file without annotation: refused, or "empty": no class occurs in them, or "unlabelled":
            they are for prediction. Images that the file does not list are passed over.
        exclusive: whether a pixel belongs to one class at most: of several, to the first of them. Losses such as ``ce``
            need that.
        unlabelled: folder of more images without annotation, for prediction, in root; empty for none.
        alpha: images with transparency that is not opaque: refused, or "channel": it is one more channel, or "drop".
        names: what names look like, as of the dataset ``folder``.
        pattern: regular expression of the names, as of the dataset ``folder``.
        spacing: mm from a slice to the next, a row to the next and a column to the next, or the last two alone.

    Raises:
        DataError: if the folder or a category is missing, two images have one name, or options contradict each other.
    """

    def __init__(
        self,
        *,
        root: str,
        classes: list[str],
        images: str = "images",
        annotations: str = "annotations.json",
        ignore: list[str] = [],  # noqa: B006 - a recipe's default is a literal
        crowd: Literal["ignore", "class", "leave"] = "ignore",
        missing: Literal["refuse", "empty", "unlabelled"] = "refuse",
        exclusive: bool = False,
        unlabelled: str = "",
        alpha: Literal["refuse", "channel", "drop"] = "refuse",
        names: str = "",
        pattern: str = "",
        spacing: list[float] = [],  # noqa: B006
    ) -> None:
        place = Path(root).expanduser()
        rule = DrawRule(tuple(classes), tuple(ignore), exclusive, crowd)
        files, file = FolderFiles(place), place / annotations
        if file.is_file():
            files.refuse_escape(file)
            annotated = _by_file(CocoFile(file, classes=classes, ignore=ignore), place / images, files, missing)
        else:
            found = Finding("no annotations", "warning", str(file), "is not there, so no image is labelled")
            annotated = {name: Annotated(path) for name, path in _listed(files, place / images).items()}
            files.findings.append(found)
        for name, path in _listed(files, place / unlabelled).items() if unlabelled else ():
            if name in annotated:
                raise DataError(f"{annotated[name].image} and {path} have the same name; names are ids, rename one")
            annotated[name] = Annotated(path)
        given = {"alpha": alpha, "names": names, "pattern": pattern, "spacing": spacing}
        super().__init__(place, annotated, rule, findings=files.findings, **given)  # type: ignore[arg-type]


def _listed(files: FolderFiles, folder: Path) -> dict[str, Path]:
    return files.images(folder, put=PUT, take=without_suffix(""))


def _by_file(coco: CocoFile, folder: Path, files: FolderFiles, missing: str) -> dict[str, Annotated]:
    """The images that a COCO file lists, by name."""
    annotated: dict[str, Annotated] = {}
    names: dict[str, str] = {}
    absent, moved = [], []
    for number, entry in coco.images.items():
        path = _find(folder, coco.name(number))
        if path is None:
            absent.append(coco.name(number))
            continue
        files.refuse_escape(path)
        own = path.relative_to(folder)
        if plain(str(own)) != plain(coco.name(number)) and path != files.root / coco.name(number):
            moved.append(coco.name(number))
        name = plain(str(own.with_suffix(""))).replace("/", "_")
        names[coco.name(number)] = name
        if name in annotated and annotated[name].image == path:
            raise DataError(f"{coco.path}: lists the image {path} twice; leave one entry, with all annotations")
        if name in annotated:
            raise DataError(f"{annotated[name].image} and {path} have the same name; names are ids, rename one")
        shapes = coco.shapes.get(number)
        labelled = shapes is not None or missing == "empty"
        if not labelled and missing == "refuse":
            what = f"has no annotation in {coco.path}"
            remedy = 'dataset.missing = "empty" if no class is on it, "unlabelled" if nobody has annotated it'
            files.findings.append(Finding("image without annotation", "error", str(path), what, remedy, (name,)))
        size = size_of(entry, "height", "width")
        annotated[name] = Annotated(path, tuple(shapes or ()) if labelled else None, coco.path, size)
    if moved:
        what = f"{len(moved)} of {len(coco.images)} file names name folders that are not in {folder}: {examples(moved)}"
        remedy = "the files there of the same name without these folders are taken; see whether they are these images"
        files.findings.append(Finding("image elsewhere", "warning", str(coco.path), what, remedy))
    if absent:
        what = f"lists {len(absent)} of {len(coco.images)} images that are not in {folder}: {examples(absent)}"
        remedy = "put them there, name their folder with dataset.images, or remove them from the file"
        files.findings.append(Finding("image that is not there", "error", str(coco.path), what, remedy))
    _tell_others(files, folder, {item.image.resolve() for item in annotated.values()}, coco.path)
    for finding in coco.findings:
        ids = tuple(names[image] for image in finding.ids if image in names)
        files.findings.append(replace(finding, ids=ids))
    return annotated


def _find(folder: Path, name: str) -> Path | None:
    """The file of a name, without as many of its outer folders as needed; None if there is none."""
    parts = name.split("/")
    for start in range(len(parts)):
        inner = "/".join(parts[start:])
        for path in (folder / inner, folder / plain(inner)):
            if inner and path.is_file():
                return path if start == 0 or ".." not in parts[start:] else None
    return None


def _tell_others(files: FolderFiles, folder: Path, used: set[Path], file: Path) -> None:
    """Images in the folder that the file does not list."""
    if not folder.is_dir():
        return
    own = FolderFiles(files.root)
    try:
        found = _listed(own, folder)
    except DataError:  # all images are in folders of it
        return
    files.findings += [finding for finding in own.findings if finding.kind != "passed over: .json"]
    others = [path.name for path in found.values() if path.resolve() not in used]
    if others:
        what = f"{len(others)} images are not listed in {file}, and passed over: {examples(others)}"
        remedy = "put images to predict into a folder that dataset.unlabelled names"
        files.findings.append(Finding("image that is not listed", "warning", str(folder), what, remedy))
