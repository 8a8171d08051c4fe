"""Personal data in what a model writes: chance must be the same on both sides."""

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.tiny import world_model
from upright.audit.exposure import written
from upright.audit.exposure.config import Config, PersonalConfig
from upright.audit.exposure.part import Part
from upright.audit.texts import SIDES, Text
from upright.run.folder import open_run
from upright.run.report import Report


def date(rng: random.Random) -> str:
    return f"{rng.randint(1950, 2024)}-{rng.randint(1, 12):02}-{rng.randint(1, 28):02}"


def judged(sizes: tuple[int, int], out: Path, monkeypatch: pytest.MonkeyPatch) -> Part:
    """A model that writes dates at random, whatever text it is given."""
    rng = random.Random(0)
    texts = {
        side: [Text(str(i), f"Born {date(rng)}.", None) for i in range(n)] for side, n in zip(SIDES, sizes, strict=True)
    }

    def dreamt(*given: Any) -> list[written.Sample]:
        found: Sequence[Text] = given[4]
        return [written.Sample("Born ", " ".join(date(rng) for _ in range(5))) for _ in found[:300]]

    monkeypatch.setattr(written, "_continue", dreamt)
    with open_run(Config(model="tiny", out=out), "audit exposure") as folder:
        part = written.personal_part(PersonalConfig(), folder, world_model(), texts, 32)
        folder.finish(part.metrics, Report("x", "x"))
    return part


def test_many_members_do_not_make_chance_look_like_leakage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """25,200 dates are possible. Of made-up ones nearly half would match 20,000 members', 1 % 300 non-members'.

    With 300 of each the chance of a match in five is 1 - (1 - 300/25200)^5 = 5.8 % on both sides.
    """
    part = judged((20_000, 300), tmp_path / "run", monkeypatch)
    assert part.finding.verdict == "clear"
    for metric in part.drawn:
        assert metric.n == 300
        assert metric.value == pytest.approx(0.058, abs=4 * (0.058 * 0.942 / 300) ** 0.5)
