"""Personal data of training records in synthetic ones, held against that of records nothing was trained on.

A name that the generator made up may be a patient's by chance. How often that happens is seen from held-out records,
which it never saw: the lift is how many times more of the train records' entities it wrote than of theirs.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from upright.run.evidence import Metric, mean, proportion
from upright.run.measures.names import names
from upright.run.measures.recognise import KINDS, Found, recognise
from upright.run.measures.words import WORD, Passages
from upright.run.plots import forest
from upright.synthesis.corpus import Corpus
from upright.synthesis.evaluation import clusters
from upright.synthesis.evaluation.part import CONTROL, HELDOUT, SYNTHETIC, TRAIN, Arms, Part
from upright.synthesis.evaluation.sides import LEAST, by_group, listed, matched, said, units

TITLE = "Personal data"
LIFT = "leakage lift"
WINDOWS = (1, 2, 3, 4)
"""Words on both sides of an entity that make a phrase."""

Key = tuple[str, str]
Flags = NDArray[np.bool_]
Whole = NDArray[np.int64]
Floats = NDArray[np.float64]


class Held(NamedTuple):
    """Entities by the unit that holds them, both (units,)."""

    written: Floats
    entities: Floats


class Scan(NamedTuple):
    """The records of one side and the entities in each."""

    corpus: Corpus
    found: list[list[Found]]

    def keys(self, kept: Flags | None = None) -> set[Key]:
        """Entities of all records, or of those flagged."""
        rows = self.found if kept is None else [self.found[i] for i in np.flatnonzero(kept)]
        return {entity.key for row in rows for entity in row}

    def pairs(self) -> set[tuple[Key, int]]:
        """Entities with the units that hold them."""
        owners = units(self.corpus).tolist()
        return {(entity.key, unit) for row, unit in zip(self.found, owners, strict=True) for entity in row}

    def singles(self) -> set[Key]:
        """Entities that one unit alone holds."""
        return {key for key, count in Counter(key for key, _ in self.pairs()).items() if count == 1}

    def held(self, keys: set[Key], written: set[Key]) -> Held:
        """How many of `keys` each unit holds, and was written; what k units hold counts 1 / k for each."""
        pairs = [(key, unit) for key, unit in self.pairs() if key in keys]
        several = Counter(key for key, _ in pairs)
        weights = np.array([1 / several[key] for key, _ in pairs])
        hit = np.array([key in written for key, _ in pairs], dtype=float)
        unit = np.unique(np.array([unit for _, unit in pairs], dtype=np.int64), return_inverse=True)[1]
        return Held(*(np.bincount(unit, weights=some).astype(float) for some in (weights * hit, weights)))


def entities(text: str, known: frozenset[str] = frozenset()) -> list[Found]:
    """Personal data with a form of their own, and names, none overlapping another.

    Args:
        known: public strings, letters and digits in lower case, such as code values; they are no one's secret.
    """
    found = recognise(text)
    found += [name for name in names(text) if all(name.end <= f.start or name.start >= f.end for f in found)]
    return sorted((f for f in found if f.key[1] not in known), key=lambda f: f.start)


def personal_part(arms: Arms) -> Part:
    """Entities and phrases around them that stand in train and in held-out records, in equal numbers of both."""
    known = _public(arms)
    rows = matched(arms)
    real = {
        name: _scan(corpus.take(some.tolist()), known)
        for name, corpus, some in zip((TRAIN, HELDOUT), (arms.train, arms.heldout), rows, strict=True)
    }
    written = {name: _scan(corpus, known) for name, corpus in arms.compared.items() if name != HELDOUT}
    metrics = [
        metric for split, scan in {**written, HELDOUT: real[HELDOUT]}.items() for metric in _rates(split, scan, real)
    ]
    metrics += [metric for split, scan in written.items() for metric in _lifts(split, scan, real, arms)]
    metrics += _phrases(written, real)
    return _part(arms, metrics, written, real)


def _public(arms: Arms) -> frozenset[str]:
    strings = {*arms.train.columns, *(value for code in arms.train.codes for value in code)}
    strings |= {value for code in arms.synthetic.codes for value in code}
    return frozenset(re.sub(r"[\W_]", "", string).lower() for string in strings)


def _scan(corpus: Corpus, known: frozenset[str]) -> Scan:
    return Scan(corpus, [entities(text, known) for text in corpus.texts])


# --- entities --------------------------------------------------------------------------------------------------


def _rates(split: str, scan: Scan, real: Mapping[str, Scan]) -> Iterator[Metric]:
    """How many entities a record holds, and how many of them are those of other records."""
    yield mean("entities of a record", [len({f.key for f in row}) for row in scan.found], split=split)
    for side in (TRAIN, HELDOUT):
        if side == split:
            continue
        theirs = real[side].keys()
        hits = [len({f.key for f in row} & theirs) for row in scan.found]
        yield mean(f"entities of a record that {side} records hold", hits, split=split, better="lower")
        written = len(scan.keys() & theirs)
        yield proportion(
            f"entities of {side} records that were written", written, len(theirs), split=split, better="lower"
        )


def _lifts(split: str, scan: Scan, real: Mapping[str, Scan], arms: Arms) -> Iterator[Metric]:
    own, train, heldout = scan.keys(), real[TRAIN].keys(), real[HELDOUT].keys()
    alone = train - heldout, heldout - train

    def lifted(name: str, first: set[Key], second: set[Key]) -> Metric:
        return lift(name, real[TRAIN].held(first, own), real[HELDOUT].held(second, own), split)

    for side, keys in zip((TRAIN, HELDOUT), alone, strict=True):
        yield clusters.share(
            f"entities of {side} records alone that were written", *real[side].held(keys, own), split=split
        )
    yield lifted(LIFT, *alone)
    yield lifted(f"{LIFT}, entities of one unit", real[TRAIN].singles() - heldout, real[HELDOUT].singles() - train)
    flags = {side: by_group(arms, real[side].corpus) for side in real}
    for group in sorted(set(flags[TRAIN]) & set(flags[HELDOUT])):
        sides = real[TRAIN].keys(flags[TRAIN][group]) - heldout, real[HELDOUT].keys(flags[HELDOUT][group]) - train
        if min(map(len, sides)) >= LEAST:
            yield lifted(f"{LIFT}, {group[0]} {group[1]}", *sides)


def lift(name: str, train: Held, heldout: Held, split: str) -> Metric:
    """Share of the train entities that were written over that of the held-out ones, 1/2 added to every count.

    1 says that nothing was memorised, however high both are. The value is None where nothing of either was written.
    The interval is one for entities that leak with their unit.
    """
    n = round(float(train.entities.sum() + heldout.entities.sum()))
    known = train.entities.size and heldout.entities.size and train.written.sum() + heldout.written.sum() > 0
    if not known:
        return Metric(name=name, split=split, value=None, n=n, better="lower")
    value, low, high = clusters.quotient(train, heldout)
    return Metric(name=name, split=split, value=value, n=n, ci_low=low, ci_high=high, better="lower")


# --- phrases ---------------------------------------------------------------------------------------------------


def _phrases(written: Mapping[str, Scan], real: Mapping[str, Scan]) -> Iterator[Metric]:
    """Entities with the words around them that stand word for word in train and in held-out records."""
    scans = {**written, **{f"real {name}": scan for name, scan in real.items()}}
    passages = Passages(text for scan in scans.values() for text in scan.corpus.texts)
    owner = np.repeat(np.arange(len(scans)), [len(scan.corpus) for scan in scans.values()])
    first = np.cumsum(passages.sizes) - passages.sizes
    for number, (split, scan) in enumerate(written.items()):
        spans = _spans(scan, first[owner == number])
        for width in WINDOWS:
            place, size = _widened(spans, width, passages)
            for side in real:
                hits = passages.contained(place, size, owner == list(scans).index(f"real {side}"))
                name = f"entities ± {width} words that {side} records hold"
                yield proportion(name, int(hits.sum()), hits.size, split=split, better="lower")


def _spans(scan: Scan, first: Whole) -> Whole:
    """The words of each entity (m, 2): number of its first in the passages, and how many."""
    spans = []
    for row, text, start in zip(scan.found, scan.corpus.texts, first.tolist(), strict=True):
        begins = np.array([match.start() for match in WORD.finditer(text)] if row else [], dtype=np.int64)
        ends = np.array([match.end() for match in WORD.finditer(text)] if row else [], dtype=np.int64)
        for entity in row:
            low, high = np.searchsorted(ends, entity.start, "right"), np.searchsorted(begins, entity.end, "left")
            if high > low:
                spans.append((start + int(low), int(high - low)))
    return np.array(spans, dtype=np.int64).reshape(-1, 2)


def _widened(spans: Whole, width: int, passages: Passages) -> tuple[Whole, Whole]:
    """Place and size of the phrases that lie wholly in their text."""
    place, size = spans[:, 0] - width, spans[:, 1] + 2 * width
    text = passages.text[spans[:, 0]] if len(spans) else np.empty(0, dtype=np.int64)
    first = (np.cumsum(passages.sizes) - passages.sizes)[text]
    inside = place >= first
    inside[inside] = passages.left[place[inside]] >= size[inside]
    return place[inside], size[inside]


# --- the part --------------------------------------------------------------------------------------------------


def _part(arms: Arms, metrics: Sequence[Metric], written: Mapping[str, Scan], real: Mapping[str, Scan]) -> Part:
    own = next(m for m in metrics if m.name == LIFT and m.split == SYNTHETIC)
    drawn = [m for m in metrics if m.name.endswith("records alone that were written") and m.value is not None]
    plots = []
    if drawn:
        alt = "Share of the entities of train and of held-out records alone that stand in written records."
        plots = [(forest(drawn, alt=alt), "What was written of entities that only one side's records hold.")]
    verdict = "it cannot be told" if own.value is None else "above" if (own.ci_low or 0) > 1 else "not above"
    size = len(real[TRAIN].corpus)
    return Part(
        TITLE,
        f"Names, {listed(KINDS)} in the written records are looked up in {size:,} train and as many held-out records. "
        "A match with records that were never seen is chance, so the lift divides the share of the train records' own "
        "entities that were written by that of the held-out records': 1 is no memorising. "
        + (f"Here it is {said(own)}: {verdict} chance." if own.value is not None else "Nothing of either was written."),
        metrics,
        plots,
        _kinds(written, real),
        [
            "Names are capitalised words in a row that do not open a sentence, or follow a title: places and products "
            "count as well, lone first names at the start of a sentence do not.",
            "Intervals of lifts allow for units whose entities leak together; those of the other shares do not.",
        ],
    )


def _kinds(written: Mapping[str, Scan], real: Mapping[str, Scan]) -> list[dict[str, object]]:
    """Different entities by kind: in train, in the written records, and how many of these are train records' own."""
    sides = {
        TRAIN: real[TRAIN].keys(),
        **{name: written[name].keys() for name in (SYNTHETIC, CONTROL) if name in written},
    }
    own = sides[TRAIN] - real[HELDOUT].keys()
    return [
        {
            "kind": kind,
            **{name: sum(key[0] == kind for key in keys) for name, keys in sides.items()},
            "synthetic, of train alone": sum(key[0] == kind for key in sides[SYNTHETIC] & own),
        }
        for kind in sorted({key[0] for keys in sides.values() for key in keys})
    ]
