"""Attacks with one model only: how unusual a score is among non-members that look like the record.

The threshold of a record is a quantile of the score given its features, learnt on non-members (Bertran et al.
2023, arXiv:2307.03694). scikit-learn does the regression; it is loaded when first needed.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from upright.errors import MissingExtra

Floats = NDArray[np.float64]


def regressor(seed: int, quantile: float | None = None) -> Any:
    """Boosted trees for the mean (squared loss) or a quantile (pinball loss). Raises MissingExtra."""
    try:
        from sklearn.ensemble import HistGradientBoostingRegressor
    except ImportError as error:
        raise MissingExtra("scikit-learn", "audit") from error
    loss = {"loss": "squared_error"} if quantile is None else {"loss": "quantile", "quantile": quantile}
    return HistGradientBoostingRegressor(
        max_iter=60, max_depth=3, learning_rate=0.1, early_stopping=False, random_state=seed, **loss
    )


def threshold(features: Floats, scores: Floats, alpha: float, rng: np.random.Generator) -> Callable[[Floats], Floats]:
    """q(x) that a fresh non-member's score exceeds with probability at most `alpha`, whatever the regression.

    Half of the non-members (features (n, d), scores (n,)) fit the quantile 1 - alpha, the other half shifts it by
    the rank ceil((1 - alpha)(m + 1)) of its own excesses (split conformal, Romano et al. 2019, theorem 1). That
    holds for records of the same law; with fewer than 1 / alpha - 1 in the second half nothing is flagged.
    """
    if not 0 < alpha < 1:
        raise ValueError(f"alpha={alpha}: must be in (0, 1)")
    order = rng.permutation(len(scores))
    fit, hold = order[: len(order) // 2], order[len(order) // 2 :]
    model = regressor(int(rng.integers(2**31)), 1 - alpha).fit(features[fit], scores[fit])
    excess = np.sort(scores[hold] - model.predict(features[hold]))
    rank = int(np.ceil((1 - alpha) * (len(hold) + 1)))
    shift = excess[rank - 1] if rank <= len(hold) else np.inf
    return lambda x: np.asarray(model.predict(x) + shift, dtype=float)


def normal_head(features: Floats, scores: Floats, seed: int) -> Callable[[Floats, Floats], Floats]:
    """(score - mean(x)) / sd(x) for given features and scores: every quantile at once, if the score is normal.

    Trees fit the mean, then the log of the squared residual, on non-members only.
    """
    mean = regressor(seed).fit(features, scores)
    residual = scores - mean.predict(features)
    floor = 1e-6 * max(float(residual.var()), 1e-12)  # an exact fit has no logarithm
    spread = regressor(seed + 1).fit(features, np.log(residual**2 + floor))

    def standardise(x: Floats, s: Floats) -> Floats:
        return np.asarray((s - mean.predict(x)) / np.exp(spread.predict(x) / 2), dtype=float)

    return standardise


def cross_fitted(
    features: Floats, scores: Floats, member: NDArray[np.bool_], rng: np.random.Generator, folds: int = 5
) -> Floats:
    """Normal-head scores (n,) that never come from a head fitted on the record itself.

    Records fall at random into folds; a record is judged by the head of the non-members outside its fold. Members
    are treated alike, so that without leakage both have the same law. NaN where a fold leaves under 20 non-members.
    """
    found = np.full(len(scores), np.nan)
    fold = rng.permutation(len(scores)) % folds
    for number in range(folds):
        inside = fold == number
        known = ~inside & ~member
        if known.sum() >= 20:
            found[inside] = normal_head(features[known], scores[known], int(rng.integers(2**31)))(
                features[inside], scores[inside]
            )
    return found
