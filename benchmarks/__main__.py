"""Benchmarks of the verbs: each beside its peers, on the same data and with the same budget.

    python -m benchmarks VERB [PART …]

Without a part, all of the verb run. A part whose data are absent says so in one line. Finished runs are read again,
not repeated.
"""

import argparse
import sys
from importlib import import_module
from pathlib import Path

from benchmarks.harness import ROOT, Absent, Bench
from upright.errors import UserError, unknown

PARTS = {
    "edit": {
        "tables": "four solvers x 10, 100, 1000 edits of the lab, with and without context",
        "mquake": "multi-hop questions of MQuAKE, ten cases at a time",
        "counterfact": "1,000 edits of CounterFact",
        "speed": "batched against single target vectors",
    },
    "audit": {
        "fairness": "group measures beside fairlearn's: agreement, time, memory, coverage",
        "verdicts": "false alarms of the fairness audit on fair tables",
        "membership": "attacks on an over-trained model and on one trained without the members",
        "epsilon": "bounds on mechanisms with known epsilon",
        "mitigate": "the accuracy-fairness frontier on adult and german",
        "interplay": "privacy levels x fairness constraints on adult and german",
    },
    "ask": {
        "methods": "tree search, chain, beam and the closed book on the lab's world",
        "metaqa": "an actor learnt from half of MetaQA, asked the other half, beside the graph's ceiling",
        "graphs": "a graph of 5 million facts loaded, opened and asked, beside peers",
        "calls": "200 questions on a slow server, side by side and one call at a time, and again from the cache",
        "changes": "100 changed facts of the lab's atlas, asked with and without the changes",
    },
    "synthesize": {
        "engine": "a private training step beside a plain one and beside Opacus: time and memory",
        "texts": "section texts of MTS-Dialog at epsilon 8: classifiers beside the control and real texts",
        "canaries": "exposure and audited epsilon at epsilon 8 and without noise",
    },
}


def main() -> int:
    """Run the parts that were asked for; the exit code."""
    asked = parser().parse_args()
    out = asked.out or ROOT / "runs" / f"bench-{asked.verb}"
    bench = Bench(asked.data, out / "quick" if asked.quick else out, asked.model, asked.quick)  # never mixed
    try:
        for part in asked.parts or PARTS[asked.verb]:
            _run(bench, asked.verb, part)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def _run(bench: Bench, verb: str, part: str) -> None:
    if part not in PARTS[verb]:
        raise unknown("part", part, PARTS[verb])
    try:
        import_module(f"benchmarks.{verb}_{part}").run(bench).publish(bench.out, part)
    except Absent as missing:
        print(f"{part}: skipped, it {missing}", flush=True)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parts = [f"{verb} {name}: {what}" for verb, some in PARTS.items() for name, what in some.items()]
    line = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Benchmarks of the verbs of upright.",
        epilog="\n".join(["parts:", *parts]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    line.add_argument("verb", choices=PARTS)
    line.add_argument("parts", nargs="*", metavar="PART", help="parts of the verb (default: all)")
    line.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data", help="folder of the data sets")
    line.add_argument("--out", type=Path, help="folder of runs and tables (default: runs/bench-VERB)")
    line.add_argument("--model", default="lab:atlas", help="model of edit's tables and speed; it must know lab:atlas")
    line.add_argument("--quick", action="store_true", help="smallest settings: shows that all runs, proves nothing")
    return line


if __name__ == "__main__":
    sys.exit(main())
