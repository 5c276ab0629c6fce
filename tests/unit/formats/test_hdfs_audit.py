"""Audit lines of HDFS: blanks within fields, lost tabs, proxies, and paths that imitate fields."""

from collections import Counter
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from pipeline.errors import DecodeError, RejectedRecord, TimestampOutOfRange, UnknownFormat
from pipeline.formats.line import Line, Reading
from pipeline.formats.payloads import hdfs_audit
from pipeline.model.events import ObjectAccess, Parsed

READING = Reading(zone=ZoneInfo("Asia/Shanghai"), reference_time=1_772_480_460_000)
HEAD = "2026-03-02 19:40:41,161 INFO FSNamesystem.audit: "


def parse(text: str) -> Parsed:
    """The event of a line."""
    assert hdfs_audit.FORMAT.claims(text.encode())
    (event,) = hdfs_audit.FORMAT.parse(Line(payload=text.encode()), READING)
    return event


def line(command: str = "delete", src: str = "/ckpt/step100", dst: str = "null", ugi: str = "u017 (auth:KERBEROS)", tail: str = "") -> str:
    """A line with tabs."""
    return f"{HEAD}allowed=true\tugi={ugi}\tip=/10.0.2.15\tcmd={command}\tsrc={src}\tdst={dst}\tperm=null\tproto=rpc{tail}"


ROWS = [
    (
        line(),
        ObjectAccess(action="deleted", operation="delete", path="/ckpt/step100", user="u017", address="10.0.2.15", success=True),
    ),
    (
        line("rename (options=[OVERWRITE])", "/ckpt/a {1} b", "/ckpt/c"),
        ObjectAccess(
            action="renamed",
            operation="rename",
            path="/ckpt/c",
            old_path="/ckpt/a {1} b",
            user="u017",
            address="10.0.2.15",
            success=True,
        ),
    ),
    (
        line(ugi="u017@REALM (auth:TOKEN) via hive/h1@REALM (auth:KERBEROS)").replace("true", "false"),
        ObjectAccess(action="deleted", operation="delete", path="/ckpt/step100", user="u017", address="10.0.2.15", success=False),
    ),
    (
        line(src="/ckpt/step 100").replace("\t", " "),
        ObjectAccess(action="deleted", operation="delete", path="/ckpt/step 100", user="u017", address="10.0.2.15", success=True),
    ),
    (
        line("msync", "null"),
        ObjectAccess(action="other", operation="msync", path="null", user="u017", address="10.0.2.15", success=True),
    ),
]


@pytest.mark.parametrize(("text", "body"), ROWS)
def test_lines(text: str, body: ObjectAccess) -> None:
    """Local time, and each field at its place."""
    event = parse(text)
    assert event.event_time == 1_772_480_441_161 - 8 * 3_600_000
    assert event.body == body


def test_a_path_that_imitates_fields() -> None:
    """Who did what stands before the path; a second `dst=` is told."""
    event = parse(line(src="/x\tugi=root (auth:SIMPLE)\tcmd=open\tsrc=/y\tdst=/z"))
    assert isinstance(event.body, ObjectAccess)
    assert (event.body.user, event.body.operation) == ("u017", "delete")
    assert "ambiguous" in event.unmapped
    assert "ambiguous" not in parse(line(tail="\tcallerContext=CLI")).unmapped


def test_what_passes_through() -> None:
    """The whole ugi, permissions and the caller's context."""
    event = parse(line(tail="\tcallerContext=job_7").replace("perm=null", "perm=u017:llm:rwxr-x---"))
    assert event.unmapped == {"ugi": "u017 (auth:KERBEROS)", "perm": "u017:llm:rwxr-x---", "proto": "rpc", "callerContext": "job_7"}


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("said FSNamesystem.audit: x", UnknownFormat),
        (HEAD + "ugi=u017", DecodeError),
        (HEAD + "allowed=true\tugi=u017\tip=/1\tcmd=delete", DecodeError),
        (line().replace("03-02", "13-02"), DecodeError),
        (line().replace("2026", "1026"), TimestampOutOfRange),
    ],
)
def test_broken(text: str, error: type[RejectedRecord]) -> None:
    """What is wrong is said."""
    with pytest.raises(error):
        parse(text)


@pytest.mark.parametrize("ugi", ["u017 (auth:SIMPLE)", "u017 (auth:PROXY) via hive (auth:SIMPLE)"])
def test_a_client_that_gave_no_proof_has_named_itself(ugi: str) -> None:
    """HADOOP_USER_NAME is anybody's choice."""
    body = parse(line(ugi=ugi)).body
    assert isinstance(body, ObjectAccess)
    assert (body.user, body.self_named) == ("u017", True)


@pytest.mark.shared_data
def test_real_lines(shared_data: Path) -> None:
    """Real lines of 2015 with the counts of their notes."""
    events = [parse(each) for each in (shared_data / "access/hdfs/securityAuditLog").read_text().splitlines()]
    bodies = [event.body for event in events if isinstance(event.body, ObjectAccess)]
    assert Counter(body.operation for body in bodies) == {"getfileinfo": 12, "mkdirs": 2, "setPermission": 2, "setOwner": 1}
    assert {(body.user, body.address, body.success, body.old_path) for body in bodies} == {("hdfs", "10.0.2.15", True, "")}
    assert len({body.path for body in bodies}) == 6
    assert sum("perm" in event.unmapped for event in events) == 5
    times = [event.event_time for event in events if event.event_time is not None]
    assert times == sorted(times)
    assert times[-1] - times[0] == 2 * 60_000 + 15_718
