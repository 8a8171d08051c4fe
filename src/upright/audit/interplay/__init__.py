"""`upright audit interplay`: what privacy does to fairness and fairness to privacy, as one experiment."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from upright.audit.interplay.config import Config

if TYPE_CHECKING:
    from upright.audit.interplay.runner import Result, run

__all__ = ["Config", "Result", "run"]


def __getattr__(name: str) -> Any:
    """What needs torch is loaded when it is first asked for."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("upright.audit.interplay.runner"), name)
