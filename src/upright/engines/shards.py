"""Items in shards, each worked on with a seed of its own, and the results in the order of the items.

What a shard is depends on the positions of the items alone, and its seed on its position and the seed of the whole: who
works on it, and how many there are, changes nothing.
"""

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence, Sized
from contextlib import closing, contextmanager
from hashlib import blake2b
from itertools import islice
from typing import Any, Literal, NamedTuple, TypeVar, get_args

from upright.errors import unknown
from upright.run.progress import progress

T = TypeVar("T")
R = TypeVar("R")

Engine = Literal["local", "ray"]
Work = Callable[[Sequence[T], int], Sequence[R]]
"""(items of a shard, its seed below 2**63) -> one result for each, by these alone."""
Found = Generator[Sequence[R], None, None]


class Shard(NamedTuple):
    """A run of items.

    Args:
        number: counted from 0.
        first: position of its first item.
    """

    number: int
    first: int
    items: Sequence[Any]
    seed: int

    def __str__(self) -> str:
        return f"shard {self.number} (items {self.first} to {self.first + len(self.items) - 1})"

    def checked(self, results: Sequence[R]) -> Sequence[R]:
        """The results. Raises ValueError where there is not one for each item."""
        if len(results) != len(self.items):
            raise ValueError(f"{len(results)} results for {len(self.items)} items; work gives one for each")
        return results

    @contextmanager
    def named(self) -> Iterator[None]:
        """Adds to an error where it was raised."""
        try:
            yield
        except Exception as error:
            error.add_note(f"in {self}")
            raise


def stream(
    setup: Callable[[], Work[T, R]],
    items: Iterable[T],
    *,
    engine: Engine = "local",
    workers: int = 2,
    size: int = 64,
    seed: int = 0,
    description: str = "working",
) -> Found[R]:
    """The results of each shard in order; with 2 * workers shards held at most, so the items may be endless.

    >>> list(stream(lambda: lambda texts, seed: [text.upper() for text in texts], ["a", "b", "c"], size=2))
    [['A', 'B'], ['C']]

    Args:
        setup: makes the work; called once by each worker, so it is the place to load a model.
        items: what is worked on; read as the work goes on.
        engine: `local` works through the shards in this process, `ray` has `workers` processes of a cluster do it.
        workers: processes of the cluster, each with a CPU and its part of the GPUs.
        size: items of a shard; results may depend on it where they depend on the shard's seed.
        seed: of the whole.

    Raises:
        UserError: for an unknown engine, a cluster that does not answer or is too small, and a worker that keeps dying.
        MissingExtra: without Ray.
        ValueError: where the work does not give one result for each item.
        Exception: whatever the work raised first in the order of the items, with a note that names its shard.
    """
    if workers < 1 or size < 1:
        raise ValueError(f"workers={workers}, size={size}: both must be at least 1")
    shards = _cut(items, size, seed)
    if _checked(engine) == "local":
        found = _local(setup, shards)
    else:
        from upright.engines.cluster import work_on_cluster

        found = work_on_cluster(setup, shards, workers)
    return _watched(found, len(items) if isinstance(items, Sized) else None, description)


@contextmanager
def opened(engine: Engine, workers: int = 2) -> Iterator[None]:
    """The engine, started once for all maps of the block with as many workers; else each starts and ends a cluster.

    Raises what `stream` raises for a cluster that cannot be had: with this around all work, before any of it.
    """
    if _checked(engine) == "local":
        yield
        return
    from upright.engines.cluster import pool

    with pool(workers):
        yield


def _checked(engine: Engine) -> Engine:
    if engine not in get_args(Engine):
        raise unknown("engine", engine, get_args(Engine))
    return engine


def _cut(items: Iterable[Any], size: int, seed: int) -> Iterator[Shard]:
    source, number = iter(items), 0
    while part := list(islice(source, size)):
        yield Shard(number, number * size, part, seed_of(seed, number))
        number += 1


def seed_of(seed: int, number: int) -> int:
    """The seed of a shard, below 2**63: that of a NumPy or PyTorch generator."""
    return int.from_bytes(blake2b(f"{seed}:{number}".encode(), digest_size=8).digest(), "big") >> 1


def _local(setup: Callable[[], Work[T, R]], shards: Iterator[Shard]) -> Found[R]:
    work = setup()
    for shard in shards:
        with shard.named():
            results = shard.checked(work(shard.items, shard.seed))
        yield results


def _watched(found: Found[R], total: int | None, description: str) -> Found[R]:
    """With a bar; whoever stops early ends the work."""
    with closing(found), progress(description, total) as bar:
        for results in found:
            yield results
            bar.advance(len(results))
