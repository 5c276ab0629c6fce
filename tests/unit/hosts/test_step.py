"""The interval join of one host: in whatever order its facts arrive, the last word of every derived fact is the same.

access        kill@97 ........... kept
scheduler                          [0 --------- 100] record@101   ->  touch(kill@97, attempt)
"""

import random
from collections.abc import Iterable, Sequence
from itertools import permutations
from typing import Any

import pytest

from pipeline.hosts.step import HostsState, build_state, step
from pipeline.model.events import (
    AuditRecord,
    Event,
    FileTouched,
    PrivilegeUsed,
    ProcessEnded,
    ProcessRun,
    RuntimeAlert,
    SignalSent,
)
from pipeline.model.facts import Fact, case_name, host_case
from pipeline.model.outcome import Tell
from pipeline.model.source import Source
from pipeline.model.told import HostCoverage, NodeTouch, Told, Touch, decode_told
from pipeline.stream.cases import ALIKE, Cases
from pipeline.stream.watermark import NOTHING, Watermarks
from tests import build
from tests.build import (
    BUCKET_MS,
    CLUSTER,
    COLLEAGUE,
    DAY,
    HOST,
    OTHER,
    OWNER,
    PATH,
    PID,
    allocation,
    attempt,
    audit,
    event,
    heard,
    job_end,
    kill_parts,
    ms,
    node_down,
    now,
    oom,
    process_started,
    scancel_parts,
    to_host,
    write_parts,
    xid,
)

Words = dict[tuple[str, bytes, str], Told]


class Hosts:
    """One partition, driven by hand; `last` is what the stages behind remember of it."""

    def __init__(self, facts: Iterable[Fact] = (), said: Cases | None = None, cases: Cases | None = None, **settings: Any) -> None:
        self.cases = cases if cases is not None else Cases(facts)
        self.state: HostsState = build_state(build.settings(**settings), self.cases)
        self.said = said if said is not None else Cases()

    def take(self, *facts: Fact, at: Watermarks = NOTHING) -> list[Fact]:
        """Fold facts; what was told."""
        self.state, outcomes = step(self.state, facts, at)
        told = []
        for out in outcomes:
            if not isinstance(out, Tell) or out.stage == "incidents":
                continue  # a finding on the host itself: test_judging.py
            told.append(out.fact)
            self.said.merge(Fact(out.stage.encode() + b"\0" + out.fact.case, out.fact.id, out.fact.rank, out.fact.body))
        return told

    @property
    def last(self) -> Words:
        """The last word under each id; void equals absent."""
        return {
            (fact.case.partition(b"\0")[0].decode(), fact.case.partition(b"\0")[2], fact.id): decode_told(fact.body)
            for fact in self.said.facts()
            if fact.body
        }


def run(facts: Sequence[Fact], **settings: Any) -> Words:
    """One by one."""
    hosts = Hosts(**settings)
    for each in facts:
        hosts.take(each)
    return hosts.last


def facts(*events: Event | Fact) -> list[Fact]:
    return [each if isinstance(each, Fact) else to_host(each) for each in events]


def touches(words: Words) -> list[tuple[str, str, str]]:
    """(what happened, job, how it was matched), sorted."""
    found = [each for each in words.values() if isinstance(each, (Touch, NodeTouch))]
    return sorted(
        (type(each.event.body).__name__, each.attempt.job, each.matched if isinstance(each, Touch) else "pid" if each.job_pid else "host")
        for each in found
    )


KILL = kill_parts(97)
ENDED = job_end(100)

# --- the join -------------------------------------------------------------------------------------------------------------------

WATCHED = event(97, Source.TETRAGON, SignalSent(signal=9, target_pid=PID, success=True, serial=0, uid=COLLEAGUE, auid=COLLEAGUE), host=HOST)


def killed(uid: int) -> Event:
    """A watcher saw the process end by a signal."""
    return event(97, Source.TETRAGON, ProcessEnded(pid=PID, uid=uid, signal="SIGKILL"), host=HOST)


def run_parts(at: float, *arguments: str) -> list[Event]:
    """The raw records of a command."""
    words: Any = {f"a{number}": word for number, word in enumerate(arguments)}
    return [
        audit(at, "SYSCALL", syscall_name="execve", success="yes", pid="900", uid="0", auid=str(COLLEAGUE)),
        audit(at, "EXECVE", **words),
    ]


JOINS: dict[str, tuple[list[Event], list[tuple[str, str, str]]]] = {
    "by process": ([*KILL, process_started(1), ENDED], [("SignalSent", "7", "pid")]),
    "by owner": ([*KILL, ENDED], [("SignalSent", "7", "owner")]),
    "an open allocation": ([*KILL, allocation()], [("SignalSent", "7", "owner")]),
    "the target's owner is not known": ([KILL[0], ENDED], [("SignalSent", "7", "host")]),
    "another's process": ([*kill_parts(97, target_uid=OTHER), ENDED], []),
    "nobody's": (KILL, []),
    "a record that names nobody": ([KILL[1], ENDED], []),
    "five seconds around belong to it": (
        [*kill_parts(-5, serial=1), *kill_parts(105, serial=2), ENDED], [("SignalSent", "7", "owner")] * 2,
    ),
    "more do not": ([*kill_parts(-5.001, serial=1), *kill_parts(105.001, serial=2), ENDED], []),
    "a node shared by two jobs": (
        [*KILL, process_started(1), ENDED, job_end(100, job="8")],
        [("SignalSent", "7", "pid")],
    ),
    "a node shared by two jobs of one owner": (
        [*KILL, ENDED, job_end(100, job="8")], [("SignalSent", "7", "owner"), ("SignalSent", "8", "owner")],
    ),
    "a node shared with another owner": ([*KILL, ENDED, job_end(100, job="8", owner_uid=OTHER)], [("SignalSent", "7", "owner")]),
    "the kernel names the process": ([oom(97), process_started(1), ENDED], [("OomKill", "7", "pid")]),
    "the kernel names an unknown process": ([oom(97), ENDED], [("OomKill", "7", "host")]),
    "a GPU error": ([xid(97), ENDED], [("Xid", "7", "host")]),
    "the node is lost": ([node_down(97), ENDED], [("NodeState", "7", "host")]),
    "a signal as a watcher tells it, by process": ([WATCHED, process_started(1), ENDED], [("SignalSent", "7", "pid")]),
    "a signal as a watcher tells it, by node": ([WATCHED, ENDED], [("SignalSent", "7", "host")]),
    "a rank that a watcher saw killed": ([killed(OWNER), process_started(1), ENDED], [("ProcessEnded", "7", "pid")]),
    "a process of the owner that a watcher saw killed": ([killed(OWNER), ENDED], [("ProcessEnded", "7", "host")]),
    "a process of somebody else that a watcher saw killed": ([killed(OTHER), ENDED], []),
    "GPU clocks were lowered": ([*run_parts(97, "nvidia-smi", "-lgc", "210"), ENDED], [("ProcessRun", "7", "host")]),
    "a GPU was asked": ([*run_parts(97, "nvidia-smi", "-q"), ENDED], []),
    "a command without its arguments": ([run_parts(97, "nvidia-smi", "-lgc", "210")[0], ENDED], []),
    "sudo": ([event(97, Source.SSHD, PrivilegeUsed(user="u099", run_as="root", command="tc qdisc add"), host=HOST), ENDED],
             [("PrivilegeUsed", "7", "host")]),
    "audit rules were changed": ([audit(97, "CONFIG_CHANGE", op="set"), ENDED], [("AuditRecord", "7", "host")]),
    "a key file was written": (
        [*write_parts(97, path="/home/u012/.ssh/authorized_keys", host=HOST), ENDED], [("FileTouched", "7", "host")],
    ),
    "an alert": ([event(97, Source.FALCO, RuntimeAlert(rule="Odd"), host=HOST), ENDED], [("RuntimeAlert", "7", "host")]),
    "after the end": ([*run_parts(197, "tc", "qdisc", "add"), ENDED], []),
}  # fmt: skip


@pytest.mark.parametrize(("events", "expected"), JOINS.values(), ids=JOINS)
def test_every_arrival_order_leaves_the_same_touches(events: list[Event], expected: list[tuple[str, str, str]]) -> None:
    """One by one in every order, and all at once: the same last words, byte for byte."""
    base = run(facts(*events))
    assert touches(base) == expected
    for order in permutations(facts(*events)):
        assert run(order) == base
        hosts = Hosts()
        hosts.take(*order)
        assert hosts.last == base


def test_a_restart_anywhere_leaves_the_same_touches() -> None:
    """State is the case; what is derived is built again, and what was told before can still be voided."""
    order = facts(*KILL, allocation(), process_started(50, job="8"), allocation(40, job="8"), job_end(90))
    base = run(order)
    for at in range(len(order)):
        hosts = Hosts()
        hosts.take(*order[:at])
        again = Hosts(hosts.cases.facts(), hosts.said)
        again.take(*order[at:])
        assert again.last == base


def test_the_same_facts_again_tell_nothing() -> None:
    """A replay is silent."""
    hosts = Hosts()
    order = facts(*KILL, process_started(1), ENDED, oom(50), heard(95))
    hosts.take(*order)
    assert hosts.take(*order) == []


def test_a_touch_is_voided_when_the_allocation_proves_to_have_ended_earlier() -> None:
    """The job was thought to run on; its end says that it was gone before the signal."""
    base = run(facts(*KILL, job_end(90)))
    hosts = Hosts()
    hosts.take(*facts(allocation(), *KILL))
    assert touches(hosts.last) == [("SignalSent", "7", "owner")]
    hosts.take(*facts(job_end(90)))
    assert touches(hosts.last) == []
    assert {key: told for key, told in hosts.last.items() if isinstance(told, Touch)} == base


def test_a_touch_is_voided_when_the_process_proves_to_be_another_jobs() -> None:
    """Two jobs of one owner share the node; the probe tells whose rank it was."""
    hosts = Hosts()
    hosts.take(*facts(*KILL, allocation(), allocation(job="8")))
    assert touches(hosts.last) == [("SignalSent", "7", "owner"), ("SignalSent", "8", "owner")]
    hosts.take(*facts(process_started(1, job="8")))
    assert touches(hosts.last) == [("SignalSent", "8", "pid")]


# --- process numbers come again -------------------------------------------------------------------------------------------------

REUSED: dict[str, tuple[list[Event], list[tuple[str, str, str]]]] = {
    "the later job's rank": (
        [process_started(-900, job="6"), job_end(-100, job="6", start=-1000, submit=-1100), process_started(1), ENDED, *KILL],
        [("SignalSent", "7", "pid")],
    ),
    "a rank of a job that has ended is no rank of it any more": (
        [process_started(-900, job="6"), job_end(-100, job="6", start=-1000, submit=-1100), ENDED, *KILL],
        [("SignalSent", "7", "owner")],
    ),
    "a later job's rank is not meant yet": (
        [process_started(110, job="8"), allocation(110, job="8"), *KILL, ENDED], [("SignalSent", "7", "owner")],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("events", "expected"), REUSED.values(), ids=REUSED)
def test_a_reused_process_number_belongs_to_the_job_that_ran_then(events: list[Event], expected: list[tuple[str, str, str]]) -> None:
    """In every order of arrival."""
    base = run(facts(*events))
    assert touches(base) == expected
    for order in permutations(facts(*events)):
        assert run(order) == base


# --- the parts of an audit event --------------------------------------------------------------------------------------------------

PARTS: dict[str, list[Event]] = {
    "a sender in a container knows another number": [*kill_parts(97, asked=12), ENDED],
    "a signal to a group": [
        audit(97, "SYSCALL", syscall_name="kill", success="yes", a0="ffffffffffffed99", a1="9", pid="9", uid="5099", auid="5099"),
        audit(97, "OBJ_PID", opid=str(PID), ouid=str(OWNER)),
        audit(97, "OBJ_PID", opid="4712", ouid=str(OWNER), oses="2"),
        ENDED,
    ],
    "a write with a relative name": [
        audit(97, "SYSCALL", syscall_name="openat", success="yes", a0="ffffff9c", a2="241", pid="9", uid="5099", auid="5099"),
        audit(97, "CWD", cwd="/ckpt/u012"),
        audit(97, "PATH", name="step100.pt", nametype="NORMAL"),
    ],
    "a rename onto a checkpoint": [
        audit(97, "SYSCALL", syscall_name="rename", success="yes", pid="9", uid="5099", auid="5099"),
        audit(97, "PATH", item=2, name="/ckpt/u012/evil.pt", nametype="DELETE"),
        audit(97, "PATH", item=3, name=PATH, nametype="DELETE"),
        audit(97, "PATH", item=4, name=PATH, nametype="CREATE"),
    ],
}


@pytest.mark.parametrize("events", PARTS.values(), ids=PARTS)
def test_parts_may_come_in_any_order(events: list[Event]) -> None:
    """What was told of half an event is replaced or taken back by the whole."""
    base = run(facts(*events))
    assert base
    for order in permutations(facts(*events)):
        assert run(order) == base


def test_an_assembled_event_cites_each_record_it_was_made_from() -> None:
    """Event ids and hashes of the raw lines, and an id of its own that does not depend on how many have come."""
    (whole,) = [each for each in run(facts(*KILL, ENDED)).values() if isinstance(each, Touch)]
    (half,) = [each for each in run(facts(KILL[0], ENDED)).values() if isinstance(each, Touch)]
    assert set(whole.event.parts) == {(part.id, part.sha256) for part in KILL}
    assert half.event.parts == ((KILL[0].id, KILL[0].sha256),)
    assert half.event.id == whole.event.id
    assert isinstance(whole.event.body, SignalSent)
    assert (whole.event.body.auid, whole.event.body.target_uid) == (COLLEAGUE, OWNER)


# --- artefacts and commands -------------------------------------------------------------------------------------------------------


def told_to(stage: str, words: Words) -> list[tuple[str, Told]]:
    return [(case_name(case)[1], told) for (to, case, _), told in words.items() if to == stage]


@pytest.mark.parametrize(
    ("path", "told"), [(PATH, True), ("/ckpt/x", True), ("/ckpts/x", False), ("/ckpt", False), ("/home/u012/x", False)]
)
def test_writes_below_an_artefacts_root_are_told(path: str, told: bool) -> None:
    """Whoever wrote, and whether it was harmless, is not judged here."""
    found = told_to("artefacts", run(facts(*write_parts(40, path=path, host=HOST))))
    assert [name for name, _ in found] == ([path] if told else [])
    assert all(isinstance(each, Event) and isinstance(each.body, FileTouched) for _, each in found)


def test_a_rename_is_told_to_both_names() -> None:
    """What was there is gone, what is there is new."""
    found = told_to("artefacts", run(facts(*PARTS["a rename onto a checkpoint"])))
    assert sorted(name for name, _ in found) == ["/ckpt/u012/evil.pt", PATH]


@pytest.mark.parametrize(
    ("arguments", "jobs"),
    [
        (("7",), {"7"}),
        (("7", "8_3", "9.0"), {"7", "8", "9"}),
        (("-u", "u012"), set()),
        (("--signal=KILL", "7"), {"7"}),
        (("--name=7a",), set()),
        (("9" * 21,), set()),
    ],
)
def test_a_cancel_command_is_told_to_the_jobs_that_it_names(arguments: tuple[str, ...], jobs: set[str]) -> None:
    """Arrays and steps by their job; options are no jobs."""
    found = told_to("jobs", run(facts(*scancel_parts(97, COLLEAGUE, *arguments, host=HOST))))
    assert {name for name, _ in found} == jobs
    assert all(isinstance(each, Event) and isinstance(each.body, ProcessRun) for _, each in found)


def test_an_update_command_is_told_to_the_job_that_it_names() -> None:
    """Whose login was behind it, or that none was, is asked where somebody changed the job."""
    parts = [
        audit(97, "SYSCALL", syscall_name="execve", success="yes", uid="0", auid="4294967295"),
        audit(97, "EXECVE", a0="scontrol", a1="update", a2="JobId=7", a3="TimeLimit=5"),
    ]
    ((name, told),) = told_to("jobs", run(facts(*parts)))
    assert name == "7"
    assert isinstance(told, Event)
    assert isinstance(told.body, ProcessRun)
    assert (told.body.uid, told.body.auid) == (0, None)


def test_another_command_is_told_to_nobody() -> None:
    """Only scancel and scontrol name jobs."""
    parts = [
        audit(97, "SYSCALL", syscall_name="execve", success="yes", uid="5099", auid="5099"),
        audit(97, "EXECVE", a0="sbatch", a1="7"),
    ]
    assert run(facts(*parts)) == {}


# --- coverage ---------------------------------------------------------------------------------------------------------------------


def test_coverage_around_the_end_is_told_in_every_order() -> None:
    """Buckets from a kill window and what explains a kill before the end, to a bucket behind it."""
    far, first, middle, last, behind = -3600, -2900 - 600, 0, 700, 1300
    told = [heard(at) for at in (far - 1200, first, middle, last, behind)]
    expected = tuple(build.ms(at) // BUCKET_MS * BUCKET_MS for at in (first, middle, last))
    for order in permutations([*told, to_host(ENDED)]):
        told_of = [each for each in run(order).values() if isinstance(each, HostCoverage)]
        assert {(each.source, each.host, each.attempt) for each in told_of} == {(Source.KERNEL, HOST, attempt())}
        assert sorted(bucket for each in told_of for bucket in each.buckets) == sorted(expected)


def test_coverage_of_a_running_job_is_not_told() -> None:
    """There is no end yet around which anything must have been heard."""
    assert run(facts(allocation(), heard(50))) == {}


def test_coverage_around_somebodys_signal_is_told_also_long_before_the_end() -> None:
    """A job may survive the loss of a rank by hours, or still run: what was heard around the act must be known all the same."""
    told = [heard(at) for at in (-2500, 0, 2000)]
    expected = tuple(build.ms(at) // BUCKET_MS * BUCKET_MS for at in (0, 2000))
    for end in (allocation(), job_end(20_000)):
        for order in permutations([*told, *facts(*KILL, end)]):
            (only,) = (each for each in run(order).values() if isinstance(each, HostCoverage))
            assert only.buckets == expected


@pytest.mark.parametrize(("auid", "uid"), [(OWNER, OWNER), (OWNER, 0), (build.UNSET, OWNER), (build.UNSET, 0)])
def test_signals_of_owner_and_system_ask_for_no_coverage(auid: int, uid: int) -> None:
    """Nobody is suspected for them."""
    words = run(facts(*kill_parts(97, auid=auid, uid=uid), allocation(), heard(95)))
    assert not any(isinstance(each, HostCoverage) for each in words.values())


def test_coverage_follows_an_end_that_is_corrected() -> None:
    """What was told around the first end does not stay where nothing was heard around the second."""
    order = facts(ENDED, heard(95), job_end(9_000, source=Source.SACCT))
    assert [run(each) for each in permutations(order)] == [{}] * 6


# --- any order, at random ---------------------------------------------------------------------------------------------------------


def test_a_busy_host_in_random_orders() -> None:
    """Everything at once: two owners, reused numbers, late ends, parts apart; with restarts."""
    order = facts(
        *KILL, *kill_parts(50, serial=50, uid=OTHER, auid=OTHER), *kill_parts(130, serial=130), oom(60), xid(150), node_down(99),
        process_started(1), process_started(120, job="8"), allocation(), ENDED, job_end(100, source=Source.SACCT),
        allocation(110, job="8", submit=100), job_end(160, job="8", submit=100, start=110, owner_uid=OTHER),
        allocation(0, job="9", submit=-5), heard(95), heard(95, Source.AUDITD), heard(700), *write_parts(40, host=HOST),
        *scancel_parts(98, host=HOST), WATCHED, killed(OWNER), *run_parts(120, "renice", "19", "-p", "4711"),
    )  # fmt: skip
    base = run(order)
    assert len(touches(base)) >= 8
    dice = random.Random(7)
    for _ in range(60):
        dice.shuffle(order)
        at = dice.randrange(len(order))
        hosts = Hosts()
        hosts.take(*order[:at])
        again = Hosts(hosts.cases.facts(), hosts.said)
        for each in order[at:]:
            again.take(each)
        again.take(*order[:at])
        assert again.last == base


# --- forgetting -------------------------------------------------------------------------------------------------------------------


def test_after_the_retention_a_host_is_forgotten() -> None:
    """Parts, node events, processes, ended allocations and what was heard: nothing is kept for ever."""
    hosts = Hosts()
    watched = (WATCHED, killed(OWNER), *run_parts(98, "tc", "qdisc", "add"), audit(99, "CONFIG_CHANGE", op="set"))
    hosts.take(*facts(*KILL, process_started(1), ENDED, oom(50), heard(95), *watched), at=now(DAY))
    hosts.take(at=now(92 * DAY))
    assert host_case(CLUSTER, HOST) not in hosts.cases


def test_within_the_retention_everything_is_kept_and_running_jobs_always() -> None:
    """A signal may become a touch when the job's record comes days later; a rank of a running job stays known."""
    hosts = Hosts()
    hosts.take(*facts(*KILL), at=now(DAY))
    hosts.take(at=now(80 * DAY))
    hosts.take(*facts(ENDED), at=now(80 * DAY))
    assert touches(hosts.last) == [("SignalSent", "7", "owner")]
    long = Hosts()
    long.take(*facts(process_started(1), allocation()), at=now(DAY))
    long.take(at=now(100 * DAY))
    long.take(*facts(*kill_parts(100 * DAY, serial=5)), at=now(100 * DAY))
    assert touches(long.last) == [("SignalSent", "7", "pid")]


def start_parts(*words: str, at: float = 50) -> list[Event]:
    """The raw records of a program's start."""
    where: Any = {"host": HOST, "serial": round(at * 10)}
    arguments: Any = {"argc": str(len(words)), **{f"a{number}": word for number, word in enumerate(words)}}
    return [
        build.audit(at, "SYSCALL", syscall_name="execve", success="yes", pid="900", uid=str(COLLEAGUE), auid=str(COLLEAGUE), **where),
        build.audit(at, "EXECVE", **where, **arguments),
        build.audit(at, "CWD", cwd="/home/u099", **where),
        build.audit(at, "PATH", name="/usr/bin/" + words[0], nametype="NORMAL", **where),
    ]


@pytest.mark.parametrize("cut", range(4))
def test_of_starts_of_programs_that_concern_nobody_nothing_is_kept(cut: int) -> None:
    """A login node has millions in a retention.  What is watched stays, and so does what may still prove to be.

    Folder and file may come after the start was forgotten, when they were read from another partition.
    """
    hosts = Hosts()
    parts = facts(*start_parts("ls", "-l"))
    for some in (parts[:cut], parts[cut:], parts):  # and told again
        hosts.take(*some)
        assert len(hosts.cases.of(host_case(CLUSTER, HOST))) == (some == parts[:1])
    assert hosts.last == {}


@pytest.mark.parametrize(
    "parts",
    [start_parts("nvidia-smi", "-pl", "100"), start_parts("scancel", "7"), start_parts("ls", "-l")[:1], start_parts("ls", "-l")[1:]],
    ids=["watched", "a cancel", "its arguments are to come", "who ran it is to come"],
)
def test_other_starts_are_kept(parts: Sequence[Event]) -> None:
    """All that is known of them."""
    hosts = Hosts()
    hosts.take(*facts(*parts))
    assert len(hosts.cases.of(host_case(CLUSTER, HOST))) == len(parts)


@pytest.mark.parametrize("restart", [False, True])
def test_what_is_packed_is_opened_for_a_late_fact(restart: bool) -> None:
    """Ten days later the kill is packed, and its index gone; the job's record finds it all the same, and a later word voids it."""
    sides = facts(*KILL, process_started(1), oom(50), heard(95))
    last, ended, elsewhere = facts(heard(9 * DAY), ENDED, job_end(100, source=Source.SACCT, start=98))
    base = Hosts()
    base.take(*sides, ended, last)
    hosts = Hosts()
    hosts.take(*sides, at=now(DAY))
    hosts.take(last, at=now(10 * DAY))
    case = host_case(CLUSTER, HOST)
    assert len(hosts.cases.packs(case)) == 1
    assert len(hosts.cases.open(case)) == 2  # what was heard on the last day, and whose process the number is
    assert not hosts.state.indexes[case].signals
    if restart:
        hosts = Hosts(cases=hosts.cases, said=hosts.said)
    hosts.take(ended, at=now(10 * DAY))
    assert touches(hosts.last) == [("OomKill", "7", "pid"), ("SignalSent", "7", "pid")]
    assert hosts.last == base.last
    hosts.take(at=now(13 * DAY))
    hosts.take(elsewhere, at=now(13 * DAY))
    base.take(elsewhere)
    assert hosts.last == base.last


@pytest.mark.parametrize("restart", [False, True])
def test_no_more_is_opened_than_a_late_fact_asks_for(restart: bool) -> None:
    """The end of a job of last week costs that week, whatever else the host remembers."""
    hosts, base = Hosts(), Hosts()
    early, late, ended = oom(50), oom(10.5 * DAY), job_end(10.5 * DAY + 100, start=10.5 * DAY - 100)
    hosts.take(*facts(early, heard(90)), at=now(DAY))
    hosts.take(*facts(heard(5 * DAY)), at=now(5 * DAY))
    hosts.take(*facts(late), at=now(11 * DAY))
    hosts.take(*facts(heard(20 * DAY)), at=now(20 * DAY))
    case = host_case(CLUSTER, HOST)
    untils = [pack.until for pack in hosts.cases.packs(case)]
    if restart:
        hosts = Hosts(cases=hosts.cases, said=hosts.said)
    hosts.take(*facts(ended), at=now(20 * DAY))
    base.take(*facts(early, late, heard(90), heard(5 * DAY), heard(20 * DAY), ended))
    assert touches(hosts.last) == touches(base.last) == [("OomKill", "7", "host")]
    if not restart:  # behind one it is swept at once
        assert hosts.state.indexes[case].since == untils[1] < untils[2]
        assert [timed.id for timed in hosts.state.indexes[case].node_events.between(0, build.ms(30 * DAY))] == [late.id]


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("days", [1, 3, 7, 20])
def test_a_job_that_is_told_of_at_its_end_has_its_own_processes(days: int, restart: bool) -> None:
    """However long it ran: what it claimed when it began is at hand when its record comes."""
    hosts = Hosts()
    hosts.take(*facts(process_started(1)), at=now(100))
    for day in range(1, days + 1):
        hosts.take(*facts(heard(day * DAY)), at=now(day * DAY))
    hosts.take(*facts(*kill_parts(days * DAY + 97)), at=now(days * DAY + 99))
    if restart:
        hosts = Hosts(cases=hosts.cases, said=hosts.said)
    hosts.take(*facts(job_end(days * DAY + 100)), at=now(days * DAY + 200))
    assert touches(hosts.last) == [("SignalSent", "7", "pid")]
    hosts.take(at=now((days + 5) * DAY))
    assert to_host(process_started(1)).id not in hosts.cases.open(host_case(CLUSTER, HOST))


def test_a_number_that_is_named_every_day_keeps_nothing_for_ever() -> None:
    """Its claims, and the attempts whose they are, go with the retention as all else does."""
    hosts, kept = Hosts(), []
    for day in range(0, 200, 2):
        start, job = day * DAY, str(day)
        told = process_started(start + 1, job=job), *kill_parts(start + 97, serial=day), job_end(start + 100, start=start, job=job)
        hosts.take(*facts(*told), at=now(start + 200))
        kept.append(len(hosts.cases.open(host_case(CLUSTER, HOST))))
    assert max(kept[60:]) <= kept[48]


def test_packed_facts_go_with_the_retention_unopened() -> None:
    """What the packs hold is forgotten by their time."""
    hosts = Hosts()
    hosts.take(*facts(*KILL, ENDED), at=now(DAY))
    hosts.take(*facts(*kill_parts(80 * DAY, serial=9)), at=now(50 * DAY))
    hosts.take(at=now(95 * DAY))
    assert len(hosts.cases.packs(host_case(CLUSTER, HOST))) == 2
    hosts.take(at=now(140 * DAY))
    assert set(hosts.cases.of(host_case(CLUSTER, HOST))) == {each.id for each in facts(*kill_parts(80 * DAY, serial=9))}


def test_being_heard_is_kept_by_the_day() -> None:
    """However many buckets: a fact a source and day, from which the coverage of a job is told as from single ones."""
    buckets = [heard(number * BUCKET_MS / 1000, source=source) for number in range(-144, 144) for source in (Source.AUDITD, Source.SSHD)]
    hosts = Hosts()
    for each in buckets:
        hosts.take(each)
    assert len(hosts.cases.of(host_case(CLUSTER, HOST))) == 4
    assert hosts.take(*buckets) == []
    again = Hosts(hosts.cases.facts())
    old = Hosts(buckets)  # as version 1 of the state kept them
    for kept in (hosts, again, old):
        kept.take(*facts(ENDED))
        assert kept.last == hosts.last
    assert any(isinstance(told, HostCoverage) and len(told.buckets) > 1 for told in hosts.last.values())


def test_idleness_forgets_nothing() -> None:
    """Only observed time evicts."""
    hosts = Hosts()
    hosts.take(*facts(*KILL), at=now(100 * DAY, observed=DAY))
    assert len(hosts.cases.of(host_case(CLUSTER, HOST))) == len(KILL)


LOOP = 6_000  # signals of a loop


@pytest.mark.parametrize("where", [{"target": 4_000}, {"spread": True}, {"spread": True, "uid": 100_001}])
def test_a_loop_of_signals_to_oneself_neither_fills_the_memory_nor_hides_a_kill(where: dict[str, Any]) -> None:
    """To one process or to thousands, from a name space of his own or not: what he then does as root, and as the owner, is touched."""
    hosts = Hosts(retention={"host_signals_max": 500})
    spread = where.pop("spread", False)
    for start in range(0, LOOP, 500):
        numbers = range(start, start + 500)
        more = [{**where, "target": 10_000 + number} if spread else where for number in numbers]
        hosts.take(*facts(*(part for number, each in zip(numbers, more, strict=True)
                            for part in kill_parts(10 + number / 1000, serial=number + 1, target_uid=COLLEAGUE, **each))))  # fmt: skip
    case = host_case(CLUSTER, HOST)
    assert len(hosts.cases.of(case)) <= 2 * 500
    assert hosts.cases.left_out[ALIKE] == 2 * LOOP - len(hosts.cases.of(case))
    hosts.take(*facts(*kill_parts(97, uid=0, serial=LOOP + 1), *kill_parts(98, uid=OWNER, serial=LOOP + 2), ENDED))
    assert touches(hosts.last) == [("SignalSent", "7", "owner")] * 2


def test_audit_records_stay_raw_in_the_case() -> None:
    """What is assembled is derived, so that a later part can still change it."""
    hosts = Hosts()
    hosts.take(*facts(*KILL))
    bodies = [decode_told(body) for _, body in hosts.cases.of(host_case(CLUSTER, HOST)).values()]
    assert all(isinstance(each, Event) and isinstance(each.body, AuditRecord) for each in bodies)
    assert ms(97) == KILL[0].event_time
