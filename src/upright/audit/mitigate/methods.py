"""Every method as one function: learn from training rows, give a rule that decides about others."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from upright.audit.folds import fold_numbers
from upright.audit.mitigate.config import METHODS, Config, MethodConfig
from upright.audit.mitigate.postprocess import calibrated_odds, reject_option
from upright.audit.mitigate.preprocess import Repair, decorrelation, reweighing
from upright.errors import MissingExtra

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
INNER = 3


class Rows(NamedTuple):
    """Rows to learn from."""

    x: Floats
    """Inputs (n, p), the first `numbers` of them numbers, the rest one-hot."""
    group: Ints
    label: Ints
    numbers: int


class Decisions(NamedTuple):
    """What a rule says of n rows."""

    said: Ints
    """1 for the favourable outcome (n,)."""
    score: Floats | None
    """P(favourable) (n,), where the method gives one."""


Rule = Callable[[Floats, Ints], Decisions]


@dataclass(frozen=True)
class Learner:
    """Fits classifiers and mitigations; all randomness comes from `rng`."""

    model: str
    method: MethodConfig
    rng: np.random.Generator

    def __call__(self, name: str, rows: Rows) -> Rule:
        """The rule that method `name` learns from these rows."""
        kind, _, constraint = name.partition("-")
        if kind in ("reduction", "thresholds"):
            return getattr(self, f"_{kind}")(rows, constraint)  # type: ignore[no-any-return]
        return getattr(self, f"_{name.replace('-', '_')}")(rows)  # type: ignore[no-any-return]

    def classifier(self) -> Any:
        """A fresh classifier of scikit-learn."""
        from sklearn.ensemble import HistGradientBoostingClassifier
        from sklearn.linear_model import LogisticRegression

        if self.model == "logistic":
            return LogisticRegression(max_iter=1000)
        return HistGradientBoostingClassifier(random_state=self._seed())

    def _seed(self) -> int:
        return int(self.rng.integers(2**31))

    # --- the plain model and what acts on the data ---

    def _none(self, rows: Rows) -> Rule:
        return self._plain(rows, lambda x, group: x)

    def _reweighing(self, rows: Rows) -> Rule:
        return self._plain(rows, lambda x, group: x, reweighing(rows.group, rows.label))

    def _repair(self, rows: Rows) -> Rule:
        repair = Repair(rows.x[:, : rows.numbers], rows.group, self.method.repair)

        def change(x: Floats, group: Ints) -> Floats:
            return np.hstack([repair(x[:, : rows.numbers], group), x[:, rows.numbers :]])

        return self._plain(rows, change)

    def _decorrelation(self, rows: Rows) -> Rule:
        return self._plain(rows, decorrelation(rows.x, rows.group, self.method.removed))

    def _plain(self, rows: Rows, change: Callable[[Floats, Ints], Floats], weight: Floats | None = None) -> Rule:
        """A classifier on changed inputs, cut at 1/2."""
        fitted = self.classifier().fit(change(rows.x, rows.group), rows.label, sample_weight=weight)

        def rule(x: Floats, group: Ints) -> Decisions:
            score = fitted.predict_proba(change(x, group))[:, 1]
            return Decisions((score >= 0.5).astype(np.int64), score)

        return rule

    # --- what acts in training ---

    def _reduction(self, rows: Rows, constraint: str) -> Rule:
        from fairlearn.reductions import DemographicParity, EqualizedOdds, ExponentiatedGradient

        moment = {"parity": DemographicParity, "odds": EqualizedOdds}[constraint]
        reduction = ExponentiatedGradient(
            self.classifier(),
            moment(difference_bound=self.method.slack),
            eps=self.method.slack,
            max_iter=self.method.rounds,
        )
        with warnings.catch_warnings():  # fairlearn 0.15 uses what pandas will drop, which is no news for the user
            warnings.simplefilter("ignore", DeprecationWarning)
            reduction.fit(rows.x, rows.label, sensitive_features=rows.group)
        seed = self._seed()
        return lambda x, group: Decisions(reduction.predict(x, random_state=seed).astype(np.int64), None)

    # --- what acts on the scores ---

    def _scored(self, rows: Rows) -> tuple[Callable[[Floats], Floats], Floats]:
        """The plain model's scoring function, and scores (n,) of the training rows by models that did not see them.

        A rule tuned on a model's scores of its own training rows would take them for surer than they are.
        """
        held_out = np.empty(len(rows.label))
        parts = fold_numbers(2 * rows.group + rows.label, INNER, self.rng)
        for part in range(INNER):
            inside = parts != part
            fitted = self.classifier().fit(rows.x[inside], rows.label[inside])
            held_out[~inside] = fitted.predict_proba(rows.x[~inside])[:, 1]
        whole = self.classifier().fit(rows.x, rows.label)
        return lambda x: whole.predict_proba(x)[:, 1], held_out

    def _thresholds(self, rows: Rows, constraint: str) -> Rule:
        score_of, tuned_on = self._scored(rows)
        optimiser = threshold_optimiser(tuned_on, rows.group, rows.label, constraint)
        seed = self._seed()

        def rule(x: Floats, group: Ints) -> Decisions:
            said = optimiser.predict(score_of(x)[:, None], sensitive_features=group, random_state=seed)
            return Decisions(np.asarray(said).astype(np.int64), None)

        return rule

    def _reject_option(self, rows: Rows) -> Rule:
        score_of, tuned_on = self._scored(rows)
        reject = reject_option(tuned_on, rows.group, self.method.margin)
        return lambda x, group: Decisions(reject(score_of(x), group), None)

    def _calibrated_odds(self, rows: Rows) -> Rule:
        score_of, tuned_on = self._scored(rows)
        mix = calibrated_odds(tuned_on, rows.group, rows.label, self.method.cost)
        seed = self._seed()

        def rule(x: Floats, group: Ints) -> Decisions:
            score = mix(score_of(x), group, np.random.default_rng(seed))
            return Decisions((score >= 0.5).astype(np.int64), score)

        return rule


def threshold_optimiser(score: Floats, group: Ints, label: Ints, constraint: str) -> Any:
    """Fairlearn's ThresholdOptimizer (Hardt et al. 2016), fitted to scores (n,); it predicts from scores (n, 1)."""
    from fairlearn.postprocessing import ThresholdOptimizer
    from sklearn.base import BaseEstimator, ClassifierMixin

    class Given(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
        """Hands its input through: the scores are already there."""

        def fit(self, x: Floats, y: Ints) -> "Given":
            """Say what scikit-learn asks of a fitted classifier."""
            self.classes_ = np.array([0, 1])
            return self

        def predict(self, x: Floats) -> Floats:
            """The scores."""
            return np.asarray(x)[:, 0]

    optimiser = ThresholdOptimizer(
        estimator=Given().fit(score, label),
        constraints={"parity": "demographic_parity", "odds": "equalized_odds"}[constraint],
        prefit=True,
        predict_method="predict",
    )
    return optimiser.fit(score[:, None], label, sensitive_features=group)


def needed(config: Config) -> None:
    """Raise MissingExtra unless what the methods stand on is installed."""
    from importlib.util import find_spec

    packages = [
        "sklearn",
        *(["fairlearn"] if any(METHODS[name].source == "fairlearn" for name in config.methods) else []),
    ]
    for package in packages:
        if find_spec(package) is None:
            raise MissingExtra({"sklearn": "scikit-learn"}.get(package, package), "audit")
