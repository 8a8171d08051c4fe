"""Whether the records differ from each other: distinct n-grams, entropy, self-BLEU, duplicates."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from upright.run.evidence import Better, Metric, mean, proportion
from upright.synthesis.evaluation.minhash import SIMILAR, near_duplicates
from upright.synthesis.evaluation.part import SYNTHETIC, Arms, Part
from upright.synthesis.evaluation.sizes import equal, estimate, halves
from upright.synthesis.evaluation.tokens import Tokens, words_of

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

TITLE = "Whether records differ from each other"
HALVES = 20
SAMPLE = 500
"""Records of the self-BLEU."""
SIZES, ORDERS = (1, 2, 3), 4


def diversity_part(arms: Arms) -> Part:
    """Distinct n-grams, entropies, self-BLEU, exact and near-duplicates of each side, from as many records of each."""
    sides = equal(arms.compared, arms.seed)
    n = len(sides[SYNTHETIC])
    if n < 2:
        return Part(TITLE, "Nothing was measured.", limits=[f"Diversity needs two records of each side; got {n}."])
    tokens = words_of({name: corpus.texts for name, corpus in sides.items()})
    sizes = {k: min(side.grams(k)[0].size for side in tokens.values()) for k in SIZES}
    metrics = []
    for name, side in tokens.items():
        metrics += _ngrams(side, sizes, name, arms.seed)
        metrics += _repeated(sides[name].texts, side, name, arms.seed)
    text = (
        f"From {n:,} records of each side; the first {sizes[1]:,} words of each in random order (as many pairs and "
        "triples), as longer texts repeat more. A side that says the same again and again has few distinct n-grams, "
        "low entropy, high self-BLEU and many duplicates; the held-out records show what is usual. Near-duplicates "
        f"share {SIMILAR:.0%} of their runs of three words (Jaccard similarity)."
    )
    return Part(TITLE, text, metrics)


def _ngrams(tokens: Tokens, sizes: Mapping[int, int], split: str, seed: int) -> list[Metric]:
    """Distinct n-grams and entropy for n = 1, 2, 3, among as many of each side."""
    n = len(tokens)
    order = np.random.default_rng(seed).permutation(n)
    metrics = []
    kinds: list[tuple[str, Callable[..., float], str, Better]] = [
        ("distinct", distinct, "proportion", "none"),
        ("entropy of", entropy, "bits", "none"),
    ]
    for k, size in sizes.items():
        keys, rows = tokens.take(order).grams(k)
        codes, rows = np.unique(keys, return_inverse=True)[1], order[rows]
        for kind, measure, unit, better in kinds:
            spread = halves(partial(_of_rows, measure, codes, rows, n, size // 2), n, HALVES, seed)
            value = measure(codes[:size])
            within = (0.0, 1.0 if unit == "proportion" else np.inf)
            metrics.append(
                estimate(f"{kind} {k}-grams", value, spread, n, split=split, unit=unit, better=better, within=within)
            )
    return metrics


def _of_rows(
    measure: Callable[[Ints], float], codes: Ints, rows: Ints, n: int, size: int, half: Ints, _: Ints
) -> float:
    """`measure` of the n-grams of half of the texts, at most `size` of them."""
    chosen = np.zeros(n, dtype=bool)
    chosen[half] = True
    return measure(codes[chosen[rows]][:size])


def distinct(codes: Ints) -> float:
    """Distinct n-grams over n-grams (Li et al. 2016, distinct-n); 0 without any."""
    return float(np.unique(codes).size / max(codes.size, 1))


def entropy(codes: Ints) -> float:
    """Entropy of the law of n-grams, in bits (Zhang et al. 2018, Ent-n); 0 without any."""
    counts = np.unique(codes, return_counts=True)[1]
    share = counts / max(codes.size, 1)
    return float(abs((share * np.log2(share)).sum()))


def _repeated(texts: Sequence[str], tokens: Tokens, split: str, seed: int) -> list[Metric]:
    """Exact duplicates, near-duplicates and self-BLEU."""
    n = len(texts)
    counts = np.unique(np.asarray(texts, dtype=np.str_), return_inverse=True, return_counts=True)
    copied = int((counts[2][counts[1]] > 1).sum())
    near = int(near_duplicates(tokens, seed).sum())
    sample = np.random.default_rng(seed).permutation(n)[:SAMPLE]
    return [
        proportion("records that occur more than once", copied, n, split=split, better="lower"),
        proportion("records with a near-duplicate", near, n, split=split, better="lower"),
        mean("self-BLEU", self_bleu(tokens.take(sample)), split=split, better="none", seed=seed),
    ]


def self_bleu(tokens: Tokens) -> Floats:
    """BLEU-4 of each text against all others as references (Zhu et al. 2018), (n,).

    n-gram precisions with n >= 2 have one added above and below the line (Lin & Och 2004), so that short texts have a
    value; the brevity penalty takes the reference closest in length, the shorter of two. A text without a word has 0.
    """
    lengths = tokens.lengths
    logs = np.zeros(len(tokens))
    for n in range(1, ORDERS + 1):
        matched, total = _clipped(tokens, n)
        more = float(n > 1)
        with np.errstate(divide="ignore"):
            logs += np.log((matched + more) / np.maximum(total + more, 1)) / ORDERS
    penalty = np.minimum(0.0, 1 - _closest(lengths) / np.maximum(lengths, 1))
    return np.where(lengths > 0, np.exp(logs + penalty), 0.0)


def _clipped(tokens: Tokens, n: int) -> tuple[Floats, Floats]:
    """n-grams of each text that any other text has as often, and all n-grams, each (texts,)."""
    keys, rows = tokens.grams(n)
    names, columns = np.unique(keys, return_inverse=True)
    table = csr_matrix((np.ones(rows.size), (rows, columns)), shape=(len(tokens), names.size)).tocsc()
    most, owner, second = _two_largest(table)
    table = table.tocoo()
    others = np.where(owner[table.col] == table.row, second[table.col], most[table.col])
    matched = np.bincount(table.row, np.minimum(table.data, others), minlength=len(tokens))
    return np.asarray(matched, dtype=np.float64), np.maximum(tokens.lengths - n + 1, 0).astype(np.float64)


def _two_largest(table: csr_matrix) -> tuple[Floats, Ints, Floats]:
    """Largest entry of each column, the row it is in, and the second largest, of a table by columns."""
    column = np.repeat(np.arange(table.shape[1]), np.diff(table.indptr))
    order = np.lexsort((-table.data, column))
    first = table.indptr[:-1]
    second = np.zeros(table.shape[1])
    several = np.diff(table.indptr) > 1
    second[several] = table.data[order][first[several] + 1]
    return table.data[order][first], table.indices[order][first], second


def _closest(lengths: Ints) -> Floats:
    """Length of the other text that is closest to each text's, the shorter of two as close, (n,)."""
    order = np.argsort(lengths, kind="stable")
    ranked = lengths[order].astype(np.float64)
    below = np.concatenate([[-np.inf], ranked[:-1]])
    above = np.concatenate([ranked[1:], [np.inf]])
    result = np.empty(lengths.size)
    result[order] = np.where(ranked - below <= above - ranked, below, above)
    return result
