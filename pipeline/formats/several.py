"""A line that holds several in; each of them out.

Filebeat's `multiline`, and its like, join what follows a line to it, by a pattern that people write for tracebacks: in a job's output
that also joins steps, cancellations and torchrun's block to whatever stood before them.  Some programs send all records of an audit event
at once.  The format that reads the first line would take the rest for a part of it.

    joined     iteration 40 ..\\n===..\\ntrain.py FAILED\\n  rank : 5 ..       offset 1000
    apart      iteration 40 ..    ===..    train.py FAILED    rank : 5 ..   offsets 1000, 1017, ..

Progress bars end without a line end, so that what is printed next stands on their line; what Slurm and torchrun print is a line of its own
there, too, or a cancel would be the fortieth step:

    12%|#2   | 40/333 [00:51<06:17,  0.78it/s]slurmstepd: error: *** JOB 7 ON gpu-001 CANCELLED AT 2026-03-02T19:40:41 ***

Taken apart are lines of jobs, and audit records where each line is one.  A Python traceback stays whole, as its format reads it; so does
an object that is printed over several lines.

Lines of the system log are taken apart where their shipper says that it joined lines of a file (Filebeat's flag `multiline`), before each
that begins with a time.  That believes nobody more than the file does: without `multiline` the same lines would have come one by one, and
sshd and rsyslog write what a user put into a name as `\\n` or `#012`.  Elsewhere a line end is not a line's end: syslog-ng, the journal and
what takes syslog from a wire leave it in what any user may send, and after one he could speak for another program:

    logger $'x\\nMar  2 00:00:50 login-1 sshd[9]: Accepted publickey for u012 ..'

So there only what stands before a line that begins as one of the system log is believed, since the daemon's own prefix comes first, and
the rest is refused: a row with its code, and unread of its feed.  Also where it was a shipper without such a flag that joined them
(Fluent Bit, Vector): nothing tells the two apart.  The same holds of what other daemons write (accounting, audit logs of storage), where
a line begins as one that a format claims: a relay that sends a whole file as one value, or lines of several, is told so, and none of them
becomes a part of the name of the first.

Holds: no byte is lost but line ends; of a line whose place in its file is known each piece's is; at most two pieces a line, since who
prints a great many in one would have all that came with it refused.
"""

import re
from collections.abc import Callable

import msgspec

from pipeline.errors import RecordTooLarge
from pipeline.formats import registry, syslog
from pipeline.formats.envelopes import json_lines
from pipeline.formats.line import ITEMS_MAX, Line
from pipeline.model.source import FAMILIES, Source

HEAD_BYTES = 600  # in which the tag of a line of the system log stands
UNTOLD = "behind a line end within another line: nothing tells who wrote it"
_TRACEBACK = b"Traceback (most recent call last)"
_AUDIT = (b"type=", b"node=")
_GLUED = re.compile(
    rb"\](?=slurmstepd: |srun: |(?:INFO|WARNING|ERROR):torch\.|[IWEF][0-9]{4} [0-9]{2}:|Traceback \(most recent call last\))"
)


def may_be(payload: bytes) -> bool:
    """May it be several lines, if it is the output of a job?"""
    return b"\n" in payload or _glued(payload) > 0


def lines_of(line: Line, *, of_job: bool, allowed: frozenset[Source] = frozenset(Source), pinned: str = "") -> list[Line]:
    """The lines that it holds, or itself.  `of_job`: it is the output of a job.  Raises RecordTooLarge for more than ITEMS_MAX.

    `allowed`, `pinned`: as `registry.parse` takes them.
    """
    payload, why = line.payload, ""
    if line.part is not None or line.broken or not (may_be(payload) if of_job else b"\n" in payload):
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
    elif begins := _begins(next((text for text in texts if text and not text.isspace()), b""), allowed, pinned):
        groups = _of_daemon(texts, begins, first_alone=not line.joined)
        why = "" if line.joined else UNTOLD
    else:
        return [line]
    pieces, place = list[Line](), 0
    for text, gap in (each for group in groups for each in (_unglued(group) if of_job else [(group, 1)])):
        if text and not text.isspace():
            bare = text.removesuffix(b"\r") if of_job else text.strip(b"\r\n")  # a bar begins with one
            offset = None if line.file_offset is None else line.file_offset + place + text.index(bare)
            piece = msgspec.structs.replace(line, payload=bare, file_offset=offset, truncated=False)
            pieces.append(msgspec.structs.replace(piece, broken=why) if pieces and why else piece)
        place += len(text) + gap
    if line.truncated and pieces:
        pieces[-1] = msgspec.structs.replace(pieces[-1], truncated=True)
    return pieces or [line]


def _begins(first: bytes, allowed: frozenset[Source], pinned: str) -> Callable[[bytes], bool] | None:
    """Does another line begin there, also one of another daemon?  None: nobody can say it of lines like the first."""
    if syslog.program_of(_head(first)):
        return lambda text: syslog.begins(_head(text))
    if first.startswith(b"{"):  # printed over several lines
        return None
    format_ = registry.by_name(pinned) if pinned else registry.claimant(first, allowed)
    if format_ is None or format_.source in FAMILIES["training"]:
        return None
    return format_.claims if pinned else lambda text: syslog.begins(_head(text)) or registry.claimant(text, allowed) is not None


def _head(text: bytes) -> str:
    return text[:HEAD_BYTES].decode("utf-8", "replace")


def _with_tracebacks(texts: list[bytes]) -> list[bytes]:
    """The same lines, but each traceback one: what is indented after its first line, and the error after that."""
    found, begun = list[list[bytes]](), False
    for text in texts:
        if begun:
            found[-1].append(text)
            begun = text[:1] == b" "
        else:
            found.append([text])
            begun = text.startswith(_TRACEBACK, _glued(text))
    return [b"\n".join(each) for each in found]


def _glued(text: bytes) -> int:
    """Where the line after bars begins, on the first line; 0: there is none.  An object quotes what looks so."""
    if text[:1] == b"{":
        return 0
    end = text.find(b"\n")
    found = _GLUED.search(text, 0, len(text) if end < 0 else end)
    return found.end() if found else 0


def _unglued(text: bytes) -> list[tuple[bytes, int]]:
    """What stands behind bars is apart, with how many bytes lie behind each piece that are in none."""
    start = _glued(text)
    return [(text[:start], 0), (text[start:], 1)] if start else [(text, 1)]


def _of_daemon(texts: list[bytes], begins: Callable[[bytes], bool], *, first_alone: bool) -> list[bytes]:
    """The same lines, each with those after it that begin as none; `first_alone`: the first one, and all after it."""
    found, words = [texts[:1]], bool(texts[0].strip())
    for text in texts[1:]:
        may_begin = words and (not first_alone or len(found) == 1)
        if may_begin and begins(text):
            found.append([text])
        else:
            found[-1].append(text)
            words = words or bool(text.strip())
    return [b"\n".join(each) for each in found]
