"""Reading texts, and taking out what stands on both sides."""

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from upright.audit.texts import Drop, read_sides, read_texts, shingles
from upright.errors import UserError


def sides(folder: Path, members: list[str], others: list[str], share: float) -> tuple[list[str], list[str], list[Drop]]:
    """What is left of both sides, and what was dropped."""
    for name, texts in (("m", members), ("n", others)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    files = {name: folder / f"{name}.jsonl" for name in ("m", "n")}
    found = read_sides(files, "text", None, share)
    return [t.text for t in found.texts["m"]], [t.text for t in found.texts["n"]], found.drops


LONG = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"


def test_shingles_by_hand() -> None:
    """Sixteen words hold nine runs of eight; case and white space do not count; a short text is one run."""
    assert len(shingles(LONG)) == 9
    assert shingles(LONG.upper().replace(" ", "\n ")) == shingles(LONG)
    assert len(shingles("a b")) == 1
    assert shingles("a b") != shingles("a c")


def test_copies_go_from_both_sides_and_repeats_from_one(tmp_path: Path) -> None:
    members = ["Alpha beta.", "gamma", "gamma ", "delta"]
    kept, others, drops = sides(tmp_path, members, ["epsilon", "ALPHA  beta.", "zeta"], 0.8)
    assert (kept, others) == (["gamma", "delta"], ["epsilon", "zeta"])
    assert {(drop.row, drop.reason) for drop in drops} == {
        ("m.jsonl:1", "also on the other side"),
        ("n.jsonl:2", "also on the other side"),
        ("m.jsonl:3", "repeats an earlier row"),
    }


@pytest.mark.parametrize(("share", "stays"), [(0.5, False), (0.6, True)])
def test_near_copies(share: float, stays: bool, tmp_path: Path) -> None:
    """The last four words differ, so five of nine runs of eight stand on the other side: 55.6 %."""
    near = " ".join([*LONG.split()[:-4], "w", "x", "y", "z"])
    kept, _, _ = sides(tmp_path, [near], [LONG], share)
    assert bool(kept) is stays


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet"])
def test_every_format_reads_the_same(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"texts{suffix}"
    frame = pl.DataFrame({"text": ["a b", " ", None, "c"], "who": [1, 2, 2, 1]})
    writers: dict[str, Any] = {".jsonl": frame.write_ndjson, ".csv": frame.write_csv, ".parquet": frame.write_parquet}
    writers[suffix](path)
    found, drops = read_texts(path, "text", "who")
    lines = [i + (suffix == ".csv") for i in (1, 2, 3, 4)]  # a CSV file begins with the names of its columns
    assert [(t.row, t.text, t.tag) for t in found] == [
        (f"{path.name}:{lines[0]}", "a b", "1"),
        (f"{path.name}:{lines[3]}", "c", "1"),
    ]
    assert [(d.row, d.reason) for d in drops] == [(f"{path.name}:{i}", "no text") for i in lines[1:3]]


def test_plain_text_is_one_a_line_and_only_a_newline_ends_one(tmp_path: Path) -> None:
    """U+2028 and U+0085 end a line for str.splitlines; in JSON and in prose they stand inside a text."""
    path = tmp_path / "x.txt"
    path.write_text("one\u2028more\n\ntwo\x85more\n", encoding="utf-8")
    found, drops = read_texts(path, "text", None)
    assert [(t.row, t.text) for t in found] == [("x.txt:1", "one\u2028more"), ("x.txt:3", "two\x85more")]
    assert [d.row for d in drops] == ["x.txt:2"]
    (tmp_path / "x.jsonl").write_text('{"text": "one\u2028more"}\n', encoding="utf-8")
    assert [t.text for t in read_texts(tmp_path / "x.jsonl", "text", None)[0]] == ["one\u2028more"]


def test_bad_files_say_what_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text(json.dumps({"text": 3}) + "\n")
    with pytest.raises(UserError, match="column 'text' holds Int64; needs texts"):
        read_texts(path, "text", None)
    with pytest.raises(UserError, match=r"unknown column in .*x\.jsonl: 'txet' \(allowed: text\); did you mean 'text'"):
        read_texts(path, "txet", None)
    path.write_text(6 * '{"text": "a"}\n' + '{"text": "b\n')
    with pytest.raises(UserError, match="cannot be read as a jsonl table: line 7 is no JSON"):
        read_texts(path, "text", None)
    path.write_text("")
    with pytest.raises(UserError, match="cannot be read as a jsonl table: it is empty"):
        read_texts(path, "text", None)
    with pytest.raises(UserError, match=r"got a \.md file; must be one of \.csv, \.parquet, \.jsonl, \.txt"):
        read_texts(tmp_path / "x.md", "text", None)
