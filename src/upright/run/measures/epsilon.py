"""Lower bounds on epsilon from how well canaries are found again: pure functions on counts.

Notation: a mechanism is (ε, δ)-DP for one unit and one adjacency; a canary is one such unit, in or out of the
training data by a fair coin. A guess says "in" or "out". Every bound holds with confidence 1 - alpha: whatever the
mechanism, it exceeds the true ε in at most a share alpha of audits. All assume that what is tested (thresholds,
numbers of guesses) was fixed before the coins were seen. Bounds are never below 0.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import log_ndtr, ndtr, ndtri
from scipy.stats import binom

from upright.run.measures.intervals import Floats, clopper_pearson

TOLERANCE = 1e-9
STEPS = 40
"""Halvings of a bracket; the end that is still refuted is the bound."""


# --- many runs -------------------------------------------------------------------------------------------------


class Counts(NamedTuple):
    """What a test called "in": `tp` of `n_in` runs with the canary, `fp` of `n_out` runs without."""

    tp: int
    n_in: int
    fp: int
    n_out: int


class Rates(NamedTuple):
    """One-sided limits on a test's rates, which hold together with confidence 1 - alpha."""

    tpr_low: float
    fpr_up: float


def limits(found: Counts, alpha: float = 0.05) -> Rates:
    """Clopper-Pearson limits at alpha / 2 each.

    >>> [round(rate, 6) for rate in limits(Counts(tp=1000, n_in=1000, fp=0, n_out=1000))]
    [0.996318, 0.003682]
    """
    tp, n_in, fp, n_out = found
    return Rates(float(clopper_pearson(tp, n_in, alpha).low), float(clopper_pearson(fp, n_out, alpha).high))


def epsilon_of_rates(rates: Rates, delta: float) -> float:
    """Smallest ε that allows such rates (Jagielski, Ullman & Oprea 2020; Nasr et al. 2021, section IV).

    (ε, δ)-DP bounds the test by TPR <= e^ε FPR + δ and, seen from the other side, TNR <= e^ε FNR + δ; so
    ε >= max(ln((TPR - δ) / FPR), ln((TNR - δ) / FNR)). Both come from the same two limits and cost one alpha.
    """
    tpr, fpr = rates
    forms = ((tpr - delta, fpr), (1 - fpr - delta, 1 - tpr))
    return max(0.0, *(math.log(top / bottom) for top, bottom in forms if top > 0))


def epsilon_many_runs(found: Counts, delta: float, alpha: float = 0.05) -> float:
    """Bound from runs with and without the canary, told apart by a threshold that was fixed before.

    >>> round(epsilon_many_runs(Counts(tp=1000, n_in=1000, fp=0, n_out=1000), delta=1e-5), 3)
    5.601
    """
    return epsilon_of_rates(limits(found, alpha), delta)


# --- the Gaussian mechanism --------------------------------------------------------------------------------------


def mu_of_rates(rates: Rates) -> float:
    """Smallest μ whose Gaussian trade-off curve allows such rates (Dong, Roth & Su 2022, eq. 6).

    μ-GDP means FNR >= Φ(Φ⁻¹(1 - FPR) - μ), so μ >= Φ⁻¹(1 - FPR) - Φ⁻¹(FNR). It is a bound on μ; the ε that follows
    from it holds only if the mechanism's curve is Gaussian.
    """
    return max(0.0, float(-ndtri(rates.fpr_up) + ndtri(rates.tpr_low)))


def delta_of_epsilon(epsilon: float, mu: float) -> float:
    """δ(ε) = Φ(μ/2 - ε/μ) - e^ε Φ(-μ/2 - ε/μ) of a μ-GDP mechanism (Dong, Roth & Su 2022, corollary 1), μ > 0."""
    near, far = mu / 2 - epsilon / mu, -mu / 2 - epsilon / mu
    return float(ndtr(near) - math.exp(epsilon + log_ndtr(far)))


def epsilon_of_mu(mu: float, delta: float) -> float:
    """The ε at which a μ-GDP mechanism is (ε, δ)-DP, for δ > 0.

    >>> round(epsilon_of_mu(1.158, 1e-5), 2)
    5.19
    """
    if mu <= 0 or delta_of_epsilon(0.0, mu) <= delta:
        return 0.0
    high = 1.0
    while delta_of_epsilon(high, mu) > delta:
        high *= 2
    return float(brentq(lambda epsilon: delta_of_epsilon(epsilon, mu) - delta, 0.0, high, xtol=TOLERANCE))


# --- one run -------------------------------------------------------------------------------------------------------


class Guesses(NamedTuple):
    """How one run's guesses came out: `right` of `made`, among `canaries`; the rest were left unguessed."""

    right: int
    made: int
    canaries: int


def guess(score: Floats, included: NDArray[np.bool_], k_in: int, k_out: int, rng: np.random.Generator) -> Guesses:
    """Guess "in" for the `k_in` highest scores and "out" for the `k_out` lowest; NaN is never guessed before others.

    Args:
        score: (m,) larger speaks for "in".
        included: (m,) booleans.
        rng: breaks ties, so that the order of the rows, which may know who was in, cannot.
    """
    known = np.flatnonzero(~np.isnan(score))
    if k_in + k_out > known.size:
        raise ValueError(f"{k_in} + {k_out} guesses among {known.size} scores")
    mixed = rng.permutation(known)
    ranked = included[mixed[np.argsort(score[mixed], kind="stable")]]
    right = int((~ranked[:k_out]).sum() + ranked[ranked.size - k_in :].sum())
    return Guesses(right, k_in + k_out, score.size)


FEWEST = 50
"""Guesses below which `default_pairs` has no smaller number."""


def default_pairs(canaries: int) -> list[tuple[int, int]]:
    """Numbers of guesses "in" and "out" to fix before the scores are seen, when no others are given.

    All canaries, a quarter, a sixteenth, … guessed, half of them each way, down to `FEWEST`.

    >>> default_pairs(1000)
    [(500, 500), (125, 125), (31, 31)]
    """
    made = [canaries // 4**i for i in range(16)]
    return [(r - r // 2, r // 2) for i, r in enumerate(made) if i == 0 or r >= FEWEST]


def best_bound(tests: Sequence[Guesses], bound: Callable[[Guesses, float], float], alpha: float = 0.05) -> float:
    """The largest `bound`(test, its part of alpha): all tests hold together (Bonferroni), so that the best may be kept.

    >>> tests = [Guesses(300, 500, 500), Guesses(60, 60, 500)]
    >>> round(best_bound(tests, lambda test, part: epsilon_one_run(test, 0.0, part)), 3)
    2.758
    """
    return max(bound(test, alpha / len(tests)) for test in tests)


def p_value_one_run(found: Guesses, epsilon: float, delta: float) -> float:
    """Chance of so many right guesses under (ε, δ)-DP (Steinke, Nasr & Jagielski 2023, theorem 5.2); may exceed 1.

    With f(v) = P[Bin(r, e^ε / (1 + e^ε)) >= v] it is f(v) + 2 m δ max over 1 <= i <= v of (f(v - i) - f(v)) / i.
    """
    right, made, canaries = found
    accuracy = 1 / (1 + math.exp(-epsilon))
    tail = float(binom.sf(right - 1, made, accuracy))
    if delta == 0 or right == 0:
        return tail
    # below the bulk the sum no longer grows, so that the quotient only falls
    bulk = made * accuracy - 12 * math.sqrt(made * accuracy * (1 - accuracy)) - 12
    below = np.arange(right - 1, max(-1, math.floor(min(bulk, right - 1)) - 1), -1)
    sums = np.cumsum(binom.pmf(below, made, accuracy))
    return tail + 2 * canaries * delta * float((sums / np.arange(1, below.size + 1)).max())


def epsilon_one_run(found: Guesses, delta: float, alpha: float = 0.05) -> float:
    """Largest ε that one run's guesses refute: the root of `p_value_one_run` = alpha.

    With δ = 0 it is the logit of the Clopper-Pearson lower limit of the share of right guesses.

    >>> round(epsilon_one_run(Guesses(right=100, made=100, canaries=100), delta=0), 3)
    3.493
    """
    if found.made == 0:
        return 0.0
    low = float(clopper_pearson(found.right, found.made, 2 * alpha).low)
    pure = math.log(low / (1 - low)) if low > 0.5 else 0.0
    if delta == 0 or pure == 0.0 or p_value_one_run(found, 0.0, delta) >= alpha:
        return pure if delta == 0 else 0.0
    return float(brentq(lambda epsilon: p_value_one_run(found, epsilon, delta) - alpha, 0.0, pure, xtol=TOLERANCE))


def guesses_needed(epsilon: float, alpha: float = 0.05) -> int:
    """Fewest guesses that, all right, refute ε at δ = 0: the n of (e^ε / (1 + e^ε))^n < alpha.

    >>> guesses_needed(4.0)
    166
    """
    return math.floor(math.log(alpha) / -math.log1p(math.exp(-epsilon))) + 1


# --- one run against a whole trade-off curve ---------------------------------------------------------------------

Inverse = Callable[[float], float]
"""g: least wrong mass that goes with a right mass x, g(x) = f(1 - x) for a symmetric trade-off curve f."""


def refutes_curve(found: Guesses, inverse: Inverse, alpha: float) -> bool:
    """Whether an f-DP mechanism gives so many right guesses with a chance below alpha.

    After Mahloujifar, Melis & Chaudhuri (2025, "Auditing f-differential privacy in one run", algorithm 3). Let C be
    the number of right guesses, p_l = P[C = l] and

        R_j = (1/m) Σ_{l >= j} l p_l        H_j = (1/m) Σ_{l >= j} (r - l) p_l.

    Flipping coin i turns a right guess at i into a wrong one and leaves the others, so that f-DP gives
    P[i right, C >= j] <= 1 - f(P[i wrong, C >= j - 1]); summed over i, by concavity, H_{j-1} >= g(R_j). If C >= v had
    chance alpha or more, then a law with all of it at v, exactly alpha, and the least mass below that these
    inequalities demand would be possible too (moving mass down only loosens them). That law is built here from v to 0;
    if it takes more than all mass, R_0 + H_0 > r/m, there is none.
    """
    right, made, canaries = found
    whole = made / canaries
    r, h = alpha * right / canaries, alpha * (made - right) / canaries
    for i in range(right - 1, -1, -1):
        least = inverse(r)
        if least <= h:  # nothing more is demanded, here or below
            return False
        r += i / (made - i) * (least - h)
        h = least
        if r + h > whole:
            return True
    return False


def approximate_inverse(epsilon: float, delta: float) -> Inverse:
    """The g of (ε, δ)-DP, from f(x) = max(0, 1 - δ - e^ε x, e^-ε (1 - δ - x))."""
    up, down = math.exp(epsilon), math.exp(-epsilon)
    return lambda x: max(0.0, down * (x - delta), 1 - delta - up * (1 - x))


def gaussian_inverse(mu: float) -> Inverse:
    """The g of μ-GDP, from f(x) = Φ(Φ⁻¹(1 - x) - μ)."""
    quantile, root = NormalDist().inv_cdf, math.sqrt(0.5)

    def inverse(x: float) -> float:
        if x <= 0 or x >= 1:
            return float(x >= 1)
        return 0.5 * math.erfc((mu - quantile(x)) * root)

    return inverse


def epsilon_one_run_curve(found: Guesses, delta: float, alpha: float = 0.05) -> float:
    """Largest ε whose (ε, δ) trade-off curve one run's guesses refute."""
    return _largest_refuted(found, partial(approximate_inverse, delta=delta), alpha)


def mu_one_run(found: Guesses, alpha: float = 0.05) -> float:
    """Largest μ whose Gaussian trade-off curve one run's guesses refute."""
    return _largest_refuted(found, gaussian_inverse, alpha)


def _largest_refuted(found: Guesses, family: Callable[[float], Inverse], alpha: float) -> float:
    """Bisection over a family of curves that fall as the parameter grows."""
    if not refutes_curve(found, family(0.0), alpha):
        return 0.0
    low, high = 0.0, 1.0
    while refutes_curve(found, family(high), alpha):
        low, high = high, 2 * high
    for _ in range(STEPS):
        if high - low < TOLERANCE:
            break
        middle = (low + high) / 2
        low, high = (middle, high) if refutes_curve(found, family(middle), alpha) else (low, middle)
    return low
