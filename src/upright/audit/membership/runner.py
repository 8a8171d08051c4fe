"""Wiring of `upright audit membership`: read, take out copies, score, judge, report."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from upright.audit import findings as shared
from upright.audit.membership import attacks, blind, language, present, quantile, share, tables
from upright.audit.membership.config import Config
from upright.audit.membership.evaluate import AUC, BLIND, RATES, Sample, findings, is_void, metrics, power_name
from upright.audit.membership.present import Scored
from upright.audit.texts import SIDES, Drop, Sides, Text, read_sides, read_texts
from upright.errors import UserError
from upright.models.causal import CausalModel, load
from upright.run.evidence import Metric, scalar
from upright.run.files import atomic
from upright.run.folder import RunFolder, open_run
from upright.run.progress import track

Floats = NDArray[np.float64]

SCORES = "scores.parquet"
SUSPECTS = "suspects"
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
        whole = [m for m in self.metrics if ", " not in m.split and m.value is not None]
        return [m for m in whole if m.name in (BLIND, AUC, power_name(RATES[0]), share.SHARE)]


def run(config: Config) -> Result:
    """Attack a model's outputs and say what they give away.

    Raises:
        UserError: for inputs that cannot be used, before the folder is written wherever that can be seen.
    """
    _check(config)
    given = _read_table(config) if config.scores else _read_texts(config)
    with open_run(config, verb="audit membership") as folder:
        for path in (config.scores, config.members, config.nonmembers, config.suspects, config.text.corpus):
            if path is not None:
                folder.input(path)
        for drop in given.drops:
            folder.fail("reading", drop.reason, drop.row)
        scored = _from_table(config, folder, given) if isinstance(given, Table) else _from_texts(config, folder, given)
        found = metrics(scored.sample, config.smallest)
        concluded = findings(scored.sample, found, config.smallest)
        if scored.sample.suspect_ids:
            rng = np.random.default_rng(folder.seed_for("suspects"))
            found.append(share.used(scored.sample, config.smallest, rng))
            concluded.append(share.finding(found[-1], is_void(found[0])))
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
    if config.scores is not None and config.suspects is not None:
        raise UserError("--suspects is for language models; in a table, leave `member` empty where it is not known")
    if config.scores is None and config.features:
        raise UserError("--features names columns of --scores; a text is described by its words and length")


def _check_groups(column: str | None, groups: Iterable[str | None]) -> None:
    count = len(set(groups) - {None})
    if count > MOST_GROUPS:
        raise UserError(f"--group {column}: has {count:,} values; give a column with at most {MOST_GROUPS}")


def _both_sides(members: int, others: int) -> None:
    if min(members, others) < 2:
        raise UserError(f"{members} members and {others} non-members can be used; needs 2 of each, and 30 to judge")


def _write_scores(path: Path, sample: Sample) -> None:
    with atomic(path) as part:
        sample.frame().write_parquet(part)


# --- language models -------------------------------------------------------------------------------------------


class Texts(NamedTuple):
    """Each text that can be used, cut to what the audited model is to read; what stands on two sides is gone."""

    sides: dict[str, list[Text]]
    drops: list[Drop]
    audited: list[CausalModel]
    """The audited model; it is taken out when it is used, so that it is gone before the reference models come."""
    longest: int
    shortened: int
    corpus: list[str]
    """Other texts, for the frequencies of tokens."""


class Rows(NamedTuple):
    """All texts but those set aside: members, then non-members, then suspects."""

    rows: list[Text]
    counts: tuple[int, int, int]
    aside: list[str]
    """Non-members for the prefix of the recall signal."""

    @property
    def texts(self) -> list[str]:
        """What they say."""
        return [row.text for row in self.rows]

    def are(self, side: int) -> NDArray[np.bool_]:
        """Which (n,) are of the side of that number."""
        return np.asarray(np.repeat(np.arange(3), self.counts) == side)


def _read_texts(config: Config) -> Texts:
    assert config.model
    files = dict(zip((*SIDES, SUSPECTS), (config.members, config.nonmembers, config.suspects), strict=True))
    given = {side: path for side, path in files.items() if path is not None}
    found = read_sides(given, config.text.column, config.group, config.blind.overlap)
    _both_sides(*(len(found.texts[side]) for side in SIDES))
    corpus = _corpus(config, found)
    model = load(config.model, config.speed.device)
    longest = config.text.tokens if model.context is None else min(config.text.tokens, model.context - ROOM)
    read = {side: language.fitting(model, rows, longest) for side, rows in found.texts.items()}
    sides = {side: some.rows for side, some in read.items()}
    _check_groups(config.group, [row.tag for rows in sides.values() for row in rows])
    _both_sides(*(len(sides[side]) for side in SIDES))
    for name in config.reference:
        language.check_reference(name, [row.text for rows in sides.values() for row in rows])
    drops = [*found.drops, *(drop for some in read.values() for drop in some.drops)]
    return Texts(sides, drops, [model], longest, sum(some.shortened for some in read.values()), corpus)


def _corpus(config: Config, audited: Sides) -> list[str]:
    """Texts of the corpus but for the audited ones, which would lend their tokens to one side alone."""
    if config.text.corpus is None:
        return []
    own = {row.text for rows in audited.texts.values() for row in rows}
    found = [row.text for row in read_texts(config.text.corpus, config.text.column, None)[0] if row.text not in own]
    if not found:
        raise UserError(f"--text.corpus {config.text.corpus}: holds no text that is not audited; give other texts")
    return found


def _from_texts(config: Config, folder: RunFolder, given: Texts) -> Scored:
    rows = _rows(config, folder, given)
    member, suspect = rows.are(0), rows.are(2)
    found = _audited(config, folder, given.audited.pop(), rows, given.corpus)
    others = np.array([_reference(config, folder, i, rows.texts) for i in range(len(config.reference))])
    scores = {name: values for name, values in found.items() if name not in ("total", "tokens")}
    a = UNTUNED_A if config.rmia_a is None else config.rmia_a
    scores |= language.with_references(found, others, a)
    scores["quantile"] = _quantile(folder, blind.text_measures(rows.texts), scores["loss"], member | suspect)
    known = [text for text, unknown in zip(rows.texts, suspect, strict=True) if not unknown]
    told = blind.blind_texts(known, member[~suspect], config.blind.folds, folder.seed_for("blind") % 2**31)
    names, groups = [row.row for row in rows.rows], [row.tag for row in rows.rows]
    sample = Sample.of(names, member, suspect, groups, scores, told, config.blind.folds)
    facts: dict[str, object] = {"RMIA constant a": a} if others.size else {}
    counts = [scalar("texts cut", given.shortened), scalar("tokens read", int(found["tokens"].sum()))]
    return Scored(sample, facts, _text_limits(config, given, "recall" in found), counts)


def _text_limits(config: Config, given: Texts, recalled: bool) -> list[str]:
    limits = []
    if given.shortened:
        limits.append(f"{given.shortened:,} texts were cut to {given.longest} tokens.")
    if "recall" in config.text.signals and not recalled:
        limits.append("The recall signal was not run: no room in the context, or too few non-members, for a prefix.")
    if len(config.reference) < 2:
        limits.append(f"LiRA was not run: it needs two reference models, got {len(config.reference)}.")
    return limits


def _rows(config: Config, folder: RunFolder, given: Texts) -> Rows:
    """All texts; some non-members, picked at random, are set aside for the prefix."""
    members, others = (given.sides[side] for side in SIDES)
    suspects = given.sides.get(SUSPECTS, [])
    count = min(config.text.prefix, len(others) // 10) if "recall" in config.text.signals else 0
    chosen = set(folder.rng("prefix").sample(range(len(others)), count))
    rest = [row for i, row in enumerate(others) if i not in chosen]
    aside = [others[i].text for i in sorted(chosen)]
    return Rows([*members, *rest, *suspects], (len(members), len(rest), len(suspects)), aside)


def _audited(
    config: Config, folder: RunFolder, model: CausalModel, rows: Rows, corpus: Sequence[str]
) -> dict[str, Floats]:
    """Everything that is asked of the audited model: its signals (n,)."""
    folder.model(model)
    prefix = language.recall_prefix(model, rows.aside, rows.texts)
    frequency = language.log_frequency(model, corpus) if corpus else None
    parts: list[dict[str, Tensor]] = []
    for number, where in _shards(len(rows.rows)):
        name = f"texts-{number:05d}"

        def compute(some: Sequence[str] = rows.texts[where], seed: int = folder.seed_for(name)) -> dict[str, Tensor]:
            return language.text_signals(model, some, config.text, prefix, config.speed.batch_rows, seed, frequency)

        parts.append(folder.step(name, compute))
    return {name: torch.cat([part[name] for part in parts]).numpy() for name in parts[0]}


def _shards(count: int) -> Iterable[tuple[int, slice]]:
    starts = range(0, count, language.SHARD)
    return ((number, slice(start, start + language.SHARD)) for number, start in enumerate(track(starts, "texts")))


def _reference(config: Config, folder: RunFolder, number: int, short: Sequence[str]) -> Floats:
    """Sums of ln p under one reference model, which is loaded only if something is left to do."""

    @cache
    def model() -> CausalModel:
        loaded = load(config.reference[number], config.speed.device)
        folder.model(loaded)
        return loaded

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
    drops: list[Drop]


def _read_table(config: Config) -> Table:
    assert config.scores
    table, drops = tables.read_outputs(config.scores, config.features, config.group)
    _check_groups(config.group, table.group)
    _both_sides(int(table.member.sum()), int((~table.member & ~table.suspect).sum()))
    return Table(table, drops)


def _from_table(config: Config, folder: RunFolder, given: Table) -> Scored:
    table = given.outputs
    scores, facts = _attacks(config, table)
    described = blind.table_features(table.described)
    if described.shape[1]:
        scores["quantile"] = _quantile(folder, described, table.phi.mean(axis=1), table.member | table.suspect)
    known = table.described.filter(~table.suspect)
    told = blind.blind_table(known, table.member[~table.suspect], config.blind.folds, folder.seed_for("blind") % 2**31)
    sample = Sample.of(table.ids, table.member, table.suspect, table.group, scores, told, config.blind.folds)
    return Scored(sample, facts, _table_limits(table), [scalar("reference models", len(table.names))])


def _table_limits(table: tables.Outputs) -> list[str]:
    limits = []
    if not [name for name in table.described.columns if name != "label"]:
        limits.append("The table has no features: the blind check saw nothing but the label, if that; add x_* columns.")
    if not table.names:
        limits.append("Without reference models LiRA and RMIA, the strongest attacks, were not run.")
    return limits


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
