"""A small set of images whose folds train in a blink, for what several folds and ensembles do."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from gisegkit.build.session import Session
from gisegkit.plugins import load_plugins
from gisegkit.recipe.load import load_recipe
from gisegkit.runs.scored import case_sums, combiner, read_run
from gisegkit.types import JobEnd

FOLDS = """
name = "several"
split = {{folds = 3, fold = "all"}}
input = {{size = [32, 32], store = "off"}}
model = {{name = "r2unet", width = 2, depth = 2, steps = 1}}
loss = [{{name = "bce"}}]
optimizer = {{name = "adam", lr = 0.1}}
metric = [{{name = "dice"}}]
train = {{epochs = 3, batch_size = 2, micro_batch = 0, workers = 0, activation_checkpointing = "off"}}
[dataset]
name = "folder"
root = "{root}"
labels = {{{labels}}}
pattern = "(?P<case>[a-z]\\\\d)_(?P<position>\\\\d)"
unlabelled = "more"
"""


def draw(folder, letter, *, cases, masked):
    """Cases of two slices, 24 x 20 pixels, with two labels; those that are not masked have no labels."""
    for case in range(cases):
        for position in range(2):
            rng = np.random.default_rng([ord(letter), case, position])
            labels = np.zeros((24, 20), np.uint8)
            y, x = rng.integers(0, 10, 2)
            labels[y : y + 9, x : x + 7] = 1
            labels[y + 9 : y + 14, x : x + 7] = 2
            name = f"{letter}{case}_{position}.png"
            image = labels * 80 + rng.integers(0, 25, labels.shape, np.uint8)
            for part, pixels in (("images" if case < masked else "more", image), ("masks", labels)):
                if part != "masks" or case < masked:
                    (folder / part).mkdir(parents=True, exist_ok=True)
                    assert cv2.imwrite(str(folder / part / name), pixels)


class Toy:
    """Recipes on the small set, and what a session of theirs says."""

    def __init__(self, folder):
        self.folder, self.lines = folder, []
        self.plugins = load_plugins(selection="none")

    def session(self, say=None):
        self.lines.clear()
        return Session(self.plugins, "cpu", say=say or self.lines.append)

    def recipe(self, *overrides, labels="a = 1, b = 2"):
        file = self.folder / "several.toml"
        file.write_text(FOLDS.format(root=(self.folder / "t").as_posix(), labels=labels))
        return load_recipe(file, registries=self.plugins.registries, overrides=overrides)

    def experiment(self, *overrides, say=None, **more):
        return self.session(say).experiment(self.recipe(*overrides, **more))

    def open(self, path, *overrides, command="evaluate"):
        return self.session().open_run(path, overrides=overrides, command=command)


@pytest.fixture
def copied(finished, tmp_path):
    """A copy of the finished run that a test may change."""
    return shutil.copytree(finished[0].path, tmp_path / "copied")


@pytest.fixture
def talking(session):
    """A session that keeps what it says."""
    lines = []
    return Session(session.plugins, "cpu", say=lines.append), lines


@pytest.fixture(scope="session")
def several(tmp_path_factory):
    """Six labelled cases and one without labels; extra (e) and test (x) sets beside them."""
    folder = tmp_path_factory.mktemp("several")
    for letter, cases in (("t", 7), ("e", 2), ("x", 2)):
        draw(folder / letter, letter, cases=cases, masked=6 if letter == "t" else 2)
    return Toy(folder)


@pytest.fixture(scope="session")
def folds_run(several, tmp_path_factory):
    """A finished run of three folds with a refit."""
    from gisegkit.workflows.folds import run_folds

    return run_folds(several.experiment(), tmp_path_factory.mktemp("folds") / "run", refit=True)


# --- plans whose commands run in an executor of the test ----------------------------------------------------------


class Cluster:
    """An executor whose jobs do what ``fate`` says in each round: a function of (job, round) that gives an end or None.

    Its jobs outlive it, as those of a cluster do: a new one that is given the old one's ``jobs`` finds them.
    """

    interval = 0.0

    def __init__(self, fate, slots=8, jobs=None):
        self.fate, self.slots, self.jobs = fate, slots, {} if jobs is None else jobs
        self.most, self.ended = 0, set()
        self.submitted, self.cancelled, self.closed = [], [], False

    def submit(self, job):
        handle = f"job{len(self.jobs)}"
        self.jobs[handle] = [job, 0]
        self.submitted.append(job.name)
        self.most = max(self.most, len(self.jobs.keys() - self.ended))
        return handle

    def poll(self, handle):
        if handle not in self.jobs:
            return JobEnd()
        self.jobs[handle][1] += 1
        end = JobEnd(-15) if handle in self.cancelled else self.fate(*self.jobs[handle])
        if end is not None:
            self.ended.add(handle)
        return end

    def cancel(self, handle):
        self.cancelled.append(handle)

    def close(self):
        self.closed = True

    @staticmethod
    def folder(job):
        """Of the run that a job makes."""
        return Path(job.command[job.command.index("--out") + 1])

    @staticmethod
    def sets(job):
        """The values that a job's command sets."""
        return [word for before, word in zip(job.command, job.command[1:], strict=False) if before == "--set"]


@pytest.fixture(scope="session")
def cluster():
    """The class of executors whose jobs do what a test says."""
    return Cluster


@pytest.fixture(scope="session")
def one_run(several, tmp_path_factory):
    """A finished run of one fold and two epochs."""
    from gisegkit.workflows.run import run_recipe

    experiment = several.experiment("split.fold=0", "train.epochs=2")
    return run_recipe(experiment, tmp_path_factory.mktemp("one") / "run").run.path


@pytest.fixture
def finish(several, one_run):
    """Makes the folder of a job that of a finished run, without training; its scores are those of a run times a factor.

    With ``jitter``, each case's score has a factor of its own besides, drawn for the job's name.
    """

    def make(job, factor=1.0, *, jitter=0.0):
        folder = Cluster.folder(job)
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(one_run, folder)
        recipe = several.recipe("split.fold=0", "train.epochs=2", *Cluster.sets(job))
        for place in (folder, folder / "evaluation"):
            (place / "recipe.toml").write_text(recipe.text())
        table = pd.read_csv(folder / "evaluation" / "by_slice.csv", dtype={"case": str, "id": str, "scan": str})
        rng = np.random.default_rng([ord(letter) for letter in job.name])
        own = {case: 1 + jitter * rng.standard_normal() for case in table["case"].unique()}
        table["dice"] = table["dice"] * factor * table["case"].map(own)
        table.to_csv(folder / "evaluation" / "by_slice.csv", index=False)
        file = folder / "evaluation" / "scores.json"
        content, run = json.loads(file.read_text()), read_run(folder, "x")
        combine = combiner(run, "dice", several.plugins.registries)
        content["scores"]["dice"] = case_sums(run, "dice", combine).score()
        file.write_text(json.dumps(content))
        return JobEnd(0)

    return make


@pytest.fixture
def open_(several, tmp_path):
    """Opens a plan with three runs of one recipe, or what a test writes."""
    from gisegkit.workflows.plan import open_plan

    recipe = tmp_path / "recipe.toml"
    recipe.write_text(several.recipe("split.fold=0", "train.epochs=2").text())

    def make(more="", *, text=THREE, out="p"):
        file = tmp_path / "plan.toml"
        file.write_text(text.format(recipe=recipe.name, more=more))
        return open_plan(file, several.plugins.registries, out=tmp_path / out, device="cpu")

    return make


THREE = '[[run]]\nname = "n"\nrecipe = "{recipe}"\nseeds = [0, 1, 2]\n{more}'
