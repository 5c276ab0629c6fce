"""The hosts' interval join against a naive model: all facts are kept, and every derived fact is worked out from scratch.

    machine   `hosts.step` over random batches in any order, facts again and again, watermarks that move by days (older facts are packed),
              and restarts from the state log, with and without what was folded since the last checkpoint
    model     for each attempt and each signal or node event: did the attempt hold the host, and whose process was it?

After every batch, the last word of each derived fact must be the model's; void equals absent.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby, pairwise

import msgspec
import pytest
from hypothesis import currently_in_test_context, event, note
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from pipeline.formats.assembly import assemble
from pipeline.hosts.step import CLOCK_MS, build_state, step
from pipeline.model.events import (
    AuditRecord,
    Event,
    FileTouched,
    JobRecord,
    NodeState,
    OomKill,
    ProcessEnded,
    ProcessRun,
    ProcessStarted,
    SignalSent,
    Xid,
)
from pipeline.model.facts import Fact
from pipeline.model.ids import digest
from pipeline.model.instants import DAY_MS
from pipeline.model.outcome import Tell
from pipeline.model.source import PER_HOST, Source
from pipeline.model.told import Attempt, Heard, HostCoverage, NodeTouch, Told, Touch, decode_told, encode_told
from pipeline.stream.cases import Cases
from pipeline.stream.watermark import Watermarks
from tests import build
from tests.build import (
    BUCKET_MS,
    CLUSTER,
    COLLEAGUE,
    DAY,
    HOST,
    OTHER,
    OWNER,
    PID,
    allocation,
    audit,
    heard,
    job_end,
    job_record,
    kill_parts,
    node_down,
    now,
    oom,
    process_started,
    scancel_parts,
    to_host,
    write_parts,
    xid,
)
from tests.property.durable import Durable
from tests.property.profile import examples

SETTINGS = build.settings()
KILL_MS, HARDWARE_MS = SETTINGS.detect.kill_window_seconds * 1000, SETTINGS.detect.hardware_window_seconds * 1000
OPEN_END = 2**62
Word = tuple[str, bytes, str]  # stage, case, fact id


def _name(fact: Fact) -> str:
    told = decode_told(fact.body)
    if not isinstance(told, Event):
        return fact.id
    said = {name: value for name, value in msgspec.to_builtins(told.body).items() if name not in ("type", "owner", "nodes", "gpus", "host")}
    at = (told.event_time - build.T0) / 1000
    return f"{type(told.body).__name__}@{at:g} {told.job} " + " ".join(f"{name}={value}" for name, value in said.items())


# Four days of one host: numbers of processes come again, ends are corrected, a job comes twice, parts of audit events come apart.
STORY: list[Event] = [
    allocation(-3 * DAY, submit=-4 * DAY),
    job_end(-2.5 * DAY, submit=-4 * DAY, start=-3 * DAY),
    process_started(-3 * DAY + 1, pid=4713),
    *kill_parts(-2.7 * DAY, serial=1, target=4713),
    allocation(0),
    job_end(100),
    job_end(90, source=Source.SACCT),
    job_record(50, "other", state="RUNNING", owner_uid=None),
    allocation(40, job="8", submit=30),
    job_end(3_000, job="8", submit=30, start=40, owner_uid=OTHER),
    allocation(-3 * DAY, job="9", submit=-4 * DAY),
    job_end(-2.6 * DAY, job="9", submit=-4 * DAY, start=-3 * DAY),
    process_started(-3 * DAY + 2, job="9"),
    process_started(-3 * DAY + 3),
    allocation(95, job="9", submit=5),
    job_end(2 * DAY, job="9", submit=5, start=95),
    process_started(1),
    process_started(45, job="8"),
    process_started(96, job="9"),
    process_started(-10, job="9"),
    process_started(50, pid=4712, job="8"),
    *kill_parts(97, serial=2),
    *kill_parts(50, serial=3, uid=OTHER, auid=OTHER),
    *kill_parts(130, serial=4, target_uid=OTHER),
    *kill_parts(2_000, serial=5, asked=12),
    audit(60, "SYSCALL", 6, syscall_name="kill", success="yes", a0="ffffffffffffed99", a1="9", pid="9", uid="5099", auid="5099"),
    audit(60, "OBJ_PID", 6, opid=str(PID), ouid=str(OWNER)),
    audit(60, "OBJ_PID", 6, opid="4712", ouid=str(OTHER), oses="2"),
    oom(99),
    xid(98, pid=PID),
    xid(1 * DAY),
    *kill_parts(1.3 * DAY, serial=9),
    job_end(1.5 * DAY, job="9", submit=-4 * DAY, start=-3 * DAY, owner_uid=None, source=Source.SACCT),
    node_down(96),
    build.event(97.5, Source.TETRAGON, SignalSent(signal=9, target_pid=PID, success=True, serial=0, uid=OTHER, auid=OTHER), host=HOST),
    build.event(98.5, Source.TETRAGON, ProcessEnded(pid=PID, uid=OWNER, signal="SIGKILL"), host=HOST),
    build.event(99.5, Source.TETRAGON, ProcessEnded(pid=4712, uid=OTHER, signal="SIGKILL"), host=HOST),
    audit(72, "CONFIG_CHANGE", 7, op="set"),
    audit(73, "SYSCALL", 8, syscall_name="execve", success="yes", pid="9", uid="0", auid="5099"),
    audit(73, "EXECVE", 8, a0="tc", a1="qdisc", a2="add"),
    *write_parts(74, host=HOST, path="/etc/audit/auditd.conf"),
    *write_parts(70, host=HOST),
    *scancel_parts(71, COLLEAGUE, "7", "9", host=HOST),
]
HEARD = [
    heard(at, source) for source in (Source.KERNEL, Source.AUDITD) for at in (-2.5 * DAY - 900, -1_200, 0, 700, 2_500, 1 * DAY, 1.3 * DAY)
]
NAMED = {_name(fact): fact for fact in [*map(to_host, STORY), *HEARD]}  # so that a counterexample can be read


# --- the model ------------------------------------------------------------------------------------------------------------------


class Naive:
    """What is known of the host, in no order, and what follows from it."""

    def __init__(self, facts: Sequence[Fact]) -> None:
        told = {fact.id: decode_told(fact.body) for fact in facts}
        self.events = [each for each in told.values() if isinstance(each, Event)]
        self.heard = {(each.source, each.bucket) for each in told.values() if isinstance(each, Heard)}
        self.records: dict[Attempt, list[JobRecord]] = {}
        for each in self.events:
            if isinstance(body := each.body, JobRecord):
                self.records.setdefault(Attempt(CLUSTER, body.job, body.submit or 0, body.start or 0), []).append(body)
        claims = ((each.event_time, each.job, each.body.pid) for each in self.events if isinstance(each.body, ProcessStarted))
        # The first word of a day counts.
        self.claims = {(job, pid, start // DAY_MS): start for start, job, pid in sorted(claims, reverse=True)}
        self.assembled = list(self._assembled())

    def _assembled(self) -> Iterator[Event]:
        parts: dict[tuple[int, int], list[Event]] = {}
        for each in self.events:
            if isinstance(each.body, AuditRecord):
                parts.setdefault((each.event_time, each.body.serial), []).append(each)
        for (time, serial), records in parts.items():
            for body in assemble([(each.id, each.body) for each in records if isinstance(each.body, AuditRecord)]):
                what = "run"
                if isinstance(body, SignalSent):
                    what = f"signal/{body.target_pid}"
                elif isinstance(body, FileTouched):
                    what = f"file/{body.item}/{body.action}"
                yield Event(
                    id=digest("auditd", CLUSTER, HOST, time, serial, what),
                    source=Source.AUDITD,
                    cluster=CLUSTER,
                    event_time=time,
                    body=body,
                    host=HOST,
                    sha256=records[0].sha256
                    if len(records) == 1
                    else digest(*(each.sha256 for each in sorted(records, key=lambda e: e.id))),
                    parts=tuple(sorted((each.id, each.sha256) for each in records)),
                )

    def end(self, attempt: Attempt) -> int:
        return max((record.end for record in self.records[attempt] if record.phase == "end" and record.end), default=OPEN_END)

    def owner(self, attempt: Attempt) -> int | None:
        return min((record.owner_uid for record in self.records[attempt] if record.owner_uid is not None), default=None)

    def holds(self, attempt: Attempt, time: int) -> bool:
        return attempt.start - CLOCK_MS <= time <= self.end(attempt) + CLOCK_MS

    def job_of(self, pid: int, time: int, uid: int | None) -> str:
        """The last claimant that held the host and whose owner fits; nobody when jobs of several owners do."""
        found: dict[Attempt, int] = {}
        owners: set[int | None] = set()
        for (job, number, _), start in self.claims.items():
            for each in self.records:
                fits = each.job == job and self.holds(each, time) and (uid is None or self.owner(each) in (None, uid))
                if fits and number == pid and each.start - DAY_MS <= start <= time:
                    found[each] = min(start, found.get(each, start))
                    owners.add(self.owner(each))
        return max((start, each.job) for each, start in found.items())[1] if len(owners) == 1 else ""

    def matched(self, attempt: Attempt, event_: Event) -> str:
        """How the event concerns the attempt; empty: it does not."""
        body = event_.body
        if not self.holds(attempt, event_.event_time):
            return ""
        pid = body.target_pid if isinstance(body, SignalSent) else body.pid if isinstance(body, (OomKill, Xid, ProcessEnded)) else None
        uid = body.target_uid if isinstance(body, SignalSent) else body.uid if isinstance(body, (OomKill, ProcessEnded)) else None
        job = self.job_of(pid, event_.event_time, uid) if pid is not None else ""
        if job:
            return "pid" if job == attempt.job else ""
        if isinstance(body, ProcessEnded):
            return "owner" if uid == self.owner(attempt) else ""
        if not isinstance(body, SignalSent) or uid is None:
            return "host"
        return "owner" if uid == self.owner(attempt) else ""

    def words(self) -> dict[Word, Told]:
        """Every derived fact."""
        return dict([*self._touches(), *self._others(), *self._coverage()])

    def _touches(self) -> Iterator[tuple[Word, Told]]:
        for each in (*self.signals(), *self._befell()):
            for attempt in self.records:
                if matched := self.matched(attempt, each):
                    by_pid = matched == "pid"
                    signal = isinstance(each.body, SignalSent)
                    told = Touch(attempt, each, matched, by_pid) if signal else NodeTouch(attempt, each, by_pid)
                    yield self._to_job(attempt.job, digest("touch", each.id, attempt.name)), told

    def signals(self) -> list[Event]:
        """Assembled ones, and those that a watcher tells whole."""
        return [each for each in (*self.assembled, *self.events) if isinstance(each.body, SignalSent)]

    def _befell(self) -> Iterator[Event]:
        for each in self.events:
            body = each.body
            changed = isinstance(body, AuditRecord) and body.record_type == "CONFIG_CHANGE"
            if changed or isinstance(body, (OomKill, Xid, NodeState, ProcessEnded)):
                yield each
        for each in self.assembled:
            run = isinstance(each.body, ProcessRun) and each.body.arguments[:1] == ("tc",)
            if run or (isinstance(each.body, FileTouched) and each.body.path.startswith("/etc/audit")):
                yield each

    def _others(self) -> Iterator[tuple[Word, Told]]:
        for each in self.assembled:
            if isinstance(each.body, FileTouched) and each.body.path.startswith("/ckpt/"):
                yield ("artefacts", f"{CLUSTER}\x1f{each.body.path}".encode(), each.id), each
            elif isinstance(each.body, ProcessRun) and each.body.arguments[:1] == ("scancel",):
                for job in each.body.arguments[1:]:
                    yield self._to_job(job, each.id), each

    def _coverage(self) -> Iterator[tuple[Word, Told]]:
        for attempt in self.records:
            wanted = {
                bucket + near
                for start, end in self._spans(attempt)
                for bucket in range(start - start % BUCKET_MS, end + 1, BUCKET_MS)
                for near in (-BUCKET_MS, 0, BUCKET_MS)
            }
            for source in PER_HOST:
                heard_in = sorted(bucket for bucket in wanted if (source, bucket) in self.heard)
                for day, buckets in groupby(heard_in, lambda bucket: bucket // DAY_MS):
                    name = f"coverage/{HOST}/{source}/{attempt.name}/{day}"
                    yield self._to_job(attempt.job, name), HostCoverage(attempt, HOST, source, tuple(buckets))

    def _spans(self, attempt: Attempt) -> Iterator[tuple[int, int]]:
        """Before the end, and around every signal that neither owner nor system sent."""
        if (end := self.end(attempt)) < OPEN_END:
            yield end - KILL_MS - HARDWARE_MS, end
        for each in self.signals():
            if isinstance(each.body, SignalSent) and self.holds(attempt, each.event_time):
                who = each.body.uid if each.body.auid is None else each.body.auid
                if who != self.owner(attempt) and not (each.body.auid is None and who in (0, None)):
                    yield each.event_time - HARDWARE_MS, each.event_time + KILL_MS

    @staticmethod
    def _to_job(job: str, name: str) -> Word:
        return "jobs", f"{CLUSTER}\x1f{job}".encode(), name


# --- the machine ----------------------------------------------------------------------------------------------------------------


class Hosts(RuleBasedStateMachine):
    """One partition of hosts, and what the stages behind remember of it."""

    @initialize()
    def begin(self) -> None:
        self.durable = Durable()
        self.said = Cases()
        self.known: dict[str, Fact] = {}
        self.unsaved: list[Fact] = []
        self.floor = -4.5 * DAY
        self._open()

    def _open(self) -> None:
        self.state = build_state(SETTINGS, self.durable.cases)

    @property
    def view(self) -> Watermarks:
        return now(self.floor)

    @rule(batch=st.lists(st.sampled_from(sorted(NAMED)), min_size=1, max_size=12))
    def facts_come(self, batch: list[str]) -> None:
        """In any order, some for the second time."""
        self._take([NAMED[name] for name in batch])

    @rule(at=st.sampled_from(sorted(NAMED)))
    def one_comes(self, at: str) -> None:
        """A batch of one."""
        self._take([NAMED[at]])

    @rule(days=st.sampled_from([0.1, 1, 3]))
    def time_passes(self, days: float) -> None:
        """What lies behind is packed; nothing is as old as the retention."""
        self.floor = min(self.floor + days * DAY, 12 * DAY)
        self._take([])

    @rule()
    def save(self) -> None:
        """A checkpoint."""
        self.durable.save()
        self.unsaved = []

    @precondition(lambda self: self.unsaved)
    @rule(data=st.data())
    def crash(self, data: st.DataObject) -> None:
        """What was not saved is read again, in batches of other sizes; what was told of it before stays told."""
        self.durable.reopen()
        self._open()
        again, self.unsaved = data.draw(st.permutations(self.unsaved)), []
        cuts = data.draw(st.lists(st.integers(0, len(again)), max_size=3))
        for start, end in pairwise([0, *sorted(cuts), len(again)]):
            self._take(again[start:end])

    @rule()
    def restart(self) -> None:
        """An orderly one: nothing is read again."""
        self.save()
        self.durable.reopen()
        self._open()

    @invariant()
    def the_last_words_are_the_models(self) -> None:
        """Byte for byte."""
        if not hasattr(self, "said"):
            return
        said = {
            (*_addressed(fact.case), fact.id): fact.body
            for fact in self.said.facts()
            # Void equals absent; of people nothing is joined here, and findings on the host have a test of their own.
            if fact.body and not fact.case.startswith((b"identities", b"incidents"))
        }
        expected = {word: encode_told(told) for word, told in Naive(list(self.known.values())).words().items()}
        for word in sorted(said.keys() | expected.keys()):
            if said.get(word) != expected.get(word) and currently_in_test_context():
                note(f"{word}\n  said  {_shown(said.get(word))}\n  model {_shown(expected.get(word))}")
        assert said == expected

    def _take(self, batch: Sequence[Fact]) -> None:
        self.known.update((fact.id, fact) for fact in batch)
        self.unsaved += batch
        self.state, outcomes = step(self.state, batch, self.view)
        for out in outcomes:
            if not isinstance(out, Tell):
                continue  # a finding on the host itself
            before = self.said.of(out.stage.encode() + b"\0" + out.fact.case).get(out.fact.id)
            if before is not None and before[1] and not out.fact.body and currently_in_test_context():
                event("a word is taken back")
            self.said.merge(msgspec.structs.replace(out.fact, case=out.stage.encode() + b"\0" + out.fact.case))


def _addressed(case: bytes) -> tuple[str, bytes]:
    stage, _, key = case.partition(b"\0")
    return stage.decode(), key


def _shown(body: bytes | None) -> str:
    return "nothing" if body is None else repr(decode_told(body))


def test_a_claim_that_proves_to_be_older_takes_the_touch_back() -> None:
    """Of two claimants the last to start has the process: when its first word comes late, the other one was the last."""
    said = Cases()
    state = build_state(SETTINGS, Cases())
    facts = (
        allocation(0),
        allocation(95, job="9", submit=5),
        kill_parts(130)[0],
        process_started(1),
        process_started(96, job="9"),
        process_started(-1, job="9"),
    )
    for each in facts:
        state, outcomes = step(state, [to_host(each)], now(0))
        for out in outcomes:
            assert isinstance(out, Tell)
            said.merge(out.fact)
    touched = [told for fact in said.facts() if fact.body and isinstance(told := decode_told(fact.body), Touch)]
    assert [(told.attempt.job, told.matched) for told in touched] == [("7", "pid")]


def test_a_late_word_on_what_is_packed_has_it_opened_after_a_restart() -> None:
    """The end of an attempt is packed, its start comes late, and then a restart: the attempt has ended all the same."""
    host = Hosts()
    host.begin()
    host.time_passes(3)
    host.time_passes(3)
    host._take([to_host(job_end(-2.5 * DAY, submit=-4 * DAY, start=-3 * DAY))])
    host.restart()
    host._take([to_host(kill_parts(-2.7 * DAY, serial=1, target=4713)[1])])
    host._take([to_host(allocation(-3 * DAY, submit=-4 * DAY))])
    host.restart()
    host._take([to_host(kill_parts(130, serial=4)[0])])
    host.the_last_words_are_the_models()


@pytest.mark.parametrize("restarts", [False, True])
def test_a_word_is_taken_back_though_the_first_run_of_a_job_was_packed(restarts: bool) -> None:
    """A job held the host twice, days apart, under one number.  That its second run has the process outranks what was said before."""
    host = Hosts()
    host.begin()
    first = [
        allocation(-3 * DAY, job="9", submit=-4 * DAY),
        job_end(-2.6 * DAY, job="9", submit=-4 * DAY, start=-3 * DAY),
        process_started(-3 * DAY + 2, job="9"),
    ]
    for each in (*first, allocation(0), *kill_parts(130, serial=4)):
        host._take([to_host(each)])
    host.the_last_words_are_the_models()
    host.time_passes(3)
    host.time_passes(3)
    if restarts:
        host.restart()
    host._take([to_host(process_started(96, job="9"))])
    host._take([to_host(allocation(95, job="9", submit=5))])
    host.the_last_words_are_the_models()


@pytest.mark.parametrize("claimed", [False, True])
@pytest.mark.parametrize(
    "late", [heard(-2.5 * DAY - 900, Source.AUDITD), to_host(allocation(-3 * DAY, submit=-4 * DAY))], ids=["another fact", "its start"]
)
def test_a_run_that_was_packed_long_before_the_signal_weighs_nothing(late: Fact, claimed: bool) -> None:
    """A job held the host twice, days apart, perhaps with one number; its first run is opened once, for what comes late, and then no more.

    That another job has the process outranks what was said before all the same.
    """
    host = Hosts()
    host.begin()
    first = [job_end(-2.5 * DAY, submit=-4 * DAY, start=-3 * DAY), *([process_started(-3 * DAY + 3)] if claimed else [])]
    host._take([*map(to_host, [*first, job_end(100), process_started(45, job="8")])])
    for days in (0.1, 1, 1, 1, 1, 3):
        host.time_passes(days)
    host.restart()
    host._take([late, to_host(kill_parts(50, serial=3, uid=OTHER, auid=OTHER)[0]), to_host(process_started(1))])
    host.the_last_words_are_the_models()
    host._take([to_host(allocation(40, job="8", submit=30))])
    host.the_last_words_are_the_models()


def test_the_second_run_of_a_job_has_its_own_claims() -> None:
    """It is known by its end alone, when what the first run claimed has been packed."""
    host = Hosts()
    host.begin()
    for each in (
        allocation(-3 * DAY, job="9", submit=-4 * DAY),
        process_started(-3 * DAY + 2, job="9"),
        job_end(-2.6 * DAY, job="9", submit=-4 * DAY, start=-3 * DAY),
        process_started(96, job="9"),
    ):
        host._take([to_host(each)])
    host.time_passes(3)
    host.time_passes(3)
    for each in (job_end(2 * DAY, job="9", submit=5, start=95), *kill_parts(130, serial=4)):
        host._take([to_host(each)])
    host.the_last_words_are_the_models()


@pytest.mark.parametrize("restarts", [False, True])
def test_an_attempt_that_outlasts_its_pack_is_not_known_by_half(restarts: bool) -> None:
    """Whose it was is said by a record that is packed; another one says later that it ended days after that."""
    host = Hosts()
    host.begin()
    host._take([to_host(job_end(-2.6 * DAY, job="9", submit=-4 * DAY, start=-3 * DAY))])
    host.time_passes(3)
    host.time_passes(3)
    host._take([to_host(job_end(1 * DAY, job="9", submit=-4 * DAY, start=-3 * DAY, owner_uid=None, source=Source.SACCT))])
    if restarts:
        host.restart()
    host._take([*map(to_host, kill_parts(0.9 * DAY, serial=2))])
    host.the_last_words_are_the_models()


@pytest.mark.parametrize("restarts", [False, True])
def test_a_word_that_takes_back_what_rested_on_two_packs_outranks_it(restarts: bool) -> None:
    """What was said of an attempt that outlasts its pack had the weight of all its records."""
    host = Hosts()
    host.begin()
    host._take([to_host(job_end(-2.6 * DAY, job="9", submit=-4 * DAY, start=-3 * DAY))])
    host.time_passes(3)
    host.time_passes(3)
    host._take([to_host(job_end(1 * DAY, job="9", submit=-4 * DAY, start=-3 * DAY, source=Source.SACCT))])
    host._take([*map(to_host, kill_parts(0.9 * DAY, serial=2))])
    if restarts:
        host.restart()
    for each in (allocation(0.8 * DAY, job="8", submit=30), process_started(0.8 * DAY + 1, job="8")):
        host._take([to_host(each)])
    host.the_last_words_are_the_models()


@pytest.mark.parametrize("restarts", [False, True])
@pytest.mark.parametrize("told", [[], [process_started(-3 * DAY + 3)]], ids=["another day", "the same day"])
def test_what_a_job_claimed_counts_when_its_run_outlasts_the_pack(told: list[Event], restarts: bool) -> None:
    """A job is queued again as soon as it ends, and its second run is told of only when that has ended, too, days later."""
    host = Hosts()
    host.begin()
    first = [allocation(-0.5 * DAY, job="9", submit=5), job_end(0, job="9", submit=5, start=-0.5 * DAY), *told]
    host._take([*map(to_host, [*first, process_started(96, job="9")])])
    for days in (3, 1, 3):
        host.time_passes(days)
    host._take([to_host(job_end(2.5 * DAY, job="9", submit=5, start=95))])
    if restarts:
        host.restart()
    host._take([to_host(kill_parts(2.4 * DAY, serial=2)[0])])
    host.the_last_words_are_the_models()


@pytest.mark.parametrize("restarts", [False, True])
@pytest.mark.parametrize("claimed", [False, True])
def test_events_before_what_is_new_are_not_looked_at_without_their_packs(claimed: bool, restarts: bool) -> None:
    """A job had the process, and is packed; another one claims its number, or comes again under its own, days later."""
    host = Hosts()
    host.begin()
    packed = (
        allocation(-3 * DAY, submit=-4 * DAY),
        allocation(-3 * DAY, job="9", submit=-4 * DAY),
        job_end(-2.6 * DAY, job="9", submit=-4 * DAY, start=-3 * DAY),
        process_started(-3 * DAY + 2, job="9"),
    )
    host._take([*map(to_host, [*packed, *([process_started(1 * DAY)] if claimed else [])])])
    host.time_passes(3)
    host.time_passes(3)
    host._take([to_host(kill_parts(-2.7 * DAY, serial=1)[0])])
    if restarts:
        host.restart()
    host._take([to_host(allocation(1.2 * DAY, submit=1.1 * DAY) if claimed else process_started(1.2 * DAY))])
    host.the_last_words_are_the_models()


@pytest.mark.parametrize("restarts", [False, True])
def test_coverage_of_a_run_of_days_is_that_around_all_signals(restarts: bool) -> None:
    """Somebody signals on the first day, which is packed, and again on the fourth."""
    host = Hosts()
    host.begin()
    for at, serial in ((-2.7 * DAY, 1), (1.3 * DAY, 2)):
        for each in (to_host(allocation(-3 * DAY, submit=-4 * DAY)), *map(to_host, kill_parts(at, serial=serial))):
            host._take([each])
        for number in range(-6, 6):
            host._take([heard(at + 600 * number, Source.AUDITD)])
        host.the_last_words_are_the_models()
        host.time_passes(3)
        host.time_passes(3)
        if restarts:
            host.restart()


def test_a_restart_packs_nothing_that_counted_before_it() -> None:
    """A worker died after it had told a touch; the next one looks at what is old before it reads the signal again."""
    host = Hosts()
    host.begin()
    first = [job_end(-2.6 * DAY, job="9", submit=-4 * DAY, start=-3 * DAY), process_started(-3 * DAY + 3, job="9")]
    host._take([*map(to_host, [*first, allocation(0), process_started(45, job="8")])])
    host.time_passes(3)
    host.time_passes(1.9)
    host.save()
    host._take([to_host(oom(99))])
    host.durable.reopen()
    host._open()
    host._take([])
    host._take([to_host(oom(99))])
    host._take([to_host(job_end(3_000, job="8", submit=30, start=40))])
    host.the_last_words_are_the_models()


TestHosts = Hosts.TestCase
TestHosts.settings = examples(150, steps=20)
