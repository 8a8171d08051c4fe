"""Servers: what is sent, what is read, and what the user is told when it goes wrong."""

import asyncio
import socket
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.models.chat.conftest import KEY
from tests.models.chat.server import Server
from upright.errors import UserError
from upright.models.chat import ChatConfig, Client, Completion, Message, Sampling, Usage, open_chat
from upright.models.chat.openai import _retry_after
from upright.models.chat.reply import Reply, completions, split

Open = Callable[..., Client]
QUESTION = [Message("system", "Be brief."), Message("user", "Who?")]


def ask(client: Client, sampling: Sampling = Sampling(), samples: int = 1) -> list[Completion]:  # noqa: B008
    async def call() -> list[Completion]:
        async with client:
            return await client.complete(QUESTION, sampling, samples)

    return asyncio.run(call())


def test_only_what_differs_from_the_defaults_is_sent(remote: Open) -> None:
    turns = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Who?"}]
    base = {"model": "echo", "messages": turns, "temperature": 0, "max_tokens": 256}
    rich = Sampling(temperature=0.7, max_tokens=9, stop=("\n",), top_p=0.9, seed=3, logprobs=True)
    with Server() as server:
        ask(remote(server.url))
        ask(remote(server.url), rich, samples=2)
        assert server.requests[0] == base
        assert server.requests[1] == base | {
            "temperature": 0.7,
            "max_tokens": 9,
            "stop": ["\n"],
            "top_p": 0.9,
            "seed": 3 * 10_007,
            "logprobs": True,
            "top_logprobs": 20,
            "n": 2,
        }


def test_log_probabilities_come_along(remote: Open) -> None:
    with Server() as server:
        [answer] = ask(remote(server.url), Sampling(logprobs=True))
        assert answer.logprobs == (("7", -0.5, (("7", -0.5), ("8", -1.5))),)
        assert ask(remote(server.url))[0].logprobs is None


def test_a_server_that_wants_the_other_name_of_the_limit_gets_it(remote: Open) -> None:
    with Server(strict=["max_tokens"]) as server:
        client = remote(server.url)
        assert [answer.finish for answer in ask(client, Sampling(temperature=1), samples=2)] == ["stop", "stop"]
        ask(client, Sampling(max_tokens=5))
        lengths = [{name: body[name] for name in body if "tokens" in name} for body in server.requests]
    assert lengths == [{"max_tokens": 256}, {"max_completion_tokens": 256}, {"max_completion_tokens": 5}]


@pytest.mark.parametrize(
    ("fault", "finish", "error"),
    [("length", "length", ""), ("filtered", "error", "the server ended the answer with content_filter")],
)
def test_finish_reasons(remote: Open, fault: str, finish: str, error: str) -> None:
    with Server(always=fault) as server:
        [answer] = ask(remote(server.url))
    assert (answer.finish, answer.error) == (finish, error)


def test_half_a_character_is_an_answer_that_cannot_be_read(remote: Open) -> None:
    with Server(script=["surrogate"]) as server:
        assert ask(remote(server.url))[0].finish == "stop"
        assert len(server.requests) == 2


# --- what the user must mend ---


def test_without_a_key_nothing_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setenv("OTHER_KEY", "")
    at = {"model": "openai:gpt", "base_url": "http://x/v1"}
    for fields, name in (
        ({"model": "openai:gpt"}, "OPENAI_API_KEY"),
        ({**at, "key_env": "OTHER_KEY"}, "OTHER_KEY"),
        ({**at, "key_env": "OPENAI_API_KEY"}, "OPENAI_API_KEY"),
    ):
        with pytest.raises(UserError, match=rf"^openai:gpt: the environment variable {name} holds no key"):
            open_chat(ChatConfig.model_validate(fields))


def test_a_server_that_needs_no_key_is_opened_from_a_stored_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    config = ChatConfig(model="openai:gpt", base_url="http://x/v1")
    stored = ChatConfig.model_validate_json(config.model_dump_json())
    assert open_chat(stored).name == "openai:gpt"


@pytest.mark.parametrize("always", ["ok", "401", "403"])
def test_a_refused_key_is_never_shown(remote: Open, always: str) -> None:
    """The server quotes the key in its answer, as OpenAI's does."""
    with Server(key="another", always=always) as server, pytest.raises(UserError, match="refuses the key") as caught:
        ask(remote(server.url))
    assert "OPENAI_API_KEY" in str(caught.value)
    assert KEY not in str(caught.value)


def test_the_key_is_cut_out_of_all_a_server_says(remote: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    with Server(strict=["temperature"]) as server:
        monkeypatch.setenv("OPENAI_API_KEY", "unsupported")  # a word of the answer stands for the key
        [answer] = ask(remote(server.url))
    assert answer.error == "status 400: *** parameter temperature"


def test_the_key_goes_to_the_server_alone(remote: Open, capfd: pytest.CaptureFixture[str]) -> None:
    with Server(key=KEY) as server:
        client = remote(server.url)
        assert ask(client)[0].finish == "stop"
    shown = capfd.readouterr()
    assert KEY not in shown.out + shown.err + repr(vars(client))


def test_an_unknown_model_names_those_there_are(remote: Open) -> None:
    with Server(models=["small", "large"]) as server, pytest.raises(UserError) as caught:
        ask(remote(server.url))
    line = f"openai:echo: {server.url} answers 404 (no model echo); it serves small, large; check the model's name"
    assert str(caught.value).startswith(line)


def test_a_server_that_is_not_there(remote: Open) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, but nobody listens
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
        begin = time.monotonic()
        with pytest.raises(UserError, match=f"openai:echo: {url} cannot be reached .*; start the server") as caught:
            ask(remote(url, first_wait=10))
    assert time.monotonic() - begin < 5, "the first call does not try again"
    assert "\n" not in str(caught.value)


def test_a_server_that_goes_away_is_an_error_of_the_call(remote: Open) -> None:
    async def go_on(client: Client, server: Server) -> Completion:
        async with client:
            await client.complete(QUESTION)
            server.__exit__(None, None, None)
            return (await client.complete(QUESTION, Sampling(max_tokens=1)))[0]

    server = Server()
    server.__enter__()
    answer = asyncio.run(go_on(remote(server.url, first_wait=0.001), server))
    assert answer.finish == "error"
    assert answer.error.startswith("the connection failed")


# --- parts ---


def test_retry_after_in_all_its_forms() -> None:
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    past = format_datetime(datetime.now(UTC) - timedelta(seconds=30), usegmt=True)
    forms = {"2": 2.0, "0.25": 0.25, "-1": 0.0, past: 0.0, "inf": None, "nan": None, "soon": None}
    assert {text: _retry_after({"retry-after": text}) for text in forms} == forms
    assert _retry_after({"retry-after": soon}) == pytest.approx(30, abs=1.5)
    assert _retry_after({"retry-after-ms": "250", "retry-after": "9"}) == 0.25
    assert _retry_after({}) is None


@given(st.integers(0, 10_000), st.lists(st.integers(0, 100), min_size=1, max_size=9))
def test_a_split_adds_up_and_is_near_its_share(total: int, weights: list[int]) -> None:
    parts = split(total, weights)
    assert sum(parts) == total
    whole = sum(weights)
    shares = [total * weight / whole for weight in weights] if whole else [total / len(weights)] * len(weights)
    assert all(abs(part - share) <= 1 and part >= 0 for part, share in zip(parts, shares, strict=True))


def test_a_bare_reply_is_enough() -> None:
    """Some servers give neither usage nor a finish reason; impossible tokens come as -Infinity."""
    text = """{"choices": [{"message": {"content": "yes"}, "logprobs": {"content":
        [{"token": "yes", "logprob": 0, "top_logprobs": [{"token": "no", "logprob": -Infinity}]}]}}]}"""
    [answer] = completions(Reply.model_validate_json(text))
    assert answer == Completion("yes", "stop", Usage(0, 0), (("yes", 0.0, (("no", -9999.0),)),))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"model": "gpt-4o"}, "must be openai:NAME"),
        ({"model": "hf:"}, "must be openai:NAME"),
        ({"base_url": "localhost:8000"}, "must be the URL of an API"),
        ({"base_url": "https://me:secret@host/v1"}, "must hold no key or password"),
        ({"base_url": "https://host/v1?key=secret"}, "must hold no key or password"),
        ({"key_env": "sk-abc"}, "must be the name of an environment variable, never the key itself"),
        ({"prices": {"prompt": 1.0}}, "give both prices"),
        ({"speed": {"concurrency": 0}}, "greater than 0"),
    ],
)
def test_a_wrong_configuration_is_refused(change: dict[str, object], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        ChatConfig.model_validate({"model": "openai:gpt", **change})


def test_what_only_changes_speed_leaves_a_run_the_same() -> None:
    from upright.run.config import identity

    one = ChatConfig(model="openai:gpt")
    two = ChatConfig.model_validate({"model": "openai:gpt", "speed": {"concurrency": 1, "cache": "x", "reuse": False}})
    assert identity(one) == identity(two)
