"""The public Python interface: what ``from gisegkit import ...`` gives for recipes and runs. See docs/api.md."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from gisegkit.build.experiment import Experiment
from gisegkit.build.session import Session
from gisegkit.errors import GisegError
from gisegkit.plugins import installed
from gisegkit.recipe.load import load_recipe as read_recipe
from gisegkit.recipe.sections import Recipe
from gisegkit.registry.culprit import name_culprit
from gisegkit.runs.folder import RunDir
from gisegkit.runs.outputs import open_run
from gisegkit.types import AnyArray, BoolArray, EpochReport
from gisegkit.workflows.evaluate import evaluate as evaluate_run
from gisegkit.workflows.folds import train_folds
from gisegkit.workflows.in_memory import EnsembleInMemory, InMemory, masks_of, open_in_memory
from gisegkit.workflows.predict import PartName
from gisegkit.workflows.predict import predict as predict_run
from gisegkit.workflows.train import epochs as train_by_epochs
from gisegkit.workflows.train import train as train_run

Say = Callable[[str], None]


def load_recipe(path: str | Path, *, overrides: Sequence[str] = ()) -> Recipe:
    """Read and check a recipe, with the installed plugins.

    Args:
        path: the TOML file.
        overrides: texts as after ``--set``, such as ``train.epochs=3``.

    Raises:
        RecipeError: with every mistake found.
    """
    return read_recipe(path, registries=installed().registries, overrides=_texts(overrides))


def epochs(
    recipe: Recipe, *, out: str | Path, device: str = "auto", resume: bool = False, say: Say | None = None
) -> Iterator[EpochReport]:
    """Train epoch by epoch; each is recorded in the run folder before its report is given.

    The caller may stop at any report. Other processes find the run folder locked until the iterator ends or is closed.

    Args:
        recipe: what to train.
        out: the run folder, new or (to resume) of this recipe.
        device: ``auto``, ``cpu``, ``cuda`` ...
        resume: go on after the last recorded epoch, if there is one.
        say: is given every line that ``giseg train`` would print.

    Raises:
        GisegError: as ``giseg train`` reports it.
    """
    session = _session(device, say)
    try:
        yield from train_by_epochs(session.experiment(recipe), Path(out), resume=resume)
    except GisegError:
        raise
    except Exception as error:
        name_culprit(error, session.plugins.registries)
        raise


def train(
    recipe: Recipe, *, out: str | Path, device: str = "auto", resume: bool = False, say: Say | None = None
) -> Run:
    """Train all epochs into a run folder; the arguments are those of ``epochs``.

    Raises:
        GisegError: as ``giseg train`` reports it.
    """
    session = _session(device, say)
    if recipe.split.several:
        return Run(train_folds(session.experiment(recipe), Path(out), resume=resume).path, session=session)
    return Run(train_run(session.experiment(recipe), Path(out), resume=resume).path, session=session)


def load_run(path: str | Path, *, device: str = "auto", overrides: Sequence[str] = ()) -> Run:
    """A finished run with its best weights; its data are not needed.

    Args:
        path: the run folder, of one network or of several folds, or that of an ensemble.
        device: where its networks compute.
        overrides: other settings for predictions, such as ``evaluate.threshold=0.3``.

    Raises:
        RunError: if there is no such run, or its weights are missing or damaged.
        RecipeError: if its recipe cannot be used here, or an override has no effect on predictions.
    """
    run = Run(Path(path), session=_session(device, None), overrides=_texts(overrides))
    _ = run.classes  # loads the network, so that what is wrong is told here
    return run


def evaluate(
    run: Run | str | Path,
    *,
    root: str | Path | None = None,
    overrides: Sequence[str] = (),
    out: str | Path | None = None,
    device: str = "auto",
) -> Mapping[str, float]:
    """Score a run's best weights on its validation slices, as ``giseg evaluate`` does, and write the same files.

    Args:
        run: a run, whose own overrides count too, or its folder.
        root: where the data are now.
        overrides: other settings.
        out: a new folder for the evaluation.
        device: default that of the run.

    Returns:
        The scores by name: ``dice``, ``dice/liver`` ...

    Raises:
        GisegError: as ``giseg evaluate`` reports it.
    """
    folder, experiment = _opened(run, root=root, overrides=overrides, device=device, command="evaluate")
    done = evaluate_run(folder, experiment, out=None if out is None else Path(out))
    scores: Mapping[str, float] = done.scores["scores"]
    return scores


def predict(
    run: Run | str | Path,
    *,
    out: str | Path | None = None,
    part: PartName | None = None,
    root: str | Path | None = None,
    overrides: Sequence[str] = (),
    device: str = "auto",
) -> Path:
    """Write predictions with a run's best weights, as ``giseg predict`` does.

    Args:
        run: a run, whose own overrides count too, or its folder.
        out: the submission's file, ending in .csv.
        part: which slices; default the recipe's.
        root: where the data are now.
        overrides: other settings.
        device: default that of the run.

    Returns:
        The submission's file, or the folder of the predictions if the recipe writes no submission.

    Raises:
        GisegError: as ``giseg predict`` reports it.
    """
    folder, experiment = _opened(run, root=root, overrides=overrides, device=device, command="predict")
    return predict_run(folder, experiment, out=None if out is None else Path(out), part=part).file


class Run:
    """A finished run; ``load_run`` and ``train`` make it.

    Attributes:
        path: the run folder.
        recipe: its recipe, with the overrides.
        session: plugins and device.
        overrides: settings that differ from the run's own.
    """

    def __init__(self, path: Path, *, session: Session, overrides: Sequence[str] = ()) -> None:
        self.session = session
        self.overrides = tuple(overrides)
        folder, self.recipe = open_run(path, session.plugins.registries, overrides=self.overrides, command="predict")
        self.path = folder.path
        for line in self.recipe.notes:
            session.say(line)

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r})"

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the K classes, in the order of the masks' last axis."""
        return self._experiment.classes

    def predict(self, images: AnyArray | Sequence[AnyArray]) -> BoolArray:
        """Masks of slices in memory, made as ``giseg predict`` makes them.

        Args:
            images: one slice, ``[H, W]`` or ``[H, W, C]``; or one scan, its slices in order, ``[D, H, W]``,
                ``[D, H, W, C]`` or a list of slices. Of uint8, uint16, int16 or floats, as the training data.

        Returns:
            ``[H, W, K]`` bool for one slice, ``[D, H, W, K]`` for a scan, at the size of the images.

        Raises:
            DataError: if the images have another form or number of channels, or values that are not finite.
        """
        return masks_of(self._experiment, images)

    @cached_property
    def _experiment(self) -> InMemory | EnsembleInMemory:
        """The networks with their best weights, built once."""
        return open_in_memory(RunDir(self.path), self.recipe, self.session)


def _opened(
    run: Run | str | Path, *, root: str | Path | None, overrides: Sequence[str], device: str, command: str
) -> tuple[RunDir, Experiment]:
    """A run's folder and an experiment on its data."""
    texts = _texts(overrides)
    if isinstance(run, Run):
        session = run.session if device == "auto" else replace(run.session, device=device)
        path, texts = run.path, (*run.overrides, *texts)
    else:
        session, path = _session(device, None), Path(run)
    return session.open_run(path, root=None if root is None else str(root), overrides=texts, command=command)


def _session(device: str, say: Say | None) -> Session:
    plugins = installed()
    return Session(plugins, device) if say is None else Session(plugins, device, say=say)


def _texts(overrides: Sequence[str]) -> tuple[str, ...]:
    """The overrides; a single text is one of them, not a sequence of letters."""
    return (overrides,) if isinstance(overrides, str) else tuple(overrides)
