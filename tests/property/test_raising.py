"""Steps that raise: one bad record, fact or case costs itself and nothing else, after a bounded number of lives.

    records   the stage is asked again record by record: the one that raises is a dead letter, at once
    facts     noted; in the next life alone, taken back, a dead letter
    cases     judged by a watermark or after a restart, and raising twice: set aside whole, and told once
    floods    one life, or as many as it takes to bear twice as many in a row with each

Each life takes its partition over from the state log that the last one left; some are killed, which notes nothing.
"""

import logging
from bisect import bisect_left
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import ErrorCode
from pipeline.model.facts import Fact, encode_fact
from pipeline.model.outcome import Outcome, Record
from pipeline.model.source import Source as Family
from pipeline.runtime import partition, state_log
from pipeline.runtime.guard import SINGLES_MIN, Guard, StepRaised
from pipeline.runtime.partition import Partition, Source
from pipeline.runtime.state_log import LogReader, Write
from pipeline.runtime.state_record import CLAIM, META, RAISED, Claim, Owner, key, pack
from pipeline.settings import Settings, TimeSettings
from pipeline.stream.cases import Cases
from pipeline.stream.watermark import SEPARATOR, Vector, Watermarks, encode_vector
from pipeline.topology import Stage, build_topology
from tests.property.profile import examples
from tests.scenario.lines import Site, ship

LOG = logging.getLogger("raising")
LIVES_MAX = 60
WAKES_MAX = 3000
OFFSETS_MAX = 10_000


class Heard:
    """A guard and what it told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, Fact]] = []
        self.guard = Guard(TimeSettings(), lambda stage, fact: self.told.append((stage, fact)), lambda *_: None, LOG)


# --- raw records ------------------------------------------------------------------------------------------------------------------

SETTINGS = Settings()
SITE = Site()
LINES = [*(line for at in range(-600, 80, 60) for line in SITE.hum(at, ["auditd", "kernel"])), *SITE.kill(97)]
LOGS = [record for record in ship(LINES) if record.topic == "logs.access"]


def ingest(records: Sequence[Record]) -> tuple[Partition, Heard]:
    """The real first stage over one batch."""
    source = Source("logs.access", 0)
    part, heard = Partition(source, build_topology(SETTINGS).stage_of(source.topic), SETTINGS, Owner(1, 1, "n")), Heard()
    part.adopt(0, 1000, "life")
    heard.guard.fold(part, records)
    part.folded(records, ())
    return part, heard


def at(offset: int, record: Record, value: Any = b"") -> Record:
    """The record there; with a value that no line can have, the step breaks on it as on a fault of its own."""
    return Record(
        topic="logs.access", partition=0, offset=offset, timestamp=record.timestamp, key=record.key, headers=record.headers,
        value=value or record.value,
    )  # fmt: skip


@given(bad=st.sets(st.integers(0, len(LOGS) - 1), min_size=1, max_size=5))
@examples(40)
def test_a_record_on_which_ingest_breaks_costs_itself_alone(bad: set[int]) -> None:
    """Rows, facts and marks are those of the same batch with those records left out."""
    broken, heard = ingest([at(offset, record, "no bytes" if offset in bad else b"") for offset, record in enumerate(LOGS)])
    whole, told = ingest([at(offset, record) for offset, record in enumerate(LOGS) if offset not in bad])
    assert broken.listed == sorted([*whole.listed, *((offset, "step_raised") for offset in bad)])
    assert [dict(letter.headers)["x-dlq-offset"] for letter in broken.dead_letters] == [b"%d" % offset for offset in sorted(bad)]
    assert broken.rows == whole.rows
    assert broken.written == whole.written
    assert set(_words(heard.told)) == set(_words(told.told))
    assert broken.marks.own_marks() == whole.marks.own_marks()


def _words(told: Sequence[tuple[str, Fact]]) -> list[tuple[str, bytes, str, bytes]]:
    return [(stage, fact.case, fact.id, fact.body) for stage, fact in told]


def test_a_batch_of_which_nothing_gets_through_is_no_fault_of_the_records() -> None:
    """A day of evidence would become dead letters in silence."""
    with pytest.raises(StepRaised):
        ingest([at(offset, record, "no bytes") for offset, record in enumerate(LOGS[:SINGLES_MIN])])
    assert len(ingest([at(offset, record, "no bytes") for offset, record in enumerate(LOGS[: SINGLES_MIN - 1])])[0].dead_letters) == 7


# --- facts and cases --------------------------------------------------------------------------------------------------------------

FACTS = Source("trainwatch.facts.job.v1", 0)
FAMILY = f"main{SEPARATOR}{Family.AUDITD}"


class State:
    """Cases; those that hold a fact `judged` are looked at when the watermark has passed, and after a take-over."""

    def __init__(self, settings: Settings, cases: Cases) -> None:
        self.cases, self.at = cases, b""
        self.seen: set[bytes] = set()


def step(state: State, batch: Sequence[Fact], now: Watermarks) -> tuple[State, list[Outcome]]:
    """A fact of the id `poison` raises when it is folded, a case with a fact `bad` whenever it is judged behind the watermark."""
    state.at = b""
    for fact in batch:
        state.at = fact.case
        state.cases.merge(fact)  # half folded, then
        if fact.id.startswith("poison"):
            raise KeyError(fact.id)
    for case in sorted(state.cases) if now.passed("main", Family.AUDITD, 100) else ():
        if not case.startswith(b"\0"):
            state.at = case
            if "bad" in state.cases.of(case):
                raise ZeroDivisionError(case)
    return state, []


STAGE = Stage("test", (FACTS.topic,), "facts", State, step, upstream=("logs.access",))


def fact(case: str, name: str, offset: int) -> Record:
    """A fact at an offset."""
    value = encode_fact(Fact(case.encode(), name, b"", b""))
    return Record(topic=FACTS.topic, partition=0, offset=offset, timestamp=1, key=case.encode(), value=value)


def vector(time: int, offset: int) -> Record:
    """The watermark comes this far."""
    said = Vector("logs.access", 0, 1, time, {FAMILY: (time, time)})
    return Record(topic=FACTS.topic, partition=0, offset=offset, timestamp=1, key=None, value=encode_vector(said))


class Lives:
    """One partition after another over one state log; what left is kept."""

    def __init__(self, records: Sequence[Record], settings: Settings = SETTINGS, stage: Stage = STAGE) -> None:
        self.records, self.settings, self.stage = records, settings, stage
        self.log: list[Write] = []
        self.letters: list[tuple[bytes | None, dict[str, bytes]]] = []
        self.listed: list[tuple[int, str]] = []
        self.raised = 0
        self.heard = Heard()

    def live(self, batch: int = 100, *, saves: bool = True, dies_after: int = 10**6) -> Partition | None:
        """Take over, wake, fold, checkpoint after each batch; None when the step raised, or it was killed."""
        read = LogReader()
        for name, value in self.log:
            read.take(name, value)
        owner = Owner(read.last.epoch + 1, 1, "n")
        read.take(key(CLAIM, owner), pack(Claim()))
        part = Partition(Source(self.stage.reads[0], 0), self.stage, self.settings, owner, read)
        self.log += [(key(CLAIM, owner), pack(Claim())), (key(META, owner), pack(part.adopt(0, OFFSETS_MAX, "life")))]
        try:
            self._wake(part)
            while left := self._next(part.applied, batch):
                if left[-1].offset >= dies_after:
                    return None
                while left:
                    done = self.heard.guard.fold(part, left)
                    part.folded(left[:done], ())
                    left = left[done:]
                self._wake(part)
                if saves:
                    self.save(part)
        except StepRaised as error:
            self.raised += 1
            self.log.append((key(RAISED, owner), pack(error.raised)))
            return None
        self.save(part)
        return part

    def save(self, part: Partition) -> None:
        """A checkpoint."""
        if (work := part.snapshot()) is not None:
            self.letters += [(letter.key, dict(letter.headers)) for letter in work.dead_letters]
            self.listed += work.listed
            self.log += work.writes
            self.log += [(name, None) for name in work.deletions]
            part.durable(work)

    def _next(self, offset: int, batch: int) -> Sequence[Record]:
        at = bisect_left(self.records, offset, key=lambda record: record.offset)
        return self.records[at : at + batch]

    def _wake(self, part: Partition) -> None:
        for _ in range(WAKES_MAX):
            before = part.raised
            self.heard.guard.wake(part)
            if part.raised is before:
                return
        raise AssertionError("it is taken back for ever")

    def until_it_lives(self, batch: int = 100, *, saves: bool = True) -> Partition:
        """As the service manager does."""
        for _ in range(LIVES_MAX):
            if (part := self.live(batch, saves=saves)) is not None:
                return part
        raise AssertionError("it ends at each start")

    @property
    def cases_told(self) -> list[bytes | None]:
        """Keys of dead letters of whole cases."""
        return [name for name, headers in self.letters if b"is set aside until" in headers["x-dlq-reason"]]


BAD = [
    fact("main\x1f7", "good", 0),
    fact("main\x1f7", "bad", 1),
    fact("main\x1f8", "good", 2),
    vector(200, 3),
    fact("main\x1f8", "more", 4),
]


def test_a_case_that_raises_whenever_it_is_judged_is_set_aside() -> None:
    """By a watermark here; told once, by its key; the others go on, and further lives are quiet."""
    lives = Lives(BAD)
    part = lives.until_it_lives()
    assert lives.raised == 1
    assert set(part.cases.of(b"main\x1f8")) == {"good", "more"}
    assert lives.cases_told == [b"main\x1f7"]
    assert dict(lives.letters[-1][1])["x-dlq-code"] == ErrorCode.STEP_RAISED.value.encode()
    for _ in range(3):
        assert lives.live() is not None
    assert lives.cases_told == [b"main\x1f7"]


def test_a_case_that_raises_when_it_is_looked_at_after_a_restart_is_set_aside() -> None:
    """A stage that bore it until yesterday: nothing is read at all."""
    lives = Lives(BAD[2:])
    lives.until_it_lives()
    lives.records = []
    spoilt = Partition(FACTS, STAGE, SETTINGS, Owner(99, 1, "n"), _read(lives.log))
    spoilt.adopt(0, 1000, "life")
    spoilt.cases.merge(Fact(b"main\x1f9", "bad", b"", b""))
    lives.log.append((key(CLAIM, spoilt.owner), pack(Claim())))
    lives.save(spoilt)
    assert lives.live() is None
    part = lives.live()
    assert part is not None
    assert lives.cases_told == [b"main\x1f9"]
    assert set(part.cases) >= {b"main\x1f8"}


def test_what_is_known_of_a_case_set_aside_is_kept_for_the_release_that_bears_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Out of the sight of the stage, in the bases of the log; facts that come meanwhile are dead letters."""
    monkeypatch.setattr(state_log, "BASE_FROM_BYTES", 1)
    lives = Lives([*BAD, fact("main\x1f7", "late", 5), *(fact("main\x1f8", str(number), 6 + number) for number in range(40))])
    assert lives.live(batch=1) is None  # what came before the watermark is saved
    lives.until_it_lives()
    part = lives.live(batch=1)
    assert part is not None
    assert (5, "step_raised") in lives.listed
    assert b"main\x1f7" not in set(part.cases)
    assert set(part.cases.of(b"main\x1f7")) == {"good", "bad"}
    lives.settings = Settings(time=TimeSettings(idle_seconds=21))  # another judge
    assert lives.live() is None  # it was given another chance


def test_what_is_set_aside_stays_so_when_nothing_else_of_that_owner_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its deltas give way to bases of later owners, and its claim, without which nothing of it counts, must not go with them."""
    monkeypatch.setattr(state_log, "BASE_FROM_BYTES", 1)
    lives = Lives(BAD)
    lives.until_it_lives(1)
    for life in range(5):
        lives.records = [*lives.records, *(fact(f"main\x1f{100 + number}", str(life), 5 + 40 * life + number) for number in range(40))]
        part = lives.live(1)
        assert part is not None
        assert part.cases.aside == {b"main\x1f7"}
        deleted = {name for name, value in lives.log if value is None}
        lives.log = [(name, value) for name, value in lives.log if name not in deleted]  # as the broker compacts it
    assert lives.cases_told == [b"main\x1f7"]


def test_more_cases_than_can_be_noted_end_the_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """The eldest let go for the newest would raise again, and be told again, and so on for ever."""
    names = [f"main\x1f{number}" for number in range(7)]
    monkeypatch.setattr(partition, "CASES_BYTES_MAX", sum(map(len, names[:-1])))
    lives = Lives([*(fact(name, "bad", offset) for offset, name in enumerate(names)), vector(200, len(names))])
    for _ in range(5):
        assert lives.live(batch=1) is None
    read = _read(lives.log)
    assert read.raised is not None
    assert read.raised.cases == tuple(name.encode() for name in names[:-1])


def test_a_kill_counts_for_nobody() -> None:
    """Ten of them, before the first time and between the two."""
    lives = Lives(BAD)
    for _ in range(10):
        assert lives.live(dies_after=3) is None
    assert (lives.raised, lives.live(), lives.raised) == (0, None, 1)
    for _ in range(10):
        assert lives.live(batch=1, dies_after=1) is None
    lives.until_it_lives()
    assert lives.raised == 1
    assert lives.cases_told == [b"main\x1f7"]


FLOOD = 1000


def many(name: str, first: int = 0, *, every: int = 1) -> list[Record]:
    """A fact of that id in each of many cases; with `every`, only so often, and a good one elsewhere."""
    ids = (name if number % every == 0 else "good" for number in range(FLOOD * every))
    return [fact(f"main\x1f{number}", id_, first + number) for number, id_ in enumerate(ids)]


@pytest.mark.parametrize("batch", [1, 100])
@pytest.mark.parametrize(("every", "lives_max"), [(1, 9), (2, 1)], ids=["nothing else", "every other"])
def test_a_flood_of_facts_does_not_end_the_worker_once_for_each(batch: int, every: int, lives_max: int) -> None:
    """Each that raises is a dead letter, however they come; the others are folded, and none by half."""
    lives = Lives(many("poison", every=every))
    part = lives.until_it_lives(batch)
    assert lives.raised <= lives_max
    assert lives.listed == [(number, "step_raised") for number in range(0, FLOOD * every, every)]
    assert {case for case in part.cases if case[:1] != b"\0"} == {f"main\x1f{n}".encode() for n in range(FLOOD * every) if n % every}


def test_a_flood_of_cases_that_raise_when_they_are_judged_does_not_either() -> None:
    """Set aside, each told once; the others are judged."""
    lives = Lives([*many("bad", every=2), vector(200, 2 * FLOOD)])
    part = lives.until_it_lives()
    assert lives.raised <= 9
    bad = {f"main\x1f{number}".encode() for number in range(0, 2 * FLOOD, 2)}
    assert len(lives.cases_told) == len(bad)
    assert {*lives.cases_told} == part.cases.aside == bad


@pytest.mark.parametrize("batch", [7, 100])
def test_a_flood_of_records_on_which_ingest_breaks_does_not_either(batch: int) -> None:
    """With nothing between them that gets through: the fault may be ours, so it ends, but each life bears twice as many in a row."""
    lives = Lives([at(offset, LOGS[0], "no bytes") for offset in range(FLOOD)], stage=build_topology(SETTINGS).stage_of("logs.access"))
    lives.until_it_lives(batch, saves=False)
    assert 0 < lives.raised <= 8
    assert lives.listed == [(number, "step_raised") for number in range(FLOOD)]


@given(
    told=st.lists(st.tuples(st.sampled_from("7890"), st.sampled_from(["good", "bad", "poison", "a", "b"])), min_size=1, max_size=12),
    passes=st.integers(0, 12),
    lives=st.lists(st.tuples(st.integers(1, 12), st.booleans(), st.integers(0, 14)), max_size=8),
)
@examples(150)
def test_whatever_raises_the_rest_is_folded(told: list[tuple[str, str]], passes: int, lives: list[tuple[int, bool, int]]) -> None:
    """Poison, bad cases and watermarks anywhere, batches of any size, kills anywhere: it lives in the end, and nothing else is missing."""
    given_ = [fact(f"main\x1f{case}", name, 0) for case, name in told]
    given_.insert(min(passes, len(given_)), vector(200, 0))
    records = [Record(**{**_fields(record), "offset": offset}) for offset, record in enumerate(given_)]
    run = Lives(records)
    for batch, saves, dies_after in lives:
        run.live(batch, saves=saves, dies_after=dies_after)
    part = run.until_it_lives()
    bad = {f"main\x1f{case}".encode() for case, name in told if name == "bad"}
    assert set(part.cases.aside) <= bad
    assert set(run.cases_told) == part.cases.aside
    assert len(run.cases_told) == len(part.cases.aside)
    dead = {offset for offset, _ in run.listed}
    for offset, record in enumerate(records):
        if record.key is None:
            continue
        name = told[offset if offset < min(passes, len(told)) else offset - 1][1]
        kept = name in part.cases.of(record.key)
        assert kept or offset in dead
        if record.key not in bad:
            assert kept == (name != "poison")
    for offset in dead:
        assert run.records[offset].key is not None


def _fields(record: Record) -> dict[str, Any]:
    return {name: getattr(record, name) for name in record.__struct_fields__}


def _read(log: Sequence[Write]) -> LogReader:
    read = LogReader()
    for name, value in log:
        read.take(name, value)
    owner = Owner(99, 1, "n")
    read.take(key(CLAIM, owner), pack(Claim()))
    return read
