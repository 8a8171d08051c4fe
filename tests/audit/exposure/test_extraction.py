import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers.generation.logits_process import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from tests.tiny import exact_model
from upright.audit.exposure.extraction import Rule, draw_out, log_chance, within
from upright.audit.texts import lead_tokens
from upright.models.causal import CausalModel


@settings(deadline=None)
@given(st.integers(0, 999), st.sampled_from([0.5, 1.0, 2.0]), st.sampled_from([None, 1, 5, 99]), st.floats(0.05, 1.0))
def test_the_rule_is_the_one_text_is_drawn_by(seed: int, temperature: float, top_k: int | None, top_p: float) -> None:
    """Against the warpers of the library that generates: temperature, then top-k, then top-p."""
    logits = torch.randn(3, 20, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    warped = TemperatureLogitsWarper(temperature)(None, logits)
    if top_k is not None:
        warped = TopKLogitsWarper(min(top_k, 20))(None, warped)
    if top_p < 1:
        warped = TopPLogitsWarper(top_p)(None, warped)
    wanted = warped.log_softmax(-1)
    for token in range(20):
        found = log_chance(logits, torch.full((3,), token), Rule(temperature, top_k, top_p))
        torch.testing.assert_close(found, wanted[:, token])


def test_the_chances_of_all_targets_sum_to_one() -> None:
    """Five tokens with top-k 3: of the 25 targets of two tokens, 9 have a chance, and they share the whole."""
    model = exact_model(vocab_size=320)
    first = [0, 7, 11]
    rows = torch.tensor([[*first, a, b] for a, b in itertools.product(range(320), range(2))])
    found = draw_out(model, rows, 2, Rule(1.0, None), batch_rows=64)["log_p"].exp()
    one = draw_out(model, torch.tensor([[*first, a] for a in range(320)]), 1, Rule(1.0, 3), 64)["log_p"].exp()
    assert float(one.sum()) == pytest.approx(1.0)
    assert int((one > 0).sum()) == 3
    assert 0 < float(found.sum()) < 1


def test_greedy_is_what_generation_gives() -> None:
    model = exact_model()
    prompts = [f"The capital of {name}" for name in ("France", "Japan", "Peru", "Rome")]
    rows = [model.tokenizer(prompt)["input_ids"] for prompt in prompts]
    length = min(map(len, rows))
    rows = [row[:length] for row in rows]
    new = [_greedy(model, row, 6) for row in rows]
    changed = [[*ids[:3], (ids[3] + 1) % 320, *ids[4:]] for ids in new]
    asked = torch.tensor([row + ids for row, ids in zip(rows * 2, new + changed, strict=True)])
    assert draw_out(model, asked, 6, Rule(), 3)["greedy"].tolist() == [True] * 4 + [False] * 4


def _greedy(model: CausalModel, row: list[int], steps: int) -> list[int]:
    """One token at a time, nothing kept."""
    ids = list(row)
    for _ in range(steps):
        ids.append(int(model.unembed(model.hidden(torch.tensor([ids]))[0, -1]).argmax()))
    return ids[len(row) :]


def test_batches_change_nothing() -> None:
    model = exact_model()
    rows = torch.randint(2, 320, (7, 12), generator=torch.Generator().manual_seed(0))
    one, many = (draw_out(model, rows, 5, Rule(1.0, 40), n) for n in (1, 7))
    torch.testing.assert_close(one["log_p"], many["log_p"])


def test_chance_within_draws_by_hand() -> None:
    """p = 1e-3: 1 - 0.999^1000 = .6323; p = 1e-30 in a million draws: 1e-24, which 1 - (1 - p)^n would lose."""
    assert within(np.log([1e-3]), 1000) == pytest.approx([0.6323], abs=5e-5)
    assert within(np.log([1e-30]), 10**6) == pytest.approx([1e-24])


def test_the_bos_is_counted() -> None:
    assert lead_tokens(exact_model()) == 1
