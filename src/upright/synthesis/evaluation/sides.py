"""Train and held-out records on equal terms, and what the parts on privacy share."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from upright.run.evidence import Metric, display, interval
from upright.synthesis.corpus import Corpus
from upright.synthesis.evaluation.part import Arms

Whole = NDArray[np.int64]

LEAST = 30
"""Records of a group on each side, below which it gets no number of its own."""


def matched(arms: Arms) -> tuple[Whole, Whole]:
    """Rows of as many train as held-out records, drawn by the seed: the more records, the more is found by chance."""
    rng = np.random.default_rng([arms.seed, 0])
    size = min(len(arms.train), len(arms.heldout))
    train, heldout = (np.sort(rng.permutation(len(corpus))[:size]) for corpus in (arms.train, arms.heldout))
    return train, heldout


def units(corpus: Corpus) -> Whole:
    """The unit of each record as a number from 0 (n,)."""
    if not corpus.units:
        return np.arange(len(corpus))
    return np.unique(np.asarray(corpus.units, dtype=object).astype(str), return_inverse=True)[1].astype(np.int64)


def by_group(arms: Arms, corpus: Corpus) -> dict[tuple[str, str], NDArray[np.bool_]]:
    """Flags of the records of each (column, value) of `arms.groups`."""
    columns = {name: np.array(corpus.column(name), dtype=object) for name in arms.groups}
    return {(name, value): column == value for name, column in columns.items() for value in sorted(set(column))}


def said(metric: Metric) -> str:
    """A metric's value with its interval, for running text."""
    ends = interval(metric, " to ")
    return display(metric.value, metric.unit) + (f" ({ends})" if ends else "")


def listed(names: Sequence[str]) -> str:
    """Names for a sentence.

    >>> listed(["a", "b", "c"])
    'a, b and c'
    """
    return " and ".join([part for part in (", ".join(names[:-1]), *names[-1:]) if part])
