"""`upright synthesize`: private records in, differentially private synthetic records out, with an honest account."""

from typing import TYPE_CHECKING

from upright.run.lazy import lazily
from upright.synthesis.config import Config

if TYPE_CHECKING:
    from upright.synthesis.runner import Result, run

__all__ = ["Config", "Result", "run"]

__getattr__ = lazily(__name__, "runner")
