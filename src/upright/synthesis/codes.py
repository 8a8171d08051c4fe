"""Codes: the values that a record is written for, and the words that stand for them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from string import Formatter

from upright.errors import UserError, unknown
from upright.synthesis.config import CodeConfig
from upright.synthesis.corpus import Code, Corpus

MOST = 20_000
"""Combinations whose counts are asked for; noise would drown more."""
BARE = "Record:\n"
"""The prompt where there is nothing to say of a record."""


@dataclass(frozen=True)
class Codes:
    """The public side of the code columns.

    Args:
        columns: labels, then groups.
        values: the public values of each column, in their order.
        template: what stands before a record, with {COLUMN} for each value.
        names: words for values in the template, by column.
    """

    columns: tuple[str, ...]
    values: tuple[tuple[str, ...], ...]
    template: str
    names: Mapping[str, Mapping[str, str]]

    @classmethod
    def of(cls, corpus: Corpus, config: CodeConfig) -> "Codes":
        """The settings, with the values in the data where none are given.

        Raises:
            UserError: for more than 20,000 combinations, a template without all columns or with others, and names of
                values that are not there.
        """
        given = config.values
        values = tuple(tuple(given.get(name) or sorted(set(corpus.column(name)))) for name in corpus.columns)
        template = _template(config.template, corpus.columns)
        count = math.prod(map(len, values))
        if count > MOST:
            sizes = ", ".join(f"{name}: {len(v)}" for name, v in zip(corpus.columns, values, strict=True))
            raise UserError(f"{count:,} combinations of values ({sizes}); must be at most {MOST:,}: name fewer columns")
        for name, own in zip(corpus.columns, values, strict=True):
            for value in config.names.get(name, {}):
                if value not in own:
                    raise unknown(f"value of {name}", value, own)
        return cls(corpus.columns, values, template, config.names)

    @property
    def combinations(self) -> list[Code]:
        """All codes, in a fixed order; the empty one where there are no columns."""
        return list(product(*self.values))

    def prompt(self, code: Code) -> str:
        """What stands before a record of that code; never empty.

        >>> Codes(("sex",), (("f", "m"),), "sex: {sex}", {"sex": {"f": "female"}}).prompt(("f",))
        'sex: female'
        """
        words = {
            name: self.names.get(name, {}).get(value, value) for name, value in zip(self.columns, code, strict=True)
        }
        return self.template.format(**words)

    @property
    def neutral(self) -> str:
        """The template without values: what guided sampling leans away from. `Record:` where it holds nothing else.

        >>> Codes(("sex",), (("f", "m"),), "sex: {sex}", {}).neutral
        'sex: '
        """
        blank = self.template.format(**dict.fromkeys(self.columns, ""))
        return blank if blank.strip() else BARE


def _template(given: str | None, columns: Sequence[str]) -> str:
    """The template, found to hold each column and nothing else."""
    if given is None:
        return "; ".join(f"{name}: {{{name}}}" for name in columns) + "\n" if columns else BARE
    if not given.strip():
        raise UserError("codes.template is empty; give some text, as each record is written after it")
    try:
        held = [field for _, field, _, _ in Formatter().parse(given) if field is not None]
    except ValueError as error:
        raise UserError(f"codes.template={given!r}: {error}; write {{COLUMN}} for a value") from error
    for field in held:
        if field not in columns:
            raise unknown("column in codes.template", field, columns)
    missing = [name for name in columns if name not in held]
    if missing:
        raise UserError(f"codes.template={given!r}: lacks {{{missing[0]}}}; must hold each label and group")
    return given
