"""The two values between a record and its events: the line that an envelope unwraps, and what the settings say of its source."""

from collections.abc import Mapping, Sequence
from typing import Protocol
from zoneinfo import ZoneInfo

import msgspec

from pipeline.model.events import Parsed
from pipeline.model.source import Source

Headers = Mapping[str, bytes] | Sequence[tuple[str, bytes]]  # of a record; of a name that comes twice the last one holds


class Line(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One payload line and what its envelope says of it.  Nothing here is believed over what the settings pin."""

    payload: bytes  # without line end
    host: str = ""
    program: str = ""
    file: str = ""
    file_offset: int | None = None
    collected_time: int | None = None  # UTC ms, shipper's clock
    truncated: bool = False


class Reading(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What a payload format may know beside the line: all of it from settings and the record, never from a clock."""

    zone: ZoneInfo  # of times without offset
    reference_time: int  # UTC ms: collected time, else Kafka's; for lines without year
    host: str = ""
    job: str = ""  # from the file name
    json_keys: Mapping[str, Sequence[str]] | None = None  # what a training program calls its step, loss ...


class Envelope(Protocol):
    """How a shipper wraps lines."""

    name: str

    def unwrap(self, value: bytes, headers: Headers) -> list[Line] | None:
        """The lines of a record, or None when this is not the envelope's shape.  Raises DecodeError."""


class Payload(Protocol):
    """One log format.

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
