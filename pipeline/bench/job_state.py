"""Recovery, memory and writing of a large state, as `state.py` measures them, held against the contract."""

from collections.abc import Callable

from pipeline.bench import state
from pipeline.bench.report import JobReport, Requirement

RECOVERY_SECONDS, MEMORY_MB, WRITTEN_PER_NEW = 30.0, 1000.0, 3.0


def run(scale: float, *, say: Callable[[str], None]) -> JobReport:
    """The state of 45 days, or a share of it.  The bounds are those of the full size, so a smaller one says less."""
    say(f"state: {scale:g} of {state.JOBS:,} jobs, {state.ARTEFACTS:,} artefacts, {state.HOSTS:,} hosts")
    report = state.measure(scale)
    figures = {
        "recovery, s": report.recovery_seconds,
        "memory, MB": report.read.memory_live_mb,
        "written per byte of new facts": report.written_per_new,
    }
    found = JobReport(job="state", title="State of 45 days", load=f"{scale:g} of the full size", figures=figures)
    bounds = dict(zip(figures, (RECOVERY_SECONDS, MEMORY_MB, WRITTEN_PER_NEW), strict=True))
    return found.judged([Requirement(name, bound, figures[name], at_most=True) for name, bound in bounds.items()])
