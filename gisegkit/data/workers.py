"""Processes that read batches: what goes wrong in one reaches the user as it would without them, in one line."""

from __future__ import annotations

import multiprocessing.connection
import pickle
import signal
import threading
import traceback
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import torch
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from gisegkit import errors
from gisegkit.errors import ComponentError, DataError, GisegError

PREFETCH = 2
"""Batches that each worker prepares ahead."""

LAST_SECONDS = 2.0
"""How long the end of a worker is waited for that did not deliver its batch."""

ALONE = "--set train.workers=0 reads without them"


class BatchLoader:
    """Yields the batches that are asked for, made here or in worker processes.

    Args:
        batches: a request to a batch; is sent to the workers.
        requests: yields the requests of a pass.
        workers: processes; 0 makes the batches here.
        pin: whether batches are brought to page-locked memory.
        persistent: whether the workers stay for the next pass.
    """

    def __init__(self, batches: Any, requests: Any, *, workers: int, pin: bool, persistent: bool = False) -> None:
        self.workers = workers
        self.loader: DataLoader[Any] = DataLoader(
            _Reporting(batches) if workers else batches,
            sampler=requests,
            batch_size=None,
            collate_fn=_as_it_is,
            num_workers=workers,
            prefetch_factor=PREFETCH if workers else None,
            pin_memory=pin,
            persistent_workers=persistent and workers > 0,
            worker_init_fn=_start_worker,
            generator=torch.Generator(),  # the loader would draw a worker seed from the global generator otherwise
        )

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[Any]:
        """One pass over the requests.

        Raises:
            GisegError: what a worker raised, with its own text.
            ComponentError: if the dataset or the augmentation cannot be sent to a worker.
            DataError: if a worker was killed or ended by itself.
        """
        iterator = self._start()
        try:
            while True:
                try:
                    batch = next(iterator)
                except StopIteration:
                    return
                except (RuntimeError, EOFError, OSError) as error:
                    if not _has_ended(iterator):
                        raise
                    raise DataError(_why_it_ended(iterator, str(error))) from error
                if isinstance(batch, Failure):
                    raise batch.error()
                yield batch
                del batch  # its memory is used again while the next one is made
        finally:
            del iterator  # else an error would keep it, and with it workers that do not stay

    def _start(self) -> Iterator[Any]:
        """Workers that wait for requests.

        torch has the end of a worker raise an error wherever the main thread happens to be, in the middle of a step
        for example. Without that it is noticed here, where the next batch is waited for.
        """
        ours = self.workers and hasattr(signal, "SIGCHLD") and threading.current_thread() is threading.main_thread()
        before = signal.getsignal(signal.SIGCHLD) if ours else None
        try:
            with warnings.catch_warnings(action="ignore", category=UserWarning):  # torch's about what is told here
                return iter(self.loader)
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            method = multiprocessing.get_start_method()
            if not self.workers or method == "fork":
                raise
            raise ComponentError(
                f"the dataset or the augmentation cannot be sent to a reader process, which is started by {method!r} "
                f"here: {error}. A plugin must define its classes and functions at the top level of a module, and its "
                f"objects hold no lambda, lock or open file; {ALONE}"
            ) from error
        finally:
            if before is not None:
                signal.signal(signal.SIGCHLD, before)


@dataclass(frozen=True)
class Failure:
    """A user's mistake that a worker met, in a form that always gets through to the main process.

    Attributes:
        kind: the nearest class of ``gisegkit.errors``; a plugin's own may need arguments that are not known.
        text: what the user reads.
        trace: the worker's traceback, for ``giseg --debug``.
    """

    kind: type[GisegError]
    text: str
    trace: str

    @classmethod
    def of(cls, error: GisegError) -> Failure:
        """The failure that an error is."""
        kind = next(kind for kind in type(error).__mro__ if kind.__module__ == errors.__name__)
        return cls(kind, str(error), "".join(traceback.format_exception(error)))

    def error(self) -> GisegError:
        """The error again."""
        error = self.kind.__new__(self.kind)
        error.args = (self.text,)
        error.add_note(f"\nIn a reader process:\n{self.trace}")
        return error


class _Reporting(TorchDataset[Any]):
    """Gives a Failure in the stead of a batch: torch would wrap the error in its own words, and lose its class."""

    def __init__(self, batches: Any) -> None:
        self.batches = batches

    def __getitem__(self, request: Any) -> Any:
        try:
            return self.batches[request]
        except GisegError as error:
            return Failure.of(error)


def _has_ended(iterator: Any) -> bool:
    """Whether a worker is gone, or goes soon: its batch may be lost a moment before its end is known."""
    workers = {worker.sentinel: worker for worker in getattr(iterator, "_workers", ())}
    ended = multiprocessing.connection.wait(workers, timeout=LAST_SECONDS) if workers else []
    for sentinel in ended:
        workers[sentinel].join(LAST_SECONDS)  # its files are closed before there is an exit code
    return bool(ended)


def _why_it_ended(iterator: Any, text: str) -> str:
    """What to do about a worker that is gone, by the way it ended."""
    codes = [worker.exitcode for worker in getattr(iterator, "_workers", ()) if worker.exitcode]
    code = codes[0] if codes else 0
    if code == -signal.SIGKILL:
        return (
            "a reader process was killed (signal 9), usually because main memory ran out: let fewer processes read "
            f"(--set train.workers=1), or make train.batch_size smaller; {ALONE}"
        )
    if code == -getattr(signal, "SIGBUS", 0):
        return (
            "a reader process was killed by a bus error (signal 7): shared memory ran out, or a file was cut off while "
            f"it was read. Give more shared memory (docker run --shm-size), or repeat the command; {ALONE}"
        )
    if code < 0:
        return f"a reader process was killed ({signal.Signals(-code).name}, signal {-code}); {ALONE}"
    if code > 0:
        return (
            f"a reader process ended by itself (exit code {code}), which code of the dataset or of the augmentation "
            f"must have done; {ALONE} and so shows where"
        )
    return f"a reader process ended: {text}; {ALONE}"


def _as_it_is(batch: Any) -> Any:
    return batch


def _start_worker(_: int) -> None:
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    # Once a block of that size was freed, glibc keeps smaller ones; else it would return every image's memory to the
    # system, to fetch it again page by page.
    bytearray(31 << 20)
