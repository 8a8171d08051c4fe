"""How close the records come to real ones, beside how close other real records come.

All is measured against the test records: vectors (MAUVE, Fréchet distance), perplexity, lengths, n-grams.
"""

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_matrix
from scipy.stats import ks_2samp, wasserstein_distance

from upright.run import plots
from upright.run.evidence import Metric, mean, perplexity, scalar
from upright.synthesis.evaluation.frechet import extrapolated, frechet, moments
from upright.synthesis.evaluation.mauve import over_halves, principal
from upright.synthesis.evaluation.part import TEST, Arms, Part
from upright.synthesis.evaluation.sizes import equal_rows, estimate, halves
from upright.synthesis.evaluation.tokens import Tokens, words_of

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

TITLE = "How close the records are to real ones"
LEAST = 20
"""Records of each side below which no distance is given."""
SEEDS = 5
HALVES = 40
PER_DIMENSION = 10
"""Records for each dimension of the Fréchet distance; with fewer its bias would drown it."""
BINS = 24

Measure = Callable[[Floats, Floats], float]


def closeness_part(
    arms: Arms, vectors: Mapping[str, NDArray[np.floating]], nlls: Mapping[str, NDArray[np.floating]]
) -> Part:
    """Distances of every side to the real test records.

    Args:
        vectors: of each text (n, d), by side and for "test"; without any, MAUVE and the Fréchet distance are left out.
        nlls: negative log-likelihood in nats and predicted tokens of each text (n, 2), likewise.

    Raises:
        MissingExtra: without scikit-learn, if there are vectors.
        ValueError: if there are not as many rows as records.
    """
    corpora = {**arms.compared, TEST: arms.test}
    sizes = {name: len(corpus) for name, corpus in corpora.items()}
    rows = equal_rows(sizes, arms.seed)
    n = len(rows[TEST])
    if n < LEAST:
        few = f"No distance was measured: {n} records of each side; at least {LEAST} are needed."
        return Part(TITLE, "Nothing was measured.", limits=[few])
    chosen_vectors, chosen_nlls = (_chosen(given, sizes, rows) for given in (vectors, nlls))
    tokens = words_of({name: [corpora[name].texts[i] for i in at.tolist()] for name, at in rows.items()})
    metrics = [
        *_vectors(chosen_vectors, arms.seed),
        *_perplexities(chosen_nlls, arms.seed),
        *_lengths(tokens, arms.seed),
        *_ngrams(tokens, arms.seed),
    ]
    drawings = [_length_plot(tokens), *_perplexity_plot(chosen_nlls)]
    missing = [(vectors, "no vectors: no MAUVE and no Fréchet distance"), (nlls, "no likelihoods: no perplexity")]
    return Part(
        TITLE, _text(n), metrics, drawings, limits=[f"There were {what}." for given, what in missing if not given]
    )


def _chosen(
    given: Mapping[str, NDArray[np.floating]], sizes: Mapping[str, int], rows: Mapping[str, Ints]
) -> dict[str, Floats]:
    """The chosen rows of what was given for each record."""
    wrong = {name: len(given[name]) for name in given if len(given[name]) != sizes.get(name, len(given[name]))}
    if given and (wrong or not given.keys() >= sizes.keys()):
        raise ValueError(f"got rows { ({name: len(given[name]) for name in given}) } for records {dict(sizes)}")
    return {name: np.asarray(given[name], dtype=np.float64)[at] for name, at in rows.items()} if given else {}


def _vectors(vectors: Mapping[str, Floats], seed: int) -> list[Metric]:
    """MAUVE and the Fréchet distance of each side."""
    if not vectors:
        return []
    test, others = vectors[TEST], [name for name in vectors if name != TEST]
    n = len(test)
    rng = np.random.default_rng(seed)
    rows = [(rng.permutation(n)[: n // 2], rng.permutation(n)[: n // 2]) for _ in range(SEEDS)]
    metrics = []
    for name in others:
        found = over_halves(vectors[name], test, rows, seed)
        metrics.append(estimate("MAUVE", float(found.mean()), found, n, split=name, better="higher", within=(0, 1)))
    together = np.concatenate(list(vectors.values()))
    reduced = principal(together, most=max(1, n // PER_DIMENSION))
    parts = dict(zip(vectors, np.split(reduced, len(vectors)), strict=True))
    for name in others:
        metrics += _frechet(parts[name], parts[TEST], rows, name)
    kept = float((reduced - reduced.mean(0)).var(0).sum() / together.var(0).sum()) if together.var() else 1.0
    metrics.append(scalar("variance seen by the Fréchet distance", min(kept, 1.0), n=len(together), unit="proportion"))
    return metrics


def _frechet(first: Floats, test: Floats, rows: list[tuple[Ints, Ints]], split: str) -> list[Metric]:
    """The distance of n records of each side, and what it tends to as n grows."""
    n = len(test)
    spread = np.array([frechet(moments(first[a]), moments(test[b])) for a, b in rows])
    whole = frechet(moments(first), moments(test))
    limit = extrapolated(whole, spread)
    return [
        estimate("Fréchet distance", whole, spread, n, split=split, better="lower"),
        # below 0 where noise is larger than what is left; cutting it off there would hide that
        estimate(
            "Fréchet distance, extrapolated", limit, spread, n, split=split, better="lower", within=(-np.inf, np.inf)
        ),
    ]


def _perplexities(nlls: Mapping[str, Floats], seed: int) -> list[Metric]:
    """Perplexity, and how far the law of the texts' log-perplexities is from that of the test records."""
    logs = {name: _log_perplexity(values) for name, values in nlls.items()}
    metrics = []
    for name, values in nlls.items():
        metrics.append(perplexity("perplexity", *values.T, split=name).model_copy(update={"better": "none"}))
        if name != TEST:
            metrics.append(
                _distance("log-perplexity gap", wasserstein_distance, logs[name], logs[TEST], name, "nats", seed)
            )
    return metrics


def _log_perplexity(nlls: Floats) -> Floats:
    """NLL a token of each text; a text without a predicted token has none."""
    some = nlls[:, 1] > 0
    return np.asarray(nlls[some, 0] / nlls[some, 1])


def _lengths(tokens: Mapping[str, Tokens], seed: int) -> list[Metric]:
    """Words of a record, and how far their law is from that of the test records."""
    lengths = {name: side.lengths.astype(np.float64) for name, side in tokens.items()}
    metrics = [mean("words of a record", found, split=name, unit="words", seed=seed) for name, found in lengths.items()]
    for name, found in lengths.items():
        if name != TEST:
            metrics.append(_distance("length gap", wasserstein_distance, found, lengths[TEST], name, "words", seed))
            metrics.append(
                _distance(
                    "length, Kolmogorov-Smirnov distance", _largest_gap, found, lengths[TEST], name, "proportion", seed
                )
            )
    return metrics


def _largest_gap(first: Floats, second: Floats) -> float:
    """The statistic of Kolmogorov and Smirnov."""
    return float(ks_2samp(first, second, method="asymp").statistic)


def _distance(name: str, measure: Measure, first: Floats, second: Floats, split: str, unit: str, seed: int) -> Metric:
    """A distance of two samples of numbers; one of them may have lost a few that say nothing."""
    n = min(len(first), len(second))
    if not n:
        return Metric(name=name, split=split, value=None, n=0, unit=unit, better="lower")
    spread = halves(lambda a, b: measure(first[a], second[b]), n, HALVES, seed)
    within = (0.0, 1.0 if unit == "proportion" else np.inf)
    return estimate(name, measure(first, second), spread, n, split=split, unit=unit, better="lower", within=within)


def _ngrams(tokens: Mapping[str, Tokens], seed: int) -> list[Metric]:
    """Jensen-Shannon divergence of the laws of words and of pairs of words."""
    metrics = []
    for k, what in ((1, "words"), (2, "pairs of words")):
        tables = _tables(tokens, k)
        n = len(tokens[TEST])
        for name, table in tables.items():
            if name != TEST:
                apart = partial(_apart, table, tables[TEST])
                value = apart(np.arange(n), np.arange(n))
                spread = halves(apart, n, HALVES, seed)
                title = f"Jensen-Shannon divergence of {what}"
                metrics.append(
                    estimate(title, value, spread, n, split=name, unit="bits", better="lower", within=(0, 1))
                )
    return metrics


def _tables(tokens: Mapping[str, Tokens], k: int) -> dict[str, csr_matrix]:
    """How often each k-gram occurs in each text, (n, all k-grams), the same columns for every side."""
    grams = {name: side.grams(k) for name, side in tokens.items()}
    names, columns = np.unique(np.concatenate([keys for keys, _ in grams.values()]), return_inverse=True)
    parts = np.split(columns, np.cumsum([keys.size for keys, _ in grams.values()])[:-1])
    return {
        name: csr_matrix((np.ones(part.size), (grams[name][1], part)), shape=(len(tokens[name]), names.size))
        for name, part in zip(grams, parts, strict=True)
    }


def _apart(first: csr_matrix, second: csr_matrix, a: Ints, b: Ints) -> float:
    return jensen_shannon(_counts(first, a), _counts(second, b))


def _counts(table: csr_matrix, rows: Ints) -> Floats:
    chosen = np.zeros(table.shape[0])
    chosen[rows] = 1
    return np.asarray(chosen @ table)


def jensen_shannon(first: ArrayLike, second: ArrayLike) -> float:
    """Jensen-Shannon divergence in bits of two laws given as counts (V,) (Lin 1991): 0 for equal, 1 for disjoint ones.

    A law without a count is as far from another as can be, and equal to another such.

    >>> jensen_shannon([1, 1], [1, 1]), jensen_shannon([1, 0], [0, 1])
    (0.0, 1.0)
    """
    p, q = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    if not p.sum() or not q.sum():
        return float(bool(p.sum()) != bool(q.sum()))
    p, q = p / p.sum(), q / q.sum()
    return float(max(0.0, _entropy((p + q) / 2) - (_entropy(p) + _entropy(q)) / 2))


def _entropy(law: Floats) -> float:
    some = law[law > 0]
    return -float((some * np.log2(some)).sum())


def _text(n: int) -> str:
    return (
        f"{n:,} records of each side are compared with {n:,} real test records. Intervals come from random halves "
        f"of both; MAUVE is the mean over {SEEDS} such halves, each with clusters of its own. Gaps are Wasserstein-1 "
        "distances. Every distance has a floor that depends on the number of records: read it beside that of the "
        "held-out records, never as better than real; a perplexity far below theirs is as wrong as one far above. The "
        f"Fréchet distance is taken in the first {max(1, n // PER_DIMENSION)} principal components of all vectors at "
        "most, and also extrapolated to endless records."
    )


# --- plots -----------------------------------------------------------------------------------------------------


def _length_plot(tokens: Mapping[str, Tokens]) -> tuple[str, str]:
    lengths = {name: side.lengths.astype(np.float64) for name, side in tokens.items()}
    return _laws(lengths, "words of a record", "Lengths of the records of each side.")


def _perplexity_plot(nlls: Mapping[str, Floats]) -> list[tuple[str, str]]:
    logs = {name: found for name, values in nlls.items() if (found := _log_perplexity(values)).size}
    if not logs:
        return []
    return [_laws(logs, "log-perplexity, nats a token", "How likely the public model finds the records of each side.")]


def _laws(samples: Mapping[str, Floats], x: str, caption: str) -> tuple[str, str]:
    """Shares of each sample in bins of one width; the outermost 1 % are in the end bins."""
    low, high = np.percentile(np.concatenate(list(samples.values())), [1, 99])
    edges = np.linspace(low, high if high > low else low + 1, BINS + 1)
    middle = (edges[:-1] + edges[1:]) / 2
    series = {
        name: list(zip(middle.tolist(), _shares(sample, edges).tolist(), strict=True))
        for name, sample in samples.items()
    }
    return plots.lines(series, x=x, y="share of records", alt=caption, unit="proportion"), caption


def _shares(sample: Floats, edges: Floats) -> Floats:
    return np.asarray(np.histogram(np.clip(sample, edges[0], edges[-1]), edges)[0] / sample.size)
