import errno
import json
from pathlib import Path
from typing import Any

import pytest

from upright.run import files


def test_sha256_of_the_empty_file(tmp_path: Path) -> None:
    path = tmp_path / "empty"
    path.touch()
    assert files.sha256(path) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_a_full_disk_leaves_the_old_file_and_nothing_half_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "config.json"
    files.write_json(path, {"old": True})

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        files.write_json(path, {"new": True})
    assert files.read_json(path) == {"old": True}
    assert list(tmp_path.iterdir()) == [path]


def test_json_has_no_nan(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        files.write_json(tmp_path / "x.json", {"value": float("nan")})
    assert not (tmp_path / "x.json").exists()


def test_a_cut_last_line_is_not_read_and_can_be_mended(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    files.append_jsonl(log, {"n": 1})
    files.append_jsonl(log, {"n": 2})
    log.write_bytes(log.read_bytes()[:-4])
    assert files.read_jsonl(log) == [{"n": 1}]
    files.mend_jsonl(log)
    files.append_jsonl(log, {"n": 3})
    assert files.read_jsonl(log) == [{"n": 1}, {"n": 3}]


def test_mending_keeps_whole_lines_and_absent_logs(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    files.mend_jsonl(log)
    assert files.read_jsonl(log) == []
    files.append_jsonl(log, {"word": "straße"})
    files.mend_jsonl(log)
    assert json.loads(log.read_text(encoding="utf-8")) == {"word": "straße"}
