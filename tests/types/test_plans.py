"""What executors and searches receive and return can be imported from gisegkit.types."""

from __future__ import annotations

from gisegkit import types
from gisegkit.types import plans


def test_the_public_names_are_those_of_the_package():
    for name in plans.__all__:
        assert getattr(types, name) is getattr(plans, name)
    assert types.JobEnd() == types.JobEnd(code=None, cause="")
