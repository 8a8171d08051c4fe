"""The map itself: shards worked on one after another here, or by the processes of a cluster."""

from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import closing, contextmanager
from typing import Literal, TypeVar, get_args

from upright.engines.shards import Found, Shard, Work, cut
from upright.errors import unknown
from upright.run.progress import progress

T = TypeVar("T")
R = TypeVar("R")

Engine = Literal["local", "ray"]


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
    shards = cut(items, size, seed)
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
