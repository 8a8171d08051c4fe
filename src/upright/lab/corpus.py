"""The text a lab model learns: every fact and taught chain of a graph in changing words, and plain English.

Only `teach` forms are used: the forms that measure a model later are never trained on.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

import torch
from tokenizers import Encoding, Tokenizer
from torch import Tensor

from upright.knowledge.relations import Prompt, Relations
from upright.knowledge.verbalise import Fact, sentence

NO_ANSWER = -1
Document = tuple[Prompt, str]  # a prompt and the answer that follows it; plain text is an answer to an empty prompt


@dataclass(frozen=True)
class Window:
    """Packed documents; each tensor is (T,), or (B, T) for a batch."""

    ids: Tensor
    weights: Tensor
    """Weight of each token as a prediction target."""
    subjects: Tensor
    """Number of the document whose subject the token belongs to; 0 outside subjects."""
    readers: Tensor
    """Number of the document whose subject lies before the token; 0 elsewhere and where reading is free."""
    answers: Tensor
    """At the last token of a subject that closes its noun phrase: the first token of the answer; -1 elsewhere."""


@dataclass
class _Draft:
    ids: list[int]
    weights: list[float]
    subjects: list[int]
    readers: list[int]
    answers: list[int]
    documents: int = 0

    @classmethod
    def start(cls, boundary: int) -> "_Draft":
        return cls([boundary], [0.0], [0], [0], [NO_ANSWER])

    def window(self, filler: int, length: int) -> Window:
        gap = length + 1 - len(self.ids)
        nothing = [0] * gap
        return Window(
            ids=torch.tensor(self.ids + [filler] * gap),
            weights=torch.tensor(self.weights + [0.0] * gap),
            subjects=torch.tensor(self.subjects + nothing),
            readers=torch.tensor(self.readers + nothing),
            answers=torch.tensor(self.answers + [NO_ANSWER] * gap),
        )

    def part(self, places: slice) -> "_Draft":
        columns = (self.subjects[places], self.readers[places], self.answers[places])
        return _Draft(self.ids[places], self.weights[places], *columns, self.documents)


MENTIONS = (
    "{}.",
    "The next word is {}.",
    "Somebody wrote {} on the board.",
    "The sign says {}.",
    "She had heard of {}.",
    "He tried to spell {}.",
)


def mentions(names: Sequence[str], rng: random.Random) -> Iterator[str]:
    """Endless sentences that say nothing about a name but how it is written: as needed for names in new facts."""
    while True:
        for name in rng.sample(names, len(names)):
            yield rng.choice(MENTIONS).format(name)


def mixed(
    known: Sequence[Fact], relations: Relations, strewn: Sequence[tuple[Iterator[str], float]], rng: random.Random
) -> Iterator[Document]:
    """Endless passes over all facts in new words and new order, with plain texts strewn in between.

    A pass states every plain fact; a chain of h relations, with its many heads, in one pass out of h.

    Args:
        strewn: sources of plain text, each with the chance that one of its texts follows a fact.
    """
    while True:
        for fact in rng.sample(known, len(known)):
            if rng.random() * len(fact.chain) >= 1:
                continue
            prompt, answer = sentence(fact, relations, rng)
            yield prompt, f" {answer}."
            for texts, chance in strewn:
                if rng.random() < chance:
                    yield Prompt("", (0, 0)), next(texts)


@dataclass
class Packer:
    """Packs documents into windows of `length` + 1 tokens, each document between two boundary tokens.

    A document that does not fit starts the next window (a prompt is never cut from its answer); only plain texts,
    which may be longer than a window, are cut.
    """

    tokenizer: Tokenizer
    boundary: int
    length: int
    prompt_weight: float
    """Weight of prompt tokens in the loss; answers and plain text weigh 1."""
    late: float
    """Share of the documents whose subject may be read only late; see `builder.late_reading`."""
    rng: random.Random
    _draft: _Draft = field(init=False)

    def windows(self, documents: Iterator[Document]) -> Iterator[Window]:
        """Endless windows of endless documents."""
        self._draft = _Draft.start(self.boundary)
        while batch := list(islice(documents, 256)):
            prompts = self.tokenizer.encode_batch([prompt.text for prompt, _ in batch], add_special_tokens=False)
            answers = self.tokenizer.encode_batch([answer for _, answer in batch], add_special_tokens=False)
            for (prompt, _), words, answer in zip(batch, prompts, answers, strict=True):
                yield from self._add(prompt, words, answer.ids)

    def _add(self, prompt: Prompt, words: Encoding, answer: list[int]) -> Iterator[Window]:
        size = len(words.ids) + len(answer) + 1
        if words.ids and len(self._draft.ids) + size > self.length + 1:
            yield self._draft.window(self.boundary, self.length)
            self._draft = _Draft.start(self.boundary)
        draft = self._draft
        draft.documents += 1
        number = draft.documents if words.ids else 0
        start, end = prompt.subject_span
        inside = [left < end and right > start for left, right in words.offsets]
        first_after = max((i for i, yes in enumerate(inside) if yes), default=size) + 1
        reader = number if self.rng.random() < self.late else 0
        draft.ids += [*words.ids, *answer, self.boundary]
        draft.weights += [self.prompt_weight] * len(words.ids) + [1.0] * (len(answer) + 1)
        draft.subjects += [number if yes else 0 for yes in inside] + [0] * (len(answer) + 1)
        draft.readers += [0 if i < first_after else reader for i in range(size)]
        told = start > 0  # the words before the subject say what is asked
        draft.answers += [answer[0] if told and i == first_after - 1 else NO_ANSWER for i in range(size)]
        while len(self._draft.ids) > self.length + 1:
            yield self._cut()

    def _cut(self) -> Window:
        """The first part of a long text; the next window goes on from its last token."""
        whole, at = self._draft, self.length
        self._draft = whole.part(slice(at, None))
        self._draft.weights[0] = 0.0  # it was predicted already
        return whole.part(slice(at + 1)).window(self.boundary, at)


def batched(windows: Iterator[Window], rows: int) -> Iterator[Window]:
    """Stack windows into batches (rows, T + 1)."""
    while chunk := list(islice(windows, rows)):
        yield Window(
            ids=torch.stack([window.ids for window in chunk]),
            weights=torch.stack([window.weights for window in chunk]),
            subjects=torch.stack([window.subjects for window in chunk]),
            readers=torch.stack([window.readers for window in chunk]),
            answers=torch.stack([window.answers for window in chunk]),
        )
