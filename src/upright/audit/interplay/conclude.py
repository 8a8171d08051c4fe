"""What the experiment concludes: a direction only where intervals show it, after paying for the number of looks.

Each question takes one test at 5 % in all, shared equally among the cells, groups and attacks it looks at.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from upright.audit.findings import Finding, Verdict
from upright.audit.interplay.attacks import DISCREPANCY
from upright.audit.interplay.config import CONTROL
from upright.audit.interplay.grid import PROBES, Cell
from upright.audit.interplay.measure import Estimate
from upright.audit.interplay.sheet import POINTS, Sheet
from upright.run.evidence import display

LEVEL = 0.05


class Shown(NamedTuple):
    """One look that came out above 0, or the largest of those that did not: where, how much, interval, n."""

    where: str
    value: float
    low: float
    high: float
    n: int
    holds: bool

    def text(self, unit: str) -> str:
        """The number as people read it."""
        scale, unit = (POINTS, "points") if unit == "proportion" else (1.0, unit)
        value, low, high = (display(scale * number, unit) for number in (self.value, self.low, self.high))
        return f"{value} ({low.removesuffix(f' {unit}')} to {high}, n {self.n:,}) at {self.where}"


def findings(sheet: Sheet) -> list[Finding]:
    """The answers to the five questions of the checklist about privacy and fairness together."""
    return [utility(sheet), clipping(sheet), attack(sheet), leakage(sheet), fair_to_privacy(sheet)]


def utility(sheet: Sheet) -> Finding:
    """Does privacy cost one group more accuracy than another?"""
    private = [cell for cell in sheet.cells if cell.private]
    if not private:
        return Finding(item="both.interplay-utility", verdict="undecided", text="No privacy level was trained.")
    looks = _ranges(sheet, {cell: sheet.lost[cell, "accuracy"] for cell in private})
    return _finding(
        "both.interplay-utility",
        looks,
        "points",
        "Privacy costs some groups more accuracy than others: the loss differs by {}",
        "No difference between groups in accuracy lost to privacy is shown; the largest is {}",
    )


def clipping(sheet: Sheet) -> Finding:
    """Are the gradients of one group clipped more often? Without a private cell: would they be?"""
    plain = [cell for cell in sheet.cells if cell.constraint == CONTROL]
    cells = [cell for cell in plain if cell.private] or plain
    looks = _ranges(sheet, {cell: sheet.tension[cell, "clipped"] for cell in cells})
    return _finding(
        "both.interplay-clipping",
        looks,
        "proportion",
        "Clipping does not fall on all groups alike: the share of clipped gradients differs by {}",
        "No difference between groups in the share of clipped gradients is shown; the largest is {}",
    )


def attack(sheet: Sheet) -> Finding:
    """Does a model tell of some group who was in its training?"""
    looks = {f"{name} attack, {cell.name}": sheet.auc[cell, name] for cell in sheet.cells for name in sheet.attacks}
    found = _finding(
        "both.interplay-attack",
        _above(sheet, looks, 0.5),
        "",
        "Membership shows: an attack's AUC is above chance by {}",
        "No attack is shown to beat chance in any group; the largest AUC above 0.5 is {}",
    )
    gaps = _ranges(sheet, {cell: sheet.auc[cell, sheet.strongest] for cell in sheet.cells})
    if not gaps:
        return found
    worst = _first(gaps)
    gap = "differs" if worst.holds else "is not shown to differ"
    return found.model_copy(
        update={"text": f"{found.text} It {gap} between groups: {sheet.strongest} AUC range {worst.text('')}."}
    )


def leakage(sheet: Sheet) -> Finding:
    """Can the group be read from what the model gives away?"""
    chance = 1 / len(sheet.names)
    looks = {f"{name}, {cell.name}": sheet.probes[cell, name] for cell in sheet.cells for name in PROBES}
    return _finding(
        "both.interplay-leakage",
        _above(sheet, looks, chance, names=["all groups"]),
        "proportion",
        "The group can be read from the model: the balanced accuracy of a linear probe exceeds chance "
        f"({chance:.0%}) by {{}}",
        f"No linear probe is shown to read the group better than chance ({chance:.0%}); the largest excess is {{}}",
    )


def fair_to_privacy(sheet: Sheet) -> Finding:
    """Does a fairness constraint make membership easier to tell, by itself or beside the plain model?"""
    fair = [cell for cell in sheet.cells if cell.constraint != CONTROL]
    if not fair:
        return Finding(item="both.fair-to-privacy", verdict="undecided", text="No fairness constraint was trained.")
    looks = {f"loss attack, {cell.name}": sheet.more_leaked(cell) for cell in fair}
    looks |= {f"discrepancy attack, {cell.name}": sheet.gained(cell) for cell in fair}
    found = _finding(
        "both.fair-to-privacy",
        _above(sheet, looks, 0.0),
        "",
        "Fair training makes membership easier to tell: against the loss attack on the plain model, AUC rises by {}",
        "Fair training is not shown to make membership easier to tell; against the loss attack on the plain model, "
        "AUC rises at most by {}",
    )
    return found.model_copy(update={"text": found.text + _asides(sheet, fair)})


def _asides(sheet: Sheet, fair: list[Cell]) -> str:
    """What else is shown, of the other direction."""
    weaker = {f"loss attack, {cell.name}": _negative(sheet.more_leaked(cell)) for cell in fair}
    closer = {cell.name: _negative(sheet.auc[cell, DISCREPANCY]) for cell in fair}
    text = ""
    if lower := [look for look in _above(sheet, weaker, 0.0) if look.holds]:
        text += f" The loss attack alone is weaker on a fair model, by {_first(lower).text('')}."
    if less := [look for look in _above(sheet, closer, -0.5) if look.holds]:
        text += (
            " Members differ less between the fair and the plain model, not more: the AUC of their discrepancy is "
            f"below 0.5 by {_first(less).text('')}."
        )
    return text


# --- looks -----------------------------------------------------------------------------------------------------


def _finding(item: str, looks: list[Shown], unit: str, shown: str, not_shown: str) -> Finding:
    if not looks:
        return Finding(item=item, verdict="undecided", text="Too few records in some group to tell.")
    worst = _first(looks)
    verdict: Verdict = "concern" if worst.holds else "clear"
    return Finding(
        item=item, verdict=verdict, text=(shown if worst.holds else not_shown).format(worst.text(unit)) + "."
    )


def _first(looks: Iterable[Shown]) -> Shown:
    """The largest value that is shown, else the largest."""
    return max(looks, key=lambda look: (look.holds, look.value))


def _ranges(sheet: Sheet, estimates: dict[Cell, Estimate]) -> list[Shown]:
    """Ranges over groups, the 5 % shared among them; the interval is the one that was tested."""
    found = []
    for cell, estimate in estimates.items():
        gap = estimate.range(LEVEL / len(estimates))
        if gap is not None:
            least, most = sheet.names[gap.least], sheet.names[gap.most]
            where = f"{cell.name}, more for {most} than for {least}" if gap.low > 0 else cell.name
            found.append(Shown(where, gap.value, gap.low, gap.high, int(estimate.n.sum()), gap.low > 0))
    return found


def _above(sheet: Sheet, estimates: dict[str, Estimate], chance: float, names: list[str] | None = None) -> list[Shown]:
    """Excess over chance of each estimate and group, the 5 % shared among all."""
    groups = names or sheet.names
    tests = len(estimates) * len(groups)
    found = []
    for where, estimate in estimates.items():
        excess = estimate + -chance
        for g, group in enumerate(groups):
            ends = excess.interval(g)
            if ends is None:
                continue
            place = where if names else f"{where}, {group}"
            found.append(Shown(place, float(excess.point[g]), *ends, int(excess.n[g]), excess.over(g, tests)))
    return found


def _negative(estimate: Estimate) -> Estimate:
    return Estimate(np.negative(estimate.values), estimate.n)
