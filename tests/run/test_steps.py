from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from pydantic import BaseModel

from upright.run.steps import MISSING, StepStore


class Score(BaseModel):
    nll: float
    span: tuple[int, int]


class Pair(NamedTuple):
    left: int
    right: str


@pytest.fixture
def store(tmp_path: Path) -> StepStore:
    return StepStore(tmp_path / "steps", "digest")


@pytest.mark.parametrize("value", [None, 3, "é", [1, 2.5, None], {"a": {"b": []}}, 0.1 + 0.2, {}])
def test_json_values_come_back_as_they_were(store: StepStore, value: object) -> None:
    store.save("x", value)
    assert store.load("x") == value


def test_tensors_keep_type_shape_and_bits(store: StepStore) -> None:
    base = torch.arange(6.0).reshape(2, 3)
    values = {
        "half": base.half(),
        "view": base.T,
        "same": base,
        "int": torch.tensor([1, 2]),
        "empty": torch.empty(0),
    }
    store.save("x", values)
    loaded = store.load("x")
    assert loaded.keys() == values.keys()
    for name, tensor in values.items():
        assert torch.equal(loaded[name], tensor)
        assert loaded[name].dtype == tensor.dtype


def test_a_type_brings_back_what_json_loses(store: StepStore) -> None:
    scores = [Score(nll=0.1 + 0.2, span=(1, 2)), Score(nll=float("inf"), span=(0, 0))]
    store.save("scores", scores, list[Score])
    assert store.load("scores", list[Score]) == scores
    store.save("pairs", {1: Pair(2, "b")}, dict[int, Pair])
    assert store.load("pairs", dict[int, Pair]) == {1: Pair(2, "b")}


def test_another_configurations_steps_are_not_taken(tmp_path: Path, store: StepStore) -> None:
    store.save("text", 1)
    store.save("tensors", {"a": torch.ones(1)})
    other = StepStore(tmp_path / "steps", "other")
    assert other.load("text") is MISSING
    assert other.load("tensors") is MISSING
    assert store.load("absent") is MISSING


def test_names_are_those_of_stored_steps(tmp_path: Path, store: StepStore) -> None:
    assert store.names() == set()
    store.save("a", 1)
    store.save("b-2", {"t": torch.ones(1)})
    (tmp_path / "steps" / ".c.json.part").touch()  # what a kill leaves
    assert store.names() == {"a", "b-2"}


@pytest.mark.parametrize("name", ["", "a/b", "../a", ".a", "a b"])
def test_bad_names_are_refused(store: StepStore, name: str) -> None:
    with pytest.raises(ValueError, match="must be letters"):
        store.save(name, 1)


@pytest.mark.parametrize("value", [{1: "a"}, {"a": torch.ones(1), "b": 2}, {1, 2}])
def test_values_without_a_faithful_form_are_refused(store: StepStore, value: object) -> None:
    with pytest.raises(TypeError):
        store.save("x", value)
    assert store.load("x") is MISSING
