"""Target vectors z = h + delta for many facts in one forward pass (MEMIT step 1, batched).

Adding delta to the output of block L at the fact position makes the model say the target. The losses of different
facts share no variable and Adam acts element by element, so every delta follows exactly the path it would follow
alone. What cannot change is computed once: states up to block L, and the keys and values of all tokens before the
fact position; only the tokens from there on run, and only through the blocks above L. MLPs, most of the work, are
spared the padding, and the last one all tokens after which nothing is predicted.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from transformers.cache_utils import Cache, DynamicCache, DynamicLayer

from upright.editing.method import kl_divergence, project
from upright.editing.requests import Row, padded
from upright.models.causal import CausalModel
from upright.models.layouts import map_output, mlp_only_at
from upright.run.progress import progress

WORTH_A_PASS = 64  # rows


@dataclass(frozen=True)
class Optimisation:
    """Settings of the search for target vectors; see `TargetConfig`."""

    learning_rate: float
    steps: int
    clamp: float
    decay: float
    kl: float
    stop_below: float


@dataclass(frozen=True)
class Task:
    """One target vector to find: the rows that should come true together, and one row that should not change."""

    rows: list[Row]
    weights: list[float]
    """Weight of each row's mean loss; they sum to 1. Row 0 is a clean prompt: it defines h."""
    anchor: Row
    """The bare subject: what the model says of it must stay as it is."""
    keyed: list[Row] = field(default_factory=list)
    """Those of the rows whose keys stand for the task."""


@dataclass(frozen=True)
class Targets:
    """Results, one row a task."""

    h: Tensor
    """State before (n, d)."""
    z: Tensor
    """State wanted (n, d)."""
    loss: Tensor
    """Last whole loss (n,)."""
    steps: Tensor
    """Updates made (n,)."""

    @staticmethod
    def join(parts: Sequence["Targets"]) -> "Targets":
        """Stack results of several chunks."""
        return Targets(*(torch.cat([getattr(part, name) for part in parts]) for name in ("h", "z", "loss", "steps")))

    def select(self, order: Sequence[int]) -> "Targets":
        """Rows in another order."""
        index = torch.tensor(order, dtype=torch.long)
        return Targets(self.h[index], self.z[index], self.loss[index], self.steps[index])


def optimise(model: CausalModel, tasks: Sequence[Task], layer: int, config: Optimisation, batch_rows: int) -> Targets:
    """Find z for every task at the output of block `layer`; results in the order of the tasks.

    Args:
        batch_rows: rows in one forward pass; tasks of like length run together.
    """
    order = sorted(range(len(tasks)), key=lambda i: _lengths(tasks[i]))
    parts = []
    with progress("target vectors", total=len(tasks)) as bar:
        for chunk in _chunks(order, tasks, batch_rows):
            parts.append(_Chunk(model, [tasks[i] for i in chunk], layer, config).run())
            bar.advance(len(chunk))
    back = sorted(range(len(order)), key=order.__getitem__)
    return Targets.join(parts).select(back)


def _lengths(task: Task) -> tuple[int, int]:
    """What makes padding: the tokens that run in every step first, then those that run once."""
    return max(len(row.inputs) for row in task.rows), max(len(row.before) for row in task.rows)


def _chunks(order: Sequence[int], tasks: Sequence[Task], batch_rows: int) -> Iterator[list[int]]:
    """Tasks of like length that fit one pass; few rows are rather padded than run alone."""
    chunk: list[int] = []
    rows = 0
    for i in order:
        size = len(tasks[i].rows) + 1
        longer = rows >= WORTH_A_PASS and _lengths(tasks[i])[0] > 1.5 * _lengths(tasks[chunk[0]])[0]
        if chunk and (rows + size > batch_rows or longer):
            yield chunk
            chunk, rows = [], 0
        chunk.append(i)
        rows += size
    if chunk:
        yield chunk


class _Chunk:
    """Adam on the deltas of some tasks; a task below the stopping loss is frozen and, in time, dropped."""

    def __init__(self, model: CausalModel, tasks: list[Task], layer: int, config: Optimisation) -> None:
        self.model, self.tasks, self.layer, self.config = model, tasks, layer, config
        self.dtype = torch.promote_types(model.dtype, torch.float32)  # of all sums, whatever the model's own
        self.active = list(range(len(tasks)))
        rows = [row for task in tasks for row in task.rows]
        self.fit = _Tail(model, rows, layer)
        if config.kl:  # anchors are a batch of their own, as each is one token long
            self.anchor = _Tail(model, [task.anchor for task in tasks], layer)
        clean = list(accumulate((len(task.rows) for task in tasks[:-1]), initial=0))
        self.h = self.fit.start[clean, 0].to(self.dtype)
        self._index()
        n, device = len(tasks), self.h.device
        self.delta = torch.zeros_like(self.h)
        self.first_moment, self.second_moment = torch.zeros_like(self.h), torch.zeros_like(self.h)
        self.loss = self.h.new_full((n,), float("inf"))
        self.steps = torch.zeros(n, dtype=torch.long, device=device)
        if config.kl:
            with torch.no_grad():
                self.unchanged = self._anchor_logits(self.delta).log_softmax(-1)

    def run(self) -> Targets:
        for step in range(self.config.steps):
            index = torch.tensor(self.active, device=self.h.device)
            delta = self.delta[index].requires_grad_()
            losses = self._losses(delta, index)
            self.loss[index] = losses.detach()
            still = (losses.detach() >= self.config.stop_below).nonzero().flatten()
            if step == self.config.steps - 1 or len(still) == 0:
                break
            (gradient,) = torch.autograd.grad(losses.sum(), delta)
            self._update(index[still], gradient[still], step + 1)
            self._compact(index[still].tolist())
        return Targets(self.h.cpu(), (self.h + self.delta).cpu(), self.loss.cpu(), self.steps.cpu())

    def _index(self) -> None:
        """Where the targets of the active tasks are read off the fitted rows."""
        tasks = [self.tasks[i] for i in self.active]
        rows = [row for task in tasks for row in task.rows]
        device = self.h.device
        self.row_task = torch.tensor([i for i, task in enumerate(tasks) for _ in task.rows], device=device)
        weights = [weight for task in tasks for weight in task.weights]
        flat = [
            (i, len(row.after) - 1 + j, row.targets[j], weight / len(row.targets))
            for i, (row, weight) in enumerate(zip(rows, weights, strict=True))
            for j in range(len(row.targets))
        ]
        row_at, column, target, weight = zip(*flat, strict=True)
        self.row_at, self.column = torch.tensor(row_at, device=device), torch.tensor(column, device=device)
        self.target = torch.tensor(target, device=device)
        self.weight = torch.tensor(weight, device=device, dtype=self.dtype)

    def _losses(self, delta: Tensor, index: Tensor) -> Tensor:
        """Whole loss of each active task: fit + kl + decay, (n,)."""
        states = self.fit.run(delta[self.row_task])[self.row_at, self.column]
        nll = cross_entropy(self.model.unembed(states).to(self.dtype), self.target, reduction="none")
        fit = nll.new_zeros(len(index)).index_add(0, self.row_task[self.row_at], nll * self.weight)
        decay = delta.norm(dim=1) / self.h[index].norm(dim=1) ** 2
        loss: Tensor = fit + self.config.decay * decay
        if self.config.kl:
            loss = loss + self.config.kl * kl_divergence(self._anchor_logits(delta), self.unchanged[index])
        return loss

    def _anchor_logits(self, delta: Tensor) -> Tensor:
        """What is said after the bare subject, (n, V)."""
        return self.model.unembed(self.anchor.run(delta)[:, 0]).to(self.dtype)

    def _update(self, index: Tensor, gradient: Tensor, step: int) -> None:
        """One Adam step on the rows of `index`, then back into the ball of radius clamp ||h||."""
        m = self.first_moment[index] = 0.9 * self.first_moment[index] + 0.1 * gradient
        v = self.second_moment[index] = 0.999 * self.second_moment[index] + 0.001 * gradient**2
        move = (m / (1 - 0.9**step)) / ((v / (1 - 0.999**step)).sqrt() + 1e-8)
        limit = self.config.clamp * self.h[index].norm(dim=1)
        self.delta[index] = project(self.delta[index] - self.config.learning_rate * move, limit)
        self.steps[index] += 1

    def _compact(self, still: list[int]) -> None:
        """Drop tasks that are done once a tenth of them is."""
        if len(still) > 0.9 * len(self.active):
            return
        going = set(still)
        stays = torch.tensor([i in going for i in self.active], device=self.h.device)
        self.fit.keep(stays[self.row_task].nonzero().flatten())
        if self.config.kl:
            self.anchor.keep(stays.nonzero().flatten())
        self.active = still
        self._index()


class _Frozen(DynamicLayer):
    """Cached keys and values that are read, never extended: every pass continues from the same prefix."""

    def __init__(self, keys: Tensor, values: Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.lazy_initialization(keys, values)
        self.keys, self.values = keys, values
        self.prefix = (keys, values)

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        return torch.cat([self.prefix[0], key_states], dim=-2), torch.cat([self.prefix[1], value_states], dim=-2)

    def keep(self, rows: Tensor) -> None:
        self.keys, self.values = self.prefix = self.prefix[0][rows], self.prefix[1][rows]


def _frozen(layer: Any) -> _Frozen:
    return _Frozen(layer.keys, layer.values)


class _Tail:
    """The part of the network that depends on delta: tokens from the fact position on, blocks above the layer."""

    start: Tensor
    """States (B, S, d) after the layer, before any change; column 0 is the fact position."""

    @torch.no_grad()
    def __init__(self, model: CausalModel, rows: Sequence[Row], layer: int) -> None:
        """One pass that keeps the prefix cache, the states after `layer`, and how each later block was called."""
        self.blocks = model.blocks[layer + 1 :]
        self.norm = model.model.get_submodule(model.layout.final_norm)
        self.calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = []
        self.layout = model.layout
        batch = padded(rows, model.pad_id, model.device)
        self.real = batch.mask[:, batch.split :].bool()
        first = torch.tensor([len(row.after) - 1 for row in rows], device=model.device)
        self.read = self.real & (torch.arange(self.real.shape[1], device=model.device) >= first[:, None])
        self._place()
        cache: Cache | None = None
        self.prefix: list[_Frozen] = []
        if batch.split:
            cache = DynamicCache()
            model.hidden(batch.before, batch.mask[:, : batch.split], batch.positions[:, : batch.split], cache)
            self.prefix = [_frozen(entry) for entry in cache.layers]
            cache = Cache(layers=[*self.prefix])

        def record(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            if not args:
                raise TypeError(f"{type(module).__name__} does not take its states as first argument")
            self.calls.append((args[1:], kwargs))

        def keep(states: Tensor) -> Tensor:
            self.start = states
            return states

        hooks = [block.register_forward_pre_hook(record, with_kwargs=True) for block in self.blocks]
        try:
            with map_output(model.blocks[layer], keep):
                model.hidden(batch.after, batch.mask, batch.positions[:, batch.split :], cache)
        finally:
            for hook in hooks:
                hook.remove()

    def run(self, delta: Tensor) -> Tensor:
        """States (B, S, d) ready for the head, with delta (B, d) added at the fact positions."""
        moved = self.start[:, :1] + delta.to(self.start.dtype)[:, None]
        states = torch.cat([moved, self.start[:, 1:]], dim=1)
        for block, (args, kwargs), places in zip(self.blocks, self.calls, self.places, strict=True):
            with mlp_only_at(block, self.layout, places):
                output = block(states, *args, **kwargs)
            states = output[0] if isinstance(output, tuple) else output
        normed: Tensor = self.norm(states)
        return normed

    def _place(self) -> None:
        """The flat positions at which each block's MLP runs."""
        real, read = (mask.flatten().nonzero().flatten() for mask in (self.real, self.read))
        self.places = [real] * (len(self.blocks) - 1) + [read] * bool(self.blocks)

    def keep(self, rows: Tensor) -> None:
        """Go on with these rows alone; nothing is computed anew."""
        whole = self.start.shape[:2]

        def select(value: Any) -> Any:
            if isinstance(value, tuple):
                return tuple(map(select, value))
            split = isinstance(value, Tensor) and (value.shape == whole or (value.dim() > 2 and len(value) == whole[0]))
            return value[rows] if split else value

        self.calls = [
            (select(args), {name: select(value) for name, value in kwargs.items()}) for args, kwargs in self.calls
        ]
        self.start, self.real, self.read = self.start[rows], self.real[rows], self.read[rows]
        self._place()
        for entry in self.prefix:
            entry.keep(rows)
