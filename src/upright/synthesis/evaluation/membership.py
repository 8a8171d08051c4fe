"""Who was in the training data, told from the synthetic records alone (Meeus et al. 2025, arXiv:2502.14921).

The attacker holds the synthetic records, a target, and real records of the same law (here `arms.test`), but no model.
Targets are units, such as patients: the scores of a unit's records are averaged, so that units are independent and a
generator that never saw them gives an AUC of 1/2 inside its interval.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from upright.run.evidence import Metric
from upright.run.measures.nearest import mean_jaccard
from upright.run.measures.roc import auc, resolvable, roc, tpr_at_fpr
from upright.run.measures.words import Passages, log_likelihood
from upright.run.plots import lines
from upright.synthesis.corpus import Corpus
from upright.synthesis.evaluation.canaries import Canaries
from upright.synthesis.evaluation.part import CONTROL, HELDOUT, SYNTHETIC, TRAIN, Arms, Part
from upright.synthesis.evaluation.sides import LEAST, by_group, said, units

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Whole = NDArray[np.int64]

TITLE = "Membership from the synthetic records"
REFERENCE, CANARIES = "reference", "canaries"
LIKELIHOOD, LIKENESS = "likelihood", "likeness"
SIGNALS = {LIKELIHOOD: "likelihood under an n-gram model", LIKENESS: "likeness to the nearest records"}
FPRS = (0.01, 0.001)
NEIGHBOURS = 25
SHINGLE = 2
"""Words of the n-grams whose sets are compared."""
CURVE_POINTS = 200


class Target(NamedTuple):
    """Scores (records,) by (signal, whether calibrated); larger speaks for "was trained on"."""

    scores: Mapping[tuple[str, bool], Floats]
    unit: Whole


def membership_part(
    arms: Arms, canaries: Canaries | None = None, *, rows: int = 2000, order: int = 2, neighbours: int = NEIGHBOURS
) -> Part:
    """How well train units are told from held-out ones by each released collection alone.

    Args:
        arms: `test` is the attacker's own text, by which scores are calibrated.
        canaries: targets as well, those in against those out.
        rows: units of each side, at most.
        order: words of the n-gram model.
        neighbours: nearest synthetic records whose likeness is averaged.
    """
    rng = np.random.default_rng([arms.seed, 1])
    size = min(rows, *(_count(corpus) for corpus in (arms.train, arms.heldout)))
    sides = {TRAIN: _drawn(arms.train, size, rng), HELDOUT: _drawn(arms.heldout, size, rng)}
    collections = {SYNTHETIC: arms.synthetic, REFERENCE: arms.test, **sides}
    if arms.control is not None:
        collections[CONTROL] = arms.control
    texts = {name: list(corpus.texts) for name, corpus in collections.items()}
    if canaries is not None:
        texts[CANARIES] = list(canaries.texts)
    found = _signals(texts, [SYNTHETIC] + [CONTROL] * (arms.control is not None), order, neighbours)
    metrics, curves = list[Metric](), dict[str, list[tuple[float, float]]]()
    for split, scores in found.items():
        train, heldout = (
            Target({key: value[name] for key, value in scores.items()}, units(sides[name])) for name in sides
        )
        metrics += _judged(train, heldout, split)
        metrics += _grouped(arms, sides, (train, heldout), split)
        if canaries is not None:
            metrics += _canaries({key: value[CANARIES] for key, value in scores.items()}, canaries, split)
        curves |= {f"{split}, {SIGNALS[name]}": _curve(train, heldout, name) for name in SIGNALS}
    return _part(metrics, curves, size, bool(arms.train.units))


def _count(corpus: Corpus) -> int:
    return len(np.unique(units(corpus)))


def _drawn(corpus: Corpus, size: int, rng: np.random.Generator) -> Corpus:
    """All records of `size` units."""
    unit = units(corpus)
    kept = rng.permutation(np.unique(unit))[:size]
    return corpus.take(np.flatnonzero(np.isin(unit, kept)).tolist())


def _signals(
    texts: Mapping[str, list[str]], splits: list[str], order: int, neighbours: int
) -> dict[str, dict[tuple[str, bool], dict[str, Floats]]]:
    """Scores of all texts by split, (signal, calibrated) and collection."""
    names = list(texts)
    passages = Passages(text for name in names for text in texts[name])
    owner = np.repeat(np.arange(len(names)), [len(texts[name]) for name in names])
    place = {name: owner == i for i, name in enumerate(names)}
    targets = [name for name in names if name in (TRAIN, HELDOUT, CANARIES)]
    sets = passages.sets(SHINGLE)
    asked = np.isin(owner, [names.index(name) for name in targets])
    row = np.cumsum(asked) - 1

    def measured(collection: str) -> dict[str, Floats]:
        fitted = place[collection]
        likely = np.nan_to_num(log_likelihood(passages, fitted, order), nan=0.0)[asked]
        return {LIKELIHOOD: likely, LIKENESS: mean_jaccard(sets[asked], sets[fitted], neighbours)}

    base, found = measured(REFERENCE), {}
    for split in splits:
        raw = measured(split)
        both = {(n, c): raw[n] - base[n] if c else raw[n] for n in SIGNALS for c in (True, False)}
        found[split] = {key: {name: scores[row[place[name]]] for name in targets} for key, scores in both.items()}
    return found


def _by_unit(target: Target, key: tuple[str, bool]) -> Floats:
    return np.asarray(np.bincount(target.unit, weights=target.scores[key]) / np.bincount(target.unit))


def _title(key: tuple[str, bool]) -> str:
    return SIGNALS[key[0]] + (", calibrated" if key[1] else "")


def _judged(train: Target, heldout: Target, split: str) -> list[Metric]:
    """AUC of every signal, and the power of the calibrated ones."""
    metrics = []
    for key in train.scores:
        pair = _by_unit(train, key), _by_unit(heldout, key)
        metrics.append(auc(*pair, name=f"membership AUC, {_title(key)}", split=split))
        if key[1]:
            metrics += [
                tpr_at_fpr(*pair, fpr, name=f"membership TPR at {100 * fpr:g} % FPR, {_title(key)}", split=split)
                for fpr in FPRS
            ]
    return metrics


def _grouped(arms: Arms, sides: Mapping[str, Corpus], targets: Sequence[Target], split: str) -> list[Metric]:
    """AUC of the calibrated likelihood within each group, records as targets."""
    flags = {name: by_group(arms, corpus) for name, corpus in sides.items()}
    metrics = []
    for group in sorted(set(flags[TRAIN]) & set(flags[HELDOUT])):
        pair = [
            _by_unit(_some(target, flags[name][group]), (LIKELIHOOD, True))
            for name, target in zip(sides, targets, strict=True)
        ]
        if min(map(len, pair)) >= LEAST:
            title = f"membership AUC, {_title((LIKELIHOOD, True))}, {group[0]} {group[1]}"
            metrics.append(auc(*pair, name=title, split=split))
    return metrics


def _some(target: Target, flags: Flags) -> Target:
    """The records flagged; their units numbered anew."""
    unit = np.unique(target.unit[flags], return_inverse=True)[1]
    return Target({key: scores[flags] for key, scores in target.scores.items()}, unit.astype(np.int64))


def _canaries(scores: Mapping[tuple[str, bool], Floats], canaries: Canaries, split: str) -> list[Metric]:
    inside = np.array(canaries.included)
    if inside.all() or not inside.any():
        return []
    return [
        auc(values[inside], values[~inside], name=f"membership AUC of canaries, {_title(key)}", split=split)
        for key, values in scores.items()
    ]


def _curve(train: Target, heldout: Target, signal: str) -> list[tuple[float, float]]:
    curve = roc(_by_unit(train, (signal, True)), _by_unit(heldout, (signal, True)))
    some = np.unique(np.linspace(0, len(curve.fpr) - 1, CURVE_POINTS).astype(int))
    return list(zip(curve.fpr[some].tolist(), curve.tpr[some].tolist(), strict=True))


def _part(metrics: list[Metric], curves: dict[str, list[tuple[float, float]]], size: int, grouped: bool) -> Part:
    name = f"membership AUC, {_title((LIKELIHOOD, True))}"
    own = next(m for m in metrics if (m.name, m.split) == (name, SYNTHETIC))
    verdict = "above chance" if own.ci_low is not None and own.ci_low > 0.5 else "at chance"
    limits = [
        f"TPR at {100 * fpr:g} % FPR cannot be resolved with {size} held-out targets; it needs {_needed(fpr):,}."
        for fpr in FPRS
        if not resolvable(fpr, size)
    ]
    if grouped:
        limits.append("A unit's score is the mean over its records; an attacker who holds one record knows less.")
    limits.append("Other attacks may tell more; only the certificate bounds them all.")
    plot = lines(
        curves,
        x="held-out units called members (FPR)",
        y="members found (TPR)",
        unit="proportion",
        alt="Receiver operating characteristic of each attack; the diagonal is chance.",
    )
    return Part(
        TITLE,
        "Can someone who holds only the synthetic records tell whom the generator learnt from? Train units are told "
        "from held-out ones by how likely their text is under an n-gram model of the synthetic records, and by how "
        "much it is like the nearest of them; calibrated scores subtract the same for real text of others. "
        f"An AUC of 0.5 is chance; the calibrated likelihood gives {said(own)}: {verdict}.",
        metrics,
        [(plot, "Members found against false alarms, calibrated scores.")],
        limits=limits,
    )


def _needed(fpr: float) -> int:
    return next(n for n in range(int(2 / fpr), int(4 / fpr)) if resolvable(fpr, n))
