"""Causal language models: loading with clear errors, identity, and the rules of tokenising.

Tokenising, everywhere in upright:

- A prompt gets the BOS token if its tokenizer adds one, and never an EOS.
- A continuation begins with exactly one space and gets no special token.
- Prompt and continuation meet at token ids, never at character counts: see `prompt_and_target`.
"""

import copy
import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from huggingface_hub.errors import (
    GatedRepoError,
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
)
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.cache_utils import Cache
from transformers.utils import logging as transformers_logging

from upright.errors import UserError, unknown
from upright.models.layouts import blocks_of, layout_for, layout_of

Side = Literal["left", "right"]

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "spiece.model", "tekken.json")
WEIGHT_FILES = ("*.safetensors", "pytorch_model*.bin")


class Batch(NamedTuple):
    """Texts as padded ids."""

    ids: Tensor
    """Token ids (B, T), on the model's device."""
    mask: Tensor
    """1 for a token, 0 for padding (B, T), on the model's device."""
    offsets: Tensor
    """Characters [start, end) of each token in its text (B, T, 2), on the CPU; (0, 0) for BOS and padding."""


class CausalModel:
    """A frozen causal language model in evaluation mode, with its tokenizer and the map of its layers.

    Parameters do not require gradients, but gradients flow through: `hidden` and `unembed` run under whatever
    grad mode the caller set. Raises `UserError` for an unknown family, a mixture of experts, a tokenizer
    without character offsets, and a tokenizer larger than the model's embedding.
    """

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, name: str) -> None:
        """Take `model` over (it is frozen in place); `name` is what reports and errors call it."""
        self.layout = layout_of(model)
        self.model = model
        self.model.eval()
        self.model.requires_grad_(False)
        self.tokenizer = tokenizer
        self.name = name
        self._check_tokenizer()
        self._set_pad_token()
        self._digest: tuple[tuple[tuple[int, int], ...], str] | None = None

    @cached_property
    def blocks(self) -> list[nn.Module]:
        """The transformer blocks, first to last."""
        return blocks_of(self.model)

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return torch.device(self.model.device)

    @property
    def dtype(self) -> torch.dtype:
        """The parameters' floating-point type."""
        dtype: torch.dtype = self.model.dtype
        return dtype

    @property
    def context(self) -> int | None:
        """The longest sequence the model was built for, in tokens; None when its config does not say."""
        return getattr(self.model.config, "max_position_embeddings", None)

    @property
    def pad_id(self) -> int:
        """The id that fills a batch; always masked, so its meaning plays no role."""
        return int(self.tokenizer.pad_token_id)

    @cached_property
    def eos_ids(self) -> frozenset[int]:
        """The ids that end a text, by the generation config and by the tokenizer."""
        config = self.model.generation_config
        configured = config.eos_token_id if config is not None else None
        listed = configured if isinstance(configured, list) else [configured]
        return frozenset(i for i in [*listed, self.tokenizer.eos_token_id] if i is not None)

    def block(self, layer: int) -> nn.Module:
        """Block number `layer`, from 0. Raises `UserError` outside the model."""
        if not 0 <= layer < len(self.blocks):
            raise UserError(f"layer {layer}: {self.name} has layers 0 to {len(self.blocks) - 1}")
        return self.blocks[layer]

    def down(self, layer: int) -> nn.Module:
        """The down projection (d_ff to d_model) of block `layer`. Raises `UserError` outside the model."""
        return self.block(layer).get_submodule(self.layout.down)

    def hidden(
        self,
        ids: Tensor,
        mask: Tensor | None = None,
        positions: Tensor | None = None,
        cache: Cache | None = None,
    ) -> Tensor:
        """The last hidden states (B, T, d_model) for `ids` (B, T), after the final norm, ready for `unembed`.

        Without `mask` every token counts as real: right for right padding, which causal attention never
        reaches. `positions` (B, T) count from 0. `cache` is read and extended; `mask` then spans the cached
        tokens as well.
        """
        output = self.model.base_model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=cache,
            use_cache=cache is not None,
        )
        states: Tensor = output.last_hidden_state
        return states

    def unembed(self, hidden: Tensor) -> Tensor:
        """Logits (..., V) of hidden states (..., d_model), soft-capped in the families that do so."""
        logits: Tensor = self.model.get_output_embeddings()(hidden)
        cap = getattr(self.model.config, "final_logit_softcapping", None)
        return logits if cap is None else cap * torch.tanh(logits / cap)

    def encode(self, texts: Sequence[str], side: Side = "right") -> Batch:
        """Tokenise prompts into one batch padded on `side`; nothing is cut off.

        Offsets count characters of the whole text, so the tokens of a substring are found by its position.
        """
        rows, offsets = prompt_ids_and_offsets(self.tokenizer, texts)
        ids, mask = pad(rows, self.pad_id, side, self.device)
        starts, _ = pad([[start for start, _ in row] for row in offsets], 0, side)
        ends, _ = pad([[end for _, end in row] for row in offsets], 0, side)
        return Batch(ids, mask, torch.stack([starts, ends], dim=-1))

    def digest(self) -> str:
        """SHA-256 over names, types, shapes and bytes of the parameters (tied ones once), read one at a time.

        Cached until a parameter is written in place; a write through `.data` goes unseen.
        """
        parameters = dict(self.model.named_parameters())
        state = tuple((p.data_ptr(), p._version) for p in parameters.values())
        if self._digest is None or self._digest[0] != state:
            sha = hashlib.sha256()
            for name, parameter in parameters.items():
                sha.update(f"{name} {parameter.dtype} {tuple(parameter.shape)}\n".encode())
                sha.update(parameter.detach().reshape(-1).view(torch.uint8).cpu().numpy().data)
            self._digest = state, sha.hexdigest()
        return self._digest[1]

    def tokenizer_digest(self) -> str:
        """SHA-256 over the tokenizer's rules, vocabulary and special tokens, but not its padding."""
        tokenizer = self.tokenizer
        rules = json.loads(tokenizer.backend_tokenizer.to_str())
        rules |= {"padding": None, "truncation": None, "bos": tokenizer.bos_token, "eos": tokenizer.eos_token}
        return hashlib.sha256(json.dumps(rules, sort_keys=True).encode()).hexdigest()

    @property
    def _embedding_rows(self) -> int:
        return int(self.model.get_submodule(self.layout.embed).get_parameter("weight").shape[0])

    def _check_tokenizer(self) -> None:
        if not self.tokenizer.is_fast:
            raise UserError(f"{self.name}: its tokenizer gives no character offsets; convert it to a tokenizer.json")
        # Added tokens are not counted: some text models have one, for images, that has no row.
        entries, rows = self.tokenizer.vocab_size, self._embedding_rows
        if entries > rows:
            raise UserError(
                f"{self.name}: a tokenizer of {entries} entries does not fit an embedding of {rows} rows; "
                "use the tokenizer the model was trained with"
            )

    def _set_pad_token(self) -> None:
        """Choose a pad token among the existing ones: a new one would grow the vocabulary."""
        tokenizer, rows = self.tokenizer, self._embedding_rows
        special = (
            tokenizer.pad_token_id,
            tokenizer.eos_token_id,
            tokenizer.unk_token_id,
            tokenizer.bos_token_id,
        )
        pad_id = next(choice for choice in (*special, 0) if choice is not None and choice < rows)
        if pad_id != tokenizer.pad_token_id:
            tokenizer.pad_token = tokenizer.convert_ids_to_tokens(pad_id)


def pad(
    rows: Sequence[Sequence[int]], fill: int, side: Side, device: torch.device | str = "cpu"
) -> tuple[Tensor, Tensor]:
    """Rows of different lengths as one int64 matrix (B, T) and its mask (B, T), filled up on `side`."""
    width = max((len(row) for row in rows), default=0)
    ids = torch.full((len(rows), width), fill, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for i, row in enumerate(rows):
        place = slice(width - len(row), width) if side == "left" else slice(0, len(row))
        ids[i, place] = torch.tensor(row, dtype=torch.long)
        mask[i, place] = 1
    return ids.to(device), mask.to(device)


def prompt_ids(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> list[list[int]]:
    """Token ids of each prompt: BOS if the tokenizer adds one and the text does not begin with it, never EOS.

    Raises `UserError` for a prompt without any token, from which nothing can be predicted.
    """
    return prompt_ids_and_offsets(tokenizer, texts)[0]


def prompt_ids_and_offsets(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]
) -> tuple[list[list[int]], list[list[tuple[int, int]]]]:
    """As `prompt_ids`, with the characters [start, end) of each token; (0, 0) for an added BOS."""
    if not texts:
        return [], []
    lead = _added_bos(tokenizer)
    encoded = _without_specials(tokenizer, texts)
    rows, offsets = [], []
    for number, (ids, spans) in enumerate(zip(encoded["input_ids"], encoded["offset_mapping"], strict=True)):
        bos = [] if ids[:1] == lead else lead
        if not bos and not ids:
            raise UserError(f"prompt {number} is empty and the tokenizer adds no BOS; give it some text")
        rows.append([*bos, *ids])
        offsets.append([*((0, 0) for _ in bos), *spans])
    return rows, offsets


def prompt_and_target(tokenizer: PreTrainedTokenizerBase, prompt: str, target: str) -> tuple[list[int], list[int]]:
    """Token ids of a prompt and of the target that continues it, cut at the border of both.

    Spaces at the border become exactly one, which belongs to the target. The target's ids are the rest of
    the ids of prompt + " " + target where these begin with the prompt's own ids. Where they do not (a merge
    reaches across the border), prompt and target are tokenised apart. So the prompt's ids are always those
    of the prompt alone, and no target shifts a position in it.
    Raises `UserError` for an empty target.
    """
    if not target.strip():
        raise UserError(f"the target of prompt {prompt!r} is empty; give the text that should follow")
    prompt, continuation = prompt.rstrip(" "), " " + target.strip()
    ids, whole = prompt_ids(tokenizer, [prompt, prompt + continuation])
    if whole[: len(ids)] == ids:
        return ids, whole[len(ids) :]
    return ids, _continuation_alone(tokenizer, continuation)


def _continuation_alone(tokenizer: PreTrainedTokenizerBase, continuation: str) -> list[int]:
    """Its ids inside a text: where a tokenizer puts a space before every text, the full stop takes it."""
    texts = [".", "." + continuation, continuation]
    rows: list[list[int]] = _without_specials(tokenizer, texts)["input_ids"]
    stop, after_stop, alone = rows
    return after_stop[len(stop) :] if after_stop[: len(stop)] == stop else alone


def _added_bos(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    first: list[int] = tokenizer("a")["input_ids"][:1]
    return first if first == [tokenizer.bos_token_id] else []


def _without_specials(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> dict[str, Any]:
    """Ids and offsets of `texts`, whole: the truncation a tokenizer.json can carry is switched off."""
    encoded: dict[str, Any] = tokenizer(
        list(texts),
        add_special_tokens=False,
        return_offsets_mapping=True,
        truncation=False,
        padding=False,
        verbose=False,
    )
    return encoded


def load(spec: str, device: str = "auto", dtype: str = "auto") -> CausalModel:
    """Load a causal language model from a Hugging Face id, a local folder or `lab:NAME`.

    `device`: auto (cuda, else mps, else cpu), cpu, cuda, cuda:N or mps. `dtype`: auto (as stored, but float16
    becomes float32 on a CPU, where half precision is slow), float32, bfloat16 or float16.
    Raises `UserError`, one line, for every way a model can fail to be there, be whole or be supported. A
    checkpoint that lacks weights is refused: the library beneath would fill them with random numbers.
    """
    where = resolve_device(device)
    if dtype != "auto" and dtype not in DTYPES:
        raise unknown("dtype", dtype, ["auto", *DTYPES])
    source = _source(spec)
    with _reading(spec), _quiet():
        layout_for(AutoConfig.from_pretrained(source))  # refuses a family before gigabytes are read
        tokenizer = _read_tokenizer(source)
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            source, dtype=DTYPES.get(dtype, "auto"), output_loading_info=True, ignore_mismatched_sizes=True
        )
    model, found = loaded
    _check_whole(spec, found)
    if dtype == "auto" and where.type == "cpu" and model.dtype == torch.float16:
        model = model.float()
    return CausalModel(model.to(where), tokenizer, name=spec)


def peek(spec: str) -> tuple[PreTrainedTokenizerBase, int | None]:
    """The tokenizer of a model and the longest sequence it reads, without its weights. Raises `UserError` as `load`."""
    source = _source(spec)
    with _reading(spec), _quiet():
        config = AutoConfig.from_pretrained(source)
        layout_for(config)
        return _read_tokenizer(source), getattr(config, "max_position_embeddings", None)


def save(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path, dtype: torch.dtype | None = None
) -> None:
    """Write a Hugging Face folder that `load` reads; in another floating-point type if asked."""
    if dtype is not None:
        model = copy.deepcopy(model)  # of the whole, which keeps tied weights tied
        nn.Module.to(model, dtype)
    with _quiet():
        model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _read_tokenizer(source: str) -> PreTrainedTokenizerBase:
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(source)
    except OSError:
        raise
    except Exception as error:  # the parser of tokenizer.json raises plain Exception, and worse
        raise ValueError(f"its tokenizer: {error}") from error
    return tokenizer


def resolve_device(name: str) -> torch.device:
    """The torch device of that name; `auto` is the best one present. Raises `UserError` if it is not here."""
    cuda, mps = torch.cuda.is_available(), torch.backends.mps.is_available()
    if name == "auto":
        return torch.device("cuda" if cuda else "mps" if mps else "cpu")
    present = ["cpu", *(["mps"] if mps else []), *(["cuda"] if cuda else [])]
    present += [f"cuda:{number}" for number in range(torch.cuda.device_count())]
    if name not in present:
        raise unknown("device", name, ["auto", *present])
    return torch.device(name)


def _source(spec: str) -> str:
    """What the Hugging Face library shall open: an id, or a folder that holds a whole model."""
    kind, _, name = spec.partition(":")
    if kind == "lab" and name:
        from upright.lab import checkpoint  # the lab is opened by name, and only when asked for

        return str(checkpoint(name))
    folder = Path(spec).expanduser()
    if folder.is_dir():
        _check_folder(spec, folder)
        return str(folder)
    if folder.exists():
        raise UserError(f"model {spec!r} is a file; give the folder that holds it and its config.json")
    if spec.startswith((".", "~", "/")) or spec.count("/") > 1 or "\\" in spec:
        raise UserError(f"model {spec!r}: no such folder; give a local folder, a Hugging Face id or lab:NAME")
    return spec


def _check_folder(spec: str, folder: Path) -> None:
    if not (folder / "config.json").is_file():
        raise UserError(f"model {spec!r}: the folder has no config.json; give one written by save_pretrained")
    if not any((folder / name).is_file() for name in TOKENIZER_FILES):
        names = ", ".join(TOKENIZER_FILES)
        raise UserError(f"model {spec!r}: the folder has no tokenizer (none of {names}); save it there too")
    if not any(True for pattern in WEIGHT_FILES for _ in folder.glob(pattern)):
        raise UserError(
            f"model {spec!r}: the folder has no weights (none of {', '.join(WEIGHT_FILES)}); save them there"
        )


def _check_whole(spec: str, found: dict[str, set[Any]]) -> None:
    for problem in ("missing", "mismatched"):
        # a mismatched entry is (name, shape found, shape wanted)
        names = sorted(key if isinstance(key, str) else key[0] for key in found[f"{problem}_keys"])
        if names:
            raise UserError(
                f"model {spec!r}: {len(names)} weights are {problem}, the first is {names[0]}; "
                "the checkpoint does not belong to its config.json or is cut short, save or download it again"
            )


@contextmanager
def _reading(spec: str) -> Iterator[None]:
    """Turn what the Hugging Face library raises for a model it cannot read into one line."""
    try:
        yield
    except UserError:
        raise
    # An ImportError names the package that a quantised model needs.
    except (OSError, ValueError, ImportError, SafetensorError) as error:
        raise UserError(f"model {spec!r}: {_reason(error)}") from error


def _reason(error: BaseException) -> str:
    chain: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None:
        chain.append(cause)
        cause = cause.__cause__ or cause.__context__
    reasons: dict[type[BaseException], str] = {
        GatedRepoError: "is gated; accept its terms on huggingface.co, then run: hf auth login",
        RepositoryNotFoundError: "neither a local folder nor a model on huggingface.co; check the name "
        "(for a private model run: hf auth login)",
        HFValidationError: "neither a local folder nor a Hugging Face id; give a folder, an id or lab:NAME",
        LocalEntryNotFoundError: "neither a local folder nor in the local cache, and huggingface.co "
        "cannot be reached; connect or give a local folder",
    }
    for kind, reason in reasons.items():  # gated comes before not found, which it inherits from
        if any(isinstance(link, kind) for link in chain):
            return reason
    lines = str(error).strip().splitlines()
    return f"cannot be read: {lines[0] if lines else type(error).__name__}"


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence reports and bars of the library beneath: what matters in them is raised as an error."""
    level, bars = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(level)
        if bars:
            transformers_logging.enable_progress_bar()
