"""Target vectors found together against one at a time, and the wall time of 1,000 edits."""

import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from benchmarks.harness import Bench, Cell, Section, relabelled, table
from upright.editing import Config
from upright.editing.config import StatsConfig
from upright.editing.probes import edit_prompt
from upright.editing.recipe import recipe_for
from upright.editing.requests import Request
from upright.editing.solvers import ClosedForm, Setting, make_tasks, open_session
from upright.editing.statistics import basis
from upright.editing.targets import Optimisation, Targets, optimise
from upright.knowledge.changes import counterfactuals
from upright.knowledge.files import open_graph, open_relations
from upright.models.causal import CausalModel, load
from upright.run.evidence import Metric, mean, scalar

WORLD = "lab:atlas"
# As many and as long as those a run samples from its model; fixed, so that models can be compared.
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
    rows: int
    seconds: float
    loss: Metric | None
    updates: float


def run(bench: Bench) -> Section:
    """Time the lab's model and, where there is a GPU, a randomly initialised Llama of a billion parameters."""
    section = Section("Target vectors, batched and one at a time")
    few, many = (4, 8) if bench.quick else (100, 1000)
    stats = StatsConfig(sequences=200) if bench.quick else StatsConfig()
    for model in _models(bench):
        timings = list(_timings(model, stats, few, many))
        batched, single = timings[0], timings[1]
        section.tables += [f"**{model.name}**", table(*_table(timings))]
        section.notes.append(
            f"{model.name}: batching makes target vectors {single.seconds / batched.seconds:.1f} times as fast; "
            f"mean loss {_loss(batched)} batched, {_loss(single)} one at a time."
        )
        section.metrics += [m for timing in timings for m in _metrics(model, timing)]
    section.notes.append(
        "Each vector takes 7 rows: the sentence in 6 contexts and the bare subject. One at a time runs the same code "
        "with one vector in a pass. Writing is MEMIT: vectors, keys and solve; key statistics are timed apart."
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


def _timings(model: CausalModel, stats: StatsConfig, few: int, many: int) -> Iterator[Timing]:
    setting = _setting(model, stats)
    requests = _requests(many)
    _vectors(setting, requests[:2], 448)  # the first pass also loads kernels
    for rows in (448, 1):
        seconds, found = _vectors(setting, requests[:few], rows)
        yield Timing("vectors", few, rows, seconds, _mean_loss(found.loss), found.steps.double().mean().item())
    session = open_session(Config(model=model.name), setting)
    assert isinstance(session, ClosedForm)
    begin = time.monotonic()
    assert session.ridges
    yield Timing("key statistics", 0, 448, time.monotonic() - begin, None, 0.0)
    begin = time.monotonic()
    solution = session.solve(requests)
    seconds = time.monotonic() - begin
    yield Timing("writing", many, 448, seconds, _mean_loss(solution["loss"]), solution["steps"].double().mean().item())


def _vectors(setting: Setting, requests: Sequence[Request], rows: int) -> tuple[float, Targets]:
    """Seconds, and what was found; `rows` bounds one pass, in which at least one vector runs."""
    tasks = make_tasks(setting, requests)
    begin = time.monotonic()
    found = optimise(setting.model, tasks, setting.recipe.layers[-1], setting.target, rows)
    return time.monotonic() - begin, found


def _setting(model: CausalModel, stats: StatsConfig) -> Setting:
    recipe = recipe_for(model)
    names = Optimisation.__dataclass_fields__
    graph = open_graph(WORLD)
    text = basis(stats, [], open_relations(WORLD, graph), random.Random(0))
    return Setting(
        model=model,
        recipe=recipe,
        prefixes=list(PREFIXES),
        moments=lambda layers: text.moments(model, layers, 448),
        target=Optimisation(**{name: getattr(recipe, name) for name in names}),
        rows=448,
        seed=0,
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
        way = "one at a time" if t.rows == 1 else "batched"
        name = f"{t.job}, {t.edits:,} edits, {way}" if t.edits else t.job
        rate = f"{t.edits / t.seconds:.2f}" if t.edits else None
        rows[name] = [scalar("seconds", t.seconds, unit="s"), rate, t.loss, f"{t.updates:.1f}" if t.edits else None]
    return rows, ["time", "edits per second", "mean final loss", "updates per vector"]


def _metrics(model: CausalModel, timing: Timing) -> list[Metric]:
    label = f"{model.name}, {timing.job}, {timing.edits} edits, {timing.rows} rows"
    found = [scalar("seconds", timing.seconds, unit="s", better="lower"), timing.loss]
    return [named for metric in found for named in relabelled(metric, label)]
