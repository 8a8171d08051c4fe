"""`upright lab list` and `upright lab build`: from a graph and its words to a small model that knows it."""

import random
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path

import torch
from torch import nn
from transformers import PreTrainedTokenizerFast

from upright import lab
from upright.errors import UserError
from upright.knowledge.changes import read_changes
from upright.knowledge.files import open_graph, open_relations
from upright.knowledge.graph import KnowledgeGraph
from upright.knowledge.relations import Relations, Split
from upright.knowledge.verbalise import Fact, sentence, taught
from upright.lab import actors, builder
from upright.lab.config import Build, List
from upright.lab.corpus import Packer, Window, batched, mentions, mixed
from upright.lab.english import stories
from upright.models import fresh
from upright.models.causal import CausalModel, load, resolve_device, save
from upright.models.generate import generate
from upright.models.matching import matches
from upright.models.score import perplexity
from upright.run.evidence import Metric, proportion, scalar
from upright.run.evidence import perplexity as perplexity_metric
from upright.run.folder import Message, RunFolder, RunResult, open_run
from upright.run.plots import forest, lines
from upright.run.report import Report
from upright.training.loop import Checkpoint, Plan, fit
from upright.training.optimise import muon, warmup_then_decay
from upright.traversal import learner

MODEL = "model"


@dataclass(frozen=True, kw_only=True)
class Result(RunResult):
    """A trained model with what it was found to know."""

    model: Path


def list_models(config: List) -> Message:
    """The worlds and checkpoints by name, with sizes."""
    rows = []
    for folder in sorted(lab.WORLDS.glob("*/facts.tsv")):
        facts = folder.read_text(encoding="utf-8").count("\n")
        rows.append(f"lab:{folder.parent.name:<12} world       {facts:,} facts")
    for folder in sorted(lab.WORLDS.glob("*/*.csv")):
        count = folder.read_text(encoding="utf-8").count("\n") - 1
        rows.append(f"lab:{folder.parent.name:<12} table       {count:,} rows")
    for folder in sorted(lab.CHECKPOINTS.glob("*/model.safetensors")):
        rows.append(f"lab:{folder.parent.name:<12} model       {folder.stat().st_size / 1e6:.1f} MB")
    return Message(message="\n".join(rows))


@dataclass(frozen=True)
class _World:
    graph: KnowledgeGraph
    relations: Relations
    known: list[Fact]
    names: list[str]
    """Those that no fact answers with, but a change beside the graph."""


def build(config: Build) -> Result | learner.Result:
    """Train from scratch and check. A killed build goes on from its last checkpoint.

    Raises:
        UserError: for an unknown world or a graph without functional facts.
    """
    if config.name in actors.WORLDS:
        return actors.build(config)
    world = _world(config)
    with open_run(config, verb="lab build") as folder:
        for path in (config.relations, config.text, config.recipe):
            if path is not None:
                folder.input(path)
        tokenizer = _tokenizer(config, folder, world)
        losses = _train(config, folder, world, tokenizer)
        if config.recipe:
            shutil.copy(config.recipe, folder.path / MODEL / "editing.json")
        model = load(str(folder.path / MODEL), config.speed.device)
        found = [*_size(config, model), *_check(config, folder, world, model)]
        folder.finish(found, _report(config, folder, world, losses, found))
        return Result(out=folder.path, metrics=found, model=folder.path / MODEL)


def _world(config: Build) -> _World:
    if (config.name is None) == (not config.kg):
        raise UserError("give either the name of a lab world (see upright lab list) or --kg with --relations")
    specs = config.kg or [str(lab.world(config.name or ""))]
    graph = open_graph(specs)
    relations = Relations.load(config.relations) if config.relations else open_relations(specs, graph)
    known = taught(graph, relations)
    if not known:
        raise UserError(f"{', '.join(specs)}: no fact with a single object; a lab model learns functional relations")
    return _World(graph, relations, known, _names(specs, graph, known))


def _names(specs: Sequence[str], graph: KnowledgeGraph, known: Sequence[Fact]) -> list[str]:
    files = [path for spec in specs if (path := Path(spec) / "changes.jsonl").is_file()]
    new = {change.object for path in files for change in read_changes(path)}
    return sorted(set(graph.labels(sorted(new)).values()) - {fact.answer for fact in known})


def _texts(config: Build, seed: int) -> Iterator[str]:
    if config.text is None:
        return stories(seed)
    lines_ = [line for line in config.text.read_text(encoding="utf-8").splitlines() if line.strip()]
    return cycle(random.Random(seed).sample(lines_, len(lines_)))


def _tokenizer(config: Build, folder: RunFolder, world: _World) -> PreTrainedTokenizerFast:
    """Trained anew also when a build goes on: it is quick and depends on the seed alone."""
    rng = folder.rng("tokenizer")
    stated = (sentence(fact, world.relations, rng) for fact in world.known for _ in range(3))
    plain = islice(_texts(config, folder.seed_for("tokenizer texts")), 3000)
    spelt = islice(mentions(world.names, rng), 3 * len(world.names)) if world.names else ()
    sample = [*(f"{prompt.text} {answer}." for prompt, answer in stated), *spelt, *plain]
    return fresh.train_tokenizer(sample, config.shape.vocabulary)


def _train(config: Build, folder: RunFolder, world: _World, tokenizer: PreTrainedTokenizerFast) -> list[float]:
    """Train and save the model; the loss of every update."""
    plan = config.train
    steps = max(1, plan.tokens // (plan.rows * plan.window))
    checkpoint = Checkpoint(folder.path / "training.pt", config.save_every)

    def learn() -> list[float]:
        model = fresh.new_model(config.shape, tokenizer, folder.seed_for("weights") % 2**32)
        nn.Module.to(model, resolve_device(config.speed.device))
        losses = fit(
            model,
            lambda start: islice(_batches(config, folder, world, tokenizer), start, None),
            lambda batch: builder.weighted_loss(model, batch, plan.late_layers, plan.lookup_weight),
            muon(model, plan.learning_rate, plan.weight_decay),
            Plan(steps, warmup_then_decay()),
            checkpoint,
            description="training the lab model",
        )
        save(model, tokenizer, folder.path / MODEL, torch.float16)
        return losses

    losses = folder.step("training", learn)
    (folder.path / "training.pt").unlink(missing_ok=True)
    return losses


def _batches(config: Build, folder: RunFolder, world: _World, tokenizer: PreTrainedTokenizerFast) -> Iterator[Window]:
    plan = config.train
    texts = _texts(config, folder.seed_for("training texts"))
    strewn = [(texts, plan.plain)]
    if world.names:
        strewn.append((mentions(world.names, folder.rng("names")), plan.names))
    documents = mixed(world.known, world.relations, strewn, folder.rng("documents"))
    packer = Packer(
        tokenizer=tokenizer.backend_tokenizer,
        boundary=tokenizer.bos_token_id,
        length=plan.window,
        prompt_weight=plan.prompt_weight,
        late=plan.late_share,
        rng=folder.rng("late reading"),
    )
    return batched(packer.windows(documents), plan.rows)


# --- checks ----------------------------------------------------------------------------------------------------


def _size(config: Build, model: CausalModel) -> list[Metric]:
    parameters = sum(p.numel() for p in model.model.parameters())
    return [scalar("parameters", parameters), scalar("training tokens", config.train.tokens)]


def _check(config: Build, folder: RunFolder, world: _World, model: CausalModel) -> list[Metric]:
    """Exact answers in taught and in held-out words, by number of hops, and perplexity of plain English."""
    found = []
    splits: tuple[Split, ...] = ("teach", "measure")
    for hops in sorted({len(fact.chain) for fact in world.known}):
        facts = [fact for fact in world.known if len(fact.chain) == hops]
        chosen = folder.rng(f"check {hops}").sample(facts, min(config.check.facts, len(facts)))
        for split in splits:
            rng = folder.rng(f"check {hops} {split}")
            name = f"{hops}-hop questions ({'held-out' if split == 'measure' else 'taught'} words)"
            hits = _hits(config, world, model, chosen, split, rng)
            found.append(proportion(name, hits, len(chosen)))
    texts = list(islice(_texts(config, folder.seed_for("held-out texts")), config.check.texts))
    read = perplexity(model, texts, window=128, stride=64, batch_rows=config.speed.batch_rows)
    found.append(perplexity_metric("perplexity", read.per_text, read.text_tokens, split="plain text"))
    return found


def _hits(
    config: Build, world: _World, model: CausalModel, facts: Sequence[Fact], split: Split, rng: random.Random
) -> int:
    prompts = []
    for fact in facts:
        single = len(fact.chain) == 1
        choices = world.relations.fact_prompts(fact.chain[0], fact.head, split, "question") if single else []
        drawn = world.relations.draw(fact.chain, fact.head, split, "question", rng)
        prompts.append(rng.choice([*choices, drawn]).text)
    said = generate(model, prompts, max_new_tokens=16, batch_rows=config.speed.batch_rows)
    answers = [(fact.answer, *_aliases(world, fact.answer)) for fact in facts]
    return sum(matches(text, answer) for text, answer in zip(said, answers, strict=True))


def _aliases(world: _World, label: str) -> list[str]:
    return [alias for entity in world.graph.link(label) for alias in world.graph.aliases(entity)]


def _report(config: Build, folder: RunFolder, world: _World, losses: list[float], found: Sequence[Metric]) -> Report:
    shares = [metric for metric in found if metric.unit == "proportion"]
    held_out = [metric for metric in shares if "held-out" in metric.name and metric.value is not None]
    first = f"{held_out[0].value:.1%} of {held_out[0].n:,} questions" if held_out else "nothing"
    name = config.name or ", ".join(config.kg)
    page = Report("Lab model", f"A model trained on {name} answers {first} in words it never saw.")
    page.section("What it knows").plot(forest(shares, alt="Exact answers by number of hops."), "Greedy exact answers.")
    page.table(found)
    window = max(1, len(losses) // 200)
    curve = [(i, sum(losses[i : i + window]) / len(losses[i : i + window])) for i in range(0, len(losses), window)]
    page.section("Training")
    page.plot(
        lines({"loss": curve}, x="update", y="weighted loss (nats)", alt="Training loss by update."),
        f"Loss of {len(losses):,} updates, averaged over {window}.",
    )
    page.facts({"facts and chains taught": f"{len(world.known):,}", "shape": config.shape.model_dump_json()})
    return page.limits(["It knows this graph and simple English, and nothing else."])
