"""The comparisons through every engine: the same numbers, shared work done once, errors in one line."""

import json
import pickle
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.synthesis.evaluation.leaky import arms, people
from tests.synthesis.places import settings
from upright.engines import opened
from upright.synthesis import evaluate, run
from upright.synthesis.config import EvaluationConfig
from upright.synthesis.evaluate import Bench, Evaluation
from upright.synthesis.evaluation.part import SYNTHETIC

ALL: dict[str, Any] = {"canaries": 12, "resamples": 20}
OWN: dict[str, Any] = {"records": 40, "speed": {"device": "cpu", "threads": 1}}


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with opened("ray", 2):
        yield


@pytest.mark.skipif(find_spec("ray") is None, reason="needs the extra cluster")
def test_a_cluster_finds_what_is_found_here(tmp_path: Path, cluster: None) -> None:
    here = run(settings(tmp_path, "here", evaluation=ALL, **OWN))
    there = run(settings(tmp_path, "there", evaluation=ALL, engine="ray", **OWN))
    assert there.records == here.records
    assert [m.name for m in there.metrics] == [m.name for m in here.metrics]
    assert json.loads((there.out / "metrics.json").read_text()) == json.loads((here.out / "metrics.json").read_text())
    assert {path.stem for path in (there.out / "steps").iterdir()} >= {f"part-{name}" for name in evaluate.JOBS}


def test_what_a_comparison_looks_at_can_travel() -> None:
    bench = Bench(arms(people(40, 8), size=40), EvaluationConfig(resamples=10))
    again = pickle.loads(pickle.dumps(bench))
    for name in ("utility", "diversity", "personal", "membership"):
        assert evaluate.JOBS[name](again) == evaluate.JOBS[name](bench)


def test_the_texts_are_read_and_searched_once_and_only_for_what_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that ends behind its readings goes on with the comparisons that are left alone."""
    asked: list[str] = []

    def counted(name: str) -> None:
        whole = getattr(Evaluation, name)

        def count(*given: Any) -> Any:
            asked.append(name)
            return whole(*given)

        monkeypatch.setattr(Evaluation, name, count)

    for name in ("_readings", "_search"):
        counted(name)
    config = settings(tmp_path, records=30, evaluation={**ALL, "canaries": 0})
    with monkeypatch.context() as patch:
        patch.setitem(evaluate.JOBS, "neighbours", lambda bench: 1 / 0)
        with pytest.raises(ZeroDivisionError) as caught:
            run(config)
    assert asked == ["_readings", "_search"]
    assert "in shard 6 (items 6 to 6)" in caught.value.__notes__
    found = run(config)
    assert asked == ["_readings", "_search", "_readings"]
    assert {m.split for m in found.metrics if m.name.startswith("nearer")} >= {SYNTHETIC}
