"""The reader of log files: what a record of a file holds, when it was collected, and where it goes."""

import base64
import os
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import orjson
import pytest

from pipeline.cli.simulate import write
from pipeline.cli.times import Moment
from pipeline.errors import ConfigError
from pipeline.model.outcome import Record
from pipeline.model.source import Source
from pipeline.runtime import files
from pipeline.runtime.files import FAMILY_OF, FileOptions, read_files
from pipeline.settings import KafkaSettings, Settings, SourceSettings
from pipeline.simulate import simulate

SECOND = 1000
AT = 1_772_451_641_000  # 2026-03-02T11:40:41Z
TIMED = b"2026-03-02T11:%02d:%02dZ login-1 sshd[7]: Accepted publickey for u017 from 192.0.2.7 port 51234 ssh2: ED25519 SHA256:k"
YEARLESS = b"Mar  2 11:40:41 login-1 sshd[7]: Accepted publickey for u017 from 192.0.2.7 port 51234 ssh2: ED25519 SHA256:k"
LOCAL = b"2026-03-02T19:40:41 login-1 sshd[7]: Accepted publickey for u017 from 192.0.2.7 port 51234 ssh2: ED25519 SHA256:k"
ITERATION = b" iteration       40/    1000 | consumed samples:          160 | lm loss: 1.377455E+01 |"
AUDIT = b"type=SYSCALL msg=audit(1772451641.000:9001): arch=c000003e syscall=62 success=yes exit=0 a0=1267 a1=9 pid=912 auid=5017 uid=0"
CONTROLLER = b"[2026-03-02T11:40:41.000] _slurm_rpc_kill_job: REQUEST_KILL_JOB JobId=7 uid 5017"
KILLED = b"slurmstepd: error: *** STEP 7.0 ON gpu-012 CANCELLED AT 2026-03-02T11:40:41 ***"
NOISE = b"\x00\xff\xfe nothing that any format reads"


def at(minute: int, second: int) -> bytes:
    """A line with a time, in minute 40 and second 41 of its hour for AT."""
    return TIMED % (minute, second)


def read(
    paths: Path | Sequence[Path], settings: Settings | None = None, *, topic: str = "", collected: int | None = None, host: str = ""
) -> list[Record]:
    """All records of the files."""
    named = [paths] if isinstance(paths, Path) else paths
    return list(read_files(named, FileOptions(topic=topic, collected=collected, host=host), settings or Settings()))


def file_of(folder: Path, *lines: bytes, name: str = "some.log") -> Path:
    """A file of lines, each ended by LF."""
    path = folder / name
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    return path


def utc(text: str) -> int:
    """UTC milliseconds, as --collected reads them."""
    return Moment().convert(text, None, None)


def times(records: Sequence[Record]) -> list[int]:
    """When each was collected, in seconds after AT."""
    return [(record.timestamp - AT) // SECOND for record in records]


# --- lines of raw files


def test_raw_record(tmp_path: Path) -> None:
    """A record is the line's bytes without LF; its headers say host, source, file, offset and collected time, in this order."""
    path = file_of(tmp_path, at(40, 41), at(40, 42) + b"\r", name="auth.log")
    options = FileOptions(source="sshd", host="login-1")
    first, second = read_files([path], options, Settings())
    assert first.value == at(40, 41)
    assert first.headers == (
        ("source", b"sshd"),
        ("host", b"login-1"),
        ("file", b"auth.log"),
        ("offset", b"0"),
        ("collected", b"%d" % AT),
    )
    assert (first.topic, first.key, first.timestamp) == ("logs.access", None, AT)
    assert second.value == at(40, 42) + b"\r"
    assert dict(second.headers)["offset"] == b"%d" % (len(at(40, 41)) + 1)


def test_unknown_headers_are_left_out(tmp_path: Path) -> None:
    """Without --source and --host there are no such headers, rather than empty ones."""
    (record,) = read(file_of(tmp_path, at(40, 41)))
    assert [name for name, _ in record.headers] == ["file", "offset", "collected"]


@pytest.mark.parametrize(
    ("content", "lines"),
    [
        (b"a\nb\n", [(0, b"a"), (2, b"b")]),
        (b"a\nb", [(0, b"a"), (2, b"b")]),
        (b"a\n\n\nb\n", [(0, b"a"), (2, b""), (3, b""), (4, b"b")]),
        (b"a\r\nb\rc\n", [(0, b"a\r"), (3, b"b\rc")]),
        (b"\x00\n\xff\x85\x0b\x0c\xe2\x80\xa8\n", [(0, b"\x00"), (2, b"\xff\x85\x0b\x0c\xe2\x80\xa8")]),
        (b"\n", [(0, b"")]),
        (b"", []),
    ],
    ids=["ended", "not ended", "empty lines", "carriage returns", "binary", "one empty line", "empty file"],
)
@pytest.mark.parametrize("block", [1, 2, 3, 5, 1 << 18])
def test_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, lines: list[tuple[int, bytes]], block: int) -> None:
    """LF alone ends a line, wherever the blocks of the file end; every line counts, and so does its offset."""
    monkeypatch.setattr(files, "BLOCK_BYTES", block)
    path = tmp_path / "some.log"
    path.write_bytes(content)
    records = read(path, topic="access", collected=AT)
    assert [(int(dict(record.headers)["offset"]), record.value) for record in records] == lines


def test_too_long_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line that would not fit in memory ends the reading with a message that says where it is."""
    monkeypatch.setattr(files, "LINE_BYTES_MAX", 1000)
    path = file_of(tmp_path, at(40, 41), b"x" * (2 * files.BLOCK_BYTES))
    with pytest.raises(ConfigError, match=rf"some\.log: the line at byte {len(at(40, 41)) + 1} is longer"):
        read(path)


def test_long_line_is_one_record(tmp_path: Path) -> None:
    """A line of several blocks is neither cut nor split."""
    long = b"x" * (3 * files.BLOCK_BYTES + 17)
    values = [record.value for record in read(file_of(tmp_path, at(40, 41), long, at(40, 42)))]
    assert values == [at(40, 41), long, at(40, 42)]


def test_vanished_file(tmp_path: Path) -> None:
    """A file that cannot be read is a wrong call, not a traceback."""
    with pytest.raises(ConfigError, match="cannot read"):
        read(tmp_path / "none.log")


# --- when a line was collected


def test_collected_is_the_latest_time_so_far(tmp_path: Path) -> None:
    """Lines without time take the latest before them, late lines do not turn it back, and lines before any time take the first."""
    path = file_of(tmp_path, ITERATION, NOISE, at(40, 41), ITERATION, at(40, 51), at(40, 43), NOISE, at(41, 41), ITERATION)
    assert times(read(path, topic="training")) == [0, 0, 0, 0, 10, 10, 10, 60, 60]


@pytest.mark.parametrize(
    ("lines", "said"),
    [((ITERATION, ITERATION), "no line tells its time"), ((NOISE, ITERATION, YEARLESS), "its times have no year")],
    ids=["no time", "no year"],
)
def test_collected_must_be_told(tmp_path: Path, lines: tuple[bytes, ...], said: str) -> None:
    """A file that does not tell when is refused before anything is read, and the message names the option."""
    path = file_of(tmp_path, *lines)
    with pytest.raises(ConfigError, match=said) as caught:
        read_files([path], FileOptions(topic="training"), Settings())
    assert "--collected" in caught.value.advice


def test_told_collection_without_times(tmp_path: Path) -> None:
    """Lines of a file without times were collected when the user says."""
    assert times(read(file_of(tmp_path, ITERATION, ITERATION), collected=AT + 5 * SECOND)) == [5, 5]


@pytest.mark.parametrize(("collected", "year"), [("2026-06-01", 2026), ("2026-01-31", 2025), ("2024-12-31", 2024)])
def test_told_collection_gives_the_year(tmp_path: Path, collected: str, year: int) -> None:
    """A time without year lies in the latest year that is not ahead of the told collection."""
    told = utc(f"{collected}T00:00:00+00:00")
    (record,) = read(file_of(tmp_path, YEARLESS), collected=told)
    assert record.timestamp == utc(f"{year}-03-02T11:40:41+00:00")


def test_a_year_ends_in_the_file(tmp_path: Path) -> None:
    """A log without years that is silent for weeks over New Year goes on in the next year."""
    lines = [YEARLESS.replace(b"Mar  2", day) for day in (b"Dec 10", b"Jan 15")]
    old, new = read(file_of(tmp_path, *lines), collected=utc("2026-02-01T00:00:00+00:00"))
    assert old.timestamp == utc("2025-12-10T11:40:41+00:00")
    assert new.timestamp == utc("2026-01-15T11:40:41+00:00")


def test_no_line_is_collected_after_the_told_time(tmp_path: Path) -> None:
    """A wrong clock in one line does not carry the following lines along when the user says when the file was collected."""
    path = file_of(tmp_path, at(40, 41), at(59, 59), at(40, 42))
    assert times(read(path, collected=AT + 2 * SECOND)) == [0, 0, 1]


def test_zone_of_the_source(tmp_path: Path) -> None:
    """Local times are read in the zone that the settings give the file's source."""
    settings = Settings(sources=(SourceSettings(name="auth", file=r"auth\.log$", zone="Asia/Shanghai"),))
    (record,) = read(file_of(tmp_path, LOCAL, name="auth.log"), settings)
    assert record.timestamp == AT


def test_wrapped_lines_tell_their_collection(tmp_path: Path) -> None:
    """In a file of JSON wrappers the shipper's time counts, not that of the line inside."""
    wrapped = orjson.dumps({"@timestamp": "2026-03-02T11:40:44.000Z", "message": at(40, 41).decode(), "log": {"file": {"path": "/x"}}})
    assert times(read(file_of(tmp_path, wrapped))) == [3]


def test_file_times_and_clock_do_not_enter(tmp_path: Path) -> None:
    """A file that was copied, or read again later, gives the same records."""
    path = file_of(tmp_path, at(40, 41), ITERATION)
    before = read(path)
    os.utime(path, (1, 1))
    assert read(path) == before


# --- where a record goes


@pytest.mark.parametrize(
    ("lines", "topic"),
    [
        ((KILLED,), "logs.training"),
        ((CONTROLLER,), "logs.scheduler"),
        ((AUDIT,), "logs.access"),
        ((YEARLESS,), "logs.access"),
        ((NOISE,) * 500 + (CONTROLLER,), "logs.scheduler"),
        ((KILLED, CONTROLLER, CONTROLLER), "logs.scheduler"),
    ],
    ids=["training", "scheduler", "auditd", "sshd", "behind noise", "most lines decide"],
)
def test_topic_by_format(tmp_path: Path, lines: tuple[bytes, ...], topic: str) -> None:
    """Without --topic the formats of the first lines decide."""
    assert {record.topic for record in read(file_of(tmp_path, *lines), collected=AT)} == {topic}


def test_every_family_has_a_topic() -> None:
    """No source family is forgotten."""
    assert set(FAMILY_OF) == set(Source)


def test_topic_must_be_told(tmp_path: Path) -> None:
    """A file that no format reads is refused, and the message names the option."""
    with pytest.raises(ConfigError, match="no format reads") as caught:
        read(file_of(tmp_path, NOISE), collected=AT)
    assert "--topic" in caught.value.advice


def test_told_topic(tmp_path: Path) -> None:
    """--topic takes a family or the name of an input topic, under the site's names; anything else is refused."""
    path = file_of(tmp_path, NOISE)
    settings = Settings(kafka=KafkaSettings(access_topics=("site.audit", "site.ssh")))
    for told, topic in (("access", "site.audit"), ("site.ssh", "site.ssh"), ("training", "logs.training")):
        assert read(path, settings, topic=told, collected=AT)[0].topic == topic
    with pytest.raises(ConfigError, match=r"unknown topic 'logs\.access'"):
        read(path, settings, topic="logs.access", collected=AT)


def test_partitions_take_turns(tmp_path: Path) -> None:
    """Raw records have no key: their partitions count up per topic."""
    access, scheduler = file_of(tmp_path, *[AUDIT] * 3, name="audit.log"), file_of(tmp_path, *[CONTROLLER] * 2, name="slurmctld.log")
    records = read([access, scheduler])
    assert [(record.topic, record.partition) for record in records] == [
        ("logs.access", 0),
        ("logs.access", 1),
        ("logs.access", 2),
        ("logs.scheduler", 0),
        ("logs.scheduler", 1),
    ]


# --- several files


def test_merged_by_collected_time(tmp_path: Path) -> None:
    """Files are merged by collected time; of equal times the file named first comes first."""
    first = file_of(tmp_path, at(40, 41), at(40, 43), name="b.log")
    second = file_of(tmp_path, at(40, 42), at(40, 43), at(40, 44), name="a.log")
    records = read([first, second])
    names = [dict(record.headers)["file"].decode() for record in records]
    assert names == ["b.log", "a.log", "b.log", "a.log", "a.log"]
    assert times(records) == [0, 1, 2, 2, 3]


def test_names_are_relative_to_the_common_folder(tmp_path: Path) -> None:
    """A file is named by its path below the folder that holds all files, wherever that folder lies."""
    paths = [file_of(tmp_path, at(40, 41), name=name) for name in ("site/gpu-012/audit.log", "site/login-1/auth.log")]
    assert {dict(record.headers)["file"] for record in read(paths)} == {b"gpu-012/audit.log", b"login-1/auth.log"}
    assert dict(read(paths[0])[0].headers)["file"] == b"audit.log"


def test_files_are_not_held_open(tmp_path: Path) -> None:
    """Many files are read without a descriptor for each."""
    records = read_files([file_of(tmp_path, at(40, 41), name=f"{number}.log") for number in range(50)], FileOptions(), Settings())
    next(records)
    descriptors = [os.readlink(entry) for entry in Path("/proc/self/fd").iterdir() if entry.is_symlink()]
    assert not [name for name in descriptors if name.startswith(str(tmp_path))]


# --- files of records


SHIPPED: Mapping[str, object] = {"timestamp": AT, "key": None, "headers": {"host": "login-1"}, "value": "line"}


def shipped(folder: Path, *records: Mapping[str, object], name: str = "logs.training.jsonl") -> Path:
    """A file of records."""
    return file_of(folder, *map(orjson.dumps, records), name=name)


def test_records_are_taken_as_they_are(tmp_path: Path) -> None:
    """Time, key, headers and value of a record come from the file, and its topic from the file's name."""
    binary = {"timestamp": AT + 1, "key": "gpu-012", "headers": {}, "value_base64": base64.b64encode(b"\xff\x00").decode()}
    gone = {"timestamp": AT + 2, "key": "gpu-012", "headers": {}, "value": None}
    first, second, third = read(shipped(tmp_path, SHIPPED, binary, gone), host="ignored")
    assert (first.topic, first.timestamp, first.key, first.headers, first.value) == (
        "logs.training",
        AT,
        None,
        (("host", b"login-1"),),
        b"line",
    )
    assert (second.key, second.headers, second.value) == (b"gpu-012", (), b"\xff\x00")
    assert third.value is None
    assert second.partition == third.partition


@pytest.mark.parametrize(
    ("name", "topic"),
    [
        ("logs.training.jsonl", "site.out"),
        ("x.scheduler.jsonl", "logs.scheduler"),
        ("access.jsonl", "site.audit"),
        ("site.out", "site.out"),
    ],
)
def test_topic_by_file_name(tmp_path: Path, name: str, topic: str) -> None:
    """The name is that of an input topic, or ends in that of a family, whose first topic is taken."""
    settings = Settings(kafka=KafkaSettings(training_topics=("site.out",), access_topics=("site.audit",)))
    assert read(shipped(tmp_path, SHIPPED, name=f"{name.removesuffix('.jsonl')}.jsonl"), settings)[0].topic == topic


def test_topic_of_records_must_be_told(tmp_path: Path) -> None:
    """A name that is no topic's is refused, unless --topic says it."""
    path = shipped(tmp_path, SHIPPED, name="week.jsonl")
    with pytest.raises(ConfigError, match="its name is not that of an input topic"):
        read(path)
    assert read(path, topic="access")[0].topic == "logs.access"


@pytest.mark.parametrize(
    "broken",
    [b'{"timestamp":1,"headers":{}', b'{"timestamp":"x","headers":{},"value":""}', b'{"timestamp":1,"headers":{},"value_base64":"?"}'],
    ids=["cut off", "wrong type", "no base64"],
)
def test_broken_file_of_records(tmp_path: Path, broken: bytes) -> None:
    """A line that is no record ends the reading with a message that says where it is: the file is not what it claims."""
    path = shipped(tmp_path, SHIPPED)
    offset = path.stat().st_size
    path.write_bytes(path.read_bytes() + broken)
    with pytest.raises(ConfigError, match=rf"logs\.training\.jsonl: no record at byte {offset}"):
        read(path)


def test_probe_output_is_no_file_of_records(tmp_path: Path) -> None:
    """An ordinary log of JSON lines with a field `timestamp` is a raw file."""
    line = b'{"timestamp":"2026-03-02T11:40:41Z","message":"%s"}' % at(40, 41)
    (record,) = read(file_of(tmp_path, line))
    assert record.value == line


def test_simulated_period_comes_back(tmp_path: Path) -> None:
    """What `simulate` wrote is read as it was, in order of time."""
    week = simulate(3, 1.0)
    write(week, tmp_path)
    records = read([tmp_path / f"{topic}.jsonl" for topic in week.counts])
    assert all(one.timestamp <= two.timestamp for one, two in pairwise(records))
    for topic in week.counts:
        made = [(each.timestamp, each.key, each.value, each.headers) for each in week.records if each.topic == topic]
        assert [(each.timestamp, each.key, each.value, each.headers) for each in records if each.topic == topic] == made
