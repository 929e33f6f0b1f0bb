"""Buffers for batches in shared memory: lent, filled by another process, received, and free again."""

from __future__ import annotations

import gc
import pickle

import numpy as np
import pytest
import torch
import torch.multiprocessing

from gisegkit.data.buffers import BufferPool
from gisegkit.errors import RunError

FORMS = [((2, 5, 3), np.dtype(np.float32)), ((7,), np.dtype(np.uint8))]


def pair(first, second):
    return first, second


def fill(pool, slot, samples):
    for number, array in enumerate(pool.arrays(slot, samples)):
        array[...] = 1 + number + np.arange(array.size).reshape(array.shape)


def test_a_worker_writes_what_the_handle_gives():
    pool = BufferPool(2, 4, FORMS)
    assert pool.acquire() == 0 and pool.acquire() == 1 and pool.acquire() is None
    worker = torch.multiprocessing.Process(target=fill, args=(pool, 1, 3))
    worker.start()
    worker.join()
    images, masks = pickle.loads(pickle.dumps(pool.handle(1, 3, pair)))
    assert torch.equal(images, 1 + torch.arange(3 * 30, dtype=torch.float32).view(3, 2, 5, 3))
    assert torch.equal(masks, 2 + torch.arange(21, dtype=torch.uint8).view(3, 7))
    assert images.is_contiguous() and masks.is_contiguous()


def test_a_slot_is_free_again_when_its_last_tensor_is_gone():
    pool = BufferPool(1, 4, FORMS)
    slot = pool.acquire()
    images, masks = pool.receive(slot, 4)
    assert pool.acquire() is None
    part = images[1:, 0]
    del images, masks
    gc.collect()
    assert pool.acquire() is None  # a view is a reference too
    del part
    gc.collect()
    assert pool.acquire() == slot


def test_a_slot_that_was_not_used_comes_back_with_the_batch():
    pool = BufferPool(1, 4, FORMS)
    slot = pool.acquire()
    message = pickle.dumps(pool.unused(slot, "larger than the slot"))
    assert pool.acquire() is None
    assert pickle.loads(message) == "larger than the slot"
    assert pool.acquire() == slot


def test_tensors_live_on_without_their_pool():
    pool = BufferPool(1, 1, FORMS)
    fill(pool, pool.acquire(), 1)
    images, _ = pool.receive(0, 1)
    del pool
    gc.collect()
    assert images.sum() == sum(range(1, 31))


def test_what_fits():
    pool = BufferPool(1, 4, FORMS)
    assert pool.fit(FORMS, 4) and pool.fit(FORMS, 1)
    assert not pool.fit(FORMS, 5)
    assert not pool.fit([FORMS[0], ((7,), np.dtype(np.int8))], 4)
    assert not pool.fit([((2, 5, 4), np.dtype(np.float32)), FORMS[1]], 4)


def test_too_little_shared_memory_names_the_ways_out(monkeypatch):
    def refuse(self):
        raise RuntimeError("unable to allocate shared memory(shm)")

    monkeypatch.setattr(torch.Tensor, "share_memory_", refuse)
    with pytest.raises(RunError, match=r"3 batches of 12 MiB .*\(unable to allocate.*train.workers=0"):
        BufferPool(3, 12, [((1 << 20,), np.dtype(np.uint8))])
