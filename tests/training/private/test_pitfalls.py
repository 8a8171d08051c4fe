"""The mistakes that void a guarantee without a sign: each one is made here, or ruled out by hand.

What other files of this folder show is not shown again.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest
import torch
from scipy.integrate import quad
from scipy.stats import kstest, norm
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss
from torch.optim import SGD

from upright.errors import UserError
from upright.training.private import Plan, PrivateTraining, Randomness, Secure, Seeded, Tensors
from upright.training.private import noise as chance
from upright.training.private.accounting import Mechanism, epsilon
from upright.training.private.gradients import Batch, LayerGradients, Loss, per_record

PLAN = Plan(records=50, batch=10, steps=20, clip=0.5, noise=1.5, delta=1e-5)


def squares(model: Callable[..., Tensor], batch: Batch) -> Tensor:
    x, y = batch
    return mse_loss(model(x), y, reduction="none").sum(1)


def table(n: int = 50, seed: int = 1) -> tuple[Tensor, Tensor]:
    x = torch.randn(n, 3, generator=torch.Generator().manual_seed(seed))
    return x, x.sum(1, keepdim=True)


def layer() -> nn.Linear:
    torch.manual_seed(2)
    return nn.Linear(3, 1)


class Drawn(Seeded):
    """Takes the batches it is told, and notes what it was asked for."""

    def __init__(self, *batches: list[int]) -> None:
        super().__init__(torch.Generator().manual_seed(0))
        self._batches = list(batches)
        self.asked: list[tuple[int, float]] = []
        self.kinds: list[torch.dtype] = []

    def chosen(self, n: int, rate: float) -> Tensor:
        self.asked.append((n, rate))
        return torch.tensor(self._batches.pop(0), dtype=torch.long)

    def normal(self, like: Tensor) -> Tensor:
        self.kinds.append(like.dtype)
        return super().normal(like)


def training(
    plan: Plan, model: nn.Module, records: Tensors, randomness: Randomness, loss: Loss = squares
) -> PrivateTraining:
    return PrivateTraining(plan, model, loss, records, partial(SGD, lr=1.0), randomness)


def moved(model: nn.Module, before: list[Tensor]) -> list[Tensor]:
    return [p.detach() - old for p, old in zip(model.parameters(), before, strict=True)]


def weights(model: nn.Module) -> list[Tensor]:
    return [p.detach().clone() for p in model.parameters()]


# --- batches ---


def test_a_large_batch_is_neither_cut_nor_divided_by_its_size() -> None:
    """All 50 records where 10 are expected; cutting to 10, or dividing by 50, would give a fifth of Σ g_i / 10."""
    model, records = layer(), table()
    wanted = torch.autograd.grad(squares(model, records).sum() / 10, list(model.parameters()))
    before = weights(model)
    training(replace(PLAN, clip=math.inf, noise=0.0), model, Tensors(*records), Drawn([*range(50)])).step()
    for step, g in zip(moved(model, before), wanted, strict=True):
        torch.testing.assert_close(step, -g, rtol=1e-5, atol=1e-6)


def test_the_number_of_records_that_are_there_changes_neither_rate_nor_divisor() -> None:
    """70 records where 50 were declared: q stays 10 / 50 and the divisor 10, else the number of records leaks."""
    source, model, records = Drawn([3, 69]), layer(), table(70)
    few = tuple(field[[3, 69]] for field in records)
    wanted = torch.autograd.grad(squares(model, few).sum() / 10, list(model.parameters()))
    before = weights(model)
    training(replace(PLAN, clip=math.inf, noise=0.0), model, Tensors(*records), source).step()
    assert source.asked == [(70, 0.2)]
    for step, g in zip(moved(model, before), wanted, strict=True):
        torch.testing.assert_close(step, -g, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("rows", [1, 3, 100])
def test_a_step_in_parts_gets_its_noise_once(rows: int) -> None:
    """Accumulation: with the same draws, 9 records in one part or in nine lead to the same weights, noise and all."""
    models = []
    for size in (rows, 9):
        source = Drawn([*range(9)])
        models.append(layer())
        training(PLAN, models[-1], Tensors(*table(), rows=size), source).step()
        assert source.kinds == [torch.float32]  # one draw, for both parameters
    for ours, theirs in zip(*map(weights, models), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


def test_a_tiny_clip_bounds_the_whole_step() -> None:
    """‖Σ c_i g_i‖ ≤ C |S|: 50 records of 0.001 over 10 move the weights by 0.005 at most, equal ones just so."""
    model = layer()
    x = torch.ones(50, 3)
    before = weights(model)
    plan = replace(PLAN, clip=1e-3, noise=0.0)
    training(plan, model, Tensors(x, 9 * x[:, :1]), Drawn([*range(50)])).step()
    length = math.sqrt(sum(float(step.square().sum()) for step in moved(model, before)))
    assert length == pytest.approx(0.005, rel=1e-3)


# --- what is not finite, and what nobody touched ---


@pytest.mark.parametrize("bad", [math.nan, math.inf, 1e30])
def test_a_record_that_is_not_finite_neither_stops_the_step_nor_reaches_the_weights(bad: float) -> None:
    """A step that is skipped for a record tells of it; the weights are those without it, and the step counts."""
    x, y = table()
    spoilt = x.clone()
    spoilt[4] = bad
    with_it, without = layer(), layer()
    engine = training(PLAN, with_it, Tensors(spoilt, y), Drawn([1, 4, 7]))
    engine.step()
    training(PLAN, without, Tensors(x, y), Drawn([1, 7])).step()
    assert engine.steps_taken == 1
    for ours, theirs in zip(weights(with_it), weights(without), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_every_row_of_an_embedding_gets_noise() -> None:
    """The rows that get none would be the words of nobody: 4000 x 4 numbers move like normals of 1.5 · 0.5 / 10."""

    def squared(model: Callable[..., Tensor], batch: Batch) -> Tensor:
        return model(batch[0]).square().sum((1, 2))

    torch.manual_seed(0)
    model = nn.Embedding(4000, 4)
    before = weights(model)
    training(PLAN, model, Tensors(torch.zeros(50, 2, dtype=torch.long)), Drawn([0, 1]), squared).step()
    (step,) = moved(model, before)
    assert kstest(step[1:].flatten().numpy() / 0.075, "norm").pvalue > 0.01


def test_gradients_and_noise_of_16_bit_weights_are_summed_in_32() -> None:
    """Eight bits of mantissa would give the noise a grid that the gradient shows through."""
    model, source = layer().bfloat16(), Drawn([])
    records = tuple(field.bfloat16() for field in table())
    assert {total.dtype for total in per_record(model, squares).clipped(records, 0.5).sums} == {torch.float32}
    training(PLAN, model, Tensors(*records), source).step()
    assert source.kinds == [torch.float32]
    assert {p.dtype for p in model.parameters()} == {torch.bfloat16}


# --- records that meet each other ---


def in_batch_negatives(model: Callable[..., Tensor], batch: Batch) -> Tensor:
    """The loss of contrastive learning: every record is told apart from the others of its batch."""
    x, _ = batch
    return cross_entropy(model(x) @ x.T, torch.arange(len(x)), reduction="none")


class Crowded(nn.Module):
    """Routing with a capacity: no more than two records of a batch get the second layer, those that score best."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.expert = nn.Linear(3, 1), nn.Linear(3, 1)

    def forward(self, x: Tensor) -> Tensor:
        first: Tensor = self.first(x)
        admitted = (first >= first.flatten().topk(min(2, len(x))).values.min()).to(x.dtype)
        second: Tensor = self.expert(x)
        return first + admitted * second


@pytest.mark.parametrize(
    ("model", "loss"),
    [(nn.Linear(3, 3), in_batch_negatives), (Crowded(), squares)],
    ids=["negatives from the batch", "capacity"],
)
def test_records_that_compete_are_refused(model: nn.Module, loss: Loss) -> None:
    before = weights(model)
    with pytest.raises(UserError, match="depend on that record alone"):
        training(PLAN, model, Tensors(*table()), Drawn([*range(10)]), loss).step()
    assert not any(step.any() for step in moved(model, before))


def test_activations_computed_twice_are_not_counted_twice() -> None:
    """Checkpointing calls a layer again on the way back; there the numbers must be right or there must be none."""
    from torch.utils.checkpoint import checkpoint

    class Thrifty(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.middle, self.last = nn.Linear(3, 4), nn.Linear(4, 4), nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            hidden = checkpoint(self.middle, torch.tanh(self.first(x)), use_reentrant=False)
            return self.last(torch.tanh(hidden))  # type: ignore[no-any-return]

    torch.manual_seed(0)
    model, x = Thrifty().double(), torch.randn(5, 3, dtype=torch.float64)
    with pytest.raises(torch.utils.checkpoint.CheckpointError):
        per_record(model, lambda m, b: m(b[0]).square().sum(1)).clipped((x,), 0.5)
    assert all(p.requires_grad for p in model.parameters())


def test_a_pass_leaves_no_hook_behind_and_the_next_finds_the_same() -> None:
    """Two hooks on one layer would count its gradient twice; so would one layer or weight under two names."""
    torch.manual_seed(0)
    one, other = nn.Linear(3, 3), nn.Linear(3, 3)
    other.weight = one.weight
    model = nn.Sequential(one, nn.Tanh(), other, nn.Tanh(), one).double()
    x = torch.randn(5, 3, dtype=torch.float64)
    way = per_record(model, lambda m, b: m(b[0]).square().sum(1))
    assert isinstance(way, LayerGradients)
    first, second = way.clipped((x,), 0.5), way.clipped((x,), 0.5)
    assert not any(module._forward_hooks for module in model.modules())
    assert torch.equal(first.norms, second.norms)
    for i in range(5):
        gradients = torch.autograd.grad(model(x[i]).square().sum(), list(model.parameters()))
        assert float(first.norms[i]) == pytest.approx(math.sqrt(sum(float(g.square().sum()) for g in gradients)))
    assert len(first.sums) == 3  # one weight and two biases


# --- what is said beside the weights ---


def test_a_training_says_nothing_of_its_records_but_by_the_weights() -> None:
    """Loss, clipping rate and |S| are outputs without noise: two runs on unlike records and batches say the same."""
    said = []
    for seed, batches in ((1, ([], [3])), (5, ([*range(40)], [8, 9]))):
        engine = training(PLAN, layer(), Tensors(*table(seed=seed)), Drawn(*batches))
        assert engine.step() is None  # type: ignore[func-returns-value]
        assert engine.run(until=2) is None  # type: ignore[func-returns-value]
        state = engine.state_dict()
        said.append((engine.certificate(), state["plan"], state["steps"], state["asked"], sorted(state)))
    assert said[0] == said[1]
    assert said[0][-1] == ["asked", "model", "optimiser", "plan", "randomness", "steps"]


# --- what it costs ---


def hockey_stick(p: Callable[[float], float], q: Callable[[float], float], epsilon: float) -> float:
    """δ(ε) = ∫ max(0, p − e^ε q)."""
    return float(quad(lambda x: max(0.0, p(x) - math.exp(epsilon) * q(x)), -12, 14, limit=400, points=[0, 0.5, 1])[0])


@pytest.mark.parametrize(("rate", "noise", "delta"), [(0.2, 1.0, 1e-2), (0.5, 0.8, 1e-3)])
def test_the_larger_of_adding_and_removing_one_record_counts(rate: float, noise: float, delta: float) -> None:
    """One step against the definition: the pair is (1 − q) N(0, σ²) + q N(1, σ²) and N(0, σ²), in both directions.

    The directions differ, so taking the smaller, or the replacement of one record, would show.
    """
    without = norm(0, noise).pdf

    def with_it(x: float) -> float:
        return float((1 - rate) * norm.pdf(x, 0, noise) + rate * norm.pdf(x, 1, noise))

    found = epsilon(Mechanism(rate, noise, 1), delta)
    removed, added = hockey_stick(with_it, without, found), hockey_stick(without, with_it, found)
    assert added < 0.5 * removed
    assert removed == pytest.approx(delta, rel=2e-3)


def test_known_points_of_the_gaussian_curve() -> None:
    """Noise 1, once: δ(1) = 0.126937 by add-or-remove; replace-one would have δ(1) = Φ(½) − e Φ(−1½) = 0.5099."""
    once = Mechanism(1.0, 1.0, 1)
    assert norm.cdf(0.5 - 1) - math.e * norm.cdf(-0.5 - 1) == pytest.approx(0.126937, abs=1e-6)
    assert epsilon(once, 0.126937) == pytest.approx(1.0, abs=1e-3)
    assert epsilon(once, 0.382926) == pytest.approx(0.0, abs=1e-3)  # 2 Φ(½) − 1
    assert epsilon(Mechanism(1.0, 10.0, 100), 1e-5, "rdp") == pytest.approx(4.7285, abs=2e-3)


def test_the_cost_falls_as_delta_rises_and_is_above_the_central_limit() -> None:
    """q = 0.001, noise 0.6, 3000 steps: the limit formula says 0.891, which is no bound; the true cost is 2.516."""
    rare = Mechanism(0.001, 0.6, 3000)
    costs = [epsilon(rare, delta, "rdp") for delta in (1e-8, 1e-6, 1e-4)]
    assert costs == sorted(costs, reverse=True)
    mu = 0.001 * math.sqrt(3000 * (math.exp(1 / 0.6**2) - 1))
    assert norm.cdf(mu / 2 - 0.891 / mu) - math.exp(0.891) * norm.cdf(-mu / 2 - 0.891 / mu) == pytest.approx(
        1e-6, rel=0.02
    )
    assert epsilon(rare, 1e-6) == pytest.approx(2.516, abs=1e-3)


# --- chance ---


@pytest.mark.parametrize(("byte", "uniform"), [(b"\x00", 2.0**-53), (b"\xff", 1.0)])
def test_the_ends_of_the_uniform_draws_make_no_infinity(
    monkeypatch: pytest.MonkeyPatch, byte: bytes, uniform: float
) -> None:
    """A logarithm of 0 would be noise that nobody can miss; a record of rate 1 is always in, one of rate 0 never."""
    monkeypatch.setattr(chance, "RAND_bytes", lambda count: byte * count)
    assert chance._uniform(3).tolist() == [uniform] * 3
    assert torch.isfinite(Secure().normal(torch.empty(3))).all()
    assert Secure().chosen(4, 1.0).tolist() == [0, 1, 2, 3]
    assert Secure().chosen(4, 0.0).tolist() == []


def test_each_secure_normal_is_made_of_four(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of one alone, the gaps between the floating-point numbers it can take give the hidden value away (Mironov 2012).

    Two uniforms of 8 bytes make two normals, so a sum of four takes 32 bytes.
    """
    taken: list[int] = []

    def counted(count: int) -> bytes:
        taken.append(count)
        return bytes(range(256)) * (count // 256) + bytes(count % 256)

    monkeypatch.setattr(chance, "RAND_bytes", counted)
    Secure().normal(torch.empty(1000))
    assert sum(taken) == 32 * 1000


def test_secure_draws_never_repeat_and_follow_no_seed() -> None:
    draws = []
    for _ in range(2):
        torch.manual_seed(0)
        draws.append(Secure().normal(torch.empty(64)))
    assert not torch.isin(draws[0], draws[1]).any()
    assert Secure().state() is None


def test_sampling_and_noise_of_a_seeded_source_are_not_the_same_draws() -> None:
    """The batch that follows a noise is not the batch that would have come without it, and a copy repeats both."""
    first, second = (Seeded(torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(first.chosen(100, 0.3), second.chosen(100, 0.3))
    ahead = first.normal(torch.empty(1000))
    assert torch.equal(ahead, second.normal(torch.empty(1000)))
    assert not torch.isin(first.normal(torch.empty(1000)), ahead).any()


def test_small_tensors_share_a_draw_and_large_or_unlike_ones_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 4, 6, 30, 2 and 3 numbers, 10 at most together, the last in float64: three draws and one."""
    monkeypatch.setattr(chance, "TOGETHER", 10)
    like = [torch.empty(2, 2), torch.empty(6), torch.empty(5, 6), torch.empty(2), torch.empty(3).double()]
    source = Drawn()
    found = [*chance.normals(source, like)]
    assert source.kinds == [torch.float32] * 3 + [torch.float64]
    assert [(one.shape, one.dtype) for one in found] == [(one.shape, one.dtype) for one in like]
    assert torch.cat([one.flatten().double() for one in found]).unique().numel() == 45  # no number is given twice
