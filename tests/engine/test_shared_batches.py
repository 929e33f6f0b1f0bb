"""Which slices of a batch each process reads; that all get the whole batch is tested in test_ranks.py."""

from __future__ import annotations

import pytest

from gisegkit.engine.shared_batches import share


@pytest.mark.parametrize("size", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("count", [0, 1, 3, 8, 17])
def test_shares_are_all_of_a_batch_in_order_and_about_equal(count, size):
    shares = [range(*share(count, rank, size)) for rank in range(size)]
    assert [number for one in shares for number in one] == list(range(count))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
