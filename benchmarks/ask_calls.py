"""Questions side by side and one call at a time on a slow server, and again from the cache.

The server has the API of OpenAI, waits 200 ms before it answers and takes 32 requests at once. An oracle that knows
the gold paths writes the answers, with a wrong turn and a hasty answer among the samples: which of them comes depends
on the prompt and the number of the sample alone.
"""

import os
import random
import re
import shutil
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.harness import Bench, Cell, Run, Section, finished, relabelled, table
from tests.models.chat.server import Server
from upright.knowledge.files import open_graph, open_relations
from upright.knowledge.graph import KnowledgeGraph
from upright.models.chat.config import ChatConfig, ChatSpeed
from upright.run.evidence import Metric, scalar
from upright.run.files import read_jsonl
from upright.traversal.config import AskSpeed, Config, SearchConfig
from upright.traversal.lessons import lessons
from upright.traversal.names import mark, plain
from upright.traversal.paths import take
from upright.traversal.prompts import FOLLOW, JUDGE, QUESTION, SCORE_TAG, SELECT, VERIFY
from upright.traversal.questions import Lesson, write_questions
from upright.traversal.state import Step

WORLD = "lab:atlas"
LATENCY, MOST = 0.2, 32
"""Seconds until the server answers, and requests it takes at once."""
ASKED, ALONE = 200, 20
"""Questions, and those of the tree that are also asked one call at a time."""
FASTER = 10
"""Times that side by side is asked to be faster."""


@dataclass(frozen=True)
class Way:
    """How questions are asked: samples a state, how many at once, and from which of the caches."""

    name: str
    samples: int
    at_once: bool
    asked: int
    cache: str


@dataclass(frozen=True)
class Took:
    """What a run took: requests that reached the server, and the most of them at once."""

    way: Way
    run: Run
    requests: int
    busiest: int

    @property
    def each(self) -> float:
        """Seconds of wall time a question."""
        return self.run.manifest.wall_seconds / self.way.asked


def run(bench: Bench) -> Section:
    """Ask in every way; nothing is read back from earlier, as every server has its own address."""
    asked, alone, latency = (12, 4, LATENCY / 10) if bench.quick else (ASKED, ALONE, LATENCY)
    here = bench.out / "calls"
    shutil.rmtree(here, ignore_errors=True)
    here.mkdir(parents=True)
    graph = open_graph(WORLD)
    taught = list(islice(lessons(graph, open_relations(WORLD, graph), "measure", random.Random(0)), asked))
    for count in (asked, alone):
        write_questions(_file(here, count), [lesson.question for lesson in taught[:count]])
    os.environ.setdefault("NO_PROXY", "127.0.0.1")
    with Server(latency, MOST, models=["oracle"], reply=Oracle(taught, graph)) as server:
        took = [_asked(here, server, way) for way in _ways(asked, alone)]
    return _section(took, latency)


def _ways(asked: int, alone: int) -> Iterator[Way]:
    """Each kind of search: at once, again from the cache, and one call at a time with a cache of its own."""
    for kind, samples, serial in (("chain", 1, asked), ("tree", 3, alone)):
        yield Way(f"{kind}, side by side", samples, True, asked, kind)
        yield Way(f"{kind}, from the cache", samples, True, asked, kind)
        yield Way(f"{kind}, one call at a time", samples, False, serial, f"{kind}-alone")


def _asked(here: Path, server: Server, way: Way) -> Took:
    before, server.busiest = len(server.requests), 0
    speed, questions = (ChatSpeed(), AskSpeed()) if way.at_once else (ChatSpeed(concurrency=1), AskSpeed(questions=1))
    config = Config(
        questions=_file(here, way.asked),
        kg=[WORLD],
        chat=ChatConfig(
            model="openai:oracle",
            base_url=server.url,
            speed=speed.model_copy(update={"cache": here / f"cache-{way.cache}"}),
        ),
        search=SearchConfig(samples=way.samples),
        speed=questions,
        out=here / re.sub(r"\W+", "-", way.name),
    )
    done = finished(config, "ask")
    return Took(way, done, len(server.requests) - before, server.busiest)


def _file(here: Path, count: int) -> Path:
    return here / f"questions-{count}.jsonl"


# --- the oracle ------------------------------------------------------------------------------------------------


class Prompt(NamedTuple):
    """What a prompt of the plain style shows, and the gold path and form of answer of its question."""

    path: list[str]
    form: str
    followed: list[str]
    last: str
    instruction: str

    @property
    def latest(self) -> str:
        """Name of the last set."""
        return f"#{len(self.followed) + 1}"

    @property
    def on_path(self) -> bool:
        """Whether nothing but the gold path was followed."""
        return self.path[: len(self.followed)] == self.followed


class Oracle:
    """Answers prompts of the plain style from the gold paths of questions.

    Of three samples the second takes any relation where one is asked for, and the third answers before the path is
    walked; values are high on the gold path and low beside it.
    """

    def __init__(self, taught: Iterable[Lesson], graph: KnowledgeGraph) -> None:
        self._ways = {plain(lesson.question.question, QUESTION): _way(lesson, graph) for lesson in taught}

    def __call__(self, body: Mapping[str, Any], sample: int) -> str:
        prompt = self._read(body["messages"][-1]["content"])
        number = (body.get("seed", 0) + sample) % 3
        if prompt.instruction.startswith((JUDGE, VERIFY)):
            return f"{SCORE_TAG} {0.9 if _is_good(prompt) else 0.1}"
        if prompt.instruction.startswith(SELECT):
            return prompt.latest
        if prompt.instruction.startswith(FOLLOW):
            return _any_option(prompt) if number == 1 else prompt.path[len(prompt.followed)]
        return _action(prompt, hasty=number == 2)

    def _read(self, text: str) -> Prompt:
        question, _, trajectory, instruction = text.split("\n\n")
        lines = trajectory.splitlines()
        followed = [line.removeprefix("FOLLOW ") for line in lines if line.startswith("FOLLOW ")]
        return Prompt(*self._ways[question.removeprefix("Question: ")], followed, lines[-1], instruction)


def _way(lesson: Lesson, graph: KnowledgeGraph) -> tuple[list[str], str]:
    """The gold path as prompts write it, and the form of answer."""
    seeds = here = frozenset(lesson.question.seeds)
    path = []
    for step in lesson.path:
        there = take(graph, here, step)
        mirrored = take(graph, here, Step(step.relation)) == there  # then it is only offered outwards
        path.append(mark(plain(step.relation), "out" if mirrored else step.direction))
        here = there - seeds
    return path, lesson.form or f"#{len(path) + 1}"


def _is_good(prompt: Prompt) -> bool:
    if prompt.last.startswith("ANSWER "):
        return prompt.followed == prompt.path and prompt.last == f"ANSWER {prompt.form}"
    return prompt.on_path


def _any_option(prompt: Prompt) -> str:
    options: list[str] = re.findall(r"^\(\d+\) (.+) · \d+$", prompt.instruction, flags=re.MULTILINE)
    return options[zlib.crc32(prompt.instruction.encode()) % len(options)]


def _action(prompt: Prompt, hasty: bool) -> str:
    if prompt.followed == prompt.path:
        return f"ANSWER {prompt.form}"
    begun = bool(prompt.followed)
    return f"ANSWER {prompt.latest}" if begun and (hasty or not prompt.on_path) else "EXPAND_KG"


# --- numbers ---------------------------------------------------------------------------------------------------


def _section(took: Sequence[Took], latency: float) -> Section:
    section = Section(f"Calls: a server that takes {1000 * latency:.0f} ms, {MOST} requests at once")
    rows = {one.way.name: _row(one) for one in took}
    columns = ["questions", "requests at the server", "most at once", "wall time", "a question", "EM-in"]
    section.tables.append(table(rows, columns))
    for kind in ("chain", "tree"):
        fast, cached, slow = (one for one in took if one.way.name.startswith(kind))
        section.notes.append(
            f"{kind}: side by side takes {slow.each / fast.each:.1f} times less wall time a question than one call at "
            f"a time (asked for: ≥ {FASTER}); {_same(fast, slow)}. From the cache {cached.requests:,} requests reach "
            f"the server (asked for: 0) and it takes {fast.each / cached.each:.1f} times less; {_same(fast, cached)}."
        )
        section.metrics.append(scalar("times faster", slow.each / fast.each, split=kind, n=slow.way.asked))
    for one in took:
        section.metrics += _metrics(one)
    section.notes += [
        "The questions of the serial tree are the first of the others; of the chain they are the same.",
        "Wall time is that of the whole run, from opening the graph to the report.",
    ]
    return section


def _row(one: Took) -> list[Cell]:
    wall = f"{one.run.manifest.wall_seconds:.1f} s"
    em_in = one.run.find("EM-in", "result", "all")
    return [f"{one.way.asked}", f"{one.requests:,}", f"{one.busiest}", wall, f"{one.each:.3f} s", em_in]


def _same(first: Took, other: Took) -> str:
    """How many of the answers both have are the same, with evidence and score."""
    ours, theirs = _answers(first), _answers(other)
    equal = sum(ours[name] == answer for name, answer in theirs.items())
    return f"{equal} of {len(theirs)} answers are the same, with their scores and evidence"


def _answers(one: Took) -> dict[str, list[Any]]:
    rows = read_jsonl(one.run.path / "answers.jsonl")
    return {row["id"]: [row[field] for field in ("answer", "score", "evidence", "status", "form")] for row in rows}


def _metrics(one: Took) -> Iterator[Metric]:
    yield scalar("requests", one.requests, split=one.way.name, better="lower")
    yield scalar("wall time", one.run.manifest.wall_seconds, split=one.way.name, unit="s", better="lower")
    for name in ("EM-in", "calls"):
        yield from relabelled(one.run.find(name, "result", "all"), one.way.name)
