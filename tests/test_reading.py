"""An error of a dataset's reader keeps its type and traceback, and says which slice it is about."""

from __future__ import annotations

import pandas as pd
import pytest

from gisegkit.data.reading import read_image, read_mask
from gisegkit.errors import DataError


class Faulty:
    table = pd.DataFrame({"id": ["a", "b"]})

    def image(self, row):
        if row:
            raise ValueError("no pixels")
        return "image"

    def mask(self, row):
        raise DataError("b has no labels")


def test_the_slice_is_named():
    assert read_image(Faulty(), 0) == "image"
    with pytest.raises(ValueError, match="no pixels") as caught:
        read_image(Faulty(), 1)
    assert caught.value.__notes__ == ["This error was raised while the image of slice b was read."]
    with pytest.raises(DataError) as caught:
        read_mask(Faulty(), 1)
    assert "mask of slice b" in caught.value.__notes__[0]
    assert str(caught.value) == "b has no labels"
