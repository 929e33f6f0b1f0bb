"""The digest of a checkpoint's content: it depends on every key, type, shape and byte, and on nothing else."""

from __future__ import annotations

import copy
from collections import OrderedDict

import pytest
import torch

from gisegkit.runs.checkpoints import digest


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": 1}, {"a": True}), ({"a": 1}, {"a": 1.0}), ({"a": 1}, {"b": 1}), ({"a": "1"}, {"a": 1}), ([1], (1,)),
        ([[1], [2]], [[1, 2]]), ([], {}), (None, "None"), (b"x", "x"), (0.0, -0.0),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}), (["ab", "c"], ["a", "bc"]),
        (torch.zeros(2, 3), torch.zeros(3, 2)), (torch.zeros(2), torch.zeros(2, dtype=torch.float64)),
        (torch.zeros(4), torch.zeros(2, dtype=torch.float64)), (torch.zeros(1), torch.zeros(())),
        (torch.zeros(0), torch.zeros(0, 2)), (torch.zeros(2), [0.0, 0.0]),
    ],
)  # fmt: skip
def test_contents_that_differ_have_other_digests(one, other):
    assert digest(one) != digest(other)
    assert digest(one) == digest(copy.deepcopy(one))


def test_how_a_tensor_lies_in_memory_is_no_content():
    image = torch.rand(2, 3, 4, 5)
    assert digest(image.to(memory_format=torch.channels_last)) == digest(image)
    assert digest(OrderedDict(a=1)) == digest({"a": 1})
