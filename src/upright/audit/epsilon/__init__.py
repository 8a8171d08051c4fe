"""`upright audit epsilon`: a lower bound on epsilon from the scores of canaries, held against what is claimed."""

from typing import TYPE_CHECKING

from upright.audit.epsilon.config import Config
from upright.run.lazy import lazily

if TYPE_CHECKING:
    from upright.audit.epsilon.runner import Result, run

__all__ = ["Config", "Result", "run"]

__getattr__ = lazily(__name__, "runner")
