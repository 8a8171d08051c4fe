"""Write `docs/cli.md`, the pages of `upright --help`; `--check` only says whether it is up to date."""

import os
import sys
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

from upright.cli import COMMANDS, dispatch

PAGE = Path(__file__).with_name("cli.md")


def help_of(verb: str) -> str:
    """What the command line answers to `--help`, as wide as a plain terminal."""
    with redirect_stdout(StringIO()) as out:
        dispatch([*verb.split(), "--help"])
    return out.getvalue().strip()


def page() -> str:
    """All help pages, the overview first; a verb's heading is its command."""
    os.environ["COLUMNS"] = "80"
    pages = {"upright": help_of("")} | {f"upright {verb}": help_of(verb) for verb in COMMANDS}
    parts = [f"## {command}\n\n```text\n{text}\n```\n" for command, text in pages.items()]
    return "\n".join(["# The command line\n\nMade by `make docs` from the configuration classes.\n", *parts])


def build(check: bool) -> str | None:
    """Write the page, or compare it with what would be written; returns what is wrong, if anything."""
    text = page()
    if not check:
        PAGE.write_text(text, encoding="utf-8")
    elif not PAGE.exists() or PAGE.read_text(encoding="utf-8") != text:
        return "docs/cli.md is out of date; bring it up to date with: make docs"
    return None


if __name__ == "__main__":
    sys.exit(build("--check" in sys.argv[1:]))
