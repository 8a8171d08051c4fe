"""Short stories in plain English, written by a seeded grammar: text that the lab's models learn from.

The grammar is data, in the folder `english/` beside this file: `words.txt` holds lists of words, every other
file holds genres. A genre is a set of sentence patterns in sections (open, scene, middle, problem, end); a
story takes some of each. A pattern may hold

    {A} {Ao} {As} {Am} {An}   the first person: she, her, her (own), herself, always the name; {B} the second
    {W} {Wo} {Ws}             both: they, them, their
    <go> <go/s> <go/p>        a verb in the tense of the story, agreeing with A, with one other, with several
    {fruit}                   a word of that list, or what the genre's `let` drew once for the whole story
    [soon|later|]             one of these
    ~                         (at the start) may take an opener such as "After a while,"
    //                        between two sentences that belong together

Both "a" and "an" may be written: which of the two stands in the story depends on the word that follows there.
"""

import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

_FOLDER = Path(__file__).with_suffix("")
_WORDS = range(40, 121)
_SENTENCES = range(4, 10)

_PRONOUNS = {
    "f": {"": "she", "o": "her", "s": "her", "m": "herself"},
    "m": {"": "he", "o": "him", "s": "his", "m": "himself"},
    "I": {"": "I", "o": "me", "s": "my", "m": "myself"},
    "they": {"": "they", "o": "them", "s": "their"},
    "we": {"": "we", "o": "us", "s": "our"},
}
_BE = {"I": ("was", "am"), "s": ("was", "is"), "p": ("were", "are")}
_THIRD = {"have": "has", "do": "does", "go": "goes", "can": "can", "will": "will", "must": "must"}

_TOKEN = re.compile(r"\{[^}]*\}|<[^>]*>|[\[\]|]|[^{}<>\[\]|]+")
_PERSON = re.compile(r"([ABW])([osmn]?)")
_ARTICLE = re.compile(r"\b([Aa]) (?=(?:[aeiouAEIOU]|hour|honest)(?!ne\b|nce\b|niform|nion|sed|seful|sual))")
_AN = re.compile(r"\b([Aa])n (?=[\w{\[])")
_SENTENCE_END = re.compile(r'[.!?]"?(?= ["A-Z0-9]|$)')


class Teller:
    """The state of one story: who is in it, how it is told, what was already said."""

    def __init__(self, rng: random.Random, grammar: "Grammar", genre: "Genre"):
        self.rng, self.grammar = rng, grammar
        self.past = rng.random() < 0.85
        first = genre.person == "first" or (genre.person == "any" and rng.random() < 0.2)
        gender = rng.choice("fm")
        # The two differ in gender unless one is "I", so that every pronoun points at one person.
        other = rng.choice("fm") if first else "fm"[gender == "f"]
        self.voice = {"A": "I" if first else gender, "B": other, "W": "we" if first else "they"}
        self.known: set[str] = {"A"} if first else set()
        self.here: set[str] = set()
        self.before: set[str] = set()
        self.used: set[str] = set()
        self.bound: dict[str, str] = {}
        self.names = {"A": self.draw(f"name_{gender}"), "B": self.draw(f"name_{other}")}
        self.bond = self.draw(f"{genre.bond}_{other}")
        for name, source in genre.lets:
            self.bound[name] = self.draw(source)

    def expand(self, nodes: "Nodes") -> str:
        """The text of a pattern."""
        if len(nodes) == 1 and type(nodes[0]) is str:
            return nodes[0]
        return "".join([node if type(node) is str else node(self) for node in nodes])  # type: ignore[operator]

    def draw(self, name: str) -> str:
        """The word bound to a name, or one of the list that this story has not used yet."""
        if name in self.bound:
            return self.bound[name]
        options = self.grammar.lists[name]
        for _ in range(4):
            word = self.expand(self.rng.choice(options))
            if word not in self.used:
                break
        self.used.add(word)
        return word

    def sentence(self, pattern: "Pattern") -> str:
        """One pattern as text, with its first letter raised and perhaps an opener."""
        self.here = set()
        text = self.expand(pattern.nodes)
        if pattern.opener and self.rng.random() < 0.3:
            text = f"{self.draw('opener')} {text}"
        self.before = self.here
        at = text[0] == '"'
        return text[:at] + text[at].upper() + text[at + 1 :]

    def refer(self, who: str, case: str) -> str:
        """A name or a pronoun for A, B or both, as the listener needs it."""
        if case == "n":
            self._mention(who)
            return self.names[who]
        if who == "W":
            return self._refer_both(case)
        if self.voice[who] == "I" or self._is_clear(who):
            self._mention(who)
            return _PRONOUNS[self.voice[who]][case]
        new = who not in self.known
        name = self._introduce() if new and who == "B" else self.names[who]
        self._mention(who)
        if new and who == "A" and case == "" and self.rng.random() < 0.12:
            return f"{name}, {self.draw('about_' + self.voice['A'])},"
        return name + "'s" if case == "s" else name

    def _mention(self, who: str) -> None:
        names = "ABW" if who == "W" else who
        self.known.update(names)
        self.here.update(names)

    def _is_clear(self, who: str) -> bool:
        if who in self.here:
            return True
        return who in self.known and self.rng.random() < (0.8 if who in self.before else 0.35)

    def _introduce(self) -> str:
        """The second person at the first mention: mostly with the bond, as in "her brother Tom"."""
        if self.rng.random() < 0.3:
            return self.names["B"]
        return f"{self.refer('A', 's')} {self.bond} {self.names['B']}"

    def _refer_both(self, case: str) -> str:
        if "W" in self.here or case in ("o", "s") or ("B" in self.known and self.rng.random() < 0.8):
            self.here.add("W")
            return _PRONOUNS[self.voice["W"]][case]
        self._mention("A")
        other = self.names["B"] if "B" in self.known else self._introduce()
        self._mention("W")
        return f"{other} and I" if self.voice["A"] == "I" else f"{self.names['A']} and {other}"


Node = str | Callable[[Teller], str]
Nodes = tuple[Node, ...]


@dataclass(frozen=True)
class Pattern:
    """One line of a genre, compiled."""

    nodes: Nodes
    opener: bool = False


@dataclass
class Genre:
    """One kind of story: its patterns by section, and how many of the middle it takes."""

    person: str = "any"
    bond: str = "bond"
    place: str = ""
    middle: tuple[int, int] = (1, 3)
    scene: float = 0.5
    weight: float = 1.0
    lets: list[tuple[str, str]] = field(default_factory=list)
    sections: dict[str, list[list[Pattern]]] = field(default_factory=dict)


class Words:
    """What compiling a pattern needs: irregular past forms, and what may stand for a word."""

    def __init__(self, past: dict[str, str], same: dict[str, str]):
        self.past, self.same = past, same
        longest_first = sorted(map(re.escape, same), key=len, reverse=True)
        self._head = re.compile(rf"(?<![\w{{<])(?:{'|'.join(longest_first)})(?![\w}}>])")

    def widen(self, text: str) -> str:
        """The pattern with each word that heads a group replaced by a choice among the group."""
        return self._head.sub(lambda match: f"[{self.same[match[0]]}]", text)


@dataclass
class Grammar:
    """All word lists (by name) and all genres."""

    lists: dict[str, list[Nodes]]
    genres: dict[str, Genre]


def story(rng: random.Random) -> str:
    """One story of 4 to 9 sentences and 40 to 120 words, on one line.

    The same state of `rng` gives the same story; no other randomness is used.
    """
    grammar = _grammar()
    while True:
        genre = rng.choices(_genres(), cum_weights=_cumulative_weights())[0]
        text = _ARTICLE.sub(r"\1n ", _tell(Teller(rng, grammar, genre), genre)).replace("can not", "cannot")
        if text.count(" ") + 1 in _WORDS and len(_SENTENCE_END.findall(text)) in _SENTENCES:
            return text


def stories(seed: int) -> Iterator[str]:
    """Stories without end; the same seed gives the same sequence."""
    rng = random.Random(seed)
    while True:
        yield story(rng)


def _tell(teller: Teller, genre: Genre) -> str:
    """Opening, scene, some of the middle in its order, a problem with its solution, an end."""
    rng, sections = teller.rng, genre.sections
    common = teller.grammar.genres["common"].sections
    scenes = sections.get("scene", []) + common.get(f"scene_{genre.place}", []) + common["scene"]
    early, late = rng.sample(scenes, 2)
    plan = [rng.choice(sections["open"])]
    if rng.random() < genre.scene:
        plan.append(early)
    plan += _pick_in_order(rng, sections["middle"], rng.randint(*genre.middle))
    if "problem" in sections and rng.random() < 0.85:
        trouble, *rest = rng.choice(sections["problem"])
        plan.append([trouble])
        if genre.person == "any" and rng.random() < 0.2:
            plan.append(rng.choice(common["doubt"]))
        plan.append(rest)
    if rng.random() < genre.scene / 4:
        plan.append(late)
    if rng.random() < 0.92:
        plan.append(rng.choice(sections["end"]))
    return " ".join(teller.sentence(pattern) for step in plan for pattern in step)


def _pick_in_order(rng: random.Random, steps: list[list[Pattern]], count: int) -> list[list[Pattern]]:
    return [steps[i] for i in sorted(rng.sample(range(len(steps)), min(count, len(steps))))]


@cache
def _grammar() -> Grammar:
    """The grammar, read once."""
    lists = _read_words(_FOLDER / "words.txt")
    past = dict(pair.split() for pair in lists.pop("past"))
    words = Words(past, {group.split("|")[0]: group for group in lists.pop("same")})
    compiled = {name: [_compile(entry, words) for entry in entries] for name, entries in lists.items()}
    genres: dict[str, Genre] = {}
    for path in sorted(_FOLDER.glob("*.txt")):
        if path.name != "words.txt":
            genres |= _read_genres(path, words)
    return Grammar(compiled, genres)


@cache
def _genres() -> list[Genre]:
    return [genre for name, genre in _grammar().genres.items() if name != "common"]


@cache
def _cumulative_weights() -> list[float]:
    weights = [genre.weight for genre in _genres()]
    return [sum(weights[: i + 1]) for i in range(len(weights))]


def _lines(path: Path) -> Iterator[str]:
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.strip() and not line.startswith("#"):
            yield line.strip()


def _read_words(path: Path) -> dict[str, list[str]]:
    """Sections `== name`; entries between semicolons, over any number of lines."""
    lists: dict[str, list[str]] = {}
    for line in _lines(path):
        if line.startswith("== "):
            entries = lists.setdefault(line[3:], [])
        else:
            entries += [word.strip() for word in line.split(";") if word.strip()]
    return lists


def _read_genres(path: Path, words: "Words") -> dict[str, Genre]:
    """Genres `=== name` with settings, then sections `== name` with one pattern a line."""
    genres: dict[str, Genre] = {}
    steps: list[list[Pattern]] | None = None
    for line in _lines(path):
        if line.startswith("=== "):
            genre, steps = genres.setdefault(line[4:], Genre()), None
        elif line.startswith("== "):
            steps = genre.sections.setdefault(line[3:], [])
        elif steps is None:
            _set(genre, line)
        else:
            steps.append([_pattern(part.strip(), words) for part in line.split("//")])
    return genres


def _set(genre: Genre, line: str) -> None:
    """One setting of a genre, such as `let X = LIST` or `middle LOW HIGH`.

    `person` is any, first (always "I") or none; `bond` names the list of who B is to A (bond or peer);
    `place` is in or out and chooses the common scenes; `scene` is the share of stories with one; `weight`
    is relative to 1.
    """
    key, *values = line.split()
    if key == "let":
        genre.lets.append((values[0], values[2]))
    elif key in ("person", "bond", "place"):
        setattr(genre, key, values[0])
    elif key == "middle":
        genre.middle = (int(values[0]), int(values[1]))
    elif key in ("scene", "weight"):
        setattr(genre, key, float(values[0]))
    else:
        raise ValueError(f"{line!r}: unknown setting; use let, person, bond, place, middle, scene or weight")


def _pattern(text: str, words: "Words") -> Pattern:
    return Pattern(_compile(text.removeprefix("~").strip(), words), text.startswith("~"))


def _compile(text: str, words: "Words") -> Nodes:
    """A pattern as a sequence of plain strings and functions of the teller."""
    text = words.widen(_AN.sub(r"\1 ", text))
    tokens = _TOKEN.findall(text)
    if "".join(tokens) != text or tokens.count("[") != tokens.count("]"):
        raise ValueError(f"{text!r}: brackets do not match; close every {{, < and [")
    return _sequence(iter(tokens), words)[0]


def _sequence(tokens: Iterator[str], words: "Words") -> tuple[Nodes, str]:
    """Nodes up to the end, a bar or a closing bracket, and which of the three it was."""
    nodes: list[Node] = []
    for token in tokens:
        if token in "|]":
            return tuple(nodes), token
        if token == "[":
            nodes.append(_choice(tokens, words))
        elif token[0] == "{":
            nodes.append(_reference(token[1:-1]))
        elif token[0] == "<":
            nodes.append(_verb(token[1:-1], words))
        else:
            nodes.append(token)
    return tuple(nodes), ""


def _choice(tokens: Iterator[str], words: "Words") -> Node:
    options, stop = [], "|"
    while stop == "|":
        nodes, stop = _sequence(tokens, words)
        options.append(nodes)
    return lambda teller: teller.expand(teller.rng.choice(options))


def _reference(name: str) -> Node:
    person = _PERSON.fullmatch(name)
    if person:
        who, case = person.groups()
        return lambda teller: teller.refer(who, case)
    return lambda teller: teller.draw(name)


def _verb(token: str, words: "Words") -> Node:
    """A verb that agrees with A (`go`), with one other (`go/s`) or with several (`go/p`)."""
    base, _, number = token.partition("/")
    forms = {who: _inflect(base, who, words) for who in "Isp"}

    def node(teller: Teller) -> str:
        who = number or ("I" if teller.voice["A"] == "I" else "s")
        return forms[who][0 if teller.past else 1]

    return node


def _inflect(base: str, who: str, words: "Words") -> tuple[str, str]:
    """The past and the present form: who is "I", "s" (he, she, it) or "p" (we, they)."""
    if base == "be":
        return _BE[who]
    return words.past.get(base) or _regular_past(base), _third(base) if who == "s" else base


def _regular_past(base: str) -> str:
    if base.endswith("e"):
        return base + "d"
    if base.endswith("y") and base[-2] not in "aeiou":
        return base[:-1] + "ied"
    return base + "ed"


def _third(base: str) -> str:
    if base in _THIRD:
        return _THIRD[base]
    if base.endswith(("s", "sh", "ch", "x", "z")):
        return base + "es"
    if base.endswith("y") and base[-2] not in "aeiou":
        return base[:-1] + "ies"
    return base + "s"
