"""The same on a Ray cluster of two processes: equal results, the original errors, bounded work, clean ends."""

import os
import socket
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from itertools import count, islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.engines.mapped import mapped
from upright.engines import Work, opened, stream
from upright.engines.cluster import connected
from upright.errors import MissingExtra, UserError

pytestmark = pytest.mark.skipif(find_spec("ray") is None, reason="needs the extra cluster")  # asks, imports nothing


@pytest.fixture(scope="module")
def ray() -> Iterator[Any]:
    """One start for all tests; each finds it connected and must leave it so."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("RAY_ADDRESS", raising=False)
        with connected(2) as module:
            yield module
    assert not module.is_initialized()


# Workers cannot import this file, so everything they run is made inside a function and travels by value.


def test_pure_and_seeded_work_give_what_they_give_here(ray: Any) -> None:
    def setup() -> Work[int, tuple[int, float]]:
        def work(items: Sequence[int], seed: int) -> list[tuple[int, float]]:
            noise = np.random.default_rng(seed).random(len(items))
            return [(item * item, float(x)) for item, x in zip(items, noise, strict=True)]

        return work

    here = mapped(setup, range(50), size=4, seed=5)
    with opened("ray", 2):
        assert mapped(setup, range(50), size=4, seed=5, engine="ray", workers=2) == here
    assert mapped(setup, range(50), size=4, seed=5, engine="ray", workers=1) == here
    assert ray.is_initialized()


def test_the_work_is_made_once_by_each_worker_and_little_is_under_way(ray: Any) -> None:
    read: list[int] = []

    def items() -> Iterator[int]:
        for item in count():
            read.append(item)
            yield item

    def setup() -> Work[int, tuple[int, int]]:
        made = [0]

        def work(items: Sequence[int], seed: int) -> list[tuple[int, int]]:
            made[0] += 1
            return [(os.getpid(), made[0])] * len(items)

        return work

    found = stream(setup, items(), size=3, engine="ray", workers=2)
    shards = list(islice(found, 6))
    assert len(read) <= 3 * (6 + 2 * 2)  # six were taken, at most 2 * workers are under way
    found.close()
    workers = [shard[0][0] for shard in shards]
    assert len(set(workers)) == 2
    assert os.getpid() not in workers
    assert [shard[0][1] for shard in shards] == [1, 1, 2, 2, 3, 3]  # nothing is made anew between shards


def test_maps_of_a_block_share_their_processes_and_no_more(ray: Any) -> None:
    def setup() -> Work[int, int]:
        return lambda items, seed: [os.getpid()] * len(items)

    def squares() -> Work[int, int]:
        return lambda items, seed: [item * item for item in items]

    with opened("ray", 2):
        first = set(mapped(setup, range(4), size=1, engine="ray", workers=2))
        assert mapped(squares, range(4), size=1, engine="ray", workers=2) == [0, 1, 4, 9]  # nothing of the last map
        assert set(mapped(setup, range(4), size=1, engine="ray", workers=2)) == first
        stopped = stream(setup, count(), size=1, engine="ray", workers=2)
        assert set(next(stopped)) < first
        stopped.close()
        again = set(mapped(setup, range(4), size=1, engine="ray", workers=2))
    assert len(first) == len(again) == 2
    assert not first & again  # what was under way is ended, and the block goes on with new ones
    assert not set(mapped(setup, range(4), size=1, engine="ray", workers=2)) & again


def test_errors_come_back_as_they_are_with_their_shard(ray: Any) -> None:
    def failing(error: type[Exception], at: int) -> Work[int, int]:
        def work(items: Sequence[int], seed: int) -> Sequence[int]:
            if at in items:
                raise error(f"{at} is not allowed")
            return items

        return work

    with pytest.raises(UserError, match="4 is not allowed") as caught:
        mapped(lambda: failing(UserError, 4), range(9), size=2, engine="ray")
    assert str(caught.value) == "4 is not allowed"
    assert caught.value.__notes__[0].startswith("in shard 2 (items 4 to 5), on a worker:\nTraceback")
    with pytest.raises(ValueError, match="0 results for 2 items"):
        mapped(lambda: lambda items, seed: [], range(2), engine="ray")


def test_an_error_that_cannot_travel_is_told_in_words(ray: Any) -> None:
    def setup() -> Work[int, int]:
        class TwoPartsError(Exception):
            def __init__(self, one: str, two: str) -> None:
                super().__init__(f"{one} and {two}")

        raise TwoPartsError("one", "two")

    with pytest.raises(RuntimeError, match="TwoPartsError: one and two"):
        mapped(setup, range(2), engine="ray")


def test_a_shard_is_done_again_when_its_worker_dies(ray: Any, tmp_path: Path) -> None:
    def setup() -> Work[int, int]:
        def work(items: Sequence[int], seed: int) -> Sequence[int]:
            if 2 in items and not (tmp_path / "died").exists():
                (tmp_path / "died").touch()
                os._exit(1)
            return items

        return work

    assert mapped(setup, range(6), size=2, engine="ray") == list(range(6))
    assert (tmp_path / "died").exists()


def test_a_worker_that_keeps_dying_ends_the_map(ray: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("upright.engines.cluster.LIVES", 2)
    with pytest.raises(UserError, match=r"^shard 0 .items 0 to 1.: its worker died 2 times; give it more memory"):
        mapped(lambda: lambda items, seed: os._exit(1), range(2), engine="ray", workers=1)


def test_a_missing_extra_on_a_worker_is_told_as_here(ray: Any) -> None:
    def setup() -> Work[int, int]:
        raise MissingExtra("scikit-learn", "private")

    with pytest.raises(MissingExtra, match=r"^scikit-learn is not installed; get it with: pip install 'upright"):
        mapped(setup, range(2), engine="ray")


def test_a_cluster_that_is_too_small_is_named(ray: Any) -> None:
    what = "workers 3: the Ray cluster has 2 CPUs; give at most as many workers"
    with pytest.raises(UserError, match=what), opened("ray", 3):
        pytest.fail("opened")
    with pytest.raises(UserError, match=what):
        mapped(lambda: lambda items, seed: items, [1], engine="ray", workers=3)


def test_it_listens_on_the_loopback_address_alone(ray: Any) -> None:
    assert "node:127.0.0.1" in ray.cluster_resources()


def test_an_address_without_a_cluster_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"  # bound, but nobody listens
        monkeypatch.setenv("RAY_ADDRESS", address)
        monkeypatch.setattr(ray, "is_initialized", lambda: False)
        with pytest.raises(UserError, match=f"^RAY_ADDRESS={address}: no Ray cluster lets us in; start one"):
            mapped(lambda: lambda items, seed: items, [1], engine="ray")
