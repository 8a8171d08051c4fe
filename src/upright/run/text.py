"""Plain text set for a terminal, with nothing slow to import."""

import os
import shutil
import sys
import textwrap

HARD_SPACE = "\u00a0"  # keeps the words around it on one line


def width() -> int:
    """Columns to fill: those of the terminal, but never so many that lines tire the eye."""
    return min(shutil.get_terminal_size((80, 24)).columns, 100)


def strong(text: str) -> str:
    """Bold where the output is a terminal that shows it."""
    plain = not sys.stdout.isatty() or "NO_COLOR" in os.environ or os.environ.get("TERM") == "dumb"
    return text if plain else f"\033[1m{text}\033[0m"


def section(title: str, *lines: str) -> str:
    """A heading with lines below it."""
    return "\n".join([strong(title), *lines])


def entry(left: str, right: str, column: int) -> str:
    """A term in the left column and what it means in the right one, which begins at `column`."""
    lines = textwrap.wrap(right, max(width() - column, 20), break_on_hyphens=False) or [""]
    indent = "\n" + " " * column
    term = f"  {left}"
    start = term.ljust(column) if len(term) < column - 1 else term + indent
    return (start + indent.join(lines)).replace(HARD_SPACE, " ").rstrip()


def paragraph(text: str) -> str:
    """Running text."""
    return textwrap.fill(text, width(), break_on_hyphens=False)


def shell(command: str) -> str:
    """A command, indented, that can still be pasted when it needs more than one line."""
    lines = textwrap.wrap(
        command,
        width() - 4,
        initial_indent="  ",
        subsequent_indent=" " * 6,
        break_on_hyphens=False,
        break_long_words=False,
    )
    return " \\\n".join(lines)
