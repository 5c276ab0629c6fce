"""Panels of the dashboards as queries for the bench: each as its board opens, on what the bench says a reader would choose."""

from pipeline.bench.job_dashboards import OF_ONE_JOB, Query
from pipeline.bench.tables import Large
from pipeline.dashboard.definition import ALL, dashboards
from pipeline.dashboard.expand import expand
from pipeline.dashboard.period import Period, parse_period


def queries(large: Large) -> list[Query]:
    """All clusters, one job, one finding, one host; boards of a job show the time of the job."""
    found = []
    for board in dashboards().values():
        period = parse_period(*board.period, large.end * 1000)
        if board.name in OF_ONE_JOB:
            period = Period(large.job_from * 1000, large.job_to * 1000)
        values = {each.name: large.chosen.get(each.name, (ALL,)) for each in board.variables}
        found += [Query(board.name, panel.title, expand(panel.sql[0], period, values, {"cluster": ("main",)})) for panel in board.panels]
    return found
