import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from upright.audit.folds import fold_numbers
from upright.audit.mitigate.config import Cost
from upright.audit.mitigate.methods import threshold_optimiser
from upright.audit.mitigate.postprocess import calibrated_odds, reject_option


def scored(seed: int, n: int = 600, groups: int = 3) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores that favour the later groups and tell labels better there."""
    rng = np.random.default_rng(seed)
    group = rng.integers(0, groups, n)
    label = (rng.random(n) < 0.3 + 0.15 * group).astype(int)
    logit = (0.5 + group) * (2 * label - 1) + 0.4 * group + rng.normal(size=n)
    return 1 / (1 + np.exp(-logit)), group, label


@settings(max_examples=5, deadline=None)
@given(st.integers(0, 10_000))
def test_thresholds_equalise_the_expected_odds_on_their_own_scores(seed: int) -> None:
    score, group, label = scored(seed)
    optimiser = threshold_optimiser(score, group, label, "odds")
    chance = optimiser._pmf_predict(score[:, None], sensitive_features=group)[:, 1]
    for y in (0, 1):
        rates = [chance[(group == g) & (label == y)].mean() for g in range(3)]
        assert np.ptp(rates) <= 1e-8


def test_thresholds_equalise_expected_selection() -> None:
    score, group, label = scored(1)
    optimiser = threshold_optimiser(score, group, label, "parity")
    chance = optimiser._pmf_predict(score[:, None], sensitive_features=group)[:, 1]
    assert np.ptp([chance[group == g].mean() for g in range(3)]) <= 1e-8


def test_reject_option_by_hand() -> None:
    """Group 0 is selected in 1 of 4 cases, group 1 in 3 of 4, so group 0 is disadvantaged; within .1 of 1/2 lie .46
    (group 0) and .54 (group 1), which swap: then both are selected in 2 of 4."""
    score = np.array([0.1, 0.2, 0.46, 0.9, 0.2, 0.54, 0.8, 0.9])
    group = np.repeat([0, 1], 4)
    rule = reject_option(score, group, margin=0.1)
    assert rule.disadvantaged.tolist() == [True, False]
    assert rule(score, group).tolist() == [0, 0, 1, 1, 0, 0, 1, 1]
    chosen = reject_option(score, group, None)
    assert 0.04 <= chosen.margin <= 0.045 + 1e-9  # the first step of the grid that gets there
    assert chosen(score, group).tolist() == rule(score, group).tolist()


@given(st.integers(0, 1000))
def test_a_searched_margin_never_widens_the_gap_it_was_searched_on(seed: int) -> None:
    score, group, _ = scored(seed, n=200)

    def gap(said: np.ndarray) -> float:
        return float(np.ptp([said[group == g].mean() for g in range(3)]))

    assert gap(reject_option(score, group, None)(score, group)) <= gap((score >= 0.5).astype(int)) + 1e-12


def test_calibrated_odds_by_hand() -> None:
    """Positives of group 0 score .5 on average (cost .5), those of group 1 .9 (cost .1); both have base rate 1/2, whose
    cost is .5. So group 1 gives way with probability (.5 - .1) / (.5 - .1) = 1, group 0 never."""
    score, label = np.array([0.5, 0.5, 0.9, 0.1]), np.array([1, 0, 1, 0])
    mix = calibrated_odds(score, np.array([0, 0, 1, 1]), label, "fnr")
    assert mix.share.tolist() == [0.0, 1.0]
    assert mix.base_rate.tolist() == [0.5, 0.5]


@pytest.mark.parametrize("cost", ["fnr", "fpr", "both"])
def test_mixing_equalises_the_generalised_error(cost: Cost) -> None:
    score, group, label = scored(3)
    mix = calibrated_odds(score, group, label, cost)
    assert mix.share.max() < 1  # none is cut off, so the errors can be equal
    expected = (1 - mix.share[group]) * score + mix.share[group] * mix.base_rate[group]
    errors = []
    for g in range(3):
        fnr = (1 - expected[(group == g) & (label == 1)]).mean()
        fpr = expected[(group == g) & (label == 0)].mean()
        errors.append({"fnr": fnr, "fpr": fpr, "both": fnr + fpr}[cost])
    assert np.ptp(errors) < 1e-12


def test_mixing_takes_the_stated_share() -> None:
    score, group, label = scored(3, n=4000)
    mix = calibrated_odds(score, group, label, "both")
    changed = mix(score, group, np.random.default_rng(0)) != score
    for g in range(3):
        n = (group == g).sum()
        assert changed[group == g].mean() == pytest.approx(mix.share[g], abs=4 * 0.5 / np.sqrt(n))


@given(st.lists(st.integers(0, 4), min_size=1, max_size=60), st.integers(2, 7))
def test_folds_share_out_every_stratum(strata: list[int], folds: int) -> None:
    numbers = fold_numbers(np.array(strata), folds, np.random.default_rng(0))
    for stratum in set(strata):
        sizes = np.bincount(numbers[np.array(strata) == stratum], minlength=folds)
        assert np.ptp(sizes) <= 1
    assert set(numbers) <= set(range(folds))
