import numpy as np
import pytest
import torch

from tests.tiny import exact_model
from upright.audit.exposure.inference import guesses, representations
from upright.audit.texts import Text

FILLER = ["red", "blue", "green", "grey"]


def people(n: int, seed: int, told: bool) -> tuple[np.ndarray, list[Text]]:
    """Texts whose attribute is a coin; if `told`, a word of the text gives it away."""
    rng = np.random.default_rng(seed)
    coin = rng.integers(0, 2, n)
    words = [" ".join(rng.choice(FILLER, 4)) + (" odd" if told and c else "") for c in coin]
    return coin, [Text(str(i), word, "ab"[c]) for i, (word, c) in enumerate(zip(words, coin, strict=True))]


def test_states_that_know_the_attribute_help_and_others_do_not() -> None:
    coin, texts = people(120, 0, told=False)
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(120, 8))
    knows = noise + np.r_[3.0, np.zeros(7)] * coin[:, None]
    right = guesses(knows, texts, 4, rng).mean(0)
    assert right[0] > 0.85
    assert right[1] < 0.65
    blind = guesses(noise, texts, 4, np.random.default_rng(1)).mean(0)
    assert blind[0] < 0.65  # 120 coins: 65 % lies 3.3 standard deviations above one half


def test_what_the_text_says_is_found_without_the_model() -> None:
    _, texts = people(120, 1, told=True)
    right = guesses(np.zeros((120, 2)), texts, 4, np.random.default_rng(0)).mean(0)
    assert right[1] > 0.95
    assert right[0] > 0.95


def test_representations_do_not_depend_on_the_batch() -> None:
    model = exact_model()
    texts = ["The capital", "Berlin is the capital of Germany", "Peru"]
    together, alone = (representations(model, texts, n) for n in (3, 1))
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-6)
    ids = torch.tensor([model.tokenizer(texts[1])["input_ids"]])
    states = model.hidden(ids)
    torch.testing.assert_close(together[1, :-1], states[0].mean(0), rtol=1e-5, atol=1e-6)
    chance = model.unembed(states)[0, :-1].log_softmax(-1).gather(1, ids[0, 1:, None]).mean()
    assert together[1, -1] == pytest.approx(float(chance), rel=1e-5)
