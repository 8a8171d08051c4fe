"""What is learnt of a transcript, and that it is learnt."""

from itertools import islice

import pytest
import torch
from transformers import PreTrainedTokenizerFast

from upright.models import fresh
from upright.models.shape import Shape
from upright.traversal.actor import NOT_LEARNT, Course, Row, Transcript, batches, loss_of, tokenised, train

TEXT = "Q: a b?\n> EXPAND #1\n"
TRANSCRIPT = Transcript(TEXT, ((9, 16), (16, 19)))  # " EXPAND", " #1"


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return fresh.train_tokenizer([TEXT] * 3, 300)


def test_only_the_own_tokens_are_targets(tokenizer: PreTrainedTokenizerFast) -> None:
    (row,), _ = tokenised(tokenizer, [TRANSCRIPT], 100)
    own = [token for token, target in zip(row.ids, row.targets, strict=True) if target != NOT_LEARNT]
    assert tokenizer.decode(own) == " EXPAND #1"
    assert all(target in (NOT_LEARNT, token) for token, target in zip(row.ids, row.targets, strict=True))


def test_what_is_too_long_is_left_out_whole(tokenizer: PreTrainedTokenizerFast) -> None:
    (row,), _ = tokenised(tokenizer, [TRANSCRIPT], 100)
    assert tokenised(tokenizer, [TRANSCRIPT], len(row.ids)) == ([row], [])
    assert tokenised(tokenizer, [TRANSCRIPT], len(row.ids) - 1) == ([], [TRANSCRIPT])


def test_a_pass_shows_every_row_once_within_the_budget() -> None:
    rows = [Row([i] * (i % 7 + 2), [i] * (i % 7 + 2)) for i in range(40)]
    seen: list[int] = []
    stream = batches(rows, tokens=30, pad_id=99, seed=0)
    while len(seen) < len(rows):
        ids, targets = next(stream)
        assert ids.numel() <= 30
        assert ((targets == NOT_LEARNT) == (ids == 99)).all()
        seen += ids[:, 0].tolist()
    assert sorted(seen) == list(range(40))
    first, again = (list(islice(batches(rows, 30, 99, seed=3), 9)) for _ in range(2))
    assert all(torch.equal(a[0], b[0]) for a, b in zip(first, again, strict=True))


def test_an_actor_learns_its_lines(tokenizer: PreTrainedTokenizerFast) -> None:
    model = fresh.new_model(Shape(vocabulary=300, hidden=32, mlp=48, layers=1, heads=2, context=64), tokenizer, 0)
    rows, _ = tokenised(tokenizer, [TRANSCRIPT], 64)
    assert tokenizer.pad_token_id is not None
    losses = train(model, rows, int(tokenizer.pad_token_id), Course(60 * 64, 64, 1e-2, fresh=True, seed=0))
    assert losses[0] > 3
    assert losses[-1] < 0.2
    ids, targets = next(batches(rows, 64, int(tokenizer.pad_token_id), 0))
    assert float(loss_of(model, (ids, targets)).detach()) == pytest.approx(losses[-1], abs=0.02)
