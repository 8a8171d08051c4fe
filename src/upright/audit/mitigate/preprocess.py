"""Fairness before training: weights for rows, and numbers moved towards one law. Pure functions on arrays."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def reweighing(group: Ints, label: Ints) -> Floats:
    """Weights (n,) under which label and group are independent: w(g, y) = P(g) P(y) / P(g, y).

    Kamiran & Calders 2012, "Data preprocessing techniques for classification without discrimination", section 5.3.

    >>> reweighing(np.array([0, 0, 0, 1]), np.array([1, 1, 0, 0])).round(3).tolist()
    [0.75, 0.75, 1.5, 0.5]
    """
    table = np.zeros((int(group.max()) + 1, 2))
    np.add.at(table, (group, label), 1)
    expected = table.sum(1, keepdims=True) * table.sum(0) / table.sum()
    weights = np.divide(expected, table, out=np.zeros_like(table), where=table > 0)
    return np.asarray(weights[group, label], dtype=float)


class Repair:
    """Disparate-impact repair of single numbers (Feldman et al. 2015, arXiv:1412.3756, section 5).

    Each value moves to x' = (1 - level) x + level F_med^-1(F_g(x)), where F_g is the law of the value in the row's
    group and F_med^-1 the median over groups of their quantile functions (of two groups: the midpoint). F_g takes the
    middle rank of ties, the quantile functions the plotting positions (i - 1/2) / n, so that a training value of a
    group without ties is its own quantile. Values outside the training range are taken as its ends.
    """

    def __init__(self, values: Floats, group: Ints, level: float = 1.0) -> None:
        """Learn the laws of `values` (n, p), column by column, for each of the groups (n,)."""
        self._level = level
        self._sorted = [np.sort(values[group == g], axis=0) for g in range(int(group.max()) + 1)]

    def __call__(self, values: Floats, group: Ints) -> Floats:
        """Values (n, p) of rows of these groups (n,), moved."""
        moved = values.copy()
        for g, law in enumerate(self._sorted):
            rows = group == g
            for column in range(values.shape[1]):
                x = values[rows, column]
                rank = np.searchsorted(law[:, column], x, "left") + np.searchsorted(law[:, column], x, "right")
                moved[rows, column] = self._median(rank / (2 * len(law)), column)
        return (1 - self._level) * values + self._level * moved

    def _median(self, level: Floats, column: int) -> Floats:
        quantiles = [np.quantile(law[:, column], level, method="hazen") for law in self._sorted]
        return np.asarray(np.median(quantiles, axis=0), dtype=float)


def decorrelation(x: Floats, group: Ints, removed: float) -> Any:
    """A function of (x (n, p), group (n,)) that takes out of x what is linear in the group, by fairlearn."""
    from fairlearn.preprocessing import CorrelationRemover

    groups = int(group.max()) + 1

    def joined(x: Floats, group: Ints) -> Floats:
        return np.hstack([np.eye(groups)[group][:, 1:], x])  # one indicator is given by the others

    remover = CorrelationRemover(sensitive_feature_ids=list(range(groups - 1)), alpha=removed).fit(joined(x, group))
    return lambda x, group: remover.transform(joined(x, group))
