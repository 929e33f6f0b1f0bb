"""Plans through Slurm and Ray themselves: what fails, what is killed, and what reaches its time limit."""

from __future__ import annotations

import time

import pytest

pytestmark = [pytest.mark.distributed, pytest.mark.slow]

SWEEP = """
seeds = [0, 1]
[run.vary]
"split.fold" = [0, 1]
"loss.0.name" = ["bce", "dice", "focal"]
[run.set]
"train.epochs" = 1
"""

LONG = """
[run.set]
"train.epochs" = {epochs}
"tracker.0.name" = "sleep"
"tracker.0.seconds" = {seconds}
"""


@pytest.fixture(params=["slurm", "ray"])
def executor(request):
    """The table of a plan that names a cluster which runs here."""
    return request.getfixturevalue(f"{request.param}_table")


@pytest.fixture
def slurm_table(slurm):
    return f'[executor]\nname = "slurm"\ncluster = "{slurm}"\ngpus = 0\ninterval = 1\nwarning = 30\nminutes = 30\n'


def test_a_sweep_whose_coordinator_is_killed_and_of_which_one_cell_fails(plan, executor, until):
    """3 losses x 2 seeds x 2 folds; the folder of one cell is in the way of it."""
    plan.write(executor, SWEEP)
    cells = [f"n-seed{seed}-fold{fold}-{loss}" for seed in (0, 1) for fold in (0, 1) for loss in LOSSES]
    bad = cells[4]
    plan.out.mkdir()
    (plan.out / bad).write_text("no folder")

    first = plan.start()
    until(lambda: any((plan.out / cell / "evaluation" / "scores.json").exists() for cell in cells))
    first.kill()
    first.wait()
    code, printed = plan.run()
    assert code == 1 and "still runs as job" in printed
    assert f"{bad}: failed after" in printed and "is not a folder" in printed
    assert [plan.submissions(cell) for cell in cells] == [1] * 12
    ranked = printed.partition("rank")[2]
    assert all((cell in ranked) == (cell != bad) for cell in cells)

    (plan.out / bad).unlink()
    code, printed = plan.run()
    assert code == 0 and f"{bad}: done in" in printed
    assert [plan.submissions(cell) for cell in cells] == [1 + (cell == bad) for cell in cells]
