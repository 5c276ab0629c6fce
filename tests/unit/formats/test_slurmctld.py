"""Lines of slurmctld's log: every kind of the table, every form of job id, every time format, and what is not taken."""

from zoneinfo import ZoneInfo

import pytest

from pipeline.errors import DecodeError, RejectedRecord, SchemaMismatch, TimestampOutOfRange, UnknownFormat
from pipeline.formats import registry
from pipeline.formats.line import Line, Reading
from pipeline.formats.payloads import slurmctld
from pipeline.model.events import AnyBody, ControllerJob, ControllerNote, JobUpdate, KillRequest, NodeState, Parsed
from pipeline.model.source import FAMILIES, Source

AT = 1_772_451_641_318  # 2026-03-02T19:40:41.318 in Shanghai
READING = Reading(zone=ZoneInfo("Asia/Shanghai"), reference_time=AT + 2000)
STAMP = "[2026-03-02T19:40:41.318] "


def parse(text: str, program: str = "") -> Parsed:
    """The one event of a line."""
    (event,) = slurmctld.FORMAT.parse(Line(payload=text.encode(), program=program), READING)
    return event


def ended(**fields: object) -> AnyBody:
    """What the controller says of job 7."""
    return ControllerJob(job="7", **fields)  # type: ignore[arg-type]


def noted(note: str, **fields: object) -> AnyBody:
    """A line about the controller, or a request without job."""
    return ControllerNote(note=note, **fields)  # type: ignore[arg-type]


def refused_note(name: str) -> AnyBody:
    """A refused request that names no job."""
    return noted(name, uid=5099)


DENIED = "Access/permission denied"
LINES: list[tuple[str, AnyBody]] = [
    # requests to end a job
    ("_slurm_rpc_kill_job: REQUEST_KILL_JOB JobId=7 uid 5012", KillRequest(job="7", uid=5012)),
    ("_slurm_rpc_kill_job: REQUEST_KILL_JOB JobId=7_3 uid 5012", KillRequest(job="7_3", uid=5012)),
    ("_slurm_rpc_kill_job: REQUEST_KILL_JOB JobId=7_[1-5,9] uid 5012", KillRequest(job="7_[1-5,9]", uid=5012)),
    ("_slurm_rpc_kill_job: REQUEST_KILL_JOB JobId=Invalid uid 5012", noted("kill_request_without_job", uid=5012)),
    ("error: Security violation, REQUEST_KILL_JOB RPC for JobId=7 from uid 5099", KillRequest(job="7", uid=5099, refused=True)),
    ("error: Security violation, REQUEST_KILL_JOB RPC for JobId=7_3(10) from uid 5099", KillRequest(job="10", uid=5099, refused=True)),
    (
        f"_slurm_rpc_kill_job: job_str_signal() uid=5099 JobId=7 sig=9 returned: {DENIED}",
        KillRequest(job="7", uid=5099, refused=True, signal=9),
    ),
    (
        "_slurm_rpc_kill_job: job_str_signal() uid=5099 JobId=7 sig=15 returned: Invalid job id specified",
        KillRequest(job="7", uid=5099, no_effect=True, signal=15),
    ),
    (
        "_slurm_rpc_kill_job: job_str_signal() uid=5099 JobId=7 sig=65534 returned: Job/step already completing or completed",
        KillRequest(job="7", uid=5099, no_effect=True),
    ),
    ("job_str_signal(3): invalid JobId=7", noted("invalid_job", job="7")),
    ("REQUEST_KILL_JOBS filters: account=; flags=0x0; signal=9; user_id=5017", noted("kill_jobs_filters")),
    # requests to change or suspend one
    ("error: SECURITY VIOLATION: Attempt to suspend job from user 5099", refused_note("refused_suspend")),
    ("error: SECURITY VIOLATION: Attempt to do something new from user 5099", refused_note("refused_request")),
    (f"_slurm_rpc_suspend(suspend) for 7 {DENIED}", JobUpdate(job="7", change="suspend", refused=True)),
    ("_slurm_rpc_suspend(suspend) for 7 usec=412", JobUpdate(job="7", change="suspend")),
    ("_slurm_rpc_suspend(resume) for JobId=7_3(10) usec=412", JobUpdate(job="10", change="resume")),
    ("_slurm_rpc_suspend(suspend) for 7 Job is no longer pending execution", noted("suspend_failed", job="7")),
    ("error: Security violation, JOB_UPDATE RPC from uid 5099", refused_note("refused_job_update")),
    ("error: Security violation, UPDATE_NODE RPC from uid 5099", refused_note("refused_node_update")),
    ("error: Security violation, UPDATE_PARTITION RPC from uid 5099", refused_note("refused_partition_update")),
    ("error: Security violation, REQUEST_TOP_JOB RPC from uid 5099", refused_note("refused_top_job")),
    ("error: Security violation, SHUTDOWN RPC from uid 5099", refused_note("refused_shutdown")),
    ("error: Security violation, RECONFIGURE RPC from uid 5099", refused_note("refused_reconfigure")),
    ("error: Security violation, SOMETHING_NEW RPC from uid 5099", refused_note("refused_request")),
    ("_slurm_rpc_update_job: complete JobId=7 uid=5012 usec=913", JobUpdate(job="7", uid=5012, change="update")),
    (
        "_slurm_rpc_update_job: JobId=7 uid=5099: Invalid user id",
        JobUpdate(job="7", uid=5099, change="update", value="Invalid user id", refused=True),
    ),
    ("_slurm_rpc_update_job: JobId=7 uid=5012: Requested partition not available", noted("update_failed", uid=5012, job="7")),
    ("sched: _update_job: set priority to 0 for JobId=7", JobUpdate(job="7", change="priority", value="0")),
    ("_update_job: setting time_limit to 60 for JobId=7", JobUpdate(job="7", change="time_limit", value="60")),
    ("_update_job: setting QOS to high for JobId=7_*", JobUpdate(job="7", change="qos", value="high")),
    ("_update_job: setting exc_nodes to gpu-[001-002] for JobId=7+1(8)", JobUpdate(job="8", change="exc_nodes", value="gpu-[001-002]")),
    # life of a job
    ("_slurm_rpc_submit_batch_job: JobId=7 InitPrio=4294901757 usec=811", ended(change="submitted")),
    ("_slurm_rpc_submit_batch_job: JobId=7 usec=811", ended(change="submitted")),
    ("sched: _slurm_rpc_allocate_resources JobId=7 NodeList=(null) usec=611", ended(change="submitted")),
    ("sched: _slurm_rpc_allocate_resources JobId=7 NodeList=gpu-001 usec=611", ended(change="allocated", nodes=("gpu-001",))),
    ("sched: Allocate JobId=7 NodeList=gpu-[001-002] #CPUs=64 Partition=p", ended(change="allocated", nodes=("gpu-001", "gpu-002"))),
    ("sched/backfill: _start_job: Started JobId=7 in p on gpu-001", ended(change="started", nodes=("gpu-001",))),
    ("_job_complete: JobId=7 WEXITSTATUS 1", ended(change="completed", exit_code=1)),
    ("_job_complete: JobId=7 WTERMSIG 9", ended(change="completed", exit_signal=9)),
    ("_job_complete: JobId=7 WTERMSIG 126", ended(change="completed", detail="interactive")),
    ("_job_complete: JobId=7 WTERMSIG 53", ended(change="completed", detail="launch_failure")),
    ("_job_complete: JobId=7 cancelled by interactive user", ended(change="cancelled", detail="interactive")),
    ("_job_complete: JobId=7 OOM failure", ended(change="oom")),
    ("_job_complete: JobId=7 cancelled by node failure", ended(change="node_failed", detail="cancelled")),
    ("_job_complete: JobId=7 done", ended(change="completed", detail="done")),
    ("_job_complete: requeue JobId=7 due to node failure", ended(change="requeued", detail="node_failure")),
    ("_job_complete: requeue JobId=7 per user/system request", ended(change="requeued", detail="request")),
    ("Time limit exhausted for JobId=7", ended(change="time_limit")),
    (
        "preempted JobId=7 has been killed to reclaim resources for JobId=9_1(12)",
        ended(change="preempted", beneficiary="12", detail="killed"),
    ),
    ("preempted JobId=7 has been requeued", ended(change="preempted", detail="requeued")),
    ("requeue job JobId=7 due to failure of node gpu-003", ended(change="requeued", nodes=("gpu-003",), detail="node_failure")),
    ("Killing JobId=7 on failed node gpu-003", ended(change="node_failed", nodes=("gpu-003",), detail="killed")),
    # nodes
    ("error: Nodes gpu-[003,007] not responding", NodeState(nodes=("gpu-003", "gpu-007"), change="not_responding")),
    ("error: Nodes gpu-003 not responding, setting DOWN", NodeState(nodes=("gpu-003",), change="down")),
    ("Node gpu-003 now responding", NodeState(nodes=("gpu-003",), change="responding")),
    ("drain_nodes: node gpu-003 state set to DRAIN", NodeState(nodes=("gpu-003",), change="drain")),
    ("update_node: node gpu-003 state set to DRAINING", NodeState(nodes=("gpu-003",), change="draining")),
    ("update_node: node gpu-003 state set to DRAINED*", NodeState(nodes=("gpu-003",), change="drain")),
    ("update_node: node gpu-003 state set to IDLE", NodeState(nodes=("gpu-003",), change="resumed")),
    (
        "update_node: node gpu-003 reason set to: Xid 79, ask u101",
        NodeState(nodes=("gpu-003",), change="reason", reason="Xid 79, ask u101"),
    ),
    # the controller itself
    ("Terminate signal (SIGINT or SIGTERM) received", noted("terminating")),
    ("slurmctld version 22.05.11 started on cluster main", noted("started")),
    ("slurmctld version 22.05.11 started", noted("started")),
    ("Processing Reconfiguration Request", noted("reconfiguring")),
    ("Recovered JobId=7 Assoc=12", noted("recovered", job="7")),
    ("sched: _hold_job_rec: hold on JobId=7 by uid 5012", noted("hold", job="7", uid=5012)),
    ("_hold_job_rec: hold on JobId=7_3(10) by uid 5012", noted("hold", job="10", uid=5012)),
    ("sched: _release_job_rec: release hold on JobId=7 by uid 0", noted("hold_released", job="7", uid=0)),
    ("Recovered information about 12 jobs", noted("recovered")),
    ("cleanup_completing: JobId=7 completion process took 3 seconds", noted("completing")),
    ("sched: Running job scheduler for default depth.", noted("scheduler")),
    ("debug:  sched: Running job scheduler for full queue.", noted("debug")),
    ("debug2: _slurm_rpc_kill_job: REQUEST_KILL_JOB JobId=7 uid 5012", noted("debug")),
]


@pytest.mark.parametrize(("text", "body"), LINES, ids=[text[:60] for text, _ in LINES])
def test_lines(text: str, body: AnyBody) -> None:
    """Each kind of line is read as what it says, at its local time."""
    assert parse(STAMP + text) == Parsed(source=Source.SLURMCTLD, body=body, event_time=AT)


IDS = [("7", "7"), ("7_3(10)", "10"), ("7_3", "7_3"), ("7_*", "7"), ("7+1(8)", "8"), ("7+1", "7+1"), ("4294901760", "4294901760")]


@pytest.mark.parametrize(("shown", "raw"), IDS)
def test_job_ids(shown: str, raw: str) -> None:
    """The raw id is taken where the line has it; else the job is called as the line calls it."""
    assert parse(f"{STAMP}Time limit exhausted for JobId={shown}").body == ControllerJob(job=raw, change="time_limit")


TEXT = "Time limit exhausted for JobId=7"
PREFIXES: list[tuple[str, int | None, str]] = [
    ("[2026-03-02T19:40:41.318] ", AT, ""),  # iso8601_ms
    ("[2026-03-02T19:40:41] ", AT - 318, ""),  # iso8601
    ("[2026-03-02T12:40:41.318+01:00] ", AT, ""),  # rfc5424_ms
    ("[2026-03-02T12:40:41+01:00] ", AT - 318, ""),  # rfc5424
    ("[2026-03-02T11:40:41Z] ", AT - 318, ""),  # rfc3339
    ("[Mar 02 19:40:41] ", AT - 318, ""),  # short
    ("[Mar 02 19:40:41.318     4711 slurmctld    0x7f3a5c1fd700] ", AT - 318, ""),  # thread_id: 318 microseconds
    ("[Mar  2 19:40:41.318042  4711 0x7f3a5c1fd700] ", AT, ""),
    ("[  123456] ", None, ""),  # clock: processor time of the daemon
    ("slurmctld: ", None, ""),  # on a terminal, or in the journal of a unit that keeps it in the foreground
    ("slurmctld: [2026-03-02T19:40:41.318] ", AT, ""),
    ("Mar  2 19:40:41 ctl-1 slurmctld[4711]: ", AT - 318, "ctl-1"),
    ("Mar  2 19:40:41 ctl-1 slurmctld[4711]: slurmctld: ", AT - 318, "ctl-1"),
    ("2026-03-02T11:40:41.318+00:00 ctl-1 slurmctld[4711]: ", AT, "ctl-1"),
    ("<30>1 2026-03-02T19:40:41.318+08:00 ctl-1 slurmctld 4711 - - ", AT, "ctl-1"),
    ("2026-03-02T11:40:59.000+00:00 ctl-1 slurmctld: [2026-03-02T19:40:41.318] ", AT, "ctl-1"),  # the line's own time wins
]


@pytest.mark.parametrize(("prefix", "event_time", "host"), PREFIXES, ids=[prefix for prefix, _, _ in PREFIXES])
def test_time_formats(prefix: str, event_time: int | None, host: str) -> None:
    """Every LogTimeFormat, and syslog around it; sniffing finds them all."""
    line = Line(payload=(prefix + TEXT).encode())
    format_, (event,) = registry.parse(line, READING)
    assert format_ is slurmctld.FORMAT
    tag = "slurmctld" if " ctl-1 " in prefix else ""
    body = ControllerJob(job="7", change="time_limit")
    assert event == Parsed(source=Source.SLURMCTLD, body=body, event_time=event_time, host=host, tag=tag)


def test_a_pinned_line_needs_no_time() -> None:
    """With LogTimeFormat=omit only the settings can say what the line is, unless it begins with a function of the controller's."""
    assert parse(TEXT).event_time is None
    assert parse(TEXT, program="slurmctld").body == ControllerJob(job="7", change="time_limit")
    assert not slurmctld.FORMAT.claims(TEXT.encode())
    assert not slurmctld.FORMAT.claims(b"slurmctld version 22.05.11 started")
    for text in (
        "_slurm_rpc_kill_job: REQUEST_KILL_JOB JobId=7 uid 5012", "_job_complete: JobId=7 done",
        "error: Security violation, REQUEST_KILL_JOB RPC for JobId=7 from uid 5099", "sched: _hold_job_rec: hold on JobId=7 by uid 5012",
        "_slurm_rpc_allocate_resources JobId=7 NodeList=(null) usec=300", f"_slurm_rpc_suspend(suspend) for 7 {DENIED}",
    ):  # fmt: skip
        format_, events = registry.parse(Line(payload=text.encode()), READING, allowed=FAMILIES["scheduler"])
        assert (format_, events) == (slurmctld.FORMAT, (parse(text),))


NOT_TAKEN = [
    "_slurm_rpc_kill_job: REQUEST_KILL_JOB JobId=7 uid 5012 and more",
    "_slurm_rpc_kill_job: REQUEST_KILL_JOB JobId=7 uid -1",
    "x _slurm_rpc_kill_job: REQUEST_KILL_JOB JobId=7 uid 5012",
    "_job_complete: JobId=7 WTERMSIG nine",
    "_job_complete: JobId=Invalid done",
    "error: something that no table has",
    "error: slurm_receive_msg [10.0.0.7:5022]: failed",
    "An ordinary sentence",
    "error: error: error: error: Nodes gpu-003 not responding",
    "",
]


@pytest.mark.parametrize("text", NOT_TAKEN)
def test_unknown_text_is_not_taken(text: str) -> None:
    """A line is read whole or not at all; there is no catch-all."""
    with pytest.raises(UnknownFormat):
        parse(STAMP + text)


REFUSED: list[tuple[str, type[RejectedRecord]]] = [
    ("[2026-02-30T19:40:41.318] " + TEXT, DecodeError),
    ("[1970-01-01T08:00:00.000] " + TEXT, TimestampOutOfRange),
    ("[Foo 02 19:40:41] " + TEXT, UnknownFormat),
    ("[2026-03-02T19:40:41.318]" + TEXT, UnknownFormat),
    ("Mar  2 19:40:41 ctl-1 slurmdbd[4711]: " + TEXT, UnknownFormat),
    (STAMP + "Nodes gpu-[1-999999] not responding", DecodeError),
    (STAMP + "_slurm_rpc_kill_job: REQUEST_KILL_JOB JobId=7 uid 9999999999", SchemaMismatch),
]


@pytest.mark.parametrize(("text", "error"), REFUSED, ids=[text[:50] for text, _ in REFUSED])
def test_refused(text: str, error: type[RejectedRecord]) -> None:
    """Impossible times, lists and ids are dead letters; other programs' lines are passed on."""
    with pytest.raises(error):
        parse(text)


FORGERIES: list[tuple[str, AnyBody]] = [
    # a job name that imitates the end of the line: the real job stands last
    ("_update_job: setting name to x for JobId=99 for JobId=7", JobUpdate(job="7", change="name", value="x for JobId=99")),
    (
        "update_node: node gpu-003 reason set to: x] _slurm_rpc_kill_job: REQUEST_KILL_JOB JobId=7 uid 5012",
        NodeState(nodes=("gpu-003",), change="reason", reason="x] _slurm_rpc_kill_job: REQUEST_KILL_JOB JobId=7 uid 5012"),
    ),
]


@pytest.mark.parametrize(("text", "body"), FORGERIES)
def test_a_users_words_are_not_read_as_the_controllers(text: str, body: AnyBody) -> None:
    """Names and reasons that imitate log text stay values."""
    assert parse(STAMP + text).body == body


def test_long_values_are_cut() -> None:
    """A user's word takes a bounded place in an event."""
    body = parse(f"{STAMP}_update_job: setting comment to {'x' * 9000} for JobId=7").body
    assert body == JobUpdate(job="7", change="comment", value="x" * slurmctld.VALUE_LENGTH_MAX)
