"""Reading and counting: what is one value, what cannot be used, and that parts add up to the whole."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from numpy.testing import assert_allclose
from polars.testing import assert_frame_equal

from tests.tables import write_table
from upright.audit.fairness import counts as c
from upright.audit.fairness import reading, scores
from upright.audit.fairness.config import Config
from upright.errors import UserError
from upright.run.config import SpeedConfig
from upright.run.measures import rates

FORMATS = ("csv", "parquet", "jsonl")


def people(n: int = 400, seed: int = 0) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, n)
    return pl.DataFrame(
        {
            "sex": rng.choice(["f", "m"], n),
            "race": rng.choice(["x", "y", "z"], n),
            "y": y,
            "said": (rng.random(n) < 0.2 + 0.5 * y).astype(int),
            "score": np.round(np.clip(rng.normal(0.4 + 0.2 * y, 0.2), 0, 1), 2),
            "w": np.round(rng.random(n) + 0.5, 3),
        }
    )


def config(path: Path, **more: Any) -> Config:
    fields = {"groups": ["sex", "race"], "label": "y", "prediction": "said", **more}
    return Config(table=path, **fields)


@pytest.mark.parametrize("suffix", FORMATS)
def test_every_format_gives_the_same_counts(tmp_path: Path, suffix: str) -> None:
    frame = people()
    path = write_table(frame, tmp_path / f"t.{suffix}")
    found = reading.count(path, config(path, score="score", weight="w"))
    table = c.table(found, ["sex"], ["0", "1"])
    wanted = rates.count(frame["y"], frame["said"], frame["sex"], frame["w"].to_numpy())
    assert_allclose(table.cells[:, 0], wanted.cells)
    assert table.groups == ["f", "m"]
    w, sex = frame["w"].to_numpy(), frame["sex"].to_numpy()
    assert_allclose(table.squares, np.array([(w[sex == s] ** 2).sum() for s in "fm"]))
    cells, at = c.score_table(found, ["sex"], table.values)
    peer = scores.histogram(frame["y"], frame["score"], frame["sex"], frame["w"].to_numpy())
    assert_allclose(scores.aucs(cells).subgroup, scores.aucs(peer[1]).subgroup, atol=1e-12)
    assert_allclose(scores.brier(cells, at), scores.brier(peer[1], peer[2]), atol=1e-12)
    assert c.exact(found)


def test_shards_add_up(tmp_path: Path) -> None:
    frame = people(900)
    whole = write_table(frame, tmp_path / "whole.parquet")
    parts = [write_table(frame[i : i + 300], tmp_path / f"{i}.parquet") for i in (0, 300, 600)]
    asked = config(whole, score="score")
    together = reading.count(parts[0], asked) + reading.count(parts[1], asked) + reading.count(parts[2], asked)
    once = reading.count(whole, asked)
    assert_frame_equal(together.decisions, once.decisions)
    assert together.scores is not None
    assert once.scores is not None
    assert_frame_equal(together.scores, once.scores)


def test_other_columns_do_not_add_up(tmp_path: Path) -> None:
    path = write_table(people(), tmp_path / "t.csv")
    with pytest.raises(ValueError, match="count the same columns"):
        reading.count(path, config(path)) + reading.count(path, config(path, groups=["sex"]))


def test_many_batches_are_one(tmp_path: Path) -> None:
    path = write_table(people(700), tmp_path / "t.parquet")
    asked = config(path, score="score", weight="w")
    once = reading.count(path, asked).scores
    again = reading.count(path, asked.model_copy(update={"speed": SpeedConfig(batch_rows=64)})).scores
    assert once is not None
    assert again is not None
    assert_frame_equal(once, again)


def test_bins_are_not_exact_but_near(tmp_path: Path) -> None:
    """Scores with 15 digits share bins of width 2^-14: AUC moves by less than that share of the pairs."""
    rng = np.random.default_rng(1)
    frame = people(20_000).with_columns(score=pl.Series(rng.beta(2, 2, 20_000)))
    path = write_table(frame, tmp_path / "t.parquet")
    found = reading.count(path, config(path, score="score"))
    assert not c.exact(found)
    cells, _ = c.score_table(found, ["sex"], [("f",), ("m",)])
    peer = scores.histogram(frame["y"], frame["score"], frame["sex"])[1]
    assert_allclose(scores.aucs(cells).subgroup, scores.aucs(peer).subgroup, atol=1e-4)


def test_one_value_in_many_spellings(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("sex,race,y,said\nf,x,1,1.0\nf ,x,1.00, 1\nm,x,0,0\nm,y,0.0,1\n")
    found = reading.count(path, config(path))
    assert found.classes() == ["0", "1"]
    assert c.table(found, ["sex"], ["0", "1"]).groups == ["f", "m"]
    assert found.usable["records"].sum() == 4


def test_booleans_and_floats_are_classes(tmp_path: Path) -> None:
    frame = pl.DataFrame({"sex": ["f", "m"], "race": ["x", "y"], "y": [True, False], "said": [False, True]})
    path = write_table(frame, tmp_path / "t.parquet")
    assert reading.count(path, config(path)).classes() == ["false", "true"]
    path = write_table(frame.with_columns(pl.col("y", "said").cast(pl.Float64)), tmp_path / "u.parquet")
    assert reading.count(path, config(path)).classes() == ["0", "1"]


def test_rows_that_cannot_be_used_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(
        "sex,race,y,said,score,w\n"
        "f,x,1,1,.5,1\nm,x,0,0,.4,1\n,x,1,1,.3,2\nf,x,,1,.5,1\nf,x,1,,.5,1\n"
        "f,x,1,1,nan,1\nf,x,1,1,1.5,1\nf,x,1,1,.5,-1\nf,x,1,1,.5,heavy\nf,x,2,1,.5,1\n"
    )
    asked = config(path, score="score", weight="w", classes=["0", "1"])
    found = reading.count(path, asked)
    assert found.dropped == {
        "label is missing": 1,
        "prediction is missing": 1,
        "score is missing or not a number": 1,
        "score is outside 0 to 1": 1,
        "weight is missing or not a number": 1,
        "weight is negative": 1,
        "y is no class": 1,
    }
    assert c.table(found, ["sex"], ["0", "1"]).groups == [c.MISSING, "f", "m"]
    rows = reading.unusable(path, asked)
    assert [row["row"] for row in rows] == [4, 5, 6, 7, 8, 9, 10]
    assert rows[0]["reason"] == "label is missing"
    with pytest.raises(UserError, match="7 of 10 rows cannot be used"):
        reading.check(found, asked)


def test_binary_keeps_what_is_positive(tmp_path: Path) -> None:
    frame = people().with_columns(y=pl.col("y") + 1, said=pl.col("said") * 2 + 1)
    path = write_table(frame, tmp_path / "t.parquet")
    found = reading.count(path, config(path)).binary(["1"])
    table = c.table(found, ["race"], ["0", "1"])
    wanted = rates.count(frame["y"] == 1, frame["said"] == 1, frame["race"])
    assert_allclose(table.cells[:, 0], wanted.cells)


def test_saved_counts_are_the_same(tmp_path: Path) -> None:
    path = write_table(people(), tmp_path / "t.csv")
    found = reading.count(path, config(path, score="score"))
    found.save(tmp_path / "a.parquet", tmp_path / "b.parquet")
    again = c.Counts.load(tmp_path / "a.parquet", tmp_path / "b.parquet")
    assert again.columns == ("sex", "race")
    assert_frame_equal(again.decisions, found.decisions)


@pytest.mark.parametrize(
    ("text", "more", "message"),
    [
        ("sex,race,y,said\nf,x,1,1\nf,y,0,1\n", {}, "--groups sex: got one group only"),
        ("sex,race,y,said\n", {}, "holds no rows"),
        ("sex,race,y,said\nf,x,1,1\nm,y,0,1\n", {"groups": ["gender"]}, "unknown column in .*'gender'"),
    ],
)
def test_refused_tables(tmp_path: Path, text: str, more: dict[str, Any], message: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text(text)
    asked = config(path, **more)
    with pytest.raises(UserError, match=message):
        reading.check(reading.count(path, asked), asked)


@pytest.mark.parametrize(
    ("name", "message"), [("t.xlsx", "must be one of"), ("t.parquet", "cannot be read as a parquet table")]
)
def test_refused_files(tmp_path: Path, name: str, message: str) -> None:
    path = tmp_path / name
    path.write_text("nothing\nof the kind\n")
    with pytest.raises(UserError, match=message):
        reading.count(path, config(path))


def test_absent_and_empty_places(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not there"):
        reading.scan(tmp_path / "t.csv", config(tmp_path))
    with pytest.raises(UserError, match="holds no table"):
        reading.files(tmp_path)


@pytest.mark.parametrize(
    ("classes", "positive", "wanted"),
    [
        (["0", "1"], None, ("1",)),
        (["no", "yes"], None, ("yes",)),
        (["0", "1", "False", "True"], None, ("1", "True")),
        (["0", "1", "false", "true"], "0", ("0", "false")),
        (["-1", "1"], None, ("1",)),
        (["0"], None, ()),
        (["a", "b", "c"], None, None),
        (["a", "b"], "a", ("a",)),
    ],
)
def test_which_words_are_positive(classes: list[str], positive: str | None, wanted: tuple[str, ...] | None) -> None:
    assert reading.positive_words(classes, config(Path("t.csv"), positive=positive)) == wanted


@pytest.mark.parametrize(
    ("classes", "positive", "message"),
    [
        (["<=50K", ">50K"], None, "--positive is missing: classes are"),
        (["0", "1"], "ja", "unknown --positive value 'ja'"),
        ([str(i) for i in range(101)], None, "got 101 classes; at most 100"),
    ],
)
def test_no_positive_class(classes: list[str], positive: str | None, message: str) -> None:
    with pytest.raises(UserError, match=message):
        reading.positive_words(classes, config(Path("t.csv"), positive=positive))


@pytest.mark.parametrize("blank", ["", " ", None])
@pytest.mark.parametrize("kind", ["csv", "parquet", "jsonl"])
def test_blank_groups_keep_their_scores(tmp_path: Path, kind: str, blank: str | None) -> None:
    """A group that is empty in the last column is the missing one, for decisions and for scores."""
    frame = people(400).with_columns(race=pl.Series([blank, "x"] * 200), score=pl.Series(np.linspace(0, 1, 400)))
    path = write_table(frame, tmp_path / f"t.{kind}")
    found = reading.count(path, config(path, score="score"))
    assert c.table(found, ["race"], ["0", "1"]).groups == [c.MISSING, "x"]
    cells, _ = c.score_table(found, ["race"], [(c.MISSING,), ("x",)])
    assert cells.sum((1, 2)).tolist() == [200, 200]


def test_not_a_number_is_a_missing_group(tmp_path: Path) -> None:
    frame = people(90).with_columns(race=pl.Series([float("nan"), 1.0, 2.0] * 30))
    path = write_table(frame, tmp_path / "t.parquet")
    assert c.table(reading.count(path, config(path)), ["race"], ["0", "1"]).groups == [c.MISSING, "1", "2"]


def test_numbers_and_booleans_are_the_same_classes(tmp_path: Path) -> None:
    """Labels 0 and 1, decisions True and False, half of them in another spelling: the plain table comes out."""
    frame = people()
    path = tmp_path / "t.csv"
    words = pl.Series(["False", "True"]).gather(frame["said"])
    frame.with_columns(said=words).write_csv(path)
    found = reading.count(path, config(path))
    reading.check(found, config(path))
    positive = reading.positive_words(reading.classes_of(found, config(path)), config(path))
    assert positive is not None
    cells = c.table(found.binary(positive), ["race"], ["0", "1"]).cells[:, 0]
    assert_allclose(cells, rates.count(frame["y"], frame["said"], frame["race"]).cells)


def test_labels_and_predictions_without_a_common_word(tmp_path: Path) -> None:
    """Every selection rate would be 0, and every gap clear."""
    path = tmp_path / "t.csv"
    path.write_text("sex,race,y,said\nf,x,>50K,1\nm,y,<=50K,0\n")
    asked = config(path, positive=">50K")
    with pytest.raises(UserError, match="--prediction said: got 0, 1, but --label y has <=50K, >50K"):
        reading.check(reading.count(path, asked), asked)


@pytest.mark.parametrize("name", ["row", "reason", "values"])
def test_columns_named_like_ours(tmp_path: Path, name: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text(f"{name},race,y,said\nf,x,,1\nm,y,0,0\nf,y,1,1\n")
    asked = config(path, groups=[name, "race"])
    (row,) = reading.unusable(path, asked)
    assert (row["row"], row["reason"]) == (1, "label is missing")
    assert row["values"][name] == "f"
