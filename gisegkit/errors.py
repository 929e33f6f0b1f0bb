"""Every error that gisegkit raises on purpose, as a tree.

GisegError                 a user's mistake or a fact of the machine; the message names place, value and remedy
├── RecipeError            a recipe or ``--set`` that cannot be used; carries every mistake found
├── ComponentError         a component or plugin that cannot be registered, found or built
├── DataError              files, masks or tables that are not what the dataset's format says
│   └── SubmissionError    a submission file that breaks the rules of its format; names row and reason
├── TrainingError          training cannot go on: a loss that is not finite, a step that is impossible
└── RunError               a run folder that is missing, incomplete, or in the way

The command line prints these without a traceback and exits with 2; anything else is a defect of
gisegkit or of a plugin and keeps its traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal


class GisegError(Exception):
    """Base of all of them. ``str(error)`` is what the user reads."""


@dataclass(frozen=True)
class Mistake:
    """One mistake in a recipe.

    Attributes:
        place: where it is, ``recipes/mine.toml:12`` or ``--set train.epochs=x``.
        found: what was found there, in the user's own words.
        remedy: the nearest valid spelling, what is valid, or what to do.
    """

    place: str
    found: str
    remedy: str = ""

    def __str__(self) -> str:
        return f"{self.place}: {self.found}" + (f"\n    {self.remedy}" if self.remedy else "")


Severity = Literal["error", "warning", "note"]
"""Training or predicting would be wrong; a doubt that somebody should look at; a fact worth knowing."""


@dataclass(frozen=True)
class Finding:
    """One thing found in data, by a reader, a dataset or the look at all slices.

    Attributes:
        kind: a few words by which findings are grouped and counted, the same for all of a kind: ``unreadable file``.
        severity: what it means for training.
        place: the file, slice, scan, case, class or column.
        what: what was found there.
        remedy: what to do about it; the same for all of a kind, if possible.
        ids: the slices that would be left out to be rid of it; empty if that does not help.
    """

    kind: str
    severity: Severity
    place: str
    what: str
    remedy: str = ""
    ids: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.place}: {self.what}" + (f"; {self.remedy}" if self.remedy else "")


class RecipeError(GisegError):
    """A recipe that cannot be used; ``mistakes`` holds all that were found."""

    def __init__(self, source: str, mistakes: Sequence[Mistake]) -> None:
        self.source = source
        self.mistakes = tuple(mistakes)
        count = f"{len(mistakes)} mistake{'s' if len(mistakes) != 1 else ''}"
        super().__init__("\n".join([f"{source}: {count}", *(f"  {m}" for m in mistakes)]))


class ComponentError(GisegError):
    """A component or plugin that cannot be registered, found or built."""


class DataError(GisegError):
    """Files, masks or tables that are not what the dataset's format says."""


class SubmissionError(DataError):
    """A submission file that breaks the rules of its format; the message names row and reason."""


class TrainingError(GisegError):
    """Training cannot go on: a loss that is not finite, a step that is impossible."""


class RunError(GisegError):
    """A run folder that is missing, incomplete, or in the way of a new run."""


class Interrupted(KeyboardInterrupt):
    """The user (Ctrl-C) or the system (SIGTERM, SIGHUP) stopped the command; ``str()`` says what is kept.

    Attributes:
        folder: the run folder to go on in, empty if there is none.
        signum: the signal's number.
    """

    def __init__(self, text: str = "", *, folder: str = "", signum: int = 2) -> None:
        super().__init__(text)
        self.folder = folder
        self.signum = signum


def did_you_mean(word: str, options: Iterable[str], *, limit: int = 3) -> str:
    """The options nearest to a misspelled word as a sentence, or an empty string where none is near."""
    listed = list(options)
    folded = {option.casefold().replace("-", "_"): option for option in listed}
    key = word.casefold().replace("-", "_")
    near = [folded[match] for match in difflib.get_close_matches(key, folded, n=limit, cutoff=0.6)]
    if not near and word:
        near = [option for option in listed if option and (option.startswith(word) or word.startswith(option))][:limit]
    return f"did you mean {' or '.join(repr(option) for option in near)}?" if near else ""


# --- numbers in sentences ---


def count(number: int, noun: str, plural: str = "") -> str:
    """A number with its noun: ``1 scan``, ``2 scans``.

    Args:
        noun: for one.
        plural: for any other number; empty adds an s.
    """
    return f"{number} {noun if number == 1 else plural or noun + 's'}"


def listed(names: Iterable[object], *, shown: int = 5) -> str:
    """The first names in their order, and how many follow: ``a, b, c and 4 more``."""
    every = [str(name) for name in names]
    rest = f" and {len(every) - shown} more" if len(every) > shown else ""
    return ", ".join(every[:shown]) + rest


def parameters(number: int) -> str:
    """The size of a network: ``3,075 parameters``, ``7.79 million parameters``."""
    return (
        f"{number / 1e6:.2f} million parameters" if number >= 100_000 else f"{number:,} parameter{'s' * (number != 1)}"
    )


def in_short(error: BaseException) -> str:
    """Type and first line of an error."""
    return f"{type(error).__name__}: {str(error).strip()}".split("\n", 1)[0].rstrip(": ")


def in_a_sentence(text: str) -> str:
    """A sentence of its own, as it continues after a semicolon."""
    return text[:1].lower() + text[1:]
