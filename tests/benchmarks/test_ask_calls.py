import asyncio
import random
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from benchmarks.ask_calls import Oracle
from tests.models.chat.server import Server
from upright.knowledge.files import open_graph, open_relations
from upright.knowledge.literals import moment, quantity
from upright.knowledge.memory import MemoryGraph
from upright.models.chat import open_chat
from upright.models.chat.config import ChatConfig, ChatSpeed
from upright.traversal.answers import Rejected
from upright.traversal.lessons import lessons
from upright.traversal.machine import Machine
from upright.traversal.prompts import Ask, Plain
from upright.traversal.questions import Lesson
from upright.traversal.record import Outcome
from upright.traversal.search import Literals, Searcher, Settings
from upright.traversal.state import State

WORLD = "lab:atlas"


@pytest.fixture(scope="module")
def graph() -> MemoryGraph:
    graph = open_graph(WORLD)
    assert isinstance(graph, MemoryGraph)
    return graph


@pytest.fixture(scope="module")
def taught(graph: MemoryGraph) -> list[Lesson]:
    """As many of one, two and three steps."""
    return list(islice(lessons(graph, open_relations(WORLD, graph), "measure", random.Random(1)), 30))


@pytest.fixture(scope="module")
def oracle(graph: MemoryGraph, taught: list[Lesson]) -> Oracle:
    return Oracle(taught, graph)


@pytest.fixture(scope="module")
def machine(graph: MemoryGraph) -> Machine:
    return Machine(graph, Settings(depth=10).rules(), quantity, moment)


def said(oracle: Oracle, ask: Ask, number: int = 0) -> str:
    """What it says as sample `number`."""
    body: dict[str, Any] = {"messages": [message._asdict() for message in ask.messages], "seed": 0}
    return oracle(body, number)


def walked(oracle: Oracle, machine: Machine, lesson: Lesson, number: int = 0) -> list[State]:
    """The states from the question to an answer, or to where an action leads nowhere, by samples of this number."""
    states = [machine.start(lesson.question.question, lesson.question.seeds)]
    with suppress(Rejected):
        while states[-1].phase != "done":
            ask = Plain().act(machine, states[-1])
            action = machine.parse(states[-1], said(oracle, ask, number), ask.options)
            states.append(machine.apply(states[-1], action))
    return states


def value(oracle: Oracle, machine: Machine, state: State) -> str:
    return said(oracle, Plain().judge(machine, state))


def test_the_first_sample_walks_the_gold_path_to_the_gold_answers(
    oracle: Oracle, machine: Machine, taught: list[Lesson]
) -> None:
    for lesson in taught:
        states = walked(oracle, machine, lesson)
        answer = states[-1].answer
        assert answer is not None
        assert sorted(answer.labels) == sorted(lesson.question.answer)
        assert answer.grounded
        assert {value(oracle, machine, state) for state in states} == {"Score: 0.9"}


def test_the_third_sample_answers_before_the_end_and_is_worth_little(
    oracle: Oracle, machine: Machine, taught: list[Lesson]
) -> None:
    long = [lesson for lesson in taught if len(lesson.path) > 1]
    assert len(long) == 20
    for lesson in long:
        states = walked(oracle, machine, lesson, 2)
        assert len(states[-1].sets) == 2  # the question's entities, and one step
        assert value(oracle, machine, states[-2]) == "Score: 0.9"
        assert value(oracle, machine, states[-1]) == "Score: 0.1"


def test_the_second_sample_strays_and_is_worth_little_from_there_on(
    oracle: Oracle, machine: Machine, taught: list[Lesson]
) -> None:
    strayed = 0
    for lesson in taught:
        gold = {len(state.sets): state.sets for state in walked(oracle, machine, lesson)}
        for state in walked(oracle, machine, lesson, 1):
            sets = state.sets
            astray = len(sets) > len(gold) or [one.step for one in sets] != [one.step for one in gold[len(sets)]]
            assert state.phase == "done" or value(oracle, machine, state) == f"Score: {0.1 if astray else 0.9}"
            strayed += astray
    assert strayed > 30


def test_it_depends_on_the_prompt_and_the_sample_alone(
    oracle: Oracle, machine: Machine, graph: MemoryGraph, taught: list[Lesson]
) -> None:
    again = Oracle(reversed(taught), graph)
    for lesson in taught:
        for state in walked(oracle, machine, lesson)[:-1]:
            ask = Plain().act(machine, state)
            assert [said(oracle, ask, number) for number in range(6)] == [said(again, ask, n) for n in (3, 4, 5) * 2]


def test_answers_of_a_server_are_the_same_side_by_side_and_one_at_a_time(
    graph: MemoryGraph, taught: list[Lesson], oracle: Oracle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")

    async def ask(url: str, at_once: int, cache: str) -> list[Outcome]:
        speed = ChatSpeed(concurrency=at_once, cache=tmp_path / cache)
        async with open_chat(ChatConfig(model="openai:oracle", base_url=url, speed=speed)) as client:
            searcher = Searcher(graph, client, Plain(), Literals(quantity, moment), Settings(depth=10))
            turn = asyncio.Semaphore(at_once)

            async def one(lesson: Lesson) -> Outcome:
                async with turn:
                    return await searcher.answer(lesson.question.question, lesson.question.seeds)

            return await asyncio.gather(*map(one, taught[:6]))

    with Server(0.005, 32, models=["oracle"], reply=oracle) as server:
        fast = asyncio.run(ask(server.url, 32, "fast"))
        sent, busiest = len(server.requests), server.busiest
        assert busiest > 1
        server.busiest = 0
        slow = asyncio.run(ask(server.url, 1, "slow"))
        assert (len(server.requests), server.busiest) == (2 * sent, 1)
        cached = asyncio.run(ask(server.url, 32, "fast"))
        assert len(server.requests) == 2 * sent  # nothing more reached it
    assert [one.labels for one in fast] == [tuple(lesson.question.answer) for lesson in taught[:6]]
    for other in (slow, cached):
        assert [(one.labels, one.value, one.answer) for one in other] == [(o.labels, o.value, o.answer) for o in fast]
