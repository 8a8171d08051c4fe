import json
from pathlib import Path

import pytest

from upright.audit.exposure import plant
from upright.audit.exposure.config import Plant
from upright.errors import UserError


def test_the_training_lines_are_the_planted_canaries_as_often_as_said(tmp_path: Path) -> None:
    config = Plant(out=tmp_path / "c.jsonl", count=5, controls=3, repeats=[1, 4])
    planted = plant.run(config)
    record = plant.read_record(planted.record)
    lines = planted.training.read_text().splitlines()
    assert [c.repeats for c in record] == [1, 4, 1, 4, 1, 0, 0, 0]
    assert {c.text: c.repeats for c in record} == {c.text: lines.count(c.text) for c in record}
    assert len(lines) == 11
    assert str(planted.record) in planted.message


def test_the_seed_decides(tmp_path: Path) -> None:
    texts = [
        [c.text for c in plant.read_record(plant.run(Plant(out=tmp_path / f"{i}.jsonl", seed=seed)).record)]
        for i, seed in enumerate((0, 0, 1))
    ]
    assert texts[0] == texts[1]
    assert not set(texts[0]) & set(texts[2])


def test_files_are_kept_unless_told(tmp_path: Path) -> None:
    config = Plant(out=tmp_path / "c.jsonl")
    before = plant.run(config).record.read_text()
    with pytest.raises(UserError, match="--overwrite"):
        plant.run(config.model_copy(update={"seed": 1}))
    assert config.out.read_text() == before
    plant.run(config.model_copy(update={"seed": 1, "overwrite": True}))
    assert config.out.read_text() != before


def test_a_space_that_is_too_small(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="10 texts, too few for 200"):
        plant.run(Plant(out=tmp_path / "c.jsonl", format="{digits:1}"))


GOOD = {"id": "a", "text": "1", "format": "{digits:1}", "repeats": 0}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("", "holds no canaries"),
        ("nonsense", ":1: no canary"),
        (json.dumps({**GOOD, "repeats": -1}), ":1: no canary .*repeats"),
        (json.dumps({**GOOD, "text": "x"}), "is not of the format"),
    ],
)
def test_records_that_are_none(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "c.jsonl"
    path.write_text(line)
    with pytest.raises(UserError, match=message):
        plant.read_record(path)


def test_the_record_is_not_overwritten_by_its_own_training_lines(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"c\.txt: the lines to train on go to that name; must end in \.jsonl"):
        plant.run(Plant(out=tmp_path / "c.txt"))
    assert not (tmp_path / "c.txt").exists()


def test_a_text_stands_in_a_record_once(tmp_path: Path) -> None:
    """A text that is planted and a control at once would be held against itself."""
    record = plant.run(Plant(out=tmp_path / "c.jsonl", count=2, controls=2)).record
    first = record.read_text().splitlines()[0]
    record.write_text(record.read_text() + "\n" + first.replace('"repeats":1', '"repeats":0') + "\n")
    with pytest.raises(UserError, match=r"c\.jsonl:6: text .* stands there twice"):
        plant.read_record(record)
