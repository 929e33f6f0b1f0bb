"""``giseg ensemble``: runs become one thing, which is evaluated, compared and predicted with like a run."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from gisegkit.build.ensemble import Ensemble
from gisegkit.build.gate import Gate, refuse_zero
from gisegkit.build.session import Session
from gisegkit.engine.decision import decide_scans
from gisegkit.engine.greedy import Choice, choose
from gisegkit.engine.monitor import direction_of_monitor
from gisegkit.engine.scoring import Scoreboard, score_scans
from gisegkit.engine.stored import stored_scans
from gisegkit.errors import RunError, count, listed
from gisegkit.recipe.load import load_recipe
from gisegkit.recipe.per_class import per_class
from gisegkit.recipe.sections import Recipe
from gisegkit.registry.culprit import names_culprits
from gisegkit.runs.decision_file import StoredDecision
from gisegkit.runs.environment import describe_environment
from gisegkit.runs.folder import ENSEMBLE, RunDir
from gisegkit.runs.gates import StoredGate, as_entry, members_of_gate
from gisegkit.runs.members import Member, as_content, is_ensemble, networks_of

ROUNDS = 10
"""Members that a greedy choice makes a mean of at most, with repetition."""


@dataclass(frozen=True)
class Made:
    """An ensemble that is written.

    Attributes:
        run: its folder.
        members: with their weights.
        choice: how a greedy choice found them, None without one.
    """

    run: RunDir
    members: tuple[Member, ...]
    choice: Choice | None = None


@names_culprits
def make_ensemble(
    session: Session,
    paths: Sequence[Path],
    out: Path,
    *,
    weights: Sequence[float] | None = None,
    greedy: bool = False,
    rounds: int = ROUNDS,
    gate: Path | None = None,
    gate_pixels: int | Mapping[str, int] = 0,
) -> Made:
    """Write the folder of an ensemble.

    The first run gives data, metrics, writers and the decision; the others keep their own input and test-time views.

    Args:
        paths: run folders, also of several folds.
        out: a new folder.
        weights: of the runs in the mean; default equal.
        greedy: whether to choose runs and weights by the recipe's score on slices that no network has seen.
        rounds: of the choice.
        gate: a run or an ensemble; a class stays in a slice only where this one, deciding in its own way, sees more
            than ``gate_pixels`` of it.
        gate_pixels: at native size; of all classes, or of each.

    Raises:
        RunError: if runs cannot be one ensemble, or the folder is in the way.
        DataError: if ``gate_pixels`` is for a class that there is not, or leaves one out.
    """
    RunDir.check_free(out)
    runs = _opened(paths)
    recipes = [load_recipe(run.recipe, registries=session.plugins.registries) for run in runs]
    _refuse_mixed_demos([(str(run.path), recipe.demo) for run, recipe in zip(runs, recipes, strict=True)], gate)
    members = _members(runs, [1.0] * len(runs) if weights is None else list(weights))
    refuse_unfinished([network for member in members for network in member.networks], session)
    decision = _decision(session, members, recipes)
    closed = None if gate is None else _gate(session, gate, gate_pixels, decision)
    choice = None
    if greedy:
        choice = _chosen(session, members, closed, out, decision, rounds)
        counted = zip(members, choice.counts, strict=True)
        members = tuple(replace(member, weight=float(number)) for member, number in counted if number)
    whole = sum(member.weight for member in members)
    members = tuple(replace(member, weight=member.weight / whole) for member in members)
    environment = describe_environment(session.plugins, device="", recipe=Path(recipes[0].source))
    recipe = _decided(session, runs[0], decision)
    run = RunDir.create(out, recipe=recipe.text(), environment=environment, demo=recipe.demo)
    run.write_json(ENSEMBLE, as_content(out, members, None if closed is None else as_entry(out, closed.stored)))
    run.write_json(run.decision.name, decision.as_dict())
    return Made(run, members, choice)


def _refuse_mixed_demos(runs: Sequence[tuple[str, bool]], gate: Path | None) -> None:
    """Check that all runs, and the gate, are demos, or none is.

    Raises:
        RunError: if not.
    """
    if gate is not None:
        run = RunDir.open(gate)
        runs = [*runs, (str(run.path), (run.path / "DEMO.txt").is_file())]
    if len({demo for _, demo in runs}) > 1:
        demos = ", ".join(name for name, demo in runs if demo)
        raise RunError(f"some of the runs are demos on phantoms and others are not; leave out {demos}")


def _gate(session: Session, path: Path, pixels: int | Mapping[str, int], decision: StoredDecision) -> Gate:
    """The gate of an ensemble with a decision, with the digests of its networks.

    Raises:
        RunError: if it cannot be read, has a gate itself, or lacks a class.
        DataError: as of ``make_ensemble``.
    """
    run = RunDir.open(path)
    members = []
    for member in members_of_gate(run):
        weights = [network.weights() for network in member.networks]
        digests = tuple(str(best["digest"]) for best in weights)
        if missing := set(decision.classes) - set(weights[0]["facts"]["classes"]):
            raise RunError(f"--gate {path}: does not know {listed(sorted(missing))}; a gate must see every class")
        members.append(replace(member, digests=digests))
    numbers = per_class(pixels, decision.classes, key="--gate-pixels")
    stored = StoredGate(run, str(path), dict(zip(decision.classes, numbers, strict=True)), tuple(members), "")
    refuse_zero(tuple(decision.threshold.values()), stored)
    gate = session.open_gate(stored)
    return gate.noted(weights[0]["facts"]["classes"])


def _opened(paths: Sequence[Path]) -> list[RunDir]:
    """The runs, each once.

    Raises:
        RunError: if one is named twice, or is an ensemble itself.
    """
    runs = [RunDir.open(path) for path in paths]
    places = [run.path.resolve() for run in runs]
    for run, place in zip(runs, places, strict=True):
        if places.count(place) > 1:
            raise RunError(f"{run.path} is named twice; give it more weight with --weights instead")
        if is_ensemble(run):
            raise RunError(f"{run.path} is an ensemble itself; name its members instead")
        if any(other in place.parents for other in places):
            raise RunError(f"{run.path} is a part of another run that is named; name one of the two")
    return runs


def refuse_unfinished(networks: Sequence[RunDir], session: Session) -> None:
    """Check that no network is still to be trained, as after a kill: its weights would be others once it is resumed.

    Raises:
        RunError: if one is; names all of them.
    """
    short = []
    for network in networks:
        train = load_recipe(network.recipe, registries=session.plugins.registries).train
        done = len(network.metrics())  # none where only the weights were copied
        if not 0 < done < train.epochs:
            continue
        state = network.state()
        if not (state is not None and train.patience and state["since"] >= train.patience):
            short.append(f"{network.path} has trained {done} of {count(train.epochs, 'epoch')}")
    if short:
        raise RunError(f"{'; '.join(short)}: finish it with --resume before it becomes a member, or leave it out")


def _members(runs: Sequence[RunDir], weights: Sequence[float]) -> tuple[Member, ...]:
    """The runs as members, with the digests of their networks.

    Raises:
        RunError: if weights do not fit, or a network has other classes than the first.
    """
    if len(weights) != len(runs) or not all(0 < weight < float("inf") for weight in weights):
        given = ", ".join(f"{weight:g}" for weight in weights)
        raise RunError(f"--weights {given}: give {count(len(runs), 'number')} above 0, one for each run")
    members, first = [], ()
    for run, weight in zip(runs, weights, strict=True):
        networks, digests = networks_of(run), []
        for network in networks:
            best = network.weights()
            classes = tuple(best["facts"]["classes"])
            first = first or classes
            if set(classes) != set(first):
                raise RunError(
                    f"{network.path} predicts the classes {', '.join(classes)}, {runs[0].path} predicts "
                    f"{', '.join(first)}; all members need the same ones, in any order"
                )
            digests.append(str(best["digest"]))
        members.append(Member(run, str(run.path), weight, networks, tuple(digests)))
    return tuple(members)


def _decision(session: Session, members: Sequence[Member], recipes: Sequence[Recipe]) -> StoredDecision:
    """The decision of the first run, for all; says where another run decides otherwise."""
    softmax = [session.experiment(recipe).exclusive for recipe in recipes]
    own = []
    for member, recipe, exclusive in zip(members, recipes, softmax, strict=True):
        classes = member.networks[0].weights()["facts"]["classes"]
        stored = StoredDecision.of_recipe(recipe, classes, exclusive=exclusive)
        own.append(StoredDecision.read(member.run.decision) if member.run.decision.is_file() else stored)
    for member, decision in zip(members[1:], own[1:], strict=True):
        keys = ("threshold", "presence", "postprocess")
        differing = [key for key in keys if getattr(decision, key) != getattr(own[0], key)]
        if differing:
            session.say(
                f"{member.label} has another {' and '.join(differing)} than {members[0].label}; the ensemble decides "
                f"as {members[0].label}, see its decision.json"
            )
    if len(set(softmax)) > 1:
        names = ", ".join(member.label for member, one in zip(members, softmax, strict=True) if one)
        session.say(
            f"{names}: classes that exclude one another, which those of the others do not; each class's probability "
            "is mixed by itself, so that a pixel may belong to several classes, or to none"
        )
    return replace(own[0], exclusive=all(softmax))


def _decided(session: Session, run: RunDir, decision: StoredDecision) -> Recipe:
    """A run's recipe with a decision: what is scored with that decision is the ensemble's own, as it was made."""
    registries = session.plugins.registries
    preset = decision.presets(load_recipe(run.recipe, registries=registries), run.decision)
    return load_recipe(run.recipe, registries=registries, preset=preset)


def _chosen(
    session: Session,
    members: tuple[Member, ...],
    gate: Gate | None,
    out: Path,
    decision: StoredDecision,
    rounds: int,
) -> Choice:
    """The greedy choice on slices that every member has a network for which has not seen them."""
    recipe = _decided(session, members[0].run, decision)
    registries = session.plugins.registries
    whole = Ensemble(recipe, registries, console=session, run=RunDir(out), members=members)
    whole.own, whole.gate = True, gate
    weights = whole.take_over(whole.run)
    whole.check_data(training=False)
    part = whole.part_of(whole.parts_of(whole.run, weights))
    for line in part.lines():
        session.say(line)
    session.say(
        f"choosing by {recipe.monitor} on {count(len(part.rows), 'slice')}, each by networks that have not seen it"
    )
    higher = bool(direction_of_monitor(recipe, whole.metrics, whole.classes))
    with ExitStack() as stack:
        kept = whole.stored(part.rows, stack, progress=session.progress)

        def score(counts: Sequence[int]) -> float:
            runs = [replace(one, weight=float(number)) for one, number in zip(kept, counts, strict=True) if number]
            board, threads = Scoreboard(whole.metrics, whole.classes), whole.device.threads
            label = " ".join(map(str, counts))
            mixed = partial(stored_scans, runs, part.rows, threads=threads, progress=session.progress, label=label)
            scans = mixed() if gate is None else gate.apply(mixed, part.rows, progress=session.progress)
            decided = decide_scans(scans, whole.decision, threads=threads)
            with closing(score_scans(decided, board, whole.dataset, threads=threads)) as scored:
                deque(scored, maxlen=0)
            return board.scores()[recipe.monitor]

        return choose(len(members), score, rounds=rounds, higher=higher)
