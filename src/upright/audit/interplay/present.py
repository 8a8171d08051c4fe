"""The report of `upright audit interplay`."""

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from upright.audit.findings import Finding
from upright.audit.interplay.attacks import DISCREPANCY, LOSS
from upright.audit.interplay.config import CONTROL, Config
from upright.audit.interplay.grid import Cell, Grid, budget_name
from upright.audit.interplay.measure import Attack, Estimate
from upright.audit.interplay.sheet import ALL, LOW_FPR, Sheet
from upright.audit.interplay.table import PUBLIC, Problem
from upright.run.evidence import Metric
from upright.run.measures.roc import roc
from upright.run.plots import Point, forest, heatmap, lines
from upright.run.report import Report

MOST_LINES = 6
CURVE_POINTS = 200
QUESTIONS = {
    "both.interplay-utility": "Does privacy cost some groups more accuracy?",
    "both.interplay-clipping": "Does clipping fall on some groups more?",
    "both.interplay-attack": "Can members be told from others?",
    "both.interplay-leakage": "Does the model give the group away?",
    "both.fair-to-privacy": "Does fair training make members easier to tell?",
}
SHORT = {
    "both.interplay-clipping": "clipping is uneven",
    "both.interplay-attack": "membership can be told",
    "both.interplay-leakage": "the model gives the group away",
    "both.fair-to-privacy": "fair training makes members easier to tell",
}
MARKS = {"concern": "found", "clear": "not shown", "undecided": "too few data", "void": "void"}


def headline(sheet: Sheet, metrics: Sequence[Metric]) -> list[Metric]:
    """Accuracy, selection gap and the gap between groups in what privacy costs, of every cell."""
    wanted = ("accuracy", "selection rate gap", "disparity of accuracy lost to privacy")
    names = {cell.name for cell in sheet.cells}
    return [metric for metric in metrics if metric.name in wanted and metric.split in names]


def report(
    config: Config,
    problem: Problem,
    grid: Grid,
    sheet: Sheet,
    metrics: Sequence[Metric],
    findings: Sequence[Finding],
) -> Report:
    """The page of a run."""
    page = Report("Privacy and fairness together", _claim(findings), _cards(metrics))
    page.section("What was asked", *_what(config, problem, grid))
    page.examples(
        [{"question": QUESTIONS[f.item], "answer": MARKS[f.verdict], "in numbers": f.text} for f in findings],
        "Each question takes one test at 5 % in all, shared among the cells, groups and attacks it looks at. Intervals "
        "are of 95 %; those of ranges over groups are as wide as the shared test makes them.",
    )
    _privacy_to_fairness(page, sheet, metrics)
    _both(page, sheet, metrics)
    _membership(page, sheet, metrics)
    _leakage(page, sheet, metrics)
    page.facts(_budget(grid))
    return page.limits(_limits(config, sheet))


def _claim(findings: Sequence[Finding]) -> str:
    first, *others = findings
    shown = [SHORT[finding.item] for finding in others if finding.verdict == "concern"]
    return first.text if not shown else f"{first.text.rstrip('.')}; also shown: {', '.join(shown)}."


def _cards(metrics: Sequence[Metric]) -> list[str]:
    wanted = ("accuracy", "selection rate gap", "disparity of accuracy lost to privacy", "loss attack AUC")
    known = {metric.name for metric in metrics}
    return [name for name in wanted if name in known]


def _what(config: Config, problem: Problem, grid: Grid) -> list[str]:
    sizes = ", ".join(f"{name} {int((problem.group == g).sum()):,}" for g, name in enumerate(problem.names))
    model = f"a network with {config.training.hidden} hidden units" if config.training.hidden else "a logistic model"
    count = len(grid.masks)
    equal = " that is cut to groups of equal size" if config.equal_sizes else ""
    return [
        f"{len(problem.y):,} records ({sizes}); every model, {model}, learns {config.label} from a random half of "
        f"them{equal} and is judged and attacked with the other records.",
        f"{len(grid.cells)} cells, one for each privacy level and constraint, with {count} models each: {grid.seeds} "
        f"are audited, and the {count - 1} others serve the attacks on each as references. The halves, the starting "
        "weights and the chance in training are the same in all cells, so that their differences are paired.",
    ]


# --- sections --------------------------------------------------------------------------------------------------


def _privacy_to_fairness(page: Report, sheet: Sheet, metrics: Sequence[Metric]) -> None:
    budgets = [cell.epsilon for cell in sheet.cells if cell.constraint == CONTROL and cell.private]
    page.section("What privacy costs each group")
    if len(budgets) >= 1 and len(sheet.names) <= MOST_LINES:
        page.plot(
            _along(sheet, lambda cell: sheet.utility[cell, "accuracy"], "accuracy", "proportion"),
            f"Accuracy on records not trained on, without constraint, 95 % bands. {_control_note(sheet)}",
        )
        page.plot(
            _along(sheet, lambda cell: sheet.lost.get((cell, "accuracy")), "accuracy lost, points", ""),
            "Accuracy without privacy minus accuracy with it, over pairs of models; above 0 privacy costs.",
        )
    page.table(_plain(metrics, "accuracy lost to privacy", "disparity of accuracy lost to privacy"))
    page.section(
        "How clipping falls on each group",
        "Private training cuts each record's gradient to one norm. These numbers are read off the records without "
        "noise, for the audit alone: they must not leave it.",
    )
    clipped = [m for m in _plain(metrics, "share of gradients clipped") if m.value is not None]
    if clipped:
        page.plot(
            forest(clipped, alt="Share of gradients over the clipping norm by group and privacy level."),
            "Share of the gradients longer than the clipping norm, over the training; ∞ is trained without clipping.",
        )
    page.table(_plain(metrics, "mean gradient norm", "bias of the mean gradient from clipping"))


def _both(page: Report, sheet: Sheet, metrics: Sequence[Metric]) -> None:
    page.section("Both goals at once")
    page.plot(
        _heat(sheet, lambda cell: _finite(sheet.overall[cell].point[0]), "Accuracy", "proportion"),
        "Accuracy by privacy level and constraint.",
    )
    page.plot(
        _heat(sheet, lambda cell: _gap(sheet.utility[cell, "selection rate"]), "Selection gap", "proportion"),
        "Largest difference between groups in selection rate (demographic parity).",
    )
    page.plot(
        _heat(sheet, lambda cell: _worst(sheet.auc[cell, sheet.strongest]), "Worst group's attack AUC", ""),
        f"AUC of the {sheet.strongest} membership attack in the group where it is largest; 0.5 is chance.",
    )
    cells = {cell.name for cell in sheet.cells}
    names = ("accuracy", "selection rate gap", "true positive rate gap", "epsilon earned")
    found = _named(metrics, *names, "selection gap narrowed by the constraint", "narrowing lost to privacy")
    page.table([metric for metric in found if metric.split in cells])


def _membership(page: Report, sheet: Sheet, metrics: Sequence[Metric]) -> None:
    name = sheet.strongest
    page.section("Who can be told to be in the training data")
    by_group = [m for m in _plain(metrics, f"{name} attack AUC") if m.value is not None]
    if by_group:
        page.plot(
            forest(by_group, alt=f"AUC of the {name} attack by group and privacy level, without constraint."),
            f"AUC of the {name} attack by group, without constraint; 0.5 is chance.",
        )
    page.table(_plain(metrics, *(f"{a} attack {what}" for a in sheet.attacks for what in ("AUC", "TPR at 1 % FPR"))))
    curves = _discrepancy_curves(sheet)
    if curves:
        page.section("What the fair model gives away beside the plain one")
        page.plot(
            lines(
                curves,
                x="false positive rate",
                y="true positive rate",
                unit="proportion",
                alt="ROC of the discrepancy attack for each constraint without privacy, beside the loss attack.",
            ),
            "Whoever has both the plain and the fair model can compare their scores: the discrepancy attack, without "
            "privacy, of the first seed. Below the diagonal members differ less than others, which tells as much.",
        )
        page.table(
            _named(metrics, "loss attack AUC, fair minus plain", "discrepancy attack AUC, its direction learned")
        )


def _leakage(page: Report, sheet: Sheet, metrics: Sequence[Metric]) -> None:
    page.section(
        "Whether the model gives the group away",
        "Balanced accuracy of a linear probe; chance, and whoever always says the same, gets "
        f"{1 / len(sheet.names):.0%}. The features themselves are the ceiling, shuffled groups the control.",
    )
    names = [f"probe accuracy, {name}" for name in ("features", "representation", "score", "decision", "shuffled")]
    found = _plain(metrics, *names)
    page.plot(
        forest(found, alt="Accuracy of probes for the group."),
        "Balanced accuracy of the probes, models without constraint.",
    )
    page.table(found)


# --- plots -----------------------------------------------------------------------------------------------------


def _along(sheet: Sheet, quantity: Callable[[Cell], Estimate | None], y: str, unit: str) -> str:
    series: dict[str, list[Point]] = {name: [] for name in sheet.names}
    for cell in sorted((cell for cell in sheet.cells if cell.constraint == CONTROL), key=lambda cell: cell.epsilon):
        estimate = quantity(cell)
        for g, name in enumerate(sheet.names):
            ends = estimate.interval(g) if estimate is not None else None
            if estimate is not None and ends is not None:
                series[name].append(Point(_place(sheet, cell), float(estimate.point[g]), *ends))
    alt = f"{y} by group along the privacy budget."
    return lines(
        {k: v for k, v in series.items() if v}, x="ε (smaller is stricter)", y=y, alt=alt, unit=unit, log_x=True
    )


def _place(sheet: Sheet, cell: Cell) -> float:
    """∞ stands four times as far out as the largest budget."""
    largest = max((c.epsilon for c in sheet.cells if c.private), default=1.0)
    return cell.epsilon if cell.private else 4 * largest


def _control_note(sheet: Sheet) -> str:
    control = Cell(math.inf, CONTROL)
    return f"The points at ε {_place(sheet, control):g} are those without privacy."


def _heat(sheet: Sheet, value: Callable[[Cell], float | None], what: str, unit: str) -> str:
    budgets = list(dict.fromkeys(cell.epsilon for cell in sheet.cells))
    constraints = list(dict.fromkeys(cell.constraint for cell in sheet.cells))
    values = [[value(Cell(epsilon, constraint)) for epsilon in budgets] for constraint in constraints]
    columns = [f"ε {budget_name(epsilon)}" for epsilon in budgets]
    return heatmap(values, rows=constraints, columns=columns, alt=f"{what} by privacy level and constraint.", unit=unit)


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _gap(estimate: Estimate) -> float | None:
    found = estimate.range()
    return None if found is None else found.value


def _worst(estimate: Estimate) -> float | None:
    known = estimate.point[np.isfinite(estimate.point)]
    return float(known.max()) if known.size else None


def _discrepancy_curves(sheet: Sheet) -> Mapping[str, list[Point]]:
    fair = [cell for cell in sheet.cells if cell.constraint != CONTROL and not cell.private]
    if not fair:
        return {}
    found = {f"discrepancy, {cell.constraint}": _curve(sheet.raw[cell, DISCREPANCY]) for cell in fair}
    return found | {"loss, plain model": _curve(sheet.raw[Cell(math.inf, CONTROL), LOSS])}


def _curve(attack: Attack) -> list[Point]:
    score, member = attack.score[:, 0], attack.member[:, 0]
    curve = roc(score[member], score[~member])
    kept = np.unique(np.linspace(0, len(curve.fpr) - 1, CURVE_POINTS).astype(int))
    return [Point(float(curve.fpr[i]), float(curve.tpr[i])) for i in kept]


def _named(metrics: Sequence[Metric], *names: str) -> list[Metric]:
    return [metric for name in names for metric in metrics if metric.name == name]


def _plain(metrics: Sequence[Metric], *names: str) -> list[Metric]:
    """Those of models without constraint; the others stand among all measures at the end of the page."""
    return [m for m in _named(metrics, *names) if m.split == ALL or f", {CONTROL}" in m.split]


# --- words -----------------------------------------------------------------------------------------------------


def _budget(grid: Grid) -> dict[str, object]:
    private = [(cell, plan) for cell, plan in grid.plans.items() if cell.private]
    facts: dict[str, object] = {f"noise multiplier, {cell.name}": f"{plan.noise:.3f}" for cell, plan in private}
    if private:
        plan = private[0][1]
        facts |= {
            "δ": f"{plan.delta:.3g}",
            "sample rate": f"{plan.sample_rate:.4f}",
            "steps": f"{plan.steps:,}",
            "neighbours": "one record added or removed",
        }
    return facts


def _limits(config: Config, sheet: Sheet) -> list[str]:
    limits = [
        "ε holds for each model by itself. A release of several models trained on overlapping records costs more.",
        f"Means, spreads and words of the features come from {PUBLIC:.0%} of the records, which are in no training, "
        "no test and no attack; ε does not cover them.",
        "Chance in training is seeded, so that the run can be repeated; a model that is to be released needs "
        "cryptographic noise.",
        "Labels, group names and sizes, the learning rate and the clipping norm count as public.",
        "An attack that fails proves nothing; a stronger one may succeed.",
        f"TPR at {LOW_FPR:.0%} FPR is not given for groups with fewer than {1 / LOW_FPR:.0f} records outside the "
        "training.",
        "The difference between cells is an effect of the whole recipe: clipping, noise and the same number of steps "
        "for all, with settings that were not tuned for each.",
    ]
    if config.seeds < 5:
        limits.append(f"{config.seeds} seeds say little about how much models differ from training to training.")
    if not {"reweighing", "parity"}.isdisjoint({cell.constraint for cell in sheet.cells}):
        limits.append(
            f"Under privacy the constraints see the groups through noisy counts and mean scores, which cost at most "
            f"{config.fair.share:.0%} of ε; the rest of the budget is the training's."
        )
    return limits
