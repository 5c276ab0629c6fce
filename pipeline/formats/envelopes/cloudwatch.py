"""What a subscription of CloudWatch Logs sends in; its log events out.

    {"messageType":"DATA_MESSAGE","owner":"..","logGroup":"/aws/eks/c1/cluster","logStream":"kube-apiserver-audit-0a1b","subscriptionFilters":[..],
     "logEvents":[{"id":"..","timestamp":1772452800318,"message":"{\\"kind\\":\\"Event\\",..}"},..]}

    {"awslogs":{"data":"H4sIAAAAAAAA/.."}}          the same as a function gets it: compressed, in base64

EKS sends its audit events so.  The file of a line is `<log group>/<log stream>`.  Subscriptions compress what they send (compressed.py); a
CONTROL_MESSAGE, which only asks whether anybody is there, has no lines.

Holds: at most ITEMS_MAX events; an event without a message is refused alone.
"""

import binascii
from collections.abc import Sequence
from typing import Any

import msgspec

from pipeline.errors import DecodeError, RecordTooLarge
from pipeline.formats.envelopes.compressed import inflated
from pipeline.formats.envelopes.json_lines import decoded
from pipeline.formats.envelopes.raw import said_by, without_line_end
from pipeline.formats.envelopes.said import moment, text
from pipeline.formats.line import ITEMS_MAX, Headers, Line

HEAD_BYTES = 512  # in which the type of the message stands


class _Batch(msgspec.Struct, gc=False):
    type: str = msgspec.field(name="messageType")
    events: list[Any] = msgspec.field(name="logEvents")
    group: Any = msgspec.field(default=None, name="logGroup")
    stream: Any = msgspec.field(default=None, name="logStream")


class _Data(msgspec.Struct, gc=False):
    data: str


class _Invocation(msgspec.Struct, gc=False):
    awslogs: _Data


_decode = msgspec.json.Decoder(_Batch).decode
_decode_invocation = msgspec.json.Decoder(_Invocation).decode
_INVOCATION = b'"awslogs"'


class CloudWatch:
    """The log events of a subscription."""

    name = "cloudwatch"
    begins: Sequence[bytes] = (b"{",)
    keys: Sequence[str] = ("messageType", "awslogs")

    def unwrap(self, value: bytes, headers: Headers) -> list[Line] | None:
        """A line a log event."""
        if value[:1] == b"{" and _INVOCATION in value[:HEAD_BYTES]:
            value = _handed_over(value)
        if value[:1] != b"{" or b'"messageType"' not in value[:HEAD_BYTES] or b'"logEvents"' not in value:
            return None
        batch = decoded(_decode, value)
        if batch is None:
            raise DecodeError("no message of CloudWatch Logs, or one that was cut")
        if batch.type == "CONTROL_MESSAGE":
            return []
        if len(batch.events) > ITEMS_MAX:
            raise RecordTooLarge(f"{len(batch.events)} log events in a record, at most {ITEMS_MAX}")
        host, program, file, _, collected = said_by(headers)
        group, stream = text(batch.group), text(batch.stream)
        file = f"{group}/{stream}" if group else file
        lines = []
        for event in batch.events:
            message = event.get("message") if isinstance(event, dict) else None
            if not isinstance(message, str):
                lines.append(Line(payload=b"", host=host, file=file, broken="a log event without a message"))
                continue
            read_at = moment(event.get("timestamp")) or collected
            lines.append(Line(payload=without_line_end(message.encode()), host=host, program=program, file=file, collected_time=read_at))
        return lines


def _handed_over(value: bytes) -> bytes:
    """The message inside of what a function gets; the value itself when it is something else."""
    invocation = decoded(_decode_invocation, value)
    if invocation is None:
        return value
    try:
        return inflated(binascii.a2b_base64(invocation.awslogs.data, strict_mode=True))
    except ValueError as error:
        raise DecodeError(f"awslogs.data is no base64: {error}") from error


ENVELOPE = CloudWatch()
