"""P01: a rank killed by somebody else.

# 35 minutes before the end, 5 seconds after it; the scheduler must be shown not to have done it
#
#   access      [-2000 ... kill@97
#   training                       rank_failed@98
#   scheduler   start@0                              end@100
"""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import pytest

from pipeline.detect import detector
from pipeline.detect.benign import Suspicion, launcher_cleanup
from pipeline.detect.detector import registry
from pipeline.model.events import Event, JobUpdate
from pipeline.model.finding import Checked, Finding
from pipeline.model.source import Source
from pipeline.model.told import Told
from tests import build
from tests.build import (
    ADMIN,
    COLLEAGUE,
    OTHER,
    OWNER,
    PID,
    SERVICE,
    allocation,
    answer,
    answers,
    attempt,
    cancel_request,
    collective_timeout,
    controller,
    coverage,
    job_end,
    job_update,
    kill,
    node_down,
    oom,
    rank_failed,
    step_cancelled,
    task_ended,
    ticket,
    touch,
    xid,
)
from tests.build_subjects import command

ID = "p01_foreign_kill"


def judge(*events: Told, silent: Sequence[Source] = (), until: float = 10 * build.DAY) -> list[Finding]:
    return build.judge(ID, *events, silent=silent, until=until)


class Row(NamedTuple):
    """A story, and how many findings it gives."""

    name: str
    events: Sequence[Told]
    findings: int


FIRING = [
    Row("all three sides", [kill(97), rank_failed(98), job_end(100)], 1),
    Row("no launcher line: the job ended by the signal", [kill(97), job_end(100)], 1),
    Row("no end yet: the launcher names process and signal", [kill(97), rank_failed(98)], 1),
    Row("the job survived, say by an elastic restart", [kill(97), rank_failed(98), job_end(9_000, "COMPLETED")], 1),
    Row("srun names the signal", [kill(97), task_ended(98), job_end(100, derived_signal=None)], 1),
    Row("TERM counts", [kill(97, signal=15), job_end(100, derived_signal=15)], 1),
    Row("USR1 ends what does not wait for it", [kill(97, signal=10), rank_failed(98, signal=10), job_end(100, derived_signal=10)], 1),
    Row("a real-time signal", [kill(97, signal=34), rank_failed(98, signal=34)], 1),
    Row("TSTP, and the collective times out", [kill(97, signal=20), collective_timeout(1_900), job_end(1_910, derived_signal=6)], 1),
    Row("the job puts itself back in the queue", [kill(97), rank_failed(98), controller(99, "requeued"), job_end(100, "REQUEUED")], 1),
    Row(
        "the same, and nobody was logged in who did it",
        [kill(97, auid=None), rank_failed(98), controller(99, "requeued"), job_end(100, "REQUEUED")],
        1,
    ),
    Row("the owner had it checkpoint before", [cancel_request(90, OWNER), kill(97), rank_failed(98), job_end(100)], 1),
    Row("STOP, and the collective times out", [kill(97, signal=19), collective_timeout(1_900), job_end(1_910, derived_signal=6)], 1),
    Row("an unknown colleague", [kill(97, uid=7777, auid=7777), job_end(100)], 1),
    Row("an admin without a ticket", [kill(97, uid=ADMIN, auid=ADMIN), job_end(100)], 1),
    Row("su to the owner: the login decides", [kill(97, auid=COLLEAGUE, uid=OWNER), job_end(100)], 1),
    Row("sudo: the login decides", [kill(97, auid=COLLEAGUE, uid=0), job_end(100)], 1),
    Row("from another job, without login", [kill(97, auid=None, uid=COLLEAGUE), job_end(100)], 1),
    Row("a requeue before the start ended the run before", [controller(-20, "requeued"), kill(97), rank_failed(98), job_end(100)], 1),
    Row("many kills are one finding", [kill(96), kill(97), kill(98, target=4712), job_end(100)], 1),
]
SILENT = [
    Row("nobody killed anything", [job_end(100)], 0),
    Row("the owner", [kill(97, uid=OWNER, auid=OWNER), rank_failed(98), job_end(100)], 0),
    Row("the launcher ends siblings", [kill(97, uid=OWNER, auid=None, signal=15), rank_failed(98, signal=15), job_end(100)], 0),
    Row("refused by the kernel", [kill(97, success=False), job_end(100)], 0),
    Row("signal 0 ends nobody", [kill(97, signal=0), job_end(100, derived_signal=0)], 0),
    Row("a checkpoint is asked for, and it fails by something else", [kill(97, signal=10), rank_failed(98), job_end(100)], 0),
    Row("no effect: the job completed", [kill(97), job_end(100, "COMPLETED")], 0),
    Row("no effect: it failed by its own exit code", [kill(97), job_end(100, derived_signal=None)], 0),
    Row("another signal than the one that ended it", [kill(97, signal=15), job_end(100, derived_signal=11)], 0),
    Row("another process died", [kill(97), rank_failed(98, pid=4712)], 0),
    Row("only the node fits, not process nor owner", [touch(kill(97, target=99), matched="host"), job_end(100)], 0),
    Row("it still runs", [kill(97)], 0),
]
BOUNDARY = [
    Row("35 minutes before the end is inside", [kill(-2000), job_end(100)], 1),
    Row("a moment more is not", [kill(-2000.001), job_end(100)], 0),
    Row("5 seconds behind the end is inside: schedulers state whole seconds", [kill(105), job_end(100)], 1),
    Row("a moment more is not", [kill(105.001), job_end(100)], 0),
    Row("NCCL waits 30 minutes for the lost rank", [kill(97), collective_timeout(1_897), job_end(1_900)], 1),
    Row("the launcher's line may be 5 seconds ahead", [kill(97), rank_failed(92)], 1),
    Row("not more", [kill(97), rank_failed(91.999)], 0),
]


@pytest.mark.parametrize("row", FIRING, ids=lambda row: row.name)
def test_fires(row: Row) -> None:
    """A foreign, deadly, successful signal with its effect is one finding about this attempt."""
    (finding,) = judge(*row.events)
    assert (finding.detector, finding.effect, finding.attempt) == (ID, "ranks_killed", attempt())
    assert {item.role for item in finding.evidence} == {"cause", "effect"}


@pytest.mark.parametrize("row", SILENT, ids=lambda row: row.name)
def test_is_silent(row: Row) -> None:
    """Without a foreign sender, a deadly signal or an effect there is nothing to say."""
    assert judge(*row.events) == []


@pytest.mark.parametrize("row", BOUNDARY, ids=lambda row: row.name)
def test_boundary(row: Row) -> None:
    """Both edges of the window belong to it."""
    assert len(judge(*row.events)) == row.findings


HARMLESS = [
    Row("owner_or_service", [kill(97, uid=SERVICE, auid=SERVICE), job_end(100)], 0),
    Row("system_daemon: the step daemon's TERM", [kill(95, uid=0, auid=None, signal=15), job_end(100, derived_signal=15)], 0),
    Row("system_daemon: the step daemon's KILL", [kill(97, uid=0, auid=None), job_end(100)], 0),
    Row("preempted, says the end", [kill(97), job_end(100, "PREEMPTED", derived_signal=9)], 0),
    Row("preempted, says the controller", [kill(97), controller(90, "preempted"), job_end(100)], 0),
    Row("requeued, says the controller", [kill(97), controller(90, "requeued"), job_end(100)], 0),
    Row("time_limit, says the controller", [kill(97), controller(90, "time_limit"), job_end(100)], 0),
    Row("time_limit, says the end", [kill(97), rank_failed(98), job_end(100, "TIMEOUT")], 0),
    Row("scheduler_cancel", [kill(97), cancel_request(90, COLLEAGUE), job_end(100, "CANCELLED", derived_signal=9)], 0),
    Row("out_of_memory, says the kernel", [kill(97), oom(96), rank_failed(98), job_end(100)], 0),
    Row("out_of_memory, says the end", [kill(97), job_end(100, "OUT_OF_MEMORY", derived_signal=9)], 0),
    Row("hardware_fault: off the bus", [kill(97), xid(0, 79), job_end(100)], 0),
    Row("hardware_fault: an error that was contained in the process", [kill(97), xid(96, 94, pid=PID), job_end(100)], 0),
    Row("hardware_fault: the same, and nobody knows in which", [kill(97), xid(96, 94), job_end(100)], 0),
    Row("hardware_fault: node lost", [kill(97), node_down(90), job_end(100)], 0),
    Row("hardware_fault, says the end", [kill(97), rank_failed(98), job_end(100, "NODE_FAIL")], 0),
]


@pytest.mark.parametrize("row", HARMLESS, ids=lambda row: row.name)
def test_a_confirmed_explanation_ends_the_suspicion(row: Row) -> None:
    """What a record proves to be harmless is no finding."""
    assert judge(*row.events) == []


PRINTED = ["preemption", "requeue", "time_limit"]


@pytest.mark.parametrize("reason", PRINTED)
def test_what_only_the_jobs_output_says_acquits_nobody_and_names_nobody(reason: str) -> None:
    """The step daemon's words can be printed by others: the hit stays, below the gate."""
    (finding,) = judge(kill(97), step_cancelled(96, reason), job_end(100))
    assert (finding.alert, finding.actor) == (False, "")
    assert finding.gate in ("not checked: preempted", "not checked: time_limit")


NOT_HARMLESS = [
    Row(
        "a request whose refusal is a line of its own", [kill(97), cancel_request(90), cancel_request(90.1, refused=True), job_end(100)], 1
    ),
    Row("one's own request that cancelled nothing", [kill(97), cancel_request(90), job_end(100)], 1),
    Row("a refused cancel request explains no kill", [kill(97), cancel_request(90, refused=True), job_end(100)], 1),
    Row("a request without effect neither", [kill(97), cancel_request(90, no_effect=True), job_end(100)], 1),
    Row("the requeue that ended the run before", [controller(-6, "requeued"), step_cancelled(-6, "preemption"), kill(97), job_end(100)], 1),
    Row("a request behind the kill neither", [kill(97), cancel_request(97.001), job_end(100)], 1),
    Row("a request long before neither", [kill(97), cancel_request(97 - 120.001), job_end(100)], 1),
    Row("memory ended another process", [kill(97), oom(96, pid=99), job_end(100)], 1),
    Row("an Xid that any abrupt death leaves", [kill(97), xid(96, 43), job_end(100)], 1),
    *(Row(f"an Xid that ends no process: {code}", [kill(97), xid(96, code), job_end(100)], 1) for code in (63, 64, 92)),
    Row("an error that was contained in another process", [kill(97), xid(96, 94, pid=99), job_end(100)], 1),
    Row("an Xid behind the kill", [kill(97), xid(98, 79), job_end(100)], 1),
    Row("an Xid more than a quarter of an hour before", [kill(97), xid(97 - 900.001, 79), job_end(100)], 1),
]


@pytest.mark.parametrize("row", NOT_HARMLESS, ids=lambda row: row.name)
def test_what_only_looks_like_an_explanation_acquits_nobody(row: Row) -> None:
    """An explanation must come first, be the right one, and have had an effect."""
    assert len(judge(*row.events)) == row.findings


LIMITED = [kill(97), oom(96), rank_failed(98), job_end(100)]
LIMITS = [
    ("tee", "/sys/fs/cgroup/system.slice/slurmstepd.scope/job_7/memory.max"),
    ("sh", "-c", "echo 1G > /sys/fs/cgroup/memory/slurm/uid_5012/job_7/memory.limit_in_bytes"),
    ("dd", "if=x", "of=/sys/fs/cgroup/system.slice/slurmstepd.scope/job_7/memory.max"),
    ("cgset", "-r", "memory.high=1G", "job_7"),
    ("systemctl", "set-property", "--runtime", "slurmstepd.scope", "MemoryMax=1G"),
]


@pytest.mark.parametrize("words", LIMITS, ids=" ".join)
def test_memory_that_somebody_took_away_explains_no_end(words: tuple[str, ...]) -> None:
    """The kernel ended it for want of memory since a colleague had set how much there is: a doubt, and no acquittal."""
    limit = command(90, *words)
    for ends in (LIMITED, [kill(97), job_end(100, "OUT_OF_MEMORY", derived_signal=9)]):
        (finding,) = judge(touch(limit), *ends)
        said = answer(finding, "out_of_memory")
        assert (finding.alert, finding.actor, said.answer, said.by) == (False, "", Checked.NOT_CHECKED, limit.id)


@pytest.mark.parametrize(
    ("by", "what", "alert"), [(ADMIN, "min_memory_node", False), (OWNER, "min_memory_node", None), (ADMIN, "time_limit", None)]
)
def test_memory_that_an_update_of_the_job_took_away_explains_no_end(by: int, what: str, alert: bool | None) -> None:
    """`scontrol update JobId=7 MinMemoryNode=1024`, before it started.  None: no finding."""
    asked = job_update(-9.9, by)
    changed = build.event(-10, Source.SLURMCTLD, JobUpdate(job=build.JOB, change=what, value="1024"), job=build.JOB, host="ctl-001")
    found = judge(changed, asked, *LIMITED)
    assert [(each.alert, answer(each, "out_of_memory").by) for each in found] == ([] if alert is None else [(alert, asked.id)])


@pytest.mark.parametrize(("asked", "findings"), [(-10, 1), (-5, 1), (-4.9, 0), (50, 0)])
@pytest.mark.parametrize("tag", ["a", "b", "c", "d"])
def test_an_update_is_told_in_one_call(asked: float, findings: int, tag: str) -> None:
    """What it set, and within five seconds who asked; both within one millisecond, too, where nothing tells which line came first."""
    changed = build.event(-10, Source.SLURMCTLD, JobUpdate(job=build.JOB, change="min_memory_node"), job=build.JOB, host="ctl-001", tag=tag)
    assert len(judge(changed, job_update(asked, ADMIN), *LIMITED)) == findings


def test_who_asked_for_something_else_limited_no_memory() -> None:
    """The owner's call was completed before."""
    changed = build.event(-10, Source.SLURMCTLD, JobUpdate(job=build.JOB, change="min_memory_node"), job=build.JOB, host="ctl-001")
    assert judge(changed, job_update(-9.9, OWNER), job_update(-9.8, ADMIN), *LIMITED) == []


@pytest.mark.parametrize(
    "limit",
    [
        command(90, *LIMITS[0], by=None),
        command(90, *LIMITS[0], by=OWNER),
        command(90, *LIMITS[0], by=SERVICE),
        command(90, *LIMITS[0], success=False),
        command(90, *LIMITS[0], host="gpu-002"),
        command(96.001, *LIMITS[0]),
        command(90, "cgset", "-r", "cpu.max=1000", "job_7"),
    ],
    ids=["the system", "the owner", "a service", "in vain", "elsewhere", "behind it", "processors"],
)
def test_memory_that_nobody_else_took_away_ended_it(limit: Event) -> None:
    """Then the kernel's word stands."""
    assert judge(touch(limit), *LIMITED) == []


def test_memory_that_an_admin_took_away_under_a_ticket_ended_it() -> None:
    """For this actor, at that time."""
    limit, covered = command(90, *LIMITS[0], by=ADMIN), build.site(tickets=(ticket(80, 95),))
    assert build.judge(ID, touch(limit), *LIMITED, at=covered) == []
    assert len(build.judge(ID, touch(limit), *LIMITED)) == 1


def test_the_launchers_own_signals_are_told_from_others() -> None:
    """Its TERM to the other ranks carries the owner's uid: the rule suspects nobody of it, and the explanation would clear it."""
    term = kill(97, uid=OWNER, auid=None, signal=15)
    ended = build.case(term, rank_failed(98, signal=15), job_end(100, derived_signal=15))
    (said,) = detector.answered((launcher_cleanup,), ended, Suspicion(None, term, build.ms(98)), build.now())
    assert (said.answer, said.by) == (Checked.CONFIRMED, term.id)


def test_an_admin_under_a_ticket_is_acquitted() -> None:
    """The ticket must cover actor and time."""
    story = [kill(97, uid=ADMIN, auid=ADMIN), job_end(100)]
    covered = build.site(tickets=(ticket(0, 200),))
    elsewhen = build.site(tickets=(ticket(98, 200),))
    assert build.judge(ID, *story, at=covered) == []
    (finding,) = build.judge(ID, *story, at=elsewhen)
    assert answer(finding, "admin_ticket").answer is Checked.EXCLUDED


def test_with_all_sources_every_explanation_is_excluded() -> None:
    """The checklist names each explanation with the record, or the heard source, that rules it out."""
    (finding,) = judge(kill(97), rank_failed(98), job_end(100))
    assert set(answers(finding).values()) == {Checked.EXCLUDED}
    assert all(item.by or item.note for item in finding.checklist)
    assert (finding.alert, finding.gate) == (True, "")


class Removed(NamedTuple):
    """What is taken away, and what the explanation then says is missing."""

    name: str
    explanation: str
    events: Sequence[Told]
    silent: Sequence[Source]
    missing: tuple[str, ...]


KILLED = [kill(97), rank_failed(98)]
REMOVED = [
    Removed("jobcomp", "owner_or_service", [*KILLED, job_end(100, owner_uid=None, owner="")], [], ("slurm_jobcomp", "sacct")),
    Removed("slurmctld, no end record", "preempted", KILLED, [Source.SLURMCTLD], ("slurmctld", "slurm_jobcomp")),
    Removed("slurmctld, no end record", "time_limit", KILLED, [Source.SLURMCTLD], ("slurmctld", "slurm_jobcomp")),
    Removed("slurmctld", "scheduler_cancel", [*KILLED, job_end(100)], [Source.SLURMCTLD], ("slurmctld",)),
    Removed("kernel", "out_of_memory", [*KILLED, job_end(100)], [Source.KERNEL], ("kernel on gpu-001",)),
    Removed("kernel", "hardware_fault", [*KILLED, job_end(100)], [Source.KERNEL], ("kernel on gpu-001",)),
    Removed("slurmctld", "hardware_fault", [*KILLED, job_end(100)], [Source.SLURMCTLD], ("slurmctld",)),
]


@pytest.mark.parametrize("row", REMOVED, ids=lambda row: f"{row.explanation} without {row.name}")
def test_without_the_source_that_acquits_an_explanation_is_not_checked(row: Removed) -> None:
    """Excluded turns into not checked, and the missing source is named."""
    with_all = [*KILLED, job_end(100)] if row.name == "jobcomp" else row.events
    (before,) = judge(*with_all)
    (finding,) = judge(*row.events, silent=row.silent)
    assert answer(before, row.explanation).answer is Checked.EXCLUDED
    assert (answer(finding, row.explanation).answer, answer(finding, row.explanation).missing) == (Checked.NOT_CHECKED, row.missing)


def test_without_anybody_named_nothing_about_the_actor_is_checked() -> None:
    """A record that names neither login nor uid leaves four explanations open."""
    (finding,) = judge(kill(97, uid=None, auid=None), rank_failed(98), job_end(100))
    open_ones = {name for name, said in answers(finding).items() if said is Checked.NOT_CHECKED}
    assert open_ones == {"owner_or_service", "system_daemon", "admin_ticket", "launcher_cleanup"}
    assert (finding.actor, finding.alert) == ("", False)
    assert answer(finding, "system_daemon").missing == ()
    (unheard,) = judge(kill(97, uid=None, auid=None), rank_failed(98), job_end(100), silent=[Source.AUDITD])
    assert answer(unheard, "system_daemon").missing == ("auditd",)


def test_an_account_without_a_login_is_not_said_to_have_one() -> None:
    """The cause says "without a login"; an explanation that says otherwise would contradict it."""
    (finding,) = judge(kill(97, auid=None), rank_failed(98), job_end(100))
    assert answer(finding, "system_daemon").answer is Checked.EXCLUDED
    assert answer(finding, "system_daemon").note == "the account is none of the system's"


@pytest.mark.parametrize(
    ("source", "gate"),
    [(Source.SLURMCTLD, "not checked: scheduler_cancel"), (Source.KERNEL, "not checked: out_of_memory")],
)
def test_below_the_gate_there_is_a_finding_but_no_alert_and_no_name(source: Source, gate: str) -> None:
    """An open required explanation keeps the hit visible, quiet and nameless."""
    (finding,) = judge(*KILLED, job_end(100), silent=[source])
    assert (finding.alert, finding.gate) == (False, gate)
    assert (finding.actor, finding.actor_withheld) == ("", f"below the gate: {gate}")


def test_a_gap_of_the_kernel_log_around_the_kill_is_noticed() -> None:
    """Heard before and after is not heard throughout: each bucket that the window touches counts."""
    gap = [coverage(Source.KERNEL, -build.DAY, -900), coverage(Source.AUDITD, -build.DAY, build.DAY)]
    (finding,) = judge(*KILLED, job_end(100), *gap, silent=[Source.KERNEL])
    assert answer(finding, "out_of_memory").missing == ("kernel on gpu-001",)


def test_hardware_is_excluded_only_when_the_kernel_log_was_heard_before_the_kill() -> None:
    """The explanation looks a quarter of an hour back, so that is how far the source must have been heard."""
    heard = coverage(Source.KERNEL, 0, build.DAY)
    index = build.case(kill(97), rank_failed(98), job_end(100), heard, silent=[Source.KERNEL])
    (detector,) = [each for each in registry() if each.meta.id == ID]
    (finding,) = detector.judge(index, build.now())
    assert answer(finding, "hardware_fault").missing == ("kernel on gpu-001",)


def test_before_the_watermarks_have_passed_an_absence_proves_nothing() -> None:
    """Provisional: the controller may still say that it did it."""
    (finding,) = judge(*KILLED, job_end(100), until=97.5)
    assert answer(finding, "scheduler_cancel").answer is Checked.NOT_CHECKED


def test_the_colleague_is_named_on_two_independent_sources() -> None:
    """Kernel audit and scheduler, of which the colleague can write only one."""
    (finding,) = judge(*KILLED, job_end(100))
    assert (finding.actor, finding.actor_withheld, finding.owner) == ("u099", "", "u012")
    assert {item.source for item in finding.evidence} == {"auditd", "training", "slurm_jobcomp"}


def test_one_node_log_and_the_jobs_own_output_name_nobody() -> None:
    """A user can write both."""
    (finding,) = judge(*KILLED)
    assert (finding.actor, finding.actor_withheld) == ("", "no source that the person could not write")


def test_several_actors_are_not_one() -> None:
    """Two people killed ranks: neither is named as the one who did it."""
    (finding,) = judge(kill(96), kill(97, uid=OTHER, auid=OTHER), rank_failed(98), job_end(100))
    assert (finding.actor, finding.actor_withheld) == ("", "several identities acted; see the evidence")


def test_the_innocent_among_several_are_left_out() -> None:
    """The step daemon's own signals are not cited beside the colleague's."""
    daemon = kill(98, uid=0, auid=None)
    (finding,) = judge(kill(97), daemon, rank_failed(99), job_end(100))
    assert daemon.id not in {item.event_id for item in finding.evidence}
    assert finding.actor == "u099"


def test_the_id_does_not_depend_on_the_evidence() -> None:
    """Subject and kind of effect name a finding, whatever was seen first."""
    (one,) = judge(kill(97), job_end(100))
    (two,) = judge(kill(50), kill(97), rank_failed(98), job_end(100))
    assert one.id == two.id


def test_it_is_final_when_everything_that_was_looked_at_has_passed() -> None:
    """The launcher's line may come behind the end of the job: the window waits for it."""
    (finding,) = judge(kill(97), rank_failed(160), job_end(100))
    assert finding.effect_time == build.ms(160)
    assert finding.closes_at >= finding.effect_time + 120_000


def test_relation_needs_names_of_one_kind() -> None:
    """An owner known by login only and a sender known by uid only may be the same person."""
    unmapped = build.site(identities=())
    (finding,) = build.judge(ID, kill(97), job_end(100, owner_uid=None, owner="ola"), at=unmapped)
    assert answer(finding, "owner_or_service").answer is Checked.NOT_CHECKED
    assert not finding.alert


def test_an_allocation_alone_tells_the_owner() -> None:
    """While the job runs, the start record says whose it is."""
    (finding,) = judge(allocation(), *KILLED)
    assert answer(finding, "owner_or_service").answer is Checked.EXCLUDED


@pytest.mark.parametrize("parts", [(), (("p1", "a" * 64), ("p2", "b" * 64))], ids=["of one line", "of several"])
def test_how_a_job_ended_that_anybody_may_have_said_acquits_nobody(parts: tuple[tuple[str, str], ...]) -> None:
    """Nobody else says whose the job is, so the word counts for that; for want of what it ended it does not prove."""
    ended = msgspec.structs.replace(build.unproven(job_end(100, "OUT_OF_MEMORY", derived_signal=9)), parts=parts)
    (finding,) = judge(kill(97), ended)
    assert answer(finding, "out_of_memory").answer is Checked.NOT_CHECKED
