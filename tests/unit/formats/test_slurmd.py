"""slurmd.log: launches with their owner, refused and sent signals, and the steps' own words."""

import pytest

from pipeline.errors import UnknownFormat
from pipeline.formats import registry
from pipeline.formats.line import Line
from pipeline.formats.payloads.slurmd import FORMAT
from pipeline.model.events import AnyBody, DaemonNote, KillRequest, Parsed, StepCancelled, StepOom
from pipeline.model.source import FAMILIES, Source
from tests.unit.formats.training_lines import AT, READING

STAMP = "[2026-03-02T19:40:41.318] "


def parsed(text: str) -> Parsed:
    """The one event of the line."""
    payload = text.encode()
    assert FORMAT.claims(payload)
    (event,) = FORMAT.parse(Line(payload=payload), READING)
    assert event.source is Source.SLURMD
    return event


LAUNCH = "launch task StepId=7.0 request from UID:5017 GID:5000 HOST:10.0.0.7 PORT:51234"
LAUNCHED = DaemonNote(what="launch", job="7", step="0", uid=5017)
ROWS: list[tuple[str, AnyBody]] = [
    (LAUNCH, LAUNCHED),
    ("launch task 7.0 request from 5017.5000@10.0.0.7 (port 12345)", LAUNCHED),
    ("Launching batch job 7 for UID 5017", DaemonNote(what="launch", job="7", step="batch", uid=5017)),
    ("debug:  kill req from uid 5099 for StepId=7.0 owned by uid 5017", KillRequest(job="7", uid=5099, refused=True)),
    ("debug:  kill req from uid 5099 for job 7.0 owned by uid 5017", KillRequest(job="7", uid=5099, refused=True)),
    (
        "error: Security violation: kill_job(7) from uid 5099",
        DaemonNote(what="refused", uid=5099, text="Security violation: kill_job(7) from uid 5099"),
    ),
    ("[7.0] Sent signal 9 to StepId=7.0", DaemonNote(what="signal", job="7", step="0", signal=9)),
    ("[7.0] Sent SIGKILL signal to StepId=7.0", DaemonNote(what="signal", job="7", step="0", signal=9)),
    ("[7.batch] done with step", DaemonNote(what="terminate", job="7", step="batch", text="done with step")),
    (
        "[7.0] error: *** STEP 7.0 ON gpu-001 CANCELLED AT 2026-03-02T19:40:41 DUE TO TIME LIMIT ***",
        StepCancelled(job="7", step="0", host="gpu-001", reason="time_limit", detail="TIME LIMIT"),
    ),
    ("[7.batch] error: *** JOB 7 ON gpu-001 CANCELLED AT 2026-03-02T19:40:41 ***", StepCancelled(job="7", host="gpu-001")),
    (
        "[7.0] error: Detected 1 oom_kill event in StepId=7.0. Some of the step tasks have been OOM Killed.",
        StepOom(job="7", step="0", count=1),
    ),
    (
        "[7.0] task 3 (4711) exited with exit code 1.",
        DaemonNote(what="log", job="7", step="0", text="task 3 (4711) exited with exit code 1."),
    ),
    ("slurmd version 24.05.2 started", DaemonNote(what="node", text="slurmd version 24.05.2 started")),
    (
        "error: Could not launch job 7 and not able to requeue it, cancelling job",
        DaemonNote(what="node", job="7", text="Could not launch job 7 and not able to requeue it, cancelling job"),
    ),
]


@pytest.mark.parametrize(("text", "body"), ROWS)
def test_lines(text: str, body: AnyBody) -> None:
    """What each line says, at its local time."""
    event = parsed(STAMP + text)
    assert (event.body, event.event_time) == (body, AT + 318)


PREFIXES = [
    ("[2026-03-02T19:40:41.318+08:00] ", AT + 318),
    ("[2026-03-02T11:40:41.318Z] ", AT + 318),
    ("[2026-03-02T19:40:41] ", AT),
    ("[Mar 02 19:40:41.318000 4711 main] ", AT + 318),
    ("[1234567890] ", None),
    ("Mar  2 19:40:41 gpu-001 slurmd[9]: ", AT),
    ("slurmd: ", None),
    ("slurmd-gpu-001: ", None),
]


@pytest.mark.parametrize(("text", "body"), ROWS)
def test_lines_among_the_controllers(text: str, body: AnyBody) -> None:
    """Both daemons' lines begin alike: on a topic with both of them a line of this one is not taken for a note of the other."""
    format_, (event,) = registry.parse(Line(payload=(STAMP + text).encode()), READING, allowed=FAMILIES["scheduler"])
    assert (format_.name, event.body) == ("slurmd", body)


@pytest.mark.parametrize(("prefix", "time"), PREFIXES)
def test_times(prefix: str, time: int | None) -> None:
    """Every time format of Slurm, syslog, and a daemon in the foreground."""
    event = parsed(prefix + LAUNCH)
    assert (event.body, event.event_time) == (LAUNCHED, time)
    assert event.host == ("gpu-001" if prefix.startswith("Mar") else "")


@pytest.mark.parametrize(
    "text",
    [
        "Mar  2 19:40:41 gpu-001 sshd[9]: slurmd: launch task StepId=7.0",
        STAMP + "An ordinary sentence",
        STAMP + "_slurm_rpc_kill_job: REQUEST_KILL_JOB JobId=7 uid 5012",
        "An ordinary sentence.",
    ],
)
def test_refused(text: str) -> None:
    """Other programs' lines and unknown texts are passed on."""
    with pytest.raises(UnknownFormat):
        FORMAT.parse(Line(payload=text.encode()), READING)
