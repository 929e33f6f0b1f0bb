"""Plans through Slurm and Ray themselves: what fails, what is killed, and what reaches its time limit."""

from __future__ import annotations

import re

import pytest

pytestmark = [pytest.mark.distributed, pytest.mark.slow]

LOSSES = ("bce", "dice", "focal")

SWEEP = """
seeds = [0, 1]
folds = [0, 1]
[run.vary]
"loss.0.name" = ["bce", "dice", "focal"]
[run.set]
"train.epochs" = 1
"""

LONG = """
[run.set]
"split.fold" = 0
"train.epochs" = {epochs}
"tracker.0.name" = "sleep"
"tracker.0.seconds" = {seconds}
"""


@pytest.fixture
def slurm_table(slurm):
    limit = "minutes = {minutes}\nwarning = 30\n"
    return f'[executor]\nname = "slurm"\ncluster = "{slurm}"\ngpus = 0\ninterval = 1\n{limit}'


@pytest.fixture
def ray_table(ray_cluster):
    return f'[executor]\nname = "ray"\naddress = "{ray_cluster}"\ngpus = 0\ninterval = 1\n'


@pytest.fixture(params=["slurm", "ray"])
def table(request):
    """The table of a plan that names a cluster which runs here."""
    return request.getfixturevalue(f"{request.param}_table").format(minutes=30)


@pytest.fixture(scope="module")
def reference(long_plan):
    """Losses and scores, epoch by epoch, of a run that nothing stopped."""
    long_plan.write('[executor]\nname = "local"\n', LONG.format(epochs=12, seconds=0.0))
    assert long_plan.run()[0] == 0
    return long_plan.losses("n")


def test_a_sweep_with_a_cell_that_fails_and_a_coordinator_that_is_killed(plan, table):
    """3 losses x 2 seeds x 2 folds; a file is in the way of one cell's folder."""
    plan.write(table, SWEEP)
    cells = [f"n-{loss}-seed{seed}" for loss in LOSSES for seed in (0, 1)]
    bad, good = cells[4], [cell for cell in cells if cell != cells[4]]
    plan.out.mkdir()
    (plan.out / bad).write_text("no folder")

    first = plan.start()
    plan.wait(first, lambda: any(plan.is_scored(cell) for cell in good))
    first.kill()  # while others run and wait
    first.wait()
    code, printed = plan.run()
    assert code == 1, printed
    assert "still runs as job" in printed
    assert f"{bad}: failed after" in printed
    assert f"{bad} cannot be made: File exists" in printed
    assert {cell: plan.submissions(cell) for cell in good} == dict.fromkeys(good, 1)
    tries = plan.submissions(bad)
    assert tries in (1, 2)  # 2 if the first coordinator still saw it fail: the next command tries what failed again
    assert all(plan.is_scored(cell) for cell in good)
    ranked = (plan.out / "ranking.csv").read_text()
    assert all(loss in ranked for loss in ("bce", "dice"))

    (plan.out / bad).unlink()
    code, printed = plan.run()
    assert code == 0, printed
    assert re.findall(r"\] (\S+): giseg run", printed) == [bad]
    assert {cell: plan.submissions(cell) for cell in cells} == dict.fromkeys(cells, 1) | {bad: tries + 1}


def test_a_run_whose_process_is_killed_loses_nothing(plan, table, reference):
    plan.write(table, LONG.format(epochs=12, seconds=2.0))
    first = plan.start()
    plan.wait(first, lambda: plan.epochs("n") >= 2)
    plan.kill(plan.process("n"))
    assert first.wait(timeout=600) == 1
    assert "killed by signal 9" in plan.printed()
    begun = plan.epochs("n")
    assert 2 <= begun < 12
    assert plan.run()[0] == 0
    assert plan.losses("n") == reference
    assert plan.submissions("n") == 2


def test_a_worker_of_ray_that_is_killed_loses_nothing(plan, ray_table, reference):
    """Its command ends with it, and is submitted again."""
    plan.write(ray_table, LONG.format(epochs=12, seconds=2.0))
    first = plan.start()
    plan.wait(first, lambda: plan.epochs("n") >= 2)
    command = plan.process("n")
    plan.kill(plan.parent(plan.parent(command)))  # of the guard
    assert first.wait(timeout=600) == 0
    assert "its job was lost (its worker died" in plan.printed()
    assert plan.losses("n") == reference
    assert plan.submissions("n") == 2


def test_a_job_that_reaches_its_time_limit_is_started_again_and_resumes_exactly(plan, slurm_table, reference):
    """Slurm warns 30 to 90 seconds before the limit of two minutes, and the run sleeps for 144 seconds."""
    plan.write(slurm_table.format(minutes=2), LONG.format(epochs=12, seconds=12.0))
    code, printed = plan.run()
    assert code == 0, printed
    assert plan.starts("n") > plan.submissions("n")  # Slurm has started it again, without giseg plan
    assert plan.losses("n") == reference
