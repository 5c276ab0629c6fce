"""A JSON object that carries a line, and what its shipper says of it.

| shipper | line | file, offset | host, program | read at |
| --- | --- | --- | --- | --- |
| rsyslog (JSON template) | `message` | `file` | `host`, `program`, `procid` | `received_at`, else `@timestamp` |
| Filebeat | `message`, or `event.original` after a module | `log.file.path`, `log.offset` | `host.name` | `@timestamp` |
| Fluent Bit | `log` | | | `@timestamp`, seconds as a number |
| Vector | `message` | `file` | `host` | `timestamp` |
| syslog-ng | `MESSAGE` | `FILE_NAME` | `HOST`, `PROGRAM`, `PID` | `received_at`, else `ISODATE` |

An object that *is* the event (jobcomp, our probe) is not a wrapper, also when a field of it is called `message`: None is
answered, and the raw envelope hands the whole value on.

A system log line that rsyslog or syslog-ng took apart is put together again, as `<time> host program[pid]: message`, so that
one set of parsers reads it whether it came whole or in parts.  That happens only when the wrapper names a program, names no
file (a line tailed from a file is complete) and the message has no prefix of its own (a time, `type=`, `[`, `{`); the
kernel's `[12345.678901]` counts as text.  The composed line is the payload, and is what evidence cites.

Holds: a value that starts like a JSON object and is none raises DecodeError (NaN and Infinity are not JSON); of a doubled key
the last one holds; no field of a wrapper makes a line unreadable, it only counts as absent.
"""

import re
from collections.abc import Sequence
from typing import Any

from pipeline.formats.envelopes.raw import NAME_BYTES_MAX, NUMBER_MAX, said_by, sane_time, without_line_end
from pipeline.formats.fields import json_object, zoned_time
from pipeline.formats.line import Line

_JOBCOMP_START = re.compile(rb'\{"jobid":[0-9]')
_PROBE_START = b'{"trainwatch_probe":'
_LINE_KEYS = ("message", "MESSAGE", "msg", "log")
_COLLECTED_KEYS = ("received_at", "R_ISODATE", "@timestamp", "timestamp", "ISODATE")
_WRITTEN_KEYS = ("@timestamp", "ISODATE", "timestamp", "DATE", "received_at")

_ISO_START = r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}"
_BSD_START = r"[A-Z][a-z]{2} [ 0-9][0-9] [0-9]{2}:[0-9]{2}:[0-9]{2}"
_OWN_PREFIX = re.compile(rf" ?(?:<[0-9]{{1,3}}>|{_ISO_START}|{_BSD_START}|type=|node=|\{{|\[)")
_WRITTEN = re.compile(rf"(?:{_ISO_START}\S{{0,20}}|{_BSD_START})")
_WORD = re.compile(r"[^\s\[\]:]{1,255}")
_PID = re.compile(r"[0-9]{1,10}")


class JsonWrapper:
    """The line is a field of a JSON object."""

    name = "json_wrapper"

    def unwrap(self, value: bytes, headers: Sequence[tuple[str, bytes]]) -> list[Line] | None:
        """One line, or None for a value that is no object or is itself the event.  Raises DecodeError on broken JSON."""
        # `{'` opens the text of a Python dictionary, which frameworks print: a raw line.
        if value[:1] != b"{" or value[1:2] == b"'" or value.startswith(_PROBE_START) or _JOBCOMP_START.match(value):
            return None
        wrapper = json_object(value)
        if "trainwatch_probe" in wrapper or isinstance(wrapper.get("jobid"), int):
            return None
        message = _message(wrapper)
        if message is None:
            return None
        host, program, file, offset, collected = said_by(headers)
        host = _host(wrapper) or host
        program = _name(wrapper, "program", "PROGRAM", "SYSLOG_IDENTIFIER", "appname") or program
        log = wrapper.get("log")
        log = log if isinstance(log, dict) else {}
        path = _name(wrapper, "file", "FILE_NAME") or _nested(log.get("file"), "path")
        if program and not path:
            message = _composed(message, wrapper, host, program)
        return [
            Line(
                payload=without_line_end(message.encode()),
                host=host,
                program=program,
                file=path or file,
                file_offset=_offset(wrapper.get("offset"), log.get("offset"), offset),
                collected_time=_collected(wrapper) or collected,
                truncated=_truncated(wrapper, log),
            )
        ]


def _message(wrapper: dict[str, Any]) -> str | None:
    event = wrapper.get("event")
    if isinstance(event, dict) and isinstance(original := event.get("original"), str):
        return original
    for key in _LINE_KEYS:
        if isinstance(message := wrapper.get(key), str):
            return message
    return None


def _composed(message: str, wrapper: dict[str, Any], host: str, program: str) -> str:
    own = _OWN_PREFIX.match(message)
    if own is not None and not (program == "kernel" and own[0].endswith("[")):
        return message
    written = next((text for key in _WRITTEN_KEYS if isinstance(text := wrapper.get(key), str)), "")
    if not (_WRITTEN.fullmatch(written) and _WORD.fullmatch(program)):
        return message
    before = f"{written} {host} {program}" if _WORD.fullmatch(host) else f"{written} {program}"
    pid = next((text for key in ("procid", "PID", "_PID") if (text := str(wrapper.get(key, "")))), "")
    if _PID.fullmatch(pid):
        before = f"{before}[{pid}]"
    return f"{before}: {message.removeprefix(' ')}"


def _host(wrapper: dict[str, Any]) -> str:
    host = wrapper.get("host")
    if isinstance(host, dict):
        return _nested(host, "name") or _nested(host, "hostname")
    return _name(wrapper, "host", "HOST", "hostname", "_HOSTNAME")


def _collected(wrapper: dict[str, Any]) -> int | None:
    for key in _COLLECTED_KEYS:
        moment = wrapper.get(key)
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


def _truncated(wrapper: dict[str, Any], log: dict[str, Any]) -> bool:
    """Filebeat says so; Fluent Bit marks the first parts of a line that the container runtime split."""
    flags = log.get("flags")
    return (isinstance(flags, list) and "truncated" in flags) or wrapper.get("logtag") == "P" or wrapper.get("_p") == "P"


def _name(wrapper: dict[str, Any], *keys: str) -> str:
    for key in keys:
        if found := _text(wrapper.get(key)):
            return found
    return ""


def _nested(part: object, key: str) -> str:
    return _text(part.get(key)) if isinstance(part, dict) else ""


def _text(value: object) -> str:
    if isinstance(value, str) and value != "-" and len(value) <= NAME_BYTES_MAX and value.isprintable():
        return value
    return ""


ENVELOPE = JsonWrapper()
