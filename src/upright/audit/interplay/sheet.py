"""From what the models said to estimates by group, and from these to the metrics of the run."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from upright.audit.interplay import attacks
from upright.audit.interplay.attacks import DISCREPANCY, LOSS
from upright.audit.interplay.config import CONTROL
from upright.audit.interplay.grid import INPUTS, PROBES, SHUFFLED, Cell, Grid
from upright.audit.interplay.measure import Attack, Draws, Estimate, Range, power, power_global, rates
from upright.audit.interplay.table import Problem
from upright.run.evidence import Metric, scalar

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]
Better = Literal["higher", "lower", "none"]

LOW_FPR = 0.01
POINTS = 100.0
ALL = "all"
UTILITIES = ("accuracy", "true positive rate", "selection rate")
TENSIONS = {
    "clipped": "share of gradients clipped",
    "norm": "mean gradient norm",
    "coefficient": "mean clipping factor",
}


@dataclass(frozen=True)
class Sheet:
    """Estimates by group of every cell."""

    names: list[str]
    utility: Mapping[tuple[Cell, str], Estimate]
    """Accuracy, true positive rate and selection rate on records the model has not seen."""
    overall: Mapping[Cell, Estimate]
    """Accuracy over all groups."""
    narrowed: Mapping[Cell, Estimate]
    """Selection gap of the plain model minus that of the fair one, in points, one column.

    The gap is that between the groups with the highest and the lowest base rate of the favourable outcome.
    """
    lost: Mapping[tuple[Cell, str], Estimate]
    """The same without privacy minus with it, under the same constraint, in points."""
    tension: Mapping[tuple[Cell, str], Estimate]
    bias: Mapping[Cell, Floats]
    """(S, G)."""
    auc: Mapping[tuple[Cell, str], Estimate]
    directions: Mapping[Cell, int]
    """1 where members differ more between the fair and the plain model, -1 where less, as seen on the references."""
    tpr: Mapping[tuple[Cell, str], Estimate]
    """At a false positive rate of 1 %, each group with its own threshold."""
    tpr_global: Mapping[tuple[Cell, str], Estimate]
    """The same with one threshold for all."""
    probes: Mapping[tuple[Cell | None, str], Estimate]
    """Balanced accuracy of the probes, one column; features themselves under no cell."""
    shuffled: Mapping[Cell, Floats]
    """Balanced accuracies of probes that learned from shuffled groups, several for each seed."""
    raw: Mapping[tuple[Cell, str], Attack]
    """The scores behind the attacks, for curves."""

    @property
    def cells(self) -> list[Cell]:
        """In order, the control first."""
        return list(self.overall)

    @property
    def attacks(self) -> list[str]:
        """Attacks that need no second model."""
        return list(dict.fromkeys(name for _, name in self.auc if name != DISCREPANCY))

    @property
    def strongest(self) -> str:
        """The attack that stands for the others; fixed beforehand, as the best one found would look too good."""
        return attacks.RMIA if attacks.RMIA in self.attacks else LOSS

    def plain(self, cell: Cell) -> Cell:
        """The cell without constraint at the same privacy."""
        return Cell(cell.epsilon, CONTROL)

    def more_leaked(self, cell: Cell) -> Estimate:
        """AUC of the loss attack on a fair model minus that on its plain twin, by group."""
        return self.auc[cell, LOSS] - self.auc[self.plain(cell), LOSS]

    def discrepancy(self, cell: Cell) -> Estimate:
        """AUC of the discrepancy attack in the direction that the references show, which is that of an attacker."""
        found = self.auc[cell, DISCREPANCY]
        return found if self.directions[cell] > 0 else Estimate(1 - found.values, found.n)

    def gained(self, cell: Cell) -> Estimate:
        """AUC of the discrepancy attack, which has both models, minus that of the loss attack on the plain one."""
        return self.discrepancy(cell) - self.auc[self.plain(cell), LOSS]


def measure(grid: Grid, problem: Problem, draws: Draws) -> Sheet:
    """All estimates, over the same bootstrap draws."""
    y, group = problem.y.double().numpy(), problem.group.numpy()
    utility = {(cell, name): e for cell in grid.cells for name, e in _utility(grid, cell, y, group, draws)}
    raw = {(cell, name): attack for cell in grid.cells for name, attack in _attacks(grid, cell, problem)}
    strength = {key: power(attack, group, draws, LOW_FPR) for key, attack in raw.items()}
    return Sheet(
        names=problem.names,
        utility=utility,
        overall={cell: _overall(grid, cell, y, draws) for cell in grid.cells},
        narrowed=_narrowed(utility, y, group),
        lost={
            (cell, name): _points(utility[cell._replace(epsilon=np.inf), name] - utility[cell, name])
            for cell, name in utility
            if cell.private
        },
        tension={
            (cell, key): rates(grid.stacked(cell, key).T, ~grid.tested, group, draws)
            for cell in grid.cells
            for key in TENSIONS
        },
        bias={cell: grid.stacked(cell, "bias") for cell in grid.cells},
        auc={key: found.auc for key, found in strength.items()},
        directions={cell: _direction(grid, cell) for cell in grid.cells if cell.constraint != CONTROL},
        tpr={key: found.tpr for key, found in strength.items()},
        tpr_global={key: power_global(attack, group, draws, LOW_FPR) for key, attack in raw.items()},
        probes=dict(_probes(grid, group, draws)),
        shuffled={cell: grid.stacked(cell, SHUFFLED).ravel() for cell in grid.cells},
        raw=raw,
    )


def _narrowed(utility: Mapping[tuple[Cell, str], Estimate], y: Floats, group: Ints) -> dict[Cell, Estimate]:
    base = [y[group == g].mean() for g in range(int(group.max()) + 1)]
    high, low = int(np.argmax(base)), int(np.argmin(base))

    def gap(cell: Cell) -> Estimate:
        found = utility[cell, "selection rate"]
        return Estimate(found.values[:, [high]] - found.values[:, [low]], found.n[[high]] + found.n[[low]])

    fair = [cell for cell, name in utility if name == "selection rate" and cell.constraint != CONTROL]
    return {cell: _points(gap(Cell(cell.epsilon, CONTROL)) - gap(cell)) for cell in fair}


def _points(estimate: Estimate) -> Estimate:
    return Estimate(POINTS * estimate.values, estimate.n)


def _utility(
    grid: Grid, cell: Cell, y: Floats, group: NDArray[np.int64], draws: Draws
) -> Iterator[tuple[str, Estimate]]:
    said = grid.stacked(cell, "logits")[: grid.seeds].T > 0
    truth = (y > 0.5)[:, None]
    yield "accuracy", rates((said == truth).astype(float), grid.tested, group, draws)
    yield "true positive rate", rates(said.astype(float), grid.tested & truth, group, draws)
    yield "selection rate", rates(said.astype(float), grid.tested, group, draws)


def _overall(grid: Grid, cell: Cell, y: Floats, draws: Draws) -> Estimate:
    said = grid.stacked(cell, "logits")[: grid.seeds].T > 0
    return rates((said == (y > 0.5)[:, None]).astype(float), grid.tested, np.zeros(len(y), dtype=np.int64), draws)


def _direction(grid: Grid, cell: Cell) -> int:
    fair, plain = (grid.stacked(c, "logits")[grid.seeds :] for c in (cell, Cell(cell.epsilon, CONTROL)))
    return attacks.direction(attacks.discrepancy(fair, plain), grid.masks[grid.seeds :])


def _attacks(grid: Grid, cell: Cell, problem: Problem) -> Iterator[tuple[str, Attack]]:
    member, y = ~grid.tested, problem.y.double().numpy()
    logits, public = grid.stacked(cell, "logits"), grid.stacked(cell, "public")
    found = attacks.scores(logits, y, grid.masks, public, problem.public_y.double().numpy(), grid.seeds)
    yield from ((name, Attack(score, member)) for name, score in found.items())
    if cell.constraint != CONTROL:
        plain = grid.stacked(Cell(cell.epsilon, CONTROL), "logits")
        yield DISCREPANCY, Attack(attacks.discrepancy(logits, plain)[: grid.seeds].T, member)


def _probes(grid: Grid, group: NDArray[np.int64], draws: Draws) -> Iterator[tuple[tuple[Cell | None, str], Estimate]]:
    def balanced(outcomes: Floats) -> Estimate:
        found = rates(np.maximum(outcomes, 0.0), outcomes >= 0, group, draws)
        return Estimate(found.values.mean(1, keepdims=True), found.n.sum(keepdims=True))

    yield (None, INPUTS), balanced(np.stack([hits.double().numpy() for hits in grid.inputs], axis=1))
    for cell in grid.cells:
        for name in PROBES:
            yield (cell, name), balanced(grid.stacked(cell, f"probe-{name}").T)


# --- metrics ---------------------------------------------------------------------------------------------------


def metrics(grid: Grid, sheet: Sheet) -> list[Metric]:
    """Every number of the run with its interval and n; n counts records, whatever the number of seeds."""
    found = [_one("probe accuracy, features", ALL, sheet.probes[None, INPUTS], 0, "proportion", "none")]
    for cell in sheet.cells:
        found += [*_privacy(grid, cell), _one("accuracy", cell.name, sheet.overall[cell], 0, "proportion", "higher")]
        found += [*_fairness(sheet, cell), *_clipping(sheet, cell), *_leaks(sheet, cell)]
    return found


def _privacy(grid: Grid, cell: Cell) -> Iterator[Metric]:
    """ε as earned by each model; there is none without privacy."""
    if cell.private:
        value = float(grid.stacked(cell, "epsilon").max())
        yield scalar("epsilon earned", value, split=cell.name, n=len(grid.cells[cell]), better="lower")


def _fairness(sheet: Sheet, cell: Cell) -> Iterator[Metric]:
    for name in UTILITIES:
        estimate = sheet.utility[cell, name]
        yield from _each(sheet, name, cell, estimate, "proportion", "higher" if name != "selection rate" else "none")
        yield _range(f"{name} gap", cell.name, estimate, "proportion")
        if name == "selection rate" and cell in sheet.narrowed:
            yield from _narrowing(sheet, cell)
        if (cell, name) in sheet.lost:
            lost = sheet.lost[cell, name]
            yield from _each(sheet, f"{name} lost to privacy", cell, lost, "points", "lower")
            yield _range(f"disparity of {name} lost to privacy", cell.name, lost, "points")


def _narrowing(sheet: Sheet, cell: Cell) -> Iterator[Metric]:
    narrowed = sheet.narrowed[cell]
    yield _one("selection gap narrowed by the constraint", cell.name, narrowed, 0, "points", "higher")
    if cell.private:
        lost = sheet.narrowed[cell._replace(epsilon=np.inf)] - narrowed
        yield _one("narrowing lost to privacy", cell.name, lost, 0, "points", "lower")


def _clipping(sheet: Sheet, cell: Cell) -> Iterator[Metric]:
    for key, name in TENSIONS.items():
        yield from _each(sheet, name, cell, sheet.tension[cell, key], "" if key == "norm" else "proportion", "none")
    yield _range("gap in share of gradients clipped", cell.name, sheet.tension[cell, "clipped"], "proportion")
    for g, group in enumerate(sheet.names):
        yield _student("bias of the mean gradient from clipping", f"{cell.name}, {group}", sheet.bias[cell][:, g])


def _student(name: str, split: str, values: Floats, unit: str = "") -> Metric:
    """A mean over trainings with Student's interval; none for one."""
    from scipy.stats import t

    value, n = float(values.mean()), len(values)
    if n < 2:
        return Metric(name=name, split=split, value=value, n=n, unit=unit)
    half = float(t.ppf(0.975, n - 1) * values.std(ddof=1) / np.sqrt(n))
    return Metric(name=name, split=split, value=value, n=n, ci_low=value - half, ci_high=value + half, unit=unit)


def _leaks(sheet: Sheet, cell: Cell) -> Iterator[Metric]:
    fair = cell.constraint != CONTROL
    for name in [*sheet.attacks, *([DISCREPANCY] if fair else [])]:
        key = (cell, name)
        yield from _each(sheet, f"{name} attack AUC", cell, sheet.auc[key], "", "lower")
        yield _range(f"{name} attack AUC gap", cell.name, sheet.auc[key], "")
        yield from _each(sheet, f"{name} attack TPR at 1 % FPR", cell, sheet.tpr[key], "proportion", "lower")
        shared = sheet.tpr_global[key]
        yield from _each(sheet, f"{name} attack TPR at 1 % FPR, one threshold", cell, shared, "proportion", "lower")
    if fair:
        yield from _each(sheet, "loss attack AUC, fair minus plain", cell, sheet.more_leaked(cell), "", "lower")
        yield from _each(
            sheet, "discrepancy attack AUC, its direction learned", cell, sheet.discrepancy(cell), "", "lower"
        )
        yield from _each(sheet, "discrepancy minus plain loss attack AUC", cell, sheet.gained(cell), "", "lower")
    for name in PROBES:
        yield _one(f"probe accuracy, {name}", cell.name, sheet.probes[cell, name], 0, "proportion", "lower")
    yield _student("probe accuracy, shuffled", cell.name, sheet.shuffled[cell], "proportion")


def _each(sheet: Sheet, name: str, cell: Cell, estimate: Estimate, unit: str, better: Better) -> Sequence[Metric]:
    return [_one(name, f"{cell.name}, {group}", estimate, g, unit, better) for g, group in enumerate(sheet.names)]


def _one(name: str, split: str, estimate: Estimate, g: int, unit: str, better: Better) -> Metric:
    ends = estimate.interval(g)
    n = int(estimate.n[g])
    if ends is None:
        return Metric(name=name, split=split, value=None, n=n, unit=unit, better=better)
    value = float(estimate.point[g])
    return Metric(name=name, split=split, value=value, n=n, ci_low=ends[0], ci_high=ends[1], unit=unit, better=better)


def _range(name: str, split: str, estimate: Estimate, unit: str) -> Metric:
    found: Range | None = estimate.range()
    n = int(estimate.n.sum())
    if found is None:
        return Metric(name=name, split=split, value=None, n=n, unit=unit, better="lower")
    return Metric(
        name=name, split=split, value=found.value, n=n, ci_low=found.low, ci_high=found.high, unit=unit, better="lower"
    )
