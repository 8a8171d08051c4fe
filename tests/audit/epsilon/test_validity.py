"""Audits of mechanisms whose ε is known: never above it in more than alpha of them, and not far below."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import brentq

from upright.audit.epsilon import bounds
from upright.audit.epsilon.config import ColumnsConfig, Config, GuessConfig, ThresholdConfig
from upright.audit.epsilon.scores import Scores
from upright.run.measures import epsilon as method
from upright.run.measures.epsilon import Counts, Guesses

Floats = NDArray[np.float64]
Draw = Callable[[int], Floats]
AUDITS = 200
DELTA = 1e-5


def mu_at(epsilon: float) -> float:
    """The Gaussian mechanism that is exactly (ε, DELTA)-DP."""
    return float(brentq(lambda mu: method.epsilon_of_mu(mu, DELTA) - epsilon, 0.01, 20))


def gaussian(n: int, mu: float, rng: np.random.Generator) -> Scores:
    included = rng.random(n) < 0.5
    return Scores(rng.standard_normal(n) + mu * included, included)


def randomised_response(n: int, epsilon: float, rng: np.random.Generator) -> Scores:
    """The score is the coin itself, flipped with chance 1 / (1 + e^ε)."""
    included = rng.random(n) < 0.5
    flipped = rng.random(n) < 1 / (1 + math.exp(epsilon))
    return Scores((included ^ flipped).astype(float), included)


def config(**more: object) -> Config:
    return Config.model_validate({"file": "scores.csv", "delta": DELTA, **more})


def bound(settings: Config, scores: Scores, rng: np.random.Generator) -> float:
    tests = bounds.tests_of(settings, scores, rng)
    form = bounds.FORMS[bounds.chosen(settings)]
    return max(form(test, settings.delta, settings.alpha / len(tests)) for test in tests)


@pytest.mark.parametrize("name", ["one-run", "one-run-f-dp"])
def test_randomised_response_of_ten_thousand(name: str) -> None:
    """ε = 4: right in e⁴ / (1 + e⁴) = 98.2 % of guesses, so that a quarter of the canaries alone show nearly all."""
    rng = np.random.default_rng(0)
    found = [bound(config(method=name), randomised_response(10_000, 4.0, rng), rng) for _ in range(AUDITS)]
    assert np.mean(np.array(found) > 4.0) <= 0.05
    assert min(found) >= 2.0
    assert np.mean(found) > 3.4


@pytest.mark.parametrize(("epsilon", "expected"), [(1.0, 0.963), (2.0, 1.949)])
def test_randomised_response_at_its_most_likely_count(epsilon: float, expected: float) -> None:
    """10,000 guesses, of which e^ε / (1 + e^ε) are right."""
    right = round(10_000 / (1 + math.exp(-epsilon)))
    assert method.epsilon_one_run(Guesses(right, 10_000, 10_000), 0) == pytest.approx(expected, abs=6e-4)


def test_gaussian_mechanism_of_ten_thousand() -> None:
    """(4, 1e-5)-DP by μ = .925: 625 guesses show half of ε once the curve is known to be Gaussian."""
    rng, mu = np.random.default_rng(1), mu_at(4.0)
    general = config(guess=GuessConfig(in_=[313], out=[312]))
    special = config(guess=GuessConfig(in_=[313], out=[312]), method="one-run-f-dp", curve="gaussian")
    found = np.array(
        [[bound(general, scores, rng), bound(special, scores, rng)] for scores in sample(AUDITS, 10_000, mu, rng)]
    )
    assert (found > 4.0).mean(0).max() <= 0.05
    assert found[:, 1].min() >= 2.0
    assert found.mean(0)[0] > 1.8


def sample(audits: int, n: int, mu: float, rng: np.random.Generator) -> list[Scores]:
    return [gaussian(n, mu, rng) for _ in range(audits)]


@pytest.mark.parametrize("name", ["one-run", "one-run-f-dp"])
def test_weak_mechanisms_where_the_bound_is_tight_are_not_overstated(name: str) -> None:
    """1000 audits of ε = .5 with 400 guesses at δ = 0: the bound is above .5 in at most 5 % of them."""
    rng = np.random.default_rng(2)
    right = rng.binomial(400, 1 / (1 + math.exp(-0.5)), size=1000)
    form = {"one-run": method.epsilon_one_run, "one-run-f-dp": method.epsilon_one_run_curve}[name]
    by_count = {int(v): form(Guesses(int(v), 400, 400), 0.0) for v in np.unique(right)}
    misses = np.mean([by_count[int(v)] > 0.5 for v in right])
    assert 0.01 < misses <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 1000)


def test_delta_that_is_spent_all_at_once_is_not_taken_for_epsilon() -> None:
    """With chance δ = .03 the mechanism gives all coins away, else nothing: (0, .03)-DP. Ignoring δ, 3 % would be
    refuted; the bound at its δ must stay 0 in all but 5 %, here in all."""
    told, silent = Guesses(20, 20, 20), Guesses(10, 20, 20)
    assert method.epsilon_one_run(told, 0.0) > 1.8
    assert method.epsilon_one_run(told, 0.03) == 0.0 == method.epsilon_one_run(silent, 0.03)
    assert method.epsilon_one_run_curve(told, 0.06) == 0.0


# --- many runs ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["ranks", "split", "at"])
@pytest.mark.parametrize("form", ["any", "gaussian"])
def test_many_runs_of_a_gaussian_mechanism(how: str, form: str) -> None:
    rng, epsilon = np.random.default_rng(3), 1.0
    mu = mu_at(epsilon)
    threshold = ThresholdConfig(at=[1.0]) if how == "at" else ThresholdConfig.model_validate({"pick": how})
    settings = config(method="many-runs", curve=form, threshold=threshold)
    found = np.array([bound(settings, scores, rng) for scores in sample(AUDITS, 600, mu, rng)])
    assert np.mean(found > epsilon) <= 0.05


def test_ranks_cover_whatever_the_ties() -> None:
    """Thresholds taken from the scores themselves: rates at them stay within the limits, for smooth and tied scores."""
    rng = np.random.default_rng(4)
    draws: list[Draw] = [lambda n: rng.standard_normal(n), lambda n: rng.integers(0, 4, n).astype(float)]
    for draw in draws:
        wrong = 0
        for _ in range(400):
            outside, inside = draw(60), draw(80) + 0.5
            scores = Scores(np.r_[inside, outside], np.r_[np.ones(80, bool), np.zeros(60, bool)])
            for test, (tpr, fpr) in zip(bounds.ranked(scores, [0.1]), true_rates(inside, outside, draw), strict=True):
                assert isinstance(test, Counts)
                low, high = method.limits(test, 0.05)
                wrong += (tpr < low) + (fpr > high)
        assert wrong / 800 <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 800)


def true_rates(inside: Floats, outside: Floats, draw: Draw) -> list[tuple[float, float]]:
    """Rates on fresh scores at the two thresholds: the 7th largest "out", the 9th smallest "in"."""
    fresh = draw(20_000)
    high, low = np.sort(outside)[::-1][6], np.sort(inside)[8]
    return [
        (float((fresh + 0.5 > high).mean()), float((fresh > high).mean())),
        (float((fresh + 0.5 >= low).mean()), float((fresh >= low).mean())),
    ]


def test_ranks_on_ten_scores_by_hand() -> None:
    """Out 1…5, in 3…7. At 0 beyond: over 5 lie 6, 7; from 3 on lie out 3, 4, 5. At 20 %: over 4; from 4 on."""
    score = np.array([1.0, 2, 3, 4, 5, 3, 4, 5, 6, 7])
    scores = Scores(score, np.arange(10) >= 5)
    assert bounds.ranked(scores, [0.0, 0.2]) == [(2, 5, 0, 5), (5, 5, 3, 5), (3, 5, 1, 5), (4, 5, 2, 5)]


# --- bugs that must be found -------------------------------------------------------------------------------------


@pytest.mark.parametrize("noise", [0.0, 0.1])
@pytest.mark.parametrize("name", ["one-run", "one-run-f-dp", "many-runs"])
def test_missing_noise_is_caught(noise: float, name: str) -> None:
    """Claimed: noise for (2, 1e-5). Built: none, or a tenth of it. 2,000 canaries, or as many runs."""
    rng, mu = np.random.default_rng(5), mu_at(2.0)
    included = rng.random(2000) < 0.5
    scores = Scores(noise * rng.standard_normal(2000) + mu * included, included)
    assert bound(config(method=name), scores, rng) > 2.0


@pytest.mark.parametrize("name", ["one-run", "one-run-f-dp", "many-runs"])
def test_right_noise_is_not(name: str) -> None:
    rng, mu = np.random.default_rng(6), mu_at(2.0)
    assert bound(config(method=name), gaussian(2000, mu, rng), rng) <= 2.0


def test_clipping_that_was_skipped_is_caught() -> None:
    """Gradients of norm up to 20 went in where noise was made for norm 1: a canary's signal is 20 μ."""
    rng = np.random.default_rng(7)
    assert bound(config(), gaussian(2000, 20 * mu_at(2.0), rng), rng) > 2.0


def test_columns_have_the_names_the_documentation_gives() -> None:
    assert ColumnsConfig().model_dump() == {"score": "score", "included": "included", "run": "run"}
