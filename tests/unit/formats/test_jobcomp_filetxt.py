"""jobcomp/filetxt: fields without quotes, and users' texts that imitate them."""

import pytest

from pipeline.errors import DecodeError, SchemaMismatch, UnknownFormat
from pipeline.formats.line import Line
from pipeline.formats.payloads.jobcomp_filetxt import FORMAT
from pipeline.model.events import JobRecord, Parsed
from pipeline.model.source import Source
from tests.unit.formats.training_lines import AT, READING

MIDDLE = (
    " JobState={state} Partition=h800 TimeLimit={limit} StartTime={start} "
    "EndTime=2026-03-02T19:40:41 NodeList={nodes} NodeCnt=2 ProcCnt=128 WorkDir="
)


def text(name: str = "pretrain 7b", work_dir: str = "/lustre/run 7", arrays: str = "", **fields: str) -> str:
    """A record with these texts of a user."""
    given = {"state": "CANCELLED", "limit": "2880", "start": "2026-03-02T18:40:41", "nodes": "gpu-[001-002]", **fields}
    return (
        f"JobId=48213 UserId=u017(5017) GroupId=llm(5000) Name={name}{MIDDLE.format(**given)}{work_dir} ReservationName= "
        "Tres=cpu=128,mem=1T,node=2,gres/gpu=16 Account=llm QOS=normal WcKey=* Cluster=main SubmitTime=2026-03-02T18:00:00 "
        f"EligibleTime=2026-03-02T18:00:00{arrays} DerivedExitCode=0:9 ExitCode=0:15 "
    )


def parsed(line: str) -> Parsed:
    """The one record of the line."""
    assert FORMAT.claims(line.encode())
    (event,) = FORMAT.parse(Line(payload=line.encode()), READING)
    assert event.source is Source.JOBCOMP
    return event


def record(line: str) -> JobRecord:
    """Its body."""
    body = parsed(line).body
    assert isinstance(body, JobRecord)
    return body


def test_a_record() -> None:
    """Owner, times in the site's zone, nodes and both exit codes; texts with blanks stay whole."""
    event = parsed(text())
    assert event.body == JobRecord(
        job="48213",
        phase="end",
        owner_uid=5017,
        owner="u017",
        account="llm",
        partition="h800",
        qos="normal",
        name="pretrain 7b",
        state="CANCELLED",
        submit=AT - 6_041_000,
        start=AT - 3_600_000,
        end=AT,
        nodes=("gpu-001", "gpu-002"),
        exit_code=0,
        exit_signal=15,
        derived_code=0,
        derived_signal=9,
        gpus=16,
        time_limit_seconds=172_800,
        work_dir="/lustre/run 7",
    )
    assert (event.event_time, event.unmapped["WcKey"], event.unmapped["Cluster"]) == (AT, "*", "main")
    assert event.own_id == f"48213/{AT - 6_041_000}/{AT - 3_600_000}/CANCELLED/{AT}"


def test_variants() -> None:
    """No start, no nodes, no limit; arrays; a resize is no end."""
    body = record(
        text(start="Unknown", nodes="(null)", limit="UNLIMITED", arrays=" ArrayJobId=48000 ArrayTaskId=4 HetJobId=1 HetJobOffset=2")
    )
    assert (body.start, body.nodes, body.time_limit_seconds, body.array, body.het) == (None, (), None, "48000_4", "1+2")
    assert record(text(state="RESIZING")).phase == "other"


def test_a_users_name_with_a_blank() -> None:
    """Directories of other systems have them; it ends at the uid, and what could pass for one is refused."""
    body = record(text().replace("UserId=u017(", "UserId=LLM\\u 017("))
    assert (body.owner, body.owner_uid) == ("LLM\\u 017", 5017)
    with pytest.raises(UnknownFormat):
        FORMAT.parse(Line(payload=text().replace("UserId=u017(", "UserId=u099(5099) u017(").encode()), READING)


def test_an_old_version() -> None:
    """`Gres=` in the place of `Tres=`, and nothing behind it."""
    line = "JobId=7 UserId=u017(5017) GroupId=llm(5000) Name=a" + MIDDLE.format(
        state="COMPLETED", limit="60", start="2026-03-02T18:40:41", nodes="gpu-001"
    )
    assert record(line + "/w").work_dir == "/w"
    body = record(line + "/w ReservationName= Gres= Account=llm QOS= WcKey= Cluster=c SubmitTime=unknown EligibleTime=unknown ExitCode=1:0")
    assert (body.work_dir, body.exit_code, body.submit, body.derived_code) == ("/w", 1, None, None)


FORGED = MIDDLE.format(state="COMPLETED", limit="1", start="2026-03-02T18:40:41", nodes="gpu-009")


@pytest.mark.parametrize("line", [text(name=f"a{FORGED}/x"), text(work_dir=f"/w{FORGED}/x")])
def test_a_text_that_imitates_the_fields(line: str) -> None:
    """Which of the two is Slurm's cannot be told, so neither is believed."""
    with pytest.raises(DecodeError):
        FORMAT.parse(Line(payload=line.encode()), READING)


def test_forged_fields_behind_the_folder() -> None:
    """An exit code in a folder's name does not take the place of Slurm's."""
    body = record(text(work_dir="/w ReservationName= Account=other ExitCode=0:0"))
    assert (body.account, body.exit_signal, body.work_dir) == ("llm", 15, "/w ReservationName= Account=other ExitCode=0:0")
    assert record(text(name="a JobState=COMPLETED")).state == "CANCELLED"


REFUSED = [
    ("JobId=7 UserId=u017(5017) GroupId=llm(5000) Name=a JobState=", SchemaMismatch),
    ("JobId=7 UserId=u017 GroupId=llm(5000) Name=a", UnknownFormat),
    (text(start="yesterday"), DecodeError),
    ("An ordinary sentence.", UnknownFormat),
]


@pytest.mark.parametrize(("line", "error"), REFUSED)
def test_refused(line: str, error: type[Exception]) -> None:
    """A broken record says what is wrong; other text is passed on."""
    with pytest.raises(error):
        FORMAT.parse(Line(payload=line.encode()), READING)
