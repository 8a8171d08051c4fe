"""Cutting records into folds."""

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


def fold_numbers(strata: Ints, folds: int, rng: np.random.Generator) -> Ints:
    """A fold (n,) for each row: in every stratum all folds get the same number of rows, give or take one."""
    shuffled = rng.permutation(len(strata))
    order = shuffled[np.argsort(strata[shuffled], kind="stable")]
    sizes = np.bincount(strata)
    within = np.arange(len(strata)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    numbers = np.empty(len(strata), dtype=np.int64)
    numbers[order] = (within + rng.permutation(folds)[0]) % folds
    return numbers
