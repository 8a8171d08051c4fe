"""A plain, strong text classifier: TF-IDF of words and characters, and logistic regression.

n-grams of words (1 and 2) and of characters (2 to 5) are hashed once for all sides; what is learnt from a side alone
are the weights of the n-grams and the classifier. scikit-learn does the work; it is loaded when first needed.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, hstack

from upright.errors import MissingExtra
from upright.synthesis.evaluation.tokens import Tokens, characters, words_of

Strings = NDArray[np.str_]
Features = tuple[csr_matrix, csr_matrix]

COLUMNS = 2**18
WORDS, CHARACTERS = (1, 2), (2, 3, 4, 5)
INVERSE_PENALTY = 10.0


def features(sides: Mapping[str, Sequence[str]]) -> dict[str, Features]:
    """Counts of the word n-grams and of the character n-grams of each side's texts, each (n, COLUMNS).

    Only features that were counted together have the same columns.
    """
    return {
        name: (_counts(found, WORDS), _counts(characters(sides[name]), CHARACTERS))
        for name, found in words_of(sides).items()
    }


def _counts(tokens: Tokens, sizes: Sequence[int]) -> csr_matrix:
    return csr_matrix(sum((tokens.matrix(n, COLUMNS) for n in sizes[1:]), tokens.matrix(sizes[0], COLUMNS)))


def predictions(train: Features, labels: Sequence[str], test: Features, seed: int = 0) -> Strings:
    """What a classifier says of the test records (m,) that learnt `labels` (n,) from the training records.

    It can only say a class it has seen; of one class alone it says that one always.

    Raises:
        MissingExtra: without scikit-learn.
        ValueError: without a training record.
    """
    known = sorted(set(labels))
    if not known:
        raise ValueError("a classifier needs one training record at least")
    if len(known) == 1:
        return np.full(test[0].shape[0], known[0])
    if not any(block.nnz for block in train):  # texts without a word or letter tell nothing
        return np.full(test[0].shape[0], max(known, key=list(labels).count))
    seen, unseen = _weighted(train, test)
    return np.asarray(_model(len(known), seed).fit(seen, np.asarray(labels)).predict(unseen))


def _weighted(train: Features, test: Features) -> tuple[csr_matrix, csr_matrix]:
    """Both sides weighted by what the training records tell of each n-gram; n-grams they lack are left out."""
    seen, unseen = [], []
    for block, other in zip(train, test, strict=True):
        there = np.flatnonzero(np.bincount(block.indices, minlength=block.shape[1]))
        if not there.size:
            continue
        weights = sklearn("feature_extraction.text").TfidfTransformer(sublinear_tf=True)
        seen.append(weights.fit_transform(block[:, there]))
        unseen.append(weights.transform(other[:, there]))
    return hstack(seen).tocsr(), hstack(unseen).tocsr()


def _model(classes: int, seed: int) -> Any:
    """One regression against the rest for each class, in the dual: as many unknowns as records, not as n-grams."""
    logistic = sklearn("linear_model").LogisticRegression(
        C=INVERSE_PENALTY, solver="liblinear", dual=True, tol=1e-3, max_iter=1000, random_state=seed
    )
    return logistic if classes == 2 else sklearn("multiclass").OneVsRestClassifier(logistic)


def sklearn(name: str) -> Any:
    """A module of scikit-learn. Raises MissingExtra without it."""
    from importlib import import_module

    try:
        return import_module(f"sklearn.{name}")
    except ImportError as error:
        raise MissingExtra("scikit-learn", "private") from error
