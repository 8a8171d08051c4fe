"""What a person gets to see of the checklist: counts, the page, what is left to do."""

from collections.abc import Iterable, Sequence

from upright.audit.checklist.config import Config
from upright.audit.checklist.ledger import OUT_OF_REACH, STATES, UNTESTED, WORST_FIRST, Line, counts
from upright.audit.checklist.taxonomy import taxonomy
from upright.run.evidence import Metric, scalar
from upright.run.plots import heatmap
from upright.run.report import Report

MARKS = {
    "concern": "✗ concern",
    "void": "∅ void",
    "undecided": "? undecided",
    "clear": "✓ clear",
    "not-applicable": "– not applicable",
    UNTESTED: "○ not tested",
    OUT_OF_REACH: "○ out of reach",
}
QUESTIONS, ANSWERED = "questions", "answered"


def metrics(lines: Sequence[Line]) -> list[Metric]:
    """Counts over all and by area; they are complete, so they carry no interval."""
    found = [scalar(QUESTIONS, len(lines), n=len(lines)), *_counts(lines, "all", empty=True)]
    for area in taxonomy().area:
        found += _counts(_within(lines, area.id), area.title, empty=False)
    return found


def _counts(lines: Sequence[Line], split: str, empty: bool) -> list[Metric]:
    count, n = counts(lines), len(lines)
    answered = scalar(ANSWERED, sum(bool(line.given) for line in lines), split=split, n=n)
    return [answered, *(scalar(s, count[s], split=split, n=n) for s in STATES if empty or count[s])]


def _within(lines: Iterable[Line], area: str) -> list[Line]:
    return [line for line in lines if line.item.area == area]


def headline(found: Iterable[Metric]) -> list[Metric]:
    """Counts over all areas."""
    return [metric for metric in found if metric.split == "all"]


def report(config: Config, lines: Sequence[Line], found: Sequence[Metric]) -> Report:
    """The page of a run."""
    page = Report("Privacy and fairness checklist", claim(lines), [ANSWERED, "concern", UNTESTED])
    page.section("At a glance", "Questions by area and by how they ended. The worst answer to a question stands.")
    page.plot(_map(lines), "Number of questions; the darker, the more.")
    page.table(headline(found))
    urgent = [line for line in lines if line.state in ("concern", "void", "undecided")]
    if urgent:
        page.section("What needs a person", "Concerns first, then tests that could not tell, then too few data.")
        page.examples(_answered(sorted(urgent, key=lambda line: STATES.index(line.state))), caption="")
    for area in taxonomy().area:
        page.section(area.title)
        page.examples([_brief(line) for line in _within(lines, area.id)], caption=_score(lines, area.id))
    _open(page, config, lines)
    return page.facts(_facts(config)).limits(LIMITS)


LIMITS = (
    "A question that is clear was tested with the data and attacks of that run; others may find more.",
    "Verdicts are not corrected for the number of questions: of many clear ones a few may be chance.",
    "Answers by hand are as good as whoever gave them.",
)


def claim(lines: Sequence[Line]) -> str:
    """What came out, in one sentence."""
    count = counts(lines)
    answered = sum(bool(line.given) for line in lines)
    parts = [f"{count[state]} {_WORDS[state]}" for state in WORST_FIRST if count[state]]
    head = f"Of {len(lines)} questions, {answered} {'is' if answered == 1 else 'are'} answered"
    left = f"{count[UNTESTED]} {'was' if count[UNTESTED] == 1 else 'were'} not tested"
    beyond = f", {count[OUT_OF_REACH]} {'is' if count[OUT_OF_REACH] == 1 else 'are'} out of reach"
    return f"{head}{': ' + ', '.join(parts) if parts else ''}; {left}{beyond if count[OUT_OF_REACH] else ''}."


_WORDS = {
    "concern": "of concern",
    "void": "void",
    "undecided": "undecided",
    "clear": "clear",
    "not-applicable": "not applicable",
}


def _map(lines: Sequence[Line]) -> str:
    areas = taxonomy().area
    rows = [counts(_within(lines, area.id)) for area in areas]
    return heatmap(
        [[row[state] or None for state in STATES] for row in rows],
        rows=[area.title for area in areas],
        columns=[state.replace("-", " ") for state in STATES],
        alt="Number of questions by area and by how they ended.",
    )


def _score(lines: Sequence[Line], area: str) -> str:
    mine = _within(lines, area)
    return f"{sum(bool(line.given) for line in mine)} of {len(mine)} answered."


def _brief(line: Line) -> dict[str, object]:
    return {"verdict": _mark(line.state), "question": line.item.question, "answer": _answer(line)}


def _mark(state: str) -> str:
    """The mark and its word on one line."""
    return MARKS[state].replace(" ", "\N{NO-BREAK SPACE}")


def _answer(line: Line) -> str:
    if not line.given:
        return ""
    more = len(line.given) - 1
    others = f" (and {more} more answer{'s' if more > 1 else ''})" if more else ""
    return f"{line.given[0].text}{others}"


def _answered(lines: Iterable[Line]) -> list[dict[str, object]]:
    """Every answer with its source, not only the one that stands."""
    return [
        {"verdict": _mark(answer.verdict), "item": answer.item, "answer": answer.text, "from": answer.source}
        for line in lines
        for answer in line.given
    ]


def _open(page: Report, config: Config, lines: Sequence[Line]) -> None:
    """What was not tested, with what would test it."""
    left = [line for line in lines if line.state == UNTESTED]
    by_command: dict[str, list[str]] = {}
    for line in left:
        by_command.setdefault(line.item.command, []).append(line.item.id)
    by_person = by_command.pop("", [])
    if by_command:
        page.section("Not tested: run this", "Each command answers the questions beside it.")
        page.examples([{"command": c, "answers": ", ".join(ids)} for c, ids in by_command.items()], caption="")
    if by_person:
        page.section(
            "Not tested: ask this",
            "No command answers these. Fill in answers.toml in this run's folder and give it back with --answers.",
        )
        asked = [line.item for line in left if not line.item.command]
        page.examples([{"item": i.id, "question": i.question, "needs": i.access} for i in asked], caption="")
    beyond = [line.item for line in lines if line.state == OUT_OF_REACH]
    if beyond:
        page.section("Out of reach", f"These need more access than “{config.access}”.")
        page.examples([{"item": i.id, "question": i.question, "needs": i.access} for i in beyond], caption="")


def _facts(config: Config) -> dict[str, object]:
    names = ", ".join(str(path) for path in config.runs) or "none"
    return {"runs": names, "answers by hand": config.answers or "none", "access": config.access}
