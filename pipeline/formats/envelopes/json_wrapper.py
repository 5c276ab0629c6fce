"""A JSON object that carries a line, and what its shipper says of it.

| shipper | line | file, offset | host, program | read at |
| --- | --- | --- | --- | --- |
| rsyslog (JSON template) | `message` | `file` | `host`, `program`, `procid` | `received_at`, else `@timestamp` |
| Filebeat | `message`, or `event.original` after a module | `log.file.path`, `log.offset` | `host.name` | `@timestamp` |
| Fluent Bit | `log` | | | `@timestamp`, seconds as a number |
| Vector | `message` | `file` | `host` | `timestamp` |
| syslog-ng | `MESSAGE` | `FILE_NAME` | `HOST`, `PROGRAM`, `PID` | `received_at`, else `ISODATE` |

An object that *is* the event (jobcomp, our probe, a webhook) is not a wrapper, also when a field of it is called `message`: None is
answered, and the raw envelope hands the whole value on.

A system log line that rsyslog or syslog-ng took apart is put together again, as `<time> host program[pid]: message`, so that
one set of parsers reads it whether it came whole or in parts.  That happens only when the wrapper names a program, names no
file (a line tailed from a file is complete) and the message has no prefix of its own (a time, `type=`, `[`, `{`); the
kernel's `[12345.678901]` counts as text.  The composed line is the payload, and is what evidence cites.

Holds: a value that starts like a JSON object and is none raises DecodeError (NaN and Infinity are not JSON); of a doubled key
the last one holds; no field of a wrapper makes a line unreadable, it only counts as absent.
"""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import msgspec
from msgspec import UNSET

from pipeline.errors import DecodeError
from pipeline.formats.envelopes.raw import NAME_BYTES_MAX, NUMBER_MAX, said_by, sane_time, without_line_end
from pipeline.formats.fields import zoned_time
from pipeline.formats.line import Headers, Line

_JOBCOMP_START = re.compile(rb'\{"jobid":[0-9]')
_PROBE_START = b'{"trainwatch_probe":'
_NOTHING: Mapping[str, Any] = MappingProxyType({})

_ISO_START = r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}"
_BSD_START = r"[A-Z][a-z]{2} [ 0-9][0-9] [0-9]{2}:[0-9]{2}:[0-9]{2}"
_OWN_PREFIX = re.compile(rf" ?(?:<[0-9]{{1,3}}>|{_ISO_START}|{_BSD_START}|type=|node=|\{{|\[)")
_WRITTEN = re.compile(rf"(?:{_ISO_START}\S{{0,20}}|{_BSD_START})")
_WORD = re.compile(r"[^\s\[\]:]{1,255}")
_PID = re.compile(r"[0-9]{1,10}")


class _Wrapper(msgspec.Struct, gc=False):
    """The keys that shippers use; the others are skipped.  A value of an unexpected type counts as absent."""

    trainwatch_probe: Any = UNSET
    object_kind: Any = None
    involved: Any = msgspec.field(default=None, name="involvedObject")
    node_state: Any = None
    code: Any = None
    uid: Any = None
    jobid: Any = None
    event: Any = None
    message: Any = None
    message_capital: Any = msgspec.field(default=None, name="MESSAGE")
    msg: Any = None
    log: Any = None
    host: Any = None
    host_capital: Any = msgspec.field(default=None, name="HOST")
    hostname: Any = None
    hostname_journal: Any = msgspec.field(default=None, name="_HOSTNAME")
    program: Any = None
    program_capital: Any = msgspec.field(default=None, name="PROGRAM")
    identifier: Any = msgspec.field(default=None, name="SYSLOG_IDENTIFIER")
    appname: Any = None
    procid: Any = None
    pid_capital: Any = msgspec.field(default=None, name="PID")
    pid_journal: Any = msgspec.field(default=None, name="_PID")
    file: Any = None
    file_name: Any = msgspec.field(default=None, name="FILE_NAME")
    offset: Any = None
    received_at: Any = None
    received: Any = msgspec.field(default=None, name="R_ISODATE")
    at_timestamp: Any = msgspec.field(default=None, name="@timestamp")
    timestamp: Any = None
    written: Any = msgspec.field(default=None, name="ISODATE")
    date: Any = msgspec.field(default=None, name="DATE")
    logtag: Any = None
    part: Any = msgspec.field(default=None, name="_p")


_decode = msgspec.json.Decoder(_Wrapper).decode


class JsonWrapper:
    """The line is a field of a JSON object."""

    name = "json_wrapper"

    def unwrap(self, value: bytes, headers: Headers) -> list[Line] | None:
        """One line, or None for a value that is no object or is itself the event.  Raises DecodeError on broken JSON."""
        # `{'` opens the text of a Python dictionary, which frameworks print: a raw line.
        if value[:1] != b"{" or value[1:2] == b"'" or value.startswith(_PROBE_START) or _JOBCOMP_START.match(value):
            return None
        try:
            wrapper = _decode(value)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise DecodeError(f"not JSON: {error}") from error
        if wrapper.trainwatch_probe is not UNSET or isinstance(wrapper.jobid, int) or _is_event(wrapper):
            return None
        message = _message(wrapper)
        if message is None:
            return None
        host, program, file, offset, collected = said_by(headers)
        host = _host(wrapper) or host
        program = _first(wrapper.program, wrapper.program_capital, wrapper.identifier, wrapper.appname) or program
        log = wrapper.log if isinstance(wrapper.log, dict) else _NOTHING
        path = _first(wrapper.file, wrapper.file_name) or _nested(log.get("file"), "path")
        if program and not path:
            message = _composed(message, wrapper, host, program)
        return [
            Line(
                payload=without_line_end(message.encode()),
                host=host,
                program=program,
                file=path or file,
                file_offset=_offset(wrapper.offset, log.get("offset"), offset),
                collected_time=_collected(wrapper) or collected,
                truncated=_truncated(wrapper, log),
            )
        ]


def _is_event(wrapper: _Wrapper) -> bool:
    """GitLab's webhooks, Teleport's and Kubernetes' events and torch elastic's have a message of their own."""
    if isinstance(wrapper.object_kind, str) or isinstance(wrapper.involved, dict) or isinstance(wrapper.node_state, str):
        return True
    return isinstance(wrapper.event, str) and isinstance(wrapper.code, str) and isinstance(wrapper.uid, str)


def _message(wrapper: _Wrapper) -> str | None:
    event = wrapper.event
    if isinstance(event, dict) and isinstance(original := event.get("original"), str):
        return original
    for message in (wrapper.message, wrapper.message_capital, wrapper.msg, wrapper.log):
        if isinstance(message, str):
            return message
    return None


def _composed(message: str, wrapper: _Wrapper, host: str, program: str) -> str:
    own = _OWN_PREFIX.match(message)
    if own is not None and not (program == "kernel" and own[0].endswith("[")):
        return message
    times = (wrapper.at_timestamp, wrapper.written, wrapper.timestamp, wrapper.date, wrapper.received_at)
    written = next((time for time in times if isinstance(time, str)), "")
    if not (_WRITTEN.fullmatch(written) and _WORD.fullmatch(program)):
        return message
    before = f"{written} {host} {program}" if _WORD.fullmatch(host) else f"{written} {program}"
    pid = next((text for each in (wrapper.procid, wrapper.pid_capital, wrapper.pid_journal) if (text := str(each or ""))), "")
    if _PID.fullmatch(pid):
        before = f"{before}[{pid}]"
    return f"{before}: {message.removeprefix(' ')}"


def _host(wrapper: _Wrapper) -> str:
    host = wrapper.host
    if isinstance(host, dict):
        return _nested(host, "name") or _nested(host, "hostname")
    return _first(host, wrapper.host_capital, wrapper.hostname, wrapper.hostname_journal)


def _collected(wrapper: _Wrapper) -> int | None:
    for moment in (wrapper.received_at, wrapper.received, wrapper.at_timestamp, wrapper.timestamp, wrapper.written):
        if isinstance(moment, str):
            found = zoned_time(moment)
        elif isinstance(moment, int | float) and 0 <= moment < NUMBER_MAX:
            found = sane_time(round(moment * 1000))
        else:
            continue
        if found is not None:
            return found
    return None


def _offset(*offsets: object) -> int | None:
    return next((offset for offset in offsets if type(offset) is int and 0 <= offset <= NUMBER_MAX), None)


def _truncated(wrapper: _Wrapper, log: Mapping[str, Any]) -> bool:
    """Filebeat says so; Fluent Bit marks the first parts of a line that the container runtime split."""
    flags = log.get("flags")
    return (isinstance(flags, list) and "truncated" in flags) or wrapper.logtag == "P" or wrapper.part == "P"


def _first(*values: object) -> str:
    for value in values:
        if value is not None and (found := _text(value)):
            return found
    return ""


def _nested(part: object, key: str) -> str:
    return _text(part.get(key)) if isinstance(part, dict) else ""


def _text(value: object) -> str:
    if isinstance(value, str) and value != "-" and len(value) <= NAME_BYTES_MAX and value.isprintable():
        return value
    return ""


ENVELOPE = JsonWrapper()
