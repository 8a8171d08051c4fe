"""Progress bars with the time left: on stderr, only for a person at a terminal, silent otherwise."""

import sys
from collections.abc import Iterable, Iterator, Sized
from contextlib import contextmanager
from typing import Protocol, TypeVar

T = TypeVar("T")


class Bar(Protocol):
    """What a progress block hands out."""

    def advance(self, n: int = 1) -> None:
        """Say that `n` more units are done."""


class _Silence:
    def advance(self, n: int = 1) -> None:
        """Nobody watches."""


@contextmanager
def progress(description: str, total: int | None = None) -> Iterator[Bar]:
    """A bar for `total` units of work (None: unknown), gone when the block ends."""
    if not sys.stderr.isatty():
        yield _Silence()
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task(description, total=total)

        class Live:
            def advance(self, n: int = 1) -> None:
                bars.advance(task, n)

        yield Live()


def track(items: Iterable[T], description: str, total: int | None = None) -> Iterator[T]:
    """The items, with a bar that moves on after each."""
    if total is None and isinstance(items, Sized):
        total = len(items)
    with progress(description, total) as bar:
        for item in items:
            yield item
            bar.advance()
