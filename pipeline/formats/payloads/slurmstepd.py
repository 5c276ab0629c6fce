"""A line of slurmstepd or srun in a job's own output in; a cancelled step, an ended task or an out-of-memory notice out.

    slurmstepd: error: *** STEP 7.0 ON gpu-001 CANCELLED AT 2026-03-02T19:40:41 DUE TO TIME LIMIT ***
    srun: error: gpu-003: task 17: Killed

The reason is what acquits: a line without one is a cancel by a person (up to 24.11 that was all; later versions say `DUE to SIGNAL
Terminated`).  A reason that we do not know is `other`, never empty, for empty would accuse.  A killed task without any `CANCELLED AT`
line is the signature of a kill that did not go through the scheduler.  Times are local; lines may carry the label of `srun -l`.
"""

import re
from collections.abc import Sequence

from pipeline.errors import UnknownFormat
from pipeline.formats.choosing import TEXT
from pipeline.formats.fields import iso_time
from pipeline.formats.line import Line, Reading
from pipeline.formats.ranks import Labelled, unlabelled
from pipeline.formats.syslog import TEXT_CHARACTERS_MAX, text_of
from pipeline.model.events import AnyBody, Parsed, StepCancelled, StepOom, TaskEnded, TrainingLine
from pipeline.model.source import Source

_DAEMON = re.compile(r"(?:slurmstepd|slurmd)(?:-\S{1,255}|\[\S{1,255}\])?: ")
_END = re.compile(
    r"(?:error: )?\*\*\* (JOB|STEP) (\S{1,64})(?: ON (\S{1,255}))? "
    r"(?:CANCELLED AT ([0-9T:.+-]{19,32}Z?)(?: [Dd][Uu][Ee] [Tt][Oo] ([^*]{1,200}?))?|(FAILED) \(([^*]{0,200})\)) \*\*\*"
)
_OOM = re.compile(
    r"(?:error: )?Detected ([0-9]{1,6}) oom[-_]kill events?(?:\(s\))? in (?:StepId=|step )([0-9_+]{1,40})(?:\.([A-Za-z0-9+]{1,20}))?"
)
_TASK = re.compile(r"error: (\S{1,255}): tasks? ([0-9,\[\]-]{1,500}): ")
_EXIT = re.compile(r"Exited with exit code ([0-9]{1,3})")
_REASONS = {
    "TIME LIMIT": "time_limit",
    "PREEMPTION": "preemption",
    "NODE FAILURE": "node_failure",
    "JOB REQUEUE": "requeue",
    "TASK FAILURE": "task_failure",
}
_ENDS: dict[str, tuple[str, int | None]] = {
    "Killed": ("killed", 9),
    "Terminated": ("terminated", 15),
    "Aborted": ("aborted", 6),
    "Segmentation fault": ("segmentation_fault", 11),
    "Bus error": ("bus_error", 7),
    "Hangup": ("hangup", 1),
    "Interrupt": ("interrupt", 2),
    "Quit": ("quit", 3),
    "Floating point exception": ("floating_point_exception", 8),
    "User defined signal 1": ("user_signal", 10),
    "User defined signal 2": ("user_signal", 12),
    "Out Of Memory": ("out_of_memory", None),
    "unknown": ("unknown", None),
}


class Slurmstepd:
    """What Slurm itself writes into a job's output."""

    name = "slurmstepd"
    source = Source.TRAINING
    begins = (b"slurmstepd: ", b"srun: ")
    first_bytes = TEXT

    def claims(self, payload: bytes) -> bool:
        """One of the programs' names near the start."""
        if payload.find(b"slurm", 0, 64) < 0:
            return payload.find(b"srun: ", 0, 64) >= 0
        head = payload[:64]
        return head.find(b"slurmstepd") >= 0 or head.find(b"srun: ") >= 0 or head.find(b"slurmd") >= 0

    def parse(self, line: Line, reading: Reading) -> Sequence[Parsed]:
        """The event of the line.  Raises UnknownFormat for text of other programs."""
        labelled = unlabelled(text_of(line.payload))
        if daemon := _DAEMON.match(labelled.text):
            body, time = of_daemon(labelled, labelled.text[daemon.end() :], reading)
        elif labelled.text.startswith("srun: "):
            body, time = _of_srun(labelled, labelled.text[len("srun: ") :]), None
        else:
            raise UnknownFormat("no line of slurmstepd or srun")
        return (Parsed(source=Source.TRAINING, body=body, event_time=time),)


def of_daemon(labelled: Labelled, text: str, reading: Reading) -> tuple[AnyBody, int | None]:
    """What slurmstepd says after its name, and the time within its text."""
    if end := _END.match(text):
        kind, name, host, at, due, failed, detail = end.groups()
        job, dot, step = name.rpartition(".")
        if kind == "JOB" or not dot:
            job, step = name, ""
        reason, detail = ("failed", detail) if failed else _reason(due or "")
        body = StepCancelled(job=job, step=step, host=host or "", reason=reason, detail=detail)
        return body, iso_time(at, reading) if at else None
    if oom := _OOM.match(text):
        return StepOom(job=oom[2], step=oom[3] or "", count=int(oom[1])), None
    return TrainingLine(what="slurmstepd", text=text[:TEXT_CHARACTERS_MAX], rank=labelled.rank), None


def _reason(due: str) -> tuple[str, str]:
    if not due:
        return "", ""
    for text, reason in _REASONS.items():
        if due.startswith(text):
            return reason, due
    if due.startswith("SIGNAL "):
        return "signal", due.removeprefix("SIGNAL ")
    return "other", due


def _of_srun(labelled: Labelled, text: str) -> AnyBody:
    task = _TASK.match(text)
    if task is None:
        return TrainingLine(what="srun", text=text[:TEXT_CHARACTERS_MAX], rank=labelled.rank)
    end = text[task.end() :]
    if code := _EXIT.match(end):
        return TaskEnded(host=task[1], tasks=task[2], outcome="exited", exit_code=int(code[1]))
    outcome, signal = _ENDS.get(end.removesuffix(" (core dumped)").strip(), ("other", None))
    return TaskEnded(host=task[1], tasks=task[2], outcome=outcome, signal=signal)


FORMAT = Slurmstepd()
