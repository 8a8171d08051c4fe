"""From scores to bounds: which tests are made, and what each form of the bound makes of their counts.

A test is fixed before the scores are seen: a number of guesses, a threshold, or a rank at which a threshold lies.
Several tests share alpha (Bonferroni), so the best of them may be kept.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from scipy.stats import binomtest

from upright.audit.epsilon.config import Config
from upright.audit.epsilon.scores import Scores
from upright.errors import UserError
from upright.run.measures import epsilon as method
from upright.run.measures.epsilon import Counts, Guesses

Flags = NDArray[np.bool_]

Test = Guesses | Counts
Form = Callable[[Any, float, float], float]
"""A bound on ε from a test, δ and alpha: `Guesses` for forms of one run, `Counts` for those of many."""

FORMS: dict[str, Form] = {
    "one-run": method.epsilon_one_run,
    "one-run-f-dp": method.epsilon_one_run_curve,
    "one-run-f-dp, gaussian": lambda test, delta, alpha: method.epsilon_of_mu(method.mu_one_run(test, alpha), delta),
    "many-runs": method.epsilon_many_runs,
    "many-runs, gaussian": lambda test, delta, alpha: method.epsilon_of_mu(
        method.mu_of_rates(method.limits(test, alpha)), delta
    ),
}


CONFIDENCES = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.975, 0.99, 0.995, 0.999)
CANDIDATES = 64  # thresholds among which the first half of the runs may choose
UNFAIR = 1e-3
"""Coins whose share of "in" is less likely than this were not fair, or not independent: the bound is void."""


class Sheet(BaseModel):
    """All that was found."""

    model_config = ConfigDict(frozen=True)

    forms: dict[str, float]
    """Bounds by form; the first is the one on which the verdict rests."""
    ceiling: float
    """The same form's bound had the scores known who was in."""
    tests: list[Test]
    """Guesses or counts of each test."""
    alone: list[float]
    """Each test's bound with its share of alpha."""
    by_confidence: list[tuple[float, float]]
    """Bound and confidence."""
    by_guesses: list[tuple[int, float, float]]
    """One run: number of guesses, their bound with all of alpha, and the same if all were right."""
    coin_p_value: float | None
    """One run: chance of so uneven a split by fair coins, of all canaries or of those with a score."""

    @property
    def epsilon(self) -> float:
        """The bound on which the verdict rests."""
        return next(iter(self.forms.values()))

    @property
    def void(self) -> bool:
        """Whether the canaries were not put in by fair coins."""
        return self.coin_p_value is not None and self.coin_p_value < UNFAIR

    @property
    def best(self) -> Test:
        """The test with the largest bound."""
        return self.tests[self.alone.index(max(self.alone))]

    def refutes(self, claimed: float | None) -> bool:
        """Whether ε must be above the claim."""
        return claimed is not None and not self.void and self.epsilon > claimed


def sheet(config: Config, scores: Scores, seed: int) -> Sheet:
    """All bounds from one set of tests; `seed` breaks ties and splits runs."""

    def tests(of: Scores) -> list[Test]:
        return tests_of(config, of, np.random.default_rng(seed))

    found, form = tests(scores), FORMS[chosen(config)]
    one_run = config.method != "many-runs"
    return Sheet(
        forms={name: max(_bounds(FORMS[name], found, config.delta, config.alpha)) for name in forms_for(config)},
        ceiling=max(_bounds(form, tests(perfect(scores)), config.delta, config.alpha)),
        tests=found,
        alone=_bounds(form, found, config.delta, config.alpha),
        by_confidence=[(max(_bounds(form, found, config.delta, 1 - level)), level) for level in CONFIDENCES],
        by_guesses=_by_guesses(config, scores, seed) if one_run else [],
        coin_p_value=coin_p_value(scores) if one_run else None,
    )


def _bounds(form: Form, tests: Sequence[Test], delta: float, alpha: float) -> list[float]:
    """Bounds of tests that share `alpha`: all hold together."""
    return [form(test, delta, alpha / len(tests)) for test in tests]


def chosen(config: Config) -> str:
    """The form on which the verdict rests."""
    return config.method if config.curve == "any" else f"{config.method}, gaussian"


def forms_for(config: Config) -> list[str]:
    """All forms these data allow, the one on which the verdict rests first."""
    many = config.method == "many-runs"
    fit = [name for name in FORMS if name.startswith("many") == many and (config.delta > 0 or "gauss" not in name)]
    return sorted(fit, key=lambda name: name != chosen(config))


def check(config: Config, scores: Scores) -> None:
    """Raise UserError if the tests that were asked for cannot be made."""
    known = scores.score.size - scores.unscored.size
    for k_in, k_out in config.guess_pairs():
        if k_in + k_out > known:
            raise UserError(f"--guess.in {k_in} and --guess.out {k_out}: only {known:,} canaries have a score")
    halved = config.method == "many-runs" and config.threshold.pick == "split" and not config.threshold.at
    if halved and min(scores.inside.size, scores.outside.size) < 2:
        raise UserError("--threshold.pick split: needs two runs with and two without the canary; give --threshold.at")


def perfect(scores: Scores) -> Scores:
    """The same canaries with scores that know who was in: what could have been shown at most."""
    known = np.where(scores.included, np.inf, -np.inf)
    return replace(scores, score=np.where(np.isnan(scores.score), np.nan, known))


def tests_of(config: Config, scores: Scores, rng: np.random.Generator) -> list[Test]:
    """All tests of a run, in a fixed order."""
    if config.method != "many-runs":
        pairs = config.guess_pairs() or method.default_pairs(scores.score.size - scores.unscored.size)
        return [method.guess(scores.score, scores.included, *pair, rng) for pair in pairs]
    if config.threshold.at:
        return [_counts(scores.inside > at, scores.outside > at) for at in config.threshold.at]
    if config.threshold.pick == "split":
        form = FORMS[chosen(config)]
        return [split(scores, lambda test: form(test, config.delta, config.alpha), rng)]
    return ranked(scores, config.threshold.ranks)


# --- one run ---------------------------------------------------------------------------------------------------


def _by_guesses(config: Config, scores: Scores, seed: int) -> list[tuple[int, float, float]]:
    """What other numbers of guesses would show: to look at, not to choose from."""
    known = scores.score.size - scores.unscored.size
    k_in, k_out = (config.guess_pairs() or [(1, 1)])[0]
    form, rng, rows = FORMS[chosen(config)], np.random.default_rng(seed), []
    for made in np.unique(np.geomspace(min(10, known), known, 24).astype(int)).tolist():
        heads = math.ceil(made * k_in / (k_in + k_out))
        found = method.guess(scores.score, scores.included, heads, made - heads, rng)
        ideal = found._replace(right=made)
        rows.append((made, form(found, config.delta, config.alpha), form(ideal, config.delta, config.alpha)))
    return rows


def coin_p_value(scores: Scores) -> float:
    """Chance of a share of "in" this far from one half by fair coins (exact, two-sided): of all, and of those scored.

    Scores that are missing on one side would tell who was in without the mechanism. Two looks, so twice the smaller.
    """
    looks = [scores.included] + ([scores.included[~np.isnan(scores.score)]] if scores.unscored.size else [])
    return min(1.0, len(looks) * min(float(binomtest(int(of.sum()), of.size).pvalue) for of in looks if of.size))


# --- many runs -------------------------------------------------------------------------------------------------


def ranked(scores: Scores, shares: Sequence[float]) -> list[Test]:
    """Thresholds at fixed ranks of one side's scores, which need no split.

    At the j-th largest "out" score t, the chance that a new one exceeds t is at most Beta(j, n_out - j + 1) in law,
    whatever the scores' law: its upper limit is that of Clopper and Pearson with j - 1 hits. Given t, the "in" runs
    above it are binomial. The other side is the mirror image.
    """
    inside, outside = np.sort(scores.inside)[::-1], np.sort(scores.outside)
    found: list[Test] = []
    for share in dict.fromkeys(shares):
        beyond_out, beyond_in = math.floor(share * outside.size), math.floor(share * inside.size)
        tp = int((inside > outside[::-1][beyond_out]).sum())
        fp = int((outside >= inside[::-1][beyond_in]).sum())
        found.append(Counts(tp, inside.size, beyond_out, outside.size))
        found.append(Counts(inside.size - beyond_in, inside.size, fp, outside.size))
    return found


def split(scores: Scores, bound: Callable[[Test], float], rng: np.random.Generator) -> Test:
    """The test at the threshold with the best `bound` on a random half of the runs, made on the other half."""
    inside, outside = rng.permutation(scores.inside), rng.permutation(scores.outside)
    a, b = inside.size // 2, outside.size // 2
    values = np.unique(np.concatenate([inside[:a], outside[:b]]))
    candidates = values[np.unique(np.linspace(0, values.size - 1, CANDIDATES).astype(int))]
    threshold = max(candidates, key=lambda at: bound(_counts(inside[:a] > at, outside[:b] > at)))
    return _counts(inside[a:] > threshold, outside[b:] > threshold)


def _counts(inside: Flags, outside: Flags) -> Counts:
    return Counts(int(inside.sum()), inside.size, int(outside.sum()), outside.size)
