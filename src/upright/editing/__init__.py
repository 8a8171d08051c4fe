"""`upright edit`: change facts in a model's weights, with their consequences, and prove it."""

from typing import TYPE_CHECKING

from upright.editing.config import Config
from upright.run.lazy import lazily

if TYPE_CHECKING:
    from upright.editing.runner import Result, run

__all__ = ["Config", "Result", "run"]

__getattr__ = lazily(__name__, "runner")
