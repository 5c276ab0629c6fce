"""What is said of every ended job: one row per cause, and what is said when nothing acquits."""

from collections.abc import Sequence
from typing import NamedTuple

import pytest

from pipeline.detect import verdict
from pipeline.detect.detector import registry
from pipeline.model.events import Event, OomKill
from pipeline.model.finding import Checked, Status, Verdict
from pipeline.model.source import Source
from pipeline.model.told import Told
from tests import build
from tests.build import (
    ADMIN,
    COLLEAGUE,
    OWNER,
    SERVICE,
    allocation,
    attempt,
    cancel_request,
    case,
    controller,
    error_line,
    job_end,
    kill,
    load,
    node_down,
    oom,
    rank_failed,
    save,
    step_oom,
    task_ended,
    ticket,
    touch,
    write,
    xid,
)
from tests.build_subjects import command


def judge(*events: Told, silent: Sequence[Source] = (), **site: object) -> Verdict | None:
    """The verdict with the findings of all detectors."""
    looked = case(*events, silent=silent, at=build.site(**site))
    now = build.now(silent=silent)
    return verdict.judge(looked, [finding for each in registry("job") for finding in each.judge(looked, now)], now)


def said(*events: Told, **changes: object) -> Verdict:
    found = judge(*events, **changes)  # type: ignore[arg-type]
    assert found is not None
    return found


class Row(NamedTuple):
    """A story, what is said of it, and which of its events says so."""

    cause: str
    name: str
    events: Sequence[Told]
    by: Event | None = None


def oom_of(at: float, uid: int) -> Event:
    """The kernel ended a process of this user."""
    return build.event(at, Source.KERNEL, OomKill(pid=99, uid=uid), host=build.HOST)


KILLED_BY_OWNER = kill(97, uid=OWNER, auid=OWNER)
KILLED_BY_ADMIN = kill(97, uid=ADMIN, auid=ADMIN)
BENIGN = [
    Row("completed", "the end says so", [job_end(100, "COMPLETED")]),
    Row("time_limit", "the controller says so", [controller(99, "time_limit"), job_end(100, "TIMEOUT")], controller(99, "time_limit")),
    Row("time_limit", "the end alone", [job_end(100, "TIMEOUT")]),
    Row("time_limit", "a deadline", [job_end(100, "DEADLINE")]),
    Row("preempted", "the controller says so", [controller(99, "preempted"), job_end(100, "PREEMPTED")], controller(99, "preempted")),
    Row("preempted", "cancelled, and the controller tells why",
        [controller(90, "preempted"), job_end(100, "CANCELLED")], controller(90, "preempted")),
    Row("requeued", "the end alone", [job_end(100, "REQUEUED")]),
    Row("node_fail", "the end alone", [job_end(100, "NODE_FAIL")]),
    Row("node_fail", "at boot", [job_end(100, "BOOT_FAIL")]),
    Row("node_fail", "failed, and the controller tells why", [controller(99, "node_failed"), job_end(100)], controller(99, "node_failed")),
    Row("node_fail", "failed, and the node was lost before", [node_down(50), job_end(100)], node_down(50)),
    Row("out_of_memory", "the end alone", [job_end(100, "OUT_OF_MEMORY")]),
    Row("out_of_memory", "the kernel ended a rank", [oom(98), job_end(100)], oom(98)),
    Row("out_of_memory", "the kernel ended a pid that the launcher names",
        [oom(98, pid=99), rank_failed(99, pid=99), job_end(100)], oom(98, pid=99)),
    Row("hardware", "off the bus", [xid(50, 79), job_end(100)], xid(50, 79)),
    Row("owner_cancel", "the request says so", [cancel_request(98, OWNER), job_end(100, "CANCELLED")], cancel_request(98, OWNER)),
    Row("owner_cancel", "sacct says so", [job_end(100, "CANCELLED", source=Source.SACCT, cancelled_by_uid=OWNER)]),
    Row("service_cancel", "the request says so", [cancel_request(98, SERVICE), job_end(100, "CANCELLED")], cancel_request(98, SERVICE)),
    Row("owner_kill", "the owner's login", [KILLED_BY_OWNER, job_end(100)], KILLED_BY_OWNER),
    Row("app_error", "an error line", [error_line(98), job_end(100)], error_line(98)),
    Row("app_error", "a rank's own exit code", [rank_failed(98, signal=None, exit_code=1), job_end(100, derived_signal=None)],
        rank_failed(98, signal=None, exit_code=1)),
    Row("app_error", "the job's own exit code", [job_end(100, derived_signal=None)]),
    Row("launch_failure", "0:53 is no signal", [job_end(100, exit_code=0, derived_signal=53)]),
]  # fmt: skip


@pytest.mark.parametrize("row", BENIGN, ids=lambda row: f"{row.cause}: {row.name}")
def test_a_record_acquits(row: Row) -> None:
    """Benign, with the record that proves it, and nothing left to look at."""
    found = said(*row.events)
    by = row.by or next(each for each in row.events if isinstance(each, Event) and each.event_time == found.end)
    assert (found.verdict, found.cause) == ("benign", row.cause)
    assert found.by is not None
    assert (found.by.event_id, found.by.sha256) == (by.id, by.sha256)
    assert (found.checklist, found.findings) == ((), ())


@pytest.mark.parametrize(
    ("cause", "events"),
    [("admin_cancel", [cancel_request(98, ADMIN), job_end(100, "CANCELLED")]), ("admin_kill", [KILLED_BY_ADMIN, job_end(100)])],
)
def test_an_admin_is_acquitted_by_a_ticket_only(cause: str, events: Sequence[Event]) -> None:
    """With it benign, without it, or with one of another cluster, under a finding."""
    for cluster in ("", build.CLUSTER):
        found = said(*events, tickets=(ticket(0, 200, cluster=cluster),))
        assert (found.verdict, found.cause, found.by.event_id if found.by else "") == ("benign", cause, events[0].id)
    assert said(*events).verdict == said(*events, tickets=(ticket(0, 200, cluster="west"),)).verdict == "interference"


CHILD_FAILED = "torch.distributed.elastic.multiprocessing.errors.ChildFailedError: "
UNEXPLAINED = [
    Row("", "a signal and nobody known", [job_end(100)]),
    Row("", "a rank's signal and nobody known", [rank_failed(98), task_ended(98), job_end(100)]),
    Row("", "cancelled by nobody known", [job_end(100, "CANCELLED")]),
    Row("", "preempted, and a stranger asked for its end as well",
        [controller(90, "preempted"), cancel_request(98, 4242), job_end(100, "CANCELLED")]),
    Row("", "suspended for another job", [controller(90, "preempted", detail="suspended"), job_end(100, "CANCELLED")]),
    Row("", "preempted a quarter of an hour before", [controller(-801, "preempted"), job_end(100, "CANCELLED")]),
    Row("", "a request that was refused", [cancel_request(98, OWNER, refused=True), job_end(100, "CANCELLED")]),
    Row("", "a request long before", [cancel_request(-21, OWNER), job_end(100, "CANCELLED")]),
    Row("", "memory, says the job's output, and not the kernel", [step_oom(98), job_end(100)]),
    Row("", "memory of somebody else's process, whose number the output names",
        [touch(oom_of(98, uid=COLLEAGUE), matched="host"), rank_failed(99, pid=99), job_end(100)]),
    Row("", "an error behind a rank's death by a signal is of those that were left", [rank_failed(95), error_line(98), job_end(100)]),
    Row("", "memory of another process", [oom(98, pid=99), job_end(100)]),
    Row("", "the launcher's own error behind each failed rank", [rank_failed(98), error_line(98, CHILD_FAILED), job_end(100)]),
    Row("", "the same before the line that says how the rank ended", [error_line(97, CHILD_FAILED), rank_failed(98), job_end(100)]),
    Row("", "memory a quarter of an hour before", [oom(-801), job_end(100)]),
    Row("", "an Xid that follows any abrupt death", [xid(98, 43), job_end(100)]),
    Row("", "the owner had the controller signal it, which cancels nothing", [cancel_request(98, OWNER), job_end(100)]),
    Row("", "the owner's signal, but another one", [kill(97, uid=OWNER, auid=OWNER, signal=15), job_end(100)]),
    Row("", "the owner's uid without login is the launcher", [kill(97, uid=OWNER, auid=None), job_end(100)]),
    Row("", "the owner killed some process on the node", [touch(kill(97, uid=OWNER, auid=OWNER, target=99), matched="host"), job_end(100)]),
]  # fmt: skip


@pytest.mark.parametrize("ends", [[oom(98), job_end(100)], [job_end(100, "OUT_OF_MEMORY")], [step_oom(98), job_end(100)]])
def test_memory_that_somebody_else_took_away_acquits_nobody(ends: Sequence[Event]) -> None:
    """It was no shortage of the job's; the checklist names the command."""
    limit = command(90, "tee", "/sys/fs/cgroup/system.slice/slurmstepd.scope/job_7/memory.max")
    silent = [Source.KERNEL] if len(ends) == 2 and ends[0].source is Source.TRAINING else []
    assert said(*ends, silent=silent).cause == "out_of_memory"
    found = said(touch(limit), *ends, silent=silent)
    assert (found.verdict, found.cause, found.by) == ("unexplained", "no_record", None)
    (told,) = [item for item in found.checklist if item.name == "out_of_memory"]
    assert (told.answer, told.by) == (Checked.NOT_CHECKED, limit.id)


LEFT = [  # of the program's end, as those that were left tell it
    ("an error line behind the kill", [error_line(99), job_end(100)], ""),
    ("a rank's own exit code", [rank_failed(99, signal=None, exit_code=1), job_end(100, derived_signal=None)], ""),
    ("the job's own exit code", [job_end(100, exit_code=137, derived_signal=None)], ""),
    ("an error line before the kill", [error_line(97), job_end(100)], "app_error"),
]


@pytest.mark.parametrize(("what", "ends", "cause"), LEFT, ids=[each[0] for each in LEFT])
def test_what_memory_that_was_taken_away_left_behind_acquits_nobody(what: str, ends: Sequence[Event], cause: str) -> None:
    """The loader's process was killed, and the program stopped for that: no fault of its own."""
    limit = command(90, "tee", "/sys/fs/cgroup/system.slice/slurmstepd.scope/job_7/memory.max")
    assert said(touch(limit), oom(98), *ends).cause == (cause or "no_record")
    assert said(oom(98), *ends).cause == "out_of_memory"


@pytest.mark.parametrize(("at", "host"), [(99, build.HOST), (90, "gpu-002")], ids=["behind it", "elsewhere"])
def test_memory_that_was_not_taken_away_there_by_then_ended_it(at: float, host: str) -> None:
    """Somebody set a limit after the kill, or on another node."""
    limit = command(at, "tee", "/sys/fs/cgroup/system.slice/slurmstepd.scope/job_7/memory.max", host=host)
    assert said(touch(limit), oom(98), job_end(100)).cause == "out_of_memory"


def test_the_step_daemon_counts_where_the_kernel_is_not_heard() -> None:
    """Then nothing contradicts it."""
    found = said(step_oom(98), job_end(100), silent=[Source.KERNEL])
    assert (found.verdict, found.cause) == ("benign", "out_of_memory")


@pytest.mark.parametrize("row", UNEXPLAINED, ids=lambda row: row.name)
def test_without_such_a_record_it_is_unexplained(row: Row) -> None:
    """That is no accusation; it lists what was heard around the end."""
    found = said(*row.events)
    assert (found.verdict, found.cause, found.by, found.findings) == ("unexplained", "no_record", None, ())
    assert {item.name: item.answer for item in found.checklist} == {
        "explained_by_slurmctld": Checked.EXCLUDED,
        "explained_by_auditd": Checked.EXCLUDED,
        "explained_by_kernel": Checked.EXCLUDED,
    }


@pytest.mark.parametrize(
    ("source", "missing"),
    [(Source.SLURMCTLD, "slurmctld"), (Source.AUDITD, "auditd on gpu-001"), (Source.KERNEL, "kernel on gpu-001")],
)
def test_unexplained_names_the_sources_that_were_not_heard(source: Source, missing: str) -> None:
    """A record may exist that nobody shipped."""
    found = said(job_end(100), silent=[source])
    open_ones = {item.name: item.missing for item in found.checklist if item.answer is Checked.NOT_CHECKED}
    assert open_ones == {f"explained_by_{source}": (missing,)}


@pytest.mark.parametrize(
    ("cause", "events"),
    [
        ("ranks_killed", [kill(97), job_end(100)]),
        ("cancelled", [cancel_request(98), job_end(100, "CANCELLED")]),
        ("loaded_tampered_checkpoint", [save(10), write(40), load(90), job_end(100, "COMPLETED")]),
    ],
)
def test_a_finding_comes_before_any_acquittal(cause: str, events: Sequence[Event]) -> None:
    """The verdict names the findings and is not benign, even when the job completed."""
    found = said(*events)
    assert (found.verdict, found.cause, len(found.findings)) == ("interference", cause, 1)


def test_a_refused_attempt_alone_leaves_the_verdict_as_it_is() -> None:
    """It had no effect on the job; the verdict still names it."""
    found = said(cancel_request(50, COLLEAGUE, refused=True), job_end(100, "COMPLETED"))
    assert (found.verdict, found.cause, len(found.findings)) == ("benign", "completed", 1)


def test_a_running_job_has_no_verdict() -> None:
    """Nothing ended."""
    assert judge(allocation(), rank_failed(50)) is None


def test_it_says_whose_job_ended_where_and_when() -> None:
    """What people ask first; it is final a grace behind the end."""
    found = said(job_end(100, nodes=("gpu-001", "gpu-002")))
    assert (found.attempt, found.owner, found.owner_uid, found.state) == (attempt(), "u012", OWNER, "FAILED")
    assert (found.end, found.closes_at, found.nodes, found.gpus) == (build.ms(100), build.ms(220), ("gpu-001", "gpu-002"), 8)
    assert found.status is Status.PROVISIONAL


def test_the_id_is_the_attempts() -> None:
    """Whatever is said of it."""
    assert said(job_end(100)).id == said(kill(97), job_end(100)).id
    assert said(job_end(100)).id != judge_of_second_run().id


def judge_of_second_run() -> Verdict:
    later = case(allocation(), job_end(50), job_end(200, submit=60, start=70), of=attempt(submit=60, start=70))
    found = verdict.judge(later, [], build.now())
    assert found is not None
    return found


def test_sacct_adds_what_jobcomp_does_not_say() -> None:
    """Both say the end; the owner's cancel is known from sacct only."""
    found = said(job_end(100, "CANCELLED"), job_end(100, "CANCELLED", source=Source.SACCT, cancelled_by_uid=OWNER))
    assert (found.verdict, found.cause, found.by.source if found.by else "") == ("benign", "owner_cancel", "sacct")
