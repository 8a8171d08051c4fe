"""Four solvers x 10, 100 and 1,000 invented changes of the lab's atlas, the facts alone and with their context."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product

from benchmarks.harness import FIGURES, Bench, Cell, Run, Section, finished, relabelled, table, write_figure
from upright.editing import Config
from upright.editing.config import AlphaEdit, ContextConfig, Emmet, Finetune, MeasureConfig, Memit, Solver, StatsConfig
from upright.run.evidence import Metric
from upright.run.plots import Point, lines

SOLVERS: dict[str, Solver] = {"memit": Memit(), "alphaedit": AlphaEdit(), "emmet": Emmet(), "finetune": Finetune()}
HOPS = (0, 2)
WORLD = "lab:atlas"

SCORES = {
    "efficacy (likelihood)": ("efficacy (likelihood)", None),
    "efficacy (exact)": ("efficacy (exact)", None),
    "paraphrase (likelihood)": ("paraphrase (likelihood)", "all"),
    "paraphrase (exact)": ("paraphrase (exact)", "all"),
    "specificity (likelihood)": ("specificity (likelihood)", None),
    "specificity (exact)": ("specificity (exact)", None),
    "untouched (exact)": ("untouched (exact)", None),
    "perplexity": ("perplexity", None),
    "fluency": ("fluency", None),
}
DRAWN = {"efficacy": None, "paraphrase": "all", "multi-hop": "all", "specificity": None, "untouched": None}


@dataclass(frozen=True)
class Trial:
    """One run of the grid."""

    solver: str
    edits: int
    hops: int

    @property
    def method(self) -> str:
        """What the tables call it."""
        return f"{self.solver} + K-Edit" if self.hops else self.solver

    def config(self, bench: Bench) -> Config:
        """Its settings: the model's own recipe for every solver."""
        return Config(
            model=bench.model,
            kg=[WORLD],
            counterfactuals=self.edits,
            solver=SOLVERS[self.solver],
            stats=StatsConfig(sequences=200) if bench.quick else StatsConfig(),
            context=ContextConfig(hops=self.hops),
            measure=MeasureConfig(facts=20, untouched=50, chains=50, texts=10) if bench.quick else MeasureConfig(),
            out=bench.out / "tables" / f"{self.solver}-{self.edits}-hops{self.hops}",
        )


def run(bench: Bench) -> Section:
    """Run the grid and put it into tables, one set for each number of edits."""
    sizes = (4,) if bench.quick else (10, 100, 1000)
    trials = [Trial(*choice) for choice in product(SOLVERS, sizes, HOPS)]
    runs = {trial: finished(trial.config(bench), "edit") for trial in trials}
    section = Section("Every solver, with and without context")
    for size in sizes:
        section.tables += _tables(size, {trial: run for trial, run in runs.items() if trial.edits == size})
    section.metrics = [m for trial, run in runs.items() for m in _named(trial, run)]
    section.notes = [
        f"Model {bench.model}, invented changes of {WORLD}; every method writes the same facts and answers the same "
        "questions. In the row “unedited”, exact counts the old answers of facts and chains that change, likelihood "
        "how often the new object is likelier even before the edit.",
        "Exact: the greedy answer is the object or an alias. Likelihood: the object is likelier than the one it "
        "replaces (for specificity: than the new object of the edit). Paraphrase, untouched and multi-hop questions "
        "are in words that were neither trained on nor written.",
        "K-Edit: chains of up to 2 facts through each edit are written after the facts, so the chains of the 2-hop "
        "questions were themselves written (in other words than they are asked in), those of 3-hop questions were not.",
        "Seconds and edits per second "
        "are of the writing alone, statistics included when they were not cached; memory is of the whole process.",
    ]
    section.notes += _figures(bench, runs)
    return section


def _tables(size: int, runs: dict[Trial, Run]) -> list[str]:
    first = next(iter(runs.values()))
    splits = sorted({m.split for m in first.metrics if m.name == "multi-hop (exact)" and m.stage == "after"})
    hops = {f"{split} (exact)": ("multi-hop (exact)", split) for split in splits}
    hops["all (likelihood)"] = ("multi-hop (likelihood)", "all")
    titled = f"{size:,} edits"
    return [
        f"**{titled}: the facts and what must not change**",
        table(_rows(runs, first, SCORES), list(SCORES)),
        f"**{titled}: multi-hop questions**",
        table(_rows(runs, first, hops), list(hops)),
        f"**{titled}: cost**",
        table({t.method: _cost(r) for t, r in runs.items()}, ["written", "seconds", "edits per second", "peak memory"]),
    ]


def _rows(runs: dict[Trial, Run], first: Run, wanted: Mapping[str, tuple[str, str | None]]) -> dict[str, list[Cell]]:
    rows: dict[str, list[Cell]] = {"unedited": [first.find(name, "before", split) for name, split in wanted.values()]}
    for trial, run in runs.items():
        rows[trial.method] = [run.find(name, "after", split) for name, split in wanted.values()]
    return rows


def _cost(run: Run) -> list[Cell]:
    asked, extra = run.find("facts asked", "result"), run.find("contextual edits", "result")
    written = sum(int(metric.value or 0) for metric in (asked, extra) if metric)
    return [
        f"{written:,}",
        run.find("writing time", "result"),
        run.find("edits per second", "result"),
        run.peak_memory(),
    ]


def _named(trial: Trial, run: Run) -> list[Metric]:
    label = f"{trial.method}, {trial.edits} edits"
    kept = [m for m in run.metrics if m.stage == "after" or m.name in ("writing time", "edits per second")]
    return [named for metric in kept for named in relabelled(metric, label)]


def _figures(bench: Bench, runs: dict[Trial, Run]) -> list[str]:
    """One curve over the number of edits for each method; only real runs are kept with the documentation."""
    folder = bench.out / "figures" if bench.quick else FIGURES
    names = []
    for measure, split in DRAWN.items():
        series: dict[str, list[Point]] = {}
        for trial, run in runs.items():
            found = run.find(f"{measure} (exact)", "after", split)
            if trial.solver != "emmet" and found is not None and found.value is not None:
                point = Point(trial.edits, found.value, found.ci_low, found.ci_high)
                series.setdefault(trial.method, []).append(point)
        if series:
            title = f"{measure}: exact answers"
            alt = f"Share of exact answers ({measure}) by number of edits, for each method."
            plot = lines(series, x="edits", y=title, alt=alt, unit="proportion", log_x=True)
            names.append(write_figure(f"edit-{measure}", plot, folder).name)
    return [f"Figures (EMMET left out): {', '.join(names)}."] if names else []
