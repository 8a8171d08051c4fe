"""1,000 edits of CounterFact in a lab model that first learned the facts as they were.

Every prompt template of the data set becomes a relation; the model is taught each subject in its own template, in
that of its paraphrase and, for bystanders, in that of the locality prompt, all with their true objects.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import harmonic_mean

from benchmarks.harness import Bench, Cell, Run, Section, finished, lab_recipe, relabelled, table
from upright.editing import Config
from upright.editing.config import AlphaEdit, ContextConfig, MeasureConfig, Memit, Solver, StatsConfig
from upright.editing.edit import Edit
from upright.knowledge.changes import FactChange, write_changes
from upright.lab.config import Build, CheckConfig, Training
from upright.models.causal import CausalModel, load
from upright.models.generate import generate
from upright.models.matching import matches
from upright.models.score import score
from upright.run.evidence import Metric, proportion, scalar
from upright.run.files import write_text

TOKENS = 3_500_000
EDITS = 1000
SOLVERS: dict[str, Solver] = {"memit": Memit(), "alphaedit": AlphaEdit()}
OPENINGS = ("", "It is a known fact. ", "Here is one more entry. ", "This is from the records. ", "Let us look it up. ")
FRAMES = ("{np}", "Note this. {np}", "One thing first. {np}", "So it is written. {np}", "Once again. {np}")
Fact = tuple[str, str]  # subject and template


@dataclass(frozen=True)
class Case:
    """One edit with its paraphrase and its bystander."""

    subject: str
    template: str
    new: str
    old: str
    rephrase: str
    bystander: str
    bystander_answer: str

    @property
    def prompt(self) -> str:
        """The sentence that is written."""
        return self.template.replace("{}", self.subject)


@dataclass(frozen=True)
class CounterFact:
    """What is taught, what is edited, what was left out and why."""

    facts: dict[Fact, str]
    edited: list[Case]
    left_out: dict[str, int]


def read(path: Path, edits: int = EDITS) -> CounterFact:
    """Read the first cases of the published file; of claims that contradict each other the first stands."""
    rows = json.loads(path.read_text(encoding="utf-8"))[:edits]
    cases = [_case(row) for row in rows]
    templates = sorted({case.template for case in cases}, key=lambda form: (-len(form), form))
    claims: list[tuple[Fact | None, str]] = []
    for case in cases:
        claims.append(((case.subject, case.template), case.old))
    for case in cases:
        claims.append((_ending(case.rephrase, case.subject, templates), case.old))
        claims.append((matched(case.bystander, templates), case.bystander_answer))
    facts: dict[Fact, str] = {}
    for fact, answer in claims:
        if fact is not None:
            facts.setdefault(fact, answer)
    edited, doubles = _edits(cases, facts)
    targets = {(case.subject, case.template) for case in edited}
    strangers = [case for case in edited if matched(case.bystander, templates) in targets]
    left_out = {
        "paraphrase or locality prompts that fit no template, so not taught": sum(fact is None for fact, _ in claims),
        "facts that contradict an earlier one": sum(
            fact is not None and facts[fact] != answer for fact, answer in claims
        ),
        "edits that repeat or contradict an earlier one": doubles,
        "edits whose bystander is edited itself": len(strangers),
    }
    kept = [case for case in edited if case not in strangers]
    return CounterFact(facts, kept, {why: count for why, count in left_out.items() if count})


def _case(row: dict[str, str]) -> Case:
    template = row["prompt"].replace(row["subject"], "{}")
    if template.count("{}") != 1:
        raise ValueError(f"{row['prompt']!r} does not hold {row['subject']!r} exactly once")
    return Case(
        subject=row["subject"],
        template=template,
        new=row["target_new"],
        old=row["ground_truth"],
        rephrase=row["rephrase_prompt"],
        bystander=row["locality_prompt"],
        bystander_answer=row["locality_ground_truth"],
    )


def matched(prompt: str, templates: Iterable[str]) -> Fact | None:
    """Subject and template of a prompt: the first template whose fixed words fit and leave a subject.

    >>> matched("The capital of Peru is", ["{} is", "The capital of {} is"]), matched("Peru", ["{} is"])
    (('The capital of Peru', '{} is'), None)
    """
    for template in templates:
        before, after = template.split("{}")
        if prompt.startswith(before) and prompt.endswith(after) and len(prompt) > len(before) + len(after):
            return prompt[len(before) : len(prompt) - len(after)], template
    return None


def _ending(prompt: str, subject: str, templates: Iterable[str]) -> Fact | None:
    """The fact that a paraphrase states after its unrelated opening."""
    fits = (template for template in templates if prompt.endswith(template.replace("{}", subject)))
    return next(((subject, template) for template in fits), None)


def _edits(cases: Sequence[Case], facts: dict[Fact, str]) -> tuple[list[Case], int]:
    """The cases, each subject and template once and true to the graph, and how many were passed over."""
    edited: dict[Fact, Case] = {}
    for case in cases:
        fact = (case.subject, case.template)
        if facts[fact] == case.old:
            edited.setdefault(fact, case)
    return list(edited.values()), len(cases) - len(edited)


def write_world(data: CounterFact, folder: Path) -> Path:
    """Write graph, words and changes as upright reads them; the file of the changes."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = (f"{subject}\t{name_of(template)}\t{answer}\n" for (subject, template), answer in data.facts.items())
    write_text(folder / "facts.tsv", "".join(rows))
    write_text(folder / "relations.toml", words({template for _, template in data.facts}))
    changes = folder / "changes.jsonl"
    named = [(c, name_of(c.template)) for c in data.edited]
    write_changes(
        changes,
        [
            FactChange(subject=c.subject, relation=name, object=c.new, was=c.old, meta={"prompt": c.template})
            for c, name in named
        ],
    )
    return changes


def name_of(template: str) -> str:
    """A relation's name; braces are for forms alone."""
    return template.replace("{}", "_")


def words(templates: Iterable[str]) -> str:
    """A relation file in which every form is the template after some opening."""

    def listed(forms: Iterable[str]) -> str:
        return json.dumps(list(forms), ensure_ascii=False)

    parts = [f'[frames]\nstatements = {listed(FRAMES)}\nquestions = {listed(FRAMES)}\nanswer = "{{question}}"\n']
    for template in sorted(templates):
        forms = listed(opening + template for opening in OPENINGS)
        name = json.dumps(name_of(template), ensure_ascii=False)
        parts.append(f"[relations.{name}]\nnouns = {forms}\nstatements = {forms}\nquestions = {forms}\n")
    return "\n".join(parts)


# --- the benchmark ---------------------------------------------------------------------------------------------

COLUMNS = (
    "efficacy (likelihood)",
    "efficacy (exact)",
    "paraphrase (likelihood)",
    "paraphrase (exact)",
    "locality (likelihood)",
    "locality (exact)",
    "score",
)
COSTS = {"perplexity": "after", "writing time": "result"}


def run(bench: Bench) -> Section:
    """Teach the facts, write the edits with both solvers, ask the data set's own prompts."""
    data = read(bench.read("editing/counterfact_2k.json"), 20 if bench.quick else EDITS)
    here = bench.out / "counterfact"
    changes = write_world(data, here / "world")
    built = finished(_build(bench, here), "lab build")
    model = str(built.path / "model")
    base = load(model, "auto")
    found = {"unedited, old answers": observe(base, data, old=True), "unedited": observe(base, data)}
    costs: dict[str, list[Cell]] = {}
    for name, solver in SOLVERS.items():
        done = finished(_config(bench, here, model, changes, solver), "edit")
        edited = load(model, "auto")
        Edit.load(done.path / "patch.safetensors").apply(edited)
        spent = [done.find(*cost) for cost in COSTS.items()]
        costs[name] = [*spent, done.peak_memory()]
        found[name] = observe(edited, data)
        found[name] |= {metric.name: metric for metric in spent if metric is not None}
    return _section(data, found, costs, built)


def _section(
    data: CounterFact, found: dict[str, dict[str, Metric]], costs: dict[str, list[Cell]], built: Run
) -> Section:
    rows = {method: [*map(metrics.get, COLUMNS), *costs.get(method, [None] * 3)] for method, metrics in found.items()}
    return Section(
        f"CounterFact, {len(data.edited):,} edits at once",
        tables=[table(rows, [*COLUMNS, "perplexity", "seconds", "peak memory"])],
        notes=_notes(data, built),
        metrics=[m for method, metrics in found.items() for one in metrics.values() for m in relabelled(one, method)],
    )


def _build(bench: Bench, here: Path) -> Build:
    return Build(
        kg=[str(here / "world")],
        recipe=lab_recipe(),
        train=Training(tokens=120_000 if bench.quick else TOKENS),
        check=CheckConfig(facts=50, texts=10) if bench.quick else CheckConfig(),
        out=here / "model",
    )


def _config(bench: Bench, here: Path, model: str, changes: Path, solver: Solver) -> Config:
    """The facts alone: the data set has no graph beyond them. Its own prompts measure, so the run asks few."""
    return Config(
        model=model,
        kg=[str(here / "world")],
        facts=changes,
        solver=solver,
        stats=StatsConfig(sequences=200) if bench.quick else StatsConfig(),
        context=ContextConfig(hops=0),
        measure=MeasureConfig(facts=20, untouched=50, chains=1, texts=10 if bench.quick else 100),
        out=here / solver.type,
    )


def observe(model: CausalModel, data: CounterFact, old: bool = False) -> dict[str, Metric]:
    """Every measure by name; with `old`, the share of old answers instead (exact only, of prompt and paraphrase)."""
    cases = data.edited
    asked = {
        "efficacy": ([c.prompt for c in cases], [c.new for c in cases], [c.old for c in cases]),
        "paraphrase": ([c.rephrase for c in cases], [c.new for c in cases], [c.old for c in cases]),
        "locality": ([c.bystander for c in cases], [c.bystander_answer for c in cases], [c.new for c in cases]),
    }
    if old:
        return {
            f"{name} (exact)": _exact(model, f"{name} (exact)", prompts, before)
            for name, (prompts, _, before) in asked.items()
            if name != "locality"
        }
    found = {}
    for name, (prompts, wanted, rivals) in asked.items():
        found[f"{name} (exact)"] = _exact(model, f"{name} (exact)", prompts, wanted)
        found[f"{name} (likelihood)"] = _likelier(model, f"{name} (likelihood)", prompts, wanted, rivals)
    shares = [metric.value or 0.0 for name, metric in found.items() if name.endswith("(likelihood)")]
    return found | {"score": scalar("score", harmonic_mean(shares), unit="proportion", better="higher")}


def _exact(model: CausalModel, name: str, prompts: Sequence[str], answers: Sequence[str]) -> Metric:
    said = generate(model, prompts, max_new_tokens=16, batch_rows=128)
    return proportion(name, sum(matches(text, [a]) for text, a in zip(said, answers, strict=True)), len(prompts))


def _likelier(
    model: CausalModel, name: str, prompts: Sequence[str], wanted: Sequence[str], rivals: Sequence[str]
) -> Metric:
    """Share of prompts after which `wanted` has the smaller mean negative log-likelihood a token; a tie is a miss.

    Where a bystander's answer is the edit's new object, nothing can be compared and the prompt does not count.
    """
    rows = [row for row in zip(prompts, wanted, rivals, strict=True) if row[1] != row[2]]
    texts, ours, theirs = ([row[i] for row in rows] for i in range(3))
    scores = score(model, [*texts, *texts], [*ours, *theirs], batch_rows=128)
    first, second = scores[: len(rows)], scores[len(rows) :]
    return proportion(name, sum(a.nll_mean < b.nll_mean for a, b in zip(first, second, strict=True)), len(rows))


def _notes(data: CounterFact, built: Run) -> list[str]:
    taught = built.find("1-hop questions (taught words)", "result")
    known = f"; it says {taught.value:.1%} of them" if taught and taught.value is not None else ""
    left_out = ", ".join(f"{count} {why}" for why, count in data.left_out.items())
    notes = [
        f"The model is a small Llama built for this benchmark by `upright lab build` on {len(data.facts):,} facts "
        f"before the edits, each in its own template after changing openings{known}. Paraphrases are asked as they "
        "stand, with the data set's unrelated opening, which the model never saw; their template it knows.",
        "Likelihood: the new object (locality: the bystander's own) is likelier than the other one. Exact: it is the "
        "greedy answer. Score: harmonic mean of the three likelihood shares.",
    ]
    return [*notes, f"Left out: {left_out}."] if left_out else notes
