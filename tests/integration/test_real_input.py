"""Real log files of others through `replay`, Kafka and a worker process into ClickHouse, and their values queried back.

files --replay, one call each--> input topics --worker--> events, sink_ranges, dead letters --queries--> the checks of tests/real_input.py
"""

import signal
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import pytest
import yaml
from click.testing import CliRunner

from pipeline import settings as settings_module
from pipeline.cli import main
from pipeline.settings import Settings
from pipeline.sink.clickhouse import Database
from tests.conftest import ROOT, SHARED_DATA
from tests.integration.topics import read
from tests.patience import PATIENCE_SECONDS
from tests.real_input import CHECKS, SOURCES, Check, Found, Row, files_of, names

pytestmark = [pytest.mark.servers, pytest.mark.shared_data]

Place = tuple[str, int, int]  # topic, partition, offset


class Site(NamedTuple):
    """What is left when all files went through and the worker has stopped."""

    settings: Settings
    found: Found
    files: Mapping[Place, str]  # of every input record; "" for the ends of channels


@pytest.fixture(scope="module")
def site(running_servers: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One run over all files, with topics, group and database of its own."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"no real log lines: {SHARED_DATA} does not exist")
    folder = tmp_path_factory.mktemp("site")
    path = folder / "trainwatch.yaml"
    path.write_text(yaml.safe_dump(_content(running_servers)))
    settings = settings_module.load(path)
    files = files_of(SHARED_DATA, folder)
    _command(path, "migrate")
    _command(path, "topics", "create")
    with Database(settings.clickhouse) as database:
        try:
            with _worker(path, folder / "worker.log") as worker:
                for number, file in enumerate(files, start=1):
                    collected = () if file.collected is None else ("--collected", _iso(file.collected))
                    final = ("--final",) if number == len(files) else ()
                    told = orjson.loads(_command(path, "replay", str(file.path), "--host", file.host, "--json", *collected, *final))
                    assert told["records"] == file.lines()
                places = _places(settings)
                _wait(database, worker, places, folder / "worker.log")
            found = Found(_rows(database, places), _codes(database, places), {file.name: file.lines() for file in files})
            yield Site(settings, found, places)
        finally:
            database.command(f"DROP DATABASE IF EXISTS {settings.clickhouse.database} SYNC")


@pytest.mark.parametrize("check", CHECKS, ids=names(CHECKS))
def test_real_input(site: Site, check: Check) -> None:
    """What `check` says of itself, of rows read back from ClickHouse."""
    check(site.found, SHARED_DATA)


def test_dead_letters_carry_the_lines(site: Site) -> None:
    """Each line that gave no event and was not filtered is in the dead-letter topic, as it was, with its code and place."""
    kafka = site.settings.kafka
    letters: dict[Place, tuple[str, bytes]] = {}
    for record in read(site.settings, f"{kafka.topic_prefix}dead-letter.v1"):
        headers = dict(record.headers)
        place = headers["x-dlq-topic"].decode(), int(headers["x-dlq-partition"]), int(headers["x-dlq-offset"])
        letters[place] = headers["x-dlq-code"].decode(), record.value
    codes = Counter((site.files[place], code) for place, (code, _) in letters.items())
    filtered = {"control", "nothing_to_keep"}
    assert codes == Counter({key: count for key, count in site.found.codes.items() if key[1] not in filtered})
    sent = {
        (record.topic, record.partition, record.offset): record.value
        for topic in kafka.input_topics
        for record in read(site.settings, topic)
    }
    assert all(sent[place] == value for place, (_, value) in letters.items())


def test_ranges_are_complete(site: Site) -> None:
    """Ranges in ClickHouse cover every offset of the input topics once, and each offset is either written or listed."""
    with Database(site.settings.clickhouse) as database:
        ranges = database.query(
            "SELECT topic, partition, min(lo), max(hi), sum(hi - lo), sum(offsets_written + length(listed_offsets)) "
            "FROM {db}.sink_ranges FINAL WHERE topic IN %(topics)s GROUP BY topic, partition",
            {"topics": list(site.settings.kafka.input_topics)},
        )
    ends = Counter((topic, partition) for topic, partition, _ in site.files)
    assert {(topic, partition): rest for topic, partition, *rest in ranges} == {place: [0, end, end, end] for place, end in ends.items()}


def test_users_ask_in_sql(site: Site) -> None:
    """A few of the notes' values as a user would ask for them."""
    with Database(site.settings.clickhouse) as database:
        sudo = database.query(
            "SELECT attrs['user'], count() FROM {db}.events WHERE kind = 'privilege_used' AND raw LIKE '%% sudo:%%' "
            "AND host = 'ip-10-77-20-248' GROUP BY 1 ORDER BY 1",
            {"unused": 0},
        )
        loss = database.query(
            "SELECT job_id, count(), toFloat64(argMax(attrs['loss'], toUInt32(attrs['iteration']))) FROM {db}.events "
            "WHERE kind = 'iteration' GROUP BY job_id ORDER BY job_id"
        )
        kills = database.query(
            "SELECT DISTINCT attrs['pid'], attrs['exe'] FROM {db}.events WHERE source = 'auditd' AND attrs['syscall_name'] = 'kill' "
            "AND attrs['keys'] = '\"killshot\"'"
        )
    assert sudo == [("root", 1), ("ubuntu", 89)]
    assert loss == [("1809562", 20, 7.534106), ("1809655", 6, 16.9694)]
    assert kills == [("6199", "/bin/bash")]


# --- the run


def _content(servers: Settings) -> dict[str, Any]:
    """A settings file with names of this run's own."""
    tag = f"t{uuid.uuid4().hex[:10]}"
    kafka = {
        "bootstrap_servers": servers.kafka.bootstrap_servers,
        "topic_prefix": f"{tag}.",
        "group": tag,
        "partitions": 2,
        **{f"{family}_topics": [f"{tag}.logs.{family}"] for family in ("training", "scheduler", "access")},
    }
    clickhouse = servers.clickhouse.model_dump(mode="json", include={"host", "port", "http_port"})
    return {
        "kafka": kafka,
        "clickhouse": {**clickhouse, "database": tag},
        "sources": [source.model_dump(mode="json") for source in SOURCES],
    }


def _command(path: Path, *words: str) -> str:
    result = CliRunner().invoke(main, ["--settings", str(path), *words])
    assert result.exit_code == 0, result.output
    return result.stdout


@contextmanager
def _worker(path: Path, log: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """A worker process; it must end in order when it is asked to."""
    command = [sys.executable, "-m", "pipeline", "--settings", str(path), "worker"]
    with log.open("wb") as out:
        worker = subprocess.Popen(command, cwd=ROOT, stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
    try:
        yield worker
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(PATIENCE_SECONDS) == 0, _end_of(log)
    finally:
        if worker.poll() is None:
            worker.kill()
            worker.wait()


def _wait(database: Database, worker: "subprocess.Popen[bytes]", places: Mapping[Place, str], log: Path) -> None:
    """Until every input record is in a finished range."""
    ends = Counter((topic, partition) for topic, partition, _ in places)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        reached = database.query("SELECT topic, partition, max(hi) FROM {db}.sink_ranges GROUP BY topic, partition")
        if {(topic, partition): hi for topic, partition, hi in reached if (topic, partition) in ends} == ends:
            return
        assert worker.poll() is None, f"the worker ended with {worker.returncode}:\n{_end_of(log)}"
        assert time.monotonic() < deadline, f"reached {reached} of {ends}\n{_end_of(log)}"
        time.sleep(0.3)


def _end_of(log: Path) -> str:
    return log.read_text(errors="replace")[-4000:]


def _iso(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat()


# --- what came out


def _places(settings: Settings) -> dict[Place, str]:
    """The file of each input record, as its headers say."""
    places = {}
    for topic in settings.kafka.input_topics:
        for record in read(settings, topic):
            places[record.topic, record.partition, record.offset] = dict(record.headers).get("file", b"").decode()
    return places


def _rows(database: Database, places: Mapping[Place, str]) -> list[Row]:
    columns = "_topic, _partition, _offset, source, kind, host, job_id, toUnixTimestamp64Milli(ts), attrs, raw"
    rows = database.query(f"SELECT {columns} FROM {{db}}.events ORDER BY _topic, _partition, _offset, _index")  # noqa: S608  constant
    return [Row(places[topic, partition, offset], *rest) for topic, partition, offset, *rest in rows]


def _codes(database: Database, places: Mapping[Place, str]) -> Counter[tuple[str, str]]:
    listed = database.query(
        "SELECT DISTINCT topic, partition, offset, code FROM {db}.sink_ranges ARRAY JOIN listed_offsets AS offset, listed_codes AS code"
    )
    return Counter((file, code) for *place, code in listed if (file := places[tuple(place)]))
