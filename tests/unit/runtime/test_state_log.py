"""State as a log: what a reader makes of it, also when former owners write late."""

import pytest

from pipeline.errors import StateIncompatible
from pipeline.model.facts import Fact
from pipeline.runtime import state_log
from pipeline.runtime.state_log import LogReader, LogWriter, Write
from pipeline.runtime.state_record import (
    CHUNK_BYTES,
    CLAIM,
    DELTA,
    LOOK,
    META,
    RAISED,
    VERSION,
    Claim,
    Delta,
    Meta,
    Owner,
    Raised,
    chunks,
    key,
    pack,
    parse_key,
)
from pipeline.stream.cases import Cases

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
