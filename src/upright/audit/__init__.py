"""`upright audit`: what a model does to privacy and to fairness, and what each does to the other.

Seven audits of one shape, each a package with the three names `Config`, `Result` and `run`:

    from upright import audit

    result = audit.fairness.run(audit.fairness.Config(table="decisions.csv", label="hired", prediction="said", ...))
    result = audit.run(config)  # the same, for the configuration of any of them
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from upright.run.config import RunConfig as Config

if TYPE_CHECKING:
    from upright.audit.findings import Result

AUDITS = ("checklist", "epsilon", "exposure", "fairness", "interplay", "membership", "mitigate")

__all__ = ["Config", "Result", "run"]


def run(config: Config) -> "Result":
    """Run the audit that a configuration belongs to."""
    package = type(config).__module__.removesuffix(".config")
    result: Result = import_module(package).run(config)
    return result


def __getattr__(name: str) -> Any:
    """The audits, and what needs numpy, are loaded when they are first asked for."""
    if name in AUDITS:
        return import_module(f"upright.audit.{name}")
    if name == "Result":
        return import_module("upright.audit.findings").Result
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
