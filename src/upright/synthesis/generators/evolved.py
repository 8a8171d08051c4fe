"""Records by private evolution of what a public model writes: the adapter of `evolution`."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from upright.models import causal
from upright.models.causal import CausalModel
from upright.models.chat import open_chat
from upright.models.embed import Embedder
from upright.models.generate import batches, generate
from upright.run.config import digest
from upright.run.progress import progress
from upright.run.steps import MISSING, StepStore
from upright.synthesis.corpus import Code
from upright.synthesis.generators.evolution import QUERY, Evolution, Population, Vary, Write
from upright.synthesis.generators.protocol import Task, uniforms
from upright.synthesis.generators.queried import Queried, asked_for, described, queries_for, shares_of
from upright.synthesis.generators.tuned import Tuned, check_room
from upright.synthesis.generators.variations import Rephrased, Rewritten
from upright.synthesis.sampling import Keep, seed_of
from upright.synthesis.shares import uniform_shares

PART = 512
"""Candidates that are written at once."""
SLACK = 8
"""Tokens that a text may grow by when it is tokenised behind a code."""
FAR = 1e4
"""Coordinates of a blank text: further from all records than any text is."""


@dataclass(frozen=True, kw_only=True)
class Evolved(Queried):
    """Texts that evolved, and variations of them where more are wanted."""

    population: Population

    def write(self, codes: Sequence[Code], seeds: Sequence[int]) -> list[str]:
        """As `Generator.write`."""
        return self.population.write(codes, seeds)


def fit(task: Task) -> Evolved:
    """Let candidates evolve; a resumed run gets the votes that were given, and the candidates that were written.

    Raises:
        UserError: for a model that cannot be read or used, and a budget that does not suffice.
        MissingExtra: without dp-accounting.
    """
    config, how = task.config, task.config.evolution
    queries = queries_for(task, QUERY, how.rounds, math.sqrt(how.votes))
    model = causal.load(config.model, config.speed.device)
    check_room(model, 0, config.sampling.tokens, task.codes)
    vectors = Vectors(how.embedding or config.model, config.speed.device, config.speed.batch_rows)
    write, vary = _writer(model, task), _varier(model, task)
    shares, drowned = shares_of(task, queries)
    wanted = task.wanted(shares)
    method = Evolution(
        write=lambda codes, seeds: _in_parts("first candidates", write, codes, seeds),
        vary=lambda *given: _in_parts("candidates", vary, *given),
        embed=vectors.of,
        rounds=how.rounds,
        variations=how.variations,
        votes=how.votes,
        threshold=queries.deviation(QUERY),
        seed=task.seed_for("evolution"),
        keep=task.keep or _beside(task),
    )
    evolved = method.fit(task.corpus, wanted, queries)
    seeds = [seed_of(task.seed_for("writing"), place, 0) for place in range(len(wanted))]
    population = replace(evolved, vary=vary).given_to(wanted, seeds)
    limits = (*drowned, *_limits(population, wanted, vectors))
    return Evolved(certificate=queries.certificate(), shares=shares, learnt=limits, population=population)


def _limits(population: Population, wanted: Sequence[Code], vectors: "Vectors") -> list[str]:
    last, texts = population.rounds[-1], len(population.own)
    found = [
        f"In the last round {last.above:,} of {last.candidates:,} candidates had more votes than the standard "
        "deviation of the noise."
    ]
    if texts < len(wanted):
        found.append(
            f"{texts:,} texts evolved for the {len(wanted):,} records; the others are variations of them, for which "
            "nobody voted."
        )
    if vectors.cut:
        found.append(
            f"{vectors.cut:,} of {vectors.embedded:,} embedded texts, records and candidates, were longer than the "
            f"{vectors.longest:,} tokens that {vectors.name} reads; the rest of them played no role in the votes."
        )
    return found


def _beside(task: Task) -> Keep:
    """Keeps what was written beside the answers of the queries, which belong to it."""
    folder = task.state.parent / "candidates"
    folder.mkdir(parents=True, exist_ok=True)
    store = StepStore(folder, digest(task.config, "candidates"))

    def keep(name: str, compute: Callable[[], list[str]]) -> list[str]:
        if store.load(name) is MISSING:
            store.save(name, compute())
        texts: list[str] = store.load(name)
        return texts

    return keep


# --- the public model that writes ------------------------------------------------------------------------------


def _writer(model: CausalModel, task: Task) -> Write:
    """First candidates: what the model, as it is, writes after a code."""
    speed, shares = task.config.speed, uniform_shares(len(task.codes.combinations))
    return Tuned(model, task.codes, task.config.sampling, None, shares, rows=speed.batch_rows).write


def _varier(model: CausalModel, task: Task) -> Vary:
    """Variations by the chat model, where it is a server; else by the model that wrote the candidates."""
    config = task.config
    if config.chat.model.startswith("openai:"):
        chat = open_chat(config.chat)
        return Rephrased(chat, lambda code: described(task.codes, code), asked_for(config), task.note)
    return _rewriter(model, task)


def _rewriter(model: CausalModel, task: Task) -> Vary:
    """Variations of at most `sampling.tokens` tokens, of which the model reads the beginning that it has room for."""
    how, room = task.config.sampling, room_for(model, task)

    def go_on(prompts: Sequence[str], seeds: Sequence[int]) -> list[str]:
        return generate(
            model,
            [prompt.rstrip(" ") for prompt in prompts],
            how.tokens,
            stop=(),
            temperature=how.temperature,
            top_k=how.top_k,
            top_p=how.top_p,
            batch_rows=task.config.speed.batch_rows,
            draws=torch.from_numpy(uniforms(seeds, how.tokens)),
        )

    def prompt(code: Code) -> str:
        return task.codes.prompt(code).rstrip(" ") + " "

    rewritten = Rewritten(go_on, prompt, task.config.evolution.keep)

    def vary(texts: Sequence[str], codes: Sequence[Code], seeds: Sequence[int]) -> list[str]:
        longer = rewritten(beginnings(model.tokenizer, texts, room), codes, seeds)
        return beginnings(model.tokenizer, longer, how.tokens)

    return vary


def room_for(model: CausalModel, task: Task) -> int:
    """Tokens of a text that the model can read between a code and `sampling.tokens` new ones."""
    most = task.config.sampling.tokens
    if model.context is None:
        return most
    prompts = [task.codes.prompt(code) for code in task.codes.combinations]
    code = max(map(len, causal.prompt_ids(model.tokenizer, prompts)))
    return max(0, min(most, model.context - code - most - SLACK))


def beginnings(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], most: int) -> list[str]:
    """The first `most` tokens of each text, as text."""
    if not texts:
        return []
    spans = tokenizer(list(texts), add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    ends = [row[: most + 1] for row in spans["offset_mapping"]]
    return [
        text if len(row) <= most else text[: row[most - 1][1] if most else 0].rstrip()
        for text, row in zip(texts, ends, strict=True)
    ]


def _in_parts(description: str, write: Callable[..., Sequence[str]], *given: Sequence[object]) -> list[str]:
    """What `write` makes of columns that go together, part by part, with a bar."""
    total, found = len(given[0]), list[str]()
    with progress(description, total) as bar:
        for start in range(0, total, PART):
            part = write(*(column[start : start + PART] for column in given))
            found += part
            bar.advance(len(part))
    return found


# --- distances -------------------------------------------------------------------------------------------------


class Vectors(Embedder):
    """Vectors of texts of any length: of the beginning that the model reads, and far from all others if one is blank.

    Args: as of `Embedder`.
    """

    def __init__(self, spec: str, device: str = "auto", batch_rows: int = 32) -> None:
        super().__init__(spec, device, batch_rows)
        known = (self._context, self._tokenizer.model_max_length)  # RoBERTa counts two positions that no token has
        self.longest = min(int(most) for most in known if most is not None)
        """Tokens that are read of a text, at most."""
        self.embedded = self.cut = 0
        """How many texts were embedded, and how many of them were longer."""

    def of(self, texts: Sequence[str]) -> Tensor:
        """Vectors (n, d) in float32, on the CPU."""
        whole = self._tokenizer(list(texts), verbose=False)["input_ids"]
        rows = [row[: self.longest] for row in whole]
        self.embedded += len(rows)
        self.cut += sum(len(row) > self.longest for row in whole)
        found = torch.full((len(rows), self._width), FAR)
        filled = [i for i, text in enumerate(texts) if rows[i] and text.strip()]
        for some in batches([len(rows[i]) for i in filled], self._rows):
            places = [filled[i] for i in some]
            found[places] = self._mean([rows[i] for i in places]).float().cpu()
        return found

    @property
    def _width(self) -> int:
        config: Any = self._model.config
        return int(config.hidden_size)
