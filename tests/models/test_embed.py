"""Texts as vectors: means over their own tokens, whatever they are batched with."""

import json
from pathlib import Path

import pytest
import torch
from transformers import BertConfig, BertModel, BertTokenizer

from tests.tiny import write_model
from upright.cli import main
from upright.errors import UserError
from upright.knowledge.files import open_graph
from upright.knowledge.linking import candidates
from upright.models.causal import load
from upright.models.embed import Embedder

TEXTS = ["Lima", "the capital of Peru", "a", "Lima: the capital of Peru"]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT with random weights and a vocabulary of letters."""
    folder = tmp_path_factory.mktemp("encoder")
    words = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        *"abcdefghijklmnopqrstuvwxyz:",
        *(f"##{c}" for c in "abcdefghijklmnopqrstuvwxyz"),
    ]
    (folder / "vocab.txt").write_text("\n".join(words))
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=40,
    )
    BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    BertTokenizer(str(folder / "vocab.txt")).save_pretrained(folder)
    return folder


def test_the_mean_of_the_last_states_of_a_causal_model() -> None:
    model = load("lab:atlas", "cpu")
    for text, vector in zip(TEXTS, Embedder("lab:atlas", "cpu")(TEXTS), strict=True):
        ids = model.tokenizer(text, return_tensors="pt")["input_ids"]
        with torch.no_grad():
            mean = model.hidden(ids)[0].mean(0)
        torch.testing.assert_close(torch.tensor(vector), mean, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("rows", [1, 3])
def test_an_encoder_sees_no_padding(encoder: Path, rows: int) -> None:
    embed = Embedder(str(encoder), "cpu", batch_rows=rows)
    alone = [embed([text])[0] for text in TEXTS]
    together = embed(TEXTS)
    torch.testing.assert_close(torch.tensor(together), torch.tensor(alone), rtol=1e-4, atol=1e-5)
    assert len(together[0]) == 16
    assert embed([]) == []


def test_the_beginnings_of_texts_of_any_length(encoder: Path) -> None:
    embed = Embedder(str(encoder), "cpu", batch_rows=2)
    assert embed.longest == 40
    long = "a " * 60
    found = embed.beginnings([long, *TEXTS])
    assert found.tokens[0] == 62
    torch.testing.assert_close(found.vectors[1:], torch.tensor(embed(TEXTS)), rtol=1e-4, atol=1e-5)
    # [CLS] and 39 words of one letter, without the [SEP] of a whole text
    torch.testing.assert_close(found.vectors[0], embed._mean([[2, *[5] * 39]])[0], rtol=1e-4, atol=1e-5)
    assert embed.beginnings([]).vectors.shape == (0, 16)


def test_a_text_without_tokens_has_no_vector(tmp_path: Path) -> None:
    file = write_model(tmp_path) / "tokenizer.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "post_processor": None}))  # no token at the beginning
    embed = Embedder(str(tmp_path), "cpu")
    found = embed.beginnings(["", "Lima"])
    assert found.tokens[0] == 0
    assert found.vectors.isnan().all(1).tolist() == [True, False]
    with pytest.raises(UserError, match="has 0 tokens"):
        embed([""])


def test_what_is_too_long_or_not_whole_is_said(encoder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"has 62 tokens; .* reads 1 to 40"):
        Embedder(str(encoder), "cpu")(["a " * 60])
    with pytest.raises(UserError, match="unknown lab model 'atlos'"):
        Embedder("lab:atlos", "cpu")
    for file in encoder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 3}))
    with pytest.raises(UserError, match="16 weights are missing"):
        Embedder(str(tmp_path), "cpu")


def test_candidates_of_equal_fit_are_ranked_by_their_vectors(capsys: pytest.CaptureFixture[str]) -> None:
    graph = open_graph("lab:atlas")
    found = candidates(graph, "Lim", 5, Embedder("lab:atlas", "cpu"))
    by_fit = [one.score for one in found if one.how == found[-1].how]
    assert by_fit == sorted(by_fit, reverse=True)
    assert main(["kg", "link", "lab:atlas", "Lim", "--k", "5", "--embed", "lab:atlas", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)["found"]
    assert [row["id"] for row in shown] == [one.id for one in found]
