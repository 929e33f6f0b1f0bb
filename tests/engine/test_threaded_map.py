"""Work in threads: in order, bounded, and never left behind."""

from __future__ import annotations

import threading
import time
import traceback

import pytest

from gisegkit.engine.threaded_map import threaded_map


def alive():
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("giseg")]


@pytest.mark.parametrize("threads", [0, 1, 3])
@pytest.mark.parametrize("ahead", [0, 1, 5])
def test_results_come_in_the_order_of_the_items(threads, ahead):
    def square(number):
        time.sleep(0.002 * (number % 3))  # the later may be done first
        return number * number

    assert list(threaded_map(square, range(20), threads=threads, ahead=ahead)) == [n * n for n in range(20)]
    assert alive() == []


@pytest.mark.parametrize(("threads", "ahead", "most"), [(0, 3, 1), (1, 1, 2), (3, 2, 3)])
def test_no_more_than_so_many_items_are_fetched(threads, ahead, most):
    fetched = []

    def items():
        for number in range(12):
            fetched.append(number)
            yield number

    for taken, _ in enumerate(threaded_map(lambda number: number, items(), threads=threads, ahead=ahead)):
        assert len(fetched) - taken <= most


def test_the_call_runs_beside_its_caller():
    """The first result waits for the second item: that can end only if both go on at once."""
    second = threading.Event()

    def items():
        yield 1
        second.set()
        yield 2

    assert list(threaded_map(lambda n: second.wait(10) and n, items(), threads=1, ahead=1)) == [1, 2]


def test_one_thread_works_on_one_item_at_a_time():
    busy, most = [], []

    def work(number):
        busy.append(number)
        most.append(len(busy))
        time.sleep(0.002)
        busy.remove(number)

    list(threaded_map(work, range(10), threads=1, ahead=4))
    assert max(most) == 1


@pytest.mark.parametrize("threads", [0, 2])
def test_an_error_comes_in_its_place_with_its_traceback(threads):
    def fragile(number):
        if number == 3:
            raise ZeroDivisionError("the third")
        return number

    results = threaded_map(fragile, range(9), threads=threads, ahead=2)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ZeroDivisionError, match="the third") as caught:
        next(results)
    assert "fragile" in [frame.name for frame in traceback.extract_tb(caught.tb)]
    assert alive() == []


@pytest.mark.parametrize("threads", [0, 2])
def test_closing_early_ends_the_threads_and_the_items(threads):
    closed = []

    def items():
        try:
            yield from range(100)
        finally:
            closed.append(True)

    results = threaded_map(lambda number: number, items(), threads=threads, ahead=3)
    assert next(results) == 0
    results.close()
    assert closed == [True]
    assert alive() == []


def test_an_error_of_the_items_comes_through():
    def items():
        yield 1
        raise OSError("the disk")

    with pytest.raises(OSError, match="the disk"):
        list(threaded_map(lambda number: number, items(), threads=1, ahead=0))
    assert alive() == []
