"""Prompts that begin alike: the same states as read alone, in every family, and fewer tokens read."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from upright.models.causal import CausalModel, pad
from upright.models.chat.decode import likelihoods, nested
from upright.models.chat.reading import SharedPrefix, common, families
from upright.models.generate import Prefix

Tiny = Callable[..., CausalModel]
STEM = list(range(5, 35))
ROWS = [
    [*STEM, 40],
    [*STEM, 41, 42, 43, 44, 45],
    [50, 51, 52],
    [*STEM[:20], 60, 61],
    [*STEM, 41, 42],
    [*range(100, 120), 7],
    [*range(100, 120), 8, 9],
]


def same(hidden: torch.Tensor, model: CausalModel, rows: list[list[int]]) -> None:
    """Whether the states are those of each row read alone."""
    assert_close(hidden, torch.cat([Prefix(model, [row]).hidden for row in rows]), rtol=1e-3, atol=1e-4)


@torch.no_grad()
def test_shared_reading_changes_nothing(family: str, tiny: Tiny) -> None:
    """States after reading, after feeding more and after selecting, against each row read alone.

    In float32: families with eager attention take the softmax in it, and the mask of float64 overflows there.
    """
    model = tiny(family, dtype=torch.float32)
    read = SharedPrefix(model, ROWS)
    same(read.hidden, model, ROWS)
    fork = read.fork()
    fork.select([4, 1, 1])
    more = [[70, 71], [72, 73], [74, 75]]
    fork.feed(*pad(more, 0, "right", "cpu"))
    whole = [[*ROWS[i], *some] for i, some in zip((4, 1, 1), more, strict=True)]
    same(fork.hidden, model, whole)
    fork.feed(torch.tensor([[80], [81], [82]]), torch.ones(3, 1, dtype=torch.long))  # and the other stays as it was
    read.feed(torch.full((7, 1), 90), torch.ones(7, 1, dtype=torch.long))
    same(read.hidden, model, [[*row, 90] for row in ROWS])


def test_a_common_beginning_is_read_once(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight rows of 60 common tokens and 4 of their own: 60 + 8 * 4 tokens instead of 8 * 64."""
    model, places = tiny("llama"), []
    original = CausalModel.hidden

    def watched(self: CausalModel, ids: torch.Tensor, *rest: object) -> torch.Tensor:
        places.append(ids.numel())
        return original(self, ids, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(CausalModel, "hidden", watched)
    SharedPrefix(model, [[*range(10, 70), i, i, i, i] for i in range(8)])
    assert sum(places) == 60 + 8 * 4


def test_families_by_hand() -> None:
    """Row 3 shares 20 tokens with row 0, more than half of the 35 of the longest; a stem of 30 is read as 20 then.

    Ten more tokens on the longest row, and 20 are no longer half of it: row 3 stays alone.
    """
    assert families(ROWS) == [([0, 4, 1, 3], 20), ([2], 0), ([5, 6], 20)]
    longer = [row + [9] * 10 * (i == 1) for i, row in enumerate(ROWS)]
    assert families(longer) == [([0, 4, 1], 30), ([3], 0), ([2], 0), ([5, 6], 20)]


@given(st.lists(st.lists(st.integers(0, 1), min_size=1, max_size=60), min_size=1, max_size=12))
def test_families_are_a_partition_with_a_true_beginning(rows: list[list[int]]) -> None:
    groups = families(rows)
    assert sorted(i for members, _ in groups for i in members) == list(range(len(rows)))
    for members, shared in groups:
        assert (shared > 0) == (len(members) > 1)
        assert len({tuple(rows[i][:shared]) for i in members}) == 1
        assert all(len(rows[i]) > shared for i in members)


@given(st.lists(st.integers(0, 1)), st.lists(st.integers(0, 1)))
def test_common_beginnings(first: list[int], second: list[int]) -> None:
    naive = next(
        (i for i, (a, b) in enumerate(zip(first, second, strict=False)) if a != b), min(len(first), len(second))
    )
    assert common(first, second) == naive


@given(st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=4), min_size=1, max_size=6))
def test_nested_texts(texts: list[list[int]]) -> None:
    pairs = [(a, b) for i, a in enumerate(texts) for j, b in enumerate(texts) if i != j]
    assert nested(texts) == any(b[: len(a)] == a for a, b in pairs)


@torch.no_grad()
def test_likelihoods_by_the_chain_rule(tiny: Tiny) -> None:
    """log p of a text is the sum of its tokens' log-probabilities, each read alone; the end is one of several."""
    model = tiny("llama")
    texts, prompts, ends = [[7], [8, 9, 10], [11, 12]], [0, 1, 1], torch.tensor([1, 2])
    rows = [[5, 6, 7], [30, 31]]

    def logprobs(row: list[int]) -> torch.Tensor:
        return model.unembed(Prefix(model, [row]).hidden)[0].log_softmax(0)

    read = SharedPrefix(model, rows)
    for end in (None, ends):
        expected = []
        for prompt, text in zip(prompts, texts, strict=True):
            row = rows[prompt]
            total = sum(float(logprobs([*row, *text[:i]])[token]) for i, token in enumerate(text))
            expected.append(total + (0 if end is None else float(logprobs([*row, *text])[end].logsumexp(0))))
        assert likelihoods(model, read, prompts, texts, end) == pytest.approx(expected)
