"""Noisy sums over the units: the clipping, the noise, the bill."""

import math
from pathlib import Path

import pytest
import torch

from upright.errors import UserError
from upright.synthesis.generators.asking import Queries, plan_of
from upright.training.private import Plan, Query, Secure, Seeded
from upright.training.private.accounting import Mechanism, epsilon


def seeded(seed: int = 0) -> Seeded:
    return Seeded(torch.Generator().manual_seed(seed))


def plan(noise: float = 0.0, times: int = 1, sensitivity: float = 1.0) -> Plan:
    return Plan(100, 1.0, 0, 1.0, 0.0, 1e-3, (Query("sums", noise, times, sensitivity),))


@pytest.mark.parametrize("sparse", [False, True])
def test_long_contributions_are_scaled_down_and_broken_ones_count_nothing(sparse: bool) -> None:
    # (3, 4) has norm 5 and becomes (0.6, 0.8) at sensitivity 1; (0.5, 0) stays; NaN and infinity are left out
    given = torch.tensor([[3.0, 4.0], [0.5, 0.0], [math.nan, 1.0], [math.inf, 0.0]])
    found = Queries(plan(), 4, seeded()).ask("sums", given.to_sparse_coo() if sparse else given)
    assert found.tolist() == pytest.approx([1.1, 0.8])


def test_entries_of_one_place_add_up_before_the_norm_is_taken() -> None:
    given = torch.sparse_coo_tensor(
        torch.tensor([[0, 0], [1, 1]]), torch.tensor([0.75, 0.75]), (1, 3), check_invariants=True
    )
    assert Queries(plan(), 1, seeded()).ask("sums", given).tolist() == [0.0, 1.0, 0.0]


def test_all_sums_get_noise_also_those_to_which_nobody_contributes() -> None:
    empty = torch.sparse_coo_tensor(
        torch.empty(2, 0, dtype=torch.long), torch.empty(0), (0, 40_000), check_invariants=True
    )
    found = Queries(plan(noise=3.0, sensitivity=2.0), 0, seeded()).ask("sums", empty)
    assert found.std().item() == pytest.approx(6.0, rel=0.02)
    assert found.mean().item() == pytest.approx(0.0, abs=0.15)


def test_a_query_is_answered_as_often_as_planned_and_paid_for() -> None:
    queries = Queries(plan(noise=2.0, times=2), 3, Secure())
    assert queries.epsilon == 0
    queries.ask("sums", torch.ones(3, 2))
    once = queries.epsilon
    queries.ask("sums", torch.ones(3, 5))
    assert 0 < once < queries.epsilon == epsilon(Mechanism(1.0, 0.0, 0, ((2.0, 2),)), 1e-3)
    assert queries.certificate().queries == {"sums": 2}
    assert queries.certificate().secret
    with pytest.raises(UserError, match="planned 2 times"):
        queries.ask("sums", torch.ones(3, 2))
    with pytest.raises(UserError, match="planned 0 times"):
        queries.ask("others", torch.ones(3, 2))


def test_a_wrong_number_of_units_costs_nothing() -> None:
    queries = Queries(plan(noise=1.0), 3, seeded())
    with pytest.raises(ValueError, match="each of 3 units"):
        queries.ask("sums", torch.ones(2, 2))
    assert queries.epsilon == 0


@pytest.mark.parametrize(("times", "sensitivity"), [(1, 1.0), (10, 2.0)])
def test_the_plan_takes_what_others_leave(times: int, sensitivity: float) -> None:
    counts = Query("counts", 9.0)
    found = plan_of(2.0, records=1000, delta=1e-5, name="sums", times=times, sensitivity=sensitivity, others=[counts])
    assert found.epsilon <= 2.0
    assert found.epsilon == pytest.approx(2.0, rel=3e-3)
    assert found.query("counts").noise == 9.0
    assert (
        plan_of(2.0, records=1000, delta=1e-5, name="sums", times=times).query("sums").noise < found.query("sums").noise
    )


def test_budgets_that_cannot_be_kept_and_that_need_not() -> None:
    with pytest.raises(UserError, match=r"epsilon=0\.1: the counts"):
        plan_of(0.1, records=1000, delta=1e-5, name="sums", times=1, others=[Query("counts", 1.0)])
    free = plan_of(math.inf, records=1000, delta=1e-5, name="sums", times=2, others=[Query("counts", 1.0)])
    assert [query.noise for query in free.queries] == [0.0, 0.0]


def test_a_later_process_gets_the_same_answers_and_goes_on(tmp_path: Path) -> None:
    given, state = torch.ones(3, 4), tmp_path / "work" / "answers.pt"
    whole = Queries(plan(noise=1.0, times=2), 3, seeded())
    wanted = [whole.ask("sums", given), whole.ask("sums", given)]
    Queries(plan(noise=1.0, times=2), 3, seeded(), state).ask("sums", given)
    later = Queries(plan(noise=1.0, times=2), 3, seeded(5), state)
    assert torch.equal(later.ask("sums", given), wanted[0])
    assert torch.equal(later.ask("sums", given), wanted[1])
    assert later.epsilon == whole.epsilon
    with pytest.raises(ValueError, match="must be of"):
        Queries(plan(noise=2.0, times=2), 3, seeded(), state)


def test_secret_noise_is_not_drawn_twice_for_a_saved_answer(tmp_path: Path) -> None:
    given, state = torch.zeros(1, 4), tmp_path / "answers.pt"
    first = Queries(plan(noise=1.0), 1, Secure(), state).ask("sums", given)
    assert torch.equal(Queries(plan(noise=1.0), 1, Secure(), state).ask("sums", given), first)
