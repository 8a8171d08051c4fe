"""Train a language model to drive a traversal: next-token loss on its own lines of transcripts, on nothing else."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from upright.models.causal import pad
from upright.training.loop import Checkpoint, Plan, fit
from upright.training.optimise import adam, muon, warmup_then_decay

NOT_LEARNT = -100


@dataclass(frozen=True)
class Transcript:
    """A text in which some parts, (start, end) in characters, are the model's own."""

    text: str
    own: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Row:
    """A transcript in tokens, with the targets of its own ones."""

    ids: list[int]
    targets: list[int]


def tokenised(
    tokenizer: PreTrainedTokenizerBase, transcripts: Sequence[Transcript], longest: int
) -> tuple[list[Row], list[Transcript]]:
    """Tokens and targets, and the transcripts longer than the context: a cut one would teach a wrong end.

    A token is the model's own if its last character is.
    """
    batch = tokenizer([one.text for one in transcripts], return_offsets_mapping=True)
    rows, too_long = list[Row](), list[Transcript]()
    for one, ids, offsets in zip(transcripts, batch["input_ids"], batch["offset_mapping"], strict=True):
        if len(ids) > longest:
            too_long.append(one)
        else:
            own = [any(start < right <= end for start, end in one.own) for _, right in offsets]
            rows.append(Row(ids, [token if mine else NOT_LEARNT for token, mine in zip(ids, own, strict=True)]))
    return rows, too_long


def batches(rows: Sequence[Row], tokens: int, pad_id: int, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Endless batches (B, T) of ids and targets, of about `tokens` tokens with padding; like lengths go together."""
    rng = random.Random(seed)
    while True:
        drawn = sorted(rng.sample(range(len(rows)), len(rows)), key=lambda i: (len(rows[i].ids), rng.random()))
        packs: list[list[int]] = [[]]
        for i in drawn:
            if packs[-1] and (len(packs[-1]) + 1) * len(rows[i].ids) > tokens:
                packs.append([])
            packs[-1].append(i)
        for pack in rng.sample(packs, len(packs)):
            ids, _ = pad([rows[i].ids for i in pack], pad_id, "right")
            targets, _ = pad([rows[i].targets for i in pack], NOT_LEARNT, "right")
            yield ids, targets


def loss_of(model: PreTrainedModel, batch: tuple[Tensor, Tensor]) -> Tensor:
    """Mean next-token loss over the model's own tokens, in nats."""
    ids, targets = (part.to(model.device) for part in batch)
    logits = model(ids[:, :-1], use_cache=False).logits.float()
    return cross_entropy(logits.flatten(0, 1), targets[:, 1:].flatten(), ignore_index=NOT_LEARNT)


@dataclass(frozen=True)
class Course:
    """How an actor is trained.

    Attributes:
        tokens: in all, about.
        batch: tokens of an update, about.
        learning_rate: step.
        fresh: a model without any training learns faster with Muon; a trained one is tuned with AdamW.
        seed: of the order of the transcripts.
    """

    tokens: int
    batch: int
    learning_rate: float
    fresh: bool
    seed: int


def train(
    model: PreTrainedModel, rows: Sequence[Row], pad_id: int, course: Course, checkpoint: Checkpoint | None = None
) -> list[float]:
    """Train in place; the loss of every update."""
    rate = course.learning_rate
    optimisers = muon(model, rate, 0.05) if course.fresh else [adam(model.parameters(), rate, 0.01)]
    return fit(
        model,
        lambda start: islice(batches(rows, course.batch, pad_id, course.seed), start, None),
        lambda batch: loss_of(model, batch),
        optimisers,
        Plan(max(1, course.tokens // course.batch), warmup_then_decay()),
        checkpoint,
        description="training the actor",
    )
