"""A graph of Wikidata's shape made by drawing: hubs by power laws, as many relations, a label for every entity.

Every entity is the head of some fact. Relations fall into ranges, each with hubs of its own, as countries are for
some of Wikidata's relations and professions for others. The same size and seed give the same file.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from upright.knowledge.graph import Direction, Edge

Ints = NDArray[np.int64]
ENTITY, RELATION = "http://www.wikidata.org/entity/Q", "http://www.wikidata.org/prop/direct/P"
LABEL = "http://www.w3.org/2000/01/rdf-schema#label"
RANGES = 20
HEADS, RELATIONS, TAILS = 0.3, 2 / 3, 0.8
"""Exponents a of the power laws: what has rank x is drawn with a density as x ** -a."""
CHUNK = 200_000  # lines written at once
SYLLABLES = ["".join(pair) for pair in product("bcdfghjklmnprstvwxyz", "aeiou")]
SCATTER, NAMES = 617_357, 10**8  # without a common divisor, so that no two entities have one name


@dataclass(frozen=True)
class Size:
    """How large a graph is drawn."""

    facts: int = 5_000_000
    entities: int = 600_000
    relations: int = 800


@dataclass(frozen=True)
class Facts:
    """Facts by numbers, each array (facts,): sorted by head, relation and tail, none twice."""

    size: Size
    heads: Ints
    relations: Ints
    tails: Ints

    @classmethod
    def draw(cls, size: Size, seed: int = 0) -> "Facts":
        """Draw so many different facts."""
        rng = np.random.default_rng(seed)
        first = _keys(rng, size, np.arange(size.entities))
        wanted = size.facts - len(first)
        more = np.empty(0, dtype=np.int64)
        while len(more) < wanted:
            heads = _ranks(rng, size.entities, HEADS, wanted - len(more) + 1000)
            more = np.setdiff1d(np.union1d(more, _keys(rng, size, heads)), first, assume_unique=True)
        keys = np.sort(np.concatenate([first, rng.choice(more, wanted, replace=False)]))
        pairs, tails = np.divmod(keys, size.entities)
        return cls(size, *np.divmod(pairs, size.relations), tails)

    def write(self, path: Path) -> None:
        """Write them as N-Triples, labels first; the file appears when it is complete."""
        part = path.with_name(f"{path.name}.part")
        nodes = [f"<{entity(number)}> " for number in range(self.size.entities)]
        relations = [f"<{relation(number)}> " for number in range(self.size.relations)]
        with part.open("w", encoding="utf-8") as file:
            file.writelines(f'{node}<{LABEL}> "{label(number)}"@en .\n' for number, node in enumerate(nodes))
            for start in range(0, len(self.heads), CHUNK):
                chunk = (column[start : start + CHUNK].tolist() for column in (self.heads, self.relations, self.tails))
                rows = zip(*chunk, strict=True)
                file.write("".join([f"{nodes[h]}{relations[r]}{nodes[t]}.\n" for h, r, t in rows]))
        part.rename(path)

    def naive(self, numbers: Iterable[int]) -> dict[tuple[str, Direction], dict[str, list[Edge]]]:
        """For each of these entities and both directions, the facts of every relation, in a plain dictionary."""
        wanted = list(numbers)
        found: dict[tuple[str, Direction], dict[str, list[Edge]]] = {}
        for direction, near in self.ends().items():
            found |= {(entity(number), direction): {} for number in wanted}
            for place in np.flatnonzero(np.isin(near, wanted)).tolist():
                edge = self.edge(place)
                facts = found[edge.head if direction == "out" else edge.tail, direction]
                facts.setdefault(edge.relation, []).append(edge)
        return found

    def ends(self) -> dict[Direction, Ints]:
        """The heads ("out") and the tails ("in") of all facts."""
        return {"out": self.heads, "in": self.tails}

    def edge(self, place: int) -> Edge:
        """One fact, by ids."""
        return Edge(
            entity(int(self.heads[place])), relation(int(self.relations[place])), entity(int(self.tails[place]))
        )

    def edges(self) -> Iterator[Edge]:
        """All facts, by ids."""
        return map(self.edge, range(len(self.heads)))


def entity(number: int) -> str:
    """Id of an entity."""
    return f"{ENTITY}{number + 1}"


def relation(number: int) -> str:
    """Id of a relation."""
    return f"{RELATION}{number + 1}"


def label(number: int) -> str:
    """What an entity is called: two words of four letters each, no two entities alike.

    >>> label(1)
    'Bosi Tolo'
    """
    words, second = divmod(number * SCATTER % NAMES, 10_000)
    return f"{_word(words)} {_word(second)}"


def _word(number: int) -> str:
    first, second = divmod(number, 100)
    return (SYLLABLES[first] + SYLLABLES[second]).capitalize()


def _ranks(rng: np.random.Generator, most: int, exponent: float, count: int) -> Ints:
    """Ranks from 0, (count,), by a power law cut at `most`: the inverse of its distribution function."""
    return (most * rng.random(count) ** (1 / (1 - exponent))).astype(np.int64)


def _keys(rng: np.random.Generator, size: Size, heads: Ints) -> Ints:
    """A fact for each head, as one number that sorts by head, relation and tail."""
    relations = _ranks(rng, size.relations, RELATIONS, len(heads))
    places = _ranks(rng, size.entities, TAILS, len(heads)) + relations % RANGES * size.entities // RANGES
    return (heads * size.relations + relations) * size.entities + places % size.entities
