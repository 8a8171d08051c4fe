"""`upright edit`: change facts in a model's weights, with their consequences, and prove it."""

from typing import TYPE_CHECKING

from upright.editing.config import Config

if TYPE_CHECKING:
    from upright.editing.run import Result, run

__all__ = ["Config", "Result", "run"]


def __getattr__(name: str) -> object:
    """Load what needs torch only when it is asked for."""
    if name in ("Result", "run"):
        from upright.editing import run as module

        return getattr(module, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
