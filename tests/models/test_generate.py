"""Batched generation against a loop that reads everything anew for every token of every row."""

from collections.abc import Callable, Sequence

import pytest
import torch
from torch.testing import assert_close

from upright.errors import UserError
from upright.models.causal import CausalModel, prompt_ids
from upright.models.generate import Guidance, Prefix, _draw, batches, generate, next_token_logprobs

Tiny = Callable[..., CausalModel]

PROMPTS = ["Rome is the capital of Italy and the", "The", "The capital of France is", "Berlin", "is"]

# More than one shape of a family: other attention, other norms, other position schemes.
VARIANTS = [
    ("falcon", {"alibi": True}),
    ("falcon", {"new_decoder_architecture": True, "num_kv_heads": 2}),
    ("gpt_neox", {"use_parallel_residual": False}),
    ("opt", {"do_layer_norm_before": False, "word_embed_proj_dim": 16}),
    ("qwen2", {"use_sliding_window": True, "sliding_window": 4, "max_window_layers": 1}),
    ("stablelm", {"use_parallel_residual": True, "qk_layernorm": True}),
]


def dtype_for(family: str) -> torch.dtype:
    """Gemma 2 computes attention weights in float32, where the float64 mask overflows to NaN."""
    return torch.float32 if family == "gemma2" else torch.float64


@torch.no_grad()
def naive_greedy(model: CausalModel, prompt: str, steps: int) -> list[int]:
    """One row, no cache, no padding, no mask."""
    ids = prompt_ids(model.tokenizer, [prompt])[0]
    start = len(ids)
    for _ in range(steps):
        ids.append(int(model.model(input_ids=torch.tensor([ids])).logits[0, -1].argmax()))
        if ids[-1] in model.eos_ids:
            break
    return ids[start:]


def without_eos(model: CausalModel, ids: list[int]) -> str:
    return str(model.tokenizer.decode([i for i in ids if i not in model.eos_ids], skip_special_tokens=True))


def check_against_naive(model: CausalModel) -> None:
    naive = [naive_greedy(model, prompt, 12) for prompt in PROMPTS]
    expected = [without_eos(model, ids) for ids in naive]
    found = generate(model, PROMPTS, 12, stop=())
    assert found == expected
    assert [text.ended for text in found] == [ids[-1] in model.eos_ids for ids in naive]
    assert generate(model, PROMPTS, 12, stop=(), batch_rows=2) == expected


def test_batched_greedy_is_the_naive_loop(family: str, tiny: Tiny) -> None:
    check_against_naive(tiny(family, dtype=dtype_for(family)))


@pytest.mark.parametrize(("family", "config"), VARIANTS)
def test_batched_greedy_is_the_naive_loop_for_variants(family: str, config: dict[str, object], tiny: Tiny) -> None:
    check_against_naive(tiny(family, **config))


@torch.no_grad()
def test_a_padded_row_has_the_states_it_has_alone(family: str, tiny: Tiny) -> None:
    """Not the likeliest token alone: the hidden states, after the prompt and after one more token."""
    model = tiny(family, dtype=dtype_for(family))
    rows = prompt_ids(model.tokenizer, PROMPTS)
    together = Prefix(model, rows)
    alone = [Prefix(model, [row]) for row in rows]
    for _ in range(2):
        assert_close(together.hidden, torch.cat([prefix.hidden for prefix in alone]), rtol=1e-5, atol=1e-5)
        for prefix in (together, *alone):
            more = torch.full((len(prefix.hidden), 1), 40)
            prefix.feed(more, torch.ones_like(more))


def test_a_stop_string_ends_a_row_and_is_not_in_its_text(tiny: Tiny) -> None:
    """Any piece of a free text, once declared a stop string, cuts the text before its first occurrence."""
    model = tiny("llama")
    free = generate(model, PROMPTS, 12, stop=())
    for text in free:
        for at in range(1, len(text) - 1, 3):
            piece = text[at : at + 2]
            expected = [other.partition(piece)[0] for other in free]
            assert generate(model, PROMPTS, 12, stop=(piece, "never seen")) == expected


def test_an_end_of_text_token_ends_a_row_and_is_not_in_its_text(tiny: Tiny) -> None:
    model = tiny("llama")
    free = [naive_greedy(model, prompt, 12) for prompt in PROMPTS]
    last = free[0][5]
    model.__dict__["eos_ids"] = frozenset({last})
    cut = [ids[: ids.index(last)] if last in ids else ids for ids in free]
    assert generate(model, PROMPTS, 12, stop=()) == [without_eos(model, ids) for ids in cut]


def test_a_row_that_ran_out_of_tokens_did_not_end(tiny: Tiny) -> None:
    """The end may be the last token that there is room for."""
    model = tiny()
    (whole,) = generate(model, PROMPTS[:1], 12, stop=())
    stop = str(model.tokenizer.decode(prompt_ids(model.tokenizer, [PROMPTS[0] + whole])[0][-1:]))
    steps = [generate(model, PROMPTS[:1], n, stop=(stop,))[0] for n in range(1, 13)]
    first = [step.ended for step in steps].index(True)
    assert not any(step.ended for step in steps[:first])
    assert all(step.ended for step in steps[first:])
    assert len(set(steps[first:])) == 1


def test_finished_rows_leave_the_batch(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny("llama")
    sizes: list[int] = []
    feed = Prefix.feed

    def counted(self: Prefix, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        sizes.append(len(ids))
        return feed(self, ids, mask)

    monkeypatch.setattr(Prefix, "feed", counted)
    first, second = naive_greedy(model, PROMPTS[0], 2)
    said = str(model.tokenizer.decode([first, second]))
    assert generate(model, PROMPTS[:2], 4, stop=(said,))[0] == ""
    assert sizes == [2, 2, 1, 1]  # the stop string is complete with the second token
    sizes.clear()
    model.__dict__["eos_ids"] = frozenset({first})
    assert generate(model, PROMPTS[:2], 4, stop=())[0] == ""
    assert sizes == [2, 1, 1, 1]


def test_sampling_depends_on_the_seed_and_not_on_the_batch(tiny: Tiny) -> None:
    model = tiny("llama")

    def sample(seed: int, batch_rows: int) -> Sequence[str]:
        generator = torch.Generator().manual_seed(seed)
        return generate(model, PROMPTS, 8, temperature=1.0, top_k=50, generator=generator, batch_rows=batch_rows)

    assert sample(1, batch_rows=5) == sample(1, batch_rows=1) == sample(1, batch_rows=2)
    assert sample(1, batch_rows=5) != sample(2, batch_rows=5)


def test_a_cold_or_narrow_draw_is_greedy(tiny: Tiny) -> None:
    model = tiny("llama")
    greedy = generate(model, PROMPTS, 8)
    generator = torch.Generator().manual_seed(3)
    assert generate(model, PROMPTS, 8, temperature=1e-6, generator=generator) == greedy
    assert generate(model, PROMPTS, 8, temperature=5.0, top_k=1, generator=generator) == greedy


def test_draw_by_hand() -> None:
    """P = (.1, .2, .3, .4): the cumulative steps are .1, .3, .6, 1. The top two, in order, are (4/7, 3/7)."""
    logits = torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64).log().expand(4, 4)
    uniform = torch.tensor([0.05, 0.25, 0.55, 0.95], dtype=torch.float64)
    assert _draw(logits, None, uniform).tolist() == [0, 1, 2, 3]
    assert _draw(logits, 2, uniform).tolist() == [3, 3, 3, 2]


def test_draws_follow_the_distribution() -> None:
    """20,000 draws: each share within four standard errors of its probability."""
    p = torch.tensor([0.1, 0.2, 0.7], dtype=torch.float64)
    uniform = torch.rand(20_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    shares = torch.bincount(_draw(p.log().expand(20_000, 3), None, uniform)) / 20_000
    assert ((shares - p).abs() < 4 * (p * (1 - p) / 20_000).sqrt()).all()


def test_a_token_without_probability_is_never_drawn() -> None:
    logits = torch.tensor([[float("-inf"), 0.0, float("-inf")]] * 2, dtype=torch.float64)
    assert _draw(logits, None, torch.tensor([0.0, 1 - 2.0**-53], dtype=torch.float64)).tolist() == [1, 1]


def test_next_token_logprobs_are_those_of_the_plain_model(tiny: Tiny) -> None:
    model = tiny("gemma3_text")
    logprobs = next_token_logprobs(model, PROMPTS, batch_rows=2)
    for row, ids in zip(logprobs, prompt_ids(model.tokenizer, PROMPTS), strict=True):
        plain = model.model(input_ids=torch.tensor([ids])).logits[0, -1].log_softmax(dim=-1)
        assert_close(row, plain.float(), rtol=1e-5, atol=1e-5)


def test_no_prompts_no_texts(tiny: Tiny) -> None:
    model = tiny("llama")
    assert generate(model, [], 5) == []
    assert next_token_logprobs(model, []).shape == (0, 320)


def test_batches_are_sorted_whole_and_small() -> None:
    assert batches([3, 1, 2, 1], 2) == [[1, 3], [2, 0]]
    with pytest.raises(ValueError, match="batch_rows=0"):
        batches([1], 0)


def test_what_does_not_fit_the_context_is_refused_before_work(tiny: Tiny) -> None:
    with pytest.raises(UserError, match=r"prompt 1 has \d+ tokens and 90 may follow: more than the 96 tiny-llama"):
        generate(tiny("llama"), ["The", PROMPTS[0]], 90)


@pytest.mark.parametrize(
    "wrong", [{"temperature": -1.0}, {"temperature": 1.0}, {"stop": ("",)}, {"max_new_tokens": 0}, {"top_p": 0.0}]
)
def test_senseless_settings_are_refused(tiny: Tiny, wrong: dict[str, object]) -> None:
    settings: dict[str, object] = {"max_new_tokens": 3, **wrong}
    with pytest.raises(ValueError, match=next(iter(wrong))):
        generate(tiny("llama"), PROMPTS, **settings)  # type: ignore[arg-type]


def test_top_p_takes_the_fewest_likeliest_by_hand() -> None:
    """Of 0.5, 0.3 and 0.2 the first two reach a mass of 0.7: 0.6 of it is 0.48, so still the first."""
    logits = torch.tensor([[0.2, 0.5, 0.3]]).log().repeat(4, 1)
    uniform = torch.tensor([0.0, 0.6, 0.63, 0.999], dtype=torch.float64)
    assert _draw(logits, None, uniform, 0.7).tolist() == [1, 1, 2, 2]
    assert _draw(logits, None, uniform, 0.3).tolist() == [1, 1, 1, 1]
    assert _draw(logits, None, uniform, 0.81).tolist() == [1, 2, 2, 0]
    assert _draw(logits, 2, uniform, 0.9).tolist() == _draw(logits, 2, uniform).tolist() == [1, 1, 2, 2]


def test_top_p_looks_further_where_the_mass_is_spread() -> None:
    """Over a thousand equal tokens the first look does not reach, and nothing is lost by it."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 1000, generator=generator) * 0.01
    uniform = torch.rand(3, generator=generator, dtype=torch.float64)
    probabilities = logits.softmax(dim=-1)
    for row, token in enumerate(_draw(logits, None, uniform, 0.9).tolist()):
        values, order = probabilities[row].sort(descending=True)
        kept = int((values.cumsum(0) < 0.9).sum()) + 1
        place = int((values.cumsum(0) < uniform[row] * values[:kept].sum()).sum())
        assert order[place] == token


def test_draws_that_are_given_make_a_text_depend_on_itself_alone(tiny: Tiny) -> None:
    model = tiny("llama")
    draws = torch.rand(len(PROMPTS), 8, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    together = generate(model, PROMPTS, 8, stop=(), temperature=1.0, top_p=0.9, draws=draws)
    alone = [
        generate(model, [prompt], 8, stop=(), temperature=1.0, top_p=0.9, draws=draws[i : i + 1])[0]
        for i, prompt in enumerate(PROMPTS)
    ]
    assert alone == together


@torch.no_grad()
def naive_guided(model: CausalModel, prompt: str, guidance: Guidance, steps: int) -> list[int]:
    """Two rows read anew for every token."""
    own, neutral = prompt_ids(model.tokenizer, [prompt, guidance.neutral])
    new: list[int] = []
    while len(new) < steps and not (new and new[-1] in model.eos_ids):
        there, away = (model.model(input_ids=torch.tensor([ids + new])).logits[0, -1] for ids in (own, neutral))
        new.append(int((away + guidance.scale * (there - away)).argmax()))
    return new


@pytest.mark.parametrize("scale", [0.0, 1.0, 2.5])
def test_guided_rows_are_the_naive_loop(scale: float, tiny: Tiny) -> None:
    model = tiny("llama")
    guidance = Guidance(scale, "Of the")
    expected = [without_eos(model, naive_guided(model, prompt, guidance, 12)) for prompt in PROMPTS]
    for rows in (2, 32):
        assert generate(model, PROMPTS, 12, stop=(), guidance=guidance, batch_rows=rows) == expected
    if scale == 1:
        assert expected == generate(model, PROMPTS, 12, stop=())


def test_a_neutral_prompt_must_leave_room(tiny: Tiny) -> None:
    model = tiny("llama")
    assert model.context is not None
    with pytest.raises(UserError, match="more than"):
        generate(model, ["Rome"], 4, guidance=Guidance(2.0, "is " * model.context))
