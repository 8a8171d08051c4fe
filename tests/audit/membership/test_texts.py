"""Reading texts, and taking out what stands on both sides."""

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from upright.audit.membership.texts import Text, read_texts, shingles, without_copies
from upright.errors import UserError


def rows(side: str, *texts: str) -> list[Text]:
    return [Text(f"{side}:{i}", text, None) for i, text in enumerate(texts, 1)]


LONG = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"


def test_shingles_by_hand() -> None:
    """Sixteen words hold nine runs of eight; case and white space do not count; a short text is one run."""
    assert len(shingles(LONG)) == 9
    assert shingles(LONG.upper().replace(" ", "\n ")) == shingles(LONG)
    assert len(shingles("a b")) == 1
    assert shingles("a b") != shingles("a c")


def test_copies_go_from_both_sides_and_repeats_from_one() -> None:
    members = rows("m", "Alpha beta.", "gamma", "gamma ", "delta")
    others = rows("n", "epsilon", "ALPHA  beta.", "zeta")
    kept, kept_others, drops = without_copies(members, others, 0.8)
    assert [row.text for row in kept] == ["gamma", "delta"]
    assert [row.text for row in kept_others] == ["epsilon", "zeta"]
    assert {(drop.row, drop.reason) for drop in drops} == {
        ("m:1", "also on the other side"),
        ("n:2", "also on the other side"),
        ("m:3", "repeats an earlier row"),
    }


@pytest.mark.parametrize(("share", "stays"), [(0.5, False), (0.6, True)])
def test_near_copies(share: float, stays: bool) -> None:
    """The last four words differ, so five of nine runs of eight stand on the other side: 55.6 %."""
    near = " ".join([*LONG.split()[:-4], "w", "x", "y", "z"])
    kept, _, _ = without_copies(rows("m", near), rows("n", LONG), share)
    assert bool(kept) is stays


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet"])
def test_every_format_reads_the_same(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"texts{suffix}"
    frame = pl.DataFrame({"text": ["a b", " ", None, "c"], "who": [1, 2, 2, 1]})
    writers: dict[str, Any] = {".jsonl": frame.write_ndjson, ".csv": frame.write_csv, ".parquet": frame.write_parquet}
    writers[suffix](path)
    found, drops = read_texts(path, "text", "who")
    assert [(t.row, t.text, t.group) for t in found] == [(f"{path.name}:1", "a b", "1"), (f"{path.name}:4", "c", "1")]
    assert [(d.row, d.reason) for d in drops] == [(f"{path.name}:{i}", "no text") for i in (2, 3)]


def test_bad_files_say_what_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text(json.dumps({"text": 3}) + "\n")
    with pytest.raises(UserError, match="column 'text' holds Int64; needs texts"):
        read_texts(path, "text", None)
    with pytest.raises(UserError, match=r"unknown column of .*x\.jsonl 'txet' \(allowed: text\); did you mean 'text'"):
        read_texts(path, "txet", None)
