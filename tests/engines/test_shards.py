"""A map over shards in this process: the laws that every engine keeps, and its errors."""

from collections.abc import Iterator, Sequence
from itertools import count, islice

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.engines.mapped import mapped
from upright.engines import Work, opened, stream
from upright.engines.shards import seed_of
from upright.errors import MissingExtra, UserError


def pure() -> Work[int, int]:
    return lambda items, seed: [item * item for item in items]


def seeded() -> Work[int, float]:
    return lambda items, seed: [*np.random.default_rng(seed).random(len(items))]


@given(st.lists(st.integers()), st.integers(1, 9))
def test_it_is_the_map_of_the_items_whatever_the_shards(items: list[int], size: int) -> None:
    assert mapped(pure, items, size=size) == [item * item for item in items]


def test_shards_and_seeds_depend_on_positions_alone() -> None:
    found = mapped(lambda: lambda items, seed: [(seed, *items)] * len(items), "abcde", size=2, seed=7)
    first, second, third = (seed_of(7, number) for number in range(3))
    assert found == [(first, "a", "b")] * 2 + [(second, "c", "d")] * 2 + [(third, "e")]
    assert len({first, second, third, seed_of(8, 0)}) == 4
    assert all(0 <= seed < 2**63 for seed in (first, second, third))


def test_more_items_do_not_change_the_results_of_full_shards() -> None:
    assert mapped(seeded, range(40), size=8, seed=3)[:24] == mapped(seeded, range(24), size=8, seed=3)


def test_the_work_is_made_once_and_items_are_read_as_it_goes_on() -> None:
    made: list[int] = []
    read: list[int] = []

    def setup() -> Work[int, int]:
        made.append(1)
        return pure()

    def items() -> Iterator[int]:
        for item in count():
            read.append(item)
            yield item

    found = stream(setup, items(), size=5)
    assert not made
    assert list(islice(found, 2)) == [[0, 1, 4, 9, 16], [25, 36, 49, 64, 81]]
    assert (len(made), len(read)) == (1, 10)


def test_an_error_is_the_original_one_and_names_its_shard() -> None:
    def setup() -> Work[int, int]:
        def work(items: Sequence[int], seed: int) -> list[int]:
            if 7 in items:
                raise UserError("seven is not allowed; leave it out")
            return list(items)

        return work

    with pytest.raises(UserError, match="seven is not allowed") as caught:
        mapped(setup, range(20), size=3)
    assert str(caught.value) == "seven is not allowed; leave it out"
    assert caught.value.__notes__ == ["in shard 2 (items 6 to 8)"]


def test_a_work_that_loses_a_result_is_refused() -> None:
    with pytest.raises(ValueError, match="2 results for 3 items") as caught:
        mapped(lambda: lambda items, seed: items[1:], range(3))
    assert caught.value.__notes__ == ["in shard 0 (items 0 to 2)"]


def test_what_cannot_be_is_refused_before_any_work() -> None:
    with pytest.raises(UserError, match=r"unknown engine 'rai' .allowed: local, ray.; did you mean 'ray'"):
        stream(pure, [1], engine="rai")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="workers=0, size=64: both must be at least 1"):
        stream(pure, [1], workers=0)


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(MissingExtra, match=r"ray is not installed; get it with: pip install 'upright\[cluster\]'"):
        mapped(pure, [1], engine="ray")


def test_an_engine_is_opened_before_any_work(monkeypatch: pytest.MonkeyPatch) -> None:
    with opened("local"):
        assert mapped(pure, [2]) == [4]
    with pytest.raises(UserError, match="unknown engine 'rai'"), opened("rai"):  # type: ignore[arg-type]
        pass
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(MissingExtra, match="ray is not installed"), opened("ray"):
        pytest.fail("opened without Ray")
