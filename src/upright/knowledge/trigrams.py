"""Words by the three-letter pieces they share: candidates for one that is misspelt."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

SHARE = 0.3  # Dice similarity from which a word may be another one misspelt
LONGEST = 64  # letters; longer "words" are keys and codes


class Trigrams:
    """An inverted index from trigrams to words, as arrays.

    The pieces of a word are those of ``"  word "``, so that its beginning counts more than its end.

    Attributes:
        pieces: every trigram as one number, sorted.
        starts: words of trigram i are `words[starts[i]:starts[i + 1]]`.
        words: places of words in the list the index was built from.
        sizes: number of trigrams of each word.
    """

    def __init__(
        self, pieces: NDArray[np.int64], starts: NDArray[np.int64], words: NDArray[np.int32], sizes: NDArray[np.int32]
    ) -> None:
        self.pieces, self.starts, self.words, self.sizes = pieces, starts, words, sizes

    @classmethod
    def build(cls, words: Sequence[str]) -> "Trigrams":
        """Index a list of words without repetitions; what is no word by its length is left out."""
        padded = [f"  {word} " if len(word) <= LONGEST else "" for word in words]
        lengths = np.fromiter(map(len, padded), dtype=np.int64, count=len(padded))
        owners = np.repeat(np.arange(len(words), dtype=np.int32), lengths)
        pieces = _pieces("".join(padded))
        inside = owners[:-2] == owners[2:]
        pieces, owners = pieces[inside], owners[:-2][inside]
        order = np.lexsort((owners, pieces))
        pieces, owners = pieces[order], owners[order]
        fresh = np.ones(len(pieces), dtype=bool)
        fresh[1:] = (pieces[1:] != pieces[:-1]) | (owners[1:] != owners[:-1])
        pieces, owners = pieces[fresh], owners[fresh]
        distinct, first = np.unique(pieces, return_index=True)
        sizes = np.bincount(owners, minlength=len(words)).astype(np.int32)
        return cls(distinct, np.append(first, len(pieces)).astype(np.int64), owners, sizes)

    def alike(self, word: str, limit: int) -> list[int]:
        """Places of the words most like this one by Dice similarity, at least `SHARE`, the best first."""
        wanted = np.unique(_pieces(f"  {word} "))
        size = len(wanted)
        wanted = wanted[np.isin(wanted, self.pieces)]
        known = np.searchsorted(self.pieces, wanted).tolist()
        lists = [self.words[self.starts[place] : self.starts[place + 1]] for place in known]
        if not lists:
            return []
        found, shared = np.unique(np.concatenate(lists), return_counts=True)
        dice = 2 * shared / (self.sizes[found] + size)
        order = np.lexsort((found, -dice))
        best: list[int] = found[order[dice[order] >= SHARE][:limit]].tolist()
        return best


def _pieces(text: str) -> NDArray[np.int64]:
    """The trigrams of a text, each as one number; 21 bits hold any character."""
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32).astype(np.int64)
    return (codes[:-2] << 42) | (codes[1:-1] << 21) | codes[2:]
