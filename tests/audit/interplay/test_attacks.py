"""Scores by hand, and what attacks find on models that remember and on models that cannot."""

import math

import numpy as np
import pytest
import torch

from upright.audit.interplay.attacks import LIRA, LOSS, RMIA, discrepancy, log_likelihood, scores
from upright.audit.interplay.probe import SHUFFLES, UNSEEN, probe, shuffled
from upright.run.measures.roc import auc


def test_scores_by_hand() -> None:
    """Logit ln 3 is a score of ¾: ln ¾ for y = 1 and ln ¼ for y = 0; against a score of ½ the discrepancy is ¼."""
    z = np.array([math.log(3), math.log(3)])
    np.testing.assert_allclose(log_likelihood(z, np.array([1.0, 0.0])), [math.log(0.75), math.log(0.25)])
    np.testing.assert_allclose(discrepancy(z, np.zeros(2)), [0.25, 0.25])
    assert np.isfinite(log_likelihood(np.array([1e4, -1e4]), np.array([0.0, 1.0]))).all()


def test_attacks_find_members_of_models_that_remember_and_nobody_else() -> None:
    """Every model adds 1 to the true logit of its members; records differ by 3 in difficulty, which references see.

    So the calibrated attacks are stronger than the loss, outside DeLong's intervals; and with the membership of
    another draw, which no model was trained on, the interval of each AUC holds ½.
    """
    rng = np.random.default_rng(0)
    n, k = 2000, 9
    y = (rng.random(n) < 0.5).astype(float)
    masks = rng.random((k, n)) < 0.5
    margin = 3 * rng.normal(size=n) + masks + 0.5 * rng.normal(size=(k, n))
    public_y = (rng.random(400) < 0.5).astype(float)
    public = (3 * rng.normal(size=400) + 0.5 * rng.normal(size=(k, 400))) * np.where(public_y > 0.5, 1, -1)
    found = scores(margin * np.where(y > 0.5, 1, -1), y, masks, public, public_y, audited=2)
    assert set(found) == {LOSS, LIRA, RMIA}
    fresh = rng.random(n) < 0.5
    areas = {}
    for name, score in found.items():
        assert score.shape == (n, 2)
        usable = np.isfinite(score[:, 0])
        assert usable.mean() > 0.98  # all 8 references saw the record in one case of 256
        areas[name] = auc(score[usable & masks[0], 0], score[usable & ~masks[0], 0])
        null = auc(score[usable & fresh, 0], score[usable & ~fresh, 0])
        assert null.ci_low is not None
        assert null.ci_high is not None
        assert null.ci_low <= 0.5 <= null.ci_high
    for name in (LIRA, RMIA):
        assert (areas[name].ci_low or 0) > (areas[LOSS].ci_high or 1)


def test_without_references_the_loss_stands_alone() -> None:
    zeros, masks = np.zeros((2, 6)), np.array([[True] * 3 + [False] * 3] * 2)
    assert set(scores(zeros, np.ones(6), masks, np.zeros((2, 3)), np.ones(3), audited=1)) == {LOSS}


# --- probes ----------------------------------------------------------------------------------------------------


def test_probe_reads_what_is_there_and_nothing_from_noise_or_shuffled_groups() -> None:
    """Judged on 1000 records: all right when the group is a feature, within 4 standard errors √(¼/1000) of ½ on noise.

    Shuffled groups tell nothing of the feature that gives the group away, but may by chance teach to follow it or to
    oppose it, so each control lies anywhere and only their mean is ½.
    """
    generator = torch.Generator().manual_seed(0)
    group = torch.randint(0, 2, (2400,), generator=generator)
    noise, seen = torch.randn(2400, 5, generator=generator), torch.arange(400, 2400)
    clear = torch.cat([noise, group[:, None].float()], 1)
    told = probe(clear, group, seen, np.random.default_rng(1))
    assert (told[:400] == UNSEEN).all()
    assert int((told >= 0).sum()) == 1000
    assert float((told[told >= 0]).float().mean()) == 1.0
    outcome = probe(noise, group, seen, np.random.default_rng(1))
    judged = outcome >= 0
    balanced = torch.stack([(outcome[judged & (group == g)] == 1).float().mean() for g in range(2)]).mean()
    assert float(balanced) == pytest.approx(0.5, abs=4 * math.sqrt(0.25 / 1000))
    controls = torch.cat([shuffled(clear, group, seen, np.random.default_rng(s)) for s in range(12)])
    assert len(controls) == 12 * SHUFFLES
    assert float(controls.mean()) == pytest.approx(0.5, abs=4 * float(controls.std()) / math.sqrt(len(controls)))
