"""Lines of files that a syslog daemon carries: read behind its frame, and only where the frame's program may speak for the format."""

from zoneinfo import ZoneInfo

import orjson
import pytest

from pipeline.errors import RejectedRecord, UnknownFormat
from pipeline.formats import registry
from pipeline.formats.line import Reading
from pipeline.formats.sniff import sniff
from pipeline.ingest import step as ingest
from pipeline.model.events import ObjectAccess, Parsed
from pipeline.model.outcome import EventRow, Record
from pipeline.model.source import FAMILIES, Source
from pipeline.settings import Settings
from pipeline.stream.cases import Cases
from pipeline.stream.watermark import NOTHING
from tests.unit.formats.test_registry import LINES

READING = Reading(zone=ZoneInfo("Asia/Shanghai"), reference_time=1_772_480_460_000)
FRAMES = [
    "<133>1 2026-03-02T19:40:41.956734+00:00 nn-1 {} - - - {}",
    '<133>1 2026-03-02T19:40:41.956734+00:00 nn-1 {} 9 ID [x@1 a="b"] \ufeff{}',
    "<133>Mar  2 19:40:41 nn-1 {}[9]: {}",
    "Mar  2 19:40:41 nn-1 {}: {}",  # rsyslog's traditional file format
    "2026-03-02T19:40:41.956734+00:00 nn-1 {}: {}",  # and the one that it writes unless told otherwise
]
PROGRAMS = {
    "hdfs_audit": "hdfs-audit", "slurm_jobcomp": "slurm-jobcomp", "jobcomp_filetxt": "jobcomp", "sacct": "sacct", "sacct_json": "sacct",
    "pbs": "pbs-accounting", "lsf": "lsf", "ray_jobs": "ray", "kubernetes_events": "event-exporter", "volcano": "volcano",
    "s3_access": "s3-access", "lustre_changelog": "lustre-changelog", "kubernetes_audit": "kube-apiserver", "tetragon": "tetragon",
    "cloudtrail": "cloudtrail", "minio": "minio", "git_push": "gitlab", "auditbeat": "auditbeat",
}  # fmt: skip
TEXTS = dict(LINES)
OF_JOBS = [format_.name for format_ in registry.PAYLOADS if format_.source in FAMILIES["training"]]


def read(value: str, allowed: frozenset[Source], pinned: str = "") -> tuple[str, list[Parsed]]:
    """Format and events of a record."""
    (line,) = registry.unwrap(value.encode(), [])
    format_, events = registry.parse(line, READING, pinned, allowed)
    return format_.name, list(events)


def family(name: str) -> frozenset[Source]:
    """What the topic of a format may speak for."""
    return next(sources for sources in FAMILIES.values() if registry.by_name(name).source in sources)


@pytest.mark.parametrize("frame", FRAMES)
@pytest.mark.parametrize("name", [*PROGRAMS, *OF_JOBS])
def test_what_stands_behind_a_frame(name: str, frame: str) -> None:
    """The same events as of the bare line, sniffed or pinned; what the line does not say, host and time, the frame does."""
    bare = read(TEXTS[name], family(name))[1]
    value = frame.format(PROGRAMS.get(name, "run7"), TEXTS[name])
    for pinned in ("", name):
        found, events = read(value, family(name), pinned)
        if name in OF_JOBS and value[0] != "<":
            assert found in OF_JOBS  # their formats look into the line; which of them finds something first is left open
            continue
        assert found == name
        assert [event.body for event in events] == [event.body for event in bare]
        assert [event.own_id for event in events] == [event.own_id for event in bare]
        times = zip(events, bare, strict=True)
        assert all(event.event_time == other.event_time for event, other in times if other.event_time is not None)


@pytest.mark.parametrize("frame", ["<133>Mar  2 19:40:41 nn-1 {} {}", "2026-03-02T19:40:41.956734+00:00 nn-1 {} {}"])
@pytest.mark.parametrize("name", PROGRAMS)
def test_a_tag_without_a_colon(name: str, frame: str) -> None:
    """rsyslog reads files so unless it is told otherwise; the program is asked for all the same."""
    bare = read(TEXTS[name], family(name))[1]
    found, events = read(frame.format(PROGRAMS[name], TEXTS[name]), family(name))
    assert (found, [event.body for event in events]) == (name, [event.body for event in bare])
    with pytest.raises(RejectedRecord):
        read(frame.format("u017", TEXTS[name]), family(name))


# What stands in the logs of daemons that speak for themselves, and who writes them.
OF_DAEMONS = [
    ("slurmctld", "slurmctld", "[2026-03-02T19:40:41.318] error: Nodes gpu-001 not responding"),
    *[(name, program, TEXTS[name]) for name, program in (
        ("slurmd", "slurmd"), ("auditd", "auditd"), ("laurel", "laurel"), ("falco", "falco"), ("teleport", "teleport"),
        ("wazuh", "wazuh"), ("osquery", "osqueryd"),
    )],
]  # fmt: skip


@pytest.mark.parametrize(
    "frame", ["<133>Mar  2 19:40:41 nn-1 {} {}", "Mar  2 19:40:41 nn-1 {}[9] {}", "2026-03-02T19:40:41+00:00 nn-1 {} {}", *FRAMES]
)
@pytest.mark.parametrize(("name", "program", "text"), OF_DAEMONS, ids=[name for name, *_ in OF_DAEMONS])
def test_a_file_of_a_daemon_behind_a_tag(name: str, program: str, text: str, frame: str) -> None:
    """With a colon or without: then the line's own beginning ends it; behind another's tag it is a text."""
    bare = read(text, family(name))[1]
    found, events = read(frame.format(program, text), family(name))
    assert (found, [event.body for event in events]) == (name, [event.body for event in bare])
    for another in ("u017", f"u017: {program}", f"sshd[9]: {program}"):
        with pytest.raises(RejectedRecord):
            read(frame.format(another, text), family(name))


def test_tabs_that_rsyslog_escapes() -> None:
    """A relay writes `#011` for each, and in a name it stays what it is where no relay did."""
    text = TEXTS["hdfs_audit"]
    (event,) = read(text, family("hdfs_audit"))[1]
    (relayed,) = read(FRAMES[3].format("hdfs-audit", text.replace("\t", "#011")), family("hdfs_audit"))[1]
    assert (relayed.body, relayed.event_time) == (event.body, event.event_time)
    (named,) = read(text.replace("step100", "step#011src=/x"), family("hdfs_audit"))[1]
    assert isinstance(named.body, ObjectAccess)
    assert named.body.path == "/ckpt/step#011src=/x"


def test_every_format_that_names_programs_is_tried_here() -> None:
    """The table above is whole."""
    assert {format_.name for format_ in registry.PAYLOADS if getattr(format_, "programs", ())} == set(PROGRAMS)


@pytest.mark.parametrize("frame", FRAMES)
@pytest.mark.parametrize("name", PROGRAMS)
def test_another_program_is_not_believed(name: str, frame: str) -> None:
    """Anybody can send a line to syslog under a name of his own."""
    for program in ("u017", "logger", "sshd"):
        with pytest.raises(RejectedRecord):
            read(frame.format(program, TEXTS[name]), family(name))


@pytest.mark.parametrize("frame", FRAMES)
@pytest.mark.parametrize("name", ["sshd", "kernel", "slurmctld", "auditd", "slurmd", "slurm_jobcomp"])
@pytest.mark.parametrize("program", ["u017", "hdfs-audit", "sshd", "kube-apiserver"])
def test_a_whole_line_in_a_line_is_a_text(program: str, name: str, frame: str) -> None:
    """What lives in the system log is not read behind another frame, nor is what another program carries; not when it is pinned, either."""
    inner = next(text for row, text in LINES[::-1] if row == name)
    value = frame.format(program, inner)
    for pinned in ("", name) if name != "slurm_jobcomp" else ("",):
        try:
            _, events = read(value, family(name), pinned)
        except RejectedRecord:
            continue
        genuine = [event.body for event in read(inner, family(name))[1]]
        assert [event.body for event in events] != genuine


def test_a_frame_in_a_frame() -> None:
    """One is taken off."""
    once = FRAMES[3].format("hdfs-audit", TEXTS["hdfs_audit"])
    assert read(once, family("hdfs_audit"))[0] == "hdfs_audit"
    with pytest.raises(UnknownFormat):
        read(FRAMES[3].format("hdfs-audit", once), family("hdfs_audit"))


def test_pinned_by_the_settings_any_program_is_its_own() -> None:
    """A site calls its files as it likes, and says so."""
    assert read(FRAMES[0].format("nn-audit", TEXTS["hdfs_audit"]), family("hdfs_audit"), "hdfs_audit")[0] == "hdfs_audit"
    with pytest.raises(UnknownFormat):
        read(FRAMES[0].format("nn-audit", TEXTS["hdfs_audit"]), family("hdfs_audit"))


@pytest.mark.parametrize("frame", FRAMES)
def test_the_row_keeps_the_whole_line(frame: str) -> None:
    """What is cited as evidence is what came; the host is the frame's."""
    value = frame.format("hdfs-audit", TEXTS["hdfs_audit"])
    record = Record(topic="logs.access", partition=0, offset=1, timestamp=1_772_480_460_000, value=value.encode())
    state = ingest.build_state(Settings(), Cases())
    (row,) = [out for out in ingest.step(state, [record], NOTHING)[1] if isinstance(out, EventRow)]
    assert (row.source, row.host, row.raw) == ("hdfs_audit", "nn-1", value)


def test_a_job_without_a_time_is_dated_by_the_frame() -> None:
    """A line of a job's output has none."""
    _, (event,) = read(FRAMES[4].format("run7", "saving checkpoint at iteration   33241 to /ckpt/run7"), FAMILIES["training"])
    assert (event.event_time, event.host) == (1_772_480_441_956, "")  # nor a host that anybody vouches for


def test_sniffing_finds_the_zone_behind_a_frame() -> None:
    """The line's own time has none, whatever the frame's has."""
    report = sniff([FRAMES[0].format("hdfs-audit", TEXTS["hdfs_audit"]).encode()] * 3)
    assert [(share.format, share.typed) for share in report.formats] == [("hdfs_audit", 3)]
    assert (report.times.without_zone, report.times.without_year) == (3, 0)
    report = sniff([FRAMES[3].format("pbs", TEXTS["pbs"]).encode()])
    assert (report.times.without_zone, report.times.without_year) == (1, 0)


def test_an_access_behind_a_frame() -> None:
    """As the parts of it say."""
    _, (event,) = read(FRAMES[2].format("hdfs-audit", TEXTS["hdfs_audit"]), FAMILIES["access"])
    assert isinstance(event.body, ObjectAccess)
    assert (event.body.user, event.body.operation) == ("u017", "delete")


@pytest.mark.parametrize("name", [*PROGRAMS, "slurmctld", "slurmd"])
def test_a_program_in_an_object_is_asked_for_too(name: str) -> None:
    """As behind a frame; where the shipper names a file, or the settings pin the format, it is not."""
    said = {"message": TEXTS[name], "program": "u017", "host": "gpu-012", "@timestamp": "2026-03-02T19:40:41Z"}
    with pytest.raises(RejectedRecord):
        read(orjson.dumps(said).decode(), family(name))
    program = PROGRAMS.get(name, name)
    for more in ({"program": program}, {"file": "/var/log/x.log"}):
        assert read(orjson.dumps(said | more).decode(), family(name))[0] == name


def of_opentelemetry(text: str, tag: str) -> dict[str, str]:
    """A line as the journald receiver and as the syslog receiver say it; and as a service of that name, which only the site can give."""
    fields = {"MESSAGE": text, "SYSLOG_IDENTIFIER": tag, "_HOSTNAME": "gpu-012", "__REALTIME_TIMESTAMP": "1772480441000000"}
    journal = {"kvlistValue": {"values": [{"key": key, "value": {"stringValue": value}} for key, value in fields.items()]}}
    tagged = [{"key": "appname", "value": {"stringValue": tag}}]
    service = [{"key": "service.name", "value": {"stringValue": tag}}]
    records = {
        "journald": ([], {"body": journal}),
        "syslog": ([], {"body": {"stringValue": text}, "attributes": tagged, "timeUnixNano": "1772480441000000000"}),
        "service": (service, {"body": {"stringValue": text}}),
    }
    return {
        how: orjson.dumps({"resourceLogs": [{"resource": {"attributes": said}, "scopeLogs": [{"logRecords": [record]}]}]}).decode()
        for how, (said, record) in records.items()
    }


@pytest.mark.parametrize("name", ["slurmctld", "slurmd", "hdfs_audit", "slurm_jobcomp"])
def test_a_program_in_an_object_of_opentelemetry_is_asked_for_too(name: str) -> None:
    """What a resource is called is the site's word; a tag is anybody's."""
    values = of_opentelemetry(TEXTS[name], "u017")
    for how in ("journald", "syslog"):
        with pytest.raises(RejectedRecord):
            read(values[how], family(name))
        assert read(of_opentelemetry(TEXTS[name], PROGRAMS.get(name, name))[how], family(name))[0] == name
    assert read(values["service"], family(name))[0] == name


@pytest.mark.parametrize("name", ["slurmctld", "slurmd", "sshd", "hdfs_audit"])
def test_a_program_in_a_header_is_the_shippers_word(name: str) -> None:
    """Also beside an object that names none."""
    value = orjson.dumps({"message": TEXTS[name], "host": "ctl-001", "@timestamp": "2026-03-02T19:40:41Z"})
    (line,) = registry.unwrap(value, [("source", b"daemons")])
    assert registry.parse(line, READING, allowed=family(name))[0].name == name
