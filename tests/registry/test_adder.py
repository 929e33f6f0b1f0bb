"""What plugins register with: one method a kind, and names that a recipe can spell."""

from __future__ import annotations

import inspect

import pytest

from gisegkit.errors import ComponentError
from gisegkit.registry.adder import Adder, Register
from gisegkit.registry.kind import Kind
from gisegkit.registry.kinds import KINDS, Component, Owner

MINE = Owner("giseg-mine", "1.2")


def test_every_kind_is_one_that_editors_know():
    assert Adder.__annotations__ == dict.fromkeys(KINDS, "Register")
    assert list(inspect.signature(Register.__call__).parameters) == ["self", "name", "target"]


def test_a_kind_that_is_not_written_there_can_be_registered(monkeypatch):
    monkeypatch.setitem(KINDS, "sound", Kind("sound", True, {}, "what is heard"))
    add = Adder(MINE)
    add.sound("bell", "x:Y")
    assert add.components == [Component("sound", "bell", "x:Y", MINE)]


def test_an_unknown_kind_is_an_attribute_error_that_names_all():
    with pytest.raises(AttributeError, match="there is no kind 'sound'; kinds: dataset, normalization, model"):
        Adder(MINE).sound("bell", "x:Y")


def test_the_adder_has_one_method_a_kind_and_keeps_back():
    add = Adder(MINE)
    for kind in KINDS:
        getattr(add, kind)("name", "x:Y")
    assert add.components == [Component(kind, "name", "x:Y", MINE) for kind in KINDS]


@pytest.mark.parametrize("name", ["bce", "edge_bce", "UNet++"[:4], "tu-resnet", "mine/bce", "v1.2x", "größe"])
def test_names(name):
    add = Adder(MINE)
    add.loss(name, "x:Y")
    assert add.components[0].name == name


@pytest.mark.parametrize("name", ["", " ", "two words", "a=b", "2d", 'a"b', "a\nb"])
def test_no_names(name):
    add = Adder(MINE)
    with pytest.raises(ComponentError, match="is no name for a loss"):
        add.loss(name, "x:Y")
    assert add.components == []
