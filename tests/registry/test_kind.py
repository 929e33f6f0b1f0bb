"""A kind's row: its table, and the keys of all its components."""

from __future__ import annotations

from gisegkit.registry.kinds import KINDS


def test_every_kind_opens_a_table():
    assert KINDS["model"].table == "[model]"
    assert KINDS["loss"].table == "[[loss]]"
    assert all(kind.name == name and kind.summary for name, kind in KINDS.items())


def test_every_key_of_a_kind_has_a_valid_default_and_help():
    for key in (key for kind in KINDS.values() for key in kind.keys.values()):
        assert key.help.endswith(".") and key.type.text != "any value"
        assert key.default is None or key.type.convert(key.default) == key.default
