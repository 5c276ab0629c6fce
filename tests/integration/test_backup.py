"""Backup and restore on real servers: tables and state go back to one moment, and the pipeline makes up for all that came since."""

import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from kafka import KafkaAdminClient, KafkaProducer

from pipeline.errors import ConfigError, StateIncompatible
from pipeline.runtime import state_backup
from pipeline.runtime.admin import Admin
from pipeline.runtime.state_record import CLAIM, Claim, Owner, key, pack
from pipeline.settings import Settings
from tests.integration.site import Site, open_site

pytestmark = pytest.mark.servers


class Lost:
    """A site, and what was saved of it."""

    def __init__(self, site: Site, folder: Path) -> None:
        self.site, self.topology, self.file = site, site._topology, folder / "state.tw"
        self.settings = site.settings

    def work(self) -> None:
        """A worker, until everything is done."""
        worker = self.site.start(instance="")
        self.site.until(self.site.done, "the end of the input")
        assert self.site.stop(worker) == 0, self.site.log()

    def restore(self, *, anew: bool = False) -> list[state_backup.Restored]:
        return state_backup.restore(self.settings, self.topology, self.file, anew=anew)

    def delete(self, *topics: str) -> None:
        """And make them anew, as `trainwatch topics create` does."""
        with closing(KafkaAdminClient(bootstrap_servers=self.settings.kafka.bootstrap_servers)) as admin:
            admin.delete_topics(list(topics))
        with Admin(self.settings, self.topology) as made:
            made.ensure()


@pytest.fixture(scope="module")
def lost(running_servers: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lost]:
    """Judged up to a moment, and saved then, by the commands of deploy/runbooks/backup-and-restore.md."""
    tag, folder = f"b{uuid.uuid4().hex[:10]}", tmp_path_factory.mktemp("backup")
    inputs = {f"{family}_topics": (f"{tag}.logs.{family}",) for family in ("training", "scheduler", "access")}
    kafka = running_servers.kafka.model_copy(update={"topic_prefix": f"{tag}.", "group": tag, **inputs})
    clickhouse = running_servers.clickhouse.model_copy(update={"database": tag})
    servers = running_servers.model_copy(update={"kafka": kafka, "clickhouse": clickhouse})
    with open_site(servers, folder, kafka={"session_timeout_seconds": 6}) as site:
        found = Lost(site, folder)
        site.send(400)
        found.work()
        assert state_backup.save(found.settings, found.topology, found.file) > 0
        site.database.command(f"BACKUP DATABASE {tag} TO File('{tag}')")
        yield found
        site.database.command(f"DROP DATABASE IF EXISTS {tag} SYNC")


def test_a_file_is_for_one_account_and_never_overwritten(lost: Lost, tmp_path: Path) -> None:
    """It holds names and log lines; and one that is cut short is refused before anything is changed."""
    assert lost.file.stat().st_mode & 0o777 == 0o600
    with pytest.raises(ConfigError, match="exists"):
        state_backup.save(lost.settings, lost.topology, lost.file)
    broken = tmp_path / "broken.tw"
    broken.write_bytes(lost.file.read_bytes()[:-200])
    with pytest.raises(ConfigError, match="cannot be read"):
        state_backup.restore(lost.settings, lost.topology, broken)


def test_a_worker_that_starts_during_a_restore_is_noticed(lost: Lost) -> None:
    """By what it writes, also when it has gone again; the same command, once more, puts all right."""
    with closing(KafkaProducer(bootstrap_servers=lost.settings.kafka.bootstrap_servers)) as producer:
        claimed: list[str] = []

        def claim(part: str) -> None:
            if not claimed:
                claimed.append(part)
                topic, _, number = part.rpartition("/")
                claim = key(CLAIM, Owner(1, 0, "early")).encode()
                producer.send(lost.topology.state_topic(topic), pack(Claim()), key=claim, partition=int(number)).get(30)

        with pytest.raises(ConfigError, match="meanwhile: a worker was started"):
            state_backup.restore(lost.settings, lost.topology, lost.file, progress=claim)
    assert lost.restore()


def test_restored_tables_and_state_make_up_for_what_came_since(lost: Lost, monkeypatch: pytest.MonkeyPatch) -> None:
    """ClickHouse is lost, and somebody has deleted a state topic: each record is there once, cases and verdicts are whole."""
    site = lost.site
    site.send(400)
    lost.work()  # rows and state that the backup does not have

    name = site.database.name
    site.database.command(f"DROP DATABASE {name} SYNC")
    site.database.command(f"RESTORE DATABASE {name} FROM File('{name}')")
    lost.delete(lost.topology.state_topic(lost.topology.facts_topic("counts")))
    assert sum(part.behind for part in lost.restore() if part.topic in site.topics) == 400

    site.end_channels()
    worker = site.start(instance="")
    site.until(site.done, "the end of the input")
    site.until(lambda: not site.missing_verdicts(), "the verdicts")
    site.check_rows()
    site.check_dead_letters()
    site.check_cases()
    site.check_verdicts()
    monkeypatch.setattr(state_backup, "SESSION_SLACK_SECONDS", -lost.settings.kafka.session_timeout_seconds)  # it waits no longer
    with pytest.raises(ConfigError, match="still at work in group"):
        lost.restore()
    assert site.stop(worker) == 0, site.log()


def test_after_a_loss_of_kafka_the_memory_goes_on_with_new_topics(lost: Lost) -> None:
    """Offsets begin anew, so the file is refused; with `anew` cases keep what they had, and new records are added."""
    site, topics = lost.site, (*lost.site.topics, lost.topology.facts_topic("counts"))
    state_backup.require_no_worker(lost.settings.kafka)
    lost.delete(*topics, *map(lost.topology.state_topic, topics))
    with pytest.raises(StateIncompatible, match="ends before offset"):
        lost.restore()
    site.truth.clear()
    site.send(1000)
    with pytest.raises(StateIncompatible, match="has the id"):  # they are longer now than those that were read
        lost.restore()
    assert {part.applied for part in lost.restore(anew=True)} == {0}
    known = site.cases()
    assert sum(map(len, known.values())) > 300
    worker = site.start(instance="")
    site.until(lambda: sum(map(len, site.cases().values())) > sum(map(len, known.values())) + 150, "new facts")
    assert site.stop(worker) == 0, site.log()
    assert all(numbers <= site.cases()[case] for case, numbers in known.items())
