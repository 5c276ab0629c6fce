"""A line that a container runtime wrote for a process: the process's own line out, its stream, and whether it is only a part.

    CRI      2026-03-02T12:00:00.318123456Z stdout F iteration 40        P: a part, more follows; F: a whole line, or the last part
    Docker   {"log":"iteration 40\\n","stream":"stderr","time":"2026-03-02T12:00:00.318123456Z"}     no \\n: a part

containerd and CRI-O write the first, Docker's json-file driver the second; both split lines at 16 KiB.  They come raw, when files below
/var/log/pods are shipped as they are, or as the text of a wrapper whose shipper was not told to take them apart.  The time is when the
runtime read the line.

Holds: what a process prints can look like such a line; then it loses the prefix and nothing else, since a stream is no name of anybody.
"""

import re
from collections.abc import Sequence

import msgspec

from pipeline.formats.envelopes.raw import said_by, without_line_end
from pipeline.formats.fields import zoned_time
from pipeline.formats.line import Headers, Line, Part

FOLDERS = ("/var/log/containers/", "/var/log/pods/", "/var/lib/docker/containers/")
_CRI = re.compile(
    rb"(20[0-9]{2}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?(?:Z|[+-][0-9]{2}:[0-9]{2}))"
    rb" (stdout|stderr) ([PF])(?::[^ ]{1,64})?(?: |$)"
)
_DOCKER_START = b'{"log":"'
_OPEN = Part()


class _Docker(msgspec.Struct, gc=False):
    log: str
    stream: str
    time: str


_decode = msgspec.json.Decoder(_Docker).decode


class Said(msgspec.Struct, frozen=True, gc=False):
    """What the runtime says of a line."""

    payload: bytes
    stream: str
    part: Part | None
    time: int | None


class ContainerLine:
    """The line of a container's log file, raw.  Docker's is an object, and read with the other objects."""

    name = "container"
    begins: Sequence[bytes] = (b"20",)

    def unwrap(self, value: bytes, headers: Headers) -> list[Line] | None:
        """One line."""
        said = cri(value)
        if said is None:
            return None
        host, program, file, offset, collected = said_by(headers)
        return [
            Line(
                payload=said.payload,
                host=host,
                program=program,
                file=file,
                file_offset=offset,
                collected_time=collected or said.time,
                truncated=said.part is not None,
                stream=said.stream,
                part=said.part,
            )
        ]


def cri(value: bytes) -> Said | None:
    """A line of containerd or CRI-O taken apart."""
    found = _CRI.match(value)
    if found is None:
        return None
    part = _OPEN if found[3] == b"P" else None
    return Said(without_line_end(value[found.end() :]), found[2].decode(), part, zoned_time(found[1].decode()))


def docker(value: bytes) -> Said | None:
    """A line of Docker's json-file driver taken apart."""
    if not value.startswith(_DOCKER_START):
        return None
    try:
        line = _decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if line.stream not in {"stdout", "stderr"}:
        return None
    part = None if line.log.endswith("\n") else _OPEN
    return Said(without_line_end(line.log.encode()), line.stream, part, zoned_time(line.time))


def inside(payload: bytes, file: str) -> Said | None:
    """What a wrapper's text is, if the file that it names is a container's."""
    return cri(payload) or docker(payload) if file.startswith(FOLDERS) else None


ENVELOPE = ContainerLine()
