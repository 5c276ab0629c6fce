"""PBS accounting: records of jobs, and who deleted one."""

import pytest

from pipeline.errors import DecodeError, UnknownFormat
from pipeline.formats.line import Line
from pipeline.formats.payloads.pbs import FORMAT
from pipeline.model.events import AnyBody, ControllerJob, JobRecord, JobUpdate
from tests.unit.formats.training_lines import AT, READING

START, END = AT // 1000 - 3600, AT // 1000
HEAD = "03/02/2026 19:40:41"
FIELDS = (
    f'user=u017 group=llm account="llm 7" jobname=pretrain queue=gpu ctime={START - 60} start={START} '
    "exec_host=gpu-001/0*8+gpu-001/1+gpu-002/0 Resource_List.ngpus=16 Resource_List.walltime=48:00:00"
)
RECORD = {
    "job": "48213", "owner": "u017", "account": "llm 7", "partition": "gpu", "name": "pretrain", "submit": AT - 3_660_000,
    "start": AT - 3_600_000, "nodes": ("gpu-001", "gpu-002"), "gpus": 16, "time_limit_seconds": 172_800,
}  # fmt: skip


def ended(status: int, **fields: object) -> JobRecord:
    """The record of an ended job."""
    state = "COMPLETED" if status == 0 else "FAILED"
    return JobRecord(**{**RECORD, "phase": "end", "end": AT, "state": state, **fields})  # type: ignore[arg-type]


ROWS: list[tuple[str, AnyBody]] = [
    (f"{HEAD};E;48213.ctl-1;{FIELDS} end={END} Exit_status=0", ended(0, exit_code=0)),
    (f"{HEAD};E;48213.ctl-1;{FIELDS} end={END} Exit_status=271", ended(271, exit_signal=15)),
    (f"{HEAD};E;48213.ctl-1;{FIELDS} end={END} Exit_status=-29", ended(-29, state="TIMEOUT")),
    (f"{HEAD};E;48213.ctl-1;{FIELDS} end={END} Exit_status=1 user=u099", ended(1, exit_code=1)),
    (f"{HEAD};S;48213[4].ctl-1;{FIELDS}", JobRecord(**{**RECORD, "phase": "start", "state": "RUNNING", "array": "48213[4]"})),  # type: ignore[arg-type]
    (f"{HEAD};Q;48213.ctl-1;queue=gpu", JobRecord(job="48213", phase="other", state="PENDING", partition="gpu")),
    (f"{HEAD};D;48213.ctl-1;requestor=u099@login-1", JobUpdate(job="48213", change="delete", value="u099@login-1")),
    (f"{HEAD};D;48213.ctl-1;requestor=Scheduler@ctl-1", ControllerJob(job="48213", change="deleted", detail="Scheduler@ctl-1")),
    (f"{HEAD};D;48213.ctl-1;requestor=scheduler@ctl-1", JobUpdate(job="48213", change="delete", value="scheduler@ctl-1")),
    (f"{HEAD};A;48213.ctl-1;", ControllerJob(job="48213", change="cancelled", detail="aborted")),
    (f"{HEAD};R;48213.ctl-1;", ControllerJob(job="48213", change="requeued", detail="rerun")),
]


@pytest.mark.parametrize(("text", "body"), ROWS)
def test_lines(text: str, body: AnyBody) -> None:
    """What became of the job, at its local time; of a doubled name the server's own holds."""
    assert FORMAT.claims(text.encode())
    (event,) = FORMAT.parse(Line(payload=text.encode()), READING)
    assert (event.body, event.event_time) == (body, AT)


def test_lines_about_nothing_of_interest() -> None:
    """Licences and reservations are known and pass."""
    assert FORMAT.parse(Line(payload=f"{HEAD};L;license;floating license hour:3".encode()), READING) == ()
    assert FORMAT.parse(Line(payload=f"{HEAD};M;48213.ctl-1;destination=x".encode()), READING) == ()


@pytest.mark.parametrize(("text", "error"), [("02/30/2026 19:40:41;E;7.ctl-1;", DecodeError), ("An ordinary sentence.", UnknownFormat)])
def test_refused(text: str, error: type[Exception]) -> None:
    """A day that no month has, and other text."""
    with pytest.raises(error):
        FORMAT.parse(Line(payload=text.encode()), READING)
