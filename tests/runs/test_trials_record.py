"""The record of a search's trials."""

from __future__ import annotations

import pytest

from gisegkit.errors import RunError
from gisegkit.runs.trials_record import NAME, read_aim, read_trials, write_trials
from gisegkit.types import Trial


def test_what_is_written_is_read_again(tmp_path):
    trials = [Trial(0, {"optimizer.lr": 1e-5, "model.encoder": "a"}), Trial(1, {"optimizer.lr": 0.1, "x": [1, 2]})]
    write_trials(tmp_path, trials, {"metric": "dice"})
    assert read_trials(tmp_path) == trials and read_aim(tmp_path) == {"metric": "dice"}
    assert read_aim(tmp_path / "none") == {}
    assert read_trials(tmp_path / "none") == []


@pytest.mark.parametrize(
    "text", ['{"format": 3, "trials": []}', '{"format": 1}', '{"format": 1, "trials": [{"number": 1}]}', "[]"]
)
def test_a_damaged_record_is_told_with_the_remedy(tmp_path, text):
    (tmp_path / NAME).write_text(text)
    with pytest.raises(RunError, match="damaged"):
        read_trials(tmp_path)


def test_version_1_said_nothing_of_the_aim(tmp_path):
    (tmp_path / NAME).write_text('{"format": 1, "trials": [{"number": 0, "values": {"seed": 1}}]}')
    assert read_trials(tmp_path) == [Trial(0, {"seed": 1})] and read_aim(tmp_path) == {}
