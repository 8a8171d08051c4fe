"""Everything that can go wrong, as one small tree.

    UprightError                 something upright itself reports
    ├── UserError (ValueError)   the user can fix it: one line, exit code 2
    │   └── MissingExtra         an optional dependency is not installed (also an ImportError)
    └── GraphError               a knowledge graph does not answer now (in `upright.knowledge.failures`): a search
                                 goes on without it; what cannot ends with a UserError of the same line

A `UserError` says in one line what was got, what is allowed and what to do. Anything outside this tree that
reaches the command line is a bug and keeps its traceback.
"""

from collections.abc import Iterable
from difflib import get_close_matches


class UprightError(Exception):
    """Base of every error upright raises on purpose."""


class UserError(UprightError, ValueError):
    """A problem the user can fix. The message is one line; the command line prints it and exits with 2."""


class MissingExtra(UserError, ImportError):
    """An optional dependency is missing; the message names the command that installs it."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(package, extra)  # as they are, so that the error can be pickled: it may come from a worker

    def __str__(self) -> str:
        package, extra = self.args
        return f"{package} is not installed; get it with: pip install 'upright[{extra}]'"


def closest(got: str, choices: Iterable[str]) -> str | None:
    """The choice most like `got`, ignoring case and `-` against `_`, or None when nothing is near."""
    plain = {choice.lower().replace("_", "-"): choice for choice in choices}
    matches = get_close_matches(got.lower().replace("_", "-"), plain, n=1, cutoff=0.6)
    return plain[matches[0]] if matches else None


def unknown(what: str, got: object, choices: Iterable[str]) -> UserError:
    """The error for a name that is not among `choices`: lists them and the closest match.

    >>> str(unknown("split", "trian", ["train", "test"]))
    "unknown split 'trian' (allowed: train, test); did you mean 'train'?"
    """
    names = list(choices)
    message = f"unknown {what} {str(got)!r} (allowed: {', '.join(names) or 'none'})"
    near = closest(str(got), names)
    return UserError(f"{message}; did you mean {near!r}?" if near else message)
