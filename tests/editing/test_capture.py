"""Keys, states and key statistics: each as one text alone would give it."""

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from tests.tiny import exact_model, prompt, world_model
from upright.editing.capture import fact_moments, keys_at_fact, states_at_fact, text_moments
from upright.editing.method import alphaedit_ridge
from upright.editing.requests import Row, tokenised
from upright.editing.statistics import kept_moments
from upright.errors import UserError
from upright.models.causal import CausalModel, prompt_ids
from upright.models.layouts import capture_inputs, map_output

TEXTS = ["The capital of France is Paris.", "Rome", "Berlin is the capital of Germany, and Lima of Peru."]
ASKED = [
    ("The capital of France is", "France"),
    ("Peru has the capital", "Peru"),
    ("Name the capital of Japan", "Japan"),
]


def alone(model: CausalModel, ids: list[int], layer: int) -> tuple[Tensor, Tensor]:
    """Keys (T, k) and block outputs (T, d) of one text, read in a plain forward pass."""
    kept: list[Tensor] = []
    with (
        capture_inputs(model.model, [layer]) as inputs,
        map_output(model.blocks[layer], lambda s: kept.append(s) or s),  # type: ignore[func-returns-value]
    ):
        model.model(torch.tensor([ids]))
    return inputs[layer][0], kept[0][0]


@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma3_text", "opt"])
@pytest.mark.parametrize("batch_rows", [1, 3])
def test_keys_and_states_are_those_of_each_row_alone(family: str, batch_rows: int) -> None:
    model = exact_model(family)
    rows = [tokenised(model, prompt(*asked), "Tokyo") for asked in ASKED]
    keys, states = keys_at_fact(model, rows, 1, batch_rows), states_at_fact(model, rows, 1, batch_rows)
    for row, key, state in zip(rows, keys, states, strict=True):
        keys_alone, states_alone = alone(model, [*row.before, *row.after], 1)
        assert_close(key, keys_alone[len(row.before)], rtol=0, atol=1e-10)
        assert_close(state, states_alone[len(row.before)], rtol=0, atol=1e-10)


def test_nothing_stays_hooked() -> None:
    model, row = exact_model(), Row([0], [70])
    before = model.hidden(torch.tensor([[0, 70]]))
    keys_at_fact(model, [row], 0, 1)
    states_at_fact(model, [row], 0, 1)
    assert torch.equal(model.hidden(torch.tensor([[0, 70]])), before)


def test_moments_are_the_mean_of_outer_products_without_first_tokens() -> None:
    model = exact_model()
    found, count = text_moments(model, TEXTS, [0, 1], tokens=64, batch_rows=2)
    for layer in (0, 1):
        keys = torch.cat([alone(model, ids, layer)[0][1:] for ids in prompt_ids(model.tokenizer, TEXTS)]).numpy()
        wanted = np.mean([np.outer(key, key) for key in keys], axis=0)
        assert count == len(keys)
        assert_close(found[layer], torch.from_numpy(wanted), rtol=1e-5, atol=1e-7)


def test_moments_of_facts_are_those_of_their_keys() -> None:
    model = exact_model()
    rows = [tokenised(model, prompt(text, subject)) for text, subject in ASKED]
    found, count = fact_moments(model, rows, [0, 1], batch_rows=2)
    assert count == len(rows)
    for layer in (0, 1):
        keys = keys_at_fact(model, rows, layer, 8)
        assert_close(found[layer], keys.T @ keys / len(rows), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("batch_rows", [1, 2, 3])
def test_moments_do_not_depend_on_batches_padding_or_repetition(batch_rows: int) -> None:
    model = exact_model()
    whole, _ = text_moments(model, TEXTS, [1], tokens=64, batch_rows=8)
    doubled, _ = text_moments(model, [*TEXTS, *TEXTS[::-1]], [1], tokens=64, batch_rows=batch_rows)
    assert_close(doubled[1], whole[1], rtol=1e-5, atol=1e-7)


def test_moments_cut_texts_at_the_asked_length() -> None:
    model = exact_model()
    lengths = [min(5, len(ids)) - 1 for ids in prompt_ids(model.tokenizer, TEXTS)]
    assert text_moments(model, TEXTS, [0], tokens=5, batch_rows=2)[1] == sum(lengths)


def test_few_tokens_give_few_directions() -> None:
    """M < k tokens span at most M directions, so AlphaEdit would take unseen ones for free ones: refused."""
    model = exact_model()
    found, count = text_moments(model, TEXTS[:1], [1], tokens=64, batch_rows=1)
    width = found[1].shape[0]
    assert count < width
    values = torch.linalg.eigvalsh(found[1])
    assert int((values > 1e-6 * values[-1]).sum()) <= count
    unseen = width - count
    assert alphaedit_ridge(found[1], 1.0, 1 - 1e-5).prior.shape[0] >= unseen
    with pytest.raises(UserError, match=f"stats.sequences: {count} tokens cannot fill {width} key dimensions"):
        kept_moments(model, TEXTS[:1], [1], 64, 1)


def test_moments_are_kept_and_found_again() -> None:
    """The same texts on the same weights are read once; other weights are another matter."""
    texts = [f"{text} {i}" for i, text in enumerate(TEXTS * 3)]
    first = kept_moments(world_model(), texts, [0, 2], 64, 4)
    assert list(first) == [0, 2]
    silent = world_model()
    silent.hidden = None  # type: ignore[method-assign, assignment]
    again = kept_moments(silent, texts, [0, 2], 64, 4)
    assert all(torch.equal(first[layer], again[layer]) for layer in first)
    other = kept_moments(world_model(seed=1), texts, [0, 2], 64, 4)
    assert not torch.equal(first[0], other[0])
