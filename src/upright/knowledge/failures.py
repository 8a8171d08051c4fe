"""What goes wrong with a graph that is somewhere else, and who hears of it."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from upright.errors import UprightError

_HEARD: ContextVar[list[str] | None] = ContextVar("heard", default=None)


class GraphError(UprightError):
    """A knowledge graph cannot answer now: one line with where and why.

    It is no mistake of the user's: a search notes it and goes on with what else is known. Where there is nothing to
    go on with, `upright.knowledge.opening.opened` makes it a `UserError` for the command line.
    """


@contextmanager
def noting() -> Iterator[list[str]]:
    """A list of the notes made inside the block, each once, also in threads and tasks started there."""
    heard: list[str] = []
    token = _HEARD.set(heard)
    try:
        yield heard
    finally:
        _HEARD.reset(token)


def note(text: str) -> None:
    """Tell the innermost `noting` block that an answer lacks something."""
    heard = _HEARD.get()
    if heard is not None and text not in heard:
        heard.append(text)
