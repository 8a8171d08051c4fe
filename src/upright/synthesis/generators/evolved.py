"""Records by private evolution of what a public model writes: the adapter of `evolution`."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from upright.models import causal
from upright.models.causal import CausalModel
from upright.models.chat import open_chat
from upright.models.embed import Embedder
from upright.models.generate import generate
from upright.run.config import digest
from upright.run.progress import progress
from upright.run.steps import StepStore
from upright.synthesis.corpus import Code
from upright.synthesis.generators.base import check_room
from upright.synthesis.generators.evolution import QUERY, Evolution, Population, Vary, Write
from upright.synthesis.generators.protocol import Task, uniforms
from upright.synthesis.generators.queried import Queried, asked_for, described, queries_for, shares_of
from upright.synthesis.generators.tuned import Tuned
from upright.synthesis.generators.variations import Rephrased, Rewritten
from upright.synthesis.sampling import Draft, Keep, kept_in, seed_of
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

    def write(self, codes: Sequence[Code], seeds: Sequence[int]) -> list[Draft]:
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
    vectors = Vectors(Embedder(how.embedding or config.model, config.speed.device, config.speed.batch_rows))
    write, vary = _writer(model, task), _varier(model, task)
    shares, drowned = shares_of(task, queries)
    wanted = task.wanted(shares)
    threshold = queries.deviation(QUERY) if how.threshold is None else how.threshold
    method = Evolution(
        write=lambda codes, seeds: _in_parts("first candidates", write, codes, seeds),
        vary=lambda *given: _in_parts("candidates", vary, *given),
        embed=vectors.of,
        rounds=how.rounds,
        variations=how.variations,
        votes=how.votes,
        threshold=threshold,
        seed=task.seed_for("evolution"),
        keep=task.keep or _beside(task),
    )
    evolved = method.fit(task.corpus, wanted, queries)
    seeds = [seed_of(task.seed_for("writing"), place, 0) for place in range(len(wanted))]
    population = replace(evolved, vary=vary).given_to(wanted, seeds)
    limits = (*drowned, *_limits(population, wanted, vectors, threshold))
    return Evolved(certificate=queries.certificate(), shares=shares, learnt=limits, population=population)


def _limits(population: Population, wanted: Sequence[Code], vectors: "Vectors", threshold: float) -> list[str]:
    last, texts = population.rounds[-1], len(population.own)
    found = [
        f"In the last round {last.above:,} of {last.candidates:,} candidates had more than {threshold:.3g} votes "
        "(evolution.threshold)."
    ]
    if texts < len(wanted):
        found.append(
            f"{texts:,} texts evolved for the {len(wanted):,} records; the others are variations of them, for which "
            "nobody voted."
        )
    if vectors.cut:
        found.append(
            f"{vectors.cut:,} of {vectors.embedded:,} embedded texts, records and candidates, were longer than the "
            f"{vectors.embedder.longest:,} tokens that {vectors.embedder.name} reads; the rest of them played no role "
            "in the votes."
        )
    return found


def _beside(task: Task) -> Keep:
    """Keeps what was written beside the answers of the queries, which belong to it."""
    folder = task.state.parent / "candidates"
    folder.mkdir(parents=True, exist_ok=True)
    return kept_in(StepStore(folder, digest(task.config, "candidates")))


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
        return Rephrased(chat, lambda code: described(task.codes, code), asked_for(config), task.note, task.spend)
    return _rewriter(model, task)


def _rewriter(model: CausalModel, task: Task) -> Vary:
    """Variations of at most `sampling.tokens` tokens, of which the model reads the beginning that it has room for."""
    how, room = task.config.sampling, room_for(model, task)

    def go_on(prompts: Sequence[str], seeds: Sequence[int]) -> list[Draft]:
        found = generate(
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
        return [Draft(text, text.ended) for text in found]

    def prompt(code: Code) -> str:
        return task.codes.prompt(code).rstrip(" ") + " "

    rewritten = Rewritten(go_on, prompt, task.config.evolution.keep)

    def vary(drafts: Sequence[Draft], codes: Sequence[Code], seeds: Sequence[int]) -> list[Draft]:
        longer = rewritten(beginnings(model.tokenizer, drafts, room), codes, seeds)
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


def beginnings(tokenizer: PreTrainedTokenizerBase, drafts: Sequence[Draft], most: int) -> list[Draft]:
    """The first `most` tokens of each text, as text; what is longer does not come to its end."""
    if not drafts:
        return []
    texts = [draft.text for draft in drafts]
    spans = tokenizer(texts, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    ends = [row[: most + 1] for row in spans["offset_mapping"]]
    return [
        draft if len(row) <= most else Draft(draft.text[: row[most - 1][1] if most else 0].rstrip(), False)
        for draft, row in zip(drafts, ends, strict=True)
    ]


def _in_parts(description: str, write: Callable[..., Sequence[Draft]], *given: Sequence[object]) -> list[Draft]:
    """What `write` makes of columns that go together, part by part, with a bar."""
    total, found = len(given[0]), list[Draft]()
    with progress(description, total) as bar:
        for start in range(0, total, PART):
            part = write(*(column[start : start + PART] for column in given))
            found += part
            bar.advance(len(part))
    return found


# --- distances -------------------------------------------------------------------------------------------------


class Vectors:
    """Vectors of texts of any length: of the beginning that the model reads, and far from all others if one is blank.

    Attributes:
        embedder: the model.
        embedded, cut: how many texts were embedded, and how many of them were longer than the model reads.
    """

    def __init__(self, embedder: Embedder) -> None:
        self.embedder = embedder
        self.embedded = self.cut = 0

    def of(self, texts: Sequence[str]) -> Tensor:
        """Vectors (n, d) in float32, on the CPU."""
        found, tokens = self.embedder.beginnings(texts)
        self.embedded += len(texts)
        self.cut += sum(n > self.embedder.longest for n in tokens)
        found[[n == 0 or not text.strip() for n, text in zip(tokens, texts, strict=True)]] = FAR
        return found
