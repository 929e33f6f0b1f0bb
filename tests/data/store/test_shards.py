"""One file of the prepared store: what is written comes back, and what is not whole is not there."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from gisegkit.data.doctor.facts import facts_of
from gisegkit.data.store.shards import Content, DamagedError, read_shard, rewrite_sources, write_shard

LIMITS = (0.0, 1.0, 255.0)


def contents(*masks):
    image = np.arange(24, dtype=np.uint16).reshape(4, 6, 1)
    return [
        Content(image + number, LIMITS, {"native": mask}, facts_of(image, mask)) for number, mask in enumerate(masks)
    ]


@given(
    st.lists(
        arrays.arrays(
            np.uint8,
            st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(1, 6)),
            elements=st.sampled_from([0, 1, 255]),
        ),
        min_size=1,
        max_size=3,
    )
)
@pytest.mark.slow
def test_masks_come_back(tmp_path_factory, masks):
    folder = tmp_path_factory.mktemp("shard")
    write_shard(folder, "a", contents(*masks), [])
    shard = read_shard(folder, "a")
    for place, mask in enumerate(masks):
        assert np.array_equal(shard.mask(place, "native"), mask)
        assert np.array_equal(shard.planes(place, "native"), mask.transpose(2, 0, 1))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.float32, np.float64])
def test_images_come_back_in_their_type_and_read_only(tmp_path, dtype):
    image = np.arange(30).reshape(2, 5, 3).astype(dtype)
    write_shard(tmp_path, "a", [Content(image, LIMITS, {}, facts_of(image, None))], [["file", 1, 2, 3, "x"]])
    shard = read_shard(tmp_path, "a")
    assert np.array_equal(shard.image(0), image) and shard.image(0).dtype == dtype
    assert shard.limits(0) == LIMITS and shard.mask(0, "native") is None
    assert shard.sources == [["file", 1, 2, 3, "x"]]
    with pytest.raises(ValueError, match="read-only"):
        shard.image(0)[0, 0, 0] = 1


def test_a_failed_writing_leaves_what_was_there(tmp_path):
    mask = np.ones((4, 6, 1), dtype=np.uint8)
    write_shard(tmp_path, "a", contents(mask), [])

    def failing():
        yield contents(mask)[0]
        raise OSError("no")

    with pytest.raises(OSError, match="no"):
        write_shard(tmp_path, "a", failing(), [])
    assert len(list(tmp_path.iterdir())) == 2
    assert np.array_equal(read_shard(tmp_path, "a").mask(0, "native"), mask)


def test_a_new_one_takes_the_place_of_the_old(tmp_path):
    write_shard(tmp_path, "a", contents(np.ones((4, 6, 1), dtype=np.uint8)), [])
    old = read_shard(tmp_path, "a")
    write_shard(tmp_path, "a", contents(np.zeros((4, 6, 1), dtype=np.uint8)), [])
    assert len(list(tmp_path.iterdir())) == 2
    with pytest.raises(DamagedError):
        old.mask(0, "native")
    assert read_shard(tmp_path, "a").mask(0, "native").sum() == 0


def test_notes_of_sources_are_rewritten(tmp_path):
    write_shard(tmp_path, "a", contents(np.ones((4, 6, 1), dtype=np.uint8)), [["f", 1, 2, 3, "x"]])
    rewrite_sources(tmp_path, "a", [["f", 9, 9, 9, "x"]])
    shard = read_shard(tmp_path, "a")
    assert shard.sources == [["f", 9, 9, 9, "x"]] and shard.mask(0, "native").all()


def test_nothing_there(tmp_path):
    assert read_shard(tmp_path, "a") is None
    (tmp_path / "a.jsonl").write_text("{}")
    assert read_shard(tmp_path, "a") is None


@pytest.mark.parametrize("rewritten", [False, True])
def test_an_index_that_changed_in_any_place_is_not_there(tmp_path, rewritten):
    write_shard(tmp_path, "a", contents(np.ones((4, 6, 1), dtype=np.uint8)), [["f", 1, 2, 3, "x"]])
    if rewritten:
        rewrite_sources(tmp_path, "a", [["f", 9, 9, 9, "x"]])
    path = tmp_path / "a.jsonl"
    text = path.read_text()
    assert read_shard(tmp_path, "a") is not None
    for digit in (place for place, sign in enumerate(text) if sign.isdigit()):
        path.write_text(text[:digit] + str((int(text[digit]) + 1) % 10) + text[digit + 1 :])
        assert read_shard(tmp_path, "a") is None, text[digit - 20 : digit + 20]
