"""A small actor learnt from half of MetaQA's questions, asked the other half: EM-in beside the graph's own ceiling.

The packaged graph is incomplete: not all golds can be reached. The ceiling is the share of questions for which a
gold path, one that agrees best with the golds, reaches all of them.
"""

import random
from collections.abc import Sequence
from pathlib import Path

from benchmarks.harness import Bench, Cell, Run, Section, finished, relabelled, table
from benchmarks.metaqa_data import HOPS, halves, read_graph, read_questions
from upright.knowledge.graph import KnowledgeGraph
from upright.models.chat.config import ChatConfig
from upright.run.evidence import Metric, scalar
from upright.run.files import write_text
from upright.traversal.config import Config, Learn, SearchConfig, Training
from upright.traversal.measure import Judged, judge, summary
from upright.traversal.paths import Around, gold_paths, reach
from upright.traversal.questions import Question, write_questions

TOKENS = 8_000_000
ASKED = 1000
"""Questions of each number of hops, drawn from the half that was not learnt."""
WAYS = {"tree search": 3, "chain": 1}
"""Samples a state."""
BARS = {1: 0.97, 2: 0.95, 3: 0.92}
"""Shares of the ceiling."""


def run(bench: Bench) -> Section:
    """Learn, ask by tree and by chain, and compare with what the graph allows."""
    graph = read_graph(bench.read("knowledge/metaqa"))
    here = bench.out / "metaqa"
    here.mkdir(parents=True, exist_ok=True)
    kg = here / "graph.tsv"
    write_text(kg, "".join("\t".join(edge) + "\n" for edge in graph.triples()))
    asked = _questions(bench, here)
    actor = finished(_learn(bench, here, kg), "ask learn")
    ceilings = {hops: ceiling(graph, questions, hops) for hops, questions in asked.items()}
    runs = {
        (name, hops): finished(_ask(here, kg, hops, name, samples), "ask")
        for name, samples in WAYS.items()
        for hops in HOPS
    }
    return _section(asked, actor, ceilings, runs)


def _questions(bench: Bench, here: Path) -> dict[int, list[Question]]:
    """Write the half to learn and a sample of the other half; the sample by number of hops."""
    learnt: list[Question] = []
    asked: dict[int, list[Question]] = {}
    for hops in HOPS:
        first, second = halves(read_questions(bench.read("knowledge/metaqa"), hops))
        learnt += first[:100] if bench.quick else first
        asked[hops] = random.Random(hops).sample(second, 10 if bench.quick else ASKED)
        write_questions(here / f"asked-{hops}.jsonl", asked[hops])
    write_questions(here / "learnt.jsonl", learnt)
    return asked


def _learn(bench: Bench, here: Path, kg: Path) -> Learn:
    return Learn(
        questions=here / "learnt.jsonl",
        kg=[str(kg)],
        held_out=0.01,
        train=Training(tokens=50_000 if bench.quick else TOKENS),
        out=here / "actor",
    )


def _ask(here: Path, kg: Path, hops: int, name: str, samples: int) -> Config:
    return Config(
        questions=here / f"asked-{hops}.jsonl",
        kg=[str(kg)],
        chat=ChatConfig(model=f"hf:{here / 'actor' / 'model'}"),
        search=SearchConfig(samples=samples),
        out=here / f"{name.split()[0]}-{hops}",
    )


def ceiling(graph: KnowledgeGraph, questions: Sequence[Question], hops: int) -> Metric:
    """EM-in of a reader that knows every question's gold path; of several the one that finds most."""
    around = Around(graph)

    def best(question: Question) -> Judged:
        seeds = frozenset(question.seeds)
        paths = [one.path for one in gold_paths(around, seeds, frozenset(question.answer), hops)]
        ends = [reach(graph, seeds, path) for path in paths] or [frozenset()]
        return max((judge(sorted(end), question.answer) for end in ends), key=lambda judged: judged.recall)

    return summary([best(question) for question in questions])[0].model_copy(update={"name": "ceiling"})


# --- numbers ---------------------------------------------------------------------------------------------------


def _section(
    asked: dict[int, list[Question]], actor: Run, ceilings: dict[int, Metric], runs: dict[tuple[str, int], Run]
) -> Section:
    section = Section("MetaQA: an actor learnt from questions and answers")
    columns = ["1 hop", "2 hops", "3 hops"]
    em_in = {key: run.find("EM-in", "result", "all") for key, run in runs.items()}
    rows: dict[str, list[Cell]] = {"ceiling of the graph": [ceilings[hops] for hops in HOPS]}
    for name in WAYS:
        rows[f"{name}, EM-in"] = [em_in[name, hops] for hops in HOPS]
        rows[f"{name}, share of the ceiling"] = [_share(em_in[name, hops], ceilings[hops]) for hops in HOPS]
        rows[f"{name}, set F1"] = [runs[name, hops].find("set F1", "result", "all") for hops in HOPS]
        rows[f"{name}, calls a question"] = [runs[name, hops].find("calls", "result") for hops in HOPS]
        rows[f"{name}, wall time of the run"] = [f"{runs[name, hops].manifest.wall_seconds:.0f} s" for hops in HOPS]
    rows["asked for"] = [f"{BARS[hops]:.0%} of the ceiling" for hops in HOPS]
    section.tables.append(table(rows, columns))
    size, known = actor.find("parameters", "result"), actor.find("questions with a gold path", "result")
    section.notes += [
        f"Learnt from {known.n:,} questions, {known.value:.1%} with a gold path; {size.value / 1e6:.1f} M parameters, "
        f"{actor.manifest.wall_seconds / 60:.0f} min in all."
        if known and size and known.value is not None and size.value is not None
        else "",
        f"Asked: {', '.join(f'{len(asked[hops]):,}' for hops in HOPS)} questions of the other half, drawn by seed; "
        "the question's entity is given, as in the data set.",
        "The ceiling follows for each question the path that agrees best with its golds, on the same questions.",
    ]
    for (name, hops), metric in em_in.items():
        section.metrics += relabelled(metric, f"{name}, {hops} hops")
    for hops, metric in ceilings.items():
        section.metrics += relabelled(metric, f"{hops} hops")
    return section


def _share(found: Metric | None, most: Metric) -> Metric | None:
    """A part of the ceiling, of the questions that it answers on average."""
    if found is None or found.value is None or not most.value:
        return None
    return scalar("share of the ceiling", found.value / most.value, unit="proportion", better="higher")
