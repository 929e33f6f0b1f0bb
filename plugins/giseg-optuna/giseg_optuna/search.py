"""Optuna as a search of gisegkit. It lives in ``giseg plan`` alone, with its journal; runs know nothing of it."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner, WilcoxonPruner
from optuna.samplers import TPESampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.storages.journal._file import LOCK_FILE_SUFFIX
from optuna.trial import FrozenTrial, TrialState, create_trial

from gisegkit.components.searches import refuse_endless
from gisegkit.errors import ComponentError, RunError
from gisegkit.types import AtLeast, Axis, Between, Course, Hunt, Trial, TrialEnd

JOURNAL = "optuna.journal"
"""Optuna's file in the folder of the plan."""

STUDY = "giseg"

NUMBER, CASES = "number", "cases"
"""What a trial of Optuna knows besides its values: its number in the plan, and its scores by case."""

FEWEST_FOR_IMPORTANCE = 4
"""Finished trials below which the importance of a key means nothing."""


P_OF_WILCOXON = 0.1


class _Journal(JournalFileBackend):
    """Optuna's journal, whose file may be on a disk that is full."""

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Write to the end of the file.

        Raises:
            RunError: if it cannot be written; what was written before is read again.
        """
        try:
            super().append_logs(logs)
        except OSError as error:
            cause = error.strerror or error
            raise RunError(
                f"{self._file_path} cannot be written: {cause}; make room, and run the same command again"
            ) from error


class OptunaSearch:
    """Optuna's TPE, which learns from the trials that have ended which values promise more.

    Paper: Bergstra et al., Algorithms for hyper-parameter optimization, NeurIPS 2011 (TPE); Li et al., Hyperband,
    JMLR 18, 2018, arXiv:1603.06560

    Args:
        hunt: the space, and what is searched for.
        seed: of the sampler.
        startup: trials with random values before TPE begins; also those that are never pruned by the median.
        prune: within the first fold: trials worse than the median of the others at the same epoch (median), those that
            lose a round of Hyperband (hyperband), or none.
        warmup: epochs that every trial may have before the median counts; 0 if it is not set.
        wilcoxon: across folds: a trial ends after a fold if its cases score worse than those of the best trial with a p
            below this (Wilcoxon's signed-rank test, one-sided); 0 for never, 0.1 if it is not set.
    """

    size: int | None = None

    def __init__(
        self,
        *,
        hunt: Hunt,
        seed: Annotated[int, AtLeast(0)] = 0,
        startup: Annotated[int, AtLeast(1)] = 5,
        prune: Literal["none", "median", "hyperband"] = "median",
        warmup: Annotated[int, AtLeast(0)] | None = None,
        wilcoxon: Annotated[float, Between(0, 0.5)] | None = None,
    ) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        if warmup is not None and prune != "median":
            raise ComponentError(f'with prune = "{prune}", nothing uses warmup = {warmup}: leave it out')
        refuse_endless(warmup, hunt)
        if wilcoxon and hunt.folds == 1:
            raise ComponentError(
                f"wilcoxon = {wilcoxon:g} ends trials after a fold, and these have one fold: leave it out, or write "
                'folds = "all" in the [[run]]'
            )
        self.hunt, self.wilcoxon = hunt, P_OF_WILCOXON if wilcoxon is None else wilcoxon
        self.direction: Literal["maximize", "minimize"] = "maximize" if hunt.maximize else "minimize"
        self.space = {key: _distribution(axis) for key, axis in hunt.space.items()}
        pruners: dict[str, BasePruner] = {
            "none": NopPruner(),
            "median": MedianPruner(n_startup_trials=startup, n_warmup_steps=(warmup or 0) + 1),
            "hyperband": HyperbandPruner(min_resource=1, max_resource=max(hunt.epochs, 1)),
        }
        self.how = prune
        file = Path(hunt.folder) / JOURNAL
        _mend(file)
        try:
            storage = JournalStorage(_Journal(str(file)))
            self.study = optuna.create_study(
                storage=storage, study_name=STUDY, direction=self.direction, pruner=pruners[prune], load_if_exists=True
            )
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise RunError(
                f"{file} is damaged ({error}); delete it: Optuna then learns from the trials that the plan still knows"
            ) from error
        if self.study.direction.name.lower() != self.direction:
            begun = self.study.direction.name.lower()
            raise RunError(f"{file} was begun to {begun}, and the plan says {self.direction}; give it another --out")
        self.study.sampler = _sampler(seed, len(self.study.trials), startup)
        self.known = {trial.number for trial in hunt.trials}
        for trial in hunt.trials:
            self._remember(trial)

    # --- trials -------------------------------------------------------------------------------------------------------

    def ask(self) -> Trial | None:
        """The next trial. One that was asked for by a search that was killed before anybody knew of it comes first."""
        found = None
        for one in self._trials(TrialState.RUNNING):
            if one.user_attrs.get(NUMBER) not in self.known and found is None:
                if one.params.keys() == self.space.keys():
                    found = one
                else:  # killed before it had all its values
                    self.study.tell(one.number, state=TrialState.FAIL)
        frozen = self._frozen(self.study.ask(self.space).number) if found is None else found
        number = 1 + max(self.known, default=-1)
        self.known.add(number)
        self._note(frozen, NUMBER, number)
        return Trial(number, {key: _value(self.hunt.space[key], frozen.params[key]) for key in self.space})

    def tell(self, number: int, score: float | None, end: TrialEnd) -> None:
        """Tell Optuna how a trial ended; a second time, only that a failed one is done now."""
        frozen = self._find(number)
        if frozen is None:
            return
        if frozen.state == TrialState.FAIL and end == "done":
            attributes = {key: value for key, value in frozen.user_attrs.items()}
            self.study.add_trial(
                create_trial(
                    value=score, params=frozen.params, distributions=frozen.distributions, user_attrs=attributes
                )
            )
        if frozen.state.is_finished():
            return
        state = {"done": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL}[end]
        self.study.tell(frozen.number, score if end == "done" else None, state)

    def _remember(self, trial: Trial) -> None:
        """Take in a trial that the journal does not know, because it was lost; not one of another space."""
        if self._find(trial.number) is not None or set(trial.values) != set(self.space):
            return
        params = {key: _param(self.hunt.space[key], value) for key, value in trial.values.items()}
        if all(
            key in params and self.space[key]._contains(self.space[key].to_internal_repr(params[key])) for key in params
        ):
            self.study.add_trial(
                create_trial(
                    state=TrialState.RUNNING, params=params, distributions=self.space, user_attrs={NUMBER: trial.number}
                )
            )

    def _trials(self, *states: TrialState) -> list[FrozenTrial]:
        return self.study.get_trials(deepcopy=False, states=states or None)

    def _find(self, number: int) -> FrozenTrial | None:
        """The last trial of that number: of a failed one that was done later, the one that is done."""
        found = [trial for trial in self._trials() if trial.user_attrs.get(NUMBER) == number]
        return found[-1] if found else None

    def _frozen(self, number: int) -> FrozenTrial:
        return self._trials()[number]

    def _note(self, frozen: FrozenTrial, key: str, value: Any) -> None:
        self.study._storage.set_trial_user_attr(frozen._trial_id, key, value)

    # --- pruning ------------------------------------------------------------------------------------------------------

    def prune(self, number: int, course: Course) -> str:
        """Why a trial ends early: within its first fold by its epochs, after that by its cases."""
        frozen = self._find(number)
        if frozen is None or frozen.state.is_finished():
            return ""
        if course.cases and self.wilcoxon:
            return self._by_cases(frozen, course.cases)
        return self._by_epochs(frozen, course.folds[0]) if len(course.folds) == 1 else ""

    def _by_epochs(self, frozen: FrozenTrial, points: Iterable[tuple[int, float]]) -> str:
        trial = optuna.trial.Trial(self.study, frozen._trial_id)
        new = [(epoch, score) for epoch, score in points if epoch not in frozen.intermediate_values]
        for epoch, score in new:
            if math.isfinite(score):
                trial.report(score, epoch)
                if trial.should_prune():
                    return f"after epoch {epoch}, its score {score:.4f} promises too little ({self.how}, Optuna)"
        return ""

    def _by_cases(self, frozen: FrozenTrial, folds: Iterable[Mapping[str, float]]) -> str:
        cases = {name: score for fold in folds for name, score in fold.items() if math.isfinite(score)}
        if cases == frozen.user_attrs.get(CASES):
            return ""
        self._note(frozen, CASES, cases)
        best = self._best_with_cases()
        if best is None:
            return ""
        steps = {name: step for step, name in enumerate(sorted({*cases, *best.user_attrs[CASES]}))}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the pruner is called experimental; cases that only one trial has are fine
            test = optuna.create_study(direction=self.direction, pruner=WilcoxonPruner(p_threshold=self.wilcoxon))
            values = {steps[name]: score for name, score in best.user_attrs[CASES].items()}
            test.add_trial(create_trial(value=sum(values.values()) / len(values), intermediate_values=values))
            trial = test.ask()
            for name, score in cases.items():
                trial.report(score, steps[name])
            if not trial.should_prune():
                return ""
        shared, other = len(cases.keys() & best.user_attrs[CASES].keys()), best.user_attrs[NUMBER]
        return f"its {shared} cases score worse than those of trial {other} (Wilcoxon, p < {self.wilcoxon:g})"

    def _best_with_cases(self) -> FrozenTrial | None:
        """The finished trial with the best score, of those whose cases are known."""
        sign = 1.0 if self.hunt.maximize else -1.0
        done = [
            trial
            for trial in self._trials(TrialState.COMPLETE)
            if trial.user_attrs.get(CASES) and trial.value is not None
        ]
        return max(done, key=lambda trial: sign * float(trial.value or 0.0), default=None)

    def importance(self) -> Mapping[str, float]:
        """The share of each key in the differences between scores (fANOVA); empty if too few trials are done."""
        done = self._trials(TrialState.COMPLETE)
        if len(done) < FEWEST_FOR_IMPORTANCE or len({trial.value for trial in done}) < 2:
            return {}
        return optuna.importance.get_param_importances(self.study)


def _sampler(seed: int, trials: int, startup: int) -> TPESampler:
    """A sampler that does not draw again what one before it drew, in a search that was interrupted."""
    return TPESampler(seed=(seed * 1_000_003 + trials) % 2**32, n_startup_trials=startup)


def _distribution(axis: Axis) -> BaseDistribution:
    if axis.kind == "choice":
        return CategoricalDistribution(tuple(range(len(axis.values))))  # of any values, also lists
    if axis.kind == "integer":
        return IntDistribution(int(axis.low), int(axis.high))
    return FloatDistribution(axis.low, axis.high, log=axis.kind == "log_uniform")


def _value(axis: Axis, param: Any) -> Any:
    return axis.values[param] if axis.kind == "choice" else param


def _param(axis: Axis, value: Any) -> Any:
    """The other way; a value that is no choice any more gets an index that there is not."""
    if axis.kind != "choice":
        return value
    return axis.values.index(value) if value in axis.values else -1


def _mend(file: Path) -> None:
    """Take away what a process left that was killed: the end of a line that it was writing, and Optuna's lock.

    Nobody else has the journal open, because ``giseg plan`` has locked the folder.
    """
    file.with_name(f"{file.name}{LOCK_FILE_SUFFIX}").unlink(missing_ok=True)
    if file.is_file() and not (text := file.read_bytes()).endswith(b"\n"):
        file.write_bytes(text[: text.rfind(b"\n") + 1])
