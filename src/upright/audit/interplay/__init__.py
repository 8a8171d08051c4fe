"""`upright audit interplay`: what privacy does to fairness and fairness to privacy, as one experiment."""

from typing import TYPE_CHECKING

from upright.audit.interplay.config import Config
from upright.run.lazy import lazily

if TYPE_CHECKING:
    from upright.audit.interplay.runner import Result, run

__all__ = ["Config", "Result", "run"]

__getattr__ = lazily(__name__, "runner")
