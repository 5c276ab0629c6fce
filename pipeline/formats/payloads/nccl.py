"""A line of PyTorch's ProcessGroupNCCL or of NCCL itself in; a collective that timed out, or a typed line, out.

    1.8    [E ProcessGroupNCCL.cpp:828] [Rank 3] Watchdog caught collective operation timeout: WorkNCCL(OpType=ALLREDUCE, Timeout(ms)=..)
    2.3    [rank3]:[E ProcessGroupNCCL.cpp:563] [PG 1 Rank 3] Timeout at NCCL work: 64, last enqueued NCCL work: 65, last completed ..
    2.4    [rank3]:[E1218 20:27:21.426415540 ProcessGroupNCCL.cpp:629] [Rank 3] Watchdog caught ..
    2.6    [rank3]:[E626 06:24:44.903881913 ProcessGroupNCCL.cpp:1785] [PG ID 0 PG GUID 0(default_pg) Rank 3] Exception (either ..
    NCCL   gpu-001:4711:4802 [3] misc/socket.cc:49 NCCL WARN socketProgress: Connection closed by remote peer gpu-002<41234>

The watchdog speaks `Timeout(ms)` after the cause, so its time is the end of the window to look into.  The same timeout is said up to four
times by a rank (caught, work, terminated with exception, what() of the crash); each is a `CollectiveTimeout` only where it names the
operation, the others are typed `nccl`.  NCCL's own warnings come by the thousand at an ordinary end: they never accuse or acquit alone,
and so are never of the kind `error`.  Which work was enqueued last stands in `unmapped`: the rank that is behind is the one that hung.

The rank in the message is of its process group's numbering; the label `[rank3]:` is the global one and is preferred.
glog's time has no year and no zone; months below ten have one digit (`E626`) in 2.4 and later.  A host in front is NCCL's own word on
where it runs: it stays in `unmapped`, for a job prints it.

Sources: github.com/pytorch/pytorch torch/csrc/distributed/c10d/ProcessGroupNCCL.cpp (logPrefix, getNCCLWatchdogTimeoutErrorMsg,
HeartbeatMonitor), c10/util/Logging.cpp; github.com/NVIDIA/nccl src/debug.cc; lines quoted in pytorch issues 118369 and
hiyouga/LlamaFactory issue 7396.
Holds: linear time; what can stand anywhere is searched for once.
"""

import re
import string
from collections.abc import Sequence

from pipeline.errors import DecodeError, UnknownFormat
from pipeline.formats.choosing import DIGITS
from pipeline.formats.line import Line, Reading
from pipeline.formats.ranks import unlabelled
from pipeline.formats.syslog import TEXT_CHARACTERS_MAX, text_of, yearless_time
from pipeline.model.events import AnyBody, CollectiveTimeout, Parsed, TrainingLine
from pipeline.model.source import Source

DAYS_MAX = 31
_GLOG = re.compile(
    r"\[?[EWIF]([0-9]{1,2})([0-9]{2}) ([0-9]{2}:[0-9]{2}:[0-9]{2})\.([0-9]{1,9}) (?: {0,4}[0-9]{1,20} )?[A-Za-z0-9_./-]{1,200}:[0-9]{1,6}\]"
)
_TIMEOUT = re.compile(r"ollective operation timeout: Work[A-Z]{0,6}CCL\(")
_END = re.compile(r"\) ran for ([0-9]{1,15}) milliseconds")
_FIELD = re.compile(r"(SeqNum|OpType|NumelIn|NumelOut|Timeout\(ms\))=([A-Za-z0-9_]{1,40})")
_RANK = re.compile(r"Rank ([0-9]{1,7})\]")
_GROUP = re.compile(r"\[PG (?:ID )?([0-9]{1,10})(?: PG GUID ([0-9A-Za-z_:.-]{0,80})(?:\(([A-Za-z0-9_:.-]{0,80})\))?)? Rank ([0-9]{1,7})\]")
_WORK = re.compile(
    r"(?:(?:at work|at NCCL work): (-?[0-9]{1,19}), )?"
    r"[Ll]ast enqueued (?:NCCL )?work: (-?[0-9]{1,19}), last completed (?:NCCL )?work: (-?[0-9]{1,19})"
)
_STUCK = re.compile(r"watchdog got stuck for ([0-9]{1,9}) seconds|[Hh]eartbeat monitor timed out")
_NCCL = re.compile(
    r"(?:\[[0-9-]{10}[ T][0-9:.]{8,18}\] )?([A-Za-z0-9_.-]{1,255}):([0-9]{1,10}):([0-9]{1,10}) \[(-?[0-9]{1,5})\] "
    r"(?:([A-Za-z0-9_./+-]{1,120}:[0-9]{1,6}) )?NCCL (WARN|INFO|TRACE|CALL|ABORT|VERSION)"
)
_OURS = re.compile(
    r"ProcessGroupNCCL|NCCL version |(?:Some|No) NCCL operations|aking the entire process down|Last error:"
    r"|NCCL (?:WARN|INFO|work|communicator|watchdog|error)|\[PG (?:ID )?[0-9]|TORCH_NCCL_|NCCL_[A-Z_]{2,40}[= ]"
)
_SHAPE = (
    rb"[A-Za-z0-9_.-]{1,255}:[0-9]{1,10}:[0-9]{1,10} \["
    rb"|\[rank[0-9]{1,6}\]: ?\[[EWIF][0-9 :.]{14,30} ProcessGroupNCCL\.cpp:"
)


class Nccl:
    """The collectives of PyTorch, and NCCL."""

    name = "nccl"
    source = Source.TRAINING
    shape = (string.ascii_letters.encode() + DIGITS + b"[", _SHAPE)

    def claims(self, payload: bytes) -> bool:
        """One of the words that these lines cannot be without."""
        return (
            payload.find(b"NCCL") >= 0
            or payload.find(b"aking the entire process down") >= 0
            or payload.find(b"ollective operation timeout") >= 0
        )

    def parse(self, line: Line, reading: Reading) -> Sequence[Parsed]:
        """The event of the line.  Raises UnknownFormat for other text."""
        text, rank, local_rank = unlabelled(text_of(line.payload))
        rest: dict[str, str] = {} if local_rank is None else {"local_rank": str(local_rank)}
        body = _timeout(text, rank, rest)
        if body is None:
            if not _process_group(text, rest):
                raise UnknownFormat("no line of NCCL or its process groups")
            named = _RANK.search(text[:400])
            rank = rank if rank is not None or named is None else int(named[1])
            body = TrainingLine(what="nccl", text=text.rstrip()[:TEXT_CHARACTERS_MAX], rank=rank)
        return (Parsed(source=Source.TRAINING, body=body, event_time=_time(text, reading), unmapped=rest),)


def _timeout(text: str, rank: int | None, rest: dict[str, str]) -> AnyBody | None:
    caught = _TIMEOUT.search(text)
    if caught is None:
        return None
    end = _END.search(text, caught.end())
    fields = dict(_FIELD.findall(text, caught.end(), caught.end() + 400))
    if rank is None:
        named = _RANK.search(text[max(0, caught.start() - 200) : caught.start()])
        rank = int(named[1]) if named else None
    rest.update({name: fields[name] for name in ("SeqNum", "NumelIn", "NumelOut") if name in fields})
    _group(text, rest)
    timeout = fields.get("Timeout(ms)", "")
    return CollectiveTimeout(
        rank=rank,
        operation=fields.get("OpType", ""),
        timeout_ms=int(timeout) if timeout.isascii() and timeout.isdigit() and len(timeout) <= 15 else None,
        ran_ms=int(end[1]) if end else None,
    )


def _process_group(text: str, rest: dict[str, str]) -> bool:
    """Is it a line of these?  What it names beside its text goes to `rest`."""
    if said := _NCCL.match(text):
        rest.update(host=said[1], pid=said[2], device=said[4], level=said[6])
        return True
    if _OURS.search(text) is None:
        return False
    _group(text, rest)
    if work := _WORK.search(text):
        rest.update({name: value for name, value in zip(("work", "enqueued", "completed"), work.groups(), strict=True) if value})
    if stuck := _STUCK.search(text):
        rest["stuck_seconds"] = stuck[1] or "0"
    return True


def _group(text: str, rest: dict[str, str]) -> None:
    if group := _GROUP.search(text[:400]):
        rest["group"] = group[3] or group[2] or group[1]


def _time(text: str, reading: Reading) -> int | None:
    """glog's, where the line starts with it."""
    glog = _GLOG.match(text)
    if glog is None or not 1 <= int(glog[1]) <= 12 or not 1 <= int(glog[2]) <= DAYS_MAX:
        return None
    try:
        return yearless_time(int(glog[1]), int(glog[2]), glog[3], glog[4], reading)
    except DecodeError:
        return None


FORMAT = Nccl()
