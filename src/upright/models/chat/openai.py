"""Servers with the chat API of OpenAI: OpenAI itself, vLLM, llama.cpp, Ollama, gateways of companies."""

import asyncio
import email.utils
import math
import os
import time
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from openai import APIConnectionError, APIError, APIStatusError, AsyncOpenAI, Timeout
from pydantic import ValidationError

from upright.errors import UserError
from upright.models.chat.config import ChatConfig
from upright.models.chat.protocol import Call, Completion, Message, Transient, failed
from upright.models.chat.reply import Reply, completions

_OPENAI = "https://api.openai.com/v1"
_KEY_ENV = "OPENAI_API_KEY"
_TOP = 20  # likeliest tokens asked for at each place: the most that OpenAI and vLLM give
_SEEDS = 10_007  # apart enough that samples of neighbouring seeds have seeds of their own
_CONNECT = 10.0  # seconds
_NO_CONNECTION = ("ConnectError", "ConnectTimeout", "UnsupportedProtocol")  # in httpx as well as in httpx2
_BUSY = (408, 409, 425, 429)


class OpenAIModel:
    """A model behind an HTTP API. One `ask` is one request (two while it learns what the server understands)."""

    weights = None

    def __init__(self, name: str, key: str, key_env: str, base_url: str, timeout: float, context: int | None) -> None:
        """`name` without its kind; `key` may be empty for a server that asks for none."""
        self.name = f"openai:{name}"
        self.context = context
        self.identity = f"{self.name} at {base_url}"
        self.per_request: int | None = None
        self._model = name
        self._key, self._key_env = key, key_env
        self._url = base_url
        self._timeout = timeout
        self._length = "max_tokens"
        self._reached = False
        self._client: tuple[asyncio.AbstractEventLoop, AsyncOpenAI] | None = None

    @classmethod
    def open(cls, config: ChatConfig) -> "OpenAIModel":
        """The model that `config` names. Raises `UserError` for a key that is missing where one is needed."""
        key_env = config.key_env or _KEY_ENV
        key = os.environ.get(key_env, "").strip()
        if not key and (config.base_url is None or config.key_env is not None):
            raise UserError(
                f"{config.model}: the environment variable {key_env} holds no key; set it, "
                "or give the address of a server that needs none (base_url)"
            )
        name = config.model.removeprefix("openai:")
        url = config.base_url or _OPENAI
        return cls(name, key, key_env, url, config.speed.timeout, config.context)

    def count(self, messages: Sequence[Message]) -> int:
        """Characters / 4, rounded up: the server's tokenizer is not known."""
        return math.ceil(sum(len(message.content) for message in messages) / 4)

    async def ask(self, call: Call, first: int, count: int) -> list[Completion]:
        """See `Backend`."""
        request = self._request(call, first)
        try:
            async with asyncio.timeout(self._timeout):
                reply = await self._send(request, count)
        except TimeoutError as error:
            raise Transient(f"no answer within {self._timeout:g} s") from error
        except APIConnectionError as error:  # of the client's own time-outs only that of connecting is shorter
            self._unreachable(error)
        except APIStatusError as error:
            return [await self._refused(error)] * count
        self._reached = True
        return self._read(reply, count)

    def _read(self, reply: bytes, count: int) -> list[Completion]:
        try:
            answers = completions(Reply.model_validate_json(reply))
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(map(str, first["loc"])) or "the whole"
            raise Transient(f"the server's answer cannot be read ({where}: {first['msg']})") from error
        if len(answers) < count:
            self.per_request = 1  # the server does not understand `n`
        return answers[:count]

    def _request(self, call: Call, first: int) -> dict[str, Any]:
        """Only what differs from a server's defaults: few servers know every parameter."""
        sampling = call.sampling
        request: dict[str, Any] = {
            "model": self._model,
            "messages": [message._asdict() for message in call.messages],
            "temperature": sampling.temperature,
            self._length: sampling.max_tokens,
        }
        if sampling.temperature > 0:
            request["seed"] = (sampling.seed * _SEEDS + first) % 2**31
        if sampling.temperature > 0 and sampling.top_p < 1:
            request["top_p"] = sampling.top_p
        if sampling.stop:
            request["stop"] = list(sampling.stop)
        if sampling.logprobs:
            request |= {"logprobs": True, "top_logprobs": _TOP}
        return request

    async def _send(self, request: dict[str, Any], count: int) -> bytes:
        several = {"n": count} if count > 1 else {}
        try:
            create: Any = self._client_here().chat.completions.with_raw_response.create
            content: bytes = (await create(**request, **several)).content
            return content
        except APIStatusError as error:
            if error.status_code not in (400, 422):
                raise
            if "max_completion_tokens" in error.message and self._length == "max_tokens":
                self._length = "max_completion_tokens"
                renamed = {**request, self._length: request["max_tokens"]}
                del renamed["max_tokens"]
                return await self._send(renamed, count)
            if not several:
                raise
            return await self._send(request, 1)  # if this works, it was `n` that the server refused

    def _client_here(self) -> AsyncOpenAI:
        """The client of the running event loop; connections cannot move between loops."""
        loop = asyncio.get_running_loop()
        if self._client is None or self._client[0] is not loop:
            self._client = (
                loop,
                AsyncOpenAI(
                    api_key=self._key or "none",
                    base_url=self._url,
                    timeout=Timeout(2 * self._timeout, connect=min(_CONNECT, self._timeout)),
                    max_retries=0,
                ),
            )
        return self._client[1]

    async def close(self) -> None:
        """Close the connections."""
        if self._client is not None and self._client[0] is asyncio.get_running_loop():
            await self._client[1].close()
        self._client = None

    # --- what goes wrong ---

    def _unreachable(self, error: APIConnectionError) -> NoReturn:
        cause = error.__cause__ or error
        reason = self._line(str(cause)) or type(cause).__name__
        if self._reached or type(cause).__name__ not in _NO_CONNECTION:
            raise Transient(f"the connection failed ({reason})") from error
        raise UserError(
            f"{self.name}: {self._url} cannot be reached ({reason}); start the server or check base_url"
        ) from error

    async def _refused(self, error: APIStatusError) -> Completion:
        """An error that stays, unless the server is only busy or the user must act."""
        self._reached = True
        code, said = error.status_code, self._line(_said(error))
        if code in (401, 403):  # servers quote the key in what they say, so that is not repeated
            raise UserError(
                f"{self.name}: {self._url} refuses the key in {self._key_env} (status {code}); give one that may use it"
            ) from error
        if error.code == "insufficient_quota":
            raise UserError(f"{self.name}: the quota of the key in {self._key_env} is used up; raise it") from error
        if code in _BUSY or code >= 500:
            raise Transient(f"status {code}: {said}", _retry_after(error.response.headers)) from error
        if code == 404:
            raise UserError(
                f"{self.name}: {self._url} answers 404 ({said}); it serves {await self._served()}; "
                "check the model's name and base_url"
            ) from error
        return failed(f"status {code}: {said}")

    async def _served(self) -> str:
        try:
            names = [model.id for model in (await self._client_here().models.list()).data]
        except (APIError, ValueError, TypeError):
            return "no list of its models"
        return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")

    def _line(self, text: str) -> str:
        """What a server says, as a short line without the key."""
        text = " ".join(text.split())
        text = text.replace(self._key, "***") if self._key else text
        return text if len(text) <= 200 else text[:199] + "…"


def _said(error: APIStatusError) -> str:
    """The server's own words, where it follows the API."""
    body = error.body
    return body["message"] if isinstance(body, dict) and isinstance(body.get("message"), str) else error.message


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds from the header Retry-After (RFC 9110, 10.2.3: seconds or a date) or its form in milliseconds."""
    for name, unit in (("retry-after-ms", 1e-3), ("retry-after", 1.0)):
        try:
            seconds = float(headers[name]) * unit
        except (KeyError, ValueError):
            continue
        if math.isfinite(seconds):
            return max(0.0, seconds)
    date = email.utils.parsedate_tz(headers.get("retry-after", ""))
    return None if date is None else max(0.0, email.utils.mktime_tz(date) - time.time())
