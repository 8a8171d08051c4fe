"""What each test of `upright audit exposure` hands over: numbers, one finding, and what to draw."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from upright.audit.findings import Finding
from upright.run.evidence import Metric, display, interval
from upright.run.measures.intervals import newcombe
from upright.run.plots import Point


@dataclass(frozen=True)
class Part:
    """The outcome of one test."""

    title: str
    question: str
    """What was asked, in a sentence or two."""
    finding: Finding
    metrics: Sequence[Metric] = ()
    drawn: Sequence[Metric] = ()
    """Metrics of one unit, for a plot."""
    curves: Mapping[str, Sequence[Point]] = field(default_factory=dict)
    """Discoverable share by draws."""
    examples: Sequence[Mapping[str, object]] = ()
    limits: Sequence[str] = ()


def not_run(item: str, title: str, why: str) -> Part:
    """A test that lacked something."""
    return Part(title, why, Finding(item=item, verdict="undecided", text=f"Not run: {why}"))


def excess(name: str, members: tuple[int, int], others: tuple[int, int]) -> Metric:
    """Share among members minus share among non-members, each given as (hits, n), with Newcombe's interval."""
    low, high = newcombe(*members, *others)
    return Metric(
        name=name,
        value=members[0] / members[1] - others[0] / others[1],
        n=members[1] + others[1],
        ci_low=float(low),
        ci_high=float(high),
        unit="proportion",
        better="lower",
    )


def compared(metric: Metric) -> str:
    """An excess with its interval, for running text."""
    return f"{display(metric.value, metric.unit)} more ({interval(metric, ' to ')})"


def verdict(metric: Metric, enough: bool) -> str:
    """A concern if the excess is above chance; nothing is decided by too few."""
    if not enough or metric.ci_low is None:
        return "undecided"
    return "concern" if metric.ci_low > 0 else "clear"
