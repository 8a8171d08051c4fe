"""Tuning with DP-SGD: killed and resumed, with and without noise, as factors or whole."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.synthesis.places import settings
from upright.errors import UserError
from upright.models import causal
from upright.synthesis.codes import Codes
from upright.synthesis.config import Config
from upright.synthesis.generators import tuned
from upright.synthesis.generators.base import _calm
from upright.synthesis.generators.course import Course
from upright.synthesis.generators.protocol import Task, members_of, uniforms
from upright.synthesis.reading import read
from upright.training.private import Secure, Seeded


def task(config: Config, folder: Path, **more: Any) -> Task:
    corpus = read(config)
    given: dict[str, Any] = {
        "config": config,
        "corpus": corpus,
        "members": members_of(corpus),
        "codes": Codes.of(corpus, config.codes),
        "seed_for": lambda name: sum(map(ord, name)),
        "state": folder / "state.pt",
        "out": folder,
    }
    return Task(**{**given, **more})


@pytest.fixture
def dies_at(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Makes the next training stop before that step, as a Ctrl-C does."""

    def set_at(step: int) -> None:
        real = Course._step

        def stopping(self: Course) -> None:
            if self.training.steps_taken == step:
                monkeypatch.setattr(Course, "_step", real)
                raise KeyboardInterrupt
            real(self)

        monkeypatch.setattr(Course, "_step", stopping)

    return set_at


SPEED = {"device": "cpu", "save_every": 1e-9}


@pytest.mark.parametrize("method", ["lora", "full"])
def test_killed_and_resumed_is_unbroken(tmp_path: Path, dies_at: Callable[[int], None], method: str) -> None:
    tune = {"epochs": 2, "batch": 20, "rank": 2, "tokens": 48, "chance": "seeded", "method": method}
    config = settings(tmp_path, tune=tune, speed=SPEED)
    unbroken = tuned.fit(task(config, tmp_path / "a"))
    dies_at(3)
    with pytest.raises(KeyboardInterrupt) as error:
        tuned.fit(task(config, tmp_path / "b"))
    spent = next(note for note in error.value.__notes__ if note.startswith("tuning"))
    assert spent.endswith("spent in 3 of 6 steps")
    again = tuned.fit(task(config, tmp_path / "b"))
    assert again.certificate == unbroken.certificate
    assert again.certificate is not None
    assert again.certificate.steps == 6
    np.testing.assert_array_equal(again.shares, unbroken.shares)
    codes, seeds = [("money",), ("town",)] * 2, [1, 2, 3, 4]
    assert again.write(codes, seeds) == unbroken.write(codes, seeds)


def test_counts_are_asked_once_over_a_kill(tmp_path: Path, dies_at: Callable[[int], None]) -> None:
    """With secure chance a second answer would differ from the first, and cost as much again."""
    config = settings(tmp_path, tune={"epochs": 1, "batch": 20, "tokens": 48}, codes={"share": 0.5})
    dies_at(0)
    with pytest.raises(KeyboardInterrupt):
        tuned.fit(task(config, tmp_path))
    answer = torch.load(tmp_path / "state.pt", weights_only=True)["shares"]
    found = tuned.fit(task(config, tmp_path))
    assert found.certificate is not None
    assert found.certificate.queries == {"counts": 1}
    np.testing.assert_allclose(found.shares, answer.clamp(min=0) / answer.clamp(min=0).sum(), rtol=1e-5)


def test_what_is_handed_over_is_what_writes(tmp_path: Path) -> None:
    """The adapter, put on the base by peft, gives the logits of the live model."""
    from peft import PeftModel

    config = settings(tmp_path)
    live = tuned.fit(task(config, tmp_path))
    base = causal.load(config.model, "cpu")
    with _calm():
        loaded = PeftModel.from_pretrained(base.model, str(tmp_path / "adapter"))
    ids = torch.tensor([[5, 9, 40, 7]])
    with torch.no_grad():
        theirs, ours = loaded(input_ids=ids).logits, live.model.model(input_ids=ids).logits
        plain = causal.load(config.model, "cpu").model(input_ids=ids).logits
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    assert (ours - plain).abs().max() > 1e-3


def test_without_noise_it_learns_its_records(tmp_path: Path) -> None:
    tune = {"epochs": 30, "batch": 20, "rank": 8, "tokens": 48, "learning_rate": 0.02, "clip": 10.0, "method": "full"}
    found = tuned.fit(task(settings(tmp_path, tune=tune, epsilon=math.inf), tmp_path, control=True))
    assert found.certificate is not None
    assert found.certificate.epsilon == math.inf
    texts = [draft.text for draft in found.write([("money",), ("town",)] * 5, list(range(10)))]
    assert all(text.startswith("The ") for text in texts)
    assert sum("currency" in text for text in texts[::2]) > sum("currency" in text for text in texts[1::2])


def test_a_text_depends_on_its_seed_alone(tmp_path: Path) -> None:
    found = tuned.fit(task(settings(tmp_path), tmp_path))
    codes, seeds = [("money",), ("town",), ("money",)], [5, 6, 7]
    together = found.write(codes, seeds)
    assert [found.write([code], [seed])[0] for code, seed in zip(codes, seeds, strict=True)] == together
    assert len(set(together)) == 3
    assert uniforms([5], 4).tolist() == uniforms([6, 5], 4)[1:].tolist()


def test_chance_is_secure_unless_asked_otherwise(tmp_path: Path) -> None:
    config = settings(tmp_path, tune={"chance": "secure"})
    assert isinstance(task(config, tmp_path).randomness("x"), Secure)
    assert isinstance(task(config, tmp_path, control=True).randomness("x"), Seeded)
    assert isinstance(task(settings(tmp_path), tmp_path).randomness("x"), Seeded)


def test_canaries_are_learnt_but_not_counted(tmp_path: Path) -> None:
    given = task(settings(tmp_path), tmp_path, planted=2)
    assert [len(codes) for codes in given.unit_codes] == [2] * 58 + [0, 0]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"sampling": {"tokens": 300}}, "sampling.tokens=300: with a code of"),
        ({"tune": {"tokens": 300}}, "tune.tokens=300: tiny reads 256 tokens at most"),
        ({"delta": 0.5}, "delta=0.5 with 60 units"),
    ],
)
def test_mistakes_end_before_training(tmp_path: Path, more: dict[str, Any], message: str) -> None:
    config = settings(tmp_path, **more)
    with pytest.raises(UserError) as error:
        tuned.fit(task(config, tmp_path))
    assert message.replace("tiny", config.model) in str(error.value)
    assert not (tmp_path / "state.pt").exists()
