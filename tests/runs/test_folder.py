"""The run folder: every write is whole or not there, and what is in the way stays."""

from __future__ import annotations

import json
import math

import numpy as np
import pandas as pd
import pytest
import torch

from gisegkit.data.folds import split_digest
from gisegkit.errors import RunError
from gisegkit.runs.files import FORMAT, jsonable
from gisegkit.runs.folder import RunDir, write, write_text
from gisegkit.types import EpochReport

FACTS = {"classes": ["a"], "channels": 1, "split": "0" * 64}


def report(epoch, *, best=False, scores=None):
    state = {"epoch": epoch, "model": {"w": torch.full((2,), float(epoch))}, "optimizer": {}, "schedule": {}}
    state |= {"scaler": {}, "best": 0.5, "best_epoch": epoch if best else 1, "since": 0, "validations": epoch}
    measured = (1e-3, 2.0, 10.0, 0)
    scores = scores or {"dice": 0.5}
    return EpochReport(epoch, 3, 0.1 * epoch, scores, 0.5, best, *measured, state, weights=state["model"])


def new(path, *, demo=False):
    return RunDir.create(path, recipe='name = "x"\n', environment={"device": "cpu"}, demo=demo)


def test_create_and_open(tmp_path):
    run = new(tmp_path / "a" / "run")
    assert RunDir.open(run.path).recipe.read_text() == 'name = "x"\n'
    assert run.environment() == {"format": FORMAT, "device": "cpu"}
    assert not (run.path / "DEMO.txt").exists()


def test_a_demo_says_so(tmp_path):
    assert "demo" in (new(tmp_path / "run", demo=True).path / "DEMO.txt").read_text()


def test_a_folder_in_the_way_is_left_alone(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match="is not changed"):
        new(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["notes.txt"]


def test_open_names_the_runs_nearby(tmp_path):
    new(tmp_path / "good")
    with pytest.raises(RunError, match="good"):
        RunDir.open(tmp_path / "goood")


def test_record_and_read_back(tmp_path):
    run = new(tmp_path / "run")
    run.record(report(1, best=True), FACTS)
    run.record(report(2), FACTS)
    assert [entry["epoch"] for entry in run.metrics()] == [1, 2]
    state = run.state()
    assert state is not None and state["epoch"] == 2
    assert run.weights()["epoch"] == 1
    assert torch.equal(run.weights()["model"]["w"], torch.ones(2))


def test_repeating_an_epoch_replaces_its_line_and_later_ones(tmp_path):
    run = new(tmp_path / "run")
    for epoch in (1, 2, 3):
        run.record(report(epoch), FACTS)
    run.record(report(2, scores={"dice": math.nan}), FACTS)
    assert [entry["epoch"] for entry in run.metrics()] == [1, 2]
    assert run.metrics()[1]["scores"] == {"dice": None}


def test_a_failed_write_leaves_the_old_file_and_no_rest(tmp_path):
    file = tmp_path / "x.txt"
    write_text(file, "old")

    def fail(handle):
        handle.write(b"ne")
        raise OSError(28, "No space left on device")

    with pytest.raises(RunError, match="No space left"):
        write(file, fail)
    assert file.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.txt"]


def test_weights_before_the_first_epoch(tmp_path):
    with pytest.raises(RunError, match="no epoch was finished"):
        new(tmp_path / "run").weights()


def test_a_checkpoint_that_would_run_code_is_refused(tmp_path):
    class Evil:
        def __reduce__(self):
            return (print, ("code was run",))

    run = new(tmp_path / "run")
    torch.save({"format": 1, "model": Evil()}, run.path / "best.pt")
    with pytest.raises(RunError, match="cannot be read"):
        run.weights()


def test_another_layout_is_refused(tmp_path):
    run = new(tmp_path / "run")
    torch.save({"format": 99}, run.path / "best.pt")
    with pytest.raises(RunError, match="layout 99"):
        run.weights()


def test_jsonable():
    value = {"a": np.float32(0.5), "b": [math.nan, np.int64(3)], "c": None, "d": True, 4: "x"}
    assert json.loads(json.dumps(jsonable(value))) == {"a": 0.5, "b": [None, 3.0], "c": None, "d": True, "4": "x"}


# --- the split ------------------------------------------------------------------------------------------------------


def test_ids_are_text_whatever_they_look_like(tmp_path):
    run = new(tmp_path / "run")
    ids = ["NA", "null", "None", "001", "1", "1.0", "nan", "", "a,b", 'say "x"', "é", " x", "True", "a\r\nb", "c\rd"]
    table = pd.DataFrame({"id": ids, "part": "validation"})
    run.write_split(table)
    read = run.split()
    assert read is not None and list(read["id"]) == ids
    facts = {"split": split_digest(table)}
    assert list(run.verified_split(facts)["id"]) == ids
    with pytest.raises(RunError, match=r"split\.csv was changed"):
        run.verified_split({"split": "0" * 64})
    (run.path / "split.csv").unlink()
    assert run.split() is None
    with pytest.raises(RunError, match=r"split\.csv is missing"):
        run.verified_split(facts)


@pytest.mark.parametrize(
    "content",
    [
        b"", b"\n", b"\xff\xfe\x00", bytes(range(256)), b"a,b\n1,2\n", b"id\nx\n", b"id,part\nx\n",
        b"id,part\nx,tain\n", b"id,part\nx,train,1\n", b"id,part\nx,train\ny,train,1\n", b"\x00" * 40,
        b"id,part\nx,train\nx,train\n", b'id,part\n"x,train\n', b"id,part,more\nx,train,1\n",
    ],
)  # fmt: skip
def test_a_damaged_split_is_refused_in_one_line(tmp_path, content):
    run = new(tmp_path / "run")
    (run.path / "split.csv").write_bytes(content)
    with pytest.raises(RunError, match=r"split\.csv") as error:
        run.split()
    assert "\n" not in str(error.value)
