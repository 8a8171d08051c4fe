"""Rounds of writing: the facts first, then what follows from them; after each, what is not yet said once more."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor

from upright.editing import present
from upright.editing.config import Config, ContextConfig
from upright.editing.requests import Request
from upright.editing.solvers import Session
from upright.models.causal import CausalModel
from upright.models.generate import generate
from upright.models.matching import matches
from upright.run.folder import RunFolder


def rounds(
    config: ContextConfig, facts: Sequence[Request], contextual: Sequence[Request]
) -> list[tuple[str, list[Request]]]:
    """What is written when, by the name of the round."""
    if not config.hops or not contextual:
        return [("facts", list(facts))]
    if config.rounds == "together":
        return [("facts-and-context", [*facts, *contextual])]
    if config.rounds == "after":
        return [("facts", list(facts)), ("context", list(contextual))]
    lengths = sorted({len(request.path) for request in contextual})
    per_hop = [(f"context-{n}", [r for r in contextual if len(r.path) == n]) for n in lengths]
    return [("facts", list(facts)), *per_hop]


@dataclass
class Writer:
    """Writes round after round into one edit; every step is kept, so that a killed run goes on."""

    config: Config
    folder: RunFolder
    session: Session
    model: CausalModel
    written: list[Request] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    """Of work by round, whenever it was done."""
    again: int = 0
    """Requests solved more than once, counted each time."""

    def write(self, name: str, requests: Sequence[Request]) -> None:
        """One round, in batches; then everything written so far that the model does not say, a few times over."""
        if not self.config.context.memory:
            self.session.forget()
        self.written += requests
        self.seconds[name] = 0.0
        self._solve(name, "write", requests)
        for attempt in range(self.session.retries):
            missing = self._step(name, f"check-{name}-{attempt}", self._missing)["missing"]
            if not len(missing):
                break
            self._solve(name, f"again-{attempt}", [self.written[i] for i in missing.tolist()])
            self.again += len(missing)
        self.session.edit.ledger.extend(present.ledger_row(request, name) for request in requests)

    def _solve(self, name: str, job: str, requests: Sequence[Request]) -> None:
        for start in range(0, len(requests), self.config.batch):
            batch = requests[start : start + self.config.batch]
            solution = self._step(name, f"{job}-{name}-{start}", partial(self.session.solve, batch))
            self.session.accept(batch, solution)

    def _missing(self) -> dict[str, Tensor]:
        """Places in `written` of what the model does not say after the very sentence that was written."""
        prompts = [request.prompt.text for request in self.written]
        said = generate(self.model, prompts, max_new_tokens=16, batch_rows=self.config.speed.batch_rows)
        pairs = enumerate(zip(said, self.written, strict=True))
        return {"missing": torch.tensor([i for i, (text, r) in pairs if not matches(text, [r.target])])}

    def _step(self, name: str, step: str, compute: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
        def timed() -> dict[str, Tensor]:
            begin = time.monotonic()
            found = compute()
            return {**found, "seconds": torch.tensor(time.monotonic() - begin)}

        found = self.folder.step(step, timed)
        self.seconds[name] += float(found["seconds"])
        return found
