"""The replay rules of one input partition, row by row; what no order of faults reaches easily is held here."""

from contextlib import nullcontext
from typing import NamedTuple

import msgspec
import pytest

from pipeline.errors import StateIncompatible
from pipeline.runtime.partition import Partition, Work
from pipeline.runtime.state_log import LogReader
from pipeline.runtime.state_record import CLAIM, META, VERSION, Claim, Intent, Meta, Owner, TableIntent, key, pack, unpack
from pipeline.settings import Settings, TimeSettings
from tests.unit.runtime.build import OWNER, SOURCE, partition, records, row

LATER = Owner(2, 2, "n2")


def log_with(intent: Intent | None, applied: int) -> LogReader:
    """A state log that a dead owner left at `applied`."""
    read = LogReader()
    read.take(key(CLAIM, OWNER), pack(Claim()))
    read.take(key(META, OWNER), pack(Meta(VERSION, 0, applied, "life", intent)))
    read.take(key(CLAIM, LATER), pack(Claim()))
    return read


def intent(lo: int, hi: int, **rows: int) -> Intent:
    """An open intent with so many rows per table."""
    return Intent(lo, hi, {table: TableIntent(count, f"token-{table}") for table, count in rows.items()}, 3, "range", "digest")


class Row(NamedTuple):
    name: str
    applied: int
    open_to: int | None  # the open intent is [applied, open_to)
    batch: tuple[int, ...]
    now: tuple[int, ...]
    rest: tuple[int, ...] = ()


ROWS = [
    Row("previous", 10, None, (7, 8, 9), ()),
    Row("partly previous", 10, None, (8, 9, 10, 11), (10, 11)),
    Row("new", 10, None, (10, 11), (10, 11)),
    Row("new, behind a hole", 10, None, (13, 14), (13, 14)),
    Row("same", 10, 14, (10, 11, 12, 13), (10, 11, 12, 13)),
    Row("contained", 10, 14, (10, 11), (10, 11)),
    Row("overlapping", 10, 14, (12, 13, 14, 15), (12, 13), (14, 15)),
    Row("behind the open intent", 10, 14, (14, 15), (), (14, 15)),
    Row("over a hole at its end", 10, 14, (11, 16), (11,), (16,)),
    Row("nothing", 10, 14, (), ()),
]


@pytest.mark.parametrize("rule", ROWS, ids=lambda rule: rule.name)
def test_replay_rule(rule: Row) -> None:
    """What of a fetched batch is folded now, and what waits for the open intent to close."""
    opened = None if rule.open_to is None else intent(rule.applied, rule.open_to, events=1)
    part = partition(read=log_with(opened, rule.applied))
    now, rest = part.cut(records(*rule.batch))
    assert tuple(record.offset for record in now) == rule.now
    assert tuple(record.offset for record in rest) == rule.rest


def test_nothing_leaves_while_the_open_intent_is_incomplete() -> None:
    """Contained: hold and go on folding until the end of the intent; then the whole block leaves under its recorded tokens."""
    part = partition(read=log_with(intent(10, 14, events=1), 10))
    part.folded(records(10, 11), [])
    assert part.held
    assert part.snapshot() is None
    part.folded(records(12, 13), [])
    part.written = 3  # the intent's number of offsets with rows
    work = part.snapshot()
    assert work is not None
    assert part.intend(work, {"events": [row(12)]})
    assert work.intent == intent(10, 14, events=1)
    assert part.intent_write(work) is None  # it is in the log already


def test_a_hole_at_the_end_of_an_intent_closes_it() -> None:
    """A record behind the intent proves that no further one of it comes."""
    part = partition(read=log_with(intent(10, 14, events=1), 10))
    now, rest = part.cut(records(11, 16))
    part.folded(now, rest)
    assert part.applied == 14
    assert not part.held


class Landed(NamedTuple):
    name: str
    groups: dict[str, int]  # rows that came out this time
    landed: dict[str, int]  # rows of the intent (events 2, other 1) that the sink has
    inserted: dict[str, int]  # rows to insert now
    intended: dict[str, int] | None  # the intent; None: refused


LANDED = [
    Landed("all landed: done", {"events": 1}, {"events": 2, "other": 1}, {}, {"events": 2, "other": 1}),
    Landed("none landed: intended anew", {"events": 1}, {"events": 0, "other": 0}, {"events": 1}, {"events": 1}),
    Landed("one table landed: the other anew", {"events": 5, "other": 3}, {"events": 2}, {"other": 3}, {"events": 2, "other": 3}),
    Landed("a table more than before", {"new": 4}, {"events": 0, "other": 0}, {"new": 4}, {"new": 4}),
    Landed("a block in part", {"events": 3}, {"events": 1, "other": 0}, {}, None),
]


@pytest.mark.parametrize("case", LANDED, ids=lambda case: case.name)
def test_other_rows_than_intended(case: Landed) -> None:
    """A range that cannot be made again as it was, say with other settings: the sink is asked, then the rule is applied."""
    part = partition(read=log_with(intent(10, 14, events=2, other=1), 10))
    part.folded(records(10, 11, 12, 13), [])
    work = part.snapshot()
    assert work is not None
    assert not part.intend(work, {table: [row(10)] * count for table, count in case.groups.items()})
    if case.intended is None:
        with pytest.raises(StateIncompatible, match="written in part"):
            part.reconcile(work, case.landed)
        return
    part.reconcile(work, case.landed)
    assert {table: len(rows) for table, rows in work.groups.items()} == case.inserted
    assert work.intent is not None
    assert {table: of.rows for table, of in work.intent.tables.items()} == case.intended
    for table in ("events", "other"):  # an insert of the dead process that arrives only now must meet ours
        assert work.intent.tables.get(table, TableIntent(0, f"token-{table}")).token == f"token-{table}"


def test_refused_rows_leave_the_range_with_their_records() -> None:
    """All rows of a refused record go, it is listed, and the rest is intended again under the same token."""
    part = partition()
    part.rows, part.written = [row(1), row(1), row(2)], 2
    part.folded(records(0, 1, 2), [])
    work = part.snapshot()
    assert work is not None
    part.intend(work, {"events": [row(1), row(1), row(2)]})
    before = work.intent
    assert work.refuse("events", (1,)) == [1]
    write = part.intend_again(work)
    assert before is not None
    assert work.intent is not None
    assert write is not None
    assert work.intent.tables["events"] == TableIntent(1, before.tables["events"].token)
    assert work.listed == [(1, "insert_refused")]
    assert work.written == 1
    meta = unpack(META, write[1] or b"")
    assert isinstance(meta, Meta)
    assert (meta.applied, meta.intent) == (0, work.intent)


def test_every_advanced_range_of_records_is_intended_and_noted() -> None:
    """Also one without rows: its range row lists why."""
    part = partition()
    part.listed = [(1, "empty"), (0, "control")]
    part.folded(records(0, 1), [])
    work = part.snapshot()
    assert work is not None
    part.intend(work, {})
    noted = work.range_row(part.incarnation)
    assert noted is not None
    assert (noted.lo, noted.hi, noted.rows, noted.incarnation) == (0, 2, 0, "life")
    assert noted.listed == ((0, "control"), (1, "empty"))


def test_a_quiet_partition_has_nothing_to_do() -> None:
    """No records, no news: no work, and so no state written."""
    part = partition()
    assert part.snapshot() is None


def test_tokens_tell_lives_of_a_topic_apart() -> None:
    """The same offsets of a recreated topic are another block."""

    def token(incarnation: str) -> str:
        part = Partition(SOURCE, partition().stage, Settings(), OWNER)
        part.adopt(0, 100, incarnation)
        part.folded(records(0), [])
        work = part.snapshot() or Work(SOURCE, 0, 0, accounted=False)
        part.intend(work, {"events": [row(0)]})
        assert work.intent is not None
        return work.intent.tables["events"].token

    assert token("a") == token("a")
    assert token("a") != token("b")


@pytest.mark.parametrize(("end", "fine"), [(14, True), (13, False), (0, False)])
def test_state_of_another_topic_is_refused(end: int, fine: bool) -> None:
    """A topic that ends before its state was deleted and made again."""
    if fine:
        partition(read=log_with(intent(10, 14, events=1), 10), end=end)
    else:
        with pytest.raises(StateIncompatible, match="read up to offset 14, but the topic ends at") as caught:
            partition(read=log_with(intent(10, 14, events=1), 10), end=end)
        assert caught.value.advice


@pytest.mark.parametrize(
    ("read", "told", "fine"),
    [
        (1, "of another", False),
        (1, "of it", True),
        (1, "", True),  # not told, by an old broker
        (0, "of another", True),  # it held nothing
    ],
)
def test_a_topic_made_again_under_its_name_is_known_by_its_id(read: int, told: str, *, fine: bool) -> None:
    """However long it is by now; and the id is kept with the state."""
    part = Partition(SOURCE, partition().stage, Settings(), OWNER)
    part.adopt(0, 100, "life", "of it")
    part.folded(records(*range(read)), [])
    work = part.snapshot()
    meta = part.saved if work is None else work.meta
    assert meta is not None
    assert meta.topic_id == "of it"
    log = LogReader()
    log.take(key(CLAIM, OWNER), pack(Claim()))
    log.take(key(META, OWNER), pack(meta))
    later = Partition(SOURCE, part.stage, Settings(), OWNER, log)
    with nullcontext() if fine else pytest.raises(StateIncompatible, match="read up to offset 1, but its id is of another now"):
        assert later.adopt(0, 100, "another life", told).topic_id == (told or "of it")


def test_the_intent_names_the_settings_it_depends_on() -> None:
    """So that an operator who must finish a range knows with which."""
    changed = Settings(time=TimeSettings(grace_seconds=1))
    part = partition(settings=changed)
    part.folded(records(0), [])
    work = part.snapshot()
    assert work is not None
    part.intend(work, {})
    assert work.intent is not None
    assert work.intent.settings_digest == changed.digest() != Settings().digest()
    assert msgspec.structs.replace(work.intent, settings_digest="") != work.intent
