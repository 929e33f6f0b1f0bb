"""What ``ensemble.json`` says of a gate."""

from __future__ import annotations

import json

import pytest

from gisegkit.errors import RunError
from gisegkit.runs.folder import RunDir
from gisegkit.runs.gates import StoredGate, as_entry, gate_of, members_of_gate
from gisegkit.runs.members import Member


@pytest.fixture
def ensemble(tmp_path):
    """An ensemble in ``e`` whose gate is the run ``gate``, and a function that changes the entry."""
    for name in ("e", "gate"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "recipe.toml").write_text('name = "x"\n')
        (tmp_path / name / "environment.json").write_text('{"format": 3}')
    gate, run = RunDir(tmp_path / "gate"), RunDir(tmp_path / "e")
    stored = StoredGate(gate, "gate", {"a": 3}, (Member(gate, "gate", 1.0, (gate,), ("d",)),), "f")
    entry = as_entry(run.path, stored)

    def write(**changes):
        (run.path / "ensemble.json").write_text(json.dumps({"format": 1, "members": [], "gate": {**entry, **changes}}))
        return run

    return write


def test_an_entry_is_relative_and_read_again(ensemble):
    found = gate_of(ensemble())
    assert (found.label, found.pixels, found.decision) == ("../gate", {"a": 3}, "f")
    (member,) = found.members
    assert (member.digests, member.label, member.weight) == (("d",), "the gate gate", 1.0)


@pytest.mark.parametrize(
    "changes",
    [{"run": 3}, {"pixels": {"a": -1}}, {"pixels": {"a": True}}, {"pixels": 3}, {"digests": "d"}, {"decision": 1}],
)
def test_a_damaged_entry_is_told(ensemble, changes):
    with pytest.raises(RunError, match="its gate is no table of run, pixels, digests and decision"):
        gate_of(ensemble(**changes))


def test_a_gate_with_another_number_of_networks_is_told(ensemble):
    with pytest.raises(RunError, match=r"its gate \.\./gate had 2 networks when the ensemble was made"):
        gate_of(ensemble(digests=["d", "e"]))


def test_a_gate_that_is_gone_is_told(ensemble):
    with pytest.raises(RunError, match=r"its gate \.\./none is not there"):
        gate_of(ensemble(run="../none"))


def test_a_run_has_no_gate_and_an_ensemble_with_one_is_none(ensemble):
    run = ensemble()
    assert gate_of(RunDir(run.path.parent / "gate")) is None
    with pytest.raises(RunError, match="has a gate itself and cannot be one"):
        members_of_gate(run)
