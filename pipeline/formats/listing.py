"""What a scheduler prints of the jobs it has in; those that are not over out.

    sacct -P            rows of columns; their names in the first line, else those of `payloads/sacct.py` in that order
    squeue -o FORMAT    rows in the order of SQUEUE_FORMAT
    sacct --json, squeue --json
    kubectl get pods,jobs -o json    see formats/listing_kubernetes.py

Which of them a text is, it tells itself.  Steps and jobs that are over are left out.

Holds: a row that cannot be read is told and does not hide the others; scripts, command lines and environments are not passed on.
"""

import codecs
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, TypeVar
from zoneinfo import ZoneInfo

import msgspec

from pipeline.errors import ConfigError, DecodeError, RejectedRecord
from pipeline.formats.fields import (
    ENDED_STATES,
    checked_time,
    expand_nodes,
    gpus_of,
    iso_time,
    job_state,
    json_object,
    limit_seconds,
    optional_int,
)
from pipeline.formats.json_event import at, int_at, text_at
from pipeline.formats.line import Line, Reading
from pipeline.formats.listing_kubernetes import OWNER_NAMES, REFUSED_MAX, workloads
from pipeline.formats.payloads import sacct, sacct_json
from pipeline.formats.payloads.bootstrap import NODES_MAX, ListedJob
from pipeline.model.events import JobRecord, Parsed

SQUEUE_FORMAT = "%A|%i|%u|%U|%a|%P|%q|%T|%V|%S|%l|%N|%b|%Z|%j"
TIME_FORMAT = "%Y-%m-%dT%H:%M:%S%z"
COMMANDS = {
    "sacct": f"SLURM_TIME_FORMAT='{TIME_FORMAT}' sacct -a -D -P -s RUNNING,PENDING,SUSPENDED --format={','.join(sacct.COLUMNS)}",
    "squeue": f"SLURM_TIME_FORMAT='{TIME_FORMAT}' squeue -a -o '{SQUEUE_FORMAT}'",
    "kubernetes": "kubectl get pods,jobs --all-namespaces -o json",
}
Row = TypeVar("Row")

_UTC = Reading(zone=ZoneInfo("UTC"), reference_time=0)
_SQUEUE_COLUMNS = SQUEUE_FORMAT.count("|") + 1
_LIMIT = re.compile(r"(?:([0-9]{1,6})-)?(?:([0-9]{1,2}):)?([0-9]{1,2}):([0-9]{2})")
_GPU_PER_NODE = re.compile(r"(?:gres[/:])?gpu(?::[A-Za-z0-9_.-]{1,64})?:([0-9]{1,6})(?:\(.*\))?")
_OVER = ENDED_STATES - {"REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT"}  # these wait again
_WAITING = frozenset({"PENDING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT"})


class Listing(NamedTuple):
    """What a text lists."""

    kind: str  # sacct | squeue | kubernetes
    jobs: tuple[ListedJob, ...]
    refused: tuple[str, ...]  # what could not be read, and why


def read_listing(text: bytes, reading: Reading, owner_names: Sequence[str] = OWNER_NAMES) -> Listing:
    """The jobs of a list that are not over, by id.  Raises ConfigError when it is not a list that we know."""
    text = text.removeprefix(codecs.BOM_UTF8)
    start = text.lstrip()[:1]
    if start == b"{":
        return _of_json(text, owner_names)
    lines = [line.rstrip(b"\r") for line in text.split(b"\n") if line.strip()]
    if not lines:
        return Listing("", (), ())
    first = lines[0].split(b"|")
    if b"JobID" in first or b"JobIDRaw" in first:
        return _rows("sacct", lines[1:], _sacct_rows([name.decode("utf-8", "replace") for name in first], reading))
    if first[0] == b"JOBID":
        return _rows("squeue", lines[1:], lambda row: _squeue_row(row, reading))
    if len(first) >= len(sacct.COLUMNS):
        return _rows("sacct", lines, _sacct_rows(sacct.COLUMNS, reading))
    if len(first) >= _SQUEUE_COLUMNS:
        return _rows("squeue", lines, lambda row: _squeue_row(row, reading))
    raise _unknown()


def _unknown() -> ConfigError:
    return ConfigError(
        "this is not a list of jobs that trainwatch reads", advice="Use the output of one of: " + "; ".join(COMMANDS.values())
    )


def _rows(kind: str, rows: Iterable[Row], read: Callable[[Row], ListedJob | None]) -> Listing:
    jobs: list[ListedJob] = []
    refused: list[str] = []
    for row in rows:
        try:
            job = read(row)
        except RejectedRecord as error:
            if len(refused) < REFUSED_MAX:
                refused.append(f"{_shown(row)}: {error}")
            continue
        if job is not None:
            jobs.append(job)
    return Listing(kind, tuple(jobs), tuple(refused))


def _shown(row: object) -> str:
    return row[:200].decode("utf-8", "replace") if isinstance(row, bytes) else f"job {at(row, 'job_id')}"[:200]


# --- Slurm ----------------------------------------------------------------------------------------------------------------------


def _sacct_rows(columns: Sequence[str], reading: Reading) -> Callable[[bytes], ListedJob | None]:
    """Reads rows with these columns by the parser of the export, which wants its own columns in its own order."""
    columns = columns[:-1] if columns and not columns[-1] else columns  # `-p`: a delimiter at the end
    if not {"JobIDRaw", "State", "Submit"} <= set(columns):
        raise ConfigError("the list lacks JobIDRaw, State or Submit", advice=f"Use: {COMMANDS['sacct']}")
    place = {name: columns.index(name) for name in columns}
    name_at = place.get("JobName", len(columns) - 1)

    def read(row: bytes) -> ListedJob | None:
        fields = row.split(b"|")
        if len(fields) == len(columns) + 1 and not fields[-1]:
            del fields[-1]
        surplus = len(fields) - len(columns)
        if surplus < 0:
            raise DecodeError("too few columns")
        fields[name_at : name_at + surplus + 1] = [b"|".join(fields[name_at : name_at + surplus + 1])]
        ordered = [fields[place[name]] if name in place else b"" for name in sacct.COLUMNS]
        ordered[0] = ordered[0] or ordered[1]
        return _first_job(sacct.FORMAT.parse(Line(payload=b"|".join(ordered)), reading))

    return read


def _first_job(events: Iterable[Parsed]) -> ListedJob | None:
    """A row or job is at most one record; the rest are its steps."""
    return next((_listed(event.body) for event in events if isinstance(event.body, JobRecord)), None)


def _squeue_row(row: bytes, reading: Reading) -> ListedJob | None:
    fields = row.decode("utf-8", "replace").split("|", _SQUEUE_COLUMNS - 1)
    if len(fields) < _SQUEUE_COLUMNS:
        raise DecodeError("too few columns")
    job, shown, owner, uid, account, partition, qos, state, submit, start, limit, nodes, tres, work_dir, name = map(str.strip, fields)
    if not job.isascii() or not job.isdigit():
        raise DecodeError("no job id in the first column")
    base = job_state(state)[0]
    names = expand_nodes(nodes)
    per_node = _GPU_PER_NODE.fullmatch(tres)
    return _listed(
        JobRecord(
            job=job,
            phase="other",
            owner_uid=optional_int(uid),
            owner=owner,
            account=account,
            partition=partition,
            qos=qos,
            name=name,
            state=base,
            submit=_local(submit, reading),
            start=_local(start, reading),
            nodes=names,
            gpus=int(per_node[1]) * len(names) if per_node and names else None,
            time_limit_seconds=limit_seconds(_LIMIT.fullmatch(limit)),
            work_dir=work_dir,
            array=shown if "_" in shown else "",
            het=shown if "+" in shown else "",
        )
    )


def _local(text: str, reading: Reading) -> int | None:
    return None if text in {"", "N/A", "Unknown", "None"} else iso_time(text, reading)


def _listed(record: JobRecord) -> ListedJob | None:
    """The job, unless it is over.  Of one that waits, the start is a forecast and the nodes are a plan."""
    if record.end is not None or record.state in _OVER:
        return None
    waits = record.state in _WAITING
    taken = {field: getattr(record, field) for field in ListedJob.__struct_fields__ if field not in ("start", "nodes")}
    return ListedJob(**taken, start=None if waits else record.start, nodes=() if waits else record.nodes[:NODES_MAX])


# --- JSON -----------------------------------------------------------------------------------------------------------------------


def _of_json(text: bytes, owner_names: Sequence[str]) -> Listing:
    try:
        value = json_object(text)
    except RejectedRecord as error:
        raise ConfigError(f"the list is broken: {error}", advice="Was it cut off? Take it again.") from error
    jobs, items = value.get("jobs"), value.get("items")
    if isinstance(items, list):
        return Listing("kubernetes", *workloads(items, text_at(value, "kind").removesuffix("List"), owner_names))
    if isinstance(jobs, list):
        from_squeue = any(isinstance(job, dict) and "job_state" in job for job in jobs)
        return _rows("squeue", jobs, _squeue_job) if from_squeue else _rows("sacct", jobs, _sacct_job)
    raise _unknown()


def _sacct_job(job: Any) -> ListedJob | None:
    return _first_job(sacct_json.FORMAT.parse(Line(payload=msgspec.json.encode(job)), _UTC))


def _squeue_job(job: Any) -> ListedJob | None:
    raw, state = _number(job, "job_id"), at(job, "job_state")
    if raw is None:
        raise DecodeError("a job without job_id")
    base = job_state(state[0] if isinstance(state, list) and state and isinstance(state[0], str) else text_at(job, "job_state"))[0]
    limit, array, het = _number(job, "time_limit"), _number(job, "array_job_id"), _number(job, "het_job_id")
    task, offset = _number(job, "array_task_id"), _number(job, "het_job_offset")
    return _listed(
        JobRecord(
            job=str(raw),
            phase="other",
            owner_uid=_number(job, "user_id"),
            owner=text_at(job, "user_name"),
            account=text_at(job, "account"),
            partition=text_at(job, "partition"),
            qos=text_at(job, "qos"),
            name=text_at(job, "name"),
            state=base,
            submit=_seconds_since_1970(job, "submit_time"),
            start=_seconds_since_1970(job, "start_time"),
            nodes=expand_nodes(text_at(job, "nodes")),
            gpus=gpus_of(text_at(job, "tres_alloc_str")),
            restarts=_number(job, "restart_cnt"),
            time_limit_seconds=None if limit is None else limit * 60,
            work_dir=text_at(job, "current_working_directory"),
            std_out=text_at(job, "standard_output"),
            array=f"{array}_{task}" if array and task is not None else "",
            het=f"{het}+{offset}" if het and offset is not None else "",
        )
    )


def _number(job: Any, name: str) -> int | None:
    """A bare number, or a wrapped one that is set and finite."""
    value = at(job, name)
    if isinstance(value, dict):
        if not value.get("set") or value.get("infinite"):
            return None
        return int_at(value, "number", maximum=0xFFFFFFFF)
    return int_at(job, name, maximum=0xFFFFFFFF)


def _seconds_since_1970(job: Any, name: str) -> int | None:
    seconds = _number(job, name)
    return checked_time(seconds * 1000) if seconds else None
