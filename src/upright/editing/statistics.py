"""Key statistics for the closed-form solvers: on which text, and kept per model between runs."""

import hashlib
import random
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from upright.editing.capture import second_moments
from upright.editing.config import StatsConfig
from upright.errors import UserError
from upright.knowledge.relations import Relations
from upright.knowledge.verbalise import Fact, sentence
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


def statistics_texts(
    config: StatsConfig, settled: Sequence[Fact], relations: Relations, rng: random.Random
) -> tuple[list[str], str]:
    """The texts and, for the report, what they are.

    Args:
        settled: facts that no edit may change; their keys are protected by being part of the statistics.
    """
    from_facts = round(config.sequences * config.facts) if settled else 0
    chosen = [rng.choice(settled) for _ in range(from_facts)]
    stated = [f"{prompt.text} {answer}." for prompt, answer in (sentence(fact, relations, rng) for fact in chosen)]
    need = config.sequences - from_facts
    if config.text is None:
        plain, source = list(islice(stories(rng.randrange(2**32)), need)), "plain English written by upright"
    else:
        lines = lines_of(config.text, "stats.text")
        plain, source = rng.sample(lines, min(need, len(lines))), str(config.text)
    return plain + stated, f"{len(plain)} sequences of {source}, {len(stated)} sentences of unchanged facts"


def moments(
    model: CausalModel, texts: Sequence[str], layers: Sequence[int], tokens: int, batch_rows: int
) -> dict[int, Tensor]:
    """Second moments (d_k, d_k) by layer, read from the cache where model and texts are the same."""
    key = hashlib.sha256("\0".join([model.digest(), str(tokens), *texts]).encode()).hexdigest()[:32]
    path = cache_folder("moments") / f"{key}-{'-'.join(map(str, sorted(layers)))}.safetensors"
    if not path.exists():
        found, count = second_moments(model, texts, layers, tokens, batch_rows)
        with atomic(path) as part:
            save_file({str(layer): value.float() for layer, value in found.items()} | {"n": torch.tensor(count)}, part)
    stored = load_file(path)
    width, count = stored[str(layers[0])].shape[0], int(stored.pop("n"))
    if count < width:
        raise UserError(f"stats.sequences: {count} tokens cannot fill {width} key dimensions; read more sequences")
    return {int(layer): value.double() for layer, value in stored.items()}
