"""One reading of a text against one text at a time."""

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from tests.tiny import world_model
from upright.models.causal import prompt_ids
from upright.synthesis.corpus import Corpus
from upright.synthesis.passes import read, read_sides

TEXTS = ["The capital of France is Paris.", "Lyon", "The currency of Spain is peseta and the code is ESP."]


@torch.no_grad()
def test_vectors_and_likelihoods_are_those_of_each_text_alone() -> None:
    model = world_model()
    found = read(model, TEXTS, batch_rows=2)
    for i, ids in enumerate(prompt_ids(model.tokenizer, TEXTS)):
        output = model.model(input_ids=torch.tensor([ids]), output_hidden_states=True)
        nll = cross_entropy(output.logits[0, :-1], torch.tensor(ids[1:]), reduction="sum")
        np.testing.assert_allclose(found.nlls[i], [float(nll), len(ids) - 1], rtol=1e-5)
        np.testing.assert_allclose(found.vectors[i], output.hidden_states[-1][0].mean(0), rtol=1e-4, atol=1e-5)
    assert not found.cut.any()


def test_what_is_longer_than_the_model_reads_is_cut_and_counted() -> None:
    model = world_model()
    assert model.context is not None
    found = read(model, ["Paris " * 400, "Lyon"])
    assert found.cut.tolist() == [True, False]
    assert found.nlls[0, 1] == model.context - 1


def test_sides_are_read_in_one_pass_each_as_alone() -> None:
    model = world_model()
    sides = {"a": Corpus((), TEXTS[:2], [()] * 2), "b": Corpus((), TEXTS[2:], [()])}
    found = read_sides(lambda: model, sides, 16)
    whole = read(model, TEXTS)
    assert [len(found[name].vectors) for name in sides] == [2, 1]
    assert found["b"].nlls[0] == pytest.approx(whole.nlls[2], rel=1e-5)
