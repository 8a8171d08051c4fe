"""All that synthetic records may give away, but for canaries, which need the model (`canaries.exposure_part`)."""

from collections.abc import Iterator, Mapping

from numpy.typing import ArrayLike

from upright.synthesis.evaluation.canaries import Canaries
from upright.synthesis.evaluation.membership import membership_part
from upright.synthesis.evaluation.neighbours import neighbours_part
from upright.synthesis.evaluation.overlaps import overlaps_part
from upright.synthesis.evaluation.part import Arms, Part
from upright.synthesis.evaluation.personal import personal_part


def leakage_parts(
    arms: Arms,
    vectors: Mapping[str, ArrayLike],
    canaries: Canaries | None = None,
    *,
    rows: int = 2000,
    resamples: int = 200,
) -> Iterator[Part]:
    """The parts, each made when it is asked for.

    Args:
        vectors: see `neighbours_part`.
        canaries: further targets of the membership attack.
        rows: units of each side that are attacked, at most.
        resamples: bootstrap samples where an interval needs them.

    Raises:
        ValueError: if a collection holds no record: nothing can be said of it, and no attack calibrated.
    """
    sides = {"train": arms.train, "test": arms.test, **arms.compared}
    empty = [name for name, corpus in sides.items() if not len(corpus)]
    if empty:
        raise ValueError(f"{', '.join(empty)}: no records; every collection must hold some")
    yield membership_part(arms, canaries, rows=rows)
    yield personal_part(arms)
    yield overlaps_part(arms)
    yield neighbours_part(arms, vectors, resamples=resamples)
