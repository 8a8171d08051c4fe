"""What every generator is given, and what it is once it has learnt."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from upright.models.causal import CausalModel
from upright.synthesis.codes import Codes
from upright.synthesis.config import Config
from upright.synthesis.corpus import Code, Corpus
from upright.synthesis.generators.calls import Spend
from upright.synthesis.sampling import Draft, Keep
from upright.synthesis.shares import balanced, drawn
from upright.training.private import Certificate, Randomness, Secure, Seeded


@dataclass(frozen=True)
class Task:
    """What a generator learns from, and how.

    Args:
        config: all settings; with epsilon = inf it is the control.
        corpus: the records that are learnt from.
        members: for each unit, the places of its records.
        codes: the public side of the code columns.
        seed_for: the seed of a named stream of randomness.
        state: file in which unfinished work is kept, so that a killed run goes on; later it is removed.
        out: folder of what is handed over, such as an adapter.
        keep: keeps what was written on the way over a kill; None keeps nothing.
        note: takes (stage, reason, row) of what was left out.
        spend: takes what calls of a chat model have cost.
        control: whether this is the generator without privacy, of which nothing is handed over.
        given: codes to write for, where they are not drawn from shares that this task finds: those of the release.
        planted: units at the end of `members` that are canaries; they are learnt, but not counted.
    """

    config: Config
    corpus: Corpus
    members: Sequence[Sequence[int]]
    codes: Codes
    seed_for: Callable[[str], int]
    state: Path
    out: Path
    keep: Keep | None = None
    note: Callable[[str, str, object], None] = lambda stage, reason, row: None
    spend: Spend = lambda spent: None
    control: bool = False
    planted: int = 0
    given: Sequence[Code] | None = None

    @property
    def prompts(self) -> list[str]:
        """What stands before each record."""
        known = {code: self.codes.prompt(code) for code in dict.fromkeys(self.corpus.codes)}
        return [known[code] for code in self.corpus.codes]

    @property
    def unit_codes(self) -> list[list[Code]]:
        """The codes of each unit's records; none of a canary's."""
        real = len(self.members) - self.planted
        codes = [[self.corpus.codes[i] for i in own] for own in self.members[:real]]
        return codes + [[] for _ in range(self.planted)]

    def wanted(self, shares: NDArray[np.float64]) -> Sequence[Code]:
        """The codes of the records to write, in their order."""
        if self.given is not None:
            return self.given
        shares = balanced(shares, self.config.codes.balance)
        return drawn(self.codes.combinations, shares, self.config.records, self.seed_for("codes"))

    def randomness(self, name: str) -> Randomness:
        """Chance for a private training: secure where that was asked for and noise is added at all."""
        if self.config.tune.chance == "secure" and not self.control:
            return Secure()
        return Seeded(torch.Generator().manual_seed(self.seed_for(name)))


class Generator(Protocol):
    """A generator that has learnt its records."""

    @property
    def certificate(self) -> Certificate | None:
        """What was earned; None without a formal guarantee."""

    @property
    def shares(self) -> NDArray[np.float64]:
        """How many of the records to write shall have each code (K,), in the order of `Codes.combinations`."""

    @property
    def model(self) -> CausalModel | None:
        """The released model, to score texts with; None where there is none."""

    @property
    def limits(self) -> Sequence[str]:
        """What a reader of the report must know of how it learnt."""

    def write(self, codes: Sequence[Code], seeds: Sequence[int]) -> list[Draft]:
        """One text for each code; each drawn from its own seed, whatever else is written beside it."""


def members_of(corpus: Corpus) -> list[list[int]]:
    """For each unit, in the order of its first record, the places of its records."""
    if not corpus.units:
        return [[i] for i in range(len(corpus))]
    found: dict[str, list[int]] = {}
    for place, unit in enumerate(corpus.units):
        found.setdefault(unit, []).append(place)
    return list(found.values())


def uniforms(seeds: Sequence[int], steps: int) -> NDArray[np.float64]:
    """Uniform numbers (len(seeds), steps) in [0, 1); a row depends on its own seed alone."""
    rows = [np.random.Generator(np.random.Philox(key=seed)).random(steps) for seed in seeds]
    return np.stack(rows) if rows else np.empty((0, steps))
