"""Which settings a model gets."""

import json
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoConfig

from tests.tiny import exact_model, world_model, write_model
from upright.editing.recipe import PUBLISHED, RECIPE_FILE, Recipe, recipe_for
from upright.errors import UserError
from upright.models.causal import load

OWN = {"source": "mine", "layers": [1], "finetune_layer": 0, "steps": 7}


def test_a_model_may_bring_its_own(tmp_path: Path) -> None:
    (write_model(tmp_path) / RECIPE_FILE).write_text(json.dumps(OWN))
    found = recipe_for(load(str(tmp_path), "cpu"))
    assert (found.source, found.layers, found.steps, found.lambda_) == ("mine", (1,), 7, 15_000.0)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{", "not an editing recipe"),
        ("[]", "not an editing recipe"),
        (json.dumps({**OWN, "layer": 3}), "not an editing"),
    ],
)
def test_a_broken_recipe_is_one_clear_line(tmp_path: Path, text: str, problem: str) -> None:
    (write_model(tmp_path) / RECIPE_FILE).write_text(text)
    with pytest.raises(UserError, match=f"{RECIPE_FILE}: {problem}") as caught:
        recipe_for(load(str(tmp_path), "cpu"))
    assert "\n" not in str(caught.value)


def test_a_recipe_in_the_working_directory_is_nobodys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model made in code has no folder; a stray editing.json must not become its recipe."""
    (tmp_path / RECIPE_FILE).write_text(json.dumps(OWN))
    monkeypatch.chdir(tmp_path)
    assert recipe_for(world_model()).source == "default for 3 layers"


@pytest.mark.parametrize(
    ("family", "depth", "width", "layers"),
    [
        ("gptj", 28, 4096, (3, 4, 5, 6, 7, 8)),
        ("gpt2", 48, 1600, (13, 14, 15, 16, 17)),
        ("llama", 32, 4096, (4, 5, 6, 7, 8)),
    ],
)
def test_published_settings_are_found_by_shape(family: str, depth: int, width: int, layers: tuple[int, ...]) -> None:
    config: Any = AutoConfig.for_model(family)
    config.update({"num_hidden_layers": depth, "hidden_size": width})
    row = PUBLISHED[config.model_type, config.num_hidden_layers, config.hidden_size]
    assert row.layers == layers


@pytest.mark.parametrize("depth", range(1, 9))
def test_the_default_fits_any_depth(depth: int) -> None:
    """Layers exist, come lowest first, and leave a block above the top one wherever there is one."""
    found: Recipe = recipe_for(exact_model("llama", num_hidden_layers=depth))
    assert list(found.layers) == sorted(set(found.layers))
    assert 0 <= found.layers[0] <= found.layers[-1] <= max(0, depth - 2)
    assert 0 <= found.finetune_layer < depth


def test_the_default_sits_where_the_published_ones_do() -> None:
    """Of 32 layers an eighth to a quarter: 4 to 8."""
    assert recipe_for(exact_model("llama", num_hidden_layers=32)).layers == (4, 5, 6, 7, 8)
