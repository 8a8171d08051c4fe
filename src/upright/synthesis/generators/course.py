"""The private training of a model on records, with saves to go on from."""

import time
from collections.abc import Iterable
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.optim import Optimizer

from upright.models.causal import CausalModel
from upright.run.files import atomic
from upright.run.progress import progress
from upright.synthesis.generators.base import precision_of
from upright.synthesis.generators.protocol import Task
from upright.synthesis.shares import QUERY, contributions, noised_shares, open_shares
from upright.synthesis.texts import Logits, UnitLoss, UnitTexts
from upright.training.optimise import adam, warmup_then_decay
from upright.training.private import Plan, PrivateTraining
from upright.training.private.gradients import trainable

Floats = NDArray[np.float64]


class Course:
    """A private training that is saved now and then, and goes on from there."""

    def __init__(self, plan: Plan, model: CausalModel, records: UnitTexts, task: Task) -> None:
        tune, speed = task.config.tune, task.config.speed
        self._task, self._records, self._rate = task, records, tune.learning_rate
        self._module: nn.Module = Logits(model.model)
        self._optimisers: list[Optimizer] = []
        self._schedule = warmup_then_decay()
        self._shares: torch.Tensor | None = None
        self.training = PrivateTraining(
            plan,
            self._module,
            UnitLoss(precision_of(speed)),
            records,
            partial(self._optimiser, learning_rate=tune.learning_rate),
            task.randomness("training"),
        )
        self._load()

    def _optimiser(self, parameters: Iterable[nn.Parameter], learning_rate: float) -> Optimizer:
        self._optimisers.append(adam(parameters, learning_rate))
        return self._optimisers[-1]

    def shares(self) -> Floats:
        """The share of each code, asked of the records where it is not public; all 0 where noise drowned it."""
        task, codes = self._task, self._task.codes
        if QUERY in self.training.plan.allowance:
            if self._shares is None:
                given = contributions(task.unit_codes, codes.combinations)
                self._shares = self.training.ask(QUERY, given)
                self._save()  # together with what it cost, before anybody sees it
            return noised_shares(self._shares.double().numpy(), self.training.plan.query(QUERY).noise)
        return open_shares(task.config.codes.counts, codes)

    def run(self) -> None:
        """Take the steps that are left. An interruption says what has been spent."""
        plan, saved = self.training.plan, time.monotonic()
        what = "tuning the control" if self._task.control else "tuning"
        try:
            with progress(what, total=plan.steps) as bar:
                bar.advance(self.training.steps_taken)
                while self.training.steps_taken < plan.steps:
                    self._step()
                    bar.advance()
                    if time.monotonic() - saved > self._task.config.speed.save_every:
                        self._save()
                        saved = time.monotonic()
        except BaseException as error:
            done = self.training.steps_taken
            error.add_note(f"{what}: epsilon {self.training.epsilon:.3g} spent in {done} of {plan.steps} steps")
            raise
        self._save()

    def _step(self) -> None:
        done = self.training.steps_taken
        rate = self._rate * self._schedule((done + 1) / self.training.plan.steps)
        for optimiser in self._optimisers:
            for group in optimiser.param_groups:
                group["lr"] = rate
        self._records.begin(done)
        self.training.step()

    def _save(self) -> None:
        state = self.training.state_dict()
        names = trainable(self._module)
        state["model"] = {name: value for name, value in state["model"].items() if name in names}
        self._task.state.parent.mkdir(parents=True, exist_ok=True)
        with atomic(self._task.state) as part:
            torch.save({"training": state, "shares": self._shares}, part)

    def _load(self) -> None:
        if not self._task.state.exists():
            return
        found = torch.load(self._task.state, weights_only=True, map_location="cpu")
        state = found["training"]
        state["model"] = {**self._module.state_dict(), **state["model"]}  # what is not trained is that of the base
        self.training.load_state_dict(state)
        self._shares = found["shares"]
