"""A small Llama that knows plain English and no private text: the public base that private fine-tuning starts from.

    python -m benchmarks.english_base --data ../shared/data --out runs

Trained once on public books and textbooks, read line by line, then on texts that look like what clinics write: notes of
the lab's clinic, whose patients are invented, and the sections of ACI-Bench, visits that actors played. The benchmarks
of `synthesize` find it in their folder.
"""

import argparse
import csv
import gzip
import random
import re
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast

from benchmarks.harness import ROOT, Absent, Bench
from upright.lab.clinic import notes
from upright.models.fresh import new_model, train_tokenizer
from upright.models.shape import Shape
from upright.training.loop import Checkpoint, Plan, fit
from upright.training.optimise import muon, warmup_then_decay

SHAPE = Shape(hidden=160, mlp=640, layers=5, heads=5)
STEPS, ROWS, LENGTH, SHORTEST = 2_400, 16, 256, 40
NOTES, ENGLISH, VISITS, NOTE_SEED = 4_000, 4_000, 6, 1
LEARNING_RATE, NOTE_RATE = 6e-3, 2e-3
LAB_HEADINGS = {
    "complaint": "chief complaint",
    "history": "history of present illness",
    "family": "family and social history",
    "medication": "medications",
    "allergy": "allergies",
    "examination": "physical examination",
    "plan": "plan",
}
"""Words of a clinic's sections, as hospitals head them."""
VISIT_HEADINGS = {
    "CHIEF COMPLAINT": "chief complaint",
    "HISTORY OF PRESENT ILLNESS": "history of present illness",
    "HPI": "history of present illness",
    "REVIEW OF SYSTEMS": "review of systems",
    "PHYSICAL EXAM": "physical examination",
    "PHYSICAL EXAMINATION": "physical examination",
    "EXAM": "physical examination",
    "VITALS": "physical examination",
    "SOCIAL HISTORY": "family and social history",
    "FAMILY HISTORY": "family and social history",
    "MEDICAL HISTORY": "past medical history",
    "PAST MEDICAL HISTORY": "past medical history",
    "PAST HISTORY": "past medical history",
    "SURGICAL HISTORY": "past surgical history",
    "PAST SURGICAL HISTORY": "past surgical history",
    "MEDICATIONS": "medications",
    "CURRENT MEDICATIONS": "medications",
    "ALLERGIES": "allergies",
    "RESULTS": "laboratory results",
    "ASSESSMENT": "assessment",
    "IMPRESSION": "diagnosis",
    "PLAN": "plan",
    "ASSESSMENT AND PLAN": "plan",
    "INSTRUCTIONS": "disposition",
    "PROCEDURE": "procedures",
}
"""Headings of ACI-Bench, in the same words."""


def base(bench: Bench, steps: int = STEPS) -> Path:
    """The folder of the base that has read books and notes; trains it where it is not there (an hour on two cores)."""
    english, clinical = bench.out.parent / "english-base", bench.out.parent / "clinical-base"
    if not (english / "config.json").exists():
        texts = lines(bench)
        tokenizer = train_tokenizer(texts[:60_000], SHAPE.vocabulary)
        _train(new_model(SHAPE, tokenizer, seed=0), tokenizer, texts, english, steps, LEARNING_RATE)
    if not (clinical / "config.json").exists():
        model = AutoModelForCausalLM.from_pretrained(english, dtype=torch.float32)
        read: Any = AutoTokenizer.from_pretrained(english)
        _train(model, read, clinical_lines(bench), clinical, steps, NOTE_RATE)
    return clinical


def clinical_lines(bench: Bench) -> list[str]:
    """Sections under their headings, among lines of the books so that these are not forgotten."""
    found = [f"{_heading(LAB_HEADINGS[str(row['section'])])} {row['text']}" for row in islice(notes(NOTE_SEED), NOTES)]
    found += visit_sections(bench) * VISITS + lines(bench)[:ENGLISH]
    random.Random(1).shuffle(found)
    return found


def visit_sections(bench: Bench) -> list[str]:
    """Sections of the visits of ACI-Bench, whose patients are played: `Allergies: ...`."""
    files = sorted(set(bench.data.glob("private_text/aci_bench/*.csv")) - set(bench.data.glob("**/*_metadata.csv")))
    if not files:
        raise Absent("needs the data set private_text/aci_bench, which --data does not hold")
    found = []
    for file in files:
        with file.open(encoding="utf-8", newline="") as lines_of:
            for row in csv.DictReader(lines_of):
                parts = re.split(r"(?m)^([A-Z][A-Z ,/&'-]+):?\s*$", row["note"])
                for title, text in zip(parts[1::2], parts[2::2], strict=True):
                    if title.strip() in VISIT_HEADINGS and text.strip():
                        found.append(f"{_heading(VISIT_HEADINGS[title.strip()])} {' '.join(text.split())}")
    return found


def _heading(name: str) -> str:
    return f"{name.capitalize()}:"


def lines(bench: Bench) -> list[str]:
    """Paragraphs of the public texts, in random order."""
    books = sorted([*bench.data.glob("text/books/*.gz"), *bench.data.glob("text/textbooks/*.gz")])
    if not books:
        raise Absent("needs the data set text, which --data does not hold")
    found: list[str] = []
    for book in books:
        with gzip.open(book, "rt", encoding="utf-8") as file:
            found.extend(line for line in map(str.strip, file) if len(line) >= SHORTEST)
    random.Random(0).shuffle(found)
    return found


def _train(
    model: Any, tokenizer: PreTrainedTokenizerFast, texts: Sequence[str], folder: Path, steps: int, rate: float
) -> None:
    stream = torch.tensor([i for row in tokenizer(list(texts))["input_ids"] for i in row], dtype=torch.int32)
    steps = min(steps, len(stream) // (ROWS * LENGTH))

    def batches(start: int) -> Iterator[Tensor]:
        for step in range(start, steps):
            at = (torch.arange(ROWS) * (len(stream) // ROWS) + step * LENGTH) % (len(stream) - LENGTH - 1)
            yield torch.stack([stream[i : i + LENGTH + 1] for i in at.tolist()]).long()

    def loss_of(ids: Tensor) -> Tensor:
        logits = model(ids[:, :-1], use_cache=False).logits
        return cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())

    checkpoint = Checkpoint(folder / "training.pt")
    losses = fit(model, batches, loss_of, muon(model, rate), Plan(steps, warmup_then_decay()), checkpoint)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "training.pt").unlink()
    print(f"{folder.name}: mean loss of the last 50 steps {sum(losses[-50:]) / len(losses[-50:]):.3f} nats a token")


def main() -> None:
    """Train the base."""
    line = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    line.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data", help="folder of the data sets")
    line.add_argument("--out", type=Path, default=ROOT / "runs", help="its folder holds english-base")
    line.add_argument("--steps", type=int, default=STEPS, help="updates")
    asked = line.parse_args()
    print(base(Bench(asked.data, asked.out / "bench"), asked.steps))


if __name__ == "__main__":
    main()
