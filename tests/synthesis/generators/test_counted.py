"""Noised n-grams in a run: the budget, a kill after the first answer, the control, and what stays secret."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.synthesis.generators.test_tuned import task
from tests.synthesis.places import settings
from upright.errors import UserError
from upright.models import causal
from upright.synthesis import run
from upright.synthesis.generators import counted
from upright.synthesis.generators.asking import Queries
from upright.synthesis.generators.spelling import public_words, words_of

UTILITY = {"utility": True, "coreference": False, "closeness": False, "leakage": False, "canaries": 4, "resamples": 20}
SECURE = {"chance": "secure"}


def test_a_run_earns_its_budget_and_writes_public_words(tmp_path: Path) -> None:
    found = run(settings(tmp_path, generator="ngrams", control="train", evaluation=UTILITY, tune=SECURE))
    statement = json.loads((found.out / "certificate.json").read_text())
    assert 3.5 < statement["epsilon"] <= 4
    assert statement["queries"] == {"n-grams": 2, "counts": 1}
    assert statement["covers_the_records"]
    public = set(public_words(causal.peek(str(tmp_path / "model"))[0].get_vocab()))
    assert {word for text in found.records.texts for word in words_of(text)} <= public
    assert ("kind: macro-F1", "control") in {(metric.name, metric.split) for metric in found.metrics}
    assert not [name for name in ("work", "private") if (found.out / name).exists()]


def test_a_killed_run_asks_no_query_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Secure noise is never the same twice, so equal answers were not asked anew."""
    given = task(settings(tmp_path, tune=SECURE), tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(counted, "shares_of", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            counted.fit(given)
    first = torch.load(given.state, weights_only=True)["answers"]
    assert [len(first[name]) for name in ("n-grams", "counts")] == [2, 0]
    found = counted.fit(given)
    again = torch.load(given.state, weights_only=True)["answers"]
    assert found.certificate is not None
    assert found.certificate.queries == {"n-grams": 2, "counts": 1}
    assert all(torch.equal(a, b) for a, b in zip(first["n-grams"], again["n-grams"], strict=True))


def test_a_killed_run_goes_on_to_the_same_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unbroken = run(settings(tmp_path, "a", generator="ngrams"))
    saved: list[int] = []
    real = Queries._save

    def dying(self: Queries) -> None:
        real(self)
        saved.append(1)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Queries, "_save", dying)
        for answers in (1, 2, 3):  # dies after each answer in turn
            with pytest.raises(KeyboardInterrupt):
                run(settings(tmp_path, "b", generator="ngrams"))
            assert len(saved) == answers
    again = run(settings(tmp_path, "b", generator="ngrams"))
    assert again.records == unbroken.records
    assert again.certificate == unbroken.certificate


def test_the_control_counts_exactly_and_asks_nobody_for_the_codes(tmp_path: Path) -> None:
    config = settings(tmp_path, epsilon=math.inf)
    given = task(config, tmp_path, control=True, given=[("money",), ("town",)])
    found = counted.fit(given)
    assert found.certificate is not None
    assert (found.certificate.epsilon, found.certificate.queries) == (math.inf, {"n-grams": 2})
    assert given.wanted(found.shares) == [("money",), ("town",)]
    assert found.model is None
    texts = [draft.text for draft in found.write([("money",), ("town",)] * 10, range(20))]
    assert not [text for text in texts[::2] if "paris" in text.lower()]
    assert not [text for text in texts[1::2] if "franc" in words_of(text)]
    assert "franc" in words_of(" ".join(texts))


def test_a_text_depends_on_its_seed_alone(tmp_path: Path) -> None:
    found = counted.fit(task(settings(tmp_path, epsilon=4.0), tmp_path))
    together = found.write([("money",), ("town",), ("town",)], [5, 6, 7])
    assert [found.write([("town",)], [seed])[0] for seed in (6, 7)] == together[1:]


def test_the_draws_of_a_release_are_as_secret_as_its_noise(tmp_path: Path) -> None:
    def draws(**more: object) -> list[list[float]]:
        given = [task(settings(tmp_path, tune=SECURE), tmp_path, **more) for _ in range(2)]
        return [counted._chance(each).random(3).tolist() for each in given]

    release, control = draws(), draws(control=True)
    assert release[0] != release[1]
    assert control[0] == control[1]


def test_counts_that_the_noise_drowned_are_told(tmp_path: Path) -> None:
    found = counted.fit(task(settings(tmp_path, epsilon=1e-3), tmp_path))
    assert any(line.startswith("The noise drowned all counts of n-grams of order") for line in found.limits)
    assert np.isclose(found.shares.sum(), 1)


def test_a_vocabulary_of_ones_own_is_all_that_is_written(tmp_path: Path) -> None:
    path = tmp_path / "words.txt"
    path.write_text("The currency\nof France is: FRANC, the")
    found = run(settings(tmp_path, generator="ngrams", ngrams={"vocabulary": path}, evaluation=UTILITY))
    public = {"the", "currency", "of", "france", "is", "franc", ":", ","}
    assert {word for text in found.records.texts for word in words_of(text)} <= public
    assert str(path) in json.loads((found.out / "manifest.json").read_text())["inputs"]
    page = found.report.read_text()
    assert f"Only the 8 words and marks of {path} are counted" in page
    assert f"the words in {path}" in page


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "cannot be read"), (b"\xff", "give a text file in UTF-8"), (b" \n", "has no words; give a text file")],
)
def test_a_vocabulary_that_cannot_be_used(tmp_path: Path, content: bytes | None, said: str) -> None:
    path = tmp_path / "words.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=said) as error:
        run(settings(tmp_path, generator="ngrams", ngrams={"vocabulary": path}))
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run").exists()


def test_mistakes_end_before_anything_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"delta=0.5 with 60 units"):
        counted.fit(task(settings(tmp_path, delta=0.5), tmp_path))
    monkeypatch.setattr(counted, "public_words", lambda _: [])
    with pytest.raises(UserError, match="its tokenizer has no words"):
        run(settings(tmp_path, generator="ngrams"))
    assert not (tmp_path / "run").exists()
