"""What every part of the evaluation is given, and what it hands back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from upright.run.evidence import Metric
from upright.synthesis.corpus import Corpus

SYNTHETIC, CONTROL, HELDOUT = "synthetic", "control", "held-out"
"""The `split` of a metric: our records, those of the generator without privacy, and real ones."""
TRAIN, TEST = "train", "test"
ALL, ALL_CONTROL = "all synthetic", "all control"
"""All that was written, where the other sides are cut to the held-out records."""
"""The two further sides: what the generator learnt from, and what all is judged on."""


@dataclass(frozen=True)
class Arms:
    """The records that are compared.

    Args:
        train: real records that the generator learnt from.
        heldout: real records of the same law that nothing was trained on: what perfect synthetic records would be.
        test: further real records; classifiers are judged on them, and distances are taken to them.
        synthetic: what is released.
        control: from the generator without privacy; None where it was not run.
        labels: the code columns that are labels; the first is what classifiers learn.
        groups: the code columns that are groups of people.
    """

    train: Corpus
    heldout: Corpus
    test: Corpus
    synthetic: Corpus
    control: Corpus | None
    labels: tuple[str, ...]
    groups: tuple[str, ...]
    seed: int = 0

    @property
    def compared(self) -> dict[str, Corpus]:
        """By split: the records that are judged, and the two references."""
        control = {} if self.control is None else {CONTROL: self.control}
        return {SYNTHETIC: self.synthetic, **control, HELDOUT: self.heldout}


@dataclass(frozen=True)
class Part:
    """The outcome of one part of the evaluation, a section of the report."""

    title: str
    text: str
    """What was done and what to read from it, in two to four sentences."""
    metrics: Sequence[Metric] = ()
    plots: Sequence[tuple[str, str]] = ()
    """(SVG of `upright.run.plots`, caption)."""
    examples: Sequence[Mapping[str, object]] = ()
    """Rows of an examples table; never text of a real record."""
    limits: Sequence[str] = field(default_factory=tuple)
