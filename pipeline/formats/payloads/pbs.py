"""A line of PBS's accounting log in; a JobRecord, or what became of a job, out.

    03/02/2026 19:40:41;E;48213.ctl-1;user=u017 group=llm jobname=pretrain queue=gpu ctime=.. start=1772448041 exec_host=gpu-001/0*8 end=..
    03/02/2026 19:40:41;D;48213.ctl-1;requestor=u099@login-1

Month first, local time; the times in the text are UNIX seconds.  `Q S E` are a job's record queued, started, ended; `D` deleted, and by
whom, which is a login name and a host, or a daemon of PBS and its host (`Scheduler@ctl-1`); `A` aborted by the server, `R` rerun.
`Exit_status=271` is 256 + SIGTERM, `-29` the walltime limit.  Whether a signal was the owner's, the server's or another's is not in the
record of the end.

The server writes its own fields first: of a name that comes twice the first one holds, since names further on can be a user's.

Layout: by knowledge of the PBS Professional Administrator's Guide; the codes of JOB_EXEC_* as sites document them.
NOT VERIFIED ON REAL LINES.
Holds: linear time.
"""

import re
from collections.abc import Sequence

from pipeline.errors import UnknownFormat
from pipeline.formats.choosing import DIGITS
from pipeline.formats.fields import EVENT_TIME_MAX, EVENT_TIME_MIN, iso_time, text_of
from pipeline.formats.line import Line, Reading
from pipeline.formats.payloads.slurm_jobcomp import own_id
from pipeline.model.events import AnyBody, ControllerJob, JobRecord, JobUpdate, Parsed
from pipeline.model.source import Source

VALUE_CHARACTERS_MAX = 4096
SIGNAL_MAX = 64
NODES_MAX = 10_000
_LINE = re.compile(
    r"([0-9]{2})/([0-9]{2})/(20[0-9]{2}) ([0-9]{2}:[0-9]{2}:[0-9]{2});([A-Z]);"
    r"([0-9]{1,10})((?:\[[0-9]{0,10}\])?)(?:\.[A-Za-z0-9.-]{1,255})?;"
)
_CLAIM = re.compile(rb"[0-9]{2}/[0-9]{2}/20[0-9]{2} [0-9:]{8};[A-Z];")
_PAIR = re.compile(r"[; ]([A-Za-z_][A-Za-z0-9_.]{0,80})=(?:\"([^\"]{0,4096})\"|(\S*))")
_HOST = re.compile(r"(?:^|\+)\(?([A-Za-z0-9._-]{1,255})")
_LIMIT = re.compile(r"([0-9]{1,6}):([0-5][0-9]):([0-5][0-9])")
_LIMITS = {-29: "TIMEOUT", -27: "OUT_OF_MEMORY"}
_DAEMONS = frozenset({"Scheduler", "PBS_Server", "pbs_server", "pbs_mom"})  # PBS itself, to preempt or by a dependency; nobody logs in so
_PASSED = ("group", "project", "Resource_List.select", "resources_used.walltime", "run_count")


class Pbs:
    """PBS Professional and OpenPBS, `server_priv/accounting`."""

    name = "pbs"
    source = Source.JOBCOMP
    programs = ("pbs",)
    shape = DIGITS, rb"[0-9]{2}/[0-9]{2}/20[0-9]{2} [0-9:]{8};[QSEDAR];"
    first_bytes = b"0123456789"

    def claims(self, payload: bytes) -> bool:
        """A date, a time and a letter between semicolons."""
        return _CLAIM.match(payload) is not None

    def parse(self, line: Line, reading: Reading) -> Sequence[Parsed]:
        """One event; none for lines about licences and reservations.  Raises UnknownFormat for other text."""
        text = text_of(line.payload)
        head = _LINE.match(text)
        if head is None:
            if _CLAIM.match(line.payload) is None:
                raise UnknownFormat("no line of PBS's accounting log")
            return ()
        month, day, year, clock, kind, job, index = head.groups()
        time = iso_time(f"{year}-{month}-{day}T{clock}", reading)
        fields: dict[str, str] = {}
        for name, quoted, bare in _PAIR.findall(text, head.end() - 1):
            fields.setdefault(name, quoted or bare)
        body = _body(kind, job, f"{job}{index}" if index else "", fields)
        if body is None:
            return ()
        rest = {name: fields[name][:512] for name in _PASSED if fields.get(name)}
        record_id = own_id(body) if isinstance(body, JobRecord) else ""
        return (Parsed(source=Source.JOBCOMP, body=body, event_time=time, own_id=record_id, unmapped=rest),)


def _body(kind: str, job: str, array: str, fields: dict[str, str]) -> AnyBody | None:
    if kind == "D":
        by = fields.get("requestor", "")[:VALUE_CHARACTERS_MAX]
        if by.partition("@")[0] in _DAEMONS:
            return ControllerJob(job=job, change="deleted", detail=by)
        return JobUpdate(job=job, change="delete", value=by)
    if kind in "AR":
        return ControllerJob(job=job, change="cancelled" if kind == "A" else "requeued", detail="aborted" if kind == "A" else "rerun")
    if kind not in "QSE":
        return None
    status = fields.get("Exit_status", "")
    number = int(status) if re.fullmatch(r"-?[0-9]{1,5}", status) else None
    signal = number - 256 if number is not None and 256 < number <= 256 + SIGNAL_MAX else None
    state = {"Q": "PENDING", "S": "RUNNING", "E": "COMPLETED" if number == 0 else "FAILED"}[kind]
    limit = _LIMIT.fullmatch(fields.get("Resource_List.walltime", ""))
    gpus = fields.get("Resource_List.ngpus", "")
    return JobRecord(
        job=job,
        phase={"Q": "other", "S": "start", "E": "end"}[kind],
        owner=fields.get("user", "")[:128],
        account=fields.get("account", "")[:128],
        partition=fields.get("queue", "")[:128],
        name=fields.get("jobname", "")[:VALUE_CHARACTERS_MAX],
        state=_LIMITS.get(number, state) if number is not None else state,
        submit=_seconds(fields.get("ctime", "")),
        start=_seconds(fields.get("start", "")),
        end=_seconds(fields.get("end", "")),
        nodes=tuple(dict.fromkeys(_HOST.findall(fields.get("exec_host", ""))))[:NODES_MAX],
        exit_code=number if number is not None and 0 <= number <= 256 else None,
        exit_signal=signal,
        gpus=int(gpus) if gpus.isascii() and gpus.isdigit() and len(gpus) <= 9 else None,
        time_limit_seconds=(int(limit[1]) * 60 + int(limit[2])) * 60 + int(limit[3]) if limit else None,
        array=array,
    )


def _seconds(text: str) -> int | None:
    time = int(text) * 1000 if text.isascii() and text.isdigit() and len(text) <= 12 else 0
    return time if EVENT_TIME_MIN <= time < EVENT_TIME_MAX else None


FORMAT = Pbs()
