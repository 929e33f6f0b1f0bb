"""The form in which slices are kept, in words."""

from __future__ import annotations

from gisegkit.data.store.layout import Layout, Prepared


def test_a_layout_and_what_is_prepared_are_said_in_words():
    assert str(Layout()) == "native"
    assert str(Layout((64, 80), "fit", "linear")) == "64x80-fit-linear"
    assert str(Prepared(made=2, slices=5, size=3 * 2**20)) == "5 slices, 2 of them now, 3 MiB"
