"""What a worker holds for one input partition: folded state, and the output that waits for the next checkpoint.

In: what the state log says, then records in offset order.  Out: at a checkpoint, a `Work`: rows, listed offsets, public outputs and state
records of one contiguous range.  No Kafka and no clock, so that the replay rules are held by a model in the tests:

    next batch [a, b), A = applied, open intent [A, hi)
    b <= A                previous: skip
    a < A < b             cut at A
    no intent             new
    b <= hi               held until hi is reached; never a part of a block
    b > hi                cut at hi: the same block again under its recorded token, the rest is new
    all b >= hi seen, other rows than the intent says      not reproducible: ask the sink what landed

Holds: rows of an open intent leave as one block or not at all; `applied` is behind all that is folded and ahead of nothing else.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from pipeline import __version__
from pipeline.errors import ErrorCode, StateIncompatible
from pipeline.model.ids import digest
from pipeline.model.instants import DAY_MS
from pipeline.model.outcome import ABSENT, OVERTAKEN, Observed, Publish, RangeRow, Record
from pipeline.model.sealed import Sealed
from pipeline.model.source import Source as Family
from pipeline.runtime.dead_letter import DeadLetter
from pipeline.runtime.state_log import LogReader, LogWriter, Write
from pipeline.runtime.state_record import META, RAISED, VERSION, Intent, Meta, Owner, Raised, TableIntent, key, pack
from pipeline.settings import Settings
from pipeline.stream.cases import Cases
from pipeline.stream.watermark import SEPARATOR, Marks
from pipeline.topology import Stage

ASIDE_MAX = 1000  # facts of one partition that its step does not bear, and suspects; the newest are kept
CASES_BYTES_MAX = 300_000  # of the keys of cases that it does not bear, 10,000 or so: twice that must fit into a record of the state
ENCODER_VERSION = 1  # of the rows; part of every token
Groups = dict[str, list[msgspec.Struct]]
Gap = tuple[int, int, str]  # [lo, hi) without records, and why


def offset_of(row: Any) -> int:
    """The source offset, which the rows of all tables carry."""
    offset: int = row.offset
    return offset


class Source(NamedTuple):
    """A partition of an input topic; equal to, and usable as, the clients' own pairs."""

    topic: str
    partition: int

    def __str__(self) -> str:
        return f"{self.topic}/{self.partition}"


def made_again(source: Source, reached: int, but: str) -> StateIncompatible:
    """A topic that is not the one that was read, as an error with advice; `but`: what shows it."""
    return StateIncompatible(
        f"{source}: read up to offset {reached}, but {but}: it was made again, or lost its newest records",
        advice="Begin it anew, without its state and the offsets of the group: deploy/runbooks/backup-and-restore.md.",
    )


class Work:
    """One partition's share of a checkpoint: all that was folded in [lo, hi)."""

    def __init__(self, source: Source, lo: int, hi: int, *, accounted: bool) -> None:
        self.source, self.lo, self.hi = source, lo, hi
        self.accounted = accounted  # the range is noted even when it has no rows
        self.rows: list[msgspec.Struct] = []
        self.written = 0
        self.listed: list[tuple[int, str]] = []
        self.dead_letters: list[DeadLetter] = []
        self.published: list[Publish] = []
        self.gaps: list[Gap] = []
        self.writes: list[Write] = []  # state records, meta last
        self.deletions: list[str] = []
        self.records: list[Record] = []  # of the range, where evidence is kept
        self.sealed: Sealed | None = None
        self.meta: Meta | None = None  # what the last write says
        self.groups: Groups = {}
        self.intent: Intent | None = None
        self.recovered = False  # the intent is of a former owner: its rows may have landed
        self.landed = False  # they have: nothing to insert
        self.noted = False  # and so has the row of the range, which knows more than we do when records of it were deleted since
        self.rooted = False  # and so has what it was sealed as, which knows all of it

    @property
    def overtaken(self) -> bool:
        """Has Kafka deleted records of it before we read them?"""
        return any(why == OVERTAKEN for _, _, why in self.gaps)

    @property
    def lost(self) -> list[tuple[int, int]]:
        """What of it nobody has read; who noted the range before us has told of that."""
        return [] if self.noted else [(lo, hi) for lo, hi, why in self.gaps if why == OVERTAKEN]

    @property
    def needs_intent(self) -> bool:
        """Something of this range must be found again after a crash: what was published of it, by judging the same facts again."""
        return bool(self.published) or self._leaves_rows or (self.accounted and self.hi > self.lo)

    @property
    def _leaves_rows(self) -> bool:
        return bool(self.rows or self.listed)

    def refuse(self, table: str, positions: Sequence[int]) -> list[int]:
        """Take the records of refused rows out of all tables that are not inserted yet; answers with their offsets."""
        refused = {position for position in positions if position < len(self.groups[table])}
        offsets = {offset_of(self.groups[table][position]) for position in refused}
        later = list(self.groups)[list(self.groups).index(table) :]
        for name in later:
            self.groups[name] = [row for row in self.groups[name] if offset_of(row) not in offsets]
        self.listed += [(offset, ErrorCode.INSERT_REFUSED.value) for offset in sorted(offsets)]
        self.written -= len(offsets)
        return sorted(offsets)

    def read_before(self, stored: Collection[int]) -> None:
        """These have rows: they were read before Kafka deleted them, and are not a gap."""
        gaps, self.gaps = self.gaps, []
        for lo, hi, why in gaps:
            at = lo
            for end in (*sorted(offset for offset in stored if lo <= offset < hi), hi):
                self.gaps += [(at, end, why)] if end > at else []
                at = end + 1

    def range_row(self, incarnation: str) -> RangeRow | None:
        """The audit row of the range."""
        if self.noted or self.intent is None or not (self._leaves_rows or self.accounted or self.intent.tables):
            return None
        rows, noted = [row for group in self.groups.values() for row in group], sum(table.rows for table in self.intent.tables.values())
        return RangeRow(
            topic=self.source.topic,
            partition=self.source.partition,
            incarnation=incarnation,
            lo=self.intent.lo,
            hi=self.intent.hi,
            rows=noted,
            offsets_written=self.intent.written,
            listed=tuple(sorted(self.listed)),
            settings_digest=self.intent.settings_digest,
            token=self.intent.token,
            gaps=tuple(self.gaps),
            row_offset_sum=sum(map(offset_of, rows)) if len(rows) == noted else 0,  # others may be there from before a crash
        )

    def seal(self, sealed: Sealed, owner: Owner) -> None:
        """What the range was sealed as: goes with its rows, and the chain's new head with its state."""
        self.sealed, self.records = sealed, []
        if self.meta is not None:
            self.meta = msgspec.structs.replace(self.meta, head=sealed.chain_head)
            self.writes[-1] = (key(META, owner), pack(self.meta))


class Partition:
    """One input partition while it is ours."""

    def __init__(self, source: Source, stage: Stage, settings: Settings, owner: Owner, read: LogReader | None = None) -> None:
        self.source, self.stage, self.owner = source, stage, owner
        self._settings = settings = settings.veiled()
        self.cases = read.cases if read else Cases()
        self._judge = f"{__version__}/{settings.digest()}"
        self.raised = read.raised if read and read.raised and read.raised.judge == self._judge else None  # in a former life
        self._noted = self.raised  # what the log says of it
        self.unborne = 0  # how many have raised in a row
        self.cases.aside = frozenset(self.raised.cases if self.raised else ())
        self.aside = frozenset(self.raised.aside if self.raised else ())  # digests of facts
        self.untold = self.raised.untold if self.raised else ()  # cases that were set aside, and are to be told as dead letters
        self.derive()
        self.saved: Meta | None = read.meta if read else None  # the last meta that the broker acknowledged
        self.applied = self.saved.applied if self.saved else -1  # next offset to fold
        self.intent = self.saved.intent if self.saved else None  # open on take-over: its rows may or may not have landed
        self.committed: int | None = None  # the last offset that we committed
        self.empty = False  # its topic partition has no records
        self._log = LogWriter(owner, read)
        self._settings_digest = settings.digest()
        self.rows: list[msgspec.Struct] = []
        self.written = 0
        self.listed: list[tuple[int, str]] = []
        self.dead_letters: list[DeadLetter] = []
        self.published: list[Publish] = []
        self.gaps: list[Gap] = []
        self.seals = False  # is evidence kept of it?
        self.records: list[Record] = []  # folded since the last checkpoint, then
        self.log_start = 0  # first offset that Kafka holds, as far as we heard
        self.lost_from: int | None = None  # collected time from which records are gone that were due in the batch at hand

    def derive(self) -> None:
        """Marks and state out of the cases."""
        time, kept = self._settings.time, self._settings.retention
        oldest = max(kept.job_days, kept.identity_days, kept.incident_days)  # of what may be judged again by what was not heard then
        keep_ms = oldest * DAY_MS
        self.marks = Marks(self.cases, time.coverage_bucket_seconds * 1000, self.stage.upstream, keep_ms)
        self.state: Any = self.stage.build(self._settings, self.cases)

    # --- taking over

    def adopt(self, first: int, end: int, incarnation: str, topic_id: str = "") -> Meta:
        """The meta to write under our own key: a copy of what we found, or the start of a new state at offset `first`.

        Its former owner, frozen, may still overwrite its own; the compaction lag keeps the good one until this copy is there.
        `end` is the end offset of the topic partition, `topic_id` what Kafka calls the topic itself, empty when it does not tell.  Raises
        StateIncompatible when the state is of another topic.

        What the former owner has spoken of must be spoken of again, even if the records that told of it were deleted since: the later
        stages wait for each family that a partition has ever named.  Its marks begin anew; silence moves them, to what was read.
        """
        for name in self.intent.families if self.intent else ():
            cluster, _, family = name.partition(SEPARATOR)
            self.marks.observe(Observed(cluster, Family(family), 0, ()), 0)
        self.log_start = first
        if self.saved is None:
            self.applied = first
            self.saved = Meta(VERSION, 0, first, incarnation)
        if end < self._reached:
            raise made_again(self.source, self._reached, f"the topic ends at {end}")
        if self.is_another(topic_id):
            raise made_again(self.source, self._reached, f"its id is {topic_id} now")
        if topic_id != self.saved.topic_id and topic_id:
            self.saved = msgspec.structs.replace(self.saved, topic_id=topic_id)
        return self.saved

    @property
    def _reached(self) -> int:
        return max(self.applied, self.intent.hi if self.intent else 0)

    def is_another(self, topic_id: str) -> bool:
        """Does this id name another topic than the one that was read?  Nothing was read of one that held nothing; no id says nothing."""
        return self.saved is not None and self._reached > 0 and "" != self.saved.topic_id != topic_id != ""

    @property
    def incarnation(self) -> str:
        """Names this life of the topic partition."""
        return self.saved.incarnation if self.saved else ""

    # --- folding

    @property
    def observes(self) -> bool:
        """Do the marks come from its own records?  Ingest: it speaks, and hears nobody."""
        return bool(self.stage.tells) and not self.stage.upstream

    @property
    def held(self) -> bool:
        """Not all records of the open intent are folded yet: nothing may leave."""
        return self.intent is not None and self.applied < self.intent.hi

    def cut(self, records: Sequence[Record]) -> tuple[Sequence[Record], Sequence[Record]]:
        """(records to fold now, the rest): without what is applied, split at the end of an open intent."""
        if records and records[0].offset < self.applied:
            records = [record for record in records if record.offset >= self.applied]
        if self.intent is None or not records or records[-1].offset < self.intent.hi:
            return records, []
        end = self.intent.hi
        return [record for record in records if record.offset < end], [record for record in records if record.offset >= end]

    def overtaken(self, records: Sequence[Record]) -> bool:
        """Has Kafka deleted records that were not folded yet, before these?"""
        return bool(records) and 0 <= self.applied < min(self.log_start, records[0].offset)

    def folded(self, now: Sequence[Record], rest: Sequence[Record]) -> None:
        """`now` is folded in full.  A rest means that no record below the end of the open intent can come any more."""
        if now:
            if now[-1].offset + 1 - self.applied != len(now):
                self._note_gaps(now)
            self.applied = now[-1].offset + 1
            self.records += now if self.seals else ()
        if rest and self.intent is not None and self.intent.hi > self.applied:
            if self.log_start > self.applied:
                self.lost_from = self.marks.reached()[0]
                # The checkpoint that closes the intent must keep it; the fold of the rest may know that it goes further.
                self.marks.lose_all(self.lost_from, rest[0].timestamp)
            self._note_gap(self.applied, self.intent.hi)
            self.applied = self.intent.hi

    def _note_gaps(self, records: Sequence[Record]) -> None:
        at = self.applied
        for record in records:
            if record.offset > at:
                self._note_gap(at, record.offset)
            at = record.offset + 1

    def _note_gap(self, lo: int, hi: int) -> None:
        """What lies before the start of the log was deleted unread, as far as we can tell; the rest never held a record."""
        deleted = min(max(self.log_start, lo), hi)
        self.gaps += [(lo, deleted, OVERTAKEN)] if deleted > lo else []
        self.gaps += [(deleted, hi, ABSENT)] if hi > deleted else []

    def raises_again(self, lo: int, hi: int, fact: str, case: bytes = b"", *, told: bool = True) -> Raised:
        """What to note when the step has raised at [lo, hi); `fact` is the digest of the only fact there, or empty.

        `case` is the one that it was at.  If it was told nothing of it there, no fact is to blame.  As noted before: nothing is.
        """
        before = self.raised or Raised(VERSION, 0, 0, judge=self._judge)
        suspects = before.suspects if lo <= before.hi else ()  # what was passed since then was no fault of the case
        known = before.lo <= lo and hi <= before.hi  # what is left of a former place may hold another one
        place = msgspec.structs.replace(before, suspects=suspects, **({} if known else {"lo": lo, "hi": hi}))
        if case and not told:
            if case in before.cases or len(case) + sum(map(len, before.cases)) > CASES_BYTES_MAX:
                return before  # none is let go: it would raise again, and take the place of the next one, for ever
            if case not in suspects:
                return msgspec.structs.replace(place, suspects=(*suspects, case)[-ASIDE_MAX:])
            return msgspec.structs.replace(
                place,
                suspects=tuple(each for each in suspects if each != case),
                cases=(*before.cases, case),
                untold=(*before.untold, case),
            )
        if fact and known:
            return msgspec.structs.replace(place, aside=(*before.aside, fact)[-ASIDE_MAX:])
        return place

    def bear(self, raised: Raised) -> None:
        """Go on without what is set aside, from the cases as they are."""
        fresh = tuple(case for case in raised.cases if case not in self.cases.aside)
        self.raised, self.untold = raised, (*self.untold, *fresh)
        self.cases.aside, self.aside = frozenset(raised.cases), frozenset(raised.aside)
        former = self.marks
        self.derive()
        self.marks.owe(former)

    @property
    def state_bytes(self) -> int:
        """What the state takes in its topic."""
        return self._log.size

    @property
    def buffered(self) -> int:
        """Things that wait for the checkpoint."""
        return max(len(self.rows), len(self.records)) + len(self.dead_letters) + len(self.published)

    # --- the checkpoint

    def snapshot(self) -> Work | None:
        """Swap out what was folded since the last one; None when there is nothing to do, or not yet.  No await inside."""
        if self.saved is None or self.held:
            return None
        work = Work(self.source, self.saved.applied, self.applied, accounted=self.stage.takes == "records")
        news = self.cases.take_news()
        if not (news or self.intent or self.published or self.dead_letters or work.hi > work.lo):
            return None
        work.rows, self.rows = self.rows, []
        work.written, self.written = self.written, 0
        work.listed, self.listed = self.listed, []
        work.dead_letters, self.dead_letters = self.dead_letters, []
        work.published, self.published = self.published, []
        work.gaps, self.gaps = self.gaps, []
        work.records, self.records = self.records, []
        writes, work.deletions = self._log.append(news, self.cases)
        saved = self.saved
        work.meta = Meta(VERSION, self._log.seq, self.applied, saved.incarnation, head=saved.head, topic_id=saved.topic_id)
        if self.raised is not None and (self.raised is not self._noted or self.raised.untold != self.untold):
            self.raised = self._noted = msgspec.structs.replace(self.raised, untold=self.untold)  # the dead letters leave with this work
            writes.append((key(RAISED, self.owner), pack(self.raised)))
        work.writes = [*writes, (key(META, self.owner), pack(work.meta))]
        return work

    def intend(self, work: Work, groups: Groups) -> bool:
        """Give the work its intent: the recorded one, or a new one.  False: the recorded one does not describe these rows."""
        work.groups = groups
        if self.intent is None:
            if work.needs_intent:
                work.intent = self._intent(work, {})
            return True
        work.intent, work.recovered = self.intent, True
        return self.as_intended(work)

    def as_intended(self, work: Work) -> bool:
        """Are these the rows of the open intent, as far as numbers tell?  Other offsets may have made as many."""
        if self.intent is None:
            return False
        counts = {table: len(rows) for table, rows in work.groups.items()}
        return work.written == self.intent.written and counts == {table: of.rows for table, of in self.intent.tables.items()}

    def reconcile(self, work: Work, landed: Mapping[str, int]) -> None:
        """The rows of the open intent came out otherwise this time, say with other settings; `landed` are those that are there.

        A table that has all its rows is done.  One that has none is intended anew under its old token, so that an insert of the dead
        process that arrives only now and ours exclude each other.  Raises StateIncompatible when one has some: no block could
        complete it.
        """
        intent = self.intent
        if intent is None:
            return
        done = {table: of for table, of in intent.tables.items() if landed.get(table, 0) == of.rows}
        work.groups = {table: rows for table, rows in work.groups.items() if table not in done}
        if len(done) == len(intent.tables):
            work.landed, work.groups = True, {}
        elif not any(landed.get(table, 0) for table in intent.tables if table not in done):
            anew = self._intent(work, {table: of.token for table, of in intent.tables.items()})
            work.intent = msgspec.structs.replace(anew, tables={**done, **anew.tables})
        else:
            raise StateIncompatible(
                f"{self.source}: offsets {intent.lo} to {intent.hi - 1} are written in part ({dict(landed)}), and their rows cannot be "
                f"made again as they were: settings digest {intent.settings_digest} then, {self._settings_digest} now",
                advice="Start the worker once with the settings and release of before, then with the new ones.",
            )

    def intend_again(self, work: Work) -> Write | None:
        """The meta that announces the same range with fewer rows, under its old tokens."""
        if work.intent is None or self.saved is None:
            return None
        tables = {name: TableIntent(len(work.groups.get(name, ())), of.token) for name, of in work.intent.tables.items()}
        work.intent = msgspec.structs.replace(work.intent, tables=tables, written=work.written)
        return key(META, self.owner), pack(msgspec.structs.replace(self.saved, intent=work.intent))

    def intent_write(self, work: Work) -> Write | None:
        """The meta that announces the rows of `work`; None when it is there already, or nothing leaves."""
        if work.intent is None or work.intent == self.intent or self.saved is None:
            return None
        return key(META, self.owner), pack(msgspec.structs.replace(self.saved, intent=work.intent))

    def durable(self, work: Work) -> None:
        """The broker has acknowledged all records of `work`."""
        self.saved, self.intent = work.meta, None

    def _intent(self, work: Work, tokens: Mapping[str, str]) -> Intent:
        lo, hi = (self.intent.lo, self.intent.hi) if self.intent else (work.lo, work.hi)
        token: Callable[[str], str] = lambda table: digest(  # noqa: E731  short, and used twice
            ENCODER_VERSION, self.incarnation, self.source.topic, self.source.partition, lo, hi, table
        )
        tables = {name: TableIntent(len(rows), tokens.get(name) or token(name)) for name, rows in sorted(work.groups.items())}
        root, software, count = (work.sealed.root, work.sealed.software, work.sealed.count) if work.sealed else ("", "", -1)
        whole = self.intent.token if self.intent else token("")
        families = tuple(sorted(self.marks.own_marks())) if self.observes else ()
        return Intent(lo, hi, tables, work.written, whole, self._settings_digest, root, software, families, count)
