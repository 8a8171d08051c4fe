"""A private step beside a plain one and beside Opacus: time, interleaved in one process, and peak memory, in its own.

    python -m benchmarks.synthesize_engine ENGINE tied|untied

prints the bytes by which ten steps of one engine raise the memory of a process.
"""

import json
import math
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import Adam
from transformers import LlamaConfig, LlamaForCausalLM

from benchmarks.harness import ROOT, Bench, Cell, Section, relabelled, table
from upright.run.evidence import mean, scalar
from upright.training.private import Plan, PrivateTraining, Secure, Seeded, Tensors

ROWS, TOKENS, VOCABULARY = 32, 64, 4096
CLIP, NOISE, RATE = 1.0, 1.0, 1e-3
Step = Callable[[], None]


def llama(tied: bool) -> LlamaForCausalLM:
    """128 wide, 4 layers: 1.3 M parameters with a tied head."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=128,
        intermediate_size=344,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=TOKENS,
        tie_word_embeddings=tied,
    )
    model: LlamaForCausalLM = LlamaForCausalLM(config).train()
    return model


class Model(nn.Module):
    """A language model as a function of ids alone."""

    def __init__(self, tied: bool) -> None:
        super().__init__()
        self.model = llama(tied)

    def forward(self, ids: Tensor) -> Tensor:
        """Logits (B, T, V)."""
        logits: Tensor = self.model(input_ids=ids, use_cache=False).logits
        return logits


def losses(model: Callable[..., Tensor], batch: tuple[Tensor, ...]) -> Tensor:
    """(B,) mean loss of each text."""
    logits = model(batch[0])[:, :-1]
    nlls = cross_entropy(logits.flatten(0, 1), batch[0][:, 1:].flatten(), reduction="none")
    return nlls.view(len(logits), -1).mean(1)


def text() -> Tensor:
    """One batch."""
    return torch.randint(0, VOCABULARY, (ROWS, TOKENS), generator=torch.Generator().manual_seed(0))


def plain(tied: bool) -> Step:
    """A step of Adam, without privacy."""
    model, ids = Model(tied), text()
    optimiser = Adam(model.parameters(), lr=RATE)

    def step() -> None:
        optimiser.zero_grad(set_to_none=True)
        losses(model, (ids,)).mean().backward()
        optimiser.step()

    return step


def ours(tied: bool, secure: bool = False) -> Step:
    """A step of `PrivateTraining` on all records of the batch."""
    records = Tensors(text())
    plan = Plan(ROWS, ROWS, 10**6, CLIP, NOISE, 1e-3)
    chance = Secure() if secure else Seeded(torch.Generator().manual_seed(0))
    training = PrivateTraining(plan, Model(tied), losses, records, partial(Adam, lr=RATE), chance)
    return training.step


def opacus(tied: bool, mode: str) -> Step:
    """A step of Opacus on the same batch, with the same noise, in one of its modes."""
    from opacus import PrivacyEngine
    from torch.utils.data import DataLoader, TensorDataset

    warnings.simplefilter("ignore")
    model, ids = Model(tied), text()
    loader = DataLoader(TensorDataset(ids), batch_size=ROWS)
    given: dict[str, Any] = {"criterion": nn.CrossEntropyLoss(reduction="mean")} if mode == "ghost" else {}
    made = PrivacyEngine().make_private(
        module=model,
        optimizer=Adam(model.parameters(), lr=RATE),
        data_loader=loader,
        noise_multiplier=NOISE,
        max_grad_norm=CLIP,
        poisson_sampling=False,
        grad_sample_mode=mode,
        **given,
    )
    private, optimiser = made[0], made[1]

    def step() -> None:
        optimiser.zero_grad(set_to_none=True)
        if mode == "ghost":
            logits = private(ids)[:, :-1]
            made[2](logits.flatten(0, 1), ids[:, 1:].flatten(), shape=(ROWS, TOKENS - 1)).backward()
        else:
            losses(private, (ids,)).mean().backward()
        optimiser.step()

    return step


ENGINES: dict[str, Callable[[bool], Step]] = {
    "plain": plain,
    "upright": ours,
    "upright, cryptographic noise": partial(ours, secure=True),
    "Opacus, hooks": partial(opacus, mode="hooks"),
    "Opacus, functorch": partial(opacus, mode="functorch"),
    "Opacus, ghost": partial(opacus, mode="ghost"),
}


def run(bench: Bench) -> Section:
    """Time and memory of each engine, for a head of its own and one tied to the embedding."""
    section = Section("A private step beside a plain one")
    for tied in (False, True):
        chosen = {name: make for name, make in ENGINES.items() if _possible(name, tied)}
        times = timed({name: make(tied) for name, make in chosen.items()}, 3 if bench.quick else 40)
        kind = "tied" if tied else "untied"
        rows = {}
        for name, seconds in times.items():
            ratios = mean("step / plain step", seconds / times["plain"], better="lower")
            took = mean("step", seconds, unit="s", better="lower")
            memory = scalar("peak memory", peak(name, kind), unit="bytes", better="lower")
            rows[name] = [took, ratios, memory]
            section.metrics += [m for metric in rows[name] for m in relabelled(metric, f"{kind}, {name}")]
        plain_memory = rows["plain"][2].value or math.nan
        cells: dict[str, list[Cell]] = {
            name: [*row, f"{(row[2].value or math.nan) / plain_memory:.2f}"] for name, row in rows.items()
        }
        section.tables.append(f"Head {kind}:\n\n" + table(cells, ["step", "÷ plain", "peak memory", "÷ plain"]))
    section.notes.append(
        f"Llama 128 wide, 4 layers, {VOCABULARY:,} tokens, batch {ROWS} × {TOKENS}, Adam, float32; engines take turns, "
        "ratios are of steps of the same turn. Memory: rise of a process of its own over ten steps."
    )
    return section


def _possible(name: str, tied: bool) -> bool:
    if not name.startswith("Opacus"):
        return True
    return not tied and find_spec("opacus") is not None  # Opacus knows no parameters that two layers share


def timed(steps: Mapping[str, Step], rounds: int) -> dict[str, np.ndarray[tuple[int], np.dtype[np.float64]]]:
    """Seconds (rounds,) of a step of each, in turns."""
    found: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(rounds + 2):
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            if turn >= 2:  # the first ones allocate
                found[name].append(time.perf_counter() - start)
    return {name: np.array(values) for name, values in found.items()}


def peak(name: str, kind: str) -> float:
    """Bytes by which the steps of an engine raise the memory of a process of their own."""
    words = [sys.executable, "-m", "benchmarks.synthesize_engine", name, kind]
    done = subprocess.run(words, capture_output=True, text=True, check=True, cwd=ROOT)
    return float(json.loads(done.stdout.splitlines()[-1]))


def _status(name: str) -> int:
    with open("/proc/self/status", encoding="ascii") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith(name))


def main() -> None:
    """Measure the memory of one engine."""
    name, kind = sys.argv[1:]
    step, before = ENGINES[name](kind == "tied"), _status("VmRSS")
    with open("/proc/self/clear_refs", "w", encoding="ascii") as file:
        file.write("5")  # the peak so far is forgotten
    for _ in range(10):
        step()
    print(json.dumps(_status("VmHWM") - before))


if __name__ == "__main__":
    main()
