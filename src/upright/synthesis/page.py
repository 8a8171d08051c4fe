"""What the sections of the report are made of: the facts of the guarantee, measures by side, and examples."""

import math
import random
from collections.abc import Mapping, Sequence
from typing import Any

from upright.run.evidence import Metric, display, interval
from upright.synthesis.config import Config
from upright.synthesis.corpus import Code, Corpus
from upright.synthesis.drawings import MARKS, Figure
from upright.synthesis.evaluation.audited import AUDITED
from upright.synthesis.evaluation.canaries import CERTIFIED, EXPOSURE, TOLD
from upright.synthesis.evaluation.membership import LIKELIHOOD, SIGNALS
from upright.synthesis.evaluation.neighbours import CLOSER
from upright.synthesis.evaluation.part import CONTROL, HELDOUT, SYNTHETIC, TEST
from upright.synthesis.evaluation.personal import LIFT

UNENDED = "records cut off before their end"
MEMBERSHIP = f"membership AUC, {SIGNALS[LIKELIHOOD]}, calibrated"
TELLING = (
    ": macro-F1",
    "macro-F1 kept",
    ": range of accuracy",
    ": equalised odds difference",
    "MAUVE",
    LIFT,
    "alone that were written",
    "longest passage shared, more",
    "copies of",
    "duplicates of training records",
    CLOSER,
    MEMBERSHIP,
    TOLD,
    AUDITED,
    CERTIFIED,
    f"{EXPOSURE}, in above out",
)
"""Ends or beginnings of the names of measures that come first in a table."""
SIDES = {SYNTHETIC: "synthetic", CONTROL: "control", HELDOUT: "held-out", TEST: "test records"}
ROWS = 10
"""Measures that the table of a section shows; the fold below it has them all."""
REAL = "real, held out"
SHOWN = 5
"""Codes of which an example is shown."""

Row = dict[str, str]


def named(metrics: Sequence[Metric], name: str, split: str = SYNTHETIC) -> Metric | None:
    """The measure of that name and side; None where it was not taken or found nothing."""
    return next((m for m in metrics if (m.name, m.split) == (name, split) and m.value is not None), None)


# --- the guarantee ---------------------------------------------------------------------------------------------


def guarantee(config: Config, statement: Mapping[str, Any]) -> dict[str, str]:
    """The facts that the guarantee rests on, in plain words.

    Args:
        statement: of the certificate, see `release.statement`.
    """
    facts = {
        "what holds": _promise(statement),
        "protected unit": _unit(config),
        "neighbouring data": f"{statement['adjacency']}, whatever the others are",
        "units learnt from": f"{statement['units']:,}{', canaries among them' if config.evaluation.canaries else ''}",
    }
    if "epsilon" in statement:
        facts |= _accounted(config, statement) | (_training(statement) if statement["planned_steps"] else {})
        facts |= _asked(config, statement)
    return facts | {"taken as public": _public(config), "holds only if": _asks(config)}


def budget(statement: Mapping[str, Any]) -> str:
    """ε, δ and the unit, in a line."""
    if "epsilon" not in statement:
        return "no formal guarantee"
    delta = tied(f"δ = {statement['delta']:.2g}")
    return f"{_epsilon(statement['epsilon'])} at {delta} for each {statement['unit']}"


def _epsilon(epsilon: float | str) -> str:
    return tied("ε = ∞" if epsilon == "inf" else f"ε = {epsilon:.3g}")


def tied(text: str) -> str:
    """The text with spaces at which no line breaks."""
    return text.replace(" ", "\N{NO-BREAK SPACE}")


def _promise(statement: Mapping[str, Any]) -> str:
    if not statement["covers_the_records"]:
        return f"Nothing: {'; '.join(statement['not_covered_because'])}."
    factor = f"{tied('e^ε =')} {_factor(statement['epsilon'])}"
    return (
        f"{budget(statement)}. Whoever sees records and generator, and knows all else, can change the odds that "
        f"somebody was learnt from by a factor of at most {factor}, but for a chance of about δ."
    )


def _factor(epsilon: float) -> str:
    """e^ε in two digits.

    >>> _factor(1.0), _factor(8.0), _factor(50.0)
    ('2.7', '3,000', '10^22')
    """
    if epsilon > 20:
        return f"10^{epsilon / math.log(10):.0f}"
    return f"{float(f'{math.exp(epsilon):.2g}'):,.{1 if epsilon < math.log(10) else 0}f}"


def _unit(config: Config) -> str:
    return f"all records with the same {config.unit!r}" if config.unit else "one record; two of one person are two"


def _accounted(config: Config, statement: Mapping[str, Any]) -> dict[str, str]:
    renyi = f"Rényi orders: {_epsilon(statement['epsilon_renyi'])}"
    if config.tune.accountant == "rdp":
        return {"accountant": f"{renyi}, which counts"}
    return {"accountant": f"privacy-loss distributions: {_epsilon(statement['epsilon'])}, which counts; {renyi}"}


def _training(statement: Mapping[str, Any]) -> dict[str, str]:
    rate, steps, planned = statement["sample_rate"], statement["steps"], statement["planned_steps"]
    return {
        "sample rate": f"each unit takes part in a step with a chance of {rate:.3g}, independent of the others",
        "clipping": f"a unit's gradient has a norm of at most {statement['clip']:g}",
        "noise": f"in each step of {statement['noise']:.3g} × the clipping norm (its standard deviation)",
        "steps": f"{steps:,} taken of {planned:,} planned; ε counts those that were taken",
    }


def _asked(config: Config, statement: Mapping[str, Any]) -> dict[str, str]:
    asked = [f"{name} ({times:,} ×)" for name, times in statement["queries"].items() if times]
    facts = {"queries": f"{', '.join(asked)}: answered with noise, and paid for in ε" if asked else "none"}
    if asked and not statement["planned_steps"]:
        facts["noise of queries"] = f"{statement['noise']:.3g} × what one unit can change, the largest of them"
    if not statement["secret"]:
        return facts | {"chance": "from the run's seed: good for tests, void for a release"}
    return facts | {"chance": "from the system's cryptographic generator"}


def _public(config: Config) -> str:
    columns = [*config.labels, *config.groups]
    given = [name for name in columns if name in config.codes.values]
    found = [name for name in columns if name not in given]
    public = ["the number of units", "all settings", f"the model {config.model}", "the names of the columns"]
    if given:
        public.append(f"the values of {', '.join(given)} (codes.values)")
    if found:
        public.append(f"the values of {', '.join(found)} as they stand in the data (name them in codes.values)")
    if config.generator == "ngrams" and config.ngrams.vocabulary:
        public.append(f"the words in {config.ngrams.vocabulary}")
    if columns and config.codes.counts != "noised":
        public.append(f"the shares of the codes ({config.codes.counts})")
    return "; ".join(public)


def _asks(config: Config) -> str:
    asks = ["no setting was tuned on these records without paying for it", f"{config.model} has not read them before"]
    return "; ".join([*asks, "if a killed run was resumed, nobody saw the steps that were lost"])


# --- measures by side ------------------------------------------------------------------------------------------


def main_figures(config: Config, metrics: Sequence[Metric]) -> list[Figure]:
    """Of what was measured: use, closeness, distance and membership, of each side."""
    label = config.labels[0] if config.labels else ""
    wanted = [
        ("macro-F1 of a classifier\n(higher is better)", f"{label}: macro-F1", False),
        ("MAUVE\n(higher is better)", "MAUVE", False),
        ("nearer to a train record\n(one half is chance)", CLOSER, True),
        ("membership AUC\n(one half is chance)", MEMBERSHIP, True),
    ]
    found = [Figure(shown, _sides(metrics, name), chance) for shown, name, chance in wanted]
    return [figure for figure in found if figure.sides]


def _sides(metrics: Sequence[Metric], name: str) -> list[tuple[str, Metric]]:
    """The test records stand for real ones where held-out records are what is measured against."""
    real = HELDOUT if named(metrics, name, HELDOUT) else TEST
    found = [(split, named(metrics, name, real if split == HELDOUT else split)) for split in MARKS]
    return [(split, metric) for split, metric in found if metric is not None]


def by_side(metrics: Sequence[Metric]) -> list[Row]:
    """A row for each of the most telling measures of the synthetic records, with a column for each side.

    What found nothing on any side has none.
    """
    found = {(m.name, m.split): m for m in metrics}
    there, told = {m.split for m in metrics}, {m.name for m in metrics if m.value is not None}
    splits = [split for split in SIDES if split in there and not (split == TEST and HELDOUT in there)]
    names = sorted(dict.fromkeys(m.name for m in metrics if m.split == SYNTHETIC and m.name in told), key=_telling)
    return [
        {"measure": _measure(found[name, SYNTHETIC]), **{SIDES[s]: _value(found.get((name, s))) for s in splits}}
        for name in names[:ROWS]
    ]


def _telling(name: str) -> int:
    return next((i for i, known in enumerate(TELLING) if name.startswith(known) or name.endswith(known)), len(TELLING))


def _measure(metric: Metric) -> str:
    return metric.name + {"higher": " ↑", "lower": " ↓", "none": ""}[metric.better]


def _value(metric: Metric | None) -> str:
    if metric is None:
        return ""
    ends = interval(metric, " to ")  # a line may break after a dash, even before a tied space
    return " ".join(tied(part) for part in (display(metric.value, metric.unit), f"({ends})" if ends else "") if part)


# --- examples --------------------------------------------------------------------------------------------------


def examples(config: Config, synthetic: Corpus, heldout: Corpus, rng: random.Random) -> list[Row]:
    """A synthetic record of each of some codes, beside a real one that nothing learnt from where that was asked for."""
    order = rng.sample(range(len(synthetic)), len(synthetic))
    by_code = {synthetic.codes[i]: i for i in reversed(order)}
    drawn = order if len(by_code) == 1 else sorted(by_code.values(), key=order.index)
    rows: list[Row] = []
    for i in drawn[:SHOWN]:
        code = synthetic.codes[i]
        row: Row = dict(zip(synthetic.columns, code, strict=True)) | {"synthetic": synthetic.texts[i]}
        rows.append(row | ({REAL: _one(heldout, code, rng)} if config.show_real else {}))
    return rows


def _one(corpus: Corpus, code: Code, rng: random.Random) -> str:
    texts = [text for text, own in zip(corpus.texts, corpus.codes, strict=True) if own == code]
    return rng.choice(texts) if texts else "(no held-out record has this code)"
