"""The space a canary is drawn from: a sentence with random parts, each text of which has a number."""

import math
import random
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from upright.errors import UserError

SLOT = re.compile(r"\{(\w+):(\d+)\}")
STRAY = re.compile(r"\{\w+(:[^}]*)?\}")
WORDS = [
    first + vowel + last + end
    for first in "bdfgklmnprstvz"
    for vowel in "aeiou"
    for last in "dlmnrst"
    for end in "aeio"
]
ALPHABETS: dict[str, list[str]] = {
    "digits": [*"0123456789"],
    "letters": [*"abcdefghijklmnopqrstuvwxyz"],
    "hex": [*"0123456789abcdef"],
    "words": WORDS,
}


@dataclass(frozen=True)
class Slot:
    """A random part: `length` draws from an alphabet."""

    kind: str
    length: int

    @property
    def size(self) -> int:
        """Texts it can become."""
        return int(len(ALPHABETS[self.kind]) ** self.length)

    def text(self, number: int) -> str:
        """The text of that number, below `size`."""
        letters, found = ALPHABETS[self.kind], []
        for _ in range(self.length):
            number, digit = divmod(number, len(letters))
            found.append(letters[digit])
        return self._joint.join(reversed(found))

    @property
    def pattern(self) -> str:
        """A regular expression of its texts."""
        return self._joint.join([f"(?:{'|'.join(ALPHABETS[self.kind])})"] * self.length)

    @property
    def _joint(self) -> str:
        return " " if self.kind == "words" else ""


@dataclass(frozen=True)
class Space:
    """All texts of a format, such as "The code is {digits:6}."."""

    literals: tuple[str, ...]
    slots: tuple[Slot, ...]

    @classmethod
    def parse(cls, format: str) -> "Space":
        """The space of a format. Raises UserError for one without random parts, or with unknown or empty ones."""
        slots = []
        for kind, length in SLOT.findall(format):
            if kind not in ALPHABETS or not 1 <= int(length) <= 64:
                allowed = ", ".join(ALPHABETS)
                raise UserError(f"format {format!r}: got {{{kind}:{length}}}; allowed are {allowed}, of 1 to 64")
            slots.append(Slot(kind, int(length)))
        stray = STRAY.search(SLOT.sub("", format))
        if stray:
            raise UserError(f"format {format!r}: got {stray[0]}; must be a kind and a length, such as {{digits:6}}")
        if not slots:
            raise UserError(f"format {format!r}: has no random part; put in some such as {{digits:6}}")
        return cls(tuple(SLOT.sub("\0", format).split("\0")), tuple(slots))

    @property
    def size(self) -> int:
        """Texts in the space."""
        return math.prod(slot.size for slot in self.slots)

    def text(self, number: int) -> str:
        """The text of that number, below `size`."""
        parts = []
        for slot in reversed(self.slots):
            number, own = divmod(number, slot.size)
            parts.append(slot.text(own))
        words = [word for pair in zip(self.literals, reversed(parts), strict=False) for word in pair]
        return "".join([*words, self.literals[-1]])

    def holds(self, text: str) -> bool:
        """Whether `text` is of this space."""
        parts = [part for pair in zip(map(re.escape, self.literals), self.slots, strict=False) for part in pair]
        pattern = "".join(part if isinstance(part, str) else part.pattern for part in parts)
        return re.fullmatch(pattern + re.escape(self.literals[-1]), text) is not None

    def sample(self, count: int, rng: random.Random, without: Collection[str] = ()) -> list[str]:
        """`count` different texts, uniformly, none of `without`; fewer where the space holds no more."""
        if self.size <= 2 * (count + len(without)):
            left = [text for text in map(self.text, range(self.size)) if text not in without]
            return rng.sample(left, min(count, len(left)))
        return list(self._draws(count, rng, without))

    def _draws(self, count: int, rng: random.Random, without: Collection[str]) -> Iterator[str]:
        seen = set(without)
        while count:
            text = self.text(rng.randrange(self.size))
            if text not in seen:
                seen.add(text)
                count -= 1
                yield text
