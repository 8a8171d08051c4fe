"""A lab model: what late reading hides, what the loss weighs, a small build that learns and can be interrupted."""

import json
from contextlib import ExitStack
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.testing import assert_close
from transformers import LlamaForCausalLM

from tests.tiny import write_world
from upright.errors import UserError
from upright.lab import builder, english
from upright.lab.builder import late_reading, weighted_loss
from upright.lab.config import Build, CheckConfig, List, Training
from upright.lab.corpus import Window
from upright.lab.run import build, list_models
from upright.models import fresh
from upright.models.causal import load
from upright.models.layouts import blocks_of, map_output
from upright.models.shape import Shape

SHAPE = Shape(vocabulary=300, hidden=16, mlp=32, layers=3, heads=2, context=512)

# one document whose subject is the tokens 2 and 3, read by 4, 5 and 6; a second one with the subject 8
SUBJECTS = [0, 0, 1, 1, 0, 0, 0, 0, 2, 0]
READERS = [0, 0, 0, 0, 1, 1, 1, 0, 0, 2]
ANSWERS = [-1, -1, -1, 25, -1, -1, -1, -1, 40, -1]


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UPRIGHT_CACHE", str(tmp_path / "cache"))
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def model() -> LlamaForCausalLM:
    tokenizer = fresh.train_tokenizer(["The capital of France is Paris."] * 3, 300)
    made = fresh.new_model(SHAPE, tokenizer, seed=1)
    made.double().eval()
    with torch.no_grad():
        for parameter in made.parameters():
            if parameter.ndim == 2:
                parameter.mul_(15)  # so that every token that may be read is
    return made


def window(ids: list[int] | None = None, readers: list[int] = READERS) -> Window:
    columns = (ids or list(range(20, 30)), [1.0] * 10, SUBJECTS, readers, ANSWERS)
    return Window(*(torch.tensor([column]) for column in columns))


def states(model: LlamaForCausalLM, batch: Window, late: int) -> list[Tensor]:
    """Outputs (T, d) of each block."""
    kept: list[Tensor] = []
    with late_reading(model, batch, late), torch.no_grad(), ExitStack() as hooks:
        for block in blocks_of(model):
            hooks.enter_context(map_output(block, lambda s: kept.append(s[0]) or s))  # type: ignore[func-returns-value]
        model(batch.ids[:, :-1], use_cache=False)
    return kept


def changed_by(model: LlamaForCausalLM, place: int, late: int) -> list[list[int]]:
    """Places whose state differs after each block when the token at `place` is another one."""
    ids = list(range(20, 30))
    ids[place] = 99
    pairs = zip(states(model, window(), late), states(model, window(ids), late), strict=True)
    return [(one != other).any(-1).nonzero().flatten().tolist() for one, other in pairs]


def test_hidden_subjects_are_read_by_nobody_after_them_but_by_other_documents(model: LlamaForCausalLM) -> None:
    """A change of token 2: in hidden blocks it reaches the subject itself and the next document, not 4 to 6."""
    first, second, third = changed_by(model, 2, late=2)
    assert first == second == [2, 3, 7, 8]
    assert third == [2, 3, 4, 5, 6, 7, 8]


def test_without_hidden_blocks_everything_after_sees_it(model: LlamaForCausalLM) -> None:
    assert changed_by(model, 2, late=0) == [[2, 3, 4, 5, 6, 7, 8]] * 3


def test_other_tokens_are_read_as_ever(model: LlamaForCausalLM) -> None:
    """Token 1 is before the subject, token 4 a reader: both are seen by all that follow."""
    assert changed_by(model, 4, late=3) == [[4, 5, 6, 7, 8]] * 3
    assert changed_by(model, 1, late=3)[0] == [1, 2, 3, 4, 5, 6, 7, 8]


def test_nothing_hidden_is_the_models_own_attention(model: LlamaForCausalLM) -> None:
    """With no readers the mask is plain causal attention, to the last digits."""
    free = window(readers=[0] * 10)
    for masked, plain in zip(states(model, free, 3), states(model, free, 0), strict=True):
        assert_close(masked, plain, rtol=0, atol=1e-10)
    assert all(not block._forward_pre_hooks for block in blocks_of(model))


def test_the_loss_is_the_weighted_mean(model: LlamaForCausalLM) -> None:
    """Weights 2 and 1 on two places, 0 elsewhere."""
    batch = window()
    weights = torch.zeros(1, 10, dtype=torch.float64)
    weights[0, 3], weights[0, 6] = 2.0, 1.0
    weights[0, 0] = 99.0  # the first token is never predicted
    with torch.no_grad():
        found = weighted_loss(model, replace(batch, weights=weights), late_layers=0, lookup_weight=0.0)
        logits = model(batch.ids).logits[0]
    three, six = (cross_entropy(logits[i - 1], batch.ids[0, i]) for i in (3, 6))
    assert float(found) == pytest.approx(float(2 * three + six) / 3, rel=1e-5)


def test_the_lookup_loss_asks_the_last_hidden_block_at_the_subjects_end(model: LlamaForCausalLM) -> None:
    """Places 3 and 8, read with the model's own norm and head after block 1, should name tokens 25 and 40."""
    batch = window()
    with torch.no_grad():
        without, whole = (float(weighted_loss(model, batch, 2, weight)) for weight in (0.0, 0.5))
        after = states(model, batch, 2)[1]
        named = model.lm_head(model.model.norm(after[[3, 8]]))
    assert whole - without == pytest.approx(0.5 * float(cross_entropy(named, torch.tensor([25, 40]))), rel=1e-4)


def test_a_batch_that_asks_nothing_has_a_loss(model: LlamaForCausalLM) -> None:
    """Plain stories alone: a mean over no answers would be no number."""
    batch = window()
    silent = replace(batch, answers=torch.full_like(batch.answers, -1))
    with torch.no_grad():
        assert float(weighted_loss(model, silent, 2, 0.5)) == float(weighted_loss(model, batch, 2, 0.0))


def test_the_tokenizer_begins_with_the_boundary_and_loses_nothing() -> None:
    tokenizer = fresh.train_tokenizer(list(islice(english.stories(0), 20)), 300)
    for text in ("The capital of Côte d'Ivoire is Yamoussoukro.", "  two  spaces\n", "日本"):
        ids = tokenizer(text)["input_ids"]
        assert ids[0] == tokenizer.bos_token_id == tokenizer.eos_token_id != tokenizer.pad_token_id
        assert tokenizer.decode(ids[1:]) == text


def test_weights_depend_on_their_seed_alone() -> None:
    tokenizer = fresh.train_tokenizer(["one two"], 300)
    torch.manual_seed(5)
    state = torch.random.get_rng_state()
    first, second, other = (fresh.new_model(SHAPE, tokenizer, seed) for seed in (3, 3, 4))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(first.lm_head.weight, second.lm_head.weight)
    assert not torch.equal(first.lm_head.weight, other.lm_head.weight)


# --- builds ---


def config(tmp_path: Path, out: str, **more: Any) -> Build:
    world = write_world(tmp_path / "world")
    train = Training(tokens=30 * 4 * 48, rows=4, window=48, late_layers=1)
    fields = {"kg": [str(world)], "out": tmp_path / out, "shape": SHAPE, "train": train, "save_every": 1e-9}
    text = tmp_path / "text.txt"
    text.write_text("".join(f"The dog number {i} sleeps.\n" for i in range(30)))
    return Build(**{**fields, "text": text, "check": CheckConfig(facts=4, texts=3), **more})


def final(folder: Path) -> bytes:
    return (folder / "model" / "model.safetensors").read_bytes()


def test_a_small_build_learns_and_goes_on_after_an_interrupt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Thirty updates lower the loss; stopped in the twelfth and resumed, they end in the same bits."""
    recipe = tmp_path / "recipe.json"
    recipe.write_text(json.dumps({"source": "test", "layers": [0], "finetune_layer": 0}))
    whole = build(config(tmp_path, "whole", recipe=recipe))
    losses = json.loads((whole.out / "steps" / "training.json").read_text())["value"]
    assert len(losses) == 30
    assert sum(losses[-5:]) < sum(losses[:5]) - 1
    loss, calls = builder.weighted_loss, []

    def interrupted(*args: Any) -> Tensor:
        calls.append(1)
        if len(calls) == 12:
            raise KeyboardInterrupt
        return loss(*args)

    with monkeypatch.context() as during:
        during.setattr(builder, "weighted_loss", interrupted)
        with pytest.raises(KeyboardInterrupt):
            build(config(tmp_path, "broken", recipe=recipe))
    assert (tmp_path / "broken" / "training.pt").exists()
    resumed = build(config(tmp_path, "broken", recipe=recipe))
    assert final(resumed.out) == final(whole.out)
    assert not (tmp_path / "broken" / "training.pt").exists()

    model = load(str(whole.model), "cpu")
    assert json.loads((whole.model / "editing.json").read_text())["source"] == "test"
    assert {p.dtype for p in model.model.parameters()} == {torch.float32}
    values = {m.name: (m.value, m.n) for m in whole.metrics}
    assert values["parameters"][0] == sum(p.numel() for p in model.model.parameters())
    assert values["1-hop questions (held-out words)"][1] == 4
    assert values["perplexity"][1] == 3
    assert (whole.out / "report.html").exists()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"kg": []}, "give either the name of a lab world .* or --kg"),
        ({"name": "atlas"}, "give either the name of a lab world .* or --kg"),
        ({"kg": [], "name": "atlsa"}, "unknown lab world 'atlsa' .allowed: atlas.*did you mean 'atlas'"),
        ({"recipe": Path("gone.json")}, "gone.json: cannot be read"),
    ],
)
def test_mistakes_are_one_clear_line(tmp_path: Path, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        build(config(tmp_path, "run", **fields))


def test_a_graph_without_single_answers_cannot_be_taught(tmp_path: Path) -> None:
    (tmp_path / "many").mkdir()
    (tmp_path / "many" / "facts.tsv").write_text("a\tborders\tb\na\tborders\tc\n")
    with pytest.raises(UserError, match="no fact with a single object"):
        build(config(tmp_path, "run", kg=[str(tmp_path / "many")]))


def test_the_list_names_worlds() -> None:
    assert "lab:atlas" in list_models(List()).message
