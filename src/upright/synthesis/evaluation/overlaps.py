"""Passages of training records in synthetic ones, held against those of records that nothing was trained on."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from upright.run.evidence import Metric, mean, paired_difference, proportion
from upright.run.measures.words import Passages
from upright.run.plots import lines
from upright.synthesis.evaluation import clusters
from upright.synthesis.evaluation.copies import COPY, Copies, Search
from upright.synthesis.evaluation.part import CONTROL, HELDOUT, SYNTHETIC, TRAIN, Arms, Part
from upright.synthesis.evaluation.sides import matched, said, units

Flags = NDArray[np.bool_]
Whole = NDArray[np.int64]

TITLE = "Passages of training records"
LENGTHS = (5, 8, 13)
DUPLICATES = (1, 5)
"""Words of a duplicate, at least: short records such as "none" are often the same by chance."""


class Texts(NamedTuple):
    """All records as passages, with flags (texts,) by name: the arms, and as many train as held-out records."""

    passages: Passages
    place: Mapping[str, Flags]
    unit: Whole
    """Whom each text is about (texts,), numbered within each collection."""

    @property
    def judged(self) -> list[str]:
        """The arms that are looked at; held-out records are the reference for what real records share."""
        return [name for name in (SYNTHETIC, CONTROL, HELDOUT) if name in self.place]

    def references(self, arm: str) -> list[str]:
        """What an arm is looked up in; records are not looked up in themselves."""
        return [name for name in (TRAIN, HELDOUT) if name != arm]


def overlaps_part(arms: Arms, search: Search) -> Part:
    """Shares of n-grams found in train and in held-out records, longest passages, copies and duplicates.

    Args:
        search: for `arms.compared` among all training records, of which `arms.train` may be some.
    """
    texts = _texts(arms)
    metrics = [metric for n in LENGTHS for arm in texts.judged for metric in _shares(texts, arm, n)]
    longest = {
        (arm, side): texts.passages.longest(texts.place[arm], texts.place[side])[texts.place[arm]]
        for arm in texts.judged
        for side in texts.references(arm)
    }
    metrics += _longest(longest)
    metrics += [metric for arm in texts.judged for metric in _copies(search.found[arm], arm)]
    return _part(arms, metrics, longest, search.texts)


def _texts(arms: Arms) -> Texts:
    train, heldout = matched(arms)
    collections = {
        **arms.compared,
        HELDOUT: arms.heldout.take(heldout.tolist()),
        TRAIN: arms.train.take(train.tolist()),
    }
    passages = Passages(text for corpus in collections.values() for text in corpus.texts)
    owner = np.repeat(np.arange(len(collections)), [len(corpus) for corpus in collections.values()])
    unit = np.concatenate([units(corpus) for corpus in collections.values()])
    return Texts(passages, {name: owner == i for i, name in enumerate(collections)}, unit)


def _shares(texts: Texts, arm: str, n: int) -> Iterator[Metric]:
    """Shares of the distinct n-grams, which are found by records together, and by whichever real units were drawn."""
    sides = texts.references(arm)
    found = texts.passages.shared(n, texts.place[arm], [texts.place[side] for side in sides], texts.unit)
    own = np.unique(texts.unit[found.text], return_inverse=True)[1]
    sizes, total = np.bincount(own), own.size
    hits = [np.bincount(own, weights=owners > 0) for owners in found.owners]
    drawn = [
        clusters.jackknife(_losses(only, texts.unit[texts.place[side]]), max(1, total))
        for side, only in zip(sides, found.only, strict=True)
    ]
    for side, some, spread in zip(sides, hits, drawn, strict=True):
        yield clusters.share(f"{n}-grams found in {side} records", some, sizes, split=arm, more=spread)
    if len(sides) == 2:
        name = f"{n}-grams found in train, more than in held-out records"
        yield clusters.excess(name, hits[0] - hits[1], sizes, split=arm, more=sum(drawn))


def _losses(only: Whole, unit: Whole) -> Whole:
    """n-grams that would not be found without each unit."""
    return np.bincount(only[only >= 0], minlength=unit.max(initial=0) + 1)


def _longest(longest: Mapping[tuple[str, str], Whole]) -> Iterator[Metric]:
    for (arm, side), lengths in longest.items():
        yield mean(f"longest passage shared with {side} records", lengths, split=arm, unit="words", better="lower")
    for arm in dict.fromkeys(arm for arm, _ in longest):
        if (arm, TRAIN) in longest and (arm, HELDOUT) in longest:
            name = "longest passage shared, more with train than with held-out records"
            pair = longest[arm, HELDOUT], longest[arm, TRAIN]
            yield paired_difference(name, *pair, split=arm, unit="words", better="lower")


def _copies(found: Copies, arm: str) -> Iterator[Metric]:
    """What was copied out of any training record."""
    n, name = found.words.size, f"copies of {COPY} words and more of training records"
    yield proportion(name, int(found.passage.sum()), n, split=arm, better="lower")
    for least in DUPLICATES:
        name = "duplicates of training records" + (f", of {least} words and more" if least > 1 else "")
        hits = int((found.whole & (found.words >= least)).sum())
        yield proportion(name, hits, n, split=arm, better="lower")


def _part(arms: Arms, metrics: list[Metric], longest: Mapping[tuple[str, str], Whole], searched: int) -> Part:
    size = min(len(arms.train), len(arms.heldout))
    more = next(m for m in metrics if m.split == SYNTHETIC and m.name.startswith("longest passage shared, more"))
    copies = next(m for m in metrics if m.split == SYNTHETIC and m.name.startswith("copies"))
    series = {f"{arm} in {side}": _at_least(lengths) for (arm, side), lengths in longest.items()}
    plot = lines(
        series,
        x="words in a row",
        y="records that share so many or more",
        unit="proportion",
        alt="Share of records whose longest passage shared with real records has at least so many words.",
    )
    return Part(
        TITLE,
        "Do synthetic records repeat training records word for word? Every passage is looked up, without case and "
        f"punctuation, in {size:,} train and as many held-out records: what is found in both alike is the language of "
        f"the field, what is found in train alone was memorised. The longest passage shared with train is longer than "
        f"that with held-out records by {said(more)}; {said(copies)} of the records hold {COPY} words in a "
        f"row of any of the {searched:,} training records, which were all searched.",
        metrics,
        [(plot, "Longest passage of each record that also stands in a real one.")],
        limits=[
            "Intervals of n-gram shares allow for both: n-grams of a record are found together, and other real units "
            "might have been drawn. Those of longest passages resample the written records alone.",
            "Copies with changed words are not found here; nearest neighbours show some of them.",
        ],
    )


def _at_least(lengths: Whole) -> list[tuple[float, float]]:
    """(L, share of records of at least L words) up to the longest."""
    counts = np.bincount(lengths, minlength=2)
    tail = counts[::-1].cumsum()[::-1] / max(1, lengths.size)
    return [(float(i), float(share)) for i, share in enumerate(tail)]
