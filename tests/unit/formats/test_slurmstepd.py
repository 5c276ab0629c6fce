"""slurmstepd and srun in a job's output: cancelled steps, ended tasks, out-of-memory notices."""

import contextlib
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import RejectedRecord, UnknownFormat
from pipeline.formats.line import Line, Reading
from pipeline.formats.payloads.slurmstepd import FORMAT
from pipeline.model.events import AnyBody, Parsed, StepCancelled, StepOom, TaskEnded, TrainingLine
from pipeline.model.source import Source

AT = 1_772_451_641_000  # 2026-03-02T19:40:41 in Shanghai
READING = Reading(zone=ZoneInfo("Asia/Shanghai"), reference_time=AT)


def parsed(text: str) -> Parsed:
    """The one event of a line that the format claims."""
    payload = text.encode()
    assert FORMAT.claims(payload)
    (event,) = FORMAT.parse(Line(payload=payload), READING)
    assert event.source is Source.TRAINING
    return event


HEAD = "slurmstepd: error: *** "
CANCELLED = "CANCELLED AT 2026-03-02T19:40:41"
ENDS = [
    (f"{HEAD}JOB 7 ON gpu-001 {CANCELLED} ***", StepCancelled(job="7", host="gpu-001")),
    (f"{HEAD}STEP 7.0 ON gpu-001 {CANCELLED} ***", StepCancelled(job="7", step="0", host="gpu-001")),
    (f"0: {HEAD}STEP 7.batch ON gpu-001 {CANCELLED} DUE TO TIME LIMIT ***\r",
     StepCancelled(job="7", step="batch", host="gpu-001", reason="time_limit", detail="TIME LIMIT")),
    (f"{HEAD}JOB 7 ON gpu-001 {CANCELLED} DUE TO PREEMPTION ***",
     StepCancelled(job="7", host="gpu-001", reason="preemption", detail="PREEMPTION")),
    (f"{HEAD}JOB 7 ON gpu-001 {CANCELLED} DUE TO NODE FAILURE, SEE SLURMCTLD LOG FOR DETAILS ***",
     StepCancelled(job="7", host="gpu-001", reason="node_failure", detail="NODE FAILURE, SEE SLURMCTLD LOG FOR DETAILS")),
    (f"{HEAD}JOB 7 ON gpu-001 {CANCELLED} DUE TO JOB REQUEUE ***",
     StepCancelled(job="7", host="gpu-001", reason="requeue", detail="JOB REQUEUE")),
    (f"{HEAD}STEP 7.0 ON gpu-001 {CANCELLED} DUE TO TASK FAILURE ***",
     StepCancelled(job="7", step="0", host="gpu-001", reason="task_failure", detail="TASK FAILURE")),
    (f"{HEAD}JOB 7 ON gpu-001 {CANCELLED} DUE to SIGNAL Terminated ***",
     StepCancelled(job="7", host="gpu-001", reason="signal", detail="Terminated")),
    (f"{HEAD}JOB 7 ON gpu-001 {CANCELLED} DUE TO A NEW REASON ***",
     StepCancelled(job="7", host="gpu-001", reason="other", detail="A NEW REASON")),
    (f"slurmd[gpu-001]: *** JOB 7 {CANCELLED} ***", StepCancelled(job="7")),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), ENDS)
def test_cancelled(text: str, expected: StepCancelled) -> None:
    """The reason is told as Slurm told it; no reason is empty, an unfamiliar one is not."""
    event = parsed(text)
    assert event.body == expected
    assert event.event_time == AT


def test_failed() -> None:
    """A failed step has no time."""
    event = parsed(f"{HEAD}STEP 7.0 ON gpu-001 FAILED (non-zero exit code or other failure mode) ***")
    assert event.event_time is None
    assert event.body == StepCancelled(
        job="7", step="0", host="gpu-001", reason="failed", detail="non-zero exit code or other failure mode"
    )


BODIES: list[tuple[str, AnyBody]] = [
    ("slurmstepd: error: Detected 1 oom_kill event in StepId=7.0. Some of the step tasks have been OOM Killed.",
     StepOom(job="7", step="0", count=1)),
    ("slurmstepd: error: Detected 3 oom-kill event(s) in StepId=7.batch cgroup.", StepOom(job="7", step="batch", count=3)),
    ("slurmstepd: error: Detected 2 oom-kill event(s) in step 7.4 cgroup.", StepOom(job="7", step="4", count=2)),
    ("srun: error: gpu-003: task 17: Killed", TaskEnded(host="gpu-003", tasks="17", outcome="killed", signal=9)),
    ("srun: error: gpu-003: tasks 24-27: Terminated", TaskEnded(host="gpu-003", tasks="24-27", outcome="terminated", signal=15)),
    ("srun: error: gpu-003: task 0: Exited with exit code 1", TaskEnded(host="gpu-003", tasks="0", outcome="exited", exit_code=1)),
    ("srun: error: gpu-003: task 0: Out Of Memory", TaskEnded(host="gpu-003", tasks="0", outcome="out_of_memory")),
    ("srun: error: gpu-003: tasks 0,2-3: Segmentation fault (core dumped)",
     TaskEnded(host="gpu-003", tasks="0,2-3", outcome="segmentation_fault", signal=11)),
    ("srun: error: gpu-003: task 0: Something new", TaskEnded(host="gpu-003", tasks="0", outcome="other")),
    ("srun: Job step aborted: Waiting up to 32 seconds for job step to finish.",
     TrainingLine(what="srun", text="Job step aborted: Waiting up to 32 seconds for job step to finish.")),
    ("srun: Force Terminated StepId=7.0", TrainingLine(what="srun", text="Force Terminated StepId=7.0")),
    (" 3: slurmstepd: error: execve(): x: No such file", TrainingLine(what="slurmstepd", text="error: execve(): x: No such file", rank=3)),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), BODIES)
def test_other_lines(text: str, expected: AnyBody) -> None:
    """Tasks, memory and the rest of what both programs say."""
    assert parsed(text).body == expected


@pytest.mark.parametrize("text", ["", "slurmctld: error", "the srun: error", "0: 1: 2: srun: x", "gpu-003: slurmstepd: x"])
def test_other_text(text: str) -> None:
    """Text of other programs is not ours."""
    with pytest.raises(UnknownFormat):
        FORMAT.parse(Line(payload=text.encode()), READING)


@given(st.sampled_from([text for text, _ in ENDS] + [text for text, _ in BODIES]), st.integers(0, 120), st.binary(max_size=60))
def test_any_text(start: str, cut: int, rest: bytes) -> None:
    """Nothing but a RejectedRecord is raised."""
    with contextlib.suppress(RejectedRecord):
        FORMAT.parse(Line(payload=start[:cut].encode() + rest), READING)


@pytest.mark.parametrize("piece", ["a", "*", "*** ", "1,", " DUE TO ", "0: "])
@pytest.mark.parametrize("start", [HEAD, f"{HEAD}JOB 7 ON gpu-001 {CANCELLED} DUE TO ", "srun: error: gpu-003: task ", "slurmstepd-"])
def test_hostile_megabyte(start: str, piece: str) -> None:
    """A megabyte made to send a pattern astray is read in linear time."""
    with contextlib.suppress(RejectedRecord):
        FORMAT.parse(Line(payload=(start + piece * (1_000_000 // len(piece))).encode()), READING)
