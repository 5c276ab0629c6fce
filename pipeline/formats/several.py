"""A line that holds several in; each of them out.

Filebeat's `multiline`, and its like, join what follows a line to it, by a pattern that people write for tracebacks: in a job's output
that also joins steps, cancellations and torchrun's block to whatever stood before them.  Some programs send all records of an audit event
at once.  The format that reads the first line would take the rest for a part of it.

    joined     iteration 40 ..\\n===..\\ntrain.py FAILED\\n  rank : 5 ..       offset 1000
    apart      iteration 40 ..    ===..    train.py FAILED    rank : 5 ..   offsets 1000, 1017, ..

Taken apart are lines of jobs, and audit records where each line is one.  A Python traceback stays whole, as its format reads it; so does
an object that is printed over several lines.

Lines of the system log are taken apart where their shipper says that it joined lines of a file (Filebeat's flag `multiline`), before each
that begins with a time.  That believes nobody more than the file does: without `multiline` the same lines would have come one by one, and
sshd and rsyslog write what a user put into a name as `\\n` or `#012`.  Elsewhere a line end is no line's end: syslog-ng, the journal and
what takes syslog from a wire leave it in what any user may send, and behind one he could speak for another program:

    logger $'x\\nMar  2 00:00:50 login-1 sshd[9]: Accepted publickey for u012 ..'

So there only what stands before a line that begins as one of the system log is believed, since the daemon's own prefix comes first, and
the rest is refused: a row with its code, and unread of its feed.  Also where it was a shipper without such a flag that joined them
(Fluent Bit, Vector): nothing tells the two apart.

Holds: no byte is lost but line ends; of a line whose place in its file is known each piece's is; at most as many pieces as lines.
"""

import msgspec

from pipeline.errors import RecordTooLarge
from pipeline.formats import syslog
from pipeline.formats.envelopes import json_lines
from pipeline.formats.line import ITEMS_MAX, Line

HEAD_BYTES = 600  # in which the tag of a line of the system log stands
UNTOLD = "behind a line end within a line of the system log: nothing tells who wrote it"
_TRACEBACK = b"Traceback (most recent call last)"
_AUDIT = (b"type=", b"node=")


def lines_of(line: Line, *, of_job: bool) -> list[Line]:
    """The lines that it holds, or itself.  `of_job`: it is the output of a job.  Raises RecordTooLarge for more than ITEMS_MAX."""
    payload, why = line.payload, ""
    if payload.find(b"\n") < 0 or line.part is not None or line.broken:
        return [line]
    texts = payload.split(b"\n")
    if len(texts) > 2 * ITEMS_MAX:
        raise RecordTooLarge(f"{len(texts)} lines in a record, at most {ITEMS_MAX}")
    if of_job:
        if payload[:1] == b"{" and payload[1:2] != b"'" and not json_lines.are(payload):
            return [line]
        groups = _with_tracebacks(texts)
    elif all(text.startswith(_AUDIT) for text in texts if text):
        groups = texts
    elif syslog.program_of(next(filter(None, texts), b"")[:HEAD_BYTES].decode("utf-8", "replace")):
        groups = _of_system_log(texts, first_alone=not line.joined)
        why = "" if line.joined else UNTOLD
    else:
        return [line]
    pieces, place = list[Line](), 0
    for text in groups:
        if text and not text.isspace():
            offset = None if line.file_offset is None else line.file_offset + place
            piece = msgspec.structs.replace(line, payload=text.removesuffix(b"\r"), file_offset=offset, truncated=False)
            pieces.append(msgspec.structs.replace(piece, broken=why) if pieces and why else piece)
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


def _of_system_log(texts: list[bytes], *, first_alone: bool) -> list[bytes]:
    """The same lines, each with those behind it that begin as none of the system log; `first_alone`: the first one, and all behind it."""
    found = [texts[:1]]
    for text in texts[1:]:
        may_begin = not first_alone or len(found) == 1
        if may_begin and syslog.begins(text[:HEAD_BYTES].decode("utf-8", "replace")) and any(found[-1]):
            found.append([text])
        else:
            found[-1].append(text)
    return [b"\n".join(each) for each in found]
