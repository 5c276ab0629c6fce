"""A line of slurmctld's log in; what it says of a job, a node, a request or the controller itself out.

This log is where a cancel has an actor.  Its traps:

* `REQUEST_KILL_JOB` is written before permission is checked: alone it is an attempt.  A refusal follows in the same millisecond as
  two more lines; each of the three is an event of its own, and the stage that joins them decides.
* Who changed a job and what was changed stand on different lines; submissions and node states name nobody.
* `WTERMSIG 126` and `WTERMSIG 53` are not signals: an interactive job that ended, and a launch that failed.
* A restart replays state (`Recovered JobId=..`): notes, not events of the jobs.

The time is local without zone (`iso8601_ms`, the default) or has an offset (`rfc5424_ms`, `rfc3339`), has no year (`short`,
`thread_id`), or is none (`clock`, `omit`); or the line went through syslog, which puts its own time before the text; or it was printed to a
terminal or the journal after `slurmctld: `.  Without time only texts are sniffed that no other program begins a line with.
`JobId=7_3(10)` is task 3 of array 7 with the raw id 10; without the part in parentheses the raw id is not known, and the job is
called as the line calls it, `7_3`.

Texts that are in neither the table nor the list of harmless ones raise UnknownFormat: a catch-all would count what nobody reads as
read.  Job names and reasons come from users, so every pattern covers the whole text, and what follows a user's words is matched
from the end.  A user's word with a line end in it can still imitate a line, which is nothing that a parser can see.
"""

import re
from collections.abc import Callable, Sequence

from pipeline.errors import UnknownFormat
from pipeline.formats import syslog
from pipeline.formats.choosing import TEXT
from pipeline.formats.fields import bounded_int, checked_time, expand_nodes, iso_time, text_of
from pipeline.formats.line import Line, Reading
from pipeline.model.events import ControllerJob, ControllerNote, JobUpdate, KillRequest, NodeState, Parsed
from pipeline.model.source import Source

VALUE_LENGTH_MAX = 500  # of a user's or operator's words
PREFIX_LENGTH_MAX = 80
TAG_POSITION_MAX = 400
LEVELS_MAX = 3  # `error: sched: ...`

_Body = ControllerJob | ControllerNote | JobUpdate | KillRequest | NodeState
_Build = Callable[[re.Match[str]], _Body]
_Rows = tuple[tuple[re.Pattern[str], _Build], ...]

_ID = r"([0-9]{1,10}(?:_(?:\*|[0-9]{1,10}|\[[0-9,:%-]{1,256}\])|\+[0-9]{1,10})?(?:\([0-9]{1,10}\))?)"
_JOB = rf"Job(?:Id|ID)={_ID}"
_UID = r"(?:uid|UID)[ =]([0-9]{1,10})"
_USEC = r"usec=[0-9]{1,12}"
_DENIED = frozenset({"Access/permission denied", "Invalid user id", "User not authorized"})
_REFUSED_REQUESTS = {
    "JOB_UPDATE": "refused_job_update",
    "UPDATE_NODE": "refused_node_update",
    "UPDATE_PARTITION": "refused_partition_update",
    "REQUEST_TOP_JOB": "refused_top_job",
    "SHUTDOWN": "refused_shutdown",
    "RECONFIGURE": "refused_reconfigure",
}
_NODE_STATES = {"DRAIN": "drain", "DRAINED": "drain", "DRAINING": "draining", "DOWN": "down", "FAIL": "down"}
_COMPLETIONS = {
    "done": ("completed", "done"),
    "OOM failure": ("oom", ""),
    "cancelled by node failure": ("node_failed", "cancelled"),
    "cancelled by interactive user": ("cancelled", "interactive"),
    "due to node failure": ("requeued", "node_failure"),
    "per user/system request": ("requeued", "request"),
}
_NO_SIGNALS = {126: "interactive", 53: "launch_failure"}


class Slurmctld:
    """slurmctld.log, as a file or through syslog."""

    name = "slurmctld"
    source = Source.SLURMCTLD
    begins = (
        b"] _slurm_rpc_",
        b"] _job_complete",
        b"] _update_job",
        b"] sched: ",
        b"] sched/",
        b"] cleanup_completing: ",
        b"] error: ",
        b"] Node ",
        b" slurmctld",
    )
    first_bytes = TEXT

    def claims(self, payload: bytes) -> bool:
        """`[` and a time as this log writes it, or a system log line of the program."""
        if payload[:1] == b"[":
            return _PREFIX.match(payload) is not None
        return _TAGGED.search(payload[:TAG_POSITION_MAX]) is not None or _UNTIMED.match(payload) is not None

    def parse(self, line: Line, reading: Reading) -> Sequence[Parsed]:
        """One event."""
        text = text_of(line.payload)
        time: int | None = None
        host = tag = ""
        if text[:1] != "[":
            parts = syslog.split(line, reading)
            if parts is not None:
                if parts.program != "slurmctld":
                    raise UnknownFormat("another program's line")
                time, host, tag, text = parts.time, parts.host, parts.tag, parts.text
        text = text.removeprefix(_PRINTED)
        if text[:1] == "[":
            time, text = without_time(text, reading)
        time = None if time is None else checked_time(time)
        return (Parsed(source=Source.SLURMCTLD, body=_body(text), event_time=time, host=host, tag=tag),)


# --- the prefix -----------------------------------------------------------------------------------------------------------------

_PREFIX = re.compile(rb"\[(?:[0-9]{4}-[0-9]{2}-[0-9]{2}T|[A-Z][a-z]{2} [0-9 ][0-9] [0-9]{2}:[0-9]{2}:[0-9]{2}[.\]]| *[0-9]{1,18}\] )")
# The program's tag in a system log line: `slurmctld[12]: `, or a field of RFC 5424.
_TAGGED = re.compile(rb"[ >]slurmctld(?:\[[0-9]{1,10}\])?(?:: | [0-9-]{1,10} | \[)")
_PRINTED = "slurmctld: "
_UNTIMED = re.compile(
    rb"slurmctld: |(?:(?:error|sched|sched/backfill): )?_(?:slurm_rpc_[a-z_]{1,40}[:( ]|job_complete: |update_job: "
    rb"|(?:hold|release)_job_rec: )|error: Security violation, "
)
_WITHOUT_YEAR = re.compile(r"[A-Z][a-z]{2} [0-9 ][0-9] [0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.([0-9]{1,6}) +[0-9]{1,10} .{0,40})?")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_CLOCK = re.compile(r" *[0-9]{1,18}")


def without_time(text: str, reading: Reading) -> tuple[int | None, str]:
    """Time and text of a line that begins with a time in brackets, in any of Slurm's formats."""
    end = text.find("] ", 1, PREFIX_LENGTH_MAX)
    if end < 0:
        raise UnknownFormat("no time in brackets")
    stamp, rest = text[1:end], text[end + 2 :]
    if stamp[10:11] == "T":
        return iso_time(stamp, reading), rest
    if (found := _WITHOUT_YEAR.fullmatch(stamp)) and stamp[:3] in _MONTHS:
        # thread_id prints microseconds without leading zeros: `.318` is 318 of them.
        fraction = f"{int(found[1]):06d}" if found[1] else ""
        return syslog.yearless_time(_MONTHS.index(stamp[:3]) + 1, int(stamp[4:6]), stamp[7:15], fraction, reading), rest
    if _CLOCK.fullmatch(stamp):
        return None, rest
    raise UnknownFormat("no time in brackets")


# --- the text -------------------------------------------------------------------------------------------------------------------


def _body(text: str) -> _Body:
    note = ""
    for _ in range(LEVELS_MAX):
        level, colon, rest = text.partition(": ")
        if not colon:
            break
        if level in _DEBUG:
            if rest.lstrip(" ").startswith(_OF_THE_NODE):
                raise UnknownFormat("a refusal that slurmd tells at this level")
            return ControllerNote(note="debug")
        if level not in _LEVELS:
            break
        note = _LEVELS[level] or note
        text = rest.lstrip(" ")
    word = text.partition(" ")[0]
    for pattern, build in _TABLE.get(word, ()):
        if match := pattern.fullmatch(text):
            return build(match)
    note = note or _HARMLESS.get(word, "")
    if note:
        return ControllerNote(note=note)
    raise UnknownFormat("a controller line of no known kind")


# What may stand before the text.  A value names the note that the line is when its text is in no table.
_LEVELS = {
    "error": "", "info": "", "verbose": "", "sched": "scheduler", "sched/backfill": "scheduler", "sched/builtin": "scheduler",
    "backfill": "scheduler",
}  # fmt: skip
_OF_THE_NODE = "kill req from uid "
_DEBUG = frozenset({"debug", "debug1", "debug2", "debug3", "debug4", "debug5"})

# First words of lines that tell nothing about anybody.
_HARMLESS = {
    "cleanup_completing:": "completing",
    "Resending": "resending",
    "Warning:": "warning",
    "_sync_nodes_to_comp_job:": "completing",
    "sync_job_files:": "state",
    "SchedulerParameters=": "configuration",
    "SelectTypeParameters": "configuration",
    "Running": "state",
    "Saved": "state",
    "Recovered": "recovered",
    "No": "state",
    "Down": "state",
    "read_slurm_conf:": "configuration",
    "select/cons_tres:": "plugin",
    "select/linear:": "plugin",
    "priority/multifactor:": "plugin",
    "accounting_storage/slurmdbd:": "plugin",
    "topology/tree:": "plugin",
    "gres/gpu:": "plugin",
}


def _raw_id(text: str) -> str:
    """The raw id where the line has it."""
    if text[-1] == ")":
        return text[text.index("(") + 1 : -1]
    return text.removesuffix("_*")


def _kill_request(match: re.Match[str]) -> _Body:
    return KillRequest(job=_raw_id(match[1]), uid=bounded_int(match[2]))


def _kill_refused(match: re.Match[str]) -> _Body:
    return KillRequest(job=_raw_id(match[1]), uid=bounded_int(match[2]), refused=True)


def _kill_without_job(match: re.Match[str]) -> _Body:
    return ControllerNote(note="kill_request_without_job", uid=bounded_int(match[1]))


def _kill_answer(match: re.Match[str]) -> _Body:
    uid, job, signal, answer = match.groups()
    refused = answer in _DENIED
    number = int(signal)
    return KillRequest(
        job=_raw_id(job), uid=bounded_int(uid), refused=refused, no_effect=not refused, signal=number if 0 < number < 128 else None
    )


def _refused_request(match: re.Match[str]) -> _Body:
    return ControllerNote(note=_REFUSED_REQUESTS.get(match[1], "refused_request"), uid=bounded_int(match[2]))


def _suspend(match: re.Match[str]) -> _Body:
    change, job, answer = match.groups()
    if answer.startswith("usec=") or answer in _DENIED:
        return JobUpdate(job=_raw_id(job), change=change, refused=answer in _DENIED)
    return ControllerNote(note="suspend_failed", job=_raw_id(job))


def _update_done(match: re.Match[str]) -> _Body:
    return JobUpdate(job=_raw_id(match[1]), uid=bounded_int(match[2]), change="update")


def _update_failed(match: re.Match[str]) -> _Body:
    job, uid, answer = _raw_id(match[1]), bounded_int(match[2]), match[3]
    if answer in _DENIED:
        return JobUpdate(job=job, uid=uid, change="update", value=answer, refused=True)
    return ControllerNote(note="update_failed", uid=uid, job=job)


def _update(match: re.Match[str]) -> _Body:
    what, value, job = match.groups()
    return JobUpdate(job=_raw_id(job), change=what.lower(), value=value[:VALUE_LENGTH_MAX])


def _completed(match: re.Match[str]) -> _Body:
    job, how = _raw_id(match[1]), match[2]
    if how in _COMPLETIONS:
        change, detail = _COMPLETIONS[how]
        return ControllerJob(job=job, change=change, detail=detail)
    kind, _, digits = how.partition(" ")
    number = int(digits)
    if kind == "WEXITSTATUS":
        return ControllerJob(job=job, change="completed", exit_code=number)
    if number in _NO_SIGNALS:
        return ControllerJob(job=job, change="completed", detail=_NO_SIGNALS[number])
    return ControllerJob(job=job, change="completed", exit_signal=number)


def _on_nodes(change: str, detail: str = "") -> _Build:
    return lambda match: ControllerJob(job=_raw_id(match[1]), change=change, nodes=expand_nodes(match[2]), detail=detail)


def _allocated(match: re.Match[str]) -> _Body:
    nodes = expand_nodes(match[2])
    return ControllerJob(job=_raw_id(match[1]), change="allocated" if nodes else "submitted", nodes=nodes)


def _preempted(match: re.Match[str]) -> _Body:
    job, how, other = match.groups()
    return ControllerJob(job=_raw_id(job), change="preempted", beneficiary=_raw_id(other) if other else "", detail=how)


def _nodes_not_responding(match: re.Match[str]) -> _Body:
    return NodeState(nodes=expand_nodes(match[1]), change="down" if match[2] else "not_responding")


def _node_reason(match: re.Match[str]) -> _Body:
    return NodeState(nodes=expand_nodes(match[1]), change="reason", reason=match[2][:VALUE_LENGTH_MAX])


def _node_set(match: re.Match[str]) -> _Body:
    return NodeState(nodes=expand_nodes(match[1]), change=_NODE_STATES.get(match[2], "resumed"))


def _note(note: str) -> _Build:
    return lambda _: ControllerNote(note=note)


def _job_note(note: str) -> _Build:
    return lambda match: ControllerNote(note=note, job=_raw_id(match[1]))


def _job_and_uid(note: str) -> _Build:
    return lambda match: ControllerNote(note=note, job=_raw_id(match[1]), uid=bounded_int(match[2]))


def _uid_note(note: str) -> _Build:
    return lambda match: ControllerNote(note=note, uid=bounded_int(match[1]))


def _rows(*rows: tuple[str, _Build]) -> _Rows:
    return tuple((re.compile(pattern, re.DOTALL), build) for pattern, build in rows)


_COMPLETE = _rows(
    (
        rf"_?job_complete: {_JOB} (done|OOM failure|cancelled by (?:node failure|interactive user)|(?:WEXITSTATUS|WTERMSIG) [0-9]{{1,5}})",
        _completed,
    ),
    (rf"_?job_complete: requeue {_JOB} (due to node failure|per user/system request)", _completed),
)
_SETTING = _rows((rf"_?update_job: set(?:ting)? ([A-Za-z_]{{1,40}}) to (.*) for {_JOB}", _update))

# By first word, so that a line meets one or two patterns.
_TABLE: dict[str, _Rows] = {
    "_slurm_rpc_kill_job:": _rows(
        (rf"_slurm_rpc_kill_job: REQUEST_KILL_JOB {_JOB} {_UID}", _kill_request),
        (rf"_slurm_rpc_kill_job: job_str_signal\(\) {_UID} {_JOB} sig=([0-9]{{1,5}}) returned: (.{{1,200}})", _kill_answer),
        (rf"_slurm_rpc_kill_job: REQUEST_KILL_JOB JobId=.{{0,64}} {_UID}", _kill_without_job),
    ),
    "Security": _rows(
        (rf"Security violation, REQUEST_KILL_JOB RPC for {_JOB} from {_UID}", _kill_refused),
        (rf"Security violation, ([A-Z_]{{1,64}}) RPC (?:for \S{{1,64}} )?from {_UID}", _refused_request),
    ),
    "SECURITY": _rows(
        (r"SECURITY VIOLATION: Attempt to suspend job from user ([0-9]{1,10})", _uid_note("refused_suspend")),
        (r"SECURITY VIOLATION: .{1,100} from user ([0-9]{1,10})", _uid_note("refused_request")),
    ),
    "_slurm_rpc_suspend(suspend)": _rows((rf"_slurm_rpc_suspend\((suspend)\) for (?:JobId=)?{_ID} (.{{1,200}})", _suspend)),
    "_slurm_rpc_suspend(resume)": _rows((rf"_slurm_rpc_suspend\((resume)\) for (?:JobId=)?{_ID} (.{{1,200}})", _suspend)),
    "_slurm_rpc_update_job:": _rows(
        (rf"_slurm_rpc_update_job: complete {_JOB} {_UID} {_USEC}", _update_done),
        (rf"_slurm_rpc_update_job: {_JOB} {_UID}: (.{{1,200}})", _update_failed),
    ),
    "_update_job:": _SETTING,
    "update_job:": _SETTING,
    "_slurm_rpc_submit_batch_job:": _rows(
        (
            rf"_slurm_rpc_submit_batch_job: {_JOB}(?: InitPrio=[0-9]{{1,10}})? {_USEC}",
            lambda match: ControllerJob(job=_raw_id(match[1]), change="submitted"),
        )
    ),
    "_slurm_rpc_allocate_resources": _rows((rf"_slurm_rpc_allocate_resources {_JOB} NodeList=(\S+) {_USEC}", _allocated)),
    "Allocate": _rows((rf"Allocate {_JOB} NodeList=(\S+) #CPUs=[0-9]{{1,10}} Partition=\S{{1,128}}", _on_nodes("allocated"))),
    "_start_job:": _rows((rf"_start_job: Started {_JOB} in \S{{1,128}} on (\S+)", _on_nodes("started"))),
    "_job_complete:": _COMPLETE,
    "job_complete:": _COMPLETE,
    "Time": _rows(
        (rf"Time limit exhausted for {_JOB}", lambda match: ControllerJob(job=_raw_id(match[1]), change="time_limit")),
    ),
    "preempted": _rows(
        (rf"preempted {_JOB} has been (killed|requeued|suspended)(?: to reclaim resources for {_JOB})?", _preempted),
    ),
    "requeue": _rows((rf"requeue job {_JOB} due to failure of node (\S+)", _on_nodes("requeued", "node_failure"))),
    "Killing": _rows((rf"Killing {_JOB} on failed node (\S+)", _on_nodes("node_failed", "killed"))),
    "Nodes": _rows((r"Nodes (\S+) not responding(, setting DOWN)?", _nodes_not_responding)),
    "Node": _rows((r"Node (\S+) now responding", lambda match: NodeState(nodes=expand_nodes(match[1]), change="responding"))),
    "drain_nodes:": _rows(
        (r"drain_nodes: node (\S+) state set to DRAIN", lambda match: NodeState(nodes=expand_nodes(match[1]), change="drain")),
    ),
    "update_node:": _rows(
        (r"update_node: node (\S+) reason set to: (.*)", _node_reason),
        (r"update_node: node (\S+) state set to ([A-Z_]{1,32})[*$~#!%@^-]?", _node_set),
    ),
    "_hold_job_rec:": _rows((rf"_hold_job_rec: hold on {_JOB} by {_UID}", _job_and_uid("hold"))),
    "_release_job_rec:": _rows((rf"_release_job_rec: release hold on {_JOB} by {_UID}", _job_and_uid("hold_released"))),
    "Terminate": _rows((r"Terminate signal \(SIGINT or SIGTERM\) received", _note("terminating"))),
    "slurmctld": _rows((r"slurmctld version \S{1,64} started(?: on cluster \S{1,128})?", _note("started"))),
    "Processing": _rows(
        (r"Processing Reconfiguration Request", _note("reconfiguring")),
        (rf"Processing RPC: [A-Z_]{{1,64}}(?:\([a-z]{{1,16}}\))? from {_UID}.{{0,200}}", _uid_note("rpc")),
    ),
    "Recovered": _rows((rf"Recovered {_JOB}(?: .*)?", _job_note("recovered"))),
    "job_str_signal(3):": _rows((rf"job_str_signal\([0-9]\): invalid {_JOB}", _job_note("invalid_job"))),
    "REQUEST_KILL_JOBS": _rows((r"REQUEST_KILL_JOBS filters: .*", _note("kill_jobs_filters"))),
}

FORMAT = Slurmctld()
