"""Scores of coreference chains: MUC, B³, CEAF and their mean, the CoNLL score.

A chain is the set of mentions of one person or thing. Every score is a quotient of sums over records, for recall and
for precision, so a record is kept as the sums it adds: counts (..., 3, 2, 2) by measure, recall or precision, and
above or below the line.
"""

from collections.abc import Hashable, Sequence
from collections.abc import Set as AbstractSet

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from upright.run.measures.rates import quotient

Floats = NDArray[np.float64]
Chains = Sequence[AbstractSet[Hashable]]

MEASURES = ("MUC", "B3", "CEAF")


def counts(key: Chains, system: Chains) -> Floats:
    """What one record adds: (3, 2, 2). Chains are disjoint within the key and within the system's answer.

    >>> key, system = [{"a", "b", "c"}, {"d", "e"}], [{"a", "b"}, {"c", "d", "e"}]
    >>> f_scores(counts(key, system)).round(4).tolist(), round(float(conll(counts(key, system))), 4)
    ([0.6667, 0.7333, 0.8], 0.7333)
    """
    shared = _shared(key, system)
    sizes = [np.array([len(chain) for chain in chains], dtype=np.float64) for chains in (key, system)]
    return np.array(
        [
            [_links(shared, sizes[0]), _links(shared.T, sizes[1])],
            [_mentions(shared, sizes[0]), _mentions(shared.T, sizes[1])],
            _matched(shared, *sizes),
        ]
    )


def f_scores(sums: Floats) -> Floats:
    """F1 of each measure, (..., 3), from counts (..., 3, 2, 2); 0 where nothing is right or nothing is there."""
    recall, precision = np.moveaxis(np.nan_to_num(quotient(sums[..., 0], sums[..., 1])), -1, 0)
    return np.nan_to_num(quotient(2 * recall * precision, recall + precision))


def conll(sums: Floats) -> Floats:
    """Mean F1 of the three measures (Pradhan et al. 2012), (...,), from counts (..., 3, 2, 2)."""
    return np.asarray(f_scores(sums).mean(-1))


def _shared(key: Chains, system: Chains) -> Floats:
    """Mentions that each chain of the key has in common with each of the system's, (K, S)."""
    where = {mention: s for s, chain in enumerate(system) for mention in chain}
    table = np.zeros((len(key), len(system)))
    for k, chain in enumerate(key):
        for mention in chain:
            if mention in where:
                table[k, where[mention]] += 1
    return table


def _links(shared: Floats, sizes: Floats) -> list[float]:
    """MUC (Vilain et al. 1995): Σ(|K| - parts(K)) over Σ(|K| - 1), parts cut by the other side's chains."""
    parts = (shared > 0).sum(1) + sizes - shared.sum(1)  # a mention that the other side lacks is a part of its own
    return [float((sizes - parts).sum()), float((sizes - 1).sum())]


def _mentions(shared: Floats, sizes: Floats) -> list[float]:
    """B³ (Bagga & Baldwin 1998): Σ over mentions of |K ∩ S| / |K|, over the mentions."""
    return [float(((shared**2).sum(1) / np.maximum(sizes, 1)).sum()), float(sizes.sum())]


def _matched(shared: Floats, key: Floats, system: Floats) -> list[list[float]]:
    """CEAF with φ4 (Luo 2005): Σ 2|K ∩ S| / (|K| + |S|) of the best one-to-one match, over #K and over #S."""
    similar = 2 * shared / np.maximum(key[:, None] + system[None, :], 1)
    best = float(similar[linear_sum_assignment(similar, maximize=True)].sum())
    return [[best, float(key.size)], [best, float(system.size)]]
