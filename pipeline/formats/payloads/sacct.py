"""A row of `sacct --parsable2` in; a JobRecord for a job, a JobStep for a step, nothing for the header line.

sacct knows what jobcomp does not: who cancelled (`CANCELLED by <uid>`, on the job row only) and the steps.  A row does not name its
columns, and each record is read alone, so the columns are fixed.  The export must be

    SLURM_TIME_FORMAT='%Y-%m-%dT%H:%M:%S%z' sacct -a -D -P --format=<COLUMNS>

`-D` because sacct otherwise shows only the last attempt of a requeued job; the time format because sacct's own is local time without
offset, which is read too, in the zone of the source.  `-p`, with its `|` at the end of a row, is read as well.

Exports overlap by design, so a row comes again and again: its own id is made of job, attempt and state.

Only the job's name is its owner's free text, and it may hold the delimiter: columns after it are counted from the end, so that no
name can shift the state or the uid behind it.
"""

import re
from collections.abc import Sequence

from pipeline.errors import SchemaMismatch, UnknownFormat
from pipeline.formats.fields import ENDED_STATES, code_and_signal, expand_nodes, gpus_of, iso_time, job_state, optional_int, text_of
from pipeline.formats.line import Line, Reading
from pipeline.formats.payloads.slurm_jobcomp import own_id
from pipeline.model.events import JobRecord, JobStep, Parsed
from pipeline.model.source import Source

COLUMNS = (
    "JobID", "JobIDRaw", "JobName", "User", "UID", "Account", "Partition", "QOS", "State", "ExitCode", "DerivedExitCode",
    "Submit", "Start", "End", "Elapsed", "Timelimit", "NNodes", "NodeList", "AllocTRES", "Restarts",
)  # fmt: skip
_HEADER = "|".join(COLUMNS).encode()
_HEADERS = frozenset({_HEADER, _HEADER + b"|"})
_DELIMITERS = len(COLUMNS) - 1
_NAME = COLUMNS.index("JobName")

_JOB_ID = re.compile(r"([0-9]{1,10})(?:\.([0-9A-Za-z_+-]{1,64}))?")
_SHOWN_ID = re.compile(r"[0-9]{1,10}(?:(_)|(\+))?[0-9\[\],:%*-]{0,256}(?:\.[0-9A-Za-z_+-]{1,64})?")
_LIMIT = re.compile(r"(?:([0-9]{1,6})-)?([0-9]{1,2}):([0-9]{2}):([0-9]{2})")
_NO_TIME = frozenset({"", "Unknown", "None"})


class Sacct:
    """`sacct -P` with the columns above."""

    name = "sacct"
    source = Source.SACCT

    def claims(self, payload: bytes) -> bool:
        """A number and enough delimiters, or the header line."""
        if payload[:1].isdigit():
            return payload.count(b"|") >= _DELIMITERS
        return payload in _HEADERS

    def parse(self, line: Line, reading: Reading) -> Sequence[Parsed]:
        """One event, or none for the header."""
        if line.payload in _HEADERS:
            return ()
        fields = _split(text_of(line.payload))
        match = _JOB_ID.fullmatch(fields[1])
        shown = _SHOWN_ID.fullmatch(fields[0])
        if match is None or shown is None:
            raise UnknownFormat("no row of sacct: it does not begin with job ids")
        job, step = match.groups()
        times = submit, start, end = [None if text in _NO_TIME else iso_time(text, reading) for text in fields[11:14]]
        event_time = next((time for time in (end, start, submit) if time is not None), None)
        if step is None:
            record = _job(job, shown, fields, *times)
            rest = {name: fields[COLUMNS.index(name)] for name in ("Elapsed", "NNodes", "AllocTRES")}
            return (Parsed(source=Source.SACCT, body=record, event_time=event_time, own_id=own_id(record), unmapped=rest),)
        body = _step(job, step, fields, start, end)
        identity = JobRecord(job=f"{job}.{step}", phase="", state=body.state, submit=submit, start=start, end=end)
        return (Parsed(source=Source.SACCT, body=body, event_time=event_time, own_id=own_id(identity)),)


def _split(text: str) -> list[str]:
    fields = text.split("|")
    if len(fields) > len(COLUMNS) and not fields[-1] and (not fields[-2] or fields[-2].isdigit()):
        del fields[-1]  # -p: a delimiter behind the last column, which holds a number or nothing
    surplus = len(fields) - len(COLUMNS)
    if surplus < 0:
        raise UnknownFormat("too few columns for a row of sacct")
    if surplus:
        fields[_NAME : _NAME + surplus + 1] = ["|".join(fields[_NAME : _NAME + surplus + 1])]
    return fields


def _job(job: str, shown: re.Match[str], fields: list[str], submit: int | None, start: int | None, end: int | None) -> JobRecord:
    state, cancelled_by = job_state(fields[8])
    if not state:
        raise SchemaMismatch("a job row without state")
    exit_code, exit_signal = code_and_signal(fields[9])
    derived_code, derived_signal = code_and_signal(fields[10])
    return JobRecord(
        job=job,
        phase="end" if state in ENDED_STATES and end is not None else "other",
        owner_uid=optional_int(fields[4]),
        owner=fields[3],
        account=fields[5],
        partition=fields[6],
        qos=fields[7],
        name=fields[2],
        state=state,
        submit=submit,
        start=start,
        end=end,
        nodes=expand_nodes(fields[17]),
        exit_code=exit_code,
        exit_signal=exit_signal,
        derived_code=derived_code,
        derived_signal=derived_signal,
        cancelled_by_uid=cancelled_by,
        gpus=gpus_of(fields[18]),
        restarts=optional_int(fields[19]),
        time_limit_seconds=_seconds(fields[15]),
        array=shown[0] if shown[1] else "",
        het=shown[0] if shown[2] else "",
    )


def _step(job: str, step: str, fields: list[str], start: int | None, end: int | None) -> JobStep:
    state, _ = job_state(fields[8])
    code, signal = code_and_signal(fields[9])
    return JobStep(
        job=job, step=step, state=state, start=start, end=end, nodes=expand_nodes(fields[17]), exit_code=code, exit_signal=signal
    )


def _seconds(limit: str) -> int | None:
    """`D-HH:MM:SS`; None for a limit that is none (UNLIMITED, Partition_Limit, empty)."""
    match = _LIMIT.fullmatch(limit)
    if match is None:
        return None
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds


FORMAT = Sacct()
