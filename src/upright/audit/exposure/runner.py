"""Wiring of `upright audit exposure`: every test whose inputs were given."""

from collections.abc import Iterator, Mapping, Sequence

from upright.audit.exposure import canaries, drawn, inference, present, written
from upright.audit.exposure.config import Config
from upright.audit.exposure.part import Part, not_run
from upright.audit.exposure.plant import Canary, read_record
from upright.audit.findings import Result, write_findings
from upright.audit.texts import SIDES, Sides, Text, read_sides
from upright.errors import UserError
from upright.models.causal import CausalModel, load
from upright.run.folder import RunFolder, open_run

__all__ = ["Result", "run"]


def run(config: Config) -> Result:
    """Measure what a model gives away of its training text.

    Raises:
        UserError: before the model is loaded, for inputs that are missing or cannot be read.
    """
    record, sides = _inputs(config)
    model = load(config.model, config.speed.device)
    with open_run(config, verb="audit exposure") as folder:
        for path in (config.canaries, config.members, config.nonmembers):
            if path is not None:
                folder.input(path)
        folder.model(model)
        for drop in sides.drops:
            folder.fail("reading", drop.reason, drop.row)
        parts = list(_parts(config, folder, model, record, sides.texts))
        metrics = [metric for part in parts for metric in part.metrics]
        findings = [part.finding for part in parts]
        write_findings(folder.path, findings)
        folder.finish(metrics, present.report(config, parts))
    return Result(out=folder.path, metrics=metrics, findings=findings)


def _inputs(config: Config) -> tuple[list[Canary], Sides]:
    if config.canaries is None and config.members is None:
        raise UserError(
            "give --canaries FILE (see upright audit plant) or --members FILE, texts the model learned from"
        )
    if config.members is None and (config.nonmembers or config.attribute):
        raise UserError(
            "--members is missing: non-members and attributes are held against texts the model learned from"
        )
    record = [] if config.canaries is None else read_record(config.canaries)
    files = dict(zip(SIDES, (config.members, config.nonmembers), strict=True))
    given = {side: path for side, path in files.items() if path is not None}
    found = read_sides(given, config.column, config.attribute)
    for side, path in given.items():
        if not found.texts[side]:
            raise UserError(f"{path}: has no text that does not stand on the other side too; give other {side}")
    return record, found


def _parts(
    config: Config, folder: RunFolder, model: CausalModel, record: Sequence[Canary], texts: Mapping[str, Sequence[Text]]
) -> Iterator[Part]:
    rows = config.speed.batch_rows
    if record:
        yield canaries.canary_part(config.canary, folder, model, record, rows)
    else:
        yield not_run(canaries.ITEM, canaries.TITLE, "needs --canaries, planted before training.")
    if texts:
        yield drawn.extraction_part(config.extraction, folder, model, texts, rows)
    else:
        yield not_run(drawn.ITEM, drawn.TITLE, "needs --members.")
    if config.attribute and len(texts) == len(SIDES):
        yield inference.attribute_part(config.inference, folder, model, texts, rows)
    else:
        yield not_run(inference.ITEM, inference.TITLE, "needs --attribute, --members and --nonmembers.")
    if texts and config.personal.samples:
        yield written.personal_part(config.personal, folder, model, texts, rows)
    else:
        yield not_run(written.ITEM, written.TITLE, "needs --members, and --personal.samples above 0.")
