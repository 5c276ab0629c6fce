"""A line of an S3 server access log in; one ObjectAccess out.

    <owner> ckpt [02/Mar/2026:19:40:41 +0000] 10.0.0.7 arn:aws:iam::1:user/u017 3E57427F REST.DELETE.OBJECT run7/step100
    "DELETE /run7/step100 HTTP/1.1" 204 - - 4406583 41 - "-" "aws-cli/2" - ..

Fields are separated by blanks; those after the status differ by age of the log and are not needed, but the sizes.  What says who did what
stands before the request's URI and the agent, which the client writes.  Delivery is best effort and hours late, so absence says nothing.

The requester is an ARN, a canonical user id, or `-` for nobody.  The short name in an ARN is its bearer's choice, or another account's: it
only passes through.  Keys are URL-encoded.  A request that
deletes many objects has a line `BATCH.DELETE.OBJECT` for each under one request id, so the key is part of the own id.

Holds: linear time; an offset stands in each time.  Not verified on real lines: no sample exists here.
Layout: https://docs.aws.amazon.com/AmazonS3/latest/userguide/LogFormat.html
"""

import re
from collections.abc import Sequence
from urllib.parse import unquote

from pipeline.errors import DecodeError, UnknownFormat
from pipeline.formats.choosing import DIGITS, TEXT
from pipeline.formats.fields import bounded_int, text_of, utc_time
from pipeline.formats.json_event import NUMBER_MAX, TEXT_CHARACTERS_MAX
from pipeline.formats.line import Line, Reading
from pipeline.model.events import ObjectAccess, Parsed
from pipeline.model.source import Source

_MARK = re.compile(rb"(?:[0-9a-f]{64}|-) \S{1,255} \[[0-9]{2}/[A-Z]")
_HEAD = re.compile(
    r"(?:[0-9a-f]{64}|-) (\S{1,255}) \[([0-9]{2})/([A-Z][a-z]{2})/([0-9]{4}):([0-9:]{8}) ([+-][0-9]{4})\] "
    r"(\S{1,255}) (\S{1,2048}) (\S{1,255}) ([A-Z0-9]{2,10}\.[A-Za-z0-9_.]{1,100}) (\S{1,8192}) "
)
_REST = re.compile(
    r'(?:-|"[^"]*") (-|[0-9]{3}) (\S{1,255}) (?:-|[0-9]{1,19}) (-|[0-9]{1,19}) \S{1,20} \S{1,20} (?:-|"[^"]*") (?:-|"([^"]*)")'
)
_MONTHS = {
    name: number
    for number, name in enumerate(("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"), start=1)
}
# By method and kind of resource; the interfaces REST, BATCH, S3, SOAP and WEBSITE say the same with them.
_ACTIONS = {
    "DELETE.OBJECT": "deleted", "POST.MULTI_OBJECT_DELETE": "deleted", "EXPIRE.OBJECT": "deleted", "CREATE.DELETEMARKER": "deleted",
    "DELETE.BUCKET": "deleted", "PUT.OBJECT": "written", "POST.OBJECT": "written", "COPY.OBJECT": "written", "COPY.PART": "written",
    "PUT.PART": "written", "POST.UPLOAD": "written", "POST.UPLOADS": "written", "GET.OBJECT": "read", "HEAD.OBJECT": "read",
    "COPY.OBJECT_GET": "read", "COPY.PART_GET": "read", "GET.BUCKET": "listed", "PUT.ACL": "attributes",
    "PUT.OBJECT_TAGGING": "attributes", "PUT.BUCKETPOLICY": "attributes", "DELETE.BUCKETPOLICY": "attributes",
    "PUT.LIFECYCLE": "attributes", "PUT.VERSIONING": "attributes",
}  # fmt: skip


class S3Access:
    """Lines of the server access log."""

    name = "s3_access"
    source = Source.S3_ACCESS
    programs = ("s3", "aws")
    shape = DIGITS + b"abcdef", rb"[0-9a-f]{8}.{56} [^ ]{1,255} \[[0-9]{2}/[A-Z]"
    first_bytes = TEXT

    def claims(self, payload: bytes) -> bool:
        """The owner's id, a bucket and a time in brackets."""
        return _MARK.match(payload) is not None

    def parse(self, line: Line, reading: Reading) -> Sequence[Parsed]:  # noqa: ARG002 - each line has its offset
        """One access.  Raises DecodeError for a time that is none."""
        text = text_of(line.payload)
        head = _HEAD.match(text)
        if head is None:
            raise UnknownFormat("no line of an S3 access log")
        bucket, day, month, year, clock, offset, address, requester, request, operation, encoded = head.groups()
        if month not in _MONTHS:
            raise DecodeError("no such month")
        time = utc_time(f"{year}-{_MONTHS[month]:02d}-{day}T{clock}{offset}")
        rest = _REST.match(text, head.end())
        status, code, size, agent = rest.groups() if rest else ("-", "-", "-", None)
        key = "" if encoded == "-" else unquote(encoded, errors="replace")[:TEXT_CHARACTERS_MAX]
        return (
            Parsed(
                source=Source.S3_ACCESS,
                event_time=time,
                own_id=f"{request}/{operation}/{encoded[:TEXT_CHARACTERS_MAX]}" if request != "-" else "",
                body=ObjectAccess(
                    action=_ACTIONS.get(operation.partition(".")[2], "other"),
                    operation=operation,
                    path=f"s3://{bucket}/{key}",
                    user="" if requester == "-" else requester,
                    address="" if address == "-" else address,
                    agent=(agent or "")[:TEXT_CHARACTERS_MAX],
                    success=None if status == "-" else status < "400",
                    code=code if code != "-" else "",
                    size_bytes=None if size == "-" else bounded_int(size, NUMBER_MAX),
                ),
                unmapped={"requester_name": requester.rpartition("/")[2]} if requester.startswith("arn:") and "/" in requester else {},
            ),
        )


FORMAT = S3Access()
