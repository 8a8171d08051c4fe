"""`upright audit checklist`: what was asked of a model about privacy and fairness, what came out, and what was not."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from upright.audit.checklist.config import Config

if TYPE_CHECKING:
    from upright.audit.checklist.runner import Result, run

__all__ = ["Config", "Result", "run"]


def __getattr__(name: str) -> Any:
    """What needs more than the configuration is loaded when it is first asked for."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("upright.audit.checklist.runner"), name)
