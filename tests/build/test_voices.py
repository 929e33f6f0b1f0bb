"""Networks that see the same input are one voice; others have voices of their own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from gisegkit.build.voices import voices_of
from gisegkit.engine.mixed import mixed_scans
from gisegkit.engine.scan_shares import WHOLE, Share
from gisegkit.types import silent

pytestmark = pytest.mark.slow  # a whole training


def test_networks_of_one_input_share_a_voice(ensemble, values, alone):
    whole = ensemble()
    whole.take_over(whole.run)
    rows = whole.unlabelled
    (voice,) = voices_of(whole, rows, label="", progress=silent, share=WHOLE)
    assert voice.weight == 4.0 and voice.order == ()
    one = alone(rows)
    assert all(np.allclose(found, one[row][0], atol=1e-6) for row, (found, _) in values(voice.scans).items())


def test_another_input_is_another_voice_and_shares_make_the_whole(ensemble, values):
    whole = ensemble()
    whole.take_over(whole.run)
    other = whole.networks[1][0].experiment
    other.recipe = replace(other.recipe, input=replace(other.recipe.input, interpolation="nearest"))
    rows = whole.unlabelled

    def predicted(share):
        voices = voices_of(whole, rows, label="", progress=silent, share=share)
        assert [voice.weight for voice in voices] == [3.0, 1.0]
        return values(mixed_scans(voices))

    expected, found = predicted(WHOLE), {}
    for number in range(2):
        found |= predicted(Share(number, 2))
    assert found.keys() == expected.keys()
    assert all(np.array_equal(found[row][0], expected[row][0]) for row in found)
