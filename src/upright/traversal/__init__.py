"""`upright ask`: answers from knowledge graphs by tree search, with the evidence for every answer."""

from typing import TYPE_CHECKING

from upright.run.lazy import lazily
from upright.traversal.config import Config

if TYPE_CHECKING:
    from upright.traversal.runner import Result, run

__all__ = ["Config", "Result", "run"]

__getattr__ = lazily(__name__, "runner")
