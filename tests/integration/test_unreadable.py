"""Sources that cannot be read any more, on the real servers: two are gaps and work goes on; four of four end the worker."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.ingest.feeds import LEARNT
from pipeline.model.outcome import Record
from pipeline.runtime import replay
from pipeline.runtime.following import caught_up
from pipeline.settings import Settings
from tests.integration.test_pipeline import open_site
from tests.patience import PATIENCE_SECONDS

pytestmark = pytest.mark.servers

BASE_MS = 1_772_449_200_000  # an hour begins
HOSTS = ("gpu-001", "gpu-002", "gpu-003", "gpu-004")
BROKEN = 60
ENDED = 1


def audit(topic: str, host: str, number: int, *, known: bool) -> Record:
    at = BASE_MS + 1000 * number
    text = f"type=DAEMON_ROTATE msg=audit({at / 1000:.3f}:{number}): op=rotate-logs res=success" if known else f"v2|audit|{number}"
    headers = (("host", host.encode()), ("file", b"/var/log/audit/audit.log"), ("collected", b"%d" % at))
    return Record(
        topic=topic, partition=HOSTS.index(host) % 2, offset=0, timestamp=at, value=text.encode(), key=host.encode(), headers=headers
    )


def told(topic: str, broken: tuple[str, ...], numbers: range) -> Iterator[Record]:
    for number in numbers:
        for host in HOSTS:
            yield audit(topic, host, number, known=host not in broken)


def test_two_sources_are_gaps_and_all_of_them_end_the_worker(servers: Settings, tmp_path: Path) -> None:
    """It ends at each start again, commits nothing of what nobody can read any more, and goes on when it is told to."""
    with open_site(servers, tmp_path, {}) as site:
        topic = site.settings.kafka.access_topics[0]

        def rejected() -> int:
            [(count,)] = site.database.query("SELECT sum(length(listed_codes)) FROM {db}.sink_ranges FINAL")
            return int(count)

        def gaps() -> list[tuple[str, str, int]]:
            return [
                (source, host, unread)
                for source, host, unread in site.database.query("SELECT source, host, unread FROM {db}.coverage_gaps ORDER BY host")
            ]

        replay.send(site.settings, list(told(topic, (), range(LEARNT))))
        replay.send(site.settings, list(told(topic, HOSTS[:2], range(LEARNT, LEARNT + BROKEN))))
        site.start()
        site.until(lambda: caught_up(site.settings, site.topology).done, "the end of what two sources said")
        assert rejected() == 2 * BROKEN
        site.until(lambda: len(gaps()) == 2, "the gaps")
        assert gaps() == [("auditd", host, BROKEN) for host in HOSTS[:2]]

        replay.send(site.settings, list(told(topic, HOSTS, range(LEARNT + BROKEN, LEARNT + 2 * BROKEN))))
        assert site.workers[-1].wait(PATIENCE_SECONDS) == ENDED
        site.start()
        assert site.workers[-1].wait(PATIENCE_SECONDS) == ENDED
        assert "most lines of" in (tmp_path / "worker-1.log").read_text(errors="replace")
        assert rejected() < 6 * BROKEN

        site.settings = site.settings.model_copy(update={"ingest": site.settings.ingest.model_copy(update={"failing_hosts": 0})})
        site.start()
        site.until(lambda: caught_up(site.settings, site.topology).done, "the end of the input")
        assert rejected() == 6 * BROKEN
        site.until(lambda: len(gaps()) == len(HOSTS), "the gaps of all")
