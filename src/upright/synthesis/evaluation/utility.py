"""What the records are good for: classifiers learn from each side and are judged on the same real test records.

"Train on synthetic, test on real" (Esteban et al. 2017), beside classifiers of the control and of real records.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from upright.run import plots
from upright.run.evidence import Metric, proportion
from upright.run.measures import rates
from upright.run.measures.intervals import percentile
from upright.synthesis.corpus import Corpus
from upright.synthesis.evaluation import classifier
from upright.synthesis.evaluation.fairness import Judged, by_group, drawn
from upright.synthesis.evaluation.part import ALL, ALL_CONTROL, CONTROL, HELDOUT, SYNTHETIC, TEST, TRAIN, Arms, Part
from upright.synthesis.evaluation.scores import macro_f1, resampled_sets, tally
from upright.synthesis.evaluation.sizes import equal

Floats = NDArray[np.float64]

TITLE = "What the records are good for"
MAJORITY = "majority class"
SHOWN = 12
"""Values of a group column whose shares are told apart; the others are added up."""


def utility_part(arms: Arms, resamples: int) -> Part:
    """Accuracy and macro-F1 of classifiers on real test records, also by group, and the shares of the groups.

    Classifiers learn the labels and the groups: how well a group is told from the text is a use of its own, and says
    whether the records carry what is known of it. Errors by group are those of the first label's classifier.

    Args:
        resamples: resampled test sets that the intervals come from.

    Raises:
        MissingExtra: without scikit-learn.
    """
    sides = equal(arms.compared, arms.seed)
    size = len(sides[SYNTHETIC])
    if not arms.labels and not arms.groups:
        return Part(
            TITLE, "Nothing was measured.", limits=["No classifier was trained: there are no labels or groups."]
        )
    if not size or not len(arms.test):
        return Part(TITLE, "Nothing was measured.", limits=["No classifier was trained: a side has no records."])
    whole = _whole(arms, size)
    taught = {**whole, **sides, TRAIN: arms.train}  # what the headline says of all records stands first
    features = classifier.features({name: side.texts for name, side in {**taught, TEST: arms.test}.items()})
    metrics: list[Metric] = []
    limits = [] if arms.labels else ["No label was named (labels), so nothing is said of errors by group."]
    for column in (*arms.labels, *arms.groups):
        judged = _judged(arms, column, taught, features, resamples)
        if judged is None:
            limits.append(f"No classifier of {column}: every test record has the same value.")
            continue
        metrics += _scores(judged)
        if column == next(iter(arms.labels), None):
            for group in arms.groups:
                alike = replace(judged, said={k: v for k, v in judged.said.items() if k in (*sides, TRAIN)})
                found, missing = by_group(alike, group, arms.test.column(group))
                metrics, limits = metrics + found, limits + missing
    for group in arms.groups:
        metrics += _shares(group, {**sides, TRAIN: arms.train})
    return Part(TITLE, _text(size, len(whole.get(ALL, ())), arms), metrics, _plots(metrics), limits=limits)


def _whole(arms: Arms, size: int) -> dict[str, Corpus]:
    """All that was written, as many by the control, where that is more than the `size` records of each side."""
    made = {ALL: arms.synthetic, **({} if arms.control is None else {ALL_CONTROL: arms.control})}
    return {name: corpus for name, corpus in equal(made, arms.seed).items() if len(corpus) > size}


def _judged(
    arms: Arms, column: str, taught: Mapping[str, Corpus], features: Mapping[str, classifier.Features], draws: int
) -> Judged | None:
    """What each side's classifier says of the test records; None where there is nothing to tell apart."""
    real = np.asarray(arms.test.column(column))
    if np.unique(real).size < 2:
        return None
    labels = {name: corpus.column(column) for name, corpus in taught.items()}
    said = {name: classifier.predictions(features[name], labels[name], features[TEST], arms.seed) for name in taught}
    said[MAJORITY] = np.full(real.size, _commonest(labels[TRAIN]))
    classes = np.unique(np.concatenate([real, *said.values()]))
    codes = {name: np.searchsorted(classes, values) for name, values in said.items()}
    weights = resampled_sets(real.size, draws, arms.seed)
    return Judged(column, np.searchsorted(classes, real), codes, classes.size, weights)


def _commonest(labels: Sequence[str]) -> str:
    names, counts = np.unique(np.asarray(labels), return_counts=True)
    return str(names[counts.argmax()])


def _scores(judged: Judged) -> list[Metric]:
    """Accuracy and macro-F1 of every side, and what is kept of the references' macro-F1."""
    n, everyone = judged.real.size, np.zeros(judged.real.size, dtype=np.int64)
    macro: dict[str, Floats] = {}
    metrics = []
    for split, said in judged.said.items():
        counts = tally(judged.real, said, everyone, (1, judged.classes), judged.weights)
        macro[split] = macro_f1(counts)[:, 0]
        hits = int(counts.hit[0].sum())
        metrics.append(proportion(f"{judged.label}: accuracy (micro-F1)", hits, n, split=split))
        metrics.append(drawn(f"{judged.label}: macro-F1", macro[split], n, split, "proportion", "higher"))
    control = (ALL, ALL_CONTROL) if ALL_CONTROL in macro else (SYNTHETIC, CONTROL)
    for (own, reference), whose in ((control, "the control's"), ((SYNTHETIC, HELDOUT), "the held-out records'")):
        if reference in macro:
            kept = rates.quotient(macro[own], macro[reference])
            metrics.append(_kept(f"{judged.label}: share of {whose} macro-F1 kept", kept, n))
    return metrics


def _kept(name: str, draws: Floats, n: int) -> Metric:
    """A ratio from draws (B + 1,), with their percentiles: both sides are judged on the same resampled test sets."""
    if np.isnan(draws[0]):  # the reference finds nothing
        return Metric(name=name, split=SYNTHETIC, value=None, n=0, better="higher")
    low, high = percentile(draws[1:])
    return Metric(
        name=name, split=SYNTHETIC, value=float(draws[0]), n=n, ci_low=float(low), ci_high=float(high), better="higher"
    )


def _shares(group: str, sides: Mapping[str, Corpus]) -> list[Metric]:
    """How large each group is among the records of every side."""
    values = {name: corpus.column(group) for name, corpus in sides.items()}
    names, counts = np.unique(np.concatenate([values[TRAIN], values[SYNTHETIC]]), return_counts=True)
    shown = [str(name) for name in names[np.argsort(-counts, kind="stable")][:SHOWN]]
    metrics = [
        proportion(f"{group}: share of {name}", column.count(name), len(column), split=split, better="none")
        for name in sorted(shown)
        for split, column in values.items()
    ]
    if len(names) > len(shown):
        for split, column in values.items():
            others = sum(value not in shown for value in column)
            metrics.append(proportion(f"{group}: share of all others", others, len(column), split=split, better="none"))
    return metrics


def _text(size: int, whole: int, arms: Arms) -> str:
    more = f", and from all {whole:,} that were written, which the share of the control's is of" if whole else ""
    return (
        f"A TF-IDF classifier (words 1-2, characters 2-5, logistic regression) learnt from {size:,} records of each "
        f"side, as a further reference from all {len(arms.train):,} training records{more}; each was judged on the "
        f"same {len(arms.test):,} real test records. Macro-F1 is the plain mean over the classes of the test set: a "
        "class that a side lacks counts as 0. What the held-out records reach is what perfect synthetic records of "
        "that number would reach; the intervals of gaps between groups hold for all groups together."
    )


def _plots(metrics: Sequence[Metric]) -> list[tuple[str, str]]:
    macro = [metric for metric in metrics if metric.name.endswith(": macro-F1")]
    accuracy_of = [metric for metric in metrics if ": accuracy of " in metric.name]
    drawings = []
    if macro:
        svg = plots.forest(macro, alt="Macro-F1 on real test records of classifiers that learnt from each side.")
        drawings.append((svg, "Macro-F1 on real test records, by what the classifier learnt from."))
    if accuracy_of:
        svg = plots.forest(accuracy_of, alt="Accuracy on real test records by group and side.")
        drawings.append((svg, "Accuracy by group: a gap that the real records do not show was made by the synthesis."))
    return drawings
