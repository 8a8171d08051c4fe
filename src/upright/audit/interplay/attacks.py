"""Membership scores of the models of a cell, and of a fair model beside its plain twin; larger: rather a member."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from upright.audit.membership.attacks import lira_offline, prior_offline, rmia, tuned_a
from upright.run.measures.roc import auc

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

LOSS, LIRA, RMIA, DISCREPANCY = "loss", "LiRA", "RMIA", "discrepancy"
FEWEST_REFERENCES = 2


def log_likelihood(logits: Floats, y: Floats) -> Floats:
    """The loss attack's ln p(y) of binary logits (..., N), which is minus the loss."""
    return np.asarray(-np.logaddexp(0.0, np.where(y > 0.5, -logits, logits)))


def confidence(logits: Floats, y: Floats) -> Floats:
    """LiRA's ln p(y) - ln(1 - p(y)), which for two classes is the logit of the true one."""
    return np.where(y > 0.5, logits, -logits)


def discrepancy(fair: Floats, plain: Floats) -> Floats:
    """|f_fair(x) - f_plain(x)| of the scores in [0, 1] (arXiv:2503.06150), from logits."""
    return np.asarray(np.abs(expit(fair) - expit(plain)))


def direction(score: Floats, masks: Bools) -> int:
    """1 where members of the models (K, N) have the larger `score` (K, N), -1 where the smaller; 1 without models.

    As published, members differ more between the two models. Where both remember their members they agree on them, so
    members differ less; whoever trains references of their own will notice.
    """
    areas = [auc(s[m], s[~m]).value or 0.0 for s, m in zip(score, masks, strict=True)]
    return -1 if areas and sum(areas) / len(areas) < 0.5 else 1


def scores(
    logits: Floats, y: Floats, masks: Bools, public: Floats, public_y: Floats, audited: int
) -> Mapping[str, Floats]:
    """Scores (N, S) of each attack on the first `audited` of K models, the others of which serve as references.

    A model's references are the K - 1 others; LiRA and RMIA are offline, so of a record only those count that were
    not trained on it. They are left out below two references; a record that every reference saw is NaN.

    Args:
        logits: (K, N) of the records; public: (K, P) of records that no model was trained on.
        masks: (K, N) which records each model was trained on.
    """
    log_p, phi = log_likelihood(logits, y), confidence(logits, y)
    found = {LOSS: log_p[:audited].T}
    if len(logits) - 1 >= FEWEST_REFERENCES:
        others = [np.arange(len(logits)) != s for s in range(audited)]
        at_large = log_likelihood(public, public_y)
        found[LIRA] = np.stack([lira_offline(phi[s], phi[o], masks[o]) for s, o in enumerate(others)], axis=1)
        found[RMIA] = np.stack([_rmia(s, o, log_p, masks, at_large) for s, o in enumerate(others)], axis=1)
    return found


def _rmia(s: int, others: Bools, log_p: Floats, masks: Bools, public: Floats) -> Floats:
    """Offline RMIA on model `s`; `a` is tuned between two of the references, where no record's membership is asked."""
    a = tuned_a(log_p[others], masks[others])
    prior = prior_offline(log_p[others], masks[others], a)
    none = np.zeros((int(others.sum()), public.shape[1]), dtype=bool)
    at_large = prior_offline(public[others], none, a)
    return rmia(log_p[s] - prior, public[s] - at_large)
