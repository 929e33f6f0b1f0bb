"""Where an evaluation's and a prediction's files go, and which settings they may differ in from the run's own.

A run's own evaluation and predictions are made with its own recipe, on its own data. Whatever is made with other
settings, on other data or on a part of them goes into a folder of its own, with the recipe that was used beside it.

    RUN/evaluation/  preview.png  report.html  predictions/        the run's own
    RUN/evaluation-1f0c2a9e/  RUN/predictions-1f0c2a9e/             with other settings or data
    --out FOLDER, --out FILE.csv                                    wherever the user says
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gisegkit.data.atomic_files import make_folder, write_text
from gisegkit.errors import Mistake, RecipeError, RunError
from gisegkit.recipe.differences import Difference, differences
from gisegkit.recipe.load import load_recipe
from gisegkit.recipe.sections import Recipe
from gisegkit.registry.kinds import Registries
from gisegkit.runs.decision_file import StoredDecision
from gisegkit.runs.files import jsonable
from gisegkit.runs.folder import ENSEMBLE, RunDir

if TYPE_CHECKING:
    import pandas as pd

FORMAT = 3
"""The version of ``scores.json`` and its tables; 2 called the column ``scan`` ``volume``."""

NEEDED = {"part": str, "slices": int, "expected": int, "scans": int, "scores": dict, "conventions": dict,
          "parts": dict, "demo": bool, "name": str, "training": dict}  # fmt: skip
"""What ``scores.json`` must hold to be read again."""

TEXT_COLUMNS = ("scan", "case", "id", "class")
"""The columns of an evaluation's tables that are no numbers."""

NEUTRAL = (
    "train.workers",
    "train.channels_last",
    "train.monitor",
    "train.check_gradients",
    "input.store",
    "input.store_limit",
    "evaluate.batch_size",
)
"""Keys that say how an evaluation is computed; the scores are the same."""

SETTINGS = (
    "dataset", "input", "normalization", "evaluate", "postprocess", "train.precision", "train.workers",
    "train.channels_last",
)  # fmt: skip
EFFECTIVE = {"evaluate": (*SETTINGS, "predict.tta", "metric"), "predict": (*SETTINGS, "predict", "writer")}
"""The keys, and the tables, that change what a command does with a run that is trained."""

OF_ENSEMBLE = ("dataset", "evaluate.threshold", "evaluate.presence", "postprocess", "metric", "writer", "predict.part")
"""The keys and tables of them that an ensemble of runs takes from its own recipe; its members have their own."""

ONLY_TRAINING = ("input.crops", "input.around_class")
"""Keys of those tables that do not."""


def open_run(
    path: Path,
    registries: Registries,
    *,
    root: str | None = None,
    overrides: Sequence[str] = (),
    command: str = "evaluate",
) -> tuple[RunDir, Recipe]:
    """A finished run and its recipe, with its ``decision.json``, and with other settings where some are given.

    Args:
        root: where the data are now; short for ``dataset.root``.
        overrides: texts ``key=value``.
        command: which of ``evaluate`` and ``predict`` uses them.

    Raises:
        RunError: if there is no run, or its ``decision.json`` is damaged.
        RecipeError: if its recipe cannot be used here, or a setting has no effect on the command.
    """
    run = RunDir.open(path)
    sets = list(overrides)
    if root is not None:
        sets.append(f"dataset.root={root}")
    refuse_settings_without_effect(sets, command, ensemble=(run.path / ENSEMBLE).is_file())
    if any(text.startswith("metric") for text in sets):
        sets.append('train.monitor=""')  # which may name a metric that is replaced; nothing is trained any more
    preset = decided_otherwise(run, registries)
    recipe = load_recipe(run.recipe, registries=registries, overrides=sets, preset=preset)
    if preset:
        keys = " and ".join(key for key, _, _ in preset)
        note = f"{run.decision} differs from the run's recipe in {keys}; the file counts"
        recipe = replace(recipe, notes=(*recipe.notes, note))
    return run, recipe


def decided_otherwise(run: RunDir, registries: Registries) -> list[tuple[str, Any, str]]:
    """(key, value, origin) of what ``decision.json`` says otherwise than the run's recipe; none without the file.

    Raises:
        RunError: if it is damaged.
    """
    if not run.decision.is_file():
        return []
    stored = StoredDecision.read(run.decision)
    return stored.presets(load_recipe(run.recipe, registries=registries), run.decision)


def refuse_settings_without_effect(overrides: Iterable[str], command: str, *, ensemble: bool = False) -> None:
    """Check that every ``--set`` changes something that the command uses.

    Args:
        overrides: texts ``key=value``.
        command: ``evaluate`` or ``predict``.
        ensemble: whether it is used on an ensemble of runs.

    Raises:
        RecipeError: with every setting that would be ignored.
    """
    valid = EFFECTIVE[command]
    mistakes = []
    for text in overrides:
        key = text.partition("=")[0].strip()
        if key in ONLY_TRAINING or (key and not any(key == known or key.startswith(f"{known}.") for known in valid)):
            found = f"{key} has no effect on giseg {command}: the run is trained already"
            mistakes.append(
                Mistake(f"--set {text}", found, f"Valid: {', '.join(valid)}. Train another run for the rest.")
            )
        elif ensemble and not any(key == known or key.startswith(f"{known}.") for known in OF_ENSEMBLE):
            found = f"{key} has no effect on an ensemble: each of its runs keeps its own"
            mistakes.append(Mistake(f"--set {text}", found, f"Valid: {', '.join(OF_ENSEMBLE)}."))
    if mistakes:
        raise RecipeError(f"giseg {command}", mistakes)


def changes(run: RunDir, recipe: Recipe, registries: Registries) -> tuple[Difference, ...]:
    """What a recipe changes of the run's own; without the keys that change no result.

    Another spelling of the path to the same data is no change.
    """
    stored = load_recipe(run.recipe, registries=registries).as_dict()
    found = differences(stored, recipe.as_dict(), without=NEUTRAL)
    return tuple(item for item in found if not _same_folder(item))


def is_root(key: str) -> bool:
    """Whether a key names the folder of a dataset, ``dataset.root`` or, of several, ``dataset.1.root``."""
    return re.fullmatch(r"dataset(\.\d+)?\.root", key) is not None


def _same_folder(item: Difference) -> bool:
    texts = (item.first, item.other)
    if not is_root(item.key) or not all(isinstance(text, str) for text in texts):
        return False
    return Path(item.first).expanduser().resolve() == Path(item.other).expanduser().resolve()


@dataclass(frozen=True)
class Evaluation:
    """The files of one evaluation.

    Attributes:
        folder: of ``scores.json``, the tables and ``recipe.toml``.
        preview, report: the picture and the page that belong to it.
    """

    folder: Path
    preview: Path
    report: Path

    @classmethod
    def own(cls, run: RunDir) -> Evaluation:
        """The run's own."""
        return cls(run.evaluation, run.preview, run.report)

    @classmethod
    def at(cls, folder: Path) -> Evaluation:
        """One that has everything in one folder."""
        return cls(folder, folder / "preview.png", folder / "report.html")

    @property
    def test(self) -> Evaluation:
        """The files of the scores of the test datasets that belong to this evaluation."""
        return Evaluation.at(self.folder / "test")

    @property
    def recipe(self) -> Path:
        """The filled recipe that was used."""
        return self.folder / "recipe.toml"

    def write(self, scores: Mapping[str, Any], tables: Mapping[str, pd.DataFrame], recipe: str) -> None:
        """Write tables, recipe and, last of all, ``scores.json``."""
        make_folder(self.folder)
        for name, table in tables.items():
            write_text(self.folder / f"{name}.csv", table.to_csv(index=False))
        write_text(self.recipe, recipe)
        content = json.dumps(jsonable({"format": FORMAT, **scores}), indent=2, ensure_ascii=False)
        write_text(self.folder / "scores.json", content + "\n")


def check_new_folder(folder: Path, run: RunDir) -> None:
    """Before long work starts: a folder given with ``--out`` can be made.

    Raises:
        RunError: if something is there already, or it is the place of the run's own files.
    """
    if folder.resolve() in (run.evaluation.resolve(), run.predictions.resolve()):
        raise RunError(f"--out {folder}: is the run's own, and exists already or will; choose another folder")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise RunError(f"--out {folder}: exists already and is left as it is; choose another folder, or remove it")
    make_folder(folder)


def check_submission_file(file: Path, run: RunDir) -> None:
    """Before long work starts: a file given with ``--out`` can hold a submission.

    Raises:
        RunError: if it is no CSV file, a folder, or inside the run folder.
    """
    if file.suffix.lower() != ".csv":
        raise RunError(
            f"--out {file}: a submission is a CSV file (id,class,predicted: run lengths); let its name end in .csv"
        )
    if file.is_dir():
        raise RunError(f"--out {file}: is a folder; give the file's name")
    if run.path.resolve() in file.resolve().parents:
        raise RunError(
            f"--out {file}: lies in the run folder, which holds only the run's own files; choose a place outside, or "
            "leave --out away: what is made with other settings or data gets a folder of its own there"
        )


def read_scores(folder: Path) -> dict[str, Any] | None:
    """What ``scores.json`` in a folder holds; None if there is none.

    Raises:
        RunError: if it is damaged, or was written by an older gisegkit.
    """
    file = folder / "scores.json"
    if not file.is_file():
        return None
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(f"{file} cannot be read ({error}); it is damaged: evaluate the run again") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        have = content.get("format", "none") if isinstance(content, dict) else "none"
        raise RunError(
            f"{file} was written by another gisegkit (its format is {have}, this one reads {FORMAT}): evaluate the run "
            "again with giseg evaluate"
        )
    wrong = [key for key, kind in NEEDED.items() if not isinstance(content.get(key), kind)]
    if wrong:
        raise RunError(f"{file} lacks {', '.join(wrong)}; it is damaged: evaluate the run again")
    return content


def read_table(file: Path, *, remedy: str = "") -> pd.DataFrame:
    """A table of an evaluation; ids and names are text whatever they look like, the other columns numbers.

    Raises:
        RunError: if it is missing or damaged.
    """
    import pandas as pd

    try:
        table = pd.read_csv(file, dtype=str, keep_default_na=False, encoding="utf-8")
        numbers = [column for column in table.columns if column not in TEXT_COLUMNS]
        values = {column: table[column].replace("", "nan").astype(float) for column in numbers}
    except OSError as error:
        raise RunError(f"{file} cannot be read: {error.strerror or error}{remedy}") from error
    except ValueError as error:  # pandas' own are children of it
        raise RunError(f"{file} cannot be read ({error}); it is damaged{remedy}") from error
    return table.assign(**values)


def noted(recipe: Recipe, lines: Sequence[str]) -> str:
    """The filled recipe as text, with comment lines above it that say what was made with it."""
    header = "\n".join([*(f"# {line}" for line in lines), *([recipe.header] if recipe.header else [])])
    return replace(recipe, header=header).text()


def say_own_folder(folder: Path, kept: str, reasons: Sequence[str], say: Callable[[str], None]) -> None:
    """Why something is written to a folder of its own."""
    say(f"written to {folder}; the run's own {kept}, because these differ:")
    for reason in reasons:
        say(f"  {reason}")
