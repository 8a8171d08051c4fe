"""Wiring of `upright audit interplay`: read, plan, train, attack, conclude, report."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from upright.audit.findings import Result as AuditResult
from upright.audit.findings import write_findings
from upright.audit.interplay import present
from upright.audit.interplay.conclude import findings
from upright.audit.interplay.config import Config
from upright.audit.interplay.grid import Grid, plans_of, run_grid
from upright.audit.interplay.measure import Draws
from upright.audit.interplay.sheet import Sheet, measure, metrics
from upright.audit.interplay.table import Problem, read_problem
from upright.audit.people import check_people
from upright.run.evidence import Metric
from upright.run.folder import open_run


@dataclass(frozen=True, kw_only=True)
class Result(AuditResult):
    """The experiment: the records as `problem`, outputs of every model in `grid`, estimates by group in `sheet`."""

    problem: Problem
    grid: Grid
    sheet: Sheet

    def summary(self) -> Sequence[Metric]:
        """Accuracy, gap and strongest attack of every cell."""
        return present.headline(self.sheet, self.metrics)


def run(config: Config) -> Result:
    """Train over privacy levels and fairness constraints and measure both goals by group.

    Raises:
        UserError: before any training, for a table or a budget that cannot be used as asked.
    """
    check_people(config)
    with open_run(config, verb="audit interplay") as folder:
        problem = read_problem(config, folder)
        plans = plans_of(config, problem)
        grid = run_grid(config, folder, problem, plans)
        rng = np.random.default_rng(folder.seed_for("bootstrap"))
        sheet = measure(grid, problem, Draws.make(len(problem.y), config.seeds, config.draws, rng))
        found, concluded = metrics(grid, sheet), findings(sheet)
        write_findings(folder.path, concluded)
        folder.finish(found, present.report(config, problem, grid, sheet, found, concluded))
    return Result(out=folder.path, metrics=found, findings=concluded, problem=problem, grid=grid, sheet=sheet)
