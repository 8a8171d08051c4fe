"""The comparisons: which are made, what each is given, and one step of the run for each."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from upright.models import causal
from upright.run.folder import RunFolder
from upright.synthesis.config import Config
from upright.synthesis.corpus import Corpus
from upright.synthesis.evaluation.part import CONTROL, SYNTHETIC, Arms, Part
from upright.synthesis.generators.protocol import Generator
from upright.synthesis.passes import Reading, read_sides
from upright.synthesis.planting import Planted
from upright.synthesis.split import Split

TRAIN, TEST = "train", "test"


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


class Evaluation:
    """The comparisons of one run."""

    def __init__(self, config: Config, folder: RunFolder, generator: Generator, planted: Planted) -> None:
        self._config, self._folder, self._generator, self._planted = config, folder, generator, planted
        self._jobs = _jobs(config, planted, generator)

    @property
    def done(self) -> bool:
        """Whether all were made in an earlier process."""
        return self._folder.done() >= {_step(name) for name in self._jobs}

    def parts(self, arms: Arms, control_scores: NDArray[np.float64] | None = None) -> list[Part]:
        """One section of the report for each comparison.

        Args:
            control_scores: of the canaries, under the model of the control, see `Planted.scores`.
        """
        bench = Bench(self._config, arms, self._generator, self._planted, control_scores)
        return [self._folder.step(_step(name), _bound(job, bench), type=Part) for name, job in self._jobs.items()]


@dataclass
class Bench:
    """What the comparisons share; what costs a reading by a model is made once, when it is first asked for."""

    config: Config
    arms: Arms
    generator: Generator
    planted: Planted
    control_scores: NDArray[np.float64] | None = None

    @cached_property
    def readings(self) -> dict[str, Reading]:
        """Vectors and likelihoods of each side by a public model."""
        spec = self.config.evaluation.embedding or self.config.model
        model = causal.load(spec, self.config.speed.device)
        sides = {**self.arms.compared, TRAIN: self.arms.train, TEST: self.arms.test}
        return read_sides(model, sides, self.config.speed.batch_rows)

    @property
    def vectors(self) -> dict[str, NDArray[np.float64]]:
        """By side (n, d)."""
        return {name: reading.vectors for name, reading in self.readings.items()}

    @property
    def nlls(self) -> dict[str, NDArray[np.float64]]:
        """By side (n, 2)."""
        return {name: reading.nlls for name, reading in self.readings.items()}

    def canaries(self) -> dict[str, NDArray[np.float64]]:
        """-log p of the canaries and of their like, under each model that is there."""
        from upright.synthesis.evaluation.canaries import BASE

        assert self.generator.model is not None
        rows = self.config.speed.batch_rows
        base = causal.load(self.config.model, self.config.speed.device)
        found = {SYNTHETIC: self.generator.model, BASE: base}
        scores = {name: self.planted.scores(model, rows) for name, model in found.items()}
        return scores if self.control_scores is None else scores | {CONTROL: self.control_scores}


Job = Callable[[Bench], Part]


def _step(name: str) -> str:
    return f"part-{name}"


def _bound(job: Job, bench: Bench) -> Callable[[], Part]:
    return lambda: job(bench)


def _jobs(config: Config, planted: Planted, generator: Generator) -> dict[str, Job]:
    """The comparisons that were asked for, in the order of the report."""
    chosen, found = config.evaluation, dict[str, Job]()
    if chosen.utility and config.labels:
        found["utility"] = _utility
    if chosen.coreference:
        found["coreference"] = _coreference
    if chosen.closeness:
        found |= {"closeness": _closeness, "diversity": _diversity}
    if chosen.leakage:
        leaks: dict[str, Job] = {
            "personal": _personal,
            "overlaps": _overlaps,
            "neighbours": _neighbours,
            "membership": _membership,
        }
        found |= leaks
    if planted.canaries is not None and generator.model is not None:
        found["exposure"] = _exposure
    return found


# Each part is imported when it is made: scikit-learn and its like are needed by some of them alone.


def _utility(bench: Bench) -> Part:
    from upright.synthesis.evaluation.utility import utility_part

    return utility_part(bench.arms, bench.config.evaluation.resamples)


def _coreference(bench: Bench) -> Part:
    from upright.synthesis.evaluation.coreference import coreference_part

    return coreference_part(bench.arms, bench.config.evaluation.resamples)


def _closeness(bench: Bench) -> Part:
    from upright.synthesis.evaluation.closeness import closeness_part

    return closeness_part(bench.arms, bench.vectors, bench.nlls)


def _diversity(bench: Bench) -> Part:
    from upright.synthesis.evaluation.diversity import diversity_part

    return diversity_part(bench.arms)


def _personal(bench: Bench) -> Part:
    from upright.synthesis.evaluation.personal import personal_part

    return personal_part(bench.arms)


def _overlaps(bench: Bench) -> Part:
    from upright.synthesis.evaluation.overlaps import overlaps_part

    return overlaps_part(bench.arms)


def _neighbours(bench: Bench) -> Part:
    from upright.synthesis.evaluation.neighbours import neighbours_part

    return neighbours_part(bench.arms, bench.vectors, resamples=bench.config.evaluation.resamples)


def _membership(bench: Bench) -> Part:
    from upright.synthesis.evaluation.membership import membership_part

    return membership_part(bench.arms, bench.planted.canaries, rows=bench.config.evaluation.rows)


def _exposure(bench: Bench) -> Part:
    from upright.synthesis.evaluation.canaries import exposure_part

    assert bench.planted.canaries is not None
    earned = bench.generator.certificate
    return exposure_part(
        bench.planted.canaries,
        bench.canaries(),
        delta=None if earned is None else earned.delta,
        certified=None if earned is None else earned.epsilon,
    )
