"""The blind check: can members be told from non-members without the model? Then no attack on it proves anything.

A logistic regression on bags of words and simple measures of a text, or on the columns of a table, judged on folds
it was not trained on. scikit-learn does the work; it is loaded when first needed.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from upright.audit.membership.signals import compressed
from upright.errors import MissingExtra

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

MEASURES = ("characters", "words", "bytes after zlib", "upper case", "digits", "punctuation", "lines", "word length")


def text_measures(texts: Sequence[str]) -> Floats:
    """Measures of each text (n, 8) that need no model; see `MEASURES`, lengths as logarithms, counts as shares."""
    series = pl.Series(texts, dtype=pl.String)
    characters = series.str.len_chars().to_numpy().astype(float)
    words = series.str.count_matches(r"\S+").to_numpy().astype(float)
    shares = [
        series.str.count_matches(pattern).to_numpy() / np.maximum(characters, 1)
        for pattern in (r"\p{Lu}", r"\p{Nd}", r"\p{P}", r"\n")
    ]
    length = characters / np.maximum(words, 1)
    return np.stack([np.log1p(characters), np.log1p(words), np.log(compressed(texts)), *shares, length], axis=1)


def blind_texts(texts: Sequence[str], member: Bools, folds: int, seed: int) -> Floats:
    """Scores (n,) of a classifier on words, pairs of words and `text_measures` that never sees the model."""
    text, scipy_sparse, preprocessing = _sklearn("feature_extraction.text"), _sparse(), _sklearn("preprocessing")
    words = text.HashingVectorizer(n_features=2**18, ngram_range=(1, 2), token_pattern=r"(?u)\b\w+\b", norm=None)
    counts = text.TfidfTransformer(sublinear_tf=False).fit_transform(abs(words.transform(texts)))
    measures = preprocessing.StandardScaler().fit_transform(text_measures(texts))
    return _out_of_fold(scipy_sparse.hstack([counts, measures]).tocsr(), member, folds, seed)


def blind_table(frame: pl.DataFrame, member: Bools, folds: int, seed: int) -> Floats:
    """Scores (n,) of a classifier on the columns of a table that never sees the model."""
    return _out_of_fold(table_features(frame), member, folds, seed)


def table_features(frame: pl.DataFrame) -> Floats:
    """Columns as numbers (n, d): numbers standardised, gaps as their mean; anything else one-hot, at most 50 values."""
    preprocessing = _sklearn("preprocessing")
    parts: list[Floats] = [np.zeros((frame.height, 0))]
    for column in frame.iter_columns():
        if column.dtype.is_numeric():
            values = column.cast(pl.Float64).fill_nan(None)
            parts.append(
                preprocessing.StandardScaler().fit_transform(values.fill_null(values.mean() or 0).to_numpy()[:, None])
            )
        else:
            encoder = preprocessing.OneHotEncoder(max_categories=50, sparse_output=False)
            words = column.cast(pl.String).fill_null("").to_numpy().astype(object)
            parts.append(encoder.fit_transform(words[:, None]))
    return np.concatenate(parts, axis=1)


def _out_of_fold(features: Any, member: Bools, folds: int, seed: int) -> Floats:
    """Decision values of a balanced logistic regression, each from the model of the other folds."""
    selection, linear = _sklearn("model_selection"), _sklearn("linear_model")
    if not features.shape[1]:
        return np.zeros(len(member))  # it knows nothing, so it tells nothing apart
    most = int(min(folds, member.sum(), (~member).sum()))
    if most < 2:
        raise ValueError(f"{int(member.sum())} members, {int((~member).sum())} non-members: needs 2 of each")
    model = linear.LogisticRegression(solver="liblinear", class_weight="balanced", max_iter=1000, random_state=seed)
    split = selection.StratifiedKFold(most, shuffle=True, random_state=seed)
    found = selection.cross_val_predict(model, features, member, cv=split, method="decision_function")
    return np.asarray(found, dtype=float)


def _sklearn(name: str) -> Any:
    from importlib import import_module

    try:
        return import_module(f"sklearn.{name}")
    except ImportError as error:
        raise MissingExtra("scikit-learn", "audit") from error


def _sparse() -> Any:
    import scipy.sparse

    return scipy.sparse
