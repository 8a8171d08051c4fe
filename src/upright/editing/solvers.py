"""The editors behind one call: `Session(model, config).write(requests)` turns requests into weights.

A session lives as long as an edit grows: it holds the ridge of every layer, so that later batches and rounds keep
what earlier ones wrote, and the rows a fine-tuning editor replays.
"""

import random
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from upright.editing.capture import keys_at_fact, states_at_fact
from upright.editing.config import AlphaEdit, Config, Emmet, Finetune, Memit
from upright.editing.edit import Edit
from upright.editing.method import Ridge, alphaedit_ridge, average_key, memit_ridge, shrink
from upright.editing.recipe import Recipe
from upright.editing.requests import Request, Row, tokenised
from upright.editing.targets import Optimisation, Targets, Task, optimise
from upright.knowledge.relations import Prompt
from upright.models.causal import CausalModel, pad
from upright.models.layouts import add_update, weight_out_in
from upright.run.progress import progress

Moments = Callable[[Sequence[int]], dict[int, Tensor]]
"""Gives the key statistics of layers; called once, and only by solvers that need them."""


class Session(Protocol):
    """An edit that grows batch by batch."""

    edit: Edit
    retries: int
    """Times that a round is followed by another solve of what the model does not yet say."""

    def solve(self, requests: Sequence[Request]) -> dict[str, Tensor]:
        """What to write for these requests, on top of what was written before; `accept` writes it.

        Keys `loss` and `steps` say how the optimisation went; the others are for `accept`.
        """
        ...

    def accept(self, requests: Sequence[Request], solution: dict[str, Tensor]) -> None:
        """Write a solution into the edit and the weights, and remember it."""
        ...

    def forget(self) -> None:
        """Drop the memory of what was written (ablation: later rounds may overwrite it)."""
        ...


@dataclass
class Setting:
    """What every solver needs to know, with the recipe filled in."""

    model: CausalModel
    recipe: Recipe
    prefixes: list[str]
    moments: Moments
    target: Optimisation
    rows: int
    seed: int
    wordings: Callable[[Request], list[Prompt]] = lambda request: []
    """Other sentences that should be followed by the same object."""
    ending: str = "."
    """Written after each object, so that the model learns where it ends."""


def open_session(config: Config, setting: Setting) -> Session:
    """The session of the solver that the configuration names."""
    edit = Edit.start(setting.model, solver=config.solver.model_dump(by_alias=True))
    if isinstance(config.solver, Finetune):
        return FinetuneSession(setting, config.solver, edit)
    return ClosedForm(setting, config.solver, edit)


class ClosedForm:
    """MEMIT, AlphaEdit and EMMET: target vectors at the top layer, then one ridge solve per layer."""

    def __init__(self, setting: Setting, solver: Memit | AlphaEdit | Emmet, edit: Edit) -> None:
        self.setting, self.edit = setting, edit
        recipe = setting.recipe
        default = recipe.layers[-1:] if isinstance(solver, Emmet) else recipe.layers
        self.layers = sorted(solver.layers or default)
        self.solver = solver
        self.retries = solver.retries
        self._ridges: dict[int, Ridge] | None = None
        for layer in self.layers:
            edit.update(setting.model, layer)

    def solve(self, requests: Sequence[Request]) -> dict[str, Tensor]:
        tasks = make_tasks(self.setting, requests)
        model, top = self.setting.model, self.layers[-1]
        targets = optimise(model, tasks, top, self.setting.target, self.setting.rows)
        solution = {"loss": targets.loss, "steps": targets.steps}
        for i, layer in enumerate(self.layers):
            keys = self._keys(tasks, layer)
            left = self._residual(tasks, targets, top) / (len(self.layers) - i)
            right = self.ridges[layer].factor(keys)
            add_update(model.down(layer), (left @ right.T).float())  # the layers above see it
            solution |= {f"{layer}.left": left.float(), f"{layer}.right": right.float(), f"{layer}.keys": keys.float()}
        return solution

    def accept(self, requests: Sequence[Request], solution: dict[str, Tensor]) -> None:
        for layer in self.layers:
            update = self.edit.update(self.setting.model, layer)
            update.add(solution[f"{layer}.left"], solution[f"{layer}.right"])
            # lower layers were final when these keys were taken, so they stay the keys of what was written
            self.ridges[layer].absorb(solution[f"{layer}.keys"])
        self.edit.apply(self.setting.model)

    def forget(self) -> None:
        self._ridges = None

    @property
    def ridges(self) -> dict[int, Ridge]:
        """The cost of moving keys, layer by layer; grows with every batch."""
        if self._ridges is None:
            self._ridges = _ridges(self.solver, self.setting.recipe, self._moments)
        return self._ridges

    @cached_property
    def _moments(self) -> dict[int, Tensor]:
        """Key statistics of the unedited model: first asked for before anything is written."""
        return self.setting.moments(self.layers)

    def _residual(self, tasks: Sequence[Task], targets: Targets, top: int) -> Tensor:
        """What is still missing at the top layer, (d, n)."""
        clean = [task.rows[0] for task in tasks]
        now = states_at_fact(self.setting.model, clean, top, self.setting.rows)
        return (targets.z.double() - now).T

    def _keys(self, tasks: Sequence[Task], layer: int) -> Tensor:
        """Averaged keys (d_k, n) on the current weights."""
        rows = [row for task in tasks for row in task.keyed]
        keys = keys_at_fact(self.setting.model, rows, layer, self.setting.rows)
        prefixes = len(self.setting.prefixes)
        grouped = keys.split([len(task.keyed) for task in tasks])
        return torch.stack([average_key(own[0], own[1 : 1 + prefixes], own[1 + prefixes :]) for own in grouped], dim=1)


def _ridges(solver: Memit | AlphaEdit | Emmet, recipe: Recipe, moments: dict[int, Tensor]) -> dict[int, Ridge]:
    def ridge(moment: Tensor) -> Ridge:
        moment = shrink(moment.double(), solver.shrink)
        if isinstance(solver, AlphaEdit):
            kept = recipe.kept_energy if solver.kept_energy is None else solver.kept_energy
            return alphaedit_ridge(moment, solver.l2 or recipe.l2, kept)
        if isinstance(solver, Emmet):
            return memit_ridge(moment, solver.mu or recipe.mu)
        return memit_ridge(moment, solver.lambda_ or recipe.lambda_)

    return {layer: ridge(moment) for layer, moment in moments.items()}


def make_tasks(setting: Setting, requests: Sequence[Request]) -> list[Task]:
    """One task per key: requests that look alike up to the fact position share one key and one vector."""
    groups: dict[str, list[Request]] = defaultdict(list)
    for request in requests:
        groups[request.key_text].append(request)
    return [_task(setting, members) for members in groups.values()]


def _task(setting: Setting, members: list[Request]) -> Task:
    groups = [_rows(setting, request, setting.prefixes) for request in members]
    rows = [row for group in groups for row in group]
    subject = members[0].prompt.subject
    anchor = Prompt(subject, (0, len(subject)))
    return Task(rows, [1 / len(rows)] * len(rows), tokenised(setting.model, anchor), keyed=groups[0])


def _rows(setting: Setting, request: Request, prefixes: Sequence[str] = ()) -> list[Row]:
    """The sentence, bare and after every prefix, and its other wordings."""
    target = request.target + setting.ending
    bare = [tokenised(setting.model, request.prompt, target, prefix) for prefix in ("", *prefixes)]
    return bare + [tokenised(setting.model, prompt, target) for prompt in setting.wordings(request)]


class FinetuneSession:
    """LocFT-BF: Adam on one down projection, breadth first; later rounds replay all earlier requests."""

    retries = 0  # it trains until all is said, or for as many epochs as it may

    def __init__(self, setting: Setting, solver: Finetune, edit: Edit) -> None:
        self.setting, self.solver, self.edit = setting, solver, edit
        self.layer = setting.recipe.finetune_layer if solver.layer is None else solver.layer
        self._rows: dict[Request, list[Row]] = {}
        edit.update(setting.model, self.layer)

    def solve(self, requests: Sequence[Request]) -> dict[str, Tensor]:
        module = self.setting.model.down(self.layer)
        rows = {**self._rows, **self._tokenised(requests)}
        losses = self._train(module, [row for group in rows.values() for row in group])
        change = weight_out_in(module).detach().float() - self.edit.base(self.setting.model, self.layer).float()
        return {"loss": torch.tensor(losses), "steps": torch.tensor([len(losses)]), f"{self.layer}.dense": change}

    def accept(self, requests: Sequence[Request], solution: dict[str, Tensor]) -> None:
        self._rows |= self._tokenised(requests)
        self.edit.update(self.setting.model, self.layer).set_dense(solution[f"{self.layer}.dense"])
        self.edit.apply(self.setting.model)

    def forget(self) -> None:
        self._rows = {}

    def _tokenised(self, requests: Sequence[Request]) -> dict[Request, list[Row]]:
        return {request: _rows(self.setting, request) for request in requests}

    def _train(self, module: torch.nn.Module, rows: list[Row]) -> list[float]:
        """Epoch losses; the module's weight is trained in place."""
        weight = module.get_parameter("weight").requires_grad_()
        rate = self.solver.learning_rate or self.setting.recipe.finetune_learning_rate
        optimiser = torch.optim.Adam([weight], lr=rate)
        rng, losses = random.Random(self.setting.seed), []
        try:
            with progress("fine-tuning", total=self.solver.epochs) as bar:
                for _ in range(self.solver.epochs):
                    losses.append(self._epoch(optimiser, rng.sample(rows, len(rows))))
                    bar.advance(1)
                    if losses[-1] < self.solver.stop_below:
                        break
        finally:
            weight.requires_grad_(False)
        return losses

    def _epoch(self, optimiser: torch.optim.Optimizer, rows: list[Row]) -> float:
        total = 0.0
        for start in range(0, len(rows), self.solver.batch):
            chunk = rows[start : start + self.solver.batch]
            loss = target_loss(self.setting.model, chunk)
            total += float(loss.detach()) * len(chunk)
            if float(loss.detach()) >= self.solver.stop_below:
                loss.backward()
                optimiser.step()
            optimiser.zero_grad(set_to_none=True)
        return total / len(rows)


def target_loss(model: CausalModel, rows: Sequence[Row]) -> Tensor:
    """Mean over rows of the mean NLL of their targets, then EOS where the tokenizer has one."""
    eos = model.tokenizer.eos_token_id
    wanted = [row.targets + ([eos] if eos is not None else []) for row in rows]
    texts = [[*row.before, *row.after, *targets] for row, targets in zip(rows, wanted, strict=True)]
    ids, _ = pad(texts, model.pad_id, "right", model.device)
    hidden = model.hidden(ids[:, :-1])
    places = [
        (i, len(text) - len(targets) - 1 + j, targets[j], 1 / (len(targets) * len(rows)))
        for i, (text, targets) in enumerate(zip(texts, wanted, strict=True))
        for j in range(len(targets))
    ]
    row_at, column, target, weight = zip(*places, strict=True)
    logits = model.unembed(hidden[list(row_at), list(column)]).float()
    nll = cross_entropy(logits, torch.tensor(target, device=model.device), reduction="none")
    return (nll * torch.tensor(weight, device=model.device)).sum()
