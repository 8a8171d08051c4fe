"""Wiring of `upright audit mitigate`: read, cut, learn and predict, count, report."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from scipy.stats import t as student

from upright.audit.findings import Result as AuditResult
from upright.audit.findings import write_findings
from upright.audit.folds import fold_numbers
from upright.audit.mitigate import points, present, recourse
from upright.audit.mitigate.config import NONE, Config
from upright.audit.mitigate.encoder import Encoder
from upright.audit.mitigate.methods import Decisions, Learner, Rows, needed
from upright.audit.mitigate.present import Sheet
from upright.audit.mitigate.recourse import Action, flips, read_actions
from upright.audit.people import People, check_people, read_people
from upright.run.evidence import Metric
from upright.run.files import atomic
from upright.run.folder import RunFolder, open_run
from upright.run.measures.roc import auc
from upright.run.progress import progress
from upright.run.tables import table_file

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

MIN_EVENTS = 5  # of each outcome, in every group


@dataclass(frozen=True, kw_only=True)
class Result(AuditResult):
    """Methods with what they cost and what they mend; `frontier` are those no other method beats."""

    frontier: Sequence[str]
    predictions: dict[str, Path]

    def summary(self) -> Sequence[Metric]:
        """Utility and gaps of every method."""
        return present.headline(self.metrics)


@dataclass(frozen=True)
class HeldOut:
    """What one method said of all n rows, in each of R repeats, by models that had not seen them."""

    said: Ints
    """(R, n)."""
    score: Floats | None
    """(R, n)."""
    fold: Ints
    """(R, n)."""
    turned: Bools | None
    """Whose refusal each action turns, in the first repeat (n, A)."""
    attack: Floats
    """How well rows learned from are told from held-out ones, AUC of each fold (R · folds,)."""


def run(config: Config) -> Result:
    """Compare mitigations on held-out rows.

    Raises:
        UserError: before any training, for a table that cannot be used as asked.
    """
    needed(config)
    check_people(config)
    with open_run(config, verb="audit mitigate") as folder:
        table = read_people(config, folder, MIN_EVENTS)
        actions = _actions(config, folder, table)
        names = [NONE, *config.methods]
        with progress("methods", len(names) * config.seeds * config.folds) as bar:
            found = {}
            for name in names:
                found[name] = _held_out(config, folder, table, actions, name)
                bar.advance(config.seeds * config.folds)
        paths = {name: _write(folder.path, name, table, held) for name, held in found.items()}
        sheet = _measure(config, folder, table, found)
        sheet.metrics.extend(_recourse(config, table, actions, found))
        findings = [present.finding(config, sheet), *present.recourse_finding(config, sheet)]
        write_findings(folder.path, findings)
        folder.finish(sheet.metrics, present.report(config, table, sheet, findings))
    return Result(
        out=folder.path,
        metrics=sheet.metrics,
        findings=findings,
        frontier=sheet.frontier[config.gap],
        predictions=paths,
    )


def _actions(config: Config, folder: RunFolder, table: People) -> list[Action]:
    if config.actions is None:
        return []
    folder.input(table_file(config.actions))
    return read_actions(config.actions, table.features)


def _held_out(config: Config, folder: RunFolder, table: People, actions: list[Action], name: str) -> HeldOut:
    folds = [_folds(config, folder, table, repeat) for repeat in range(config.seeds)]
    found = [
        [_part(config, folder, table, actions, name, (repeat, part, numbers)) for part in range(config.folds)]
        for repeat, numbers in enumerate(folds)
    ]
    rows = len(table.label)
    said, score = np.empty((config.seeds, rows), dtype=np.int64), np.empty((config.seeds, rows))
    turned = np.empty((rows, len(actions)), dtype=bool) if actions else None
    for repeat, numbers in enumerate(folds):
        for part, values in enumerate(found[repeat]):
            said[repeat, numbers == part] = values["said"].numpy()
            score[repeat, numbers == part] = values["score"].numpy()
            if turned is not None and repeat == 0:
                turned[numbers == part] = values["turned"].numpy()
    attack = [float(values["attack"]) for parts in found for values in parts]
    return HeldOut(said, None if np.isnan(score).any() else score, np.stack(folds), turned, np.array(attack))


def _folds(config: Config, folder: RunFolder, table: People, repeat: int) -> Ints:
    """The same for every method."""
    rng = np.random.default_rng(folder.seed_for(f"folds-{repeat}"))
    return fold_numbers(2 * table.group + table.label, config.folds, rng)


def _part(
    config: Config, folder: RunFolder, table: People, actions: list[Action], name: str, place: tuple[int, int, Ints]
) -> dict[str, torch.Tensor]:
    """What a method says of one fold after learning from the others; scores are NaN where it gives none."""
    repeat, part, numbers = place
    step = f"{name}-{repeat}-{part}"

    def compute() -> dict[str, torch.Tensor]:
        test = numbers == part
        encode = Encoder(table.features.filter(~test))
        rows = Rows(encode(table.features.filter(~test)), table.group[~test], table.label[~test], encode.numbers)
        learner = Learner(config.model, config.method, np.random.default_rng(folder.seed_for(step)))
        rule = learner(name, rows)
        held_out = table.features.filter(test)
        found = rule(encode(held_out), table.group[test])
        given = np.full(len(found.said), np.nan) if found.score is None else found.score
        attack = _attack(rule(rows.x, rows.group), rows.label, found, table.label[test])
        turned = np.zeros((len(found.said), 0), dtype=bool)
        if actions:
            turned = flips(lambda frame: rule(encode(frame), table.group[test]).said, held_out, actions)[1]
        return {
            "said": torch.from_numpy(found.said),
            "score": torch.from_numpy(given),
            "turned": torch.from_numpy(turned),
            "attack": torch.tensor(attack),
        }

    return folder.step(step, compute)


def _attack(learned: Decisions, labels: Ints, held_out: Decisions, held_out_labels: Ints) -> float:
    """AUC of the loss attack: rows learned from are taken to be those whose label gets more weight, or is said."""

    def weight(found: Decisions, label: Ints) -> Floats:
        favourable = found.said if found.score is None else found.score
        return np.where(label == 1, favourable, 1 - favourable).astype(float)

    return auc(weight(learned, labels), weight(held_out, held_out_labels)).value or 0.0


def _write(folder: Path, name: str, table: People, held: HeldOut) -> Path:
    """predictions-METHOD.parquet: a line for each row and repeat."""
    repeats, rows = held.said.shape
    columns = {
        "row": np.tile(table.row, repeats),
        "label": np.tile(table.label, repeats),
        "group": np.tile(np.array(table.names)[table.group], repeats),
        "repeat": np.repeat(np.arange(repeats), rows),
        "fold": held.fold.ravel(),
        "prediction": held.said.ravel(),
        "score": [None] * held.said.size if held.score is None else held.score.ravel(),
    }
    frame = pl.DataFrame(columns, schema_overrides={"score": pl.Float64})
    path = folder / f"predictions-{name}.parquet"
    with atomic(path) as part:
        frame.write_parquet(part)
    return path


# --- numbers ---


def _measure(config: Config, folder: RunFolder, table: People, found: dict[str, HeldOut]) -> Sheet:
    names = list(found)
    said = np.column_stack([held.said.mean(0) for held in found.values()])
    cells = points.tally(table.group, table.label, said)
    own = points.rates(cells.size[None], cells)
    draws = points.drawn(cells, config.draws, np.random.default_rng(folder.seed_for("bootstrap")))
    utilities = {"accuracy": points.accuracy, "balanced accuracy": points.balanced_accuracy}
    gaps = {"parity": points.parity_differences, "odds": points.odds_differences}
    values = {name: measure(own)[0] for name, measure in (utilities | gaps).items()}
    drawn = {name: measure(draws) for name, measure in (utilities | gaps).items()}
    estimates = {name: points.estimate(values[name], drawn[name]) for name in utilities}
    estimates |= {name: points.largest_gap(values[name], drawn[name]) for name in gaps}
    frontier, stability = {}, {}
    for gap in gaps:
        ahead = points.frontier(values[config.utility], estimates[gap].value)
        share = points.frontier(drawn[config.utility], np.nanmax(np.abs(drawn[gap]), axis=1)).mean(0)
        frontier[gap] = [name for name, yes in zip(names, ahead, strict=True) if yes]
        stability[gap] = dict(zip(names, share.tolist(), strict=True))
    changes = {name: points.estimate(_over(values[name]), _over(drawn[name])) for name in utilities}
    size = {name: np.abs(values[name]).max(0) for name in gaps}
    changes |= {
        name: points.estimate(_over(size[name]), _over(np.nanmax(np.abs(drawn[name]), axis=1))) for name in gaps
    }
    strict = points.largest_gap(values[config.gap], drawn[config.gap], 0.05 / len(names))
    metrics = present.metrics(names, estimates, changes, len(table.label), config.draws, stability)
    metrics += [*_aucs(table, found), *_attacks(found)]
    return Sheet(names, metrics, estimates, strict, frontier, stability)


def _recourse(config: Config, table: People, actions: list[Action], found: dict[str, HeldOut]) -> list[Metric]:
    """What the refused of each group can do under each method, in the first repeat."""
    cost = np.array([action.cost for action in actions])
    metrics: list[Metric] = []
    for name, held in found.items():
        if held.turned is not None:
            own = recourse.recourse(held.said[0] == 0, held.turned, cost, table.group, len(table.names))
            metrics += recourse.metrics(name, table.names, own, config.min_group)
    return metrics


def _attacks(found: dict[str, HeldOut]) -> list[Metric]:
    """What each method does to privacy: mean over folds with Student's interval, as if folds were independent."""
    metrics = []
    for name, held in found.items():
        n, value = len(held.attack), float(held.attack.mean())
        half = float(student.ppf(0.975, n - 1) * held.attack.std(ddof=1) / np.sqrt(n))
        low, high = max(0.0, value - half), min(1.0, value + half)
        metrics.append(
            Metric(name=present.ATTACK, split=name, value=value, n=n, ci_low=low, ci_high=high, better="lower")
        )
    return metrics


def _over(values: Floats) -> Floats:
    """What each method has over the first, the plain model: (..., M)."""
    return values - values[..., :1]


def _aucs(table: People, found: dict[str, HeldOut]) -> list[Metric]:
    """AUC of every method that gives scores, of the mean score over the repeats."""
    metrics = []
    for name, held in found.items():
        if held.score is not None:
            mean = held.score.mean(0)
            positive = table.label == 1
            metrics.append(auc(mean[positive], mean[~positive], split=name, better="higher"))
    return metrics
