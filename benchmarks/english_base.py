"""A small Llama that knows plain English and no private text: the public base that private fine-tuning starts from.

    python -m benchmarks.english_base --data ../shared/data --out runs/english-base

Trained once on public books and textbooks, read line by line; the benchmarks of `synthesize` find it in their folder.
"""

import argparse
import gzip
import random
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from benchmarks.harness import ROOT, Absent, Bench
from upright.models.fresh import new_model, train_tokenizer
from upright.models.shape import Shape
from upright.training.loop import Checkpoint, Plan, fit
from upright.training.optimise import muon, warmup_then_decay

SHAPE = Shape(hidden=160, mlp=640, layers=5, heads=5)
STEPS, ROWS, LENGTH, SHORTEST = 2_400, 16, 256, 40
LEARNING_RATE = 6e-3


def base(bench: Bench, steps: int = STEPS) -> Path:
    """The folder of the trained base; trains it where it is not there yet (about an hour on two cores)."""
    folder = bench.out.parent / "english-base"
    if not (folder / "config.json").exists():
        _train(bench, folder, steps)
    return folder


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


def _train(bench: Bench, folder: Path, steps: int) -> None:
    texts = lines(bench)
    tokenizer = train_tokenizer(texts[:60_000], SHAPE.vocabulary)
    stream = torch.tensor([i for row in tokenizer(texts)["input_ids"] for i in row], dtype=torch.int32)
    model = new_model(SHAPE, tokenizer, seed=0)

    def batches(start: int) -> Iterator[Tensor]:
        for step in range(start, steps):
            at = torch.arange(ROWS) * (len(stream) // ROWS) + step * LENGTH
            yield torch.stack([stream[i : i + LENGTH + 1] for i in at.tolist()]).long()

    def loss_of(ids: Tensor) -> Tensor:
        logits = model(ids[:, :-1], use_cache=False).logits
        return cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())

    plan = Plan(steps, warmup_then_decay())
    losses = fit(model, batches, loss_of, muon(model, LEARNING_RATE), plan, Checkpoint(folder / "training.pt"))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "training.pt").unlink()
    print(f"mean loss of the last 50 steps: {sum(losses[-50:]) / 50:.3f} nats a token")


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
