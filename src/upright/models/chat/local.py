"""Models that run here: calls that wait at the same time are answered in one batch."""

import asyncio
import hashlib
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch

from upright.errors import UserError
from upright.models.causal import CausalModel, load, prompt_ids
from upright.models.chat.config import ChatConfig
from upright.models.chat.decode import (
    Answer,
    Halted,
    choose,
    completion,
    end_ids,
    likelihoods,
    nested,
    stream,
    write,
)
from upright.models.chat.prompts import continuation_ids, form_of
from upright.models.chat.protocol import Call, Completion, Message, Usage, failed
from upright.models.chat.reading import SharedPrefix, common


@dataclass(eq=False)
class Job:
    """A call in token ids, and who waits for its answers."""

    call: Call
    first: int
    count: int
    ids: list[int]
    """The prompt."""
    choices: list[list[int]] | None
    ends: tuple[str, ...] | None
    """Texts that may end the answer, where choices are told apart by their ends."""
    future: asyncio.Future[list[Completion]]

    @property
    def kind(self) -> object:
        """Jobs of one kind can share a batch."""
        return self.choices is None, self.ends

    @property
    def rows(self) -> int:
        """Rows of a batch it fills; choices are scored in turns, whatever their number."""
        return self.count if self.choices is None else 1


class LocalModel:
    """A model on this machine. Answers depend on the call alone, not on what is asked beside it.

    A single worker takes the calls that wait, up to `batch_rows` answers, the oldest first and then those whose
    prompts begin most like its own; prompts are read once for all their samples.
    """

    per_request: int | None = None

    def __init__(self, model: CausalModel, raw: bool, context: int | None, batch_rows: int) -> None:
        """`raw`: the last message is the prompt as it stands. `context`: tokens that fit, at most the model's own."""
        self.weights, self._raw = model, raw
        self.name = model.name if model.name.startswith("lab:") else f"hf:{model.name}"
        self.context = min((n for n in (context, model.context) if n is not None), default=None)
        self._form = form_of(model, raw)
        template = "raw" if raw else str(model.tokenizer.chat_template)
        self._rules = f"{model.tokenizer_digest()} {hashlib.sha256(template.encode()).hexdigest()}"
        self._rows = batch_rows
        self._waiting: list[Job] = []
        self._worker: asyncio.Task[None] | None = None
        self._ends = lru_cache(lambda stop: end_ids(model, stop))

    @classmethod
    def open(cls, config: ChatConfig) -> "LocalModel":
        """Load the model that `config` names. Raises `UserError` as `load` does."""
        raw = config.raw or config.model.startswith("lab:")
        model = load(config.model.removeprefix("hf:"), config.speed.device)
        return cls(model, raw, config.context, config.speed.batch_rows)

    @property
    def identity(self) -> str:
        """Weights as they are now, tokenizer and form of the prompt, whatever the name."""
        return f"{self.weights.digest()} {self._rules} {self.context}"

    def count(self, messages: Sequence[Message]) -> int:
        """Tokens of the prompt."""
        return len(prompt_ids(self.weights.tokenizer, [self._form.write(messages)])[0])

    async def ask(self, call: Call, first: int, count: int) -> list[Completion]:
        """See `Backend`."""
        job = self._job(call, first, count)
        longest = max(map(len, job.choices)) if job.choices else 1
        if self.context is not None and len(job.ids) + longest > self.context:
            return [failed(self._too_long(len(job.ids), longest))] * count
        self._waiting.append(job)
        self._start()
        return await job.future

    def _job(self, call: Call, first: int, count: int) -> Job:
        prompt, tokenizer = self._form.write(call.messages), self.weights.tokenizer
        ids = prompt_ids(tokenizer, [prompt])[0]
        future: asyncio.Future[list[Completion]] = asyncio.get_running_loop().create_future()
        if call.choices is None:
            return Job(call, first, count, ids, None, None, future)
        border = self._form.border(prompt)
        choices = [continuation_ids(tokenizer, prompt, border + text.strip()) for text in call.choices]
        ends = self._stop(call) if nested(choices) else None
        return Job(call, first, count, ids, choices, ends, future)

    def _stop(self, call: Call) -> tuple[str, ...]:
        return (*call.sampling.stop, *self._form.stop)

    def _too_long(self, prompt: int, answer: int) -> str:
        return (
            f"a prompt of {prompt} tokens leaves no room for an answer of {answer}: {self.name} reads {self.context}; "
            "shorten the prompt"
        )

    def _start(self) -> None:
        loop = asyncio.get_running_loop()
        if self._worker is None or self._worker.done() or self._worker.get_loop() is not loop:
            self._waiting = [job for job in self._waiting if job.future.get_loop() is loop]
            self._worker = loop.create_task(self._work())

    async def close(self) -> None:
        """Stop the worker; what waits is cancelled."""
        if self._worker is not None and not self._worker.done():
            self._worker.cancel()
            await asyncio.gather(self._worker, return_exceptions=True)
        self._worker = None

    # --- the worker ---

    async def _work(self) -> None:
        while self._waiting:
            await self._settle()
            if batch := self._take():
                await self._serve(batch)

    async def _settle(self) -> None:
        """Let the calls that are about to be made join: a turn of the event loop costs far less than a batch."""
        quiet = 0
        while quiet < 5:
            before = len(self._waiting)
            await asyncio.sleep(0)
            quiet = 0 if len(self._waiting) > before else quiet + 1

    def _take(self) -> list[Job]:
        """The jobs of the next batch; they leave the queue, and so do those that nobody waits for."""
        self._waiting = [job for job in self._waiting if not job.future.done()]
        if not self._waiting:
            return []
        oldest, *others = self._waiting
        alike = [job for job in others if job.kind == oldest.kind]
        batch, rows = [oldest], oldest.rows
        for job in sorted(alike, key=lambda job: -common(oldest.ids, job.ids)):
            if rows + job.rows <= self._rows:
                batch.append(job)
                rows += job.rows
        self._waiting = [job for job in self._waiting if job not in batch]
        return batch

    async def _serve(self, batch: list[Job]) -> None:
        halt = threading.Event()
        try:
            found = await asyncio.to_thread(self._answer, batch, halt.is_set)
        except asyncio.CancelledError:
            halt.set()
            for job in batch:
                job.future.cancel()
            raise
        except Exception as error:
            for job in batch:
                if not job.future.done():
                    job.future.set_exception(self._explained(error))
            return
        for job, answers in zip(batch, found, strict=True):
            if not job.future.done():
                job.future.set_result(answers)

    def _explained(self, error: Exception) -> Exception:
        if isinstance(error, torch.OutOfMemoryError):
            return UserError(f"{self.name}: out of memory with {self._rows} rows at once; lower speed.batch_rows")
        return error

    # --- in the worker's thread ---

    @torch.no_grad()
    def _answer(self, batch: Sequence[Job], halted: Callable[[], bool]) -> list[list[Completion]]:
        places: dict[tuple[int, ...], int] = {}
        prompts = [places.setdefault(tuple(job.ids), len(places)) for job in batch]
        read = SharedPrefix(self.weights, list(places))
        if batch[0].choices is None:
            return self._write(batch, prompts, read, halted)
        scores = self._scores(batch, prompts, read, halted)
        return [self._chosen(job, own) for job, own in zip(batch, scores, strict=True)]

    def _write(
        self, batch: Sequence[Job], prompts: list[int], read: SharedPrefix, halted: Callable[[], bool]
    ) -> list[list[Completion]]:
        groups = [self._answers(job, place) for job, place in zip(batch, prompts, strict=True)]
        flat = [answer for group in groups for answer in group]
        for start in range(0, len(flat), self._rows):
            write(self.weights, read, flat[start : start + self._rows], halted)
        return [
            [self._completion(job, answer, number) for number, answer in enumerate(group)]
            for job, group in zip(batch, groups, strict=True)
        ]

    def _answers(self, job: Job, place: int) -> list[Answer]:
        sampling = job.call.sampling
        left = sampling.max_tokens if self.context is None else self.context - len(job.ids)
        numbers = range(job.first, job.first + job.count)
        room, stop = min(sampling.max_tokens, left), self._stop(job.call)
        return [Answer(sampling, stop, place, room, stream(job.call, number)) for number in numbers]

    def _completion(self, job: Job, answer: Answer, number: int) -> Completion:
        read = len(job.ids) if number == 0 else 0
        return completion(self.weights, answer, read, self._form.blank)

    def _scores(
        self, batch: Sequence[Job], prompts: list[int], read: SharedPrefix, halted: Callable[[], bool]
    ) -> list[list[float]]:
        """The log-likelihood of each choice of each job; where choices are nested, with the end of the answer."""
        ends = None if batch[0].ends is None else self._ends(batch[0].ends)
        rows = [(i, prompts[i], text) for i, job in enumerate(batch) for text in job.choices or []]
        scores: list[list[float]] = [[] for _ in batch]
        for start in range(0, len(rows), self._rows):
            if halted():
                raise Halted
            numbers, places, texts = zip(*rows[start : start + self._rows], strict=True)
            for i, score in zip(numbers, likelihoods(self.weights, read, places, texts, ends), strict=True):
                scores[i].append(score)
        return scores

    def _chosen(self, job: Job, scores: list[float]) -> list[Completion]:
        names, sampling = job.call.choices or (), job.call.sampling
        tokens = dict(zip(names, map(len, job.choices or []), strict=True))
        answers = []
        for number in range(job.count):
            best = choose(names, scores, sampling, stream(job.call, job.first + number))
            usage = Usage(len(job.ids) if number == 0 else 0, tokens[best.token])
            answers.append(Completion(best.token, "stop", usage, (best,) if sampling.logprobs else None))
        return answers
