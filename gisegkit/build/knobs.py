"""The numbers of a decision that are searched, class by class, and the decision that they make."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gisegkit.engine.tuning import State
from gisegkit.errors import DataError, did_you_mean
from gisegkit.recipe.per_class import per_class

NO_LIMIT = 1_000_000_000
"""Pixels that no hole has."""

STEPS: Mapping[str, Mapping[str, tuple[float, tuple[float, ...]]]] = {
    "fill_holes": {"largest": (0, (30, 300, 3000, NO_LIMIT))},
    "min_area": {"pixels": (1, (5, 10, 20, 50, 100, 200, 500))},
    "largest_component": {"count": (0, (1, 2))},
    "continuity": {"fill": (0, (1, 2, 3)), "remove": (0, (1, 2, 3))},
}
"""Of each step, in the order in which a recipe without it would get it: its keys, each with the value that changes
nothing and those that are tried. Areas are in pixels of the native size."""

WHERE_THERE: Mapping[str, Mapping[str, tuple[float, tuple[float, ...]]]] = {
    "min_pixels": {"pixels": (1, (5, 10, 20, 50, 100, 200, 500))},
}
"""The same of steps that are searched only where a decision has them; elsewhere presence and min_area do their work."""

KNOWN = {**STEPS, **WHERE_THERE}

THRESHOLD, PRESENCE = "threshold", "presence"
TRIED = {
    THRESHOLD: tuple(round(0.05 * number, 2) for number in range(2, 19)),
    PRESENCE: (0.0, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95),
}

NUMBERS = (*TRIED, *(f"{step}.{key}" for step, keys in STEPS.items() for key in keys))
"""Names of all numbers that can be searched."""

ALONG = "continuity"
"""The step that scans of one slice have no use for."""


@dataclass(frozen=True)
class Knob:
    """One number a class.

    Attributes:
        step: the post-processing step that it belongs to, by its place among the tables; -1 for none.
        key: of the decision, or of the step.
        neutral: the value that changes nothing, of a threshold the middle.
        values: what is tried.
    """

    name: str
    step: int
    key: str
    neutral: float
    values: tuple[float, ...]


class Knobs:
    """The numbers of a decision: those that it has, and those of steps that it could have.

    Args:
        classes: names of the K classes.
        threshold, presence: of each class, or of all.
        steps: the post-processing steps of the decision, as tables. A step that is there twice is searched once, and
            steps of plugins stay as they are.
        only: names of the numbers to search; empty searches all.
        along: whether scans have several slices.

    Raises:
        DataError: if ``only`` names a number that there is not.
    """

    def __init__(
        self,
        classes: Sequence[str],
        *,
        threshold: Sequence[float],
        presence: Sequence[float],
        steps: Sequence[Mapping[str, Any]],
        only: Collection[str] = (),
        along: bool = True,
    ) -> None:
        self.classes = tuple(classes)
        self._own = len(steps)
        missing = [name for name in STEPS if name not in [step["name"] for step in steps] and (along or name != ALONG)]
        self._tables = [dict(step) for step in steps] + [{"name": name} for name in missing]
        found = [
            (Knob(THRESHOLD, -1, THRESHOLD, 0.5, TRIED[THRESHOLD]), tuple(threshold)),
            (Knob(PRESENCE, -1, PRESENCE, 0.0, TRIED[PRESENCE]), tuple(presence)),
        ]
        there = [table["name"] for table in self._tables]
        for name in dict.fromkeys([*(name for name in KNOWN if name not in missing), *missing]):
            for key, (neutral, values) in KNOWN[name].items() if name in there else ():
                knob = Knob(f"{name}.{key}", there.index(name), key, neutral, (neutral, *values))
                found.append((knob, self._given(knob)))
        known = [knob.name for knob, _ in found]
        if unknown := [name for name in only if name not in known]:
            hint = did_you_mean(unknown[0], known) or f"there are: {', '.join(known)}"
            raise DataError(f"--only {unknown[0]}: there is no such number of a decision; {hint}")
        chosen = [(knob, values) for knob, values in found if not only or knob.name in only]
        self.knobs = tuple(knob for knob, _ in chosen)
        self.start: State = tuple(zip(*(values for _, values in chosen), strict=True))
        self._fixed = {knob.name: values for knob, values in found if knob.step < 0}

    @property
    def all_known(self) -> bool:
        """Whether no step is a plugin's."""
        return all(table["name"] in KNOWN for table in self._tables)

    def _given(self, knob: Knob) -> tuple[float, ...]:
        """What the decision says of a knob, class by class."""
        table = self._tables[knob.step]
        if knob.step >= self._own:
            return (knob.neutral,) * len(self.classes)
        value = table.get(knob.key)
        value = NO_LIMIT if value is None else value
        return tuple(per_class(value, self.classes, key=knob.name))

    def values_of(self, state: State, name: str) -> tuple[float, ...]:
        """What a state says of a number, class by class; of one that is not searched, what the decision says."""
        at = next((place for place, knob in enumerate(self.knobs) if knob.name == name), None)
        return tuple(settings[at] for settings in state) if at is not None else self._fixed[name]

    def tables(self, state: State) -> list[dict[str, Any]]:
        """The post-processing steps of a state; those that change nothing are left out unless the decision has them."""
        tables = [dict(table) for table in self._tables]
        idle = set(range(self._own, len(tables)))
        for at, knob in enumerate(self.knobs):
            if knob.step < 0:
                continue
            values = tuple(settings[at] for settings in state)
            if knob.step < self._own and values == self._given(knob):
                continue  # in the words of the decision
            tables[knob.step][knob.key] = _short(self.classes, [int(value) for value in values])
            if set(values) != {knob.neutral}:
                idle.discard(knob.step)
        for place in range(self._own, len(tables)):  # such as continuity, which closes gaps by default
            for key, (neutral, _) in STEPS[tables[place]["name"]].items():
                tables[place].setdefault(key, neutral)
        return [table for place, table in enumerate(tables) if place not in idle]

    def differences(self, before: State, after: State) -> list[str]:
        """What changes, a line a number and class."""
        return [
            f"{knob.name} of {name}: {_told(old[at])} -> {_told(new[at])}"
            for at, knob in enumerate(self.knobs)
            for name, old, new in zip(self.classes, before, after, strict=True)
            if old[at] != new[at]
        ]


def _told(value: float) -> str:
    return "no limit" if value == NO_LIMIT else f"{value:g}"


def _short(classes: Sequence[str], values: Sequence[Any]) -> Any:
    """One value, where all classes have it; else a table by class."""
    return values[0] if len(set(values)) == 1 else dict(zip(classes, values, strict=True))
