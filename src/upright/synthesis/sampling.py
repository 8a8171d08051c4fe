"""Writing the synthetic records: in shards that outlive a kill, anew where a filter refuses, each by its own seed."""

from collections import Counter
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from hashlib import blake2b
from typing import Protocol

from upright.engines import Engine, Work, stream
from upright.synthesis.corpus import Code, Corpus

SHARD = 128
"""Records of a shard: what a kill loses at most."""

Keep = Callable[[str, Callable[[], list[str]]], list[str]]
"""(name, compute) -> value, computed once for each name, even over kills."""
Item = tuple[Code, int]
"""What a record is written for, and its seed."""
Write = Callable[[Sequence[Code], Sequence[int]], list[str]]


class Verdict(Protocol):
    """Which texts are left, and why others are not."""

    @property
    def kept(self) -> Sequence[int]:
        """Their places, in order."""

    @property
    def reasons(self) -> "Counter[str]":
        """How many were refused for each reason."""


Accept = Callable[[Sequence[str], Sequence[Code]], Verdict]


@dataclass(frozen=True)
class Shelf:
    """Where finished shards are kept over a kill.

    Args:
        keep: holds what was written.
        done: names that it holds already.
    """

    keep: Keep
    done: AbstractSet[str] = frozenset()


@dataclass(frozen=True)
class Pen:
    """Who writes.

    Args:
        setup: makes what writes; called by each worker, so it is the place to load a model.
        engine: here, or on a Ray cluster of so many `workers`.
        description: of the progress.
    """

    setup: Callable[[], Work[Item, str]]
    engine: Engine = "local"
    workers: int = 1
    description: str = "writing"


@dataclass(frozen=True)
class Written:
    """What was written.

    Args:
        corpus: the records that were accepted, in the order of the codes.
        tried: texts that were written.
        refused: how many texts were refused, by reason.
        missing: places of the codes for which no attempt succeeded.
    """

    corpus: Corpus
    tried: int
    refused: "Counter[str]"
    missing: Sequence[int]


def work_of(write: Write) -> Work[Item, str]:
    """The work of an engine; a text depends on its own code and seed alone, so the seed of a shard plays no role."""

    def work(items: Sequence[Item], _: int) -> Sequence[str]:
        return write([code for code, _ in items], [seed for _, seed in items])

    return work


def written(
    columns: tuple[str, ...],
    codes: Sequence[Code],
    pen: Pen,
    accept: Accept,
    *,
    seed: int,
    attempts: int,
    shelf: Shelf,
) -> Written:
    """One record for each code, written anew up to `attempts` times where the filters refuse it.

    Args:
        accept: looks at all texts so far, those accepted earlier first; what it kept it must keep.
    """
    texts: dict[int, str] = {}
    refused: Counter[str] = Counter()
    tried = 0
    for attempt in range(attempts):
        missing = [i for i in range(len(codes)) if i not in texts]
        if not missing:
            break
        items = [(codes[i], seed_of(seed, i, attempt)) for i in missing]
        new = _attempt(items, pen, shelf, f"written-{attempt}")
        tried += len(new)
        texts.update(zip(missing, new, strict=True))  # behind those that were accepted earlier
        places = list(texts)
        found = accept(list(texts.values()), [codes[i] for i in places])
        refused.update(found.reasons)
        texts = {places[k]: texts[places[k]] for k in found.kept}
    order = sorted(texts)
    corpus = Corpus(columns, [texts[i] for i in order], [codes[i] for i in order])
    return Written(corpus, tried, refused, [i for i in range(len(codes)) if i not in texts])


def _attempt(items: Sequence[Item], pen: Pen, shelf: Shelf, name: str) -> list[str]:
    """The texts of all items, shard by shard, without writing those that are on the shelf."""
    shards = {f"{name}-{at // SHARD:05d}": items[at : at + SHARD] for at in range(0, len(items), SHARD)}
    # only the last shard may be short, so cutting what is left anew gives the same shards
    left = [item for key, shard in shards.items() if key not in shelf.done for item in shard]
    made = stream(pen.setup, left, engine=pen.engine, workers=pen.workers, size=SHARD, description=pen.description)
    texts: list[str] = []
    for key in shards:
        texts += shelf.keep(key, lambda: list(next(made)))
    return texts


def seed_of(seed: int, place: int, attempt: int) -> int:
    """The seed of one text, below 2**64, by the run's seed, its place among the codes and the attempt."""
    digest = blake2b(f"{seed}:{place}:{attempt}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big")
