"""Models that run here: the same answers in any batch, exact choices, forms of the prompt, room."""

import asyncio
import math
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from transformers import PreTrainedTokenizerFast

from upright.errors import UserError
from upright.models.causal import CausalModel
from upright.models.chat import Client, Completion, Message, Sampling
from upright.models.chat.prompts import defused, form_of
from upright.models.generate import generate, next_token_logprobs
from upright.models.score import score

Open = Callable[..., Client]
Tiny = Callable[..., CausalModel]
COUNTRIES = ["France", "Japan", "Peru", "Germany", "Italy", "Spain", "Chile", "India", "Kenya", "Norway"]
PROMPTS = [f"The capital of {country} is" for country in COUNTRIES]
LINE = Sampling(max_tokens=10, stop=("\n",))
WARM = Sampling(temperature=1.5, max_tokens=30, seed=4)


def said(text: str) -> list[Message]:
    return [Message("user", text)]


def ask(client: Client, prompts: list[str], sampling: Sampling = LINE, **options: Any) -> list[list[Completion]]:
    async def all_at_once() -> list[list[Completion]]:
        async with client:
            return await asyncio.gather(*(client.complete(said(p), sampling, **options) for p in prompts))

    return asyncio.run(all_at_once())


def texts(answers: list[list[Completion]]) -> list[list[str]]:
    return [[answer.text for answer in some] for some in answers]


def test_the_likeliest_answer_is_that_of_generate(local: Open, atlas: CausalModel) -> None:
    expected = [text.lstrip(" ") for text in generate(atlas, PROMPTS, 10)]
    assert texts(ask(local(), PROMPTS)) == [[text] for text in expected]
    assert "Paris" in expected[0]


@pytest.mark.parametrize("stem", ["", "Tom and Anna went to the river. They had a boat. " * 4], ids=["apart", "stem"])
def test_samples_do_not_depend_on_the_batch(local: Open, stem: str) -> None:
    """Alone, in small and in large batches, in another order, as part of more samples: always the same."""
    prompts = [stem + prompt for prompt in PROMPTS]
    expected = texts(ask(local(64), prompts, WARM, samples=4))
    assert len({text for some in expected for text in some}) > 25, "they differ"
    for rows in (1, 3, 16):
        assert texts(ask(local(rows), prompts, WARM, samples=4)) == expected
    assert texts(ask(local(16), prompts[::-1], WARM, samples=4)) == expected[::-1]
    assert texts(ask(local(5), prompts[2:4], WARM, samples=2)) == [some[:2] for some in expected[2:4]]
    assert texts(ask(local(16), prompts, replace(WARM, seed=5), samples=4)) != expected


def test_samples_follow_the_distribution(local: Open, atlas: CausalModel) -> None:
    """2,000 first tokens against the softmax at temperature 1: each share within 4 standard errors."""
    prompt = "The capital of"
    answers = ask(local(500), [prompt], Sampling(temperature=1.0, max_tokens=1), samples=2000)[0]
    shares = next_token_logprobs(atlas, [prompt])[0].exp()
    for token in shares.topk(5).indices.tolist():
        text = str(atlas.tokenizer.decode([token]))
        count = sum(answer.text == text.lstrip(" ") for answer in answers)
        share = float(shares[[i for i in range(len(shares)) if _same(atlas, i, text)]].sum())
        assert abs(count / 2000 - share) < 4 * math.sqrt(share * (1 - share) / 2000)


def _same(model: CausalModel, token: int, text: str) -> bool:
    return str(model.tokenizer.decode([token])).lstrip(" ") == text.lstrip(" ")


def test_top_p_draws_from_the_nucleus_alone(local: Open, atlas: CausalModel) -> None:
    probabilities = next_token_logprobs(atlas, ["The"])[0].double().exp().sort(descending=True)
    before = probabilities.values.cumsum(0) - probabilities.values
    nucleus = {str(atlas.tokenizer.decode([int(i)])).lstrip(" ") for i in probabilities.indices[before < 0.5]}
    answers = ask(local(), ["The"], Sampling(temperature=1.0, max_tokens=1, top_p=0.5), samples=100)[0]
    assert {answer.text for answer in answers} <= nucleus
    assert len({answer.text for answer in answers}) > 1


def test_calls_that_wait_share_a_batch(local: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    from upright.models.chat.local import LocalModel

    sizes: list[int] = []
    original = LocalModel._answer

    def watched(self: LocalModel, batch: Any, halted: Any) -> Any:
        sizes.append(sum(job.rows for job in batch))
        return original(self, batch, halted)

    monkeypatch.setattr(LocalModel, "_answer", watched)
    ask(local(16), [f"{prompt} not" for prompt in PROMPTS * 3], WARM)
    assert sizes == [10], "equal calls are one"
    sizes.clear()
    ask(local(16), [f"{i}" for i in range(40)], WARM)
    assert sizes == [16, 16, 8]


# --- choices ---


def test_choices_are_scored_exactly(local: Open, atlas: CausalModel) -> None:
    """Log-probabilities among the choices, against `score`, which reads each pair alone."""
    choices = ["Paris", "Tokyo", "Buenos Aires", "the sea"]
    answers = ask(local(3), PROMPTS[:3], Sampling(logprobs=True), choices=choices)
    for prompt, [answer] in zip(PROMPTS, answers, strict=False):
        sums = torch.tensor([-pair.nll_sum for pair in score(atlas, [prompt] * 4, choices, batch_rows=1)])
        expected = dict(zip(choices, sums.double().log_softmax(0).tolist(), strict=True))
        assert answer.text == max(expected, key=expected.__getitem__)
        assert answer.logprobs is not None
        assert dict(answer.logprobs[0].top) == pytest.approx(expected, abs=1e-4)
        assert answer.logprobs[0].logprob == max(logprob for _, logprob in answer.logprobs[0].top)


def test_drawn_choices_follow_the_softmax(local: Open) -> None:
    choices = ["Paris", "London", "Rome"]
    client = local()
    [answer] = ask(client, ["We went to"], Sampling(logprobs=True), choices=choices)[0]
    assert answer.logprobs is not None
    logprobs = torch.tensor([dict(answer.logprobs[0].top)[choice] for choice in choices], dtype=torch.float64)
    shares = (logprobs / 2).softmax(0).tolist()
    drawn = ask(client, ["We went to"], Sampling(temperature=2.0), samples=1000, choices=choices)[0]
    for choice, share in zip(choices, shares, strict=True):
        count = sum(answer.text == choice for answer in drawn)
        assert abs(count / 1000 - share) < 4 * math.sqrt(share * (1 - share) / 1000) + 1e-9


def test_a_choice_that_goes_on_where_another_ends_can_win(local: Open, atlas: CausalModel) -> None:
    """log p("a b") <= log p("a") always, so nested choices are told apart by how the answer ends."""
    prompt, choices = "Item Q12\nItem", ("Q1", "Q12")
    [answer] = ask(local(), [prompt], Sampling(stop=("\n",), logprobs=True), choices=choices)[0]
    scores = []
    for choice in choices:
        after = next_token_logprobs(atlas, [f"{prompt} {choice}"])[0].double()
        decoded = [str(atlas.tokenizer.decode([i])) for i in range(len(after))]
        ends = [i for i, text in enumerate(decoded) if text.startswith("\n") or i in atlas.eos_ids]
        scores.append(float(after[ends].logsumexp(0)) - score(atlas, [prompt], [choice])[0].nll_sum)
    expected = torch.tensor(scores).double().log_softmax(0).tolist()
    assert answer.logprobs is not None
    assert dict(answer.logprobs[0].top) == pytest.approx(dict(zip(choices, expected, strict=True)), abs=1e-4)
    assert answer.text == choices[expected.index(max(expected))]


def test_choices_never_yield_anything_else(local: Open, tiny: Tiny) -> None:
    """An untrained model and 2,000 draws at a high temperature."""
    model = tiny("llama", dtype=torch.float32)
    choices = ["Q1", "Q12", "Q123", "none of them"]
    answers = ask(local(64, False, model), ["Which?"], Sampling(temperature=5.0), samples=2000, choices=choices)[0]
    assert {answer.text for answer in answers} == set(choices)


# --- log-probabilities, length, room ---


def test_log_probabilities_of_tokens(local: Open, atlas: CausalModel) -> None:
    [answer] = ask(local(), PROMPTS[:1], Sampling(max_tokens=3, logprobs=True))[0]
    assert answer.logprobs is not None
    first = next_token_logprobs(atlas, PROMPTS[:1])[0].topk(20)
    assert [logprob for _, logprob in answer.logprobs[0].top] == pytest.approx(first.values.tolist(), abs=1e-4)
    assert answer.logprobs[0][:2] == answer.logprobs[0].top[0]
    assert len(answer.logprobs) == answer.usage.completion


def test_an_answer_ends_at_its_limit_or_at_the_context(local: Open, atlas: CausalModel) -> None:
    [short] = ask(local(), PROMPTS[:1], Sampling(max_tokens=2))[0]
    assert (short.finish, short.usage.completion, short.usage.prompt) == ("length", 2, 6)
    [full] = ask(local(context=8), PROMPTS[:1], Sampling(max_tokens=100))[0]
    assert (full.finish, full.text, full.usage.completion) == ("length", "Paris.", 2)
    [stopped] = ask(local(), PROMPTS[:1], Sampling(stop=(".",)))[0]
    assert (stopped.finish, stopped.text) == ("stop", "Paris")


@pytest.mark.parametrize("choices", [None, ["Paris"]])
def test_a_prompt_beyond_the_context_is_an_error_that_says_so(local: Open, choices: list[str] | None) -> None:
    [[long], [fits]] = ask(local(), ["word " * 600, "The"], choices=choices)
    assert fits.finish != "error"
    assert long.finish == "error"
    room = "a prompt of 603 tokens leaves no room for an answer of [13]: lab:atlas reads 512; shorten the prompt"
    assert re.fullmatch(room, long.error)


def test_tokens_are_counted_by_the_tokenizer(local: Open, atlas: CausalModel) -> None:
    client = local()
    assert client.count(said(PROMPTS[0])) == 6
    assert (client.context, client.name, client.weights) == (512, "lab:atlas", atlas)


def test_an_interrupt_ends_the_batch_and_the_client_goes_on(local: Open) -> None:
    async def leave(client: Client) -> None:
        call = asyncio.create_task(client.complete(said("Once"), Sampling(max_tokens=400, temperature=1.0), samples=8))
        await asyncio.sleep(0.05)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        await client.close()

    client = local()
    asyncio.run(leave(client))
    assert client.meter.snapshot().calls == 0
    assert "Paris" in ask(client, PROMPTS[:1])[0][0].text


def test_an_error_of_the_model_reaches_every_caller(local: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("upright.models.chat.local.write", full)
    with pytest.raises(UserError, match=r"lab:atlas: out of memory with 16 rows at once; lower speed.batch_rows"):
        ask(local(), PROMPTS)


def test_an_edited_model_is_asked_anew(local: Open, tiny: Tiny) -> None:
    """What is stored belongs to the weights, not to the name."""
    model = tiny("llama", dtype=torch.float32)
    client = local(16, False, model)

    async def before_and_after() -> tuple[Completion, Completion, Completion]:
        [before] = await client.complete(said("Hi"))
        with torch.no_grad():
            model.model.get_output_embeddings().weight.neg_()
        [after] = await client.complete(said("Hi"))
        with torch.no_grad():
            model.model.get_output_embeddings().weight.neg_()
        [again] = await client.complete(said("Hi"))
        await client.close()
        return before, after, again

    before, after, again = asyncio.run(before_and_after())
    assert before.text != after.text
    assert again == replace(before, cached=True)


# --- forms of the prompt ---

TEMPLATE = (
    "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system here') }}{% endif %}"
    "<{{ m.role }}>{{ m.content }}<eos>{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
)
TALK = [
    Message("system", "Be brief."),
    Message("user", "Hi"),
    Message("assistant", "Hello"),
    Message("user", "Who<eos>\n<bos>?"),
]


def test_forms(tiny: Tiny) -> None:
    model = tiny("llama")
    assert form_of(model, raw=True).write(TALK) == "Who<eos>\n<bos>?"
    plain = "Be brief.\nUser: Hi\nAssistant: Hello\nUser: Who< eos>\n< bos>?\nAssistant:"
    assert form_of(model, raw=False).write(TALK) == plain
    model.tokenizer.chat_template = TEMPLATE
    merged = "<user>Be brief.\n\nHi<eos><assistant>Hello<eos><user>Who< eos>\n< bos>?<eos><assistant>"
    assert form_of(model, raw=False).write(TALK) == merged
    with pytest.raises(UserError, match=r"tiny-llama: its chat template refuses the conversation .no system here"):
        form_of(model, raw=False).write(TALK[:1])


def test_control_tokens_of_data_lose_their_power(tokenizer: PreTrainedTokenizerFast) -> None:
    text = "a<eos>b<bos><eos><e<eos>os>"
    ids = tokenizer(defused(tokenizer, text), add_special_tokens=False)["input_ids"]
    assert not set(ids) & set(tokenizer.all_special_ids)


@pytest.mark.parametrize("template", [None, TEMPLATE])
def test_a_conversation_is_continued_in_the_models_form(local: Open, tiny: Tiny, template: str | None) -> None:
    """What is sampled is what `generate` gives for the text of the form."""
    model = tiny("llama", dtype=torch.float32)
    model.tokenizer.chat_template = template
    prompt = form_of(model, raw=False).write(said("Hi"))
    [expected] = generate(model, [prompt], 12, stop=("\nUser:",) if template is None else ("unheard of",))
    [answer] = ask(local(16, False, model), ["Hi"], Sampling(max_tokens=12))[0]
    assert answer.text == (expected.lstrip(" ") if template is None else expected)
