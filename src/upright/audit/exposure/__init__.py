"""`upright audit exposure`: what a language model gives away of the text it was trained on."""

from typing import TYPE_CHECKING

from upright.audit.exposure.config import Config
from upright.run.lazy import lazily

if TYPE_CHECKING:
    from upright.audit.exposure.runner import Result, run

__all__ = ["Config", "Result", "run"]

__getattr__ = lazily(__name__, "runner")
