"""Sniffing: which formats read a sample, what was found, what was lost, and the settings lines for it."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.bench.format_lines import MAKERS, lines_of
from pipeline.formats import sniff as sniffing
from pipeline.formats.registry import by_name
from pipeline.formats.sniff import Known, Report, Sniffer, is_binary, shape_of, sniff
from pipeline.formats.sniff_settings import Origin, settings_lines
from pipeline.model.source import FAMILIES
from pipeline.settings import SourceSettings

TOPICS = {family: (f"logs.{family}",) for family in FAMILIES}
LOGIN = b"Mar  2 19:40:41 login-1 sshd[9]: Accepted publickey for u017 from 10.0.0.7 port 5022 ssh2: ED25519 SHA256:abc"


@pytest.mark.parametrize("name", MAKERS)
def test_each_format_is_found(name: str) -> None:
    """A sample of one format is that format's, all of it, with its family and at least one kind of event."""
    report = sniff(lines_of(name, 40))
    assert report.formats[0].format == name
    assert report.formats[0].lines >= 36  # a training line may be another framework's too
    assert report.families[0] == next(family for family, sources in FAMILIES.items() if by_name(name).source in sources)
    assert report.claimed
    assert report.confidence in {"high", "medium"}
    assert sum(kind.count for kind in report.kinds) >= 40
    assert all(kind.example for kind in report.kinds)


def test_counts_add_up() -> None:
    """Each record ends as exactly one of the outcomes; the report says which lines are whose."""
    lines = [
        LOGIN,
        b"Mar  2 19:40:42 login-1 sshd[9]: Received disconnect from 10.0.0.7 port 5022:11: disconnected by user",
        b"",
        b"   ",
        b"An ordinary sentence.",
        b"type=SYSCALL msg=x",
        b'{"jobid":7,',
        b"JobID|JobIDRaw|JobName|User",
    ]
    report = sniff(lines)
    assert (report.records, report.lines, report.blank) == (8, 6, 2)
    assert (report.typed, report.generic, report.quiet, report.broken, report.unclaimed) == (1, 1, 0, 3, 1)
    assert report.typed + report.generic + report.quiet + report.broken + report.unclaimed == report.lines
    lost = {("auditd", "decode_error"), ("slurm_jobcomp", "decode_error"), ("sacct", "schema_mismatch")}
    assert {(each.by, each.code) for each in report.lost} == lost
    assert not report.claimed
    assert report.confidence == "low"
    assert [(each.name, each.count) for each in report.hosts] == [("login-1", 2)]


@pytest.mark.parametrize(("of_job", "lines"), [(True, 2), (False, 1)])
def test_lines_that_a_shipper_joined(of_job: bool, lines: int) -> None:
    """Taken apart where the pipeline takes them apart."""
    cancelled = b"slurmstepd: error: *** STEP 7.0 ON gpu-001 CANCELLED AT 2026-03-02T00:00:59 ***"
    report = sniff([cancelled + b"\n" + cancelled], Known(of_job=of_job))
    assert (report.records, report.lines) == (1, lines)


ZONES: Sequence[tuple[str, bytes, tuple[int, int, int, int]]] = (
    ("neither zone nor year", LOGIN, (0, 1, 1, 0)),
    ("no zone", b"[2026-03-02T19:40:41.318] error: Nodes gpu-001 not responding", (0, 1, 0, 0)),
    ("an offset", b"2026-03-02T19:40:41.318+08:00 gpu-001 kernel: NVRM: Xid (PCI:0000:3b:00): 79, pid=9, x", (1, 0, 0, 0)),
    ("epoch", b"type=EOE msg=audit(1772480441.318:77): ", (1, 0, 0, 0)),
    ("no time", b"srun: error: gpu-003: task 17: Killed", (0, 0, 0, 1)),
)


@pytest.mark.parametrize(("name", "line", "expected"), ZONES, ids=[row[0] for row in ZONES])
@pytest.mark.parametrize("zone", ["UTC", "Etc/GMT+12", "Pacific/Kiritimati"])
def test_times(name: str, line: bytes, expected: tuple[int, int, int, int], zone: str) -> None:
    """With zone, without zone, without year, without time: whichever zone the sample is read in."""
    times = sniff([line], Known(zone=ZoneInfo(zone), reference_time=1_772_480_460_000)).times
    assert (times.with_zone, times.without_zone, times.without_year, times.none) == expected, name


@pytest.mark.parametrize("read_in", ["UTC", "America/New_York", "Etc/GMT+12"])
@pytest.mark.parametrize(("ahead", "delay_ms"), [(480, 900), (0, 2000), (-300, 40_000), (345, 0)])
def test_likely_offset(read_in: str, ahead: int, delay_ms: int) -> None:
    """Collected times tell in which offset local times were written, to the quarter of an hour, whatever zone they are read in."""
    sniffer = Sniffer(Known(zone=ZoneInfo(read_in)))
    for number in range(60):
        written = f"[2026-03-02T19:{number:02d}:41.318] error: Nodes gpu-001 not responding".encode()
        local_as_utc = 1_772_478_041_318 + number * 60_000
        sniffer.feed(written, (), local_as_utc - ahead * 60_000 + delay_ms)
    assert sniffer.report().times.likely_offset_minutes == ahead


def test_no_offset_from_old_lines() -> None:
    """A file that was read long after it was written tells no offset, nor do a few lines."""
    sniffer = Sniffer(Known())
    for number in range(60):
        line = f"[2026-03-02T19:{number:02d}:41.318] error: Nodes gpu-001 not responding".encode()
        sniffer.feed(line, (), 1_782_000_000_000)
    assert sniffer.report().times.likely_offset_minutes is None
    assert sniff([LOGIN]).times.likely_offset_minutes is None


SHAPES = [
    (b"Loading requirement: gcc/8.3.1 cuda/10.2", b"Loading requirement: gcc/0 cuda/0"),
    (b"at 0x7ffe12ab and deadbeef12 and facade", b"at <hex> and <hex> and facade"),
    (b"Sun May 23 08:23:44 2021", b"Sun May 0 0 0"),
    (b"a   \t b", b"a b"),
    (b"\x00\x01\x02", b"<binary>"),
    (b"\x1b[31mred\x1b[0m", b"\x1b[0mred\x1b[0m"),
]


@pytest.mark.parametrize(("line", "shape"), SHAPES, ids=[str(number) for number in range(len(SHAPES))])
def test_shapes(line: bytes, shape: bytes) -> None:
    """What varies is folded, words stay."""
    assert shape_of(line) == shape


@settings(deadline=None)
@given(st.binary(max_size=600))
def test_any_bytes_have_a_shape(payload: bytes) -> None:
    """Folding never fails, is bounded, and is done once: a shape is its own shape."""
    shape = shape_of(payload)
    assert len(shape) <= 4 * sniffing.SHAPE_BYTES_MAX
    assert isinstance(is_binary(payload), bool)
    report = sniff([payload])
    assert report.records == 1
    assert msgspec.json.decode(msgspec.json.encode(report), type=Report) == report


def test_shapes_are_grouped_and_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A frequent shape is counted exactly though thousands of others come and go, and what was given up is told."""
    monkeypatch.setattr(sniffing, "SHAPES_MAX", 50)
    words = ["".join(chr(97 + (number >> shift) % 16) for shift in (0, 4, 8)) for number in range(1000)]
    lines = [line for number, word in enumerate(words) for line in (f"never seen {number}".encode(), f"word {word}".encode())]
    report = sniff(lines)
    assert (report.shapes[0].shape, report.shapes[0].count, report.shapes[0].example) == ("never seen 0", 1000, "never seen 0")
    assert sum(shape.count for shape in report.shapes) + report.other_shapes == report.unclaimed == 2000


def test_a_document_over_many_lines() -> None:
    """Pieces of one JSON document may look like somebody's lines; nothing is advised for them."""
    report = sniff(b'{\n  "ref": "refs/heads/main",\n  "before": "a",\n  "after": "b"\n}'.split(b"\n"))
    assert report.document
    assert report.confidence == "low"
    assert settings_lines(report, Origin(), TOPICS) == []
    assert not sniff([b'{"ref":"refs/heads/main","before":"a","after":"b","repository":{"full_name":"r"}}']).document


def test_wrappers() -> None:
    """Lines come out of their envelopes, and what the shipper says of them is told."""
    value = msgspec.json.encode({"message": LOGIN.decode() + "\r", "host": "log-1", "program": "sshd", "file": "/var/log/auth.log"})
    report = sniff([value] * 3)
    assert report.envelopes == {"json_wrapper": 3}
    assert [each.name for each in report.programs] == ["sshd"]
    assert [each.name for each in report.files] == ["/var/log/auth.log"]
    assert sniff([LOGIN + b"\r\n"]).crlf == 1


def test_pieces_of_split_lines() -> None:
    """A piece is nobody's line, and no broken one."""
    piece = b'2026-03-02T12:00:00.1Z stdout P {"step":7,"lo'
    report = sniff([piece, piece])
    assert (report.lines, report.pieces, report.unclaimed, report.broken) == (2, 2, 0, 0)


def test_a_format_that_could_read_it_too() -> None:
    """Lines that a second format would read are told: pinning may be wiser than sniffing."""
    assert sniff([b"}"] * 5).formats[0].rivals == {"hf_trainer": 5}
    assert sniff([LOGIN]).formats[0].rivals == {}


def test_names_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A job that prints a million names fills no memory."""
    monkeypatch.setattr(sniffing, "NAMES_MAX", 10)
    report = sniff([LOGIN.replace(b"login-1", b"login-%d" % number) for number in range(50)])
    assert report.hosts_total == 10
    assert report.typed == 50


# --- settings lines


def pasted(lines: list[str]) -> tuple[dict[str, list[str]], SourceSettings]:
    """What YAML and the settings make of the lines."""
    found = yaml.safe_load("\n".join(lines))
    (source,) = found["sources"]
    return found.get("kafka", {}), SourceSettings.model_validate(source)


def test_settings_of_one_format() -> None:
    """One format read everything: it is pinned, for its topic, its file, and with a zone to look at."""
    lines = settings_lines(sniff([LOGIN] * 5), Origin(file="auth (1).log"), TOPICS)
    kafka, source = pasted(lines)
    assert kafka == {}
    assert (source.name, source.topic, source.format, source.zone) == ("sshd", "logs.access", "sshd", "UTC")
    assert source.file == r"(?:^|/)auth\ \(1\)\.log$"
    assert any("5 of 5 times have no zone, 5 no year; <- read as UTC" in line for line in lines)


def test_settings_of_several_formats() -> None:
    """Nothing is pinned where two formats read lines; a topic of two families is listed under both."""
    report = sniff([*lines_of("sshd", 10), *lines_of("slurmctld", 5)])
    kafka, source = pasted(settings_lines(report, Origin(topic="all.logs"), TOPICS))
    assert kafka == {"scheduler_topics": ["logs.scheduler", "all.logs"], "access_topics": ["logs.access", "all.logs"]}
    assert (source.name, source.topic, source.format, source.file) == ("access", "all.logs", "", "")


def test_settings_with_a_likely_zone() -> None:
    """Where collection tells the offset, the line can be pasted as it is."""
    sniffer = Sniffer(Known())
    for number in range(30):
        line = f"[2026-03-02T19:{number:02d}:41.318] error: Nodes gpu-001 not responding".encode()
        sniffer.feed(line, (), 1_772_478_041_318 + number * 60_000 - 8 * 3_600_000 + 500)
    _, source = pasted(settings_lines(sniffer.report(), Origin(topic="slurm"), TOPICS))
    assert source.zone == "Etc/GMT-8"
    assert datetime(2026, 3, 2, tzinfo=ZoneInfo(source.zone)).utcoffset() == timedelta(hours=8)


def test_names_of_attackers_stay_names() -> None:
    """A program or file that is called like YAML does not become YAML, nor an escape on a terminal."""
    nasty = 'x"\n  - name: y\x1b[31m: {'
    report = msgspec.structs.replace(sniff([LOGIN]), programs=[sniffing.Count(nasty, 1)], files=[sniffing.Count("/a/" + nasty, 1)])
    lines = settings_lines(report, Origin(topic="yes"), TOPICS)
    assert all(line.isprintable() for line in lines)
    kafka, source = pasted(lines)
    assert (source.program, source.topic, kafka["access_topics"]) == (nasty, "yes", ["logs.access", "yes"])


def test_nothing_to_paste() -> None:
    """Lines of nobody have no settings."""
    assert settings_lines(sniff([b"An ordinary sentence."]), Origin(), TOPICS) == []


# --- real lines

REAL = [
    ("access/sshd/auth-first-1000.log", "sshd", "high", 1.0),
    ("access/hdfs/securityAuditLog", "hdfs_audit", "high", 1.0),
    ("access/k8s_audit/exec_pod.json", "kubernetes_audit", "high", 1.0),
    ("access/tetragon/events.json", "tetragon", "high", 1.0),
    ("access/auditd/auparse/audit-rhel7.log", "auditd", "high", 0.97),
    ("training/megatron/meg_gpt2_base_n8_dp1_tp4_pp8-1809562.out", "megatron", "high", 0.97),
    ("training/hf/hf_ds_gpt2_base_n4-1832555.out", "hf_trainer", "high", 0.97),
    ("training/mlperf/v4.0-smc-bert-240419135535325785707_1.log", "mllog", "high", 0.97),
]


@pytest.mark.shared_data
@pytest.mark.parametrize(("name", "format_", "confidence", "share"), REAL, ids=[row[0] for row in REAL])
def test_real_files(shared_data: Path, name: str, format_: str, confidence: str, share: float) -> None:
    """Files of each family are told for what they are."""
    report = sniff((shared_data / name).read_bytes().removesuffix(b"\n").split(b"\n"))
    assert format_ in {each.format for each in report.formats[:2]}
    assert report.confidence == confidence
    assert (report.typed + report.generic + report.quiet) / report.lines >= share
