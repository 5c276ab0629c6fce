"""A line of LSF's `lsb.acct` or `lsb.events` in; a finished job, or a request to signal one, out.

    "JOB_FINISH" "10.1" 1772451641 48213 5017 33 8 1772447981 0 0 1772448041 "u017" "gpu" .. 8 "gpu-001" .. 32 60.0 "pretrain" ..
    "JOB_SIGNAL" "10.1" 1772451641 48213 5099 1 "KILL" 0 "u099" ..

Fields have places, not names, and texts are quoted with a doubled quote for a quote, so that no user's text can shift what follows.
Times are UNIX seconds.  The state is 64 (done) or 32 (exit), the exit status a wait status.  A host is written once
for each slot, or as `8*gpu-001`.

Of a signal IBM's pages call the user once the one who invokes the command and once the submitter, so that the uid stays in `unmapped`
and accuses nobody.

Layout: ibm.com/docs lsb.acct and lsb.events references and signalLog (hpc.dtu.dk/lsf931/api_ref/structsignalLog.html); the order within
JOB_FINISH by knowledge of them.  NOT VERIFIED ON REAL LINES.
Holds: linear time; records of other kinds are known and pass.
"""

import re
from collections.abc import Sequence

from pipeline.errors import SchemaMismatch, UnknownFormat
from pipeline.formats.fields import EVENT_TIME_MAX, EVENT_TIME_MIN, bounded_int, checked_time, text_of
from pipeline.formats.line import Line, Reading
from pipeline.formats.payloads.slurm_jobcomp import own_id
from pipeline.model.events import JobRecord, JobUpdate, Parsed
from pipeline.model.source import Source

FIELDS_MAX = 200_000
TEXT_CHARACTERS_MAX = 4096
RUSAGE_FIELDS = 19
_DONE, _EXIT = 64, 32
_KIND = re.compile(rb'"[A-Z][A-Z0-9_]{2,30}" "[0-9.]{1,12}" [0-9]{9,11} ')
_FIELD = re.compile(r'(?:"((?:[^"]|"")*+)"|(\S++))(?: |$)')  # gives nothing back, and is asked only where the last one ended
_SLOT = re.compile(r"(?:[0-9]{1,6}\*)?([A-Za-z0-9._-]{1,255})")


class Lsf:
    """LSF's accounting and event files."""

    name = "lsf"
    source = Source.JOBCOMP
    programs = ("lsf", "lsb", "mbatchd")
    begins = (b'"JOB_',)
    first_bytes = b'"'

    def claims(self, payload: bytes) -> bool:
        """A quoted kind, a quoted version and a time."""
        return payload[:1] == b'"' and _KIND.match(payload) is not None

    def parse(self, line: Line, reading: Reading) -> Sequence[Parsed]:  # noqa: ARG002 - its clock is UTC
        """One event, or none.  Raises UnknownFormat for other text, SchemaMismatch for a record cut short."""
        if _KIND.match(line.payload) is None:
            raise UnknownFormat("no record of LSF")
        text = text_of(line.payload)
        if text.startswith('"JOB_FINISH"'):
            record, rest = _finished(_Fields(text))
            return (Parsed(source=Source.JOBCOMP, body=record, event_time=record.end, own_id=own_id(record), unmapped=rest),)
        if text.startswith('"JOB_SIGNAL"'):
            fields = _Fields(text)
            fields.skip(2)
            time, job, uid = checked_time(fields.number() * 1000), fields.number(), fields.number()
            fields.skip(1)
            body = JobUpdate(job=str(job), change="signal", value=fields.text()[:64])
            return (Parsed(source=Source.JOBCOMP, body=body, event_time=time, unmapped={"invoked_by_or_submitter": str(uid)}),)
        return ()


class _Fields:
    """The fields of a record, one after the other."""

    def __init__(self, text: str) -> None:
        self._text, self._at, self._count = text, 0, 0

    def text(self) -> str:
        """The next one."""
        found = _FIELD.match(self._text, self._at)
        self._count += 1
        if found is None or self._count > FIELDS_MAX:
            raise SchemaMismatch("a record of LSF is cut short, or has too many fields")
        self._at = found.end()
        return found[2] if found[1] is None else found[1].replace('""', '"')

    def number(self) -> int:
        """The next one as a whole number."""
        return bounded_int(self.text(), 2**40)

    def skip(self, count: int) -> None:
        """Leave some out."""
        for _ in range(count):
            self.text()

    def list(self) -> list[str]:
        """A count and that many texts."""
        return [self.text() for _ in range(min(self.number(), FIELDS_MAX))]


def _finished(fields: _Fields) -> tuple[JobRecord, dict[str, str]]:
    fields.skip(2)
    end, job, uid = fields.number(), fields.number(), fields.number()
    fields.skip(2)  # options, number of processors
    submit = fields.number()
    fields.skip(2)  # begin and termination time asked for
    start = fields.number()
    user, queue = fields.text(), fields.text()
    fields.skip(3)  # resources, dependency, pre-execution command
    host, folder = fields.text(), fields.text()
    fields.skip(1)
    output = fields.text()
    fields.skip(2)  # error and job file
    fields.list()  # hosts asked for
    slots = fields.list()
    state = fields.number()
    fields.skip(1)
    name = fields.text()
    fields.skip(1 + RUSAGE_FIELDS)  # command, usage
    fields.skip(1)
    project, status = fields.text(), fields.number()
    names = (_SLOT.fullmatch(slot) for slot in slots)
    record = JobRecord(
        job=str(job),
        phase="end",
        owner_uid=uid,
        owner=user[:128],
        partition=queue[:128],
        name=name[:TEXT_CHARACTERS_MAX],
        state={_DONE: "COMPLETED", _EXIT: "FAILED"}.get(state, ""),
        submit=_time(submit),
        start=_time(start),
        end=checked_time(end * 1000),
        nodes=tuple(dict.fromkeys(found[1] for found in names if found)),
        submit_host=host[:255],
        exit_code=status >> 8 & 0xFF,
        exit_signal=status & 0x7F,
        work_dir=folder[:TEXT_CHARACTERS_MAX],
        std_out=output[:TEXT_CHARACTERS_MAX],
    )
    return record, {"project": project[:128]} if project else {}


def _time(seconds: int) -> int | None:
    return seconds * 1000 if EVENT_TIME_MIN <= seconds * 1000 < EVENT_TIME_MAX else None


FORMAT = Lsf()
