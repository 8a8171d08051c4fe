"""`upright kg`: graphs on disk, looked at, asked and linked from the command line."""

import json
from pathlib import Path

import pytest

from upright.cli import main
from upright.knowledge.files import open_graph


@pytest.fixture
def store(tmp_path: Path) -> Path:
    (tmp_path / "facts.tsv").write_text("Peru\tcapital\tLima\nPeru\tcurrency\tsol\nChile\tcapital\tSantiago\n")
    assert main(["kg", "load", str(tmp_path / "facts.tsv"), "--out", str(tmp_path / "store")]) == 0
    return tmp_path / "store"


def test_a_stored_graph_answers_as_the_file_does(store: Path) -> None:
    stored, read = open_graph(store), open_graph(store.parent / "facts.tsv")
    assert list(stored.triples()) == list(read.triples())
    assert stored.counts(["Peru"]) == read.counts(["Peru"]) == {"capital": 1, "currency": 1}
    assert stored.objects("Peru", "capital") == ("Lima",)


def test_info_query_and_link(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert main(["kg", "info", str(store), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["facts"] == 3
    assert main(["kg", "query", str(store), "SELECT ?x WHERE { <Peru> <capital> ?x }", "--json"]) == 0
    assert "Lima" in capsys.readouterr().out
    assert main(["kg", "link", str(store), "lima"]) == 0
    assert "Lima" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["kg", "info", "nowhere"], "there is no such file or folder"),
        (["kg", "query", "lab:atlas", "SELEC"], "is not SPARQL 1.1 at line 1"),
    ],
)
def test_a_mistake_is_one_line(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_a_bad_line_is_named_and_nothing_is_left(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bad.nt").write_text("<urn:a> <urn:p> <urn:b> .\n" * 6 + "<urn:a> <urn:p\n")
    assert main(["kg", "load", str(tmp_path / "bad.nt"), "--out", str(tmp_path / "store")]) == 2
    assert "bad.nt:7" in capsys.readouterr().err
    assert not (tmp_path / "store").exists()


def test_a_graph_that_does_not_answer_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    access = ["--access.retries", "0", "--access.cache", str(tmp_path / "replies.sqlite")]
    for words in (
        ["kg", "link", "sparql:http://127.0.0.1:1", "x"],
        ["kg", "query", "sparql:http://127.0.0.1:1", "ASK {}"],
    ):
        assert main([*words, *access]) == 2
        error = capsys.readouterr().err
        assert error.startswith("upright: http://127.0.0.1:1: cannot be reached")
        assert error.count("\n") == 1
