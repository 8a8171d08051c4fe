"""Records by a chat model that is shown anonymised ones: the adapter of `prompted`. No formal guarantee."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from upright.errors import UserError
from upright.models.chat import open_chat
from upright.synthesis.corpus import Code
from upright.synthesis.generators.anonymise import Anonymiser
from upright.synthesis.generators.prompted import TASK, Prompted
from upright.synthesis.generators.protocol import Task
from upright.synthesis.generators.queried import Queried, asked_for, described, queries_of_counts, shares_of
from upright.synthesis.sampling import Draft


@dataclass(frozen=True, kw_only=True)
class Shown(Queried):
    """A chat model with examples; its certificate is None."""

    prompted: Prompted

    @property
    def limits(self) -> tuple[str, ...]:
        """As `Generator.limits`, also of what was written by this process."""
        used, most = self.prompted.used, self.prompted.shown
        fewer = sum(count for shown, count in used.items() if shown < most)
        if not fewer:
            return self.learnt
        return (
            *self.learnt,
            f"{fewer:,} of the last {used.total():,} prompts showed fewer than {most} records: there were no more of "
            "their code, or no more fitted.",
        )

    def write(self, codes: Sequence[Code], seeds: Sequence[int]) -> list[Draft]:
        """As `Generator.write`; empty where a call failed, as `Task.note` is told."""
        return self.prompted.write(codes, seeds)


def fit(task: Task) -> Shown:
    """Anonymise the records that are shown; the counts of the codes are noised, if that was asked for.

    Raises:
        UserError: for a chat model that cannot be opened, instructions that cannot be used, and a δ that is too large.
        MissingExtra: without dp-accounting, if counts are noised.
    """
    config, how = task.config, task.config.prompted
    prompted = Prompted.fit(
        task.corpus,
        open_chat(config.chat),
        lambda code: described(task.codes, code),
        Anonymiser(how.style, random.Random(task.seed_for("anonymise")), how.thorough),
        sampling=asked_for(config),
        note=task.note,
        spend=task.spend,
        shown=how.examples,
        task=_instructions(how.instructions),
        raw=config.chat.raw or config.chat.model.startswith("lab:"),
    )
    shares, drowned = shares_of(task, queries_of_counts(task))
    limits = (_limit(prompted), *drowned)
    return Shown(certificate=None, shares=shares, learnt=limits, prompted=prompted)


def _instructions(path: Path | None) -> str:
    if path is None:
        return TASK
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"prompted.instructions={path}: cannot be read ({error}); give a text file in UTF-8") from error


def _limit(prompted: Prompted) -> str:
    kinds = ", ".join(f"{kind} {count:,}" for kind, count in prompted.found.most_common()) or "none was found"
    return (
        f"There is no formal guarantee: {prompted.chat.name} was shown private records, in which patterns replaced "
        f"personal data ({kinds}); what they do not find was shown, and may be repeated."
    )
