"""Writing over attempts, shards and kills."""

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from upright.run.steps import StepStore
from upright.synthesis import sampling
from upright.synthesis.corpus import Code
from upright.synthesis.filters import Filtered
from upright.synthesis.sampling import Draft, Pen, Shelf, Written, kept_in, seed_of, work_of, written

CODES: list[Code] = [("a",), ("b",), ("a",), ("b",), ("a",)]


def fresh(name: str, compute: Callable[[], list[Draft]]) -> list[Draft]:
    return compute()


FRESH = Shelf(fresh)


def spelled(codes: Sequence[Code], seeds: Sequence[int]) -> list[Draft]:
    """Of each kind a text with a number; those of the kind b are never at their end."""
    return [Draft(f"{code} {seed % 1000}", code != "b") for (code,), seed in zip(codes, seeds, strict=True)]


def odd(texts: Sequence[str], codes: Sequence[Code]) -> Filtered:
    kept = [i for i, text in enumerate(texts) if int(text.split()[1]) % 2]
    few = len(texts) - len(kept)
    return Filtered(kept, Counter(even=few) if few else Counter(), Counter())


def run(attempts: int = 20, shelf: Shelf = FRESH) -> Written:
    return written(("kind",), CODES, Pen(lambda: work_of(spelled)), odd, seed=3, attempts=attempts, shelf=shelf)


def test_each_place_gets_its_first_accepted_text() -> None:
    found = run()
    expected = [
        next(text for a in range(20) if int((text := f"{code} {seed_of(3, i, a) % 1000}").split()[1]) % 2)
        for i, (code,) in enumerate(CODES)
    ]
    assert list(found.corpus.texts) == expected
    assert list(found.corpus.codes) == CODES
    assert not found.missing
    assert found.tried == len(CODES) + found.refused["even"]
    assert found.ended == [True, False, True, False, True]


def test_what_is_refused_to_the_end_is_missing() -> None:
    found = run(attempts=1)
    assert len(found.corpus) + len(found.missing) == len(CODES)
    assert [CODES[i] for i in range(5) if i not in found.missing] == list(found.corpus.codes)
    assert found.refused == Counter(even=len(found.missing))
    assert found.ended == [code != "b" for (code,) in found.corpus.codes]


def test_shards_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = run()
    monkeypatch.setattr(sampling, "SHARD", 2)
    assert run() == whole


def test_finished_shards_are_not_written_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "SHARD", 2)
    stored: dict[str, list[Draft]] = {}

    def keep(name: str, compute: Callable[[], list[Draft]]) -> list[Draft]:
        if len(stored) == 2 and name not in stored:
            raise KeyboardInterrupt
        return stored[name] if name in stored else stored.setdefault(name, compute())

    with pytest.raises(KeyboardInterrupt):
        run(shelf=Shelf(keep))
    assert len(stored) == 2
    stored["x"] = []  # so that the next process may write
    assert run(shelf=Shelf(keep, frozenset(stored))) == run()


def test_what_is_kept_in_a_store_comes_back_as_it_was(tmp_path: Path) -> None:
    drafts, keep = [Draft("a", True), Draft("b", False), Draft("", True)], kept_in(StepStore(tmp_path / "s", "x"))
    assert keep("one", lambda: drafts) == drafts
    again = kept_in(StepStore(tmp_path / "s", "x"))("one", lambda: [])
    assert again == drafts
    assert all(isinstance(draft, Draft) for draft in again)
