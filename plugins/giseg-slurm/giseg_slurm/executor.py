"""The executor ``slurm``: each command of a plan is a job of its own, submitted with submitit."""

from __future__ import annotations

import hashlib
import os
import pickle
import signal
import subprocess
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Literal

import submitit
from submitit.core.utils import FailedJobError, FailedSubmissionError, JobPaths

from giseg_slurm.command import Command
from giseg_slurm.queue import Queue
from gisegkit import AtLeast
from gisegkit.errors import RunError
from gisegkit.types import Job, JobEnd

FOLDER = "submitit"


class Slurm:
    """Runs each command as a Slurm job, through submitit.

    Shortly before its time limit, a run is stopped, its job is started again, and it continues after its last epoch.
    Jobs stay in the queue if giseg plan ends; the next one finds them.

    Args:
        device: the device that the commands are told to use.
        folder: of the plan. It must be on a file system that the nodes share; submitit's files are kept in it.
        cluster: "local" runs the jobs on this machine without Slurm, to try a plan.
        partition: where the jobs run; by default, Slurm's default.
        minutes: the time limit of a job.
        gpus: how many GPUs each job asks for; none with --device cpu.
        cpus: how many processors each job asks for; 0 is Slurm's default.
        memory: GB of main memory that each job asks for; 0 is Slurm's default.
        account: that the jobs are charged to.
        qos: the quality of service that the jobs ask for.
        options: any other options of sbatch, such as {constraint = "a100"}.
        setup: lines of shell that a job executes first, such as ["module load cuda"].
        warning: seconds before the time limit in which a run is stopped and its job is put into the queue again.
        requeues: how often Slurm starts a job again that has reached its time limit. After that, giseg plan submits it
            anew, as long as it gets further.
        jobs: how many jobs wait or run at once.
        interval: seconds between two looks at the queue.
    """

    def __init__(
        self,
        *,
        device: str = "auto",
        folder: str,
        cluster: Literal["slurm", "local"] = "slurm",
        partition: str = "",
        minutes: Annotated[int, AtLeast(1)] = 240,
        gpus: Annotated[int, AtLeast(0)] = 1,
        cpus: Annotated[int, AtLeast(0)] = 0,
        memory: Annotated[float, AtLeast(0)] = 0.0,
        account: str = "",
        qos: str = "",
        options: dict[str, Any] | None = None,
        setup: list[str] = [],  # noqa: B006  (a recipe's default)
        warning: Annotated[int, AtLeast(1)] = 90,
        requeues: Annotated[int, AtLeast(0)] = 3,
        jobs: Annotated[int, AtLeast(1)] = 100,
        interval: Annotated[float, AtLeast(0.1)] = 10.0,
    ) -> None:
        self.folder, self.cluster = Path(folder).absolute() / FOLDER, cluster
        self.minutes, self.warning, self.requeues = minutes, warning, requeues
        self.slots, self.interval = jobs, interval
        self.queue = Queue(interval)
        self._own: dict[str, submitit.Job[int]] = {}
        self._cancelled: set[str] = set()
        if warning >= minutes * 60:
            raise RunError(f"warning, {warning} seconds, is not shorter than the time limit, {minutes} minutes")
        asked: dict[str, Any] = {"partition": partition, "cpus": cpus, "memory": memory, "account": account, "qos": qos}
        asked |= {"options": dict(options or {}), "setup": list(setup)}
        self.gpus, self.asked = 0 if device == "cpu" else gpus, {key: value for key, value in asked.items() if value}
        if cluster == "local" and self.asked:
            raise RunError(f'{", ".join(self.asked)}: only Slurm knows this; remove it, or remove cluster = "local"')
        self._digest = hashlib.sha1(str(self.folder).encode(), usedforsecurity=False).hexdigest()[:6]

    def submit(self, job: Job) -> str:
        """Put a command into the queue; a job of the same step that waits or runs is taken over.

        Raises:
            RunError: if Slurm is not there or refuses the job; says why.
        """
        stem = f"{job.name}.{self._digest}."
        if self.cluster == "slurm" and (live := self._live(stem)):
            return live
        unique = uuid.uuid4().hex[:8]
        folder = self.folder / unique
        try:
            executor = self._executor(folder, stem + unique)
            submitted = executor.submit(Command(job))
        except (RuntimeError, FailedJobError, FailedSubmissionError, OSError) as error:
            raise RunError(f"{job.name}: its job cannot be submitted: {_last_line(str(error))}") from error
        handle = f"{unique}/{submitted.job_id}"
        self._own[handle] = submitted
        self.queue.forget()
        return handle

    def _executor(self, folder: Path, name: str) -> submitit.Executor:
        """What submits one job."""
        if self.cluster == "local":
            here = submitit.LocalExecutor(folder, max_num_timeout=self.requeues)
            here.update_parameters(timeout_min=self.minutes, signal_delay_s=self.warning, gpus_per_node=self.gpus)
            return here
        slurm = submitit.SlurmExecutor(folder, max_num_timeout=self.requeues)
        slurm.update_parameters(job_name=name, time=self.minutes, signal_delay_s=self.warning, **self._sbatch())
        return slurm

    def _sbatch(self) -> dict[str, Any]:
        """What was asked for, as submitit names it."""
        names = {"cpus": "cpus_per_task", "memory": "mem", "options": "additional_parameters"}
        found = {names.get(key, key): value for key, value in self.asked.items()}
        if "mem" in found:
            found["mem"] = f"{round(found['mem'] * 1024)}MB"
        if "cpus" in self.asked:
            found["srun_args"] = [f"--cpus-per-task={self.asked['cpus']}"]  # srun does not take it over from sbatch
        return found | ({"gpus_per_node": self.gpus} if self.gpus else {})

    def _live(self, stem: str) -> str:
        """The handle of a job in the queue whose name begins with the stem; empty if there is none.

        A giseg plan that was killed while it submitted the job did not note its handle.
        """
        for number, (_, name) in (self.queue.jobs() or {}).items():
            handle = f"{name.removeprefix(stem)}/{number}"
            if name.startswith(stem) and self.poll(handle) is None:
                return handle
        return ""

    def poll(self, handle: str) -> JobEnd | None:
        """How a job ended: by the result in its folder, or, if there is none, by the queue."""
        unique, _, number = handle.partition("/")
        folder = self.folder / unique
        if not number.isdigit() or not folder.is_dir():
            return JobEnd(None, "it is unknown here")
        if self.cluster == "local":
            if self._runs_here(handle, int(number)):
                return None
            return result(folder, number) or JobEnd(None, "its process ended")
        if (end := result(folder, number)) is not None:
            return end
        end = self.queue.end(number)
        return end and (result(folder, number) or end)  # it may have been written meanwhile

    def _runs_here(self, handle: str, pid: int) -> bool:
        """Whether the process of a job on this machine is there; its number may belong to another one by now."""
        if handle in self._own:
            return not self._own[handle].done()
        try:
            return handle.partition("/")[0].encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            return False

    def cancel(self, handle: str) -> None:
        """Take a job out of the queue, or end it with all its processes."""
        if handle in self._cancelled or self.poll(handle) is not None:
            return
        self._cancelled.add(handle)
        number = handle.partition("/")[2]
        if self.cluster == "slurm":
            subprocess.run(["scancel", number], capture_output=True)
            self.queue.forget()
        else:
            with suppress(ProcessLookupError):
                os.kill(int(number), signal.SIGINT)

    def close(self) -> None:
        """Jobs stay in the queue, for the next giseg plan."""


def result(folder: Path, number: str) -> JobEnd | None:
    """How a command ended, as the job has written it; None if it has not."""
    paths = JobPaths(folder, job_id=number)
    try:
        outcome, value = pickle.loads(paths.result_pickle.read_bytes())
    except (OSError, EOFError, pickle.UnpicklingError):
        return None
    if outcome == "success":
        return JobEnd(value)
    line = _last_line(value)
    if "timed-out" in line:
        return JobEnd(None, "time limit")
    return JobEnd(1, f"{line}; see {paths.stderr}")


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no reason is given"
