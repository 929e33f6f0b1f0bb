"""What runs in the cluster: the tasks, and the actor that keeps hold of them.

Ray ends the tasks of a driver that ends. So they are submitted by an actor that belongs to no driver, one for the
folder of a plan, and the next giseg plan finds it by its name.
"""

from __future__ import annotations

import socket
import time
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import ray

from gisegkit.components.attended import Attended
from gisegkit.types import Job, JobEnd

CANCELLED = -15
"""The exit status of a command that was cancelled, before it started or while it ran."""

LOOK = 2.0
"""Seconds between two questions of a task whether it was cancelled."""


def run_command(
    job: Job, environment: Mapping[str, str], keeper: Any, handle: str, before: Sequence[ray.ObjectRef[int]] = ()
) -> int:
    """Run the command of a job on this node; if the task is cancelled, it is asked to end, or not started at all.

    Ray tells a task that it is cancelled, but this may get lost while the task is on its way to a node. So the task
    asks the keeper, too.

    Args:
        keeper: the actor that knows what was cancelled, and ``handle`` what it calls this task.
        before: tasks of the same step that were cancelled and must have ended, since both write into one folder.

    Returns:
        Its exit status, negative for a signal.
    """
    if before:
        ray.wait(list(before), num_returns=len(before))
    if was_cancelled(keeper, handle):
        return CANCELLED
    try:
        attended = Attended(job, environment=environment)
    except OSError as error:
        raise OSError(f"the command cannot be started on {socket.gethostname()}: {error}") from error
    try:
        asked = time.monotonic()
        while (code := attended.poll()) is None:
            time.sleep(0.1)  # a cancelled task is told between two steps of Python, not in the middle of a wait
            if time.monotonic() - asked > LOOK:
                if was_cancelled(keeper, handle):
                    attended.stop()
                    return CANCELLED
                asked = time.monotonic()
    except BaseException:
        attended.stop()
        raise
    return code


def was_cancelled(keeper: Any, handle: str) -> bool:
    """Whether a task was cancelled; False if the keeper does not answer: Ray ends the tasks of one that has ended."""
    try:
        return bool(ray.get(keeper.is_cancelled.remote(handle), timeout=60))
    except ray.exceptions.RayError:
        return False


class Keeper:
    """Submits tasks, and knows how they ended."""

    def __init__(self) -> None:
        self._tasks: dict[str, tuple[str, ray.ObjectRef[int]]] = {}  # step and task, by handle
        self._cancelled: set[str] = set()

    def submit(self, job: Job, environment: dict[str, str], options: dict[str, Any]) -> str:
        """Put a command into Ray's queue; one of the same step that waits or runs is taken over, unless cancelled."""
        ending = []
        for handle, (step, task) in self._tasks.items():
            if step == job.name and self.poll(handle) is None:
                if handle not in self._cancelled:
                    return handle
                ending.append(task)
        handle, keeper = uuid.uuid4().hex[:12], ray.get_runtime_context().current_actor
        command = ray.remote(run_command).options(name=job.name, max_retries=0, **options)
        task = command.remote(job, environment, keeper, handle, ending)
        self._tasks[handle] = (job.name, task)
        return handle

    def poll(self, handle: str) -> JobEnd | None:
        """How a task ended; None while it waits or runs."""
        if handle not in self._tasks:
            return JobEnd(None, "the Ray cluster does not know it")
        task = self._tasks[handle][1]
        if not ray.wait([task], timeout=0)[0]:
            return None
        if handle in self._cancelled:
            return JobEnd(CANCELLED, "cancelled")
        try:
            return JobEnd(ray.get(task))
        except ray.exceptions.OutOfMemoryError:
            return JobEnd(-9, "Ray killed it because memory ran out")
        except ray.exceptions.RayTaskError as error:
            return JobEnd(1, str(error).strip().splitlines()[-1])
        except ray.exceptions.RayError as error:
            return JobEnd(None, f"its worker died: {type(error).__name__}")

    def cancel(self, handle: str) -> None:
        """Take a task out of the queue, or ask it to end."""
        if handle in self._tasks and handle not in self._cancelled and self.poll(handle) is None:
            self._cancelled.add(handle)
            ray.cancel(self._tasks[handle][1])

    def is_cancelled(self, handle: str) -> bool:
        """Whether a task was cancelled, which it may not have heard of."""
        return handle in self._cancelled

    def idle(self) -> bool:
        """Whether no task waits or runs."""
        return all(self.poll(handle) is not None for handle in self._tasks)
