"""What a person gets to see of a bound on epsilon: metrics, finding, report."""

import math
from collections.abc import Iterable, Sequence

import numpy as np

from upright.audit.epsilon.bounds import Sheet, Test, chosen
from upright.audit.epsilon.config import Config
from upright.audit.epsilon.scores import Scores
from upright.audit.findings import Finding, Verdict
from upright.run.evidence import Metric, proportion, scalar
from upright.run.measures import roc
from upright.run.measures.epsilon import Guesses, guesses_needed
from upright.run.measures.intervals import clopper_pearson
from upright.run.plots import Point, lines
from upright.run.report import Report

BOUND, CEILING, CLAIM = "epsilon, at least", "epsilon, at least, were the scores perfect", "epsilon, as claimed"
LABELS = {
    "one-run": "one run, any mechanism",
    "one-run-f-dp": "one run, whole (ε, δ) curve",
    "one-run-f-dp, gaussian": "one run, Gaussian curve",
    "many-runs": "many runs, any mechanism",
    "many-runs, gaussian": "many runs, Gaussian curve",
}
ON_CURVE = 200  # points of a drawn ROC curve


def headline(found: Iterable[Metric]) -> list[Metric]:
    """The bound, what it could have been, and the claim."""
    rows = list(found)
    first = next(m for m in rows if m.name == BOUND)
    return [first, *(m for m in rows if m.name in (CEILING, CLAIM, "AUC"))]


def metrics(config: Config, scores: Scores, sheet: Sheet) -> list[Metric]:
    """All numbers. Bounds are one end of a one-sided interval and carry no other."""
    m = scores.score.size
    shown = {form: epsilon if sheet.ceiling else None for form, epsilon in sheet.forms.items()}
    found = [scalar(BOUND, value, split=LABELS[form], n=m, better="lower") for form, value in shown.items()]
    found.append(scalar(CEILING, sheet.ceiling, n=m))
    if config.claimed is not None:
        found.append(scalar(CLAIM, config.claimed, n=m))
    for test in sheet.tests if isinstance(sheet.best, Guesses) else [sheet.best]:
        found += _rates(test)
    if config.method != "many-runs":
        found.append(proportion("canaries put in", int(scores.included.sum()), m, better="none"))
    found.append(roc.auc(scores.inside, scores.outside))
    found.append(roc.tpr_at_fpr(scores.inside, scores.outside, 0.01))
    return found


def _rates(test: Test) -> list[Metric]:
    if isinstance(test, Guesses):
        return [proportion("guesses right", test.right, test.made, split=f"{test.made:,} guesses", better="lower")]
    return [
        _exact("true positives", test.tp, test.n_in, "best threshold"),
        _exact("false positives", test.fp, test.n_out, "best threshold"),
    ]


def _exact(name: str, hits: int, n: int, split: str) -> Metric:
    low, high = clopper_pearson(hits, n)
    return Metric(
        name=name, split=split, value=hits / n, n=n, ci_low=float(low), ci_high=float(high), unit="proportion"
    )


# --- verdict ---------------------------------------------------------------------------------------------------


def verdict(config: Config, sheet: Sheet) -> Verdict:
    """Refuted is a concern; not refuted is clear only if these data could have refuted the claim."""
    if sheet.void:
        return "void"
    if sheet.refutes(config.claimed):
        return "concern"
    return "clear" if config.claimed is not None and sheet.ceiling > config.claimed else "undecided"


def finding(config: Config, sheet: Sheet) -> Finding:
    """The answer to the checklist's question."""
    return Finding(item="privacy.epsilon", verdict=verdict(config, sheet), text=claim(config, sheet))


def claim(config: Config, sheet: Sheet) -> str:
    """What came out, in one sentence."""
    n = _count(config, sheet)
    at = f"δ = {config.delta:g} for one {config.unit} ({config.adjacency})"
    bound = f"ε is at least {sheet.epsilon:.3g} at {at}, with {100 * config.confidence:g} % confidence"
    if sheet.void:
        return (
            f"The bound is void: fair coins would split {n}, or those that have a score, so unevenly with a chance of "
            f"{sheet.coin_p_value:.1g} only."
        )
    if config.claimed is None:
        return f"By {n}, {bound}; no claim was given."
    if sheet.refutes(config.claimed):
        return f"The claim of ε = {config.claimed:g} is refuted: by {n}, {bound}."
    if sheet.ceiling <= config.claimed:
        return (
            f"The claim of ε = {config.claimed:g} could not be tested: {n} show at most {sheet.ceiling:.3g}, "
            f"and showed that {bound}."
        )
    return f"The claim of ε = {config.claimed:g} is not refuted: by {n}, {bound}."


def _count(config: Config, sheet: Sheet) -> str:
    test = sheet.tests[0]
    if isinstance(test, Guesses):
        return f"the scores of {test.canaries:,} canaries"
    return f"the scores of {test.n_in:,} runs with and {test.n_out:,} without the canary"


# --- report ----------------------------------------------------------------------------------------------------


def report(config: Config, scores: Scores, sheet: Sheet, found: Sequence[Metric], answer: Finding) -> Report:
    """The page of a run."""
    names = [BOUND, CLAIM, CEILING] if config.claimed is not None else [BOUND, CEILING]
    page = Report("Audit of epsilon", answer.text, names)
    page.section("Bound and claim", *_explained(config, sheet))
    page.plot(_confidence_plot(config, sheet), "The bound at each confidence; what is left of the line is refuted.")
    page.table([m for m in found if m.name in (BOUND, CEILING, CLAIM)], _caption(sheet))
    page.section("What the scores give away", *_tested(config))
    page.plot(
        _roc_plot(config, scores, sheet),
        "Share of canaries called in, of those that were in against those that were out, at every threshold. The "
        "dashed line is the most that the stated ε allows in the long run.",
    )
    page.examples(
        [_row(test, bound) for test, bound in zip(sheet.tests, sheet.alone, strict=True)], _tests_caption(sheet)
    )
    if sheet.by_guesses:
        page.plot(
            _guesses_plot(config, sheet),
            "What other numbers of guesses would have shown, each alone. To plan the next audit by, not to choose "
            "from: the best of them is no bound.",
        )
    page.table([m for m in found if m.name not in (BOUND, CEILING, CLAIM)])
    return page.facts(_facts(config)).limits(_limits(config, scores, sheet))


def _explained(config: Config, sheet: Sheet) -> list[str]:
    parts = [
        f"A mechanism that is (ε, δ)-differentially private hides whether one {config.unit} was in its data "
        f"(adjacency: {config.adjacency}). The better the scores tell canaries that were in from those that were out, "
        "the larger ε must be. The bound grows with the data and with the attack; it never proves the claim."
    ]
    if config.claimed is not None and sheet.ceiling <= config.claimed and config.method != "many-runs":
        parts.append(
            f"To refute ε = {config.claimed:g}, at least {guesses_needed(config.claimed, config.alpha):,} guesses "
            "are needed, all of them right."
        )
    return parts


def _caption(sheet: Sheet) -> str:
    if len(sheet.forms) == 1:
        return ""
    return "The verdict rests on the first row; the others are other readings of the same scores, each alone."


def _tested(config: Config) -> list[str]:
    if config.method != "many-runs":
        text = "The highest scores are called in, the lowest out, the rest is left alone; ties are broken at random."
    elif config.threshold.at:
        text = "Thresholds were given beforehand; a score above one is called in."
    elif config.threshold.pick == "split":
        text = "The threshold was chosen on one half of the runs and tested on the other."
    else:
        text = "Thresholds lie at ranks that were fixed beforehand, on either side."
    return [f"{text} Where several are tried, each bound pays for all (Bonferroni)."]


def _row(test: Test, bound: float) -> dict[str, object]:
    if isinstance(test, Guesses):
        return {"guesses": f"{test.made:,}", "right": f"{test.right:,}", "ε at least": f"{bound:.3g}"}
    return {
        "with the canary, called in": f"{test.tp:,} of {test.n_in:,}",
        "without, called in": f"{test.fp:,} of {test.n_out:,}",
        "ε at least": f"{bound:.3g}",
    }


def _tests_caption(sheet: Sheet) -> str:
    count = len(sheet.tests)
    return "The one test that was made." if count == 1 else f"All {count} tests, corrected for each other."


def _facts(config: Config) -> dict[str, object]:
    claimed = "none" if config.claimed is None else f"{config.claimed:g}"
    return {
        "claim": f"ε {claimed}, δ {config.delta:g}",
        "unit": config.unit,
        "adjacency": config.adjacency,
        "method": LABELS[chosen(config)],
        "confidence": f"{100 * config.confidence:g} %",
    }


def _limits(config: Config, scores: Scores, sheet: Sheet) -> list[str]:
    found = [
        "A lower bound refutes; it never confirms. A stronger attack or more canaries may show more.",
        f"The claim must be about the same unit ({config.unit}) and adjacency ({config.adjacency}); each canary must "
        "be a unit of its own.",
        "Scores, thresholds and numbers of guesses chosen after seeing who was in void the bound.",
    ]
    if config.method == "many-runs":
        found.append("Runs must be independent: same data but for the canary, fresh randomness each time.")
        found.append("A run without a score is called out.")
    else:
        found.append("Each canary must have been put in by its own fair coin, independent of everything else.")
        if 2 * int(scores.included.sum()) == scores.included.size:
            found.append("Exactly half of the canaries were in: if that was arranged, the coins were not independent.")
    if config.curve == "gaussian":
        found.append("The verdict holds only for a mechanism whose trade-off curve is Gaussian: no subsampling.")
    if len(sheet.forms) > 1 and config.curve == "any" and config.delta:
        found.append("The row for a Gaussian curve holds for no other mechanism.")
    return found


# --- plots -----------------------------------------------------------------------------------------------------


def _confidence_plot(config: Config, sheet: Sheet) -> str:
    series: dict[str, list[Point]] = {"shown": [Point(bound, level) for bound, level in sheet.by_confidence]}
    if config.claimed is not None:
        series["claimed"] = [
            Point(config.claimed, level) for _, level in (sheet.by_confidence[0], sheet.by_confidence[-1])
        ]
    return lines(
        series, x="ε", y="confidence that ε is at least this", unit="proportion", alt="Lower bound on ε by confidence."
    )


def _guesses_plot(config: Config, sheet: Sheet) -> str:
    rows = sheet.by_guesses
    series = {
        "shown": [Point(made, bound) for made, bound, _ in rows],
        "if all were right": [Point(made, ideal) for made, _, ideal in rows],
    }
    if config.claimed is not None:
        series["claimed"] = [Point(rows[0][0], config.claimed), Point(rows[-1][0], config.claimed)]
    return lines(series, x="guesses", y="ε at least", log_x=True, alt="Lower bound on ε by number of guesses.")


def _roc_plot(config: Config, scores: Scores, sheet: Sheet) -> str:
    curve = roc.roc(scores.inside, scores.outside)
    some = np.flatnonzero(curve.fpr > 0)
    kept = some[np.unique(np.linspace(0, some.size - 1, ON_CURVE).astype(int))]
    epsilon, word = (sheet.epsilon, "bound") if config.claimed is None else (config.claimed, "claimed")
    fpr = np.geomspace(float(curve.fpr[some[0]]), 1.0, 60)
    series = {
        "scores": [Point(float(curve.fpr[i]), float(curve.tpr[i])) for i in kept],
        f"most at ε = {epsilon:.3g} ({word})": [Point(x, allowed(x, epsilon, config.delta)) for x in fpr.tolist()],
        "guessing": [Point(x, x) for x in fpr.tolist()],
    }
    return lines(
        series,
        x="false positives (share of canaries that were out)",
        y="true positives",
        unit="proportion",
        log_x=True,
        alt="True against false positives of the canary scores, and the most that ε allows.",
    )


def allowed(fpr: float, epsilon: float, delta: float) -> float:
    """Largest TPR at this FPR under (ε, δ)-DP: min(1, e^ε x + δ, 1 - e^-ε (1 - δ - x)).

    >>> round(allowed(0.1, 1.0, 0.0), 4), round(allowed(0.9, 1.0, 0.0), 4)
    (0.2718, 0.9632)
    """
    return min(1.0, math.exp(epsilon) * fpr + delta, 1 - math.exp(-epsilon) * (1 - delta - fpr))
