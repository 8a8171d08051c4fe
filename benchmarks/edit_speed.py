"""Target vectors found together against one at a time, and the wall time of 1,000 edits."""

import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import LlamaConfig, LlamaForCausalLM

from benchmarks.harness import Bench, Cell, Section, relabelled, table
from upright.editing import Config
from upright.editing.config import StatsConfig
from upright.editing.method import project
from upright.editing.probes import edit_prompt
from upright.editing.recipe import recipe_for
from upright.editing.requests import Request, other_wordings
from upright.editing.solvers import ClosedForm, Setting, make_tasks, open_session
from upright.editing.statistics import basis
from upright.editing.targets import Optimisation, Targets, Task, optimise
from upright.knowledge.changes import counterfactuals
from upright.knowledge.files import open_graph, open_relations
from upright.models.causal import CausalModel, load, pad
from upright.models.layouts import map_output
from upright.run.evidence import Metric, mean, scalar
from upright.run.memory import keep_freed_memory

WORLD = "lab:atlas"
# As long as those a run samples from its model; fixed, so that models can be compared.
PREFIXES = (
    "The road to the village was long and quiet. ",
    "Therefore they waited until the rain had stopped. ",
    "Because of the wind, the boats stayed at home. ",
    "I met an old friend at the market today. ",
    "You can find the key under the green mat. ",
)


@dataclass(frozen=True)
class Timing:
    """One way of doing one job."""

    job: str
    edits: int
    seconds: float
    loss: Metric | None
    updates: float


def run(bench: Bench) -> Section:
    """Time the lab's model and, where there is a GPU, a randomly initialised Llama of a billion parameters."""
    section = Section("Target vectors, batched and one at a time")
    few, many = (4, 8) if bench.quick else (100, 1000)
    stats = StatsConfig(sequences=200) if bench.quick else StatsConfig()
    for model in _models(bench):
        setting = _setting(model, stats)
        timings = list(_timings(setting, few, many))
        batched, single, published = timings[:3]
        section.tables += [f"**{model.name}**", table(*_table(timings))]
        section.notes.append(
            f"{model.name}, {1 + len(setting.prefixes) + setting.recipe.wordings} rows a vector: all at once takes "
            f"{published.seconds / batched.seconds:.1f} times less time than the published procedure one at a time, "
            f"and {single.seconds / batched.seconds:.1f} times less than our own one at a time; mean loss "
            f"{_loss(batched)}, {_loss(published)} and {_loss(single)}."
        )
        section.metrics += [m for timing in timings for m in _metrics(model, timing)]
    section.notes.append(
        "The published procedure runs whole sentences through the whole model in every update, one vector at a time "
        "(`one_vector`, with the same loss, optimiser and stopping rule). Ours keeps the part of the pass that does "
        "not change, with one vector in a pass or as many as fit 448 rows. Writing is MEMIT's first round: vectors, "
        "keys and solve; key statistics are timed apart."
    )
    if not torch.cuda.is_available():
        section.notes.append("No GPU here: the model of a billion parameters is left out.")
    return section


def _models(bench: Bench) -> Iterator[CausalModel]:
    lab = load(bench.model, "auto")
    yield lab
    if torch.cuda.is_available():
        yield _billion(lab)


def _billion(lab: CausalModel) -> CausalModel:
    """A Llama of Llama-3.2 1B's shape with random weights and the lab's tokenizer."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=128_256,
        hidden_size=2048,
        intermediate_size=8192,
        num_hidden_layers=16,
        num_attention_heads=32,
        num_key_value_heads=8,
        tie_word_embeddings=True,
    )
    with torch.device("cuda"):
        model = LlamaForCausalLM(config).bfloat16()
    return CausalModel(model, lab.tokenizer, "random Llama, 1.2 B")


def _timings(setting: Setting, few: int, many: int) -> Iterator[Timing]:
    requests = _requests(many)
    keep_freed_memory()  # as every run does
    for job, find in JOBS.items():
        find(setting, requests[: few // 2])  # the first pass also loads kernels and asks for memory
        begin = time.monotonic()
        found = find(setting, requests[:few])
        yield _timing(job, few, begin, {"loss": found.loss, "steps": found.steps})
    session = open_session(Config(model=setting.model.name), setting)
    assert isinstance(session, ClosedForm)
    begin = time.monotonic()
    assert session.ridges
    yield Timing("key statistics", 0, time.monotonic() - begin, None, 0.0)
    begin = time.monotonic()
    yield _timing("writing", many, begin, session.solve(requests))


def _timing(job: str, edits: int, begin: float, found: Mapping[str, Tensor]) -> Timing:
    seconds = time.monotonic() - begin
    return Timing(job, edits, seconds, _mean_loss(found["loss"]), found["steps"].double().mean().item())


def _together(setting: Setting, requests: Sequence[Request], rows: int) -> Targets:
    """Our search; `rows` bounds one pass, in which at least one vector runs."""
    tasks = make_tasks(setting, requests)
    return optimise(setting.model, tasks, setting.recipe.layers[-1], setting.target, rows)


def _published(setting: Setting, requests: Sequence[Request]) -> Targets:
    """The search as published, vector after vector."""
    layer = setting.recipe.layers[-1]
    tasks = make_tasks(setting, requests)
    return Targets.join([one_vector(setting.model, task, layer, setting.target) for task in tasks])


JOBS: dict[str, Callable[[Setting, Sequence[Request]], Targets]] = {
    "vectors, all at once": lambda setting, requests: _together(setting, requests, 448),
    "vectors, one at a time": lambda setting, requests: _together(setting, requests, 1),
    "vectors, one at a time, published procedure": _published,
}


def one_vector(model: CausalModel, task: Task, layer: int, config: Optimisation) -> Targets:
    """A target vector by MEMIT's own procedure (arXiv:2210.07229), nothing kept from one update to the next.

    Raises:
        ValueError: for a KL term, which is left out here.
    """
    if config.kl:
        raise ValueError("one_vector knows no KL term; set kl = 0")
    ids, _ = pad([[*row.before, *row.inputs] for row in task.rows], model.pad_id, "right", model.device)
    every, fact = torch.arange(len(ids)), torch.tensor([len(row.before) for row in task.rows])
    delta = torch.zeros(1, model.model.config.hidden_size, device=model.device, requires_grad=True)
    optimiser = torch.optim.Adam([delta], lr=config.learning_rate)
    states: list[Tensor] = []

    def add(hidden: Tensor) -> Tensor:
        states.append(hidden[0, fact[0]].detach())
        moved = hidden.clone()
        moved[every, fact] += delta.to(hidden.dtype)
        return moved

    for step in range(config.steps):
        with map_output(model.blocks[layer], add):
            logits = model.unembed(model.hidden(ids)).float()
        loss = config.decay * delta.norm() / states[0].float().norm() ** 2
        for row, weight, said in zip(task.rows, task.weights, logits, strict=True):
            first = len(row.before) + len(row.after) - 1
            wanted = torch.tensor(row.targets, device=model.device)
            loss = loss + weight * cross_entropy(said[first : first + len(wanted)], wanted)
        if loss < config.stop_below or step == config.steps - 1:
            break
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        with torch.no_grad():
            delta.copy_(project(delta, config.clamp * states[0].float().norm()[None]))
    h = states[0].float()[None].cpu()
    return Targets(h, h + delta.detach().cpu(), loss.detach()[None].cpu(), torch.tensor([step]))


def _setting(model: CausalModel, stats: StatsConfig) -> Setting:
    """The model's recipe; without the KL term, which the comparison leaves out on all sides."""
    recipe = recipe_for(model).model_copy(update={"kl": 0.0})
    names = Optimisation.__dataclass_fields__
    graph = open_graph(WORLD)
    relations = open_relations(WORLD, graph)
    text = basis(stats, [], relations, random.Random(0))
    return Setting(
        model=model,
        recipe=recipe,
        prefixes=list(PREFIXES[: recipe.prefixes]),
        moments=lambda layers: text.moments(model, layers, 448),
        target=Optimisation(**{name: getattr(recipe, name) for name in names}),
        rows=448,
        seed=0,
        wordings=partial(other_wordings, relations, count=recipe.wordings),
    )


def _requests(count: int) -> list[Request]:
    graph = open_graph(WORLD)
    relations = open_relations(WORLD, graph)
    return [
        Request(edit_prompt(relations, change, change.subject), change.object, change.subject, (change.relation,))
        for change in counterfactuals(graph, relations, count, seed=0)
    ]


# --- numbers ---------------------------------------------------------------------------------------------------


def _mean_loss(losses: torch.Tensor) -> Metric:
    return mean("final loss", losses.double().numpy(), better="lower")


def _loss(timing: Timing) -> str:
    return f"{timing.loss.value:.4f}" if timing.loss and timing.loss.value is not None else "–"


def _table(timings: Sequence[Timing]) -> tuple[dict[str, list[Cell]], list[str]]:
    rows: dict[str, list[Cell]] = {}
    for t in timings:
        name = f"{t.job}, {t.edits:,} edits" if t.edits else t.job
        rate = f"{t.edits / t.seconds:.2f}" if t.edits else None
        rows[name] = [scalar("seconds", t.seconds, unit="s"), rate, t.loss, f"{t.updates:.1f}" if t.edits else None]
    return rows, ["time", "edits per second", "mean final loss", "updates per vector"]


def _metrics(model: CausalModel, timing: Timing) -> list[Metric]:
    label = f"{model.name}, {timing.job}, {timing.edits} edits"
    found = [scalar("seconds", timing.seconds, unit="s", better="lower"), timing.loss]
    return [named for metric in found for named in relabelled(metric, label)]
