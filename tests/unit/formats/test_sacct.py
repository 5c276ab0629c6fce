"""Rows of sacct: jobs, steps, header, both delimiters' habits, names that hold the delimiter."""

from collections.abc import Sequence
from zoneinfo import ZoneInfo

import msgspec
import pytest

from pipeline.errors import ConfigError, DecodeError, RejectedRecord, SchemaMismatch, TimestampOutOfRange, UnknownFormat
from pipeline.formats import registry
from pipeline.formats.line import Line, Reading
from pipeline.formats.payloads import sacct
from pipeline.ingest import step as ingest
from pipeline.ingest.reading import SourceReader
from pipeline.model.events import JobRecord, JobStep, Parsed
from pipeline.model.outcome import EventRow, Record
from pipeline.model.source import FAMILIES, Source
from pipeline.settings import Settings
from pipeline.stream.cases import Cases
from pipeline.stream.watermark import NOTHING

READING = Reading(zone=ZoneInfo("Asia/Shanghai"), reference_time=1_772_452_000_000)
SUBMIT, START, END = 1_772_420_280_000, 1_772_420_650_000, 1_772_451_655_000
JOB = {
    "JobID": "48213", "JobIDRaw": "48213", "JobName": "pretrain", "User": "u017", "UID": "5017", "Account": "llm", "Partition": "h800",
    "QOS": "normal", "State": "CANCELLED by 5012", "ExitCode": "0:15", "DerivedExitCode": "0:9",
    "Submit": "2026-03-02T10:58:00+0800", "Start": "2026-03-02T11:04:10+0800", "End": "2026-03-02T19:40:55+0800",
    "Elapsed": "08:36:45", "Timelimit": "2-00:00:00", "NNodes": "2", "NodeList": "gpu-[001-002]",
    "AllocTRES": "billing=256,cpu=256,gres/gpu=16,node=2", "Restarts": "1",
}  # fmt: skip
STEP = JOB | {
    "JobID": "48213.0", "JobIDRaw": "48213.0", "JobName": "torchrun", "User": "", "UID": "", "Partition": "", "QOS": "",
    "State": "CANCELLED", "DerivedExitCode": "", "Timelimit": "", "Restarts": "",
}  # fmt: skip


def row(base: dict[str, str], **changed: str) -> str:
    """A row as `sacct -P` writes it."""
    return "|".join((base | changed)[column] for column in sacct.COLUMNS)


def parse(text: str) -> Parsed:
    """The one event of a row, as sniffing finds it."""
    format_, events = registry.parse(Line(payload=text.encode()), READING)
    assert format_ is sacct.FORMAT
    (event,) = events
    return event


def job(**changed: str) -> JobRecord:
    """The body of the job row with other fields."""
    body = parse(row(JOB, **changed)).body
    assert isinstance(body, JobRecord)
    return body


def test_a_job_row() -> None:
    """What jobcomp says, and who cancelled."""
    assert parse(row(JOB)) == Parsed(
        source=Source.SACCT,
        event_time=END,
        own_id=f"48213/{SUBMIT}/{START}/CANCELLED/{END}",
        body=JobRecord(
            job="48213",
            phase="end",
            owner_uid=5017,
            owner="u017",
            account="llm",
            partition="h800",
            qos="normal",
            name="pretrain",
            state="CANCELLED",
            submit=SUBMIT,
            start=START,
            end=END,
            nodes=("gpu-001", "gpu-002"),
            exit_code=0,
            exit_signal=15,
            derived_code=0,
            derived_signal=9,
            cancelled_by_uid=5012,
            gpus=16,
            restarts=1,
            time_limit_seconds=172800,
        ),
        unmapped={"Elapsed": "08:36:45", "NNodes": "2", "AllocTRES": JOB["AllocTRES"]},
    )


def test_a_step_row() -> None:
    """A step has its own end and exit code, and never says who cancelled."""
    assert parse(row(STEP)) == Parsed(
        source=Source.SACCT,
        event_time=END,
        own_id=f"48213.0/{SUBMIT}/{START}/CANCELLED/{END}",
        body=JobStep(
            job="48213", step="0", state="CANCELLED", start=START, end=END, nodes=("gpu-001", "gpu-002"), exit_code=0, exit_signal=15
        ),
    )


@pytest.mark.parametrize("step", ["batch", "extern", "interactive", "12", "0+1"])
def test_kinds_of_steps(step: str) -> None:
    """Every suffix is a step of the raw job id."""
    body = parse(row(STEP, JobID=f"48213_4.{step}", JobIDRaw=f"48217.{step}")).body
    assert isinstance(body, JobStep)
    assert (body.job, body.step) == ("48217", step)


def test_times_without_offset_are_local() -> None:
    """sacct's own format is local time of the source's zone."""
    body = job(Submit="2026-03-02T10:58:00", Start="2026-03-02T11:04:10", End="2026-03-02T19:40:55")
    assert (body.submit, body.start, body.end) == (SUBMIT, START, END)


def test_a_running_job() -> None:
    """No end yet: not an end, timed by its start; the next export of it has the same id."""
    event = parse(row(JOB, State="RUNNING", End="Unknown", Elapsed="00:10:00"))
    later = parse(row(JOB, State="RUNNING", End="Unknown", Elapsed="01:10:00"))
    assert isinstance(event.body, JobRecord)
    assert (event.body.phase, event.event_time, event.body.cancelled_by_uid) == ("other", START, None)
    assert (event.own_id, event.body) == (later.own_id, later.body)


def test_a_job_cancelled_before_its_start() -> None:
    """It has an end but neither start nor nodes."""
    event = parse(row(JOB, Start="None", NodeList="None assigned", AllocTRES="", NNodes="1"))
    assert isinstance(event.body, JobRecord)
    assert (event.body.phase, event.event_time, event.body.start, event.body.nodes, event.body.gpus) == ("end", END, None, (), None)


def test_a_pending_array() -> None:
    """The tasks that wait stand in one row under the array's own id."""
    body = job(JobID="48213_[1-3%2]", State="PENDING", Start="Unknown", End="Unknown", NodeList="None assigned")
    assert (body.job, body.array, body.phase) == ("48213", "48213_[1-3%2]", "other")


def test_array_and_het() -> None:
    """The raw id is the job; the shown one is kept."""
    array = job(JobID="48213_4", JobIDRaw="48217")
    assert (array.job, array.array, array.het) == ("48217", "48213_4", "")
    het = job(JobID="48213+1", JobIDRaw="48214")
    assert (het.job, het.array, het.het) == ("48214", "", "48213+1")


@pytest.mark.parametrize(
    ("limit", "seconds"), [("00:30:00", 1800), ("7-00:00:01", 604801), ("UNLIMITED", None), ("Partition_Limit", None), ("", None)]
)
def test_time_limits(limit: str, seconds: int | None) -> None:
    """Days and a clock, or none."""
    assert job(Timelimit=limit).time_limit_seconds == seconds


@pytest.mark.parametrize("base", [JOB, STEP], ids=["job", "step"])
def test_a_delimiter_at_the_end_changes_nothing(base: dict[str, str]) -> None:
    """`-p` ends every row with the delimiter."""
    assert parse(row(base) + "|") == parse(row(base))


@pytest.mark.parametrize("name", ["a|b", "|", "x|root|0|llm|h800|normal|COMPLETED|0:0|0:0", ""])
@pytest.mark.parametrize("end", ["", "|"])
def test_a_name_with_delimiters_shifts_nothing(name: str, end: str) -> None:
    """Columns behind the only free text are counted from the end: no name can forge a state or an owner."""
    body = parse(row(JOB, JobName=name) + end).body
    assert isinstance(body, JobRecord)
    assert (body.name, body.owner_uid, body.state, body.cancelled_by_uid, body.restarts) == (name, 5017, "CANCELLED", 5012, 1)


@pytest.mark.parametrize("end", ["", "|"])
def test_the_header_is_known_and_of_no_interest(end: str) -> None:
    """Every export begins with one; it is neither an event nor a dead letter."""
    header = "|".join(sacct.COLUMNS) + end
    format_, events = registry.parse(Line(payload=header.encode()), READING)
    assert (format_.name, tuple(events)) == ("sacct", ())


# --- a site's own export --------------------------------------------------------------------------------------------------------

OWN = ("JobID", "JobIDRaw", "JobName", "User", "State", "ExitCode", "Submit", "Start", "End", "NodeList")
NEEDED = ("JobIDRaw", "State", "Submit")


def own(columns: tuple[str, ...], text: str) -> Sequence[Parsed]:
    """The events of a row of an export with these columns."""
    reading = msgspec.structs.replace(READING, columns=columns)
    for pinned in ("", "sacct"):
        format_, events = registry.parse(Line(payload=text.encode()), reading, pinned, FAMILIES["scheduler"])
        assert format_ is sacct.FORMAT
    return events


EXPORTS: list[tuple[tuple[str, ...], dict[str, object]]] = [
    (OWN, {"owner": "u017", "nodes": ("gpu-001", "gpu-002"), "exit_signal": 15, "end": END, "owner_uid": None, "name": "pretrain"}),
    (NEEDED, {"owner": "", "owner_uid": None, "nodes": (), "end": None}),
    (("JobIDRaw", "UID", "AveCPU", "WorkDir", "State", "Submit"), {"owner_uid": 5017, "work_dir": "/lustre/run7"}),
    (("JobIDRaw", *sacct.COLUMNS[:0:-1][:-1], "JobID"), {"owner_uid": 5017, "restarts": 1, "gpus": 16, "qos": "normal"}),
]  # fmt: skip


@pytest.mark.parametrize("delimiter", ["|", "\x1f"])
@pytest.mark.parametrize("end", [False, True])
@pytest.mark.parametrize(("columns", "said"), EXPORTS)
def test_own_columns(columns: tuple[str, ...], said: dict[str, object], delimiter: str, *, end: bool) -> None:
    """Read by the names in the settings, in their order; what was not exported is not known, and the header is of no interest."""
    values = JOB | {"AveCPU": "00:01:00", "WorkDir": "/lustre/run7"}
    (event,) = own(columns, delimiter.join(values[name] for name in columns) + delimiter * end)
    assert isinstance(event.body, JobRecord)
    assert {name: getattr(event.body, name) for name in said} == said
    assert (event.body.job, event.body.state, event.body.submit, event.body.cancelled_by_uid) == ("48213", "CANCELLED", SUBMIT, 5012)
    assert event.unmapped.get("AveCPU") == ("00:01:00" if "AveCPU" in columns else None)
    assert own(columns, delimiter.join(columns) + delimiter * end) == ()


def test_the_usual_columns_with_another_delimiter() -> None:
    """`--delimiter=$'\\x1f'` needs no word in the settings."""
    assert parse(row(JOB).replace("|", "\x1f")) == parse(row(JOB))
    assert parse(row(JOB, JobName="a|b").replace("pretrain", "").replace("|", "\x1f").replace("a\x1fb", "a|b")).body == job(JobName="a|b")


@pytest.mark.parametrize("name", ["a\x1fb", "\x1f".join(JOB.values()), "x\x1f0\x1f1"])
def test_the_delimiter_is_the_one_behind_the_id(name: str) -> None:
    """A name that holds the other one is a name."""
    assert job(JobName=name).name == name
    assert job(JobName=name) == msgspec.structs.replace(job(), name=name)


@pytest.mark.parametrize("name", ["a|b", "|", "x|u099|COMPLETED|0:0"])
@pytest.mark.parametrize("end", ["", "|"])
def test_a_name_with_delimiters_in_own_columns(name: str, end: str) -> None:
    """One free text takes what is too much; of several nobody knows which it was."""
    text = "|".join((JOB | {"JobName": name})[column] for column in OWN) + end
    (event,) = own(OWN, text)
    assert isinstance(event.body, JobRecord)
    assert (event.body.name, event.body.owner, event.body.state) == (name, "u017", "CANCELLED")
    with pytest.raises(SchemaMismatch):
        own((*OWN[:3], "WorkDir", *OWN[3:]), text.replace(f"{name}|", f"{name}|/lustre/run7|", 1))


@pytest.mark.parametrize("column", ["AdminComment", "SystemComment", "McsLabel", "Licenses"])
def test_a_delimiter_in_another_free_text_shifts_nobody(column: str) -> None:
    """Taken for a part of the job's name it would make another column the owner's."""
    columns = ("JobIDRaw", "JobName", "User", column, "State", "Submit")
    values = JOB | {column: "a|b"}
    with pytest.raises(SchemaMismatch):
        own(columns, "|".join(values[name] for name in columns))


def test_a_header_that_names_other_columns_says_what_to_set() -> None:
    """Without the setting each row would be a dead letter that does not say why."""
    header = "|".join(OWN).encode()
    with pytest.raises(SchemaMismatch, match=r"columns: \[JobID, JobIDRaw, JobName, User"):
        registry.parse(Line(payload=header), READING)
    with pytest.raises(UnknownFormat):
        registry.parse(Line(payload="|".join(JOB[column] for column in OWN).encode()), READING)


@pytest.mark.parametrize(
    "columns",
    [
        ("User", "JobIDRaw", "State", "Submit"),  # what stands first must not be a user's
        ("JobIDRaw", "State", "End"),  # of which attempt?
        ("JobIDRaw", "State", "Submit", "State"),
        ("JobIDRaw", "State", "Submit", "UID"),  # with `-p` nobody knows whether it is empty
        ("JobIDRaw", "State", "Submit", "JobName"),
        ("JobIDRaw", "jobname", "UID", "WorkDir", "State", "Submit"),  # two free texts, of which one would not be known for such
        ("JobIDRaw", "JobName%50", "UID", "WorkDir", "State", "Submit"),
    ],
)
def test_columns_that_could_not_be_read_safely(columns: tuple[str, ...]) -> None:
    """They stop the start, not the first record."""
    with pytest.raises(ConfigError):
        SourceReader(Settings.model_validate({"sources": [{"name": "sacct", "columns": columns}]}))


def test_columns_of_the_settings_reach_the_row() -> None:
    """By topic, as all that a source says."""
    settings = Settings.model_validate({"sources": [{"name": "sacct", "topic": "logs.scheduler", "columns": OWN, "zone": "Asia/Shanghai"}]})
    text = "|".join(JOB[column] for column in OWN)
    record = Record(topic="logs.scheduler", partition=0, offset=1, timestamp=END, value=text.encode())
    (event_row,) = [out for out in ingest.step(ingest.build_state(settings, Cases()), [record], NOTHING)[1] if isinstance(out, EventRow)]
    assert (event_row.source, event_row.job, event_row.event_time) == ("sacct", "48213", END)


REFUSED: list[tuple[str, type[RejectedRecord]]] = [
    (row(JOB, State="gone"), SchemaMismatch),
    (row(JOB, State=""), SchemaMismatch),
    (row(JOB, UID="root"), SchemaMismatch),
    (row(JOB, ExitCode="15"), SchemaMismatch),
    (row(JOB, Restarts="x"), SchemaMismatch),
    (row(JOB, End="19:40"), DecodeError),
    (row(JOB, Submit="1970-01-01T00:00:00+0000"), TimestampOutOfRange),
    (row(JOB, NodeList="gpu-[1-999999]"), DecodeError),
    (row(JOB, JobIDRaw="raw"), UnknownFormat),
    (row(JOB).rsplit("|", 1)[0], UnknownFormat),
    ("7" + "|" * 19, UnknownFormat),
    ("User|JobID", UnknownFormat),
]


@pytest.mark.parametrize(("text", "error"), REFUSED, ids=[f"{number}" for number in range(len(REFUSED))])
def test_refused(text: str, error: type[RejectedRecord]) -> None:
    """Wrong columns are no row of ours; wrong values are broken rows."""
    with pytest.raises(error):
        sacct.FORMAT.parse(Line(payload=text.encode()), READING)
