"""What `upright ask` gives back for a question."""

from pydantic import BaseModel

from upright.knowledge.graph import Edge
from upright.traversal.record import Row


class Reply(BaseModel):
    """The answer to one question, as it stands in answers.jsonl; `evidence` are facts by ids."""

    id: str
    question: str
    answer: tuple[str, ...]
    score: float | None
    evidence: tuple[Edge, ...]
    status: str
    grounded: bool
    form: str
    notes: tuple[str, ...]
    reason: str
    seeds: tuple[str, ...]
    calls: int
    cached: int
    tokens: tuple[int, int]
    dollars: float | None
    seconds: float


class Searched(BaseModel):
    """A reply with the record of its search."""

    reply: Reply
    rows: list[Row]
