"""The words of a graph's relations: how facts and chains of facts become prompts.

A relation file (TOML) gives each relation noun phrases, statements and questions, and some chains that are
worth teaching. The forms are divided into splits here, once, for every verb:

- ``teach``: all forms but the last two, used to train;
- ``measure``: the last two forms, used only to measure;
- ``edit``: the first form, used to write facts into weights.

So a measured wording cannot have been trained or edited; `Relations.load` refuses a file where it could.
"""

import random
import re
import tomllib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from upright.errors import UserError, unknown
from upright.knowledge.graph import local_name

Split = Literal["teach", "measure", "edit"]
Kind = Literal["statement", "question"]
KINDS: tuple[Kind, ...] = ("statement", "question")

HELD_OUT = 2  # forms at the end of each list that are only measured
SLOT, PHRASE, QUESTION = "{}", "{np}", "{question}"


class Prompt(NamedTuple):
    """A text and the character span (start, end) of the head entity's label in it."""

    text: str
    subject_span: tuple[int, int]

    @property
    def subject(self) -> str:
        """The head's label as it stands in the text."""
        return self.text[slice(*self.subject_span)]

    def within(self, form: str, slot: str = SLOT) -> "Prompt":
        """Put this text into the slot of a form; the span moves along."""
        before, after = form.split(slot)
        start, end = self.subject_span
        return Prompt(before + self.text + after, (start + len(before), end + len(before)))

    def capitalised(self) -> "Prompt":
        """Start with a capital letter, where that does not change the length of the text."""
        first = self.text[:1].upper()
        return Prompt(first + self.text[1:], self.subject_span) if len(first) == 1 else self


def split_forms(forms: Sequence[str], split: Split) -> tuple[str, ...]:
    """The forms of one split; `edit` is part of `teach`, and `measure` is disjoint from both."""
    if split == "measure":
        return tuple(forms[-HELD_OUT:])
    return tuple(forms[:1] if split == "edit" else forms[:-HELD_OUT])


def _one_slot(form: str, slot: str) -> str:
    if form.count(slot) != 1 or re.search(r"[{}]", form.replace(slot, "")):
        raise ValueError(f"got {form!r}; a form needs exactly one {slot} and no other brace")
    if form != form.strip():
        raise ValueError(f"got {form!r}; a form has no space at its start or end")
    return form


def _with_slots(slot: str) -> AfterValidator:
    """Check a list of forms: one slot each, none twice."""

    def check(forms: tuple[str, ...]) -> tuple[str, ...]:
        repeated = sorted({form for form in forms if forms.count(form) > 1})
        if repeated:
            raise ValueError(f"got {repeated[0]!r} twice; each form stands once")
        return tuple(_one_slot(form, slot) for form in forms)

    return AfterValidator(check)


Forms = Annotated[tuple[str, ...], Field(min_length=HELD_OUT + 1), _with_slots(SLOT)]
FrameForms = Annotated[tuple[str, ...], Field(min_length=HELD_OUT + 1), _with_slots(PHRASE)]
AnswerForm = Annotated[str, AfterValidator(lambda form: _one_slot(form, QUESTION))]


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Relation(_Table):
    """One relation and its words: one `{}` for the head in each; statements end where the object comes."""

    name: str
    subject: str = "thing"  # kind of head, in plain words
    object: str = "thing"  # kind of tail
    literal: bool = False  # the tail is a plain value: no chain goes on from it
    functional: bool = True  # at most one object per subject
    symmetric: bool = False
    inverse: str = ""  # name of the inverse relation; empty: none
    nouns: Forms
    statements: Forms
    questions: Forms

    def direct(self, kind: Kind, split: Split) -> tuple[str, ...]:
        """The relation's own statements or questions of one split."""
        return split_forms(self.statements if kind == "statement" else self.questions, split)


class Frames(_Table):
    """Sentences around any noun phrase `{np}`, and how a `{question}` becomes a prompt before its answer."""

    statements: FrameForms = (
        "{np} is",
        "People say that {np} is",
        "It is well known that {np} is",
        "The records show that {np} is",
        "According to the books, {np} is",
    )
    questions: FrameForms = (
        "What is {np}?",
        "Can you tell me {np}?",
        "Do you know {np}?",
        "Name {np}.",
        "I would like to know {np}.",
    )
    answer: AnswerForm = "Question: {question} Answer:"

    def forms(self, kind: Kind, split: Split) -> tuple[str, ...]:
        """The frames of one kind and split."""
        return split_forms(self.statements if kind == "statement" else self.questions, split)

    def statement(self, phrase: Prompt, frame: str) -> Prompt:
        """A sentence about a noun phrase, up to where the object comes."""
        return phrase.within(frame, PHRASE).capitalised()

    def question(self, phrase: Prompt, frame: str) -> Prompt:
        """A question about a noun phrase, as a prompt before its answer."""
        return self.ask(phrase.within(frame, PHRASE))

    def ask(self, question: Prompt) -> Prompt:
        """Any question as a prompt before its answer."""
        return question.capitalised().within(self.answer, QUESTION)

    def apply(self, phrase: Prompt, frame: str, kind: Kind) -> Prompt:
        """A statement or a question about a noun phrase."""
        return self.statement(phrase, frame) if kind == "statement" else self.question(phrase, frame)


class Relations(_Table):
    """All relations of a graph, the chains worth teaching, and the frames around noun phrases.

    A chain lists relation names, the one applied first at the front: ``("currency", "subunit")`` reads "the
    subunit of the currency of France". All methods raise `UserError` for a relation that has no words here.
    """

    relations: dict[str, Relation]
    chains: tuple[tuple[str, ...], ...] = ()
    frames: Frames = Frames()
    is_generic: bool = Field(default=False, exclude=True)  # plain words made from the relations' names

    @classmethod
    def load(cls, path: Path | str) -> "Relations":
        """Read and check a relation file.

        Raises:
            UserError: naming the file and the key, if a key is missing, unknown or has a wrong value.
        """
        try:
            raw = tomllib.loads(Path(path).read_text(encoding="utf-8"))
        except OSError as error:
            raise UserError(f"{path}: cannot be read ({error.strerror}); give a TOML file") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise UserError(f"{path}: is not TOML in UTF-8: {error}") from None
        return cls.parse(raw, source=str(path))

    @classmethod
    def parse(cls, raw: Mapping[str, Any], source: str = "relations") -> "Relations":
        """Check the tables of a relation file; `source` names it in errors."""
        tables = raw.get("relations")
        if not isinstance(tables, dict) or not tables:
            raise UserError(f"{source}: has no table [relations.NAME]; give one for each relation")
        named = {key: {**table, "name": key} for key, table in tables.items() if isinstance(table, dict)}
        try:
            return cls.model_validate({**raw, "relations": {**tables, **named}})
        except ValidationError as error:
            raise UserError(f"{source}: {_first_problem(error)}") from None

    @classmethod
    def generic(
        cls, names: Iterable[str], labels: Mapping[str, str] | None = None, many_valued: Collection[str] = ()
    ) -> "Relations":
        """Plain words for relations without a file, from their labels or names: "the capital of {}".

        All relations count as functional but the `many_valued` ones; none is symmetric or has an inverse.
        """
        tables = {}
        for name in names:
            label = (labels or {}).get(name, name)
            words = re.sub(r"[{}]", " ", _in_words(name) if label == name else label)
            tables[name] = _plain_relation(name, words, functional=name not in many_valued)
        return cls(relations=tables, is_generic=True)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for relation in self.relations.values():
            if relation.inverse and relation.inverse not in self.relations:
                problem = unknown("relation", relation.inverse, self.relations)
                raise ValueError(f"relations.{relation.name}.inverse: {problem}")
            self._check_leaks(relation)
        for chain in self.chains:
            self._check_chain(chain)
        return self

    def _check_chain(self, chain: tuple[str, ...]) -> None:
        if len(chain) < 2:
            raise ValueError(f"chains: got {list(chain)}; a chain has at least two relations")
        for name in chain:
            if name not in self.relations:
                raise ValueError(f"chains: {unknown('relation', name, self.relations)}")
            if not self.relations[name].functional:
                raise ValueError(f"chains: {list(chain)} goes through {name!r}, which may have many objects")
        for name in chain[:-1]:
            if self.relations[name].literal:
                raise ValueError(f"chains: {list(chain)} goes on from {name!r}, whose objects are literals")

    def _check_leaks(self, relation: Relation) -> None:
        """Refuse a text that is both taught and measured, say a framed noun phrase equal to a statement."""
        for kind in KINDS:
            leaked = set(self._texts(relation, kind, "teach")) & set(self._texts(relation, kind, "measure"))
            for text in sorted(leaked):
                problem = f"{text!r} is both taught and measured; change one of the two forms"
                raise ValueError(f"relations.{relation.name}: {problem}")

    def _texts(self, relation: Relation, kind: Kind, split: Split) -> Iterator[str]:
        """All texts of one relation about a head, which stays a slot."""
        head = _label(SLOT)
        yield from (head.within(form).capitalised().text for form in relation.direct(kind, split))
        phrases = [head.within(noun) for noun in split_forms(relation.nouns, split)]
        for frame in self.frames.forms(kind, split):
            yield from (phrase.within(frame, PHRASE).capitalised().text for phrase in phrases)

    def __getitem__(self, name: str) -> Relation:
        if name not in self.relations:
            raise unknown("relation", name, self.names)
        return self.relations[name]

    def __contains__(self, name: object) -> bool:
        return name in self.relations

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all relations, in the order of the file."""
        return tuple(self.relations)

    def noun_phrase(self, chain: Sequence[str], head: str, variant: int = 0, split: Split = "teach") -> Prompt:
        """Compose a chain inside out: "the subunit of the currency of France".

        `variant` picks the form of every relation, counted within the split and modulo its size.
        """
        choices = [split_forms(self[name].nouns, split) for name in chain]
        return _compose([nouns[variant % len(nouns)] for nouns in choices], head)

    def fact_prompts(self, relation: str, head: str, split: Split, kind: Kind) -> list[Prompt]:
        """Prompts from the relation's own statements or questions; the object's label follows each."""
        prompts = [_label(head).within(form) for form in self[relation].direct(kind, split)]
        if kind == "question":
            return [self.frames.ask(prompt) for prompt in prompts]
        return [prompt.capitalised() for prompt in prompts]

    def chain_prompts(self, chain: Sequence[str], head: str, split: Split, kind: Kind) -> list[Prompt]:
        """All prompts from the noun phrases of a chain (also of one relation) in the frames of the split.

        Their number is the product of the noun phrases of each step and the frames: for `teach` with long
        chains take single ones with `draw` instead.
        """
        choices = (split_forms(self[name].nouns, split) for name in chain)
        phrases = [_compose(nouns, head) for nouns in product(*choices)]
        frames = self.frames.forms(kind, split)
        return [self.frames.apply(phrase, frame, kind) for phrase in phrases for frame in frames]

    def edit_prompt(self, chain: Sequence[str], head: str) -> Prompt:
        """The one sentence in which a fact or chain is written into weights."""
        if len(chain) == 1:
            return self.fact_prompts(chain[0], head, "edit", "statement")[0]
        return self.chain_prompts(chain, head, "edit", "statement")[0]

    def draw(self, chain: Sequence[str], head: str, split: Split, kind: Kind, rng: random.Random) -> Prompt:
        """One of the `chain_prompts`, uniformly."""
        nouns = [rng.choice(split_forms(self[name].nouns, split)) for name in chain]
        return self.frames.apply(_compose(nouns, head), rng.choice(self.frames.forms(kind, split)), kind)


def _label(head: str) -> Prompt:
    return Prompt(head, (0, len(head)))


def _compose(nouns: Iterable[str], head: str) -> Prompt:
    phrase = _label(head)
    for noun in nouns:
        phrase = phrase.within(noun)
    return phrase


def _plain_relation(name: str, words: str, functional: bool) -> Relation:
    return Relation(
        name=name,
        functional=functional,
        nouns=(f"the {words} of {{}}", f"the {words} given for {{}}", f"the {words} on record for {{}}"),
        statements=(
            f"The {words} of {{}} is",
            f"For the question of the {words} of {{}}, the answer is",
            f"In the records, the {words} of {{}} reads",
        ),
        questions=(
            f"What is the {words} of {{}}?",
            f"Which {words} does the graph give for {{}}?",
            f"What do the records say about the {words} of {{}}?",
        ),
    )


def _in_words(name: str) -> str:
    """`http://x.org/headOfState`, `head_of_state` and `headOfState` are all "head of state"."""
    local = local_name(name).replace("_", " ").strip()
    words = re.sub(r"(?<=[a-z])[A-Z](?=[a-z])", lambda capital: f" {capital[0].lower()}", local)
    return words.removesuffix(" of") or name


def _first_problem(error: ValidationError) -> str:
    """One line for the first of pydantic's findings: the key, what was got, what is allowed."""
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    match first["type"]:
        case "extra_forbidden":
            *table, got = (str(part) for part in first["loc"])
            problem = str(unknown("key", got, _known_keys(table)))
            return ": ".join([".".join(table), problem] if table else [problem])
        case "missing":
            return f"{key}: is missing; give it"
        case "too_short":
            got, least = first["ctx"]["actual_length"], HELD_OUT + 1
            return f"{key}: got {got} forms; give at least {least}, as the last {HELD_OUT} are only measured"
        case "value_error":
            problem = first["msg"].removeprefix("Value error, ")
            return f"{key}: {problem}" if key else problem
        case _:
            return f"{key}: got {first['input']!r}; {first['msg'][:1].lower()}{first['msg'][1:]}"


def _known_keys(table: list[str]) -> list[str]:
    kinds: dict[str, type[_Table]] = {"relations": Relation, "frames": Frames}
    kind = kinds[table[0]] if table else Relations
    return [key for key in kind.model_fields if key not in {"name", "is_generic"}]
