"""What runs in the cluster: the tasks, and the actor that keeps hold of them.

Ray ends the tasks of a driver that ends. So they are submitted by an actor that belongs to no driver, one for the
folder of a plan, and the next giseg plan finds it by its name.
"""

from __future__ import annotations

import socket
import time
import uuid
from collections.abc import Mapping
from typing import Any

import ray

from gisegkit.components.attended import Attended
from gisegkit.types import Job, JobEnd


def run_command(job: Job, environment: Mapping[str, str]) -> int:
    """Run the command of a job on this node; if the task is cancelled, it is asked to end.

    Returns:
        Its exit status, negative for a signal.
    """
    try:
        attended = Attended(job, environment=environment)
    except OSError as error:
        raise OSError(f"the command cannot be started on {socket.gethostname()}: {error}") from error
    try:
        while (code := attended.poll()) is None:
            time.sleep(0.1)  # a cancelled task is told between two steps of Python, not in the middle of a wait
    except BaseException:
        attended.stop()
        raise
    return code


class Keeper:
    """Submits tasks, and knows how they ended."""

    def __init__(self) -> None:
        self._tasks: dict[str, tuple[str, ray.ObjectRef[int]]] = {}  # step and task, by handle
        self._cancelled: set[str] = set()

    def submit(self, job: Job, environment: dict[str, str], options: dict[str, Any]) -> str:
        """Put a command into Ray's queue; one of the same step that waits or runs is taken over."""
        for handle, (step, _) in self._tasks.items():
            if step == job.name and self.poll(handle) is None:
                return handle
        handle = uuid.uuid4().hex[:12]
        task = ray.remote(run_command).options(name=job.name, max_retries=0, **options).remote(job, environment)
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
            return JobEnd(-15, "cancelled")
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

    def idle(self) -> bool:
        """Whether no task waits or runs."""
        return all(self.poll(handle) is not None for handle in self._tasks)
