import asyncio
import json
import math
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.traversal.scripted import FACTS, GREEDY, LITERALS, Script, Scripted, world
from upright.knowledge.failures import GraphError
from upright.knowledge.graph import Direction, Edge
from upright.knowledge.memory import MemoryGraph
from upright.models.chat.meter import Prices
from upright.models.chat.protocol import Completion, Message, Sampling, TokenLogprobs, Usage
from upright.traversal.answers import Answer
from upright.traversal.budget import Budget, Limits, Stop
from upright.traversal.prompts import Compact, Plain, Style
from upright.traversal.record import Node, Outcome, Row, best_answer, replay
from upright.traversal.search import UNLIMITED, Searcher, Settings, choose, weigh
from upright.traversal.state import State

QUESTION = "Which currency is used in the country whose capital is Lima?"
SETTINGS, PLAIN = Settings(), Plain()
WAY = {"": "EXPAND_KG", "#2": "EXPAND_KG", "#3": "ANSWER #3"}


def run(
    model: Any,
    settings: Settings = SETTINGS,
    seeds: Sequence[str] = ("Lima",),
    graph: Any = None,
    limits: Limits = UNLIMITED,
    style: Style = PLAIN,
    prices: Prices | None = None,
) -> tuple[Outcome, list[Row]]:
    rows: list[Row] = []
    searcher = Searcher(graph or world(), model, style, LITERALS, settings, limits, prices)
    return asyncio.run(searcher.answer(QUESTION, seeds, rows.append)), rows


def last_set(said: str) -> str:
    return f"#{said.count('FOUND') + 1}" if "FOUND" in said else ""


def straight(kind: str, said: str) -> str:
    """The shortest way to the answer, every state worth 0.9."""
    match kind:
        case "default" | "forced":
            return WAY[last_set(said)]
        case "entities":
            return last_set(said) or "#1"
        case "relation":
            return "currency" if "FOUND" in said else "~capital"
        case _:
            return "Score: 0.9"


def with_value(script: Script, value: str) -> Script:
    return lambda kind, said: f"Score: {value}" if kind in ("value", "verify") else script(kind, said)


# --- the way to an answer ---


def test_a_question_of_two_hops() -> None:
    found, _ = run(Scripted(straight))
    assert (found.status, found.labels, found.value) == ("answered", ("sol",), 0.9)
    assert found.answer is not None
    assert found.answer.grounded
    assert found.answer.evidence == (Edge("Peru", "capital", "Lima"), Edge("Peru", "currency", "sol"))


def test_equal_samples_make_one_child_and_forced_moves_no_call() -> None:
    """Seven expansions in a row: of them the choices of the only entity and of its only relation need no call."""
    model = Scripted(straight)
    found, _ = run(model)
    assert (found.expansions, found.nodes) == (7, 8)
    asked = [(kind, samples) for kind, _, samples in model.asked]
    actions = [one for one in asked if one[0] not in ("value", "verify")]
    assert actions == [("default", 3), ("default", 3), ("entities", 6), ("relation", 9), ("default", 3)]
    # a value for each child but the one that chose the only entity
    assert [kind for kind, _ in asked].count("value") == 5
    assert [kind for kind, _ in asked].count("verify") == 1


def test_one_sample_is_a_plain_chain_without_values() -> None:
    model = Scripted(straight)
    found, rows = run(model, Settings(samples=1))
    assert (found.status, found.labels, found.value) == ("answered", ("sol",), None)
    assert [kind for kind, _, _ in model.asked] == ["default", "default", "entities", "relation", "default"]
    assert {samples for _, _, samples in model.asked} == {1}
    parents = [row["parent"] for row in rows if row["kind"] == "node"]
    assert parents == [-1, 0, 1, 2, 3, 4, 5, 6]


# --- order ---


def node(number: int, value: float, depth: int, closed: bool = False) -> Node:
    return Node(number, -1, State("", "default", depth), value, "text", closed)


def test_the_best_open_node_then_the_deepest_then_the_oldest() -> None:
    nodes = [node(0, 0.7, 1), node(1, 0.7, 3), node(2, 0.65, 5), node(3, 0.7, 3), node(4, 0.9, 9, closed=True)]
    assert choose(nodes) is nodes[1]
    assert choose([nodes[4]]) is None


def test_the_best_answer_then_the_deepest_then_the_first() -> None:
    nodes = [
        node(0, 0.9, 9),
        *(node(i, value, depth) for i, (value, depth) in enumerate([(0.7, 2), (0.7, 5), (0.7, 5)], 1)),
    ]
    for one in nodes[1:]:
        one.state = replace(one.state, answer=Answer("x", ("x",)))
    assert best_answer(nodes) is nodes[2]
    assert best_answer(nodes[:1]) is None


def branching(kind: str, said: str) -> str | list[str]:
    """Two ways from Peru: the one that is tried first is a dead end and worth 0.2 once it is seen."""
    if kind == "relation" and "FOUND" not in said:
        return ["capital", "currency", "capital", "currency", "capital"]
    if kind in ("value", "verify"):
        return "Score: 0.2" if "FOLLOW capital" in said else "Score: 0.9" if kind == "verify" else "Score: 0.6"
    return {"default": "ANSWER #2" if "FOUND" in said else "EXPAND_KG", "entities": "#1"}.get(kind, "population")


def test_the_search_goes_back_to_the_better_branch() -> None:
    found, rows = run(Scripted(branching), seeds=["Peru"])
    assert (found.status, found.labels) == ("answered", ("sol",))
    nodes = {row["number"]: row for row in rows if row["kind"] == "node"}
    expanded = [row["node"] for row in rows if row["kind"] == "expansion"]
    tags = [[line[1] for line in nodes[number]["lines"] if line[0] == "FOLLOW"] for number in expanded]
    assert tags == [[], [], [], ["currency"]]  # the branch over capital has the lower value and is never expanded


def test_the_order_is_the_same_under_any_hash_seed(tmp_path: Path) -> None:
    """The whole record, but for the clock in its last row."""
    script = tmp_path / "one.py"
    script.write_text(
        "import json\nfrom tests.traversal.test_search import branching, run, Scripted\n"
        "rows = run(Scripted(branching), seeds=['Peru', 'Chile'])[1]\n"
        "print(json.dumps(rows[:-1]))\n"
    )
    root = Path(__file__).parents[2]
    outputs = set()
    for seed in ("0", "1", "77"):
        env = {
            **os.environ,
            "PYTHONHASHSEED": seed,
            "PYTHONPATH": os.pathsep.join([str(root), str(root / "src"), *sys.path]),
        }
        outputs.add(subprocess.run([sys.executable, str(script)], env=env, capture_output=True, check=True).stdout)
    assert len(outputs) == 1


def test_a_state_that_was_reached_before_is_not_entered_twice() -> None:
    """Capital then currency, or currency then capital: the facts are the same."""

    def script(kind: str, said: str) -> str | list[str]:
        if kind == "default":
            return "EXPAND_KG"
        if kind == "entities":
            return "Peru"
        if kind == "relation":
            return ["capital", "currency"]
        return "Score: 0.5"

    found, rows = run(Scripted(script), Settings(depth=6, expansions=40, force=False), seeds=["Peru"])
    nodes = [row for row in rows if row["kind"] == "node" and "set" in row and row["depth"] == 6]
    assert len(nodes) == 1
    assert found.status == "exhausted"


def test_of_two_ways_to_a_state_the_shorter_one_is_kept() -> None:
    """A then B by single expansions is reached first, at depth 6; A and B as one set reach the same at depth 3."""

    def script(kind: str, said: str) -> str | list[str]:
        if kind == "default":
            return "EXPAND_KG"
        if kind == "entities":
            return "B" if "FOUND" in said else ["A", "#1"]
        if kind == "relation":
            return "r"
        return "Score: 0.1" if said.count("FOUND") == 2 else "Score: 0.2" if "SELECT #1" in said else "Score: 0.5"

    graph = MemoryGraph([("A", "r", "x"), ("B", "r", "y")])
    _, rows = run(Scripted(script), Settings(force=False), seeds=["A", "B"], graph=graph)
    nodes = {row["number"]: row for row in rows if row["kind"] == "node"}
    full = [row for row in nodes.values() if "set" in row and row["lines"] and len(row["set"]["edges"]) > 0]
    assert [(row["depth"], row["set"]["ids"]) for row in full] == [(3, ["x"]), (6, ["y"]), (3, ["x", "y"])]
    expanded = [row["node"] for row in rows if row["kind"] == "expansion"]
    assert full[1]["number"] not in expanded
    assert full[2]["number"] in expanded


# --- stopping ---


@pytest.mark.parametrize(("value", "status"), [("0.79", "below_threshold"), ("0.80", "answered"), ("1", "answered")])
def test_the_threshold(value: str, status: str) -> None:
    found, _ = run(Scripted(with_value(straight, value)))
    assert (found.status, found.value, found.labels) == (status, float(value), ("sol",))


def test_the_best_of_the_siblings_wins() -> None:
    def script(kind: str, said: str) -> str | list[str]:
        if kind == "verify":
            return "Score: 0.95" if "ANSWER b" in said else "Score: 0.85"
        return ["ANSWER a", "ANSWER b", "ANSWER c"] if kind == "default" else "Score: 0.5"

    found, _ = run(Scripted(script))
    assert (found.labels, found.nodes, found.expansions) == (("b",), 4, 1)


def test_no_expansions_no_calls() -> None:
    model = Scripted(straight)
    found, _ = run(model, Settings(expansions=0))
    assert (found.status, found.answer, found.calls, model.asked) == ("exhausted", None, 0, [])


def test_samples_that_are_no_action_make_one_error_and_then_the_cap() -> None:
    found, rows = run(Scripted(lambda kind, said: "I do not know"), Settings(errors=2))
    nodes = [row for row in rows if row["kind"] == "node"]
    assert [(row["value"], row["how"]) for row in nodes] == [(1.0, "root"), (-1.0, "error"), (-1.0, "error")]
    assert nodes[1]["lines"] == [["ERROR", "'I' is no action here; allowed: THINK, EXPAND_KG, ANSWER"]]
    assert (found.status, found.expansions, found.calls) == ("exhausted", 3, 3)


def test_an_error_is_told_and_can_be_mended() -> None:
    def script(kind: str, said: str) -> str | list[str]:
        return "Expand it" if kind == "default" and "ERROR" not in said else straight(kind, said)

    found, _ = run(Scripted(script), Settings(depth=8))
    assert (found.status, found.labels) == ("answered", ("sol",))


def test_used_up_expansions_force_an_answer_at_the_best_open_state() -> None:
    model = Scripted(lambda kind, said: "ANSWER sol" if kind == "forced" else straight(kind, said))
    found, _ = run(model, Settings(expansions=4))
    assert (found.status, found.labels, found.expansions) == ("answered", ("sol",), 5)
    assert [kind for kind, _, _ in model.asked][-2:] == ["forced", "verify"]
    unforced, _ = run(Scripted(straight), Settings(expansions=4, force=False))
    assert (unforced.status, unforced.answer) == ("exhausted", None)


def test_without_entities_the_model_answers_alone() -> None:
    model = Scripted(lambda kind, said: "ANSWER the sol" if kind == "forced" else "Score: 0.7")
    found, _ = run(model, seeds=())
    assert (found.status, found.labels, found.value) == ("no_entities", ("the sol",), 0.7)
    compact = Scripted(lambda kind, said: "ANSWER yes")
    assert run(compact, seeds=(), style=Compact())[0].answer is None
    assert compact.asked == []


# --- votes ---


def test_relations_by_majority_of_three_samples_a_child() -> None:
    """r1 4 times, r2 3 times, r3 and r4 once each: the three most frequent stay, of equals the first seen."""
    facts = [("s", f"r{i}", f"x{i}") for i in range(1, 6)]
    samples = ["r2", "r1", "r1", "r3", "r1", "r2", "r4", "r1", "r2"]

    def script(kind: str, said: str) -> str | list[str]:
        return samples if kind == "relation" else "Score: 0.1" if kind == "value" else "EXPAND_KG"

    _, rows = run(Scripted(script), Settings(expansions=3, force=False), seeds=["s"], graph=MemoryGraph(facts))
    followed = [
        row["lines"][0][1]
        for row in rows
        if row["kind"] == "node" and row["lines"][:1] and row["lines"][0][0] == "FOLLOW"
    ]
    assert followed == ["r1", "r2", "r3"]


def chosen(text: str, **probabilities: float) -> Completion:
    top = tuple((name, math.log(p)) for name, p in probabilities.items())
    return Completion(text, "stop", Usage(1, 1), (TokenLogprobs(text, 0.0, top),))


def test_votes_are_exact_where_all_probabilities_are_known() -> None:
    """Of 9 samples 0.6 gives 5.4 votes, 0.3 gives 2.7, 0.06 gives 0.54; 0.04 gives 0.36, less than half a vote."""
    drawn = [chosen("b", a=0.3, b=0.6, c=0.04, d=0.06)] * 9
    votes = weigh(drawn, ["a", "b", "c", "d"])
    assert list(votes) == ["b", "a", "d"]
    assert list(votes.values()) == pytest.approx([5.4, 2.7, 0.54])


def test_votes_are_counted_where_they_are_not() -> None:
    drawn = [chosen("b", a=0.3, b=0.6), chosen("a", a=0.3, b=0.6), chosen("b", a=0.3, b=0.6)]
    assert weigh(drawn, ["a", "b", "c"]) == {"b": 2, "a": 1}
    assert weigh([*drawn, Completion("", "error", Usage(0, 0), error="x")], None) == {"b": 2, "a": 1}


# --- values ---


def test_unreadable_values_are_asked_for_again_and_then_count_as_nothing() -> None:
    model = Scripted(with_value(straight, "high"))
    found, rows = run(model, Settings(expansions=1, force=False))
    values = [(row["value"], row["how"]) for row in rows if row["kind"] == "node"]
    assert values == [(1.0, "root"), (0.0, "unreadable")]
    assert [kind for kind, _, _ in model.asked] == ["default", "value", "value"]
    assert found.unreadable == 1


class Slow(Scripted):
    """Takes a moment, and notes how many requests were under way at once."""

    now = most = 0

    async def complete(
        self,
        messages: Sequence[Message],
        sampling: Sampling = GREEDY,
        samples: int = 1,
        choices: Sequence[str] | None = None,
    ) -> list[Completion]:
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await asyncio.sleep(0.01)
            return await super().complete(messages, sampling, samples, choices)
        finally:
            self.now -= 1


def test_values_of_siblings_are_asked_for_together() -> None:
    model = Slow(lambda kind, said: ["ANSWER a", "ANSWER b", "ANSWER c"] if kind == "default" else "Score: 0.9")
    run(model)
    assert model.most == 3


# --- budgets ---


@pytest.mark.parametrize("calls", range(13))
def test_calls_end_with_the_best_answer_so_far(calls: int) -> None:
    """The whole search takes 11 requests: five for actions, five for states and the last for the answer."""
    model = Scripted(straight)
    found, rows = run(model, limits=Limits(calls=calls))
    assert len(model.asked) == found.calls == min(calls, 11)
    assert found.status == ("budget_calls" if calls < 11 else "answered")
    assert found.labels == (("sol",) if calls >= 10 else ())
    assert found.value == (0.9 if calls >= 11 else None)
    assert replay(rows) == found


def test_tokens_and_money_and_time() -> None:
    whole, _ = run(Scripted(straight), prices=Prices(1.0, 2.0))
    assert whole.dollars == pytest.approx((whole.prompt_tokens + 2 * whole.completion_tokens) / 1e6)
    tokens = whole.prompt_tokens + whole.completion_tokens
    assert run(Scripted(straight), limits=Limits(tokens=tokens + 1000))[0].status == "answered"
    few, _ = run(Scripted(straight), limits=Limits(tokens=tokens // 2))
    assert few.status == "budget_tokens"
    assert few.prompt_tokens + few.completion_tokens <= tokens // 2
    assert run(Scripted(straight), limits=Limits(dollars=1e-9), prices=Prices(1.0, 2.0))[0].status == "budget_money"
    assert run(Slow(straight), limits=Limits(seconds=0.025))[0].status == "budget_seconds"
    with pytest.raises(ValueError, match="needs prices"):
        run(Scripted(straight), limits=Limits(dollars=1))


def test_a_budget_counts_cached_calls_too() -> None:
    budget = Budget(Limits(calls=2), None)
    for _ in range(2):
        budget.admit(0)
        budget.add([Completion("x", "stop", Usage(5, 1), cached=True)])
    assert (budget.calls, budget.cached, budget.prompt, budget.completion) == (2, 2, 10, 2)
    with pytest.raises(Stop, match="2 calls are used up"):
        budget.admit(0)


# --- what fails ---


def test_a_model_that_fails_ends_the_search_with_its_reason() -> None:
    model = Scripted(lambda kind, said: "error: the server is gone")
    found, rows = run(model, Settings(errors=0))
    assert (found.status, found.reason) == ("error", "the model fails: error: the server is gone")
    assert replay(rows) == found


def test_one_failed_call_costs_one_state_alone() -> None:
    """The values of the second child fail; the first still leads to the answer."""

    def script(kind: str, said: str) -> str | list[str]:
        if kind == "default" and not said:
            return ["EXPAND_KG", "THINK hm", "EXPAND_KG"]
        return "error" if kind == "value" and said == "THINK hm" else straight(kind, said)

    found, rows = run(Scripted(script))
    assert (found.status, found.labels) == ("answered", ("sol",))
    assert [row["how"] for row in rows if row["kind"] == "node"][1:3] == ["text", "failed"]


class Failing(MemoryGraph):
    """Far away, and without an answer about currencies."""

    remote = True

    def __init__(self) -> None:
        super().__init__(FACTS)
        self.threads: set[int] = set()

    def edges(self, entities: Any, relation: str, direction: Direction = "out", limit: int | None = None) -> list[Edge]:
        self.threads.add(threading.get_ident())
        if relation == "currency":
            raise GraphError("http://example.org: timed out")
        return super().edges(entities, relation, direction, limit)


def test_a_graph_that_fails_is_an_observation_and_a_remote_one_blocks_nothing() -> None:
    graph = Failing()
    found, rows = run(Scripted(straight), Settings(expansions=6), graph=graph)
    errors = [row["lines"][0][1] for row in rows if row["kind"] == "node" and row["how"] == "error"]
    assert errors[0] == "the graph did not answer: http://example.org: timed out"
    assert found.status in ("below_threshold", "exhausted", "answered")
    assert threading.get_ident() not in graph.threads


def test_a_graph_that_fails_at_once_ends_the_search() -> None:
    class Gone(MemoryGraph):
        def describe(self, ids: Any) -> dict[str, str]:
            raise GraphError("http://example.org: refused")

    found, rows = run(Scripted(straight), graph=Gone(FACTS))
    assert (found.status, found.reason) == ("error", "the graph did not answer: http://example.org: refused")
    assert replay(rows) == found


# --- records ---


def test_a_record_gives_the_outcome_without_a_model() -> None:
    for script, seeds in ((straight, ["Lima"]), (branching, ["Peru"]), (with_value(straight, "0.4"), ["Lima"])):
        found, rows = run(Scripted(script), seeds=seeds)
        assert replay(json.loads(json.dumps(row)) for row in rows) == found


def test_a_record_that_is_none() -> None:
    with pytest.raises(ValueError, match="begins with a row of kind question"):
        replay([{"kind": "end"}])


@pytest.mark.parametrize("calls", range(1, 11))
def test_cancelled_anywhere_the_record_is_valid(calls: int) -> None:
    """What was done before is there; the rows are a beginning of those of the whole search."""
    _, whole = run(Scripted(straight))
    rows: list[Row] = []

    class Cancelling(Scripted):
        async def complete(self, *args: Any, **kwargs: Any) -> list[Completion]:
            search = main_task[0]
            if len(self.asked) == calls:
                search.cancel()
                await asyncio.sleep(1)
            return await super().complete(*args, **kwargs)

    async def main() -> None:
        searcher = Searcher(world(), Cancelling(straight), Plain(), LITERALS)
        main_task.append(asyncio.current_task())
        await searcher.answer(QUESTION, ["Lima"], rows.append)

    main_task: list[Any] = []
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(main())
    assert rows[-1]["status"] == "cancelled"
    found = replay(rows)
    assert (found.status, found.calls) == ("cancelled", calls)
    valued = [row for row in rows[:-1] if row.get("how") != ""]
    assert valued == whole[: len(valued)]


# --- the compact style ---


def test_compact_with_exact_choices() -> None:
    """A model that gives every choice a probability: the best by far is the right one."""

    class Chooser(Scripted):
        async def complete(
            self,
            messages: Sequence[Message],
            sampling: Sampling = GREEDY,
            samples: int = 1,
            choices: Sequence[str] | None = None,
        ) -> list[Completion]:
            assert choices is not None
            right = {"EXPAND", "~capital", "currency", "#2", "ANSWER #3", "yes"} & set(choices)
            best = "ANSWER #3" if "ANSWER #3" in right else min(right)
            self.asked.append(("", messages[-1].content, samples))
            top = {choice: 0.9 if choice == best else 0.1 / (len(choices) - 1) for choice in choices}
            return [chosen(best, **top)] * samples

    model = Chooser(lambda kind, said: "")
    found, rows = run(model, style=Compact())
    assert (found.status, found.labels) == ("answered", ("sol",))
    assert found.value == pytest.approx(0.9)
    assert {row["how"] for row in rows if row["kind"] == "node"} == {"root", "choices", "inherited"}


def test_an_outcome_compares_by_all_it_says() -> None:
    found, _ = run(Scripted(straight))
    assert replace(found, status="error") != found
