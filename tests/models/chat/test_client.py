"""The client: speed, the limit, retries by the clock, the cache and the bill."""

import asyncio
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.models.chat.server import Server, number
from upright.errors import UserError
from upright.models.chat import ChatConfig, ChatModel, Client, Message, Prices, Sampling, Spent, open_chat
from upright.models.chat.cache import Cache, key_of
from upright.models.chat.protocol import Call, Completion, Usage

Open = Callable[..., Client]
WARM = Sampling(temperature=1.0)


def asked(text: str) -> list[Message]:
    return [Message("system", "Answer."), Message("user", text)]


async def texts(client: Client, questions: list[str], **options: Any) -> list[list[str]]:
    """The texts of all answers, asked at once."""
    async with client:
        answers = await asyncio.gather(*(client.complete(asked(q), **options) for q in questions))
    return [[answer.text for answer in some] for some in answers]


def usual(question: str, seed: int = 0, sample: int = 0) -> str:
    """What the server answers, by its own rule."""
    return number({"messages": [{"content": question}], "seed": seed}, sample)


def test_calls_overlap_up_to_the_limit_and_not_beyond(remote: Open) -> None:
    """200 answers of 50 ms each: 10 s one after another, 0.35 s for 32 at once; ten times faster at least.

    The best of three tries, since the machine may be busy with something else.
    """
    seconds = []
    with Server(latency=0.05, most=32) as server:
        asyncio.run(texts(remote(server.url), ["warm up"]))
        for attempt in range(3):
            questions = [f"{attempt} {i}" for i in range(200)]
            begin = time.monotonic()
            found = asyncio.run(texts(remote(server.url), questions))
            seconds.append(time.monotonic() - begin)
            assert found == [[usual(q)] for q in questions]
            if seconds[-1] < 1:
                break
        assert len(server.requests) == 1 + 200 * len(seconds), "none was refused for being one too many"
        assert server.busiest == 32
    assert min(seconds) < 200 * 0.05 / 10


@pytest.mark.parametrize("limit", [1, 3])
def test_the_limit_holds_for_metered_clients_together(remote: Open, limit: int) -> None:
    async def ask(client: Client) -> None:
        async with client:
            parts = [client.metered() for _ in range(4)]
            await asyncio.gather(*(part.complete(asked(f"{i} {j}")) for i, part in enumerate(parts) for j in range(3)))

    with Server(latency=0.01) as server:
        asyncio.run(ask(remote(server.url, concurrency=limit)))
        assert server.busiest == limit


# --- retries ---


@pytest.mark.parametrize("fault", ["429", "500", "503", "408", "cut", "drop", "garbage", "empty", "null", "no choices"])
def test_what_passes_is_asked_again(remote: Open, fault: str) -> None:
    with Server(script=["ok", fault, fault]) as server:
        client = remote(server.url)
        found = asyncio.run(texts(client, ["warm up"])) + asyncio.run(texts(client, ["question"]))
        assert found == [[usual("warm up")], [usual("question")]]
        assert len(server.requests) == 4
    assert client.meter.snapshot().requests == 4


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("500", "status 500: not now; given up after 4 attempts"),
        ("garbage", "cannot be read .the whole: Invalid JSON.*given up after 4"),
        ("no choices", "cannot be read .choices: List should have at least 1 item.*given up"),
        ("not text", "choices.0.message.content: Input should be a valid string"),
        ("cut", "the connection failed"),
        ("hang", "no answer within 0.05 s; given up"),
    ],
)
def test_what_stays_is_a_completion_that_says_why(remote: Open, fault: str, reason: str) -> None:
    async def ask(client: Client) -> list[Completion]:
        async with client:
            return await client.complete(asked("question"), WARM, samples=2)

    with Server(always=fault) as server:
        client = remote(server.url, timeout=0.05 if fault == "hang" else 10.0, first_wait=0.001)
        answers = asyncio.run(ask(client))
        assert len(server.requests) == 4
    assert [answer.finish for answer in answers] == ["error", "error"]
    assert "\n" not in answers[0].error
    assert re.search(reason, answers[0].error)
    assert client.meter.snapshot() == replace(client.meter.snapshot(), calls=1, failed=2, requests=4, prompt=0)


def test_an_error_is_not_stored(remote: Open) -> None:
    with Server(script=["400"]) as server:
        client = remote(server.url)
        assert asyncio.run(texts(client, ["question"])) == [[""]]
        assert asyncio.run(texts(client, ["question"])) == [[usual("question")]]


def test_a_refusal_is_not_asked_again(remote: Open) -> None:
    with Server(always="400") as server:
        client = remote(server.url)
        asyncio.run(texts(client, ["question"]))
        assert len(server.requests) == 1
    assert client.meter.snapshot().failed == 1


def test_waits_grow_twofold_give_or_take_half(remote: Open) -> None:
    with Server(always="500") as server:
        asyncio.run(texts(remote(server.url, first_wait=0.1), ["question"]))
        waits = [after - before for before, after in zip(server.times, server.times[1:], strict=False)]
    for wait, base in zip(waits, [0.1, 0.2, 0.4], strict=True):
        assert 0.5 * base <= wait <= 1.5 * base + 0.1


def test_retry_after_is_waited_for_by_all_calls(remote: Open) -> None:
    """The first of two calls is told to wait 0.4 s; the second, 0.1 s later, does not go out before that either."""

    async def ask(client: Client) -> None:
        async with client:
            first = asyncio.create_task(client.complete(asked("first")))
            await asyncio.sleep(0.1)
            await asyncio.gather(first, client.complete(asked("second")))

    with Server(script=["429 after 0.4"]) as server:
        asyncio.run(ask(remote(server.url, first_wait=0.001)))
        waits = [later - server.times[0] for later in server.times[1:]]
    assert len(waits) == 2
    assert all(0.4 <= wait < 0.7 for wait in waits)


def test_a_server_that_asks_for_too_long_a_wait_is_not_asked_again(remote: Open) -> None:
    async def ask(client: Client) -> Completion:
        async with client:
            return (await client.complete(asked("question")))[0]

    with Server(always="429 after 3600") as server:
        answer = asyncio.run(ask(remote(server.url)))
        assert len(server.requests) == 1
    assert answer.error == "status 429: not now; asked to wait 3600 s"


# --- samples and the cache ---


def test_samples_come_in_one_request_or_in_several_and_are_the_same(remote: Open, tmp_path: Path) -> None:
    """Sample i is drawn with seed * 10007 + i, whether the server takes `n`, ignores it or refuses it."""
    expected = [[usual("question", 20_014, sample) for sample in range(5)]]
    for options in ({}, {"takes_n": False}, {"strict": ["n"]}):
        with Server(**options) as server:
            client = remote(server.url)
            found = asyncio.run(texts(client, ["question"], sampling=replace(WARM, seed=2), samples=5))
            again = asyncio.run(texts(client, ["other"], sampling=WARM, samples=3))
            assert found == expected
            assert again == [[usual("other", 0, sample) for sample in range(3)]]
            several = {"takes_n": 5 + 3, "strict": 2 + 4 + 3}
            assert len(server.requests) == several.get(next(iter(options), ""), 2)


def test_further_samples_keep_the_first_ones(remote: Open) -> None:
    with Server() as server:
        client = remote(server.url)
        three = asyncio.run(texts(client, ["question"], sampling=WARM, samples=3))
        five = asyncio.run(texts(client, ["question"], sampling=WARM, samples=5))
        assert five[0][:3] == three[0]
        assert [request.get("n", 1) for request in server.requests] == [3, 2]
        assert five[0] == [usual("question", 0, sample) for sample in range(5)]


def test_a_repeated_run_makes_no_call(remote: Open) -> None:
    questions = [str(i) for i in range(20)]
    with Server() as server:
        first = asyncio.run(texts(remote(server.url), questions, sampling=WARM, samples=2))
        again = remote(server.url)
        assert asyncio.run(texts(again, questions, sampling=WARM, samples=2)) == first
        assert len(server.requests) == 20
    assert again.meter.snapshot() == Spent(cached=20, cost=None)


def test_reuse_off_asks_anew_and_stores_the_new_answer(remote: Open) -> None:
    count = iter(range(100))
    with Server(reply=lambda body, sample: str(next(count))) as server:
        assert asyncio.run(texts(remote(server.url), ["q"])) == [["0"]]
        assert asyncio.run(texts(remote(server.url, reuse=False), ["q"])) == [["1"]]
        assert asyncio.run(texts(remote(server.url), ["q"])) == [["1"]]


def test_equal_calls_under_way_together_make_one_request(remote: Open) -> None:
    count = iter(range(100))
    with Server(latency=0.02, reply=lambda body, sample: str(next(count))) as server:
        found = asyncio.run(texts(remote(server.url), ["same"] * 10 + ["other"], sampling=WARM))
        assert len(server.requests) == 2
    assert len({answer for some in found[:10] for answer in some}) == 1


def test_at_temperature_0_one_answer_serves_all_samples(remote: Open) -> None:
    with Server() as server:
        found = asyncio.run(texts(remote(server.url), ["q"], samples=4))
        asyncio.run(texts(remote(server.url), ["q"], sampling=Sampling(seed=5, top_p=0.5)))
        assert len(server.requests) == 1
        assert {"n", "seed", "top_p"} & set(server.requests[0]) == set()
    assert found == [[usual("q")] * 4]


@pytest.mark.parametrize(
    "other",
    [
        {"sampling": Sampling(seed=1, temperature=1.0)},
        {"sampling": Sampling(temperature=0.9)},
        {"sampling": Sampling(temperature=1.0, top_p=0.9)},
        {"sampling": Sampling(temperature=1.0, max_tokens=5)},
        {"sampling": Sampling(temperature=1.0, stop=(".",))},
        {"sampling": Sampling(temperature=1.0, logprobs=True)},
        {"choices": ("a",)},
        {"messages": (Message("system", "q"),)},
        {"messages": (Message("user", "q"), Message("user", "q"))},
    ],
)
def test_the_key_sees_all_that_matters(other: dict[str, Any]) -> None:
    call = Call((Message("user", "q"),), WARM)
    assert key_of("model", call) == key_of("model", replace(call))
    assert key_of("model", call) != key_of("model", replace(call, **other))
    assert key_of("model", call) != key_of("another model", call)


def test_the_cache_keeps_every_field(tmp_path: Path) -> None:
    from upright.models.chat import TokenLogprobs

    tokens = (TokenLogprobs("é", -0.25, (("é", -0.25), ("\n", -1.5))),)
    answer = Completion("é\n\u2028", "length", Usage(3, 4), tokens)
    cache = Cache(tmp_path)
    assert cache.put(b"k", 2, answer) == answer
    cache.close()
    assert Cache(tmp_path).get(b"k", [1, 2]) == {2: replace(answer, cached=True)}


def test_the_first_answer_of_two_processes_stays(tmp_path: Path) -> None:
    one, two = Cache(tmp_path), Cache(tmp_path)
    early, late = (Completion(text, "stop", Usage(1, 1)) for text in ("early", "late"))
    assert one.put(b"k", 0, early) == early
    assert two.put(b"k", 0, late) == early
    assert two.put(b"k", 0, late, overwrite=True) == late
    assert one.get(b"k", [0])[0].text == "late"


WRITER = """
import sys
from pathlib import Path
from upright.models.chat.cache import Cache
from upright.models.chat.protocol import Completion, Usage
cache = Cache(Path(sys.argv[1]))
for i in range(300):
    cache.put(f"{sys.argv[2]} {i}".encode(), 0, Completion(str(i), "stop", Usage(1, 1)))
    cache.put(f"both {i}".encode(), 0, Completion(sys.argv[2], "stop", Usage(1, 1)))
"""


def test_several_processes_write_at_once(tmp_path: Path) -> None:
    argv = [sys.executable, "-c", WRITER, str(tmp_path)]
    writers = [subprocess.Popen([*argv, name], stderr=subprocess.PIPE) for name in ("a", "b", "c")]
    assert [writer.communicate(timeout=60)[1] for writer in writers] == [b""] * 3
    cache = Cache(tmp_path)
    for i in range(300):
        assert all(cache.get(f"{name} {i}".encode(), [0])[0].text == str(i) for name in "abc")
        assert cache.get(f"both {i}".encode(), [0])[0].text in "abc"


def test_a_killed_process_leaves_its_answers(tmp_path: Path) -> None:
    code = WRITER + "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)"
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path), "a"], timeout=60, check=False)
    assert done.returncode == -9
    cache = Cache(tmp_path)
    assert all(cache.get(f"a {i}".encode(), [0]) for i in range(300))


def test_a_file_that_is_no_cache_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "chat.sqlite").write_text("something else, long enough to be read as a header " * 30)
    with pytest.raises(UserError, match=r"chat.sqlite: file is not a database; move that file away") as caught:
        Cache(tmp_path)
    assert "\n" not in str(caught.value)


def test_an_interrupt_loses_only_what_is_in_flight(remote: Open, tmp_path: Path) -> None:
    """Three fast answers and one that never comes; the task is cancelled; the three are there afterwards."""

    async def ask(client: Client) -> None:
        async with client:
            calls = [asyncio.create_task(client.complete(asked(q))) for q in "abcd"]
            while client.meter.snapshot().calls < 3:
                await asyncio.sleep(0.01)
            calls[0].cancel()
            for call in calls:
                call.cancel()
            await asyncio.gather(*calls, return_exceptions=True)

    with Server(script=["ok", "hang", "ok", "ok"]) as server:
        asyncio.run(ask(remote(server.url)))
        again = remote(server.url)
        assert asyncio.run(texts(again, list("abcd"))) == [[usual(q)] for q in "abcd"]
    assert (again.meter.snapshot().cached, again.meter.snapshot().requests) == (3, 1)


# --- the bill ---


def test_the_bill_by_hand(remote: Open) -> None:
    """Two words a prompt, five tokens an answer; 3 answers in one request read the prompt once.

    At 2 and 10 dollars a million: (2 + 2) * 2 + (5 + 15) * 10 = 208 millionths.
    """

    async def ask(client: Client) -> tuple[Spent, Spent]:
        async with client:
            own = client.metered()
            await client.complete(asked("q"))
            before = client.meter.snapshot()
            answers = await own.complete(asked("q"), WARM, samples=3)
            await own.complete(asked("q"))
            assert [answer.usage for answer in answers] == [Usage(2, 5), Usage(0, 5), Usage(0, 5)]
            return client.meter.snapshot() - before, own.meter.snapshot()

    with Server() as server:
        client = remote(server.url, prices=Prices(2, 10))
        between, own = asyncio.run(ask(client))
    total = client.meter.snapshot()
    assert total.cost == pytest.approx(208e-6)
    assert (total.calls, total.cached, total.requests, total.prompt, total.completion) == (2, 1, 2, 4, 20)
    assert own.cost == between.cost == pytest.approx((2 * 2 + 15 * 10) * 1e-6)
    assert replace(own, seconds=0, cost=0) == replace(between, seconds=0, cost=0)
    assert own == Spent(calls=1, cached=1, requests=1, prompt=2, completion=15, seconds=own.seconds, cost=own.cost)


def test_an_unknown_price_is_none() -> None:
    from upright.models.chat import Meter

    meter = Meter()
    meter.add(Spent(prompt=10))
    assert meter.snapshot() == Spent(prompt=10, cost=None)
    assert (meter.snapshot() - meter.snapshot()).cost is None


# --- every model ---


@pytest.mark.parametrize("kind", ["server", "here"])
def test_every_model_keeps_the_contract(remote: Open, local: Open, kind: str) -> None:
    async def use(chat: ChatModel) -> None:
        drawn = await chat.complete(asked("The sea is"), replace(WARM, max_tokens=4), samples=3)
        again = await chat.complete(asked("The sea is"), replace(WARM, max_tokens=4), samples=3)
        assert [replace(answer, cached=True) for answer in drawn] == again
        assert [answer.usage.prompt > 0 for answer in drawn] == [True, False, False]
        greedy = await chat.complete(asked("The sea is"), samples=2)
        assert [answer.cached for answer in greedy] == [False, True]
        assert len({answer.text for answer in greedy}) == 1
        assert chat.count(asked("The sea is")) > 0
        assert chat.name in ("openai:echo", "lab:atlas")

    async def run(client: Client) -> None:
        async with client:
            await use(client)

    with Server() as server:
        asyncio.run(run(remote(server.url) if kind == "server" else local()))


# --- what the caller gets wrong ---


@pytest.mark.parametrize(
    ("call", "options"),
    [([], {}), (asked("q"), {"samples": 0}), (asked("q"), {"choices": []}), (asked("q"), {"choices": ["a", " "]})],
)
def test_empty_calls_are_refused(remote: Open, call: list[Message], options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must not be empty"):
        asyncio.run(remote("http://127.0.0.1:9/v1").complete(call, **options))


@pytest.mark.parametrize("wrong", [{"temperature": -1}, {"max_tokens": 0}, {"top_p": 0}, {"stop": ("",)}])
def test_impossible_sampling_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="temperature >= 0, max_tokens >= 1"):
        Sampling(**wrong)


def test_open_chat_puts_it_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with Server(latency=0.02) as server:
        config = ChatConfig.model_validate(
            {
                "model": "openai:echo",
                "base_url": server.url,
                "context": 99,
                "prices": {"prompt": 1, "completion": 1},
                "speed": {"cache": tmp_path / "new" / "folder", "concurrency": 2},
            }
        )
        client = open_chat(config)
        assert asyncio.run(texts(client, ["a", "b", "c"])) == [[usual(q)] for q in "abc"]
        assert server.busiest == 2
    assert (client.name, client.context, client.weights) == ("openai:echo", 99, None)
    assert client.count(asked("abcdef")) == 4  # 13 characters
    assert client.meter.snapshot().cost == pytest.approx((3 * 2 + 3 * 5) * 1e-6)
    assert json.loads(config.model_dump_json())["base_url"] == server.url


def test_a_client_goes_on_in_another_event_loop(remote: Open) -> None:
    with Server() as server:
        client = remote(server.url, concurrency=1)
        for question in "abc":
            assert asyncio.run(texts(client, [question, question + "x"])) == [
                [usual(question)],
                [usual(question + "x")],
            ]
