"""Benchmark of `upright edit`: every solver with and without context, multi-hop and CounterFact data, speed.

    python benchmarks/edit.py [tables] [mquake] [counterfact] [speed]

Without a part, all run. A part whose data are absent says so in one line. Finished runs are read, not repeated.
"""

import argparse
import sys
from importlib import import_module
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PARTS = {
    "tables": "four solvers x 10, 100, 1000 edits of the lab, with and without context",
    "mquake": "multi-hop questions over 300 cases of MQuAKE, all edits at once",
    "counterfact": "1,000 edits of CounterFact",
    "speed": "batched against single target vectors",
}


def main() -> int:
    """Run the parts that were asked for; the exit code."""
    asked = parser().parse_args()
    sys.path.insert(0, str(ROOT))  # the script is run by its path, its parts are imported by name
    from benchmarks.harness import Absent, Bench
    from upright.errors import UserError

    out = asked.out / "quick" if asked.quick else asked.out  # never mixed with real runs
    bench = Bench(asked.data, out, asked.model, asked.quick)
    for part in asked.parts or PARTS:
        try:
            section = import_module(f"benchmarks.edit_{part}").run(bench)
            section.publish(bench.out, part)
        except Absent as missing:
            print(f"{part}: skipped, it {missing}", flush=True)
        except UserError as error:
            print(f"{part}: {error}", file=sys.stderr)
            return 2
    return 0


def parser() -> argparse.ArgumentParser:
    """The command line."""
    line = argparse.ArgumentParser(
        description="Benchmark of upright edit.",
        epilog="parts: " + "; ".join(f"{name}: {what}" for name, what in PARTS.items()),
    )
    line.add_argument("parts", nargs="*", metavar="PART", type=_part, help=f"{', '.join(PARTS)} (default: all)")
    line.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data", help="folder of the data sets")
    line.add_argument("--out", type=Path, default=ROOT / "runs" / "bench-edit", help="folder of runs and tables")
    line.add_argument("--model", default="lab:atlas", help="model of `tables` and `speed`; it must know lab:atlas")
    line.add_argument("--quick", action="store_true", help="smallest settings: shows that all runs, proves nothing")
    return line


def _part(name: str) -> str:
    if name not in PARTS:
        raise argparse.ArgumentTypeError(f"{name!r} is unknown; choose from {', '.join(PARTS)}")
    return name


if __name__ == "__main__":
    sys.exit(main())
