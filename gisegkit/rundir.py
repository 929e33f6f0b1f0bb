"""The run folder and its only writer. Every write is atomic: a file is whole, or as it was before.

recipe.toml       the filled recipe; runs again with the same result
environment.json  versions, device, git revision, command line, plugins
split.csv         which slice trained, validated, or was not labelled
metrics.jsonl     one line an epoch
last.pt           everything needed to go on behind the last epoch
best.pt           the weights of the best epoch, with classes and channels
evaluation/       scores.json and the tables by class, scan and slice
predictions/      submission.csv
preview.png       slices with truth and prediction outlined
report.html       the run on one page
"""

from __future__ import annotations

import json
import math
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from gisegkit.data.folds import PARTS, split_digest
from gisegkit.errors import RunError
from gisegkit.types import EpochReport

if TYPE_CHECKING:
    import pandas as pd

FORMAT = 1
"""The version of the checkpoint's layout."""


class RunDir:
    """A run folder that exists.

    Attributes:
        path: the folder.
        demo: whether it came from ``--demo``; then ``DEMO.txt`` says so to whoever opens the folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.recipe = path / "recipe.toml"
        self.evaluation = path / "evaluation"
        self.predictions = path / "predictions"
        self.submission = self.predictions / "submission.csv"
        self.preview = path / "preview.png"
        self.report = path / "report.html"
        self.trackers = path / "trackers"

    @staticmethod
    def check_free(path: Path) -> None:
        """Before long work starts: a new run can be made there.

        Raises:
            RunError: if the folder holds a run already, or something else stands there.
        """
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise RunError(
                f"{path} exists already and is left as it is: continue it with --resume, or choose another --out"
            )

    @classmethod
    def create(cls, path: Path, *, recipe: str, environment: Mapping[str, Any], demo: bool) -> RunDir:
        """Make a new run folder.

        Raises:
            RunError: if the folder holds a run already, or something else stands there.
        """
        cls.check_free(path)
        path.mkdir(parents=True, exist_ok=True)
        run = cls(path)
        write_text(run.recipe, recipe)
        run.write_json("environment.json", environment)
        if demo:
            write_text(
                path / "DEMO.txt", "This is a demo run on synthetic phantoms. Its scores say nothing about real data.\n"
            )
        return run

    @classmethod
    def open(cls, path: Path) -> RunDir:
        """An existing run folder.

        Raises:
            RunError: if there is none.
        """
        run = cls(path)
        if not run.recipe.is_file():
            near = (
                sorted(str(file.parent) for file in path.parent.glob("*/recipe.toml")) if path.parent.is_dir() else []
            )
            remedy = f"; runs there: {', '.join(near)}" if near else ""
            raise RunError(f"{path} is no run folder: it has no recipe.toml{remedy}")
        return run

    # --- training -------------------------------------------------------------------------------------------------

    def record(self, report: EpochReport, facts: Mapping[str, Any]) -> None:
        """Write what one epoch gave: its line, the best weights where it is the best, then the state to resume from.

        The state comes last, so that a kill between two of these writes only repeats this epoch.
        """
        line = {
            "epoch": report.epoch,
            "loss": report.loss,
            "losses": dict(report.losses),
            "learning_rate": report.learning_rate,
            "seconds": round(report.seconds, 3),
            "images_per_second": round(report.images_per_second, 2),
            "peak_memory": report.peak_memory,
            "best": report.best,
            "scores": dict(report.scores),
            "notes": list(report.notes),
        }
        earlier = [entry for entry in self.metrics() if entry["epoch"] < report.epoch]
        text = "".join(json.dumps(jsonable(entry)) + "\n" for entry in [*earlier, line])
        write_text(self.path / "metrics.jsonl", text)
        if report.best:
            weights = {"format": FORMAT, "epoch": report.epoch, "model": report.state["model"], "facts": dict(facts)}
            self._save("best.pt", weights)
        self._save("last.pt", {"format": FORMAT, **report.state, "facts": dict(facts)})

    def metrics(self) -> list[dict[str, Any]]:
        """The epochs so far; empty before the first."""
        file = self.path / "metrics.jsonl"
        return [_parsed(file, line) for line in file.read_text(encoding="utf-8").splitlines()] if file.is_file() else []

    def state(self) -> dict[str, Any] | None:
        """What ``last.pt`` holds; None before the first epoch ended."""
        return self._load("last.pt") if (self.path / "last.pt").is_file() else None

    def weights(self) -> dict[str, Any]:
        """What ``best.pt`` holds.

        Raises:
            RunError: if no epoch was finished.
        """
        if not (self.path / "best.pt").is_file():
            raise RunError(f"{self.path} has no best.pt: no epoch was finished; train it with --resume first")
        return self._load("best.pt")

    def _save(self, name: str, content: Mapping[str, Any]) -> None:
        import torch

        write(self.path / name, lambda file: torch.save(dict(content), file))

    def _load(self, name: str) -> dict[str, Any]:
        import torch

        file = self.path / name
        try:
            content: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
        except Exception as error:  # torch raises a different type for each way in which a file can be damaged
            raise RunError(f"{file} cannot be read ({type(error).__name__}); it is damaged or no checkpoint") from error
        if content.get("format") != FORMAT:
            raise RunError(f"{file} has layout {content.get('format')}, this gisegkit reads {FORMAT}")
        return content

    # --- results --------------------------------------------------------------------------------------------------

    def write_split(self, table: pd.DataFrame) -> None:
        """The part of every slice: columns id and part."""
        bare = table["id"].astype(str).str.contains("\r", regex=False).any()  # which the csv module leaves unquoted
        quoting: Literal[0, 1] = 1 if bare else 0  # csv.QUOTE_ALL, csv.QUOTE_MINIMAL
        write_text(self.path / "split.csv", table.to_csv(index=False, quoting=quoting))

    def split(self) -> pd.DataFrame | None:
        """What ``write_split`` wrote, all text; None where it is missing.

        Raises:
            RunError: if it is damaged: no table, other columns, an unknown part, or an id that comes twice.
        """
        import pandas as pd

        file = self.path / "split.csv"
        if not file.is_file():
            return None
        try:
            table = pd.read_csv(file, dtype=str, keep_default_na=False, encoding="utf-8")
        except (OSError, ValueError) as error:  # pandas' own are children of ValueError
            raise RunError(f"{file} cannot be read ({first_line(error)}); it is damaged") from error
        if list(table.columns) != ["id", "part"] or not table.index.equals(pd.RangeIndex(len(table))):
            raise RunError(f"{file} has the columns {', '.join(map(str, table.columns))}, not id, part; it is damaged")
        unknown = table[~table["part"].isin(PARTS)]
        if len(unknown):
            row = unknown.iloc[0]
            raise RunError(f"{file}: slice {row['id']!r} has the part {row['part']!r}; there are: {', '.join(PARTS)}")
        twice = table["id"][table["id"].duplicated()]
        if len(twice):
            raise RunError(f"{file}: slice {twice.iloc[0]!r} comes twice; the file is damaged")
        return table

    def verified_split(self, facts: Mapping[str, Any]) -> pd.DataFrame:
        """The parts that the run trained with.

        Args:
            facts: of ``best.pt`` or ``last.pt``, which hold the split's digest.

        Raises:
            RunError: if ``split.csv`` is missing or damaged, or says something else than when the run began.
        """
        file, table = self.path / "split.csv", self.split()
        restore = "which slices trained and which validated is not known without it; restore it from a copy of the run"
        if table is None:
            raise RunError(f"{file} is missing; {restore}")
        if split_digest(table) != facts.get("split"):
            raise RunError(f"{file} was changed or damaged after the training began; {restore}")
        return table

    def write_json(self, name: str, content: Mapping[str, Any]) -> None:
        """A JSON file in the folder; numbers that are not finite become null."""
        write_text(self.path / name, json.dumps(jsonable(content), indent=2, ensure_ascii=False) + "\n")

    def environment(self) -> dict[str, Any]:
        """What ``environment.json`` holds."""
        file = self.path / "environment.json"
        if not file.is_file():
            raise RunError(f"{file} is missing; the run folder is not complete")
        return _parsed(file, file.read_text(encoding="utf-8"))


def _parsed(file: Path, text: str) -> dict[str, Any]:
    try:
        content = json.loads(text)
    except ValueError as error:
        raise RunError(f"{file} cannot be read ({error}); it is damaged") from error
    if not isinstance(content, dict):
        raise RunError(f"{file} holds no table; it is damaged")
    return content


def write(path: Path, fill: Callable[[Any], None]) -> None:
    """Let ``fill`` write the file's bytes; the file appears whole or not at all.

    Raises:
        RunError: if the disk is full or the folder cannot be written to; what stood there before is still there.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                fill(file)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(temporary, 0o644)
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise RunError(f"{path} cannot be written: {error.strerror or error}") from error


def write_text(path: Path, text: str) -> None:
    """The same for text, in UTF-8."""
    write(path, lambda file: file.write(text.encode()))


def first_line(error: BaseException) -> str:
    """What went wrong, in one line."""
    return str(error).strip().split("\n", 1)[0] or type(error).__name__


def jsonable(value: Any) -> Any:
    """The value with NaN and infinities as null, numpy numbers as plain ones, paths as text."""
    if isinstance(value, Mapping):
        return {str(key): jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [jsonable(item) for item in value]
    if isinstance(value, bool | str | int) or value is None:
        return value
    if isinstance(value, Path):
        return str(value)
    number = float(value)
    return number if math.isfinite(number) else None
