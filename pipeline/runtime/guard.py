"""Records of one partition in; what its stage makes of them out, each outcome where it belongs.

    Row       -> rows of the partition            Tell     -> the sender, at once
    Filtered  -> listed with its code             Publish  -> waits for the checkpoint's proof
    Rejected  -> listed, and a dead letter        Observed -> marks

Bad data is an outcome, not an exception.  A step that raises all the same is our fault: nothing it was given may be committed, and the
worker ends.  Except that the author of a log line must not be able to switch detection off: a stage that takes raw records is asked
again record by record, and the ones that raise become dead letters; when nothing of a batch gets through, the fault may be ours after
all, and the worker ends.  It is noted where, and the second time they are dead letters all the same: one source must not stop all others.
A keyed stage cannot be asked again, because its state is half folded; where it raised is noted in the state log before the worker ends:

    raised in [20, 60)   restart, one fact at a time   raised at 41   restart: the fact at 41 is a dead letter, the rest is folded

The fact is known by its content: told again by a stage before, it comes again at another offset.  That does not help against a case
that raises whenever it is judged, by a watermark or after a restart.  The step says at which case it is; one at which it raises twice
without having been told anything of it is set aside whole, is a dead letter by its key, and keeps what is known of it for the release
that bears it.  What is told of it meanwhile becomes dead letters.  A process that is killed notes nothing: that counts for nobody.

This is the only place with `except Exception`.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import cast

import msgspec

from pipeline.errors import ErrorCode, InvariantViolation, TrainwatchError
from pipeline.model.facts import Fact, decode_fact, encode_fact
from pipeline.model.ids import digest, rank
from pipeline.model.outcome import Filtered, Lost, Observed, Outcome, Publish, Read, Record, Rejected, Row, Tell
from pipeline.runtime.channel import end_of_channel
from pipeline.runtime.dead_letter import dead_letter, printable
from pipeline.runtime.partition import Partition
from pipeline.runtime.state_record import Raised
from pipeline.settings import TimeSettings
from pipeline.stream.watermark import decode_vector

SINGLES_MIN = 8  # a batch of this many records of which none gets through is not the records' fault
TOLD_BYTES_MAX = 900_000  # one fact or public value; below the broker's usual limit of 1 MiB

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
        self.fact = _digest(records[0]) if len(records) == 1 else ""  # of the only one
        self.case: bytes = getattr(part.state, "at", b"")  # at which the step was
        self.told = any(record.key == self.case for record in records)  # anything of it
        self.raised = part.raises_again(lo, hi, self.fact, self.case, told=self.told)  # to be noted


class Guard:
    """Runs steps.  `tell` sends a fact to a stage; `moved` hears of a partition in which a family was read."""

    def __init__(self, time: TimeSettings, tell: Tells, moved: Callable[[Partition, Sequence[str]], None], log: logging.Logger) -> None:
        self._time, self._tell, self._moved, self._log = time, tell, moved, log

    def fold(self, part: Partition, records: Sequence[Record]) -> None:
        """One step over records in offset order, none of which was folded before.  Raises StepRaised.

        When it raises, the partition is half folded: drop it.
        """
        before = part.marks.reached() if part.overtaken(records) else None
        if part.stage.takes == "records":
            self._fold_records(part, records)
        else:
            for some in _apart(records, part.raised):
                self._fold_facts(part, some)
        if before is not None:
            last = min(part.log_start, records[0].offset) - 1
            self._log.error("%s: offsets %d to %d were deleted before they were read", part.source, part.applied, last)
            part.marks.lose_all(before[0], part.marks.reached()[1])

    def wake(self, part: Partition) -> bool:
        """A step over nothing, after a take-over: some of what watermarks have closed meanwhile is judged.  True: there is more."""
        if part.stage.takes != "facts":
            return False
        self._tell_aside(part)
        self._settle(part, (), self._step(part, [], ()))
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
            part.state = state
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
        if raised == len(records) >= SINGLES_MIN and not _known(part.raised, records):
            raise self._raised(part, records) from first
        return outcomes

    # --- facts

    def _fold_facts(self, part: Partition, records: Sequence[Record]) -> None:
        facts: list[Fact] = []
        broken: list[Outcome] = []
        aside = part.raised.aside if part.raised is not None else ()
        for record in records:
            try:
                if record.key in part.cases.aside:
                    broken.append(Rejected(record.offset, ErrorCode.STEP_RAISED, "the step raised twice at its case, which is set aside"))
                elif aside and _digest(record) in aside:
                    broken.append(Rejected(record.offset, ErrorCode.STEP_RAISED, "the step raised twice at this fact"))
                elif record.key is None:
                    part.marks.hear(decode_vector(record.value or b""))
                else:
                    facts.append(decode_fact(record.value or b""))
            except msgspec.MsgspecError as error:
                broken.append(Rejected(record.offset, ErrorCode.DECODE_ERROR, str(error)))
        self._settle(part, records, [*self._step(part, facts, records), *broken])

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
        record = next((record for record in records if record.offset == outcome.offset), None)
        if record is None:
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

    def _raised(self, part: Partition, records: Sequence[Record]) -> TrainwatchError:
        where = f"{part.source}, offsets {_span(records)}, applied {part.applied}"
        return StepRaised(f"stage {part.stage.name} raised at {where}", part, records)


def _known(raised: Raised | None, records: Sequence[Record]) -> bool:
    """Did it raise among these in a former life?"""
    return raised is not None and raised.lo <= records[-1].offset and records[0].offset < raised.hi


def _apart(records: Sequence[Record], raised: Raised | None) -> Iterator[Sequence[Record]]:
    """The batch in pieces: what raised in a former life one by one, the rest together."""
    if raised is None or not _known(raised, records):
        yield records
        return
    for suspect, some in groupby(records, lambda record: raised.lo <= record.offset < raised.hi):
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
    """What is no record of the partition, said in the form of one."""
    return Record(topic=part.source.topic, partition=part.source.partition, offset=max(part.applied, 0), timestamp=0, key=key, value=value)


def _digest(record: Record) -> str:
    """Names a fact by what is asserted; empty for a vector."""
    return "" if record.key is None else digest(record.key, record.value or b"")


def _span(records: Sequence[Record]) -> str:
    return f"{records[0].offset} to {records[-1].offset}" if records else "none"
