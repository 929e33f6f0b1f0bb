"""One call makes the check of any kind, with the facts that it asks for."""

from __future__ import annotations

import pytest

from gisegkit.registry.kind import Kind
from gisegkit.registry.kinds import KINDS
from gisegkit.testing import ContractError, check_component

CHECKS = """
from gisegkit.testing import expect


def of_factory(build, *, size=(1, 2)):
    expect(build(width=3) == 4, f"at {size}")


def of_object(made, *, classes=5):
    expect(made == 2, f"{classes} classes")
"""


@pytest.fixture
def row(make_module, monkeypatch):
    module = make_module(CHECKS)
    return lambda name: monkeypatch.setitem(KINDS, "sound", Kind("sound", True, {}, "x", check=f"{module}:{name}"))


def test_a_check_whose_first_parameter_is_build_gets_the_factory(row):
    row("of_factory")
    check_component("sound", lambda width: width + 1, classes=7)
    with pytest.raises(ContractError, match=r"at \(8, 9\)"):
        check_component("sound", lambda width: width, size=(8, 9), classes=7)


def test_any_other_gets_what_the_factory_returns(row):
    row("of_object")
    check_component("sound", lambda: 2, size=(8, 9))
    with pytest.raises(ContractError, match="5 classes"):
        check_component("sound", lambda: 3)
