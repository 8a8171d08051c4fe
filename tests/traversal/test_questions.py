"""Question files: what is read, and what is said of a bad row."""

from pathlib import Path

import pytest

from upright.errors import UserError
from upright.traversal.questions import Question, read_questions, write_questions


def test_questions_come_back_as_they_were_written(tmp_path: Path) -> None:
    questions = [
        Question(id="a", question="Who?", answer=("Ann", "Bob"), seeds=("M1",)),
        Question(id="b", question="When?"),
    ]
    write_questions(tmp_path / "q.jsonl", questions)
    assert read_questions(tmp_path / "q.jsonl") == questions


def test_short_forms(tmp_path: Path) -> None:
    path = tmp_path / "q.jsonl"
    path.write_text('{"question": "How many?", "answer": 3}\n\n{"id": 7, "question": "Who?", "answer": "Ann"}\n')
    assert read_questions(path) == [
        Question(id="1", question="How many?", answer=("3",)),
        Question(id="7", question="Who?", answer=("Ann",)),
    ]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", r"q.jsonl:2: is not JSON"),
        ("[1]", r"q.jsonl:2: got a list; give an object"),
        ('{"id": "b"}', r"q.jsonl:2: question: field required"),
        ('{"question": "  "}', r"q.jsonl:2: question: string should have at least 1 character"),
        ('{"id": "a", "question": "again?"}', r"q.jsonl:2: id 'a' stands twice"),
    ],
)
def test_the_first_bad_row_is_named(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "q.jsonl"
    path.write_text('{"id": "a", "question": "Who?"}\n' + line + "\n")
    with pytest.raises(UserError, match=message):
        read_questions(path)


def test_no_file_and_an_empty_one(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        read_questions(tmp_path / "none.jsonl")
    (tmp_path / "empty.jsonl").write_text("\n")
    with pytest.raises(UserError, match="holds no questions"):
        read_questions(tmp_path / "empty.jsonl")
