"""A causal language model tuned on the records with DP-SGD (Yue et al. 2023), by low-rank factors or as a whole."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from upright.models.causal import CausalModel
from upright.models.generate import Guidance, generate
from upright.synthesis.budget import tuning_plan
from upright.synthesis.codes import Codes
from upright.synthesis.config import Config, SamplingConfig, TuneConfig
from upright.synthesis.corpus import Code
from upright.synthesis.generators.base import (
    MODEL,
    check_room,
    end_of,
    hand_over,
    load_base,
    made_trainable,
    settle,
    take_up,
)
from upright.synthesis.generators.course import Course
from upright.synthesis.generators.protocol import Task, uniforms
from upright.synthesis.sampling import Draft
from upright.synthesis.shares import settled, uniform_shares
from upright.synthesis.texts import UnitTexts, tokenised
from upright.training.private import Certificate, Plan

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
        take_up(model, out)
    shares = uniform_shares(len(codes.combinations))
    return Tuned(model, codes, config.sampling, None, shares, rows=config.speed.batch_rows)
