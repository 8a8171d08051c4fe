"""Columns as numbers, as a classifier reads them."""

import numpy as np
import polars as pl
from numpy.typing import NDArray
from polars import selectors as cs


class Encoder:
    """Columns as a matrix of numbers, learned from training rows: numbers standardised, words one-hot.

    A missing number becomes the column's mean. Words seen fewer than 10 times share one column.
    """

    def __init__(self, frame: pl.DataFrame) -> None:
        from sklearn.preprocessing import OneHotEncoder

        self._numbers = frame.select(cs.numeric() | cs.boolean()).columns
        self._words = [name for name in frame.columns if name not in self._numbers]
        numbers = self._matrix(frame)
        seen = np.isfinite(numbers)
        count = np.maximum(seen.sum(0), 1)
        self._mean = np.where(seen, numbers, 0.0).sum(0) / count
        spread = np.sqrt((np.where(seen, numbers - self._mean, 0.0) ** 2).sum(0) / count)
        self._spread = np.where(spread > 0, spread, 1.0)
        self._one_hot = None
        if self._words:
            self._one_hot = OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=10, sparse_output=False)
            self._one_hot.fit(self._text(frame))

    @property
    def numbers(self) -> int:
        """How many of the first columns of the matrix are numbers; the rest are one-hot."""
        return len(self._numbers)

    def __call__(self, frame: pl.DataFrame) -> NDArray[np.float64]:
        """The matrix (n, p) of these rows."""
        numbers = (self._matrix(frame) - self._mean) / self._spread
        parts = [np.where(np.isfinite(numbers), numbers, 0.0)]
        if self._one_hot is not None:
            parts.append(self._one_hot.transform(self._text(frame)))
        return np.hstack(parts)

    def _matrix(self, frame: pl.DataFrame) -> NDArray[np.float64]:
        return frame.select(pl.col(self._numbers).cast(pl.Float64)).to_numpy().reshape(frame.height, -1)

    def _text(self, frame: pl.DataFrame) -> NDArray[np.object_]:
        return frame.select(pl.col(self._words).cast(pl.String).fill_null("")).to_numpy()
