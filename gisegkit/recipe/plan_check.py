"""Checks a plan file and finds its cells: every mistake in one report, each with its place and a remedy."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from gisegkit.errors import Mistake, did_you_mean
from gisegkit.recipe.plan import STEPS, Cell, Plan
from gisegkit.recipe.plan_cells import combined, joined_keys, short_key, short_name, word_of
from gisegkit.recipe.plan_keys import keys_of, replaced, twice
from gisegkit.recipe.plan_parts import part_kinds
from gisegkit.recipe.plan_tables import TABLES, TOP
from gisegkit.recipe.text import Document, value_text
from gisegkit.recipe.text import Path as Keys
from gisegkit.registry.annotations import show


def as_plan(document: Document, *, demo: bool = False, small: Collection[str] = ()) -> Plan:
    """The plan that a document describes, with every mistake in it.

    Args:
        demo: whether its ``[demo]`` counts.
        small: keys that a demo sets itself, so that what the plan sets of them is left out.
    """
    reader = _Reader(document, small if demo else (), demo=demo)
    reader.read()
    return reader.plan


class _Reader:
    """Goes through a document and notes what is wrong."""

    def __init__(self, document: Document, small: Collection[str], *, demo: bool) -> None:
        self.document, self.small, self.demo = document, small, demo
        stem = Path(document.source).stem
        self.plan = Plan(document.source, stem, mistakes=list(document.mistakes))

    def note(self, path: Keys, found: str, remedy: str) -> None:
        self.plan.mistakes.append(Mistake(self.document.place(path), found, remedy))

    def read(self) -> None:
        data = self.document.data
        if not data and self.plan.mistakes:
            return  # it is not TOML, which is told
        if "model" in data and "run" not in data:
            self.note((), "this is a recipe, and a plan is asked for", f"giseg run {self.document.source}")
            return
        valid = (*TOP, *part_kinds())
        for key in data:
            if key not in valid:
                self.unknown((key,), f"unknown key {key!r} in a plan", key, valid)
        if (name := data.get("name")) is not None:
            self.plan.name = name if self.named(("name",), name) else self.plan.name
        for key in ("ensemble", "gate", "tune", "predict"):
            if key in data:
                self.plan.tables[key] = self.table(key, data[key], (key,))
        demo = data.get("demo", {})
        if not isinstance(demo, dict):
            self.note(("demo",), f"demo = {show(demo)}", "[demo] is a table of keys and values")
            demo = {}
        runs = data.get("run", [])
        if not isinstance(runs, list) or not runs or not all(isinstance(run, dict) for run in runs):
            found = "run is not written as [[run]]" if runs else "the plan has no [[run]]"
            self.note(("run",), found, "write [[run]] and recipe = ...")
            runs = []
        for at, run in enumerate(runs):
            self.run(run, ("run", at), keys_of(self.document, demo, ("demo",)) if self.demo else {})
        self.unique()
        if isinstance(data.get("search"), dict):
            self.searched(data["search"])
        self.after()

    def searched(self, table: Mapping[str, Any]) -> None:
        """The run whose settings a search chooses; it is no cell itself."""
        names = list(dict.fromkeys(cell.run for cell in self.plan.cells))
        name = table.get("run", names[0] if len(names) == 1 else None)
        if name is None and names:
            self.note(("search",), f"[search] of which of the {len(names)} runs?", f"write run = {show(names[0])}, say")
        found = [] if name is None else self.cells_of(str(name), ("search", "run"))
        if len(found) > 1:
            remedy = "a search gives the values itself: remove vary and seeds, or name another run"
            self.note(("search",), f"{show(name)} has {len(found)} cells", remedy)
        elif found:
            (self.plan.searched,) = (cell for cell in self.plan.cells if cell.name == found[0])
            self.plan.cells.remove(self.plan.searched)
            if not self.plan.cells and (after := [key for key in ("tune", "predict") if key in self.plan.tables]):
                remedy = "write the best values into a recipe, and name that in a plan"
                self.note((after[0],), f"[{after[0]}] of which of the trials?", remedy)

    def unknown(self, path: Keys, found: str, key: str, valid: Iterable[str]) -> None:
        options = list(valid)
        remedy = " ".join(filter(None, [did_you_mean(key, options), f"Valid: {', '.join(options)}."]))
        self.note(path, found, remedy)

    def named(self, path: Keys, name: object) -> bool:
        """Whether a text can name a folder."""
        right = isinstance(name, str) and re.fullmatch(r"[A-Za-z0-9][\w.-]{0,99}", name) is not None
        if not right:
            self.note(path, f"{show(name)} cannot name a folder", "use letters, digits, _ and -")
        return right

    def table(self, kind: str, table: object, path: Keys) -> dict[str, Any]:
        """The checked values of a table."""
        found: dict[str, Any] = {}
        if not isinstance(table, dict):
            self.note(path, f"{kind} = {show(table)}", f"[{kind}] is a table")
            return found
        for key, value in table.items():
            if key not in TABLES[kind]:
                self.unknown((*path, key), f"unknown key {key!r} in [{kind}]", key, TABLES[kind])
                continue
            try:
                found[key] = TABLES[kind][key].convert(value)
            except ValueError as error:
                valid = f"Valid: {TABLES[kind][key].text}."
                self.note((*path, key), f"{key} = {show(value)}", " ".join(filter(None, [str(error), valid])))
        return found

    # --- runs ---------------------------------------------------------------------------------------------------------

    def run(self, table: Mapping[str, Any], path: Keys, demo: Mapping[str, tuple[Any, str]]) -> None:
        """The cells of one ``[[run]]``."""
        before = len(self.plan.mistakes)
        values = self.table("run", table, path)
        recipe = values.get("recipe")
        if not recipe:
            if "recipe" not in table or recipe == "":
                self.note((*path, "recipe"), "[[run]] has no recipe", 'write recipe = "../recipes/unet.toml"')
            return
        name = values.get("name", Path(recipe).stem)
        if not self.named((*path, "name"), name):
            return
        if name in STEPS:
            self.note((*path, "name"), f"{show(name)} is what a step after the runs is called", "choose another name")
        settings = keys_of(self.document, values.get("set", {}), (*path, "set"))
        self.check_twice(values, path)
        if "folds" in values:
            settings["split.fold"] = (values["folds"], self.document.place((*path, "folds")))
        vary = keys_of(self.document, values.get("vary", {}), (*path, "vary"))
        if "seeds" in values:
            vary["seed"] = (values["seeds"], self.document.place((*path, "seeds")))
        self.check_vary(vary, settings, str(values.get("combine", "cross")), path)
        self.check_order(vary, settings, demo)
        if len(self.plan.mistakes) > before:
            return
        settings = self.without_small(name, settings)
        file = Path(self.document.source).parent / recipe
        joined = joined_keys(vary)
        for chosen in combined(vary, str(values.get("combine", "cross"))):
            given = {**settings, **chosen, **demo}
            texts = {f"{key}={value_text(value)}": place for key, (value, place) in given.items()}
            places = {str(file): self.document.place((*path, "recipe")), **texts}
            words = {key: f"-{short_key(key)}{word_of(value)}" for key, (value, _) in chosen.items()}
            setting = name + "".join(word for key, word in words.items() if key not in joined)
            cell = short_name(name + "".join(words.values()))
            self.plan.cells.append(Cell(cell, name, file, tuple(texts), places, short_name(setting)))

    def check_vary(
        self, vary: Mapping[str, tuple[Any, str]], settings: Mapping[str, Any], combine: str, path: Keys
    ) -> None:
        for key, (values, place) in vary.items():
            if not isinstance(values, list) or not values:
                remedy = f"give a list of values: {key} = [...]"
                self.plan.mistakes.append(Mistake(place, f"vary: {key} = {show(values)}", remedy))
            elif combine == "cross" and any(values.count(value) > 1 for value in values):
                self.plan.mistakes.append(Mistake(place, f"{key} = {show(values)} has a value twice", "give it once"))
            if key in settings:
                self.plan.mistakes.append(Mistake(place, f"{key} is varied and set", "keep one of the two"))
        lists = {key: values for key, (values, _) in vary.items() if isinstance(values, list)}
        lengths = {key: len(values) for key, values in lists.items() if key != "seed"}
        if combine == "zip" and len(set(lengths.values())) > 1:
            found = ", ".join(f"{key} has {number} values" for key, number in lengths.items())
            self.note((*path, "combine"), f'combine = "zip", and {found}', "give lists of one length, or combine cross")
        seeds = lists.get("seed", [])
        rows = list(zip(*(lists[key] for key in lengths), strict=False))
        if combine == "zip" and any(row in rows[:at] for at, row in enumerate(rows)):
            self.note((*path, "vary"), "two rows of the zipped lists are the same", "give it once")
        if combine == "zip" and len(set(seeds)) < len(seeds):
            self.note((*path, "seeds"), f"seed = {show(seeds)} has a value twice", "give it once")

    def check_twice(self, values: Mapping[str, Any], path: Keys) -> None:
        """That no key is given twice, of which one would be dropped."""
        tables = {name: values.get(name, {}) for name in ("set", "vary")}
        for name, table in tables.items():
            for key in twice(table):
                self.note((*path, name), f"{key} is there twice", "keep one of the two")
        for own, name, key in (("folds", "set", "split.fold"), ("seeds", "vary", "seed")):
            if own in values and key in keys_of(self.document, tables[name], ()):
                self.note((*path, own), f"{own} is given, and {key} in {name}", "keep one of the two")

    def check_order(
        self,
        vary: Mapping[str, tuple[Any, str]],
        settings: Mapping[str, tuple[Any, str]],
        demo: Mapping[str, tuple[Any, str]],
    ) -> None:
        """That no setting is replaced by a later one; only ``[demo]`` replaces what is set."""
        own = {**settings, **vary}
        for key, later in replaced(list(own)):
            found = f"{later} replaces {key}, which is given as well"
            self.plan.mistakes.append(Mistake(own[later][1], found, "leave one of the two out"))
        for key, later in replaced([*vary, *demo]):
            if key in vary and later in demo:
                found = f"{later} in [demo] replaces {key}, which is varied"
                self.plan.mistakes.append(Mistake(demo[later][1], found, "leave it out of [demo]"))

    def without_small(self, name: str, settings: dict[str, tuple[Any, str]]) -> dict[str, tuple[Any, str]]:
        """The settings without those that a demo sets itself, which are noted."""
        kept = {
            key: value
            for key, value in settings.items()
            if key == "split.fold" or not self.demo or (key not in self.small and not key.startswith("dataset"))
        }
        if left := [key for key in settings if key not in kept]:
            self.plan.notes.append(f"demo: {name} leaves out what the plan sets of {', '.join(left)}")
        return kept

    def unique(self) -> None:
        """Every cell has a folder of its own."""
        numbers = Counter(cell.name.casefold() for cell in self.plan.cells)
        for at, run in enumerate(dict.fromkeys(cell.run for cell in self.plan.cells)):
            twice = [cell.name for cell in self.plan.cells if cell.run == run and numbers[cell.name.casefold()] > 1]
            if twice:
                found = f"several runs are called {twice[0]}"
                self.note(("run", at), found, 'give each [[run]] a name of its own: name = "..."')

    # --- what follows -------------------------------------------------------------------------------------------------

    def after(self) -> None:
        """The members of the ensemble, the gate, and whether it is clear what is tuned and predicted."""
        tables, cells = self.plan.tables, self.plan.cells
        if "gate" in tables:
            gate = tables["gate"].get("run")
            if gate is None and "run" not in self.document.data["gate"]:
                self.note(("gate",), "[gate] has no run", 'write run = "NAME" of a [[run]]')
            found = [] if gate is None else self.cells_of(gate, ("gate", "run"))
            if len(found) > 1:
                names = ", ".join(found)
                self.note(("gate", "run"), f"{show(gate)} has {len(found)} cells", f"name one of them: {names}")
            self.plan.gate = found[0] if found else ""
        if "ensemble" in tables or self.plan.gate:
            self.ensemble(tables.get("ensemble", {}))
        elif len(cells) > 1 and (after := [key for key in ("tune", "predict") if key in tables]):
            self.note((after[0],), f"[{after[0]}] of which of the {len(cells)} cells?", "write [ensemble] as well")
        if not ("ensemble" in tables or self.plan.gate) or self.plan.members or self.plan.mistakes:
            return
        if self.plan.gate:
            self.note(("gate",), "the only run is the gate, and nothing is left for it to empty", "add a [[run]]")
        else:
            remedy = "name a [[run]] in runs; trials of a search are no members, so write the best values into a recipe"
            self.note(("ensemble",), "[ensemble] has no runs", remedy)

    def ensemble(self, table: Mapping[str, Any]) -> None:
        path = ("ensemble", "runs")
        others = [cell for cell in self.plan.cells if cell.name != self.plan.gate]
        names = table.get("runs", list(dict.fromkeys(cell.run for cell in others)))
        weights = table.get("weights", [1.0] * len(names))
        if "weights" in table and table.get("greedy"):
            self.note(("ensemble", "weights"), "weights are given, and greedy = true chooses them", "keep one of them")
        if "rounds" in table and not table.get("greedy"):
            self.note(("ensemble", "rounds"), "rounds are those of greedy = true, which is not there", "add it")
        if len(weights) != len(names):
            found = f"{len(weights)} weights for {len(names)} runs"
            self.note(("ensemble", "weights"), found, f"give one for each: {', '.join(names)}")
        for name, weight in zip(names, weights, strict=False):
            named = self.cells_of(name, path)
            if "runs" not in table:
                named = [cell for cell in named if cell != self.plan.gate]
            for cell in named:
                if cell in self.plan.members:
                    self.note(path, f"{cell} is named twice", "name it once")
                self.plan.members[cell] = weight / len(named)

    def cells_of(self, name: str, path: Keys) -> list[str]:
        """The cells of a run, or the cell of that name; notes where there is none."""
        cells = self.plan.cells
        found = [cell.name for cell in cells if cell.run == name] or [cell.name for cell in cells if cell.name == name]
        if not found and not self.plan.mistakes:
            options = dict.fromkeys([*(cell.run for cell in cells), *(cell.name for cell in cells)])
            self.unknown(path, f"there is no run {show(name)}", name, options)
        return found
