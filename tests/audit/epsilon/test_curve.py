"""The bound by a whole trade-off curve: against a linear programme, and against laws that are known exactly."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog
from scipy.special import ndtr
from scipy.stats import binom, norm

from upright.run.measures import epsilon as method
from upright.run.measures.epsilon import Guesses, Inverse

Line = tuple[float, float]


def most_likely(found: Guesses, pieces: list[Line]) -> float:
    """Largest chance of `right` or more right guesses that the inequalities H_{j-1} >= a R_j + b leave, by a linear
    programme over the law p_0 … p_r of the number of right guesses."""
    right, made, canaries = found
    count = np.arange(made + 1)
    rows, limits = [], []
    for j in range(1, made + 1):
        r = np.where(count >= j, count, 0) / canaries
        h = np.where(count >= j - 1, made - count, 0) / canaries
        for a, b in pieces:
            rows.append(a * r - h)
            limits.append(-b)
    found_best = linprog(
        -(count >= right).astype(float), A_ub=np.array(rows), b_ub=limits, A_eq=np.ones((1, made + 1)), b_eq=[1.0]
    )
    assert found_best.status in (0, 2)
    return float(-found_best.fun) if found_best.status == 0 else 0.0


def lines_of(epsilon: float, delta: float) -> list[Line]:
    """The (ε, δ) curve's g as a maximum of lines."""
    up, down = math.exp(epsilon), math.exp(-epsilon)
    return [(0.0, 0.0), (down, -down * delta), (up, 1 - delta - up)]


@settings(max_examples=40, deadline=None)
@given(st.data(), st.floats(0.05, 3), st.sampled_from([0.0, 1e-3, 0.02]))
def test_refutes_exactly_what_no_law_allows(data: st.DataObject, epsilon: float, delta: float) -> None:
    made = data.draw(st.integers(2, 25))
    found = Guesses(data.draw(st.integers(1, made)), made, made + data.draw(st.integers(0, 20)))
    most, inverse = most_likely(found, lines_of(epsilon, delta)), method.approximate_inverse(epsilon, delta)
    if 0 < most * 1.001 < 1:
        assert method.refutes_curve(found, inverse, min(1.0, most * 1.001 + 1e-9))
    if most > 1e-6:
        assert not method.refutes_curve(found, inverse, most * 0.999)


def test_gaussian_curve_against_its_tangents() -> None:
    """g is convex, so its tangents lie below it: with many of them the programme allows hardly more."""
    mu, found = 0.8, Guesses(17, 20, 40)
    at = np.linspace(0.001, 0.5, 400)
    z = norm.ppf(at)
    value, slope = norm.cdf(z - mu), np.exp(mu * z - mu**2 / 2)
    most = most_likely(found, [(0.0, 0.0), *zip(slope.tolist(), (value - slope * at).tolist(), strict=True)])
    assert method.refutes_curve(found, method.gaussian_inverse(mu), most * 1.001)
    assert not method.refutes_curve(found, method.gaussian_inverse(mu), most * 0.98)


def test_inverses_are_the_curves_seen_from_the_other_side() -> None:
    """g(x) = f(1 - x): for (1, .1), f(.2) = max(0, .9 - .2 e, .7 / e) = .3563; for μ = 1, f(.2) = Φ(.8416 - 1)."""
    assert method.approximate_inverse(1.0, 0.1)(0.8) == pytest.approx(max(0.9 - 0.2 * math.e, 0.7 / math.e))
    assert method.gaussian_inverse(1.0)(0.8) == pytest.approx(float(ndtr(norm.ppf(0.8) - 1)))
    assert (method.gaussian_inverse(1.0)(0.0), method.gaussian_inverse(1.0)(1.0)) == (0.0, 1.0)


@pytest.mark.parametrize("n", [10, 100, 1000])
@pytest.mark.parametrize("epsilon", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("alpha", [0.05, 0.01])
def test_randomised_response_is_refuted_with_a_chance_below_alpha(n: int, epsilon: float, alpha: float) -> None:
    """Right guesses of randomised response are Bin(n, e^ε / (1 + e^ε)): the chance of a wrong bound is exact."""
    law = binom(n, 1 / (1 + math.exp(-epsilon)))
    inverse = method.approximate_inverse(epsilon, 0.0)
    first = first_refuted(n, lambda found: method.refutes_curve(found, inverse, alpha))
    assert law.sf(first - 1) <= alpha
    assert law.sf(first - 1 - max(3, int(2 * law.std()))) > alpha  # and it is not idle


@pytest.mark.parametrize("mu", [0.3, 1.0, 2.0])
def test_a_gaussian_mechanism_is_refuted_with_a_chance_below_alpha(mu: float) -> None:
    """All guessed by the side of μ / 2: right guesses are Bin(n, Φ(μ / 2)).

    The curve must also allow mechanisms that are right about everybody at once in the rare event of an extreme draw,
    so it is refuted late, yet before all guesses are right.
    """
    n, law = 1000, binom(1000, float(ndtr(mu / 2)))
    first = first_refuted(n, lambda found: method.refutes_curve(found, method.gaussian_inverse(mu), 0.05))
    assert law.sf(first - 1) <= 0.05
    assert law.mean() < first < n


def first_refuted(n: int, refuted: Callable[[Guesses], bool]) -> int:
    """Fewest right guesses of n that are refuted; monotone, so bisected."""
    low, high = 0, n + 1
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if middle <= n and refuted(Guesses(middle, n, n)) else (middle + 1, high)
    return low


def test_bound_is_the_edge_of_what_is_refuted() -> None:
    found = Guesses(144, 156, 10_000)
    cases: list[tuple[float, Callable[[float], Inverse]]] = [
        (method.epsilon_one_run_curve(found, 1e-5), lambda epsilon: method.approximate_inverse(epsilon, 1e-5)),
        (method.mu_one_run(found), method.gaussian_inverse),
    ]
    for bound, family in cases:
        assert method.refutes_curve(found, family(bound), 0.05)
        assert not method.refutes_curve(found, family(bound + 1e-6), 0.05)


def test_knowing_the_curve_shows_more() -> None:
    """The same guesses of a Gaussian mechanism with μ = .925, which is (4, 1e-5)-DP: 89 % of 625 right."""
    found = Guesses(558, 625, 10_000)
    general = method.epsilon_one_run(found, 1e-5)
    gaussian = method.epsilon_of_mu(method.mu_one_run(found), 1e-5)
    assert 1.8 < general < 2.0 < 2.5 < gaussian < 4.0
