"""From an earlier release to this one, on real servers: what it left is read, and what it had begun to judge is judged to its end."""

import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.model.outcome import Record
from pipeline.runtime import replay
from pipeline.runtime.following import caught_up
from pipeline.settings import Settings
from pipeline.sink import migrate
from tests.integration.test_pipeline import Site, in_memory
from tests.patience import PATIENCE_SECONDS
from tests.releases.kept import FILES, Kept, KeptTopic, kept, load

pytestmark = pytest.mark.servers


def records(topics: tuple[KeptTopic, ...]) -> Iterator[Record]:
    for topic in topics:
        for each in topic.records:
            yield Record(topic=topic.name, offset=0, **{name: getattr(each, name) for name in each.__struct_fields__})


@pytest.fixture(params=FILES, ids=lambda path: path.stem)
def release(request: pytest.FixtureRequest) -> Kept:
    return kept(request.param)


def test_this_release_goes_on_where_the_one_before_stopped(release: Kept, running_servers: Settings, tmp_path: Path) -> None:
    """Migrations run over its tables, its state is read, and findings and verdicts are those of this release alone over the whole input."""
    settings = load(release, running_servers)
    site = Site(settings, tmp_path)
    try:
        told = site.canonical("findings_current")
        read = Counter((topic.name, str(each.partition)) for topic in release.inputs for each in topic.records)
        assert told, "it had found nothing: the test shows nothing"
        replay.send(settings, records(release.rest), final=True)
        worker = site.start()
        site.until(lambda: caught_up(settings, site.topology).done, "the end of the input")
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(PATIENCE_SECONDS) == 0
        expected = in_memory(settings, sorted(records(release.inputs + release.rest), key=lambda each: each.timestamp)).results
        assert site.canonical("findings_current") == expected.canonical_findings()
        assert site.canonical("verdicts_current") == expected.canonical_verdicts()
        assert len(expected.canonical_findings()) > len(told)
        assert not {place for place in set().union(*site.batches()) if place[2] < read[place[:2]]}, "what it had read was read again"
        stored = site.database.query("SELECT count(), uniqExact(_topic, _partition, _offset, _index) FROM {db}.events")
        assert stored[0][0] == stored[0][1]
        migrate.check(site.database)
    finally:
        site.database.command(f"DROP DATABASE IF EXISTS {settings.clickhouse.database} SYNC")
        site.close()
