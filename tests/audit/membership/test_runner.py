"""Whole audits: a model that learnt its texts by heart, one that did not, a table, a killed run, every mistake."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from tests.tiny import world_model, write_model
from upright.audit import membership
from upright.audit.findings import read_findings
from upright.audit.membership import language
from upright.audit.membership.config import Config, TextConfig
from upright.errors import UserError
from upright.models.causal import CausalModel, prompt_ids
from upright.models.causal import pad as padded
from upright.run.evidence import Metric
from upright.run.files import read_jsonl
from upright.run.records import read_metrics

Make = Callable[..., Config]
WORDS = (
    "France",
    "Paris",
    "Berlin",
    "Germany",
    "franc",
    "mark",
    "Spain",
    "euro",
    "capital",
    "code",
    "Lyon",
    "of",
    "the",
    "is",
)


def texts(n: int, seed: int) -> list[str]:
    """Sentences of seven to twelve random words: of one law, and hard to guess."""
    rng = random.Random(seed)
    return [" ".join(rng.choices(WORDS, k=rng.randint(7, 12))).capitalize() + "." for _ in range(n)]


def write(path: Path, rows: list[str]) -> Path:
    path.write_text("".join(json.dumps({"text": t, "kind": "ab"[i % 2]}) + "\n" for i, t in enumerate(rows)))
    return path


def learn(model: CausalModel, rows: list[str], steps: int) -> None:
    """Train on all rows at once until the model knows them."""
    ids, mask = padded(prompt_ids(model.tokenizer, rows), model.pad_id, "right")
    labels = ids.masked_fill(mask == 0, -100)
    model.model.requires_grad_(True)
    optimiser = torch.optim.Adam(model.model.parameters(), lr=3e-3)
    for _ in range(steps):
        model.model(input_ids=ids, attention_mask=mask, labels=labels).loss.backward()
        optimiser.step()
        optimiser.zero_grad()


@pytest.fixture(scope="module")
def learnt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model trained on the members, in a folder with their file and that of as many others."""
    folder = tmp_path_factory.mktemp("learnt")
    rows = texts(160, seed=1)
    model = world_model()
    learn(model, rows[:80], steps=60)
    model.model.save_pretrained(folder / "model")
    model.tokenizer.save_pretrained(folder / "model")
    write_model(folder / "reference")
    write_model(folder / "other", seed=1)
    write(folder / "members.jsonl", rows[:80])
    write(folder / "others.jsonl", rows[80:])
    return folder


@pytest.fixture
def make(learnt: Path, tmp_path: Path) -> Make:
    """A configuration for that model; keywords change it."""

    def build(out: str = "run", **more: Any) -> Config:
        fields = {
            "model": str(learnt / "model"),
            "members": learnt / "members.jsonl",
            "nonmembers": learnt / "others.jsonl",
            "out": tmp_path / out,
            "text": TextConfig(neighbours=2),
            **more,
        }
        return Config(**fields)

    return build


def find(found: Any, name: str, split: str) -> Metric:
    metric: Metric = next(m for m in found if (m.name, m.split) == (name, split))
    return metric


def test_a_model_that_learnt_its_members_gives_them_away(make: Make, learnt: Path) -> None:
    config = make(reference=[str(learnt / "reference"), str(learnt / "other")], group="kind")
    result = membership.run(config)
    assert [(f.item, f.verdict) for f in result.findings] == [
        ("privacy.membership-blind", "clear"),
        ("privacy.membership", "concern"),
    ]
    assert list(result.findings) == read_findings(result.out)
    attacks = {m.split for m in result.metrics if m.name == "attack AUC" and ", " not in m.split}
    assert attacks == {*config.text.signals, "reference", "offline RMIA", "offline LiRA", "quantile"}
    for attack in ("loss", "min-k", "min-k++", "reference", "zlib"):
        assert (find(result.metrics, "attack AUC", attack).ci_low or 0) > 0.6, attack
    assert find(result.metrics, "TPR at 1 % FPR", "loss").value is None  # 75 non-members cannot show it
    assert find(result.metrics, "attack AUC", "loss, a").value is not None
    scores = pl.read_parquet(result.scores)
    assert scores.height == 160 - 5  # five non-members make the prefix
    assert set(scores.columns) == {"id", "member", "group", "blind", *attacks}
    page = result.report.read_text()
    assert "tests of" in page
    assert "ROC of the" in page


def test_suspects_a_corpus_and_gradients(make: Make, learnt: Path, tmp_path: Path) -> None:
    """Suspects: the last 40 members, that is 100 %. An audited text in the corpus is left out of it."""
    rows = (learnt / "members.jsonl").read_text().splitlines(keepends=True)
    for name, lines in (("known", rows[:40]), ("suspects", rows[40:])):
        (tmp_path / f"{name}.jsonl").write_text("".join(lines))
    write(tmp_path / "corpus.jsonl", [*texts(50, seed=3), json.loads(rows[0])["text"]])
    text = TextConfig(signals=["loss", "gradient"], corpus=tmp_path / "corpus.jsonl")
    files = {"members": tmp_path / "known.jsonl", "suspects": tmp_path / "suspects.jsonl"}
    result = membership.run(make(text=text, reference=[str(learnt / "reference")], smallest=20, **files))
    assert [(f.item, f.verdict) for f in result.findings] == [
        ("privacy.membership-blind", "clear"),
        ("privacy.membership", "concern"),
        ("privacy.membership-gradient", "concern"),
        ("privacy.membership-dataset", "concern"),
    ]
    used = next(m for m in result.metrics if m.name == "share of the suspects trained on")
    assert (used.n, used.ci_high) == (40, 1)
    assert {m.n for m in result.metrics if m.name == "attack AUC"} == {120}
    assert (find(result.metrics, "attack AUC", "gradient").ci_low or 0) > 0.6
    assert find(result.metrics, "attack AUC", "dc-pdd").value is not None


def test_a_model_that_saw_neither_side_does_not(make: Make, learnt: Path) -> None:
    """The untrained twin: nothing is found, and the interval of each AUC holds ½ for all but chance."""
    result = membership.run(make(model=str(learnt / "reference")))
    assert [f.verdict for f in result.findings] == ["clear", "clear"]
    areas = [m for m in result.metrics if m.name == "attack AUC"]
    assert find(areas, "attack AUC", "loss").ci_low is not None
    held = [(m.ci_low or 0) <= 0.5 <= (m.ci_high or 0) for m in areas]
    assert held[[m.split for m in areas].index("loss")]
    assert sum(held) >= len(held) - 1


def test_members_of_another_law_void_everything(make: Make, learnt: Path, tmp_path: Path) -> None:
    dated = write(tmp_path / "dated.jsonl", [f"{t} In 2025." for t in texts(80, seed=9)])
    result = membership.run(make(nonmembers=dated))
    assert [f.verdict for f in result.findings] == ["void", "void"]
    assert "Void:" in result.report.read_text()


def test_copies_and_empty_rows_are_counted(make: Make, learnt: Path, tmp_path: Path) -> None:
    rows = [json.loads(line)["text"] for line in (learnt / "others.jsonl").read_text().splitlines()]
    first = json.loads((learnt / "members.jsonl").read_text().splitlines()[0])["text"]
    result = membership.run(make(nonmembers=write(tmp_path / "n.jsonl", [*rows, first.upper(), " ", rows[3]])))
    reasons = [row["reason"] for row in read_jsonl(result.out / "failures.jsonl")]
    assert sorted(reasons) == ["also on the other side"] * 2 + ["no text", "repeats an earlier row"]
    assert "2 rows dropped, reading: also on the other side" in result.report.read_text()


def test_a_killed_run_goes_on_and_ends_the_same(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(language, "SHARD", 50)
    whole = membership.run(make("whole"))
    calls: list[int] = []
    signals = language.text_signals

    def killed(*given: Any) -> Any:
        calls.append(len(calls))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return signals(*given)

    monkeypatch.setattr(language, "text_signals", killed)
    with pytest.raises(KeyboardInterrupt):
        membership.run(make("cut"))
    cut = membership.run(make("cut"))
    assert len(calls) == 3 + 2  # of four parts, two were done, one is repeated, one was never begun
    assert read_metrics(cut.out) == read_metrics(whole.out)
    assert pl.read_parquet(cut.scores).equals(pl.read_parquet(whole.scores))
    assert cut.findings == whole.findings


def test_speed_changes_nothing(make: Make) -> None:
    one, many = membership.run(make("one", speed={"batch_rows": 1})), membership.run(make("many"))
    for a, b in zip(one.metrics, many.metrics, strict=True):
        assert a.value == pytest.approx(b.value, abs=0.02), a.name


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"members": None}, "give --model, --members and --nonmembers"),
        ({"scores": Path("t.csv")}, "--scores and --model exclude each other"),
        ({"features": ["x"]}, "--features names columns of --scores"),
        ({"nonmembers": Path("absent.jsonl")}, "absent.jsonl: is not there"),
        ({"group": "knd"}, "did you mean 'kind'"),
        ({"text": TextConfig(column="txt")}, "did you mean 'text'"),
        ({"model": "/no/model"}, "no such folder"),
        ({"reference": ["lab:atlsa"]}, "unknown lab model 'atlsa'"),
        (
            {"scores": Path("t.csv"), "model": None, "members": None, "nonmembers": None, "suspects": Path("s.jsonl")},
            "leave `member` empty",
        ),
    ],
)
def test_mistakes_are_named(changes: dict[str, Any], message: str, make: Make, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message) as error:
        membership.run(make(**changes))
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run").exists()  # so that the same --out can be given again


def test_a_reference_that_cannot_read_so_far_is_named_before_any_work(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(language, "peek", lambda name: (world_model().tokenizer, 9))
    with pytest.raises(
        UserError, match=r"--reference lab:atlas: reads 9 tokens, and a text has \d\d; lower --text.tokens"
    ):
        membership.run(make(reference=["lab:atlas"]))
    assert not (tmp_path / "run").exists()


def test_all_texts_on_both_sides_leave_nothing(make: Make, learnt: Path) -> None:
    with pytest.raises(UserError, match="0 members and 0 non-members can be used"):
        membership.run(make(nonmembers=learnt / "members.jsonl"))


# --- tables ----------------------------------------------------------------------------------------------------


def outputs(n: int, shift: float, references: int, rng: np.random.Generator) -> pl.DataFrame:
    """Logits of two classes: each record has its own ease, members get `shift` more; as the references'."""
    member, ease, label = rng.random(n) < 0.5, 2 * rng.normal(size=n), rng.integers(0, 2, n)
    sign = 2 * label - 1
    columns: dict[str, Any] = {"id": np.arange(n), "member": member.astype(int), "label": label}
    masks = {"": member, **{f"ref_r{i}_": rng.random(n) < 0.5 for i in range(references)}}
    for prefix, mask in masks.items():
        columns[f"{prefix}logit_0"] = np.zeros(n)
        columns[f"{prefix}logit_1"] = sign * (ease + shift * mask + 0.5 * rng.normal(size=n))
        if prefix:
            columns[f"{prefix}in"] = mask.astype(int)
    columns |= {"x_noise": rng.normal(size=n), "sex": rng.choice(["f", "m"], n)}
    return pl.DataFrame(columns)


def test_table_of_outputs(tmp_path: Path) -> None:
    """Shift 1 under noise 0.5 and ease 2: references remove the ease, so LiRA and RMIA see far more than the loss."""
    path = tmp_path / "t.csv"
    outputs(900, 1.0, 16, np.random.default_rng(0)).write_csv(path)
    result = membership.run(Config(scores=path, group="sex", out=tmp_path / "run"))
    assert [f.verdict for f in result.findings] == ["clear", "concern"]
    loss, lira = (find(result.metrics, "attack AUC", name) for name in ("loss", "online LiRA"))
    assert (lira.ci_low or 0) > (loss.ci_high or 0) + 0.1
    splits = {m.split for m in result.metrics if m.name == "attack AUC" and ", " not in m.split}
    assert splits == {
        *("loss", "reference", "quantile"),
        *("offline RMIA", "offline LiRA", "online RMIA", "online LiRA"),
    }
    assert find(result.metrics, "TPR at 1 % FPR", "online LiRA").value is not None
    assert find(result.metrics, "TPR at 0.1 % FPR", "online LiRA").value is None
    assert next(m.name for m in result.summary()) == "blind AUC"


def test_table_without_references_or_leakage(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    outputs(400, 0.0, 0, np.random.default_rng(1)).write_parquet(path)
    result = membership.run(Config(scores=path, out=tmp_path / "run"))
    assert [f.verdict for f in result.findings] == ["clear", "clear"]
    assert "LiRA and RMIA, the strongest attacks, were not run" in result.report.read_text()


def test_a_group_is_no_name(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    outputs(400, 0.0, 0, np.random.default_rng(1)).write_parquet(path)
    with pytest.raises(UserError, match="--group id: has 400 values; give a column with at most 50"):
        membership.run(Config(scores=path, group="id", out=tmp_path / "run"))


def test_references_belong_to_language_models(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="ref_NAME_"):
        membership.run(Config(scores=tmp_path / "t.csv", reference=["lab:atlas"]))
