"""How well a linear probe reads the group from what a model gives away.

A probe is fitted on one half of records the model has not seen and judged on the other. Its measure is the balanced
accuracy, the mean over groups of the share it gets right: 1 / G for whoever always says the same, at any group sizes.
"""

import warnings
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from upright.errors import MissingExtra

UNSEEN = -1
SHUFFLES = 5

Ints = NDArray[np.int64]


def probe(features: Tensor, group: Tensor, records: Tensor, rng: np.random.Generator) -> Tensor:
    """Whether the group of each record (N,) was found: 1 or 0 on the half that judges, -1 elsewhere (int8).

    Args:
        features: (N, k) what the probe reads.
        group: (N,).
        records: (n,) indices of the records a probe may see at all.

    Raises:
        MissingExtra: without scikit-learn.
    """
    fit, judge, values, labels = _halves(features, group, records, rng)
    said = _fitted(values[fit], labels[fit]).predict(values[judge])
    outcome = torch.full((len(group),), UNSEEN, dtype=torch.int8)
    outcome[torch.from_numpy(judge)] = torch.from_numpy((said == labels[judge]).astype(np.int8))
    return outcome


def shuffled(features: Tensor, group: Tensor, records: Tensor, rng: np.random.Generator) -> Tensor:
    """Balanced accuracies (R,) of probes that learn from shuffled groups: the control, whose mean must be 1 / G.

    A single one may lie far off: where the group can be read at all, what was learned by chance is right, or wrong,
    of nearly everyone.
    """
    fit, judge, values, labels = _halves(features, group, records, rng)
    found = []
    for _ in range(SHUFFLES):
        said = _fitted(values[fit], rng.permutation(labels[fit])).predict(values[judge])
        found.append(np.mean([(said == labels[judge])[labels[judge] == g].mean() for g in np.unique(labels[judge])]))
    return torch.tensor(found, dtype=torch.float64)


def _halves(
    features: Tensor, group: Tensor, records: Tensor, rng: np.random.Generator
) -> tuple[Ints, Ints, NDArray[np.float64], Ints]:
    """The records that teach, those that judge, and all features, standardised by the first."""
    order = rng.permutation(records.numpy())
    fit, judge = order[: len(order) // 2], order[len(order) // 2 :]
    values = features.reshape(len(group), -1).double().numpy()
    spread = values[fit].std(0)
    return fit, judge, (values - values[fit].mean(0)) / np.where(spread > 0, spread, 1.0), group.numpy()


def _fitted(values: NDArray[np.float64], labels: Ints) -> Any:
    logistic, unfinished = _sklearn()
    model = logistic(class_weight="balanced", max_iter=300)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", unfinished)  # a probe that stops early is a weaker probe, not a wrong one
        return model.fit(values, labels)


def _sklearn() -> tuple[Any, type[Warning]]:
    try:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression
    except ImportError as error:
        raise MissingExtra("scikit-learn", "audit") from error
    return LogisticRegression, ConvergenceWarning
