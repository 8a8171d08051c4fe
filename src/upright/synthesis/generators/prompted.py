"""In-context learning: a chat model is shown anonymised records and writes more. No formal guarantee.

What the model is shown it can repeat, and anonymisation finds only what has a form of its own (see `anonymise`).
The records so written are for comparison, or for a release that other means protect.
"""

import random
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from upright.errors import UserError
from upright.models.chat import Client, Message, Sampling
from upright.synthesis.corpus import Code, Corpus
from upright.synthesis.generators.anonymise import Anonymiser
from upright.synthesis.generators.calls import Spend, answered
from upright.synthesis.sampling import Draft

TASK = """You write invented records for software tests. Each describes people and events that do not exist.

{examples}

Write one new record of this kind{code}. Match the examples in form, style and length, but not in content: \
take over no name, no number and no sentence of theirs.
Answer with the record alone, between <record> and </record>."""
SLOTS = ("{examples}", "{code}")


@dataclass
class Prompted:
    """A chat model with examples; see the module.

    Args:
        chat: the model. It is closed after each round of calls.
        examples: anonymised records by code.
        describe: a code in words, such as "diagnosis: asthma, sex: female".
        found: personal data that was replaced in the examples, by kind.
        shown: examples in a prompt, at most: of the code as far as there are, and fewer if the prompt grows too long.
        task: the prompt, with {examples} and {code}.
        raw: the model continues texts and follows no instructions: it is given records, one below the other.
        note: takes (stage, reason, seed) of a record that could not be written.
        spend: takes what the calls have cost.
    """

    chat: Client
    examples: Mapping[Code, Sequence[str]]
    describe: Callable[[Code], str]
    found: Counter[str]
    sampling: Sampling
    note: Callable[[str, str, object], None]
    spend: Spend
    shown: int
    task: str = TASK
    raw: bool = False
    used: Counter[int] = field(default_factory=Counter)
    """How many prompts had so many examples."""

    @classmethod
    def fit(
        cls, corpus: Corpus, chat: Client, describe: Callable[[Code], str], anonymiser: Anonymiser, **rest: Any
    ) -> "Prompted":
        """Anonymise the records that are shown; the other arguments are those of the class."""
        examples: dict[Code, list[str]] = defaultdict(list)
        found = Counter[str]()
        for text, code in zip(corpus.texts, corpus.codes, strict=True):
            done = anonymiser(text)
            examples[code].append(done.text)
            found += done.found
        return cls(chat, dict(examples), describe, found, **rest)

    def __post_init__(self) -> None:
        missing = [slot for slot in SLOTS if slot not in self.task]
        if missing:
            raise UserError(f"the instructions lack {' and '.join(missing)}; put each where the text should stand")

    def write(self, codes: Sequence[Code], seeds: Sequence[int]) -> list[Draft]:
        """A text for each of `codes`, from its own seed; an empty one where the call failed, as `note` is told."""
        return answered(self.chat, map(self._one, codes, seeds), self.spend)

    async def _one(self, code: Code, seed: int) -> Draft:
        messages, stop = self._prompt(code, random.Random(seed))
        sampling = replace(self.sampling, seed=seed % 2**31, stop=(*self.sampling.stop, *stop))
        (answer,) = await self.chat.complete(messages, sampling)
        text = "" if answer.finish == "error" else read(answer.text)
        if not text:
            self.note("prompted", answer.error or "the answer holds no record", seed)
        return Draft(text, answer.finish != "length")

    def _prompt(self, code: Code, rng: random.Random) -> tuple[list[Message], tuple[str, ...]]:
        """The prompt with as many examples as fit beside the answer, and what ends the answer."""
        own = self.examples.get(code, ())
        chosen = rng.sample(list(own), min(self.shown, len(own)))
        while True:
            messages = [Message("user", self._wording(chosen, code))]
            context = self.chat.context
            if not chosen or context is None or self.chat.count(messages) + self.sampling.max_tokens <= context:
                self.used[len(chosen)] += 1
                return messages, ("\n\n",) if self.raw else ("</record>",)
            chosen.pop()

    def _wording(self, chosen: Sequence[str], code: Code) -> str:
        said = self.describe(code)
        if self.raw:
            head = f"{said}\n" if said else ""
            return "\n\n".join([*(head + _one_block(text) for text in chosen), head])
        shown = "\n\n".join(f"<record>\n{_harmless(text)}\n</record>" for text in chosen) or "(no examples)"
        return self.task.replace("{code}", f" ({said})" if said else "").replace("{examples}", shown)


def read(answer: str) -> str:
    r"""The record in an answer: between the marks where they are, else without a fence or a line that announces it.

    >>> read("Sure!\n<record>\nKnee pain.\n</record>"), read("Here is a new record:\n\nKnee pain.")
    ('Knee pain.', 'Knee pain.')
    """
    inside = re.search(r"<record>(.*?)(?:</record>|\Z)", answer, re.DOTALL | re.IGNORECASE)
    text = inside[1] if inside else answer.partition("</record>")[0]
    text = re.sub(r"\A\s*```\w*\n|\n```\s*\Z", "", text).strip()
    if inside is None:
        text = re.sub(r"\A(?:sure|certainly|of course|here)\b[^\n]*:\s*\n+", "", text, flags=re.IGNORECASE)
    return text.strip()


def _harmless(text: str) -> str:
    """A record without the marks around records, which would end it."""
    return re.sub(r"</?record>", "", text, flags=re.IGNORECASE)


def _one_block(text: str) -> str:
    return re.sub(r"\n\s*\n", "\n", text.strip())
