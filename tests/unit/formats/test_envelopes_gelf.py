"""GELF: the line, and what is said beside it, as of the same record in JSON."""

from typing import Any

import orjson
import pytest

from pipeline.formats import registry
from pipeline.formats.line import Line, Part

AT = 1_772_452_800_318
ACCEPTED = "Accepted publickey for u012 from 10.0.0.7 port 5022 ssh2"


def unwrapped(**said: Any) -> Line:
    """The line of a message."""
    message = {"version": "1.1", "host": "login-1", "short_message": ACCEPTED, "timestamp": 1_772_452_800.318, **said}
    value = orjson.dumps({key: each for key, each in message.items() if each is not None})
    (line,) = registry.unwrap(value, ())
    assert line.beside == value
    return line


def test_a_message_of_a_program() -> None:
    """As syslog-ng sends it: the line is put together again, with its time."""
    line = unwrapped(_program="sshd", _pid=4711, _facility="auth", level=6)
    assert line.payload.decode() == f"2026-03-02T12:00:00.318+00:00 login-1 sshd[4711]: {ACCEPTED}"
    assert (line.host, line.program, line.tagged, line.file, line.collected_time) == ("login-1", "sshd", True, "", AT)


def test_a_line_of_a_file() -> None:
    """As Fluent Bit sends what it tails, with keys of its record behind one `_`."""
    line = unwrapped(_path="/var/log/auth.log", _offset=17)
    assert (line.payload.decode(), line.host, line.file, line.file_offset) == (ACCEPTED, "login-1", "/var/log/auth.log", 17)


def test_a_line_of_a_pod() -> None:
    """Objects of the record are flat in GELF; a split line is a part."""
    pod = {"_kubernetes_pod_name": "p", "_kubernetes_namespace_name": "n", "_kubernetes_pod_id": "u", "_kubernetes_container_name": "c"}
    line = unwrapped(_stream="stdout", _logtag="P", _kubernetes_host="gpu-001", _kubernetes_labels_app="x", **pod)
    assert (line.file, line.stream, line.part) == ("/var/log/pods/n_p_u/c/", "stdout", Part())


JOURNAL = {"__UID": "5017", "__EXE": "/usr/bin/logger", "__TRANSPORT": "syslog", "__HOSTNAME": "login-1", "_SYSLOG_IDENTIFIER": "sshd"}


def test_who_wrote_to_the_journal_is_known_by_the_journal_alone() -> None:
    """`_UID` is a field `UID` that anybody may add; the journal's own has two underscores."""
    assert unwrapped(**JOURNAL).program == "uid-5017"
    assert unwrapped(**JOURNAL, _UID="0", _EXE="/usr/sbin/sshd").program == "uid-5017"
    assert unwrapped(**{**JOURNAL, "__UID": "0"}).program == "sshd"


@pytest.mark.parametrize(
    ("said", "time"),
    [
        ({"timestamp": "1772452800.318"}, AT),
        ({"timestamp": 1_772_452_800}, AT - 318),
        ({"timestamp": None}, None),
        ({"timestamp": "x"}, None),
    ],
)
def test_when_it_was_sent(said: dict[str, Any], time: int | None) -> None:
    """Seconds, as a number or as text; anything else is no time."""
    assert unwrapped(**said).collected_time == time


def test_what_a_logger_says_of_its_code_is_no_file() -> None:
    """GELF 1.0 names the place in the program, and a facility of its own."""
    line = unwrapped(version="1.0", file="/srv/train.py", line=7, facility="sshd")
    assert (line.file, line.program, line.payload.decode()) == ("", "", ACCEPTED)


@pytest.mark.parametrize("full", ["", None, 7])
def test_the_short_message_stands_where_there_is_no_other(full: object) -> None:
    """And is the line."""
    assert unwrapped(full_message=full).payload.decode() == ACCEPTED


NOT = [
    {"short_message": "x"},
    {"short_message": 7, "version": "1.1"},
    {"short_message": "x", "version": "2"},
    {"short_message": "x", "version": []},
    {"short_message": "x", "version": {"a": 1}},
    {"x": "short_message", "version": "1.1"},
]


@pytest.mark.parametrize("said", NOT, ids=str)
def test_what_is_no_message_is_the_object_that_it_is(said: dict[str, Any]) -> None:
    """Other envelopes are asked."""
    value = orjson.dumps(said)
    (line,) = registry.unwrap(value, ())
    assert line.payload == value


@pytest.mark.parametrize(
    "more", [b'"_x":"\\ud800"', b'"_x":1e999', b'"_x":%d' % 10**30, b'"_x":[[[]]]', b'"_kubernetes_host":[]', b'"host":{}']
)
def test_no_field_makes_a_line_unreadable(more: bytes) -> None:
    """Whoever names things must not hide a line."""
    (line,) = registry.unwrap(b'{"version":"1.1","short_message":"x",%s}' % more, ())
    assert line.payload == b"x"


def test_a_host_is_a_name() -> None:
    """An object is none, whatever it holds."""
    assert unwrapped(host={"name": "gpu-099"}).host == ""


@pytest.mark.parametrize("more", [
    {"_jobid": 7}, {"_trainwatch_probe": 1}, {"_object_kind": "x"}, {"_node_state": "x"}, {"_event": "x", "_code": "x", "_uid": "x"},
    {"_log": "Accepted publickey for u099", "_stream": "stdout"},
])  # fmt: skip
def test_no_field_takes_the_place_of_the_line(more: dict[str, Any]) -> None:
    """What says in an object of another shipper that it is an event, or where the line is, is in GELF a field like others."""
    assert unwrapped(**more).payload.decode() == ACCEPTED
