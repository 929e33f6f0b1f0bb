"""Kept probabilities of a run: used only if they are of the weights, whole, and hold every slice."""

from __future__ import annotations

import numpy as np
import pytest

from gisegkit.data.output import read_manifest
from gisegkit.runs.kept import NAME, keeping, kept


class Network:
    classes = ("liver", "spleen")
    exclusive = False


def keep(folder, *, weights="w1", slices=("a", "b")):
    with keeping(folder, Network(), weights=weights) as writer:
        writer.begin("s", depth=len(slices), size=(4, 4))
        for name in slices:
            writer.write(name, np.full((4, 4, 2), 0.5, np.float32))


def test_what_was_kept_is_listed_with_its_digest_and_found_again(tmp_path):
    keep(tmp_path)
    manifest = read_manifest(tmp_path)
    assert manifest["weights"] == "w1" and [entry["name"] for entry in manifest["files"]] == [NAME]
    lines: list[str] = []
    with kept(tmp_path, weights="w1", ids=["b"], say=lines.append) as reader:
        assert reader.scans == {"s": ("a", "b")}
    assert lines == []


def test_nothing_is_said_where_nothing_was_kept(tmp_path):
    lines: list[str] = []
    assert kept(tmp_path, weights="w1", ids=[], say=lines.append) is None and lines == []


def damage(folder):
    content = bytearray((folder / NAME).read_bytes())
    content[40] ^= 1
    (folder / NAME).write_bytes(content)


@pytest.mark.parametrize(
    ("change", "weights", "ids", "words"),
    [
        (lambda folder: None, "w2", ["a"], "is of other weights"),
        (damage, "w1", ["a"], "is damaged: it is not what"),
        (lambda folder: (folder / "files.json").unlink(), "w1", ["a"], "is of other weights"),
        (lambda folder: None, "w1", ["a", "c"], "lacks 1 of the slices"),
    ],
)
def test_what_cannot_be_used_is_told(tmp_path, change, weights, ids, words):
    keep(tmp_path)
    change(tmp_path)
    lines: list[str] = []
    assert kept(tmp_path, weights=weights, ids=ids, say=lines.append) is None
    (line,) = lines
    assert words in line and line.endswith("predicted anew")


def test_an_error_leaves_what_was_kept_before(tmp_path):
    keep(tmp_path)
    before = (tmp_path / NAME).read_bytes()

    def fail():
        with keeping(tmp_path, Network(), weights="w2") as writer:
            writer.begin("s", depth=1, size=(4, 4))
            raise KeyError("stop")

    with pytest.raises(KeyError, match="stop"):
        fail()
    assert (tmp_path / NAME).read_bytes() == before and read_manifest(tmp_path)["weights"] == "w1"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["files.json", NAME]
