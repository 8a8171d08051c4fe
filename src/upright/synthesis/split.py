"""Which real records are learnt from, which stand beside the synthetic ones, and which classifiers are judged on."""

from hashlib import blake2b
from typing import NamedTuple

from upright.errors import UserError
from upright.synthesis.config import SplitConfig
from upright.synthesis.corpus import Corpus


class Split(NamedTuple):
    """Real records in three parts that share no unit and no text of a unit-less record."""

    train: Corpus
    heldout: Corpus
    test: Corpus


def split(corpus: Corpus, config: SplitConfig, seed: int) -> Split:
    """Each unit goes its own way, by a hash of its name and the seed; a record without unit by that of its text.

    So a unit that is added or removed moves no other from one part to another, which the guarantee asks for, and
    equal records end up in one part.

    Raises:
        UserError: when a part stays empty.
    """
    keys = corpus.units or corpus.texts
    heldout = config.test + config.heldout * (1 - config.test)
    rows: tuple[list[int], ...] = ([], [], [])
    for row, place in enumerate(_place(seed, key) for key in keys):
        rows[2 if place < config.test else 1 if place < heldout else 0].append(row)
    for name, chosen in zip(Split._fields, rows, strict=True):
        if not chosen:
            raise UserError(
                f"no record of {len(corpus)} fell into the part {name!r}; give more units, another --seed or --split"
            )
    return Split(*(corpus.take(chosen) for chosen in rows))


def _place(seed: int, key: str) -> float:
    """Uniform in [0, 1)."""
    digest = blake2b(f"{seed}:{key}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64
