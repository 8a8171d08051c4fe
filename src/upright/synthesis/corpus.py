"""Records in memory: texts, the values of their code columns, and the units they belong to."""

from collections.abc import Sequence
from dataclasses import dataclass

Code = tuple[str, ...]
"""The values of a record's labels, then of its groups."""


@dataclass(frozen=True)
class Corpus:
    """Records, real or synthetic.

    Args:
        columns: names of the code columns: labels, then groups.
        texts: one for each record.
        codes: one for each record, with a value for each column.
        units: whom each record is about; empty where each record is a unit of its own.
    """

    columns: tuple[str, ...]
    texts: Sequence[str]
    codes: Sequence[Code]
    units: Sequence[str] = ()

    def __len__(self) -> int:
        return len(self.texts)

    def column(self, name: str) -> list[str]:
        """The values of one code column. Raises ValueError for a name that is none."""
        place = self.columns.index(name)
        return [code[place] for code in self.codes]

    def take(self, rows: Sequence[int]) -> "Corpus":
        """The records at `rows`, in that order."""
        units = [self.units[i] for i in rows] if self.units else ()
        return Corpus(self.columns, [self.texts[i] for i in rows], [self.codes[i] for i in rows], units)
