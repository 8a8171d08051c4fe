"""A whole run: its artifacts, a kill in each phase, and what must not stay."""

import json
import math
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.synthesis.places import settings
from upright.errors import UserError
from upright.run.folder import RunFolder
from upright.synthesis import run, runner
from upright.synthesis.config import Config
from upright.synthesis.corpus import Corpus
from upright.synthesis.evaluation.part import SYNTHETIC, Arms
from upright.synthesis.generators import engine_of, reopened
from upright.synthesis.page import UNENDED
from upright.synthesis.sampling import Written
from upright.training.private import Certificate

PART = {"utility": True, "coreference": False, "closeness": False, "leakage": False, "canaries": 0, "resamples": 20}


def test_a_run_hands_over_records_adapter_and_certificate(tmp_path: Path) -> None:
    found = run(settings(tmp_path, control="train", evaluation=PART))
    frame = pl.read_parquet(found.out / "synthetic.parquet")
    assert frame.columns == ["id", "kind", "text"]
    assert frame["text"].to_list() == list(found.records.texts)
    assert pl.read_csv(found.out / "synthetic.csv", schema_overrides={"text": pl.String}).equals(frame)
    assert (found.out / "adapter" / "adapter_model.safetensors").is_file()
    statement = json.loads((found.out / "certificate.json").read_text())
    assert found.certificate is not None
    assert statement["epsilon"] == found.certificate.epsilon <= 4
    assert (statement["unit"], statement["steps"]) == ("who", statement["planned_steps"])
    assert statement["not_covered_because"] == [
        "the noise came from a seed (tune.chance = seeded): whoever knows it can take it off again"
    ]
    names = {(metric.name, metric.split) for metric in found.metrics}
    assert ("kind: macro-F1", SYNTHETIC) in names
    assert ("kind: macro-F1", "control") in names
    assert "epsilon" in found.report.read_text().lower() or "ε" in found.report.read_text()


def test_nothing_of_the_control_and_no_real_text_stays(tmp_path: Path) -> None:
    config = settings(tmp_path, control="train", evaluation=PART)
    found = run(config)
    real = pl.read_csv(config.data)["text"].to_list()
    assert {path.name for path in found.out.iterdir()} - {".lock"} == {
        "adapter",
        "certificate.json",
        "config.json",
        "events.jsonl",
        "manifest.json",
        "metrics.json",
        "report.html",
        "steps",
        "synthetic.csv",
        "synthetic.parquet",
    }
    kept = [path.read_text(errors="replace") for path in found.out.rglob("*") if path.is_file()]
    assert not [text for text in real for content in kept if text in content]


STOPS = [(runner, "_write"), (runner, "_evaluated"), (runner, "_control"), (RunFolder, "finish")]


@pytest.mark.parametrize(("place", "name"), STOPS, ids=[name for _, name in STOPS])
def test_a_killed_run_goes_on_to_the_same_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: Any, name: str
) -> None:
    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    more: dict[str, Any] = {"control": "train", "evaluation": PART}
    unbroken = run(settings(tmp_path, "a", **more))
    with monkeypatch.context() as patch:
        patch.setattr(place, name, stop)
        with pytest.raises(KeyboardInterrupt):
            run(settings(tmp_path, "b", **more))
    again = run(settings(tmp_path, "b", **more))
    assert again.records == unbroken.records
    assert again.certificate == unbroken.certificate
    assert again.metrics == unbroken.metrics
    assert not (again.out / "private").exists()


def test_the_control_is_not_made_again_for_comparisons_that_are_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = settings(tmp_path, control="train", evaluation=PART)
    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "finish", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run(config)
    monkeypatch.setattr(runner, "_control", lambda *_: pytest.fail("made again"))
    run(config)


def test_without_privacy_the_certificate_says_so(tmp_path: Path) -> None:
    found = run(settings(tmp_path, epsilon=math.inf))
    statement = json.loads((found.out / "certificate.json").read_text())
    assert statement["epsilon"] == "inf"
    assert "no noise was added (epsilon = inf)" in statement["not_covered_because"]
    assert "epsilon" not in {metric.name for metric in found.metrics}


def test_a_mistake_leaves_no_folder(tmp_path: Path) -> None:
    config = settings(tmp_path, delta=0.5)
    with pytest.raises(UserError, match="delta"):
        run(config)
    assert not config.out or not config.out.exists()


def test_what_no_attempt_could_write_is_a_failure(tmp_path: Path) -> None:
    found = run(settings(tmp_path, filters={"least": 40, "attempts": 2}))
    failures = [json.loads(line) for line in (found.out / "failures.jsonl").read_text().splitlines()]
    assert len(failures) + len(found.records) == 12
    assert failures[0]["reason"] == "refused in all 2 attempts"
    wanted = next(metric for metric in found.metrics if metric.name == "records wanted that were written")
    assert (wanted.value, wanted.n) == (len(found.records) / 12, 12)


def test_sides_are_capped_by_the_seed(tmp_path: Path) -> None:
    from upright.synthesis.evaluate import arms_of
    from upright.synthesis.reading import read
    from upright.synthesis.split import split

    config: Config = settings(tmp_path, evaluation={**PART, "rows": 10})
    corpus = read(config)
    arms: Arms = arms_of(config, split(corpus, config.split, 0), corpus, None, 7)
    assert [len(side) for side in (arms.train, arms.heldout, arms.test, arms.synthetic)] == [10] * 4
    assert arms == arms_of(config, split(corpus, config.split, 0), corpus, None, 7)


@pytest.mark.parametrize("method", ["lora", "full"])
def test_a_run_in_bfloat16(tmp_path: Path, method: str) -> None:
    tune = {"epochs": 1, "batch": 10, "rank": 2, "tokens": 48, "method": method, "chance": "seeded"}
    found = run(settings(tmp_path, tune=tune, speed={"device": "cpu", "precision": "bfloat16"}))
    assert found.certificate is not None
    assert found.certificate.steps == found.certificate.planned_steps > 0
    assert 3.5 < found.certificate.epsilon <= 4


def test_records_that_were_cut_off_are_counted_by_code(tmp_path: Path) -> None:
    corpus = Corpus(("kind", "sex"), list("abcdef"), [("x", "f")] * 2 + [("y", "f")] * 3 + [("z", "m")])
    made = Written(corpus, 9, Counter(), [], [True, False, False, True, False, False])
    found = runner.unended(made)
    assert [(m.split, m.value, m.n) for m in found] == [
        ("all", 4 / 6, 6),
        ("kind: x, sex: f", 0.5, 2),
        ("kind: y, sex: f", 2 / 3, 3),
        ("kind: z, sex: m", 1.0, 1),
    ]
    assert len(runner.unended(replace(made, corpus=replace(corpus, codes=[()] * 6)))) == 1


@pytest.mark.parametrize("generator", ["ngrams", "evolution", "prompted"])
def test_every_generator_goes_the_same_way(tmp_path: Path, generator: str) -> None:
    more: dict[str, Any] = {
        "evolution": {"rounds": 2, "variations": 2},
        "chat": {"model": f"hf:{tmp_path / 'model'}", "raw": True, "speed": {"cache": tmp_path / "chat"}},
        "records": 6,
    }
    found = run(settings(tmp_path, generator=generator, control="train", **more))
    assert set(found.records.codes) <= {("money",), ("town",)}
    statement = json.loads((found.out / "certificate.json").read_text())
    told = {metric.split: metric.n for metric in found.metrics if metric.name == UNENDED}
    assert told["all"] == sum(n for split, n in told.items() if split != "all") == len(found.records)
    if generator == "prompted":
        assert found.certificate is None
        assert statement["not_covered_because"] == ["the generator 'prompted' has no formal guarantee"]
    else:
        assert found.certificate is not None
        assert 3.9 < found.certificate.epsilon <= 4
        assert found.certificate.queries["counts"] == 1


def test_a_cluster_writes_with_what_is_handed_over_alone(tmp_path: Path) -> None:
    chosen = {name: engine_of(settings(tmp_path, generator=name, engine="ray")) for name in ("tuned", "ngrams")}
    assert chosen == {"tuned": "ray", "ngrams": "local"}


def test_a_model_opened_again_writes_the_same(tmp_path: Path) -> None:
    from upright.synthesis.codes import Codes
    from upright.synthesis.reading import read

    for method in ("lora", "full"):
        config = settings(tmp_path, method, tune={"epochs": 1, "batch": 20, "tokens": 48, "method": method})
        live = run(config)
        assert live.out is not None
        items = [(("money",), 1), (("town",), 2)]
        again = reopened(config, Codes.of(read(config), config.codes), live.out)(items, 0)
        assert again == live.generator.write(*map(list, zip(*items, strict=True)))


def test_canaries_are_learnt_scored_and_never_released(tmp_path: Path) -> None:
    evaluation = {**PART, "utility": False, "canaries": 24, "repeats": 2, "leakage": True}
    found = run(settings(tmp_path, control="train", evaluation=evaluation))
    names = {(metric.name, metric.split) for metric in found.metrics}
    assert {("exposure of canaries in", SYNTHETIC), ("exposure of canaries in", "control")} <= names
    assert ("epsilon, audited lower bound", SYNTHETIC) in names
    assert found.exit_code == 0


def test_copies_of_private_records_are_refused_and_void_the_guarantee(tmp_path: Path) -> None:
    from upright.synthesis.codes import Codes
    from upright.synthesis.planting import plant
    from upright.synthesis.reading import read
    from upright.synthesis.release import voided_by

    config = settings(tmp_path, sampling={"block": 3})
    corpus = read(config)
    judge = plant(config, corpus, Codes.of(corpus, config.codes), 0).filter(config)
    found = judge(["Far from it all.", f"So {corpus.texts[0].lower()}", "", "The bank of Spain"], [("money",)] * 4)
    assert found.kept == [0, 3]
    assert found.reasons == {"empty": 1, "repeats 3 words of a private record": 1}
    assert found.refused == {("money",): 2}
    certificate = Certificate(4, 4.2, 1e-3, 1, 1, 0.5, 1.0, 1.0, {}, secret=True)
    assert voided_by(config, certificate) == [
        "records were held against the private ones when they were written (sampling.block)"
    ]
    assert voided_by(settings(tmp_path), certificate) == []
