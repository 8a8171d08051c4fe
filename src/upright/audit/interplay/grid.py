"""The experiment: models over privacy levels and constraints, each trained once and stored."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import product
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from upright.audit.interplay.config import Config, Constraint
from upright.audit.interplay.learner import Course, Task, queries_for
from upright.audit.interplay.probe import probe, shuffled
from upright.audit.interplay.table import Problem
from upright.errors import UserError
from upright.run.folder import RunFolder
from upright.run.progress import progress
from upright.training.private import Plan, query_noise_for

PROBES = ("representation", "score", "decision")
INPUTS, SHUFFLED = "inputs", "shuffled"

Bools = NDArray[np.bool_]
Outputs = dict[str, Tensor]


class Cell(NamedTuple):
    """One privacy level under one constraint."""

    epsilon: float
    constraint: Constraint

    @property
    def name(self) -> str:
        """For a person: "ε 4, parity"."""
        return f"ε {budget_name(self.epsilon)}, {self.constraint}"

    @property
    def private(self) -> bool:
        """Whether there is a budget."""
        return self.epsilon < math.inf


def budget_name(epsilon: float) -> str:
    """∞ or the number."""
    return "∞" if math.isinf(epsilon) else f"{epsilon:g}"


@dataclass(frozen=True)
class Grid:
    """All that was observed: for each cell the outputs of its K models, of which the first S are audited."""

    cells: Mapping[Cell, list[Outputs]]
    masks: Bools
    """(K, N) which records each model was trained on; the same in all cells, so that cells can be compared."""
    inputs: list[Tensor]
    """(S,) of outcomes (N,) of a probe that reads the features themselves."""
    plans: Mapping[Cell, Plan]
    seeds: int

    def stacked(self, cell: Cell, key: str) -> NDArray[np.float64]:
        """One output of all models of a cell that have it (K or S, ...)."""
        found = [outputs[key] for outputs in self.cells[cell] if key in outputs]
        array: NDArray[np.float64] = torch.stack(found).double().numpy()
        return array

    @cached_property
    def tested(self) -> Bools:
        """(N, S) records that an audited model was not trained on."""
        outside: Bools = ~self.masks[: self.seeds].T
        return outside


def cells_of(config: Config) -> list[Cell]:
    """The cells in order, the control first."""
    return [Cell(epsilon, constraint) for constraint, epsilon in product(config.constraints, config.epsilons)]


def plans_of(config: Config, problem: Problem) -> dict[Cell, Plan]:
    """What each cell may do to its records. Raises UserError for a δ or a budget that protects nobody."""
    n = problem.members(config.equal_sizes)
    delta = config.training.delta or 1 / (n * math.log(max(n, 3)))
    if delta >= 1 / n:
        raise UserError(
            f"--training.delta {delta:g}: must be below 1/{n}, as each model is trained on {n} records; "
            "lower it or give more records"
        )
    return {cell: _plan(config, cell, n, delta) for cell in cells_of(config)}


def _plan(config: Config, cell: Cell, n: int, delta: float) -> Plan:
    training, fair = config.training, config.fair
    asked = sum(query.times for query in queries_for(cell.constraint, fair.rounds, 0.0))
    noise = query_noise_for(fair.share * cell.epsilon, delta, asked) if asked and cell.private else 0.0
    return Plan.for_epsilon(
        cell.epsilon,
        records=n,
        batch=min(training.batch, n / 2),
        steps=training.steps,
        delta=delta,
        clip=training.clip,
        queries=queries_for(cell.constraint, fair.rounds, noise),
    )


def run_grid(config: Config, folder: RunFolder, problem: Problem, plans: Mapping[Cell, Plan]) -> Grid:
    """Train every model of every cell; what a killed run had finished is read back."""
    count = config.seeds + config.references
    masks = np.stack([_mask(config, folder, problem, k) for k in range(count)])
    found: dict[Cell, list[Outputs]] = {cell: [] for cell in plans}
    with progress("models", total=len(plans) * count) as bar:
        for cell, k in product(plans, range(count)):
            task = _task(config, problem, masks[k], plans[cell], cell.constraint)
            work = partial(_observe, config, folder, problem, task, k)
            found[cell].append(folder.step(_step(cell, k), work))
            bar.advance()
    inputs = [
        folder.step(f"inputs-{k}", partial(_inputs, folder, problem, masks[k], k))["hits"] for k in range(config.seeds)
    ]
    return Grid(found, masks, inputs, plans, config.seeds)


def _step(cell: Cell, k: int) -> str:
    return f"model-eps-{cell.epsilon:g}-{cell.constraint}-{k}".replace(".", "_").replace("+", "")


def _mask(config: Config, folder: RunFolder, problem: Problem, k: int) -> Bools:
    return problem.draw_members(config.equal_sizes, _rng(folder, f"mask {k}"))


def _task(config: Config, problem: Problem, mask: Bools, plan: Plan, constraint: Constraint) -> Task:
    own, device = torch.from_numpy(mask), _device(config)
    return Task(
        x=problem.x[own].to(device),
        y=problem.y[own].to(device),
        group=problem.group[own].to(device),
        groups=len(problem.names),
        constraint=constraint,
        plan=plan,
        hidden=config.training.hidden,
        learning_rate=config.training.learning_rate,
        rounds=config.fair.rounds,
        strength=config.fair.strength,
        rows=config.speed.batch_rows,
    )


def _device(config: Config) -> str:
    """Models this small are fastest on the CPU; another device is used when it is asked for."""
    if config.speed.device == "auto":
        return "cpu"
    from upright.models.causal import resolve_device  # brings transformers, which nothing else here needs

    return str(resolve_device(config.speed.device))


def _observe(config: Config, folder: RunFolder, problem: Problem, task: Task, k: int) -> Outputs:
    """Train model `k` and keep what the measures need; start and chance are the same in all cells."""
    audited = k < config.seeds
    course = task.train(
        folder.generator(f"start {k}"), folder.generator(f"chance {k}"), config.training.clip if audited else None
    )
    model, device = course.model, task.x.device
    with torch.no_grad():
        representation = model.represent(problem.x.to(device)).cpu()
        logits = model(problem.x.to(device)).cpu()
        public = model(problem.public_x.to(device)).cpu()
    found = {"logits": logits, "public": public, "epsilon": torch.tensor([course.training.epsilon]).double()}
    if not audited:
        return found
    mask = _mask(config, folder, problem, k)
    return (
        found | _tension(course, config.training.clip, mask) | _probes(folder, problem, representation, logits, mask, k)
    )


def _tension(course: Course, clip: float, mask: Bools) -> Outputs:
    """Means over the looks at clipping: norm, share clipped and coefficient of each record (N,), bias by group (G,)."""
    norms = torch.stack([look.norms for look in course.tension])
    found = {"norm": norms.mean(0), "clipped": (norms > clip).float().mean(0)}
    found["coefficient"] = (clip / norms.clamp_min(1e-12)).clamp_max(1.0).mean(0)
    spread = {key: torch.full((len(mask),), torch.nan) for key in found}
    for key, values in found.items():
        spread[key][torch.from_numpy(mask)] = values
    return spread | {"bias": torch.stack([look.bias for look in course.tension]).mean(0)}


def _probes(
    folder: RunFolder, problem: Problem, representation: Tensor, logits: Tensor, mask: Bools, k: int
) -> Outputs:
    outside = torch.from_numpy(np.flatnonzero(~mask))
    views = {"representation": representation, "score": logits, "decision": (logits > 0).float()}
    found = {
        f"probe-{name}": probe(view, problem.group, outside, _rng(folder, f"probe {k}")) for name, view in views.items()
    }
    return found | {SHUFFLED: shuffled(representation, problem.group, outside, _rng(folder, f"probe {k}"))}


def _inputs(folder: RunFolder, problem: Problem, mask: Bools, k: int) -> Outputs:
    outside = torch.from_numpy(np.flatnonzero(~mask))
    return {"hits": probe(problem.x, problem.group, outside, _rng(folder, f"probe {k}"))}


def _rng(folder: RunFolder, name: str) -> np.random.Generator:
    return np.random.default_rng(folder.seed_for(name))
