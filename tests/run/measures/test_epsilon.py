"""Bounds by hand, against naive twins, and as properties."""

import math
import time
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from upright.run.measures import epsilon as method
from upright.run.measures.epsilon import Counts, Guesses, Rates

# --- one run ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("right", "made", "expected"),
    [
        (100, 100, 3.493),
        (1000, 1000, 5.809),
        (750, 1000, 0.9767),
        (75, 100, 0.702),
        (550, 1000, 0.094),
        (20, 20, 1.823),
    ],
)
def test_pure_bound_is_the_logit_of_the_exact_lower_limit(right: int, made: int, expected: float) -> None:
    """All right: the limit is .05^(1/r), so 100 of 100 give ln(.97049 / .02951) = 3.493."""
    assert method.epsilon_one_run(Guesses(right, made, made), 0) == pytest.approx(expected, abs=6e-4)


@pytest.mark.parametrize(
    ("right", "made", "canaries", "expected"),
    [(100, 100, 1000, 3.465), (95, 100, 1000, 2.165), (750, 1000, 1000, 0.9764), (900, 1000, 10_000, 2.015)],
)
def test_delta_lowers_the_bound_by_what_it_may_explain(right: int, made: int, canaries: int, expected: float) -> None:
    found = Guesses(right, made, canaries)
    assert method.epsilon_one_run(found, 1e-5) == pytest.approx(expected, abs=6e-4)
    assert method.epsilon_one_run(found, 1e-5) < method.epsilon_one_run(found, 0)


def naive_p_value(found: Guesses, epsilon: float, delta: float) -> float:
    """Every term of the theorem, one at a time, in exact binomials."""
    right, made, canaries = found
    q = 1 / (1 + math.exp(-epsilon))

    def at_least(v: int) -> float:
        return math.fsum(math.comb(made, k) * q**k * (1 - q) ** (made - k) for k in range(v, made + 1))

    jumps = [(at_least(right - i) - at_least(right)) / i for i in range(1, right + 1)]
    return at_least(right) + 2 * canaries * delta * max(jumps, default=0.0)


@settings(max_examples=60, deadline=None)
@given(st.data(), st.floats(0, 6), st.sampled_from([0.0, 1e-6, 1e-3]))
def test_p_value_equals_its_definition(data: st.DataObject, epsilon: float, delta: float) -> None:
    made = data.draw(st.integers(1, 60))
    found = Guesses(data.draw(st.integers(0, made)), made, made + data.draw(st.integers(0, 100)))
    assert method.p_value_one_run(found, epsilon, delta) == pytest.approx(
        naive_p_value(found, epsilon, delta), rel=1e-9, abs=1e-13
    )


@pytest.mark.parametrize("found", [Guesses(144, 156, 10_000), Guesses(900, 1000, 10_000), Guesses(60, 60, 60)])
def test_bound_is_where_the_p_value_first_reaches_alpha(found: Guesses) -> None:
    """Below the bound everything is refuted, so that no ε below it can be true."""
    for alpha in (0.05, 0.01):
        bound = method.epsilon_one_run(found, 1e-5, alpha)
        assert method.p_value_one_run(found, bound, 1e-5) == pytest.approx(alpha, rel=1e-5)
        below = [method.p_value_one_run(found, bound * share, 1e-5) for share in np.linspace(0, 1, 200, endpoint=False)]
        assert max(below) < alpha
        assert below == sorted(below)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 300), st.data(), st.sampled_from([0.0, 1e-6, 1e-4]))
def test_more_right_guesses_never_lower_a_bound(made: int, data: st.DataObject, delta: float) -> None:
    right = data.draw(st.integers(0, made - 1))
    for bound in (method.epsilon_one_run, method.epsilon_one_run_curve):
        less, more = (bound(Guesses(v, made, 2 * made), delta) for v in (right, right + 1))
        assert 0 <= less <= more + 1e-8


def test_too_few_guesses_show_nothing() -> None:
    """Four right of four have chance 1/16 > .05 by guessing; five have 1/32."""
    assert method.epsilon_one_run(Guesses(4, 4, 4), 0) == 0
    assert method.epsilon_one_run(Guesses(5, 5, 5), 0) == pytest.approx(math.log(0.05**0.2 / (1 - 0.05**0.2)))
    assert method.epsilon_one_run(Guesses(0, 0, 9), 0) == 0
    assert method.epsilon_one_run(Guesses(5, 10, 10), 1e-5) == 0


@given(st.floats(0.01, 9), st.sampled_from([0.05, 0.001]))
def test_guesses_needed_are_the_fewest(epsilon: float, alpha: float) -> None:
    n = method.guesses_needed(epsilon, alpha)
    assert method.epsilon_one_run(Guesses(n, n, n), 0, alpha) >= epsilon
    assert method.epsilon_one_run(Guesses(n - 1, n - 1, n - 1), 0, alpha) < epsilon + 1e-9


def test_guesses_are_the_ends_of_the_ranking() -> None:
    """Ranked: .1 out, .2 out, .3 in, .8 out, .9 in. Two at the top: one right; two at the bottom: both right."""
    score = np.array([0.9, 0.1, np.nan, 0.8, 0.2, 0.3])
    included = np.array([True, False, True, False, False, True])
    rng = np.random.default_rng(0)
    assert method.guess(score, included, 2, 2, rng) == Guesses(right=3, made=4, canaries=6)
    assert method.guess(score, included, 0, 3, rng) == Guesses(right=2, made=3, canaries=6)
    assert method.guess(score, included, 1, 0, rng) == Guesses(right=1, made=1, canaries=6)
    with pytest.raises(ValueError, match="3 \\+ 3 guesses among 5 scores"):
        method.guess(score, included, 3, 3, rng)


def test_ties_do_not_know_the_order_of_the_rows() -> None:
    """Equal scores in a file sorted by `included`: by file order all guesses would be right, so the bound a lie."""
    included = np.arange(1000) >= 500
    rng = np.random.default_rng(0)
    right = [method.guess(np.zeros(1000), included, 500, 500, rng).right for _ in range(50)]
    assert abs(np.mean(right) - 500) < 10


# --- many runs and the Gaussian form -----------------------------------------------------------------------------


def test_many_runs_by_hand() -> None:
    """1000 + 1000 runs told apart: TPR >= .025^(1/1000) = .996318, FPR <= .003682; ln(.996308 / .003682) = 5.601."""
    assert method.epsilon_many_runs(Counts(1000, 1000, 0, 1000), 1e-5) == pytest.approx(5.601, abs=5e-4)
    assert method.epsilon_many_runs(Counts(200, 1000, 10, 1000), 1e-5) == pytest.approx(2.261, abs=5e-4)


def test_the_mirror_form_sees_what_is_missing_at_the_top() -> None:
    """Swapping the roles of in and out swaps (TPR, FPR) for (1 - FPR, 1 - TPR) and must not change the bound."""
    one = method.epsilon_many_runs(Counts(200, 1000, 10, 1000), 1e-5)
    other = method.epsilon_many_runs(Counts(990, 1000, 800, 1000), 1e-5)
    assert other == pytest.approx(one, rel=1e-9)
    assert method.epsilon_of_rates(Rates(0.3, 0.6), 0.0) == 0.0


def test_gaussian_form_by_hand() -> None:
    mu = method.mu_of_rates(method.limits(Counts(200, 1000, 10, 1000)))
    assert mu == pytest.approx(1.158, abs=5e-4)
    assert method.epsilon_of_mu(mu, 1e-5) == pytest.approx(5.19, abs=5e-3)


def test_delta_of_epsilon_is_the_hockey_stick_of_two_gaussians() -> None:
    """δ(ε) = ∫ max(0, φ(x - μ) - e^ε φ(x)) dx, summed on a grid."""
    x = np.linspace(-15, 20, 400_001)
    for mu, epsilon in ((0.3, 0.1), (1.0, 0.0), (1.0, 2.0), (3.0, 5.0)):
        inside, outside = (np.exp(-((x - shift) ** 2) / 2) / math.sqrt(2 * math.pi) for shift in (mu, 0.0))
        total = float(np.maximum(0, inside - math.exp(epsilon) * outside).sum() * (x[1] - x[0]))
        assert method.delta_of_epsilon(epsilon, mu) == pytest.approx(total, rel=1e-6, abs=1e-12)


@given(st.floats(0.05, 30), st.sampled_from([1e-9, 1e-5, 0.01]))
def test_epsilon_of_mu_undoes_delta_of_epsilon(mu: float, delta: float) -> None:
    epsilon = method.epsilon_of_mu(mu, delta)
    if epsilon == 0:
        assert method.delta_of_epsilon(0, mu) <= delta
    else:
        assert method.delta_of_epsilon(epsilon, mu) == pytest.approx(delta, rel=1e-4)


def test_epsilon_of_mu_agrees_with_the_accountant() -> None:
    """Noise of sd 1 / μ with one query of sensitivity 1: dp-accounting's numerical composition."""
    dp = pytest.importorskip("dp_accounting")
    from dp_accounting.pld import PLDAccountant

    for mu in (0.5, 1.0, 3.0):
        accountant = PLDAccountant(dp.NeighboringRelation.ADD_OR_REMOVE_ONE, value_discretization_interval=1e-4)
        accountant.compose(dp.GaussianDpEvent(1 / mu))
        assert method.epsilon_of_mu(mu, 1e-5) == pytest.approx(accountant.get_epsilon(1e-5), rel=2e-3)


# --- speed -------------------------------------------------------------------------------------------------------


def test_ten_thousand_canaries_take_a_tenth_of_a_second() -> None:
    found = Guesses(int(binom.ppf(0.5, 10_000, 0.7)), 10_000, 10_000)
    for bound in (
        partial(method.epsilon_one_run, found, 1e-5),
        partial(method.epsilon_one_run_curve, found, 1e-5),
        partial(method.mu_one_run, found),
    ):
        times = []
        for _ in range(3):
            begin = time.perf_counter()
            bound()
            times.append(time.perf_counter() - begin)
        assert min(times) < 0.1
