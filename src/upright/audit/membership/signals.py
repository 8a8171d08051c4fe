"""Membership signals of texts from per-token log-probabilities: pure functions on padded arrays.

`log_p` (n, T) holds ln p(x_t | x_<t) in nats, NaN behind a text's end. Every signal gives (n,) scores, larger for a
member, NaN where it says nothing. The loss of a text is l = -mean ln p.
"""

import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def loss(log_p: Floats) -> Floats:
    """-l: the mean log-probability (Yeom et al. 2018)."""
    return totals(log_p) / _some(log_p)


def totals(log_p: Floats) -> Floats:
    """Sum of ln p over a text, nats."""
    return np.asarray(np.nansum(log_p, axis=1))


def reference(total: ArrayLike, others: ArrayLike, count: ArrayLike) -> Floats:
    """l_ref - l: how much likelier the audited model finds the text, per token of its own (Carlini et al. 2021).

    `total` (n,) and `others` (M, n) are sums of ln p, so that models with other tokenizers can be compared.
    """
    return np.asarray((np.asarray(total) - np.asarray(others).mean(axis=0)) / np.asarray(count), dtype=float)


def lower_case(log_p: Floats, log_p_lower: Floats, changed: NDArray[np.bool_]) -> Floats:
    """l(lower(x)) - l(x); NaN for a text that is in lower case already (`changed` (n,) is False)."""
    return np.where(changed, loss(log_p) - loss(log_p_lower), np.nan)


def zlib_ratio(log_p: Floats, texts: Sequence[str]) -> Floats:
    """-(total NLL) / (bytes after zlib) (Carlini et al. 2021); below some 50 bytes its fixed part of 8 rules."""
    return totals(log_p) / compressed(texts)


def compressed(texts: Sequence[str]) -> Floats:
    """Bytes of each text (n,) after zlib."""
    return np.array([len(zlib.compress(text.encode())) for text in texts], dtype=float)


def min_k(log_p: Floats, k: float) -> Floats:
    """Mean of the lowest k % of ln p, at least one token (Shi et al. 2024, arXiv:2310.16789); at 100 % it is -l."""
    return _lowest(log_p, k)


def min_k_plus(log_p: Floats, mean: Floats, sd: Floats, k: float) -> Floats:
    """Min-K%++ (Zhang et al. 2024, arXiv:2404.02936): the same for z = (ln p - mean) / sd over the vocabulary.

    Where the model leaves no choice (sd = 0) z is 0.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        z = np.where(sd > 0, (log_p - mean) / sd, np.where(np.isnan(log_p), np.nan, 0.0))
    return _lowest(z, k)


def _lowest(values: Floats, k: float) -> Floats:
    if not 0 < k <= 100:
        raise ValueError(f"k={k}: must be in (0, 100], in percent")
    kept = np.maximum(1, np.floor(_some(values) * k / 100 + 1e-9))
    ranked = np.sort(values, axis=1)  # NaN goes last
    inside = np.arange(values.shape[1]) < kept[:, None]
    return np.asarray(np.where(inside, ranked, 0.0).sum(axis=1) / kept)


def neighbour(log_p: Floats, altered: Floats) -> Floats:
    """Mean of l over altered copies minus l (Mattern et al. 2023); `altered` (n, J) are the copies' mean ln p."""
    return np.asarray(loss(log_p) - np.asarray(altered).mean(axis=1))


def recall(log_p: Floats, after: Floats) -> Floats:
    """ReCaLL (Xie et al. 2024, arXiv:2406.15968): l(x after a prefix of non-members) / l(x).

    The prefix helps a text that the model does not know and hurts one that it does, so members score higher. NaN
    where l(x) = 0.
    """
    plain = loss(log_p)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(plain < 0, loss(after) / plain, np.nan)


def dc_pdd(log_p: Floats, rows: Sequence[Sequence[int]], log_frequency: Floats, most: float = 0.01) -> Floats:
    """DC-PDD (Zhang et al. 2024, arXiv:2409.14781, eq. 5-7): mean of min(-p(x_t) ln q(x_t), most) over a text's tokens.

    q is a token's share of a corpus (V,); every token counts once, where it first stands. Likely tokens that are rare
    in the corpus speak for a member; what is common says nothing.
    """
    found = []
    for row, chance in zip(rows, log_p, strict=True):
        ids = np.asarray(row)[-int((~np.isnan(chance)).sum()) :]
        tokens, first = np.unique(ids, return_index=True)
        found.append(np.minimum(-np.exp(chance[first]) * log_frequency[tokens], most).mean())
    return np.array(found)


def window(log_p: Floats, size: int) -> Floats:
    """The highest mean ln p of `size` tokens in a row; of the whole text where it is shorter."""
    count = _some(log_p)
    sums = np.concatenate([np.zeros((len(log_p), 1)), np.nancumsum(log_p, axis=1)], axis=1)
    if log_p.shape[1] < size:
        return loss(log_p)
    means = (sums[:, size:] - sums[:, :-size]) / size
    whole = np.arange(means.shape[1]) + size <= count[:, None]  # windows that end inside the text
    best = np.where(whole, means, -np.inf).max(axis=1)
    return np.where(count >= size, best, loss(log_p))


def _some(values: Floats) -> Floats:
    """Tokens of each text. Raises ValueError for a text without any: it must be dropped before."""
    count = (~np.isnan(values)).sum(axis=1)
    if not count.all():
        raise ValueError(f"{int((count == 0).sum())} of {len(count)} texts have no predicted token")
    return np.asarray(count, dtype=float)


# --- altered copies --------------------------------------------------------------------------------------------


def altered_rows(
    rows: Sequence[Sequence[int]], drawn: NDArray[np.int64], share: float, rng: np.random.Generator, first: int = 1
) -> list[list[int]]:
    """J copies of each row (copies of one row side by side) with a random share of its tokens replaced.

    `drawn` (n, T, J) holds what the model would put in each predicted place, which begin at token `first`. Published
    neighbours come from a masked model, which sees both sides; a causal one sees the left. At least one token
    changes.
    """
    copies = []
    for row, other in zip(rows, drawn, strict=True):
        length = len(row) - first
        replaced = max(1, round(share * length))
        for j in range(drawn.shape[2]):
            places = rng.permutation(length)[:replaced]
            ids = np.asarray(row)
            ids[first + places] = other[places, j]
            copies.append(ids.tolist())
    return copies
