"""Variations of a text by a public model, as private evolution needs them: none looks at a private record."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from upright.models.chat import Client, Completion, Message, Sampling
from upright.synthesis.corpus import Code
from upright.synthesis.generators.calls import Spend, answered
from upright.synthesis.sampling import Draft


@dataclass(frozen=True)
class Rewritten:
    """Variations by a causal model: the beginning of a text is kept, and the model goes on from there.

    Args:
        go_on: (prompts, seeds) to continuations, without the prompts.
        prompt: what stands before a text of a code.
        keep: words that are kept, on average; how many is drawn anew for every text, so that any word may change.
    """

    go_on: Callable[[Sequence[str], Sequence[int]], Sequence[Draft]]
    prompt: Callable[[Code], str]
    keep: float

    def __call__(self, drafts: Sequence[Draft], codes: Sequence[Code], seeds: Sequence[int]) -> list[Draft]:
        """As `evolution.Vary`."""
        heads = [self._head(draft.text, seed) for draft, seed in zip(drafts, seeds, strict=True)]
        tails = self.go_on([self.prompt(code) + head for head, code in zip(heads, codes, strict=True)], seeds)
        return [Draft(_joined(head, tail.text), tail.ended) for head, tail in zip(heads, tails, strict=True)]

    def _head(self, text: str, seed: int) -> str:
        """The first words, a share u^(1/keep - 1) of them for uniform u, whose mean is `keep`."""
        rng, words = random.Random(seed), text.split(" ")
        share = rng.random() ** (1 / self.keep - 1)
        return " ".join(words[: int(share * len(words) + rng.random())])


def _joined(head: str, tail: str) -> str:
    """The whole text; with a space between the parts where the tokenizer kept none and a word follows."""
    glue = " " if head and tail[:1].isalnum() else ""
    return (head + glue + tail).strip()


REPHRASE = """Below is a text between <text> and </text>. Write it anew in {manner}: keep what kind of text it is\
{code} and about its length, and change wording and details freely.
Answer with the new text alone, between <text> and </text>.

<text>
{text}
</text>"""
MANNERS = ("other words", "a shorter form", "more detail", "another order", "plainer words", "a more formal tone")


@dataclass(frozen=True)
class Rephrased:
    """Variations by a chat model. A text whose call fails stays as it is, and `note` is told.

    Args:
        chat: the model; see `calls.answered`.
        describe: a code in words.
        note: takes (stage, reason, seed) of a failed call.
        spend: takes what the calls have cost.
    """

    chat: Client
    describe: Callable[[Code], str]
    sampling: Sampling
    note: Callable[[str, str, object], None]
    spend: Spend

    def __call__(self, drafts: Sequence[Draft], codes: Sequence[Code], seeds: Sequence[int]) -> list[Draft]:
        """As `evolution.Vary`."""
        return answered(self.chat, map(self._ask, drafts, codes, seeds), self.spend)

    async def _ask(self, draft: Draft, code: Code, seed: int) -> Draft:
        said = self.describe(code).strip()
        prompt = REPHRASE.format(
            manner=random.Random(seed).choice(MANNERS), code=f" ({said})" if said else "", text=draft.text
        )
        (answer,) = await self.chat.complete([Message("user", prompt)], replace(self.sampling, seed=seed % 2**31))
        found = self._read(answer, seed)
        return Draft(found, answer.finish != "length") if found else draft

    def _read(self, answer: Completion, seed: int) -> str:
        inside = answer.text.partition("<text>")[2] or answer.text
        found = inside.partition("</text>")[0].strip() if answer.finish != "error" else ""
        if not found:
            self.note("variation", answer.error or "the answer holds no text", seed)
        return found
