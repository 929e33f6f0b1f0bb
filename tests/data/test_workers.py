"""Processes that read batches: their errors are the user's, their end is told, and any way of starting them works."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
import traceback
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch

from gisegkit.components.augmentation.warp_policies import baseline
from gisegkit.components.datasets.folder import Folder
from gisegkit.components.normalizations import Maximum
from gisegkit.data import buffers
from gisegkit.data.inputs import Input
from gisegkit.data.loaders import EpochSampler, EvaluationSet, TrainingSet, evaluation_loader, training_loader
from gisegkit.data.preprocess import Preprocess
from gisegkit.data.slices import SliceReader
from gisegkit.data.store.layout import Layout
from gisegkit.data.store.store import Store
from gisegkit.data.workers import BatchLoader, Failure, _why_it_ended
from gisegkit.errors import ComponentError, DataError, GisegError, Mistake, RecipeError, RunError, TrainingError

pytestmark = pytest.mark.slow  # whole trainings or processes

SIZE = (16, 24)


class TwoWords(DataError):
    """An error of a plugin that cannot be made of its text alone."""

    def __init__(self, file, problem):
        super().__init__(f"{file}: {problem}")


class Failing(Folder):
    """Raises, or ends the process, where row 5 is read."""

    def __init__(self, action, **options):
        super().__init__(**options)
        self.action = action

    def image(self, row):
        if row == 5:
            self.action()
        return super().image(row)


def too_bright():
    raise ValueError("brightness 7")


def two_words():
    raise TwoWords("s5.dcm", "is cut off")


def recipe_error():
    raise RecipeError("mine.toml", [Mistake("mine.toml:3", "is wrong", "make it right")])


def file_is_gone():
    raise FileNotFoundError(2, "No such file or directory", "s5.npy")


def killed():
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Eight images s0 to s7 with label files."""
    folder = tmp_path_factory.mktemp("workers")
    rng = np.random.default_rng(0)
    for part in ("images", "masks"):
        (folder / part).mkdir()
        for number in range(8):
            values = rng.integers(0, 2 if part == "masks" else 256, (20, 16), np.uint8)
            assert cv2.imwrite(str(folder / part / f"s{number}.png"), values)
    return folder


def make(dataset, store=None):
    preprocess = Preprocess(Maximum(), SIZE, "fit", "linear")
    return Input(SliceReader(dataset, slices=1, stride=1, edge="clamp", preprocess=preprocess, store=store))


def loaders(source, workers):
    """The passes of both loaders over all slices, row 5 neither first nor alone."""
    sampler = EpochSampler(np.arange(len(source.dataset.table)), batch_size=3, seed=2)
    yield training_loader(TrainingSet(source, baseline(size=SIZE), seed=3), sampler, workers=workers, pin=False)
    yield evaluation_loader(EvaluationSet(source, range(8)), batch_size=3, workers=workers, pin=False)


# --- errors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("action", "kind", "text"),
    [
        (two_words, DataError, "s5.dcm: is cut off"),
        (recipe_error, RecipeError, "mine.toml: 1 mistake\n  mine.toml:3: is wrong\n    make it right"),
        (file_is_gone, DataError, "image s5: cannot be read ([Errno 2] No such file or directory: 's5.npy')"),
        (too_bright, ComponentError, "Failing: image(5) raised ValueError for slice s5: brightness 7 ("),
    ],
)
def test_an_error_reads_the_same_with_and_without_workers(root, action, kind, text):
    source = make(Failing(action, root=str(root), labels={"a": 1}))
    for number in range(2):
        found = []
        for workers in (0, 1):
            with pytest.raises(GisegError) as caught:
                list(list(loaders(source, workers))[number])
            assert isinstance(caught.value, kind)
            found.append(str(caught.value))
            assert action.__name__ in "".join(traceback.format_exception(caught.value))  # what --debug shows
        assert found[0] == found[1]
        assert text in found[0]
        assert "Traceback" not in found[0] and "DataLoader" not in found[0]


def test_an_error_in_the_store_names_the_slice_and_the_plugin_too(root, tmp_path):
    dataset = Failing(too_bright, root=str(root), labels={"a": 1})
    store = Store(dataset, name="failing", layout=Layout(SIZE, "fit", "linear"), home=tmp_path)
    with pytest.raises(DataError, match=r"Failing: image\(5\) raised ValueError for slice s5: brightness 7") as caught:
        store.prepare(range(8))
    assert "too_bright" in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("workers", [0, 1])
def test_an_augmentation_that_fails_is_named_with_its_slice(root, workers):
    def brighten(image, mask, rng):
        raise ZeroDivisionError("division by zero")

    brighten.registered_as = "augmentation 'bright' of giseg-bright 1.0"
    source = make(Folder(root=str(root), labels={"a": 1}))
    samples = TrainingSet(source, baseline(size=SIZE), seed=3)
    loader = training_loader(samples, [[(1, 4)]], workers=workers, pin=False)
    samples.augmentation = brighten
    expected = r"^augmentation 'bright' of giseg-bright 1\.0: its call raised ZeroDivisionError for slice s4: division"
    with pytest.raises(ComponentError, match=expected):
        list(loader)


@pytest.mark.parametrize("error", [DataError("a"), TrainingError("b"), RunError("c"), TwoWords("d", "e")])
def test_a_failure_is_the_error_again(error):
    again = Failure.of(error).error()
    assert str(again) == str(error)
    assert type(again) in type(error).__mro__ and type(again).__module__ == "gisegkit.errors"


# --- the end of a worker ----------------------------------------------------------------------------------------------


class Lost:
    """A batch that cannot be fetched from the process that made it."""

    def __reduce__(self):
        return fail_to_fetch, ()


def fail_to_fetch():
    raise EOFError("nobody answers")


class Losing:
    """Batches by a worker that loses the first, and may be killed a little later."""

    def __init__(self, *, ends):
        self.ends = ends

    def __getitem__(self, request):
        if request and self.ends:
            time.sleep(0.3)
            killed()
        return Lost()


def test_a_batch_that_is_lost_with_its_worker_is_no_defect():
    with pytest.raises(DataError, match=r"^a reader process was killed \(signal 9\)"):
        list(BatchLoader(Losing(ends=True), range(2), workers=1, pin=False))


@pytest.mark.slow
def test_a_batch_that_is_lost_while_its_worker_lives_is_one():
    with pytest.raises(EOFError, match="nobody answers"):
        list(BatchLoader(Losing(ends=False), range(2), workers=1, pin=False))


def test_a_worker_that_is_killed_is_told_in_one_line(root):
    _, evaluation = loaders(make(Failing(killed, root=str(root), labels={"a": 1})), 1)
    before = signal.getsignal(signal.SIGCHLD)
    with pytest.raises(
        DataError, match=r"^a reader process was killed \(signal 9\), usually because main memory ran out"
    ):
        list(evaluation)
    assert signal.getsignal(signal.SIGCHLD) == before  # else torch would raise in the middle of a step


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (-signal.SIGKILL, "main memory ran out"),
        (-signal.SIGBUS, "docker run --shm-size"),
        (-signal.SIGSEGV, "killed (SIGSEGV, signal 11)"),
        (3, "ended by itself (exit code 3)"),
        (None, "exited unexpectedly"),
    ],
)
def test_every_end_has_a_remedy(code, words):
    iterator = SimpleNamespace(_workers=[SimpleNamespace(exitcode=None), SimpleNamespace(exitcode=code)])
    line = _why_it_ended(iterator, "DataLoader worker (pid(s) 7) exited unexpectedly")
    assert words in line and "train.workers=0" in line and "\n" not in line


# --- slots ------------------------------------------------------------------------------------------------------------


def test_a_batch_that_does_not_fit_gives_its_slot_back(root):
    samples = TrainingSet(make(Folder(root=str(root), labels={"a": 1})), baseline(size=SIZE), seed=3)
    large = [[(epoch, row) for row in range(4)] for epoch in range(12)]
    loader = training_loader(samples, [[(1, 0)], *large], workers=1, pin=False)
    pool = loader.loader.dataset.batches.pool
    slots = len(pool._free)
    assert [len(batch.rows) for batch in loader] == [1] + [4] * len(large)
    assert len(pool._free) == slots > 0
    assert buffers._pools[pool._number] is pool


# --- ways of starting them --------------------------------------------------------------------------------------------


@pytest.fixture
def start_method():
    """Sets how processes are started, for this test."""
    before = multiprocessing.get_start_method()
    yield lambda method: multiprocessing.set_start_method(method, force=True)
    multiprocessing.set_start_method(before, force=True)


def tensors(loader):
    """Every batch as images, masks and rows, copies."""
    return [
        [batch.images.clone(), *(torch.as_tensor(mask).clone() for mask in batch.masks), torch.as_tensor(batch.rows)]
        for batch in loader
    ]


@pytest.mark.parametrize(("method", "first"), [("spawn", 0), ("forkserver", 1)])
@pytest.mark.slow
def test_workers_that_are_started_anew_give_the_same_batches(root, tmp_path, start_method, method, first):
    """Both loaders under spawn, and the second under forkserver, which starts processes much alike."""
    if method not in multiprocessing.get_all_start_methods():
        return
    dataset = Folder(root=str(root), labels={"a": 1})
    store = Store(dataset, name="folder", layout=Layout(SIZE, "fit", "linear"), home=tmp_path)
    store.prepare(range(8))
    source = make(dataset, store)
    expected = [tensors(loader) for loader in loaders(source, 0)]
    start_method(method)
    for loader, wanted in list(zip(loaders(source, 1), expected, strict=True))[first:]:
        for found, own in zip(tensors(loader), wanted, strict=True):
            assert all(torch.equal(a, b) for a, b in zip(found, own, strict=True))


def test_what_cannot_be_sent_to_a_worker_is_told(root, start_method):
    start_method("spawn")
    samples = TrainingSet(make(Folder(root=str(root), labels={"a": 1})), lambda *sample: sample[:2], seed=3)
    with pytest.raises(ComponentError, match=r"cannot be sent to a reader process, .*'spawn'.*lambda.*train.workers=0"):
        list(training_loader(samples, [[(1, 0)]], workers=1, pin=False))
