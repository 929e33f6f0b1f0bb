"""Checks a recipe against the sections and the registered components: every mistake in one pass."""

from __future__ import annotations

import ast
import functools
import inspect
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from gisegkit.errors import ComponentError, Mistake, did_you_mean
from gisegkit.machine import parse_size
from gisegkit.recipe.epochs import uncovered
from gisegkit.recipe.own_keys import fold_remedy, labels, roles
from gisegkit.recipe.renamed import former_key, new_key, new_value
from gisegkit.recipe.requirements import unmet
from gisegkit.recipe.sections import SECTIONS, ComponentSpec, Recipe
from gisegkit.recipe.text import Document, Path, header_of
from gisegkit.recipe.tta import mistakes as tta_mistakes
from gisegkit.registry.annotations import ValueType, parse_annotation, show
from gisegkit.registry.kind import Kind
from gisegkit.registry.kinds import KINDS, Component, Registries
from gisegkit.registry.signatures import REQUIRED, Parameter, Signature, Unspoken

TOP: dict[str, ValueType] = {
    "name": parse_annotation("str"),
    "seed": parse_annotation("Annotated[int, AtLeast(0)]"),
    "requires": parse_annotation("list[str]"),
    "demo": parse_annotation("bool"),
}

LONGEST_NAME = 100
"""Characters of a recipe's name; file systems allow 255 bytes, and files beside the folder get longer names."""


def check(document: Document, registries: Registries) -> tuple[Recipe | None, list[Mistake]]:
    """The Recipe that the document describes (None if a part is missing) and every mistake in it."""
    checker = Checker(document, registries)
    recipe = checker.recipe()
    return recipe, sorted(checker.mistakes, key=_line)


@functools.cache
def section_types(name: str) -> dict[str, ValueType]:
    """The checks of a section's keys."""
    tree = ast.parse(inspect.getsource(SECTIONS[name])).body[0]
    assert isinstance(tree, ast.ClassDef)  # SECTIONS holds classes
    return {
        node.target.id: parse_annotation(node.annotation)
        for node in tree.body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }


def _line(mistake: Mistake) -> tuple[int, int]:
    """File lines in order, overrides after them."""
    found = re.search(r":(\d+)$", mistake.place)
    return (0, int(found[1])) if found else (1, 0)


class Checker:
    """One pass over a document; collects mistakes and never stops at the first."""

    def __init__(self, document: Document, registries: Registries) -> None:
        self.document = document
        self.registries = registries
        self.mistakes = list(document.mistakes)
        self.wrong: set[Path] = set(document.unread)

    def note(self, path: Path, found: str, remedy: str = "") -> None:
        self.wrong.add(path)
        self.mistakes.append(Mistake(self.document.place(path), found, remedy))

    def recipe(self) -> Recipe | None:
        data = self.document.data
        kinds = [kind for kind in KINDS.values() if kind.home == "recipe"]
        known = [*TOP, *SECTIONS, *(kind.name for kind in kinds)]
        for key in data:
            if key not in known:
                what = "table" if isinstance(data[key], dict | list) else "key"
                self.unknown((key,), f"unknown {what} {key!r}", key, known)
        top = {key: self.value((key,), data[key], kind) for key, kind in TOP.items() if key in data}
        sections = {name: self.section(name) for name in SECTIONS}
        components = {kind.name: self.components(kind) for kind in kinds}
        self.top(top)
        self.across(sections, components)
        if self.mistakes:
            return None
        tables = {name: tuple(specs) for name, specs in components.items() if specs}
        top["requires"] = tuple(top.get("requires", ()))
        source, notes = self.document.source, tuple(self.document.notes)
        return Recipe(**top, **sections, tables=tables, source=source, header=header_of(source), notes=notes)

    def top(self, top: Mapping[str, Any]) -> None:
        name = top.get("name")
        if "name" not in self.document.data and ("name",) not in self.wrong:
            self.note(("name",), "the recipe has no name", 'write name = "my_recipe" at its top')
        elif isinstance(name, str) and not re.fullmatch(r"[A-Za-z0-9][\w.-]*", name):
            self.note(("name",), f"{show(name)} cannot name a folder", "use letters, digits, _ and -")
        elif isinstance(name, str) and len(name) > LONGEST_NAME:
            found = f"the name has {len(name)} characters, and names a folder"
            self.note(("name",), found, f"Valid: up to {LONGEST_NAME} characters.")
        for text, reason in unmet(top.get("requires") or ()):
            self.note(("requires",), f"{text!r} {reason}")

    def value(self, path: Path, value: Any, kind: ValueType) -> Any:
        """The converted value; notes a mistake where it is of another type or out of range."""
        try:
            return kind.convert(value)
        except ValueError as error:
            key = ".".join(map(str, path))
            self.note(path, f"{key} = {show(value)}", " ".join(filter(None, [str(error), f"Valid: {kind.text}."])))
            return None

    def current(self, path: Path, table: str, name: str, value: Any, kind: ValueType) -> Any:
        """The converted value; one that was renamed is a mistake that names the new one."""
        key = str(path[-1])
        now = new_value(table, name, key, value)
        if now is None:
            return self.value(path, value, kind)
        self.note(path, f"{key} = {show(value)} is now {key} = {show(now)}", f"write {key} = {show(now)}")
        return None

    def section(self, name: str) -> Any:
        table = self.document.data.get(name, {})
        if not isinstance(table, dict):
            self.note((name,), f"{name} = {show(table)}", f"[{name}] is a table")
            table = {}
        types = section_types(name)
        values = {}
        for key, value in table.items():
            if key in types:
                values[key] = self.current((name, key), name, "", value, types[key])
            elif said := former_key(name, key, value):
                self.note((name, key), *said)
            else:
                self.unknown((name, key), f"unknown key {key!r} in [{name}]", key, types)
        return SECTIONS[name](**{key: value for key, value in values.items() if value is not None})

    def unknown(self, path: Path, found: str, key: str, valid: Iterable[str]) -> None:
        options = list(valid)
        remedy = " ".join(filter(None, [did_you_mean(key, options), f"Valid: {', '.join(options) or 'none'}."]))
        self.note(path, found, remedy)

    def components(self, kind: Kind) -> list[ComponentSpec]:
        tables = self.document.data.get(kind.name)
        if tables is None:
            if kind.needed:
                found = f"the recipe has no {kind.table}"
                self.note((kind.name,), found, f"There are: {', '.join(self.registries[kind.name])}.")
            return [self.filled(kind, {"name": name}, (kind.name,)) for name in kind.default]
        right = list | dict if kind.several else list if kind.many else dict
        if not isinstance(tables, right):
            remedy = f"write {kind.table} above its lines"
            if kind.home != "plan":
                remedy += f", or --set {kind.name}{'.0' if kind.many else ''}.name=..."
            self.note((kind.name,), f"{kind.name} is not written as {kind.table}", remedy)
            return []
        if isinstance(tables, dict):
            return [self.filled(kind, tables, (kind.name,))]
        specs = []
        for index, table in enumerate(tables):
            if isinstance(table, dict):
                specs.append(self.filled(kind, table, (kind.name, index)))
            else:
                self.note((kind.name,), f"{kind.name} = {show(tables)}", f"write {kind.table} above its lines")
        if (kind.needed or kind.default) and tables == []:
            self.note((kind.name,), f"no {kind.name}", f"write {kind.table} and a name")
        return specs

    def filled(self, kind: Kind, table: Mapping[str, Any], path: Path) -> ComponentSpec:
        """One component with every default; notes unknown names and unknown, wrong, missing or settled parameters."""
        name = table.get("name")
        empty = ComponentSpec(kind.name, str(name))
        if not isinstance(name, str):
            found = f"{kind.table} has no name" if name is None else f"{kind.name}.name = {show(name)}"
            if (*path, "name") not in self.wrong:
                self.note((*path, "name"), found, f"There are: {', '.join(self.registries[kind.name])}.")
            return empty
        if name not in self.registries[kind.name]:
            advice = self.registries[kind.name].advice(name)
            self.note((*path, "name"), f"unknown {kind.name} {name!r}", advice)
            return empty
        component = self.registries[kind.name].get(name)
        try:
            signature = component.signature()
        except ComponentError as error:
            self.note((*path, "name"), str(error), "its plugin is defective")
            return empty
        own = {"name", *kind.keys}
        if own & signature.parameters.keys():
            taken = min(own & signature.parameters.keys())
            found = f"{kind.name} {name!r} of {component.owner} has a parameter {taken!r}"
            self.note((*path, "name"), found, "this name is reserved in recipes; the plugin must rename it")
        given = {key: value for key, value in table.items() if key not in own}
        params = self.params(component, signature, given, path)
        common = {key: self.value((*path, key), table[key], kind.keys[key].type) for key in table if key in kind.keys}
        common = {key: value for key, value in common.items() if value is not None}
        return ComponentSpec(kind.name, name, params, common, place=self.document.place(path))

    def params(
        self, component: Component, signature: Signature, given: Mapping[str, Any], path: Path
    ) -> dict[str, Any]:
        handed = KINDS[component.kind].given
        label = f"{component.kind} {component.name!r}"
        open_parameters = {name: item for name, item in signature.parameters.items() if name not in handed}
        values: dict[str, Any] = {}
        for key, value in given.items():
            if key in handed:
                self.note((*path, key), f"{key!r} of {label} is set by {handed[key]}", "remove the line")
            elif key in open_parameters:
                kind = open_parameters[key].type
                values[key] = self.current((*path, key), component.kind, component.name, value, kind)
            elif now := new_key(component.kind, component.name, key):
                self.note((*path, key), f"{key} of {label} is now {now}", f"write {now} = {show(value)}")
            elif signature.open:
                values[key] = value
            else:
                valid = [*open_parameters, *KINDS[component.kind].keys]
                self.unknown((*path, key), f"unknown parameter {key!r} of {label}", key, valid)
        for key, parameter in open_parameters.items():
            if key in given or (*path, key) in self.wrong:
                continue
            if parameter.default is REQUIRED:
                place = (*path, "name") if (*path, "name") in self.document.overrides else path
                self.note(place, f"{label} needs the parameter {key!r}", f"write {key} = ... ({parameter.type.text})")
            elif parameter.default is not None and not isinstance(parameter.default, Unspoken):
                values[key] = self.default(parameter)
        order = [*open_parameters, *(key for key in values if key not in open_parameters)]
        return {key: values[key] for key in order if values.get(key) is not None}

    @staticmethod
    def default(parameter: Parameter) -> Any:
        """A default as a recipe would give it; None, which leaves it to the factory, where a recipe may not."""
        try:
            return parameter.type.convert(parameter.default)
        except ValueError:
            return None

    def across(self, sections: Mapping[str, Any], components: Mapping[str, list[ComponentSpec]]) -> None:
        """What holds between keys."""
        split, train, input_ = sections["split"], sections["train"], sections["input"]
        if self.right("split.folds", "split.fold") and (remedy := fold_remedy(split)):
            self.note(("split", "fold"), f"split.fold = {show(split.fold)}", remedy)
        if input_.slices % 2 == 0:
            valid = "Valid: an odd number, so that one is central."
            self.note(("input", "slices"), f"input.slices = {input_.slices}", valid)
        for path, size in ((("train", "memory"), train.memory), (("input", "store_limit"), input_.store_limit)):
            self.size(path, size)
        for found, remedy in tta_mistakes(sections["predict"].tta, input_.size):
            self.note(("predict", "tta"), found, remedy)
        self.epochs(train.epochs, components["loss"])
        explicit = 0 if train.micro_batch == "auto" else train.micro_batch
        if explicit > train.batch_size and self.right("train.batch_size", "train.micro_batch"):
            remedy = f"Valid: up to train.batch_size = {train.batch_size}; 0 is the whole batch."
            self.note(("train", "micro_batch"), f"train.micro_batch = {train.micro_batch}", remedy)
        found_roles = () if any(path[:1] == ("dataset",) for path in self.wrong) else roles(components["dataset"])
        for mistake in (*found_roles, *labels(components["metric"])):
            self.note(*mistake)
        names = [spec.label for spec in components["metric"]]
        if any(path[:1] == ("metric",) for path in self.wrong):
            return
        if train.monitor and not any(f"{train.monitor}/".startswith(f"{name}/") for name in names):
            found = f"train.monitor = {show(train.monitor)} is no metric"
            self.unknown(("train", "monitor"), found, train.monitor, names)

    def size(self, path: tuple[str, str], text: str) -> None:
        """A number of bytes, or auto."""
        try:
            if text != "auto":
                parse_size(text)
        except ValueError as error:
            self.note(path, f"{'.'.join(path)} = {show(text)}", f'Valid: "auto" or {error}.')

    def epochs(self, epochs: int, losses: Sequence[ComponentSpec]) -> None:
        """Every loss counts in some epoch, and every epoch has a loss that counts."""
        if any(path[:1] == ("loss",) for path in self.wrong) or not self.right("train.epochs"):
            return
        for index, spec in enumerate(losses):
            if 0 < spec.end_epoch < spec.start_epoch:
                found = f"loss {spec.name!r} ends in epoch {spec.end_epoch}, before it starts in {spec.start_epoch}"
                self.note(("loss", index, "end_epoch"), found, f"Valid: {spec.start_epoch} or more; 0 is the last.")
            elif spec.start_epoch > epochs:
                found = f"loss {spec.name!r} starts in epoch {spec.start_epoch}, and train.epochs = {epochs}"
                self.note(("loss", index, "start_epoch"), found, f"Valid: 1 to {epochs}.")
        first, idle = uncovered(epochs, losses)
        if losses and idle and not any(path[:1] == ("loss",) for path in self.wrong):
            others = f" and {idle - 1} other{'s' if idle > 2 else ''}" if idle > 1 else ""
            found = f"no loss counts in epoch {first}{others}"
            self.note(("loss",), found, "let start_epoch and end_epoch of the losses cover every epoch")

    def right(self, *keys: str) -> bool:
        """Whether none of these keys was found wrong; else a default takes its place, and a comparison misleads."""
        return not any(tuple(key.split(".")) in self.wrong for key in keys)
