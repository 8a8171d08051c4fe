"""The model that is tuned: read, made trainable, handed over and made ready to write."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from upright.errors import MissingExtra, UserError
from upright.models import causal
from upright.models.causal import CausalModel
from upright.synthesis.codes import Codes
from upright.synthesis.config import SynthesisSpeed, TuneConfig

ADAPTER, MODEL = "adapter", "model"


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


def take_up(model: CausalModel, out: Path) -> None:
    """The adapter that was handed over, on the model it was made for, ready to write."""
    with _calm():
        wrapped = _peft().PeftModel.from_pretrained(model.model, str(out / ADAPTER))
    settle(wrapped, model)


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
