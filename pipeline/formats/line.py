"""The two values between a record and its events: the line that an envelope unwraps, and what the settings say of its source."""

from collections.abc import Mapping, Sequence
from typing import Protocol
from zoneinfo import ZoneInfo

import msgspec

from pipeline.model.events import Parsed
from pipeline.model.source import Source

Headers = Mapping[str, bytes] | Sequence[tuple[str, bytes]]  # of a record; of a name that comes twice the last one holds


ITEMS_MAX = 10_000  # lines of one record; one with more is a dead letter, since a row's number in its record has 16 bits


# What the shipper says beside a line: its object, or the attributes of an OpenTelemetry resource; of a stored line, its cluster.
Beside = bytes | Mapping[str, object] | str | None


ROOT = "root"  # the log daemon tells that root, or the kernel, sent the line, under whatever name
ANYBODY = "anybody"  # it came by the system log, which tells no such thing


class Part(msgspec.Struct, frozen=True, gc=False):
    """One piece of a line that a container runtime split, at 16 KiB as a rule.

    The pieces of a line share the id where there is one; else they follow one another in their file and stream, and the piece that ends
    the line is said to be nothing but a whole line.
    """

    id: str = ""
    ordinal: int | None = None  # counted by the runtime
    last: bool = False


class Line(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One payload line and what its envelope says of it.  Nothing here is believed over what the settings pin."""

    payload: bytes  # without line end
    host: str = ""
    program: str = ""
    tagged: bool = False  # the program is what the line's sender called himself, which is anybody's word
    writer: str = ""  # ROOT, ANYBODY; empty: only a prefix of the line itself can tell
    file: str = ""
    file_offset: int | None = None
    collected_time: int | None = None  # UTC ms, shipper's clock
    truncated: bool = False  # there is more of it: cut for good, or the next part
    joined: bool = False  # of lines of a file, by its shipper, which says so
    stream: str = ""  # of a container: stdout or stderr
    part: Part | None = None
    beside: Beside = None
    broken: str = ""  # why the envelope could not read this item of a batch; it is refused, its neighbours are not


class Reading(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What a payload format may know beside the line: all of it from settings and the record, never from a clock."""

    zone: ZoneInfo  # of times without offset
    reference_time: int  # UTC ms: collected time, else Kafka's; for lines without year
    host: str = ""
    job: str = ""  # from the file name
    json_keys: Mapping[str, Sequence[str]] | None = None  # what a training program calls its step, loss ...
    columns: Sequence[str] = ()  # of a list whose rows do not name them


class Envelope(Protocol):
    """How a shipper wraps lines."""

    name: str
    begins: Sequence[bytes]  # of one or two bytes: a value of this shape begins with one of them; empty: with any

    def unwrap(self, value: bytes, headers: Headers) -> list[Line] | None:
        """The lines of a record, or None when this is not the envelope's shape.  Raises DecodeError or RecordTooLarge.

        No lines: known, and holds none.  Takes linear time in the length of the value, whose author may be an attacker.
        """


class Payload(Protocol):
    """One log format.

    It may say of its lines what saves asking it, or asks it first: `begins`, `shape`, `first_bytes`, `in_object` (choosing.py).
    `programs` are parts of names of programs after whose syslog frame its lines are believed (registry.py); without, they are not.
    Neither method may take more than linear time in the length of the line: its author may be an attacker.
    """

    name: str
    source: Source

    def claims(self, payload: bytes) -> bool:
        """Cheaply: does this look like mine?  May be wrong; `parse` decides."""

    def parse(self, line: Line, reading: Reading) -> Sequence[Parsed]:
        """The events of the line; empty: known and of no interest (a header line).

        Raises a RejectedRecord: UnknownFormat when the line is not this format's after all (the next format is asked), DecodeError
        or SchemaMismatch when it is this format's and broken.
        """
