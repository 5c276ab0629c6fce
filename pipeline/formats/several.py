"""A line that holds several in; each of them out.

Filebeat's `multiline`, and its like, join what follows a line to it, by a pattern that people write for tracebacks: in a job's output
that also joins steps, cancellations and torchrun's block to whatever stood before them.  Some programs send all records of an audit event
at once.  The format that reads the first line would take the rest for a part of it.

    joined     iteration 40 ..\\n===..\\ntrain.py FAILED\\n  rank : 5 ..       offset 1000
    apart      iteration 40 ..    ===..    train.py FAILED    rank : 5 ..   offsets 1000, 1017, ..

Taken apart are lines of jobs, and audit records where each line is one.  Not what else a daemon writes: log daemons leave line ends in
what any user may send, and behind one he could speak for another program.  A Python traceback stays whole, as its format reads it; so does
an object that is printed over several lines.

Holds: no byte is lost but line ends; of a line whose place in its file is known each piece's is; at most as many pieces as lines.
"""

import msgspec

from pipeline.errors import RecordTooLarge
from pipeline.formats.envelopes import json_lines
from pipeline.formats.line import ITEMS_MAX, Line

_TRACEBACK = b"Traceback (most recent call last)"
_AUDIT = (b"type=", b"node=")


def lines_of(line: Line, *, of_job: bool) -> list[Line]:
    """The lines that it holds, or itself.  `of_job`: it is the output of a job.  Raises RecordTooLarge for more than ITEMS_MAX."""
    payload = line.payload
    if payload.find(b"\n") < 0 or line.part is not None or line.broken:
        return [line]
    texts = payload.split(b"\n")
    if len(texts) > 2 * ITEMS_MAX:
        raise RecordTooLarge(f"{len(texts)} lines in a record, at most {ITEMS_MAX}")
    if of_job:
        if payload[:1] == b"{" and payload[1:2] != b"'" and not json_lines.are(payload):
            return [line]
    elif not all(text.startswith(_AUDIT) for text in texts if text):
        return [line]
    pieces, place = list[Line](), 0
    for text in _with_tracebacks(texts):
        if text and not text.isspace():
            offset = None if line.file_offset is None else line.file_offset + place
            pieces.append(msgspec.structs.replace(line, payload=text.removesuffix(b"\r"), file_offset=offset, truncated=False))
        place += len(text) + 1
    if line.truncated and pieces:
        pieces[-1] = msgspec.structs.replace(pieces[-1], truncated=True)
    return pieces or [line]


def _with_tracebacks(texts: list[bytes]) -> list[bytes]:
    """The same lines, but each traceback one: what is indented behind its first line, and the error behind that."""
    found, begun = list[list[bytes]](), False
    for text in texts:
        if begun:
            found[-1].append(text)
            begun = text[:1] == b" "
        else:
            found.append([text])
            begun = text.startswith(_TRACEBACK)
    return [b"\n".join(each) for each in found]
