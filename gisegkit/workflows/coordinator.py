"""The coordinator of a plan: gives the executor what can run, and notes how each command ended.

Whether a run is finished is read from its folder, never from what the executor knows. A job that was lost (its machine
took it back, or nobody knows its exit status) is submitted again, and its run continues after its last epoch.
"""

from __future__ import annotations

import os
import shlex
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from gisegkit.data.atomic_files import make_folder, reason
from gisegkit.errors import Interrupted, RunError
from gisegkit.runs.plan_record import Ended, write_record
from gisegkit.types import Executor, Job, JobEnd
from gisegkit.workflows.epochs import clock
from gisegkit.workflows.plan_steps import Work
from gisegkit.workflows.searching import Searcher
from gisegkit.workflows.steps import FINISHED, TO_DO, Step
from gisegkit.workflows.time_left import at_once, time_left

LOSSES = 3
"""A step whose job is lost so often without any progress has failed."""

ON = b"$ giseg on "
"""How the log of a job that a cluster runs begins, once it has a machine."""


class Coordinator:
    """Executes the steps of a plan that are not done, as many at once as the executor takes.

    Args:
        name: the executor's, for the record: only it can find its jobs again.
        searcher: gives further steps, and says which to prune.
        say: is told what begins and what ends, a line each.
    """

    def __init__(
        self, work: Work, executor: Executor, name: str, searcher: Searcher | None = None, *, say: Callable[[str], None]
    ) -> None:
        self.work, self.executor, self.name, self.searcher, self.say = work, executor, name, searcher, say
        self.active: dict[str, Step] = {}  # by the name of the step; its job is in the record
        self.tried: set[str] = set()
        self.lost: Counter[str] = Counter()
        self.silent: dict[str, int] = {}  # bytes of its log before the job was given a machine
        self.began: dict[str, float] = {}  # when it was, as far as its log tells
        self.done: dict[str, float] = {}  # share of the run that was done when its job was submitted

    def run(self) -> int:
        """Execute what is not done.

        Returns:
            How many steps were tried.

        Raises:
            RunError: if a log cannot be written or a command cannot be started.
            Interrupted: if the user stops it; says how to continue.
        """
        try:
            if self.searcher is not None and (line := self.searcher.about()):
                self.say(line)
            self._find_again()
            while True:
                self._submit()
                if not self.active:
                    break
                self._wait()
            self._tell_rest()
        except KeyboardInterrupt as stop:
            inside = f" in {', '.join(self.active)}" if self.active else ""
            text = f"interrupted{inside}; what is finished is kept: run the same command again to continue"
            raise Interrupted(text, signum=getattr(stop, "signum", 2)) from stop
        finally:
            self.executor.close()
        return len(self.tried)

    # --- jobs ---------------------------------------------------------------------------------------------------------

    def _find_again(self) -> None:
        """Take over jobs that a coordinator left which was killed."""
        for step in self.work.steps:
            ended = self.work.record.get(step.name)
            if ended is None or ended.code is not None or not ended.job:
                continue
            if ended.executor != self.name:
                self.say(
                    f"{self._head(step)}: job {ended.job} of executor {ended.executor} is left out of account, because "
                    f"the plan names {self.name} now; see that it has ended"
                )
            elif self.executor.poll(ended.job) is None:
                self.say(f"{self._head(step)}: still runs as job {ended.job}")
                self._watch(step)
                self._heed_start(step.name, ended)
                if ended.pruned:
                    self.executor.cancel(ended.job)
            elif ended.pruned or self.work.run_is_done(step):
                self._note(step, Ended(ended.of, 0, pruned=ended.pruned))

    def _heed_start(self, name: str, ended: Ended) -> None:
        """When a job that was found again begins, if it waits: its log has nothing but the line of the submission."""
        with suppress(OSError):
            told = (self.work.folder / "logs" / f"{name}.log").read_bytes()[ended.log :]
            if told.count(b"\n") == 1:
                self.silent[name] = ended.log + len(told)

    def _watch(self, step: Step) -> None:
        self.active[step.name] = step
        self.tried.add(step.name)
        self.done[step.name] = self.work.states()[step.name].done

    def _submit(self) -> None:
        """Give the executor what can run, in the order of the plan, as far as it has free slots."""
        states = self.work.states()
        for step in self.work.steps:
            if len(self.active) >= self.executor.slots:
                return
            again = step.name not in self.tried or 0 < self.lost[step.name] < LOSSES
            if step.name not in self.active and states[step.name].word in TO_DO and again:
                self._start(step)
        while self.searcher is not None and len(self.active) < self.executor.slots:
            new = self.searcher.ask()
            if new is None:
                return
            self._start(new)

    def _start(self, step: Step) -> None:
        self.work.clear(step)
        log = (self.work.folder / "logs" / f"{step.name}.log").absolute()
        words = (*step.words, "--device", self.work.device)
        make_folder(log.parent)
        try:
            begun = log.stat().st_size if log.is_file() else 0
            with log.open("a", encoding="utf-8") as file:
                file.write(f"$ {shlex.join(['giseg', *words])}\n")
        except OSError as error:
            raise RunError(f"{log}: the command cannot be started: {reason(error)}") from error
        self.silent[step.name] = log.stat().st_size
        self.say(f"{self._head(step)}: giseg {step.words[0]} ... (see {self.work.folder / 'logs' / log.name})")
        ended = Ended(self.work.made_of(step), executor=self.name, since=time.time(), log=begun)
        self._note(step, ended)
        self._watch(step)
        job = Job(step.name, (sys.executable, "-m", "gisegkit", *words), os.getcwd(), str(log))
        self._note(step, replace(ended, job=self.executor.submit(job)))

    def _wait(self) -> None:
        """Wait until a job has ended, and note how."""
        while True:
            ended = {name: end for name in self.active if (end := self._poll(name)) is not None}
            if ended:
                break
            self._prune()
            time.sleep(self.executor.interval)
        for name, end in ended.items():
            self._settle(self.active.pop(name), end)

    def _prune(self) -> None:
        """End the trials that promise too little; it is noted before, so that a kill loses nothing."""
        if self.searcher is None:
            return
        going = [name for name in self.active if not self.work.record[name].pruned]
        for name, why in self.searcher.to_prune(going).items():
            self._note(self.active[name], replace(self.work.record[name], pruned=why))
            self.executor.cancel(self.work.record[name].job)

    def _poll(self, name: str) -> JobEnd | None:
        if name in self.silent and name not in self.began:
            with suppress(OSError), (self.work.folder / "logs" / f"{name}.log").open("rb") as log:
                log.seek(self.silent[name])
                if log.read(len(ON)) == ON:
                    self.began[name] = time.time()
        end = self.executor.poll(self.work.record[name].job)
        if end is not None and end.code is None and self.work.states()[name].word == "running":
            return None  # what is lost may still be dying, and holds its folder until then
        return end

    # --- ends ---------------------------------------------------------------------------------------------------------

    def _settle(self, step: Step, end: JobEnd) -> None:
        """Note how a job ended, and tell it."""
        work, ended = self.work, self.work.record[step.name]
        seconds = round(time.time() - self.began.pop(step.name, ended.since), 3)
        done = work.run_is_done(step)
        if ended.pruned and not done:
            self._note(step, Ended(ended.of, 0, seconds, pruned=ended.pruned))
            self.say(f"{self._head(step)}: pruned after {clock(seconds)}: {ended.pruned}")
            self._tell(step)
            return
        if end.code is None and not done and self._is_lost(step, end):
            return
        code = 0 if done else 1 if end.code is None else end.code
        cause = "" if code == 0 else self._cause(step, end, ended)
        self._note(step, Ended(ended.of, code, seconds, cause))
        state = work.states()[step.name]
        if code == 0 and state.word not in ("done", "changed"):
            cause = f"it ended without {', '.join(map(str, step.makes))}"
            self._note(step, Ended(ended.of, 1, seconds, cause))
        self.lost[step.name] = 0
        self._tell(step)
        if cause:
            self.say(f"{self._head(step)}: failed after {clock(seconds)}: {cause}")
            return
        states = work.states()
        to_come = 0 if self.searcher is None else max(0, self.searcher.limit - len(work.trials))
        left = time_left(work, states, workers=at_once(work, self.executor), to_come=to_come)
        score = "" if state.score is None else f", score {state.score:.4f}"
        detail = f", {state.detail}" if state.detail else ""
        rest = f"; about {clock(left)} left for the runs" if left else ""
        self.say(f"{self._head(step)}: {state.word} in {clock(seconds)}{score}{detail}{rest}")

    def _tell(self, step: Step) -> None:
        if self.searcher is not None:
            self.searcher.tell(step.name, self.work.states()[step.name])

    def _is_lost(self, step: Step, end: JobEnd) -> bool:
        """Whether a job without an exit status is submitted again; it is noted and told."""
        progress = self.work.states()[step.name].done > self.done[step.name]
        self.lost[step.name] = 1 if progress else self.lost[step.name] + 1
        if self.lost[step.name] >= LOSSES:
            return False
        self._note(step, Ended(self.work.record[step.name].of))
        cause = f" ({end.cause})" if end.cause else ""
        self.say(f"{self._head(step)}: its job was lost{cause}; it is submitted again")
        return True

    def _cause(self, step: Step, end: JobEnd, ended: Ended) -> str:
        if end.code is None:
            found = f"its job was lost {LOSSES} times without progress"
        else:
            found = cause_of(self.work.folder / "logs" / f"{step.name}.log", ended.log, end.code)
        return f"{found} ({end.cause})" if end.cause else found

    def _note(self, step: Step, ended: Ended) -> None:
        self.work.record[step.name] = ended
        write_record(self.work.folder, self.work.record)

    def _head(self, step: Step) -> str:
        steps = self.work.steps
        left = 0 if self.searcher is None else max(0, self.searcher.limit - len(self.work.trials))
        return f"[{steps.index(step) + 1}/{len(steps) + left}] {step.name}"

    def _tell_rest(self) -> None:
        """Tell what was not tried, and why."""
        states = self.work.states()
        for step in self.work.steps:
            state = states[step.name]
            if step.name not in self.tried and state.word not in FINISHED:
                self.say(f"{self._head(step)}: {state.word} {state.detail}".rstrip())


def cause_of(log: Path, start: int, code: int) -> str:
    """Why a command failed, in one line of what it printed.

    Args:
        start: bytes of the log before the command.
        code: its exit status.
    """
    try:
        text = log.read_bytes()[start:].decode("utf-8", "replace")
    except OSError:
        text = ""
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("$ giseg")]
    told = [at for at, line in enumerate(lines) if line.startswith("error:")]
    if code < 0:
        return f"killed by signal {-code}" + (" (maybe memory ran out)" if code == -9 else "")
    if told:
        return " ".join(lines[told[-1] :][:3]).removeprefix("error:").strip()
    return lines[-1] if lines else f"exit status {code}"
