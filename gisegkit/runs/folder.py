"""The run folder and its only writer. Every write is atomic: a file is whole, or as it was before.

fold0/ ...        of a run of several folds: their run folders; of an ensemble ensemble.json. Neither has weights itself
recipe.toml       the filled recipe; runs again with the same result. Written last: a folder without it is no run
environment.json  versions, device, git revision, command line, plugins; of each resume under "resumed"
split.csv         which slice trained, validated, or was not labelled
metrics.jsonl     one line per epoch
last.pt           everything needed to go on after the last epoch
best.pt           the weights of the best epoch, with classes and channels
decision.json     how probabilities become masks: thresholds, presence and post-processing
evaluation/       scores.json and the tables by class, scan and slice
oof/              probabilities of the validation slices, where the run is one of several folds
predictions/      submission.csv, or what other writers make; files.json lists it
preview.png       slices with truth and prediction outlined
report.html       the run on one page
.lock             there only while a process writes into the folder
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from gisegkit.data.atomic_files import make_folder, reason, remove_leftovers, write, write_text
from gisegkit.data.folds import split_digest
from gisegkit.errors import RunError, listed
from gisegkit.runs.files import FORMAT, check_format, jsonable, read_metrics, read_split, read_table
from gisegkit.runs.locks import LOCK, locked
from gisegkit.types import EpochReport

if TYPE_CHECKING:
    import pandas as pd

ENSEMBLE = "ensemble.json"
"""Names the members of an ensemble; a folder that has it has no weights of its own."""

START = ("environment.json", "split.csv", "DEMO.txt")
"""What is written before recipe.toml when a run is made."""
FILES = (
    *(*START, "recipe.toml", "metrics.jsonl", "last.pt", "best.pt", "decision.json", ENSEMBLE),
    *("preview.png", "report.html", "scores.json", "by_class.csv", "by_scan.csv", "by_slice.csv", "submission.csv"),
)
"""The names that gisegkit gives to files in a run folder and the folders in it."""


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
        self.decision = path / "decision.json"
        self.preview = path / "preview.png"
        self.report = path / "report.html"
        self.trackers = path / "trackers"
        self.oof = path / "oof"

    @staticmethod
    def check_free(path: Path) -> None:
        """Before long work starts: a new run can be made there.

        What a start left that was killed before ``recipe.toml`` was written is in nobody's way.

        Raises:
            RunError: if the folder holds a run already, or something else stands there.
        """
        try:
            free = RunDir.is_free(path)
        except OSError as error:
            raise RunError(f"{path} cannot be read: {reason(error)}; choose another --out") from error
        if not free:
            remedy = "continue it with --resume, or choose" if (path / "recipe.toml").is_file() else "choose"
            raise RunError(f"{path} exists already and is not changed: {remedy} another --out")

    @staticmethod
    def is_free(path: Path) -> bool:
        """Whether nothing stands there, or only what a start left that was killed before it made a run."""
        return not path.exists() or (path.is_dir() and _only_a_start(path))

    @classmethod
    def create(
        cls,
        path: Path,
        *,
        recipe: str,
        environment: Mapping[str, Any],
        demo: bool,
        split: pd.DataFrame | None = None,
    ) -> RunDir:
        """Make a new run folder; ``recipe.toml`` comes last, so that a kill leaves no half run.

        Raises:
            RunError: if the folder holds a run already, or something else stands there, or it cannot be written.
        """
        cls.check_free(path)
        make_folder(path)
        run = cls(path)
        for name in START:  # of an earlier start that was killed
            (path / name).unlink(missing_ok=True)
        run.write_json("environment.json", {"format": FORMAT, **environment})
        if split is not None:
            run.write_split(split)
        if demo:
            write_text(
                path / "DEMO.txt", "This is a demo run on synthetic phantoms. Its scores say nothing about real data.\n"
            )
        write_text(run.recipe, recipe)
        return run

    @classmethod
    def open(cls, path: Path) -> RunDir:
        """An existing run folder.

        Raises:
            RunError: if there is none, or another version of gisegkit made it, in a format that this one does not read.
        """
        run = cls(path.parent if path.name == ENSEMBLE else path)
        path = run.path
        if not run.recipe.is_file():
            near = (
                sorted(str(file.parent) for file in path.parent.glob("*/recipe.toml")) if path.parent.is_dir() else []
            )
            remedy = f"; runs there: {listed(near)}" if near else ""
            raise RunError(f"{path} is not a run folder: it has no recipe.toml{remedy}")
        check_format(path)
        return run

    @contextlib.contextmanager
    def locked(self, say: Callable[[str], None]) -> Iterator[None]:
        """Write into the folder alone, and first remove what killed writes left.

        Args:
            say: told what was removed, and where the file system knows no locks.

        Raises:
            RunError: if another process writes into the folder, or it cannot be written.
        """
        with locked(self.path, say):
            for folder in (self.path, self.evaluation, self.predictions, self.oof):
                for file in remove_leftovers(folder, FILES):
                    say(f"removed {file}, which a killed process left")
            yield

    # --- training -------------------------------------------------------------------------------------------------

    def record(self, report: EpochReport, facts: Mapping[str, Any]) -> None:
        """Write what one epoch gave: its line, the best weights where it is the best, then the state to resume from.

        The state comes last, so that a kill between two of these writes only repeats this epoch.
        """
        if not self.recipe.is_file():
            raise RunError(
                f"{self.path} is gone, or its recipe.toml is: it was deleted or moved while training; epoch "
                f"{report.epoch} was not kept"
            )
        line = {
            "epoch": report.epoch,
            "loss": report.loss,
            "losses": dict(report.losses),
            "validation_loss": report.validation_loss,
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
            self.write_best(report.epoch, report.weights, facts)
        self._save("last.pt", {**report.state, "facts": dict(facts)})

    def write_best(self, epoch: int, weights: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
        """``best.pt``: the network's weights to deploy, and the epoch that they are of."""
        self._save("best.pt", {"epoch": epoch, "model": weights, "facts": dict(facts)})

    def metrics(self) -> list[dict[str, Any]]:
        """The epochs so far; empty before the first.

        Raises:
            RunError: if a line is not what was written.
        """
        file = self.path / "metrics.jsonl"
        return read_metrics(file) if file.is_file() else []

    def state(self) -> dict[str, Any] | None:
        """What ``last.pt`` holds; None before the first epoch ended.

        Raises:
            RunError: if it is damaged, or of another layout.
        """
        from gisegkit.runs.checkpoints import STATE, unpack

        file = self.path / "last.pt"
        return unpack(file, STATE) if file.is_file() else None

    def weights(self) -> dict[str, Any]:
        """What ``best.pt`` holds.

        Raises:
            RunError: if it is missing, damaged, or of another layout.
        """
        from gisegkit.runs.checkpoints import WEIGHTS, unpack

        file = self.path / "best.pt"
        if file.is_file():
            return unpack(file, WEIGHTS)
        inside = sorted(str(found.parent) for found in self.path.glob("fold*/best.pt"))
        if inside or (self.path / ENSEMBLE).is_file():
            one = ", ".join(inside) or f"those that {self.path / ENSEMBLE} names"
            raise RunError(f"{self.path} has several networks, and one is needed here; name one of them: {one}")
        state = self.state()
        if state is None or not state["validations"]:
            ended = "finished" if state is None else "validated"
            raise RunError(f"{self.path} has no best.pt: no epoch was {ended}; train it with --resume first")
        best = state.get("best_epoch")
        if best == state["epoch"]:
            raise RunError(f"{file} is missing; last.pt holds the same weights: --resume makes best.pt of it")
        raise RunError(
            f"{file} is missing, and last.pt is of epoch {state['epoch']}, not of the best one ({best}); "
            "restore it from a copy of the run, or train again with another --out"
        )

    def _save(self, name: str, content: Mapping[str, Any]) -> None:
        import torch

        from gisegkit.runs.checkpoints import pack

        packed = pack(content)
        write(self.path / name, lambda file: torch.save(packed, file))

    # --- results --------------------------------------------------------------------------------------------------

    def write_split(self, table: pd.DataFrame) -> None:
        """The part of every slice: columns id and part."""
        bare = table["id"].astype(str).str.contains("\r", regex=False).any()  # which the csv module leaves unquoted
        quoting: Literal[0, 1] = 1 if bare else 0  # csv.QUOTE_ALL, csv.QUOTE_MINIMAL
        write_text(self.path / "split.csv", table.to_csv(index=False, quoting=quoting))

    def split(self) -> pd.DataFrame | None:
        """What ``write_split`` wrote, all text; None if it is missing.

        Raises:
            RunError: if it is damaged: no table, other columns, an unknown part, or an id that comes twice.
        """
        file = self.path / "split.csv"
        return read_split(file) if file.is_file() else None

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
        return read_table(file)


def _only_a_start(folder: Path) -> bool:
    """Whether a folder holds nothing, or only what a start left that was killed before it wrote recipe.toml."""
    names = {path.name for path in folder.iterdir()} - {LOCK}
    rest = {name for name in names if not any(name.startswith(f".{own}.") for own in (*START, "recipe.toml"))}
    if not rest <= {*START} or (rest and "environment.json" not in rest):
        return False
    with contextlib.suppress(OSError, ValueError):
        return not rest or "versions" in json.loads((folder / "environment.json").read_text(encoding="utf-8"))
    return False
