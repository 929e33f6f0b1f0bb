"""The contract check of searches finds those that break it; each is ``random`` but for one thing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gisegkit.components.searches import Random
from gisegkit.testing import ContractError, check_search
from gisegkit.types import Trial


class Outside(Random):
    def values(self, number):
        return super().values(number) | {"optimizer.lr": 1.0}


class Halves(Random):
    def values(self, number):
        return super().values(number) | {"input.slices": 1.5}


class Other(Random):
    def values(self, number):
        return super().values(number) | {"augmentation.name": "final"}


class Incomplete(Random):
    def values(self, number):
        return {"optimizer.lr": 1e-2}


class Forgets(Random):
    """Begins anew with each plan."""

    def __init__(self, *, hunt):
        super().__init__(hunt=replace(hunt, trials=()))


class Eager(Random):
    def prune(self, number, course):
        return "never mind"


class Yes(Random):
    def prune(self, number, course):
        return False


class Once(Random):
    """Does not take that a failed trial is done now."""

    def __init__(self, *, hunt):
        super().__init__(hunt=hunt)
        self.ends = {}

    def tell(self, number, score, end):
        if number in self.ends and self.ends[number] != end:
            raise ValueError("told before")
        self.ends[number] = end


class Stops(Random):
    def ask(self):
        return super().ask() if self.next < 3 else None


class Loose(Random):
    def ask(self):
        return {"optimizer.lr": 1e-2}


class Sizeless(Random):
    size = 0


def test_right_searches_pass(tmp_path):
    check_search(Random, tmp_path)


@pytest.mark.parametrize(
    ("search", "message"),
    [
        (Outside, r"optimizer\.lr = 1\.0 is not in the space"),
        (Halves, r"input\.slices = 1\.5 is not in the space"),
        (Other, r"augmentation\.name = 'final' is not in the space"),
        (Incomplete, r"a trial has values of \['optimizer\.lr'\], and not of"),
        (Forgets, "ask gives trial 0 twice"),
        (Eager, "it prunes the best trial so far: never mind"),
        (Yes, "prune returns False, not a text"),
        (
            Once,
            "tell of a failed trial that is done now: it raises ValueError: told before",
        ),
        (Stops, "ask returns None after 3 trials of None"),
        (Loose, "not a gisegkit.types.Trial"),
        (Sizeless, "size is 0, neither None nor a number above 0"),
    ],
)
def test_wrong_searches_are_found(tmp_path, search, message):
    with pytest.raises(ContractError, match=message):
        check_search(search, tmp_path)


def test_numbers_must_be_numbers(tmp_path):
    class Named(Random):
        def ask(self):
            return Trial("a", super().ask().values)

    with pytest.raises(ContractError, match="a trial's number is 'a'"):
        check_search(Named, tmp_path)
