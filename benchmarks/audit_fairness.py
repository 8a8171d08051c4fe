"""Group measures beside fairlearn's: agreement, time, memory of a streamed table, and coverage of the intervals."""

import multiprocessing
import resource
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory

import fairlearn.metrics as fl
import numpy as np
import polars as pl
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, precision_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from benchmarks.harness import Absent, Bench, Cell, Section, relabelled, table
from upright.audit.fairness import counts as c
from upright.audit.fairness import inequality, intersections, reading
from upright.audit.fairness.config import Config
from upright.audit.fairness.decisions import Grouping, decision_metrics
from upright.audit.fairness.resample import bootstrap, simultaneous_odds
from upright.run.evidence import Metric, proportion, scalar
from upright.run.measures import rates

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
PEERS: dict[str, Callable[..., float]] = {
    "selection rate": fl.selection_rate,
    "true positive rate": fl.true_positive_rate,
    "false positive rate": fl.false_positive_rate,
    "false negative rate": fl.false_negative_rate,
    "true negative rate": fl.true_negative_rate,
    "positive predictive value": precision_score,
    "accuracy": accuracy_score,
}
HALF = 0.5  # AIF360 adds half a record to each of two outcomes where the paper and we add one
Data = tuple[Ints, Ints, NDArray[np.str_]]


def run(bench: Bench) -> Section:
    """All four questions; tables that are absent are left out of the first with one line."""
    section = Section("Group fairness beside fairlearn")
    _agreement(bench, section)
    _beside_aif360(bench, section)
    _speed(bench, section)
    _streamed(bench, section)
    _coverage(bench, section)
    return section


# --- agreement -------------------------------------------------------------------------------------------------


def _agreement(bench: Bench, section: Section) -> None:
    rows: dict[str, list[Cell]] = {}
    for name, (y, said, g) in _tables(bench, section):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # fairlearn's of groups that are never selected
            worst, compared = _apart(y, said, g)
        found = scalar("largest difference to fairlearn", worst, n=compared, better="lower")
        section.metrics += relabelled(found, name)
        rows[name] = [f"{len(y):,}", f"{len(set(g))}", f"{compared}", f"{worst:.1e}"]
    section.tables.append(table(rows, ["records", "groups", "numbers compared", "largest difference"]))


def _tables(bench: Bench, section: Section) -> Iterator[tuple[str, Data]]:
    rng = np.random.default_rng(0)
    for groups in (2, 5, 40):
        yield f"random, {groups} groups", random_data(rng, 20_000, groups)
    for name, read in (("adult", _adult), ("german", _german)):
        try:
            yield from read(bench)
        except Absent as missing:
            section.notes.append(f"{name} is left out: it {missing}.")


def random_data(rng: np.random.Generator, n: int, groups: int) -> Data:
    """Labels, decisions and groups, all related."""
    g = rng.integers(0, groups, n)
    y = (rng.random(n) < 0.3 + 0.3 * g / groups).astype(np.int64)
    said = (rng.random(n) < 0.2 + 0.4 * y + 0.1 * g / groups).astype(np.int64)
    return y, said, g.astype(str)


def _adult(bench: Bench) -> Iterator[tuple[str, Data]]:
    frame = pl.read_csv(bench.read("fairness/adult.csv"))
    y = frame["income-per-year"].str.strip_chars().str.starts_with(">50K").to_numpy().astype(np.int64)
    x = frame.select("workclass", "education", "marital-status", "occupation", "relationship").to_numpy()
    yield from _decided("adult", x, y, {name: frame[name].to_numpy().astype(str) for name in ("sex", "race")})


def _german(bench: Bench) -> Iterator[tuple[str, Data]]:
    frame = pl.read_csv(bench.read("fairness/german.csv"))
    y = (frame["credit"] == 1).to_numpy().astype(np.int64)
    x = frame.select("status", "credit_history", "purpose", "savings", "employment").to_numpy()
    groups = {"sex": np.where(frame["personal_status"].is_in(["A92", "A95"]).to_numpy(), "f", "m")}
    yield from _decided("german", x, y, groups)


def _decided(name: str, x: Ints, y: Ints, groups: Mapping[str, NDArray[np.str_]]) -> Iterator[tuple[str, Data]]:
    """Decisions of a logistic regression trained on every other row."""
    model = make_pipeline(OneHotEncoder(handle_unknown="ignore"), LogisticRegression(max_iter=500))
    said = model.fit(x[::2], y[::2]).predict(x)
    for column, g in groups.items():
        yield f"{name} by {column}", (y, said, g)


def _apart(y: Ints, said: Ints, g: NDArray[np.str_]) -> tuple[float, int]:
    """Largest difference to fairlearn over rates, differences, ratios and named metrics; how many were compared."""
    cells = rates.count(y, said, g).cells
    m = dict(zip(rates.NAMES, rates.rates(cells), strict=True))
    frame = fl.MetricFrame(metrics=PEERS, y_true=y, y_pred=said, sensitive_features=g)
    apart: list[float] = []
    for name in PEERS:
        fine = ~np.isnan(m[name])  # where nothing is below the line, fairlearn says 0
        apart += np.abs(m[name] - frame.by_group[name].to_numpy(float))[fine].tolist()
        if fine.all():
            apart.append(abs(float(rates.difference(m[name])) - float(frame.difference()[name])))
            apart.append(abs(float(rates.ratio(m[name])) - float(frame.ratio()[name])))
    odds = rates.equalised_odds(cells)
    named = {
        fl.demographic_parity_difference: rates.difference(m["selection rate"]),
        fl.demographic_parity_ratio: rates.ratio(m["selection rate"]),
        fl.equalized_odds_difference: odds.larger,
        fl.equal_opportunity_difference: rates.difference(m["true positive rate"]),
    }
    apart += [abs(float(peer(y, said, sensitive_features=g)) - float(own)) for peer, own in named.items()]
    mean = fl.equalized_odds_difference(y, said, sensitive_features=g, agg="mean")
    return max([*apart, abs(float(mean) - float(odds.average))]), len(apart) + 1


def _beside_aif360(bench: Bench, section: Section) -> None:
    """What fairlearn lacks and AIF360 has (its consistency counts a record among its own neighbours: left out)."""
    try:
        aif = import_module("aif360.sklearn.metrics")
    except ImportError:
        section.notes.append("AIF360 is left out: it is not installed (pip install aif360).")
        return
    rows: dict[str, list[Cell]] = {}
    heads: list[str] = []
    for name, (y, said, g) in _tables(bench, section):
        cells = rates.count(y, said, g).cells
        weights, benefit = inequality.benefit_weights(cells), said - y + 1.0
        odds = rates.equalised_odds(cells)
        first = {"prot_attr": g, "priv_group": sorted(set(g))[0]}
        pairs = {
            "differential fairness": (
                intersections.differential_fairness(cells.sum(-2), HALF),
                aif.smoothed_edf(y, said, prot_attr=g),
            ),
            "bias amplification": (
                intersections.bias_amplification(cells, HALF),
                aif.df_bias_amplification(y, said, prot_attr=g),
            ),
            "generalised entropy": (inequality.generalised_entropy(benefit), aif.generalized_entropy_error(y, said)),
            "between groups": (
                inequality.split(inequality.BENEFIT, weights)[0],
                aif.between_group_generalized_entropy_error(y, said, prot_attr=g),
            ),
            "Theil": (inequality.theil(benefit), aif.theil_index(benefit)),
            "variation": (inequality.variation(benefit), aif.coefficient_of_variation(benefit)),
        }
        if len(cells) == 2:
            pairs["average odds"] = (odds.average, aif.average_odds_error(y, said, **first))
            pairs["signed odds"] = (odds.signed, aif.average_odds_difference(y, said, **first))
        rows[name] = [f"{abs(float(own) - float(peer)):.1e}" for own, peer in pairs.values()]
        rows[name] += ["–"] * (8 - len(pairs))
        heads = max(heads, [*pairs], key=len)
    section.tables += ["**Beside AIF360: largest difference**", table(rows, heads)]


# --- time ------------------------------------------------------------------------------------------------------


def _speed(bench: Bench, section: Section) -> None:
    n = 20_000 if bench.quick else 1_000_000
    path = _made(bench, n)
    config = Config(table=path, groups=["a", "b"], label="y", prediction="said")
    times: dict[str, float] = {}
    data = pl.read_parquet(path)
    ways: dict[str, Callable[[], list[Metric]]] = {
        "from Parquet": lambda: _of_file(config),
        "from arrays": lambda: _of_arrays(config, data),
    }
    for name, way in ways.items():
        way()  # the first pass also loads code
        begin = time.perf_counter()
        found = way()
        times[name] = time.perf_counter() - begin
    few = min(n, 100_000)
    peer = _fairlearn(data.head(few), 2 if bench.quick else 5) * n / few
    label = f"{n:,} records, 40 crossings"
    rows: dict[str, list[Cell]] = {
        f"upright, {name}": [scalar("s", seconds, unit="s"), f"{len(found):,}", f"{peer / seconds:,.0f} ×"]
        for name, seconds in times.items()
    }
    rows["fairlearn MetricFrame, n_boot=100"] = [scalar("s", peer, unit="s"), "seven rates", "1 ×"]
    section.tables.append(f"**{label}**\n\n" + table(rows, ["time", "numbers with intervals", "faster"]))
    for name, seconds in {**times, "fairlearn": peer}.items():
        section.metrics += relabelled(scalar("seconds", seconds, unit="s", better="lower"), f"{label}, {name}")
    section.notes.append(
        f"fairlearn: seven rates of {few:,} records, timed with few resamples and with none, extrapolated to 100 "
        f"resamples and {n:,} records. Ours: 2,000 bootstrap tables, permutation p-values and exact intervals besides."
    )


def _of_file(config: Config) -> list[Metric]:
    found = reading.count(config.table, config)
    return _measured(c.table(found, ("a", "b"), ["0", "1"]), config)


def _of_arrays(config: Config, data: pl.DataFrame) -> list[Metric]:
    crossing = data["a"].to_numpy().astype(np.int64) * 5 + data["b"].to_numpy().astype(np.int64)
    counted = rates.count(data["y"].to_numpy(), data["said"].to_numpy(), crossing)
    cells = counted.cells[:, None]
    values = [tuple(name) for name in counted.groups]
    made = c.Table("a × b", counted.groups, [""], ["0", "1"], cells, cells, cells.sum((1, 2, 3)), values)
    return _measured(made, config)


def _measured(made: c.Table, config: Config) -> list[Metric]:
    return decision_metrics(Grouping(made, config, ("a", "b")), np.random.default_rng(0))


def _fairlearn(data: pl.DataFrame, boots: int) -> float:
    """Seconds of MetricFrame with 100 resamples, from the time that a few take on top of none."""
    y, said = data["y"].to_numpy(), data["said"].to_numpy()
    g = {"a": data["a"].to_numpy(), "b": data["b"].to_numpy()}
    shared = {"metrics": PEERS, "y_true": y, "y_pred": said, "sensitive_features": g}
    seconds = []
    for extra in ({}, {"n_boot": boots, "ci_quantiles": [0.025, 0.975], "random_state": 0}):
        begin = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            fl.MetricFrame(**shared, **extra)
        seconds.append(time.perf_counter() - begin)
    return seconds[0] + 100 * (seconds[1] - seconds[0]) / boots


# --- memory ----------------------------------------------------------------------------------------------------


def _made(bench: Bench, n: int) -> Path:
    """A Parquet file of n decisions, made in parts of a million and written once."""
    path = bench.out / f"decisions-{n}.parquet"
    if path.exists():
        return path
    bench.out.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    with TemporaryDirectory(dir=bench.out) as folder:
        for number, begin in enumerate(range(0, n, 1_000_000)):
            _decisions(rng, min(1_000_000, n - begin)).write_parquet(Path(folder) / f"{number:05}.parquet")
        part = path.with_suffix(".part")
        pl.scan_parquet(Path(folder) / "*.parquet").sink_parquet(part)
    part.rename(path)
    return path


def _decisions(rng: np.random.Generator, n: int) -> pl.DataFrame:
    a, b = rng.integers(0, 8, n).astype(np.int8), rng.integers(0, 5, n).astype(np.int8)
    y = (rng.random(n) < 0.3 + a / 20).astype(np.int8)
    score = np.clip(0.25 + 0.3 * y + 0.02 * b + 0.25 * rng.random(n), 0, 1)
    return pl.DataFrame({"a": a, "b": b, "y": y, "said": (score > 0.5).astype(np.int8), "score": score})


def _streamed(bench: Bench, section: Section) -> None:
    n = 1_000_000 if bench.quick else 100_000_000
    path = _made(bench, n)
    rows: dict[str, list[Cell]] = {}
    for name, score in (("decisions", None), ("decisions and scores", "score")):
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            seconds, peak, records = pool.apply(_counted, (path, score))
        label = f"{records:,} records, {name}"
        found = scalar("peak memory", peak, unit="bytes", better="lower")
        rows[label] = [scalar("time", seconds, unit="s"), found]
        section.metrics += relabelled(found, label)
        section.metrics += relabelled(scalar("seconds", seconds, unit="s", better="lower"), label)
    title = f"**Streamed from Parquet ({path.stat().st_size / 1e9:.1f} GB)**"
    section.tables.append(f"{title}\n\n" + table(rows, ["time", "peak memory of the process"]))


def _counted(path: Path, score: str | None) -> tuple[float, float, int]:
    begin = time.perf_counter()
    found = reading.count(path, Config(table=path, groups=["a", "b"], label="y", prediction="said", score=score))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0
    return time.perf_counter() - begin, peak, int(found.usable[c.RECORDS].sum())


# --- coverage --------------------------------------------------------------------------------------------------


def _coverage(bench: Bench, section: Section) -> None:
    trials = 50 if bench.quick else 1000
    rows: dict[str, list[Cell]] = {}
    for groups, n in ((2, 300), (2, 1000), (5, 500), (10, 1000)):
        label = f"{groups} groups of {n}"
        found = covered(groups, n, trials, np.random.default_rng(groups * n))
        rows[label] = list(found)
        section.metrics += [one for m in found for one in relabelled(m, label)]
    section.tables.append("**Coverage of 95 % intervals**\n\n" + table(rows, [*MEASURED, "odds, simultaneous"]))
    section.notes.append(
        f"Coverage: {trials:,} tables a row, laws drawn anew for each, unequal base rates and error rates; 1,000 "
        "bootstrap tables a trial."
    )


MEASURED = ["parity difference", "parity ratio", "odds, larger gap", "odds, average gap", "accuracy difference", "FPED"]


def measured(tables: Floats) -> Floats:
    """The six measures, (B, 6)."""
    m = rates.rates(tables)
    odds = rates.equalised_odds(tables)
    gaps, away = rates.difference(m), rates.deviations(m, rates.overall(tables))
    accuracy, fpr = rates.NAMES.index("accuracy"), rates.NAMES.index("false positive rate")
    return np.stack([gaps[:, 0], rates.ratio(m)[:, 0], odds.larger, odds.average, gaps[:, accuracy], away[:, fpr]], -1)


def covered(groups: int, n: int, trials: int, rng: np.random.Generator) -> list[Metric]:
    """How often each interval holds the truth."""
    hits = np.zeros(len(MEASURED) + 1, dtype=int)
    for _ in range(trials):
        law = np.stack([rng.dirichlet([6, 2, 2, 5]) for _ in range(groups)]).reshape(groups, 2, 2)
        truth = measured(law[None])[0]
        cells = np.stack([rng.multinomial(n, one.ravel()).reshape(2, 2) for one in law])
        low, high = bootstrap(cells, measured, 1000, rng)
        hits[:-1] += (low <= truth) & (truth <= high)
        x, size = (part[[2, 3]] for part in rates.parts(cells))
        ends = simultaneous_odds((x[0], size[0]), (x[1], size[1]))
        hits[-1] += bool(ends.low <= truth[2] <= ends.high)
    return [
        proportion(f"coverage, {name}", int(hit), trials)
        for name, hit in zip([*MEASURED, "odds, simultaneous"], hits, strict=True)
    ]
