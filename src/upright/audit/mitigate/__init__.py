"""`upright audit mitigate`: ways to make a classifier fairer, side by side on rows none of them has seen."""

from typing import TYPE_CHECKING

from upright.audit.mitigate.config import Config
from upright.run.lazy import lazily

if TYPE_CHECKING:
    from upright.audit.mitigate.runner import Result, run

__all__ = ["Config", "Result", "run"]

__getattr__ = lazily(__name__, "runner")
