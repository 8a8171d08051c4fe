from dataclasses import replace

import numpy as np
import pytest

from upright.run.evidence import Metric
from upright.synthesis.corpus import Corpus
from upright.synthesis.evaluation.closeness import closeness_part, jensen_shannon
from upright.synthesis.evaluation.part import CONTROL, HELDOUT, SYNTHETIC, Arms, Part

SIZES = {SYNTHETIC: 120, CONTROL: 100, HELDOUT: 110, "test": 130}


def corpus(n: int, seed: int, words: int) -> Corpus:
    rng = np.random.default_rng(seed)
    return Corpus(
        (), [" ".join(rng.choice(list("abcdefgh"), words + int(rng.integers(5)))) for _ in range(n)], [()] * n
    )


@pytest.fixture(scope="module")
def arms() -> Arms:
    """Synthetic records are three words longer than all others."""
    sides = {name: corpus(n, i, 13 if name == SYNTHETIC else 10) for i, (name, n) in enumerate(SIZES.items())}
    return Arms(corpus(50, 9, 10), sides[HELDOUT], sides["test"], sides[SYNTHETIC], sides[CONTROL], (), ())


@pytest.fixture(scope="module")
def vectors() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {name: rng.normal(size=(n, 12)) + 3 * (name == SYNTHETIC) for name, n in SIZES.items()}


@pytest.fixture(scope="module")
def nlls() -> dict[str, np.ndarray]:
    """Two nats a token, 3 for the synthetic records; the first text of each side has no predicted token."""
    found = {}
    for name, n in SIZES.items():
        tokens = np.arange(n) % 7
        found[name] = np.stack([tokens * (3.0 if name == SYNTHETIC else 2.0), tokens], axis=1)
    return found


@pytest.fixture(scope="module")
def part(arms: Arms, vectors: dict[str, np.ndarray], nlls: dict[str, np.ndarray]) -> Part:
    return closeness_part(arms, vectors, nlls)


def value(part: Part, name: str, split: str = SYNTHETIC) -> Metric:
    return next(metric for metric in part.metrics if metric.name == name and metric.split == split)


def test_perplexity_by_hand(part: Part) -> None:
    """exp(3) and exp(2); every text's log-perplexity lies exactly 1 nat off."""
    assert value(part, "perplexity").value == pytest.approx(np.exp(3))
    assert value(part, "perplexity", "test").value == pytest.approx(np.exp(2))
    assert value(part, "log-perplexity gap").value == pytest.approx(1)
    assert value(part, "log-perplexity gap", HELDOUT).value == 0


def test_lengths(part: Part) -> None:
    gap, real = value(part, "length gap"), value(part, "length gap", HELDOUT)
    assert gap.value == pytest.approx(3, abs=0.5)
    assert (real.value or 0) < 0.5
    mine, test = value(part, "words of a record"), value(part, "words of a record", "test")
    assert gap.value == pytest.approx((mine.value or 0) - (test.value or 0))  # no record is shorter


def test_vectors_far_off_are_seen(part: Part) -> None:
    """The synthetic cloud lies 3 off in each of 12 dimensions, of which the first 10 components are kept."""
    assert value(part, "MAUVE").value == pytest.approx(1 / 252, rel=1e-6)
    assert (value(part, "MAUVE", HELDOUT).value or 0) > 0.8
    assert value(part, "Fréchet distance").value == pytest.approx(12 * 9, rel=0.15)
    for split in (CONTROL, HELDOUT):
        whole, limit = (value(part, f"Fréchet distance{end}", split).value or 0 for end in ("", ", extrapolated"))
        assert limit < whole < 2


def test_all_sides_are_of_one_size(part: Part) -> None:
    assert {metric.n for metric in part.metrics if metric.name in ("MAUVE", "length gap", "words of a record")} == {100}


def test_every_distance_has_an_interval_and_a_real_reference(part: Part) -> None:
    for metric in part.metrics:
        if metric.split == SYNTHETIC:
            assert metric.ci_low is not None
            assert value(part, metric.name, HELDOUT).ci_high is not None
    assert len({(metric.name, metric.split) for metric in part.metrics}) == len(part.metrics)
    assert len(part.plots) == 2


def test_what_is_not_given_is_said(arms: Arms) -> None:
    part = closeness_part(arms, {}, {})
    assert part.limits == [
        "There were no vectors: no MAUVE and no Fréchet distance.",
        "There were no likelihoods: no perplexity.",
    ]
    assert not any(metric.name in ("MAUVE", "perplexity") for metric in part.metrics)


def test_rows_must_match_records(arms: Arms, vectors: dict[str, np.ndarray]) -> None:
    with pytest.raises(ValueError, match="'test': 130"):
        closeness_part(arms, {**vectors, "test": vectors["test"][:-1]}, {})
    with pytest.raises(ValueError, match="'synthetic': 120"):
        closeness_part(arms, {name: found for name, found in vectors.items() if name != SYNTHETIC}, {})


def test_sides_that_are_not_compared_may_be_given(
    arms: Arms, vectors: dict[str, np.ndarray], nlls: dict[str, np.ndarray], part: Part
) -> None:
    more = closeness_part(arms, {"train": np.ones((50, 12)), **vectors}, nlls)
    assert more.metrics == part.metrics


def test_the_largest_seed(arms: Arms, vectors: dict[str, np.ndarray]) -> None:
    part = closeness_part(replace(arms, seed=2**32 - 1), vectors, {})
    assert value(part, "MAUVE").value == pytest.approx(1 / 252, rel=1e-6)


def test_too_few_records(arms: Arms) -> None:
    part = closeness_part(replace(arms, synthetic=corpus(19, 0, 5)), {}, {})
    assert part.limits == ["No distance was measured: 19 records of each side; at least 20 are needed."]


def test_texts_without_words(arms: Arms) -> None:
    part = closeness_part(replace(arms, synthetic=Corpus((), [""] * 40, [()] * 40)), {}, {})
    assert value(part, "Jensen-Shannon divergence of words").value == 1
    assert value(part, "words of a record").value == 0


def test_divergence_by_hand() -> None:
    """(3/4, 1/4) and (1/4, 3/4): 1 - H(1/4) = 0.1887 bits."""
    assert jensen_shannon([3, 1], [1, 3]) == pytest.approx(1 - 0.8112781, abs=1e-6)
    assert jensen_shannon([0, 0], [0, 0]) == 0
