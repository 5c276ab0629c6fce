"""A row of `sacct --parsable2` in; a JobRecord for a job, a JobStep for a step, nothing for the header line.

sacct knows what jobcomp does not: who cancelled (`CANCELLED by <uid>`, on the job row only) and the steps.  A row does not name its
columns, and each record is read alone, so they are those below or those that the settings name (`sources[].columns`): a header line that
names others is refused, and so are the rows that cannot be theirs.  The export is best

    SLURM_TIME_FORMAT='%Y-%m-%dT%H:%M:%S%z' sacct -a -D -P --format=<COLUMNS>

`-D` because sacct otherwise shows only the last attempt of a requeued job; the time format because sacct's own is local time without
offset, which is read too, in the zone of the source.  `-p`, with its `|` at the end of a row, is read as well.

Exports overlap by design, so a row comes again and again: its own id is made of job, attempt and state.

The delimiter is `|`, or the unit separator of `--delimiter=$'\\x1f'`: whichever stands after the job's id, which no owner chooses.  Of the
columns below only the job's name is its owner's free text, and it may hold the delimiter: columns after it are counted from the end, so
that no name can shift the state or the uid after it.  With several such columns a row with too many delimiters is refused.

What nobody can see is a line end in a name: sacct prints it as it is, and the next line is a row of the name's owner's making.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from pipeline.errors import ConfigError, SchemaMismatch, UnknownFormat
from pipeline.formats.choosing import DIGITS
from pipeline.formats.fields import (
    ENDED_STATES,
    UNMAPPED_TEXT_LENGTH_MAX,
    code_and_signal,
    expand_nodes,
    gpus_of,
    iso_time,
    job_state,
    limit_seconds,
    optional_int,
    text_of,
)
from pipeline.formats.line import Line, Reading
from pipeline.formats.payloads.slurm_jobcomp import own_id
from pipeline.model.events import JobRecord, JobStep, Parsed
from pipeline.model.source import Source

COLUMNS = (
    "JobID", "JobIDRaw", "JobName", "User", "UID", "Account", "Partition", "QOS", "State", "ExitCode", "DerivedExitCode",
    "Submit", "Start", "End", "Elapsed", "Timelimit", "NNodes", "NodeList", "AllocTRES", "Restarts",
)  # fmt: skip
DELIMITERS_MIN = 2
COLUMNS_MAX = 200
NEEDED = ("JobIDRaw", "State", "Submit")  # a job, what became of it, and which attempt
_IDS = ("JobID", "JobIDRaw")
# What the owner of a job, or an administrator, writes as he likes, or where `|` means "or".
_FREE = frozenset({
    "JobName", "WorkDir", "Comment", "SubmitLine", "Extra", "WCKey", "StdOut", "StdErr", "StdIn", "Container", "Constraints",
    "AdminComment", "SystemComment", "McsLabel", "Licenses",
})  # fmt: skip
_AS_PRINTED = {name.lower(): name for name in (*COLUMNS, *_FREE)}
_NEVER_EMPTY = frozenset({*_IDS, "State", "Submit", "Start", "End", "Elapsed", "ExitCode", "NodeList", "NNodes"})
_NOT_PASSED = frozenset({*COLUMNS, "WorkDir", "SubmitLine"}) - {"Elapsed", "NNodes", "AllocTRES"}  # a command line may hold secrets
_HEADER = re.compile(rb"JobID(?:Raw)?(?:[|\x1f][A-Za-z]{1,40}){2,200}[|\x1f]?")
_BEHIND_ID = re.compile(rb"[0-9][0-9A-Za-z_+.\[\],:%*-]{0,300}([|\x1f])")

_JOB_ID = re.compile(r"([0-9]{1,10})(?:\.([0-9A-Za-z_+-]{1,64}))?")
_SHOWN_ID = re.compile(r"[0-9]{1,10}(?:(_)|(\+))?[0-9\[\],:%*-]{0,256}(?:\.[0-9A-Za-z_+-]{1,64})?")
_LIMIT = re.compile(r"(?:([0-9]{1,6})-)?([0-9]{1,2}):([0-9]{2}):([0-9]{2})")
_NO_TIME = frozenset({"", "Unknown", "None"})


class Sacct:
    """`sacct -P` with the columns above."""

    name = "sacct"
    source = Source.SACCT
    programs = ("sacct",)
    shape = DIGITS, rb"[0-9]{1,10}[^|]{0,40}\|[0-9]{1,10}[^|]{0,40}\|"
    first_bytes = b"0123456789J"

    def claims(self, payload: bytes) -> bool:
        """A job's id and some delimiters, or a header line."""
        if payload[:1].isdigit():
            found = _BEHIND_ID.match(payload)
            return found is not None and payload.count(found[1]) >= DELIMITERS_MIN
        return payload.startswith(b"JobID") and _HEADER.fullmatch(payload) is not None

    def parse(self, line: Line, reading: Reading) -> Sequence[Parsed]:
        """One event, or none for the header."""
        columns = layout(tuple(reading.columns))
        if line.payload.startswith(b"JobID") and _HEADER.fullmatch(line.payload):
            return _header(text_of(line.payload), columns)
        fields, further = _split(line.payload, columns)
        match = _JOB_ID.fullmatch(fields[1])
        shown = _SHOWN_ID.fullmatch(fields[0])
        if match is None or shown is None:
            raise UnknownFormat("no row of sacct: it does not begin with job ids")
        job, step = match.groups()
        submit, start, end = [None if text in _NO_TIME else iso_time(text, reading) for text in fields[11:14]]
        event_time = next((time for time in (end, start, submit) if time is not None), None)
        if step is None:
            record = _job(job, shown, fields, submit, start, end, further.pop("WorkDir", ""))
            return (Parsed(source=Source.SACCT, body=record, event_time=event_time, own_id=own_id(record), unmapped=further),)
        body = _step(job, step, fields, start, end)
        identity = JobRecord(job=f"{job}.{step}", phase="", state=body.state, submit=submit, start=start, end=end)
        return (Parsed(source=Source.SACCT, body=body, event_time=event_time, own_id=own_id(identity)),)


class Layout(NamedTuple):
    """Where the columns of an export stand."""

    names: tuple[str, ...]
    free: int  # the only column that an owner writes; -1: there is none, or more than one
    may_be_empty: bool  # the last one
    places: tuple[int, ...]  # of COLUMNS; -1: not exported
    further: tuple[tuple[str, int], ...]  # what passes through


@lru_cache(maxsize=64)
def layout(columns: tuple[str, ...]) -> Layout:
    """Of the columns that the settings name; none: COLUMNS.  Raises ConfigError for those by which no row could be read safely."""
    names = columns or COLUMNS
    advice = f"Name the columns of the export in their order, for example those of README: {','.join(COLUMNS)}."
    if names[0] not in _IDS or not set(NEEDED) <= set(names) or len(set(names)) < len(names) or len(names) > COLUMNS_MAX:
        raise ConfigError(f"columns of sacct begin with JobID or JobIDRaw and hold {', '.join(NEEDED)}, each once", advice=advice)
    for name in names:  # or a free text would be taken for none, and its owner could shift what stands after it
        if (printed := _AS_PRINTED.get(name.partition("%")[0].lower(), name)) != name:
            raise ConfigError(f"column {name!r} of sacct is not written as its header line has it: {printed}", advice=advice)
    if names[-1] not in _NEVER_EMPTY and names != COLUMNS:
        raise ConfigError(f"the last column of sacct must be one that is never empty: {', '.join(sorted(_NEVER_EMPTY))}", advice=advice)
    free = [number for number, name in enumerate(names) if name in _FREE]
    places = tuple(names.index(name) if name in names else -1 for name in COLUMNS)
    further = tuple((name, number) for number, name in enumerate(names) if name not in _NOT_PASSED or name == "WorkDir")
    return Layout(names, free[0] if len(free) == 1 else -1, names == COLUMNS, places, further)


def _header(text: str, columns: Layout) -> Sequence[Parsed]:
    """Of no interest where it names what is expected; else it says what to set."""
    names = re.split(r"[|\x1f]", text.rstrip("|\x1f"))
    if tuple(names) != columns.names:
        raise SchemaMismatch(f"other columns than expected; the source needs `columns: [{', '.join(names)}]`"[:2000])
    return ()


def _split(payload: bytes, columns: Layout) -> tuple[list[str], dict[str, str]]:
    """The fields in the order of COLUMNS, and what passes through."""
    found = _BEHIND_ID.match(payload)
    if found is None:
        raise UnknownFormat("no row of sacct: it does not begin with a job's id")
    delimiter = found[1].decode()
    fields = text_of(payload).split(delimiter)
    surplus = len(fields) - len(columns.names)
    if surplus > 0 and not fields[-1] and (not columns.may_be_empty or not fields[-2] or fields[-2].isdigit()):
        del fields[-1]  # -p: a delimiter after the last column, which holds something, or a number or nothing (Restarts)
        surplus -= 1
    if surplus < 0:
        raise UnknownFormat("too few columns for a row of sacct, or others than the settings name")
    if surplus:
        if columns.free < 0:
            raise SchemaMismatch("too many columns for a row of sacct, and more than one that may hold the delimiter, or none")
        fields[columns.free : columns.free + surplus + 1] = [delimiter.join(fields[columns.free : columns.free + surplus + 1])]
    further = {name: fields[number][:UNMAPPED_TEXT_LENGTH_MAX] for name, number in columns.further}
    ordered = [fields[place] if place >= 0 else "" for place in columns.places]
    ordered[0] = ordered[0] or ordered[1]
    return ordered, further


def _job(
    job: str, shown: re.Match[str], fields: list[str], submit: int | None, start: int | None, end: int | None, work_dir: str
) -> JobRecord:
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
        time_limit_seconds=limit_seconds(_LIMIT.fullmatch(fields[15])),
        work_dir=work_dir,
        array=shown[0] if shown[1] else "",
        het=shown[0] if shown[2] else "",
    )


def _step(job: str, step: str, fields: list[str], start: int | None, end: int | None) -> JobStep:
    state, _ = job_state(fields[8])
    code, signal = code_and_signal(fields[9])
    return JobStep(
        job=job, step=step, state=state, start=start, end=end, nodes=expand_nodes(fields[17]), exit_code=code, exit_signal=signal
    )


FORMAT = Sacct()
