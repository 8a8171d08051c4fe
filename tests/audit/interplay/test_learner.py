"""Constraints by hand and against their definitions; what a training asks, pays and sees."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Generator, Tensor

from upright.audit.interplay.config import Constraint
from upright.audit.interplay.learner import Classifier, Levers, Task, parity_pull, queries_for, reweighing
from upright.training.private import Plan
from upright.training.private.accounting import Mechanism, epsilon


def test_weights_by_hand_make_base_rates_equal() -> None:
    """A: 50 of 100 favourable, B: 40 of 100. P(y=1) = .45, so w(A,1) = .5 · .45 / .25 = .9, w(B,1) = .225 / .2 = 1.125,
    w(A,0) = .275 / .25 = 1.1, w(B,0) = .275 / .3 = .916667. Both weighted base rates are then .45."""
    counts = torch.tensor([[50.0, 50.0], [60.0, 40.0]])
    weights = reweighing(counts)
    torch.testing.assert_close(weights, torch.tensor([[1.1, 0.9], [0.9166667, 1.125]]))
    weighted = weights * counts
    torch.testing.assert_close(weighted[:, 1] / weighted.sum(1), torch.tensor([0.45, 0.45]))


def test_noise_below_zero_gives_bounded_weights() -> None:
    weights = reweighing(torch.tensor([[-40.0, 900.0], [800.0, 1.5]]))
    assert bool(((weights > 0) & (weights <= 10)).all())


def test_the_pull_is_the_gradient_of_the_penalty() -> None:
    """Σ_g π_g (m_g - m)² differentiated by autograd equals (1/n) Σ_i pull(g_i) ∇p_i, in float64."""
    torch.manual_seed(0)
    z = torch.randn(40, dtype=torch.float64, requires_grad=True)
    group = torch.randint(0, 3, (40,))
    p = torch.sigmoid(z)
    counts = torch.bincount(group, minlength=3).double()
    sums = torch.zeros(3, dtype=torch.float64).index_add(0, group, p)
    penalty = 7.0 * (counts / 40 * (sums / counts - p.mean()) ** 2).sum()
    (wanted,) = torch.autograd.grad(penalty, z, retain_graph=True)
    pull = parity_pull(sums.detach(), counts, 7.0)
    (found,) = torch.autograd.grad((pull[group] * p).mean(), z)
    torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-14)


def test_loss_by_hand() -> None:
    """Logit 0: cross-entropy ln 2, score ½. Weight 3, pull −2: 3 ln 2 − 1."""
    levers = Levers(torch.tensor([[1.0, 3.0]]), torch.tensor([-2.0]))
    found = levers.loss(lambda x: x[:, 0], (torch.zeros(1, 1), torch.ones(1), torch.zeros(1, dtype=torch.long)))
    assert found.tolist() == [pytest.approx(3 * math.log(2) - 1)]


# --- training --------------------------------------------------------------------------------------------------


def task(constraint: Constraint, plan: Callable[..., Plan], strength: float = 30.0, n: int = 600) -> Task:
    """The favourable outcome follows x₀ and favours group 1, of which x₁ tells."""
    generator = Generator().manual_seed(3)
    group = torch.randint(0, 2, (n,), generator=generator)
    x = torch.randn(n, 4, generator=generator)
    x[:, 1] = group + 0.3 * x[:, 1]
    y = (x[:, 0] + 1.2 * group + 0.5 * torch.randn(n, generator=generator) > 0.7).float()
    queries = queries_for(constraint, 5, 0.0)
    return Task(x, y, group, 2, constraint, plan(queries), 8, 0.05, 5, strength)


def open_plan(queries: tuple[object, ...]) -> Plan:
    return Plan.for_epsilon(math.inf, records=600, batch=100, steps=80, delta=1e-5, queries=queries)  # type: ignore[arg-type]


def chance() -> tuple[Generator, Generator]:
    return Generator().manual_seed(1), Generator().manual_seed(2)


def selection_gap(task: Task, model: Classifier) -> float:
    with torch.no_grad():
        said = (model(task.x) > 0).float()
    return float(said[task.group == 1].mean() - said[task.group == 0].mean())


def test_constraints_narrow_the_selection_gap_and_the_plain_model_learns() -> None:
    """Four in five plain decisions are right, at a gap that parity at least halves and reweighing cuts by a tenth."""
    gaps = {}
    for constraint in ("none", "reweighing", "parity"):
        job = task(constraint, open_plan)
        course = job.train(*chance())
        gaps[constraint] = selection_gap(job, course.model)
        assert course.training.epsilon == math.inf
        if constraint == "none":
            with torch.no_grad():
                right = ((course.model(job.x) > 0).float() == job.y).float().mean()
            assert float(right) > 0.8
    assert gaps["parity"] < 0.5 * gaps["none"]
    assert gaps["reweighing"] < 0.9 * gaps["none"]


def test_without_strength_parity_is_the_plain_model() -> None:
    plain = task("none", open_plan).train(*chance()).model
    same = task("parity", open_plan, strength=0.0).train(*chance()).model
    for p, q in zip(plain.parameters(), same.parameters(), strict=True):
        assert torch.equal(p, q)


def test_what_a_constraint_asks_is_paid_for() -> None:
    """Parity over 5 rounds: counts once and mean scores 4 times, with noise 20, beside 10 steps with noise 2."""

    def plan(_: object) -> Plan:
        return Plan(600, 60, 10, 1.0, 2.0, 1e-5, queries_for("parity", 5, 20.0))

    course = task("parity", plan).train(*chance())
    certificate = course.training.certificate()
    assert certificate.queries == {"counts": 1, "scores": 4}
    assert certificate.epsilon == epsilon(Mechanism(0.1, 2.0, 10, ((20.0, 1), (20.0, 4))), 1e-5)


def naive_norm(model: Classifier, levers: Levers, record: tuple[Tensor, Tensor, Tensor]) -> tuple[float, list[Tensor]]:
    gradients = torch.autograd.grad(levers.loss(model, record).sum(), list(model.parameters()))
    return math.sqrt(sum(float((g**2).sum()) for g in gradients)), list(gradients)


def test_tension_is_that_of_one_record_at_a_time() -> None:
    job = task("none", open_plan, n=40)
    model, levers = Classifier(4, 8, Generator().manual_seed(0)), Levers.neutral(2)
    seen = job.tension(model, levers.loss, 0.3)
    gaps = [[torch.zeros_like(p) for p in model.parameters()] for _ in range(2)]
    for i in range(40):
        norm, gradients = naive_norm(model, levers, (job.x[i : i + 1], job.y[i : i + 1], job.group[i : i + 1]))
        assert float(seen.norms[i]) == pytest.approx(norm, rel=1e-5)
        for total, gradient in zip(gaps[int(job.group[i])], gradients, strict=True):
            total += gradient * (min(1.0, 0.3 / norm) - 1)
    for g in range(2):
        wanted = math.sqrt(sum(float((t**2).sum()) for t in gaps[g])) / float((job.group == g).sum())
        assert float(seen.bias[g]) == pytest.approx(wanted, rel=1e-4)
