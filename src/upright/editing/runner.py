"""Wiring of `upright edit`: read, check, measure, write, measure again, report."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TypeVar

from upright.editing import present, stack
from upright.editing.config import Apply, Config, TargetConfig, Undo
from upright.editing.context import Expansion
from upright.editing.edit import Edit
from upright.editing.measure import Sheet, known_before, metrics, observe
from upright.editing.outcome import Outcome, World
from upright.editing.probes import Probe, ProbeMaker, edit_prompt
from upright.editing.recipe import Recipe, recipe_for
from upright.editing.requests import Request, other_wordings, tokenised
from upright.editing.rounds import Writer, rounds
from upright.editing.solvers import Setting, open_session
from upright.editing.statistics import basis, lines_of
from upright.editing.targets import Optimisation
from upright.errors import UserError
from upright.knowledge.changes import FactChange, check_changes, counterfactuals, read_changes, write_changes
from upright.knowledge.files import open_graph, open_relations
from upright.knowledge.graph import KnowledgeGraph
from upright.knowledge.overlay import Overlay
from upright.knowledge.relations import Relations
from upright.knowledge.verbalise import taught
from upright.lab import stories
from upright.models.causal import CausalModel, load
from upright.models.generate import generate
from upright.run.evidence import Metric, scalar
from upright.run.folder import Message, RunFolder, RunResult, open_run

T = TypeVar("T")
PREFIX_STARTS = ("The", "Therefore", "Because", "I", "You")
PATCH, MODEL, CHANGES = "patch.safetensors", "model", "changes.jsonl"


@dataclass(frozen=True, kw_only=True)
class Result(RunResult):
    """An edit with its evidence: `edit` is live and applied to `model`."""

    edit: Edit
    model: CausalModel
    patch: Path

    def summary(self) -> Sequence[Metric]:
        """The headline numbers."""
        return present.headline(self.metrics)


def run(config: Config) -> Result:
    """Change facts in a model and measure what came of it.

    Raises:
        UserError: before any weight moves, for inputs that cannot be edited as asked.
    """
    world = _world(config)
    model = load(config.model, config.speed.device)
    _check_subjects(model, world.requests)
    with open_run(config, verb="edit") as folder:
        return _run(config, folder, world, model)


def _run(config: Config, folder: RunFolder, world: World, model: CausalModel) -> Result:
    for path in (config.facts, config.relations, config.stats.text, config.measure.text):
        if path is not None:
            folder.input(path)
    write_changes(folder.path / CHANGES, world.changes)
    folder.model(model)
    recipe = recipe_for(model)
    probes = _probes(config, folder, world)
    texts, subjects = _plain(config, folder, world)
    rows = config.speed.batch_rows

    def watch(name: str) -> Sheet:
        return folder.step(f"measure-{name}", lambda: observe(model, probes, texts, subjects, rows), type=Sheet)

    sheets = {"before": watch("before")}
    setting, source = _setting(config, folder, world, model, recipe)
    session = open_session(config, setting)
    writer = Writer(config, folder, session, model)
    for name, batch in rounds(config.context, world.requests, world.contexts.requests):
        writer.write(name, batch)
        sheets[name] = watch(name)
    outcome = Outcome(session.edit, model, probes, sheets, writer.seconds, recipe, source)
    return _finish(config, folder, world, outcome)


def _world(config: Config) -> World:
    if not config.kg:
        raise UserError("--kg is missing: give a knowledge graph (folder, TSV, N-Triples, Turtle or lab:NAME)")
    graph = open_graph(config.kg)
    relations = Relations.load(config.relations) if config.relations else open_relations(config.kg, graph)
    if (config.facts is None) == (config.counterfactuals is None):
        raise UserError("give either --facts FILE or --counterfactuals N, the changes to write")
    if config.facts is not None:
        asked = read_changes(config.facts)
    else:
        asked = counterfactuals(graph, relations, config.counterfactuals or 0, config.seed)
    report = check_changes(asked, graph, relations)
    changes = list(report.require())
    overlay = Overlay(graph, changes, relations)
    requests = [_request(change, i, graph, relations) for i, change in enumerate(changes)]
    written = _one_answer_each(requests)
    contexts = Expansion(graph, overlay, relations, config.context).contexts(changes, written)
    return World(graph, overlay, relations, changes, requests, contexts, [str(p) for p in report.warnings])


def _request(change: FactChange, number: int, graph: KnowledgeGraph, relations: Relations) -> Request:
    old = graph.objects(change.subject, change.relation)
    labels = graph.labels([change.subject, change.object, *old])
    return Request(
        prompt=edit_prompt(relations, change, labels[change.subject]),
        target=labels[change.object],
        subject=change.subject,
        path=(change.relation,),
        old=labels[old[0]] if len(old) == 1 else change.was,
        source=number,
    )


def _one_answer_each(requests: Sequence[Request]) -> dict[str, str]:
    """Sentences and their objects. Homonyms that read the same but end differently cannot both be written."""
    seen: dict[str, str] = {}
    for request in requests:
        other = seen.setdefault(request.prompt.text, request.target)
        if other != request.target:
            raise UserError(
                f"{request.prompt.text!r} should be followed by {other!r} and by {request.target!r}; "
                "give one of the subjects another label or leave one change out"
            )
    return seen


def _check_subjects(model: CausalModel, requests: Sequence[Request]) -> None:
    for request in requests:
        tokenised(model, request.prompt)


def _probes(config: Config, folder: RunFolder, world: World) -> list[Probe]:
    if not config.measure.facts:
        return []
    written = {(request.subject, request.path) for request in world.contexts.requests}
    maker = ProbeMaker(world.graph, world.overlay, world.relations, world.changes, config.measure, written)
    return maker.all(folder.rng("probes"))


def _plain(config: Config, folder: RunFolder, world: World) -> tuple[list[str], list[str]]:
    """Texts for perplexity and subjects for fluency."""
    count, rng = config.measure.texts, folder.rng("plain text")
    if config.measure.text is None:
        texts = list(islice(stories(rng.randrange(2**32)), count))
    else:
        lines = lines_of(config.measure.text, "measure.text")
        texts = rng.sample(lines, min(count, len(lines)))
    asked = [request.prompt.subject for request in world.requests]
    return texts, rng.sample(asked, min(count, len(asked)))


def _setting(
    config: Config, folder: RunFolder, world: World, model: CausalModel, recipe: Recipe
) -> tuple[Setting, str]:
    """What solvers need, and a description of the statistics' text."""
    settled = taught(world.graph, world.relations, unlike=world.overlay)
    source = basis(config.stats, settled, world.relations, folder.rng("statistics"))
    prefixes = folder.step("prefixes", lambda: _prefixes(config.target, recipe, folder, model))
    names = [field.name for field in fields(Optimisation)]
    target = Optimisation(**{name: _or(getattr(config.target, name), getattr(recipe, name)) for name in names})
    setting = Setting(
        model=model,
        recipe=recipe,
        prefixes=prefixes,
        moments=lambda layers: source.moments(model, layers, config.speed.batch_rows),
        target=target,
        rows=config.speed.batch_rows,
        seed=folder.seed_for("fine-tuning"),
        wordings=partial(other_wordings, world.relations, count=_or(config.target.wordings, recipe.wordings)),
    )
    return setting, str(source)


def _or(asked: T | None, usual: T) -> T:
    return usual if asked is None else asked


def _prefixes(config: TargetConfig, recipe: Recipe, folder: RunFolder, model: CausalModel) -> list[str]:
    """Short texts of the unedited model's own, each ending in a full stop and a space."""
    count = _or(config.prefixes, recipe.prefixes)
    starts = [PREFIX_STARTS[i % len(PREFIX_STARTS)] for i in range(count)]
    if not starts:
        return []
    texts = generate(
        model,
        starts,
        max_new_tokens=max(1, config.prefix_tokens - 1),
        temperature=1.0,
        top_k=5,
        generator=folder.generator("prefixes"),
    )
    return [
        f"{start}{text}".replace("{", " ").replace("}", " ").rstrip(" .") + ". "
        for start, text in zip(starts, texts, strict=True)
    ]


def _finish(config: Config, folder: RunFolder, world: World, outcome: Outcome) -> Result:
    edit, model = outcome.edit, outcome.model
    edit.header |= present.header(config, world, outcome)
    edit.save(folder.path / PATCH)
    if config.save == "model":
        stack.write(model, folder.path / MODEL, config.model, edit)
    for warning in world.warnings:
        folder.event("warning", message=warning)
    found = _metrics(config, world, outcome)
    folder.finish(found, present.report(config, world, outcome, found, folder.rng("examples")))
    return Result(out=folder.path, metrics=found, edit=edit, model=model, patch=folder.path / PATCH)


def _metrics(config: Config, world: World, outcome: Outcome) -> list[Metric]:
    *earlier, last = outcome.sheets
    before, probes = outcome.sheets["before"], outcome.probes
    found = metrics(probes, before, before, "before")
    for name in earlier[1:]:
        found += metrics(probes, outcome.sheets[name], before, "result", method=f"after {name}")
    found += metrics(probes, outcome.sheets[last], before, "after")
    found += known_before(probes, before)
    written, seconds = len(outcome.edit.ledger), sum(outcome.clock.values())
    found += [
        scalar("facts asked", len(world.requests)),
        scalar("contextual edits", written - len(world.requests)),
        scalar("solves", sum(row["solves"] for row in outcome.edit.ledger)),
        *(scalar("writing time", part, split=name, unit="s") for name, part in outcome.clock.items()),
        scalar("writing time", seconds, unit="s", better="lower"),
        scalar("edits per second", written / seconds if seconds else None, better="higher"),
    ]
    return found


# --- undo and apply --------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Folder(Message):
    """An edited model on disk, and what was done to it."""

    model: Path


def undo(config: Undo) -> Folder:
    """Take the last patch out of an edited model's folder; its weights are bit-identical to before."""
    folder = config.folder / MODEL if (config.folder / MODEL).is_dir() else config.folder
    left = stack.undo(folder)
    state = f"{left} earlier patches remain" if left else "its weights are those of the unedited model, bit for bit"
    return Folder(model=folder, message=f"{folder}: the last edit is undone; {state}")


def apply(config: Apply) -> Folder:
    """Write a patch into a model and save the result as a Hugging Face folder.

    Raises:
        UserError: if the patch was made for another model.
    """
    edit = Edit.load(config.patch)
    model = load(config.model, config.speed.device)
    edit.apply(model)
    stack.write(model, config.out, config.model, edit, config.overwrite)
    return Folder(model=config.out, message=f"{config.out}: {config.model} with {len(edit.ledger)} edits")
