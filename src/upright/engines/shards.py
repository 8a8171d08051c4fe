"""Items in shards, each worked on with a seed of its own, and the results in the order of the items.

What a shard is depends on the positions of the items alone, and its seed on its position and the seed of the whole: who
works on it, and how many there are, changes nothing.
"""

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import blake2b
from itertools import islice
from typing import Any, NamedTuple, TypeVar

T = TypeVar("T")
R = TypeVar("R")

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


def cut(items: Iterable[Any], size: int, seed: int) -> Iterator[Shard]:
    """Shards of `size` items, the last of what is left, read as they are asked for."""
    source, number = iter(items), 0
    while part := list(islice(source, size)):
        yield Shard(number, number * size, part, seed_of(seed, number))
        number += 1


def seed_of(seed: int, number: int) -> int:
    """The seed of a shard, below 2**63: that of a NumPy or PyTorch generator."""
    return int.from_bytes(blake2b(f"{seed}:{number}".encode(), digest_size=8).digest(), "big") >> 1
