"""An edit: what to add to which matrices, and how to take it back to the bit.

The edited weight is the base weight plus the sum of all updates, summed in float32 and rounded once to the model's
type. (W + D) - D is not W in floating point, so undoing restores a copy of the base.
"""

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from upright.errors import UserError
from upright.models.causal import CausalModel
from upright.models.layouts import weight_out_in
from upright.run.files import atomic

FORMAT = 1


@dataclass
class Update:
    """The change of one matrix (d, k): a dense part and factors R (d, n), A (k, n) with D = dense + R A^T."""

    shape: tuple[int, int]
    dense: Tensor | None = None
    factors: list[tuple[Tensor, Tensor]] = field(default_factory=list)

    def add(self, left: Tensor, right: Tensor) -> None:
        """Add R A^T; factors that would outgrow the matrix are multiplied out."""
        self.factors.append((left.float().cpu(), right.float().cpu()))
        if self._rank() * (self.shape[0] + self.shape[1]) >= self.shape[0] * self.shape[1]:
            self.dense, self.factors = self.matrix(), []

    def set_dense(self, matrix: Tensor) -> None:
        """Make the whole change this matrix."""
        self.dense, self.factors = matrix.float().cpu(), []

    def matrix(self) -> Tensor:
        """The whole change (d, k), float32."""
        total = torch.zeros(self.shape) if self.dense is None else self.dense.clone()
        for left, right in self.factors:
            total += left @ right.T
        return total

    def _rank(self) -> int:
        return sum(left.shape[1] for left, _ in self.factors)


@dataclass
class Edit:
    """Updates by layer of the MLP down projections, with the ledger of what they write.

    `apply` writes them into the model it was made for, `undo` restores the very bits, `merge` makes them permanent,
    `save` writes a patch that `Edit.load` reads without the run.
    """

    updates: dict[int, Update]
    header: dict[str, Any]
    """Solver, settings, model and tokenizer digests, hashes of the touched tensors, and the ledger of facts."""
    _base: dict[int, Tensor] = field(default_factory=dict, repr=False)

    @classmethod
    def start(cls, model: CausalModel, **header: Any) -> "Edit":
        """An edit of `model` that changes nothing yet."""
        digests = {"model": model.name, "model_digest": model.digest(), "tokenizer_digest": model.tokenizer_digest()}
        return cls({}, {"format": FORMAT, **digests, "ledger": [], **header})

    @property
    def ledger(self) -> list[dict[str, Any]]:
        """One row for every written sentence: prompt, target, origin (asked or contextual) and path."""
        rows: list[dict[str, Any]] = self.header["ledger"]
        return rows

    @property
    def applied(self) -> bool:
        """Whether the updates are in the model's weights now."""
        return bool(self._base)

    @torch.no_grad()
    def apply(self, model: CausalModel) -> None:
        """Write base + updates. May be called again after updates were added.

        Raises:
            UserError: if the model's tensors are not those the edit was made for.
        """
        weights = {layer: weight_out_in(model.down(layer)) for layer in self.updates}
        for layer in weights.keys() - self._base.keys():  # all, before the first is written
            self._check(layer, weights[layer])
        for layer, update in self.updates.items():
            weight = weights[layer]
            base = self._base.setdefault(layer, weight.detach().clone())
            weight.copy_((base.float() + update.matrix().to(base.device)).to(base.dtype))

    @torch.no_grad()
    def undo(self, model: CausalModel) -> None:
        """Restore the base weights, bit for bit."""
        for layer, base in self._base.items():
            weight_out_in(model.down(layer)).copy_(base)
        self._base = {}

    def merge(self, model: CausalModel) -> None:
        """Write the updates for good: applies them if needed and drops the copy of the base."""
        if not self.applied:
            self.apply(model)
        self._base = {}

    def update(self, model: CausalModel, layer: int) -> Update:
        """The update of a layer; asked for the first time it is empty, and the weight of now is its base."""
        if layer not in self.updates:
            weight = weight_out_in(model.down(layer)).detach()
            self.updates[layer] = Update((weight.shape[0], weight.shape[1]))
            self._base[layer] = weight.clone()
            self.header.setdefault("base_hashes", {})[str(layer)] = tensor_hash(weight)
        return self.updates[layer]

    def base(self, model: CausalModel, layer: int) -> Tensor:
        """The layer's weight (d, k) without this edit."""
        return self._base.get(layer, weight_out_in(model.down(layer)).detach())

    def save(self, path: Path) -> None:
        """Write the patch: a JSON header and the updates, no pickle."""
        tensors: dict[str, Tensor] = {}
        for layer, update in self.updates.items():
            if update.dense is not None:
                tensors[f"{layer}.dense"] = update.dense
            for i, (left, right) in enumerate(update.factors):
                tensors |= {f"{layer}.{i:05}.left": left.contiguous(), f"{layer}.{i:05}.right": right.contiguous()}
        header = {**self.header, "shapes": {str(layer): list(u.shape) for layer, u in self.updates.items()}}
        with atomic(path) as part:
            save_file(tensors, part, metadata={"upright": json.dumps(header, sort_keys=True)})

    @classmethod
    def load(cls, path: Path) -> "Edit":
        """Read a patch.

        Raises:
            UserError: if the file is not a patch of a format this version reads.
        """
        path = path / "patch.safetensors" if path.is_dir() else path
        if not path.is_file():
            raise UserError(f"{path}: no such patch; give patch.safetensors or the run folder that holds it")
        try:
            with safe_open(path, framework="pt") as file:
                header = json.loads((file.metadata() or {})["upright"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
        except Exception as error:  # safetensors raises its own class for any damage
            raise UserError(f"{path}: not a patch written by upright ({error})") from None
        if header.get("format") != FORMAT:
            raise UserError(f"{path}: patch format {header.get('format')}; this version reads format {FORMAT}")
        updates = {int(layer): Update((shape[0], shape[1])) for layer, shape in header.pop("shapes").items()}
        for name in sorted(tensors):
            layer, *rest = name.split(".")
            if rest == ["dense"]:
                updates[int(layer)].dense = tensors[name]
            elif rest[1] == "left":
                updates[int(layer)].factors.append((tensors[name], tensors[f"{layer}.{rest[0]}.right"]))
        return cls(updates, header)

    def _check(self, layer: int, weight: Tensor) -> None:
        wanted = self.header.get("base_hashes", {}).get(str(layer))
        if wanted and tensor_hash(weight) != wanted:
            raise UserError(
                f"layer {layer}: the weights are not those this patch was made for ({self.header['model']}); "
                "apply patches to that very model, in the order they were made"
            )


def tensor_hash(tensor: Tensor) -> str:
    """SHA-256 over type, shape and bytes."""
    dense = tensor.detach().contiguous().cpu()
    sha = hashlib.sha256(f"{dense.dtype} {tuple(dense.shape)}".encode())
    sha.update(dense.reshape(-1).view(torch.uint8).numpy().data)
    return sha.hexdigest()
