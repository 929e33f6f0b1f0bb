"""A run's trackers, guarded: one that fails is a warning, and the training goes on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any

from gisegkit.build.experiment import Experiment
from gisegkit.data.atomic_files import first_line, make_folder
from gisegkit.recipe.sections import ComponentSpec
from gisegkit.runs.folder import RunDir
from gisegkit.types import EpochReport


class Trackers:
    """The trackers of a recipe; a context manager that finishes those that were built.

    A server that is down must not cost a night of training: whatever a tracker raises is said, once for each tracker.

    Args:
        summary: what ``finish`` hands over.
    """

    def __init__(self, experiment: Experiment, run: RunDir, summary: Mapping[str, Any]) -> None:
        self.experiment = experiment
        self.summary = summary
        self.built: list[tuple[ComponentSpec, Any]] = []
        self.failed: set[int] = set()
        for spec in experiment.recipe.tracker:
            self._guarded(spec, "be started", self._build, spec, run)

    def _build(self, spec: ComponentSpec, run: RunDir) -> None:
        make_folder(run.trackers)
        tracker = self.experiment.build(spec, folder=str(run.trackers))
        self.built.append((spec, tracker))

    def report(self, report: EpochReport) -> None:
        """Hand an epoch to every tracker."""
        for spec, tracker in self.built:
            self._guarded(spec, "take an epoch", lambda of, what: of.report(what), tracker, report)

    def __enter__(self) -> Trackers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for spec, tracker in reversed(self.built):
            self._guarded(spec, "be finished", lambda of, what: of.finish(what), tracker, self.summary)

    def _guarded(self, spec: ComponentSpec, what: str, action: Callable[..., object], *arguments: Any) -> None:
        try:
            action(*arguments)
        except Exception as error:  # a plugin's, of any kind
            if id(spec) not in self.failed:
                self.failed.add(id(spec))
                owner = self.experiment.owner(spec)
                self.experiment.console.say(
                    f"warning: tracker {spec.name!r} of {owner} could not {what} ({type(error).__name__}: "
                    f"{first_line(error)}); the training goes on, and this is not said again"
                )
