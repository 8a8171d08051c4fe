"""`upright audit membership`: can an attacker tell which records a model was trained on?"""

from typing import TYPE_CHECKING

from upright.audit.membership.config import Config
from upright.run.lazy import lazily

if TYPE_CHECKING:
    from upright.audit.membership.runner import Result, run

__all__ = ["Config", "Result", "run"]

__getattr__ = lazily(__name__, "runner")
