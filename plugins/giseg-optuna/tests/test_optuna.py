"""The search ``optuna``: its contract, what it learns and prunes, and that no kill loses or doubles a trial."""

from __future__ import annotations

import errno
import math
from functools import partial

import numpy as np
import optuna
import pytest
from giseg_optuna.search import JOURNAL, OptunaSearch
from optuna.storages.journal import JournalFileBackend

from gisegkit.components.searches import Random
from gisegkit.errors import ComponentError, RunError
from gisegkit.plugins import load_plugins
from gisegkit.testing import check_search
from gisegkit.types import Axis, Course, Hunt

SPACE = {"optimizer.lr": Axis("log_uniform", 1e-6, 1.0), "augmentation.name": Axis("choice", values=("a", "b"))}


@pytest.fixture
def search(tmp_path):
    """Searches in one folder; trials are those that an earlier one gave."""

    def make(*trials, space=SPACE, maximize=True, epochs=9, folds=5, **params):
        return OptunaSearch(hunt=Hunt(space, maximize, epochs, str(tmp_path), trials, folds), **params)

    return make


def score(trial):
    """Best at a learning rate of 1e-2; the policy does not matter."""
    return 1 - abs(math.log10(trial.values["optimizer.lr"]) + 2) / 6


def curve(*scores):
    return Course((tuple(enumerate(scores, start=1)),))


def states(folder):
    journal = optuna.storages.journal.JournalFileBackend(str(folder / JOURNAL))
    study = optuna.load_study(study_name="giseg", storage=optuna.storages.JournalStorage(journal))
    return [trial.state.name for trial in study.trials]


@pytest.mark.parametrize("prune", ["none", "median", "hyperband"])
@pytest.mark.slow
def test_contract(tmp_path, prune):
    check_search(partial(OptunaSearch, prune=prune), tmp_path)


def test_it_is_registered():
    assert load_plugins(selection="giseg-optuna").registries["search"].get("optuna").load() is OptunaSearch


@pytest.mark.parametrize("maximize", [True, False])
@pytest.mark.slow
def test_it_learns_more_than_chance(search, maximize):
    """The last ten of 30 trials score more than ten random ones mostly do, and the rate is what matters.

    Log rates are uniform from -6 to 0, so the distance d to -2 has the mean (4^2 + 2^2) / 12 and the mean square
    (4^3 + 2^3) / 18; the score is 1 - d / 6.
    """
    own, trials = search(prune="none", maximize=maximize), []
    for _ in range(30):
        trials.append(own.ask())
        own.tell(trials[-1].number, score(trials[-1]) if maximize else 1 - score(trials[-1]), "done")
    chance, deviation = 1 - (20 / 12) / 6, math.sqrt(72 / 18 - (20 / 12) ** 2) / 6
    drawn = Random(hunt=Hunt(SPACE, True, 9, ""))
    assert np.mean([score(drawn.ask()) for _ in range(200)]) == pytest.approx(
        chance, abs=4 * deviation / math.sqrt(200)
    )
    assert np.mean([score(trial) for trial in trials[-10:]]) > chance + deviation / math.sqrt(10)
    if maximize:
        importance = own.importance()
        assert set(importance) == set(SPACE) and sum(importance.values()) == pytest.approx(1)
        assert importance["optimizer.lr"] > 0.9


def test_what_prunes_across_folds_is_refused_with_one_fold(search):
    with pytest.raises(ComponentError, match=r"wilcoxon = 0.2 .* have one fold: leave it out"):
        search(folds=1, wilcoxon=0.2)
    assert search(folds=1).ask().number == 0  # the default is no wish


def test_importance_needs_some_trials(search):
    own = search()
    for _ in range(3):
        own.tell(own.ask().number, 0.5, "done")
    assert own.importance() == {}
    own.tell(own.ask().number, 0.5, "done")
    assert own.importance() == {}  # all scores are the same


def test_a_trial_that_nobody_knew_of_is_given_again(search, tmp_path):
    first = search()
    known, lost = first.ask(), first.ask()
    second = search(known)
    assert second.ask() == lost
    assert second.ask().number == 2 and states(tmp_path) == ["RUNNING"] * 3


def test_a_trial_that_was_killed_before_it_had_all_its_values_is_left_out(search, tmp_path):
    first = search()
    own = first.study.ask()
    own.suggest_float("optimizer.lr", 1e-6, 1.0, log=True)
    again = search()
    assert [again.ask().number, again.ask().number] == [0, 1] and states(tmp_path) == ["FAIL", "RUNNING", "RUNNING"]


def test_a_journal_on_a_full_disk_is_no_traceback(search, monkeypatch):
    def full(self, logs):
        raise OSError(errno.ENOSPC, "No space left on device")

    own = search()
    monkeypatch.setattr(JournalFileBackend, "append_logs", full)
    with pytest.raises(RunError, match=r"optuna.journal cannot be written: No space left on device"):
        own.ask()


def test_an_interrupted_search_does_not_draw_the_same_again(search):
    trials = []
    for _ in range(6):
        trials.append(search(*trials).ask())
    assert len({trial.values["optimizer.lr"] for trial in trials}) == 6


def test_ends_are_told_once(search, tmp_path):
    own = search()
    trials = [own.ask() for _ in range(3)]
    for again in (own, search(*trials)):
        again.tell(0, 0.5, "done")
        again.tell(1, None, "pruned")
        again.tell(2, None, "failed")
        assert states(tmp_path) == ["COMPLETE", "PRUNED", "FAIL"]
    for again in (own, search(*trials)):
        again.tell(2, 0.75, "done")  # it was tried again
        assert states(tmp_path) == ["COMPLETE", "PRUNED", "FAIL", "COMPLETE"]
    assert own.study.best_value == 0.75 and search(*trials).ask().number == 3
    own.tell(99, 0.5, "done")  # unknown


def test_a_journal_whose_last_line_was_cut_off_is_read(search, tmp_path):
    trial = search().ask()
    with (tmp_path / JOURNAL).open("ab") as file:
        file.write(b'{"op_code": 4, "wor')
    own = search(trial)
    own.tell(0, 0.5, "done")
    assert states(tmp_path) == ["COMPLETE"] and search(trial).ask().number == 1


def test_a_lock_that_a_killed_process_left_is_taken_away(search, tmp_path, monkeypatch):
    """Optuna itself would wait for 30 seconds."""
    trial = search().ask()
    lock = tmp_path / f"{JOURNAL}.lock"
    lock.symlink_to(tmp_path / JOURNAL)
    monkeypatch.setattr("time.sleep", lambda seconds: pytest.fail("it waits for the lock"))
    assert search(trial).ask().number == 1 and not lock.is_symlink()


def test_a_journal_that_is_damaged_inside_is_refused_with_the_remedy(search, tmp_path):
    trial = search().ask()
    file = tmp_path / JOURNAL
    file.write_bytes(b"\0\0\0\n" + file.read_bytes())
    with pytest.raises(RunError, match=r"optuna\.journal is damaged .*; delete it"):
        search(trial)
    file.unlink()
    assert search(trial).ask().number == 1


@pytest.mark.parametrize("prune", ["none", "hyperband"])
def test_a_warmup_that_nothing_uses_is_refused(search, prune):
    with pytest.raises(ComponentError, match=f'with prune = "{prune}", nothing uses warmup = 2'):
        search(prune=prune, warmup=2)


def test_a_lost_journal_is_made_anew_of_the_known_trials(search, tmp_path):
    own = search()
    trials = [own.ask() for _ in range(4)]
    (tmp_path / JOURNAL).unlink()
    odd = type(trials[0])(4, {"optimizer.lr": 7.0, "augmentation.name": "c"})  # of a space that was changed since
    other = search(*trials, odd)
    for trial in trials:
        other.tell(trial.number, score(trial), "done")
    assert states(tmp_path) == ["COMPLETE"] * 4 and other.ask().number == 5
    assert other.study.best_value == max(map(score, trials))


def test_another_direction_is_refused(search):
    search()
    with pytest.raises(RunError, match=r"optuna\.journal was begun to maximize, and the plan says minimize"):
        search(maximize=False)


def test_the_median_prunes_by_epochs_within_the_first_fold(search):
    """Five ended at 0.5 to 0.9; a sixth with 0.65 is below their median, one with 0.75 is not."""
    own = search(startup=5)
    for number in range(5):
        trial = own.ask()
        assert own.prune(trial.number, curve(0.5 + number / 10)) == ""
        own.tell(trial.number, 0.5 + number / 10, "done")
    good, bad = own.ask().number, own.ask().number
    assert own.prune(good, curve(0.75)) == ""
    assert own.prune(bad, Course((((1, 0.65),), ((1, 0.1),)))) == ""  # it is beyond its first fold
    reason = own.prune(bad, curve(0.65))
    assert reason == "after epoch 1, its score 0.6500 promises too little (median, Optuna)"
    assert own.prune(99, curve(0.1)) == ""


def test_hyperband_prunes_those_that_lose_a_round(search):
    own = search(prune="hyperband", epochs=27)
    pruned = []
    for number in range(18):
        trial = own.ask()
        value = 0.9 if number % 6 == 0 else 0.1 + number / 100
        reason = next(
            (text for epoch in range(1, 10) if (text := own.prune(trial.number, curve(*[value] * epoch)))), ""
        )
        own.tell(trial.number, None if reason else value, "pruned" if reason else "done")
        pruned.append(bool(reason))
    assert 3 < sum(pruned) < 18 and not pruned[0]


def cases(*values):
    return {f"case{number}": value for number, value in enumerate(values)}


@pytest.mark.parametrize("sign", [1, -1])
def test_wilcoxon_prunes_by_cases_across_folds(search, sign):
    """The best trial's cases are around 0.8: one that is worse in every case ends, one that is in half does not."""
    own = search(prune="none", maximize=sign > 0)
    best = [sign * value for value in (0.8, 0.82, 0.78, 0.81, 0.79, 0.8)]
    first = own.ask().number
    fold = curve(best[0]).folds
    assert own.prune(first, Course(fold, (cases(*best),))) == ""
    own.tell(first, sign * 0.8, "done")
    worse, even = own.ask().number, own.ask().number
    reason = own.prune(worse, Course(fold, (cases(*(value - sign * 0.1 for value in best)),)))
    assert reason == "its 6 cases score worse than those of trial 0 (Wilcoxon, p < 0.1)"
    mixed = [value + sign * (0.01 if number % 2 else -0.01) for number, value in enumerate(best)]
    assert own.prune(even, Course(fold, (cases(*mixed),))) == ""
    assert own.prune(even, Course(fold, (cases(*mixed),))) == ""  # asked again, before another fold
    more = {"other1": sign * 0.1, "other2": sign * 0.1}  # which the best trial does not have
    assert own.prune(even, Course(fold * 2, (cases(*mixed), more))) == ""
    assert search(*(), wilcoxon=0.0, prune="none", maximize=sign > 0).prune(worse, Course(fold, (cases(0.0),))) == ""
