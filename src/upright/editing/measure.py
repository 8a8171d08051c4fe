"""Measuring a model with probes, and the numbers that come of it."""

import math
import random
from collections import Counter, defaultdict
from collections.abc import Sequence

from pydantic import BaseModel

from upright.editing.probes import Probe
from upright.models.causal import CausalModel
from upright.models.generate import generate
from upright.models.matching import matches
from upright.models.score import perplexity, score
from upright.run.evidence import Metric, Stage, mean, proportion
from upright.run.evidence import perplexity as perplexity_metric

Answered = tuple[bool | None, bool]
"""Whether the answer beat its rival in likelihood (None without one), and whether it was generated exactly."""


class Sheet(BaseModel):
    """All that is observed of a model at one moment; probes in the order they were made."""

    answered: list[Answered]
    old: list[bool]
    """Whether the answer of before the edit was generated exactly; False where there is none."""
    said: Sequence[str]
    nll: list[float]
    tokens: list[int]
    entropies: list[float]


def observe(
    model: CausalModel,
    probes: Sequence[Probe],
    texts: Sequence[str],
    subjects: Sequence[str],
    rows: int,
) -> Sheet:
    """Ask every probe, read every text, let every subject be talked about."""
    said = generate(model, [p.prompt for p in probes], max_new_tokens=16, stop=("\n",), batch_rows=rows)
    exact = [matches(text, (p.answer, *p.aliases)) for text, p in zip(said, probes, strict=True)]
    wins = _wins(model, probes, rows)
    read = perplexity(model, texts, window=256, stride=128, batch_rows=rows)
    return Sheet(
        answered=list(zip(wins, exact, strict=True)),
        old=[p.before is not None and matches(text, (p.before,)) for text, p in zip(said, probes, strict=True)],
        said=said,
        nll=read.per_text,
        tokens=read.text_tokens,
        entropies=[ngram_entropy(text) for text in _talk(model, subjects, rows)],
    )


def _wins(model: CausalModel, probes: Sequence[Probe], rows: int) -> list[bool | None]:
    rivals = [i for i, p in enumerate(probes) if p.rival is not None and p.rival != p.answer]
    prompts = [probes[i].prompt for i in rivals]
    wanted = score(
        model, [*prompts, *prompts], [probes[i].answer for i in rivals] + [str(probes[i].rival) for i in rivals], rows
    )
    wins: list[bool | None] = [None] * len(probes)
    for place, i in enumerate(rivals):
        wins[i] = wanted[place].nll_mean < wanted[len(rivals) + place].nll_mean
    return wins


def _talk(model: CausalModel, subjects: Sequence[str], rows: int) -> Sequence[str]:
    return generate(model, list(subjects), max_new_tokens=60, stop=("\0",), batch_rows=rows)


def ngram_entropy(text: str) -> float:
    """Fluency of a text (Meng et al. 2022): half of 2/3 the bigram and 4/3 the trigram entropy, in bits, times 100."""
    words = text.split()
    return 100 * 0.5 * (2 / 3 * _entropy(words, 2) + 4 / 3 * _entropy(words, 3))


def _entropy(words: Sequence[str], n: int) -> float:
    grams = Counter(zip(*(words[i:] for i in range(n)), strict=False))
    total = sum(grams.values())
    return -sum(count / total * math.log2(count / total) for count in grams.values()) if total else 0.0


def metrics(probes: Sequence[Probe], sheet: Sheet, before: Sheet, stage: Stage, method: str = "") -> list[Metric]:
    """Every measure with n and interval; `method` goes into the split, to tell several results apart."""

    def split(name: str) -> str:
        return f"{name}, {method}" if method else name

    found = []
    for (measure, part), rows in grouped(probes, before).items():
        wins = [sheet.answered[i][0] for i in rows if sheet.answered[i][0] is not None]
        exact = [sheet.answered[i][1] for i in rows]
        found.append(proportion(f"{measure} (exact)", sum(exact), len(exact), stage=stage, split=split(part)))
        if wins:
            hits = sum(bool(win) for win in wins)
            found.append(proportion(f"{measure} (likelihood)", hits, len(wins), stage=stage, split=split(part)))
    if sheet.nll:
        found.append(perplexity_metric("perplexity", sheet.nll, sheet.tokens, stage=stage, split=split("plain text")))
    if sheet.entropies:
        found.append(mean("fluency", sheet.entropies, stage=stage, split=split("about subjects")))
    return found


def known_before(probes: Sequence[Probe], before: Sheet) -> list[Metric]:
    """What the model knew of what was to be changed: old answers given, in the same words."""
    found = []
    for (measure, part), rows in grouped(probes, before).items():
        asked = [i for i in rows if probes[i].before is not None]
        if asked and (part == "all" or measure == "efficacy"):
            hits = sum(before.old[i] for i in asked)
            found.append(proportion(f"old answer known, {measure}", hits, len(asked), stage="before", split=part))
    return found


def grouped(probes: Sequence[Probe], before: Sheet) -> dict[tuple[str, str], list[int]]:
    """Indices by measure and split. Where a measure has several splits, "all" comes first.

    Multi-hop questions are also split by whether their chain was written as a contextual edit, and those whose old
    answer the unedited model gave stand apart: on the others a failure is not the editor's.
    """
    groups: dict[tuple[str, str], list[int]] = defaultdict(list)
    for i, probe in enumerate(probes):
        if probe.measure in ("multi-hop", "paraphrase"):
            groups[probe.measure, "all"].append(i)
        groups[probe.measure, probe.split].append(i)
    for i in groups.get(("multi-hop", "all"), []):
        groups["multi-hop", "chain written" if probes[i].written else "chain not written"].append(i)
        if before.old[i]:
            groups["multi-hop", "old answer known"].append(i)
    return dict(groups)


def examples(
    probes: Sequence[Probe], stages: dict[str, Sheet], rng: random.Random, per_measure: int = 3
) -> list[dict[str, str]]:
    """Random probes with what the model said at each stage."""
    rows = []
    by_measure: dict[str, list[int]] = defaultdict(list)
    for i, probe in enumerate(probes):
        by_measure[probe.measure].append(i)
    for measure, indices in by_measure.items():
        for i in sorted(rng.sample(indices, min(per_measure, len(indices)))):
            said = {stage: sheet.said[i].strip()[:60] for stage, sheet in stages.items()}
            rows.append({"measure": measure, "prompt": probes[i].prompt, "wanted": probes[i].answer, **said})
    return rows
