"""Vetted settings by model: what a solver uses where the configuration leaves it to the model.

A model folder may bring its own as `editing.json`; published settings stand in the table; any other model gets the
row `default`, with layers placed at the depth where the published ones sit.
"""

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from upright.errors import UserError
from upright.models.causal import CausalModel

RECIPE_FILE = "editing.json"


class Recipe(BaseModel):
    """Settings of target vectors and solvers for one model."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str
    layers: tuple[int, ...]
    finetune_layer: int
    learning_rate: float = 0.5
    steps: int = 25
    clamp: float = 0.75
    decay: float = 0.5
    kl: float = 0.0625
    prefixes: int = 5
    wordings: int = 0
    stop_below: float = 0.05
    lambda_: float = 15_000.0
    l2: float = 10.0
    kept_energy: float = 0.98
    mu: float = 100.0
    finetune_learning_rate: float = 5e-4


# (model_type, number of layers, hidden width): settings published with MEMIT, AlphaEdit, EasyEdit and LocFT-BF.
PUBLISHED: dict[tuple[str, int, int], Recipe] = {
    ("gptj", 28, 4096): Recipe(source="MEMIT, GPT-J 6B", layers=(3, 4, 5, 6, 7, 8), finetune_layer=21),
    ("gpt2", 48, 1600): Recipe(
        source="MEMIT, GPT-2 XL", layers=(13, 14, 15, 16, 17), finetune_layer=36, steps=20, lambda_=20_000.0, mu=100.0
    ),
    ("llama", 32, 4096): Recipe(
        source="AlphaEdit, Llama-3 8B", layers=(4, 5, 6, 7, 8), finetune_layer=22, learning_rate=0.1
    ),
    ("qwen2", 28, 3584): Recipe(
        source="EasyEdit, Qwen2.5 7B", layers=(4, 5, 6, 7, 8), finetune_layer=6, clamp=4.0, decay=1e-3
    ),
}


def recipe_for(model: CausalModel) -> Recipe:
    """The recipe of a model: its own file, the published table, or the default by depth.

    Raises:
        UserError: if the model's own file is broken.
    """
    folder = model.model.name_or_path or ""  # empty for a model made in code
    own = Path(folder) / RECIPE_FILE
    if folder and own.is_file():
        return _read(own)
    config: Any = model.model.config
    depth = len(model.blocks)
    known = PUBLISHED.get((config.model_type, depth, config.hidden_size))
    return known or _by_depth(depth)


def _read(path: Path) -> Recipe:
    try:
        return Recipe.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except (ValidationError, ValueError) as error:
        raise UserError(f"{path}: not an editing recipe: {str(error).splitlines()[0]}") from None


def _by_depth(depth: int) -> Recipe:
    """Five layers from an eighth to a quarter of the depth, as in the published rows; all below the last."""
    top = min(max(1, round(depth / 4)), max(depth - 2, 0))
    first = min(max(0, round(depth / 8)), top)
    layers = tuple(range(max(first, top - 4), top + 1))
    return Recipe(
        source=f"default for {depth} layers", layers=layers, finetune_layer=min(depth - 1, round(0.69 * depth))
    )
