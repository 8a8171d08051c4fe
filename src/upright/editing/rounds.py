"""Rounds of writing: the facts first, then what follows from them; after each, what is not yet said once more."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor

from upright.editing.config import Config, ContextConfig
from upright.editing.requests import Request
from upright.editing.solvers import Session
from upright.models.causal import CausalModel
from upright.models.generate import generate
from upright.models.matching import matches
from upright.run.folder import RunFolder

IN_VAIN = 0.97  # share of what was to be solved that is still not said: from there on another solve only harms the rest
FEW = 10  # requests that may be solved again though nothing came of the last time,
PATIENCE = 3  # so many times in a row


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

    def write(self, name: str, requests: Sequence[Request]) -> None:
        """One round: solve what the model does not say of it, then, a few times over, of all rounds so far.

        A solve that moved next to nothing is the last.
        The ledger gets a row for each request; `solves` is 0 where the model said it already.
        """
        ledger = self.session.edit.ledger
        if not self.config.context.memory:
            self.session.forget()
        first = len(self.written)
        self.written += requests
        ledger += [request.row(name) for request in requests]
        self.seconds[name] = 0.0
        left = stuck = 0
        for attempt in range(1 + self.session.retries):
            check = partial(self._missing, 0 if attempt else first)
            missing = self._step(name, f"check-{name}-{attempt}", check)["missing"].tolist()
            stuck = stuck + 1 if attempt and len(missing) > IN_VAIN * left else 0
            if stuck > (PATIENCE if len(missing) <= FEW else 0):
                break
            left = len(missing)
            for start in range(0, len(missing), self.config.batch):
                places = missing[start : start + self.config.batch]
                batch = [self.written[i] for i in places]
                solution = self._step(name, f"write-{name}-{attempt}-{start}", partial(self.session.solve, batch))
                self.session.accept(batch, solution)
                for i in places:
                    ledger[i]["solves"] += 1

    def _missing(self, first: int) -> dict[str, Tensor]:
        """Places in `written`, from `first` on, of what the model does not say after the very sentence written."""
        asked = self.written[first:]
        prompts = [request.prompt.text for request in asked]
        said = generate(self.model, prompts, max_new_tokens=16, batch_rows=self.config.speed.batch_rows)
        pairs = enumerate(zip(said, asked, strict=True), first)
        return {"missing": torch.tensor([i for i, (text, r) in pairs if not matches(text, [r.target])])}

    def _step(self, name: str, step: str, compute: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
        def timed() -> dict[str, Tensor]:
            begin = time.monotonic()
            found = compute()
            return {**found, "seconds": torch.tensor(time.monotonic() - begin)}

        found = self.folder.step(step, timed)
        self.seconds[name] += float(found["seconds"])
        return found
