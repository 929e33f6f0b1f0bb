"""What several test files share: modules written for one test, toy components, the built-ins, recipes in files."""

from __future__ import annotations

import gc
import itertools
import os
import signal
import subprocess
import sys
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from gisegkit.engine.world import World
from gisegkit.plugins import load_plugins
from gisegkit.recipe.load import load_recipe
from gisegkit.registry.adder import Adder
from gisegkit.registry.kinds import Owner, Registries

TOYS = '''
"""Components that check recipes in tests and cannot be built: importing them fails."""

raise RuntimeError("this module must be read, never imported")


def data(*, root: str, cases: Annotated[int, AtLeast(1)] = 4, labels: dict[str, int] | None = None):
    """A data set.

    Args:
        root: folder of the data.
        cases: number of cases.
    """


def network(*, in_channels: int, classes: int, encoder: str = "resnet34", depth: Annotated[int, Between(3, 5)] = 5,
            weights: Literal["imagenet", "none"] = "imagenet", channels: list[int] = (64, 32)):
    """A network."""


def other_network(*, in_channels: int, classes: int, width: int = 8):
    """Another network."""


class BCE:
    """A loss."""

    def __init__(self, *, smooth: Annotated[float, Between(0, 1)] = 0.0, reduce: Literal["mean", "sum"] = "mean"):
        pass


class Tversky:
    """A loss with a parameter that has no default."""

    def __init__(self, *, alpha: float):
        pass


class Maximum:
    """A normalization."""

    def __init__(self, *, over: Literal["slice", "scan"] = "slice"):
        pass


def plain(*, size):
    """Nothing."""


def adam(params, *, lr: Annotated[float, Above(0)] = 1e-3):
    """An optimizer."""


def constant(optimizer, *, steps, warmup: float = 0):
    """A schedule."""


class Metric:
    """A metric."""


class Submission:
    """A writer."""


def anything(**options):
    """Takes whatever it is given."""
'''

MINIMAL = """\
name = "small"

[dataset]
name = "toy"
root = "data"

[model]
name = "net"

[[loss]]
name = "bce"

[optimizer]
name = "adam"
"""


HOLD = """
import os, sys, time
from pathlib import Path
from gisegkit.runs.locks import locked
with locked(Path(sys.argv[1]), print):
    child = os.fork() if sys.argv[2] == "True" else 1
    if child:
        print("held", flush=True)
    time.sleep(60)
"""


def pytest_collection_modifyitems(config, items):
    """Tests of clusters are left out unless asked for; what takes longest goes first, so that no process ends late."""
    if "distributed" not in config.option.markexpr:
        left = [item for item in items if item.get_closest_marker("distributed")]
        config.hook.pytest_deselected(items=left)
        items[:] = [item for item in items if not item.get_closest_marker("distributed")]
    items.sort(key=lambda item: item.path.name not in ("test_static.py", "test_docs.py"))


def pytest_collection_finish():
    """Garbage is collected rarely, and without the million objects of the libraries, which stay to the end."""
    gc.freeze()
    gc.set_threshold(10_000, 50, 20)  # with Python's own, a twelfth of the time went into it


@pytest.fixture
def hold():
    """Starts a process that holds the lock of a folder, maybe with a forked child; all are killed at the end."""
    started = []

    def start(folder, *, fork=False):
        command = [sys.executable, "-c", HOLD, str(folder), str(fork)]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True))
        assert started[-1].stdout.readline() == "held\n"
        return started[-1]

    yield start
    for process in started:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


@pytest.fixture(scope="session", autouse=True)
def home_of_tests(tmp_path_factory):
    """What tests make does not land in the user's own cache, nor wait for the disk: no test outlives a power cut."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GISEG_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


@pytest.fixture
def make_module(tmp_path, monkeypatch):
    """Writes a module for this test and gives its name, which no other test uses."""
    folder = tmp_path / "modules"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    numbers = itertools.count()
    before = set(sys.modules)

    def write(text: str) -> str:
        name = f"written_{abs(hash(str(tmp_path))):x}_{next(numbers)}"
        (folder / f"{name}.py").write_text(text, encoding="utf-8")
        return name

    yield write
    for name in set(sys.modules) - before:
        if name.startswith("written_"):
            del sys.modules[name]


@pytest.fixture(scope="session")
def registries():
    """The built-in components."""
    return load_plugins(selection="none").registries


@pytest.fixture(scope="module")
def shipped():
    """The built-ins and the plugin of this repository, as its entry point would load it."""
    from importlib.metadata import EntryPoint

    folder = str(Path(__file__).parent.parent / "plugins" / "giseg-cutmix")
    sys.path.insert(0, folder)
    try:
        yield load_plugins(selection="", found=[EntryPoint("cutmix", "giseg_cutmix", "gisegkit")]).registries
    finally:
        sys.path.remove(folder)


@pytest.fixture
def toys(make_module):
    """Registries of toy components that are only ever read."""
    module = make_module(TOYS)
    add = Adder(Owner("toys", "1.0"))
    add.dataset("toy", f"{module}:data")
    add.model("net", f"{module}:network")
    add.model("other", f"{module}:other_network")
    add.loss("bce", f"{module}:BCE")
    add.loss("tversky", f"{module}:Tversky")
    add.normalization("maximum", f"{module}:Maximum")
    add.augmentation("none", f"{module}:plain")
    add.optimizer("adam", f"{module}:adam")
    add.schedule("constant", f"{module}:constant")
    add.metric("dice", f"{module}:Metric")
    add.metric("iou", f"{module}:Metric")
    add.writer("submission", f"{module}:Submission")
    add.tracker("anything", f"{module}:anything")
    registries = Registries()
    for component in add.components:
        registries[component.kind].add(component)
    return registries


@pytest.fixture
def write_recipe(tmp_path):
    """Writes a recipe (default: the smallest that the toys allow) and gives its path."""

    def write(text: str = MINIMAL, name: str = "recipe.toml"):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write


@pytest.fixture
def load(write_recipe, toys):
    """Loads a recipe's text with the toy components."""

    def load(text: str = MINIMAL, *overrides: str, preset=()):
        return load_recipe(write_recipe(text), registries=toys, overrides=overrides, preset=preset)

    load.minimal = MINIMAL
    return load


TINY = """
# A tiny run for tests.

name = "tiny"

[dataset]
name = "phantom"
cases = 3
days = 1
slices = 10
test_cases = 1
cache = "{cache}"

[input]
size = [32, 32]
slices = 3

[split]
folds = 3

[model]
name = "unet"
encoder = "tu-test_resnet"
weights = "none"
depth = 3
decoder_channels = [16, 8, 8]

[[loss]]
name = "bce"
weight = 0.5

[[loss]]
name = "tversky"
weight = 0.5

[augmentation]
name = "baseline"

[[batch_transform]]
name = "mixup"
alpha = 0.4

[optimizer]
name = "adam"
lr = 2e-3

[schedule]
name = "cosine"
warmup = 0.1

[train]
epochs = 3
batch_size = 8
max_grad_norm = 1.0
activation_checkpointing = "off"  # what could be recomputed is found by a simulation, which takes longer than a step

[[metric]]
name = "uwmgi_score"

[[metric]]
name = "dice"

[[postprocess]]
name = "min_area"
pixels = 3

[[tracker]]
name = "csv"

[evaluate]
batch_size = 7
"""


@pytest.fixture(scope="session")
def half_size():
    """A context in which phantoms are made with half as many rows and columns, for runs that are tiny otherwise too."""
    from gisegkit.data.phantom import scan

    halved = [
        replace(size, width=size.width // 2, height=size.height // 2, half_width=size.half_width / 2)
        for size in scan.SIZES
    ]

    @contextmanager
    def patched():
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(scan, "SIZES", tuple(halved))
            yield

    return patched


@pytest.fixture(scope="session")
def home(tmp_path_factory, half_size):
    """A folder with the tiny recipe and its phantom."""
    from gisegkit.components.datasets.phantom import Phantom

    folder = tmp_path_factory.mktemp("run")
    with half_size():
        Phantom(cases=3, days=1, slices=10, test_cases=1, cache=str(folder / "cache"))
    (folder / "tiny.toml").write_text(TINY.format(cache=(folder / "cache").as_posix()))
    return folder


@pytest.fixture(scope="session")
def session():
    """A session on the CPU with the built-in components."""
    from gisegkit.build.session import Session

    return Session(load_plugins(selection="none"), device="cpu")


@pytest.fixture(scope="session")
def recipe(home, session):
    """The tiny recipe with overrides."""

    def load(*overrides: str):
        return load_recipe(home / "tiny.toml", registries=session.plugins.registries, overrides=overrides)

    return load


@pytest.fixture(scope="session")
def train_until(session):
    """Trains a recipe into a folder, in a process that dies when a line with some start is said."""
    from gisegkit.build.session import Session
    from gisegkit.workflows.train import train

    class Killed(Exception):
        pass

    def until(start, recipe, folder):
        def say(line):
            if line.startswith(start):
                raise Killed

        with pytest.raises(Killed):
            train(Session(session.plugins, device="cpu", say=say).experiment(recipe), folder)

    return until


@pytest.fixture(scope="session")
def finished(home, session, recipe):
    """A run of the tiny recipe and its scores."""
    from gisegkit.workflows.run import run_recipe

    run, evaluated, _ = run_recipe(session.experiment(recipe()), home / "finished")
    return run, dict(evaluated.scores)


@pytest.fixture
def write_run(tmp_path):
    """Writes the folder of a run whose predictions are the truth with a share of its pixels flipped; gives the path."""
    import numpy as np

    from gisegkit.components.metrics.overlap_metrics import Dice, UWMGIScore
    from gisegkit.engine.scoring import Scoreboard
    from gisegkit.runs.folder import RunDir
    from gisegkit.runs.outputs import Evaluation

    def write(
        name,
        *,
        flipped=0.1,
        cases=8,
        first=0,
        slices=3,
        seed=0,
        truth_seed=7,
        metrics=None,
        classes=("liver", "spleen"),
        recipe="",
        part="validation",
        **content,
    ):
        text = f"seed = {seed}\n{recipe}"
        run = RunDir.create(tmp_path / name, recipe=text, environment={"device": "cpu, fp32"}, demo=False)
        board = Scoreboard(metrics or {"uwmgi_score": UWMGIScore(), "dice": Dice()}, classes)
        for case in range(first, first + cases):
            for day in range(1 + case % 2):
                truth = np.random.default_rng([truth_seed, case, day]).random((slices, 6, 6, len(classes))) < 0.3
                truth[0, ..., 0] = False
                noise = np.random.default_rng([seed, case, day]).random(truth.shape) < flipped
                ids = [f"c{case}_d{day}_{index}" for index in range(slices)]
                board.record(
                    board.measure(f"c{case}_d{day}", ids, truth ^ noise, truth.astype(np.uint8), case=f"c{case}")
                )
        scores = {"demo": False, "name": name, "part": part, "slices": 1, "expected": 1, "scans": 1, "epoch": 1}
        scores |= {"parameters": 6_250_000, "trainable_parameters": 6_000_000, "trained_on": 0, "changes": []}
        scores |= {"training": {"epochs": 0, "seconds": None, "peak_memory": None, "device": "cpu, fp32"}}
        scores |= {"scores": board.scores(), "conventions": board.conventions, "parts": board.parts}
        scores |= {"higher_is_better": board.directions}
        scores |= {"bounds": {key: getattr(metric, "bounds", None) for key, metric in board.metrics.items()}}
        Evaluation.own(run).write(scores | content, board.tables(), text)
        return run.path

    return write


class Noting(World):
    """Process 0, which notes in ``sent`` what the others would be asked for."""

    def __init__(self):
        self.sent = []

    def send(self, task):
        self.sent.append(task)


@pytest.fixture
def noting():
    return Noting()
