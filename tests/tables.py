"""A table of a test in any format that is read."""

from pathlib import Path

import polars as pl


def write_table(table: pl.DataFrame, path: Path) -> Path:
    """Write CSV or Parquet by the ending, else JSONL; the path again."""
    if path.suffix == ".csv":
        table.write_csv(path)
    elif path.suffix == ".parquet":
        table.write_parquet(path)
    else:
        table.write_ndjson(path)
    return path
