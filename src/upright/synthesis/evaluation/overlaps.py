"""Passages of training records in synthetic ones, held against those of records that nothing was trained on."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from upright.run.evidence import Metric, mean, paired_difference, proportion, ratio
from upright.run.measures.words import Passages, words
from upright.run.plots import lines
from upright.synthesis.corpus import Corpus
from upright.synthesis.evaluation.part import CONTROL, HELDOUT, SYNTHETIC, Arms, Part
from upright.synthesis.evaluation.sides import TRAIN, matched, said

Flags = NDArray[np.bool_]
Whole = NDArray[np.int64]

TITLE = "Passages of training records"
LENGTHS = (5, 8, 13)
DUPLICATES = (1, 5)
"""Words of a duplicate, at least: short records such as "none" are often the same by chance."""
COPY = 50
"""Words in a row that make a copy."""
EVERY = "training records"


class Texts(NamedTuple):
    """All records as passages, with flags (texts,) by name: the arms, and train records matched to held-out ones."""

    passages: Passages
    place: Mapping[str, Flags]
    collections: Mapping[str, Corpus]

    @property
    def judged(self) -> list[str]:
        """The arms that are looked at; held-out records are the reference for what real records share."""
        return [name for name in (SYNTHETIC, CONTROL, HELDOUT) if name in self.place]

    def references(self, arm: str) -> list[str]:
        """What an arm is looked up in; records are not looked up in themselves."""
        return [name for name in (TRAIN, HELDOUT) if name != arm]


def overlaps_part(arms: Arms) -> Part:
    """Shares of n-grams found in train and in held-out records, longest passages, copies and duplicates."""
    texts = _texts(arms)
    metrics = [metric for n in LENGTHS for arm in texts.judged for metric in _shares(texts, arm, n)]
    longest = {
        (arm, side): texts.passages.longest(texts.place[arm], texts.place[side])[texts.place[arm]]
        for arm in texts.judged
        for side in texts.references(arm)
    }
    metrics += _longest(longest)
    metrics += [metric for arm in texts.judged for metric in _copies(texts, arm)]
    return _part(arms, metrics, longest)


def _texts(arms: Arms) -> Texts:
    train, heldout = matched(arms)
    collections = {**arms.compared, HELDOUT: arms.heldout.take(heldout.tolist()), EVERY: arms.train}
    passages = Passages(text for corpus in collections.values() for text in corpus.texts)
    owner = np.repeat(np.arange(len(collections)), [len(corpus) for corpus in collections.values()])
    place = {name: owner == i for i, name in enumerate(collections)}
    place[TRAIN] = place[EVERY].copy()
    place[TRAIN][place[EVERY]] = np.isin(np.arange(len(arms.train)), train)
    return Texts(passages, place, collections)


def _shares(texts: Texts, arm: str, n: int) -> Iterator[Metric]:
    sides = texts.references(arm)
    text, found = texts.passages.shared(n, texts.place[arm], [texts.place[side] for side in sides])
    for side, hits in zip(sides, found, strict=True):
        yield proportion(f"{n}-grams found in {side} records", int(hits.sum()), hits.size, split=arm, better="lower")
    if len(sides) == 2:
        row = np.unique(text, return_inverse=True)[1]
        more = np.bincount(row, weights=found[0].astype(float) - found[1])
        name = f"{n}-grams found in train, more than in held-out records"
        yield ratio(name, more, np.bincount(row), split=arm, unit="proportion", better="lower")


def _longest(longest: Mapping[tuple[str, str], Whole]) -> Iterator[Metric]:
    for (arm, side), lengths in longest.items():
        yield mean(f"longest passage shared with {side} records", lengths, split=arm, unit="words", better="lower")
    for arm in dict.fromkeys(arm for arm, _ in longest):
        if (arm, TRAIN) in longest and (arm, HELDOUT) in longest:
            name = "longest passage shared, more with train than with held-out records"
            pair = longest[arm, HELDOUT], longest[arm, TRAIN]
            yield paired_difference(name, *pair, split=arm, unit="words", better="lower")


def _copies(texts: Texts, arm: str) -> Iterator[Metric]:
    """What was copied out of any training record."""
    own = texts.place[arm]
    length = texts.passages.longest(own, texts.place[EVERY])[own]
    name = f"copies of {COPY} words and more of {EVERY}"
    yield proportion(name, int((length >= COPY).sum()), length.size, split=arm, better="lower")
    for least in DUPLICATES:
        name = f"duplicates of {EVERY}" + (f", of {least} words and more" if least > 1 else "")
        yield proportion(name, _duplicates(texts, arm, least), length.size, split=arm, better="lower")


def _duplicates(texts: Texts, arm: str, least: int) -> int:
    """Records of at least so many words that are those of a training record, in order."""
    known = {" ".join(own) for own in map(words, texts.collections[EVERY].texts) if len(own) >= least}
    return sum(" ".join(words(text)) in known for text in texts.collections[arm].texts)


def _part(arms: Arms, metrics: list[Metric], longest: Mapping[tuple[str, str], Whole]) -> Part:
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
        f"row of one of {len(arms.train):,} training records.",
        metrics,
        [(plot, "Longest passage of each record that also stands in a real one.")],
        limits=[
            "Intervals of n-gram shares take n-grams as independent; those of differences resample "
            "the written records, not the real ones: an excess just above 0 is no proof.",
            "Copies with changed words are not found here; nearest neighbours show some of them.",
        ],
    )


def _at_least(lengths: Whole) -> list[tuple[float, float]]:
    """(L, share of records of at least L words) up to the longest."""
    counts = np.bincount(lengths, minlength=2)
    tail = counts[::-1].cumsum()[::-1] / max(1, lengths.size)
    return [(float(i), float(share)) for i, share in enumerate(tail)]
