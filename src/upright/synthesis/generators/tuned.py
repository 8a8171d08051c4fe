"""A causal language model tuned on the records with DP-SGD (Yue et al. 2023), by low-rank factors or as a whole."""

import time
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.optim import Optimizer

from upright.errors import MissingExtra, UserError
from upright.models import causal
from upright.models.causal import CausalModel
from upright.models.generate import Guidance, generate
from upright.run.files import atomic
from upright.run.progress import progress
from upright.synthesis.budget import tuning_plan
from upright.synthesis.codes import Codes
from upright.synthesis.config import Config, SamplingConfig, SynthesisSpeed, TuneConfig
from upright.synthesis.corpus import Code
from upright.synthesis.generators.protocol import Task, uniforms
from upright.synthesis.sampling import Draft
from upright.synthesis.shares import QUERY, contributions, noised_shares, open_shares, settled, uniform_shares
from upright.synthesis.texts import Logits, UnitLoss, UnitTexts, tokenised
from upright.training.optimise import adam, warmup_then_decay
from upright.training.private import Certificate, Plan, PrivateTraining
from upright.training.private.gradients import trainable

ADAPTER, MODEL = "adapter", "model"
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Tuned:
    """A tuned model that writes records."""

    model: CausalModel
    codes: Codes
    sampling: SamplingConfig
    certificate: Certificate | None
    shares: Floats
    limits: Sequence[str] = field(default=())
    rows: int = 16

    def write(self, codes: Sequence[Code], seeds: Sequence[int]) -> list[Draft]:
        """As `Generator.write`."""
        prompts = [self.codes.prompt(code).rstrip(" ") for code in codes]
        how = self.sampling
        guided = how.guidance > 1 and bool(self.codes.columns)
        found = generate(
            self.model,
            prompts,
            how.tokens,
            stop=(),
            temperature=how.temperature,
            top_k=how.top_k,
            top_p=how.top_p,
            batch_rows=self.rows,
            draws=torch.from_numpy(uniforms(seeds, how.tokens)),
            guidance=Guidance(how.guidance, self.codes.neutral.rstrip(" ")) if guided else None,
        )
        return [Draft(text.strip(), text.ended) for text in found]


def fit(task: Task) -> Tuned:
    """Tune the model on the records; goes on where an earlier process was killed.

    Raises:
        UserError: for a model that cannot be read or has no end token, a code that leaves no room, and a budget that
            does not suffice.
        MissingExtra: without peft or dp-accounting.
    """
    config, tune = task.config, task.config.tune
    plan = tuning_plan(config, len(task.members), () if task.control else None)
    model = load_base(config.model, config.speed, tune.method)
    check_room(model, config.tune.tokens, config.sampling.tokens, task.codes)
    parts = tokenised(model.tokenizer, task.prompts, task.corpus.texts, end_of(model), tune.tokens)
    wrapped = made_trainable(model, tune, config.model, task.seed_for("adapter"))
    records = UnitTexts(
        parts.rows,
        task.members,
        config.units.records,
        task.seed_for("records"),
        model.pad_id,
        model.device,
        config.speed.tokens,
    )
    course = Course(plan, model, records, task)
    shares, drowned = settled(course.shares())
    course.run()
    hand_over(wrapped, model, tune, task.out)
    certificate = course.training.certificate()
    settle(wrapped, model)
    limits = [*drowned, *_limits(parts.cut, len(parts.rows), plan, tune)]
    return Tuned(model, task.codes, config.sampling, certificate, shares, limits, config.speed.batch_rows)


def _limits(cut: Sequence[int], n: int, plan: Plan, tune: TuneConfig) -> list[str]:
    found = []
    if cut:
        found.append(f"{len(cut):,} of {n:,} records were cut at {tune.tokens} tokens (tune.tokens).")
    if plan.batch < tune.batch:
        found.append(f"tune.batch={tune.batch} is more than the {plan.records:,} units; each took part in every step.")
    return found


def reopen(config: Config, codes: Codes, out: Path) -> Tuned:
    """The generator again, from what `fit` has handed over."""
    model = load_base(
        str(out / MODEL) if config.tune.method == "full" else config.model, config.speed, config.tune.method
    )
    if config.tune.method == "lora":
        with _calm():
            wrapped = _peft().PeftModel.from_pretrained(model.model, str(out / ADAPTER))
        settle(wrapped, model)
    shares = uniform_shares(len(codes.combinations))
    return Tuned(model, codes, config.sampling, None, shares, rows=config.speed.batch_rows)


# --- the model -------------------------------------------------------------------------------------------------


def load_base(spec: str, speed: SynthesisSpeed, method: str) -> CausalModel:
    """The model before tuning: weights in full precision, or as stored beside low-rank factors on a GPU."""
    lower = method == "lora" and precision_of(speed) is not None
    return causal.load(spec, speed.device, "bfloat16" if lower else "float32")


def precision_of(speed: SynthesisSpeed) -> torch.dtype | None:
    """Type of the forward pass where it is lower than that of the weights."""
    if speed.precision == "auto":
        cuda = causal.resolve_device(speed.device).type == "cuda"
        return torch.bfloat16 if cuda and torch.cuda.is_bf16_supported() else None
    return torch.bfloat16 if speed.precision == "bfloat16" else None


def end_of(model: CausalModel) -> int:
    """The token that ends a record. Raises UserError for a model without one."""
    found = model.tokenizer.eos_token_id
    if found is None and not model.eos_ids:
        raise UserError(f"{model.name}: has no end-of-text token; use a model whose tokenizer has an eos_token")
    return int(found) if found is not None else min(model.eos_ids)


def check_room(model: CausalModel, longest: int, written: int, codes: Codes) -> None:
    """Raises UserError where records to learn, or to write after their code, outgrow what the model reads."""
    if model.context is None:
        return
    if longest > model.context:
        raise UserError(f"tune.tokens={longest}: {model.name} reads {model.context} tokens at most; lower it")
    prompts = [codes.prompt(code) for code in codes.combinations]
    code = max(map(len, causal.prompt_ids(model.tokenizer, prompts)))
    if code + written > model.context:
        raise UserError(
            f"sampling.tokens={written}: with a code of {code} tokens it is more than the {model.context} that "
            f"{model.name} reads; must be at most {model.context - code}"
        )


def made_trainable(model: CausalModel, tune: TuneConfig, name: str, seed: int) -> Any:
    """The model with what shall be trained: low-rank factors beside all linear layers but the head, or all weights."""
    if tune.method == "full":
        model.model.requires_grad_(True)
        return None
    peft = _peft()
    settings = peft.LoraConfig(
        r=tune.rank,
        lora_alpha=2 * tune.rank,
        target_modules="all-linear",
        lora_dropout=0.0,  # dropout would draw from the global generator, and a resumed run could not repeat it
        task_type="CAUSAL_LM",
    )
    with _calm(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # peft draws its first factors from the global generator
        wrapped = peft.get_peft_model(model.model, settings)
    wrapped.peft_config["default"].base_model_name_or_path = name
    wrapped.eval()
    return wrapped


def hand_over(wrapped: Any, model: CausalModel, tune: TuneConfig, out: Path) -> None:
    """Write what was learnt: an adapter in the format of peft, or a whole model."""
    if tune.method == "full":
        causal.save(model.model, model.tokenizer, out / MODEL)
        return
    with _calm():
        wrapped.save_pretrained(out / ADAPTER)
    model.tokenizer.save_pretrained(out / ADAPTER)


def settle(wrapped: Any, model: CausalModel) -> None:
    """Ready to write: nothing is trained any more, and factors are added to full-precision weights, which is faster."""
    model.model.requires_grad_(False)
    if wrapped is not None and model.dtype == torch.float32:
        wrapped.merge_adapter()


def _peft() -> Any:
    try:
        with _calm():
            import peft
    except ImportError as error:
        raise MissingExtra("peft", "private") from error
    return peft


@contextmanager
def _calm() -> Iterator[None]:
    """Without the warnings of peft about names that transformers is about to change, and layers stored transposed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


# --- training --------------------------------------------------------------------------------------------------


class Course:
    """A private training that is saved now and then, and goes on from there."""

    def __init__(self, plan: Plan, model: CausalModel, records: UnitTexts, task: Task) -> None:
        tune, speed = task.config.tune, task.config.speed
        self._task, self._records, self._rate = task, records, tune.learning_rate
        self._module: nn.Module = Logits(model.model)
        self._optimisers: list[Optimizer] = []
        self._schedule = warmup_then_decay()
        self._shares: torch.Tensor | None = None
        self.training = PrivateTraining(
            plan,
            self._module,
            UnitLoss(precision_of(speed)),
            records,
            partial(self._optimiser, learning_rate=tune.learning_rate),
            task.randomness("training"),
        )
        self._load()

    def _optimiser(self, parameters: Iterable[nn.Parameter], learning_rate: float) -> Optimizer:
        self._optimisers.append(adam(parameters, learning_rate))
        return self._optimisers[-1]

    def shares(self) -> Floats:
        """The share of each code, asked of the records where it is not public; all 0 where noise drowned it."""
        task, codes = self._task, self._task.codes
        if QUERY in self.training.plan.allowance:
            if self._shares is None:
                given = contributions(task.unit_codes, codes.combinations)
                self._shares = self.training.ask(QUERY, given)
                self._save()  # together with what it cost, before anybody sees it
            return noised_shares(self._shares.double().numpy(), self.training.plan.query(QUERY).noise)
        return open_shares(task.config.codes.counts, codes)

    def run(self) -> None:
        """Take the steps that are left. An interruption says what has been spent."""
        plan, saved = self.training.plan, time.monotonic()
        what = "tuning the control" if self._task.control else "tuning"
        try:
            with progress(what, total=plan.steps) as bar:
                bar.advance(self.training.steps_taken)
                while self.training.steps_taken < plan.steps:
                    self._step()
                    bar.advance()
                    if time.monotonic() - saved > self._task.config.speed.save_every:
                        self._save()
                        saved = time.monotonic()
        except BaseException as error:
            done = self.training.steps_taken
            error.add_note(f"{what}: epsilon {self.training.epsilon:.3g} spent in {done} of {plan.steps} steps")
            raise
        self._save()

    def _step(self) -> None:
        done = self.training.steps_taken
        rate = self._rate * self._schedule((done + 1) / self.training.plan.steps)
        for optimiser in self._optimisers:
            for group in optimiser.param_groups:
                group["lr"] = rate
        self._records.begin(done)
        self.training.step()

    def _save(self) -> None:
        state = self.training.state_dict()
        names = trainable(self._module)
        state["model"] = {name: value for name, value in state["model"].items() if name in names}
        self._task.state.parent.mkdir(parents=True, exist_ok=True)
        with atomic(self._task.state) as part:
            torch.save({"training": state, "shares": self._shares}, part)

    def _load(self) -> None:
        if not self._task.state.exists():
            return
        found = torch.load(self._task.state, weights_only=True, map_location="cpu")
        state = found["training"]
        state["model"] = {**self._module.state_dict(), **state["model"]}  # what is not trained is that of the base
        self.training.load_state_dict(state)
        self._shares = found["shares"]
