"""Images with a labelme file each as their masks."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from gisegkit.components.datasets.annotation_json import Labels, read_json, size_of
from gisegkit.components.datasets.drawn import Annotated, Drawn, DrawRule
from gisegkit.components.datasets.folder_files import FolderFiles, plain
from gisegkit.components.datasets.labelme_file import image_name, other_picture, shape_of
from gisegkit.components.datasets.pairing import without_suffix
from gisegkit.data.shapes import Shape
from gisegkit.errors import DataError, Finding, count, listed

PUT = "put the images into images/ in this folder, or name another with dataset.images"


class Labelme(Drawn):
    """A folder of images and a JSON file of labelme for each: polygons, rectangles, circles and masks.

    Shapes of one label are one class, and classes may overlap. A file belongs to the image that its ``imagePath``
    names. A pixel belongs to a shape if its center is inside (docs/files.md). Making one draws every mask once; what is
    wrong with single files is told by ``findings()``.

    Args:
        root: folder that holds the images and the files.
        classes: labels that are classes, in the order of the output; others are background, and counted.
        images: folder of the images, in root.
        annotations: folder of the JSON files, in root; empty for that of the images.
        ignore: labels whose pixels count in neither loss nor score, for any class.
        missing: images without a file: refused, or "empty": no class occurs in them, or "unlabelled": they are for
            prediction.
        exclusive: whether a pixel belongs to one class at most: of several, to the first of them. Losses such as ``ce``
            need that.
        unlabelled: folder of more images without a file, for prediction, in root; empty for none.
        alpha: images with transparency that is not opaque: refused, or "channel": it is one more channel, or "drop".
        names: what names look like, as of the dataset ``folder``.
        pattern: regular expression of the names, as of the dataset ``folder``.
        spacing: mm from a slice to the next, a row to the next and a column to the next, or the last two alone.

    Raises:
        DataError: if a folder is missing, two images have one name, or options contradict each other.
    """

    def __init__(
        self,
        *,
        root: str,
        classes: list[str],
        images: str = "images",
        annotations: str = "",
        ignore: list[str] = [],  # noqa: B006 - a recipe's default is a literal
        missing: Literal["refuse", "empty", "unlabelled"] = "refuse",
        exclusive: bool = False,
        unlabelled: str = "",
        alpha: Literal["refuse", "channel", "drop"] = "refuse",
        names: str = "",
        pattern: str = "",
        spacing: list[float] = [],  # noqa: B006
    ) -> None:
        place = Path(root).expanduser()
        rule = DrawRule(tuple(classes), tuple(ignore), exclusive)
        files = FolderFiles(place)
        found = files.images(place / images, put=PUT, take=without_suffix(""))
        reader = LabelmeFiles(place / (annotations or images), found, named=[*classes, *ignore], files=files)
        annotated = reader.annotated(missing)
        more = files.images(place / unlabelled, put=PUT, take=without_suffix("")) if unlabelled else {}
        for name, path in more.items():
            if name in annotated:
                raise DataError(f"{annotated[name].image} and {path} have the same name; names are ids, rename one")
            annotated[name] = Annotated(path)
        findings = [finding for finding in files.findings if finding.kind != "passed over: .json"]
        given = {"alpha": alpha, "names": names, "pattern": pattern, "spacing": spacing}
        super().__init__(place, annotated, rule, findings=findings, **given)  # type: ignore[arg-type]


class LabelmeFiles:
    """Reads the files of a folder, and gives each to its image.

    Args:
        folder: of the files.
        images: the images by name.
        named: classes, and labels to ignore.
        files: is given what is found.
    """

    def __init__(self, folder: Path, images: dict[str, Path], *, named: list[str], files: FolderFiles) -> None:
        self._folder, self._images, self._files = folder, images, files
        self._labels = Labels(named)
        self._found: dict[str, Annotated] = {}
        self._bad: set[str] = set()

    def annotated(self, missing: str) -> dict[str, Annotated]:
        """The images by name with what is drawn on them.

        Args:
            missing: as of the dataset.
        """
        if self._folder.is_dir():
            self._files.refuse_escape(self._folder)
        others = []
        for file in sorted(self._folder.glob("*.json")) if self._folder.is_dir() else ():
            if file.name.startswith(".") or not self._add(file):
                others.append(file.name)
        if others:
            what = f"{count(len(others), 'JSON file')} without shapes passed over: {listed(others)}"
            self._files.findings.append(Finding("passed over: JSON", "warning", str(self._folder), what))
        self._files.findings += self._labels.findings(self._folder)
        if not self._found and not self._bad:
            what = "holds no file of labelme, so no image is labelled"
            self._files.findings.append(Finding("no annotations", "warning", str(self._folder), what))
            missing = "unlabelled"
        return {name: self._found.get(name) or self._without(name, missing) for name in self._images}

    def _without(self, name: str, missing: str) -> Annotated:
        """An image that no file is of."""
        path = self._images[name]
        if missing == "refuse" and name not in self._bad:
            remedy = 'dataset.missing = "empty" if no class is on it, "unlabelled" if nobody has annotated it'
            what = f"has no labelme file in {self._folder}"
            self._files.findings.append(Finding("image without annotation", "error", str(path), what, remedy, (name,)))
        return Annotated(path, () if missing == "empty" and name not in self._bad else None)

    def _add(self, file: Path) -> bool:
        """Take in a file; False if it is none of labelme."""
        try:
            self._files.refuse_escape(file)
            held = read_json(file)
        except DataError as error:
            ids = (plain(file.stem),) if plain(file.stem) in self._images else ()
            self._bad.update(ids)
            text = str(error).removeprefix(f"{file}: ")
            self._files.findings.append(Finding("unreadable annotation", "error", str(file), text, "", ids))
            return True
        if not isinstance(held.get("shapes"), list):
            return False
        name = self._image_of(file, held)
        if name:
            shapes = self._shapes(file, held["shapes"], name)
            size = size_of(held, "imageHeight", "imageWidth")
            self._found[name] = Annotated(self._images[name], shapes, file, size)
        return True

    def _image_of(self, file: Path, held: dict[str, Any]) -> str:
        """The name of the image that a file is of; empty, and a finding, if it is of none."""
        said, own = plain(Path(image_name(held)).stem), plain(file.stem)
        name = said if said in self._images else own
        kind, what, remedy = "", "", ""
        if name not in self._images:
            kind, what = "image that is not there", f"is of {image_name(held) or own}, which is not in the images"
            remedy = "put the image there, or remove the file"
        elif name in self._found:
            kind, what = "two annotations", f"is of {name}, and so is {self._found[name].file}"
            remedy = "remove one, or correct its imagePath"
        elif name == said != own and own in self._images:
            kind, what = "name of another image", f"is called {own}, and its imagePath says {image_name(held)}"
            remedy = "both images are here: correct the imagePath, or rename the file"
        if kind:
            ids = tuple({said, own} & self._images.keys()) if name in self._images else ()
            self._bad.update(ids)
            self._files.findings.append(Finding(kind, "error", str(file), what, remedy, tuple(sorted(ids))))
            return ""
        if said != name:
            what = f"its imagePath says {image_name(held) or 'nothing'}, which is not in the images"
            remedy = f"it is taken for the annotation of {self._images[name].name}, as it is called"
            self._files.findings.append(Finding("paired by its own name", "warning", str(file), what, remedy))
        try:
            differs = other_picture(held, self._images[name])
        except DataError:  # told when the image is looked at
            differs = ""
        if differs:
            remedy = "put the image here that was annotated, or remove imageData if the shapes fit this one"
            self._files.findings.append(Finding("another picture", "error", str(file), differs, remedy, (name,)))
        return name

    def _shapes(self, file: Path, entries: list[Any], name: str) -> tuple[Shape, ...]:
        shapes = []
        for number, entry in enumerate(entries, start=1):
            place = f"shape {number}"
            try:
                if not isinstance(entry, dict) or "label" not in entry:
                    raise DataError("has no label")
                if self._labels.take(str(entry["label"]), self._images[name]):
                    shapes.append(shape_of(entry, place))
            except DataError as error:
                where = f"{file}, {place}"
                remedy = "draw its outline, or remove it"
                self._files.findings.append(Finding("shape without area", "error", where, str(error), remedy, (name,)))
        return tuple(shapes)
