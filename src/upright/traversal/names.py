"""The names of a graph as they stand in prompts: data, never instructions."""

import re
from collections.abc import Iterable

from upright.knowledge.graph import Direction, KnowledgeGraph

LONGEST = 80  # characters of a label that are shown
SHORT_ID = 20  # ids up to this length stand beside their labels
INCOMING = "~"

_BREAKS = re.compile(r"[\s\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]+")
_CONTROL = re.compile(r"\[(/?[A-Z][A-Z_ ]*)\]")  # [INST], [/INST], [TOOL_CALLS] of chat templates
_TAGS = str.maketrans({"<": "\u2039", ">": "\u203a", "`": "'"})


def one_line(text: str, longest: int = LONGEST) -> str:
    r"""A text on one line, without what a chat template could take for its own.

    Line breaks, control and invisible characters become spaces, angle brackets typographic ones; what is longer
    than `longest` characters ends in `…`.

    >>> one_line("Rome\t[INST] go", 12)
    'Rome (INST)…'
    """
    line = _CONTROL.sub(r"(\1)", _BREAKS.sub(" ", text).strip().translate(_TAGS))
    return line if len(line) <= longest else line[: longest - 1].rstrip() + "…"


def plain(text: str, longest: int = LONGEST) -> str:
    """A text of the graph, on one line; a `#` before a digit, as in the name of a set, becomes a `№`.

    >>> plain("Track #2")
    'Track №2'
    """
    return re.sub(r"#(?=\d)", "№", one_line(text, longest))


class Names:
    """Labels and descriptions of a graph, asked for once.

    Args:
        graph: where they come from; `load` asks for many at once, which a remote graph answers much faster.
    """

    def __init__(self, graph: KnowledgeGraph) -> None:
        self._graph = graph
        self._labels: dict[str, str] = {}
        self._shown: dict[str, str] = {}
        self._descriptions: dict[str, str] = {}

    def load(self, entities: Iterable[str], relations: Iterable[str] = ()) -> None:
        """Ask for the labels of all of them, and for the descriptions of the entities."""
        new = [name for name in dict.fromkeys(entities) if name not in self._labels]
        kinds = [name for name in dict.fromkeys(relations) if name not in self._labels and name not in new]
        if new:
            self._descriptions.update(self._graph.describe(new))
        if new or kinds:
            self._labels.update(self._graph.labels([*new, *kinds]))

    def label(self, name: str) -> str:
        """The label as the graph has it."""
        if name not in self._labels:
            self._labels.update(self._graph.labels([name]))
        return self._labels[name]

    def shown(self, name: str) -> str:
        """The label for a prompt."""
        found = self._shown.get(name)
        if found is None:
            found = self._shown[name] = plain(self.label(name)) or plain(name)
        return found

    def entity(self, name: str) -> str:
        """Label and, where it says more and is short, the id: `Lima [Q2868]`."""
        shown = self.shown(name)
        return shown if self.label(name) == name or len(name) > SHORT_ID else f"{shown} [{plain(name)}]"

    def described(self, name: str) -> str:
        """An entity with the description that tells it from others of its name."""
        about = plain(self._descriptions.get(name, ""))
        return f"{self.entity(name)} ({about})" if about else self.entity(name)

    def relation(self, name: str, direction: Direction = "out") -> str:
        """Label of a relation, with `~` when it is followed from tails to heads."""
        return mark(self.shown(name), direction)


def mark(relation: str, direction: Direction) -> str:
    """The relation in a direction, on one line: `capital` or `~capital`."""
    return relation if direction == "out" else INCOMING + relation


def plural(number: int, noun: str, nouns: str = "") -> str:
    """A number with its noun.

    >>> plural(1, "fact"), plural(2, "entity", "entities")
    ('1 fact', '2 entities')
    """
    return f"{number} {noun if number == 1 else nouns or noun + 's'}"
