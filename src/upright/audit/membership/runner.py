"""Wiring of `upright audit membership`: read, take out copies, score, judge, report."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from upright.audit import findings as shared
from upright.audit.membership import attacks, blind, language, present, quantile, tables, texts
from upright.audit.membership.config import Config
from upright.audit.membership.evaluate import AUC, BLIND, RATES, Sample, findings, metrics, power_name
from upright.audit.membership.forward import cut
from upright.errors import UserError
from upright.models.causal import CausalModel, load
from upright.run.evidence import Metric, scalar
from upright.run.files import atomic
from upright.run.folder import RunFolder, open_run
from upright.run.progress import track

Floats = NDArray[np.float64]

SCORES = "scores.parquet"
MOST_GROUPS = 50
ROOM = 4  # tokens; a text that was cut may be tokenised a little longer
UNTUNED_A = 0.9
"""RMIA's offline constant where no pair of reference models can tell it: per-token probabilities move little."""


@dataclass(frozen=True, kw_only=True)
class Result(shared.Result):
    """Numbers, conclusions, and the scores of every record."""

    scores: Path

    def summary(self) -> Sequence[Metric]:
        """The blind check, and each attack in all."""
        whole = [m for m in self.metrics if ", " not in m.split and "between" not in m.name]
        return [m for m in whole if m.name in (BLIND, AUC, power_name(RATES[0]))]


class Scored(NamedTuple):
    """All attacks' scores, what the blind classifier said, and what a reader must know."""

    sample: Sample
    facts: dict[str, object]
    limits: list[str]
    counts: list[Metric]


def run(config: Config) -> Result:
    """Attack a model's outputs and say what they give away.

    Raises:
        UserError: for inputs that cannot be used, before the folder is written wherever that can be seen.
    """
    _check(config)
    given = _read_table(config) if config.scores else _read_texts(config)
    with open_run(config, verb="audit membership") as folder:
        for path in (config.scores, config.members, config.nonmembers):
            if path is not None:
                folder.input(path)
        _drop(folder, "reading", given.drops)
        scored = _from_table(config, folder, given) if isinstance(given, Table) else _from_texts(config, folder, given)
        found = metrics(scored.sample, config.smallest)
        concluded = findings(scored.sample, found, config.smallest)
        _write_scores(folder.path / SCORES, scored.sample)
        shared.write_findings(folder.path, concluded)
        every = [*found, *scored.counts]
        folder.finish(every, present.report(config, scored, every, concluded))
    return Result(out=folder.path, metrics=every, findings=concluded, scores=folder.path / SCORES)


def _check(config: Config) -> None:
    texts_given = [name for name in ("model", "members", "nonmembers") if getattr(config, name) is not None]
    if config.scores is not None and texts_given:
        raise UserError(f"--scores and --{texts_given[0]} exclude each other; give a table of outputs or a model")
    if config.scores is None and len(texts_given) < 3:
        raise UserError("give --model, --members and --nonmembers for a language model, or --scores for a table")
    if config.scores is not None and config.reference:
        raise UserError("--reference is for language models; a table holds its references in ref_NAME_* columns")
    if config.scores is None and config.features:
        raise UserError("--features names columns of --scores; a text is described by its words and length")


def _drop(folder: RunFolder, stage: str, drops: Iterable[texts.Drop]) -> None:
    for drop in drops:
        folder.fail(stage, drop.reason, drop.row)


def _check_groups(column: str | None, groups: Iterable[str | None]) -> None:
    count = len(set(groups) - {None})
    if count > MOST_GROUPS:
        raise UserError(f"--group {column}: has {count:,} values; give a column with at most {MOST_GROUPS}")


def _both_sides(member: NDArray[np.bool_]) -> None:
    counts = int(member.sum()), int((~member).sum())
    if min(counts) < 2:
        raise UserError(
            f"{counts[0]} members and {counts[1]} non-members can be used; needs 2 of each, and 30 to judge"
        )


def _scores_file(path: Path, sample: Sample) -> pl.DataFrame:
    columns = {"id": sample.ids, "member": sample.member.astype(int), "group": sample.group}
    return pl.DataFrame({**columns, **sample.scores, "blind": sample.blind}, schema_overrides={"group": pl.String})


def _write_scores(path: Path, sample: Sample) -> None:
    with atomic(path) as part:
        _scores_file(path, sample).write_parquet(part)


# --- language models -------------------------------------------------------------------------------------------


class Texts(NamedTuple):
    """What was read of both sides, without copies."""

    members: list[texts.Text]
    nonmembers: list[texts.Text]
    drops: list[texts.Drop]
    audited: list[CausalModel]
    """The audited model; it is taken out when it is used, so that it is gone before the reference models come."""


class Sides(NamedTuple):
    """Texts of both sides in one list, members first, and the non-members set aside."""

    rows: list[texts.Text]
    member: NDArray[np.bool_]
    aside: list[str]


class Read(NamedTuple):
    """The texts as the audited model read them, and their signals."""

    rows: list[texts.Text]
    texts: list[str]
    member: NDArray[np.bool_]
    signals: dict[str, Floats]
    longest: int
    shortened: int


def _read_texts(config: Config) -> Texts:
    assert config.model
    assert config.members
    assert config.nonmembers
    (members, few), (others, more) = (
        texts.read_texts(path, config.text.column, config.group) for path in (config.members, config.nonmembers)
    )
    members, others, copies = texts.without_copies(members, others, config.blind.overlap)
    _check_groups(config.group, [row.group for row in [*members, *others]])
    _both_sides(np.arange(len(members) + len(others)) < len(members))
    return Texts(members, others, [*few, *more, *copies], [load(config.model, config.speed.device)])


def _from_texts(config: Config, folder: RunFolder, given: Texts) -> Scored:
    read = _audited(config, folder, given.audited.pop(), _sides(config, folder, given))
    short, member, found = read.texts, read.member, read.signals
    others = np.array([_reference(config, folder, i, short) for i in range(len(config.reference))])
    scores = {name: values for name, values in found.items() if name not in ("total", "tokens")}
    a = UNTUNED_A if config.rmia_a is None else config.rmia_a
    scores |= language.with_references(found, others, a)
    scores["quantile"] = _quantile(folder, blind.text_measures(short), scores["loss"], member)
    told = blind.blind_texts(short, member, config.blind.folds, folder.seed_for("blind") % 2**31)
    sample = Sample(
        [row.row for row in read.rows], member, [row.group for row in read.rows], scores, told, config.blind.folds
    )
    facts: dict[str, object] = {"RMIA constant a": a} if others.size else {}
    counts = [scalar("texts cut", read.shortened), scalar("tokens read", int(found["tokens"].sum()))]
    return Scored(sample, facts, _text_limits(config, read, len(others)), counts)


def _text_limits(config: Config, read: Read, references: int) -> list[str]:
    limits = []
    if read.shortened:
        limits.append(f"{read.shortened:,} texts were cut to {read.longest} tokens.")
    if "recall" in config.text.signals and "recall" not in read.signals:
        limits.append("The recall signal was not run: no room in the context, or too few non-members, for a prefix.")
    if references < 2:
        limits.append(f"LiRA was not run: it needs two reference models, got {references}.")
    return limits


def _audited(config: Config, folder: RunFolder, model: CausalModel, sides: Sides) -> Read:
    """Everything that is asked of the audited model."""
    folder.record(device=str(model.device), model_digest=model.digest())
    longest = config.text.tokens if model.context is None else min(config.text.tokens, model.context - ROOM)
    short, shortened = cut(model, [row.text for row in sides.rows], longest)
    enough = language.usable(model, short)
    few = [texts.Drop("fewer than two tokens to predict", sides.rows[i].row) for i in np.flatnonzero(~enough)]
    _drop(folder, "texts", few)
    _both_sides(sides.member[enough])
    rows, short = [sides.rows[i] for i in np.flatnonzero(enough)], [short[i] for i in np.flatnonzero(enough)]
    prefix = language.recall_prefix(model, sides.aside, short)
    found = _signals(config, folder, model, short, prefix)
    return Read(rows, short, sides.member[enough], found, longest, shortened)


def _sides(config: Config, folder: RunFolder, given: Texts) -> Sides:
    """All texts; some non-members, picked at random, are set aside for the prefix."""
    members, nonmembers = given.members, given.nonmembers
    count = min(config.text.prefix, len(nonmembers) // 10) if "recall" in config.text.signals else 0
    chosen = set(folder.rng("prefix").sample(range(len(nonmembers)), count))
    rest = [row for i, row in enumerate(nonmembers) if i not in chosen]
    member = np.arange(len(members) + len(rest)) < len(members)
    return Sides([*members, *rest], member, [nonmembers[i].text for i in sorted(chosen)])


def _shards(count: int) -> Iterable[tuple[int, slice]]:
    starts = range(0, count, language.SHARD)
    return ((number, slice(start, start + language.SHARD)) for number, start in enumerate(track(starts, "texts")))


def _signals(
    config: Config, folder: RunFolder, model: CausalModel, short: Sequence[str], prefix: Sequence[int]
) -> dict[str, Floats]:
    parts: list[dict[str, Tensor]] = []
    for number, where in _shards(len(short)):
        name = f"texts-{number:05d}"

        def compute(some: Sequence[str] = short[where], seed: int = folder.seed_for(name)) -> dict[str, Tensor]:
            return language.text_signals(model, some, config.text, prefix, config.speed.batch_rows, seed)

        parts.append(folder.step(name, compute))
    return {name: torch.cat([part[name] for part in parts]).numpy() for name in parts[0]}


def _reference(config: Config, folder: RunFolder, number: int, short: Sequence[str]) -> Floats:
    """Sums of ln p under one reference model, which is loaded only if something is left to do."""

    @cache
    def model() -> CausalModel:
        return load(config.reference[number], config.speed.device)

    parts = []
    for shard, where in _shards(len(short)):

        def compute(some: Sequence[str] = short[where]) -> dict[str, Tensor]:
            return {"total": language.totals_under(model(), some, config.speed.batch_rows)}

        parts.append(folder.step(f"reference-{number}-{shard:05d}", compute)["total"])
    return np.asarray(torch.cat(parts).numpy())


def _quantile(folder: RunFolder, described: Floats, score: Floats, member: NDArray[np.bool_]) -> Floats:
    rng = np.random.default_rng(folder.seed_for("quantile"))
    return quantile.cross_fitted(described, score, member, rng)


# --- tables ----------------------------------------------------------------------------------------------------


class Table(NamedTuple):
    """What was read of a table."""

    outputs: tables.Outputs
    drops: list[texts.Drop]


def _read_table(config: Config) -> Table:
    assert config.scores
    table, drops = tables.read_outputs(config.scores, config.features, config.group)
    _check_groups(config.group, table.group)
    _both_sides(table.member)
    return Table(table, drops)


def _from_table(config: Config, folder: RunFolder, given: Table) -> Scored:
    table = given.outputs
    scores, facts = _attacks(config, table)
    described = blind.table_features(table.described)
    if described.shape[1]:
        scores["quantile"] = _quantile(folder, described, table.phi, table.member)
    told = blind.blind_table(table.described, table.member, config.blind.folds, folder.seed_for("blind") % 2**31)
    limits = []
    if not [name for name in table.described.columns if name != "label"]:
        limits.append("The table has no features: the blind check saw nothing but the label, if that; add x_* columns.")
    if not table.names:
        limits.append("Without reference models LiRA and RMIA, the strongest attacks, were not run.")
    counts = [scalar("reference models", len(table.names))]
    sample = Sample(table.ids, table.member, table.group, scores, told, config.blind.folds)
    return Scored(sample, facts, limits, counts)


def _attacks(config: Config, table: tables.Outputs) -> tuple[dict[str, Floats], dict[str, object]]:
    """Scores by attack, and the constants that were used."""
    scores, facts = {"loss": table.log_p}, dict[str, object]()
    masks, log_p = table.masks, table.reference_log_p
    if not len(masks):
        return scores, facts
    scores["reference"] = table.log_p - attacks.mean_outside(log_p, masks)
    a = _constant(config, table)
    scores["offline RMIA"] = table.log_p - attacks.prior_offline(log_p, masks, a)
    facts["RMIA constant a"] = a
    if (~masks).sum(axis=0).max() > 1:
        scores["offline LiRA"] = attacks.lira_offline(table.phi, table.reference_phi, masks)
    if table.masked:
        scores["online RMIA"] = table.log_p - attacks.prior_online(log_p, masks)
        if min(masks.sum(axis=0).max(), (~masks).sum(axis=0).max()) > 1:
            scores["online LiRA"] = attacks.lira_online(table.phi, table.reference_phi, masks)
    return scores, facts


def _constant(config: Config, table: tables.Outputs) -> float:
    if config.rmia_a is not None:
        return config.rmia_a
    try:
        return attacks.tuned_a(table.reference_log_p, table.masks)
    except ValueError:  # no pair of references with known masks
        return UNTUNED_A
