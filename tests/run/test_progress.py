import io
import sys

import pytest

from upright.run.progress import progress, track


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_nobody_watching_hears_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(track([1, 2, 3], "counting")) == [1, 2, 3]
    with progress("working", 3) as bar:
        bar.advance(2)
    assert capsys.readouterr() == ("", "")


def test_a_terminal_sees_the_bar_on_stderr(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    assert list(track(iter("ab"), "counting", total=2)) == ["a", "b"]
    assert "counting" in screen.getvalue()
    assert "2/2" in screen.getvalue()
    assert capsys.readouterr().out == ""
