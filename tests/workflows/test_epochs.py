"""An epoch that was kept by one score and is bad by another is told, in words, once."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest

from gisegkit.workflows.epochs import FEWEST, Watch, clock, kept_epoch, kept_without_average

UP, DOWN = SimpleNamespace(higher_is_better=True), SimpleNamespace(higher_is_better=False)


def lines(monitor, metrics, *epochs, classes=("a", "b")):
    """What is said of epochs given as scores by name; the kept one is the best by the monitored score."""
    higher = metrics[monitor.split("/")[0]].higher_is_better
    defined = [scores.get(monitor) for scores in epochs if scores.get(monitor) is not None]
    best = (max if higher else min)(defined) if defined else None
    entries = [
        {"epoch": n, "best": scores.get(monitor) == best, "scores": scores} for n, scores in enumerate(epochs, 1)
    ]
    return list(kept_epoch(entries, monitor, metrics, classes))


def course(monitored, other):
    return [{"score": m, "dice": d} for m, d in zip(monitored, other, strict=True)]


def test_the_epoch_of_the_trial():
    """A dashed frame round the picture: the best uwmgi_score of twelve epochs, and next to no Dice."""
    dice = [0.0015, 0.01, 0.02, 0.03, 0.04, 0.05, 0.073, 0.07, 0.06, 0.05, 0.04, 0.03]
    (line,) = lines("score", {"score": UP, "dice": UP}, *course([0.2147, *[0.19] * 11], dice))
    assert line == (
        "warning: best epoch 1 of 12 by score (0.2147); by dice it is epoch 7 (0.0730), and epoch 1 (0.0015) is number "
        "12 of 12"
    )


@pytest.mark.parametrize(
    ("monitored", "other", "told"),
    [
        ([0.5, 0.9, 0.6, 0.7], [0.60, 0.70, 0.61, 0.62], False),  # the best by both
        ([0.5, 0.9, 0.6, 0.7], [0.60, 0.61, 0.60, 0.62], False),  # second of four
        ([0.5, 0.9, 0.6, 0.7], [0.60, 0.61, 0.65, 0.62], True),  # third of four
        ([0.5, 0.9, 0.6], [0.60, 0.59, 0.65], False),  # third of three: too few to say
        ([0.5, 0.9, 0.6], [0.10, 0.30, 0.65], True),  # less than half of the best
        ([0.9], [0.0], False),
        ([0.9, 0.8], [0.5, None], False),
        ([0.9, 0.8], [None, 0.5], True),
    ],
)
def test_far_down_is_behind_half_of_the_epochs_or_less_than_half_of_the_best(monitored, other, told):
    assert FEWEST == 4
    assert len(lines("score", {"score": UP, "dice": UP}, *course(monitored, other))) == told


@pytest.mark.parametrize(
    ("other", "told"), [([9.0, 8.0, 7.0], False), ([9.0, 4.0, 7.0], True), ([9.0, 20.0, 30.0], False)]
)
def test_where_lower_is_better_far_down_is_more_than_twice_as_much(other, told):
    epochs = [{"score": m, "hd95": d} for m, d in zip([0.9, 0.8, 0.7], other, strict=True)]
    assert len(lines("score", {"score": UP, "hd95": DOWN}, *epochs)) == told


def test_a_class_that_is_not_found_is_named():
    scores = {"dice": 0.4, "dice/a": 0.8, "dice/b": 0.00001, "other": 0.0, "other/a": 0.0}
    share = SimpleNamespace(higher_is_better=True, bounds=(0.0, 1.0))
    (line,) = lines("dice", {"dice": share, "other": UP}, scores)
    assert "in the kept epoch, 1, dice of the class b is 0.0000" in line
    (both,) = lines("dice", {"dice": share}, {"dice": 0.0, "dice/a": 0.0, "dice/b": 0.0})
    assert "of the classes a, b is 0.0000" in both
    assert lines("dice", {"dice": UP}, {"dice": 0.5, "dice/a": 0.5, "dice/b": None}) == []


def test_a_score_that_was_never_defined_chose_nothing():
    (line,) = lines("dice/b", {"dice": UP}, {"dice": 0.5, "dice/b": None}, {"dice": 0.6, "dice/b": None})[:1]
    assert "dice/b was undefined in every validated epoch" in line
    entries = [{"epoch": 1, "best": True, "scores": {"dice": math.nan}}, {"epoch": 2, "best": False, "scores": {}}]
    assert "those of epoch 1" in next(kept_epoch(entries, "dice", {"dice": UP}, ()))
    assert list(kept_epoch([], "dice", {"dice": UP}, ())) == []


def told(took, *, epochs, done=0, **settings):
    """What a watch says of epochs given as (training, validation or None, writing) seconds, on a clock of its own."""
    time = SimpleNamespace(now=100.0)
    watch = Watch(epochs=epochs, now=lambda: time.now, **settings)
    lines = []
    for epoch, (training, validation, writing) in enumerate(took, done + 1):
        time.now += training + (validation or 0) + writing
        scores = {} if validation is None else {"dice": 0.5}
        report = SimpleNamespace(epoch=epoch, seconds=training, scores=scores, images_per_second=100 / training)
        lines.append(watch.left(report))
    return lines


def test_the_time_left_is_that_of_epochs_with_their_validation_and_writing():
    assert told([(20, 9, 1)] * 3, epochs=3, slices=50) == ["  about 1 min 00 s left", "  about 30 s left", ""]


def test_the_first_epoch_counts_until_there_is_another_because_it_warms_up():
    took = [(90, 30, 0), (20, 10, 0), (22, 12, 0)]
    assert told(took, epochs=4, slices=50)[:3] == [
        "  about 6 min 00 s left",
        "  about 1 min 00 s left",
        "  about 32 s left",  # the mean of the second and the third
    ]


def test_the_whole_run_includes_evaluation_and_prediction_at_the_cost_of_validated_slices():
    """50 slices are validated in 10 s; then 50 are evaluated and 25 predicted."""
    assert told([(20, 10, 0)] * 2, epochs=2, slices=50, later=75) == [
        "  about 45 s left for the whole run",
        "  about 15 s left for the whole run",
    ]


def test_before_the_first_validation_a_slice_costs_what_it_costs_in_training_and_that_is_said():
    """100 slices train in 20 s, so 50 are taken to validate in 10 s; they take 5 s."""
    took = [(20, None, 1), (20, None, 1), (20, 5, 0), (20, None, 1)]
    assert told(took, epochs=6, validate_every=3, slices=50, later=50) == [
        "  about 2 min 13 s left for the whole run (validation not timed yet)",  # 5 x 20, 3 x 1, and 3 x 10
        "  about 1 min 52 s left for the whole run (validation not timed yet)",
        "  about 1 min 12 s left for the whole run",  # 3 x 20, 2 x 1, and 2 x 5
        "  about 51 s left for the whole run",
    ]


def test_the_last_epoch_is_validated_whatever_validate_every_says():
    took = [(20, None, 0), (20, 5, 0), (20, None, 0)]
    assert told(took, epochs=3, validate_every=2, slices=50)[1] == "  about 25 s left"


def test_a_resumed_run_is_timed_from_its_first_own_epoch():
    assert told([(20, 10, 0)] * 3, epochs=5, done=2, slices=50) == ["  about 1 min 00 s left", "  about 30 s left", ""]


def test_early_stopping_makes_it_the_most_that_is_left():
    assert told([(20, 10, 0)] * 2, epochs=2, slices=50, later=50, may_stop=True) == [
        "  at most about 40 s left for the whole run",
        "  about 10 s left for the whole run",
    ]


@pytest.mark.parametrize(("seconds", "text"), [(45, "45 s"), (200, "3 min 20 s"), (7500, "2 h 05 min")])
def test_clock(seconds, text):
    assert clock(seconds) == text


# --- weights that are no mean ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("best", "last", "said"),
    [
        (3, 8, "those of epoch 3 alone: epoch 5 is the first in the mean, and none from there on scored better"),
        (3, 4, "those of epoch 3 alone: epoch 5 is the first in the mean, and training stopped before it"),
        (5, 8, ""),
        (None, 8, ""),
    ],
)
def test_a_run_that_was_to_keep_a_mean_and_does_not_says_so(best, last, said):
    entries = [{"epoch": epoch, "best": epoch == best} for epoch in range(1, last + 1)]
    found = list(kept_without_average(entries, first=5))
    assert [line.partition("weights kept are ")[2] for line in found] == ([said] if said else [])
    assert list(kept_without_average(entries, first=0)) == []
