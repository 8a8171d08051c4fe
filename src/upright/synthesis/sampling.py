"""Writing the synthetic records: in shards that outlive a kill, anew where a filter refuses, each by its own seed."""

from collections import Counter
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from hashlib import blake2b
from typing import NamedTuple, Protocol

from upright.engines import Engine, Work, stream
from upright.run.steps import MISSING, StepStore
from upright.synthesis.corpus import Code, Corpus

SHARD = 128
"""Records of a shard: what a kill loses at most."""


class Draft(NamedTuple):
    """A text as it was written."""

    text: str
    ended: bool
    """Whether it came to its own end; it did not if `sampling.tokens` ran out."""


Keep = Callable[[str, Callable[[], list[Draft]]], list[Draft]]
"""(name, compute) -> value, computed once for each name, even over kills."""
Item = tuple[Code, int]
"""What a record is written for, and its seed."""
Write = Callable[[Sequence[Code], Sequence[int]], Sequence[Draft]]


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


def kept_in(store: StepStore) -> Keep:
    """Keeps what was written in a store of its own, beside the steps of the run."""

    def keep(name: str, compute: Callable[[], list[Draft]]) -> list[Draft]:
        if store.load(name) is MISSING:
            store.save(name, compute(), list[Draft])
        drafts: list[Draft] = store.load(name, list[Draft])
        return drafts

    return keep


@dataclass(frozen=True)
class Pen:
    """Who writes.

    Args:
        setup: makes what writes; called by each worker, so it is the place to load a model.
        engine: here, or on a Ray cluster of so many `workers`.
        description: of the progress.
    """

    setup: Callable[[], Work[Item, Draft]]
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
        ended: of each record, whether it came to its own end, see `Draft`.
    """

    corpus: Corpus
    tried: int
    refused: "Counter[str]"
    missing: Sequence[int]
    ended: Sequence[bool]


def work_of(write: Write) -> Work[Item, Draft]:
    """The work of an engine; a text depends on its own code and seed alone, so the seed of a shard plays no role."""

    def work(items: Sequence[Item], _: int) -> Sequence[Draft]:
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
    drafts: dict[int, Draft] = {}
    refused: Counter[str] = Counter()
    tried = 0
    for attempt in range(attempts):
        missing = [i for i in range(len(codes)) if i not in drafts]
        if not missing:
            break
        items = [(codes[i], seed_of(seed, i, attempt)) for i in missing]
        new = _attempt(items, pen, shelf, f"written-{attempt}")
        tried += len(new)
        drafts.update(zip(missing, new, strict=True))  # behind those that were accepted earlier
        places = list(drafts)
        found = accept([draft.text for draft in drafts.values()], [codes[i] for i in places])
        refused.update(found.reasons)
        drafts = {places[k]: drafts[places[k]] for k in found.kept}
    order = sorted(drafts)
    corpus = Corpus(columns, [drafts[i].text for i in order], [codes[i] for i in order])
    missing = [i for i in range(len(codes)) if i not in drafts]
    return Written(corpus, tried, refused, missing, [drafts[i].ended for i in order])


def _attempt(items: Sequence[Item], pen: Pen, shelf: Shelf, name: str) -> list[Draft]:
    """The texts of all items, shard by shard, without writing those that are on the shelf."""
    shards = {f"{name}-{at // SHARD:05d}": items[at : at + SHARD] for at in range(0, len(items), SHARD)}
    # only the last shard may be short, so cutting what is left anew gives the same shards
    left = [item for key, shard in shards.items() if key not in shelf.done for item in shard]
    made = stream(pen.setup, left, engine=pen.engine, workers=pen.workers, size=SHARD, description=pen.description)
    drafts: list[Draft] = []
    for key in shards:
        drafts += shelf.keep(key, lambda: list(next(made)))
    return drafts


def seed_of(seed: int, place: int, attempt: int) -> int:
    """The seed of one text, below 2**64, by the run's seed, its place among the codes and the attempt."""
    digest = blake2b(f"{seed}:{place}:{attempt}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big")
