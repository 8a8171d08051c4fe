"""upright makes language models safe, current, grounded, private, personal and fair, and proves it.

Every capability is a subpackage that exports `Config`, `Result` and `run`:

    from upright import editing
    result = editing.run(editing.Config(model="lab:atlas", facts="changes.jsonl", kg="lab:atlas"))
"""

from upright.errors import MissingExtra, UprightError, UserError

__version__ = "0.1.0"
__all__ = ["MissingExtra", "UprightError", "UserError", "__version__"]
