"""The sink on a real ClickHouse: migrations, what is stored and read back, views, errors, verify, commands."""

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from click.testing import CliRunner, Result
from kafka import KafkaAdminClient, KafkaProducer
from kafka.admin import NewTopic

from pipeline.cli import main
from pipeline.errors import (
    ConfigError,
    FatalError,
    InvariantViolation,
    MigrationMissing,
    SinkOverloaded,
    SinkUnavailable,
)
from pipeline.faults.proxy import Proxy
from pipeline.model.finding import Status
from pipeline.model.outcome import Record
from pipeline.settings import ClickHouseSettings, Settings
from pipeline.sink import copied, migrate, rows
from pipeline.sink.clickhouse import ClickHouseSink, Database
from pipeline.sink.migrate import Migration, read_migrations
from pipeline.sink.rows import INCARNATION, TABLES
from pipeline.sink.verify import Offsets, verify
from tests.patience import PATIENCE_SECONDS
from tests.unit.sink.build import (
    T0,
    enriched,
    event,
    events,
    evidence,
    finding,
    range_row,
    record,
    rows_of,
    verdict,
)

pytestmark = pytest.mark.servers
SERVER_FILLS = "_inserted"


def quiet(line: str) -> None:
    """Progress that nobody reads."""


@pytest.fixture
def database(servers: Settings) -> Iterator[Database]:
    """An empty database of this test's own."""
    with Database(servers.clickhouse) as connection:
        yield connection


@pytest.fixture
def sink(migrated: Database) -> Iterator[ClickHouseSink]:
    """The sink on tables without rows."""
    with ClickHouseSink(migrated.settings) as opened:
        yield opened


@pytest.fixture
def own_sink(servers: Settings) -> Iterator[ClickHouseSink]:
    """The same, on a database of this test's own."""
    with ClickHouseSink(servers.clickhouse) as opened:
        copied.make(opened.database)
        yield opened


def insert(sink: ClickHouseSink, *records: Record) -> None:
    """What the checkpoint does with records of a public topic: one block per table."""
    for table, block in rows.by_table(rows_of(*records)).items():
        sink.insert(table, block, f"{records[0].topic}-{records[0].offset}-{table}")


# --- migrations -------------------------------------------------------------------------------------------------------------------


def tables_of(database: Database) -> set[str]:
    """Tables and views there are."""
    found = database.query("SELECT name FROM system.tables WHERE database = %(name)s", {"name": database.name})
    return {str(name) for (name,) in found}


def test_copied_tables_are_those_of_the_migrations(servers: Settings, database: Database) -> None:
    """Tables, views and what is noted of the migrations, word for word; a worker and `migrate` find nothing to do."""
    asked = {
        "tables": "SELECT replaceAll(create_table_query, '{db}.', '') AS made FROM system.tables WHERE database = '{db}' ORDER BY made",
        "migrations": "SELECT number, name, state, checksum, release FROM {db}.migrations ORDER BY ALL",
    }
    migrate.up(database, say=quiet)
    for number in (1, 2):
        with Database(servers.clickhouse.model_copy(update={"database": f"{database.name}x{number}"})) as copy:
            copied.make(copy)
            for what, sql in asked.items():
                assert copy.query(sql) == database.query(sql), what
            migrate.check(copy)
            assert migrate.up(copy, say=quiet) == []
            copy.command(f"DROP DATABASE {copy.name} SYNC")


def test_what_an_older_release_left_is_migrated_and_not_copied(own_sink: ClickHouseSink) -> None:
    """Its rows stay."""
    database = own_sink.database
    own_sink.insert("events", events(0, 3), "t")
    migrate.down(database, len(read_migrations()) - 1, say=quiet)
    copied.make(database)
    migrate.check(database)
    assert own_sink.landed("events", "logs.access", 0, 0, 10) == 3


def test_up_and_down_leave_nothing_behind(database: Database) -> None:
    """Every migration can be reverted, one by one and all together, and applied again."""
    migrations = read_migrations()
    assert migrate.up(database, say=quiet) == migrations
    migrate.check(database)
    there = tables_of(database)
    for number in reversed(range(len(migrations))):
        assert [step.number for step in migrate.down(database, number, say=quiet)] == [number + 1]
        with pytest.raises(MigrationMissing):
            migrate.check(database)
    assert tables_of(database) == set()
    migrate.up(database, say=quiet)
    assert tables_of(database) == there
    migrate.down(database, 0, say=quiet)
    assert tables_of(database) == set()


def test_a_second_up_changes_nothing(database: Database) -> None:
    """No migration runs twice, and no row is noted twice."""
    migrate.up(database, say=quiet)
    before = database.query("SELECT * FROM {db}.migrations ORDER BY number, step")
    assert migrate.up(database, say=quiet) == []
    assert database.query("SELECT * FROM {db}.migrations ORDER BY number, step") == before


def test_a_dry_run_touches_nothing(database: Database) -> None:
    """It tells every step, and there is no database afterwards."""
    said: list[str] = []
    planned = migrate.up(database, say=said.append, dry_run=True)
    assert [line.split()[-1] for line in said] == [step.title for step in planned]
    assert tables_of(database) == set()


def test_a_migration_killed_half_way_runs_again(database: Database) -> None:
    """`started` without `applied` is not applied; running the statements again is harmless."""
    migrate.up(database, say=quiet)
    last = read_migrations()[-1]
    row: dict[str, Any] = {
        "number": [last.number],
        "name": [last.name],
        "state": ["started"],
        "checksum": [last.checksum],
        "release": ["x"],
    }
    database.insert("migrations", row)
    with pytest.raises(MigrationMissing):
        migrate.check(database)
    assert migrate.up(database, say=quiet) == [last]
    migrate.check(database)


def test_an_edited_migration_stops_everything(database: Database) -> None:
    """A released file is never edited: the message names it."""
    migrate.up(database, say=quiet)
    edited = [*read_migrations()[:-1], msgspec.structs.replace(read_migrations()[-1], down="SELECT 1;")]
    for attempt in (migrate.check, migrate.status):
        with pytest.raises(MigrationMissing, match=edited[-1].title):
            attempt(database, edited)


def test_a_newer_database_is_accepted(database: Database) -> None:
    """Migrations come one release before the code that needs them; only their own release can revert them."""
    newer = Migration(len(read_migrations()) + 1, "add_column", "SELECT 1;", "SELECT 1;")
    migrate.up(database, say=quiet, migrations=[*read_migrations(), newer])
    migrate.check(database)
    assert [(line.title, line.known) for line in map(_titled, migrate.status(database))][-1] == (newer.title, False)
    with pytest.raises(ConfigError, match=newer.title):
        migrate.down(database, 0, say=quiet)


class _Titled(msgspec.Struct):
    title: str
    known: bool


def _titled(line: migrate.Line) -> _Titled:
    return _Titled(f"{line.number:04d}_{line.name}", line.known)


def test_retention_follows_the_setting(servers: Settings) -> None:
    """A changed clickhouse.retention_days reaches tables that were made before."""
    with Database(servers.clickhouse) as database:
        migrate.up(database, say=quiet)
    with Database(servers.clickhouse.model_copy(update={"retention_days": 30})) as database:
        migrate.up(database, say=quiet)
        engines = database.query("SELECT name, engine_full FROM system.tables WHERE database = %(db)s", {"db": database.name})
    with_retention = {name: "toIntervalDay(30)" in engine for name, engine in engines if "TTL" in engine}
    assert with_retention == dict.fromkeys(TABLES, True)
    own = {"retention_days": 30, "retention_days_by_table": {"events": 7}}
    with Database(servers.clickhouse.model_copy(update=own)) as database:
        migrate.up(database, say=quiet)
        engines = database.query("SELECT name, engine_full FROM system.tables WHERE database = %(db)s", {"db": database.name})
    assert {name for name, engine in engines if "toIntervalDay(7)" in engine} == {"events"}
    stray = servers.clickhouse.model_copy(update={"retention_days_by_table": {"event": 7}})
    with Database(stray) as database, pytest.raises(ConfigError, match="names event"):
        migrate.up(database, say=quiet)


@pytest.mark.parametrize("table", TABLES.values(), ids=lambda table: str(table.name))
def test_columns_of_the_database_are_those_of_rows_py(migrated: Database, table: rows.Table) -> None:
    """Names and order; beyond them only what the sink or the server fills."""
    there = [name for name in migrated.columns(table.name) if (table.name, name) != ("events", "truncated")]  # made from attrs
    filled = [SERVER_FILLS] if table in (rows.RANGES, rows.ROOTS, rows.STANDINGS, rows.UNREADABLE) else [INCARNATION, SERVER_FILLS]
    made_from = {"attrs": "attrs_json"} if "attrs_json" in table.names else {}
    assert there == [*(name.removesuffix("_json") for name in table.names), *filled, *made_from.values()]


# --- what is stored ---------------------------------------------------------------------------------------------------------------


def test_an_event_is_read_back_as_it_was(sink: ClickHouseSink) -> None:
    """Every column of `events`, the bytes of a line that is not UTF-8 included."""
    raw = b'type=CWD cwd="/data/\xff\xfe" \x00 \xc3\xa9'.decode("utf-8", "surrogateescape")
    given = event(5, 1, job="48213", raw=raw, attrs={"cwd": 'a\x00"\\', "comm": "pythön", "n": "17"}, late=True)
    sink.insert("events", [given], "token", incarnation="i1")
    stored = [name.removesuffix("_json") for name in rows.EVENTS.names]
    names = ", ".join(f"toUnixTimestamp64Milli({name})" if name in ("ts", "collected_time", "kafka_time") else name for name in stored)
    found = sink.database.query(f"SELECT {names} FROM {{db}}.events")[0]  # noqa: S608  names of columns
    for column, value in zip(rows.EVENTS.columns, found, strict=True):
        expected = column.get(given)
        if isinstance(expected, dict):
            assert {key: rows.from_stored(text) for key, text in value.items()} == expected
        else:
            assert (rows.from_stored(value) if isinstance(value, bytes) else value) == expected, column.name
    assert sink.database.query("SELECT hex(raw) FROM {db}.events")[0][0] == raw.encode("utf-8", "surrogateescape").hex().upper()


def test_old_logs_are_not_dropped_at_once(sink: ClickHouseSink) -> None:
    """Retention counts from the insert: a replay of logs from 2010 is kept as long as today's."""
    sink.insert("events", [event(0, event_time=1_262_304_000_000)], "t1")
    sink.database.command(f"OPTIMIZE TABLE {sink.database.name}.events FINAL")
    assert sink.landed("events", "logs.access", 0, 0, 1) == 1


def test_findings_show_their_newest_version(sink: ClickHouseSink) -> None:
    """A revision replaces, a retraction is shown as such, an older owner's late word changes nothing, evidence follows its revision."""
    insert(sink, record(finding(), 10, epoch=2))
    insert(sink, record(finding(status=Status.FINAL, evidence=(evidence("cause", 7),)), 11, epoch=2, revision=2))
    insert(sink, record(finding(title="late word of a former owner"), 99, epoch=1, revision=9))
    sql = "SELECT finding_id, status, revision, title FROM {db}.findings_current WHERE job_id = '48213'"
    assert sink.database.query(sql) == [(finding().id, "final", 2, finding().title)]
    cited = "SELECT position, event_id FROM {db}.finding_evidence_current WHERE finding_id = %(id)s ORDER BY position"
    assert sink.database.query(cited, {"id": finding().id}) == [(0, "event-cause-7")]
    insert(sink, record(finding(status=Status.RETRACTED), 12, epoch=2, revision=3))
    assert sink.database.query(sql)[0][1:3] == ("retracted", 3)


def test_a_newer_verdict_may_take_a_value_back(sink: ClickHouseSink) -> None:
    """NULL of the newest version wins over an older value: argMax alone would keep the older one."""
    insert(sink, record(verdict(), 1))
    insert(sink, record(verdict(gpus=None, owner_uid=None, by=None), 2, revision=2))
    found = sink.database.query("SELECT gpus, owner_uid, by_event_id, by_time, cause, nodes FROM {db}.verdicts_current")
    assert found == [(None, None, "", None, "owner_cancel", ["gpu-012", "gpu-013"])]


def test_checklist_and_canonical_body_are_readable_in_sql(sink: ClickHouseSink) -> None:
    """The benign checklist is a list of named tuples, the canonical body is JSON."""
    insert(sink, record(finding(), 1))
    sql = (
        "SELECT item.name, item.answer, item.missing, JSONExtractString(canonical, 'id') FROM {db}.findings_current "
        "ARRAY JOIN checklist AS item ORDER BY item.name"
    )
    assert sink.database.query(sql) == [
        ("admin_ticket", "not_checked", ["tickets"], finding().id),
        ("owner_service_identity", "excluded", [], finding().id),
    ]


def test_the_timeline_of_a_job_is_in_order_and_without_doubles(sink: ClickHouseSink) -> None:
    """Own lines, touches, verdict and finding; an event that was enriched or redelivered is one line."""
    own = event(1, job="48213", event_id="event-own", raw="step 1", source="training", kind="iteration")
    touched = event(2, job="48213", event_id="event-cause-0", event_time=T0 + 90_000, raw="kill request", source="slurmctld")
    other = event(3, job="48214", event_id="event-other")
    sink.insert("events", [own, touched, other], "t1")
    sink.insert("events", [msgspec.structs.replace(own, offset=9)], "t2")
    insert(sink, record(enriched(), 1))
    insert(sink, record(verdict(), 1))
    insert(sink, record(finding(), 1))
    found = sink.database.query("SELECT what, id, relation, text FROM {db}.job_timeline WHERE cluster = 'main' AND job_id = '48213'")
    assert [line[:3] for line in found] == [
        ("event", "event-own", ""),
        ("touch", "event-cause-0", "foreign"),
        ("finding", finding().id, ""),
        ("verdict", verdict().id, ""),
    ]
    assert found[1][3] == "kill request"


def test_a_touch_of_many_lines_is_told_by_its_fields(sink: ClickHouseSink) -> None:
    """No single line says it: a signal is put together from a system call and its target."""
    fields = {"arguments": "scancel,48213", "uid": "5004"}
    insert(sink, record(enriched(attrs=fields), 1))
    found = sink.database.query("SELECT what, text FROM {db}.job_timeline WHERE cluster = 'main' AND job_id = '48213'")
    assert found == [("touch", "arguments=scancel,48213 uid=5004")]


def test_coverage_counts_what_was_heard(sink: ClickHouseSink) -> None:
    """Per source and hour: events, late, future, events that came more than once, and lines that their shipper cut."""
    cut = event(4000, attrs={"truncated": "by its shipper", "comm": "x"})
    block = [event(0), event(1, late=True), event(2, future=True), event(3, event_id=event(0).event_id), cut]
    sink.insert("events", block, "t1")
    sql = "SELECT source, events, events_distinct, duplicates, late, future, hosts, truncated FROM {db}.coverage ORDER BY hour"
    assert sink.database.query(sql) == [("auditd", 4, 3, 1, 1, 1, 1, 0), ("auditd", 1, 1, 0, 0, 0, 1, 1)]


def test_coverage_by_topic_counts_what_nobody_could_read(sink: ClickHouseSink) -> None:
    """A range that is noted twice counts once."""
    first = range_row(0, 6, listed=((0, "control"), (1, "decode_error"), (4, "decode_error"), (5, "nothing_to_keep")))
    sink.write_ranges([first, range_row(6, 9, listed=((7, "empty"),))])
    sink.write_ranges([first])
    sql = "SELECT topic, records, written, dead_letters, filtered, codes FROM {db}.coverage_by_topic"
    codes = {"control": 1, "decode_error": 2, "nothing_to_keep": 1, "empty": 1}
    assert sink.database.query(sql) == [("logs.access", 9, 4, 3, 2, codes)]


def test_coverage_by_host_tells_how_late_lines_come(sink: ClickHouseSink) -> None:
    """Per source, host and hour, with the median of the delay from event to broker."""
    lag = event(3).kafka_time + 30_000
    block = [event(0, late=True), event(1), event(2), event(3, host="gpu-013", kafka_time=lag), event(4000, future=True)]
    sink.insert("events", block, "t1")
    sql = "SELECT host, events, late, future, delay_seconds_median FROM {db}.coverage_by_host ORDER BY hour, host"
    found = [(*row[:4], round(float(row[4]), 3)) for row in sink.database.query(sql)]
    assert found == [("gpu-012", 3, 1, 0, 0.009), ("gpu-013", 1, 0, 0, 30.009), ("gpu-012", 1, 0, 1, 0.009)]


def test_a_range_without_rows_is_kept_for_audits(sink: ClickHouseSink) -> None:
    """Offsets and codes stand side by side."""
    sink.write_ranges([range_row(0, 2, listed=((0, "empty"), (1, "decode_error")))])
    found = sink.database.query("SELECT lo, hi, rows, offsets_written, listed_offsets, listed_codes, incarnation FROM {db}.sink_ranges")
    assert found == [(0, 2, 0, 0, [0, 1], ["empty", "decode_error"], "i1")]


# --- errors -----------------------------------------------------------------------------------------------------------------------


def changed(settings: ClickHouseSettings, **changes: Any) -> ClickHouseSink:
    """A sink with other settings."""
    return ClickHouseSink(settings.model_copy(update=changes))


def free_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_database_without_tables_is_fatal(servers: Settings) -> None:
    """Unknown tables are not waited for: the advice names the command."""
    with ClickHouseSink(servers.clickhouse) as sink, pytest.raises(MigrationMissing) as refusal:
        sink.insert("events", events(0, 1), "t")
    assert "trainwatch migrate" in refusal.value.advice


def test_a_missing_column_is_fatal(own_sink: ClickHouseSink) -> None:
    """A database behind the encoder stops the worker."""
    own_sink.database.command(f"ALTER TABLE {own_sink.database.name}.events DROP COLUMN actor")
    with pytest.raises(MigrationMissing):
        own_sink.insert("events", events(0, 1), "t")


def test_a_server_that_is_away_is_waited_for(servers: Settings) -> None:
    """Nobody listens: transient."""
    with changed(servers.clickhouse, port=free_port()) as sink, pytest.raises(SinkUnavailable):
        sink.insert("events", events(0, 1), "t")


def test_too_many_parts_are_overload(own_sink: ClickHouseSink) -> None:
    """The server refuses, nothing is lost, the same insert goes through later."""
    sink = own_sink
    name = f"{sink.database.name}.events"
    sink.database.command(f"SYSTEM STOP MERGES {name}")
    sink.database.command(f"ALTER TABLE {name} MODIFY SETTING parts_to_throw_insert = 2, parts_to_delay_insert = 0")
    sink.insert("events", events(0, 1), "t0")
    sink.insert("events", events(1, 2), "t1")
    with pytest.raises(SinkOverloaded):
        sink.insert("events", events(2, 3), "t2")
    sink.database.command(f"ALTER TABLE {name} MODIFY SETTING parts_to_throw_insert = 3000")
    sink.insert("events", events(2, 3), "t2")
    assert sink.landed("events", "logs.access", 0, 0, 10) == 3


@pytest.mark.parametrize("said", ["insert_deduplicate = 0", "deduplicate_insert = 'disable'", "async_insert = 1"])
def test_a_profile_does_not_double_rows(sink: ClickHouseSink, said: str) -> None:
    """Whatever a site's profile says of inserts: a block that is sent again is absorbed."""
    sink.database.command(f"SET {said}")
    for _ in range(2):
        sink.insert("events", events(0, 10), "t")
    assert sink.database.query("SELECT count() FROM {db}.events") == [(10,)]


def test_an_unknown_error_stops(sink: ClickHouseSink) -> None:
    """What nobody thought of is not retried for ever."""
    with pytest.raises(InvariantViolation, match="395"):
        sink.database.query("SELECT throwIf(1)")


def test_more_rows_than_a_block_are_refused(sink: ClickHouseSink, monkeypatch: pytest.MonkeyPatch) -> None:
    """Driver and server would cut it, and a cut block is not absorbed on a retry."""
    monkeypatch.setattr("pipeline.sink.clickhouse.BLOCK_ROWS_MAX", 3)
    with pytest.raises(FatalError):
        sink.insert("events", events(0, 4), "t")


class Forgetful:
    """A proxy that takes an insert to the server and keeps the end of its answer to itself.

    client    query    block (large)    end of data
    server          ok               ok            | stored: its last byte, which says so, is kept
    """

    LARGE_BYTES = 20_000  # greetings and query are smaller, the block is larger
    END_OF_STREAM = b"\x05"  # packet 5 of the native protocol, one byte

    def __init__(self, settings: ClickHouseSettings) -> None:
        self.address = (settings.host, settings.port)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.block_sent = False
        self.threads = [threading.Thread(target=self._serve)]
        self.threads[0].start()

    @property
    def port(self) -> int:
        return int(self.listener.getsockname()[1])

    def _serve(self) -> None:
        self.client, _ = self.listener.accept()
        self.server = socket.create_connection(self.address)
        self.threads.append(threading.Thread(target=self._back))
        self.threads[1].start()
        sent = 0
        while data := self.client.recv(65536):
            sent += len(data)
            self.block_sent = sent > self.LARGE_BYTES
            self.server.sendall(data)

    def _back(self) -> None:
        with contextlib.suppress(BrokenPipeError):  # it was closed between the two
            while data := self.server.recv(65536):
                self.client.sendall(data.removesuffix(self.END_OF_STREAM) if self.block_sent else data)

    def close(self) -> None:
        """The client sees its connection end."""
        for end in (self.client, self.server):
            end.shutdown(socket.SHUT_RDWR)
        for thread in self.threads:
            thread.join(10)
        for end in (self.client, self.server, self.listener):
            end.close()


def test_an_insert_whose_answer_was_lost_is_absorbed(sink: ClickHouseSink) -> None:
    """It is in, but the client cannot know: it is told to try again, and the identical retry stores the rows once."""
    block = events(0, 2000)
    proxy = Forgetful(sink.database.settings)
    with (
        changed(sink.database.settings, host="127.0.0.1", port=proxy.port) as through,
        ThreadPoolExecutor(1) as executor,
    ):
        lost = executor.submit(through.insert, "events", block, "lost")
        deadline = time.monotonic() + PATIENCE_SECONDS
        while sink.landed("events", "logs.access", 0, 0, 2000) < 2000:
            assert time.monotonic() < deadline, "the insert did not reach the server"
        proxy.close()
        with pytest.raises(SinkUnavailable):
            lost.result(PATIENCE_SECONDS)
    sink.insert("events", block, "lost")
    assert sink.landed("events", "logs.access", 0, 0, 2000) == 2000


def test_a_try_does_not_wait_for_another_workers_try(sink: ClickHouseSink) -> None:
    """The server still runs an insert of a frozen worker; its successor sends the same block as its own first try, and is served."""
    proxy = Proxy(sink.database.settings.port, sink.database.settings.host)
    running = "SELECT count() FROM system.processes WHERE query LIKE %(insert)s"
    with (
        changed(sink.database.settings, host="127.0.0.1", port=proxy.port) as frozen,
        ThreadPoolExecutor(1) as executor,
    ):
        proxy.set("half")
        held = executor.submit(frozen.insert, "events", events(0, 10), "both")
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not (proxy.touched and sink.database.query(running, {"insert": f"INSERT INTO {sink.database.name}.events%"})[0][0]):
            assert time.monotonic() < deadline, "the insert did not reach the server"
            time.sleep(0.01)
        sink.insert("events", events(0, 10), "both")
        proxy.close()
        with pytest.raises(SinkUnavailable):
            held.result(PATIENCE_SECONDS)
    assert sink.landed("events", "logs.access", 0, 0, 10) == 10


def test_a_token_survives_other_inserts(sink: ClickHouseSink) -> None:
    """The window is far longer than what a worker inserts in an outage."""
    sink.insert("events", events(0, 10), "first")
    for number in range(60):
        sink.insert("events", events(100 + number, 101 + number), f"other-{number}")
    sink.insert("events", events(0, 10), "first")
    assert sink.landed("events", "logs.access", 0, 0, 100) == 10


# --- verify -----------------------------------------------------------------------------------------------------------------------


def violations(sink: ClickHouseSink, end: int, *, topics: Sequence[str] = ("logs.access",)) -> list[str]:
    """What verify finds for one partition."""
    found = verify(sink.database, [Offsets("logs.access", 0, 0, end)], inputs=topics)
    return [*found[0].violations, *(f"missing {offset}" for offset in found[0].missing)]


@pytest.fixture
def full(sink: ClickHouseSink) -> ClickHouseSink:
    """Offsets 0 to 19: 3 was a control record, 7 holds two events, 15 is a dead letter."""
    first = [*(row for row in events(0, 10) if row.offset != 3), event(7, 1)]
    sink.insert("events", first, "token-0-10", incarnation="i1")
    sink.write_ranges([range_row(0, 10, listed=((3, "control"),), rows=10)])
    sink.insert("events", [row for row in events(10, 20) if row.offset != 15], "token-10-20", incarnation="i1")
    sink.write_ranges([range_row(10, 20, listed=((15, "decode_error"),))])
    return sink


def test_verify_finds_nothing_where_all_is_there(full: ClickHouseSink) -> None:
    """Also with a range noted twice, and with records that nobody has read."""
    full.write_ranges([range_row(10, 20, listed=((15, "decode_error"),), token="another")])  # noqa: S106  not a password
    found = verify(full.database, [Offsets("logs.access", 0, 0, 25)], inputs=("logs.access",))[0]
    assert found.violations == ()
    assert (found.read, found.written, found.filtered, found.dead_lettered, found.rows, found.pending) == (20, 18, 1, 1, 19, 5)


def test_verify_names_a_lost_row(full: ClickHouseSink) -> None:
    """The offset stands in the report."""
    full.database.command(f"DELETE FROM {full.database.name}.events WHERE _offset = 12")  # noqa: S608  a name of this test's own
    assert violations(full, 20) == ["range [10, 20): 1 of 9 written offsets are missing", "missing 12"]


def test_verify_names_a_lost_range(full: ClickHouseSink) -> None:
    """A range that lost all rows is not forgotten."""
    full.database.command(f"DELETE FROM {full.database.name}.events WHERE _offset < 10")  # noqa: S608  a name of this test's own
    assert violations(full, 20)[0] == "range [0, 10): 9 of 9 written offsets are missing"


def test_verify_names_a_doubled_row(full: ClickHouseSink) -> None:
    """Offset and index of what is stored twice."""
    full.insert("events", [event(7, 1)], "a wrong token", incarnation="i1")
    assert violations(full, 20) == ["rows stored more than once: 7/1"]


def test_verify_names_an_offset_that_is_both(full: ClickHouseSink) -> None:
    """A dead letter that has a row as well."""
    full.insert("events", [event(15)], "a wrong token", incarnation="i1")
    assert violations(full, 20) == ["range [10, 20): 10 offsets have rows, 9 should", "offsets stored although listed as not written: 15"]


def test_verify_judges_the_newest_incarnation(full: ClickHouseSink) -> None:
    """A broker that was made again counts from 0: rows of the former one are not in the way."""
    full.insert("events", events(0, 5), "i2-0-5", incarnation="i2")
    later = round(time.time()) + 60  # the newest by the server's clock
    numbers = {"partition": [0], "lo": [0], "hi": [5], "rows": [5], "offsets_written": [5], "_inserted": [later]}
    full.database.insert("sink_ranges", {"topic": ["logs.access"], "incarnation": ["i2"], **numbers})
    found = verify(full.database, [Offsets("logs.access", 0, 0, 5)], inputs=("logs.access",))[0]
    assert (found.incarnation, found.read, found.violations) == ("i2", 5, ())


def test_verify_names_a_range_that_was_never_noted(full: ClickHouseSink) -> None:
    """Rows without a range are not accounted for once later ranges exist."""
    full.insert("events", events(20, 25), "token-20-25", incarnation="i1")
    full.write_ranges([range_row(25, 30)])
    full.insert("events", events(25, 30), "token-25-30", incarnation="i1")
    assert "offsets 20 to 24 are in no range" in violations(full, 30)


def test_topics_whose_rows_replace_one_another_are_judged_by_ranges(sink: ClickHouseSink) -> None:
    """No rows are expected in `events` for them."""
    sink.write_ranges([range_row(0, 10)])
    assert violations(sink, 10, topics=()) == []
    sink.write_ranges([range_row(12, 14)])
    assert violations(sink, 14, topics=()) == ["offsets 10 to 11 are in no range"]


# --- commands ---------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def trainwatch(servers: Settings, tmp_path: Path) -> Callable[..., Result]:
    """The command on the real servers, with this test's database and topics."""
    kafka, clickhouse = servers.kafka, servers.clickhouse
    chosen = {
        "kafka": {
            "bootstrap_servers": kafka.bootstrap_servers,
            "topic_prefix": kafka.topic_prefix,
            **{name: list(getattr(kafka, name)) for name in ("training_topics", "scheduler_topics", "access_topics")},
        },
        "clickhouse": {"host": clickhouse.host, "port": clickhouse.port, "database": clickhouse.database},
    }
    path = tmp_path / "trainwatch.yaml"
    path.write_text(yaml.safe_dump(chosen))
    return lambda *words: CliRunner().invoke(main, ["--settings", str(path), *words])


def test_migrate_tells_where_it_is(trainwatch: Callable[..., Result], database: Database) -> None:
    """status exits 3 until up has run; down needs to be told how far, and that what is in the tables may go."""
    count = len(read_migrations())
    assert trainwatch("migrate", "status").exit_code == 3
    assert trainwatch("migrate", "--dry-run").exit_code == 0
    assert trainwatch("migrate", "status").exit_code == 3
    assert len(json.loads(trainwatch("migrate", "--json").stdout)["migrations"]) == count
    assert trainwatch("migrate", "status").exit_code == 0
    assert trainwatch("migrate", "down").exit_code == 2
    database.insert("incident_journal", {"incident_id": ["a378b78a07ce"], "action": ["note"], "text": ["of somebody"]}, async_insert=0)
    refused = trainwatch("migrate", "down", "--to", "1")
    assert (refused.exit_code, "incident_journal goes with 1 row\n" in refused.stderr) == (3, True)
    assert trainwatch("migrate", "status").exit_code == 0
    assert len(json.loads(trainwatch("migrate", "down", "--to", "1", "--yes", "--json").stdout)["migrations"]) == count - 1
    lines = json.loads(trainwatch("migrate", "status", "--json").stdout)["migrations"]
    assert [line["state"] for line in lines] == ["applied"] + ["reverted"] * (count - 1)


def test_verify_compares_kafka_with_clickhouse(trainwatch: Callable[..., Result], own_sink: ClickHouseSink, servers: Settings) -> None:
    """Offsets come from the broker: what nobody has read is pending, what was lost is named, and exit codes say so."""
    topic = servers.kafka.access_topics[0]
    send(servers, topic, 12)
    own_sink.insert("events", events(0, 10, topic=topic), "token-0-10", incarnation="i1")
    own_sink.write_ranges([range_row(0, 10, topic=topic)])
    done = trainwatch("verify", "--json")
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    (partition,) = report["partitions"]
    assert (partition["topic"], partition["read"], partition["pending"], partition["end"]) == (topic, 10, 2, 12)
    assert trainwatch("verify", "--caught-up").exit_code == 1
    own_sink.database.command(f"DELETE FROM {own_sink.database.name}.events WHERE _offset = 4")  # noqa: S608  a name of this test's own
    done = trainwatch("verify")
    assert done.exit_code == 1
    assert f"{topic}/0: without row: 4" in done.output


def test_verify_before_the_first_migration_says_what_to_do(trainwatch: Callable[..., Result], database: Database) -> None:
    """No tables: not a violation, but an error with advice."""
    done = trainwatch("verify")
    assert done.exit_code == 1
    assert "trainwatch migrate" in done.stderr


def send(servers: Settings, topic: str, count: int) -> None:
    """Records of one partition, on a topic made for them."""
    admin = KafkaAdminClient(bootstrap_servers=servers.kafka.bootstrap_servers)
    try:
        admin.create_topics([NewTopic(topic, 1, 1)])
    finally:
        admin.close()
    producer = KafkaProducer(bootstrap_servers=servers.kafka.bootstrap_servers)
    try:
        for future in [producer.send(topic, b"line", partition=0) for _ in range(count)]:
            future.get(PATIENCE_SECONDS)
    finally:
        producer.close()
