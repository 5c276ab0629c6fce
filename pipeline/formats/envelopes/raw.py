"""A record whose value is the line itself; what is known of it stands in the headers.

    host       the machine that wrote the line           offset      of the line in its file, bytes
    source     the program                               collected   when the shipper read it, UTC milliseconds
    file       path of the file

`trainwatch replay` writes these, and any shipper can.  A header is believed only within bounds: a name that is too long or holds
control characters, or a number that is none, counts as absent, since a header never decides whether a line is kept.

Holds: every value is a raw line, so this envelope is asked last.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache

from pipeline.formats.fields import EVENT_TIME_MAX, EVENT_TIME_MIN
from pipeline.formats.line import Headers, Line

NAME_BYTES_MAX = 512
NUMBER_MAX = 2**63 - 1


class RawLine:
    """The line is the value."""

    name = "raw"
    begins: Sequence[bytes] = ()

    def unwrap(self, value: bytes, headers: Headers) -> list[Line]:
        """One line, without its line end."""
        payload = without_line_end(value)
        if not headers:
            return [Line(payload=payload)]
        host, program, file, offset, collected = said_by(headers)
        return [Line(payload=payload, host=host, program=program, file=file, file_offset=offset, collected_time=collected)]


def without_line_end(value: bytes) -> bytes:
    """The value without one LF, CR or CR LF at its end."""
    return value.removesuffix(b"\n").removesuffix(b"\r")


def said_by(headers: Headers) -> tuple[str, str, str, int | None, int | None]:
    """Host, program, file, offset and collected time; of a header that occurs twice the last one holds, as in Kafka clients."""
    if not headers:
        return "", "", "", None, None
    said = headers if isinstance(headers, Mapping) else dict(headers)
    get = said.get
    host, program, file = _names(_short(get("host")), _short(get("source")), _short(get("file")))
    return host, program, file, _number(get("offset")), sane_time(_number(get("collected")))


def sane_time(milliseconds: int | None) -> int | None:
    """A collected time, or None for one outside 2000 to 2100: ingest then takes Kafka's."""
    return milliseconds if milliseconds is not None and EVENT_TIME_MIN <= milliseconds < EVENT_TIME_MAX else None


def _short(data: bytes | None) -> bytes | None:
    """None: too long for a name, and for a cache, too."""
    return data if data and len(data) <= NAME_BYTES_MAX else None


@lru_cache(maxsize=8192)  # they come again and again
def _names(host: bytes | None, program: bytes | None, file: bytes | None) -> tuple[str, str, str]:
    return _name(host), _name(program), _name(file)


def _name(data: bytes | None) -> str:
    if data is None:
        return ""
    text = data.decode("utf-8", "replace")
    return text if text.isprintable() else ""


def _number(data: bytes | None) -> int | None:
    if not data or len(data) > 19 or not data.isdigit():
        return None
    number = int(data)
    return number if number <= NUMBER_MAX else None


ENVELOPE = RawLine()
