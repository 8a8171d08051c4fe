"""MQuAKE's edits, some cases at a time, in a lab model of its world: multi-hop, edit- and instance-wise accuracy.

All 584 edits together would replace nearly every fact of this world, so the cases are edited in groups, as the data
set's authors do in batches of 1, 100 and more; the weights are restored between groups.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.harness import Bench, Cell, Run, Section, finished, lab_recipe, relabelled, table
from benchmarks.mquake_data import INVENTED, Case, MQuake, read, write_world
from upright.editing import Config
from upright.editing.config import AlphaEdit, ContextConfig, MeasureConfig, Memit, Solver, StatsConfig
from upright.editing.edit import Edit
from upright.knowledge.changes import FactChange, write_changes
from upright.knowledge.relations import Prompt, Relations
from upright.lab.config import Build, CheckConfig, Training
from upright.models.causal import CausalModel, load
from upright.models.generate import generate
from upright.models.matching import matches
from upright.run.evidence import Metric, mean, proportion, scalar

TOKENS = 5_000_000
SOLVERS: dict[str, Solver] = {"memit": Memit(), "alphaedit": AlphaEdit()}
HOPS = (0, 2, 4)
"""Longest chain that K-Edit writes; 4 is as long as the questions, so their own chains are among them."""
CASES = 150
"""The first so many are edited and asked; the model is taught the world of all."""
GROUP = 10
"""Cases edited together."""
FRAMES = 3  # wordings of a chain in held-out frames, as many as the data set's own
WORDINGS = ("data set's words", "held-out words")
Chain = tuple[str, tuple[str, ...]]


@dataclass(frozen=True)
class Sheet:
    """What a model answered, right or wrong, to everything that is asked."""

    chains: dict[str, list[list[bool]]]
    """By wording: for each case, each of its three questions."""
    clozes: dict[str, bool]
    """By the data set's cloze text, each once."""
    written: list[bool]
    """By edit: in the sentence that was written."""


def run(bench: Bench) -> Section:
    """Build the model, write the edits in every way, ask every question."""
    data = read(bench.read("editing/mquake_hard.json"), 8 if bench.quick else None)
    here = bench.out / "mquake"
    write_world(data, here / "world")
    built = finished(_build(bench, here), "lab build")
    model = str(built.path / "model")
    relations = Relations.load(here / "world" / "relations.toml")
    data = replace(data, cases=data.cases[:CASES])
    before = ask(load(model, "auto"), data, relations, old=True)
    page = _Page(data, [any(row) for row in before.chains[WORDINGS[1]]])
    page.add("unedited", ask(load(model, "auto"), data, relations), [], set())
    for name, solver in SOLVERS.items():
        for hops in HOPS:
            sheets, runs, written = [], [], set()
            for number, group in enumerate(groups(data)):
                done = finished(_config(bench, here, group, number, solver, hops), "edit")
                edited, edit = load(model, "auto"), Edit.load(done.path / "patch.safetensors")
                edit.apply(edited)
                sheets.append(ask(edited, group, relations))
                runs.append(done)
                written |= contextual(edit)
            page.add(f"{name} + K-Edit, {hops} hops" if hops else name, joined(sheets), runs, written)
    return page.section(_original(before, data), built)


def groups(data: MQuake) -> Iterator[MQuake]:
    """The cases, some at a time, with the edits they need."""
    for start in range(0, len(data.cases), GROUP):
        cases = data.cases[start : start + GROUP]
        needed = {hop.edge for case in cases for hop in case.hops}
        yield replace(data, cases=cases, edits=[edge for edge in data.edits if edge in needed])


def joined(sheets: Sequence[Sheet]) -> Sheet:
    """The answers of all groups. A cloze that several groups ask is right if it is in all of them."""
    clozes: dict[str, bool] = {}
    for sheet in sheets:
        for cloze, right in sheet.clozes.items():
            clozes[cloze] = clozes.get(cloze, True) and right
    chains = {name: [row for sheet in sheets for row in sheet.chains[name]] for name in WORDINGS}
    return Sheet(chains, clozes, [right for sheet in sheets for right in sheet.written])


def _build(bench: Bench, here: Path) -> Build:
    tokens = 120_000 if bench.quick else TOKENS
    return Build(
        kg=[str(here / "world"), str(here / "world" / INVENTED)],
        recipe=lab_recipe(),
        train=Training(tokens=tokens),
        check=CheckConfig(facts=50, texts=10) if bench.quick else CheckConfig(),
        out=here / "model",
    )


def _config(bench: Bench, here: Path, group: MQuake, number: int, solver: Solver, hops: int) -> Config:
    small = MeasureConfig(facts=20, untouched=50, chains=20, texts=10)
    changes = here / f"changes-{number}.jsonl"
    write_changes(changes, [FactChange(subject=e.head, relation=e.relation, object=e.tail) for e in group.edits])
    return Config(
        model=str(here / "model" / "model"),
        kg=[str(here / "world")],
        facts=changes,
        solver=solver,
        stats=StatsConfig(sequences=200) if bench.quick else StatsConfig(),
        context=ContextConfig(hops=hops),
        measure=small if bench.quick else MeasureConfig(chains=1, texts=20),
        out=here / f"{solver.type}-hops{hops}-{number}",
    )


def contextual(edit: Edit) -> set[Chain]:
    """Chains that were themselves written."""
    return {(row["subject"], tuple(row["path"])) for row in edit.ledger if row["origin"] == "contextual"}


# --- asking ----------------------------------------------------------------------------------------------------


def ask(model: CausalModel, data: MQuake, relations: Relations, old: bool = False) -> Sheet:
    """Every question, greedily; right is the new answer, or with `old` the one before the edits."""
    answers = [case.old if old else case.new for case in data.cases]
    asked = questions(data, relations)
    clozes = {hop.cloze: hop.answers for case in data.cases for hop in case.hops}
    sentences = [relations.edit_prompt([e.relation], data.labels[e.head]).text for e in data.edits]
    targets = [(data.labels[e.tail], *data.aliases.get(e.tail, ())) for e in data.edits]
    return Sheet(
        chains={name: _by_case(model, rows, answers) for name, rows in asked.items()},
        clozes=dict(zip(clozes, _right(model, list(clozes), list(clozes.values())), strict=True)),
        written=_right(model, sentences, targets),
    )


def questions(data: MQuake, relations: Relations) -> dict[str, list[list[str]]]:
    """By wording, three prompts for each case."""
    rng = random.Random("held-out frames")
    own = [[relations.frames.answer.replace("{question}", text) for text in case.questions] for case in data.cases]
    framed = [[prompt.text for prompt in rng.sample(_framed(case, data, relations), FRAMES)] for case in data.cases]
    return dict(zip(WORDINGS, (own, framed), strict=True))


def _framed(case: Case, data: MQuake, relations: Relations) -> list[Prompt]:
    return relations.chain_prompts(case.path, data.labels[case.head], "measure", "question")


def _by_case(model: CausalModel, prompts: list[list[str]], answers: list[tuple[str, ...]]) -> list[list[bool]]:
    flat = [prompt for row in prompts for prompt in row]
    right = _right(model, flat, [answer for answer, row in zip(answers, prompts, strict=True) for _ in row])
    found = iter(right)
    return [[next(found) for _ in row] for row in prompts]


def _right(model: CausalModel, prompts: Sequence[str], answers: Sequence[tuple[str, ...]]) -> list[bool]:
    said = generate(model, prompts, max_new_tokens=16, batch_rows=128)
    return [matches(text, wanted) for text, wanted in zip(said, answers, strict=True)]


# --- numbers ---------------------------------------------------------------------------------------------------


def case_metrics(rows: Sequence[list[bool]], kept: Sequence[bool], split: str) -> list[Metric]:
    """Any of a case's questions right (as published), and the mean over its questions, for the cases that count."""
    some = [row for row, keep in zip(rows, kept, strict=True) if keep]
    return [
        proportion("multi-hop, any of three", sum(any(row) for row in some), len(some), split=split),
        mean("multi-hop, mean", [sum(row) / len(row) for row in some], split=split, unit="proportion", better="higher"),
    ]


def hop_metrics(sheet: Sheet, cases: Sequence[Case]) -> list[Metric]:
    """Edit-wise: single facts that are right. Instance-wise: cases all of whose facts are right."""
    whole = sum(all(sheet.clozes[hop.cloze] for hop in case.hops) for case in cases)
    return [
        proportion("edit-wise", sum(sheet.written), len(sheet.written), split="sentence written"),
        proportion("edit-wise", sum(sheet.clozes.values()), len(sheet.clozes), split="data set's cloze"),
        proportion("instance-wise", whole, len(cases), split="data set's cloze"),
    ]


COSTS = {"perplexity": "after", "contextual edits": "result", "writing time": "result"}


def pooled(runs: Sequence[Run], name: str) -> Metric:
    """A share over the questions of all runs, as it was after each."""
    found = [metric for run in runs if (metric := run.find(name, "after")) and metric.value is not None]
    return proportion(name, sum(round(m.n * (m.value or 0.0)) for m in found), sum(m.n for m in found))


def summed(runs: Sequence[Run], name: str, stage: str) -> Metric:
    """A cost of all runs together; perplexity is averaged."""
    values = [metric.value or 0.0 for run in runs if (metric := run.find(name, stage))]
    value = sum(values) / (len(values) if name == "perplexity" else 1)
    return scalar(name, value, unit="s" if name == "writing time" else "", better="lower")


def _original(before: Sheet, data: MQuake) -> dict[str, list[Metric]]:
    everything = [True] * len(data.cases)
    return {name: case_metrics(rows, everything, f"{name}, old answers") for name, rows in before.chains.items()}


class _Page:
    """Collects the rows of all methods."""

    def __init__(self, data: MQuake, known: list[bool]) -> None:
        self.data, self.known = data, known
        self.everything = [True] * len(known)
        self.multi: dict[str, dict[str, list[Cell]]] = {name: {} for name in WORDINGS}
        self.single: dict[str, list[Cell]] = {}
        self.cost: dict[str, list[Cell]] = {}
        self.metrics: list[Metric] = []

    def add(self, method: str, sheet: Sheet, runs: Sequence[Run], written: set[Chain]) -> None:
        """One method's rows."""
        seen = [(case.head, case.path) in written for case in self.data.cases]
        parts = {
            "all": self.everything,
            "chain known": self.known,
            "unseen": [not yes for yes in seen],
            "seen": seen,
        }
        for wording, rows in sheet.chains.items():
            found = [m for part, kept in parts.items() for m in case_metrics(rows, kept, f"{wording}, {part}")]
            self.multi[wording][method] = [*found[:4], found[4], found[6]]
            self._keep(method, found)
        hops = hop_metrics(sheet, self.data.cases)
        self.single[method] = list(hops)
        self._keep(method, hops)
        if runs:
            self._collateral(method, runs)

    def _collateral(self, method: str, runs: Sequence[Run]) -> None:
        shares = [pooled(runs, name) for name in ("specificity (exact)", "untouched (exact)")]
        sums = [summed(runs, name, stage) for name, stage in COSTS.items()]
        self.cost[method] = [*shares, *sums]
        for metric in (*shares, *sums):
            self._keep(method, [metric])

    def _keep(self, method: str, found: Sequence[Metric]) -> None:
        self.metrics += [named for metric in found for named in relabelled(metric, method)]

    def section(self, original: dict[str, list[Metric]], built: Run) -> Section:
        """The page."""
        section = Section(f"MQuAKE, the first {len(self.data.cases)} cases of 4 hops, {GROUP} at a time")
        columns = ["any of three", "mean", "any, chain known", "mean, chain known", "any, unseen", "any, seen"]
        for wording, rows in self.multi.items():
            section.tables += [
                f"**Multi-hop, {wording}**",
                table({"unedited, old answers": _padded(original[wording], 6), **rows}, columns),
            ]
            self._keep("unedited", original[wording])
        section.tables += [
            "**Single facts**",
            table(self.single, ["edit-wise, written", "edit-wise, cloze", "instance-wise"]),
        ]
        columns = ["specificity (exact)", "untouched (exact)", "perplexity, mean", "contextual edits", "seconds"]
        section.tables += ["**What it costs**", table(self.cost, columns)]
        section.metrics = self.metrics
        section.notes = self._notes(built)
        return section

    def _notes(self, built: Run) -> list[str]:
        taught = next((m for m in built.metrics if m.name == "1-hop questions (held-out words)"), None)
        left_out = ", ".join(f"{count} {why}" for why, count in self.data.left_out.items())
        return [
            f"The model is a small Llama built for this benchmark by `upright lab build` on the {len(self.data.facts)} "
            f"facts before the edits, {len(self.data.chains)} kinds of chains, all with their old answers, and facts "
            f"of invented subjects, so that every object, old or new, answers a question somewhere; it answers "
            f"{taught.value:.1%} of single facts in held-out words."
            if taught and taught.value is not None
            else "",
            f"{GROUP} cases are edited together with all the edits they need; then the weights are restored. "
            f"All {len(self.data.edits)} edits at once would replace nearly every fact of this world.",
            "A case counts as published if any of its three questions is answered with the new answer or an alias. "
            "The data set's questions are asked as they stand, in wording this model never saw; held-out words ask "
            "the same chains in forms of the relation file that were neither trained on nor written.",
            f"Chain known: the {sum(self.known)} cases whose original chain the unedited model answers in held-out "
            "words. Seen: the case's own chain was written as a contextual edit; unseen: it was not.",
            f"Left out: {left_out}." if left_out else "",
        ]


def _padded(cells: Sequence[Cell], length: int) -> list[Cell]:
    return [*cells, *[None] * (length - len(cells))]
