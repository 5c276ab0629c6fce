"""State as a log: what a reader makes of it, also when former owners write late."""

from collections.abc import Iterable

import pytest

from pipeline.errors import InvariantViolation, StateIncompatible
from pipeline.model.facts import Fact
from pipeline.runtime import state_log, state_record
from pipeline.runtime.state_log import LogReader, LogWriter, Write
from pipeline.runtime.state_record import (
    BASE,
    CHUNK_BYTES,
    CLAIM,
    DELTA,
    LOOK,
    META,
    RAISED,
    VERSION,
    Base,
    Claim,
    Delta,
    Intent,
    Meta,
    Owner,
    Raised,
    TableIntent,
    bucket_of,
    chunks,
    key,
    pack,
    parse_key,
)
from pipeline.stream.cases import Cases
from tests.unit.runtime import version_1

A, B = Owner(1, 7, "aa"), Owner(2, 8, "bb")


def fact(name: str, rank: bytes = b"", body: bytes = b"x") -> Fact:
    return Fact(f"case-{name}".encode(), name, rank, body)


def claim(owner: Owner) -> Write:
    return key(CLAIM, owner), pack(Claim())


def delta(owner: Owner, seq: int, *names: str) -> Write:
    return key(DELTA, owner, seq), pack(Delta(VERSION, seq, [fact(name) for name in names]))


def meta(owner: Owner, seq: int, applied: int) -> Write:
    return key(META, owner), pack(Meta(VERSION, seq, applied, "life"))


ROWS = [
    ("a delta counts when its meta is there", [claim(A), delta(A, 1, "x"), meta(A, 1, 5)], {"x"}, 5),
    ("without its meta it does not", [claim(A), meta(A, 0, 3), delta(A, 1, "x")], set(), 3),
    ("what a former owner writes behind the claim is void", [claim(A), meta(A, 0, 3), claim(B), delta(A, 1, "x"), meta(A, 1, 5)], set(), 3),
    (
        "an orphan of a former owner stays out when the next owner's meta comes",
        [claim(A), meta(A, 0, 3), delta(A, 1, "x"), claim(B), meta(B, 0, 3), delta(B, 2, "y"), meta(B, 2, 6)],
        {"y"},
        6,
    ),
    (
        "a delta whose own meta is compacted away is covered by the copy",
        [claim(A), delta(A, 1, "x"), claim(B), meta(B, 1, 5), meta(A, 9, 99)],
        {"x"},
        5,
    ),
    ("a claim that arrives late is void", [claim(B), delta(B, 1, "x"), claim(A), meta(B, 1, 5)], {"x"}, 5),
    ("a claim of the same epoch and an older generation too", [claim(B), claim(Owner(2, 7, "cc")), meta(B, 0, 4)], set(), 4),
    ("a recreated group starts its generations again", [claim(A), meta(A, 0, 3), claim(Owner(2, 1, "dd")), meta(A, 0, 9)], set(), 3),
    ("a look says nothing", [claim(A), (key(LOOK, Owner(0, 9, "ee")), pack(Claim())), meta(A, 0, 3)], set(), 3),
]


@pytest.mark.parametrize(("name", "log", "facts", "applied"), ROWS, ids=lambda value: value if isinstance(value, str) else "")
def test_reading(name: str, log: list[Write], facts: set[str], applied: int) -> None:
    """The state is what the last valid meta covers."""
    read = LogReader()
    for pair in log:
        read.take(*pair)
    assert {each.id for each in read.facts()} == facts
    assert read.meta is not None
    assert read.meta.applied == applied


def written(writer: LogWriter, cases: Cases, log: list[Write]) -> list[str]:
    """A checkpoint's worth of records, with a meta behind them; answers with the keys it would delete."""
    writes, dead = writer.append(cases.take_news(), cases)
    log += [*writes, meta(writer.owner, writer.seq, 0)]
    return dead


def test_bases_replace_deltas(monkeypatch: pytest.MonkeyPatch) -> None:
    """Buckets are written again in turn, old deltas go, forgotten cases stay forgotten, and a reader sees the same at any time."""
    monkeypatch.setattr(state_log, "BASE_FROM_BYTES", 500)
    cases, writer = Cases(), LogWriter(A)
    log, live = [claim(A)], set[str]()
    deleted = 0
    for number in range(300):
        cases.merge(fact(str(number % 90), rank=number.to_bytes(2, "big"), body=b"x" * 40))
        if number % 7 == 0:
            cases.drop(f"case-{number % 45}".encode())
        dead = written(writer, cases, log)
        log += [(name, None) for name in dead]
        deleted += len(dead)
        if number % 50 == 49:
            read = LogReader()
            for pair in log:
                read.take(*pair)
            assert sorted(read.facts(), key=repr) == sorted(cases.facts(), key=repr)
            live = {*read.deltas, *(name for base in read.bases for name in base)}
    assert deleted > 200
    assert len(live) < 150  # bounded by the bases, not by the number of checkpoints


def read_of(log: Iterable[Write]) -> LogReader:
    read = LogReader()
    for pair in log:
        read.take(*pair)
    return read


def content(cases: Cases) -> list[Fact]:
    return sorted(cases.facts(), key=repr)


@pytest.mark.parametrize("deleted", range(0, 101, 10))
def test_a_crash_among_deletions_takes_nothing(deleted: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some of what new bases replace is deleted, the rest is not, in whatever order the broker kept it: a reader sees the same."""
    monkeypatch.setattr(state_log, "BASE_FROM_BYTES", 500)
    monkeypatch.setattr(state_record, "CHUNK_BYTES", 300)  # bases of several parts
    cases, writer = Cases(), LogWriter(A)
    log, dead = [claim(A)], list[str]()
    for number in range(120):
        cases.merge(fact(str(number % 70), rank=number.to_bytes(2, "big"), body=b"x" * 40))
        if number % 5 == 0:
            cases.drop(f"case-{number % 35}".encode())
        if number % 6 == 0:
            cases.seal(f"case-{number % 70}".encode(), number)
        dead += written(writer, cases, log)
    assert len(dead) > 100
    for some in (dead[: len(dead) * deleted // 100], dead[len(dead) * (100 - deleted) // 100 :]):
        gone = set(some)
        for kept in ([*log, *((name, None) for name in some)], [pair for pair in log if pair[0] not in gone]):
            read = read_of(kept)
            assert content(read.cases) == content(cases)
            assert [read.cases.sealed(case) for case in sorted(read.cases)] == [cases.sealed(case) for case in sorted(cases)]


def test_sealed_cases_come_back_sealed(monkeypatch: pytest.MonkeyPatch) -> None:
    """From the deltas, and from the bases, which hold them as they were packed."""
    cases, writer, log = Cases(), LogWriter(A), [claim(A)]
    for number in range(40):
        cases.merge(fact(str(number)))
        cases.seal(f"case-{number}".encode(), 99)
    written(writer, cases, log)
    assert {read_of(log).cases.sealed(case) for case in cases} == {99}
    monkeypatch.setattr(state_log, "BASE_FROM_BYTES", 0)
    monkeypatch.setattr(state_log, "BASE_SHARE", 0.0)
    for _ in range(16):
        log += [(name, None) for name in written(writer, cases, log)]
    live = read_of(log)
    assert not live.deltas
    assert {pack for case in cases for pack in live.cases.packs(case)} == {pack for case in cases for pack in cases.packs(case)}


def test_state_is_read_twice_and_held_once() -> None:
    """Nothing is kept of the first time; of the second only what counts is unpacked, and deltas tell nothing that a base says again."""
    old, new = fact("x", body=b"old"), fact("x", rank=b"1", body=b"new")
    base = key(BASE, A, 3), pack(Base(VERSION, 3, bucket_of(old.case), 0, [new]))
    void = delta(Owner(1, 6, "zz"), 2, "z")
    log = [claim(A), delta(A, 1, "x"), void, (key(DELTA, A, 2), pack(Delta(VERSION, 2, [old]))), base, meta(A, 3, 5), delta(A, 4, "y")]
    read = LogReader(keep=False)
    for pair in log:
        read.take(*pair)
    left = []
    for pair in log:
        read.unpack(*pair)
        left.append(read.left)
    assert left == [3, 2, 2, 1, 0, 0, 0]
    assert list(read.facts()) == [new]
    with pytest.raises(InvariantViolation):
        read.take(*delta(A, 5, "y"))


def test_state_of_which_a_record_is_gone_is_refused() -> None:
    """Somebody deleted a part of the topic: better no worker than one that forgot."""
    log = [claim(A), delta(A, 1, "x"), delta(A, 2, "y"), meta(A, 2, 5)]
    read = LogReader(keep=False)
    for pair in log:
        read.take(*pair)
    with pytest.raises(StateIncompatible, match="delta/1-7-aa/1"):
        read.unpack(*log[2])
    read = LogReader(keep=False)
    for pair in log:
        read.take(*pair)
    read.unpack(*log[1])
    with pytest.raises(StateIncompatible, match="1 record gone from its topic"):
        _ = read.cases


def test_kept_state_is_unpacked_one_record_a_step() -> None:
    """So that whoever reads can do something else in between."""
    read = read_of([claim(A), delta(A, 1, "x"), delta(A, 2, "y"), meta(A, 2, 5)])
    assert [read.left for _ in read.unpacking()] == [1, 0]
    assert {each.id for each in read.facts()} == {"x", "y"}


# --- older versions ---------------------------------------------------------------------------------------------------------------


def test_what_version_1_wrote_is_read() -> None:
    """Its own bytes: facts, what was forgotten, a base, the open intent, where a step raised."""
    read = read_of((name, bytes.fromhex(value)) for name, value in version_1.RECORDS)
    assert list(read.facts()) == [Fact(b"main\x1f7", "a", b"\x08", b"b")]
    assert read.meta == Meta(1, 3, 5, "life", Intent(5, 9, {"events": TableIntent(3, "token")}, 3, "range", "digest"))
    assert read.raised == Raised(1, 5, 6, ("fact",), "judge")


def test_state_of_version_1_goes_on_as_version_2(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next owner reads it, seals, writes bases; a reader of the mixed log sees the same, and in the end nothing is of version 1."""
    monkeypatch.setattr(state_log, "BASE_FROM_BYTES", 100)
    monkeypatch.setattr(state_log, "BASE_SHARE", 0.0)
    facts = [fact(str(number), body=b"x" * 40) for number in range(60)]
    log: list[Write] = [*version_1.state(facts, 5), claim(B)]
    read = read_of(log)
    assert content(read.cases) == sorted(facts, key=repr)
    cases, writer = read.cases, LogWriter(B, read)
    for number in range(20):
        cases.merge(fact("new", rank=bytes([number])))
        cases.seal(b"case-%d" % number, 9)
        log += [(name, None) for name in written(writer, cases, log)]
        assert content(read_of(log).cases) == content(cases)
    live = read_of(log)
    assert {parse_key(name)[1] for entries in (live.deltas, *live.bases) for name in entries} == {B}


def test_the_next_owner_deletes_what_nobody_needs() -> None:
    """Void records and heads of former owners are garbage; records in use and the claim that guards them are not."""
    read = LogReader()
    orphan = delta(A, 2, "y")
    for pair in [claim(A), delta(A, 1, "x"), meta(A, 1, 5), orphan, claim(B), meta(B, 1, 5), delta(A, 3, "z")]:
        read.take(*pair)
    assert set(LogWriter(B, read).garbage) == {orphan[0], key(DELTA, A, 3), key(META, A)}
    assert LogWriter(B, read).seq >= 2  # a number given out by a former owner is not given out again


def test_where_a_step_raised_is_known_to_the_next_owners() -> None:
    """Until the place is passed; then the note is garbage, unless it names facts."""
    raised = Raised(VERSION, 3, 4)
    note = key(RAISED, A)
    read = LogReader()
    for pair in [claim(A), meta(A, 0, 3), (note, pack(raised)), claim(B), meta(B, 0, 3)]:
        read.take(*pair)
    assert read.raised == raised
    assert note not in read.garbage()
    read.take(*meta(B, 0, 4))
    assert note in read.garbage()
    read.take(key(RAISED, B), pack(Raised(VERSION, 3, 4, ("fact",))))
    assert set(read.garbage()) >= {note}
    assert key(RAISED, B) not in read.garbage()


def test_large_facts_are_split_over_records() -> None:
    """No record is larger than a broker takes, and an empty bucket still gets one."""
    lists = list(chunks(fact(str(number), body=b"x" * 150_000) for number in range(7)))
    assert [len(chunk) for chunk in lists] == [2, 2, 2, 1]
    assert [len(chunk) for chunk in chunks([fact("large", body=b"x" * (2 * CHUNK_BYTES))])] == [1]
    assert list(chunks([])) == [[]]


@pytest.mark.parametrize("value", [pack([VERSION + 1, 0, 0, ""]), b"\xc1", b""])
def test_unreadable_state_is_refused_with_advice(value: bytes) -> None:
    """Another version or rubbish: say so, touch nothing."""
    read = LogReader()
    read.take(*claim(A))
    with pytest.raises(StateIncompatible) as caught:
        read.take(key(META, A), value)
    assert caught.value.advice


@pytest.mark.parametrize("name", ["", "meta", "meta/x-1-a", "meta/1-2", "1/2/3"])
def test_unreadable_keys_are_refused(name: str) -> None:
    """The key of something else than state."""
    with pytest.raises(StateIncompatible):
        parse_key(name)


def test_keys_round_trip() -> None:
    """Kind and owner come back."""
    assert parse_key(key(DELTA, B, 42)) == (DELTA, B)
    assert parse_key(key(META, A)) == (META, A)
