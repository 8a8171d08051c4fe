"""The client that every call goes through: cache, retries, the limit of calls at once, and the bill."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self, TypeVar

from upright.models.chat.cache import Cache, key_of
from upright.models.chat.config import ChatConfig
from upright.models.chat.meter import Meter, Prices, Spent
from upright.models.chat.protocol import GREEDY, Backend, Call, Completion, Message, Sampling, Transient, failed
from upright.run.cache import cache_folder

if TYPE_CHECKING:
    from upright.models.causal import CausalModel

T = TypeVar("T")


@dataclass(frozen=True)
class Limits:
    """How many attempts at once, and how a failed one is made again."""

    concurrency: int = 32
    retries: int = 6
    first_wait: float = 0.5
    """Seconds before the first retry; each further one waits twice as long, give or take half."""
    longest_wait: float = 60.0
    """Seconds no such wait exceeds. A server may ask for more: then that is the wait."""
    patience: float = 600.0
    """A server that asks for a longer wait than this is not asked again."""


class Client:
    """A chat model (see `ChatModel`) that never asks twice, never too much at once, and keeps count.

    - An answer is stored as soon as it is there; equal calls get equal answers, also those under way together.
      At temperature 0 one answer serves all samples of a call.
    - A wait that a server asks for (Retry-After) holds all calls, since the limit they run into is one.
    - An error is a completion with finish "error" and is not stored. Only a `UserError` is raised.

    Works in one event loop at a time: close it, best as `async with`, before another one goes on with it.
    """

    def __init__(
        self,
        model: Backend,
        cache: Cache,
        limits: Limits,
        meter: Meter,
        reuse: bool = True,
        shared: "_Shared | None" = None,
    ) -> None:
        """`reuse=False` asks anew for what is stored, and stores the new answer."""
        self.meter = meter
        self._model = model
        self._cache = cache
        self._limits = limits
        self._reuse = reuse
        self._shared = shared or _Shared(limits.concurrency)

    @property
    def name(self) -> str:
        """The model as the user named it."""
        return self._model.name

    @property
    def context(self) -> int | None:
        """Tokens of prompt and answer that fit, where known."""
        return self._model.context

    @property
    def weights(self) -> "CausalModel | None":
        """The model itself where it runs here, for the record of a run."""
        return self._model.weights

    def count(self, messages: Sequence[Message]) -> int:
        """Tokens of the prompt, estimated (characters / 4) where the tokenizer is not known."""
        return self._model.count(messages)

    def metered(self) -> "Client":
        """This client with a meter of its own, from zero, that counts here as well: for what runs side by side."""
        return Client(self._model, self._cache, self._limits, self.meter.part(), self._reuse, self._shared)

    async def complete(
        self,
        messages: Sequence[Message],
        sampling: Sampling = GREEDY,
        samples: int = 1,
        choices: Sequence[str] | None = None,
    ) -> list[Completion]:
        """`samples` answers, in the order of their numbers; see `ChatModel`.

        Raises `ValueError` for no message, no sample or no choice, `UserError` for a missing or refused key, an
        unknown model and a server that cannot be reached at the first call.
        """
        if not messages or samples < 1 or (choices is not None and not all(map(str.strip, choices or [""]))):
            raise ValueError(f"{len(messages)} messages, {samples} samples, choices={choices}: must not be empty")
        call = Call(tuple(messages), sampling, None if choices is None else tuple(dict.fromkeys(choices)))
        drawn = list(range(samples if sampling.temperature else 1))
        answers = await self._answers(call, drawn)
        return answers + [replace(answers[0], cached=True) for _ in range(samples - len(drawn))]

    async def _answers(self, call: Call, drawn: list[int]) -> list[Completion]:
        key = key_of(self._model.identity, call)
        async with self._shared.turn(key):
            found = self._cache.get(key, drawn) if self._reuse else {}
            missing = [number for number in drawn if number not in found]
            found |= await self._ask(call, missing, key)
        self.meter.add(Spent(calls=1) if missing else Spent(cached=1))
        return [found[number] for number in drawn]

    async def _ask(self, call: Call, numbers: list[int], key: bytes) -> dict[int, Completion]:
        """Samples of these numbers, in as few requests as the model takes, all at once."""
        if not numbers:
            return {}
        runs = _runs(numbers, self._model.per_request)
        if len(runs) > 1:
            parts = await together(*(self._ask(call, run, key) for run in runs))
            return {number: answer for part in parts for number, answer in part.items()}
        answers = await self._persist(call, numbers[0], len(numbers))
        found = {number: self._keep(key, number, answer) for number, answer in zip(numbers, answers, strict=False)}
        return found | await self._ask(call, numbers[len(answers) :], key)

    def _keep(self, key: bytes, number: int, answer: Completion) -> Completion:
        usage = answer.usage
        bad = answer.finish == "error"
        self.meter.add(Spent(failed=int(bad), prompt=usage.prompt, completion=usage.completion))
        return answer if bad else self._cache.put(key, number, answer, overwrite=not self._reuse)

    async def _persist(self, call: Call, first: int, count: int) -> list[Completion]:
        """Attempts until one succeeds; after the last one, completions that tell why."""
        limits, reason = self._limits, ""
        for attempt in range(limits.retries + 1):
            try:
                return await self._attempt(call, first, count)
            except Transient as error:
                reason = str(error)
                if error.after is not None and error.after > limits.patience:
                    return [failed(f"{reason}; asked to wait {error.after:.0f} s")] * count
                self._shared.hold(error.after or 0)
                if attempt < limits.retries:
                    backoff = min(limits.longest_wait, limits.first_wait * 2**attempt)
                    await asyncio.sleep(max(error.after or 0, backoff * self._shared.jitter.uniform(0.5, 1.5)))
        return [failed(f"{reason}; given up after {limits.retries + 1} attempts")] * count

    async def _attempt(self, call: Call, first: int, count: int) -> list[Completion]:
        async with self._shared.slots():
            while (wait := self._shared.held) > 0:
                await asyncio.sleep(wait)
            begin = time.monotonic()
            try:
                return await self._model.ask(call, first, count)
            finally:
                self.meter.add(Spent(requests=1, seconds=time.monotonic() - begin))

    async def close(self) -> None:
        """Close connections and the cache's file; the next call opens them again."""
        await self._model.close()
        self._cache.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


class _Shared:
    """What the clients of one model share: slots, turns and the wait a server asked for."""

    def __init__(self, concurrency: int) -> None:
        self.jitter = random.Random()  # differs between processes, so that they do not come back together
        self._concurrency = concurrency
        self._until = 0.0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._slots = asyncio.Semaphore(concurrency)
        self._turns: dict[bytes, _Turn] = {}

    def slots(self) -> asyncio.Semaphore:
        """The slots of the running event loop."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._loop, self._slots, self._turns = loop, asyncio.Semaphore(self._concurrency), {}
        return self._slots

    def hold(self, seconds: float) -> None:
        """Let no attempt begin for that long."""
        self._until = max(self._until, time.monotonic() + seconds)

    @property
    def held(self) -> float:
        """Seconds until attempts may begin."""
        return self._until - time.monotonic()

    @asynccontextmanager
    async def turn(self, key: bytes) -> AsyncIterator[None]:
        """One at a time for each key: whoever comes later finds the answer in the cache."""
        self.slots()
        turn = self._turns.setdefault(key, _Turn())
        turn.users += 1
        try:
            async with turn.lock:
                yield
        finally:
            turn.users -= 1
            if not turn.users:
                self._turns.pop(key, None)


@dataclass
class _Turn:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    users: int = 0


async def together(*parts: Coroutine[Any, Any, T]) -> list[T]:
    """Their values; the first error ends them all."""
    tasks = [asyncio.create_task(part) for part in parts]
    try:
        return await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise


def _runs(numbers: list[int], most: int | None) -> list[list[int]]:
    """Numbers in groups without gaps, of at most `most`.

    >>> _runs([0, 1, 2, 5, 6], most=2)
    [[0, 1], [2], [5, 6]]
    """
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1 and (most is None or len(runs[-1]) < most):
            runs[-1].append(number)
        else:
            runs.append([number])
    return runs


def open_chat(config: ChatConfig) -> Client:
    """The client for a chat model. Raises `UserError` for a missing key and for a model that cannot be loaded."""
    speed, prices = config.speed, config.prices
    here = not config.model.startswith("openai:")
    known = prices.prompt is not None and prices.completion is not None
    meter = Meter(Prices(prices.prompt or 0, prices.completion or 0) if known or here else None)
    concurrency = max(speed.concurrency, speed.batch_rows) if here else speed.concurrency  # so that batches fill
    model = _backend(config)
    cache = Cache(speed.cache or cache_folder("chat"))
    return Client(model, cache, Limits(concurrency, speed.retries), meter, speed.reuse)


def _backend(config: ChatConfig) -> Backend:
    if config.model.startswith("openai:"):
        from upright.models.chat.openai import OpenAIModel

        return OpenAIModel.open(config)
    from upright.models.chat.local import LocalModel

    return LocalModel.open(config)
