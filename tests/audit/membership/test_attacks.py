"""LiRA and RMIA against naive twins, by hand, and on networks that learnt their records by heart."""

import math
from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from numpy.typing import NDArray
from scipy.stats import norm

from upright.audit.membership import attacks
from upright.audit.membership.shadow import References, half_masks, train_networks
from upright.run.evidence import overlap
from upright.run.measures.roc import auc, tpr_at_fpr

Floats = NDArray[np.float64]

# --- confidence ------------------------------------------------------------------------------------------------


def test_confidence_by_hand() -> None:
    """p = (½, ¼, ¼): φ of the first class is ln(½ / ½) = 0, of the second ln(¼ / ¾) = −ln 3."""
    logits = np.log([[0.5, 0.25, 0.25], [0.5, 0.25, 0.25]])
    assert_allclose(attacks.confidence(logits, [0, 1]), [0.0, -math.log(3)], atol=1e-12)
    assert_allclose(attacks.log_probability(logits + 7, [0, 1]), np.log([0.5, 0.25]))
    assert_allclose(attacks.confidence_of(np.log([0.5, 0.25])), [0.0, -math.log(3)], atol=1e-12)


def test_confidence_stays_exact_where_probabilities_round_to_one() -> None:
    """Two classes: φ is the difference of the logits, 60 here, where 1 − p is below what a float can hold."""
    assert attacks.confidence([[60.0, 0.0]], [0])[0] == 60.0
    assert np.isfinite(attacks.confidence_of([0.0])).all()


def test_confidence_needs_two_classes() -> None:
    with pytest.raises(ValueError, match="at least 2 classes"):
        attacks.confidence([[1.0]], [0])


# --- LiRA ------------------------------------------------------------------------------------------------------


def naive_lira(phi: float, inside: list[float], outside: list[float]) -> float:
    """One record, its own variances: ln of the ratio of two normal densities."""
    return float(
        norm.logpdf(phi, np.mean(inside), np.std(inside, ddof=1))
        - norm.logpdf(phi, np.mean(outside), np.std(outside, ddof=1))
    )


def test_online_equals_one_record_at_a_time() -> None:
    rng = np.random.default_rng(0)
    masks, references, phi = half_masks(8, 5, rng), rng.normal(size=(8, 5)), rng.normal(size=5)
    expected = [
        naive_lira(phi[i], list(references[masks[:, i], i]), list(references[~masks[:, i], i])) for i in range(5)
    ]
    assert_allclose(attacks.lira_online(phi, references, masks, pooled=False), expected)


def test_offline_by_hand() -> None:
    """Two records, out-models (1, 3) and (5, 5): means 2 and 5, pooled variance (1 + 1 + 0 + 0) / 2 = 1."""
    masks = np.array([[False, False], [False, False], [True, True]])
    references = np.array([[1.0, 5.0], [3.0, 5.0], [99.0, 99.0]])
    assert_allclose(attacks.lira_offline([4.0, 5.5], references, masks), [2.0, 0.5])


def test_offline_ranks_as_the_published_score_but_does_not_saturate() -> None:
    rng = np.random.default_rng(1)
    masks, references = np.zeros((6, 200), bool), rng.normal(size=(6, 200))
    phi = rng.normal(size=200)
    z = attacks.lira_offline(phi, references, masks)
    published = norm.cdf(
        phi, references.mean(axis=0), np.sqrt(((references - references.mean(axis=0)) ** 2).sum() / 1000)
    )
    assert (np.argsort(z) == np.argsort(published)).all()
    far = attacks.lira_offline(np.array([50.0, 60.0]), references[:, :2], masks[:, :2])
    assert len(set(norm.cdf(far))) == 1
    assert far[0] != far[1]


@given(st.lists(st.integers(-200, 200).map(lambda i: i / 10), min_size=3, max_size=3, unique=True))
@settings(deadline=None, max_examples=40)
def test_with_equal_variances_lira_is_monotone(values: list[float]) -> None:
    """Mean 2 with and 0 without the record, one variance: the log ratio rises with φ."""
    masks = np.array([[True], [True], [False], [False]])
    references = np.array([[1.0], [3.0], [-1.0], [1.0]])
    rising = sorted(values)
    scores = [attacks.lira_online([v], references, masks, pooled=True)[0] for v in rising]
    assert scores == sorted(scores)
    slope = (scores[2] - scores[0]) / (rising[2] - rising[0])
    assert_allclose(slope, (2 - 0) / 2, rtol=1e-6)  # (μ_in − μ_out) / σ², σ² = (1 + 1) / 1 on each side


def test_variance_is_pooled_below_64_models() -> None:
    rng = np.random.default_rng(2)
    for models, pooled in ((63, True), (64, False)):
        masks, references, phi = half_masks(models, 9, rng), rng.normal(size=(models, 9)), rng.normal(size=9)
        assert_allclose(
            attacks.lira_online(phi, references, masks), attacks.lira_online(phi, references, masks, pooled=pooled)
        )


def test_a_record_that_no_reference_can_judge_is_not_a_number() -> None:
    masks = np.array([[True, False], [True, True], [True, False], [True, True]])
    references = np.arange(8.0).reshape(4, 2)
    found = attacks.lira_online([1.0, 1.0], references, masks)
    assert np.isnan(found).tolist() == [True, False]
    assert np.isnan(attacks.prior_offline(-references, masks, 0.5)).tolist() == [True, False]
    assert np.isnan(attacks.mean_outside(-references, masks)).tolist() == [True, False]
    assert np.isnan(attacks.rmia([np.nan, 1.0], [0.0])).tolist() == [True, False]


def test_a_variance_needs_two_models() -> None:
    with pytest.raises(ValueError, match="needs two reference models"):
        attacks.lira_offline([1.0], [[1.0]], [[False]])


# --- RMIA ------------------------------------------------------------------------------------------------------


@given(
    st.lists(st.floats(-5, 5), min_size=1, max_size=8),
    st.lists(st.floats(-5, 5), min_size=1, max_size=8),
    st.sampled_from([0.5, 1.0, 2.0]),
)
@settings(deadline=None, max_examples=60)
def test_rmia_equals_all_pairs(ratios: list[float], population: list[float], gamma: float) -> None:
    def share(x: float) -> float:
        margins = [x - z - math.log(gamma) for z in population]
        return sum(1.0 if m > attacks.TIE else 0.5 if m >= -attacks.TIE else 0.0 for m in margins) / len(margins)

    margins = np.abs(np.subtract.outer(ratios, population) - math.log(gamma))
    if not ((margins > 0.5 * attacks.TIE) & (margins < 2 * attacks.TIE)).any():  # on the edge rounding decides
        assert_allclose(attacks.rmia(ratios, population, gamma), [share(x) for x in ratios])


def test_rmia_of_identical_models_is_a_half() -> None:
    """Audited and reference models agree about all: every ratio is 0, every comparison a tie."""
    log_p = np.log(np.random.default_rng(3).uniform(0.01, 0.99, 400))
    copies = np.tile(log_p, (5, 1))
    masks = half_masks(5, 400, np.random.default_rng(0))
    for prior in (attacks.prior_online(copies, masks), attacks.prior_offline(copies, masks, 1.0)):
        assert (attacks.rmia(log_p - prior, log_p - prior) == 0.5).all()


def test_priors_by_hand() -> None:
    """With the record .8, without .2 and .4: online (.8 + .3) / 2; offline, a = ½: (1.5 · .3 + .5) / 2 = .475."""
    log_p, masks = np.log([[0.8], [0.2], [0.4]]), np.array([[True], [False], [False]])
    assert_allclose(np.exp(attacks.prior_online(log_p, masks)), [0.55])
    assert_allclose(np.exp(attacks.prior_offline(log_p, masks, 0.5)), [0.475])
    assert_allclose(np.exp(attacks.prior_offline(log_p, masks, 1.0)), [0.3])
    assert_allclose(np.exp(attacks.prior_offline(log_p, masks, 0.0)), [0.65])


def test_a_is_tuned_on_one_reference_against_another() -> None:
    """Members' p rises by .5 in the first model: only a < 1 ranks the rare and the frequent on one scale."""
    rng = np.random.default_rng(4)
    masks, base = half_masks(4, 4000, rng), rng.uniform(0.02, 0.45, 4000)
    log_p = np.log(base + 0.5 * masks + rng.uniform(0, 0.02, (4, 4000)))
    grid = [i / 10 for i in range(11)]
    fresh, inside = ~masks[1], masks[0][~masks[1]]
    areas = [
        auc(r[inside], r[~inside]).value
        for r in ((log_p[0] - attacks.prior_offline(log_p[1:2], masks[1:2], a))[fresh] for a in grid)
    ]
    assert attacks.tuned_a(log_p, masks, grid) == grid[int(np.argmax([area or 0 for area in areas]))]
    with pytest.raises(ValueError, match="2 reference models"):
        attacks.tuned_a(log_p[:1], masks[:1])
    with pytest.raises(ValueError, match="records in and records out"):
        attacks.tuned_a(log_p, np.zeros_like(masks))


@pytest.mark.parametrize("a", [-0.1, 1.1])
def test_a_lies_between_0_and_1(a: float) -> None:
    with pytest.raises(ValueError, match=r"must be in \[0, 1\]"):
        attacks.prior_offline([[0.0]], [[False]], a)


@pytest.mark.parametrize(("population", "gamma", "message"), [([], 1.0, "population"), ([0.0], 0.0, "gamma")])
def test_rmia_refuses(population: list[float], gamma: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        attacks.rmia([0.0], population, gamma)


# --- networks that learnt their records by heart ---------------------------------------------------------------


@cache
def overfit(noise: float = 0.5, records: int = 800) -> tuple[References, NDArray[np.int64]]:
    """Twenty-four networks and one under attack, on 50 features and 10 classes."""
    generator = torch.Generator().manual_seed(1)
    x, weights = torch.randn(records, 50, generator=generator), torch.randn(50, 10, generator=generator)
    y = (x @ weights / 50**0.5 + noise * torch.randn(records, 10, generator=generator)).argmax(1)
    masks = half_masks(25, records, np.random.default_rng(1))
    logits = train_networks(x, y, torch.from_numpy(masks), generator, hidden=48, steps=60)
    return References(masks, logits.double().numpy()), y.numpy()


def test_lira_and_rmia_find_more_at_one_percent_than_the_loss() -> None:
    """The bar: a higher TPR at 1 % FPR, with intervals apart. The network fits its half wholly, the rest hardly."""
    (masks, logits), labels = overfit()
    right, inside = logits[0].argmax(-1) == labels, masks[0]
    assert right[inside].mean() > 0.99
    assert right[~inside].mean() < 0.7
    phi, log_p = attacks.confidence(logits, labels), attacks.log_probability(logits, labels)
    scores = {
        "LiRA": attacks.lira_online(phi[0], phi[1:], masks[1:]),
        "RMIA": log_p[0] - attacks.prior_online(log_p[1:], masks[1:]),
        "offline RMIA": log_p[0] - attacks.prior_offline(log_p[1:], masks[1:], attacks.tuned_a(log_p[1:], masks[1:])),
    }
    loss = tpr_at_fpr(log_p[0][inside], log_p[0][~inside], 0.01)
    for name, score in scores.items():
        found = tpr_at_fpr(score[inside], score[~inside], 0.01)
        assert (found.value or 0) > (loss.value or 0), name
        assert not overlap(found, loss), name


def test_a_model_trained_on_neither_side_gives_nothing_away() -> None:
    """Records that the audited network did not see, split at random 200 times: AUC intervals hold ½ in about 95 %.

    Three errors of a share of 200 at 0.95 are 4.6 points.
    """
    (masks, logits), labels = overfit()
    phi, log_p = attacks.confidence(logits, labels), attacks.log_probability(logits, labels)
    scores = {
        "loss": log_p[0],
        "online LiRA": attacks.lira_online(phi[0], phi[1:], masks[1:]),
        "offline LiRA": attacks.lira_offline(phi[0], phi[1:], masks[1:]),
        "online RMIA": log_p[0] - attacks.prior_online(log_p[1:], masks[1:]),
    }
    rng = np.random.default_rng(7)
    for name, score in scores.items():
        unseen = score[~masks[0]]
        found = [auc(unseen[side], unseen[~side]) for side in rng.random((200, len(unseen))) < 0.5]
        assert np.mean([(m.ci_low or 0) <= 0.5 <= (m.ci_high or 0) for m in found]) >= 0.95 - 0.046, name


# --- several queries -------------------------------------------------------------------------------------------


def test_several_queries_by_hand() -> None:
    """Out-models (0, 0), (2, 0), (0, 2), (2, 2): mean (1, 1), covariance 4/3 I. phi = (2, 3) lies (1, 2) from it.

    Their mean has variance 2/3, so z = 1.5 / sqrt(2/3). In-models the same, moved by (2, 2): distances (-1, 0), so
    ln in - ln out = (1 + 4 - 1) / 2 / (4/3) = 1.5.
    """
    out = np.array([[[0.0, 0.0]], [[2.0, 0.0]], [[0.0, 2.0]], [[2.0, 2.0]]])
    masks = np.repeat([[False], [True]], 4, axis=0)
    references = np.concatenate([out, out + 2])
    for pooled in (True, False):
        assert_allclose(attacks.lira_offline([[2.0, 3.0]], references, masks, pooled), 1.5 / np.sqrt(2 / 3))
        assert_allclose(attacks.lira_online([[2.0, 3.0]], references, masks, pooled), 1.5)


def test_one_query_is_the_plain_form() -> None:
    rng = np.random.default_rng(4)
    masks, phi, references = half_masks(10, 30, rng), rng.normal(size=30), rng.normal(size=(10, 30))
    for attack in (attacks.lira_online, attacks.lira_offline):
        assert_allclose(attack(phi[:, None], references[..., None], masks), attack(phi, references, masks))


@pytest.mark.parametrize("pooled", [True, False])
def test_equal_queries_say_what_one_says(pooled: bool) -> None:
    """The same answer twice has a covariance without an inverse; a record that one model saw has none at all."""
    rng = np.random.default_rng(6)
    masks, phi, references = half_masks(10, 30, rng), rng.normal(size=30), 5 + rng.normal(size=(10, 30))
    masks[:, 0] = np.arange(10) < 1
    for attack in (attacks.lira_online, attacks.lira_offline):
        once = attack(phi, references, masks, pooled)
        twice = attack(np.stack([phi, phi], axis=1), np.stack([references, references], axis=2), masks, pooled)
        assert np.isnan(once[0]) == (not pooled and attack is attacks.lira_online)
        assert_allclose(twice, once, rtol=1e-4, atol=1e-6)


def test_independent_queries_add_their_evidence() -> None:
    """Shift 0.5 in each of Q queries of unit noise, M models: z has shift 0.5 sqrt(Q) and variance 1 + 2/M.

    So AUC = Phi(0.5 sqrt(Q) / sqrt(2 (1 + 2/M))): 0.634 for one, 0.753 for four (M 64, half of them out).
    """
    rng, (n, models) = np.random.default_rng(5), (4000, 64)
    member, masks = rng.random(n) < 0.5, half_masks(models, n, rng)
    phi = 0.5 * member[:, None] + rng.normal(size=(n, 4))
    references = 0.5 * masks[..., None] + rng.normal(size=(models, n, 4))
    for queries in (1, 4):
        z = attacks.lira_offline(phi[:, :queries], references[..., :queries], masks, pooled=True)
        found = auc(z[member], z[~member])
        expected = norm.cdf(0.5 * np.sqrt(queries) / np.sqrt(2 * (1 + 2 / models)))
        assert (found.ci_low or 0) < expected < (found.ci_high or 0)
