"""DP-SGD as one object: who has it cannot sample, clip, add noise or count in any other way than planned.

    plan = Plan.for_epsilon(4.0, records=len(x), batch=256, steps=500, delta=1e-6)
    training = PrivateTraining(plan, model, loss, Tensors(x, y), partial(Adam, lr=1e-2), Secure())
    training.run()
    training.certificate()       # ε of the steps that were taken, never of those that were planned

Neither `step` nor `run` says anything of the records: a loss, a clipping rate or the size of a batch would be an
output that no noise covers.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from upright.errors import UserError
from upright.training.private.accounting import Mechanism, epsilon
from upright.training.private.gradients import Batch, Loss, coefficients, per_record, trainable
from upright.training.private.noise import Randomness, Secure, normals
from upright.training.private.plan import Plan, Query

NEAR, ROUNDINGS = 1e-3, 8
"""How far two ways to one gradient may be apart: a share of it, or so many roundings of the forward pass's type."""


class Records(Protocol):
    """Data of which a record is the unit that is protected."""

    def __len__(self) -> int: ...

    def parts(self, indices: Tensor) -> Iterable[Batch]:
        """The records at `indices` (B,), each once, in parts of any size and order.

        A part is what is computed at once: tensors whose first dimension is its records.
        """


class Tensors:
    """Records that lie in memory as tensors of a common first dimension; `rows` of them make a part."""

    def __init__(self, *fields: Tensor, rows: int = 4096) -> None:
        sizes = sorted({len(field) for field in fields})
        if len(sizes) != 1 or not sizes[0]:
            raise ValueError(f"got tensors of {sizes} records; must be as many in each, and at least one")
        self._fields, self._rows = fields, rows

    def __len__(self) -> int:
        return len(self._fields[0])

    def parts(self, indices: Tensor) -> Iterator[Batch]:
        for some in indices.split(self._rows):
            yield tuple(field[some.to(field.device)] for field in self._fields)


@dataclass(frozen=True)
class Certificate:
    """What was earned: (ε, δ) for the steps and queries that were carried out, add-or-remove-one record."""

    epsilon: float
    epsilon_renyi: float
    delta: float
    steps: int
    planned_steps: int
    sample_rate: float
    noise: float
    clip: float
    queries: dict[str, int]
    secret: bool
    """Whether chance came from a cryptographic generator, without which the guarantee rests on a secret seed."""


class PrivateTraining:
    """Trains a model with differential privacy.

    Guarantee: the parameters after any number of steps, together with all answers of `ask`, are
    (`certificate().epsilon`, `plan.delta`)-private for adding or removing one record, if the model before the first
    step, the plan and the loss do not depend on the records, and if nobody else changes the parameters.

    Args:
        loss: losses (B,) of a batch, each of its own record alone; see `gradients.Loss`.
        optimiser: makes the optimiser from the parameters; all it does with the noisy gradient is free.
    """

    def __init__(
        self,
        plan: Plan,
        model: nn.Module,
        loss: Loss,
        records: Records,
        optimiser: Callable[[Iterable[nn.Parameter]], Optimizer],
        randomness: Randomness,
    ) -> None:
        self.plan = plan
        self._model, self._loss, self._records = model, loss, records
        self._gradients = per_record(model, loss)
        self._parameters = list(trainable(model).values())
        self._optimiser = optimiser(self._parameters)
        self._randomness = randomness
        self._steps = 0
        self._asked: Counter[str] = Counter()
        self._checked = False

    @property
    def steps_taken(self) -> int:
        """Updates so far, also those before a resume."""
        return self._steps

    def run(self, until: int | None = None) -> None:
        """Take the steps that are left, or those up to `until`."""
        while self._steps < (self.plan.steps if until is None else until):
            self.step()

    def step(self) -> None:
        """One update from a batch drawn here: Σ c_i g_i plus noise · C, over the *expected* size of a batch.

        An empty batch is a step like any other: it moves the weights by noise, and it counts.

        Raises UserError when the planned steps are used up.
        """
        if self._steps >= self.plan.steps:
            raise UserError(f"{self.plan.steps} steps were planned and paid for; plan more to go on")
        self._steps += 1  # first of all, so that no failure can leave a step uncounted
        chosen = self._randomness.chosen(len(self._records), self.plan.sample_rate)
        for p, total in zip(self._parameters, self._noised(self._clipped_sum(chosen)), strict=True):
            p.grad = total.div_(self.plan.batch).to(p.dtype)
        self._optimiser.step()
        self._optimiser.zero_grad(set_to_none=True)

    def ask(self, name: str, contributions: Tensor) -> Tensor:
        """A noisy sum (k,) of what each record contributes (n, k), for a query of the plan; see `noisy_sum`.

        Raises:
            UserError: for a query that was not planned, or was asked as often as planned.
        """
        if self._asked[name] >= self.plan.allowance.get(name, 0):
            raise UserError(f"query {name!r}: planned {self.plan.allowance.get(name, 0)} times; plan it more often")
        if len(contributions) != len(self._records):
            raise ValueError(f"got {len(contributions)} contributions; must be one for {len(self._records)} records")
        self._asked[name] += 1  # first of all, so that no failure can leave an answer uncounted
        return noisy_sum(contributions, self.plan.query(name), self._randomness)

    @property
    def epsilon(self) -> float:
        """ε earned so far, at the plan's δ: 0 before the first step, infinite without noise."""
        return epsilon(self._mechanism, self.plan.delta, self.plan.accountant)

    def certificate(self) -> Certificate:
        """What was earned, with all it rests on."""
        plan = self.plan
        return Certificate(
            epsilon=self.epsilon,
            epsilon_renyi=epsilon(self._mechanism, plan.delta, "rdp"),
            delta=plan.delta,
            steps=self._steps,
            planned_steps=plan.steps,
            sample_rate=plan.sample_rate,
            noise=plan.noise,
            clip=plan.clip,
            queries=dict(self._asked),
            secret=isinstance(self._randomness, Secure),
        )

    # --- resume ---

    def state_dict(self) -> dict[str, Any]:
        """All that a later process needs to go on: model, optimiser, chance, and what was spent.

        Dropout draws from torch's own generator, which is not kept: such a model goes on, but not bit for bit.
        """
        return {
            "plan": self.plan.as_dict(),
            "model": {name: value.detach().clone() for name, value in self._model.state_dict().items()},
            "optimiser": self._optimiser.state_dict(),
            "randomness": self._randomness.state(),
            "steps": self._steps,
            "asked": dict(self._asked),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where the state was taken.

        Steps that a killed process took after its last state are lost with their outcome. With seeded chance they are
        taken again exactly; with cryptographic chance anew, and the guarantee then asks that nobody saw the lost ones.

        Raises:
            ValueError: for a state of another plan or kind of chance, or older than what this object has spent.
        """
        if state["plan"] != self.plan.as_dict():
            raise ValueError(f"got the state of the plan {state['plan']}; must be that of {self.plan.as_dict()}")
        if state["steps"] < self._steps or any(state["asked"].get(k, 0) < n for k, n in self._asked.items()):
            raise ValueError(f"got a state of {state['steps']} steps; {self._steps} were taken and cannot be untaken")
        self._randomness.restore(state["randomness"])
        self._model.load_state_dict(state["model"])
        self._optimiser.load_state_dict(state["optimiser"])
        self._steps, self._asked = state["steps"], Counter(state["asked"])

    # --- inside ---

    @property
    def _mechanism(self) -> Mechanism:
        return self.plan.mechanism(self._steps, self._asked)

    def _clipped_sum(self, chosen: Tensor) -> list[Tensor]:
        sums: list[Tensor] = []
        for part in self._records.parts(chosen) if len(chosen) else ():
            if not self._checked:
                self._check(part)
            some = self._gradients.clipped(part, self.plan.clip).sums
            sums = [total.add_(more) for total, more in zip(sums, some, strict=True)] if sums else some
        return sums or [
            torch.zeros_like(p, dtype=torch.promote_types(p.dtype, torch.float32)) for p in self._parameters
        ]

    def _noised(self, sums: list[Tensor]) -> list[Tensor]:
        if not self.plan.noise:
            return sums
        drawn = zip(sums, normals(self._randomness, sums), strict=True)
        return [total.add_(noise, alpha=self.plan.noise * self.plan.clip) for total, noise in drawn]

    def _check(self, batch: Batch) -> None:
        """Refuse, before anything is learnt, a model whose records mix or whose gradients are not all seen.

        A part of the gradient that escapes the norm, such as a weight used outside its layer, would void the guarantee
        without a trace; so would norms of other things than records, as of a model that has them in its second
        dimension. Dropout draws anew in every pass, so such a model is checked without it. A batch of one record
        shows nothing of all this, so the next one is checked again. Agreement is up to the rounding of the pass:
        some per cent in bfloat16.
        """
        few, training = tuple(field[:8] for field in batch), self._model.training
        self._model.eval()
        try:
            found = self._gradients.clipped(few, math.inf)
            if not found.norms.isfinite().all():
                return  # such a record counts 0 and cannot be compared; the next batch is checked
            with _types(self._model) as types:
                losses = self._loss(self._model, few)
            if losses.shape != (len(few[0]),):
                raise ValueError(f"the loss gave {tuple(losses.shape)}; must be one number for each of the records")
            wanted = torch.autograd.grad(losses.sum(), self._parameters, allow_unused=True)
            each = [tuple(field[i : i + 1] for field in few) for i in range(len(few[0]))]
            alone = torch.cat([self._loss(self._model, one) for one in each])
            norms = torch.cat([self._gradients.clipped(one, math.inf).norms for one in each])
        finally:
            self._model.train(training)
        near = partial(_near, within=max([NEAR, *(ROUNDINGS * torch.finfo(kind).eps for kind in types)]))
        if not near(alone, losses):
            raise UserError("a record's loss changes with the others of its batch; must depend on that record alone")
        for name, ours, theirs in zip(trainable(self._model), found.sums, wanted, strict=True):
            if not near(ours, torch.zeros_like(ours) if theirs is None else theirs):
                raise UserError(f"{name}: its gradient is not that of its layers alone; must be used by them only")
        if not near(found.norms, norms):
            raise UserError("a record's gradient changes with the others of its batch; layers must get records first")
        self._checked = len(few[0]) > 1


def noisy_sum(contributions: Tensor, query: Query, randomness: Randomness) -> Tensor:
    """Σ min(1, s / ‖v_i‖) v_i (k,) of rows v_i (n, k), dense or sparse COO, with noise on all k sums.

    Rows longer than the query's sensitivity s are so scaled down to it; one that is not finite counts 0. Sum and noise
    are in float64 and rounded together, so that the grid of a shorter type tells nothing of the sum.
    """
    entries = contributions.to_sparse_coo().coalesce()
    (row, column), values = entries.indices(), entries.values().double()
    squares = torch.zeros(len(contributions), dtype=torch.float64, device=values.device)
    scale = coefficients(squares.index_add(0, row, values**2).sqrt(), query.sensitivity)
    clipped = torch.where(scale[row] > 0, values * scale[row], 0.0)
    total = torch.zeros(contributions.shape[1], dtype=torch.float64, device=values.device).index_add(0, column, clipped)
    if query.noise:
        total += query.noise * query.sensitivity * randomness.normal(total)
    return total.to(contributions.dtype)


@contextmanager
def _types(model: nn.Module) -> Iterator[set[torch.dtype]]:
    """The types of the numbers that come out of layers while inside, which autocast may lower."""
    found: set[torch.dtype] = set()

    def note(layer: nn.Module, args: Any, output: Any) -> None:
        if isinstance(output, Tensor) and output.is_floating_point():
            found.add(output.dtype)

    handles = [layer.register_forward_hook(note) for layer in model.modules()]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def _near(found: Tensor, wanted: Tensor, within: float) -> bool:
    """Whether two tensors agree within a share of their norm; what is not finite proves nothing."""
    if not (torch.isfinite(found).all() and torch.isfinite(wanted).all()):
        return True
    return bool((found - wanted).norm() <= within * wanted.norm() + 1e-6)
