"""Private evolution for text (Xie et al. 2024, arXiv 2403.01749): a public model writes, private records vote.

Each round the model's candidates are embedded, and every unit votes for those nearest to its records. Nothing else
is ever asked of the private records: `Queries.ask` adds noise to the votes, and the rest is post-processing. A unit
that votes k times changes the counts by √k at most (for k different candidates; several records of a unit share
its votes), so a round is a Gaussian mechanism of standard deviation s√k and T rounds cost mu = √T/s.

The candidates with the most votes stay, and each comes into the next round with variations of itself. Where fewer
have votes above the threshold than texts are wanted, the paper fills up with the others; here these go, and those that
stay are varied more often (post-processing: it only looks at noisy votes).
"""

import random
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from upright.synthesis.corpus import Code, Corpus
from upright.synthesis.generators.asking import Queries
from upright.synthesis.sampling import Draft, Keep, seed_of

Write = Callable[[Sequence[Code], Sequence[int]], Sequence[Draft]]
"""(codes, seeds) to texts of the public model."""
Vary = Callable[[Sequence[Draft], Sequence[Code], Sequence[int]], Sequence[Draft]]
"""(texts, codes, seeds) to other texts of the same codes."""
Embed = Callable[[Sequence[str]], Any]
"""Texts to vectors (n, d): lists, arrays or tensors."""

QUERY = "votes"
CHUNK = 2**24
"""Distances that are in memory at once: 64 MiB."""
PART = 4096
"""Texts that are embedded at once."""


def _at_once(name: str, compute: Callable[[], list[Draft]]) -> list[Draft]:
    return compute()


@dataclass(frozen=True)
class Round:
    """What a round came to; all of it from noisy votes, so that it may be shown.

    Args:
        candidates: how many were voted on.
        above: how many had more votes than the threshold.
        votes: noisy votes above the threshold, all together, in votes of one unit.
        kept: share of them that went to candidates that stayed.
    """

    candidates: int
    above: int
    votes: float
    kept: float


@dataclass(frozen=True)
class Population:
    """What evolved, and a way to more of it.

    Args:
        texts: by code, the best first.
        own: the text that belongs to a seed; for the seed of another text a variation is written.
    """

    texts: dict[Code, list[Draft]]
    vary: Vary
    rounds: Sequence[Round]
    own: dict[int, Draft] = field(default_factory=dict)

    def given_to(self, codes: Sequence[Code], seeds: Sequence[int]) -> "Population":
        """Each evolved text belongs to one of `seeds`, the best of a code to the first of that code."""
        left = {code: iter(texts) for code, texts in self.texts.items()}
        pairs = ((seed, next(left.get(code, iter(())), None)) for code, seed in zip(codes, seeds, strict=True))
        return replace(self, own={seed: draft for seed, draft in pairs if draft is not None})

    def write(self, codes: Sequence[Code], seeds: Sequence[int]) -> list[Draft]:
        """A text for each of `codes`; each depends on its code and its seed alone.

        Raises:
            ValueError: for a code that nothing evolved for.
        """
        found, again = list[Draft](), list[int]()
        for i, (code, seed) in enumerate(zip(codes, seeds, strict=True)):
            if code not in self.texts:
                raise ValueError(f"code {code}: nothing evolved for it; must be one of {sorted(self.texts)}")
            if seed not in self.own:
                again.append(i)
            found.append(self.own.get(seed) or random.Random(seed).choice(self.texts[code]))
        if again:
            varied = self.vary([found[i] for i in again], [codes[i] for i in again], [seeds[i] for i in again])
            for i, draft in zip(again, varied, strict=True):
                found[i] = draft
        return found


@dataclass(frozen=True)
class Evolution:
    """The method.

    Args:
        write: texts of the public model for codes.
        vary: another text of the same code for each text.
        embed: vectors of texts, by whose Euclidean distance records vote.
        rounds: rounds of votes; as often must the query `QUERY` be planned, with sensitivity √votes.
        variations: candidates for each text that is wanted.
        votes: nearest candidates that a unit votes for.
        threshold: votes up to it count 0.
        seed: of all that is written.
        keep: keeps what was written over a kill.
    """

    write: Write
    vary: Vary
    embed: Embed
    rounds: int = 5
    variations: int = 4
    votes: int = 1
    threshold: float = 0.0
    seed: int = 0
    keep: Keep = _at_once

    def fit(self, corpus: Corpus, codes: Sequence[Code], queries: Queries) -> Population:
        """Evolve a text for each of `codes`, which are public.

        Raises:
            ValueError: for a query whose sensitivity does not fit the votes.
        """
        if not np.isclose(queries.plan.query(QUERY).sensitivity ** 2, self.votes):
            raise ValueError(f"sensitivity {queries.plan.query(QUERY).sensitivity}; must be the root of {self.votes}")
        private, units = self._embedded(corpus.texts), _units(corpus)
        owns = [code for code in codes for _ in range(self.variations)]
        drafts = self.keep("candidates-0", lambda: list(self.write(owns, self._seeds(len(owns), 0))))
        vectors, history = self._embedded(_texts(drafts)), list[Round]()
        for number in range(1, self.rounds + 1):
            ballot = votes(private, corpus.codes, units, queries.units, vectors, owns, self.votes)
            noisy = queries.ask(QUERY, ballot)
            counts = torch.where(noisy > self.threshold, noisy - self.threshold, 0.0)
            kept = best(counts, owns, codes)
            history.append(_round(counts, kept))
            drafts, vectors, owns = [drafts[i] for i in kept], vectors[kept], [owns[i] for i in kept]
            if number < self.rounds and self.variations > 1:
                varied, theirs = self._varied(drafts, owns, codes, number)
                drafts, owns = drafts + varied, owns + theirs
                vectors = torch.cat([vectors, self._embedded(_texts(varied))])
        found: dict[Code, list[Draft]] = defaultdict(list)
        for draft, code in zip(drafts, owns, strict=True):
            found[code].append(draft)
        return Population(dict(found), self.vary, history)

    def _varied(
        self, drafts: Sequence[Draft], owns: Sequence[Code], wanted: Sequence[Code], number: int
    ) -> tuple[list[Draft], list[Code]]:
        """Variations of the texts, of each code in turn, that fill the places of the next round; and their codes."""
        counts, rows = Counter(wanted), list[int]()
        for code, places in _by_code(owns).items():
            rows += [int(places[i % len(places)]) for i in range(self.variations * counts[code] - len(places))]
        old, codes, seeds = [drafts[i] for i in rows], [owns[i] for i in rows], self._seeds(len(rows), number)
        return self.keep(f"candidates-{number}", lambda: list(self.vary(old, codes, seeds))), codes

    def _embedded(self, texts: Sequence[str]) -> Tensor:
        """Vectors (n, d), part by part: lists of numbers take ten times the memory of a tensor."""
        parts = [texts[start : start + PART] for start in range(0, len(texts), PART)]
        return torch.cat([torch.as_tensor(np.asarray(self.embed(part)), dtype=torch.float32) for part in parts])

    def _seeds(self, count: int, number: int) -> list[int]:
        return [seed_of(self.seed, place, number) for place in range(count)]


def _texts(drafts: Sequence[Draft]) -> list[str]:
    return [draft.text for draft in drafts]


def votes(
    private: Tensor,
    codes: Sequence[Code],
    units: Tensor,
    n: int,
    candidates: Tensor,
    owns: Sequence[Code],
    k: int,
) -> Tensor:
    """The ballot (n, C), sparse: each record votes for the `k` nearest candidates of its own code.

    A unit's records share its votes evenly, so that its row has k votes at most and a norm of √k at most. A record
    of a code without candidates votes for none.

    Args:
        private: vectors (N, d) of the records, of `codes` (N,), which belong to `units` (N,) among `n`.
        candidates: vectors (C, d), of the codes `owns` (C,).
    """
    records, places = list[Tensor](), list[Tensor]()
    mine, theirs = _by_code(codes), _by_code(owns)
    for code, rows in mine.items():
        among = theirs.get(code)
        if among is not None:
            near = nearest(private[rows], candidates[among], k)
            records.append(rows[:, None].expand_as(near).reshape(-1))
            places.append(among[near].reshape(-1))
    share = 1 / torch.bincount(units, minlength=n).double()
    empty = torch.empty(0, dtype=torch.long)
    row, column = torch.cat([empty, *records]), torch.cat([empty, *places])
    index = torch.stack([units[row], column])
    ballot: Tensor = torch.sparse_coo_tensor(index, share[units[row]], (n, len(owns)), check_invariants=True)
    return ballot.coalesce()


def nearest(vectors: Tensor, among: Tensor, k: int) -> Tensor:
    """Places (N, min(k, C)) of the nearest of `among` (C, d) to each of `vectors` (N, d), by Euclidean distance."""
    half = among.pow(2).sum(1) / 2
    found = [
        (half - part @ among.T).topk(min(k, len(among)), dim=1, largest=False).indices
        for part in vectors.split(max(1, CHUNK // len(among)))
    ]
    return torch.cat(found)


def best(counts: Tensor, owns: Sequence[Code], wanted: Sequence[Code]) -> list[int]:
    """Places of the candidates with the most votes, the first ones at a tie: of each code as many as are wanted.

    Fewer where fewer have votes at all; where no candidate of a code has any, the first ones.
    """
    places, chosen = _by_code(owns), list[int]()
    for code, rows in _by_code(wanted).items():
        mine = places[code]
        votes = counts[mine]
        order = votes.argsort(descending=True, stable=True)
        most = min(len(rows), int((votes > 0).sum())) or len(rows)
        chosen += mine[order[:most]].tolist()
    return chosen


def _round(counts: Tensor, kept: Sequence[int]) -> Round:
    total = float(counts.sum())
    share = min(1.0, float(counts[list(kept)].sum()) / total) if total else 0.0
    return Round(len(counts), int((counts > 0).sum()), total, share)


def _by_code(codes: Sequence[Code]) -> dict[Code, Tensor]:
    rows: dict[Code, list[int]] = defaultdict(list)
    for i, code in enumerate(codes):
        rows[code].append(i)
    return {code: torch.tensor(row) for code, row in rows.items()}


def _units(corpus: Corpus) -> Tensor:
    number: dict[Any, int] = {}
    owners: Sequence[Any] = corpus.units or range(len(corpus))
    return torch.tensor([number.setdefault(owner, len(number)) for owner in owners])
