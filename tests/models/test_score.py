"""Scores against the plain definition: the whole text in one pass, log-softmax, pick, add up."""

from collections.abc import Callable

import pytest
import torch
from torch.testing import assert_close

from upright.errors import UserError
from upright.models import score as score_module
from upright.models.causal import CausalModel, prompt_and_target, prompt_ids
from upright.models.generate import Prefix, generate
from upright.models.score import Score, perplexity, score

Tiny = Callable[..., CausalModel]

PROMPTS = [
    "The capital of France is",
    "The capital of France is",
    "Rome",
    "Berlin is the capital of",
    "Rome",
    "The",
]
TARGETS = ["Paris", "Tokyo, and the capital of Peru", "is the", "Germany", "a", "capital of"]


def naive_score(model: CausalModel, prompt: str, target: str) -> Score:
    prompt_part, target_part = prompt_and_target(model.tokenizer, prompt, target)
    logits = model.model(input_ids=torch.tensor([prompt_part + target_part])).logits[0, len(prompt_part) - 1 : -1]
    wanted = torch.tensor(target_part)
    nll = -logits.log_softmax(dim=-1).gather(1, wanted[:, None])[:, 0]
    return Score(float(nll.mean()), float(nll.sum()), len(wanted), bool((logits.argmax(dim=-1) == wanted).all()))


def test_batched_scores_are_the_definition(family: str, tiny: Tiny) -> None:
    model = tiny(family, dtype=torch.float32 if family == "gemma2" else torch.float64)
    expected = [naive_score(model, *pair) for pair in zip(PROMPTS, TARGETS, strict=True)]
    for batch_rows in (1, 2, 32):
        scores = score(model, PROMPTS, TARGETS, batch_rows=batch_rows)
        assert_close([s[:2] for s in scores], [e[:2] for e in expected], rtol=1e-5, atol=1e-5)
        assert [s[2:] for s in scores] == [e[2:] for e in expected]


def test_a_uniform_model_needs_log_v_nats_a_token(tiny: Tiny) -> None:
    """A head of zeros: every token costs ln 320 = 5.7683 nats, whatever the text."""
    model = tiny("llama")
    model.model.get_submodule("lm_head").get_parameter("weight").zero_()
    for found in score(model, PROMPTS, TARGETS):
        assert found.nll_mean == pytest.approx(5.768321)
        assert found.nll_sum == pytest.approx(5.768321 * found.tokens)
    total = perplexity(model, ["The capital of France is Paris."], window=4, stride=2)
    assert total.nll_sum == pytest.approx(5.768321 * total.tokens)


def test_what_greedy_decoding_says_is_exact(tiny: Tiny) -> None:
    """A head taught to say the target: it is generated, it is exact, and one other word spoils that."""
    model = tiny("llama")
    said = prompt_ids(model.tokenizer, ["Rome"])[0]
    head = model.model.get_submodule("lm_head").get_parameter("weight")
    wanted = prompt_and_target(model.tokenizer, "Rome", "is the capital")[1]
    with torch.no_grad():  # teach the head to say the target: each state's row becomes that state, large
        states = model.hidden(torch.tensor([said + wanted]))[0, len(said) - 1 : -1]
        head.zero_()
        head[wanted] = 10 * states / states.norm(dim=1, keepdim=True) ** 2
    assert len(set(wanted)) == len(wanted)
    assert generate(model, ["Rome"], len(wanted)) == [" is the capital"]
    right, wrong = score(model, ["Rome", "Rome"], ["is the capital", "is the Paris"])
    assert right.exact
    assert not wrong.exact
    assert right.nll_mean < wrong.nll_mean


def test_a_prompt_with_several_targets_is_read_once(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[tuple[int, ...]] = []
    feed = Prefix.feed

    def counted(self: Prefix, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        read.append(tuple(ids.shape))
        return feed(self, ids, mask)

    monkeypatch.setattr(Prefix, "feed", counted)
    model = tiny("llama")
    score(model, ["Rome"] * 3, ["is", "is the", "a"])
    prompt = len(prompt_ids(model.tokenizer, ["Rome"])[0])
    assert read[0] == (1, prompt)
    assert [rows for rows, _ in read[1:]] == [3]


def test_the_vocabulary_never_has_to_fit_at_once(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny("llama")
    expected = score(model, PROMPTS, TARGETS)
    monkeypatch.setattr(score_module, "_LOGITS_AT_ONCE", 2 * 320)
    assert_close([s.nll_sum for s in score(model, PROMPTS, TARGETS)], [e.nll_sum for e in expected])


TEXTS = [
    "The capital of Japan is Tokyo, and the capital of Peru is Lima.",
    "Rome",
    "Berlin is the capital of Germany",
]


@pytest.mark.parametrize("family", ["llama", "gpt2", "falcon", "gemma3_text"])
def test_a_wide_window_reads_each_text_in_one_pass(family: str, tiny: Tiny) -> None:
    model = tiny(family)
    found = perplexity(model, TEXTS, window=64, stride=32, batch_rows=2)
    for text, ids in zip(found.per_text, prompt_ids(model.tokenizer, TEXTS), strict=True):
        logprobs = model.model(input_ids=torch.tensor([ids])).logits[0].log_softmax(dim=-1)
        assert text == pytest.approx(-sum(float(logprobs[i, ids[i + 1]]) for i in range(len(ids) - 1)))
    assert found.nll_sum == pytest.approx(sum(found.per_text))
    assert found.text_tokens == [len(ids) - 1 for ids in prompt_ids(model.tokenizer, TEXTS)]
    assert found.tokens == sum(found.text_tokens)


@pytest.mark.parametrize(("window", "stride"), [(5, 1), (5, 3), (5, 4)])
def test_sliding_windows_predict_each_token_once_in_its_context(tiny: Tiny, window: int, stride: int) -> None:
    """Token j falls in the first window that ends beyond it; windows end at window, window + stride, ..."""
    model = tiny("llama")
    ids = prompt_ids(model.tokenizer, TEXTS[:1])[0]
    total = 0.0
    for j in range(1, len(ids)):
        end = window
        while end <= j:
            end += stride
        end = min(end, len(ids))
        context = ids[max(0, end - window) : j]
        total -= float(model.model(input_ids=torch.tensor([context])).logits[0, -1].log_softmax(-1)[ids[j]])
    assert perplexity(model, TEXTS[:1], window, stride).nll_sum == pytest.approx(total)


def test_a_text_of_one_token_predicts_nothing(tiny: Tiny) -> None:
    assert perplexity(tiny("llama"), [""], window=8, stride=4) == (0.0, 0, [0.0], [0])


def test_nothing_to_score(tiny: Tiny) -> None:
    assert score(tiny("llama"), [], []) == []


def test_bad_arguments_are_refused(tiny: Tiny) -> None:
    model = tiny("llama")
    with pytest.raises(ValueError, match=r"shorter|longer"):
        score(model, ["The"], [])
    for stride in (0, 8):
        with pytest.raises(ValueError, match=f"stride={stride}"):
            perplexity(model, TEXTS, window=8, stride=stride)
    with pytest.raises(UserError, match="more than the 96 tiny-llama can read"):
        score(model, ["The " * 90], ["capital of France"])
    with pytest.raises(UserError, match="more than the 96"):
        perplexity(model, ["The " * 200], window=128, stride=64)
