"""Which of several ways a question means, as its words tell: naive Bayes over the words, fitted by EM.

Questions that only one way explains teach what is said when it is meant; the others are given the way that their
words and the other questions make likeliest. A word tells by its absence too (the multivariate Bernoulli model of
McCallum and Nigam 1998; with labels that are partly unknown: Nigam et al. 2000).
"""

import math
from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from typing import Generic, NamedTuple, TypeVar

W = TypeVar("W", bound=Hashable)
ROUNDS = 10
SEEN = 0.1  # pseudo-count of a way, of a word said with it, and of one not said


class Said(NamedTuple, Generic[W]):
    """The words of a question, and the ways that explain its answers, each with how well it does, in (0, 1]."""

    words: frozenset[str]
    ways: Mapping[W, float]


class _Fit(Generic[W]):
    """How often each way is meant, and each word said with it."""

    def __init__(self, said: Sequence[Said[W]], shares: Sequence[Mapping[W, float]]) -> None:
        self.ways: dict[W, float] = defaultdict(float)
        self.words: dict[W, dict[str, float]] = defaultdict(lambda: defaultdict(float))
        for one, share in zip(said, shares, strict=True):
            for way, part in share.items():
                self.ways[way] += part
                for word in one.words:
                    self.words[way][word] += part
        self.nothing = {way: self._nothing(way) for way in self.ways}

    def _nothing(self, way: W) -> float:
        """Log-probability of the way, and of none of its words being said; words never said with it are left out."""
        unsaid = (math.log1p(-self._share(way, count)) for count in self.words[way].values())
        return math.log(self.ways[way] + SEEN) + math.fsum(unsaid)

    def _share(self, way: W, count: float) -> float:
        return (count + SEEN) / (self.ways[way] + 2 * SEEN)

    def shares(self, one: Said[W]) -> dict[W, float]:
        """How likely each way of a question is; they sum to 1."""
        logs = (
            {way: self._log(one.words, way) for way in one.ways} if len(one.ways) > 1 else dict.fromkeys(one.ways, 0.0)
        )
        highest = max(logs.values())
        return _parts({way: one.ways[way] * math.exp(log - highest) for way, log in logs.items()})

    def _log(self, words: frozenset[str], way: W) -> float:
        log, known = self.nothing[way], self.words[way]
        for word in words:
            share = self._share(way, known.get(word, 0.0))
            log += math.log(share) - (math.log1p(-share) if word in known else 0.0)
        return log


def _parts(weights: Mapping[W, float]) -> dict[W, float]:
    """The weights, so that they sum to 1."""
    total = sum(weights.values())
    return {way: weight / total for way, weight in weights.items()}


def told(said: Sequence[Said[W]]) -> list[W]:
    """One way for each question; of equals the one that stands first."""
    shares = [_parts(one.ways) for one in said]
    for _ in range(ROUNDS if any(len(share) > 1 for share in shares) else 0):
        fit = _Fit(said, shares)
        shares = [fit.shares(one) for one in said]
    return [max(share, key=lambda way: share[way]) for share in shares]
