"""Mitigations on Adult and German Credit, the bootstrap beside fairlearn's, and recognisers of personal data."""

import time
from collections import Counter
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.harness import Absent, Bench, Cell, Run, Section, finished, relabelled, table
from upright.audit.mitigate import Config, points
from upright.audit.mitigate.config import METHODS, NONE
from upright.audit.mitigate.present import ATTACK
from upright.run.evidence import proportion, scalar
from upright.run.files import read_json
from upright.run.measures.recognise import Found, recognise

COLUMNS = ("accuracy", "balanced accuracy", "equalised-odds difference", "demographic-parity difference", "AUC", ATTACK)
FEMALE = ("A92", "A95")  # codes of German Credit's personal_status
SPANS = {
    "EMAIL_ADDRESS": "e-mail",
    "DOMAIN_NAME": "URL",
    "IBAN_CODE": "IBAN",
    "CREDIT_CARD": "payment card",
    "US_SSN": "national id",
    "IP_ADDRESS": "IP address",
    "DATE_TIME": "date",
    "PHONE_NUMBER": "phone number",
}


def run(bench: Bench) -> Section:
    """Every method on held-out rows of both tables; then the two side measurements."""
    section = Section("Mitigation: accuracy against fairness on held-out rows")
    for name, config in _configs(bench).items():
        found = finished(config, "audit mitigate")
        section.tables += [f"**{name}**", table(_rows(found), COLUMNS)]
        section.notes.append(f"{name}: {found.manifest.wall_seconds:.0f} s, {found.peak_memory()}. {_verdict(found)}")
        section.metrics += [named for metric in found.metrics for named in relabelled(metric, name)]
        if name.startswith("Adult"):
            _bootstraps(section, found)
    try:
        _personal(section, bench.read("private_text/presidio_pii_spans.json"))
    except Absent as missing:
        section.notes.append(f"Recognisers are left out: {missing}.")
    section.notes.append("* reads the group when it decides; f: fairlearn's, the others are ours.")
    return section


def _configs(bench: Bench) -> dict[str, Config]:
    german = _german(bench)
    fast = {"draws": 500, "folds": 2, "methods": ["reweighing", "thresholds-odds"]} if bench.quick else {}
    of_german = {"table": german, "label": "credit", "groups": ["sex"], "seeds": 1 if bench.quick else 3, **fast}
    quick_ones = [name for name in METHODS if METHODS[name].stage != "in"]  # these fit thirty models for one
    found = {
        "German Credit, logistic": Config.model_validate({**of_german, "out": bench.out / "german-logistic"}),
        "German Credit, boosting": Config.model_validate(
            {"methods": quick_ones, **of_german, "out": bench.out / "german-boosting", "model": "boosting"}
        ),
    }
    adult = bench.read("fairness/adult.csv")
    of_adult = {"table": adult, "label": "income-per-year", "positive": ">50K", "groups": ["sex"], "folds": 3, **fast}
    found["Adult, logistic"] = Config.model_validate({**of_adult, "out": bench.out / "adult-logistic"})
    return found


def _german(bench: Bench) -> Path:
    """German Credit with the sex that its personal status holds as a column of its own."""
    frame = pl.read_csv(bench.read("fairness/german.csv"), infer_schema_length=None)
    sex = pl.when(pl.col("personal_status").is_in(FEMALE)).then(pl.lit("female")).otherwise(pl.lit("male"))
    bench.out.mkdir(parents=True, exist_ok=True)
    path = bench.out / "german.csv"
    frame.with_columns(sex=sex).drop("personal_status").write_csv(path)
    return path


def _rows(found: Run) -> dict[str, list[Cell]]:
    rows: dict[str, list[Cell]] = {}
    for name in (NONE, *METHODS):
        metrics = [found.find(column, "result", name) for column in COLUMNS]
        if metrics[0] is not None:
            rows[_title(name)] = list(metrics)
    return rows


def _title(name: str) -> str:
    if name == NONE:
        return "plain model"
    method = METHODS[name]
    return name + ("*" if method.reads_group else "") + (" f" if method.source == "fairlearn" else "")


def _verdict(found: Run) -> str:
    return str(read_json(found.path / "findings.json")["findings"][0]["text"])


# --- the bootstrap ---------------------------------------------------------------------------------------------


def _bootstraps(section: Section, found: Run, draws: int = 20) -> None:
    """Seconds a draw: ours over the cells of all methods, fairlearn's over the rows of one."""
    from fairlearn.metrics import MetricFrame, selection_rate, true_positive_rate

    frames = {path.stem: pl.read_parquet(path).sort("row") for path in sorted(found.path.glob("predictions-*.parquet"))}
    first = next(iter(frames.values()))
    group = np.unique(first["group"].to_numpy(), return_inverse=True)[1]
    label = first["label"].to_numpy()
    said = np.column_stack([frame["prediction"].to_numpy() for frame in frames.values()])
    begin = time.monotonic()
    points.odds_differences(points.drawn(points.tally(group, label, said), 4000, np.random.default_rng(0)))
    ours = (time.monotonic() - begin) / 4000
    begin = time.monotonic()
    MetricFrame(
        metrics={"selection": selection_rate, "tpr": true_positive_rate},
        y_true=label,
        y_pred=said[:, 0],
        sensitive_features=group,
        n_boot=draws,
        ci_quantiles=[0.025, 0.975],
    )
    theirs = (time.monotonic() - begin) / draws
    metrics = [
        scalar("seconds a draw, cells of all methods", ours, n=4000, unit="s", better="lower"),
        scalar("seconds a draw, fairlearn's rows of one method", theirs, n=draws, unit="s", better="lower"),
    ]
    section.metrics += [named for metric in metrics for named in relabelled(metric, "bootstrap")]
    section.notes.append(
        f"A bootstrap draw for {len(frames)} methods on {len(label):,} rows takes {1e3 * ours:.2g} ms over cells; "
        f"fairlearn's MetricFrame takes {1e3 * theirs:.3g} ms over the rows of one method (two metrics, {draws} draws)."
    )


# --- personal data ---------------------------------------------------------------------------------------------


def _personal(section: Section, path: Path) -> None:
    """Precision and recall by kind: a find counts if it overlaps a marked span of its kind."""
    marked, hits, finds, right = Counter[str](), Counter[str](), Counter[str](), Counter[str]()
    documents = read_json(path)
    begin = time.monotonic()
    for document in documents:
        found = recognise(document["full_text"])
        spans = [span for span in document["spans"] if span["entity_type"] in SPANS]
        for span in spans:
            kind = SPANS[span["entity_type"]]
            marked[kind] += 1
            hits[kind] += any(_same(one, span) for one in found)
        for one in found:
            finds[one.kind] += 1
            right[one.kind] += any(_same(one, span) for span in spans)
    seconds = (time.monotonic() - begin) / len(documents)
    rows: dict[str, list[Cell]] = {}
    for kind in SPANS.values():
        pair = [
            proportion("precision", right[kind], finds[kind], split=kind),
            proportion("recall", hits[kind], marked[kind], split=kind),
        ]
        rows[kind] = list(pair)
        section.metrics += pair
    section.tables += [
        "**Recognisers of personal data**, on 1,500 marked sentences",
        table(rows, ["precision", "recall"]),
    ]
    section.notes.append(
        f"Recognisers: {1e6 * seconds:.0f} µs a text. Dates of the set include years and days of the week, "
        "which are not looked for. The rule for phone numbers was revised once after its errors on this set were read."
    )
    section.metrics.append(scalar("seconds a text", seconds, n=len(documents), unit="s", better="lower"))


def _same(found: Found, span: dict[str, object]) -> bool:
    start, end = int(str(span["start_position"])), int(str(span["end_position"]))
    return found.kind == SPANS[str(span["entity_type"])] and found.start < end and start < found.end
