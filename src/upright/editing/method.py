"""The mathematics of closed-form editing. Pure functions on tensors, fp64 inside.

Shapes: W (d, k) maps keys (k,) to values (d,); K (k, n) holds one key a column, R (d, n) one residual a column.
Every closed-form editor here is the ridge problem

    minimise ||D K - R||^2 + tr(D P D^T)        =>   D = R K^T (P + K K^T)^-1 = R A^T

with its own prior P (k, k), and with D restricted to a subspace of keys where asked:

    MEMIT      P = lambda C                      C = E[k k^T] over plain text (Meng et al. 2022, eq. 14)
    EMMET      P = mu C                          (Gupta et al. 2024; MEMIT on one layer with lambda = mu)
    AlphaEdit  P = l2 I inside the null space of C (Fang et al. 2024, eq. 14 in reduced coordinates)

Writing a batch adds K K^T to P, so that later batches keep what earlier ones wrote (recursive least squares).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from upright.errors import UserError


@dataclass
class Ridge:
    """The quadratic cost of moving keys in one matrix: a prior (q, q) in the coordinates of `basis` (k, q), if any."""

    prior: Tensor
    basis: Tensor | None = None

    def factor(self, keys: Tensor) -> Tensor:
        """A (k, n) such that the update for residuals R (d, n) is R A^T; K is (k, n)."""
        inside = self._inside(keys)
        answer = ridge_factor(self.prior, inside)
        return answer if self.basis is None else self.basis @ answer

    def absorb(self, keys: Tensor) -> None:
        """Remember written keys (k, n): moving them costs from now on."""
        inside = self._inside(keys)
        self.prior = self.prior + inside @ inside.T

    def _inside(self, keys: Tensor) -> Tensor:
        keys = keys.to(self.prior)
        return keys if self.basis is None else self.basis.T @ keys


def ridge_factor(prior: Tensor, keys: Tensor) -> Tensor:
    """(P + K K^T)^-1 K by Cholesky; by Woodbury's identity where the keys are few.

    Args:
        prior: symmetric positive definite (q, q).
        keys: (q, n).
    """
    q, n = keys.shape
    if n < q / 2:
        weighed = _solve(_cholesky(prior), keys)
        inner = torch.eye(n, dtype=keys.dtype, device=keys.device) + keys.T @ weighed
        return _solve(_cholesky((inner + inner.T) / 2), weighed.T).T
    return _solve(_cholesky(prior + keys @ keys.T), keys)


def _solve(lower: Tensor, right: Tensor) -> Tensor:
    solution: Tensor = torch.cholesky_solve(right, lower)
    return solution


def _cholesky(matrix: Tensor) -> Tensor:
    lower, info = torch.linalg.cholesky_ex(matrix)
    if int(info):
        raise UserError(
            "key statistics are singular: got fewer independent keys than the matrix is wide; "
            "raise stats.sequences or solver.shrink"
        )
    factor: Tensor = lower
    return factor


def shrink(moment: Tensor, rho: float) -> Tensor:
    """(1 - rho) C + rho (tr C / k) I: well conditioned, same trace."""
    k = moment.shape[0]
    scaled = (moment.diagonal().sum() / k) * torch.eye(k, dtype=moment.dtype, device=moment.device)
    return (1 - rho) * moment + rho * scaled


def memit_ridge(moment: Tensor, weight: float) -> Ridge:
    """MEMIT and EMMET: prior lambda C."""
    return Ridge(weight * moment.double())


def alphaedit_ridge(moment: Tensor, l2: float, kept_energy: float) -> Ridge:
    """AlphaEdit: l2 I on the directions left free when the top eigenvectors of C hold `kept_energy` of its trace.

    The paper cuts at an absolute eigenvalue, which means something else on every model; the share of the trace does
    not depend on scale. No update moves a protected direction: D U1 = 0.
    """
    values, vectors = torch.linalg.eigh(moment.double())
    energy = values.flip(0).clamp(min=0).cumsum(0)
    protected = int((energy < kept_energy * energy[-1]).sum()) + 1
    free = vectors[:, : max(1, len(values) - protected)]
    return Ridge(l2 * torch.eye(free.shape[1], dtype=torch.float64, device=free.device), basis=free)


def average_key(clean: Tensor, prefixed: Tensor, reworded: Tensor) -> Tensor:
    """One key (k,) for a sentence, from those of its prefixed (p, k) and other wordings (w, k).

    Half the clean key, half the mean of the prefixed ones (MEMIT's two groups); that counts as one wording.
    """
    sentence = clean if not len(prefixed) else (clean + prefixed.mean(0)) / 2
    return torch.cat([sentence[None], reworded]).mean(0)


def project(delta: Tensor, limit: Tensor) -> Tensor:
    """Scale each row of delta (n, d) back to norm <= limit (n,)."""
    norms = delta.norm(dim=1).clamp(min=1e-12)
    inside: Tensor = delta * (limit / norms).clamp(max=1.0)[:, None]
    return inside


def kl_divergence(new_logits: Tensor, old_log_probs: Tensor) -> Tensor:
    """KL(new || old) per row, the direction of the ROME reference: (n, v) -> (n,)."""
    new = new_logits.log_softmax(-1)
    divergence: Tensor = (new.exp() * (new - old_log_probs)).sum(-1)
    return divergence
