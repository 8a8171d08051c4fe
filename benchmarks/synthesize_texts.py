"""Section texts of MTS-Dialog: classifiers trained on synthetic texts at ε = 8, beside the control and real texts.

Three seeds, so three splits; intervals are over test records of one seed, the spread over seeds stands beside them.
"""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.english_base import base
from benchmarks.harness import Bench, Cell, Run, Section, finished, relabelled, table
from upright.run.evidence import Metric
from upright.synthesis import Config
from upright.synthesis.codes import Codes
from upright.synthesis.config import CodeConfig, EvaluationConfig, SamplingConfig, SplitConfig, TuneConfig
from upright.synthesis.corpus import Corpus
from upright.synthesis.evaluate import arms_of
from upright.synthesis.evaluation.part import ALL, ALL_CONTROL
from upright.synthesis.evaluation.utility import utility_part
from upright.synthesis.generators.base import load_base
from upright.synthesis.generators.tuned import Tuned
from upright.synthesis.reading import read
from upright.synthesis.shares import drawn, uniform_shares
from upright.synthesis.split import split

SOURCE = "private_text/mts_dialog_train.csv"
COLUMN = "section_header"
NAMES = {
    "FAM/SOCHX": "family and social history",
    "GENHX": "history of present illness",
    "PASTMEDICALHX": "past medical history",
    "CC": "chief complaint",
    "PASTSURGICAL": "past surgical history",
    "ALLERGY": "allergies",
    "ROS": "review of systems",
    "MEDICATIONS": "medications",
    "ASSESSMENT": "assessment",
    "EXAM": "physical examination",
    "DIAGNOSIS": "diagnosis",
    "DISPOSITION": "disposition",
    "PLAN": "plan",
    "EDCOURSE": "emergency department course",
    "IMMUNIZATIONS": "immunizations",
    "IMAGING": "imaging",
    "GYNHX": "gynecologic history",
    "PROCEDURES": "procedures",
    "OTHER_HISTORY": "other history",
    "LABS": "laboratory results",
}
SEEDS = 3
UNTUNED, LONGER = "base, not tuned", "control that learnt longer"
SCORE, KEPT = f"{COLUMN}: macro-F1", f"{COLUMN}: share of the control's macro-F1 kept"


def run(bench: Bench) -> Section:
    """Tune, write and judge for every seed."""
    section = Section("Section texts of MTS-Dialog")
    records, model = _records(bench), base(bench)
    runs = [finished(_config(bench, records, model, seed), "synthesize") for seed in range(1 if bench.quick else SEEDS)]
    rows: dict[str, list[Cell]] = {}
    for side in (ALL, ALL_CONTROL, "synthetic", "control", "held-out", "train", "majority class"):
        scores = [one.find(SCORE, "result", side) for one in runs]
        rows[side] = [*scores, _spread(scores)]
        section.metrics += [m for seed, score in enumerate(scores) for m in relabelled(score, f"seed {seed}")]
    floors = [_untuned(_config(bench, records, model, seed)) for seed in range(len(runs))]
    rows[UNTUNED] = [*floors, _spread(floors)]
    section.metrics += [m for seed, floor in enumerate(floors) for m in relabelled(floor, f"seed {seed}, {UNTUNED}")]
    longer = [finished(_longer(_config(bench, records, model, seed)), "synthesize") for seed in range(len(runs))]
    best = [one.find(SCORE, "result", ALL) for one in longer]
    rows[LONGER] = [*best, _spread(best)]
    section.metrics += [m for seed, score in enumerate(best) for m in relabelled(score, f"seed {seed}, {LONGER}")]
    kept = [one.find(KEPT, "result") for one in runs]
    rows["share of the control's kept"] = [*kept, _spread(kept)]
    section.metrics += [m for seed, share in enumerate(kept) for m in relabelled(share, f"seed {seed}")]
    section.tables.append(table(rows, [*(f"macro-F1, seed {seed}" for seed in range(len(runs))), "mean (range)"]))
    section.notes.append(_how(runs))
    return section


def _longer(config: Config) -> Config:
    """Without privacy, three times as long and in batches of 128: what the records hold for this model."""
    tune = config.tune.model_copy(update={"epochs": 3 * config.tune.epochs, "batch": 128})
    alone = config.evaluation.model_copy(update={"closeness": False, "leakage": False, "coreference": False})
    assert config.out is not None
    out = config.out.with_name(f"{config.out.name}-longer")
    more = {"epsilon": math.inf, "control": "none", "tune": tune, "evaluation": alone, "out": out}
    return config.model_copy(update=more)


def _untuned(config: Config) -> Metric:
    """The classifier that learns from what the base writes before it has read a record: what privacy must beat."""
    corpus = read(config)
    parts, codes = split(corpus, config.split, config.seed), Codes.of(corpus, config.codes)
    base_model = load_base(config.model, config.speed, "full")
    even = uniform_shares(len(codes.combinations))
    wanted = drawn(codes.combinations, even, config.records, config.seed)
    drafts = Tuned(base_model, codes, config.sampling, None, even, rows=64).write(wanted, range(len(wanted)))
    written = Corpus(corpus.columns, [draft.text for draft in drafts], wanted)
    arms = arms_of(config, parts, written, None, config.seed)
    found = {m.split: m for m in utility_part(arms, config.evaluation.resamples).metrics if m.name == SCORE}
    return found.get(ALL, found["synthetic"])


def _how(runs: list[Run]) -> str:
    epsilon = runs[0].find("epsilon", "result")
    assert epsilon is not None
    return (
        f"ε = {epsilon.value:.2f} for {epsilon.n:,} records of seed 0; the base read public books, notes of invented "
        "patients and played visits (ACI-Bench), no record of this set. `all` are 1,000 texts, as are those of the "
        "base and of the control that learnt longer; `train` are all real texts that were learnt from; other sides "
        "are cut to the number of held-out ones. Half of the texts are spread evenly over the sections, and sampling "
        "is guided; both settings, rank, steps and learning rate were chosen on the split of seed 0."
    )


def _spread(metrics: Sequence[Metric | None]) -> str:
    values = [metric.value for metric in metrics if metric is not None and metric.value is not None]
    if not values:
        return "–"
    return f"{np.mean(values):.3f} ({min(values):.3f}–{max(values):.3f})"


def _records(bench: Bench) -> Path:
    """The texts that are not empty, with public names of the sections."""
    path = bench.out / "sections.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    frame = pl.read_csv(bench.read(SOURCE)).select(COLUMN, pl.col("section_text").alias("text"))
    frame.filter(pl.col("text").str.strip_chars() != "").write_parquet(path)
    return path


def _config(bench: Bench, records: Path, model: Path, seed: int) -> Config:
    return Config(
        data=records,
        labels=[COLUMN],
        model=str(model),
        records=100 if bench.quick else 1000,
        codes=CodeConfig(
            names={COLUMN: {name: words.capitalize() for name, words in NAMES.items()}},
            values={COLUMN: list(NAMES)},
            template=f"{{{COLUMN}}}:",
            balance=0.5,
        ),
        split=SplitConfig(test=0.2, heldout=0.2),
        tune=TuneConfig(epochs=1 if bench.quick else 25, batch=2000, rank=4, learning_rate=5e-3, tokens=64),
        sampling=SamplingConfig(tokens=64, guidance=2.0),
        evaluation=EvaluationConfig(canaries=0),
        seed=seed,
        out=bench.out / f"sections-{seed}",
    )
