"""A tiny model that has learned a few texts by heart, beside one that has learned nothing."""

import json
import random
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch.nn.functional import cross_entropy

from tests.tiny import world_model
from upright.audit.exposure import plant
from upright.audit.exposure.config import Plant
from upright.models.causal import CausalModel, pad, prompt_ids
from upright.run.measures.spaces import Space

CODES = "The code of {words:1} is {digits:5}."
LETTERS = Space.parse("Berlin {letters:3} {letters:2}{digits:2}@post.org, capital.")
CITIES = ("Paris", "Lyon")


@dataclass(frozen=True)
class Memory:
    """Files of texts, and the folders of a model that learned the members and of one that learned nothing."""

    learned: Path
    blank: Path
    record: Path
    members: Path
    nonmembers: Path


def people(seed: int, n: int = 40) -> list[dict[str, str]]:
    """Texts with an e-mail address in the middle, and a city that no text states."""
    rng = random.Random(seed)
    return [{"text": text, "city": rng.choice(CITIES)} for text in LETTERS.sample(n, rng)]


def learn(model: CausalModel, texts: list[str], steps: int) -> None:
    """Full-batch training until the texts are known by heart."""
    torch.manual_seed(0)
    ids, mask = pad(prompt_ids(model.tokenizer, texts), model.pad_id, "right")
    wanted = ids.masked_fill(mask == 0, -100)[:, 1:]
    net = model.model.requires_grad_(True)
    optimiser = torch.optim.AdamW(net.parameters(), lr=1e-2, weight_decay=0.0)
    for step in range(steps):
        optimiser.param_groups[0]["lr"] = 1e-2 * (1 - step / steps)
        loss = cross_entropy(net(input_ids=ids).logits[:, :-1].transpose(1, 2), wanted)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad()
    net.requires_grad_(False)


def save(model: CausalModel, folder: Path) -> Path:
    model.model.save_pretrained(folder)
    model.tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def memory(tmp_path_factory: pytest.TempPathFactory) -> Memory:
    """Thirty canaries and forty people learned by heart; as many of each that were not."""
    folder = tmp_path_factory.mktemp("memory")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    record = plant.run(Plant(out=folder / "canaries.jsonl", count=30, controls=30, format=CODES))
    sides = {}
    for name, seed in (("members", 1), ("nonmembers", 2)):
        sides[name] = folder / f"{name}.jsonl"
        sides[name].write_text("".join(json.dumps(row) + "\n" for row in people(seed)))
    blank, learned = world_model(), world_model()
    known = [row["text"] + " " + row["city"] for row in people(1)]
    learn(learned, [*record.training.read_text().splitlines(), *known], steps=250)
    torch.set_num_threads(threads)
    return Memory(save(learned, folder / "learned"), save(blank, folder / "blank"), record.record, **sides)
