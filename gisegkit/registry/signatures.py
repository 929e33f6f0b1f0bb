"""A component's parameters, defaults, types and help, read from its source with ``ast``.

The factory's signature is its schema. Reading the source instead of importing it keeps ``giseg list-components``,
``describe`` and ``check`` free of torch, and shows a component whose own imports are broken.
"""

from __future__ import annotations

import ast
import functools
import importlib.util
import inspect
import math
import re
import sys
import textwrap
from dataclasses import dataclass
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

from gisegkit.errors import ComponentError
from gisegkit.registry.annotations import ValueType, parse_annotation

Definition = ast.FunctionDef | ast.ClassDef


class Unspoken:
    """A default that a recipe cannot spell: there is none (REQUIRED), or it is no literal."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text


REQUIRED = Unspoken("required")


@dataclass(frozen=True)
class Parameter:
    """One parameter of a component.

    Attributes:
        annotation: as written, ``Annotated[float, Between(0, 1)]``; empty if there is none.
        type: the same as a check.
        default: its value; REQUIRED if there is none; a ``Unspoken`` with the source text where it is no literal.
        help: its entry in the docstring's ``Args:`` section.
        line: its line in the source file.
    """

    name: str
    annotation: str
    type: ValueType
    default: Any
    help: str
    line: int

    @property
    def required(self) -> bool:
        return self.default is REQUIRED


@dataclass(frozen=True)
class Signature:
    """What ``giseg describe`` shows of a component: parameters by name, docstring, place."""

    parameters: dict[str, Parameter]
    doc: str
    file: str
    line: int
    open: bool
    """True if the factory takes ``**keywords``, so that unknown parameters can't be refused by name."""

    @property
    def summary(self) -> str:
        """The docstring's first line."""
        return self.doc.strip().split("\n", 1)[0]

    @property
    def paper(self) -> str:
        """What follows ``Paper:`` in the docstring, or an empty string."""
        found = re.search(r"^\s*Papers?:\s*(.+?)(?=\n\s*\n|\n\s*\w+:\s|\Z)", self.doc, re.MULTILINE | re.DOTALL)
        return " ".join(found[1].split()) if found else ""


@functools.cache
def read_path(path: str) -> Signature:
    """The signature at an import path ``package.module:name``, without importing the module.

    Raises:
        ComponentError: if the path has another form, or no such module, or no such name in it.
    """
    module, colon, name = path.partition(":")
    if not colon or not module or not name:
        raise ComponentError(f"{path!r} is no import path; write it as 'package.module:name'")
    file = _source_file(module)
    if file is None:
        raise ComponentError(f"{path!r}: no module {module!r} with a source file")
    return _read(file, name)


def _source_file(module: str) -> Path | None:
    """Where a module's source is. Unlike importlib's ``find_spec(module)`` this imports no package around it."""
    top, *inner = module.split(".")
    try:
        spec = importlib.util.find_spec(top) if top else None
    except ValueError:  # a module such as __main__, which came from no import
        spec = None
    for part in inner:
        folders = None if spec is None else spec.submodule_search_locations
        spec = None if folders is None else PathFinder.find_spec(part, list(folders))
    origin = "" if spec is None else str(spec.origin)
    return Path(origin) if origin.endswith(".py") else None


def read_object(target: Any) -> Signature:
    """The signature of a function or class that a plugin handed over itself.

    Raises:
        ComponentError: if it is neither, or its source file cannot be found.
    """
    target = inspect.unwrap(target)  # inside decorators, as far as they used functools.wraps
    if not (inspect.isfunction(target) or inspect.isclass(target)):
        raise ComponentError(f"{target!r} is neither a function, a class nor an import path 'package.module:name'")
    try:
        file = inspect.getsourcefile(target)
    except TypeError:  # a class that is built in
        file = None
    if file is None:
        raise ComponentError(f"{target!r}: its source file cannot be found")
    return _read(Path(file), target.__qualname__)


@functools.cache
def _tree(file: Path) -> ast.Module:
    return ast.parse(file.read_bytes(), filename=str(file))


def _read(file: Path, name: str) -> Signature:
    body: list[ast.stmt] = _tree(file).body
    found: Definition | None = None
    for part in name.split("."):
        matches = [node for node in body if isinstance(node, Definition) and node.name == part]
        if not matches:
            raise ComponentError(f"{file} has no top-level function or class {name!r}; give the module that defines it")
        found = matches[-1]
        body = found.body
    assert found is not None  # str.split gives at least one part
    arguments, doc, helps = _arguments(found, file)
    return Signature(_parameters(arguments, helps), doc, str(file), found.lineno, bool(arguments.kwarg))


def _arguments(node: Definition, file: Path) -> tuple[ast.arguments, str, dict[str, str]]:
    """The arguments that are the parameters, the docstring (of the class, then of its __init__), and help by name.

    What the module's own docstring says in ``Args:`` helps with all that it defines.
    """
    doc, shared = ast.get_docstring(node) or "", _argument_help(ast.get_docstring(_tree(file)) or "")
    if isinstance(node, ast.FunctionDef):
        return node.args, doc, shared | _argument_help(doc)
    for statement in reversed(node.body):  # the last one counts: those before it may be overloads
        if isinstance(statement, ast.FunctionDef) and statement.name == "__init__":
            doc = "\n\n".join(filter(None, [doc, ast.get_docstring(statement)]))
            return statement.args, doc, shared | _argument_help(doc)
    arguments, base_doc = ast.arguments([], [], None, [], [], None, []), ""
    for base in reversed(node.bases):  # the first one that has parameters counts, as Python has it
        found = _class_of(base.id, file, above=node.lineno) if isinstance(base, ast.Name) else None
        if found is not None:
            inherited, base_doc, helps = _arguments(*found)
            arguments, shared = inherited if ast.unparse(inherited) else arguments, shared | helps
    if any("dataclass" in ast.unparse(decorator) for decorator in node.decorator_list):
        arguments = _dataclass_arguments(node, arguments)
    return arguments, doc or base_doc, shared | _argument_help(doc)


def _class_of(name: str, file: Path, *, above: float = math.inf) -> tuple[ast.ClassDef, Path] | None:
    """The class that a name is in a module (above a line), and the file that defines it: this one, or an imported."""
    for statement in reversed([one for one in _tree(file).body if one.lineno < above]):
        if isinstance(statement, ast.ClassDef) and statement.name == name:
            return statement, file
        if isinstance(statement, ast.ImportFrom):
            own = [one.name for one in statement.names if (one.asname or one.name) == name]
            source = _imported(statement, file) if own else None
            if source is not None and source != file:
                return _class_of(own[0], source)
    return None


def _imported(statement: ast.ImportFrom, file: Path) -> Path | None:
    """Where the source is of the module that a statement imports from."""
    if not statement.level:
        return _source_file(statement.module or "")
    folder = file.parents[statement.level - 1]
    inner = folder.joinpath(*statement.module.split(".")) if statement.module else folder
    files = [inner / "__init__.py", *([inner.with_name(f"{inner.name}.py")] if statement.module else [])]
    return next((path for path in files if path.is_file()), None)


def _dataclass_arguments(node: ast.ClassDef, inherited: ast.arguments) -> ast.arguments:
    """What a dataclass takes: the fields of its base, then its own."""
    fields = {a.arg: (a, default) for a, default in zip(inherited.kwonlyargs, inherited.kw_defaults, strict=True)}
    for statement in node.body:
        if not isinstance(statement, ast.AnnAssign) or not isinstance(statement.target, ast.Name):
            continue
        default, name = statement.value, statement.target.id
        if isinstance(default, ast.Call) and ast.unparse(default.func) in ("field", "dataclasses.field"):
            options = {keyword.arg: keyword.value for keyword in default.keywords}
            if "init" in options:
                continue
            default = options.get("default", default if "default_factory" in options else None)
        if "ClassVar" not in ast.unparse(statement.annotation):
            fields[name] = ast.arg(name, statement.annotation, lineno=statement.lineno), default
    arguments, defaults = [argument for argument, _ in fields.values()], [default for _, default in fields.values()]
    return ast.arguments([], [], None, arguments, defaults, None, [])


def _parameters(arguments: ast.arguments, helps: dict[str, str]) -> dict[str, Parameter]:
    positional = [*arguments.posonlyargs, *arguments.args]
    defaults: list[ast.expr | None] = [None] * (len(positional) - len(arguments.defaults)) + list(arguments.defaults)
    pairs = [*zip(positional, defaults, strict=True), *zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)]
    return {
        argument.arg: Parameter(
            name=argument.arg,
            annotation=ast.unparse(argument.annotation) if argument.annotation else "",
            type=parse_annotation(argument.annotation),
            default=REQUIRED if default is None else _literal(default),
            help=helps.get(argument.arg, ""),
            line=argument.lineno,
        )
        for argument, default in pairs
        if argument.arg not in ("self", "cls")
    }


def _literal(node: ast.expr) -> Any:
    try:
        value = ast.literal_eval(node)
    except (ValueError, TypeError):
        return Unspoken(ast.unparse(node))
    return value if value is None or _has_toml(value) else Unspoken(ast.unparse(node))


def _has_toml(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(map(_has_toml, value))
    if isinstance(value, dict):
        return all(isinstance(key, str) and _has_toml(item) for key, item in value.items())
    return isinstance(value, bool | int | float | str)


def _argument_help(doc: str) -> dict[str, str]:
    """The entries of a Google-style ``Args:`` section."""
    section = re.search(r"^Args:\n((?:[ \t]+.*\n?|\n)+)", doc, re.MULTILINE)
    if section is None:
        return {}
    text = textwrap.dedent(section[1])
    entries = re.findall(r"^(\w[\w, ]*?)(?: \(.*?\))?:[ \t]*(.*(?:\n[ \t]+.*|\n(?=\n[ \t]))*)", text, re.MULTILINE)
    return {name.strip(): " ".join(body.split()) for names, body in entries for name in names.split(",")}


def load_path(path: str) -> Any:
    """Import ``package.module:name`` and return the object; only called when a component is built."""
    module, _, name = path.partition(":")
    __import__(module)
    found: Any = sys.modules[module]
    for part in name.split("."):
        found = getattr(found, part)
    return found
