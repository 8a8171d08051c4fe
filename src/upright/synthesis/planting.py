"""Canaries among the records: units of their own, in by a coin, kept out of the counts and of the release."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from upright.models.causal import CausalModel
from upright.synthesis.blocking import Blocklist
from upright.synthesis.codes import Codes
from upright.synthesis.config import Config
from upright.synthesis.corpus import Code, Corpus
from upright.synthesis.filters import Filtered, accept
from upright.synthesis.passes import read_sides

if TYPE_CHECKING:
    from upright.synthesis.evaluation.canaries import Canaries

CODES = 4
"""Codes that canaries are written for: candidates are scored for each, so few are cheaper."""

Accept = Callable[[Sequence[str], Sequence[Code]], Filtered]


@dataclass(frozen=True)
class Planted:
    """What is learnt.

    Args:
        corpus: the private records, then the canaries that are in.
        codes: by which canaries are scored.
        canaries: all of them, in and out; None where none were asked for.
        units: how many units of the corpus are canaries.
    """

    corpus: Corpus
    codes: Codes
    canaries: "Canaries | None" = None
    units: int = 0

    def filter(self, config: Config) -> Accept:
        """The filters of synthetic records, which also refuse any that holds the random part of a canary.

        With `sampling.block` they refuse what repeats the private records as well, which no guarantee covers.
        """
        secrets = () if self.canaries is None else self.canaries.secrets
        words = config.sampling.block
        blocked = None if words is None else Blocklist(self.corpus.texts, words)

        def judged(texts: Sequence[str], codes: Sequence[Code]) -> Filtered:
            found = accept(texts, codes, config.filters, secrets)
            return found if blocked is None else _without_copies(found, texts, codes, blocked)

        return judged

    def scores(self, model: CausalModel, batch_rows: int) -> NDArray[np.float64]:
        """-log p (n,) under a model of all that canaries are ranked among, each after its code."""
        assert self.canaries is not None
        texts, codes = self.canaries.scored()
        whole = [f"{self.codes.prompt(code).rstrip(' ')} {text}" for text, code in zip(texts, codes, strict=True)]
        side = {"canaries": Corpus(self.corpus.columns, whole, codes)}
        return read_sides(lambda: model, side, batch_rows, description="scoring canaries")["canaries"].nlls[:, 0]


def plant(config: Config, train: Corpus, codes: Codes, seed: int) -> Planted:
    """The records with the canaries that are in; without any, where none are asked for."""
    if not config.evaluation.canaries:
        return Planted(train, codes)
    from upright.synthesis.evaluation.canaries import make

    written_for = np.random.default_rng(seed).permutation(len(codes.combinations))[:CODES]
    canaries = make(
        config.evaluation.canaries,
        seed,
        codes=[codes.combinations[i] for i in written_for],
        repeats=config.evaluation.repeats,
    )
    return Planted(_joined(train, canaries.corpus(train.columns)), codes, canaries, sum(canaries.included))


def _joined(train: Corpus, more: Corpus) -> Corpus:
    """Both, with names of units that cannot be alike."""
    units = [f"unit {unit}" for unit in train.units] or [f"record {i}" for i in range(len(train))]
    texts, codes = [*train.texts, *more.texts], [*train.codes, *more.codes]
    return Corpus(train.columns, texts, codes, [*units, *more.units])


def _without_copies(found: Filtered, texts: Sequence[str], codes: Sequence[Code], blocked: Blocklist) -> Filtered:
    copies = blocked.check([texts[i] for i in found.kept])
    kept = [i for i, refused in zip(found.kept, copies.refused, strict=True) if not refused]
    if copies.count:
        found.reasons[f"repeats {blocked.words} words of a private record"] += copies.count
        found.refused.update(codes[i] for i, refused in zip(found.kept, copies.refused, strict=True) if refused)
    return Filtered(kept, found.reasons, found.refused)
