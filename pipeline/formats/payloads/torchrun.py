"""A line of PyTorch's launcher or of a Python traceback in; a failed rank or a training line out.

The agent that starts the ranks reports the first failure and then ends the other ranks itself, first with SIGTERM, then with SIGKILL:

    Sending process 143 closing signal SIGTERM           RanksClosed: the launcher's own hand, not interference
    failed (exitcode: -9) local_rank: 0 (pid: 222) ..    RankFailed: a negative code is the signal
    exitcode  : -9 (pid: 223)                            RankFailed, from the block at the end; its other lines are records of their
    time      : 2026-03-02_19:40:41                      own, since a shipper sends lines: here they stay typed text

Ray says of a worker that ended against its will `A worker died or was killed while executing a task ..`: RankFailed with the worker's
process and address where the line has them, since it comes from another node.

Ranks write to one file at once, so their tracebacks run into each other within lines: what can stand anywhere is searched for, not
anchored.  glog (`W0501 22:04:48.36`) has neither year nor zone.

Holds: linear time; every event names the kind of line that it is; other text is UnknownFormat.
"""

import re
from collections.abc import Sequence

from pipeline.errors import UnknownFormat
from pipeline.formats.choosing import DIGITS, LETTERS
from pipeline.formats.fields import iso_time
from pipeline.formats.line import Line, Reading
from pipeline.formats.ranks import Labelled, unlabelled
from pipeline.formats.syslog import TEXT_CHARACTERS_MAX, text_of, yearless_time
from pipeline.model.events import AnyBody, Parsed, RankFailed, RanksClosed, TrainingLine
from pipeline.model.source import Source

SIGNAL_MAX = 64
_SIGNALS = {"SIGHUP": 1, "SIGINT": 2, "SIGQUIT": 3, "SIGABRT": 6, "SIGBUS": 7, "SIGKILL": 9, "SIGSEGV": 11, "SIGTERM": 15}
_SHELL_WORDS = {
    "Hangup": 1, "Interrupt": 2, "Aborted": 6, "Bus error": 7, "Killed": 9, "Segmentation fault": 11, "Terminated": 15,
}  # fmt: skip

_CLAIM = re.compile(
    rb"closing signal|forcefully exit|failed \(exitcode|torch[./]distributed"
    rb"|Traceback \(most recent|File \"|Error|Exception|Interrupt|\[Errno |Warning|warnings\.warn|OMP_NUM_THREADS| FAILED\r?$"
    rb"|Root Cause \(|Failures:|<NO_OTHER|TIMING RUN AT|: line [0-9]"
    rb"|^.{0,40}(?:time|host|rank|exitcode|error_file|traceback) {0,8}: |^ {0,8}(?:[0-9]{1,6}: ?)?\[(?:rank|default)?[0-9]{1,6}\]:"
    rb"|^(?: {0,8}[0-9]{1,6}: )?\[?[WEIF][0-9]{4} |^(?:[0-9]{1,6}: )? {4,}|^(?:DEBUG|INFO|WARNING|ERROR|CRITICAL):"
    rb"|={20}|\*{20}|^ {0,8}[0-9]{1,6}: \r?$"
)
# An error and a source line may be anybody's Python, and quote anything.  They are ours alone where the rest holds no mark of a format that
# looks inside lines: brackets, braces, bars, per cent; NCCL's words; kills as the kernel and Megatron's launcher tell them.
_PLAIN = rb"[^\[{|%\nKNkv]"
_REST = (
    _PLAIN + rb"{0,300}+(?:(?:K(?!illed proc|illing sub)|N(?!CCL|VRM)|k(?!ing the en|ill:)|v(?<!ollectiv))" + _PLAIN + rb"{0,60}+){0,8}+$"
)
_SHAPE = (
    rb"\[?[WEIF][0-9]{4} [0-9:.]{10,18} {1,4}(?:[0-9]{1,20} )?torch/distributed/(?:elastic|run|launcher)"
    rb"|(?:\[(?:rank|default)[0-9]{1,6}\]: ?|[0-9]{1,6}: )(?:Traceback \(most recent call last\)|  File \")"
    rb"|(?:\[(?:rank|default)[0-9]{1,6}\]: ?|[0-9]{1,6}: )?(?:"
    rb"(?:[A-MO-Za-z_.]|N(?!CCL)){3,80}+(?:(?<=Error)|(?<=Exception)):"
    rb"| {4,40}(?:self\.|return |raise )?(?!saving|successfully|loading)(?:[A-MO-Za-z0-9_.]|N(?!CCL)){1,80}+(?: [+*/-]?= |\((?!\))))"
    + _REST
)
_GLOG = re.compile(
    r"\[?([WEIF])([0-9]{2})([0-9]{2}) ([0-9]{2}:[0-9]{2}:[0-9]{2})\.([0-9]{1,9}) {1,4}(?:[0-9]{1,20} )?(\S{1,300}:[0-9]{1,6})\] ?"
)
_CLOSING = re.compile(r"Sending process ([0-9]{1,10}) closing signal (SIG[A-Z0-9]{1,10}|[0-9]{1,2})")
_FORCED = re.compile(r"Unable to shutdown process ([0-9]{1,10}) via \S{1,20}, forcefully exitt?ing via (?:Signals\.)?([A-Z0-9]{1,12})")
_FAILED = re.compile(r"failed \(exitcode: (-?[0-9]{1,5})\) local_rank: ([0-9]{1,6}) \(pid: ([0-9]{1,10})\) of binary: ")
_BLOCK = re.compile(r" {1,8}(time|host|rank|exitcode|error_file|traceback) {0,8}: ?")
_EXIT_CODE = re.compile(r"(-?[0-9]{1,5}) {0,4}\(pid: {0,2}([0-9]{1,10})\)")
_RANK = re.compile(r"([0-9]{1,7}) \(local_rank: ([0-9]{1,6})\)")
_BLOCK_MARKS = frozenset({"Failures:", "<NO_OTHER_FAILURES>", "Root Cause (first observed failure):"})
_BLOCK_NUMBER = re.compile(r"\[[0-9]{1,6}\]:")
_SHELL = re.compile(r"\S{1,300}: line [0-9]{1,6}: {1,4}([0-9]{1,10}) ([A-Z][a-z]{1,15}(?: (?:fault|error))?)(?: |$)")

RAY_HEAD_BYTES = 200  # labels, a time and a place in the code may stand in front
_RAY_MARK = b"A worker died or was killed while executing "
_RAY = re.compile(r"A worker died or was killed while executing (?:a )?task\b")
_RAY_WORKER = re.compile(r" Worker IP address: ([0-9a-fA-F.:]{2,45}) Worker port: [0-9]{1,5} Worker PID: ([0-9]{1,10})\b")

_TRACEBACK_FILE = re.compile(r'File "[^"]{1,400}", line [0-9]{1,7}')
# Four blanks and something that reads like Python: a source line of a traceback.
_SOURCE_LINE = re.compile(
    r" {4,40}(?:(?:return|raise|yield|await|assert|del|import|from) [^$]|self\.|super\(|(?:with|for|if|while|try|else)\b.{0,400}:\s*$"
    r"|[A-Za-z_][A-Za-z0-9_.\[\]]{0,80} ?(?:\([^)]|\(\)?\s*$|[+*/-]?= ))"
)
_ERROR = re.compile(r"(?:[A-Za-z_][A-Za-z0-9_]{0,80}\.){0,10}[A-Za-z_]{1,80}(?:Error|Exception|Interrupt|Exit)(?::| {0,4}$)")
_ERROR_INSIDE = re.compile(r"[A-Z][a-z]{1,20}[A-Za-z]{0,40}(?:Error|Exception)|\[Errno [0-9]{1,4}\]|Fatal Python error:")
_WARNING = re.compile(r"\S{1,400}\.py:[0-9]{1,6}: [A-Za-z]{0,40}Warning:| {2,8}warnings\.warn\(")
_LOGGING = re.compile(r"(?:DEBUG|INFO|WARNING|ERROR|CRITICAL):([A-Za-z_][A-Za-z0-9_.]{0,120}):")
_TIMING_RUN = re.compile(r"(?:STARTING|ENDING) TIMING RUN AT ([0-9]{4}-[0-9]{2}-[0-9]{2}) ([0-9]{2}):([0-9]{2}:[0-9]{2}) ([AP])M")


class Torchrun:
    """torchrun and torch elastic, Python tracebacks."""

    name = "torchrun"
    source = Source.TRAINING
    begins = (b"WARNING:torch.distributed.", b"ERROR:torch.distributed.", b"Traceback (most recent call last)", b'  File "')
    shape = (DIGITS + LETTERS + b"[ ", _SHAPE)

    def claims(self, payload: bytes) -> bool:
        """One of the words that these lines cannot be without."""
        # The commonest two first: the pattern looks at every byte.
        if payload.startswith(b"    ") or payload.find(b"Error") >= 0 or payload.find(_RAY_MARK, 0, RAY_HEAD_BYTES) >= 0:
            return True
        return _CLAIM.search(payload) is not None

    def parse(self, line: Line, reading: Reading) -> Sequence[Parsed]:
        """The event of the line; none for an empty line of a rank.  Raises UnknownFormat for other text."""
        labelled = unlabelled(text_of(line.payload))
        if not labelled.text.strip():
            return ()
        glog = _GLOG.match(labelled.text)
        time = _glog_time(glog, reading) if glog else None
        found = _failure(labelled, reading) or _timing_run(labelled, reading) or _line(labelled, glog)
        if found is None:
            raise UnknownFormat("no line of torchrun or a traceback")
        body, own_time, unmapped = found
        if labelled.local_rank is not None:
            unmapped = {**unmapped, "local_rank": str(labelled.local_rank)}
        return (Parsed(source=Source.TRAINING, body=body, event_time=own_time if own_time is not None else time, unmapped=unmapped),)


Found = tuple[AnyBody, int | None, dict[str, str]]


def signal_of(exit_code: int) -> int | None:
    """The signal behind an exit code: -9 of the launcher, 137 (128 + 9) of a shell."""
    if -SIGNAL_MAX <= exit_code < 0:
        return -exit_code
    return exit_code - 128 if 128 < exit_code <= 128 + SIGNAL_MAX else None


def _glog_time(glog: re.Match[str], reading: Reading) -> int:
    return yearless_time(int(glog[2]), int(glog[3]), glog[4], glog[5], reading)


# --- the agent ------------------------------------------------------------------------------------------------------------------


def _failure(labelled: Labelled, reading: Reading) -> Found | None:
    text = labelled.text
    if found := _CLOSING.search(text) or _FORCED.search(text):
        return RanksClosed(pid=int(found[1]), signal=_SIGNALS.get(found[2]) or _number(found[2])), None, {}
    if found := _FAILED.search(text):
        code = int(found[1])
        failed = RankFailed(
            rank=labelled.rank,
            local_rank=int(found[2]),
            pid=int(found[3]),
            exit_code=code,
            signal=signal_of(code),
            text=text[found.start() :][:TEXT_CHARACTERS_MAX],
        )
        return failed, None, {}
    if found := _BLOCK.match(text):
        return _block_line(labelled, found, reading)
    if found := _SHELL.match(text):
        signal = _SHELL_WORDS.get(found[2])
        if signal is not None:
            return RankFailed(rank=labelled.rank, pid=int(found[1]), signal=signal, text=text[:TEXT_CHARACTERS_MAX]), None, {}
    if found := _RAY.search(text, 0, RAY_HEAD_BYTES + len(_RAY_MARK)):
        worker = _RAY_WORKER.search(text, found.end(), found.end() + TEXT_CHARACTERS_MAX)
        if worker is None:
            return _typed("error", labelled), None, {}
        said = text[found.start() :][:TEXT_CHARACTERS_MAX]
        return RankFailed(rank=labelled.rank, pid=int(worker[2]), host=worker[1], text=said), None, {}
    bare = text.strip()
    if bare in _BLOCK_MARKS or _BLOCK_NUMBER.fullmatch(bare) or (bare.endswith(" FAILED") and len(bare) < 400) or _is_rule(bare, "="):
        return _typed("failure_block", labelled), None, {}
    return None


def _block_line(labelled: Labelled, found: re.Match[str], reading: Reading) -> Found | None:
    """A line of the block.  `time`, `rank` and `exitcode` are read; which failure they belong to is only known from their neighbours."""
    name, value = found[1], labelled.text[found.end() :].strip()
    time, rank = None, labelled.rank
    if name == "exitcode":
        code = _EXIT_CODE.match(value)
        if code is None:
            return None
        number = int(code[1])
        return (
            RankFailed(rank=rank, pid=int(code[2]), exit_code=number, signal=signal_of(number), text=value[:TEXT_CHARACTERS_MAX]),
            None,
            {},
        )
    if name == "time":
        if value[10:11] != "_":
            return None
        time = iso_time(value.replace("_", "T", 1), reading)
    elif name == "rank":
        numbers = _RANK.match(value)
        if numbers is None:
            return None
        rank = int(numbers[1])
    return TrainingLine(what="failure_block", text=f"{name}: {value}"[:TEXT_CHARACTERS_MAX], rank=rank), time, {}


# --- other lines ----------------------------------------------------------------------------------------------------------------


def _timing_run(labelled: Labelled, reading: Reading) -> Found | None:
    """MLPerf's run script: a local time of twelve hours, which next to an MLLOG record shows whether the zone is right."""
    found = _TIMING_RUN.match(labelled.text)
    if found is None:
        return None
    hour = int(found[2]) % 12 + (12 if found[4] == "P" else 0)
    return _typed("timing_run", labelled), iso_time(f"{found[1]}T{hour:02d}:{found[3]}", reading), {}


def _line(labelled: Labelled, glog: re.Match[str] | None) -> Found | None:
    """A line that only its kind is known of."""
    text = labelled.text
    what = ""
    if "Traceback (most recent call last)" in text or _TRACEBACK_FILE.search(text):
        what = "traceback"
    elif "torch.distributed." in text or "torch/distributed/" in text:
        what = "error" if _ERROR.match(text) else "rendezvous" if "rendezvous" in text or "rdzv" in text else "agent"
    elif _WARNING.match(text):
        what = "warning"
    elif _ERROR.match(text):
        what = "error"
    elif _SOURCE_LINE.match(text):
        what = "traceback"
    elif glog or _LOGGING.match(text):
        what = "log"
    elif _ERROR_INSIDE.search(text):
        what = "error"
    elif "Setting OMP_NUM_THREADS environment variable" in text or _is_rule(text.strip(), "*"):
        what = "launcher"
    return (_typed(what, labelled), None, {}) if what else None


def _typed(what: str, labelled: Labelled) -> TrainingLine:
    return TrainingLine(what=what, text=labelled.text[:TEXT_CHARACTERS_MAX], rank=labelled.rank)


def _is_rule(text: str, character: str) -> bool:
    """The rules of `=` around a failure block and of `*` around the launcher's notice."""
    return len(text) >= 20 and not text.strip(character)


def _number(text: str) -> int | None:
    return int(text) if text.isdigit() else None


FORMAT = Torchrun()
