"""Key statistics for the closed-form solvers: on which text, and kept per model between runs."""

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from upright.editing.capture import fact_moments, text_moments
from upright.editing.config import StatsConfig
from upright.editing.requests import tokenised
from upright.errors import UserError
from upright.knowledge.relations import Prompt, Relations
from upright.knowledge.verbalise import Fact
from upright.lab import stories
from upright.models.causal import CausalModel
from upright.run.cache import cache_folder
from upright.run.files import atomic


def lines_of(path: Path, what: str) -> list[str]:
    """The non-empty lines of a text file. Raises UserError if it cannot be read or has none."""
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{what} {path}: cannot be read as UTF-8 text ({error})") from None
    if not lines:
        raise UserError(f"{what} {path}: is empty; give one document a line")
    return lines


@dataclass(frozen=True)
class Basis:
    """What key statistics are taken on: plain text, and facts of the graph that no edit may change."""

    texts: list[str]
    facts: list[Prompt]
    share: float
    """Weight of the facts."""
    tokens: int
    source: str

    def moments(self, model: CausalModel, layers: Sequence[int], batch_rows: int) -> dict[int, Tensor]:
        """Second moments (d_k, d_k) by layer: those of running text, mixed with those at the subjects of the facts."""
        plain = kept_moments(model, self.texts, layers, self.tokens, batch_rows)
        if not self.facts:
            return plain
        rows = [tokenised(model, prompt) for prompt in self.facts]
        known, _ = fact_moments(model, rows, layers, batch_rows)
        return {layer: (1 - self.share) * plain[layer] + self.share * known[layer] for layer in layers}

    def __str__(self) -> str:
        facts = f", and {len(self.facts)} unchanged facts at weight {self.share:g}" if self.facts else ""
        return f"{len(self.texts)} sequences of {self.source}{facts}"


def basis(config: StatsConfig, settled: Sequence[Fact], relations: Relations, rng: random.Random) -> Basis:
    """The text is the same in every run, so that its statistics are taken once a model.

    Args:
        settled: facts that no edit may change; asked for in the sentence in which they would be written.
    """
    if config.text is None:
        texts, source = list(islice(stories(0), config.sequences)), "plain English written by upright"
    else:
        lines = lines_of(config.text, "stats.text")
        texts, source = random.Random(0).sample(lines, min(config.sequences, len(lines))), str(config.text)
    chosen = rng.sample(settled, min(config.known, len(settled))) if config.facts else []
    facts = [relations.edit_prompt(fact.chain, fact.head) for fact in chosen]
    return Basis(texts, facts, config.facts, config.tokens, source)


def kept_moments(
    model: CausalModel, texts: Sequence[str], layers: Sequence[int], tokens: int, batch_rows: int
) -> dict[int, Tensor]:
    """Second moments (d_k, d_k) of running text by layer, read from the cache where model and texts are the same."""
    key = hashlib.sha256("\0".join([model.digest(), str(tokens), *texts]).encode()).hexdigest()[:32]
    path = cache_folder("moments") / f"{key}-{'-'.join(map(str, sorted(layers)))}.safetensors"
    if not path.exists():
        found, count = text_moments(model, texts, layers, tokens, batch_rows)
        with atomic(path) as part:
            save_file({str(layer): value.float() for layer, value in found.items()} | {"n": torch.tensor(count)}, part)
    stored = load_file(path)
    width, count = stored[str(layers[0])].shape[0], int(stored.pop("n"))
    if count < width:
        raise UserError(f"stats.sequences: {count} tokens cannot fill {width} key dimensions; read more sequences")
    return {int(layer): value.double() for layer, value in stored.items()}
