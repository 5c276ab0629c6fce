"""Lines that come as text with a head of their own: syslog as daemons send it, and files of container runtimes."""

from zoneinfo import ZoneInfo

import pytest

from pipeline.errors import RecordTooLarge
from pipeline.formats import registry
from pipeline.formats.envelopes import container, syslog_wire
from pipeline.formats.line import ITEMS_MAX, Line, Part, Reading
from pipeline.model.events import KernelLine, KillRequest, Login

AT = 1_772_452_800_318  # 2026-03-02T12:00:00.318Z
SSH = b"Accepted publickey for u017 from 10.0.0.7 port 5022 ssh2"
RFC3164 = b"<38>Mar  2 12:00:00 login-1 sshd[12]: " + SSH
RFC5424 = b'<38>1 2026-03-02T12:00:00.318Z login-1 sshd 12 ID47 [o@1 ip="10.0.0.7"] \xef\xbb\xbf' + SSH

WIRE: dict[str, tuple[bytes, list[Line]]] = {
    "RFC 3164": (RFC3164, [Line(payload=RFC3164, host="login-1", program="sshd")]),
    "RFC 3164, line end": (RFC3164 + b"\n", [Line(payload=RFC3164, host="login-1", program="sshd")]),
    "RFC 3164, NUL at the end": (RFC3164 + b"\0", [Line(payload=RFC3164, host="login-1", program="sshd")]),
    "RFC 3164, no host": (b"<38>Mar  2 12:00:00 sshd[1]: x", [Line(payload=b"<38>Mar  2 12:00:00 sshd[1]: x", program="sshd")]),
    "ISO time": (
        b"<6>2026-03-02T12:00:00.318+00:00 gpu-001 kernel: x",
        [Line(payload=b"<6>2026-03-02T12:00:00.318+00:00 gpu-001 kernel: x", host="gpu-001", program="kernel")],
    ),
    "RFC 5424": (RFC5424, [Line(payload=RFC5424, host="login-1", program="sshd", collected_time=AT)]),
    "RFC 5424, nothing said": (b"<38>1 - - - - - - x", [Line(payload=b"<38>1 - - - - - - x")]),
    "octets counted": (b"%d %s" % (len(RFC5424), RFC5424), [Line(payload=RFC5424, host="login-1", program="sshd", collected_time=AT)]),
    "two frames": (
        b"%d %s%d %s" % (len(RFC3164), RFC3164, len(RFC5424) + 1, RFC5424 + b"\n"),
        [
            Line(payload=RFC3164, host="login-1", program="sshd"),
            Line(payload=RFC5424, host="login-1", program="sshd", collected_time=AT),
        ],
    ),
    "frames of which one has no head": (
        b"6 <34>ab7 <34>abc",
        [Line(payload=b"<34>ab"), Line(payload=b"<34>abc")],
    ),
    "a count that is wrong": (b"99 " + RFC3164, [Line(payload=b"99 " + RFC3164)]),
    "a count that is too small": (b"9 " + RFC3164, [Line(payload=b"9 " + RFC3164)]),
    "no head": (b"<38>hello", [Line(payload=b"<38>hello")]),
    "markup": (b"<html><body>", [Line(payload=b"<html><body>")]),
    "a number": (b"2048 tokens <pad>", [Line(payload=b"2048 tokens <pad>")]),
}


@pytest.mark.parametrize(("value", "lines"), WIRE.values(), ids=WIRE)
def test_syslog_on_the_wire(value: bytes, lines: list[Line]) -> None:
    """The payload is the line as it was sent; host, program and the time with a zone are known beside it."""
    assert registry.unwrap(value, ()) == lines


def test_headers_win_over_the_text() -> None:
    """A relay's record says who shipped it."""
    (found,) = registry.unwrap(RFC5424, [("host", b"relay-1"), ("collected", b"1772452800000")])
    assert (found.host, found.program, found.collected_time) == ("relay-1", "sshd", 1_772_452_800_000)


def test_a_tailed_line_names_nobody() -> None:
    """Who may print into a file must not choose whose settings are used."""
    (found,) = registry.unwrap(b"<38>Mar  2 12:00:00 ctl-1 slurmctld[1]: x", [("file", b"/l/slurm-7.out"), ("host", b"gpu-001")])
    assert (found.host, found.program, found.file) == ("gpu-001", "", "/l/slurm-7.out")


READ = [
    (RFC3164, Login),
    (RFC5424, Login),
    (b"%d %s" % (len(RFC5424), RFC5424), Login),
    (b"<6>Mar  2 12:00:00 gpu-001 kernel: [ 1.5] nvme: x", KernelLine),
    (b"<6>1 2026-03-02T12:00:00Z gpu-001 kernel - - - [ 1.5] nvme: x", KernelLine),
    (b"<30>Mar  2 12:00:00 ctl-1 slurmctld[9]: _slurm_rpc_kill_job: REQUEST_KILL_JOB JobId=7 uid 5012", KillRequest),
    (b"<30>1 2026-03-02T12:00:00Z ctl-1 slurmctld 9 - - _slurm_rpc_kill_job: REQUEST_KILL_JOB JobId=7 uid 5012", KillRequest),
]


@pytest.mark.parametrize(("value", "kind"), READ)
def test_formats_read_what_is_unwrapped(value: bytes, kind: type) -> None:
    """What a daemon sent is taken apart once, by the format that reads it."""
    (line,) = registry.unwrap(value, ())
    _, events = registry.parse(line, Reading(zone=ZoneInfo("UTC"), reference_time=AT))
    assert [type(event.body) for event in events] == [kind]


def test_too_many_frames() -> None:
    """The bound is a dead letter, not a part of the frames."""
    with pytest.raises(RecordTooLarge):
        registry.unwrap(b"5 <34>a" * (ITEMS_MAX + 1), ())


CONTAINER: dict[str, tuple[bytes, Line]] = {
    "whole": (b"2026-03-02T12:00:00.318123456Z stdout F text", Line(payload=b"text", collected_time=AT, stream="stdout")),
    "part": (
        b"2026-03-02T12:00:00.318Z stderr P text\n",
        Line(payload=b"text", collected_time=AT, truncated=True, stream="stderr", part=Part()),
    ),
    "offset": (b"2026-03-02T20:00:00.318+08:00 stdout F text", Line(payload=b"text", collected_time=AT, stream="stdout")),
    "empty": (b"2026-03-02T12:00:00.318Z stdout F ", Line(payload=b"", collected_time=AT, stream="stdout")),
    "empty, cut": (b"2026-03-02T12:00:00.318Z stdout F", Line(payload=b"", collected_time=AT, stream="stdout")),
    "more tags": (b"2026-03-02T12:00:00.318Z stdout F:x text", Line(payload=b"text", collected_time=AT, stream="stdout")),
    "its own blanks": (b"2026-03-02T12:00:00.318Z stdout F   text ", Line(payload=b"  text ", collected_time=AT, stream="stdout")),
    "another stream": (b"2026-03-02T12:00:00.318Z stdxxx F text", Line(payload=b"2026-03-02T12:00:00.318Z stdxxx F text")),
    "another tag": (b"2026-03-02T12:00:00.318Z stdout X text", Line(payload=b"2026-03-02T12:00:00.318Z stdout X text")),
    "no such day": (b"2026-02-31T12:00:00Z stdout F text", Line(payload=b"text", stream="stdout")),
    "a system log": (b"2026-03-02T12:00:00.318Z login-1 std: x", Line(payload=b"2026-03-02T12:00:00.318Z login-1 std: x")),
}


@pytest.mark.parametrize(("value", "line"), CONTAINER.values(), ids=CONTAINER)
def test_container_files(value: bytes, line: Line) -> None:
    """The process's own line, its stream, and whether it is a part."""
    assert registry.unwrap(value, ()) == [line]


def test_headers_name_the_file_of_a_container_line() -> None:
    """The runtime does not know where its file is; the shipper does, and its time stands before the runtime's."""
    headers = [("file", b"/var/log/pods/a/b/0.log"), ("offset", b"7"), ("host", b"gpu-001"), ("collected", b"1772452801000")]
    (found,) = registry.unwrap(b"2026-03-02T12:00:00.318Z stdout F text", headers)
    assert found == Line(
        payload=b"text", host="gpu-001", file="/var/log/pods/a/b/0.log", file_offset=7, collected_time=1_772_452_801_000, stream="stdout"
    )


@pytest.mark.parametrize("value", [b'{"log":"a"', b'{"log":"a","stream":"x","time":"y"}', b'{"log":7,"stream":"stdout","time":"y"}', b"{}"])
def test_no_line_of_docker(value: bytes) -> None:
    """What is not quite Docker's stays text."""
    assert container.docker(value) is None


@pytest.mark.parametrize("piece", [b"<38>", b"1 <38>", b"<38>1 ", b"<38>Mar  2 12:00:00 ", b"a.", b"[1]", b"9", b" "])
def test_hostile_megabyte(piece: bytes) -> None:
    """A megabyte made to send a pattern astray is read in linear time."""
    for start in (b"", b"<38>", b"<38>1 2026-03-02T12:00:00Z ", b"<38>Mar  2 12:00:00 ", b"12 ", b"2026-03-02T12:00:00Z stdout "):
        value = start + piece * (1_000_000 // len(piece))
        assert syslog_wire.ENVELOPE.unwrap(value, ()) is None or b"<" in value[:8]
        assert container.cri(value) is None
