import random
from collections import Counter
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from upright.errors import UserError
from upright.knowledge.relations import KINDS, Kind, Prompt, Relations, Split, split_forms

from .conftest import tables

FORMS = ("a", "b", "c", "d", "e")


def test_splits_by_hand() -> None:
    assert split_forms(FORMS, "teach") == ("a", "b", "c")
    assert split_forms(FORMS, "measure") == ("d", "e")
    assert split_forms(FORMS, "edit") == ("a",)


def test_a_chain_composes_inside_out(relations: Relations) -> None:
    phrase = relations.noun_phrase(["country", "currency", "code"], "Paris")
    assert phrase.text == "the code of the currency of the country of Paris"
    assert phrase.subject_span == (43, 48)
    second = relations.noun_phrase(["currency", "code"], "Mali", variant=1)
    assert second.text == "the official code of the official currency of Mali"
    measured = relations.noun_phrase(["currency", "code"], "Mali", variant=3, split="measure")
    assert measured.text == "the code for the currency for Mali"


def test_statements_and_questions_by_hand(relations: Relations) -> None:
    assert relations.fact_prompts("currency", "Mali", "edit", "statement") == [
        Prompt("The currency of Mali is", (16, 20))
    ]
    assert relations.fact_prompts("currency", "Mali", "measure", "question") == [
        Prompt("Question: Which currency has Mali? Answer:", (29, 33)),
        Prompt("Question: Name the currency of Mali: Answer:", (31, 35)),
    ]
    assert relations.chain_prompts(["currency", "code"], "Mali", "edit", "statement") == [
        Prompt("The code of the currency of Mali is", (28, 32))
    ]
    assert relations.chain_prompts(["currency", "code"], "Mali", "edit", "question") == [
        Prompt("Question: What is the code of the currency of Mali? Answer:", (46, 50))
    ]


def test_sentence_starts_are_capitalised_and_spans_stay_true(relations: Relations) -> None:
    first = relations.fact_prompts("code", "euro", "measure", "statement")[0]
    assert first == Prompt("Euro has the code", (0, 4))
    sharp = Prompt("ßtadt is", (0, 5)).capitalised()
    assert (sharp.text, sharp.subject) == ("ßtadt is", "ßtadt")  # "SS" would move the span


def test_the_span_is_the_head_even_if_its_label_stands_elsewhere(relations: Relations) -> None:
    prompt = relations.chain_prompts(["currency", "code"], "code of the", "edit", "statement")[0]
    assert prompt.text == "The code of the currency of code of the is"
    assert prompt.subject_span == (28, 39)
    assert prompt.subject == "code of the"


def all_texts(relations: Relations, name: str, split: Split, kind: Kind) -> set[str]:
    direct = relations.fact_prompts(name, "X", split, kind)
    framed = relations.chain_prompts([name], "X", split, kind)
    return {prompt.text for prompt in direct + framed}


def test_no_measured_prompt_is_taught(relations: Relations) -> None:
    for kind, name in product(KINDS, relations.names):
        taught = all_texts(relations, name, "teach", kind)
        assert all_texts(relations, name, "edit", kind) <= taught
        assert not all_texts(relations, name, "measure", kind) & taught


def test_draw_is_uniform_over_the_chain_prompts(relations: Relations) -> None:
    chain = ["currency", "code"]
    every = relations.chain_prompts(chain, "Mali", "teach", "question")
    assert len(set(every)) == 2 * 2 * 3  # noun phrases of both steps and frames
    rng = random.Random(0)
    counts = Counter(relations.draw(chain, "Mali", "teach", "question", rng) for _ in range(6000))
    assert set(counts) == set(every)
    assert all(400 < count < 600 for count in counts.values())  # 500 expected, 5 standard deviations are 107


def test_generic_words_from_names() -> None:
    capital = "http://x.org/capital_of"
    relations = Relations.generic(["headOfState", capital, "P36"], {"P36": "seat"}, many_valued=["P36"])
    assert relations.is_generic
    assert relations.noun_phrase(["headOfState"], "Mali").text == "the head of state of Mali"
    assert relations.noun_phrase(["P36", capital], "Mali").text == "the capital of the seat of Mali"
    assert relations["headOfState"].functional
    assert not relations["P36"].functional


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        (
            "nouns",
            ["the a", "the b of {}", "the c of {}"],
            "code.nouns: got 'the a'; a form needs exactly one {}",
        ),
        ("nouns", ["the {a} of {}", "the b of {}", "the c of {}"], "exactly one {} and no other brace"),
        ("nouns", ["the a of {}", "the b of {}"], "code.nouns: got 2 forms; give at least 3"),
        ("nouns", ["a {}", "b {}", "b {}"], "code.nouns: got 'b {}' twice"),
        ("statements", ["a {} ", "b {}", "c {}"], "no space at its start or end"),
        (
            "statements",
            ["a {}", "The code of {} is", "c {}"],
            "'The code of {} is' is both taught and measured",
        ),
        ("questions", 3, "code.questions: got 3"),
        ("functionl", True, "relations.code: unknown key 'functionl'"),
        ("inverse", "currncy", "unknown relation 'currncy'"),
        ("literal", "maybe", "code.literal: got 'maybe'"),
    ],
)
def test_a_bad_table_is_named(key: str, value: object, message: str) -> None:
    raw: dict[str, Any] = tables()
    raw["relations"]["code"][key] = value
    with pytest.raises(UserError) as error:
        Relations.parse(raw, source="words.toml")
    assert str(error.value).startswith("words.toml: ")
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("chain", "message"),
    [
        (["currency", "cod"], "unknown relation 'cod'"),
        (["code"], "at least two relations"),
        (["code", "currency"], "goes on from 'code', whose objects are literals"),
        (["borders", "currency"], "goes through 'borders', which may have many objects"),
    ],
)
def test_a_bad_chain_is_named(chain: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Relations.parse({**tables(), "chains": [chain]})


def test_load_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "relations.toml"
    with pytest.raises(UserError, match=r"relations\.toml: cannot be read"):
        Relations.load(path)
    path.write_text("[relations.code\n")
    with pytest.raises(UserError, match=r"relations\.toml: is not TOML.*line 1"):
        Relations.load(path)
    path.write_text("chains = []\n")
    with pytest.raises(UserError, match=r"no table \[relations\.NAME\]"):
        Relations.load(path)


def test_a_relation_without_words_is_named(relations: Relations) -> None:
    with pytest.raises(UserError, match="did you mean 'capital'"):
        relations.noun_phrase(["capitl"], "France")
