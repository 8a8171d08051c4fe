"""The epsilon that one run's canaries show at least (Steinke, Nasr & Jagielski 2023, arXiv:2305.08846)."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from upright.run.evidence import Metric, scalar
from upright.run.measures import epsilon as method
from upright.run.measures.epsilon import Guesses
from upright.synthesis.evaluation.part import SYNTHETIC

Floats = NDArray[np.float64]

AUDITED, CEILING = "epsilon, audited lower bound", "epsilon, most that so many canaries can show"
ALPHA = 0.05


def audited_epsilon(
    included: ArrayLike,
    scores: ArrayLike,
    delta: float,
    *,
    split: str = SYNTHETIC,
    alpha: float = ALPHA,
    seed: int = 0,
) -> list[Metric]:
    """The epsilon that one run's guesses refute with confidence 1 - alpha, and what perfect guesses would refute.

    The numbers of guesses are fixed by the number of canaries alone and share alpha.

    Args:
        included: whether each canary was in (m,), by independent fair coins.
        scores: (m,) larger speaks for "in".
        delta: of the certificate.
        seed: breaks ties.
    """
    coins = np.asarray(included, dtype=bool)

    def bound(values: Floats) -> float:
        rng = np.random.default_rng(seed)
        pairs = method.default_pairs(values.size)
        return method.best_bound([method.guess(values, coins, *pair, rng) for pair in pairs], refuted, alpha)

    def refuted(test: Guesses, part: float) -> float:
        return method.epsilon_one_run(test, delta, part)

    n = coins.size
    ceiling = bound(np.where(coins, 1.0, 0.0))
    return [
        scalar(AUDITED, bound(np.asarray(scores, dtype=float)), split=split, n=n, better="lower"),
        scalar(CEILING, ceiling, split=split, n=n),
    ]


def contradiction(audited: float, certified: float | None) -> str | None:
    """One line if the audit refutes the certificate."""
    if certified is None or audited <= certified:
        return None
    return (
        f"FAILED: the audit shows epsilon of {audited:.2f} at least, above the certified {certified:.2f}; "
        "the guarantee does not hold and the records must not be released."
    )
