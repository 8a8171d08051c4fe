"""The world `loans`: invented people, what they earn, whether they would repay, and what a biased lender thinks.

Repayment depends on income, debt and years in the job alone. The lender knows these too, but takes something off for
women and more for the south, where people also earn less; so every audit of its decisions has a truth to find.
`python -m upright.lab.loans` writes the table that ships with upright.
"""

import csv
import math
import random
from collections.abc import Iterator
from pathlib import Path

ROWS = 6000
COLUMNS = ("id", "sex", "region", "age", "income", "debt", "years_employed", "repaid", "score", "granted")
INCOME = {"north": 42.0, "centre": 38.0, "south": 33.0}  # median, in thousands a year
TAKEN_OFF = {"female": 0.45, "south": 0.6}  # logits
FILE = Path(__file__).parent / "worlds" / "loans" / "loans.csv"


def applicants(rows: int, seed: int) -> Iterator[dict[str, object]]:
    """Rows of the table; equal seeds give equal rows."""
    rng = random.Random(seed)
    for number in range(rows):
        sex = rng.choice(("female", "male"))
        region = rng.choices(tuple(INCOME), (5, 4, 3))[0]
        age = rng.randint(19, 75)
        income = INCOME[region] * math.exp(rng.gauss(0, 0.4))
        debt = max(0.0, rng.gauss(14, 9))
        years = min(max(0, age - 19), int(rng.expovariate(1 / 7)))
        worth = 0.055 * (income - 38) - 0.09 * (debt - 14) + 0.06 * (years - 6) + 0.4
        taken_off = TAKEN_OFF.get(sex, 0.0) + TAKEN_OFF.get(region, 0.0)
        score = _logistic(worth - taken_off + rng.gauss(0, 0.5))
        yield {
            "id": number,
            "sex": sex,
            "region": region,
            "age": age,
            "income": round(income, 1),
            "debt": round(debt, 1),
            "years_employed": years,
            "repaid": int(rng.random() < _logistic(worth)),
            "score": round(score, 3),
            "granted": int(score >= 0.5),
        }


def _logistic(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def write(path: Path, rows: int = ROWS, seed: int = 0) -> None:
    """Write the table as CSV."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as stream:
        table = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
        table.writeheader()
        table.writerows(applicants(rows, seed))


if __name__ == "__main__":
    write(FILE)
