"""The executor ``ray``: each command of a plan is a task of an existing Ray cluster."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from gisegkit import AtLeast
from gisegkit.errors import RunError
from gisegkit.types import Job, JobEnd

NAMESPACE = "gisegkit"

OF_THE_NODE = ("CUDA_VISIBLE_DEVICES", "HOSTNAME", "TMPDIR", "RAY_")
"""Variables of giseg plan, or their beginnings, that are not for the nodes: there, Ray sets them."""


class Ray:
    """Runs each command as a task of a Ray cluster that is there, with processors and GPUs as resources.

    Tasks that do not fit wait in Ray's queue. They stay in the cluster if giseg plan ends; the next one finds them.

    Args:
        device: the device that the commands are told to use.
        folder: of the plan. It must be on a file system that the nodes share.
        address: of the cluster, HOST:PORT; by default, RAY_ADDRESS or the one that this machine belongs to.
        gpus: how many GPUs each command needs, or which share of one; none with --device cpu.
        cpus: how many processors each command needs.
        memory: GB of main memory that each command needs; Ray counts it, and does not limit it. 0 is any.
        resources: the cluster's own resources that each command needs, such as {a100 = 1}.
        jobs: how many commands wait or run at once.
        interval: seconds between two looks at them.
    """

    def __init__(
        self,
        *,
        device: str = "auto",
        folder: str,
        address: str = "",
        gpus: Annotated[float, AtLeast(0)] = 1.0,
        cpus: Annotated[float, AtLeast(0)] = 1.0,
        memory: Annotated[float, AtLeast(0)] = 0.0,
        resources: dict[str, float] | None = None,
        jobs: Annotated[int, AtLeast(1)] = 100,
        interval: Annotated[float, AtLeast(0.1)] = 2.0,
    ) -> None:
        self.slots, self.interval = jobs, interval
        self.name = f"giseg plan {Path(folder).resolve()}"
        self.options: dict[str, Any] = {"num_cpus": cpus, "num_gpus": 0 if device == "cpu" else gpus}
        if memory:
            self.options["memory"] = round(memory * 1024**3)
        if resources:
            self.options["resources"] = dict(resources)
        self.ray = connect(address)

    def submit(self, job: Job) -> str:
        """Put a command into Ray's queue.

        Raises:
            RunError: if the cluster does not take it.
        """
        from giseg_ray.keeper import Keeper

        actor = self.ray.remote(Keeper).options(
            name=self.name, namespace=NAMESPACE, lifetime="detached", get_if_exists=True, num_cpus=0
        )
        try:
            return str(self.ray.get(actor.remote().submit.remote(job, environment(os.environ), self.options)))
        except self.ray.exceptions.RayError as error:
            told = str(error).strip().splitlines()[-1]
            raise RunError(
                f"{job.name}: the Ray cluster does not take its command: {told}; the nodes need the Python environment "
                "of this machine"
            ) from error

    def poll(self, handle: str) -> JobEnd | None:
        """How a command ended; None while it waits or runs."""
        end = self._ask("poll", handle)
        return end if end is None or isinstance(end, JobEnd) else JobEnd(None, "the Ray cluster does not know it")

    def cancel(self, handle: str) -> None:
        """Take a command out of the queue, or ask it and all its processes to end."""
        self._ask("cancel", handle)

    def close(self) -> None:
        """Commands stay in the cluster, for the next giseg plan. What keeps hold of them ends if there are none."""
        if self._ask("idle") is True:
            self.ray.kill(self.ray.get_actor(self.name, namespace=NAMESPACE))

    def _ask(self, question: str, *arguments: str) -> Any:
        """What the keeper of this plan answers; its absence is an answer too."""
        try:
            keeper = self.ray.get_actor(self.name, namespace=NAMESPACE)
            return self.ray.get(getattr(keeper, question).remote(*arguments))
        except (ValueError, self.ray.exceptions.RayActorError):
            return "there is no keeper"


def environment(variables: Mapping[str, str]) -> dict[str, str]:
    """What a command on a node has of the environment of giseg plan."""
    return {name: value for name, value in variables.items() if not name.startswith(OF_THE_NODE)}


def connect(address: str) -> Any:
    """The module ray, connected with a cluster.

    Raises:
        RunError: if there is no ray, or no cluster.
    """
    try:
        import ray
    except ModuleNotFoundError as error:
        raise RunError(
            "executor ray needs the package ray, in the version of the cluster: pip install ray==VERSION "
            f"(for {sys.executable})"
        ) from error
    if not ray.is_initialized():
        try:
            ray.init(address or "auto", namespace=NAMESPACE, log_to_driver=False, logging_level="warning")
        except (ConnectionError, RuntimeError, ValueError) as error:
            told = str(error).strip().splitlines()[0]
            raise RunError(
                f"no Ray cluster is found at {address or 'this machine'} ({told}): set address in [executor], or start "
                "one with ray start --head"
            ) from error
    return ray
