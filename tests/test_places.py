"""Places for batches in shared memory: lent, filled by another process, taken, and free again."""

from __future__ import annotations

import gc
import pickle

import numpy as np
import pytest
import torch
import torch.multiprocessing

from gisegkit.data.places import Places
from gisegkit.errors import RunError

FORMS = [((2, 5, 3), np.dtype(np.float32)), ((7,), np.dtype(np.uint8))]


def pair(first, second):
    return first, second


def fill(places, place, samples):
    for number, array in enumerate(places.arrays(place, samples)):
        array[...] = 1 + number + np.arange(array.size).reshape(array.shape)


def test_a_worker_writes_what_the_ticket_gives():
    places = Places(2, 4, FORMS)
    assert places.lend() == 0 and places.lend() == 1 and places.lend() is None
    worker = torch.multiprocessing.Process(target=fill, args=(places, 1, 3))
    worker.start()
    worker.join()
    images, masks = pickle.loads(pickle.dumps(places.ticket(1, 3, pair)))
    assert torch.equal(images, 1 + torch.arange(3 * 30, dtype=torch.float32).view(3, 2, 5, 3))
    assert torch.equal(masks, 2 + torch.arange(21, dtype=torch.uint8).view(3, 7))
    assert images.is_contiguous() and masks.is_contiguous()


def test_a_place_is_free_again_when_its_last_tensor_is_gone():
    places = Places(1, 4, FORMS)
    place = places.lend()
    images, masks = places.take(place, 4)
    assert places.lend() is None
    part = images[1:, 0]
    del images, masks
    gc.collect()
    assert places.lend() is None  # a view is a reference too
    del part
    gc.collect()
    assert places.lend() == place


def test_tensors_live_on_without_their_places():
    places = Places(1, 1, FORMS)
    fill(places, places.lend(), 1)
    images, _ = places.take(0, 1)
    del places
    gc.collect()
    assert images.sum() == sum(range(1, 31))


def test_what_fits():
    places = Places(1, 4, FORMS)
    assert places.fit(FORMS, 4) and places.fit(FORMS, 1)
    assert not places.fit(FORMS, 5)
    assert not places.fit([FORMS[0], ((7,), np.dtype(np.int8))], 4)
    assert not places.fit([((2, 5, 4), np.dtype(np.float32)), FORMS[1]], 4)


def test_too_little_shared_memory_names_the_ways_out(monkeypatch):
    def refuse(self):
        raise RuntimeError("unable to allocate shared memory(shm)")

    monkeypatch.setattr(torch.Tensor, "share_memory_", refuse)
    with pytest.raises(RunError, match=r"3 batches of 12 MiB .*\(unable to allocate.*train.workers=0"):
        Places(3, 12, [((1 << 20,), np.dtype(np.uint8))])
