"""A line that Slurm's `jobcomp/filetxt` plugin wrote in; one JobRecord out.

    JobId=48213 UserId=u017(5017) GroupId=llm(5000) Name=pretrain 7b JobState=CANCELLED Partition=h800 TimeLimit=2880 StartTime=..
    EndTime=.. NodeList=gpu-[001-004] NodeCnt=4 ProcCnt=512 WorkDir=/lustre/run 7 ReservationName= Tres=.. Account=llm QOS=normal
    WcKey=* Cluster=main SubmitTime=.. EligibleTime=.. DerivedExitCode=0:9 ExitCode=0:15

The fields have a fixed order and no quotes.  Times are local; `TimeLimit` is minutes.  Older versions write `Gres=` in the place of `Tres=`
and stop earlier.  The record is the same as that of `jobcomp/kafka`, under the same id, and like it never says who cancelled.

Name and WorkDir are their owner's free text, and either may hold a whole ` JobState=COMPLETED Partition=.. WorkDir=`.  Which of two
such runs is Slurm's own cannot be told, so a line with two of them is broken rather than believed; what follows the WorkDir
is read from the end, where no user's text reaches.

Source: github.com/SchedMD/slurm src/plugins/jobcomp/filetxt/jobcomp_filetxt.c (JOB_FORMAT); lines quoted in public reports.
Holds: linear time.
"""

import re
from collections.abc import Sequence

from pipeline.errors import DecodeError, SchemaMismatch, UnknownFormat
from pipeline.formats.fields import ENDED_STATES, bounded_int, code_and_signal, expand_nodes, gpus_of, iso_time, job_state, text_of
from pipeline.formats.line import Line, Reading
from pipeline.formats.payloads.slurm_jobcomp import own_id
from pipeline.model.events import JobRecord, Parsed
from pipeline.model.source import Source

TEXT_CHARACTERS_MAX = 4096
_HEAD = re.compile(r"JobId=([0-9]{1,10}) UserId=([^()=]{0,128})\(([0-9]{1,10})\) GroupId=([^()=]{0,128})\([0-9]{1,10}\) Name=")
_MIDDLE = re.compile(
    r" JobState=([A-Z_]{1,40}) Partition=(\S{0,256}) TimeLimit=(\S{1,20}) StartTime=(\S{1,32}) EndTime=(\S{1,32}) "
    r"NodeList=(\S*) NodeCnt=[0-9]{1,10} (?:ProcCnt=[0-9]{1,10} )?WorkDir="
)
_PAIR = re.compile(r" ([A-Z][A-Za-z]{1,30})=(\S*)")
_PASSED = ("ReservationName", "Tres", "Gres", "WcKey", "Cluster", "EligibleTime")
_NO_TIME = frozenset({"", "Unknown", "unknown", "None"})


class JobcompFiletxt:
    """The plugin's text line."""

    name = "jobcomp_filetxt"
    source = Source.JOBCOMP
    programs = ("jobcomp", "job_comp")
    begins = (b"JobId=",)
    first_bytes = b"J"

    def claims(self, payload: bytes) -> bool:
        """The first field, and the second."""
        return payload.startswith(b"JobId=") and b" UserId=" in payload[:32]

    def parse(self, line: Line, reading: Reading) -> Sequence[Parsed]:
        """One JobRecord.  Raises DecodeError where a user's text imitates the fields after it."""
        text = text_of(line.payload)
        head = _HEAD.match(text)
        if head is None:
            raise UnknownFormat("no line of jobcomp/filetxt")
        middle = _MIDDLE.search(text, head.end())
        if middle is None:
            raise SchemaMismatch("a job's record without state, times or nodes")
        if _MIDDLE.search(text, middle.end() - len(" WorkDir=")) is not None:
            raise DecodeError("a name or folder imitates the fields of the record")
        start = text.rfind(" ReservationName=", middle.end())
        end = len(text) if start < 0 else start
        tail = dict(_PAIR.findall(text, end))
        record = _record(head, middle, tail, text, end, reading)
        rest = {name: tail[name][:512] for name in _PASSED if tail.get(name)}
        time = (
            record.end if record.phase == "end" else next((at for at in (record.end, record.start, record.submit) if at is not None), None)
        )
        return (Parsed(source=Source.JOBCOMP, body=record, event_time=time, own_id=own_id(record), unmapped=rest),)


def _record(head: re.Match[str], middle: re.Match[str], tail: dict[str, str], text: str, end: int, reading: Reading) -> JobRecord:
    state, cancelled_by = job_state(middle[1])
    ended = _time(middle[5], reading)
    exit_code, exit_signal = code_and_signal(tail.get("ExitCode"))
    derived_code, derived_signal = code_and_signal(tail.get("DerivedExitCode"))
    limit = middle[3]
    return JobRecord(
        job=head[1],
        phase="end" if state in ENDED_STATES else "other",
        owner_uid=bounded_int(head[3]),
        owner=head[2],
        account=tail.get("Account", ""),
        partition=middle[2],
        qos=tail.get("QOS", ""),
        name=text[head.end() : middle.start()][:TEXT_CHARACTERS_MAX],
        state=state,
        submit=_time(tail.get("SubmitTime", ""), reading),
        start=_time(middle[4], reading),
        end=ended,
        nodes=expand_nodes(middle[6]),
        exit_code=exit_code,
        exit_signal=exit_signal,
        derived_code=derived_code,
        derived_signal=derived_signal,
        cancelled_by_uid=cancelled_by,
        gpus=gpus_of(tail.get("Tres")),
        time_limit_seconds=int(limit) * 60 if limit.isascii() and limit.isdigit() and len(limit) <= 8 else None,
        work_dir=text[middle.end() : end][:TEXT_CHARACTERS_MAX],
        array=_pair(tail, "ArrayJobId", "_", "ArrayTaskId"),
        het=_pair(tail, "HetJobId", "+", "HetJobOffset"),
    )


def _pair(tail: dict[str, str], first: str, sign: str, second: str) -> str:
    return f"{tail[first]}{sign}{tail[second]}"[:32] if first in tail and second in tail else ""


def _time(text: str, reading: Reading) -> int | None:
    return None if text in _NO_TIME else iso_time(text, reading)


FORMAT = JobcompFiletxt()
