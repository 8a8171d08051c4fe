"""ε against dp-accounting called by hand, published numbers, and the exact Gaussian curve."""

import math
import sys

import dp_accounting
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from upright.errors import MissingExtra, UserError
from upright.training.private.accounting import Accountant, Mechanism, epsilon, noise_for, query_noise_for


@pytest.mark.parametrize(
    ("rate", "noise", "steps", "delta", "pld", "rdp"),
    [
        (0.01, 1.0, 1000, 1e-5, 1.828, 2.101),
        (0.01, 0.8, 1000, 1e-5, 3.141, 3.696),
        (0.001, 0.6, 3000, 1e-6, 2.516, 3.432),
    ],
)
def test_subsampled_gaussian_as_published(
    rate: float, noise: float, steps: int, delta: float, pld: float, rdp: float
) -> None:
    mechanism = Mechanism(rate, noise, steps)
    assert epsilon(mechanism, delta) == pytest.approx(pld, abs=1e-3)
    assert epsilon(mechanism, delta, "rdp") == pytest.approx(rdp, abs=2e-3)


SETTINGS = [
    (rate, noise, steps, delta)
    for rate, noise in [(0.002, 0.7), (0.01, 0.8), (0.05, 1.0), (0.25, 1.5), (1.0, 12.0)]
    for steps, delta in [(20, 1e-4), (100, 1e-5), (400, 1e-6), (1500, 1e-5)]
]


@pytest.mark.parametrize(("rate", "noise", "steps", "delta"), SETTINGS)
def test_twenty_settings_are_those_of_dp_accounting_to_one_percent(
    rate: float, noise: float, steps: int, delta: float
) -> None:
    ledger = dp_accounting.pld.PLDAccountant(value_discretization_interval=2e-4)
    gaussian = dp_accounting.GaussianDpEvent(noise)
    event = gaussian if rate == 1 else dp_accounting.PoissonSampledDpEvent(rate, gaussian)
    ledger.compose(dp_accounting.SelfComposedDpEvent(event, steps))
    assert epsilon(Mechanism(rate, noise, steps), delta) == pytest.approx(ledger.get_epsilon(delta), rel=0.01)


def test_epsilon_is_that_of_dp_accounting_by_hand() -> None:
    ledger = dp_accounting.pld.PLDAccountant()
    for _ in range(7):
        ledger.compose(dp_accounting.PoissonSampledDpEvent(0.2, dp_accounting.GaussianDpEvent(1.3)))
    ledger.compose(dp_accounting.GaussianDpEvent(9.0))
    ledger.compose(dp_accounting.GaussianDpEvent(9.0))
    mechanism = Mechanism(0.2, 1.3, 7, ((9.0, 2),))
    assert epsilon(mechanism, 1e-5) == pytest.approx(ledger.get_epsilon(1e-5), rel=1e-6)


def test_without_sampling_the_gaussian_curve_is_met() -> None:
    """δ(ε) = Φ(μ/2 − ε/μ) − e^ε Φ(−μ/2 − ε/μ), μ = √T/noise (Balle & Wang 2018): noise 10, T = 100 gives ε = 4.3772."""
    found = epsilon(Mechanism(1.0, 10.0, 100), 1e-5)
    assert norm.cdf(0.5 - found) - math.exp(found) * norm.cdf(-0.5 - found) == pytest.approx(1e-5, rel=2e-3)
    assert found == pytest.approx(4.3772, abs=1e-3)
    assert epsilon(Mechanism(1.0, 0.0, 0, ((10.0, 100),)), 1e-5) == pytest.approx(found, abs=1e-3)


def test_nothing_done_costs_nothing_and_no_noise_costs_everything() -> None:
    assert epsilon(Mechanism(0.1, 0.0, 0), 1e-5) == 0.0
    assert epsilon(Mechanism(0.1, 0.0, 0, ((0.0, 0),)), 1e-5) == 0.0
    assert epsilon(Mechanism(0.1, 0.0, 1), 1e-5) == math.inf
    assert epsilon(Mechanism(0.1, 1.0, 5, ((0.0, 1),)), 1e-5) == math.inf


@settings(max_examples=10, deadline=None)
@given(st.floats(0.01, 0.3), st.floats(0.8, 4), st.integers(1, 200))
def test_epsilon_grows_with_steps_and_rate_and_falls_with_noise(rate: float, noise: float, steps: int) -> None:
    def cost(q: float, sigma: float, t: int) -> float:
        return epsilon(Mechanism(q, sigma, t), 1e-5, "pld", 1e-3)

    here = cost(rate, noise, steps)
    assert cost(rate, noise, 2 * steps) >= here - 1e-3
    assert cost(min(1, 2 * rate), noise, steps) >= here - 1e-3
    assert cost(rate, 2 * noise, steps) <= here + 1e-3


@pytest.mark.parametrize("accountant", ["pld", "rdp"])
@pytest.mark.parametrize("target", [0.5, 8.0])
def test_the_noise_found_keeps_the_budget_and_wastes_little(accountant: Accountant, target: float) -> None:
    asked = Mechanism(0.1, 0.0, 100, ((40.0, 2),))
    sigma = noise_for(target, 1e-5, asked, accountant)
    spent = epsilon(Mechanism(0.1, sigma, 100, ((40.0, 2),)), 1e-5, accountant)
    assert spent <= target
    assert spent >= 0.98 * target


def test_noise_of_queries_keeps_its_share() -> None:
    sigma = query_noise_for(0.4, 1e-5, 21)
    assert 0.98 * 0.4 <= epsilon(Mechanism(1.0, 0.0, 0, ((sigma, 21),)), 1e-5) <= 0.4


def test_queries_that_eat_the_budget_are_refused() -> None:
    with pytest.raises(UserError, match=r"epsilon=1 .*cost .* alone; ask for fewer"):
        noise_for(1.0, 1e-5, Mechanism(0.1, 0.0, 100, ((2.0, 1),)))


def test_without_the_package_its_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dp_accounting", None)
    with pytest.raises(MissingExtra, match=r"upright\[private\]"):
        epsilon(Mechanism(0.123, 1.0, 3), 1e-5)
