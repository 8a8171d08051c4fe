"""Which question got which answers, and what stands in the end."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from pydantic import BaseModel, ConfigDict

from upright.audit.checklist.taxonomy import Answer, ByHand, Item, Taxonomy
from upright.audit.findings import Finding

WORST_FIRST: tuple[Answer, ...] = ("concern", "void", "undecided", "clear", "not-applicable")
UNTESTED, OUT_OF_REACH = "not tested", "out of reach"
STATES = (*WORST_FIRST, UNTESTED, OUT_OF_REACH)


class Given(BaseModel):
    """One answer to one question, and where it comes from: a run, or a person."""

    model_config = ConfigDict(frozen=True)

    item: str
    verdict: Answer
    text: str
    source: str


class Line(BaseModel):
    """A question with all its answers, the worst first."""

    model_config = ConfigDict(frozen=True)

    item: Item
    given: list[Given]
    state: str
    """The worst verdict; without any, why there is none."""


def from_run(source: str, findings: Iterable[Finding]) -> list[Given]:
    """Findings of a run as answers."""
    return [Given(item=f.item, verdict=f.verdict, text=f.text, source=source) for f in findings]


def by_hand(answers: Mapping[str, ByHand]) -> list[Given]:
    """Answers of people, as such."""
    return [
        Given(item=name, verdict=a.verdict, text=a.text, source=f"by hand, {a.by}" if a.by else "by hand")
        for name, a in answers.items()
    ]


def ledger(questions: Taxonomy, given: Sequence[Given], access: str) -> list[Line]:
    """One line a question. The worst answer stands: no clear run, and no word by hand, takes a concern away."""
    answers: dict[str, list[Given]] = {}
    for answer in sorted(given, key=lambda answer: WORST_FIRST.index(answer.verdict)):
        answers.setdefault(answer.item, []).append(answer)
    return [_line(item, answers.get(item.id, []), access) for item in questions.item]


def _line(item: Item, given: list[Given], access: str) -> Line:
    if given:
        state: str = given[0].verdict
    else:
        state = UNTESTED if item.within(access) else OUT_OF_REACH
    return Line(item=item, given=given, state=state)


def counts(lines: Iterable[Line]) -> Counter[str]:
    """Questions by state."""
    return Counter(line.state for line in lines)


def standing(lines: Iterable[Line]) -> list[Finding]:
    """The answer that stands for each question, as findings; what does not apply is none."""
    first = [line.given[0] for line in lines if line.given]
    return [
        Finding(item=answer.item, verdict=answer.verdict, text=_signed(answer))
        for answer in first
        if answer.verdict != "not-applicable"
    ]


def _signed(answer: Given) -> str:
    return f"{answer.text} ({answer.source})" if answer.source.startswith("by hand") else answer.text
