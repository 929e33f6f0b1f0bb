"""A Slurm cluster of one node and a Ray cluster of two, both on this machine, and plans that run on them."""

from __future__ import annotations

import getpass
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager

import pytest

TOLD = pytest.StashKey[list[str]]()

SLURM = """
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=sched_interval=1,batch_sched_delay=0
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
ReturnToService=2
KillWait=5
MpiDefault=none
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 RealMemory=1000 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""
"""One node that has two processors, whatever the machine has.

A job that is put back into the queue may start after five seconds, as few as Slurm allows.
"""


def pytest_configure(config):
    config.stash[TOLD] = []


def pytest_terminal_summary(terminalreporter, config):
    for line in config.stash[TOLD]:
        terminalreporter.write_line(line)


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def wait_until(seen, seconds=600, *, pause=0.2):
    """Wait until something is so; returns it."""
    deadline = time.monotonic() + seconds
    while not (found := seen()):
        assert time.monotonic() < deadline, f"not within {seconds} seconds"
        time.sleep(pause)
    return found


# --- Slurm --------------------------------------------------------------------------------------------------------


@contextmanager
def daemon(folder, *command):
    """A daemon in the foreground, ended at the end."""
    with (folder / f"{command[0]}.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True)
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


@contextmanager
def slurm_cluster(folder):
    """Debian's Slurm with munge; yields None if it runs, or why not."""
    programs = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel")
    if missing := [name for name in programs if shutil.which(name) is None]:
        yield f"{', '.join(missing)} not found"
        return
    host, ports = socket.gethostname().partition(".")[0], (free_port(), free_port())
    (folder / "state").mkdir()
    (folder / "spool").mkdir()
    key, config = folder / "munge.key", folder / "slurm.conf"
    key.write_bytes(secrets.token_bytes(1024))
    key.chmod(0o600)
    config.write_text(SLURM.format(folder=folder, host=host, user=getpass.getuser(), ports=ports))
    files = [f"--{name}-file={folder}/munge.{name}" for name in ("key", "pid", "seed", "log")]
    with pytest.MonkeyPatch.context() as patch, ExitStack() as daemons:
        patch.setenv("SLURM_CONF", str(config))
        for command in (
            ["munged", "--foreground", "--force", f"--socket={folder}/munge.socket", *files],
            ["slurmctld", "-D"],
            ["slurmd", "-D"],
        ):
            process = daemons.enter_context(daemon(folder, *command))
            time.sleep(1)
            if process.poll() is not None:
                yield f"{command[0]} does not start: {(folder / f'{command[0]}.log').read_text().strip()[-200:]}"
                return
        if not wait_for_node():
            yield f"its node does not get idle: {(folder / 'slurmctld.log').read_text().strip()[-200:]}"
            return
        yield None
        subprocess.run(["scancel", f"--user={os.getuid()}"], check=False)
        wait_until(lambda: not queue())


def wait_for_node():
    try:
        wait_until(
            lambda: "idle" in subprocess.run(["sinfo", "-h", "-o", "%T"], capture_output=True, text=True).stdout, 30
        )
    except AssertionError:
        return False
    return True


def queue():
    """The names of the jobs that wait or run."""
    return subprocess.run(["squeue", "-h", "-o", "%j"], capture_output=True, text=True, check=True).stdout.split()


@pytest.fixture(scope="session")
def slurm(tmp_path_factory, pytestconfig):
    """Where the jobs of ``slurm`` go: "slurm", or "local" where that does not start, which is told."""
    folder = tmp_path_factory.mktemp("slurm")
    with slurm_cluster(folder) as reason:
        version = (
            "" if reason else subprocess.run(["sinfo", "--version"], capture_output=True, text=True).stdout.strip()
        )
        told = f"not Slurm ({reason}) but submitit's local executor" if reason else f"{version}, one node"
        pytestconfig.stash[TOLD].append(f"executor slurm: {told}")
        yield "local" if reason else "slurm"


# --- Ray ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def ray_cluster(pytestconfig):
    """The address of a cluster of two nodes with a processor each."""
    ray = pytest.importorskip("ray", reason="ray is not installed: make test-distributed installs it")
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    try:
        cluster.add_node(num_cpus=1)
        pytestconfig.stash[TOLD].append(f"executor ray: ray {ray.__version__}, two nodes")
        yield cluster.address
    finally:
        cluster.shutdown()


# --- plans --------------------------------------------------------------------------------------------------------

SLEEPY = """
import time
from gisegkit import hookimpl

class Sleep:
    def __init__(self, *, folder: str, seconds: float):
        self.seconds = seconds
    def start(self, recipe, run):
        pass
    def report(self, report):
        time.sleep(self.seconds)
    def finish(self, scores, outcome):
        pass

@hookimpl
def register_components(add):
    add.tracker("sleep", Sleep)
"""
"""A plugin whose tracker makes epochs long. Jobs find it by the environment of giseg plan."""


@pytest.fixture(scope="session")
def environment(tmp_path_factory):
    """What giseg plan has besides: one thread, and a plugin on the path."""
    folder = tmp_path_factory.mktemp("plugin")
    (folder / "sleepy.py").write_text(SLEEPY)
    (folder / "sleepy-0.1.dist-info").mkdir()
    (folder / "sleepy-0.1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: sleepy\nVersion: 0.1\n")
    (folder / "sleepy-0.1.dist-info" / "entry_points.txt").write_text("[gisegkit]\nsleepy = sleepy\n")
    return {"PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}


class Plan:
    """A plan file, its folder, and ``giseg plan``."""

    def __init__(self, home, folder, environment):
        self.home, self.folder, self.environment = home, folder, environment
        self.file, self.out = folder / "plan.toml", folder / "out"

    def write(self, executor, more):
        self.file.write_text(f"{executor}\n[[run]]\nrecipe = '{self.home / 'tiny.toml'}'\nname = 'n'\n{more}")

    def start(self):
        """``giseg plan``, started; what it prints goes to a file."""
        command = [sys.executable, "-m", "gisegkit", "plan", str(self.file), "--out", str(self.out), "--device", "cpu"]
        environment = os.environ | self.environment
        with (self.folder / "printed").open("ab") as log:
            return subprocess.Popen(command, stdout=log, stderr=log, env=environment, cwd=self.folder)

    def wait(self, process, seen):
        """Wait until something is so while ``giseg plan`` runs."""
        wait_until(lambda: seen() or process.poll() is not None)
        assert process.poll() is None and seen(), self.printed()

    def run(self):
        """``giseg plan`` to its end: exit status, and what it printed."""
        before = len(self.printed())
        code = self.start().wait(timeout=900)
        return code, self.printed()[before:]

    def printed(self):
        file = self.folder / "printed"
        return file.read_text() if file.exists() else ""

    def submissions(self, cell):
        """How often a cell was submitted."""
        file = self.out / "logs" / f"{cell}.log"
        return file.read_text().count("$ giseg run") if file.exists() else 0

    def epochs(self, cell):
        """How many epochs a cell has finished."""
        file = self.out / cell / "metrics.jsonl"
        return len(file.read_text().splitlines()) if file.exists() else 0

    def losses(self, cell):
        """What is the same in two runs that are exactly equal: the losses and scores of all epochs."""
        lines = (self.out / cell / "metrics.jsonl").read_text().splitlines()
        entries = [json.loads(line) for line in lines]
        return [{key: value for key, value in entry.items() if key not in TIMES} for entry in entries]

    def process(self, cell):
        """The process that writes into a cell's folder."""
        return int(json.loads((self.out / cell / ".lock").read_text())["pid"])

    def starts(self, cell):
        """How often a node has begun with a cell."""
        return (self.out / "logs" / f"{cell}.log").read_text().count("$ giseg on ")

    def is_scored(self, cell):
        return (self.out / cell / "evaluation" / "scores.json").exists()

    def parent(self, process):
        return int(subprocess.run(["ps", "-o", "ppid=", "-p", str(process)], capture_output=True, text=True).stdout)

    def kill(self, process):
        os.kill(process, signal.SIGKILL)


TIMES = ("seconds", "images_per_second", "peak_memory")


@pytest.fixture(scope="module")
def long_plan(home, tmp_path_factory, environment):
    """A plan for what several tests compare with."""
    return Plan(home, tmp_path_factory.mktemp("long"), environment)


@pytest.fixture
def plan(home, tmp_path, environment):
    """A plan of runs of the tiny recipe."""
    return Plan(home, tmp_path, environment)
