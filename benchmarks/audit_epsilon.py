"""Lower bounds on epsilon for mechanisms whose epsilon is known: how close, how often wrong, how fast."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.stats import binom

from benchmarks.harness import Bench, Cell, Section, relabelled, table
from upright.audit.epsilon import bounds
from upright.audit.epsilon.config import Config
from upright.audit.epsilon.scores import Scores
from upright.run.evidence import Metric, mean, proportion, scalar
from upright.run.measures import epsilon as method
from upright.run.measures.epsilon import Guesses

DELTA = 1e-5
Floats = NDArray[np.float64]
Maker = Callable[[int, np.random.Generator], Scores]


@dataclass(frozen=True)
class Way:
    """A method with its settings, as on the command line."""

    name: str
    config: Config


def way(name: str, **more: object) -> Way:
    """A method for scores that are made here."""
    return Way(name, Config.model_validate({"file": "scores.csv", "delta": DELTA, **more}))


ONE_RUN = (
    way("one run"),
    way("one run, 625 guesses", guess={"in": [313], "out": [312]}),
    way("f-DP, (ε, δ) curve", method="one-run-f-dp"),
)
GAUSSIAN = (
    *ONE_RUN,
    way("f-DP, Gaussian curve", method="one-run-f-dp", curve="gaussian"),
    way(
        "f-DP, Gaussian curve, 625 guesses",
        method="one-run-f-dp",
        curve="gaussian",
        guess={"in": [313], "out": [312]},
    ),
)
MANY = (
    way("many runs, ranks", method="many-runs"),
    way("many runs, split", method="many-runs", threshold={"pick": "split"}),
    way("many runs, Gaussian curve", method="many-runs", curve="gaussian"),
)


def run(bench: Bench) -> Section:
    """Audit randomised response and the Gaussian mechanism many times; time one audit beside the published code."""
    section = Section("Lower bounds on ε")
    audits, n = (10, 1000) if bench.quick else (200, 10_000)
    for title, make, epsilon, ways, size in _mechanisms(n):
        rows: dict[str, list[Cell]] = {}
        for one in ways:
            cells = _audited(one, make, epsilon, size, audits)
            rows[one.name] = list(cells)
            section.metrics += [m for cell in cells for m in relabelled(cell, f"{title}, {one.name}")]
        section.tables += [f"**{title}**, {size:,} canaries or runs, δ = {DELTA:g}", table(rows, COLUMNS)]
    caught = _caught(audits)
    section.tables += ["**Bugs**: claimed (2, 1e-5), 2,000 canaries", table(caught, ["claim refuted"])]
    section.metrics += [m for name, cells in caught.items() for cell in cells for m in relabelled(cell, name)]
    timed = dict(_timed(n))
    section.tables += [f"**Time** of one bound, {n:,} guesses of which 7 in 10 are right", table(timed, ["time"])]
    section.metrics += [m for name, cells in timed.items() for cell in cells for m in relabelled(cell, name)]
    section.notes += [
        "A bound is wrong when it exceeds the true ε; 5 % may be. Without a number of guesses, all, a quarter, a "
        "sixteenth, … are guessed and corrected for each other.",
        "“As published” follows the listing of arXiv:2305.08846, appendix D: one term at a time, 30 halvings.",
    ]
    return section


COLUMNS = ["mean bound", "smallest", "share of the true ε", "wrong"]


def _mechanisms(n: int) -> Iterator[tuple[str, Maker, float, Sequence[Way], int]]:
    for epsilon in (1.0, 4.0):
        yield f"Randomised response, ε = {epsilon:g}", partial(respond, epsilon), epsilon, ONE_RUN, n
        yield f"Gaussian, ε = {epsilon:g}", partial(gaussian, mu_at(epsilon)), epsilon, GAUSSIAN, n
    for size in (max(200, n // 5), n):
        yield "Gaussian, ε = 4, a canary a run", partial(gaussian, mu_at(4.0)), 4.0, MANY, size


def mu_at(epsilon: float) -> float:
    """The Gaussian mechanism that is exactly (ε, DELTA)-DP."""
    return float(brentq(lambda mu: method.epsilon_of_mu(mu, DELTA) - epsilon, 0.01, 20))


def respond(epsilon: float, n: int, rng: np.random.Generator) -> Scores:
    """Randomised response: the coin itself, wrong with chance 1 / (1 + e^ε)."""
    included = rng.random(n) < 0.5
    return Scores((included ^ (rng.random(n) < 1 / (1 + math.exp(epsilon)))).astype(float), included)


def gaussian(mu: float, n: int, rng: np.random.Generator, noise: float = 1.0) -> Scores:
    """Each canary's own sum, with noise of unit sd unless a bug shrinks it."""
    included = rng.random(n) < 0.5
    return Scores(noise * rng.standard_normal(n) + mu * included, included)


def _bounds(one: Way, make: Maker, n: int, audits: int) -> Floats:
    rng, form = np.random.default_rng(0), bounds.FORMS[bounds.chosen(one.config)]
    found = []
    for _ in range(audits):
        tests = bounds.tests_of(one.config, make(n, rng), rng)
        found.append(max(form(test, DELTA, one.config.alpha / len(tests)) for test in tests))
    return np.array(found)


def _audited(one: Way, make: Maker, epsilon: float, n: int, audits: int) -> list[Metric]:
    found = _bounds(one, make, n, audits)
    return [
        mean("mean bound", found, better="higher"),
        scalar("smallest bound", float(found.min()), n=audits, better="higher"),
        mean("share of the true epsilon", found / epsilon, unit="proportion", better="higher"),
        proportion("wrong", int((found > epsilon).sum()), audits, better="lower"),
    ]


def _caught(audits: int) -> dict[str, list[Metric]]:
    mu = mu_at(2.0)
    builds: dict[str, Maker] = {
        "as claimed": partial(gaussian, mu),
        "no noise": partial(gaussian, mu, noise=0.0),
        "a tenth of the noise": partial(gaussian, mu, noise=0.1),
        "half the noise": partial(gaussian, mu, noise=0.5),
        "no clipping, norms 20 times too large": partial(gaussian, 20 * mu),
    }
    found = {name: _bounds(ONE_RUN[0], make, 2000, audits) for name, make in builds.items()}
    return {name: [proportion("refuted", int((values > 2.0).sum()), audits)] for name, values in found.items()}


def _timed(n: int) -> Iterator[tuple[str, list[Metric]]]:
    found = Guesses(int(0.7 * n), n, n)
    jobs: dict[str, Callable[[], float]] = {
        "one run": partial(method.epsilon_one_run, found, DELTA),
        "one run, as published": partial(published, found, DELTA),
        "f-DP, (ε, δ) curve": partial(method.epsilon_one_run_curve, found, DELTA),
        "f-DP, Gaussian curve": partial(method.mu_one_run, found),
    }
    for name, job in jobs.items():
        times = []
        for _ in range(2 if "published" in name else 20):
            begin = time.perf_counter()
            job()
            times.append(time.perf_counter() - begin)
        yield name, [mean("seconds", times, unit="s", better="lower")]


def published(found: Guesses, delta: float, alpha: float = 0.05) -> float:
    """The bound as the paper's listing finds it, term by term."""
    right, made, canaries = found

    def p_value(epsilon: float) -> float:
        q = 1 / (1 + math.exp(-epsilon))
        worst, total = 0.0, 0.0
        for i in range(1, right + 1):
            total += binom.pmf(right - i, made, q)
            worst = max(worst, total / i)
        return float(binom.sf(right - 1, made, q)) + 2 * canaries * delta * worst

    low, high = 0.0, 1.0
    while p_value(high) < alpha:
        high += 1
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (middle, high) if p_value(middle) < alpha else (low, middle)
    return low
