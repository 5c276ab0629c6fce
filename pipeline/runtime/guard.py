"""Records of one partition in; what its stage makes of them out, each outcome where it belongs.

    Row       -> rows of the partition            Tell     -> the sender, at once
    Filtered  -> listed with its code             Publish  -> waits for the checkpoint's proof
    Rejected  -> listed, and a dead letter        Observed -> marks

Bad data is an outcome, not an exception.  A step that raises all the same is our fault: nothing it was given may be committed, and the
worker ends.  But the author of a log line must not be able to switch detection off.  So a stage that takes raw records is asked again
record by record, and the records on which it raises become dead letters.  A keyed stage cannot simply be asked again, because its state is
half folded.  That it raised is noted in the state log before the worker ends, and from then on whatever its step did is taken back when it
raises:

    raised at 20 to 60   restart, one fact at a time   raised at 41: taken back, a dead letter   raised at 47: the same   the rest is folded

Its state is then built again from the cases, as after a restart.  The fact is recognised by its content, since an earlier stage may tell
it again at another offset.  That does not help against a case that raises whenever it is judged, by a watermark or after a restart.  So
the step says at which case it is.  A case at which it raises twice without a new fact about it is set aside as a whole: its key becomes a
dead letter, and what is known of it is kept for a release that can handle it.  Facts about it become dead letters meanwhile.  When more
cases raise than can be noted (thousands), the worker ends at each start.  A process that is killed notes nothing, and no case is blamed
for that.

When nothing gets through between failures the fault may be ours after all, and a day of evidence would silently become dead letters: so
the worker ends at the eighth failure in a row, the next one at the sixteenth, and so on.  Still, one source cannot stop all others: a
flood of a thousand costs eight restarts, or one when anything else gets through in between.

This is the only place with `except Exception`.
"""

import logging
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby, islice
from operator import attrgetter
from typing import cast

import msgspec

from pipeline.errors import ErrorCode, InvariantViolation
from pipeline.model.facts import Fact, decode_fact, encode_fact
from pipeline.model.ids import digest, rank
from pipeline.model.outcome import Filtered, Lost, Observed, Outcome, Publish, Read, Record, Rejected, Row, Tell
from pipeline.runtime.channel import end_of_channel
from pipeline.runtime.dead_letter import dead_letter, printable
from pipeline.runtime.partition import Partition
from pipeline.runtime.state_record import Raised
from pipeline.settings import TimeSettings
from pipeline.stream.watermark import decode_vector

SINGLES_MIN = 8  # so many in a row of which none gets through may not be their fault
APART_AT_ONCE = 100  # facts that are folded one by one, each with some of what is looked at after a take-over
TOLD_BYTES_MAX = 900_000  # one fact or public value; below the broker's usual limit of 1 MiB

_offset_of = attrgetter("offset")
NO_ROWS = frozenset({Filtered, Rejected, Tell, Publish, Observed, Lost, Read})
Tells = Callable[[str, Fact], None]  # stage, fact


class StepRaised(InvariantViolation):
    """A step raised where it should have answered with an outcome."""

    code = ErrorCode.STEP_RAISED
    advice = "Nothing was committed. Start it again: what raises twice is set aside. Report it with the traceback in the log."

    def __init__(self, message: str, part: Partition, records: Sequence[Record]) -> None:
        super().__init__(message)
        lo, hi = (records[0].offset, records[-1].offset + 1) if records else (part.applied, part.applied)
        self.span = lo, hi
        self.fact = _digest(records[0]) if len(records) == 1 and part.stage.takes == "facts" else ""  # the only one
        self.case: bytes = getattr(part.state, "at", b"")  # at which the step was
        self.told = any(record.key == self.case for record in records)  # anything of it
        self.raised = part.raises_again(lo, hi, self.fact, self.case, told=self.told)  # to be noted


class Guard:
    """Runs steps.  `tell` sends a fact to a stage; `moved` hears of a partition in which a family was read."""

    def __init__(self, time: TimeSettings, tell: Tells, moved: Callable[[Partition, Sequence[str]], None], log: logging.Logger) -> None:
        self._time, self._tell, self._moved, self._log = time, tell, moved, log

    def fold(self, part: Partition, records: Sequence[Record]) -> int:
        """One step over records in offset order, none of which was folded before.  Answers how many of them are folded now.

        That is all of them, but where a step has raised before: ask again with the rest.  When it raises StepRaised, the
        partition is half folded: drop it.
        """
        if part.overtaken(records):
            part.lost_from = part.marks.reached()[0]
            last = min(part.log_start, records[0].offset) - 1
            self._log.error("%s: offsets %d to %d were deleted before they were read", part.source, part.applied, last)
        done = len(records)
        if part.stage.takes == "records":
            self._fold_records(part, records)
        elif part.raised is None:
            self._fold_facts(part, records)
        else:
            done = self._fold_carefully(part, records)
        if part.lost_from is not None and done:
            part.marks.lose_all(part.lost_from, part.marks.reached()[1])
            part.lost_from = part.lost_from if done < len(records) else None
        return done

    def wake(self, part: Partition) -> bool:
        """A step over nothing, after a take-over: some of what watermarks have closed meanwhile is judged.  True: there is more."""
        if part.stage.takes != "facts":
            return False
        self._tell_aside(part)
        if part.raised is None:
            self._fold_facts(part, ())
        elif not self._borne(part, ()):
            return True
        return bool(getattr(part.state, "unseen", ()))

    def _tell_aside(self, part: Partition) -> None:
        cases, part.untold = part.untold, ()
        for case in cases:
            reason = "the step raised twice at this case: it is set aside until there is another release, or other settings"
            self._log.error("%s, case %s: %s", part.source, printable(case.decode(errors="replace")), reason)
            part.dead_letters.append(dead_letter(part.stage.name, _as_record(part, case, None), ErrorCode.STEP_RAISED, reason))

    # --- raw records

    def _fold_records(self, part: Partition, records: Sequence[Record]) -> None:
        try:
            state, outcomes = part.stage.step(part.state, records, part.marks.view())
        except Exception as error:  # noqa: BLE001  the one place: see above
            outcomes = self._one_by_one(part, records, error)
        else:
            part.state, part.unborne = state, 0
        self._settle(part, records, outcomes)

    def _one_by_one(self, part: Partition, records: Sequence[Record], first: Exception) -> list[Outcome]:
        self._log.error(
            "stage %s raised at %s offsets %s; record by record now", part.stage.name, part.source, _span(records), exc_info=first
        )
        outcomes: list[Outcome] = []
        raised = 0
        for record in records:
            try:
                part.state, some = part.stage.step(part.state, [record], part.marks.view())
            except Exception as error:  # noqa: BLE001  same
                raised += 1
                outcomes.append(Rejected(record.offset, ErrorCode.STEP_RAISED, f"{type(error).__name__}: {error}"))
            else:
                outcomes += some
        if raised < len(records):
            part.unborne = 0
        else:
            self._count(part, raised, self._raised(part, records), first)
        return outcomes

    def _count(self, part: Partition, raised: int, error: StepRaised, first: BaseException | None) -> None:
        """So many more of which none got through.  Raises the error when that may be our fault; the next life bears twice as many."""
        part.unborne += raised
        bears = max(SINGLES_MIN, error.raised.bears)
        if part.unborne >= bears:
            error.raised = msgspec.structs.replace(error.raised, bears=2 * bears)
            raise error from first

    # --- facts

    def _fold_carefully(self, part: Partition, records: Sequence[Record]) -> int:
        """What raised before one by one, the rest together, until something is taken back; not all at once, so that others have a turn."""
        done = 0
        for some in islice(_apart(records, part.raised), APART_AT_ONCE):
            if not self._borne(part, some):
                break
            done += len(some)
        return done

    def _borne(self, part: Partition, records: Sequence[Record]) -> bool:
        """Fold these; False when the step raised: it is as if it had not begun, but for what is set aside."""
        part.cases.begin()
        try:
            folded = self._fold_facts(part, records)
        except StepRaised as error:
            part.cases.undo()
            self._bear(part, error)
            return False
        part.cases.end()
        part.unborne = 0 if folded else part.unborne
        return True

    def _bear(self, part: Partition, error: StepRaised) -> None:
        """Go on without what is to blame.  Raises the error when nothing is, or when nothing else gets through any more."""
        cause, before, after = error.__cause__, part.raised, error.raised
        if before is None or after == before:
            raise error
        part.bear(after)
        self._log.error("%s: %r; taken back", error, cause, exc_info=cause if part.unborne == 0 else None)
        if (after.aside, after.cases) != (before.aside, before.cases):
            self._count(part, 1, error, cause)
        self._tell_aside(part)

    def _fold_facts(self, part: Partition, records: Sequence[Record]) -> int:
        """Answers with the number of facts that the step was told."""
        facts: list[Fact] = []
        broken: list[Outcome] = []
        for record in records:
            try:
                if record.key in part.cases.aside:
                    broken.append(Rejected(record.offset, ErrorCode.STEP_RAISED, "the step raised twice at its case, which is set aside"))
                elif part.aside and _digest(record) in part.aside:
                    broken.append(Rejected(record.offset, ErrorCode.STEP_RAISED, "the step raised twice at this fact"))
                elif record.key is None:
                    part.marks.hear(decode_vector(record.value or b""))
                else:
                    facts.append(decode_fact(record.value or b""))
            except msgspec.MsgspecError as error:
                broken.append(Rejected(record.offset, ErrorCode.DECODE_ERROR, str(error)))
        self._settle(part, records, [*self._step(part, facts, records), *broken])
        return len(facts)

    def _step(self, part: Partition, batch: Sequence[Fact], records: Sequence[Record]) -> list[Outcome]:
        part.state.at = b""  # the case that an earlier step looked at last is innocent of what this one raises
        try:
            part.state, outcomes = part.stage.step(part.state, batch, part.marks.view())
        except Exception as error:
            raise self._raised(part, records) from error
        return outcomes

    # --- outcomes

    def _settle(self, part: Partition, records: Sequence[Record], outcomes: Sequence[Outcome]) -> None:
        rows = cast("list[Row]", [outcome for outcome in outcomes if type(outcome) not in NO_ROWS])  # the bulk, without a call for each
        part.rows += rows
        part.written += len({row.offset for row in rows})
        observed: list[str] = []
        for outcome in outcomes if len(rows) < len(outcomes) else ():
            if isinstance(outcome, Tell):
                if len(outcome.fact.body) > TOLD_BYTES_MAX:
                    self._too_large(part, outcome.fact.case, encode_fact(outcome.fact), f"fact for {outcome.stage}")
                else:
                    self._tell(outcome.stage, _said_by(part, outcome))
            elif isinstance(outcome, Publish):
                if len(outcome.value) > TOLD_BYTES_MAX:
                    self._too_large(part, outcome.key, outcome.value, f"value for {outcome.content}")
                else:
                    part.published.append(outcome)
            elif isinstance(outcome, Filtered):
                part.listed.append((outcome.offset, outcome.code.value))
            elif isinstance(outcome, Rejected):
                self._reject(part, records, outcome)
            elif isinstance(outcome, Read):
                part.marks.progress(outcome.collected)
                if outcome.final:
                    part.marks.advance(end_of_channel(part.marks))
            elif isinstance(outcome, Lost):
                part.marks.lose(outcome)
            elif isinstance(outcome, Observed):
                part.marks.observe(outcome, self._bound_ms(outcome))
                observed.append(f"{outcome.cluster}\x1f{outcome.source}")
        if records:
            self._moved(part, observed)

    def _reject(self, part: Partition, records: Sequence[Record], outcome: Rejected) -> None:
        at = bisect_left(records, outcome.offset, key=_offset_of)  # in order: a flood of what nobody reads must not cost its square
        record = records[at] if at < len(records) else None
        if record is None or record.offset != outcome.offset:
            raise InvariantViolation(f"stage {part.stage.name} rejected offset {outcome.offset} of {part.source}, which it was not given")
        part.listed.append((outcome.offset, outcome.code.value))
        part.dead_letters.append(dead_letter(part.stage.name, record, outcome.code, outcome.reason))
        self._log.debug("rejected %s@%d: %s: %s", part.source, outcome.offset, outcome.code.value, printable(outcome.reason))

    def _too_large(self, part: Partition, key: bytes, value: bytes, what: str) -> None:
        """Told or published it would be refused by the broker, at each restart again.  Its offset is written all the same."""
        record = _as_record(part, key, value)
        self._log.error("a %s of %d bytes at %s: dead letter", what, len(value), part.source)
        part.dead_letters.append(dead_letter(part.stage.name, record, ErrorCode.RECORD_TOO_LARGE, what))

    def _bound_ms(self, observed: Observed) -> int:
        return 1000 * self._time.out_of_order_seconds_by_family.get(observed.source, self._time.out_of_order_seconds)

    def _raised(self, part: Partition, records: Sequence[Record]) -> StepRaised:
        where = f"{part.source}, offsets {_span(records)}, applied {part.applied}"
        return StepRaised(f"stage {part.stage.name} raised at {where}", part, records)


def _apart(records: Sequence[Record], raised: Raised | None) -> Iterator[Sequence[Record]]:
    """The batch in pieces: what raised before one by one, the rest together."""
    for suspect, some in groupby(records, lambda record: raised is not None and raised.lo <= record.offset < raised.hi):
        if suspect:
            yield from ([record] for record in some)
        else:
            yield list(some)


def _said_by(part: Partition, told: Tell) -> Fact:
    """The fact; where the last word counts, that of a later owner of the partition comes after all of a former one."""
    if not told.last_word:
        return told.fact
    return msgspec.structs.replace(told.fact, rank=rank(part.owner.epoch) + told.fact.rank)


def _as_record(part: Partition, key: bytes, value: bytes | None) -> Record:
    """What is not a record of the partition, said in the form of one."""
    return Record(topic=part.source.topic, partition=part.source.partition, offset=max(part.applied, 0), timestamp=0, key=key, value=value)


def _digest(record: Record) -> str:
    """Names a fact by what is asserted; empty for a vector."""
    return "" if record.key is None else digest(record.key, record.value or b"")


def _span(records: Sequence[Record]) -> str:
    return f"{records[0].offset} to {records[-1].offset}" if records else "none"
