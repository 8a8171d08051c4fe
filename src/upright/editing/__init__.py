"""`upright edit`: change facts in a model's weights, with their consequences, and prove it."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from upright.editing.config import Config

if TYPE_CHECKING:
    from upright.editing.runner import Result, run

__all__ = ["Config", "Result", "run"]


def __getattr__(name: str) -> Any:
    """What needs torch is loaded when it is first asked for."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("upright.editing.runner"), name)
