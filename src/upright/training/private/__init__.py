"""Training with differential privacy: a plan that couples sampling, clipping, noise and cost, and what carries it out.

Everything a private training needs, and nothing with which parts of it could be put together differently.
"""

from upright.training.private.accounting import query_noise_for
from upright.training.private.noise import Randomness, Secure, Seeded
from upright.training.private.plan import Plan, Query
from upright.training.private.training import Certificate, PrivateTraining, Records, Tensors

__all__ = [
    "Certificate",
    "Plan",
    "PrivateTraining",
    "Query",
    "Randomness",
    "Records",
    "Secure",
    "Seeded",
    "Tensors",
    "query_noise_for",
]
