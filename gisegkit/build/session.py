"""A console that makes experiments: of a recipe, or of a finished run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gisegkit.build.console import Console
from gisegkit.build.ensemble import Ensemble
from gisegkit.build.experiment import Experiment
from gisegkit.build.gate import Gate
from gisegkit.recipe.sections import Recipe
from gisegkit.runs import outputs
from gisegkit.runs.folder import RunDir
from gisegkit.runs.gates import StoredGate, gate_of
from gisegkit.runs.members import members_of


@dataclass(frozen=True)
class Session(Console):
    """A console that makes experiments."""

    def experiment(self, recipe: Recipe) -> Experiment:
        """The recipe's live objects, with this session's plugins."""
        return Experiment(recipe, self.plugins.registries, console=self)

    def open_run(
        self, path: Path, *, root: str | None = None, overrides: Sequence[str] = (), command: str = "evaluate"
    ) -> tuple[RunDir, Experiment]:
        """A finished run and its experiment, with other settings if some are given; see ``outputs.open_run``."""
        run, recipe = outputs.open_run(path, self.plugins.registries, root=root, overrides=overrides, command=command)
        for line in recipe.notes:
            self.say(line)
        members = members_of(run)
        if not members:
            return run, self.experiment(recipe)
        whole = Ensemble(recipe, self.plugins.registries, console=self, run=run, members=members)
        gate = gate_of(run)
        whole.gate = None if gate is None else self.open_gate(gate)
        return run, whole

    def open_gate(self, gate: StoredGate) -> Gate:
        """A gate with the recipe and the decision of its run."""
        registries = self.plugins.registries
        run, recipe = outputs.open_run(gate.run.path, registries)
        for line in recipe.notes:
            self.say(f"the gate {gate.label}: {line}")
        whole = Ensemble(recipe, registries, console=self, run=run, members=gate.members)
        return Gate(gate, whole, say=self.say)
