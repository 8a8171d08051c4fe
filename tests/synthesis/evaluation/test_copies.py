import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from upright.run.measures.words import words
from upright.synthesis.evaluation import copies
from upright.synthesis.evaluation.copies import Index, search

texts = st.lists(st.lists(st.sampled_from("abc"), max_size=9).map(" ".join), max_size=6)


def runs(text: str, length: int) -> set[tuple[str, ...]]:
    own = words(text)
    return {tuple(own[i : i + length]) for i in range(len(own) - length + 1)}


@given(texts, texts, texts, st.integers(2, 5), st.integers(1, 4))
def test_search_is_that_of_every_record_in_every_text(
    first: list[str], second: list[str], real: list[str], length: int, shard: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(copies, "COPY", length)
        patch.setattr(copies, "SHARD", shard)
        result = search({"first": first, "second": second}, real)
    theirs = [runs(text, length) for text in real]
    assert result.texts == len(real)
    for name, own in {"first": first, "second": second}.items():
        found = result.found[name]
        assert found.words.tolist() == [len(words(text)) for text in own]
        assert found.passage.tolist() == [any(runs(text, length) & other for other in theirs) for text in own]
        assert found.whole.tolist() == [words(text) in [words(other) for other in real] for text in own]


def test_words_that_no_record_holds_match_nothing() -> None:
    index = Index([" ".join(f"w{i}" for i in range(50)), "yes"])
    one, other = index.look(["new " * 60, "Yes!"])
    assert (one.passages.tolist(), one.whole) == ([], -1)
    assert (other.passages.tolist(), other.whole) == ([], 1)


def test_many_texts_take_seconds() -> None:
    rng = np.random.default_rng(0)
    drawn = [" ".join(row) for row in rng.integers(0, 3000, (12_000, 80)).astype(str)]
    start = time.perf_counter()
    result = search({"own": [*drawn[:1999], drawn[-1]]}, drawn[2000:])
    assert time.perf_counter() - start < 20
    assert np.flatnonzero(result.found["own"].passage).tolist() == [1999]
