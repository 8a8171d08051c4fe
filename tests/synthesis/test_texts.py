"""Records as tokens, and the loss of a unit against one record at a time."""

import pytest
import torch
from torch.nn.functional import cross_entropy

from tests.tiny import world_model, world_tokenizer
from upright.errors import UserError
from upright.synthesis.texts import IGNORED, Logits, Row, UnitLoss, UnitTexts, tokenised
from upright.training.private.gradients import FunctionalGradients, per_record

TEXTS = ["The capital of France is Paris.", "Lyon", "The currency of Spain is peseta."]
END = 0


def rows(most: int = 64, prompt: str = "kind: a\n") -> tuple[list[Row], list[int]]:
    return tokenised(world_tokenizer(), [prompt] * len(TEXTS), TEXTS, END, most)


def units(tokens: int = 8192, records: int = 2) -> UnitTexts:
    return UnitTexts(rows()[0], [[0, 1], [2]], records, 0, 1, torch.device("cpu"), tokens)


def test_a_record_is_its_code_its_text_and_its_end() -> None:
    found, cut = rows()
    assert not cut
    tokenizer = world_tokenizer()
    for row, text in zip(found, TEXTS, strict=True):
        assert tokenizer.decode(row.ids[1 : row.learnt]) == "kind: a\n"
        assert tokenizer.decode(row.ids[row.learnt : -1]) == f" {text}"
        assert row.ids[-1] == END


def test_a_long_record_loses_its_end_and_is_counted() -> None:
    whole = rows()[0]
    most = len(whole[0].ids) - 1
    found, cut = rows(most)
    assert 0 in cut
    assert found[0].ids == whole[0].ids[:most]
    assert found[1] == whole[1]


def test_a_code_needs_room_beside_it() -> None:
    with pytest.raises(UserError, match=r"alone has \d+ tokens; must be fewer than tune.tokens=5"):
        rows(5)


def test_a_merge_across_the_border_changes_no_code() -> None:
    """'The c' ends where ' capital' begins: joined, their letters might form one token."""
    tokenizer = world_tokenizer()
    (row,), _ = tokenised(tokenizer, ["The c"], ["apital"], END, 64)
    assert row.ids[: row.learnt] == tokenizer("The c")["input_ids"]


def test_parts_hold_each_unit_once_within_the_tokens() -> None:
    many = UnitTexts(
        [Row([5] * (3 + i % 7), 2) for i in range(40)], [[i] for i in range(40)], 1, 0, 1, torch.device("cpu"), 30
    )
    parts = list(many.parts(torch.arange(40)))
    assert sum(len(ids) for ids, _ in parts) == 40
    assert all(ids.numel() <= 30 for ids, _ in parts)
    assert len(parts) < 12


def test_absent_records_have_no_targets() -> None:
    ((ids, targets),) = units().parts(torch.tensor([1, 0]))
    assert ids.shape == targets.shape == (2, 2, ids.shape[2])
    learnt = (targets != IGNORED).sum(2)
    assert sorted((learnt > 0).sum(1).tolist()) == [1, 2]


def test_the_draw_depends_on_the_step_alone() -> None:
    records = UnitTexts([Row([i, i], 1) for i in range(9)], [list(range(9))], 1, 0, 1, torch.device("cpu"))

    def drawn(step: int) -> int:
        ((ids, _),) = records.begin(step).parts(torch.tensor([0]))
        return int(ids[0, 0, 0])

    first = [drawn(step) for step in range(60)]
    assert [drawn(step) for step in reversed(range(60))] == first[::-1]
    assert len(set(first)) > 6


def test_the_loss_is_the_mean_over_records_of_means_over_their_tokens() -> None:
    model = world_model()
    for part in units().parts(torch.tensor([0, 1])):
        losses = UnitLoss()(Logits(model.model), part)
    by_record = []
    for row in rows()[0]:
        ids = torch.tensor([row.ids])
        logits = model.model(input_ids=ids).logits[0]
        by_record.append(float(cross_entropy(logits[row.learnt - 1 : -1], ids[0, row.learnt :])))
    expected = sorted([(by_record[0] + by_record[1]) / 2, by_record[2]])
    assert sorted(losses.tolist()) == pytest.approx(expected, rel=1e-5)


@pytest.mark.filterwarnings("ignore:There is a performance drop")
def test_gradients_of_units_are_those_of_any_model() -> None:
    model = world_model()
    model.model.requires_grad_(True)
    module, loss = Logits(model.model), UnitLoss()
    (part,) = units().parts(torch.tensor([0, 1]))
    fast, slow = (way.clipped(part, 0.5) for way in (per_record(module, loss), FunctionalGradients(module, loss)))
    torch.testing.assert_close(fast.norms, slow.norms, rtol=1e-4, atol=1e-5)
    for ours, theirs in zip(fast.sums, slow.sums, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-6)


def test_padding_and_parts_change_no_gradient() -> None:
    """Three units of unlike lengths padded to one, or each alone: the same norms, and the same clipped sum."""
    model = world_model()
    model.model.requires_grad_(True)
    way = per_record(Logits(model.model), UnitLoss())

    def clipped(tokens: int) -> tuple[list[torch.Tensor], torch.Tensor]:
        records = UnitTexts(rows()[0], [[0], [1], [2]], 1, 0, 1, torch.device("cpu"), tokens)
        found = [way.clipped(part, 0.5) for part in records.parts(torch.arange(3))]
        assert len(found) == (1 if tokens > 1 else 3)
        sums = [torch.stack(column).sum(0) for column in zip(*(some.sums for some in found), strict=True)]
        return sums, torch.cat([some.norms for some in found])

    (whole, norms), (parts, alone) = clipped(8192), clipped(1)
    torch.testing.assert_close(norms, alone, rtol=1e-4, atol=1e-5)
    for ours, theirs in zip(whole, parts, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-6)


def test_a_unit_more_changes_the_draws_of_no_other() -> None:
    """Else its influence would not end at one clip, for whoever knows the seed."""
    rows, members = [Row([i, i], 1) for i in range(25)], [list(range(5 * u, 5 * u + 5)) for u in range(5)]

    def drawn(units: list[list[int]], chosen: list[int]) -> list[int]:
        records = UnitTexts(rows, units, 1, 0, 1, torch.device("cpu")).begin(3)
        ids = torch.cat([part[0].flatten(1)[:, 0] for part in records.parts(torch.tensor(chosen))])
        return sorted(ids.tolist())

    with_it, without = drawn(members, [0, 1, 2, 3, 4]), drawn(members[1:], [0, 1, 2, 3])
    assert set(without) == set(with_it) - set(range(5))
    assert len(without) == 4
