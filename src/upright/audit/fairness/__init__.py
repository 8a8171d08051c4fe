"""`upright audit fairness`: how decisions and scores differ between groups, with intervals and verdicts."""

from typing import TYPE_CHECKING

from upright.audit.fairness.config import Config
from upright.run.lazy import lazily

if TYPE_CHECKING:
    from upright.audit.fairness.runner import Result, run

__all__ = ["Config", "Result", "run"]

__getattr__ = lazily(__name__, "runner")
