"""Membership attacks on networks that learnt their records by heart, on one that did not, and on a language model."""

import json
import math
import time
from collections.abc import Callable, Mapping
from itertools import islice
from pathlib import Path

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.harness import Absent, Bench, Cell, Section, cell, relabelled, table
from upright.audit import membership
from upright.audit.membership import attacks
from upright.audit.membership.blind import table_features
from upright.audit.membership.config import Signal, TextConfig
from upright.audit.membership.evaluate import AUC, BLIND, power_name
from upright.audit.membership.quantile import cross_fitted
from upright.audit.membership.shadow import half_masks, train_networks
from upright.lab import stories
from upright.models.causal import CausalModel, load, pad, prompt_ids, save
from upright.run.evidence import Metric, overlap, proportion, scalar
from upright.run.measures.roc import auc, tpr_at_fpr

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

RATES = (0.01, 0.001)
COLUMNS = ["AUC", *(f"TPR at {100 * rate:g} % FPR" for rate in RATES)]
TEXT_COLUMNS = ["AUC", power_name(RATES[0])]
CORPUS = 1000
"""Other stories, for the frequencies of tokens."""
SIGNALS: list[Signal] = [*TextConfig().signals, "gradient"]


def run(bench: Bench) -> Section:
    """Attack tables (made up, and Adult where it is here) and texts, then time the parts that were made fast."""
    section = Section("Membership attacks")
    models = 8 if bench.quick else 32
    _tabular(
        section, "made-up records", *_made_up(800 if bench.quick else 8000, 0), models=models, hidden=96, steps=120
    )
    try:
        adult = _adult(bench.read("fairness/adult.csv"), 800 if bench.quick else 2000)
        _tabular(section, "Adult", *adult, models=models, hidden=48, steps=200)
    except Absent as missing:
        section.notes.append(f"Adult is left out: this part {missing}.")
    _texts(section, bench, *((60, 1) if bench.quick else (320, 2)))
    _speed(section, bench.quick)
    return section


# --- tables ----------------------------------------------------------------------------------------------------


def _made_up(records: int, seed: int) -> tuple[Tensor, Tensor]:
    """Fifty normal features; the class is the largest of ten noisy linear scores."""
    generator = torch.Generator().manual_seed(seed)
    x, weights = torch.randn(records, 50, generator=generator), torch.randn(50, 10, generator=generator)
    return x, (x @ weights / 50**0.5 + 0.5 * torch.randn(records, 10, generator=generator)).argmax(1)


def _adult(path: Path, records: int) -> tuple[Tensor, Tensor]:
    """Adult without repeated rows: 14 columns, one-hot or standardised; the class is the income."""
    frame = pl.read_csv(path).unique(maintain_order=True).sample(records, seed=0)
    label = frame[frame.columns[-1]].str.contains(">").to_numpy()
    return torch.from_numpy(table_features(frame[:, :-1])).float(), torch.from_numpy(label).long()


def _tabular(section: Section, name: str, x: Tensor, y: Tensor, models: int, hidden: int, steps: int) -> None:
    generator = torch.Generator().manual_seed(1)
    masks = half_masks(models + 1, len(y), np.random.default_rng(1))
    begin = time.monotonic()
    logits = train_networks(x, y, torch.from_numpy(masks), generator, hidden, steps).double().numpy()
    seconds = time.monotonic() - begin
    labels, inside = y.numpy(), masks[0]
    right = logits[0].argmax(-1) == labels
    scores = _scores(x.double().numpy(), logits, labels, masks)
    found = {attack: _judged(score[inside], score[~inside]) for attack, score in scores.items()}
    few = _scores(x.double().numpy(), logits[:5], labels, masks[:5])
    found |= {f"{a}, 4 references": _judged(few[a][inside], few[a][~inside]) for a in few if "RMIA" in a or "LiRA" in a}
    rows: dict[str, list[Cell]] = {attack: list(metrics) for attack, metrics in found.items()}
    section.tables += [f"**{name}**: {len(y):,} records, {models} reference networks", table(rows, COLUMNS)]
    section.metrics += [m for a, metrics in found.items() for n in metrics for m in relabelled(n, f"{name}, {a}")]
    apart = [a for a in found if a != "loss" and not overlap(found[a][1], found["loss"][1])]
    section.notes.append(
        f"{name}: the network is right on {right[inside].mean():.1%} of its records and on {right[~inside].mean():.1%} "
        f"of others. TPR at 1 % FPR is outside the loss attack's interval for: {', '.join(apart) or 'none'}. "
        f"{models + 1} networks trained together in {seconds:.0f} s."
    )
    _unseen(section, name, scores, ~inside)


def _scores(x: Floats, logits: Floats, labels: NDArray[np.int64], masks: Bools) -> dict[str, Floats]:
    """Attacks on the first model with the others as references."""
    phi, log_p = attacks.confidence(logits, labels), attacks.log_probability(logits, labels)
    a = attacks.tuned_a(log_p[1:], masks[1:])
    return {
        "loss": log_p[0],
        "quantile": cross_fitted(x, phi[0], masks[0], np.random.default_rng(0)),
        "offline RMIA": log_p[0] - attacks.prior_offline(log_p[1:], masks[1:], a),
        "online RMIA": log_p[0] - attacks.prior_online(log_p[1:], masks[1:]),
        "offline LiRA": attacks.lira_offline(phi[0], phi[1:], masks[1:]),
        "online LiRA": attacks.lira_online(phi[0], phi[1:], masks[1:]),
    }


def _judged(members: Floats, others: Floats) -> list[Metric]:
    pos, neg = members[~np.isnan(members)], others[~np.isnan(others)]
    return [auc(pos, neg), *(tpr_at_fpr(pos, neg, rate) for rate in RATES)]


def _unseen(section: Section, name: str, scores: Mapping[str, Floats], unseen: Bools) -> None:
    """The control: records that the network did not see, split at random into two sides 200 times."""
    rng = np.random.default_rng(5)
    held: dict[str, Metric] = {}
    for attack in sorted(scores.keys() - {"quantile"}):  # whose heads were fitted on these records
        score = scores[attack][unseen]
        found = [auc(score[side], score[~side]) for side in rng.random((200, len(score))) < 0.5]
        inside = sum((m.ci_low or 0) <= 0.5 <= (m.ci_high or 0) for m in found)
        held[attack] = proportion("AUC interval holds 1/2", inside, 200, better="none")
    values = ", ".join(f"{attack} {cell(metric, with_n=False)}" for attack, metric in held.items())
    section.notes.append(f"{name}, trained on neither side, 200 random splits: AUC intervals hold ½ in {values}.")
    section.metrics += [m for a, n in held.items() for m in relabelled(n, f"{name}, neither side, {a}")]


# --- texts -----------------------------------------------------------------------------------------------------


def _texts(section: Section, bench: Bench, count: int, epochs: int) -> None:
    """The lab's model before and after it learnt `count` stories, with itself as the reference."""
    folder = bench.out / "membership"
    told = list(islice(stories(11), 2 * count + CORPUS))
    told, corpus = told[: 2 * count], _write(folder / "corpus.jsonl", told[2 * count :])
    files = [_write(folder / f"{name}.jsonl", told[i::2]) for i, name in enumerate(("members", "others"))]
    model = load(bench.model, "auto")
    _learn(model, told[::2], epochs)
    save(model.model, model.tokenizer, folder / "model")
    for name, audited, reference in (
        (f"after {epochs} passes", str(folder / "model"), [bench.model]),
        ("untouched", bench.model, []),
    ):
        config = membership.Config(
            model=audited,
            members=files[0],
            nonmembers=files[1],
            reference=reference,
            text=TextConfig(neighbours=4, signals=SIGNALS, corpus=corpus),
            out=folder / name.replace(" ", "-"),
            overwrite=True,
        )
        begin = time.monotonic()
        result = membership.run(config)
        seconds = time.monotonic() - begin
        rows = {
            m.split: [m, next(p for p in result.metrics if (p.name, p.split) == (TEXT_COLUMNS[1], m.split))]
            for m in result.metrics
            if m.name == AUC
        }
        section.tables += [f"**{bench.model}, {name}**: {count} stories a side", table(rows, TEXT_COLUMNS)]
        check = next(m for m in result.metrics if m.name == BLIND)
        verdicts = "; ".join(f"{f.item}: {f.verdict}" for f in result.findings)
        section.notes.append(
            f"{bench.model}, {name}: blind AUC {check.value:.3f} ({check.ci_low:.3f}–{check.ci_high:.3f}; "
            f"n {check.n}); {verdicts}; {seconds:.0f} s."
        )
        section.metrics += [m for n in result.metrics for m in relabelled(n, f"{bench.model}, {name}")]


def _write(path: Path, rows: list[str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in rows))
    return path


def _learn(model: CausalModel, texts: list[str], epochs: int) -> None:
    """Plain fine-tuning of all weights, 16 texts a step."""
    rows = prompt_ids(model.tokenizer, texts)
    model.model.requires_grad_(True)
    optimiser = torch.optim.AdamW(model.model.parameters(), lr=5e-4)
    order = torch.Generator().manual_seed(0)
    for _ in range(epochs):
        for batch in torch.randperm(len(rows), generator=order).split(16):
            ids, mask = pad([rows[int(i)] for i in batch], model.pad_id, "right", model.device)
            model.model(input_ids=ids, attention_mask=mask, labels=ids.masked_fill(mask == 0, -100)).loss.backward()
            optimiser.step()
            optimiser.zero_grad()
    model.model.requires_grad_(False)


# --- speed -----------------------------------------------------------------------------------------------------


def _speed(section: Section, quick: bool) -> None:
    """RMIA by sorting against all pairs; networks together against one at a time."""
    count = 2_000 if quick else 10_000
    ratios, population = np.random.default_rng(0).normal(size=(2, count))
    sizes = [400] if quick else [200, 2000]
    jobs: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
        f"RMIA, {count:,} records against {count:,}": (
            lambda: attacks.rmia(ratios, population),
            lambda: (np.sign(ratios[:, None] - population) / 2 + 0.5).mean(axis=1),
        ),
        **{f"32 networks on {size:,} records": _trainings(size) for size in sizes},
    }
    rows: dict[str, list[Cell]] = {}
    for name, (ours, plain) in jobs.items():
        times = [scalar("seconds", _seconds(job), unit="s", better="lower") for job in (ours, plain)]
        rows[name] = [*times, f"{(times[1].value or 0) / (times[0].value or math.inf):.1f}"]
        section.metrics += [
            m for t, how in zip(times, ("ours", "plain"), strict=True) for m in relabelled(t, f"{name}, {how}")
        ]
    section.tables += ["**Speed**", table(rows, ["ours", "all pairs / one at a time", "times faster"])]


def _trainings(records: int) -> tuple[Callable[[], object], Callable[[], object]]:
    """Thirty-two networks in one call, and in one call each."""
    x, y = _made_up(records, 0)
    masks = torch.from_numpy(half_masks(32, records, np.random.default_rng(0)))

    def train(some: Tensor) -> Tensor:
        return train_networks(x, y, some, torch.Generator().manual_seed(0), 48, 60)

    return lambda: train(masks), lambda: [train(mask[None]) for mask in masks]


def _seconds(job: Callable[[], object]) -> float:
    """The shortest of three."""
    found = []
    for _ in range(3):
        begin = time.monotonic()
        job()
        found.append(time.monotonic() - begin)
    return min(found)
