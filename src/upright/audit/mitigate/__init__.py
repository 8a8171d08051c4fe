"""`upright audit mitigate`: ways to make a classifier fairer, side by side on rows none of them has seen."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from upright.audit.mitigate.config import Config

if TYPE_CHECKING:
    from upright.audit.mitigate.runner import Result, run

__all__ = ["Config", "Result", "run"]


def __getattr__(name: str) -> Any:
    """What needs numpy is loaded when it is first asked for."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("upright.audit.mitigate.runner"), name)
