"""`upright audit fairness`: how decisions and scores differ between groups, with intervals and verdicts."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from upright.audit.fairness.config import Config

if TYPE_CHECKING:
    from upright.audit.fairness.runner import Result, run

__all__ = ["Config", "Result", "run"]


def __getattr__(name: str) -> Any:
    """What needs numpy and polars is loaded when it is first asked for."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("upright.audit.fairness.runner"), name)
