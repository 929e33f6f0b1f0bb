"""A run's trackers, guarded: one that fails is a warning, and the run continues."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any

from gisegkit.build.experiment import Experiment
from gisegkit.data.atomic_files import first_line, make_folder
from gisegkit.recipe.sections import ComponentSpec
from gisegkit.runs.folder import RunDir
from gisegkit.runs.scored import number
from gisegkit.testing.trackers import outdated
from gisegkit.types import EpochReport, Outcome, RunFacts


class Trackers:
    """The trackers of a recipe; a context manager that finishes those that were started.

    A server that is down must not cost a night of training: whatever a tracker raises is said, once for each tracker.

    Attributes:
        scores: what ``finish`` hands over; None for those of the best epoch.
    """

    def __init__(self, experiment: Experiment) -> None:
        self.experiment = experiment
        self.scores: Mapping[str, float] | None = None
        self._run: RunDir | None = None
        self._started: list[tuple[ComponentSpec, Any]] = []
        self._failed: set[int] = set()

    def start(self, run: RunDir, *, epoch: int) -> None:
        """Build and start the trackers, once the run folder is there.

        Args:
            epoch: that the run resumes after; 0 for a new run.
        """
        recipe = self.experiment.recipe
        self._run = run
        classes = self.experiment.classes
        facts = RunFacts(run.path.resolve().name, str(run.path), recipe.demo, classes, epoch)
        for spec in recipe.tracker:
            self._guarded(spec, "be started", self._start, spec, run, recipe.as_dict(), facts)

    def _start(self, spec: ComponentSpec, run: RunDir, recipe: Mapping[str, Any], facts: RunFacts) -> None:
        make_folder(run.trackers)
        tracker = self.experiment.build(spec, folder=str(run.trackers))
        old = outdated(tracker)
        if old:
            raise TypeError(old)
        tracker.start(recipe, facts)
        self._started.append((spec, tracker))

    def report(self, report: EpochReport) -> None:
        """Hand an epoch to every tracker."""
        for spec, tracker in self._started:
            self._guarded(spec, "take an epoch", tracker.report, report)

    def __enter__(self) -> Trackers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for spec, tracker in reversed(self._started):
            self._guarded(spec, "be finished", self._finish, tracker, outcome_of(error))

    def _finish(self, tracker: Any, outcome: Outcome) -> None:
        tracker.finish(self._scores(), outcome)

    def _scores(self) -> Mapping[str, float]:
        """Those that were given; else those of the best epoch, which may be before a resume."""
        if self.scores is not None or self._run is None:
            return dict(self.scores or {})
        best = [entry["scores"] for entry in self._run.metrics() if entry["best"]]
        return {name: number(value) for name, value in (best[-1] if best else {}).items()}

    def _guarded(self, spec: ComponentSpec, what: str, action: Callable[..., object], *arguments: Any) -> None:
        try:
            action(*arguments)
        except Exception as error:  # a plugin's, of any kind
            if id(spec) not in self._failed:
                self._failed.add(id(spec))
                owner = self.experiment.owner(spec)
                self.experiment.console.say(
                    f"warning: tracker {spec.name!r} of {owner} could not {what} ({type(error).__name__}: "
                    f"{first_line(error)}); the run continues, and this is not said again"
                )


def outcome_of(error: BaseException | None) -> Outcome:
    """How a run ended, by the error that ended it."""
    if error is None:
        return "finished"
    if isinstance(error, GeneratorExit):
        return "stopped"
    return "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
