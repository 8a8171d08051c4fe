"""The one forward pass: equal to reading each text alone with all logits in memory."""

import math

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from tests.tiny import exact_model, world_model
from upright.audit.membership import forward, language
from upright.audit.membership.config import TextConfig
from upright.audit.membership.forward import cut, read
from upright.errors import UserError
from upright.models import causal
from upright.models.causal import prompt_ids
from upright.models.score import perplexity

TEXTS = ["The capital of France is Paris.", "Rome.", "The currency of Spain is the peseta, of Germany the mark."]


@pytest.mark.parametrize("family", ["llama", "gemma2", "gpt2"])
@pytest.mark.parametrize("chunk", [1, 2**23])
def test_reading_equals_one_text_at_a_time(family: str, chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """ln p, its mean and its deviation under the law itself, from the whole (T, V) of each text."""
    monkeypatch.setattr(forward, "LOGITS_AT_ONCE", chunk)
    model = exact_model(family)
    rows = prompt_ids(model.tokenizer, TEXTS)
    found = read(model, rows, 2, moments=True)
    for i, row in enumerate(rows):
        ids = torch.tensor([row])
        log_q = model.unembed(model.hidden(ids))[0, :-1].log_softmax(-1)
        q, length = log_q.exp(), len(row) - 1
        mean = (q * log_q).sum(-1)
        sd = ((q * log_q**2).sum(-1) - mean**2).sqrt()
        assert_allclose(found.log_p[i, :length], log_q.gather(1, ids[0, 1:, None])[:, 0], rtol=1e-9)
        assert_allclose(found.mean[i, :length], mean, rtol=1e-9)
        assert_allclose(found.sd[i, :length], sd, rtol=1e-6)
        assert np.isnan(found.log_p[i, length:]).all()
    assert found.tokens.tolist() == [len(row) - 1 for row in rows]


def test_totals_agree_with_perplexity() -> None:
    model = world_model()
    found = read(model, prompt_ids(model.tokenizer, TEXTS), 3)
    expected = perplexity(model, TEXTS, window=100, stride=50)
    assert_allclose(-np.nansum(found.log_p, axis=1), expected.per_text, rtol=1e-5)


@pytest.mark.parametrize("skip", [0, 1])
def test_reading_after_a_prefix_equals_reading_the_whole(skip: int) -> None:
    model = exact_model("llama")
    before, *rows = prompt_ids(model.tokenizer, ["Rome is the capital of Italy\n", *TEXTS])
    found = read(model, rows, 2, before=before, skip=skip)
    for i, row in enumerate(rows):
        whole = read(model, [[*before, *row]], 1).log_p[0, len(before) - 1 + skip :]
        assert_allclose(found.log_p[i, : len(row) - skip], whole, rtol=1e-6)


def test_drawn_tokens_follow_the_law_without_the_token_itself() -> None:
    """4,000 draws at one place against the renormalised law: total variation near √(V / n) at most."""
    model = exact_model("llama")
    (row,) = prompt_ids(model.tokenizer, ["The capital"])
    uniforms = torch.rand(1, len(row) - 1, 4000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    drawn = read(model, [row], 1, uniforms=uniforms).drawn[0]
    law = model.unembed(model.hidden(torch.tensor([row])))[0, :-1].softmax(-1).numpy()
    for place, target in enumerate(row[1:]):
        expected = law[place].copy()
        expected[target] = 0
        expected /= expected.sum()
        seen = np.bincount(drawn[place], minlength=len(expected)) / 4000
        assert seen[target] == 0
        assert 0.5 * np.abs(seen - expected).sum() < 0.5 * math.sqrt((expected > 1e-5).sum() / 4000) + 0.02


def test_batching_changes_nothing() -> None:
    model = exact_model("llama")
    config = TextConfig(neighbours=2)
    prefix = prompt_ids(model.tokenizer, ["Rome is the capital of Italy, and Lima of Peru."])[0]
    alone, together = (language.text_signals(model, TEXTS, config, prefix, rows, seed=3) for rows in (1, 3))
    assert set(alone) == {"total", "tokens", *config.signals}
    for name, values in alone.items():
        assert_allclose(values, together[name], rtol=1e-6, err_msg=name)


@pytest.mark.parametrize("bos", [True, False])
def test_recall_compares_the_same_tokens(bos: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """By hand from prefix and text in one row, without a BOS between: l of the tokens that are predicted alone too."""
    model = exact_model("llama")
    added = [model.tokenizer.bos_token_id] if bos else []
    monkeypatch.setattr(causal, "_added_bos", lambda tokenizer: added)
    prefix = prompt_ids(model.tokenizer, ["Rome is the capital of Italy."])[0]
    assert (prefix[0] == model.tokenizer.bos_token_id) is bos
    found = language.text_signals(model, TEXTS, TextConfig(signals=["recall"]), prefix, 2, seed=0)["recall"]
    for i, row in enumerate(prompt_ids(model.tokenizer, TEXTS)):
        whole = read(model, [[*prefix, *row[len(added) :]]], 1).log_p[0]
        after = whole[-(len(row) - 1) :].mean()
        assert_allclose(float(found[i]), after / read(model, [row], 1).log_p.mean(), rtol=1e-6)


def test_lower_case_and_nothing_to_lower() -> None:
    model = exact_model("llama")
    texts = ["PARIS is a city.", "paris is a city."]
    found = language.text_signals(model, texts, TextConfig(signals=["lower-case"]), [], 2, seed=0)
    expected = [float(found["loss"][0] - found["loss"][1]), np.nan]
    assert_allclose(found["lower-case"].tolist(), expected, rtol=1e-9)
    alone = language.text_signals(model, texts[1:], TextConfig(signals=["lower-case"]), [], 2, seed=0)
    assert alone["lower-case"].isnan().all()


def test_cut_ends_at_a_token() -> None:
    model = world_model()
    long = [len(row) > 4 for row in prompt_ids(model.tokenizer, TEXTS)]
    assert True in long
    short, count = cut(model, TEXTS, 4)
    assert count == sum(long)
    for text, whole in zip(short, TEXTS, strict=True):
        assert whole.startswith(text)
        assert len(prompt_ids(model.tokenizer, [text])[0]) <= 4
    assert cut(model, [], 4) == ([], 0)


def test_prefix_leaves_room_for_the_longest_text() -> None:
    model = world_model()  # a context of 256 tokens
    long = "The capital of France is Paris. " * 12
    prefix = language.recall_prefix(model, TEXTS * 20, [long])
    assert len(prefix) + len(prompt_ids(model.tokenizer, [long])[0]) == 256
    assert language.recall_prefix(model, [], [long]) == []
    assert language.recall_prefix(model, TEXTS, ["The capital of France is Paris. " * 60]) == []


def test_a_row_beyond_the_context_is_refused() -> None:
    with pytest.raises(UserError, match="more than the 256 tiny can read"):
        read(world_model(), [[1] * 257], 1)


# --- gradients -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["llama", "gpt2"])
@pytest.mark.parametrize("chunk", [1, 2**23])
def test_gradient_norms_equal_plain_autograd(family: str, chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of each text's mean loss, for all parameters; gpt2 uses its embedding at both ends. The model stays frozen."""
    monkeypatch.setattr(forward, "LOGITS_AT_ONCE", chunk)
    model = exact_model(family)
    rows = prompt_ids(model.tokenizer, TEXTS)
    found = forward.gradient_norms(model, rows)
    assert not any(p.requires_grad or p.grad is not None for p in model.model.parameters())
    model.model.requires_grad_(True)
    for norm, row in zip(found, rows, strict=True):
        model.model.zero_grad()
        ids = torch.tensor([row])
        model.model(input_ids=ids, labels=ids).loss.backward()
        squares = [p.grad.square().sum() for p in model.model.parameters() if p.grad is not None]
        assert norm == pytest.approx(float(torch.stack(squares).sum().sqrt()), rel=1e-6)


def test_logits_that_are_no_numbers_are_no_end_of_a_text() -> None:
    """NaN stands for what lies behind a text's end, so a model that overflows must not be read."""
    model = world_model()
    with torch.no_grad():
        next(model.blocks[0].parameters()).fill_(torch.nan)
    with pytest.raises(UserError, match=r"gives logits that are no numbers, in torch\.float32"):
        read(model, prompt_ids(model.tokenizer, TEXTS), 2)
