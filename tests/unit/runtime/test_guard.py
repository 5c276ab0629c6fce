"""Every outcome ends where it belongs, and a step that raises loses nothing in silence."""

import logging
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from pipeline.errors import ErrorCode, InvariantViolation
from pipeline.model.facts import Fact, encode_fact
from pipeline.model.instants import DAY_MS
from pipeline.model.outcome import OVERTAKEN, Filtered, Observed, Outcome, Publish, Read, Record, Rejected, Tell
from pipeline.model.source import Source as Family
from pipeline.runtime.channel import END_ADVANCE_MS
from pipeline.runtime.guard import SINGLES_MIN, TOLD_BYTES_MAX, Guard, StepRaised
from pipeline.runtime.partition import Partition
from pipeline.runtime.state_log import LogReader
from pipeline.runtime.state_record import CLAIM, RAISED, VERSION, Claim, Intent, Raised, key, pack
from pipeline.settings import TimeSettings
from pipeline.stream.cases import Cases
from pipeline.stream.watermark import SEPARATOR, Marks, Vector, encode_vector
from tests.unit.runtime.build import OWNER, partition, records, row, stage

AUDITD = f"main{SEPARATOR}auditd"


class Heard:
    """What the guard told others."""

    def __init__(self, time: TimeSettings | None = None) -> None:
        self.told: list[tuple[str, Fact]] = []
        self.moved: list[list[str]] = []
        self.guard = Guard(time or TimeSettings(), self._tell, self._moved, logging.getLogger("test"))

    def _tell(self, stage: str, fact: Fact) -> None:
        self.told.append((stage, fact))

    def _moved(self, part: Partition, families: Sequence[str]) -> None:
        self.moved.append(list(families))


def test_outcomes_go_where_they_belong() -> None:
    """Rows, listed offsets, dead letters, facts, public values and marks of one batch."""
    fact = Fact(b"case", "id", b"", b"body")
    outcomes: list[Outcome] = [
        row(0),
        msgspec.structs.replace(row(0), index=1),
        Filtered(1, ErrorCode.EMPTY),
        Rejected(2, ErrorCode.DECODE_ERROR, "no brace"),
        Tell("jobs", fact),
        Publish("findings", b"key", "id", b"value"),
        Observed("main", Family.AUDITD, 200_000, (0,)),
        Read(5_000, False),
    ]
    heard, part = Heard(), partition(stage(outcomes, tells=("jobs",)))
    heard.guard.fold(part, records(0, 1, 2))
    assert part.rows == [row(0), msgspec.structs.replace(row(0), index=1)]
    assert part.written == 1  # distinct offsets
    assert part.listed == [(1, "empty"), (2, "decode_error")]
    assert [dict(letter.headers)["x-dlq-offset"] for letter in part.dead_letters] == [b"2"]
    assert heard.told == [("jobs", fact)]
    assert [out.id for out in part.published] == ["id"]
    assert part.marks.own_marks() == {AUDITD: (140_000, 140_000)}  # less the bound of 60 s
    assert part.marks.own_progress() == 5_000
    assert heard.moved == [[AUDITD]]


def test_the_bound_of_disorder_is_the_family_s() -> None:
    """sacct has an entry of its own."""
    heard = Heard(TimeSettings(out_of_order_seconds=10, out_of_order_seconds_by_family={"sacct": 900}))
    part = partition(
        stage(
            [Observed("main", Family.SACCT, 1_000_000, ()), Observed("main", Family.AUDITD, 1_000_000, ()), Read(5_000, False)],
            tells=("jobs",),
        )
    )
    heard.guard.fold(part, records(0))
    assert part.marks.own_marks() == {f"main{SEPARATOR}sacct": (100_000, 100_000), AUDITD: (990_000, 990_000)}


def test_a_control_record_ends_the_channel() -> None:
    """All families of the partition jump to one time, a day past what was read."""
    heard, part = Heard(), partition(stage([Observed("main", Family.AUDITD, 900_000, ()), Read(950_000, True)], tells=("jobs",)))
    heard.guard.fold(part, records(0))
    end = 950_000 + END_ADVANCE_MS
    assert part.marks.own_marks()[AUDITD] == (840_000, end)
    vector = part.marks.speak(part.source.topic, part.source.partition, 1)
    assert vector is not None
    assert vector.progress == end


def test_what_kafka_deleted_unread_is_a_gap(caplog: pytest.LogCaptureFixture) -> None:
    """Between what was read before and what is read next nobody knows what was said; a hole that never held a record is none."""

    def answer(_: Any, batch: Sequence[Record]) -> list[Outcome]:
        time = batch[-1].timestamp
        return [Observed("main", Family.AUDITD, time, (time - time % 600_000,)), Read(time, False)]

    heard, part = Heard(), partition(stage(answer, tells=("jobs",)))
    for offset, log_start, time in ((0, 0, 6_000_000), (3, 0, 12_000_000), (9, 7, 18_000_000)):
        part.log_start = log_start
        batch = records(offset, timestamp=time)
        heard.guard.fold(part, batch)
        part.folded(batch, ())
    view = part.marks.view()
    assert view.lost("main", Family.AUDITD, "gpu-001", 15_000_000, 15_000_000)
    assert not view.lost("main", Family.AUDITD, "gpu-001", 6_000_000, 9_000_000)
    assert [record.message.partition(": ")[2] for record in caplog.records] == ["offsets 4 to 6 were deleted before they were read"]


def test_what_is_gone_of_an_open_intent_is_a_gap_too() -> None:
    """Deleted behind a crash to its very end: what comes next begins where the intent ends, and does not look overtaken."""

    def answer(_: Any, batch: Sequence[Record]) -> list[Outcome]:
        time = batch[-1].timestamp
        return [Observed("main", Family.AUDITD, time, (time - time % 600_000,)), Read(time, False)]

    heard, part = Heard(), partition(stage(answer, tells=("jobs",)))
    heard.guard.fold(part, before := records(0, timestamp=6_000_000))
    part.folded(before, ())
    part.intent, part.log_start = Intent(1, 5, {}, 4, "token", "settings"), 5
    now, rest = part.cut(records(5, 6, timestamp=18_000_000))
    assert not now
    part.folded(now, rest)
    kept = Marks(Cases(part.cases.facts()), 600_000)  # by the checkpoint that closes the intent, before anything else is folded
    heard.guard.fold(part, rest)
    assert part.gaps == [(1, 5, OVERTAKEN)]
    for marks in (part.marks, kept):
        assert marks.view().lost("main", Family.AUDITD, "gpu-001", 15_000_000, 15_000_000)
        assert not marks.view().lost("main", Family.AUDITD, "gpu-001", 3_000_000, 4_000_000)


def test_facts_and_vectors_are_told_apart() -> None:
    """A record without a key is a vector; the step sees the facts, once, with the marks that all vectors of the batch have brought."""
    fact = Fact(b"case", "id", b"", b"body")
    vector = Vector("logs.access", 0, 1, 700_000, {AUDITD: (600_000, 600_000)})
    heard, part = Heard(), partition(stage(takes="facts", upstream=("logs.access",)))
    heard.guard.fold(part, [*records(0, value=encode_fact(fact)), *records(1, key=None, value=encode_vector(vector))])
    assert part.state.batches == [[fact]]
    assert part.marks.view().observed("main", Family.AUDITD) == 600_000


@pytest.mark.parametrize("key", [b"case", None])
def test_an_unreadable_fact_is_a_dead_letter(key: bytes | None) -> None:
    """Somebody else wrote into our topic; the others are folded."""
    fact = Fact(b"case", "id", b"", b"body")
    heard, part = Heard(), partition(stage(takes="facts", upstream=("logs.access",)))
    heard.guard.fold(part, [*records(0, key=key, value=b"\xc1"), *records(1, key=key, value=None), *records(2, value=encode_fact(fact))])
    assert part.state.batches == [[fact]]
    assert part.listed == [(0, "decode_error"), (1, "decode_error")]
    assert len(part.dead_letters) == 2


def raises_at(*offsets: int) -> Any:
    """An answer that breaks on some records and writes the others."""

    def answer(state: object, batch: Sequence[Record]) -> list[Outcome]:
        for record in batch:
            if record.offset in offsets:
                raise ZeroDivisionError("bad\x1b[31m line")
        return [row(record.offset) for record in batch]

    return answer


def test_a_record_that_breaks_a_step_is_a_dead_letter() -> None:
    """The author of a log line must not be able to switch detection off: the others are written."""
    heard, part = Heard(), partition(stage(raises_at(3)))
    heard.guard.fold(part, records(*range(10)))
    assert part.written == 9
    assert part.listed == [(3, "step_raised")]
    assert dict(part.dead_letters[0].headers)["x-dlq-reason"] == b"ZeroDivisionError: bad\\x1b[31m line"


def test_a_step_that_breaks_on_everything_ends_the_worker() -> None:
    """Then the fault is ours: dead-lettering all would lose a day of evidence in silence."""
    heard, part = Heard(), partition(stage(raises_at(*range(SINGLES_MIN))))
    with pytest.raises(StepRaised, match=f"offsets 0 to {SINGLES_MIN - 1}"):
        heard.guard.fold(part, records(*range(SINGLES_MIN)))


@pytest.mark.parametrize(("piece", "ended"), [(1, 4), (SINGLES_MIN, 3), (200, 0)])
def test_each_life_bears_twice_as_many_in_a_row(piece: int, ended: int) -> None:
    """The first ends at the eighth, the second at the sixteenth, and so on; where anything of a batch gets through it counts anew."""
    bad = [*range(5 * SINGLES_MIN), *range(1000, 1000 + 8 * SINGLES_MIN)]  # and a good one between
    given = records(*bad[: 5 * SINGLES_MIN], 999, *bad[5 * SINGLES_MIN :])
    raised, lives = None, 0
    while lives < 10:
        heard, part = Heard(), partition(stage(raises_at(*bad)), end=2000)
        part.raised = raised
        try:
            for at in range(0, len(given), piece):
                heard.guard.fold(part, given[at : at + piece])
            break
        except StepRaised as error:
            raised, lives = error.raised, lives + 1
    assert lives == ended
    assert [offset for offset, _ in part.listed] == bad
    assert part.written == 1


def test_what_gets_through_between_them_counts_when_each_comes_alone() -> None:
    """As records do at a quiet site: one bad line a day must not end the worker on the eighth day."""
    given = records(*range(4 * SINGLES_MIN))
    heard, part = Heard(), partition(stage(raises_at(*range(0, len(given), 2))))
    for one in given:
        heard.guard.fold(part, [one])
    assert part.written == len(part.dead_letters) == 2 * SINGLES_MIN


def test_a_keyed_step_that_raises_ends_the_worker() -> None:
    """Its state is half folded: the partition must be dropped, and the message names the offsets."""

    def answer(state: object, batch: Sequence[object]) -> list[Outcome]:
        raise KeyError("case")

    heard, part = Heard(), partition(stage(answer, takes="facts", upstream=("logs.access",)))
    fact = encode_fact(Fact(b"case", "id", b"", b"body"))
    with pytest.raises(StepRaised, match="offsets 4 to 5"):
        heard.guard.fold(part, records(4, 5, value=fact))


def boom_at(state: Any, batch: Sequence[Fact]) -> list[Outcome]:
    """Breaks on one fact, and remembers the others."""
    if any(fact.id == "boom" for fact in batch):
        raise KeyError("case")
    for fact in batch:
        state.cases.merge(fact)
    return []


def test_a_fact_that_raises_twice_is_set_aside() -> None:
    """In a batch, and alone in the next life: taken back and a dead letter, while the facts around it are folded."""
    given = [
        record
        for offset, name in enumerate(["a", "b", "boom", "c"], start=4)
        for record in records(offset, value=encode_fact(Fact(b"case", name, b"", b"")))
    ]
    heard, part = Heard(), partition(stage(boom_at, takes="facts", upstream=("logs.access",)))
    with pytest.raises(StepRaised) as caught:
        heard.guard.fold(part, given)
    assert caught.value.span == (4, 8)
    part = partition(stage(boom_at, takes="facts", upstream=("logs.access",)))
    part.raised = caught.value.raised
    assert heard.guard.fold(part, given) == 2  # the third was taken back
    assert heard.guard.fold(part, given[2:]) == 2
    heard.guard.fold(part, [msgspec.structs.replace(given[2], offset=99)])  # told again, it is known
    assert set(part.cases.of(b"case")) == {"a", "b", "c"}
    assert part.listed == [(6, "step_raised"), (99, "step_raised")]
    assert [dict(letter.headers)["x-dlq-code"] for letter in part.dead_letters] == [b"step_raised"] * 2


def test_a_batch_that_raises_in_a_careful_life_is_taken_back_and_tried_fact_by_fact() -> None:
    """With the vectors in it, which are heard again: the marks are no further than the facts before them."""
    vector = records(2, key=None, value=encode_vector(Vector("logs.access", 0, 1, 700_000, {AUDITD: (600_000, 600_000)})))
    names = ["a", "", "boom"]
    given = [*records(1, value=encode_fact(Fact(b"case", "a", b"", b""))), *vector]
    given += records(3, value=encode_fact(Fact(b"case", "boom", b"", b"")))
    heard, part = Heard(), partition(stage(boom_at, takes="facts", upstream=("logs.access",)))
    part.raised = part.raises_again(500, 501, "")
    done = [heard.guard.fold(part, given)]
    assert not part.cases.take_news()
    assert part.marks.view().observed("main", Family.AUDITD) == 0
    while sum(done) < len(names):
        done.append(heard.guard.fold(part, given[sum(done) :]))
    assert done == [0, 2, 1]
    assert set(part.cases.of(b"case")) == {"a"}
    assert part.marks.view().observed("main", Family.AUDITD) == 600_000
    assert part.listed == [(3, "step_raised")]


def test_what_is_taken_back_takes_no_coverage_with_it_that_was_not_said_yet() -> None:
    """However old: a restart says the newest again, since the rest was said, and here it was not.  What was taken back is not said."""

    def heard_of(*days: int) -> bytes:
        return encode_vector(Vector("logs.access", 0, 1, 700_000, {AUDITD: (600_000, 600_000)}, {AUDITD: [day * DAY_MS for day in days]}))

    boom = records(3, value=encode_fact(Fact(b"case", "boom", b"", b"")))
    heard, part = Heard(), partition(stage(boom_at, takes="facts", tells=("incidents",), upstream=("logs.access",)))
    part.raised = part.raises_again(500, 501, "")
    assert heard.guard.fold(part, records(1, key=None, value=heard_of(1, 9))) == 1
    assert heard.guard.fold(part, [*records(2, key=None, value=heard_of(2)), *boom]) == 0
    said = part.marks.speak(part.source.topic, part.source.partition, 1)
    assert said is not None
    assert said.coverage == {AUDITD: [1 * DAY_MS, 9 * DAY_MS]}


def test_what_no_fact_and_no_case_is_to_blame_for_ends_the_worker() -> None:
    """A vector at which the step raises without a word on where it was: to pass it would be to lose its marks."""

    def answer(state: object, batch: Sequence[object]) -> list[Outcome]:
        raise KeyError("anything")

    heard, part = Heard(), partition(stage(answer, takes="facts", upstream=("logs.access",)))
    part.raised = part.raises_again(500, 501, "")
    given = records(2, key=None, value=encode_vector(Vector("logs.access", 0, 1, 700_000, {})))
    assert heard.guard.fold(part, given) == 0  # once more
    with pytest.raises(StepRaised):
        heard.guard.fold(part, given)


def test_another_place_that_raises_counts_anew() -> None:
    """A fact is set aside when it raised alone where a step had raised before, and then for good."""
    part = partition(stage(takes="facts", upstream=("logs.access",)))
    judge = part.raises_again(25, 26, "f").judge
    assert part.raises_again(25, 26, "f") == Raised(VERSION, 25, 26, (), judge)
    part.raised = Raised(VERSION, 10, 20, ("e",), judge)
    assert part.raises_again(12, 13, "f") == Raised(VERSION, 10, 20, ("e", "f"), judge)
    assert part.raises_again(12, 14, "") == Raised(VERSION, 10, 20, ("e",), judge)
    assert part.raises_again(25, 26, "f") == Raised(VERSION, 25, 26, ("e",), judge)


@pytest.mark.parametrize("same", [True, False])
def test_another_release_gets_another_chance(same: bool) -> None:
    """What one release did not bear is not held against the next."""
    made_of = stage(takes="facts", upstream=("logs.access",))
    raised = partition(made_of).raises_again(3, 4, "")
    read = LogReader()
    read.take(key(CLAIM, OWNER), pack(Claim()))
    read.take(key(RAISED, OWNER), pack(raised if same else msgspec.structs.replace(raised, judge="0.0.1/other")))
    assert partition(made_of, read=read).raised == (raised if same else None)


def test_a_rejected_offset_that_was_not_given_is_our_bug() -> None:
    """A wrong offset would break the account of the range."""
    heard, part = Heard(), partition(stage([Rejected(99, ErrorCode.EMPTY, "")]))
    with pytest.raises(InvariantViolation, match="99"):
        heard.guard.fold(part, records(0))


@pytest.mark.parametrize("what", ["fact", "value"])
def test_what_no_broker_takes_is_a_dead_letter(what: str) -> None:
    """Sent, it would be refused at each restart again."""
    large = b"x" * (TOLD_BYTES_MAX + 1)
    outcome = Tell("jobs", Fact(b"case", "id", b"", large)) if what == "fact" else Publish("findings", b"key", "id", large)
    heard, part = Heard(), partition(stage([outcome], tells=("jobs",)))
    heard.guard.fold(part, records(0))
    assert heard.told == []
    assert part.published == []
    headers = dict(part.dead_letters[0].headers)
    assert headers["x-dlq-code"] == b"record_too_large"
    assert int(headers["x-dlq-truncated"]) > TOLD_BYTES_MAX


def test_a_take_over_wakes_keyed_stages() -> None:
    """A step over nothing, so that what watermarks have closed meanwhile is judged; stages of raw records have no such work."""
    published = Publish("verdicts", b"key", "id", b"value")
    heard = Heard()
    keyed, raw = partition(stage([published], takes="facts", upstream=("logs.access",))), partition(stage([published]))
    heard.guard.wake(keyed)
    heard.guard.wake(raw)
    assert keyed.published == [published]
    assert raw.published == []
    assert heard.moved == []  # nothing was read
