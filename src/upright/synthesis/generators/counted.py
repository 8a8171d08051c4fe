"""Records from noised n-gram counts: the adapter of `ngrams`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from upright.errors import UserError
from upright.models import causal
from upright.synthesis.config import Config
from upright.synthesis.corpus import Code
from upright.synthesis.generators.ngrams import QUERY, NgramModel
from upright.synthesis.generators.protocol import Task, uniforms
from upright.synthesis.generators.queried import Queried, queries_for, shares_of
from upright.synthesis.generators.spelling import public_words, words_of
from upright.synthesis.sampling import Draft
from upright.training.private import Secure


@dataclass(frozen=True, kw_only=True)
class Counted(Queried):
    """Noised counts that write records of at most `words` words and marks."""

    counts: NgramModel
    words: int

    def write(self, codes: Sequence[Code], seeds: Sequence[int]) -> list[Draft]:
        """As `Generator.write`."""
        return self.counts.write(codes, uniforms(seeds, self.words))


def fit(task: Task) -> Counted:
    """Count the n-grams of the records; a resumed run counts anew and gets the answers that were given.

    Raises:
        UserError: for a vocabulary without words, too many codes, and a budget that does not suffice.
        MissingExtra: without dp-accounting.
    """
    config, how = task.config, task.config.ngrams
    vocabulary = _vocabulary(config.model, how.vocabulary)
    queries = queries_for(task, QUERY, how.order)
    counts = NgramModel.fit(
        task.corpus, task.codes.combinations, vocabulary, queries, _chance(task), how.order, how.per_record
    )
    shares, drowned = shares_of(task, queries)
    return Counted(
        certificate=queries.certificate(),
        shares=shares,
        learnt=(*drowned, *_limits(counts, config)),
        counts=counts,
        words=config.sampling.tokens,
    )


def _vocabulary(model: str, path: Path | None) -> list[str]:
    if path is not None:
        return _words_in(path)
    tokenizer, _ = causal.peek(model)
    found = public_words(tokenizer.get_vocab())
    if not found:
        raise UserError(
            f"model={model}: its tokenizer has no words, of which n-grams are counted; give words (ngrams.vocabulary)"
        )
    return found


def _words_in(path: Path) -> list[str]:
    """The words and marks of a public text, sorted."""
    try:
        found = words_of(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"ngrams.vocabulary={path}: cannot be read ({error}); give a text file in UTF-8") from error
    if not found:
        raise UserError(f"ngrams.vocabulary={path}: has no words; give a text file of public words")
    return sorted(set(found))


def _chance(task: Task) -> np.random.Generator:
    """Of the draws of each unit's n-grams.

    Draws of one stream shift when a unit is added, so whoever knew them could tell: they are as secret as the noise.
    What a killed run had asked is not asked again, so that a resumed one need not repeat them.
    """
    secret = isinstance(task.randomness("n-grams"), Secure)
    return np.random.default_rng(None if secret else task.seed_for("n-grams"))


def _limits(counts: NgramModel, config: Config) -> list[str]:
    order, own = config.ngrams.order, config.ngrams.vocabulary
    public = f"of {own}" if own else f"that are tokens of {config.model}"
    found = [
        f"Only the {len(counts.vocabulary):,} words and marks {public} are counted and written, all in lower case but "
        "at the beginning of a sentence.",
        "Words are drawn from the noised counts as they are: sampling.temperature, top_k and top_p play no role.",
    ]
    empty = [n + 1 for n in range(order) if n >= len(counts.levels) or not len(counts.levels[n].cells)]
    if empty:
        found.append(f"The noise drowned all counts of n-grams of order {' and '.join(map(str, empty))}.")
    return found
