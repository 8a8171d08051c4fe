"""The whole step: sampling, clipping, noise, division and counting, each of which a wrong engine gets wrong."""

import io
import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import pairwise

import pytest
import torch
from scipy.stats import binom, chisquare, kstest
from torch import Tensor, nn
from torch.nn.functional import mse_loss
from torch.optim import SGD, Adam

from upright.errors import UserError
from upright.training.private import Plan, PrivateTraining, Query, Randomness, Secure, Seeded, Tensors
from upright.training.private.accounting import Mechanism, epsilon
from upright.training.private.gradients import Batch

PLAN = Plan(records=50, batch=10, steps=20, clip=0.5, noise=1.5, delta=1e-5)


def loss(model: object, batch: Batch) -> Tensor:
    x, y = batch
    return mse_loss(model(x), y, reduction="none").sum(1)  # type: ignore[operator]


def seeded(seed: int = 0) -> Seeded:
    return Seeded(torch.Generator().manual_seed(seed))


def data(n: int = 50, d: int = 3) -> Tensors:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(n, d, generator=generator)
    return Tensors(x, x.sum(1, keepdim=True))


def layer(d: int = 3) -> nn.Linear:
    torch.manual_seed(2)
    return nn.Linear(d, 1)


def training(
    plan: Plan = PLAN, model: nn.Module | None = None, randomness: Randomness | None = None, lr: float = 1.0, d: int = 3
) -> PrivateTraining:
    return PrivateTraining(plan, model or layer(d), loss, data(d=d), partial(SGD, lr=lr), randomness or seeded())


class Fixed(Seeded):
    """Draws the batches it is told, and keeps the noise."""

    def __init__(self, *batches: list[int]) -> None:
        super().__init__(torch.Generator().manual_seed(0))
        self._batches = list(batches)

    def chosen(self, n: int, rate: float) -> Tensor:
        return torch.tensor(self._batches.pop(0), dtype=torch.long)


# --- one step ---


def test_without_noise_and_clip_a_step_is_plain_sgd_over_the_expected_batch() -> None:
    """The gradient is Σ g_i / 10 although the batch has 3 records: the random size must not be divided by."""
    plan = replace(PLAN, clip=math.inf, noise=0.0)
    model, chosen = layer(), [4, 7, 30]
    wanted = torch.autograd.grad(
        loss(model, next(iter(data().parts(torch.tensor(chosen))))).sum() / 10, list(model.parameters())
    )
    before = [p.detach().clone() for p in model.parameters()]
    training(plan, model, Fixed(chosen)).step()
    for p, old, g in zip(model.parameters(), before, wanted, strict=True):
        torch.testing.assert_close(p.detach(), old - g, rtol=1e-5, atol=1e-6)


def test_an_empty_batch_moves_the_weights_by_noise_alone_and_counts() -> None:
    """noise · C / B = 1.5 · 0.5 / 10 = 0.075 for each coordinate: Kolmogorov–Smirnov over 4001 of them."""
    model = layer(4000)
    before = torch.cat([p.detach().flatten().clone() for p in model.parameters()])
    engine = training(model=model, randomness=Fixed([]), d=4000)
    engine.step()
    moved = torch.cat([p.detach().flatten() for p in model.parameters()]) - before
    assert kstest(moved.numpy() / 0.075, "norm").pvalue > 0.01
    assert engine.steps_taken == 1
    assert engine.epsilon > 0


@pytest.mark.parametrize("make", [seeded, Secure])
def test_noise_has_the_planned_scale(make: Callable[[], Randomness]) -> None:
    """Variance of n normals: within 4.5 standard errors √(2/n) of 1; and neighbours are uncorrelated."""
    drawn = make().normal(torch.empty(2**18, dtype=torch.float64))
    n = drawn.numel()
    assert float(drawn.var()) == pytest.approx(1, abs=4.5 * math.sqrt(2 / n))
    assert float(drawn.mean()) == pytest.approx(0, abs=4.5 / math.sqrt(n))
    assert float((drawn[1:] * drawn[:-1]).mean()) == pytest.approx(0, abs=4.5 / math.sqrt(n))
    assert kstest(drawn.numpy(), "norm").pvalue > 1e-4


@pytest.mark.parametrize("make", [seeded, Secure])
def test_batches_are_poisson_samples(make: Callable[[], Randomness]) -> None:
    """Each record is in Binomial(T, q) batches of Binomial(n, q) records; a shuffled sampler has neither."""
    source, n, rate, times = make(), 200, 0.1, 2000
    taken, sizes = torch.zeros(n, dtype=torch.long), []
    for _ in range(times):
        chosen = source.chosen(n, rate)
        assert len(chosen.unique()) == len(chosen)
        taken[chosen] += 1
        sizes.append(len(chosen))
    spread = ((taken - times * rate) ** 2 / (times * rate * (1 - rate))).sum()
    assert n - 4.5 * math.sqrt(2 * n) < float(spread) < n + 4.5 * math.sqrt(2 * n)
    edges = [-1, 15, 18, 20, 22, 25, n]
    wanted = [times * (binom.cdf(high, n, rate) - binom.cdf(low, n, rate)) for low, high in pairwise(edges)]
    found = torch.histogram(torch.tensor(sizes).double(), torch.tensor(edges).double() + 0.5).hist
    assert chisquare(found.numpy(), wanted).pvalue > 1e-4


def test_the_sample_rate_is_the_plans() -> None:
    rates: list[float] = []

    class Spy(Seeded):
        def chosen(self, n: int, rate: float) -> Tensor:
            rates.append(rate)
            return super().chosen(n, rate)

    training(randomness=Spy(torch.Generator().manual_seed(0))).run()
    assert rates == [10 / 50] * 20


# --- what it cost ---


def test_only_steps_that_were_taken_are_counted() -> None:
    engine = training()
    assert engine.epsilon == 0.0
    engine.run(until=7)
    assert engine.epsilon == epsilon(Mechanism(0.2, 1.5, 7), 1e-5)
    engine.run()
    certificate = engine.certificate()
    assert (certificate.steps, certificate.epsilon) == (20, epsilon(Mechanism(0.2, 1.5, 20), 1e-5))
    assert certificate.epsilon <= certificate.epsilon_renyi
    assert not certificate.secret
    with pytest.raises(UserError, match="20 steps were planned and paid for"):
        engine.step()


def test_a_step_that_fails_is_counted_all_the_same() -> None:
    class Broken(Seeded):
        def normal(self, like: Tensor) -> Tensor:
            raise KeyboardInterrupt

    engine = training(randomness=Broken(torch.Generator().manual_seed(0)))
    with pytest.raises(KeyboardInterrupt):
        engine.step()
    assert engine.steps_taken == 1


def test_the_control_without_privacy_says_so() -> None:
    plan = Plan.for_epsilon(math.inf, records=50, batch=10, steps=3, delta=1e-5, queries=[Query("counts", 4.0)])
    assert (plan.noise, plan.clip, plan.epsilon) == (0.0, math.inf, math.inf)
    engine = training(plan)
    engine.run()
    assert engine.epsilon == math.inf


def test_a_budget_is_kept_with_its_queries() -> None:
    plan = Plan.for_epsilon(2.0, records=50, batch=10, steps=20, delta=1e-5, queries=[Query("counts", 20.0, times=2)])
    assert 1.96 <= plan.epsilon <= 2.0
    assert plan.noise > Plan.for_epsilon(2.0, records=50, batch=10, steps=20, delta=1e-5).noise


# --- queries ---


def test_a_query_is_a_noisy_sum_of_bounded_contributions() -> None:
    """Rows of norm 5 are scaled to the sensitivity 2: (3,4) counts (1.2, 1.6); 50 such rows sum to (60, 80)."""
    plan = replace(PLAN, queries=(Query("sum", 0.0, times=2, sensitivity=2.0), Query("noisy", 3.0, sensitivity=2.0)))
    engine = training(plan)
    rows = torch.tensor([[3.0, 4.0]]).double().repeat(50, 1)
    torch.testing.assert_close(engine.ask("sum", rows), torch.tensor([60.0, 80.0]).double())
    rows[0] = math.nan
    torch.testing.assert_close(engine.ask("sum", rows), torch.tensor([58.8, 78.4]).double())
    noise = (engine.ask("noisy", torch.zeros(50, 2**14).double()) / (3.0 * 2.0)).numpy()
    assert kstest(noise, "norm").pvalue > 1e-3


def test_a_query_takes_sparse_contributions_and_rounds_once() -> None:
    """A unit in one cell of 10^6: the same sum as dense ones, in the type in which they were given."""
    plan = replace(PLAN, queries=(Query("sum", 0.0, times=2), Query("noisy", 2.0)))
    engine = training(plan)
    places = torch.stack([torch.arange(50), torch.arange(50) % 7])
    rows = torch.sparse_coo_tensor(places, torch.full((50,), 3.0), (50, 10**6), check_invariants=True)
    found = engine.ask("sum", rows)
    assert found.dtype == torch.float32
    assert found[:8].tolist() == [8.0] + [7.0] * 6 + [0.0]  # each is scaled down to 1
    torch.testing.assert_close(engine.ask("sum", rows.to_dense()[:, :8]), found[:8])
    assert float(engine.ask("noisy", rows)[7:].std()) == pytest.approx(2.0, rel=0.01)


def test_a_query_costs_and_cannot_be_asked_more_often_than_planned() -> None:
    engine = training(replace(PLAN, queries=(Query("counts", 6.0),)))
    engine.ask("counts", torch.ones(50, 1))
    assert engine.epsilon == epsilon(Mechanism(0.2, 1.5, 0, ((6.0, 1),)), 1e-5)
    with pytest.raises(UserError, match="'counts': planned 1 times"):
        engine.ask("counts", torch.ones(50, 1))
    with pytest.raises(UserError, match="'sums': planned 0 times"):
        engine.ask("sums", torch.ones(50, 1))
    assert engine.certificate().queries["counts"] == 1


# --- resume ---


def test_a_resumed_training_equals_an_unbroken_one_and_counts_every_step_once() -> None:
    whole, first, second = layer(), layer(), layer()
    plan = replace(PLAN, queries=(Query("counts", 6.0, times=2),))

    def engine(model: nn.Module, seed: int) -> PrivateTraining:
        return PrivateTraining(plan, model, loss, data(), partial(Adam, lr=0.1), seeded(seed))

    unbroken, killed = engine(whole, 0), engine(first, 0)
    for one in (unbroken, killed):
        one.run(until=8)
        one.ask("counts", torch.ones(50, 1))
    unbroken.run()
    stored = io.BytesIO()
    torch.save(killed.state_dict(), stored)
    killed.run(until=11)  # lost with the process
    stored.seek(0)
    resumed = engine(second, 99)
    resumed.load_state_dict(torch.load(stored, weights_only=True))
    assert resumed.steps_taken == 8
    resumed.run()
    assert resumed.steps_taken == 20
    assert resumed.certificate() == unbroken.certificate()
    assert resumed.certificate().queries == {"counts": 1}
    for p, q in zip(whole.parameters(), second.parameters(), strict=True):
        assert torch.equal(p, q)


def test_states_of_other_plans_or_of_the_past_are_refused() -> None:
    state = training().state_dict()
    with pytest.raises(ValueError, match="state of the plan"):
        training(replace(PLAN, noise=1.0)).load_state_dict(state)
    ahead = training()
    ahead.step()
    with pytest.raises(ValueError, match="cannot be untaken"):
        ahead.load_state_dict(state)
    with pytest.raises(ValueError, match="must come from a run with cryptographic noise"):
        training(randomness=Secure()).load_state_dict(state)
    with pytest.raises(ValueError, match="must come from a seeded run"):
        training().load_state_dict(training(randomness=Secure()).state_dict())


# --- what cannot be written ---


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"delta": 0.02}, r"delta=0\.02; must be in \(0, 1/50\)"),
        ({"batch": 51}, r"batch=51; must be > 0 and at most the 50 records"),
        ({"clip": math.inf}, "clip=inf; must be finite when noise is added"),
        ({"clip": 0.0}, r"clip=0\.0; must be > 0"),
        ({"noise": -1.0}, r"noise=-1\.0; must be >= 0"),
        ({"queries": (Query("a", 1.0), Query("a", 2.0))}, "of unlike names"),
    ],
)
def test_plans_that_protect_nobody_are_refused(changes: dict[str, float], message: str) -> None:
    with pytest.raises(UserError, match=message):
        replace(PLAN, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("target", [0.0, -1.0, math.nan])
def test_a_budget_of_nothing_is_refused(target: float) -> None:
    with pytest.raises(UserError, match=r"epsilon=.*must be > 0"):
        Plan.for_epsilon(target, records=50, batch=10, steps=5, delta=1e-5)


class Sneaky(nn.Module):
    """Uses a layer's weight behind the layer's back: the norm of that part would be missed."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) + x @ self.layer.weight.T  # type: ignore[no-any-return]


class Centred(nn.Module):
    """Takes the batch's mean off: records mix without any layer that says so."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x - x.mean(0))  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("model", "message"),
    [(Sneaky(), "layer.weight: its gradient is not that of its layers alone"), (Centred(), "depend on that record")],
)
def test_models_that_would_void_the_guarantee_are_refused_at_the_first_step(model: nn.Module, message: str) -> None:
    before = [p.detach().clone() for p in model.parameters()]
    with pytest.raises(UserError, match=message):
        training(model=model).step()
    for p, old in zip(model.parameters(), before, strict=True):
        assert torch.equal(p.detach(), old)


def test_private_training_learns() -> None:
    """y = x₁ + x₂ + x₃ from 2000 records at ε = 8: the loss falls to less than a tenth of that of the zero function."""
    generator = torch.Generator().manual_seed(4)
    x = torch.randn(2000, 3, generator=generator)
    y = x.sum(1, keepdim=True)
    plan = Plan.for_epsilon(8.0, records=2000, batch=200, steps=100, delta=1e-5)
    model = layer()
    PrivateTraining(plan, model, loss, Tensors(x, y), partial(SGD, lr=0.2), seeded()).run()
    assert float(loss(model, (x, y)).detach().mean()) < 0.1 * float(y.square().mean())


class TimeFirst(nn.Module):
    """Reads records (B, T, 3) with time in front, as many recurrent models do."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.outer = nn.Linear(3, 4), nn.Linear(4, 1)

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.outer(torch.tanh(self.inner(x.transpose(0, 1)))).mean(0)
        return output


def test_norms_of_other_things_than_records_are_refused() -> None:
    """With time in front the sums are right and the losses are each record's own, but the norms belong to no record.

    One record alone cannot show it, so it is looked for again in the second batch.
    """
    x = torch.randn(50, 5, 3, generator=torch.Generator().manual_seed(1))
    records, chance = Tensors(x, x.mean((1, 2))[:, None]), Fixed([0], list(range(10)))
    engine = PrivateTraining(PLAN, TimeFirst(), loss, records, partial(SGD, lr=0.1), chance)
    engine.step()
    with pytest.raises(UserError, match="layers must get records first"):
        engine.step()


def test_records_that_mix_are_found_though_the_first_batch_holds_one() -> None:
    def mixing(model: Callable[..., Tensor], batch: Batch) -> Tensor:
        x, y = batch
        return mse_loss(model(x - x.mean(0)), y, reduction="none").sum(1)

    engine = PrivateTraining(PLAN, layer(), mixing, data(), partial(SGD, lr=0.1), Fixed([0], [1, 2, 3]))
    engine.step()
    with pytest.raises(UserError, match="changes with the others of its batch"):
        engine.step()
