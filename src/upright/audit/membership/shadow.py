"""Reference (shadow) models: many models of one kind, each trained on a random half of a pool."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy

from upright.run.progress import track

Bools = NDArray[np.bool_]

NUMBERS_AT_ONCE = {"cpu": 2**19}
"""Features of networks trained together: what the caches of a processor hold. A GPU takes `MOST_NUMBERS`, 256 MiB."""
MOST_NUMBERS = 2**26


class References(NamedTuple):
    """What M models say of a pool of n records with K classes."""

    masks: Bools
    """(M, n): whether a model was trained on a record; every record is in half of the models."""
    logits: NDArray[np.float64]
    """(M, n, K): logits or log-probabilities."""


def half_masks(models: int, records: int, rng: np.random.Generator) -> Bools:
    """Random masks (M, n) in which each record is in exactly floor(M / 2) models (arXiv:2112.03570, section VI).

    A model's share is a half only on average. Raises ValueError for fewer than two models.
    """
    if models < 2 or records < 1:
        raise ValueError(f"models={models}, records={records}: needs at least 2 models and 1 record")
    return rng.random((models, records)).argsort(axis=0) < models // 2


def train_references(
    factory: Callable[[int], Any], x: ArrayLike, y: ArrayLike, models: int, rng: np.random.Generator
) -> References:
    """Train M classifiers of scikit-learn's kind on random halves of the pool and ask each about all of it.

    `factory(seed)` gives an untrained classifier (`fit`, `classes_`, and `decision_function` or
    `predict_log_proba`); x is (n, d), y (n,) class numbers 0..K-1.
    """
    features, labels = np.asarray(x), np.asarray(y)
    masks = half_masks(models, len(labels), rng)
    classes = int(labels.max()) + 1
    logits = np.empty((models, len(labels), classes))
    for number, mask in enumerate(track(masks, "reference models", total=models)):
        model = factory(int(rng.integers(2**31))).fit(features[mask], labels[mask])
        logits[number] = class_logits(model, features, classes)
    return References(masks, logits)


def class_logits(model: Any, x: ArrayLike, classes: int) -> NDArray[np.float64]:
    """Logits (n, K) of a fitted classifier; a class that it never saw gets ln 1e-30.

    The decision function comes first: log-probabilities that were once probabilities have lost what lies beyond
    1 - 1e-16, where the records that matter are.
    """
    if hasattr(model, "decision_function"):
        found = np.asarray(model.decision_function(x), dtype=float)
        found = np.stack([np.zeros_like(found), found], axis=1) if found.ndim == 1 else found
    else:
        with np.errstate(divide="ignore"):
            found = np.maximum(np.asarray(model.predict_log_proba(x), dtype=float), np.log(1e-30))
    logits = np.full((len(found), classes), np.log(1e-30))
    logits[:, np.asarray(model.classes_, dtype=int)] = found
    return logits


# --- networks, all at once -------------------------------------------------------------------------------------


def train_networks(
    x: Tensor, y: Tensor, masks: Tensor, generator: torch.Generator, hidden: int = 64, steps: int = 300
) -> Tensor:
    """Logits (M, n, K) of M networks with one hidden layer, model m trained on the records of masks (M, n).

    Several are trained together, as one batched product a layer, each on its own records; how many changes the speed
    alone. Full batches, Adam, learning rate 0.01, no regularisation, so that with enough steps they learn their
    records by heart. x (n, d) float, y (n,) classes. Raises ValueError for a model without records.
    """
    if not masks.any(dim=1).all():
        raise ValueError(f"masks: {int((~masks.any(dim=1)).sum())} of {len(masks)} models have no record")
    together = max(1, NUMBERS_AT_ONCE.get(x.device.type, MOST_NUMBERS) // x.numel())
    start = _start(len(masks), (x.shape[1], hidden, int(y.max()) + 1), generator)
    parts = zip(masks.split(together), *(weight.split(together) for weight in start), strict=True)
    return torch.cat([_train(x, y, part, weights, steps) for part, *weights in parts])


def _train(x: Tensor, y: Tensor, masks: Tensor, start: list[Tensor], steps: int) -> Tensor:
    weights = [weight.to(x.device, copy=True).requires_grad_(True) for weight in start]
    own = masks.long().argsort(dim=1, descending=True, stable=True)[:, : int(masks.sum(dim=1).max())]
    share = masks.gather(1, own).float() / masks.sum(dim=1, keepdim=True)  # 0 where a model has fewer records
    inputs, targets = x[own], y[own]
    optimiser = torch.optim.Adam(weights, lr=0.01)
    for _ in range(steps):
        losses = cross_entropy(_network(inputs, weights).transpose(1, 2), targets, reduction="none")
        optimiser.zero_grad(set_to_none=True)
        (share * losses).sum().backward()
        optimiser.step()
    with torch.no_grad():
        return _network(x.expand(len(masks), -1, -1), weights)


def _start(models: int, sizes: tuple[int, int, int], generator: torch.Generator) -> list[Tensor]:
    """Weights and biases of both layers, one after the other: normal with variance 2 / fan-in, and 0."""
    weights: list[Tensor] = []
    for width, height in pairwise(sizes):
        weights.append(torch.randn(models, width, height, generator=generator) * (2 / width) ** 0.5)
        weights.append(torch.zeros(models, 1, height))
    return weights


def _network(x: Tensor, weights: list[Tensor]) -> Tensor:
    """Logits (M, n, K) for inputs (M, n, d)."""
    first, bias, second, shift = weights
    return torch.baddbmm(shift, torch.relu(torch.baddbmm(bias, x, first)), second)
