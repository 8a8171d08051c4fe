"""All results at once, for tests that want no stream."""

from collections.abc import Callable, Iterable
from itertools import chain
from typing import Any, TypeVar

from upright.engines import Work, stream

T = TypeVar("T")
R = TypeVar("R")


def mapped(setup: Callable[[], Work[T, R]], items: Iterable[T], **how: Any) -> list[R]:
    """The results of all items in order; see `stream`."""
    return list(chain.from_iterable(stream(setup, items, **how)))
