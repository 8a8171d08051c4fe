"""The comparisons: which are made, what each is given, and one step of the run for each.

What takes long is a map over texts or over comparisons, which the engine works on here or on a cluster.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from upright.engines import Work, stream
from upright.models import causal
from upright.run.folder import RunFolder
from upright.synthesis.config import Config, EvaluationConfig
from upright.synthesis.corpus import Corpus
from upright.synthesis.evaluation.part import CONTROL, SYNTHETIC, TEST, TRAIN, Arms, Part
from upright.synthesis.generators.protocol import Generator
from upright.synthesis.passes import Reading, read_sides
from upright.synthesis.planting import Planted
from upright.synthesis.split import Split

if TYPE_CHECKING:
    from upright.synthesis.evaluation.canaries import Canaries
    from upright.synthesis.evaluation.copies import Search
    from upright.training.private import Certificate

Floats = NDArray[np.float64]


def arms_of(config: Config, real: Split, synthetic: Corpus, control: Corpus | None, seed: int) -> Arms:
    """What is compared, at most `evaluation.rows` records of each side, drawn by the seed."""

    def some(corpus: Corpus) -> Corpus:
        if len(corpus) <= config.evaluation.rows:
            return corpus
        rows = np.random.default_rng(seed).permutation(len(corpus))[: config.evaluation.rows]
        return corpus.take(sorted(rows.tolist()))

    return Arms(
        train=some(real.train),
        heldout=some(real.heldout),
        test=some(real.test),
        synthetic=some(synthetic),
        control=None if control is None else some(control),
        labels=tuple(config.labels),
        groups=tuple(config.groups),
        seed=seed % 2**32,
    )


@dataclass(frozen=True)
class Bench:
    """All that the comparisons look at. It can be pickled, and they are functions of it alone.

    Args:
        readings: vectors and likelihoods of each side by a public model; none where no comparison asks for them.
        search: copies of training records; None likewise.
        scores: of the canaries, -log p under each model that is there; likewise.
        earned: the certificate that canaries are held against.
    """

    arms: Arms
    chosen: EvaluationConfig
    readings: Mapping[str, Reading] = field(default_factory=dict)
    search: "Search | None" = None
    canaries: "Canaries | None" = None
    scores: Mapping[str, Floats] = field(default_factory=dict)
    earned: "Certificate | None" = None

    @property
    def vectors(self) -> dict[str, Floats]:
        """By side (n, d)."""
        return {name: reading.vectors for name, reading in self.readings.items()}

    @property
    def nlls(self) -> dict[str, Floats]:
        """By side (n, 2)."""
        return {name: reading.nlls for name, reading in self.readings.items()}


Job = Callable[[Bench], Part]


class Evaluation:
    """The comparisons of one run."""

    def __init__(self, config: Config, folder: RunFolder, generator: Generator, planted: Planted) -> None:
        self._config, self._folder, self._generator, self._planted = config, folder, generator, planted
        self._names = _asked(config, planted, generator)

    @property
    def done(self) -> bool:
        """Whether all were made in an earlier process."""
        return not self._left()

    def _left(self) -> list[str]:
        done = self._folder.done()
        return [name for name in self._names if _step(name) not in done]

    def parts(self, arms: Arms, learnt: Sequence[str], control_scores: Floats | None = None) -> list[Part]:
        """One section of the report for each comparison.

        Args:
            learnt: all private records that the generator learnt from, of which `arms.train` may be some.
            control_scores: of the canaries, under the model of the control, see `Planted.scores`.
        """
        config, left = self._config, self._left()
        bench = self._bench(left, arms, learnt, control_scores)
        workers = config.speed.workers
        made = stream(
            partial(_comparing, bench), left, engine=config.engine, workers=workers, size=1, description="comparing"
        )
        with closing(made):
            return [self._folder.step(_step(name), lambda: next(made)[0], type=Part) for name in self._names]

    def _bench(self, left: Sequence[str], arms: Arms, learnt: Sequence[str], control_scores: Floats | None) -> Bench:
        """With what the comparisons that are left ask for; what several share is made once."""
        return Bench(
            arms=arms,
            chosen=self._config.evaluation,
            readings=self._readings(arms) if {"closeness", "neighbours"} & set(left) else {},
            search=self._search(arms, learnt) if "overlaps" in left else None,
            canaries=self._planted.canaries,
            scores=self._scores(control_scores) if "exposure" in left else {},
            earned=self._generator.certificate,
        )

    def _readings(self, arms: Arms) -> dict[str, Reading]:
        config = self._config
        opening = partial(causal.load, config.evaluation.embedding or config.model, config.speed.device)
        sides = {**arms.compared, TRAIN: arms.train, TEST: arms.test}
        return read_sides(opening, sides, config.speed.batch_rows, engine=config.engine, workers=config.speed.workers)

    def _search(self, arms: Arms, learnt: Sequence[str]) -> "Search":
        from upright.synthesis.evaluation.copies import search

        sides = {name: corpus.texts for name, corpus in arms.compared.items()}
        return search(sides, learnt, engine=self._config.engine, workers=self._config.speed.workers)

    def _scores(self, control_scores: Floats | None) -> dict[str, Floats]:
        from upright.synthesis.evaluation.canaries import BASE

        assert self._generator.model is not None
        rows = self._config.speed.batch_rows
        base = causal.load(self._config.model, self._config.speed.device)
        found = {SYNTHETIC: self._generator.model, BASE: base}
        scores = {name: self._planted.scores(model, rows) for name, model in found.items()}
        return scores if control_scores is None else scores | {CONTROL: control_scores}


def _step(name: str) -> str:
    return f"part-{name}"


def _comparing(bench: Bench) -> Work[str, Part]:
    """The work of an engine: the comparisons of these names."""
    return lambda names, _: [JOBS[name](bench) for name in names]


def _asked(config: Config, planted: Planted, generator: Generator) -> list[str]:
    """The comparisons that were asked for, in the order of the report."""
    chosen = config.evaluation
    groups = {
        ("utility",): chosen.utility,
        ("coreference",): chosen.coreference,
        ("closeness", "diversity"): chosen.closeness,
        ("personal", "overlaps", "neighbours", "membership"): chosen.leakage,
        ("exposure",): planted.canaries is not None and generator.model is not None,
    }
    return [name for names, asked in groups.items() if asked for name in names]


# Each part is imported when it is made: scikit-learn and its like are needed by some of them alone.


def _utility(bench: Bench) -> Part:
    from upright.synthesis.evaluation.utility import utility_part

    return utility_part(bench.arms, bench.chosen.resamples)


def _coreference(bench: Bench) -> Part:
    from upright.synthesis.evaluation.coreference import coreference_part

    return coreference_part(bench.arms, bench.chosen.resamples)


def _closeness(bench: Bench) -> Part:
    from upright.synthesis.evaluation.closeness import closeness_part

    part = closeness_part(bench.arms, bench.vectors, bench.nlls)
    return replace(part, limits=[*part.limits, *_unread(bench.readings)])


def _diversity(bench: Bench) -> Part:
    from upright.synthesis.evaluation.diversity import diversity_part

    return diversity_part(bench.arms)


def _personal(bench: Bench) -> Part:
    from upright.synthesis.evaluation.personal import personal_part

    return personal_part(bench.arms)


def _overlaps(bench: Bench) -> Part:
    from upright.synthesis.evaluation.overlaps import overlaps_part

    assert bench.search is not None
    return overlaps_part(bench.arms, bench.search)


def _neighbours(bench: Bench) -> Part:
    from upright.synthesis.evaluation.neighbours import neighbours_part

    return neighbours_part(bench.arms, bench.vectors, resamples=bench.chosen.resamples)


def _membership(bench: Bench) -> Part:
    from upright.synthesis.evaluation.membership import membership_part

    return membership_part(bench.arms, bench.canaries, rows=bench.chosen.rows)


def _exposure(bench: Bench) -> Part:
    from upright.synthesis.evaluation.canaries import exposure_part

    assert bench.canaries is not None
    earned = bench.earned
    return exposure_part(
        bench.canaries,
        bench.scores,
        delta=None if earned is None else earned.delta,
        certified=None if earned is None else earned.epsilon,
    )


JOBS: dict[str, Job] = {
    "utility": _utility,
    "coreference": _coreference,
    "closeness": _closeness,
    "diversity": _diversity,
    "personal": _personal,
    "overlaps": _overlaps,
    "neighbours": _neighbours,
    "membership": _membership,
    "exposure": _exposure,
}


def _unread(readings: Mapping[str, Reading]) -> list[str]:
    """What a reader must know of records that the model of the vectors and likelihoods could not read to their end."""
    cut = {name: int(reading.cut.sum()) for name, reading in readings.items()}
    told = ", ".join(f"{count:,} {name}" for name, count in cut.items() if count)
    return (
        [f"Of records longer than the model reads, vectors and perplexities leave out the end: {told}."] if told else []
    )
