"""The beam: a hand-written trace, a naive twin on random graphs, and the compact prompts."""

import asyncio
import math
import re
import zlib
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.traversal.scripted import FACTS, GREEDY
from tests.traversal.told import QUESTION, Told, run, said
from upright.knowledge.failures import GraphError
from upright.knowledge.graph import Direction, Edge
from upright.knowledge.memory import MemoryGraph
from upright.models.chat.protocol import Completion, Message, Sampling, TokenLogprobs, Usage
from upright.traversal.budget import Limits
from upright.traversal.drawings import local_graph, twigs
from upright.traversal.machine import Candidate, Options
from upright.traversal.methods.beam import Beam
from upright.traversal.methods.direct import AT_ONCE
from upright.traversal.methods.written import REPLY, SUFFICES, scored
from upright.traversal.prompts import Compact
from upright.traversal.record import replay
from upright.traversal.search import Settings

BEAM = Beam()
TRACE = ("no", "(2): 0.9\n(1): 0.5", "Brazil: 0.4\nChile: 0.2", "Yes.", "sol.\n")
PATHS = """\
Facts found so far:
Lima ← capital ← Peru → currency → sol
Lima ← capital ← Peru → borders → Brazil
Lima ← capital ← Peru → borders → Chile"""


def test_a_question_of_two_hops() -> None:
    """Lima has one relation and it one end: neither is asked about. The paths are worth 0.9, 0.5 * 0.4, 0.5 * 0.2."""
    model = Told(*TRACE)
    found, rows = run(BEAM, model)
    assert (found.status, found.labels, found.calls, found.value) == ("answered", ("sol",), 5, 1.0)
    assert found.answer is not None
    assert found.answer.grounded
    assert found.answer.evidence == (
        Edge("Peru", "borders", "Brazil"),
        Edge("Peru", "borders", "Chile"),
        Edge("Peru", "capital", "Lima"),
        Edge("Peru", "currency", "sol"),
    )
    nodes = [row for row in rows if row["kind"] == "node" and row["lines"]]
    values = [(row["lines"][-1][1], row["value"], row["how"]) for row in nodes]
    assert values == [
        ("Lima ← capital ← Peru", 1.0, "inherited"),
        ("Peru → currency → sol", 0.9, "text"),
        ("Peru → borders → Brazil", pytest.approx(0.2), "text"),
        ("Peru → borders → Chile", pytest.approx(0.1), "text"),
        ("sol.", 1.0, "text"),
    ]
    assert replay(rows) == found


def test_what_is_asked_and_in_which_order() -> None:
    model = Told(*TRACE)
    run(BEAM, model)
    first, relations, entities, second, answer = model.prompts
    path = f"Question: {QUESTION}\n\nFacts found so far:\nLima ← capital ← Peru\n\n"
    assert first == f"{path}{SUFFICES}"
    assert relations.startswith(f"{path}Which relations of Peru lead towards the answer?")
    options = ["(1) borders · 2", "(2) currency · 1", "(3) founded · 1", "(4) population · 1"]
    assert relations.splitlines()[-4:] == options  # the capital has been read, and who borders Peru is bordered by it
    assert entities.startswith(f"{path}Which of the entities at the end of Peru → borders lead towards")
    assert entities.splitlines()[-2:] == ["(1) Brazil", "(2) Chile"]
    assert second == f"Question: {QUESTION}\n\n{PATHS}\n\n{SUFFICES}"
    assert answer == f"Question: {QUESTION}\n\n{PATHS}\n\n{REPLY}"
    assert {one.temperature for one in model.samplings} == {0.0}


def test_the_beam_is_drawn_as_a_tree() -> None:
    _, rows = run(BEAM, Told(*TRACE))
    assert [(twig.depth, twig.chosen) for twig in twigs(rows)] == [
        (0, True),
        (1, True),
        (2, True),
        (3, True),
        (2, False),
        (2, False),
    ]
    assert local_graph(rows, {}, "what was read") is not None


def test_equal_scores_keep_the_first() -> None:
    """All four relations of Peru are worth 0.5: with a width of two, borders and currency stay; then Brazil, Chile."""
    half = "".join(f"({number}): 0.5\n" for number in range(1, 5))
    model = Told("no", half, "Chile: 0.5\nBrazil: 0.5\n", "yes", "?")
    _, rows = run(Beam(width=2), model)
    kept = [lines[-1][1] for lines in said(rows) if lines[-1][0] == "FOLLOW"]
    # 0.5 for the currency alone; of the borders 0.25 each, in the order of the reply
    assert kept == ["Lima ← capital ← Peru", "Peru → currency → sol", "Peru → borders → Chile"]


def test_full_depth_answers_from_what_there_is() -> None:
    model = Told("no", "perhaps Ecuador")
    found, rows = run(Beam(depth=1), model)
    assert (found.status, found.labels, found.value) == ("below_threshold", ("perhaps Ecuador",), 0.0)
    assert found.answer is not None
    assert not found.answer.grounded
    assert found.answer.evidence == (Edge("Peru", "capital", "Lima"),)
    assert replay(rows) == found


def test_a_dead_end_stops_the_rounds() -> None:
    """The currency is the end: no second round is asked for."""
    model = Told("no", "sol")
    found, _ = run(BEAM, model, seeds=["Peru"], graph=MemoryGraph([("Peru", "currency", "sol")]))
    assert (found.status, found.labels, found.calls) == ("below_threshold", ("sol",), 2)


def test_without_facts_the_model_answers_from_what_it_knows() -> None:
    for seeds, status in (((), "no_entities"), (["nowhere"], "below_threshold")):
        model = Told("the sol")
        found, _ = run(BEAM, model, seeds=seeds)
        assert (found.status, found.labels, found.calls) == (status, ("the sol",), 1)
        assert model.prompts == [f"{AT_ONCE}\n\nQuestion: {QUESTION}"]


def test_scores_that_cannot_be_read_leave_an_error_and_offer_nothing() -> None:
    model = Told("no", "I like them all", "sol")
    found, rows = run(BEAM, model)
    assert (found.status, found.labels, found.calls) == ("below_threshold", ("sol",), 3)
    assert [("ERROR", "no score could be read")] in said(rows)
    assert replay(rows) == found


def test_reading_scores() -> None:
    candidates = [Candidate(name, name, name, name, 1) for name in ("capital", "~capital", "a: b", "sol")]
    options = Options.among(candidates, candidates)
    text = "- capital: 0.5\n(2) ~capital · 3: .25\n(3): 80 %\ncapital: 0.1\nnothing: 0.9\nsol: 7\nsol\n(4) other: 0.0"
    assert scored(Completion(text, "stop", Usage(1, 1)), options) == {
        "capital": 0.5,  # the first counts
        "~capital": 0.25,
        "a: b": 0.8,
        "sol": 0.0,
    }
    assert scored(Completion("a: b: 1\nsol: 0.", "length", Usage(1, 1)), options) == {"a: b": 1.0}


def test_of_too_many_entities_some_are_drawn_by_the_seed() -> None:
    hub = MemoryGraph([(f"city {number:03}", "country", "Land") for number in range(300)])
    seen = []
    for seed in (0, 0, 1):
        model = Told(by=lambda prompt: "(1): 1" if "(1)" in prompt else "yes")
        run(BEAM, model, seeds=["Land"], graph=hub, settings=Settings(listed=20, seed=seed))
        seen.append(re.findall(r"^\(\d+\) (city \d+)", model.prompts[0], re.MULTILINE))
    assert seen[0] == seen[1] != seen[2]
    assert len(set(seen[0])) == 20


# --- budgets and failures ---


@pytest.mark.parametrize("calls", range(7))
def test_calls_end_with_what_is_there(calls: int) -> None:
    model = Told(*TRACE)
    found, rows = run(BEAM, model, limits=Limits(calls=calls))
    assert len(model.prompts) == found.calls == min(calls, 5)
    assert (found.status, found.labels) == (("answered", ("sol",)) if calls >= 5 else ("budget_calls", ()))
    assert replay(rows) == found


def test_one_failed_call_costs_its_options_alone() -> None:
    """From Peru and Chile: the relations of Chile fail, those of Peru lead to the answer."""

    def reply(prompt: str) -> str:
        if "relations of Chile" in prompt:
            return "error: gone"
        return "currency: 1" if "relations of Peru" in prompt else "sol" if REPLY in prompt else "yes"

    found, rows = run(BEAM, Told(by=reply), seeds=["Chile", "Peru"])
    assert (found.status, found.labels) == ("answered", ("sol",))
    assert [("ERROR", "the model failed: error: gone")] in said(rows)
    assert replay(rows) == found


def test_a_failing_model_ends_it_with_its_reason() -> None:
    found, rows = run(BEAM, Told(by=lambda prompt: "error: gone"))
    assert (found.status, found.reason) == ("error", "the model fails: error: gone")
    assert replay(rows) == found


class Halting(Told):
    """The relations of Chile take longer than there is."""

    async def complete(self, messages: Sequence[Message], *args: Any, **kwargs: Any) -> list[Completion]:
        if "relations of Chile" in messages[-1].content:
            await asyncio.sleep(10)
        return await super().complete(messages, *args, **kwargs)


def test_what_was_asked_side_by_side_stands_in_the_record_when_the_time_is_up() -> None:
    model = Halting(by=lambda prompt: "currency: 1")
    found, rows = run(BEAM, model, seeds=["Chile", "Peru"], limits=Limits(seconds=0.1))
    assert (found.status, found.calls) == ("budget_seconds", 1)
    assert replay(rows) == found


def test_a_failing_graph_costs_its_paths_alone() -> None:
    class Failing(MemoryGraph):
        def edges(
            self, entities: Any, relation: str, direction: Direction = "out", limit: int | None = None
        ) -> list[Edge]:
            if relation == "currency":
                raise GraphError("http://example.org: timed out")
            return super().edges(entities, relation, direction, limit)

    model = Told("no", "currency: 0.9\ncapital: 0.1\npopulation: 0.5", "no", "34")
    found, rows = run(Beam(depth=2), model, graph=Failing(FACTS))
    assert found.labels == ("34",)
    assert [("ERROR", "the graph did not answer: http://example.org: timed out")] in said(rows)
    assert replay(rows) == found


# --- a naive twin ---

Fact = tuple[str, str, str]
Walk = tuple[tuple[Fact, ...], str]  # the facts of a path and where it ends


def liking(text: str) -> float:
    """A score that depends on a name alone and differs between names; as it is written, so that ties are ties."""
    return float(f"{(zlib.crc32(text.encode()) % 9973 + 1) / 9974:.6f}")


def judging(prompt: str) -> str:
    """Scores all options of a prompt by `liking`; no facts are enough."""
    if REPLY in prompt or AT_ONCE in prompt:
        return "?"
    options = re.findall(r"^\((\d+)\) ([^ \n]+)", prompt, re.MULTILINE)
    return "\n".join(f"({number}): {liking(name):.6f}" for number, name in options) or "no"


def naive(facts: Sequence[Fact], seed: str, width: int, depth: int) -> list[tuple[Fact, ...]]:
    """The paths of a beam, by lists: each a row of facts."""
    beam: list[tuple[float, Walk]] = [(1.0, ((), seed))]
    for _ in range(depth):
        steps = [(worth * score, walk, step) for worth, walk in beam for step, score in options(facts, walk)]
        steps.sort(key=lambda one: -one[0])
        ends = [
            (worth * score, (walk[0] + (fact,), end))
            for worth, walk, step in steps[:width]
            for fact, end, score in reached(facts, walk, step, seed)
        ]
        if not ends:
            break
        beam = sorted(ends, key=lambda one: -one[0])[:width]
    return sorted(tuple(walk[0]) for _, walk in beam if walk[0])


def options(facts: Sequence[Fact], walk: Walk) -> list[tuple[str, float]]:
    def steps(some: Sequence[Fact]) -> Counter[str]:
        found = Counter(relation for head, relation, _ in some if head == walk[1])
        return found + Counter(f"~{relation}" for _, relation, tail in some if tail == walk[1])

    new = steps(facts) - steps(walk[0])
    ordered = sorted(new, key=lambda step: (step.startswith("~"), step))
    return [(step, 1.0 if len(new) == 1 else liking(step)) for step in ordered]


def reached(facts: Sequence[Fact], walk: Walk, step: str, seed: str) -> list[tuple[Fact, str, float]]:
    found = []
    for fact in facts:
        near, far = (fact[2], fact[0]) if step.startswith("~") else (fact[0], fact[2])
        if fact[1] == step.removeprefix("~") and near == walk[1] and far != seed and fact not in walk[0]:
            found.append((fact, far))
    return [(fact, far, 1.0 if len(found) == 1 else liking(far)) for fact, far in found]


entity = st.integers(0, 8)
facts_of = st.sets(
    st.tuples(entity, st.sampled_from("pqrs"), entity).filter(lambda fact: fact[0] < fact[2]), min_size=1, max_size=25
)  # from lower to higher numbers, so that no relation is its own inverse


@settings(max_examples=100, deadline=None)
@given(facts=facts_of, width=st.integers(1, 4), depth=st.integers(1, 4))
def test_the_beam_keeps_what_a_naive_one_keeps(facts: set[tuple[int, str, int]], width: int, depth: int) -> None:
    triples = [(f"e{head}", relation, f"e{tail}") for head, relation, tail in sorted(facts)]
    seed = triples[0][0]
    found, rows = run(Beam(width, depth), Told(by=judging), seeds=[seed], graph=MemoryGraph(triples))
    expected = naive(triples, seed, width, depth)
    edges = {Edge(*fact) for path in expected for fact in path}
    assert found.answer is not None
    assert set(found.answer.evidence) == edges
    assert found.calls <= 2 * width * depth + depth + 1
    assert replay(rows) == found


# --- the compact style ---


class Chooser:
    """Chooses by given probabilities, of a text after the end of a prompt; all other choices share the rest."""

    name, context = "test:chooser", None

    def __init__(self, **likely: dict[str, float]) -> None:
        self.likely = likely
        self.asked: list[tuple[str, tuple[str, ...]]] = []

    async def complete(
        self,
        messages: Sequence[Message],
        sampling: Sampling = GREEDY,
        samples: int = 1,
        choices: Sequence[str] | None = None,
    ) -> list[Completion]:
        assert choices
        assert samples == 1
        prompt = messages[-1].content
        last = prompt.splitlines()[-1]
        self.asked.append((last, tuple(choices)))
        key = {">": "act", "?": "judge"}.get(last, "relation")
        known = {text: p for text, p in self.likely[key].items() if text in choices}
        rest = (1 - sum(known.values())) / max(1, len(choices) - len(known))
        top = [(text, math.log(known.get(text, rest) or 1e-9)) for text in choices]
        best = max(top, key=lambda pair: pair[1])
        return [Completion(best[0], "stop", Usage(10, 1), (TokenLogprobs(*best, tuple(top)),))]

    def count(self, messages: Sequence[Message]) -> int:
        return 10


def test_compact_paths_are_sets_and_answers_forms() -> None:
    """From Peru: borders 0.6 and currency 0.3 stay with a width of two. At their ends it would answer by #2; the
    answers are worth 0.6 * 0.9 and 0.3 * 0.9, less than 0.8, and the borders lead on."""
    model = Chooser(
        relation={"borders": 0.6, "currency": 0.3, "capital": 0.1},
        act={"ANSWER #2": 0.9},
        judge={"yes": 0.9},
    )
    found, rows = run(Beam(width=2, depth=1), model, seeds=["Peru"], style=Compact())
    assert (found.status, found.labels) == ("below_threshold", ("Brazil", "Chile"))
    assert found.value == pytest.approx(0.54)
    assert found.answer is not None
    assert found.answer.evidence == (Edge("Peru", "borders", "Brazil"), Edge("Peru", "borders", "Chile"))
    assert [last for last, _ in model.asked] == ["> EXPAND #1", ">", ">", "?", "?"]
    answers = [(row["lines"][-1][1], row["value"]) for row in rows if row["kind"] == "node" and "answer" in row]
    assert answers == [("#2", pytest.approx(0.54)), ("#2", pytest.approx(0.27))]
    assert replay(rows) == found
    sure, _ = run(Beam(width=2, depth=1), model, seeds=["Peru"], style=Compact(), settings=Settings(threshold=0.5))
    assert sure.status == "answered"


def test_compact_reads_on_where_it_would_not_answer() -> None:
    model = Chooser(relation={"currency": 0.95}, act={"EXPAND": 0.4, "ANSWER #3": 0.6}, judge={"yes": 0.95})
    found, _ = run(Beam(width=1), model, seeds=["Lima"], style=Compact())
    assert (found.status, found.labels) == ("answered", ("sol",))
    assert [last for last, _ in model.asked] == [">", "> EXPAND #2", ">", "?"]  # the way from Lima needs no call


def test_compact_answers_at_the_end_even_if_it_would_read_on() -> None:
    model = Chooser(relation={}, act={"EXPAND": 0.6, "ANSWER count #2": 0.35}, judge={"yes": 0.9})
    found, _ = run(Beam(width=1, depth=1), model, seeds=["Lima"], style=Compact())
    assert (found.labels, found.calls) == (("1",), 3)
    assert "EXPAND" in model.asked[0][1]
    assert "EXPAND" not in model.asked[1][1]
    assert run(Beam(), model, seeds=(), style=Compact())[0].status == "no_entities"


@pytest.mark.parametrize("calls", range(7))
def test_compact_budgets(calls: int) -> None:
    model = Chooser(relation={"borders": 0.6, "currency": 0.3}, act={"ANSWER #2": 0.9}, judge={"yes": 0.9})
    found, rows = run(Beam(2, 1), model, seeds=["Peru"], style=Compact(), limits=Limits(calls=calls))
    assert found.calls == min(calls, 5)
    assert (found.status == "budget_calls") == (calls < 5)
    assert replay(rows) == found
