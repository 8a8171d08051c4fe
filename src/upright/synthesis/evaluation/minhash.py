"""Near-duplicates among many texts, without comparing all pairs: MinHash and banded hashing (Broder 1997).

Texts are sets of shingles, runs of three words. The smallest value of a random hash over a set is equal for two sets
with the chance of their Jaccard similarity; sixteen bands of four such values find pairs of similarity 0.8 with a
chance of 0.9998, and every pair that is found is then compared exactly.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from upright.synthesis.evaluation.tokens import GOLDEN, Tokens, mixed

Ints = NDArray[np.int64]
Keys = NDArray[np.uint64]
Bools = NDArray[np.bool_]

SHINGLE = 3
BANDS, ROWS = 16, 4
SIMILAR = 0.8
NEIGHBOURS = 4
"""Texts that each is compared with among those of the same band, so that a crowd does not cost its square."""
AT_ONCE = 2**20


def near_duplicates(tokens: Tokens, seed: int = 0, similar: float = SIMILAR) -> Bools:
    """Whether each text (n,) has another whose shingles have a Jaccard similarity of at least `similar`.

    A text without a word is nobody's duplicate.
    """
    sets = shingles(tokens)
    found = np.zeros(len(tokens), dtype=bool)
    candidates = _candidates(signatures(sets, seed), np.diff(sets.indptr) > 0)
    for start in range(0, len(candidates), AT_ONCE):
        first, second = candidates[start : start + AT_ONCE].T
        alike = jaccard(sets, first, second) >= similar
        found[first[alike]] = found[second[alike]] = True
    return found


def shingles(tokens: Tokens) -> csr_matrix:
    """The set of shingles of each text (n, distinct shingles), as ones; a text of one or two words is one shingle."""
    parts = [tokens.grams(SHINGLE)]
    for n in range(1, SHINGLE):
        keys, rows = tokens.grams(n)
        short = tokens.lengths[rows] == n
        parts.append((keys[short], rows[short]))
    keys, rows = (np.concatenate(column) for column in zip(*parts, strict=True))
    names, columns = np.unique(keys, return_inverse=True)
    sets = csr_matrix((np.ones(rows.size, dtype=np.float32), (rows, columns)), shape=(len(tokens), names.size))
    sets.data[:] = 1
    return sets


def signatures(sets: csr_matrix, seed: int) -> Keys:
    """The smallest of BANDS * ROWS hashes over each set, (n, BANDS * ROWS); an empty set has the largest value."""
    salts = np.random.default_rng(seed).integers(0, 2**63, BANDS * ROWS).astype(np.uint64)
    columns = mixed(np.arange(sets.shape[1], dtype=np.uint64) * GOLDEN)
    result = np.full((sets.shape[0], salts.size), np.iinfo(np.uint64).max)
    some = np.flatnonzero(np.diff(sets.indptr))
    for k, salt in enumerate(salts):
        hashed = mixed(columns ^ salt)[sets.indices]
        if some.size:
            result[some, k] = np.minimum.reduceat(hashed, sets.indptr[some])
    return result


def _candidates(signature: Keys, some: Bools) -> Ints:
    """Pairs of texts (m, 2) that agree in a whole band, each with the next few in the order of that band."""
    rows = np.flatnonzero(some)
    pairs = [np.zeros((0, 2), dtype=np.int64)]
    for band in range(BANDS):
        part = signature[rows, band * ROWS : (band + 1) * ROWS]
        key = np.zeros(rows.size, dtype=np.uint64)
        for column in part.T:
            key = mixed(key * GOLDEN + column)
        order = np.argsort(key, kind="stable")
        for step in range(1, NEIGHBOURS + 1):
            same = np.flatnonzero(key[order[step:]] == key[order[:-step]])
            pairs.append(np.stack([rows[order[same]], rows[order[same + step]]], axis=1))
    return np.unique(np.concatenate(pairs), axis=0)


def jaccard(sets: csr_matrix, first: Ints, second: Ints) -> NDArray[np.float64]:
    """Size of the intersection over that of the union, of pairs of sets that are not both empty, (m,)."""
    sizes = np.diff(sets.indptr)
    shared = np.asarray(sets[first].multiply(sets[second]).sum(1)).ravel()
    return np.asarray(shared / (sizes[first] + sizes[second] - shared), dtype=np.float64)
