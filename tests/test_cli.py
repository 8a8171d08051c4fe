"""The command line as a whole: verbs, exit codes, help and how fast it answers."""

import errno
import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import upright
from upright.cli import COMMANDS, main
from upright.run.folder import Message

ENV = {**os.environ, "PYTHONPATH": str(Path(upright.__file__).parents[1])}
Shell = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def words(tmp_path: Path) -> list[str]:
    return ["probe", "--log", str(tmp_path / "log"), "--points", "40", "--out", str(tmp_path / "run")]


def test_a_run_prints_its_numbers_and_its_report(
    probe: Any, words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 0
    printed = capsys.readouterr().out
    assert "inside" in printed
    assert "120" in printed
    assert printed.endswith(f"report: {tmp_path}/run/report.html\n")


@pytest.mark.parametrize("code", [0, 3])
def test_a_result_without_numbers_says_its_message(
    probe: Any, words: list[str], code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(probe, "run", lambda config: Message(message="refuted", exit_code=code))
    assert main(words) == code
    assert capsys.readouterr().out == "refuted\n"


@pytest.mark.parametrize("asked", [[], ["--help"], ["-h"], ["help"]])
def test_help_lists_every_verb(asked: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(asked) == 0
    page = " ".join(capsys.readouterr().out.split())
    for verb, command in COMMANDS.items():
        assert f"{verb} {command.summary}" in page


def test_a_family_of_verbs_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs"]) == 0
    page = capsys.readouterr().out
    assert "upright runs list|show|compare|resume [options]" in page
    assert "edit" not in page


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"upright {upright.__version__}\n"


@pytest.mark.parametrize(
    ("typed", "guess"),
    [(["runz"], "'runs'"), (["edti", "--model", "m"], "'edit'"), (["runs", "lst"], "'runs list'")],
)
def test_an_unknown_verb(typed: list[str], guess: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(typed) == 2
    line = capsys.readouterr().err
    assert line.startswith("upright: unknown verb ")
    assert line.endswith(f"did you mean {guess}?\n")


def test_the_longest_verb_wins(probe: Any, monkeypatch: pytest.MonkeyPatch, words: list[str]) -> None:
    monkeypatch.setitem(COMMANDS, "probe deeper", replace(probe.COMMAND, run="probe_verb:dig"))
    dug: list[Any] = []
    monkeypatch.setattr(probe, "dig", dug.append, raising=False)
    assert main(["probe", "deeper", *words[1:]]) == 0
    assert dug == [probe.Config(log=Path(words[2]), points=40, out=Path(words[6]))]


def test_a_mistake_is_one_line_and_exit_2(probe: Any, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*words, "--pionts", "3"]) == 2
    assert capsys.readouterr() == (
        "",
        "upright: unknown flag --pionts; did you mean --points? (all flags: upright probe --help)\n",
    )


def test_a_full_disk_is_one_line_and_exit_2(
    probe: Any, words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "big.bin")

    monkeypatch.setattr(probe, "_throw", full)
    assert main(words) == 2
    line = f"upright: disk full while writing big.bin; free some space, then: upright runs resume {words[-1]}\n"
    assert capsys.readouterr().err == line


def test_a_bug_keeps_its_traceback(probe: Any, words: list[str]) -> None:
    with pytest.raises(RuntimeError, match="the table broke"):
        main([*words, "--fail"])


def test_dry_run_prints_a_config_that_can_be_used_again(
    probe: Any, words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*words, "--dry-run"]) == 0
    printed = capsys.readouterr().out
    assert json.loads(printed)["points"] == 40
    assert not (tmp_path / "run").exists()
    file = tmp_path / "again.json"
    file.write_text(printed)
    assert main(["probe", "--config", str(file)]) == 0
    assert (tmp_path / "run" / "report.html").exists()


def test_resume_never_overwrites(probe: Any, words: list[str], shell: Shell, tmp_path: Path) -> None:
    shell(*words, stop="b=SIGKILL")
    config = tmp_path / "run" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "overwrite": True}))
    assert shell("runs", "resume", str(tmp_path / "run")).returncode == 0
    assert (tmp_path / "log").read_text() == "abbc"


def test_resume_of_a_verb_this_version_lacks(
    probe: Any, words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(RuntimeError):
        main([*words, "--fail"])
    monkeypatch.delitem(COMMANDS, "probe")
    assert main(["runs", "resume", words[-1]]) == 2
    assert "the verb 'probe', which this version of upright lacks" in capsys.readouterr().err


def test_a_closed_pipe_is_no_error() -> None:
    line = f"{sys.executable} -m upright --help | head -1"
    done = subprocess.run(["bash", "-c", line], env=ENV, capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr == ""
    assert done.stdout.startswith("upright makes language models safe")


@pytest.mark.parametrize("asked", [["--help"], ["runs", "compare", "--help"], ["edit", "--help"]])
def test_help_answers_at_once(asked: list[str]) -> None:
    seconds = []
    for _ in range(3):  # processor time, which other work on the machine does not stretch
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        argv = [sys.executable, "-m", "upright", *asked]
        subprocess.run(argv, env=ENV, capture_output=True, timeout=60, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(seconds) < 0.5
