"""The coordinator: side by side, what fails stops nothing else, and no job is lost or run twice.

Commands run through an executor of the test, which makes of each command what the test says: a finished run folder, an
exit status, or nothing yet.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gisegkit.errors import Interrupted, RunError
from gisegkit.runs.plan_record import read_record
from gisegkit.types import JobEnd
from gisegkit.workflows.coordinator import Coordinator, cause_of
from gisegkit.workflows.plan import run_plan


def words_of(states):
    return [state.word for state in states.values()]


@pytest.mark.parametrize(("slots", "most"), [(1, 1), (2, 2), (8, 3)])
@pytest.mark.slow
def test_jobs_run_side_by_side_as_far_as_there_are_slots(cluster, open_, finish, slots, most):
    lines = []
    executor = cluster(lambda job, number: finish(job) if number > 1 else None, slots)
    ran = run_plan(open_(), executor, say=lines.append)
    assert ran.complete and ran.tried == 3 and executor.closed and executor.most == most
    assert executor.submitted == ["n-seed0", "n-seed1", "n-seed2"]
    score = f", score {ran.states['n-seed0'].score:.4f}"
    assert any("[1/3] n-seed0: done in" in line and score in line for line in lines)


def test_a_failed_cell_is_told_and_stops_no_other_and_only_it_is_tried_again(cluster, open_, finish):
    lines = []

    def fate(job, number):
        if job.name == "n-seed1":
            with Path(job.log).open("a") as file:
                file.write("epoch 1\nerror: no data\n")
            return JobEnd(2, "node 7")
        return finish(job)

    ran = run_plan(open_(), cluster(fate), say=lines.append)
    assert words_of(ran.states) == ["done", "failed", "done"]
    assert any("n-seed1: failed after" in line and line.endswith("no data (node 7)") for line in lines)
    again = cluster(lambda job, number: finish(job))
    assert run_plan(open_(), again, say=lines.append).complete and again.submitted == ["n-seed1"]


def test_completion_is_read_from_the_run_folder(cluster, open_, finish):
    """Whatever the executor thinks of a job, or if it does not know."""
    for number, end in enumerate((JobEnd(None), JobEnd(1), JobEnd(-15, "time limit"))):
        work = open_(out=f"p{number}")

        def fate(job, number, end=end):
            finish(job)
            return end

        assert run_plan(work, cluster(fate), say=lambda line: None).complete
    lines = []
    ran = run_plan(open_(), cluster(lambda job, number: JobEnd(0)), say=lines.append)
    assert words_of(ran.states) == ["failed"] * 3 and "it ended without" in ran.states["n-seed0"].detail


def test_what_a_job_took_is_counted_from_when_it_had_a_machine(cluster, open_, finish, monkeypatch):
    """Its log says so; an executor whose log does not starts jobs at once."""
    clock = [1000.0]
    monkeypatch.setattr("gisegkit.workflows.coordinator.time.time", lambda: clock[0])

    def fate(job, number):
        clock[0] += 7.0
        if job.name == "n-seed1" and number == 3:
            with Path(job.log).open("a") as file:
                file.write("$ giseg on node7\n")
        return finish(job) if number == 5 else None

    took = [state.seconds for state in run_plan(open_(), cluster(fate, 1), say=lambda line: None).states.values()]
    assert took == [35.0, 14.0, 35.0]


def test_a_job_that_waits_when_it_is_found_again_is_timed_alike(cluster, open_, finish, monkeypatch):
    clock = [1000.0]
    monkeypatch.setattr("gisegkit.workflows.coordinator.time.time", lambda: clock[0])
    first = cluster(raising(Killed), 1)
    with pytest.raises(Killed):
        run_plan(open_(), first, say=lambda line: None)

    def fate(job, number):
        clock[0] += 7.0
        if job.name == "n-seed0" and number == 4:
            with Path(job.log).open("a") as file:
                file.write("$ giseg on node7\n")
        return finish(job) if number == 5 else None

    ran = run_plan(open_(), cluster(fate, 1, first.jobs), say=lambda line: None)
    assert [state.seconds for state in ran.states.values()] == [7.0, 35.0, 35.0]


def test_a_lost_job_is_submitted_again_as_long_as_it_makes_progress(cluster, open_, finish):
    """As after preemption: four times it is taken away, each time an epoch further."""
    lines, seen = [], []

    def fate(job, number):
        if job.name != "n-seed1":
            return finish(job)
        seen.append(job.name)
        folder = cluster.folder(job)
        folder.mkdir(parents=True, exist_ok=True)
        if len(seen) > 4:
            return finish(job)
        (folder / "recipe.toml").write_text("")
        with (folder / "metrics.jsonl").open("a") as file:
            file.write(json.dumps({"epoch": len(seen), "loss": 1.0, "seconds": 1.0, "peak_memory": 0}) + "\n")
        return JobEnd(None, "preempted")

    executor = cluster(fate)
    assert run_plan(open_('set = {"train.epochs" = 9}'), executor, say=lines.append).states["n-seed1"].word != "failed"
    assert executor.submitted.count("n-seed1") == 5
    assert sum("its job was lost (preempted); it is submitted again" in line for line in lines) == 4
    gone = cluster(lambda job, number: JobEnd(None, "preempted"))
    ran = run_plan(open_(out="q"), gone, say=lines.append)
    assert words_of(ran.states) == ["failed"] * 3 and len(gone.submitted) == 9
    assert ran.states["n-seed0"].detail == "its job was lost 3 times without progress (preempted)"


class Killed(BaseException):
    """In place of kill -9: nothing of the coordinator runs after it but close, which does nothing here."""


def test_a_lost_job_that_still_holds_its_folder_is_waited_for(cluster, open_, finish, hold):
    """Its worker was killed, and the command dies a moment later."""
    holders, rounds = [], []

    def fate(job, number):
        if job.name != "n-seed1" or rounds.count("lost") == 3:
            return finish(job)
        if not holders:
            cluster.folder(job).mkdir(parents=True, exist_ok=True)
            holders.append(hold(cluster.folder(job)))
        elif len(rounds) == 2:
            holders[0].kill()
            holders[0].wait()
        rounds.append("lost")
        return JobEnd(None, "its worker died")

    executor = cluster(fate, 1)
    assert run_plan(open_(), executor, say=lambda line: None).complete
    assert executor.submitted == ["n-seed0", "n-seed1", "n-seed1", "n-seed2"] and len(rounds) == 3


def test_a_killed_coordinator_loses_no_job_and_starts_none_twice(cluster, open_, finish):
    def killed(job, number):
        if number > 2:
            raise Killed
        return finish(job) if job.name == "n-seed0" else None

    work = open_()
    first = cluster(killed, 2)
    with pytest.raises(Killed):
        run_plan(work, first, say=lambda line: None)
    assert first.submitted == ["n-seed0", "n-seed1", "n-seed2"]
    record = read_record(work.folder)
    assert record["n-seed1"].job == "job1" and record["n-seed1"].executor == "local"  # as the plan names none
    lines = []
    second = cluster(lambda job, number: finish(job) if number > 5 else None, 2, first.jobs)
    ran = run_plan(open_(), second, say=lines.append)
    assert ran.complete and second.submitted == [] and ran.tried == 2
    assert [line for line in lines if "still runs" in line] == [
        "[2/3] n-seed1: still runs as job job1",
        "[3/3] n-seed2: still runs as job job2",
    ]


def test_a_job_that_ended_meanwhile_is_continued(cluster, open_, finish):
    with pytest.raises(Killed):
        run_plan(open_(), cluster(raising(Killed)), say=lambda line: None)
    second = cluster(lambda job, number: finish(job))  # which knows none of the jobs
    assert run_plan(open_(), second, say=lambda line: None).complete
    assert second.submitted == ["n-seed0", "n-seed1", "n-seed2"]


def test_jobs_of_another_executor_are_told(cluster, open_, finish):
    with pytest.raises(Killed):
        run_plan(open_(), cluster(raising(Killed), 1), say=lambda line: None)
    lines, work = [], open_()
    executor = cluster(lambda job, number: finish(job))
    Coordinator(work, executor, "slurm", say=lines.append).run()
    assert "[1/3] n-seed0: job job0 of executor local is left out of account" in lines[0]
    assert executor.submitted[0] == "n-seed0"


def raising(error):
    def fate(job, number):
        raise error

    return fate


def test_an_interruption_names_what_ran_and_closes_the_executor(cluster, open_):
    executor = cluster(raising(KeyboardInterrupt), 2)
    with pytest.raises(Interrupted, match=r"interrupted in n-seed0, n-seed1; what is finished is kept: run the same"):
        run_plan(open_(), executor, say=lambda line: None)
    assert executor.closed


def test_a_log_that_cannot_be_written_is_told(cluster, open_):
    work = open_()
    (work.folder / "logs" / "n-seed0.log").mkdir(parents=True)
    with pytest.raises(RunError, match=r"n-seed0\.log: the command cannot be started"):
        run_plan(work, cluster(raising(KeyboardInterrupt)), say=lambda line: None)


@pytest.mark.parametrize(
    ("text", "code", "cause"),
    [
        ("epoch 1\nerror: no data; give a root\n", 2, "no data; give a root"),
        ("error: old\n$ giseg run x\nTraceback\nValueError: shapes\n", 1, "old Traceback ValueError: shapes"),
        ("Traceback\n  line\nValueError: shapes\n", 1, "ValueError: shapes"),
        ("epoch 1\n", -9, "killed by signal 9 (maybe memory ran out)"),
        ("epoch 1\n", -11, "killed by signal 11"),
        ("$ giseg run x\n", 3, "exit status 3"),
    ],
)
def test_the_cause_is_one_line(tmp_path, text, code, cause):
    log = tmp_path / "a.log"
    log.write_text(text)
    assert cause_of(log, 0, code) == cause
    assert cause_of(tmp_path / "none.log", 0, 3) == "exit status 3"
    begun = len(text)
    with log.open("a") as file:
        file.write("error: new\n")
    assert cause_of(log, begun, 2) == "new"
