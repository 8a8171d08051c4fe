"""All methods of `upright ask` on the lab's world, in words that were never taught: EM-in by number of hops."""

from collections.abc import Sequence
from pathlib import Path

from benchmarks.harness import Bench, Cell, Run, Section, finished, relabelled, table
from upright.knowledge.files import open_graph
from upright.models.chat.config import ChatConfig
from upright.run.evidence import Metric
from upright.run.files import read_jsonl
from upright.traversal.config import Config, MethodName
from upright.traversal.lessons import written
from upright.traversal.measure import judge, summary
from upright.traversal.questions import Question, write_questions

KG = "lab:atlas"
ASKED = 600
"""Questions for sets and counts: a third each of one, two and three hops."""
JUDGED = 200
"""Questions for yes or no."""
SEED = 7
METHODS: dict[MethodName, str] = {
    "tree": "lab:traveller",
    "chain": "lab:traveller",
    "beam": "lab:traveller",
    "direct": "lab:atlas",
}
"""With the model that each is asked of; the chain of this actor is also its ReAct."""
SPLITS = {"1 hop": "1-", "2 hops": "2-", "3 hops": "3-", "yes or no": "yes-no-"}
"""By how the ids of their questions begin."""


def run(bench: Bench) -> Section:
    """Write the questions, ask them in every way."""
    here = bench.out / "methods"
    here.mkdir(parents=True, exist_ok=True)
    questions = _questions(12 if bench.quick else ASKED, 4 if bench.quick else JUDGED)
    write_questions(here / "questions.jsonl", questions)
    runs = {method: finished(_config(here, method, model), "ask") for method, model in METHODS.items()}
    return _section(questions, runs)


def _questions(asked: int, judged: int) -> list[Question]:
    graph = open_graph(KG)
    return [
        *written([KG], graph, "measure", asked, SEED, ["sets"]),
        *written([KG], graph, "measure", judged, SEED, ["yes-no"]),
    ]


def _config(here: Path, method: MethodName, model: str) -> Config:
    chat = ChatConfig(model=model)
    return Config(questions=here / "questions.jsonl", kg=[KG], method=method, chat=chat, out=here / method)


def _section(questions: Sequence[Question], runs: dict[MethodName, Run]) -> Section:
    section = Section("Methods side by side on the lab's world")
    found = {method: _em_in(questions, run) for method, run in runs.items()}
    rows: dict[str, list[Cell]] = {
        f"{method}, {METHODS[method]}": [*found[method].values(), run.find("calls", "result")]
        for method, run in runs.items()
    }
    section.tables.append(table(rows, [*SPLITS, "calls a question"]))
    section.notes += [
        "EM-in: all golds stand in the answer. Words of the questions: held out from the actor's training.",
        "`direct` reads no graph: lab:atlas knows this world by heart, but was never taught to list or to count.",
        "The actor offers no thoughts, so that ReAct is its chain at temperature 0.",
    ]
    for method, metrics in found.items():
        section.metrics += [one for metric in metrics.values() for one in relabelled(metric, method)]
    return section


def _em_in(questions: Sequence[Question], run: Run) -> dict[str, Metric]:
    answers = {row["id"]: row["answer"] for row in read_jsonl(run.path / "answers.jsonl")}
    return {
        name: summary([judge(answers[q.id], q.answer) for q in questions if q.id.startswith(start)], split=name)[0]
        for name, start in SPLITS.items()
    }
