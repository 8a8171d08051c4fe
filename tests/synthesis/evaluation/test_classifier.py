import importlib
from typing import Any

import numpy as np
import pytest

from upright.errors import MissingExtra
from upright.synthesis.evaluation.classifier import features, predictions


def taught(train: list[str], labels: list[str], test: list[str], seed: int = 0) -> list[str]:
    view = features({"train": train, "test": test})
    return list(predictions(view["train"], labels, view["test"], seed))


def test_it_learns_what_words_tell() -> None:
    train, labels = ["fever and cough", "cough again", "broken leg", "leg hurts"] * 3, ["c", "c", "l", "l"] * 3
    assert taught(train, labels, ["a cough", "my leg", "the legs"]) == ["c", "l", "l"]


def test_three_classes_and_unknown_words() -> None:
    train, labels = ["aaa bbb", "ccc ddd", "eee fff"] * 4, ["x", "y", "z"] * 4
    said = taught(train, labels, ["ccc", "fff", "", "ggg hhh"])
    assert said[:2] == ["y", "z"]
    assert set(said) <= {"x", "y", "z"}


def test_it_never_says_what_it_has_not_seen() -> None:
    assert taught(["a", "b"], ["x", "x"], ["c", "d"]) == ["x", "x"]


def test_nothing_can_be_learnt_from_nothing() -> None:
    with pytest.raises(ValueError, match="one training record"):
        taught([], [], ["a"])


def test_a_side_that_is_not_looked_at_changes_no_prediction() -> None:
    """Words are numbered over all sides; the numbers must not matter."""
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(list("bcdfgh"), 5)) for _ in range(90)]
    labels = list("xyz") * 20
    alone = features({"train": texts[:60], "test": texts[60:]})
    beside = features({"other": ["a", "e e", "zz"], "train": texts[:60], "test": texts[60:]})
    said = [predictions(view["train"], labels, view["test"], 1) for view in (alone, beside)]
    assert (said[0] == said[1]).all()


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def without(name: str, *rest: Any) -> Any:
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", without)
    with pytest.raises(MissingExtra, match=r"scikit-learn .*upright\[private\]"):
        taught(["a", "b"], ["x", "y"], ["c"])


def test_texts_without_words_or_letters_get_the_commonest_class() -> None:
    assert taught([".", "...", "."], ["x", "y", "x"], ["cough", "."]) == ["x", "x"]
    assert taught([".", "a cough", "fever"], ["x", "y", "z"], ["cough"]) == ["y"]
