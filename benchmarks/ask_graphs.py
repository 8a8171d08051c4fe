"""A graph of 5 million facts: loading it, opening it, the steps of a traversal in it; beside peers, answers checked.

Whatever is measured runs in a process of its own, so that memory and first touches are that one's alone.
"""

import gc
import multiprocessing
import os
import random
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, ParamSpec, TypeVar

import numpy as np
import pyoxigraph as rdf

from benchmarks.graph_readers import NetworkX, Ours, Patterns, Queries, RdfLib, Reader
from benchmarks.harness import Bench, Cell, Section, table
from benchmarks.wide_graph import Facts, Size, entity, relation
from upright.knowledge.files import open_graph
from upright.knowledge.graph import Direction, Edge
from upright.run.evidence import Metric, display, proportion, scalar
from upright.run.files import read_json, write_json

P = ParamSpec("P")
T = TypeVar("T")
WHOLE, TENTH = Size(), Size(facts=500_000, entities=60_000)
QUICK = Size(facts=40_000, entities=5_000, relations=100)
ENTITIES, CHECKED, HUBS = 2_000, 200, 20
SOME, MANY = 100, 10_000
"""Facts of a call, at most: what a prompt holds, and what a search reads at once by default."""
REPEATS = 10
LOAD_SECONDS, LOAD_BYTES = 90, 2e9
MOST = {"in memory": 50.0, "store": 1000.0}
"""Microseconds of a call asked for, as a mean over drawn entities."""
DIRECTIONS: tuple[Direction, ...] = ("out", "in")


class Step(NamedTuple):
    """What is asked about: an entity in one direction, and the relation of one of its facts ("" if it has none)."""

    entity: str
    direction: Direction
    relation: str


Naive = dict[tuple[str, Direction], dict[str, list[Edge]]]


@dataclass(frozen=True)
class Plan:
    """What every reader of a graph is asked: drawn steps by drawing, the largest hubs, and entities to check."""

    drawn: Mapping[str, Sequence[Step]]
    hubs: Sequence[Step]
    expected: Naive

    @classmethod
    def of(cls, size: Size) -> "Plan":
        """Draw it from the facts alone."""
        facts, rng = Facts.draw(size), random.Random(0)
        count = min(ENTITIES, size.entities // 2)
        checked = rng.sample(range(size.entities), CHECKED)
        drawn = {"by entity": by_entity(facts, count, rng), "by fact": by_fact(facts, count, rng)}
        return cls(drawn, hubs(facts), facts.naive(checked))


@dataclass(frozen=True)
class Subject:
    """A graph to be asked, and how it is opened."""

    name: str
    open: Callable[[Path, Size], Reader]
    path: Path
    size: Size


@dataclass(frozen=True)
class Found:
    """What timing gave: seconds of opening, bytes it brought, microseconds by (drawing, call), and right answers."""

    opening: float
    resident: int | None
    times: Mapping[tuple[str, str], Sequence[float]]
    right: int
    checked: int


def run(bench: Bench) -> Section:
    """Draw, load, open and ask."""
    whole, tenth = (QUICK, QUICK) if bench.quick else (WHOLE, TENTH)
    here = bench.out / "graphs"
    here.mkdir(parents=True, exist_ok=True)
    files = {size: _file(here, size) for size in dict.fromkeys([whole, tenth])}
    loading = _loading(files[whole], here / "store")
    plans = {size: apart(Plan.of, size) for size in files}
    found = {s.name: _measured(s, plans[s.size]) for s in _subjects(files[whole], here / "store", whole)}
    small = {s.name: _measured(s, plans[s.size]) for s in _small(files[tenth], tenth)}
    return _section(loading, {whole: found, tenth: small} if whole != tenth else {whole: {**small, **found}})


def _subjects(file: Path, store: Path, size: Size) -> Iterator[Subject]:
    yield Subject("in memory", open_ours, file, size)
    yield Subject("store", open_ours, store, size)
    yield Subject("Oxigraph by SPARQL", open_queries, store, size)
    yield Subject("Oxigraph by patterns", open_patterns, store, size)


def _small(file: Path, size: Size) -> Iterator[Subject]:
    yield Subject("in memory", open_ours, file, size)
    yield Subject("rdflib", open_rdflib, file, size)
    yield Subject("networkx", open_networkx, file, size)


def apart(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """The value of a call in a fresh process."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(call, *args, **kwargs).result()


# --- making and loading ----------------------------------------------------------------------------------------


def _file(here: Path, size: Size) -> Path:
    path = here / f"{size.facts}.nt"
    if not path.exists():
        apart(make, size, path)
    return path


def make(size: Size, path: Path) -> None:
    """Draw the facts and write them."""
    Facts.draw(size).write(path)


def _loading(file: Path, store: Path) -> dict[str, float]:
    """Seconds, peak memory and bytes on disk of `upright kg load`; read back where it was done."""
    record = store.with_name("load.json")
    if not record.exists():
        seconds, peak = command("kg", "load", str(file), "--out", str(store), "--overwrite")
        disk = sum(path.stat().st_size for path in store.rglob("*") if path.is_file())
        write_json(record, {"seconds": seconds, "peak": peak, "disk": disk, "read": file.stat().st_size})
    found: dict[str, float] = read_json(record)
    return found


def command(*words: str) -> tuple[float, int]:
    """Seconds and peak memory (bytes) of `upright WORDS`. Raises `RuntimeError` where it fails.

    The system counts the peak of a process from what its parent held: nothing large may be in memory here.
    """
    begin = time.monotonic()
    line = [sys.executable, "-m", "upright", *words]
    process = os.posix_spawn(sys.executable, line, os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, 2, 1)])
    _, status, usage = os.wait4(process, 0)
    if status:
        raise RuntimeError(f"upright {' '.join(words)} ended with exit code {os.waitstatus_to_exitcode(status)}")
    return time.monotonic() - begin, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


# --- what is asked ---------------------------------------------------------------------------------------------


def by_entity(facts: Facts, count: int, rng: random.Random) -> list[Step]:
    """Entities drawn uniformly, in both directions, each with the relation of one of its facts."""
    drawn = rng.sample(range(facts.size.entities), count)
    found = []
    for direction, near in facts.ends().items():
        order = np.argsort(near, kind="stable")
        starts = np.searchsorted(near[order], [[number, number + 1] for number in drawn])
        for number, (low, high) in zip(drawn, starts.tolist(), strict=True):
            kind = relation(int(facts.relations[order[rng.randrange(low, high)]])) if high > low else ""
            found.append(Step(entity(number), direction, kind))
    return found


def by_fact(facts: Facts, count: int, rng: random.Random) -> list[Step]:
    """Both ends of facts drawn uniformly, so that hubs come as often as they have facts."""
    edges = [facts.edge(place) for place in rng.sample(range(len(facts.heads)), count)]
    outwards = [Step(edge.head, "out", edge.relation) for edge in edges]
    return [*outwards, *(Step(edge.tail, "in", edge.relation) for edge in edges)]


def hubs(facts: Facts) -> list[Step]:
    """The tails with most facts of one relation."""
    groups, counts = np.unique(facts.tails * facts.size.relations + facts.relations, return_counts=True)
    largest = groups[np.argsort(-counts, kind="stable")[:HUBS]].tolist()
    pairs = [divmod(group, facts.size.relations) for group in largest]
    return [Step(entity(tail), "in", relation(kind)) for tail, kind in pairs]


# --- asking ----------------------------------------------------------------------------------------------------


def open_ours(path: Path, size: Size) -> Reader:
    """A file in memory, or a store."""
    return Ours(open_graph(path))


def open_queries(path: Path, size: Size) -> Reader:
    """The RDF in a store, by SPARQL."""
    return Queries(rdf.Store.read_only(str(path / "rdf")))


def open_patterns(path: Path, size: Size) -> Reader:
    """The RDF in a store, by patterns."""
    return Patterns(rdf.Store.read_only(str(path / "rdf")))


def open_rdflib(path: Path, size: Size) -> Reader:
    """A file in rdflib."""
    return RdfLib(path)


def open_networkx(path: Path, size: Size) -> Reader:
    """The facts in networkx, which reads no N-Triples: drawn anew."""
    return NetworkX(Facts.draw(size))


def _measured(subject: Subject, plan: Plan) -> Found | None:
    print(f"{subject.name}, {subject.size.facts:,} facts", file=sys.stderr, flush=True)
    try:
        return apart(measure, subject, plan)
    except ImportError as missing:
        print(f"{subject.name}: skipped, {missing}", file=sys.stderr, flush=True)
        return None


def measure(subject: Subject, plan: Plan) -> Found:
    """Open it, time each drawn call once and hubs several times, and check answers; all in this process."""
    before, begin = resident(), time.perf_counter()
    reader = subject.open(subject.path, subject.size)
    opening = time.perf_counter() - begin
    times = {
        (drawing, name): timed(call, steps)
        for drawing, steps in plan.drawn.items()
        for name, call in calls(reader, SOME).items()
    }
    for name, call in (calls(reader, SOME) | calls(reader, MANY)).items():
        times["hubs", name] = timed(call, list(plan.hubs) * REPEATS)
    gc.collect()
    after = resident()
    brought = None if before is None or after is None else after - before
    right = [agrees(reader, key, expected) for key, expected in plan.expected.items()]
    return Found(opening, brought, times, sum(right), len(right))


def calls(reader: Reader, limit: int) -> dict[str, Callable[[Step], object]]:
    """The calls of a step, by name."""
    return {
        "relations": lambda step: reader.relations(step.entity, step.direction),
        "counts": lambda step: reader.counts(step.entity, step.direction),
        f"edges, at most {limit:,}": lambda step: reader.edges(step.entity, step.relation, step.direction, limit),
    }


def timed(call: Callable[[Step], object], steps: Sequence[Step]) -> list[float]:
    """Microseconds of each call; steps without a fact are left out."""
    found = []
    for step in steps:
        if step.relation:
            begin = time.perf_counter_ns()
            call(step)
            found.append((time.perf_counter_ns() - begin) / 1000)
    return found


def resident() -> int | None:
    """Bytes of this process in memory, with mapped files as far as they were touched; None but on Linux."""
    statm = Path("/proc/self/statm")
    return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if statm.exists() else None


def agrees(reader: Reader, key: tuple[str, Direction], expected: Mapping[str, Sequence[Edge]]) -> bool:
    """Whether relations, counts and all facts of an entity are those of the plain dictionary."""
    near, direction = key
    ends = {
        kind: sorted(edge.tail if direction == "out" else edge.head for edge in edges)
        for kind, edges in expected.items()
    }
    return (
        sorted(reader.relations(near, direction)) == sorted(ends)
        and reader.counts(near, direction) == {kind: len(far) for kind, far in ends.items()}
        and all(sorted(reader.edges(near, kind, direction)) == far for kind, far in ends.items())
        and all(len(reader.edges(near, kind, direction, 1)) == 1 for kind in ends)
    )


# --- numbers ---------------------------------------------------------------------------------------------------

Answers = Mapping[str, Found | None]


def _section(loading: Mapping[str, float], found: Mapping[Size, Answers]) -> Section:
    whole = next(iter(found))
    section = Section(f"Graphs: {whole.facts:,} facts, {whole.entities:,} entities, {whole.relations:,} relations")
    section.tables.append(_loading_table(loading))
    for size, readers in found.items():
        there = {name: one for name, one in readers.items() if one is not None}
        section.tables += [f"**{size.facts:,} facts**", _opening_table(size, there)]
        section.tables += ["Microseconds of a call: median / mean / 99th percentile", _times_table(there)]
        section.metrics += [metric for name, one in there.items() for metric in _metrics(f"{name}, {size.facts}", one)]
        section.notes += [f"{name} is not installed: left out." for name, one in readers.items() if one is None]
    section.metrics += [scalar(f"load, {name}", value, better="lower") for name, value in loading.items()]
    section.notes += _notes(found[whole])
    return section


def _loading_table(loading: Mapping[str, float]) -> str:
    rows: dict[str, list[Cell]] = {
        "wall time": [display(loading["seconds"], "s"), f"≤ {LOAD_SECONDS} s"],
        "peak memory": [display(loading["peak"], "bytes"), f"≤ {display(LOAD_BYTES, 'bytes')}"],
        "N-Triples read": [display(loading["read"], "bytes"), None],
        "store on disk": [display(loading["disk"], "bytes"), None],
    }
    return table(rows, ["`upright kg load`", "asked for"])


def _opening_table(size: Size, found: Mapping[str, Found]) -> str:
    rows: dict[str, list[Cell]] = {}
    for name, one in found.items():
        memory = None if one.resident is None else display(one.resident, "bytes")
        each = None if one.resident is None else f"{one.resident / size.facts:.0f} B"
        rows[name] = [scalar("opening", one.opening, unit="s"), memory, each, f"{one.right} of {one.checked}"]
    return table(rows, ["opening", "memory after all calls", "a fact", "answers as the dictionary's"])


def _times_table(found: Mapping[str, Found]) -> str:
    columns = list(found)
    keys = list(next(iter(found.values())).times)
    rows: dict[str, list[Cell]] = {
        f"{drawing}: {name}": [_three(one.times[drawing, name]) for one in found.values()] for drawing, name in keys
    }
    return table(rows, columns)


def _three(times: Sequence[float]) -> str:
    return " / ".join(f"{value:,.1f}" if value < 100 else f"{value:,.0f}" for value in statistics(times).values())


def statistics(times: Sequence[float]) -> dict[str, float]:
    """Median, mean and 99th percentile."""
    return {
        "median": float(np.median(times)),
        "mean": float(np.mean(times)),
        "99th percentile": float(np.percentile(times, 99)),
    }


def _metrics(label: str, found: Found) -> Iterator[Metric]:
    for (drawing, name), times in found.times.items():
        for statistic, value in statistics(times).items():
            split = f"{label}: {drawing}, {statistic}"
            yield scalar(name, value, split=split, n=len(times), unit="µs", better="lower")
    yield scalar("opening", found.opening, split=label, unit="s", better="lower")
    yield scalar("memory", found.resident, split=label, unit="bytes", better="lower")
    yield proportion("answers as the dictionary's", found.right, found.checked, split=label)


def _notes(found: Answers) -> Iterator[str]:
    for name, most in MOST.items():
        one = found[name]
        assert one is not None
        means = {key: float(np.mean(times)) for key, times in one.times.items() if key[0] != "hubs"}
        slow = [f"{drawing}: {call}" for (drawing, call), value in means.items() if value > most]
        verdict = f"missed by {'; '.join(slow)}" if slow else "held by all"
        yield f"Asked for, {name}: ≤ {most:,.0f} µs, as a mean over drawn entities (hubs apart); {verdict}."
    yield (
        f"By entity: {ENTITIES:,} entities drawn uniformly, in both directions; by fact: both ends of {ENTITIES:,} "
        f"facts drawn uniformly, so that hubs count; each call made once, right after opening. Hubs: the {HUBS} tails "
        f"with most facts of one relation, {REPEATS} times each."
    )
    yield (
        f"Answers: relations, counts and all facts of {CHECKED} entities in both directions against a plain dictionary."
        " Labels are triples in Oxigraph and rdflib, and left out of their answers."
    )
