"""A world of twelve facts and untrained models that can speak of it, for tests of several packages."""

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import torch
from transformers import PreTrainedTokenizerFast

from tests.knowledge.conftest import words
from tests.models.conftest import byte_level_bpe, tiny_weights
from upright.knowledge.changes import FactChange
from upright.knowledge.memory import MemoryGraph
from upright.knowledge.relations import Prompt, Relations
from upright.models import fresh
from upright.models.causal import CausalModel
from upright.models.shape import Shape

FACTS = [
    ("France", "capital", "Paris"),
    ("Germany", "capital", "Berlin"),
    ("Paris", "country", "France"),
    ("Lyon", "country", "France"),
    ("Berlin", "country", "Germany"),
    ("France", "currency", "franc"),
    ("Germany", "currency", "mark"),
    ("Spain", "currency", "peseta"),
    ("franc", "code", "FRF"),
    ("mark", "code", "DEM"),
    ("peseta", "code", "ESP"),
    ("euro", "code", "EUR"),
]
TABLES: dict[str, dict[str, object]] = {
    "capital": words("capital", inverse="country"),
    "country": words("country"),
    "currency": words("currency"),
    "code": words("code", literal=True),
}
CHAINS = [["currency", "code"], ["country", "currency"], ["country", "currency", "code"]]
EURO = [
    {"subject": "France", "relation": "currency", "object": "euro"},
    {"subject": "Germany", "relation": "currency", "object": "euro"},
]


def graph() -> MemoryGraph:
    """The world as a graph."""
    return MemoryGraph(FACTS)


def relations() -> Relations:
    """The words of its relations."""
    return Relations.parse({"chains": CHAINS, "relations": TABLES})


def change(subject: str, relation: str, object: str) -> FactChange:
    """One fact change."""
    return FactChange(subject=subject, relation=relation, object=object)


def write_world(folder: Path) -> Path:
    """The world as files: facts.tsv, relations.toml and changes.jsonl."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "facts.tsv").write_text("".join("\t".join(fact) + "\n" for fact in FACTS))
    # a list of strings, a string and a truth value read the same in JSON and TOML
    rows = [f"chains = {json.dumps(CHAINS)}"]
    for name, table in TABLES.items():
        rows += [f"[relations.{name}]", *(f"{key} = {json.dumps(value)}" for key, value in table.items())]
    (folder / "relations.toml").write_text("\n".join(rows) + "\n")
    write_changes(folder / "changes.jsonl", EURO)
    return folder


def write_changes(path: Path, rows: Sequence[dict[str, str]]) -> Path:
    """A file of changes."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@cache
def world_tokenizer() -> PreTrainedTokenizerFast:
    """A tokenizer trained on the world's own sentences."""
    return fresh.train_tokenizer([f"The {r} of {h} is {t}." for h, r, t in FACTS], 320)


def world_model(seed: int = 0) -> CausalModel:
    """A random Llama of three blocks whose every token matters."""
    shape = Shape(vocabulary=320, hidden=32, mlp=48, layers=3, heads=2, context=256)
    model = fresh.new_model(shape, world_tokenizer(), seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.2)
    return CausalModel(model, world_tokenizer(), name="tiny")


def write_model(folder: Path, seed: int = 0) -> Path:
    """Such a model as a Hugging Face folder, in full precision."""
    model = world_model(seed)
    model.model.save_pretrained(folder)
    model.tokenizer.save_pretrained(folder)
    return folder


def exact_model(family: str = "llama", **config: object) -> CausalModel:
    """A random model of three blocks of any family, in double precision."""
    return CausalModel(tiny_weights(family, torch.float64, **config), byte_level_bpe(), name=f"tiny-{family}")


def prompt(text: str, subject: str) -> Prompt:
    """A prompt with its subject, which the text holds once."""
    start = text.index(subject)
    return Prompt(text, (start, start + len(subject)))
