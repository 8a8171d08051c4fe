"""The table that ships is the one its code writes, and is true to what its page tells of."""

import random
import re
from collections import Counter, defaultdict
from itertools import islice
from pathlib import Path

import polars as pl
import pytest
from transformers import AutoTokenizer

from upright import lab
from upright.lab import clinic
from upright.run.measures.recognise import recognise
from upright.run.tables import read_table

FEMALE = re.compile(r"\b(she|her|hers|woman|girl|female|Mrs)\b", re.IGNORECASE)
MALE = re.compile(r"\b(he|him|his|man|boy|male|Mr)\b", re.IGNORECASE)


@pytest.fixture(scope="module")
def table() -> pl.DataFrame:
    return read_table(Path("lab:clinic"))


def share(table: pl.DataFrame, column: str, value: str, **kind: str) -> float:
    some = table.filter(*(pl.col(name) == of for name, of in kind.items()))[column]
    return float((some == value).mean())  # type: ignore[arg-type]


def test_the_table_is_what_its_code_writes(tmp_path: Path) -> None:
    clinic.write(tmp_path / "again.csv")
    assert (tmp_path / "again.csv").read_bytes() == lab.table("clinic").read_bytes()
    assert lab.table("clinic").stat().st_size <= 1.5e6


def test_another_seed_writes_other_notes() -> None:
    zero, again, one = ([note["text"] for note in islice(clinic.notes(seed), 50)] for seed in (0, 0, 1))
    assert zero == again
    assert not set(zero) & set(one)


def test_rows_units_and_sizes(table: pl.DataFrame) -> None:
    assert tuple(table.columns) == clinic.COLUMNS
    assert table.height == table["id"].n_unique() == clinic.NOTES
    notes = Counter(table["patient"].to_list())
    assert len(notes) == 1618
    assert set(notes.values()) == {1, 2, 3, 4, 5, 6}
    words = table["text"].str.split(" ").list.len()
    assert (words.min(), words.max()) == (12, 40)
    assert table["text"].n_unique() > 0.98 * table.height


def test_a_note_is_whole_english(table: pl.DataFrame) -> None:
    wrong_article = r"\b[Aa] (?:[aeio]|8\d?-|11-|18-)|\b[Aa]n (?!hour)[^aeiou\dX]"
    slip = re.compile(rf"  | \.|\.\.|\b(\w+) \1\b|{wrong_article}")
    for text in table["text"]:
        assert re.fullmatch(r"[A-Z][\w ,.:'-]*\.", text), text
        assert not slip.search(text), text


def test_every_note_of_a_patient_has_the_same_sex_and_age(table: pl.DataFrame) -> None:
    facts: defaultdict[str, set[tuple[str, str]]] = defaultdict(set)
    ages: defaultdict[str, set[int]] = defaultdict(set)
    for patient, sex, group, text in table.select("patient", "sex", "age_group", "text").iter_rows():
        assert not (MALE if sex == "female" else FEMALE).search(text), text
        facts[patient].add((sex, group))
        ages[patient].update(map(int, re.findall(r"\b(\d+)-year-old", text)))
        assert all(age in clinic.AGES[group] for age in ages[patient])
    assert all(len(found) == 1 for found in facts.values())
    assert max(map(len, ages.values())) == 1
    assert sum(map(len, ages.values())) > 0.5 * len(ages)


def test_conditions_follow_sex_and_age(table: pl.DataFrame) -> None:
    def told(word: str) -> pl.DataFrame:
        return table.filter(pl.col("text").str.contains(word, literal=True))

    assert set(told("a large prostate")["sex"]) == {"male"}
    assert set(told("thin bones")["age_group"]) == {"older"}
    assert share(told("an ear infection"), "age_group", "child") > 0.8
    assert share(told("low iron"), "sex", "female", age_group="adult") > 0.8
    assert share(told("-year-old boy"), "age_group", "child") == 1


def test_sections_differ_by_group(table: pl.DataFrame) -> None:
    assert set(table["section"]) == set(clinic.SECTIONS)
    assert min(table["section"].value_counts()["count"]) >= 400
    assert share(table, "sex", "female") == pytest.approx(0.5, abs=0.03)
    assert share(table, "section", "medication", age_group="older") > 2 * share(
        table, "section", "medication", age_group="child"
    )
    assert share(table, "section", "allergy", age_group="child") > 2 * share(
        table, "section", "allergy", age_group="older"
    )
    assert share(table, "section", "family", sex="female") > share(table, "section", "family", sex="male") + 0.01


def test_personal_data_are_there_and_each_is_one_patients(table: pl.DataFrame) -> None:
    owners: defaultdict[str, set[str]] = defaultdict(set)
    for patient, text in table.select("patient", "text").iter_rows():
        found = recognise(text)
        assert {one.kind for one in found} <= {"phone number"}
        assert all(re.fullmatch(r"\d{3}-555-01\d\d", one.value) for one in found)
        for value in [one.value for one in found] + re.findall(r"\b\d{6}\b", text):
            owners[value].add(patient)
    assert all(len(of) == 1 for of in owners.values())
    assert len(owners) > 500


def test_patients_share_no_name() -> None:
    names = [(one.first, one.last) for one in islice(clinic.patients(random.Random(0)), 2000)]
    assert len(set(names)) == len(names)


def test_the_lab_model_knows_its_words(table: pl.DataFrame) -> None:
    tokenizer = AutoTokenizer.from_pretrained(lab.checkpoint("atlas"))
    tokens = sum(map(len, tokenizer(table["text"].to_list())["input_ids"]))
    assert tokens / table["text"].str.split(" ").list.len().sum() < 2


def test_a_section_is_found_easily_but_not_always(table: pl.DataFrame) -> None:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    model = make_pipeline(TfidfVectorizer(ngram_range=(1, 2)), LogisticRegression(C=10, max_iter=300))
    model.fit(table["text"][:2000].to_list(), table["section"][:2000].to_list())
    right = model.predict(table["text"][2000:].to_list()) == table["section"][2000:].to_numpy()
    assert 0.9 < right.mean() < 0.97
    older = (table["age_group"][2000:] == "older").to_numpy()
    assert right[older].mean() < right[~older].mean() - 0.03
