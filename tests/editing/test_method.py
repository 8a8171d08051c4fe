"""The closed forms, by hand and against other ways to the same matrix."""

import math

import pytest
import torch
from torch import Tensor, tensor
from torch.testing import assert_close

from upright.editing.method import (
    Ridge,
    alphaedit_ridge,
    average_key,
    kl_divergence,
    memit_ridge,
    project,
    ridge_factor,
    shrink,
)
from upright.errors import UserError


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def moment(k: int, seed: int = 1) -> Tensor:
    keys = drawn(k, 4 * k, seed=seed)
    return keys @ keys.T / (4 * k)


def update(ridge: Ridge, keys: Tensor, residuals: Tensor) -> Tensor:
    return residuals @ ridge.factor(keys).T


def test_memit_by_hand() -> None:
    """C = I, lambda = 1, k = (1, 0), r = (2, 4): (C + k k^T)^-1 k = (1/2, 0), so half of r is written."""
    key, residual = tensor([[1.0], [0.0]]).double(), tensor([[2.0], [4.0]]).double()
    change = update(memit_ridge(torch.eye(2), 1.0), key, residual)
    assert_close(change, tensor([[1.0, 0.0], [2.0, 0.0]]).double())
    assert_close(change @ key, residual / 2)


def test_one_key_gets_the_share_s_over_one_plus_s() -> None:
    key, residual, c = drawn(5, 1), drawn(3, 1, seed=2), moment(5)
    s = float(key.T @ torch.linalg.inv(7 * c) @ key)
    change = update(memit_ridge(c, 7.0), key, residual)
    assert_close(change @ key, residual * s / (1 + s))


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 9])
def test_every_way_to_solve_agrees(n: int) -> None:
    """Below k / 2 keys Woodbury's identity is used, above it one Cholesky; both are the direct solve."""
    keys, prior = drawn(6, n), 3 * moment(6)
    wanted = torch.linalg.solve(prior + keys @ keys.T, keys)
    assert_close(ridge_factor(prior, keys), wanted, rtol=0, atol=1e-10)


def test_the_gradient_of_memits_objective_vanishes() -> None:
    keys, residuals, c = drawn(6, 4), drawn(3, 4, seed=2), moment(6)
    change = update(memit_ridge(c, 2.0), keys, residuals).requires_grad_()
    objective = ((change @ keys - residuals) ** 2).sum() + 2.0 * (change @ c @ change.T).trace()
    (gradient,) = torch.autograd.grad(objective, change)
    assert_close(gradient, torch.zeros_like(gradient), rtol=0, atol=1e-10)


def test_emmet_is_memit_with_lambda_mu_times_scale() -> None:
    """EMMET in its own form, R (K^T C^-1 K + mu I)^-1 K^T C^-1, on statistics scaled by c = 1000."""
    keys, residuals, c, mu = drawn(6, 3), drawn(2, 3, seed=2), moment(6), 0.1
    whitened = keys.T @ torch.linalg.inv(1000 * c)
    emmet = residuals @ torch.linalg.inv(whitened @ keys + mu * torch.eye(3)) @ whitened
    assert_close(update(memit_ridge(c, mu * 1000), keys, residuals), emmet)


def test_without_a_price_the_residuals_are_written_whole() -> None:
    """As mu goes to 0 one key gives ROME's r (C^-1 k)^T / (k^T C^-1 k), and D K = R."""
    key, residual, c = drawn(4, 1), drawn(2, 1, seed=2), moment(4)
    weighed = torch.linalg.solve(c, key)
    change = update(memit_ridge(c, 1e-10), key, residual)
    assert_close(change, residual @ weighed.T / (key.T @ weighed))
    keys, residuals = drawn(4, 2), drawn(3, 2, seed=5)
    assert_close(update(memit_ridge(c, 1e-10), keys, residuals) @ keys, residuals)


def test_alphaedit_by_hand() -> None:
    """C = diag(1, 0): only the second direction is free. There k = 1, so r k / (k k + l2) = 3 / 2."""
    change = update(
        alphaedit_ridge(tensor([[1.0, 0.0], [0.0, 0.0]]), 1.0, 0.9), torch.ones(2, 1).double(), tensor([[3.0]]).double()
    )
    assert_close(change, tensor([[0.0, 1.5]]).double())


def test_alphaedit_is_the_papers_form_and_moves_no_protected_direction() -> None:
    """R K^T P (K_p K_p^T P + K K^T P + l2 I)^-1 with P = U0 U0^T (Fang et al. 2024, eq. 14)."""
    c, keys, earlier, residuals = moment(6), drawn(6, 3), drawn(6, 2, seed=3), drawn(2, 3, seed=4)
    ridge = alphaedit_ridge(c, 10.0, 0.7)
    ridge.absorb(earlier)
    change = update(ridge, keys, residuals)
    values, vectors = torch.linalg.eigh(c)
    top = next(n for n in range(1, 7) if values[-n:].sum() >= 0.7 * values.sum())
    protected, free = vectors[:, -top:], vectors[:, :-top]
    p = free @ free.T
    inner = earlier @ earlier.T @ p + keys @ keys.T @ p + 10.0 * torch.eye(6)
    assert_close(change, residuals @ keys.T @ p @ torch.linalg.inv(inner), rtol=0, atol=1e-10)
    assert_close(change @ protected, torch.zeros(2, top).double(), rtol=0, atol=1e-12)
    assert 1 <= top < 6


def test_batches_that_remember_equal_one_joint_solve() -> None:
    """Recursive least squares: the second batch asks only for what the first one left undone."""
    c, keys, wanted = moment(6), drawn(6, 5), drawn(3, 5, seed=2)
    joint = update(memit_ridge(c, 2.0), keys, wanted)

    def in_two(remember: bool) -> Tensor:
        ridge = memit_ridge(c, 2.0)
        first = update(ridge, keys[:, :2], wanted[:, :2])
        if remember:
            ridge.absorb(keys[:, :2])
        return first + (wanted[:, 2:] - first @ keys[:, 2:]) @ ridge.factor(keys[:, 2:]).T

    assert_close(in_two(remember=True), joint, rtol=0, atol=1e-12)
    assert float((in_two(remember=False) - joint).norm()) > 0.01


@pytest.mark.parametrize(("rule", "left"), [("share", 0.3125), ("root", 0.2299)])
def test_residuals_spread_over_three_layers(rule: str, left: float) -> None:
    """Each of three identity layers realises half of what it is given: a key of squared norm lambda.

    With r / (m - i): (1 - 1/6) (1 - 1/4) (1 - 1/2) = 0.3125; with PMET's root rule it would be 0.2299.
    """
    ridge, key, missing = memit_ridge(torch.eye(2), 4.0), tensor([[2.0], [0.0]]).double(), torch.ones(1, 1).double()
    for i in range(3):
        share = missing / (3 - i) if rule == "share" else missing / math.sqrt(3 - i)
        missing = missing - update(ridge, key, share) @ key
    assert float(missing) == pytest.approx(left, abs=1e-4)


def test_two_equal_keys_are_written_as_their_mean() -> None:
    """(r1 + r2) s / (1 + 2 s): why requests that share a key become one task."""
    key, c, residuals = drawn(5, 1), moment(5), drawn(3, 2, seed=2)
    s = float(key.T @ torch.linalg.inv(c) @ key)
    written = update(memit_ridge(c, 1.0), torch.cat([key, key], 1), residuals) @ key
    assert_close(written, residuals.sum(1, keepdim=True) * s / (1 + 2 * s))


def test_the_average_key_weighs_two_groups() -> None:
    """Clean key 0, five prefixed keys 1: half, where a flat mean would give 5/6."""
    none = torch.zeros(0, 3)
    assert_close(average_key(torch.zeros(3), torch.ones(5, 3), none), torch.full((3,), 0.5))
    assert_close(average_key(torch.ones(3), none, none), torch.ones(3))
    assert_close(average_key(torch.zeros(3), torch.ones(5, 3), torch.ones(3, 3)), torch.full((3,), 3.5 / 4))


def test_shrinking_keeps_the_trace_and_lifts_the_floor() -> None:
    flat = torch.diag(tensor([4.0, 0.0])).double()
    assert_close(shrink(flat, 0.1), torch.diag(tensor([3.8, 0.2])).double())
    assert_close(shrink(moment(5), 0.3).trace(), moment(5).trace())


def test_projection_by_hand() -> None:
    """The 3-4-5 triangle to norm 1; what lies inside, and zero, stay as they are."""
    rows = tensor([[3.0, 4.0], [0.3, 0.4], [0.0, 0.0]])
    assert_close(project(rows, torch.ones(3)), tensor([[0.6, 0.8], [0.3, 0.4], [0.0, 0.0]]))


def test_the_divergence_runs_from_new_to_old() -> None:
    """New (1/2, 1/2), old (3/4, 1/4): 1/2 ln(2/3) + 1/2 ln 2 = 0.1438; the other way round it is 0.1308."""
    new, old = torch.zeros(1, 2), tensor([[0.75, 0.25]]).log()
    assert float(kl_divergence(new, old)) == pytest.approx(0.5 * math.log(2 / 3) + 0.5 * math.log(2))


def test_singular_statistics_name_the_way_out() -> None:
    with pytest.raises(UserError, match=r"fewer independent keys.*raise stats.sequences or solver.shrink"):
        memit_ridge(torch.zeros(3, 3), 1.0).factor(torch.ones(3, 1))
