"""Run folders: what they hold, whom they refuse, and how a stopped run goes on."""

import json
import signal
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
import torch

from upright.errors import UserError
from upright.models.causal import load
from upright.run import files, manifest
from upright.run.evidence import mean, proportion, scalar
from upright.run.folder import RunFolder, open_run
from upright.run.lock import FolderLock
from upright.run.report import Report

Shell = Callable[..., CompletedProcess[str]]


@pytest.fixture
def config(probe: Any, tmp_path: Path) -> Any:
    return probe.Config(out=tmp_path / "run", log=tmp_path / "log", points=50)


def read(folder: Path, name: str) -> Any:
    return json.loads((folder / name).read_text())


# --- what a run leaves ---


def test_a_finished_run(probe: Any, config: Any, tmp_path: Path) -> None:
    result = probe.run(config)
    names = {path.name for path in config.out.iterdir()}
    expected = [
        "config.json",
        "manifest.json",
        "metrics.json",
        "report.html",
        "events.jsonl",
        "failures.jsonl",
    ]
    assert names == {*expected, "steps", ".lock"}
    record = manifest.load(config.out)
    assert (record.status, record.verb, record.seed, record.dropped) == ("finished", "probe", 0, 3)
    assert record.command == f"upright probe --log {tmp_path}/log --points 50"
    assert record.versions["torch"] == torch.__version__
    assert record.wall_seconds > 0
    assert record.peak_memory > 2**20
    assert record.inputs[str(Path(probe.__file__))].sha256 == files.sha256(Path(probe.__file__))
    metrics = read(config.out, "metrics.json")["metrics"]
    assert metrics == [proportion("inside", sum(result.hits), 150).model_dump()]
    assert probe.Config.model_validate(read(config.out, "config.json")) == config


def test_the_same_seed_gives_the_same_artifacts(probe: Any, config: Any, tmp_path: Path) -> None:
    again = config.model_copy(update={"out": tmp_path / "again"})
    other = config.model_copy(update={"out": tmp_path / "other", "seed": 1})
    hits = [probe.run(each).hits for each in (config, again, other)]
    assert hits[0] == hits[1] != hits[2]


def test_without_out_each_run_has_a_folder_of_its_own(
    probe: Any, config: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = {probe.run(config.model_copy(update={"out": None})).out for _ in range(2)}
    assert len(found) == 2
    assert all(path.parts[0] == "runs" and path.name.startswith("probe-2") for path in found)


def test_events_tell_the_steps(probe: Any, config: Any) -> None:
    probe.run(config)
    events = files.read_jsonl(config.out / "events.jsonl")
    assert [(event["kind"], event.get("name")) for event in events] == [
        ("started", None),
        ("step", "a"),
        ("step", "b"),
        ("step", "c"),
    ]
    assert not any(event.get("reused") for event in events)


# --- admission ---


def test_another_run_is_refused_unless_overwritten(probe: Any, config: Any) -> None:
    probe.run(config)
    other = config.model_copy(update={"points": 60})
    with pytest.raises(UserError, match=r"holds another run \(probe, finished, .*add --overwrite"):
        probe.run(other)
    probe.run(other.model_copy(update={"overwrite": True}))
    assert read(config.out, "config.json")["points"] == 60
    assert len(files.read_jsonl(config.out / "failures.jsonl")) == 3


def test_a_finished_run_is_not_done_twice(probe: Any, config: Any) -> None:
    probe.run(config)
    with pytest.raises(UserError, match="this run is finished; add --overwrite"):
        probe.run(config)


@pytest.mark.parametrize("overwrite", [False, True])
def test_foreign_files_are_never_touched(probe: Any, config: Any, overwrite: bool) -> None:
    config.out.mkdir()
    (config.out / "thesis.tex").write_text("years of work")
    with pytest.raises(UserError, match=r"holds files that are no run \(thesis.tex"):
        probe.run(config.model_copy(update={"overwrite": overwrite}))
    assert (config.out / "thesis.tex").read_text() == "years of work"


def stopped(config: Any, work: Callable[[RunFolder], object], error: BaseException) -> None:
    """A run that does some work and ends with an error."""
    with open_run(config, verb="probe") as folder:
        work(folder)
        raise error


def test_a_run_goes_on_only_with_the_model_it_began_with(config: Any) -> None:
    atlas = load("lab:atlas", "cpu")
    with pytest.raises(KeyboardInterrupt):
        stopped(config, lambda folder: folder.model(atlas), KeyboardInterrupt())
    assert manifest.load(config.out).models == {"lab:atlas": atlas.digest()}
    with torch.no_grad():
        next(atlas.model.parameters()).add_(1)
    with pytest.raises(UserError, match="lab:atlas: has changed"):
        stopped(config, lambda folder: folder.model(atlas), KeyboardInterrupt())


def test_a_mistake_found_before_any_work_leaves_no_folder(config: Any) -> None:
    with pytest.raises(UserError, match="no such column"):
        stopped(config, lambda folder: folder.input(Path(__file__)), UserError("no such column"))
    assert not config.out.exists()


def test_a_mistake_found_after_a_step_or_a_dropped_row_leaves_what_was_done(config: Any, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="late"):
        stopped(config, lambda folder: folder.step("a", lambda: 1), UserError("late"))
    assert manifest.load(config.out).status == "failed"
    other = config.model_copy(update={"out": tmp_path / "rows"})
    with pytest.raises(UserError, match="all rows"):
        stopped(other, lambda folder: folder.fail("reading", "no label", {"id": 1}), UserError("all rows"))
    assert files.read_jsonl(other.out / "failures.jsonl")[0]["reason"] == "no label"


def test_two_processes_never_write_one_run(probe: Any, config: Any) -> None:
    config.out.mkdir()
    lock = FolderLock(config.out)
    lock.take()
    with pytest.raises(UserError, match="another process is writing this run"):
        probe.run(config)
    lock.release()
    assert probe.run(config).hits


def test_a_kill_before_the_manifest_leaves_a_usable_folder(probe: Any, config: Any) -> None:
    config.out.mkdir()
    (config.out / "config.json").write_text("{}")
    assert probe.run(config).hits


# --- stopping and going on ---


def unbroken(probe: Any, config: Any, tmp_path: Path) -> Any:
    return probe.run(config.model_copy(update={"out": tmp_path / "unbroken", "log": tmp_path / "log2"}))


def test_a_killed_run_repeats_only_what_was_not_finished(probe: Any, config: Any, shell: Shell, tmp_path: Path) -> None:
    words = ["probe", "--out", str(config.out), "--log", str(config.log), "--points", "50"]
    assert shell(*words, stop="b=SIGKILL").returncode == -signal.SIGKILL
    assert manifest.load(config.out).status == "running"
    assert config.log.read_text() == "ab"

    resumed = shell("runs", "resume", str(config.out))
    assert resumed.returncode == 0, resumed.stderr
    assert config.log.read_text() == "abbc"  # a is not repeated
    whole = unbroken(probe, config, tmp_path)
    assert read(config.out, "metrics.json") == read(whole.out, "metrics.json")
    assert (config.out / "failures.jsonl").read_text() == (whole.out / "failures.jsonl").read_text()
    record = manifest.load(config.out)
    assert (record.status, record.attempts, record.dropped) == ("finished", 2, 3)


def test_the_same_command_goes_on_too(config: Any, shell: Shell) -> None:
    words = ["probe", "--out", str(config.out), "--log", str(config.log)]
    shell(*words, stop="c=SIGKILL")
    assert shell(*words).returncode == 0
    assert config.log.read_text() == "abcc"


def test_ctrl_c_says_how_to_go_on(config: Any, shell: Shell) -> None:
    stopped = shell("probe", "--out", str(config.out), "--log", str(config.log), stop="b=SIGINT")
    assert stopped.returncode == 130
    assert stopped.stderr == f"upright: interrupted; go on with: upright runs resume {config.out}\n"
    assert manifest.load(config.out).status == "interrupted"
    assert shell("runs", "resume", str(config.out)).returncode == 0


def test_a_failed_run_keeps_its_traceback_and_can_go_on(probe: Any, config: Any) -> None:
    with pytest.raises(RuntimeError, match="the table broke") as caught:
        probe.run(config.model_copy(update={"fail": True}))
    assert caught.value.__notes__ == [f"upright runs resume {config.out}"]
    assert manifest.load(config.out).status == "failed"
    stopped = files.read_jsonl(config.out / "events.jsonl")[-1]
    assert stopped["error"] == "RuntimeError: the table broke"


def test_an_input_that_changed_under_a_run_is_refused(probe: Any, config: Any, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.write_text("one")

    def read_and_stop() -> None:
        with open_run(config, "probe") as run:
            run.input(data)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        read_and_stop()
    data.write_text("two")
    with pytest.raises(UserError, match="has changed since this run was started"):
        read_and_stop()


# --- the parts ---


def test_a_run_that_does_not_finish_is_a_bug(config: Any) -> None:
    with pytest.raises(RuntimeError, match=r"without run\.finish"), open_run(config, "probe"):
        pass


def test_each_name_has_its_own_repeatable_stream(config: Any, tmp_path: Path) -> None:
    with open_run(config, "probe") as run:
        draws = [run.rng("a").random(), run.rng("a").random(), run.rng("b").random()]
        assert draws[0] == draws[1] != draws[2]
        tensors = [torch.rand(3, generator=run.generator(name)) for name in ("a", "a", "b")]
        assert torch.equal(tensors[0], tensors[1])
        assert not torch.equal(tensors[0], tensors[2])
        assert 0 <= run.seed_for("a") < 2**63
        run.finish([], Report("x", "y"))


def test_a_step_gives_what_it_would_give_when_resumed(config: Any) -> None:
    with open_run(config, "probe") as run:
        pair: object = run.step("pair", lambda: (1, 2))
        assert pair == [1, 2]  # JSON knows no tuples, so none is handed out
        with pytest.raises(ValueError, match="used twice"):
            run.step("pair", lambda: (1, 2))
        run.finish([], Report("x", "y"))


def test_the_bill_adds_up_and_admits_what_it_does_not_know(config: Any) -> None:
    with open_run(config, "probe") as run:
        run.spend(prompt=10, completion=5, cost=0.25)
        run.spend(prompt=1, completion=2, cost=0.5)
        assert run.manifest.budget()["cost"] == "$0.75"
        run.spend(cost=None)
        run.record(device="cpu")
        run.finish([mean("x", [1.0, 2.0]), scalar("t", 1.0, unit="s")], Report("x", "y"))
    record = manifest.load(config.out)
    assert (record.tokens.prompt, record.tokens.completion, record.cost, record.device) == (
        11,
        7,
        None,
        "cpu",
    )
    assert record.budget()["tokens"] == "11 read, 7 written"
    assert record.budget()["cost"] == "not known"


def test_threads_are_set(probe: Any, config: Any) -> None:
    before = torch.get_num_threads()
    try:
        probe.run(config.model_copy(update={"speed": probe.SpeedConfig(threads=1)}))
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)
