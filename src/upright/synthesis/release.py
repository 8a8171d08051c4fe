"""What is handed over: the synthetic table, and the certificate of what it was paid with."""

import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import polars as pl

from upright.run.files import atomic, write_json
from upright.synthesis.config import Config
from upright.synthesis.corpus import Corpus
from upright.training.private import Certificate

PARQUET, CSV, CERTIFICATE = "synthetic.parquet", "synthetic.csv", "certificate.json"


def write_records(folder: Path, corpus: Corpus) -> None:
    """Write the records as Parquet and CSV: id, the code columns, text."""
    columns = {name: pl.Series(name, corpus.column(name), pl.String) for name in corpus.columns}
    frame = pl.DataFrame({"id": range(len(corpus)), **columns, "text": pl.Series("text", corpus.texts, pl.String)})
    with atomic(folder / PARQUET) as part:
        frame.write_parquet(part)
    with atomic(folder / CSV) as part:
        frame.write_csv(part)


def statement(config: Config, certificate: Certificate | None, units: int) -> dict[str, Any]:
    """The certificate in words and numbers; an infinite ε, or none, is written as the word."""
    gaps = voided_by(config, certificate)
    about = {
        "unit": config.unit or "record",
        "units": units,
        "adjacency": "one unit added or removed",
        "generator": config.generator,
        "covers_the_records": not gaps,
        "not_covered_because": gaps,
    }
    numbers = {} if certificate is None else asdict(certificate)
    return about | {name: "inf" if value == math.inf else value for name, value in numbers.items()}


def voided_by(config: Config, certificate: Certificate | None) -> list[str]:
    """Why the guarantee does not hold for the released records, if it does not."""
    found = []
    if certificate is None:
        found.append(f"the generator {config.generator!r} has no formal guarantee")
    elif math.isinf(certificate.epsilon):
        found.append("no noise was added (epsilon = inf)")
    elif not certificate.secret:
        found.append("the noise came from a seed (tune.chance = seeded): whoever knows it can take it off again")
    if certificate is not None and config.sampling.block is not None:
        found.append("records were held against the private ones when they were written (sampling.block)")
    return found


def write_statement(folder: Path, found: dict[str, Any]) -> None:
    """Write the certificate as JSON."""
    write_json(folder / CERTIFICATE, found)
