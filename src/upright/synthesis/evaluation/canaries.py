"""Canaries: random sentences, each trained on or not by a coin, that show how much of a single unit is remembered.

A canary begins like a record (a public opening, written for a public code) and ends in random words and digits, which
no model can expect. Each is in the training data by an independent fair coin, as one-run audits need it (Steinke, Nasr
& Jagielski 2023, arXiv:2305.08846), and is a unit of its own. Exposure is Carlini et al.'s (2019, arXiv:1802.08232).
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from upright.errors import UserError
from upright.run.evidence import Metric, mean, scalar
from upright.run.measures import ranks
from upright.run.measures.roc import auc
from upright.run.measures.spaces import Space
from upright.run.plots import forest
from upright.synthesis.corpus import Code, Corpus
from upright.synthesis.evaluation.audited import AUDITED, audited_epsilon, contradiction
from upright.synthesis.evaluation.part import CONTROL, SYNTHETIC, Part
from upright.synthesis.evaluation.sides import said

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

TITLE = "Canaries"
SECRET = "{words:4} {digits:4}"
"""The random end: 1820^4 · 10^4, some 10^17 of them."""
CANDIDATES = 1000
"""Texts that canaries are ranked among, shared out over the beginnings."""
FEWEST = 100
"""Candidates of one beginning, at least."""
BASE = "base model"
"""Key of the likelihoods under the model before it was tuned."""
EXPOSURE, CERTIFIED = "exposure", "epsilon, certified"
TOLD = "canaries in told from out, AUC"


@dataclass(frozen=True)
class Canaries:
    """The record of the canaries; it holds nothing of the private records and can be written as JSON.

    Args:
        openings: how each canary begins.
        secrets: its random end.
        codes: the code that each is written for.
        included: whether it is trained on.
        repeats: records of the unit of one that is.
        format: of the random end.
        seed: of the candidates.
    """

    openings: tuple[str, ...]
    secrets: tuple[str, ...]
    codes: tuple[Code, ...]
    included: tuple[bool, ...]
    repeats: int
    format: str
    seed: int

    def __len__(self) -> int:
        return len(self.secrets)

    @property
    def texts(self) -> list[str]:
        """One for each canary."""
        return [_joined(*pair) for pair in zip(self.openings, self.secrets, strict=True)]

    def corpus(self, columns: Sequence[str]) -> Corpus:
        """What is added to the training records: `repeats` records of each canary that is in, a unit each."""
        rows = [i for i, inside in enumerate(self.included) if inside for _ in range(self.repeats)]
        texts = self.texts
        units = [f"canary-{i}" for i in rows]
        return Corpus(tuple(columns), [texts[i] for i in rows], [self.codes[i] for i in rows], units)

    def scored(self) -> tuple[list[str], list[Code]]:
        """All texts whose likelihood is needed, each with its code: the canaries, then their candidates."""
        texts, codes = self.texts, list(self.codes)
        for (opening, code), others in self._candidates():
            texts += [_joined(opening, secret) for secret in others]
            codes += [code] * len(others)
        return texts, codes

    def stems(self) -> NDArray[np.int64]:
        """The beginning, text and code, of each of the texts of `scored`, numbered from 0."""
        number = {stem: i for i, stem in enumerate(self._beginnings)}
        own = [number[stem] for stem in zip(self.openings, self.codes, strict=True)]
        others = [number[stem] for stem, found in self._candidates() for _ in found]
        return np.array([*own, *others], dtype=np.int64)

    @property
    def _beginnings(self) -> list[tuple[str, Code]]:
        return list(dict.fromkeys(zip(self.openings, self.codes, strict=True)))

    def _candidates(self) -> Iterator[tuple[tuple[str, Code], list[str]]]:
        space, rng, stems = Space.parse(self.format), random.Random(f"candidates-{self.seed}"), self._beginnings
        size = max(FEWEST, -(-CANDIDATES // max(1, len(stems))))
        for stem in stems:
            yield stem, space.sample(size, rng, set(self.secrets))

    def as_json(self) -> dict[str, Any]:
        """Plain lists, strings and numbers."""
        return asdict(self)

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> "Canaries":
        """The record again."""
        lists: dict[str, Any] = {name: tuple(found[name]) for name in ("openings", "secrets", "included")}
        codes = tuple(tuple(code) for code in found["codes"])
        return cls(**{**found, **lists, "codes": codes})


def _joined(opening: str, secret: str) -> str:
    return f"{opening} {secret}" if opening else secret


def make(
    count: int,
    seed: int,
    *,
    codes: Sequence[Code] = ((),),
    openings: Sequence[str] = ("",),
    repeats: int = 1,
    format: str = SECRET,
) -> Canaries:
    """Draw canaries and their coins.

    Args:
        count: canaries, in and out together.
        codes: public codes they are written for, in turn. Candidates are scored for each beginning, so few are better.
        openings: public beginnings of records, in turn; never text of a private record.
        repeats: records of the unit of a canary that is in.
        format: of the random end, see `upright.run.measures.spaces`.

    Raises:
        UserError: for a format with too few texts to draw canaries and candidates from.
    """
    space, rng = Space.parse(format), random.Random(f"canaries-{seed}")
    if space.size < 4 * (count + CANDIDATES):
        raise UserError(
            f"format {format!r}: has {space.size:,} texts, too few for {count:,} canaries; give it longer random parts"
        )
    return Canaries(
        openings=tuple(openings[i % len(openings)] for i in range(count)),
        secrets=tuple(space.sample(count, rng)),
        codes=tuple(codes[i % len(codes)] for i in range(count)),
        included=tuple(rng.random() < 0.5 for _ in range(count)),
        repeats=repeats,
        format=format,
        seed=seed,
    )


# --- exposure --------------------------------------------------------------------------------------------------


def exposures(canaries: Canaries, nlls: ArrayLike) -> Floats:
    """Exposure in bits of each canary among the candidates of its beginning, from the NLL of each text of `scored`."""
    values, stems, size = np.asarray(nlls, dtype=float), canaries.stems(), len(canaries)
    own, found = np.arange(len(values)) < size, np.empty(size)
    for stem in np.unique(stems):
        at = np.flatnonzero(own & (stems == stem))
        found[at] = ranks.exposure(values[at], values[~own & (stems == stem)])
    return found


def scores(canaries: Canaries, nlls: ArrayLike, base: ArrayLike | None = None) -> Floats:
    """How much likelier each canary is than its candidates, in their standard deviations; for tests of membership.

    Args:
        nlls: of each text of `scored`, in nats, under the model in question.
        base: the same under the model before tuning, which is subtracted: how hard a text is says nothing of it.
    """
    values = np.asarray(nlls, dtype=float) - (0.0 if base is None else np.asarray(base, dtype=float))
    stems, size = canaries.stems(), len(canaries)
    found = np.empty(size)
    for stem in np.unique(stems):
        at, others = np.flatnonzero(stems[:size] == stem), values[size:][stems[size:] == stem]
        found[at] = (others.mean() - values[at]) / max(others.std(), 1e-12)
    return found


# --- the part --------------------------------------------------------------------------------------------------


def exposure_part(
    canaries: Canaries,
    nlls: Mapping[str, ArrayLike],
    *,
    delta: float | None = None,
    certified: float | None = None,
) -> Part:
    """Exposure of canaries, how well those in are told from those out, and the epsilon that this shows.

    Args:
        nlls: NLL in nats of the texts of `Canaries.scored`, each given its code, under the model that wrote each
            split: SYNTHETIC, and CONTROL where it was run. BASE, if there, calibrates.
        delta: of the certificate; without it epsilon is not audited.
        certified: epsilon of the certificate; None or inf for none.

    Raises:
        ValueError: if a model scored another number of texts, or a likelihood is not finite.
    """
    arrays = {name: _checked(canaries, name, values) for name, values in nlls.items()}
    included = np.array(canaries.included, dtype=bool)
    if included.all() or not included.any():
        return Part(TITLE, f"All {len(canaries)} coins fell alike: exposure means nothing without both sides.")
    base, metrics = arrays.get(BASE), list[Metric]()
    for split in (name for name in (SYNTHETIC, CONTROL) if name in arrays):
        metrics += _exposed(exposures(canaries, arrays[split]), included, split, canaries.seed)
        found = scores(canaries, arrays[split], base)
        metrics.append(auc(found[included], found[~included], name=TOLD, split=split))
        if delta is not None:
            metrics += audited_epsilon(included, found, delta, split=split, seed=canaries.seed)
    if certified is not None and np.isfinite(certified):
        metrics.append(scalar(CERTIFIED, certified, split=SYNTHETIC, n=len(canaries), better="lower"))
    return _part(canaries, metrics, certified)


def _checked(canaries: Canaries, name: str, values: ArrayLike) -> Floats:
    array, wanted = np.asarray(values, dtype=float), canaries.stems().size
    if array.shape != (wanted,) or not np.isfinite(array).all():
        raise ValueError(f"{name}: got likelihoods of shape {array.shape}; needs {wanted} finite ones")
    return array


def _exposed(found: Floats, included: Flags, split: str, seed: int) -> list[Metric]:
    sides = {"in": found[included], "out": found[~included]}
    value, low, high = ranks.difference(sides["in"], sides["out"], np.random.default_rng(seed))
    means = [
        mean(
            f"{EXPOSURE} of canaries {name}",
            values,
            split=split,
            unit="bits",
            better="lower" if name == "in" else "none",
        )
        for name, values in sides.items()
    ]
    title = f"{EXPOSURE}, in above out"
    return [
        *means,
        Metric(
            name=title, split=split, value=value, n=found.size, ci_low=low, ci_high=high, unit="bits", better="lower"
        ),
    ]


def _part(canaries: Canaries, metrics: list[Metric], certified: float | None) -> Part:
    named = {(metric.name, metric.split): metric for metric in metrics}
    more, told = named[f"{EXPOSURE}, in above out", SYNTHETIC], named[TOLD, SYNTHETIC]
    audited = named.get((AUDITED, SYNTHETIC))
    failed = contradiction(audited.value or 0.0, certified) if audited else None
    drawn = [metric for metric in metrics if metric.unit == "bits"]
    return Part(
        TITLE,
        f"Of {len(canaries)} random sentences a coin chose {sum(canaries.included)} to be trained on, each "
        f"{canaries.repeats} ×. Is the model surer of them than of others of their kind? Exposure is log2 of the "
        "candidates less log2 of the rank; chance gives 1.44 bits. Those in are exposed "
        f"{said(more)} more than those out, and told from them with an AUC of {said(told)}: "
        f"{'above' if _above(told) else 'at'} chance." + _audit(audited, certified, failed),
        metrics,
        [(forest(drawn, alt="Mean exposure of canaries in and out, in bits."), "Exposure; chance gives 1.44 bits.")],
        limits=[*([failed] if failed else []), *_limits(named)],
    )


def _above(told: Metric) -> bool:
    """The verdict rests on ranks: exposures are so skewed that the interval of their mean is a little too narrow."""
    return told.ci_low is not None and told.ci_low > 0.5


def _audit(audited: Metric | None, certified: float | None, failed: str | None) -> str:
    if audited is None:
        return ""
    beside = "" if certified is None or not np.isfinite(certified) else f", beside a certified {certified:.2f}"
    return f" {failed}" if failed else f" The audit shows an epsilon of {audited.value:.2f} at least{beside}."


def _limits(named: Mapping[tuple[str, str], Metric]) -> list[str]:
    limits = [
        "An audit can refute a certificate, never confirm it: it sees one attack, in one run.",
        "Canaries of one beginning are ranked among the same candidates, whose chance the intervals leave out; the "
        "difference of in and out is free of it.",
    ]
    control = named.get((TOLD, CONTROL))
    if control is not None and not _above(control):
        limits.append("Canaries are at chance without privacy as well: this test had no power here.")
    return limits
