"""Four solvers x 10, 100 and 1,000 invented changes of the lab's atlas, the facts alone and with their context."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product

from benchmarks.harness import FIGURES, Bench, Cell, Run, Section, finished, relabelled, table, write_figure
from upright.editing import Config
from upright.editing.config import AlphaEdit, ContextConfig, Emmet, Finetune, MeasureConfig, Memit, Solver, StatsConfig
from upright.run.evidence import Metric
from upright.run.plots import Point, lines

SOLVERS: dict[str, Solver] = {
    "memit": Memit(),
    "alphaedit": AlphaEdit(),
    "emmet": Emmet(),
    "finetune": Finetune(),
    "memit, once": Memit(retries=0, lambda_=1000),
}
WORLD = "lab:atlas"

METHODS = {"{}": "result", "{} + K-Edit": "after"}
"""Rows of a run: its first round is the solver alone."""
SMALL = 100
"""Up to so many edits every solver is shown with context, beyond only the first."""
SHOWN = ("memit", "alphaedit", "finetune")
"""Solvers in the figures, which hold six curves."""

SCORES = {
    "efficacy (likelihood)": ("efficacy (likelihood)", "rewrite"),
    "efficacy (exact)": ("efficacy (exact)", "rewrite"),
    "paraphrase (likelihood)": ("paraphrase (likelihood)", "all"),
    "paraphrase (exact)": ("paraphrase (exact)", "all"),
    "specificity (likelihood)": ("specificity (likelihood)", "neighbourhood"),
    "specificity (exact)": ("specificity (exact)", "neighbourhood"),
    "untouched (exact)": ("untouched (exact)", "facts"),
    "perplexity": ("perplexity", "plain text"),
    "fluency": ("fluency", "about subjects"),
}
DRAWN = {
    "efficacy": "rewrite",
    "paraphrase": "all",
    "multi-hop": "all",
    "specificity": "neighbourhood",
    "untouched": "facts",
}


@dataclass(frozen=True)
class Trial:
    """One run of the grid."""

    solver: str
    edits: int

    @property
    def has_context(self) -> bool:
        """Whether consequences are written in a second round."""
        return self.edits <= SMALL or self.solver == next(iter(SOLVERS))

    @property
    def rows(self) -> dict[str, str]:
        """The stage of its run by method."""
        stages = METHODS if self.has_context else {"{}": "after"}
        return {method.format(self.solver): stage for method, stage in stages.items()}

    def config(self, bench: Bench) -> Config:
        """Its settings: the model's own recipe for every solver."""
        return Config(
            model=bench.model,
            kg=[WORLD],
            counterfactuals=self.edits,
            solver=SOLVERS[self.solver],
            stats=StatsConfig(sequences=200) if bench.quick else StatsConfig(),
            context=ContextConfig(hops=2 if self.has_context else 0),
            measure=MeasureConfig(facts=20, untouched=50, chains=50, texts=10) if bench.quick else MeasureConfig(),
            out=bench.out / "tables" / f"{self.solver.replace(', ', '-')}-{self.edits}",
        )


def run(bench: Bench) -> Section:
    """Run the grid and put it into tables, one set for each number of edits."""
    sizes = (4,) if bench.quick else (10, 100, 1000)
    trials = [Trial(*choice) for choice in product(SOLVERS, sizes)]
    runs = {trial: finished(trial.config(bench), "edit") for trial in trials}
    section = Section("Every solver, with and without context")
    for size in sizes:
        section.tables += _tables(size, {trial: run for trial, run in runs.items() if trial.edits == size})
    section.metrics = [m for trial, run in runs.items() for m in _named(trial, run)]
    section.notes = [
        f"Model {bench.model}, invented changes of {WORLD}; every method writes the same facts and answers the same "
        "questions, before as after for the new answers. K-Edit goes on from the solver's own edit in the row above.",
        "Exact: the greedy answer is the object or an alias. Likelihood: the object is likelier than the one it "
        "replaces (for specificity: than the new object of the edit). Paraphrase, untouched and multi-hop questions "
        "are in words that were neither trained on nor written.",
        "K-Edit: chains of up to 2 facts through each edit are written after the facts, so the chains of the 2-hop "
        "questions were themselves written (in other words than they are asked in), those of 3-hop questions were not.",
        f"Beyond {SMALL} edits only {next(iter(SOLVERS))} is shown with K-Edit.",
        "Seconds are of the writing alone, key statistics included; memory is of the whole process. "
        "“memit, once” is the published method, which solves each fact once, with the weight of the key statistics "
        "that suits it best at 100 edits; the other closed-form rows solve again what the model does not say.",
    ]
    section.notes += _figures(bench, runs)
    return section


def _tables(size: int, runs: dict[Trial, Run]) -> list[str]:
    first = next(iter(runs.values()))
    splits = sorted({m.split for m in first.metrics if m.name == "multi-hop (exact)" and m.stage == "after"})
    hops = {f"{split} (exact)": ("multi-hop (exact)", split) for split in splits}
    hops["all (likelihood)"] = ("multi-hop (likelihood)", "all")
    titled = f"{size:,} edits"
    cost = {method: row for trial, run in runs.items() for method, row in _cost(trial, run).items()}
    return [
        f"**{titled}: the facts and what must not change**",
        table(_rows(runs, first, SCORES), list(SCORES)),
        f"**{titled}: multi-hop questions**",
        table(_rows(runs, first, hops), list(hops)),
        f"**{titled}: cost**",
        table(cost, ["written", "seconds", "peak memory"]),
    ]


def _rows(runs: dict[Trial, Run], first: Run, wanted: Mapping[str, tuple[str, str]]) -> dict[str, list[Cell]]:
    rows: dict[str, list[Cell]] = {"unedited": [first.find(name, "before", split) for name, split in wanted.values()]}
    for trial, run in runs.items():
        for method, stage in trial.rows.items():
            rows[method] = [_after(run, stage, *measure) for measure in wanted.values()]
    return rows


def _after(run: Run, stage: str, name: str, split: str) -> Metric | None:
    """A number after the facts alone, or after their context."""
    return run.find(name, stage, f"{split}, after facts" if stage == "result" else split)


def _cost(trial: Trial, run: Run) -> dict[str, list[Cell]]:
    facts, extra = run.find("facts asked", "result"), run.find("contextual edits", "result")
    alone, whole = run.find("writing time", "result", "facts"), run.find("writing time", "result", "all")
    assert facts is not None
    assert extra is not None
    counts = int(facts.value or 0), int((facts.value or 0) + (extra.value or 0))
    rows = zip(trial.rows, counts, (alone, whole), strict=False)  # one row where there is no context
    return {method: [f"{n:,}", time, run.peak_memory()] for method, n, time in rows}


def _named(trial: Trial, run: Run) -> list[Metric]:
    kept = [m for m in run.metrics if m.stage != "before"]
    return [named for metric in kept for named in relabelled(metric, f"{trial.solver}, {trial.edits} edits")]


def _figures(bench: Bench, runs: dict[Trial, Run]) -> list[str]:
    """One curve over the number of edits for each method; only real runs are kept with the documentation."""
    folder = bench.out / "figures" if bench.quick else FIGURES
    names = []
    for measure, split in DRAWN.items():
        series: dict[str, list[Point]] = {}
        for trial, run in runs.items():
            for method, stage in trial.rows.items() if trial.solver in SHOWN else ():
                found = _after(run, stage, f"{measure} (exact)", split)
                if found is not None and found.value is not None:
                    point = Point(trial.edits, found.value, found.ci_low, found.ci_high)
                    series.setdefault(method, []).append(point)
        if series:
            title = f"{measure}: exact answers"
            alt = f"Share of exact answers ({measure}) by number of edits, for each method."
            plot = lines(series, x="edits", y=title, alt=alt, unit="proportion", log_x=True)
            names.append(write_figure(f"edit-{measure}", plot, folder).name)
    return [f"Figures ({', '.join(SHOWN)}): {', '.join(names)}."] if names else []
