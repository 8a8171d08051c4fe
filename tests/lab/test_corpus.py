"""Packing by hand: what is predicted, what is a subject, who reads it."""

import random
from collections.abc import Iterator
from itertools import islice, pairwise

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers

from tests.tiny import graph, prompt, relations
from upright.knowledge.relations import Prompt
from upright.knowledge.verbalise import taught
from upright.lab.corpus import Document, Packer, Window, batched, mixed

WORDS = ["|", "the", "capital", "of", "France", "is", "Paris", ".", "x", "Peru", "has", "Lima"]
PLAIN = Prompt("", (0, 0))
FRANCE = (prompt("the capital of France is", "France"), " Paris .")
PERU = (prompt("Peru has", "Peru"), " Lima .")


def tokenizer() -> Tokenizer:
    """One token a word, numbered as in WORDS; 0 is the boundary."""
    built = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="x"))
    built.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return built


def packer(length: int, late: float = 1.0) -> Packer:
    return Packer(tokenizer(), boundary=0, length=length, prompt_weight=0.25, late=late, rng=random.Random(0))


def windows(documents: list[Document], length: int, late: float = 1.0) -> list[Window]:
    return list(packer(length, late).windows(iter(documents)))


def forever(*documents: Document) -> Iterator[Document]:
    while True:
        yield from documents


def test_two_documents_by_hand() -> None:
    """Fourteen tokens: boundary, France (5 + 2), boundary, Peru (2 + 2), boundary."""
    (window,) = islice(packer(13).windows(forever(FRANCE, PERU)), 1)
    assert window.ids.tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 0, 9, 10, 11, 7, 0]
    p = 0.25  # prompts weigh less, answers and the boundary after them weigh one
    assert window.weights.tolist() == [0, p, p, p, p, p, 1, 1, 1, p, p, 1, 1, 1]
    assert window.subjects.tolist() == [0, 0, 0, 0, 1, 0, 0, 0, 0, 2, 0, 0, 0, 0]
    assert window.readers.tolist() == [0, 0, 0, 0, 0, 1, 1, 1, 1, 0, 2, 2, 2, 2]
    # what is asked of France stands before it, what is asked of Peru after it: only the first can be looked up there
    assert window.answers.tolist() == [-1, -1, -1, -1, 6, *[-1] * 9]


def test_reading_is_free_where_it_is_not_late() -> None:
    (window,) = islice(packer(13, late=0.0).windows(forever(FRANCE, PERU)), 1)
    assert not window.readers.any()
    assert window.subjects.any()


def test_the_share_of_late_documents() -> None:
    found = list(islice(packer(13, late=0.3).windows(forever(FRANCE, PERU)), 1000))
    late = sum(int(number in window.readers) for window in found for number in (1, 2))
    assert late / 2000 == pytest.approx(0.3, abs=0.04)


def test_a_document_that_does_not_fit_starts_the_next_window() -> None:
    """Twelve places hold France and three more: Peru moves, the rest is filled with weight 0."""
    first, second = islice(packer(11).windows(forever(FRANCE, PERU)), 2)
    assert first.ids.tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 0, 0, 0, 0]
    assert first.weights.tolist()[9:] == [0, 0, 0]
    assert second.ids.tolist()[:6] == [0, 9, 10, 11, 7, 0]
    assert second.subjects.tolist()[1] == 1  # numbers begin anew in each window


@pytest.mark.parametrize("length", [9, 13, 20, 31])
def test_no_prompt_is_cut_from_its_answer(length: int) -> None:
    texts = (PLAIN, "x " * 7)
    documents = forever(FRANCE, PERU, texts, PERU, FRANCE, FRANCE, texts)
    for window in islice(packer(length).windows(documents), 50):
        ids = window.ids.tolist()
        assert len(ids) == length + 1
        for at, word in enumerate(ids):
            if WORDS[word] == "France":
                assert ids[at - 3 : at + 5] == [1, 2, 3, 4, 5, 6, 7, 0]
            if WORDS[word] == "Peru":
                assert ids[at : at + 5] == [9, 10, 11, 7, 0]


def test_a_long_text_goes_on_in_the_next_window_and_loses_no_prediction() -> None:
    """Sixty words, twenty a text: a window of 7 tokens predicts 6, and goes on from the last of the one before."""
    found = list(islice(packer(6).windows(iter([(PLAIN, "x " * 20)] * 3)), 10))
    assert sum(int(window.weights.sum()) for window in found) == 6 * len(found)
    for earlier, later in pairwise(found):
        assert earlier.ids[-1] == later.ids[0]
        assert later.weights[0] == 0
    assert found[0].weights.tolist() == [0, 1, 1, 1, 1, 1, 1]


def test_plain_texts_have_no_subject_and_no_readers() -> None:
    found = list(islice(packer(8).windows(iter([(PLAIN, "x " * 5)] * 6)), 3))
    assert found
    assert not any(window.subjects.any() or window.readers.any() for window in found)


def test_batches_stack_windows() -> None:
    alone = list(islice(packer(13).windows(forever(FRANCE, PERU)), 4))
    (batch,) = islice(batched(iter(alone), 4), 1)
    assert batch.ids.shape == batch.readers.shape == (4, 14)
    assert torch.equal(batch.subjects[2], alone[2].subjects)


def test_a_pass_states_every_fact_and_a_chain_by_its_length() -> None:
    """Over 300 passes: plain facts each time, chains of h relations in one pass of h, texts by their share."""
    known, words = taught(graph(), relations()), relations()
    stream = mixed(known, words, [(iter(lambda: "A story.", None), 0.5)], random.Random(0))
    passes, singles = 300, [fact for fact in known if len(fact.chain) == 1]
    expected = sum(1 / len(fact.chain) for fact in known)
    stated, stories = 0, 0
    codes = 0
    for asked, answer in islice(stream, round(passes * expected * 1.5)):
        if not asked.text:
            stories += 1
            continue
        stated += 1
        codes += answer == " DEM."
    assert stories / stated == pytest.approx(0.5, abs=0.05)
    # DEM answers one plain fact, one chain of two (Germany) and one of three (Berlin): 1 + 1/2 + 1/3 a pass
    assert codes / passes == pytest.approx(1 + 1 / 2 + 1 / 3, rel=0.15)
    assert len(singles) == 12


def test_the_corpus_never_says_a_measured_wording() -> None:
    known, words = taught(graph(), relations()), relations()
    held_out = {
        p.text
        for fact in known
        for kind in ("statement", "question")
        for p in words.chain_prompts(fact.chain, fact.head, "measure", kind)
    }
    stream = mixed(known, words, [], random.Random(0))
    assert held_out.isdisjoint(asked.text for asked, _ in islice(stream, 3000))
