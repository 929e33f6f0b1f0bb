"""What the contract checks share: errors of a component's code become one line, arrays and values few words."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gisegkit.testing import ContractError, ContractWarning
from gisegkit.testing.expect import call, doubt, few, form


def raises(error):
    raise error


@pytest.mark.parametrize("error", [ValueError("a\nb"), KeyError("k"), AssertionError(), ZeroDivisionError("z")])
def test_whatever_a_component_raises_becomes_a_contract_error_with_its_cause(error):
    with pytest.raises(ContractError) as caught:
        call("two images", raises, error)
    assert str(caught.value).startswith(f"two images: it raises {type(error).__name__}")
    assert "\n" not in str(caught.value)
    assert caught.value.__cause__ is error


def test_ctrl_c_is_no_breach():
    with pytest.raises(KeyboardInterrupt):
        call("x", raises, KeyboardInterrupt())


def test_words():
    assert form(np.zeros((2, 3), np.uint8)) == "uint8 [2, 3]"
    assert form(torch.zeros(1)) == "float32 [1]"
    assert form((1, 2)) == "tuple"
    assert few([3, 1, 1]) == "1, 3"
    assert few(range(98)) == "0, 1, 2, 3, 4 and 93 more"
    doubt(False, "nothing")
    with pytest.warns(ContractWarning, match="perhaps"):
        doubt(True, "perhaps")
