"""The report of a run: one HTML file that needs nothing else, for a screen, a phone or paper.

    report = Report("Knowledge edit", "France now pays in francs, and the model knows what follows.")
    report.section("What changed", "Three facts were written into layers 3 to 5.")
    report.table(metrics)
    report.examples(rows)
    report.limits(["Measured on the lab's world only."])
    run.finish(metrics, report)

Blocks appear in the order in which they are added; the limits, the budget, the command and a table of the
metrics that no other table shows follow by themselves. A table of more than `LONG` rows is folded by the families
of its measures. Text is escaped; `plot` takes the SVG of `upright.run.plots`.
"""

import re
import shlex
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple, Self

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from upright.run.evidence import Change, Metric, changes, display, interval
from upright.run.files import write_text
from upright.run.manifest import Manifest

TEMPLATE = "report.html.j2"
CARDS = 4
LONG, FEW = 60, 3
"""Rows above which a table is folded, and below which a family of measures gets no fold of its own."""
OTHERS = "others"


@dataclass(frozen=True)
class Block:
    """One part of the body; `kind` names the template's macro that shows it."""

    kind: str
    content: dict[str, Any]


@dataclass
class Report:
    """A report in the making.

    Args:
        title: what kind of run it was, in two or three words.
        claim: what came out, in one sentence; its numbers must stand in the metrics.
        headline: names of up to four metrics for the cards at the top (default: the first that changed); None for no
            cards.
    """

    title: str
    claim: str
    headline: Sequence[str] | None = ()
    _blocks: list[Block] = field(default_factory=list)
    _facts: dict[str, str] = field(default_factory=dict)
    _limits: list[str] = field(default_factory=list)

    def section(self, title: str, *paragraphs: str) -> Self:
        """Begin a section, with optional text."""
        return self._add("section", title=title, paragraphs=paragraphs)

    def table(self, metrics: Iterable[Metric], caption: str = "", fold: str = "") -> Self:
        """Metrics before and after, with change, 95 % interval and n; with a title `fold`, closed at first."""
        return self._add("table", rows=changes(metrics), caption=caption, fold=fold)

    def terms(self, terms: Mapping[str, object]) -> Self:
        """What a section has to say under a name each: a list that a narrow screen can show."""
        return self._add("terms", terms={name: _shown(value) for name, value in terms.items()})

    def plot(self, svg: str, caption: str) -> Self:
        """A plot made by `upright.run.plots`, with what to see in it."""
        return self._add("plot", svg=Markup(svg), caption=caption)  # our own drawing, not escaped

    def examples(
        self, rows: Sequence[Mapping[str, object]], caption: str = "Picked at random, by the run's seed."
    ) -> Self:
        """Examples side by side; the keys of the first row head the columns. A value may be a `link`."""
        heads = list(rows[0]) if rows else []
        return self._add(
            "examples",
            heads=heads,
            rows=[[_shown(row[head]) for head in heads] for row in rows],
            caption=caption,
        )

    def facts(self, facts: Mapping[str, object]) -> Self:
        """Add to the budget: ε spent, layers touched, calls made."""
        self._facts.update({name: str(value) for name, value in facts.items()})
        return self

    def limits(self, limits: Iterable[str]) -> Self:
        """Say what the numbers do not show."""
        self._limits.extend(limits)
        return self

    def budget(self, manifest: Manifest, failures: Sequence[Mapping[str, Any]] = ()) -> Self:
        """Add what the run took and which rows it dropped. `run.finish` calls this."""
        self.facts(manifest.budget())
        dropped = Counter(f"{row['stage']}: {row['reason']}" for row in failures)
        return self.limits(
            f"{count:,} {'row' if count == 1 else 'rows'} dropped, {why}" for why, count in dropped.items()
        )

    def write(self, path: Path, command: str, metrics: Iterable[Metric] = ()) -> None:
        """Write the page atomically. `metrics` are all that was measured; `command` repeats the run."""
        rows = changes(metrics)
        page = (
            _environment()
            .get_template(TEMPLATE)
            .render(
                report=self,
                blocks=self._blocks,
                cards=[_card(row) for row in self._headline_rows(rows)],
                facts=self._facts,
                limits=self._limits,
                rest=self._not_tabled(rows),
                count=len(rows),
                command=command,
                date=datetime.now().strftime("%-d %B %Y"),
            )
        )
        write_text(path, page)

    def _add(self, kind: str, **content: Any) -> Self:
        self._blocks.append(Block(kind, content))
        return self

    def _not_tabled(self, rows: list[Change]) -> list[Change]:
        """What no table shows yet: every number that was measured stands in the report."""
        tabled = {row for block in self._blocks if block.kind == "table" for row in block.content["rows"]}
        return [row for row in rows if row not in tabled]

    def _headline_rows(self, rows: list[Change]) -> list[Change]:
        if self.headline is None:
            return []
        if not self.headline:
            return ([row for row in rows if row.delta is not None] or rows)[:CARDS]
        by_name = {row.name: row for row in reversed(rows)}  # the first of a name wins
        absent = [name for name in self.headline if name not in by_name]
        if absent:
            raise ValueError(f"headline names no metric: {', '.join(absent)} (metrics: {', '.join(by_name)})")
        return [by_name[name] for name in self.headline][:CARDS]


def link(text: str, address: str | None) -> str:
    """A text that leads to a page of the web; the plain text for any other address."""
    if address is None or not address.startswith(("http://", "https://")):
        return text
    return Markup('<a href="{}">{}</a>').format(address, text)


def _shown(value: object) -> str:
    return value if isinstance(value, str) else str(value)  # str() would take its mark from a link


def _environment() -> Environment:
    loader = FileSystemLoader(Path(__file__).parent)
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"display": display, "interval": interval, "label": _label, "shell": _shell}
    environment.filters["folds"] = folds_of
    return environment


def _label(text: str) -> str:
    """An identifier as words."""
    return text.replace("_", " ")


def _shell(command: str) -> str:
    """A command with one flag to a line, so that it can be read and still be pasted."""
    lines: list[list[str]] = [[]]
    for word in shlex.split(command):
        if word.startswith("--"):
            lines.append([])
        lines[-1].append(word)
    return " \\\n    ".join(shlex.join(line) for line in lines)


# --- long tables ---


class Fold(NamedTuple):
    """Rows of a long table that stand behind a title."""

    title: str
    rows: Sequence[Change]
    open: bool


def folds_of(rows: Sequence[Change]) -> list[Fold]:
    """The rows of a long table by family, the first open; none where one table is easier to read.

    A family is a name up to its first comma or colon. Small ones stand together at the end.
    """
    if len(rows) <= LONG:
        return []
    families: dict[str, list[Change]] = {}
    for row in rows:
        families.setdefault(re.split("[,:]", row.name)[0], []).append(row)
    large = {name: many for name, many in families.items() if len(many) >= FEW}
    small = [row for few in families.values() if len(few) < FEW for row in few]
    parts = large | {OTHERS: small} if large and small else large
    return [Fold(name, many, i == 0) for i, (name, many) in enumerate(parts.items())]


# --- cards ---


def _card(row: Change) -> dict[str, Any]:
    """A headline number: its row, and its intervals as bars on a common scale."""
    metrics = [metric for metric in (row.before, row.after or row.result) if metric is not None]
    low, high = _scale(metrics)
    bars = [_bar(metric, low, high) for metric in metrics if metric.value is not None]
    unit = row.shown.unit
    return {"row": row, "bars": bars, "low": _end(low, unit), "high": _end(high, unit)}


def _scale(metrics: Sequence[Metric]) -> tuple[float, float]:
    """A range that holds all intervals: 0 to 1 for proportions, else from zero with some air."""
    if all(metric.unit == "proportion" and 0 <= (metric.value or 0) <= 1 for metric in metrics):
        return 0.0, 1.0
    ends = [end for metric in metrics for end in (metric.value, metric.ci_low, metric.ci_high) if end is not None]
    low, high = min([0.0, *ends]), max([0.0, *ends])
    return (low * 1.1, high * 1.1) if high > low else (0.0, 1.0)


def _bar(metric: Metric, low: float, high: float) -> dict[str, Any]:
    """Left end, width and dot of an interval, in percent of the scale."""
    value = metric.value or 0.0
    start = value if metric.ci_low is None else metric.ci_low
    end = value if metric.ci_high is None else metric.ci_high

    def percent(x: float) -> float:
        return round(100 * (x - low) / (high - low), 2)

    left = percent(start)
    return {
        "stage": metric.stage,
        "left": left,
        "width": round(percent(end) - left, 2),
        "dot": percent(value),
    }


def _end(value: float, unit: str) -> str:
    return f"{100 * value:.0f} %" if unit == "proportion" else display(value, unit)
