"""A run folder in words: what predicts, how it decides, and where its pictures are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from gisegkit.errors import count
from gisegkit.recipe.sections import Recipe
from gisegkit.registry.annotations import show
from gisegkit.registry.kinds import Registries
from gisegkit.runs.folder import RunDir
from gisegkit.runs.gates import gate_of
from gisegkit.runs.members import is_ensemble, members_of
from gisegkit.runs.outputs import open_run, read_scores
from gisegkit.runs.scored import decides_otherwise, scored_before, used_recipe


def described(path: Path, registries: Registries) -> list[str]:
    """The lines of ``giseg show RUN``.

    Args:
        path: a run of one network or of several folds, or an ensemble.

    Raises:
        RunError: if it is no run folder, or damaged, or a member or the gate is missing.
        RecipeError: if its recipe cannot be used here.
    """
    run, recipe = open_run(path, registries)
    return [*_networks(run, recipe), *_decision(recipe), *_gate(run), *_results(run)]


def _networks(run: RunDir, recipe: Recipe) -> Iterator[str]:
    members = members_of(run)
    if not is_ensemble(run):
        folds = f", {count(len(members[0].networks), 'fold')}" if members else ""
        yield f"{run.path}: run of {recipe.name}{folds}, {recipe.model.name}"
        yield from (_trained(one) for one in (members[0].networks if members else (run,)))
        return
    yield f"{run.path}: ensemble of {count(len(members), 'run')}, weighted mean of their probabilities"
    for member in members:
        several = f", {count(len(member.networks), 'network')}" if len(member.networks) > 1 else ""
        yield f"  {member.weight:.3f}  {member.label}{several}{_own_score(member.run)}"


def _own_score(run: RunDir) -> str:
    """The first score of a member by itself, if it was evaluated."""
    scores = read_scores(run.evaluation)
    found = next(iter(scores["scores"].items()), None) if scores else None
    return f": {found[0]} {found[1]:.4f} ({scores['part']})" if scores and found and found[1] is not None else ""


def _trained(network: RunDir) -> str:
    entries = network.metrics()
    best = [entry for entry in entries if entry.get("best")]
    kept = f", best {best[-1]['epoch']}" if best else ""
    return f"  {network.path.name}: {count(len(entries), 'epoch')}{kept}"


def _decision(recipe: Recipe) -> Iterator[str]:
    yield f"threshold: {show(recipe.evaluate.threshold)}"
    if recipe.evaluate.presence:
        yield f"presence: {show(recipe.evaluate.presence)}"
    for spec in recipe.postprocess:
        params = ", ".join(f"{key} = {show(value)}" for key, value in spec.params.items())
        yield f"then: {spec.name}" + (f" ({params})" if params else "")


def _gate(run: RunDir) -> Iterator[str]:
    gate = gate_of(run)
    if gate is not None:
        pixels = ", ".join(f"{name} {number}" for name, number in gate.pixels.items())
        networks = sum(len(member.networks) for member in gate.members)
        what = f"{gate.label}, {count(networks, 'network')}"
        yield f"gate: {what}; a class stays where it sees more pixels than: {pixels}"


def _results(run: RunDir) -> Iterator[str]:
    scores = read_scores(run.evaluation)
    if scores is None:
        yield f"scores: none yet; giseg evaluate {run.path}"
    else:
        whole = {name: value for name, value in scores["scores"].items() if "/" not in name and value is not None}
        found = ", ".join(f"{name} {value:.4f}" for name, value in whole.items())
        yield f"scores ({scores['part']}, {count(scores['slices'], 'slice')}): {found}"
        used = used_recipe(run.evaluation / "recipe.toml", f"run: giseg evaluate {run.path}")
        if keys := decides_otherwise(run.path, used):
            yield f"note: the run {scored_before(run.path, keys)}"
    for name, file in (("picture", run.preview), ("report", run.path / "report.html"), ("submission", run.submission)):
        if file.is_file():
            yield f"{name}: {file}"
