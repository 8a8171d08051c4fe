"""The table that ships is the one its code writes, and has the biases its page tells of."""

import csv
from pathlib import Path

import pytest

from upright import lab
from upright.errors import UserError
from upright.lab import loans
from upright.lab.config import List
from upright.lab.run import list_models


def test_the_table_is_what_its_code_writes(tmp_path: Path) -> None:
    loans.write(tmp_path / "again.csv")
    assert (tmp_path / "again.csv").read_bytes() == lab.table("loans").read_bytes()
    assert "lab:loans        table       6,000 rows" in list_models(List()).message


def test_women_and_the_south_are_granted_less_than_they_repay() -> None:
    rows = list(csv.DictReader(lab.table("loans").read_text(encoding="utf-8").splitlines()))

    def share(column: str, **kind: str) -> float:
        some = [int(row[column]) for row in rows if all(row[key] == value for key, value in kind.items())]
        return sum(some) / len(some)

    assert share("repaid", sex="male") == pytest.approx(share("repaid", sex="female"), abs=0.03)  # twice the error
    assert share("granted", sex="male") > share("granted", sex="female") + 0.1
    assert share("granted", region="north") > share("granted", region="south") + 0.2


def test_an_unknown_table_is_refused() -> None:
    with pytest.raises(UserError, match=r"unknown lab table 'loan' .allowed: clinic, loans.; did you mean 'loans'"):
        lab.table("loan")
