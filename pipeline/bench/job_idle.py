"""What a worker takes while nothing happens: all stages, no records, some seconds under the meter."""

import tempfile
import time
from pathlib import Path

from pipeline.bench import mix
from pipeline.bench.contest import task_of
from pipeline.bench.job_full import inputs, topics_of
from pipeline.bench.ours import topology_of
from pipeline.bench.report import OURS, JobReport, Requirement
from pipeline.bench.running import started
from pipeline.bench.site import Site

SHARE_MAX = 0.03
SETTLE_SECONDS = 5.0


def run(site: Site, seconds: float) -> JobReport:
    """The share of a core over `seconds`."""
    topics = topics_of(f"{site.name}.idle")
    site.create(topics.values())
    settings = site.settings_of_run(mix.of_site(1).settings, inputs(topics))
    site.prepare(settings, topology_of(settings))
    with (
        tempfile.TemporaryDirectory(dir=site.folder) as folder,
        started(task_of("mix", OURS, settings, tuple(topics.values())), Path(folder)) as running,
    ):
        running.await_ready()
        _pass(min(SETTLE_SECONDS, seconds))
        begun = time.monotonic()
        spent = running.spent_until(lambda: time.monotonic() - begun >= seconds)
    site.remove(settings.kafka.group)
    site.remove(f"{site.name}.idle")
    share = spent.cpu_seconds / spent.seconds
    figures = {"share of a core": share, "CPU seconds": spent.cpu_seconds, "seconds": spent.seconds, "memory, MiB": spent.peak_mib}
    report = JobReport(job="idle", title="Idle worker", load="all stages, no records", figures=figures)
    return report.judged([Requirement("share of a core", SHARE_MAX, share, at_most=True)])


def _pass(seconds: float) -> None:
    time.sleep(seconds)
