"""Wiring of `upright synthesize`: read, split, learn, write, filter, compare, report."""

import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from upright.engines import opened
from upright.models.chat import Spent
from upright.run.config import digest
from upright.run.evidence import Metric, proportion, scalar
from upright.run.folder import RunFolder, RunResult, open_run
from upright.run.steps import StepStore
from upright.run.tables import table_file
from upright.synthesis import present, release
from upright.synthesis.codes import Codes
from upright.synthesis.config import Config
from upright.synthesis.corpus import Code, Corpus
from upright.synthesis.evaluate import Evaluation, arms_of
from upright.synthesis.evaluation.audited import AUDITED
from upright.synthesis.evaluation.canaries import CERTIFIED
from upright.synthesis.evaluation.part import SYNTHETIC, Part
from upright.synthesis.generators import engine_of, fitted, reopened
from upright.synthesis.generators.protocol import Generator, Task, members_of
from upright.synthesis.page import UNENDED, examples
from upright.synthesis.planting import Planted, plant
from upright.synthesis.reading import read
from upright.synthesis.sampling import Draft, Pen, Shelf, Written, kept_in, work_of, written
from upright.synthesis.split import Split, split
from upright.training.private import Certificate

WORK, PRIVATE = "work", "private"
"""Folders of unfinished work: of the release, and of the control, which no noise covers."""


@dataclass(frozen=True, kw_only=True)
class Result(RunResult):
    """The synthetic records, the generator that wrote them, and what it was paid with."""

    records: Corpus
    generator: Generator
    certificate: Certificate | None

    @property
    def exit_code(self) -> int:
        """1 when the audit of the canaries refutes the certificate."""
        return int(refuted(self.metrics))

    def summary(self) -> Sequence[Metric]:
        """Budget and yield; the comparisons stand in the report."""
        return self.metrics[:3]


def run(config: Config) -> Result:
    """Write synthetic records that keep a privacy budget, and hold them against real ones.

    Raises:
        UserError: before any work, for records, settings or a model that cannot be used.
        MissingExtra: without what the extra `private` installs.
    """
    corpus = read(config)
    parts, codes = split(corpus, config.split, config.seed), Codes.of(corpus, config.codes)
    with opened(config.engine, config.speed.workers), open_run(config, verb="synthesize") as folder:
        for path in _files(config):
            folder.input(path)
        planted = plant(config, parts.train, codes, folder.seed_for("canaries"))
        task = _task(config, folder, planted, codes)
        generator = fitted(task)
        wanted = task.wanted(generator.shares)
        made = _write(config, folder, generator, wanted, planted)
        sections = _evaluated(config, folder, parts, planted, generator, made, wanted)
        result = _handed_over(config, folder, planted, generator, made, parts.heldout, sections)
    shutil.rmtree(folder.path / WORK, ignore_errors=True)
    return result


def _files(config: Config) -> list[Path]:
    counts = [] if config.codes.counts in ("noised", "uniform") else [Path(config.codes.counts)]
    more = [path for path in (config.prompted.instructions, config.ngrams.vocabulary) if path is not None]
    return [table_file(config.data), *counts, *more]


def _task(
    config: Config, folder: RunFolder, planted: Planted, codes: Codes, given: Sequence[Code] | None = None
) -> Task:
    """What is learnt and how; with the codes that the release `given` was written for, it is the control."""
    control = given is not None
    place = folder.path / (PRIVATE if control else WORK)
    return Task(
        config=config.model_copy(update={"epsilon": float("inf")}) if control else config,
        corpus=planted.corpus,
        members=members_of(planted.corpus),
        codes=codes,
        seed_for=folder.seed_for,
        state=place / "training.pt",
        out=place if control else folder.path,
        note=folder.fail,
        spend=partial(_spend, folder),
        keep=None if control else partial(folder.step, type=list[Draft]),
        control=control,
        planted=planted.units,
        given=given,
    )


def _spend(folder: RunFolder, spent: Spent) -> None:
    """Put calls of a chat model on the bill of the run."""
    folder.spend(spent.prompt, spent.completion, spent.cost)
    folder.record(chat=asdict(_spent(folder) + spent))


def _spent(folder: RunFolder) -> Spent:
    """What all calls of the run have cost, also before a kill."""
    return Spent(**getattr(folder.manifest, "chat", {}))


# --- writing ---------------------------------------------------------------------------------------------------


def _write(config: Config, folder: RunFolder, generator: Generator, codes: Sequence[Code], planted: Planted) -> Written:
    shelf = Shelf(partial(folder.step, type=list[Draft]), folder.done())
    made = _writing(config, generator, codes, folder, planted, shelf, folder.path)
    for place in made.missing:
        row = {"record": place, **dict(zip(made.corpus.columns, codes[place], strict=True))}
        folder.fail("writing", f"refused in all {config.filters.attempts} attempts", row)
    return made


def _writing(
    config: Config,
    generator: Generator,
    codes: Sequence[Code],
    folder: RunFolder,
    planted: Planted,
    shelf: Shelf,
    out: Path,
    description: str = "writing",
) -> Written:
    speed, engine = config.speed, engine_of(config)
    setup = partial(work_of, generator.write) if engine == "local" else partial(reopened, config, planted.codes, out)
    return written(
        planted.corpus.columns,
        codes,
        Pen(setup, engine, speed.workers, description),
        planted.filter(config),
        seed=folder.seed_for("writing"),
        attempts=config.filters.attempts,
        shelf=shelf,
    )


class Control(NamedTuple):
    """What the generator without privacy wrote, and how likely its model finds the canaries."""

    corpus: Corpus | None = None
    scores: NDArray[np.float64] | None = None


def _control(config: Config, folder: RunFolder, planted: Planted, codes: Codes, wanted: Sequence[Code]) -> Control:
    """The same generator without privacy, with the same data, codes and seeds."""
    private = folder.path / PRIVATE
    private.mkdir(exist_ok=True)
    store = StepStore(private / "steps", digest(config, "control"))

    generator = fitted(_task(config, folder, planted, codes, wanted))
    shelf = Shelf(kept_in(store), store.names())
    made = _writing(config, generator, wanted, folder, planted, shelf, private, "writing the control")
    if planted.canaries is None or generator.model is None:
        return Control(made.corpus)
    return Control(made.corpus, planted.scores(generator.model, config.speed.batch_rows))


# --- judging ---------------------------------------------------------------------------------------------------


def _evaluated(
    config: Config,
    folder: RunFolder,
    parts: Split,
    planted: Planted,
    generator: Generator,
    made: Written,
    wanted: Sequence[Code],
) -> list[Part]:
    """The sections of the comparison; then all that the control left behind is removed."""
    judge = Evaluation(config, folder, generator, planted)
    needed = has_control(config) and not judge.done
    control = _control(config, folder, planted, planted.codes, wanted) if needed else Control()
    arms = arms_of(config, parts, made.corpus, control.corpus, folder.seed_for("arms"))
    found = judge.parts(arms, parts.train.texts, control.scores)
    shutil.rmtree(folder.path / PRIVATE, ignore_errors=True)
    return found


def has_control(config: Config) -> bool:
    """Whether there is a generator without privacy to compare with; the prompted one never had any."""
    return config.control == "train" and config.generator != "prompted"


def _handed_over(
    config: Config,
    folder: RunFolder,
    planted: Planted,
    generator: Generator,
    made: Written,
    heldout: Corpus,
    sections: Sequence[Part],
) -> Result:
    certificate = generator.certificate
    units = len(members_of(planted.corpus))
    statement = release.statement(config, certificate, units)
    release.write_records(folder.path, made.corpus)
    release.write_statement(folder.path, statement)
    own = _metrics(config, certificate, made, units)
    metrics = [*own, *(metric for part in sections for metric in part.metrics)]
    shown = examples(config, made.corpus, heldout, folder.rng("examples"))
    page = present.report(config, statement, own, sections, shown, _limits(generator, made))
    folder.finish(metrics, page.facts(present.calls(_spent(folder))))
    return Result(out=folder.path, metrics=metrics, records=made.corpus, generator=generator, certificate=certificate)


def refuted(metrics: Sequence[Metric]) -> bool:
    """Whether the epsilon that canaries show is above the certified one."""
    found = {metric.name: metric.value for metric in metrics if metric.split == SYNTHETIC}
    audited, certified = found.get(AUDITED), found.get(CERTIFIED)
    return audited is not None and certified is not None and audited > certified


def _metrics(config: Config, certificate: Certificate | None, made: Written, units: int) -> list[Metric]:
    found = []
    if certificate is not None and certificate.epsilon < float("inf"):
        found.append(scalar("epsilon", certificate.epsilon, n=units, better="lower"))
        found.append(scalar("delta", certificate.delta, n=units, better="lower"))
    found.append(proportion("records wanted that were written", len(made.corpus), config.records))
    found.append(proportion("texts the filters accepted", len(made.corpus), made.tried))
    return found + unended(made)


def unended(made: Written) -> list[Metric]:
    """The share of records that `sampling.tokens` cut off: of all, and of each code where there are several."""
    by_code = {code: Counter[bool]() for code in sorted(set(made.corpus.codes))}
    for code, ended in zip(made.corpus.codes, made.ended, strict=True):
        by_code[code][ended] += 1
    found = [_unended("all", Counter(made.ended))]
    if len(by_code) > 1:
        columns = made.corpus.columns
        found += [
            _unended(", ".join(f"{name}: {value}" for name, value in zip(columns, code, strict=True)), count)
            for code, count in by_code.items()
        ]
    return found


def _unended(split: str, ended: Counter[bool]) -> Metric:
    return proportion(UNENDED, ended[False], ended.total(), split=split, better="lower")


def _limits(generator: Generator, made: Written) -> list[str]:
    refused = [f"{count:,} texts were refused: {reason}." for reason, count in made.refused.most_common()]
    return [*generator.limits, *refused]
