"""A chat server on the loopback with the API of OpenAI: slow, busy, wrong or broken on demand.

    with Server(latency=0.05, most=32) as server:
        ChatConfig(model="openai:echo", base_url=server.url, ...)

It answers with a number that depends on the last message, the seed and the sample alone, counts the requests and
keeps the most that it had at once. `script` says what goes wrong, request by request; after its end all is well.
"""

import asyncio
import hashlib
import json
import threading
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, Self

Reply = Callable[[dict[str, Any]], str]


def number(body: dict[str, Any], sample: int = 0) -> str:
    """The usual answer: five digits that depend on the last message, the seed and the sample."""
    text = f"{body['messages'][-1]['content']}|{body.get('seed', 0) + sample}"
    return str(int(hashlib.sha256(text.encode()).hexdigest(), 16) % 100_000)


class Server:
    """See the module. `script` holds names of `_fault`, such as "429 after 0.2", "cut" or "ok"."""

    def __init__(
        self,
        latency: float = 0.0,
        most: int | None = None,
        script: Iterable[str] = (),
        always: str = "ok",
        takes_n: bool = True,
        key: str | None = None,
        models: Iterable[str] = ("echo",),
        reply: Callable[[dict[str, Any], int], str] = number,
        strict: Iterable[str] = (),
    ) -> None:
        """`most` requests at once, else 429; `key` must come with each; `strict` parameters are refused with 400."""
        self.latency, self.most, self.takes_n, self.key = latency, most, takes_n, key
        self.models, self.reply, self.strict = list(models), reply, set(strict)
        self.requests: list[dict[str, Any]] = []
        self.times: list[float] = []
        self.busiest = 0
        self._now = 0
        self._script, self._always = list(script), always
        self._loop = asyncio.new_event_loop()
        self._ready, self._stop = threading.Event(), asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(),))
        self.port = 0

    @property
    def url(self) -> str:
        """The base URL."""
        return f"http://127.0.0.1:{self.port}/v1"

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)
        self._loop.close()

    async def _serve(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        server = await asyncio.start_server(self._connection, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            while await self._exchange(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            writer.transport.abort()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request and its answer; False when the connection ends."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        headers = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if line)
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        if head.startswith("get"):
            return await self._send(writer, 200, json.dumps({"data": [{"id": name} for name in self.models]}))
        self._now += 1
        self.busiest = max(self.busiest, self._now)
        self.times.append(self._loop.time())
        try:
            return await self._chat(json.loads(body), headers, writer)
        finally:
            self._now -= 1

    async def _chat(self, body: dict[str, Any], headers: dict[str, str], writer: asyncio.StreamWriter) -> bool:
        self.requests.append(body)
        if self.most is not None and self._now > self.most:
            return await self._error(writer, 429, "too many at once")
        await asyncio.sleep(self.latency)
        fault = self._script.pop(0) if self._script else self._always
        if fault != "ok":
            return await self._fault(fault, writer, body)
        if self.key is not None and headers.get("authorization") != f"bearer {self.key}".lower():
            return await self._error(writer, 401, f"wrong key {headers.get('authorization')}")
        if body["model"] not in self.models:
            return await self._error(writer, 404, f"no model {body['model']}")
        refused = sorted(self.strict & set(body))
        if refused:
            hint = "; use max_completion_tokens" if refused == ["max_tokens"] else ""
            return await self._error(writer, 400, f"unsupported parameter {refused[0]}{hint}")
        return await self._send(writer, 200, json.dumps(self._answer(body)))

    def _answer(self, body: dict[str, Any]) -> dict[str, Any]:
        count = body.get("n", 1) if self.takes_n else 1
        texts = [self.reply(body, sample) for sample in range(count)]
        top = [{"token": "7", "logprob": -0.5}, {"token": "8", "logprob": -1.5}]
        logprobs = {"content": [{"token": "7", "logprob": -0.5, "top_logprobs": top}]} if "logprobs" in body else None
        choices = [
            {
                "index": i,
                "finish_reason": "stop",
                "message": {"role": "assistant", "content": text},
                "logprobs": logprobs,
            }
            for i, text in enumerate(texts)
        ]
        prompt = sum(len(message["content"].split()) for message in body["messages"])
        return {
            "id": "x",
            "object": "chat.completion",
            "created": 0,
            "model": body["model"],
            "choices": choices,
            "usage": {"prompt_tokens": prompt, "completion_tokens": 5 * count, "total_tokens": prompt + 5 * count},
        }

    async def _fault(self, fault: str, writer: asyncio.StreamWriter, body: dict[str, Any]) -> bool:
        kind, _, after = fault.partition(" after ")
        answer = json.dumps(self._answer(body))
        if kind.isdecimal():
            return await self._error(writer, int(kind), "not now", {"retry-after": after} if after else {})
        if kind == "hang":
            await asyncio.sleep(3600)
        if kind == "cut":  # half an answer, then the end of the connection
            await self._send(writer, 200, answer, cut=len(answer) // 2)
            return False
        if kind == "drop":
            return False
        texts = {
            "empty": "",
            "garbage": "<html>proxy error</html>",
            "no choices": json.dumps({"choices": [], "usage": None}),
            "null": "null",
            "not text": json.dumps({"choices": [{"message": {"content": {"a": 1}}}]}),
            "filtered": answer.replace('"stop"', '"content_filter"'),
            "length": answer.replace('"stop"', '"length"'),
            "surrogate": answer.replace('"content": "', '"content": "\\ud83d'),
        }
        return await self._send(writer, 200, texts[kind])

    async def _error(
        self, writer: asyncio.StreamWriter, status: int, message: str, headers: dict[str, str] | None = None
    ) -> bool:
        text = json.dumps({"error": {"message": message, "type": "error", "code": None, "param": None}})
        return await self._send(writer, status, text, headers)

    async def _send(
        self,
        writer: asyncio.StreamWriter,
        status: int,
        text: str,
        headers: dict[str, str] | None = None,
        cut: int | None = None,
    ) -> bool:
        body = text.encode()
        lines = {"content-type": "application/json", "content-length": str(len(body)), **(headers or {})}
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        writer.write(f"HTTP/1.1 {status} X\r\n{head}\r\n".encode() + body[:cut])
        await writer.drain()
        return True
