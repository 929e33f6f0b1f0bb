"""``make gpu``: its driver with parts made up here, and its real parts tiny on the CPU, which is the same code."""

from __future__ import annotations

import fcntl
import json
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
MACHINE = {"key": "card-1", "hardware": {"gpu": "card"}, "versions": {"torch": "2"}, "missing": {"kornia": "none"}}

SCRIPT = """
import sys, time
sys.path.insert(0, {benchmarks!r})
from gpu_parts import Record
from pathlib import Path
record = Record(Path(sys.argv[sys.argv.index("--record") + 1]))
for name in record.missing(["one", "two"]):
    {body}
    record.add({{"name": name, "value": 1.5, **({{"failed": True}} if {fails} else {{}})}})
"""


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if getattr(sys.modules[name], "__file__", None) and Path(sys.modules[name].__file__).parent == BENCHMARKS:
            del sys.modules[name]


# --- the driver -----------------------------------------------------------------------------------------------------


@pytest.fixture
def call(tmp_path, monkeypatch):
    """Runs the driver with the parts that are given as (body, fails), on a machine with a GPU that is made up."""
    import gpu
    import gpu_parts

    monkeypatch.setattr(gpu_parts, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(gpu, "STATE", tmp_path / "state")
    monkeypatch.setattr(gpu.Run, "log", lambda self, part: f"{part.name}.log")
    monkeypatch.setattr(gpu, "probe", lambda *, rehearse: MACHINE)
    monkeypatch.setattr(gpu, "revision", lambda: {"revision": "abc", "dirty": False, "revision_from": "git"})

    def run(*arguments, optional=(), code="1", **bodies):
        parts = []
        for name, (body, fails) in bodies.items():
            path = tmp_path / f"{name}.py"
            path.write_text(SCRIPT.format(benchmarks=str(BENCHMARKS), body=body, fails=fails))
            parts.append(gpu_parts.Part(name, (str(path),), "a claim.", optional))
        monkeypatch.setattr(gpu, "PARTS", tuple(parts))
        monkeypatch.setattr(gpu, "digest", lambda: code)
        status = gpu.main(arguments)
        found = {part.name: gpu_parts.read(gpu_parts.result_path(part.name)) for part in parts}
        return status, found

    return run


@pytest.mark.slow
def test_a_part_that_is_done_is_skipped_until_the_code_changes(call, capfd):
    status, found = call(first=("pass", False))
    assert status == 0
    assert found["first"]["state"] == "done"
    assert [row["name"] for row in found["first"]["rows"]] == ["one", "two"]
    assert (found["first"]["revision"], found["first"]["machine"]) == ("abc", "card-1")
    assert call(first=("raise SystemExit(3)", False))[0] == 0
    assert "first: done on" in capfd.readouterr().out
    status, found = call(first=("raise SystemExit(3)", False), code="2")
    assert status == 1
    assert found["first"]["state"].startswith("failed: exit status 3")
    assert call("--part", "first", first=("raise SystemExit(4)", False))[1]["first"]["state"].startswith(
        "failed: exit status 4"
    ), "a part that is asked for by name is measured anew"


@pytest.mark.slow
def test_a_part_without_end_is_cut_with_its_workers_and_goes_on_where_it_stopped(call, tmp_path):
    held = tmp_path / "held"
    hangs = (
        f"if name == 'two': import fcntl, subprocess; file = open({str(held)!r}, 'w'); "
        "fcntl.flock(file, fcntl.LOCK_EX); subprocess.Popen(['sleep', '60'], pass_fds=[file.fileno()]); time.sleep(60)"
    )
    status, found = call("--limit", "2", slow=(hangs, False), next=("pass", False))
    assert status == 1
    with held.open() as file:  # locked as long as the part or its worker lives
        for _ in range(50):  # the system closes the files of a dead process a little later
            with suppress(BlockingIOError):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            time.sleep(0.1)
        else:
            pytest.fail("what the part had started goes on")
    assert found["slow"]["state"] == "cut: not over after 2 s"
    assert [row["name"] for row in found["slow"]["rows"]] == ["one"], "what was measured is kept"
    assert found["next"]["state"] == "done"
    status, found = call(slow=("assert name != 'one'", False))
    assert (status, len(found["slow"]["rows"])) == (0, 2)


def test_a_row_that_failed_fails_its_part_and_is_measured_again(call):
    status, found = call(part=("pass", "name == 'two'"))
    assert (status, found["part"]["state"]) == (1, "failed: two")
    status, found = call(part=("assert name == 'two'", False))
    assert (status, found["part"]["state"]) == (0, "done")


def test_without_its_package_a_part_is_recorded_as_not_run(call):
    status, found = call(optional=("kornia",), part=("raise SystemExit(3)", False))
    assert status == 0
    assert found["part"]["state"] == "not run: no module kornia"
    assert found["part"]["rows"] == []


def test_no_part_is_started_that_has_no_time_left(call, capfd):
    status, found = call("--minutes", "0.1", part=("pass", False))
    assert (status, found["part"]) == (1, {})
    assert "part           waiting" in capfd.readouterr().out


def test_a_rehearsal_leaves_no_result(call, monkeypatch, capfd):
    status, found = call("--rehearse", part=("pass", False))
    assert (status, found["part"]) == (0, {})
    assert "REHEARSAL" in capfd.readouterr().out


def test_without_a_gpu_or_a_package_it_is_one_line(monkeypatch):
    import gpu_probe

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(gpu_probe, "PARTS", ())
    monkeypatch.setattr(gpu_probe, "required", lambda: ["torch", "click"])
    assert "has no CUDA GPU" in gpu_probe.main(rehearse=False)["refusal"]
    monkeypatch.setattr(gpu_probe, "required", lambda: ["torch", "no-such-package"])
    refusal = gpu_probe.main(rehearse=True)["refusal"]
    assert "no-such-package (ModuleNotFoundError: No module named 'no_such_package')" in refusal
    assert "PYTHONPATH" in refusal
    assert "\n" not in refusal


def test_what_is_needed_is_listed_less_what_is_there(tmp_path):
    import gpu_needs

    (tmp_path / "there").write_text("NumPy, click\npandas")
    names = {line.partition("==")[0] for line in gpu_needs.lines(tmp_path / "there") if "==" in line}
    assert {"segmentation-models-pytorch", "timm", "pluggy", "kornia"} <= names
    assert not names & {"numpy", "click", "pandas", "torch"}
    assert gpu_needs.name_of('Torch_Vision>=2; extra == "x"') == "torch-vision"


def test_the_digest_is_that_of_the_code(tmp_path):
    import gpu_parts

    (tmp_path / "gisegkit").mkdir()
    (tmp_path / "gisegkit" / "a.py").write_text("1")
    before = gpu_parts.digest(tmp_path)
    (tmp_path / "README.md").write_text("words")
    assert gpu_parts.digest(tmp_path) == before
    (tmp_path / "gisegkit" / "a.py").write_text("2")
    assert gpu_parts.digest(tmp_path) != before


# --- the parts ------------------------------------------------------------------------------------------------------


@pytest.fixture
def rehearse(tmp_path):
    """Calls a part's ``main`` as the rehearsal does, and gives what it recorded."""

    def run(part, *words):
        path = tmp_path / "rows.json"
        path.unlink(missing_ok=True)
        part.main([*words, "--record", str(path), "--rehearse"])
        return json.loads(path.read_text())

    return run


@pytest.mark.slow
def test_memory_and_budget_train_what_was_planned(rehearse):
    import gpu_budget
    import gpu_memory

    (row,) = rehearse(gpu_memory, "224")["rows"]
    assert (row["name"], row["micro_batch"], row.get("failed")) == ("unet_resnet34", 8, None)
    assert row["predicted_gib"] > row["without_allowance_gib"] > 0
    assert "predicted_over_allocated" not in row, "nothing was measured"
    content = rehearse(gpu_budget, "6GB", "r2unet")
    (row,) = content["rows"]
    assert (row["name"], row["passed"], row.get("failed")) == ("r2unet", True, None)
    assert content["settings"]["capped"] is False
    (row,) = rehearse(gpu_budget, "6GB", "of_another_name")["rows"]
    assert row["failed"] is True, "an error is a row that says why"
    assert "recipes/of_another_name.toml" in row["error"]
    assert str(BENCHMARKS.parent) not in row["error"], "results are committed, and name no folder of a machine"


@pytest.mark.slow
def test_training_is_measured_from_files_and_from_the_device(rehearse, monkeypatch):
    import gpu_training

    monkeypatch.setattr(gpu_training, "REPETITIONS", 1)
    rows = rehearse(gpu_training)["rows"]
    assert [row["ours"]["name"] for row in rows] == list(gpu_training.SIDES)
    assert all(row["baseline"]["name"] == "a fixed batch" and row["ratio"] > 0 for row in rows)


@pytest.mark.slow
def test_every_network_is_repeated_and_compared_bit_by_bit(tmp_path):
    import gpu_repeat
    import gpu_rig

    rig, _ = gpu_rig.begin(["a", "--record", str(tmp_path / "rows.json"), "--rehearse"])
    networks = [one.name for one in rig.session.plugins.registries if one.kind == "model"]
    names = gpu_repeat.names(rig)
    assert {name.partition(" ")[0] for name in names} == set(networks)
    folders = [tmp_path / "1", tmp_path / "2"]
    for folder in folders:
        folder.mkdir()
        gpu_repeat.one_pass(rig, folder, ["unet tu-test_resnet"])
    row = gpu_repeat.row(rig, folders, "unet tu-test_resnet")
    assert row["equal"] is row["losses_equal"] is True
    content = torch.load(folders[1] / "unet tu-test_resnet.pt")
    next(iter(content["weights"].values())).view(-1)[0] += 0.5
    torch.save(content, folders[1] / "unet tu-test_resnet.pt")
    row = gpu_repeat.row(rig, folders, "unet tu-test_resnet")
    assert (row["equal"], row["tensors_that_differ"]) == (False, 1)
    assert row["largest_difference"] == pytest.approx(0.5)
    with pytest.raises(RuntimeError, match="nothing came of pass 1 and 2"):
        gpu_repeat.row(rig, folders, "manet")


def test_zeros_of_another_sign_differ_and_operations_are_named():
    import gpu_repeat

    zeros = {"a": torch.tensor([0.0]), "b": torch.tensor([1])}
    assert gpu_repeat.differences(zeros, {**zeros, "a": torch.tensor([-0.0])})["equal"] is False
    assert gpu_repeat.named(lambda: torch.zeros(3).put_(torch.tensor([1]), torch.ones(1))) == ["put_"]
    assert not torch.are_deterministic_algorithms_enabled()


def test_a_test_that_is_skipped_on_a_gpu_is_a_failure(tmp_path):
    import gpu_parts
    import gpu_tests

    def report(outcome, when, text=""):
        return SimpleNamespace(nodeid="t", outcome=outcome, when=when, duration=0.5, longrepr=text)

    for rehearse, failed in ((False, True), (True, None)):
        record = gpu_parts.Record(tmp_path / "rows.json")
        keeper = gpu_tests.Keeper(record, rehearse=rehearse)
        keeper.pytest_runtest_logreport(report("skipped", "setup", ("file", 1, "no device")))
        keeper.pytest_runtest_logreport(report("passed", "teardown"))
        (row,) = record.content["rows"]
        assert (row["outcome"], row["reason"], row.get("failed")) == ("skipped", "no device", failed)
    items = [SimpleNamespace(nodeid="t"), SimpleNamespace(nodeid="u")]
    keeper.pytest_collection_modifyitems(items)
    assert [item.nodeid for item in items] == ["u"], "what passed is not repeated"


# --- the page -------------------------------------------------------------------------------------------------------


def test_the_page_shows_what_was_measured_and_says_what_was_not(tmp_path):
    import gpu_parts
    import page

    part = next(one for one in gpu_parts.PARTS if one.name == "memory-224")
    content = {
        "benchmark": "gpu-memory-224",
        "command": "make gpu PART=memory-224",
        "state": "cut: not over after 225 s",
        "date": "2026-01-01",
        "revision": "0123456789abcdef",
        "hardware": {"cpus": 4, "processor": "p", "memory_gib": 8, "gpu": "card", "driver": "1", "cuda": "13.0"},
        "versions": {"torch": "2.11"},
        "settings": {"pixels": 224},
        "rows": [{"name": "r2unet", "micro_batch": 64, "predicted_over_allocated": 1.0625, "recomputed": False}],
    }
    file = tmp_path / "gpu-memory-224.json"
    file.write_text(json.dumps(content))
    text = page.page([file])
    assert "| r2unet | 64 | 1.062 | **no** |" in text
    assert "**cut: not over after 225 s**" in text
    assert "card, driver 1, CUDA 13.0" in text
    assert text.count("**Not measured yet.**") == len(gpu_parts.PARTS) - 1
    assert "**Not measured yet.**" in page.gpu_section(part, None)
