"""Signatures are read from source: parameters, defaults, help, paper; nothing is imported for it."""

from __future__ import annotations

import ast
import functools
import importlib
import inspect
import sys
import types

import pytest

from gisegkit.errors import ComponentError
from gisegkit.registry.signatures import REQUIRED, Unspoken, load_path, read_object, read_path


@pytest.fixture
def read(make_module):
    """Reads ``name`` out of a module with the given text."""

    def read(text: str, name: str = "f"):
        return read_path(f"{make_module(text)}:{name}")

    return read


def defaults(signature):
    return {name: item.default for name, item in signature.parameters.items()}


def test_a_function(read):
    signature = read('''
def f(params, a: int, /, b: float = 0.5, *rest, lr: Annotated[float, Above(0)] = 1e-3, flag=True, name: str):
    """Does a thing.

    More of it.

    Args:
        lr: the learning rate,
            an hour.
        flag (bool, optional): a switch.
        name (Annotated[str, AtLeast(0)]): which
          one.

    Paper: Somebody, "On things", arXiv:1234.5678,
        second line

    Returns:
        x: not a parameter.
    """
''')
    assert defaults(signature) == {
        "params": REQUIRED,
        "a": REQUIRED,
        "b": 0.5,
        "lr": 1e-3,
        "flag": True,
        "name": REQUIRED,
    }
    assert signature.parameters["a"].required
    assert not signature.parameters["b"].required
    assert signature.parameters["lr"].annotation == "Annotated[float, Above(0)]"
    assert signature.parameters["lr"].type.text == "a number more than 0"
    assert signature.parameters["flag"].annotation == ""
    assert signature.parameters["lr"].help == "the learning rate, an hour."
    assert signature.parameters["flag"].help == "a switch."
    assert signature.parameters["name"].help == "which one."
    assert signature.parameters["b"].help == ""
    assert signature.parameters["lr"].line == signature.line == 2
    assert signature.summary == "Does a thing."
    assert signature.paper == 'Somebody, "On things", arXiv:1234.5678, second line'
    assert not signature.open


@pytest.mark.parametrize(
    ("default", "expected"),
    [
        ("-1", -1),
        ("None", None),
        ("(1, 2)", (1, 2)),
        ("{'a': [1.5]}", {"a": [1.5]}),
        ("1e400", float("inf")),
    ],
)
def test_literal_defaults(read, default, expected):
    assert defaults(read(f"def f(*, x={default}): ...")) == {"x": expected}


@pytest.mark.parametrize(
    "default", ["LIMIT", "2 ** 10", "math.inf", "{[]: 1}", "{1: 2}", "{1, 2}", "b'x'", "...", "(None,)"]
)
def test_defaults_that_a_recipe_cannot_spell(read, default):
    value = defaults(read(f"def f(*, x={default}): ..."))["x"]
    assert isinstance(value, Unspoken)
    assert value is not REQUIRED
    assert ast.dump(ast.parse(repr(value))) == ast.dump(ast.parse(default))


def test_keywords_make_it_open(read):
    signature = read("def f(a, **rest): ...")
    assert signature.open
    assert set(signature.parameters) == {"a"}


def test_without_docstring(read):
    signature = read("def f(a): ...")
    assert (signature.summary, signature.paper, signature.parameters["a"].help) == ("", "", "")


def test_several_names_in_one_entry_and_blank_lines(read):
    signature = read('''
def f(*, a, b, c):
    """X.

    Args:
        a, b: both.

            Still both.
        c: alone: with a colon.
    """
''')
    helps = {name: item.help for name, item in signature.parameters.items()}
    assert helps == {"a": "both. Still both.", "b": "both. Still both.", "c": "alone: with a colon."}


def test_a_class_is_its_init(read):
    signature = read('''
class f(Base):
    """A class.

    Args:
        x: help.
    """

    @overload
    def __init__(self, wrong: int): ...

    def __init__(self, *, x: "int" = 3):
        """Paper: inside."""

    def forward(self, logits): ...
''')
    assert defaults(signature) == {"x": 3}
    assert signature.parameters["x"].type.text == "a whole number"
    assert signature.parameters["x"].help == "help."
    assert (signature.summary, signature.paper) == ("A class.", "inside.")


def test_a_class_without_init_takes_nothing(read):
    signature = read('class f(nn.Module):\n    """A class."""\n')
    assert signature.parameters == {}
    assert not signature.open


def test_an_init_inherited_in_the_same_module(read):
    text = '''
class Base:
    """The base."""

    def __init__(self, *, x: int = 3): ...

class f(Base):
    pass
'''
    assert defaults(read(text)) == {"x": 3}
    assert read(text).summary == "The base."
    assert read(text.replace("pass", '"""Mine."""')).summary == "Mine."


def test_a_base_of_another_module_brings_its_parameters_and_their_help(make_module):
    base = make_module(
        '"""The bases.\n\nArgs:\n    x: of the module.\n"""\nclass Base:\n    def __init__(self, *, x=3): ...\n'
    )
    text = f'from {base} import Base as Other\nclass f(Other):\n    """Mine."""\n'
    signature = read_path(f"{make_module(text)}:f")
    assert (defaults(signature), signature.summary) == ({"x": 3}, "Mine.")
    assert signature.parameters["x"].help == "of the module."


def test_a_base_is_found_by_a_relative_import_and_where_a_package_only_hands_it_on(tmp_path, monkeypatch):
    inner = tmp_path / "written_family" / "inner"
    inner.mkdir(parents=True)
    (tmp_path / "written_family" / "__init__.py").write_text("from .bases import Base as Shown, Other as Base\n")
    bases = "class Base:\n    def __init__(self, *, x=3): ...\nclass Other:\n    def __init__(self, *, y=4): ...\n"
    (tmp_path / "written_family" / "bases.py").write_text(bases)
    (inner / "__init__.py").write_text("")
    forms = ("from ..bases import Base", "from .. import Shown as Base", "from written_family import Shown as Base")
    for number, line in enumerate(forms):
        (inner / f"m{number}.py").write_text(f"{line}\nclass f(Base): ...\nfrom written_family import Base\n")
        monkeypatch.syspath_prepend(tmp_path)
        assert defaults(read_path(f"written_family.inner.m{number}:f")) == {"x": 3}, line
    (inner / "bare.py").write_text("from . import Base\nfrom nowhere import Other\nclass f(Base, Other): ...\n")
    assert defaults(read_path("written_family.inner.bare:f")) == {}


def test_of_several_bases_the_first_with_parameters_counts(read):
    bases = (
        "class A: ...\nclass B:\n    def __init__(self, *, x=1): ...\nclass C:\n    def __init__(self, *, y=2): ...\n"
    )
    assert defaults(read(f"{bases}class f(A, B, C): ...\n")) == {"x": 1}
    assert defaults(read(f"{bases}class f(C, B): ...\n")) == {"y": 2}


def test_the_docstring_of_a_module_explains_what_is_not_explained_again(read):
    text = '"""M.\n\nArgs:\n    a: shared.\n    b: shared.\n"""\n'
    text += 'def f(*, a, b):\n    """F.\n\n    Args:\n        b: own.\n    """\n'
    assert {name: item.help for name, item in read(text).parameters.items()} == {"a": "shared.", "b": "own."}
    assert read(text).summary == "F."


def test_a_class_that_replaces_its_base_of_the_same_name(read):
    assert read("from other import f\nclass f(f): ...\n").parameters == {}


def test_a_dataclass_takes_its_fields(read):
    signature = read('''
@dataclass
class Base:
    first: int

@dataclasses.dataclass(frozen=True)
class f(Base):
    """Data.

    Args:
        x: help.
    """

    x: Annotated[int, AtLeast(1)] = 3
    y: list[int] = field(default_factory=list)
    z: float = dataclasses.field(default=0.5, repr=False)
    required: str = field(kw_only=True)
    own: int = field(init=False)
    shared: ClassVar[int] = 4
''')
    found = defaults(signature)
    assert isinstance(found.pop("y"), Unspoken)
    assert found == {"first": REQUIRED, "x": 3, "z": 0.5, "required": REQUIRED}
    assert signature.parameters["x"].help == "help."
    assert signature.parameters["x"].type.text == "a whole number 1 or more"


def test_dataclass_fields_are_those_that_it_really_takes(make_module):
    name = make_module("import dataclasses\n@dataclasses.dataclass\nclass f:\n    a: int\n    b: float = 0.5\n")
    real = inspect.signature(importlib.import_module(name).f).parameters
    assert list(read_path(f"{name}:f").parameters) == list(real)


def test_nested_and_class_methods(read):
    text = "class Home:\n    @classmethod\n    def make(cls, *, x=1): ...\n"
    assert defaults(read(text, "Home.make")) == {"x": 1}


def test_the_last_definition_counts(read):
    assert defaults(read("def f(a): ...\ndef f(b): ...\n")) == {"b": REQUIRED}


@pytest.mark.parametrize("text", ["async def f(a): ...", "f = 3", "from other import f", "if True:\n    def f(a): ..."])
def test_what_defines_no_function_at_the_top_is_refused(read, text):
    with pytest.raises(ComponentError, match=r"written_\w+\.py has no top-level function or class 'f'"):
        read(text)


@pytest.mark.parametrize("path", ["gisegkit", "gisegkit:", ":BCE", ""])
def test_no_import_path(path):
    with pytest.raises(ComponentError, match=r"is no import path; write it as 'package\.module:name'"):
        read_path(path)


@pytest.mark.parametrize(
    "module", ["no_such_module", "no_such.module", "gisegkit.no_such", "sys", ".x", "a..b", "math"]
)
def test_no_such_module(module):
    with pytest.raises(ComponentError, match=r"no module '.*' with a source file"):
        read_path(f"{module}:f")


def test_a_module_that_came_from_no_import(monkeypatch):
    monkeypatch.setitem(sys.modules, "written_by_hand", types.ModuleType("written_by_hand"))
    with pytest.raises(ComponentError, match="no module 'written_by_hand' with a source file"):
        read_path("written_by_hand:f")


def test_nothing_is_imported_not_even_the_packages_around_it(tmp_path, monkeypatch):
    inner = tmp_path / "written_outer" / "middle" / "inner"  # middle has no __init__.py
    inner.mkdir(parents=True)
    for folder in (inner, tmp_path / "written_outer"):
        (folder / "__init__.py").write_text("raise RuntimeError('imported')")
    (inner / "module.py").write_text("raise RuntimeError('imported')\ndef f(*, x: int = 1): ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)
    assert defaults(read_path("written_outer.middle.inner.module:f")) == {"x": 1}
    assert set(sys.modules) == before


def test_other_source_encodings(tmp_path, monkeypatch):
    (tmp_path / "written_latin.py").write_bytes('# coding: latin-1\ndef f(*, x="é"):\n    """é"""\n'.encode("latin-1"))
    monkeypatch.syspath_prepend(tmp_path)
    assert defaults(read_path("written_latin:f")) == {"x": "é"}


def test_objects():
    assert defaults(read_object(sample)) == {"a": 1}
    assert defaults(read_object(Sample)) == {"x": REQUIRED}
    assert read_object(Sample).summary == "A sample."
    assert read_object(Sample).file == inspect.getsourcefile(Sample)


def test_a_decorated_function_is_read_behind_its_decorators():
    assert defaults(read_object(wrapped)) == {"y": 2}
    assert defaults(read_object(cached)) == {"z": 3}


@pytest.mark.parametrize("target", [3, "text", None, functools.partial(print), len, [], object()])
def test_what_is_no_factory(target):
    with pytest.raises(ComponentError, match="neither a function, a class nor an import path"):
        read_object(target)


@pytest.mark.parametrize("target", [dict, type("Made", (), {"__module__": "nowhere"})])
def test_objects_without_source(target):
    with pytest.raises(ComponentError, match="its source file cannot be found"):
        read_object(target)


def test_a_function_inside_a_function_is_refused():
    def inside(): ...

    with pytest.raises(ComponentError, match="has no top-level function or class"):
        read_object(inside)


def test_load_path_imports(make_module):
    name = make_module("class Home:\n    value = 3\n")
    assert name not in sys.modules
    assert load_path(f"{name}:Home.value") == 3
    assert name in sys.modules


def sample(*, a=1): ...


class Sample:
    """A sample."""

    def __init__(self, *, x): ...


def decorate(function):
    @functools.wraps(function)
    def inner(**keywords):
        return function(**keywords)

    return inner


@decorate
def wrapped(*, y=2): ...


@functools.cache
def cached(*, z=3): ...
