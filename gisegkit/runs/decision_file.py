"""``decision.json`` beside the weights of a run: how its probabilities become masks.

It is made of the recipe when a run begins to train, says the same with every class named, and travels with the weights.
Whoever finds better thresholds writes another one; from then on it is what counts, and what it changes is said. An
override (``--set evaluate.threshold=0.4``) counts more than the file.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gisegkit.errors import DataError, RunError
from gisegkit.recipe.per_class import per_class
from gisegkit.recipe.sections import Recipe
from gisegkit.runs.files import jsonable, read_table

NAME = "decision.json"
FORMAT = 1
"""The version of the file."""

TYPES = {"classes": list, "exclusive": bool, "threshold": dict, "presence": dict, "postprocess": list}


@dataclass(frozen=True)
class StoredDecision:
    """What the file holds.

    Attributes:
        classes: names of the K classes, in the order of the masks' last axis.
        exclusive: whether a pixel belongs to one class at most.
        threshold: by class, the probability from which a pixel belongs to it.
        presence: by class, the probability that a slice must reach somewhere.
        postprocess: the steps as tables, in their order.
    """

    classes: tuple[str, ...]
    exclusive: bool
    threshold: Mapping[str, float]
    presence: Mapping[str, float]
    postprocess: tuple[Mapping[str, Any], ...]

    @classmethod
    def of_recipe(cls, recipe: Recipe, classes: Sequence[str], *, exclusive: bool) -> StoredDecision:
        """What a recipe says.

        Raises:
            DataError: if it has a threshold for a class that there is not.
        """
        values = {
            key: dict(
                zip(classes, per_class(getattr(recipe.evaluate, key), classes, key=f"evaluate.{key}"), strict=True)
            )
            for key in ("threshold", "presence")
        }
        return cls(tuple(classes), exclusive, values["threshold"], values["presence"], _steps(recipe))

    @classmethod
    def read(cls, file: Path) -> StoredDecision:
        """The file's decision.

        Raises:
            RunError: if it is damaged, or of a format that is not read here.
        """
        content = read_table(file)
        restore = "restore it from a copy of the run, or delete it to decide as the run's recipe says"
        if content.get("format") != FORMAT:
            found = content.get("format", "none")
            raise RunError(f"{file} is of format {found}, and this gisegkit reads format {FORMAT}; {restore}")
        wrong = [key for key, kind in TYPES.items() if not isinstance(content.get(key), kind)]
        classes = [] if wrong else content["classes"]
        for key in () if wrong else ("threshold", "presence"):
            if list(content[key]) != classes or not all(map(_is_probability, content[key].values())):
                wrong.append(f"{key} (a number from 0 to 1 for each of {', '.join(map(str, classes))})")
        if wrong:
            raise RunError(f"{file} is damaged: what is wrong is {', '.join(wrong)}; {restore}")
        threshold, presence = (
            {name: float(value) for name, value in content[key].items()} for key in ("threshold", "presence")
        )
        return cls(tuple(classes), content["exclusive"], threshold, presence, tuple(content["postprocess"]))

    def as_dict(self) -> dict[str, Any]:
        """What is written to the file."""
        content: dict[str, Any] = jsonable({"format": FORMAT, **asdict(self)})
        return content

    def presets(self, recipe: Recipe, file: Path) -> list[tuple[str, Any, str]]:
        """(key, value, origin) of what the file says otherwise than the recipe, as ``load_recipe`` takes them."""
        evaluate = {"threshold": recipe.evaluate.threshold, "presence": recipe.evaluate.presence}
        keys = self.differs_in({"evaluate": evaluate, "postprocess": jsonable(_steps(recipe))})
        values: dict[str, Any] = {
            "evaluate.threshold": _short(self.threshold),
            "evaluate.presence": _short(self.presence),
            "postprocess": [dict(step) for step in self.postprocess],
        }
        return [(key, values[key], str(file)) for key in keys]

    def differs_in(self, filled: Mapping[str, Any]) -> tuple[str, ...]:
        """The keys of a filled recipe, as a table, in which the decision is another.

        Args:
            filled: what an evaluation's ``recipe.toml`` holds.
        """
        evaluate = filled.get("evaluate", {})
        keys = []
        for key, own in (("threshold", self.threshold), ("presence", self.presence)):
            try:
                same = per_class(evaluate.get(key), self.classes, key=key) == tuple(own.values())
            except DataError:  # the recipe is of other classes
                same = False
            keys += [] if same else [f"evaluate.{key}"]
        return (*keys, *(() if list(self.postprocess) == filled.get("postprocess", []) else ("postprocess",)))

    def verify(self, file: Path, classes: Sequence[str], *, exclusive: bool) -> None:
        """Check that the decision is of this network.

        Raises:
            RunError: if it is for other classes, or for classes that exclude one another where these do not.
        """
        if self.classes != tuple(classes) or self.exclusive != exclusive:
            words = {True: "exclusive", False: "independent"}
            raise RunError(
                f"{file} is for the {words[self.exclusive]} classes {', '.join(self.classes)}, the network has the "
                f"{words[exclusive]} classes {', '.join(classes)}; the file belongs to another run: restore it, or "
                "delete it to decide as the run's recipe says"
            )


def _short(by_class: Mapping[str, float]) -> float | dict[str, float]:
    """One number where all classes have the same."""
    values = set(by_class.values())
    return values.pop() if len(values) == 1 else dict(by_class)


def _steps(recipe: Recipe) -> tuple[Mapping[str, Any], ...]:
    return tuple(spec.as_dict() for spec in recipe.postprocess)


def _is_probability(value: object) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and math.isfinite(value) and 0 <= value <= 1  # type: ignore[arg-type, operator]
