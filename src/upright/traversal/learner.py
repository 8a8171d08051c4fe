"""`upright ask learn`: from questions and answers to a small model that drives the traversal."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path as File

import torch
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from upright.errors import UserError
from upright.knowledge.arrays import ArrayGraph
from upright.knowledge.federation import readers
from upright.knowledge.graph import KnowledgeGraph
from upright.knowledge.opening import opened
from upright.models import fresh
from upright.models.causal import load, peek, resolve_device, save
from upright.models.chat import ChatConfig, open_chat
from upright.models.chat.config import ChatSpeed
from upright.run.evidence import Metric, proportion, scalar
from upright.run.folder import RunFolder, RunResult, open_run
from upright.run.plots import forest, lines
from upright.run.report import Report
from upright.training.loop import Checkpoint
from upright.traversal import actor, golds
from upright.traversal.config import Learn
from upright.traversal.golds import Gold
from upright.traversal.lessons import written
from upright.traversal.machine import Machine, Rules
from upright.traversal.measure import judge, summary
from upright.traversal.prompts import Compact
from upright.traversal.questions import Question, read_questions
from upright.traversal.search import Literals, Searcher, Settings
from upright.traversal.seeds import seeds_of
from upright.traversal.style import Manner
from upright.traversal.transcripts import all_of

MODEL, CHECKPOINT = "model", "training.pt"


@dataclass(frozen=True, kw_only=True)
class Result(RunResult):
    """A model that drives a traversal, and how well it does."""

    model: File


def run(config: Learn) -> Result:
    """Find gold paths, write transcripts, train, and ask the held-out questions.

    Raises:
        UserError: for questions without answers, or a graph in which no answers are found.
    """
    with opened(config.kg, config.access, config.links, config.link_by) as graph:
        return _learnt(config, graph)


def _learnt(config: Learn, graph: KnowledgeGraph) -> Result:
    questions = _questions(config, graph)
    if config.model is not None:
        peek(config.model)  # a mistake in its name is said at once
    with open_run(config, verb="ask learn") as folder:
        for path in (config.questions, config.links):
            if path is not None:
                folder.input(path)
        rest, asked = _parts(config, folder, _answered(folder, questions))
        found_golds = folder.step("gold-paths", lambda: golds.find(config, folder, graph, rest), type=list[Gold])
        if not found_golds:
            where = f"{', '.join(config.kg)} within {config.hops} hops"
            raise UserError(f"{config.questions or 'lessons'}: no answers are found in {where}")
        losses = folder.step("training", lambda: _trained(config, folder, graph, found_golds))
        (folder.path / CHECKPOINT).unlink(missing_ok=True)
        model = load(str(folder.path / MODEL), config.speed.device)
        folder.model(model)
        found = [
            proportion("questions with a gold path", len(found_golds), len(rest)),
            scalar("parameters", sum(p.numel() for p in model.model.parameters())),
            *folder.step("check", lambda: _checked(config, graph, folder, asked), type=list[Metric]),
        ]
        folder.finish(found, _report(found_golds, losses, found))
        return Result(out=folder.path, metrics=found, model=folder.path / MODEL)


def _questions(config: Learn, graph: KnowledgeGraph) -> list[Question]:
    """All there are, some of them with answers."""
    if config.questions is None:
        if not isinstance(graph, ArrayGraph):
            raise UserError("--lessons are made from the words of one graph in files; give --questions FILE")
        return written(config.kg, graph, "teach", config.lessons or 0, config.seed)
    questions = read_questions(config.questions)
    if not any(question.answer for question in questions):
        raise UserError(f"{config.questions}: no question has an answer; an actor learns from answers")
    return questions


def _answered(folder: RunFolder, questions: Sequence[Question]) -> list[Question]:
    for question in questions:
        if not question.answer:
            folder.fail("questions", "has no answer", question.model_dump())
    return [question for question in questions if question.answer]


def _parts(config: Learn, folder: RunFolder, questions: list[Question]) -> tuple[list[Question], list[Question]]:
    """Questions to learn, and those that are held out."""
    drawn = folder.rng("held out").sample(questions, len(questions))
    count = round(config.held_out * len(drawn))
    return drawn[count:], drawn[:count]


# --- training --------------------------------------------------------------------------------------------------


def _machine(config: Learn, graph: KnowledgeGraph) -> Machine:
    return Machine(graph, Rules(depth=3 * config.hops, omit=config.omit), *readers(graph))


def _trained(config: Learn, folder: RunFolder, graph: KnowledgeGraph, learnt: Sequence[Gold]) -> list[float]:
    """Train and save the model; the loss of every update."""
    ways = [gold.way() for gold in learnt]
    transcripts, failed = all_of(_machine(config, graph), ways, config.train.wrong, folder.rng("wrong turns"))
    for way in failed:
        folder.fail("transcripts", "its path cannot be walked", {"question": way.question})
    model, tokenizer = _untrained(config, folder, transcripts)
    longest = getattr(model.config, "max_position_embeddings", None) or 2**20
    rows, too_long = actor.tokenised(tokenizer, transcripts, longest)
    for one in too_long:
        folder.fail("transcripts", f"longer than {longest} tokens", {"transcript": one.text})
    if not rows:
        raise UserError(f"no transcript fits into {longest} tokens; give a model of a longer context (--shape.context)")
    checkpoint = Checkpoint(folder.path / CHECKPOINT, config.save_every)
    losses = actor.train(
        model,
        rows,
        tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id,
        actor.Course(
            config.train.tokens,
            config.train.batch,
            config.train.learning_rate or (1e-4 if config.model else 3e-3),
            fresh=config.model is None,
            seed=folder.seed_for("batches"),
        ),
        checkpoint,
    )
    save(model, tokenizer, folder.path / MODEL, torch.float16)
    Manner(omit=config.omit, depth=3 * config.hops).save(folder.path / MODEL)
    return losses


def _untrained(
    config: Learn, folder: RunFolder, transcripts: Sequence[actor.Transcript]
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    if config.model is not None:
        base = load(config.model, config.speed.device, "float32")
        base.model.requires_grad_(True)
        return base.model, base.tokenizer
    sample = folder.rng("tokenizer").sample(list(transcripts), min(len(transcripts), 20_000))
    tokenizer = fresh.train_tokenizer((one.text for one in sample), config.shape.vocabulary)
    model = fresh.new_model(config.shape, tokenizer, folder.seed_for("weights") % 2**32)
    nn.Module.to(model, resolve_device(config.speed.device))
    return model, tokenizer


# --- check and report ------------------------------------------------------------------------------------------


def _checked(config: Learn, graph: KnowledgeGraph, folder: RunFolder, questions: Sequence[Question]) -> list[Metric]:
    """EM-in of tree search and of the plain chain on the held-out questions."""
    found: list[Metric] = []
    for name, samples in (("tree search", 3), ("chain", 1)):
        settings = Settings(samples=samples, depth=3 * config.hops, omit=config.omit, seed=config.seed)
        outcomes = asyncio.run(_ask(config, graph, folder, questions, settings))
        found += summary([judge(labels, q.answer) for q, labels in zip(questions, outcomes, strict=True)], split=name)
    return found


async def _ask(
    config: Learn, graph: KnowledgeGraph, folder: RunFolder, questions: Sequence[Question], settings: Settings
) -> list[tuple[str, ...]]:
    speed = ChatSpeed(device=config.speed.device, batch_rows=config.speed.batch_rows)
    chat = ChatConfig(model=f"hf:{folder.path / MODEL}", raw=True, speed=speed)
    async with open_chat(chat) as client:
        searcher = Searcher(graph, client, Compact(), Literals(*readers(graph)), settings)
        outcomes = await asyncio.gather(*(searcher.answer(q.question, seeds_of(graph, q)) for q in questions))
    return [outcome.labels for outcome in outcomes]


def _report(learnt: Sequence[Gold], losses: Sequence[float], found: Sequence[Metric]) -> Report:
    em_in = {m.split: m for m in found if m.name == "EM-in"}
    best = em_in.get("tree search")
    claim = (
        f"A small model that was shown {len(learnt):,} questions with their answers finds all answers of "
        f"{best.value:.1%} of {best.n:,} others by tree search."
        if best and best.value is not None
        else f"A small model was shown {len(learnt):,} questions with their answers."
    )
    page = Report("Learning to ask a graph", claim)
    page.section("What it answers")
    page.plot(forest(list(em_in.values()), alt="EM-in by method."), "Questions all of whose answers are found (EM-in).")
    page.table(found)
    page.section("Gold paths")
    counts = Counter(" ".join(step.text for step in gold.path) for gold in learnt)
    page.facts({path: f"{count:,} questions" for path, count in counts.most_common(20)})
    page.section("Training")
    window = max(1, len(losses) // 200)
    curve = [(i, sum(losses[i : i + window]) / len(losses[i : i + window])) for i in range(0, len(losses), window)]
    page.plot(
        lines({"loss": curve}, x="update", y="loss (nats)", alt="Training loss by update."),
        f"Loss of {len(losses):,} updates, averaged over {window}.",
    )
    return page.limits(
        [
            "Gold paths are those that agree best with the answers; of several, the one that serves most questions.",
            "It knows the relations of this graph and the words of these questions.",
        ]
    )
