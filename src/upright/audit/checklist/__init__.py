"""`upright audit checklist`: what was asked of a model about privacy and fairness, what came out, and what was not."""

from typing import TYPE_CHECKING

from upright.audit.checklist.config import Config
from upright.run.lazy import lazily

if TYPE_CHECKING:
    from upright.audit.checklist.runner import Result, run

__all__ = ["Config", "Result", "run"]

__getattr__ = lazily(__name__, "runner")
