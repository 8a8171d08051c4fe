"""What a chat model is asked, what it answers, and the two protocols: of a model and of what stands behind it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol, Self

if TYPE_CHECKING:
    from upright.models.causal import CausalModel

Role = Literal["system", "user", "assistant"]
Finish = Literal["stop", "length", "error"]


class Message(NamedTuple):
    """One turn of a conversation."""

    role: Role
    content: str


@dataclass(frozen=True)
class Sampling:
    """How an answer is drawn. Raises `ValueError` for what no model could follow."""

    temperature: float = 0.0
    """0 takes the likeliest token; above, tokens are drawn from the softmax of logits / temperature."""
    max_tokens: int = 256
    """Longest answer, in tokens."""
    stop: tuple[str, ...] = ()
    """The answer ends before the first of these texts."""
    top_p: float = 1.0
    """Only the likeliest tokens that hold this share of the probability are drawn (nucleus sampling)."""
    seed: int = 0
    """Seed of the draws."""
    logprobs: bool = False
    """Whether the answer comes with the log-probabilities of its tokens."""

    def __post_init__(self) -> None:
        if self.temperature < 0 or self.max_tokens < 1 or not 0 < self.top_p <= 1 or "" in self.stop:
            raise ValueError(f"{self}: temperature >= 0, max_tokens >= 1, 0 < top_p <= 1, no empty stop text")

    def effective(self) -> Self:
        """The same without what has no effect: at temperature 0 nothing is drawn."""
        return self if self.temperature else replace(self, top_p=1.0, seed=0)


GREEDY = Sampling()
"""The likeliest answer."""


class TokenLogprobs(NamedTuple):
    """A token of an answer with its log-probability, in nats, and the likeliest tokens in its place."""

    token: str
    logprob: float
    top: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class Usage:
    """Tokens read and written. The samples of one request share its prompt, which counts at the first of them."""

    prompt: int
    completion: int


@dataclass(frozen=True)
class Completion:
    """One answer, or, with finish "error", why there is none."""

    text: str
    finish: Finish
    usage: Usage
    logprobs: tuple[TokenLogprobs, ...] | None = None
    """One entry a token; for an answer out of `choices` a single one, over the choices."""
    error: str = ""
    cached: bool = False
    """Whether it came without a call; `usage` tells what the call had cost."""


def failed(reason: str) -> Completion:
    """The completion of a call that failed for good."""
    return Completion("", "error", Usage(0, 0), error=reason)


class ChatModel(Protocol):
    """A model that continues conversations."""

    @property
    def name(self) -> str:
        """As the user named it: "openai:gpt-4o", "hf:…", "lab:traveller"."""

    @property
    def context(self) -> int | None:
        """Tokens of prompt and answer that fit, where known."""

    async def complete(
        self,
        messages: Sequence[Message],
        sampling: Sampling = GREEDY,
        samples: int = 1,
        choices: Sequence[str] | None = None,
    ) -> list[Completion]:
        """`samples` answers to `messages`; with `choices` each is one of these texts where the model can do so.

        Models that run here choose by exact log-probability; servers are not told, so the caller checks.
        A call that fails for good is a completion with finish "error".
        """

    def count(self, messages: Sequence[Message]) -> int:
        """Tokens of the prompt, estimated (characters / 4) where the tokenizer is not known."""


@dataclass(frozen=True)
class Call:
    """What a call asks, apart from how many answers."""

    messages: tuple[Message, ...]
    sampling: Sampling
    choices: tuple[str, ...] | None = None


class Backend(Protocol):
    """What the client stands on: one attempt at a time, no cache, no retries."""

    @property
    def name(self) -> str:
        """As the user named it."""

    @property
    def context(self) -> int | None:
        """Tokens that fit, where known."""

    @property
    def identity(self) -> str:
        """What the answers depend on besides the call; part of the key they are stored under."""

    @property
    def weights(self) -> "CausalModel | None":
        """The model where it runs here."""

    @property
    def per_request(self) -> int | None:
        """Samples that one request can give; None: any number."""

    async def ask(self, call: Call, first: int, count: int) -> list[Completion]:
        """Samples `first`, `first + 1`, … of `call`, at least one and at most `count` of them.

        Raises `Transient` for what may pass and `UserError` for what the user must mend; whatever else goes
        wrong is a completion with finish "error".
        """

    def count(self, messages: Sequence[Message]) -> int:
        """Tokens of the prompt."""

    async def close(self) -> None:
        """Give back connections or threads; the next `ask` opens them again."""


class Transient(Exception):
    """An attempt that failed and may succeed later; `after` is the wait the server asked for, in seconds."""

    def __init__(self, reason: str, after: float | None = None) -> None:
        super().__init__(reason)
        self.after = after
