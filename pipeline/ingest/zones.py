"""Event times and when their lines were collected in; sources whose clock seems to be read in a wrong zone out.

Most cluster logs write local time without zone, so a wrong zone in the settings moves every line of a source by the same whole number of
quarter-hours, and nothing else does: a backlog is read faster than it was written, so its delay shrinks; batches come with all delays up
to their interval; a clock that is off is off by anything.

    collected   12:00:02   12:07:31   12:20:01   12:31:10        zone of the settings UTC
    the line's  20:00:01   20:07:30   20:20:00   20:31:09        every one 8 h ahead: a clock of UTC+8

What is seen counts only where it would make a zone that exists: a steady delay of a quarter of an hour does not.  A shipper that stays
behind by whole hours, to the minute, cannot be told from a wrong zone.

Counted per kind of clock (family, host or file, zone) and window of collected time: how many lines were a whole number of quarter-hours
off, less a small delay, and how many were off by anything else.  Only a sample of lines is looked at, chosen by their digest; lines that
tell no time of their own are not.  A suspicion needs enough lines over a good part of an hour of which nearly all agree.  It is told,
and nothing is corrected: which zone it is, only people know, and decoding must stay a function of record and settings.  Nor are lines
looked at that anybody may have sent, where the family has an authenticated topic.

A training log may hold two clocks, and then its own lines tell, however late it is shipped: MLPerf's records are in UTC, what Slurm and
MLPerf's run scripts write beside them is local.

    :::MLLOG {"time_ms": 1772452841318, ..                              12:00:41 UTC      the last of the file
    slurmstepd: error: *** STEP 7.0 ON .. CANCELLED AT 2026-03-02T20:00:52 ***            11 s behind it, and 8 h

A file counts once for each kind of local line.  Work that was silent for long before it was cancelled gives no whole number of
quarter-hours, or one that other files do not give: PAIRS_MIN must agree.

Holds: the same lines in any order give the same counts, of pairs where the lines of a file keep their order; bounded; not part of what
survives a restart, since nothing is judged by it.
"""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import msgspec

QUARTER_MS = 900_000
EARLY_MS = 30_000  # a line's clock may be this much ahead of its shipper's
DELAY_MS = 120_000  # a punctual shipper is at most this late
QUARTERS_MAX = 27 * 4  # zones are at most 26 hours apart
WINDOW_MS = 12 * 3_600_000  # of collected time; two are kept
LINES_MIN = 8  # in the sample
SPAN_MS = 1_800_000  # of collected time that they must cover
AGREEING = 0.9
CLOCKS_MAX = 4_096
SAMPLED_BELOW = "2"  # of the digest's first hex digit: one line in eight
PAIRS_MIN = 3
FILES_MAX = 1_024  # of which pairs are looked for at once
OTHER = 1 << 20  # in the place of quarter-hours: off by no whole number of them
# Places for every offset that there is, to name zones that people know.  An offset of none of them is not a zone but a delay.
PLACES = (
    "UTC", "Europe/London", "Europe/Berlin", "Europe/Helsinki", "Europe/Istanbul", "Asia/Dubai", "Asia/Tehran", "Asia/Kabul",
    "Asia/Kolkata", "Asia/Kathmandu", "Asia/Dhaka", "Asia/Yangon", "Asia/Bangkok", "Asia/Shanghai", "Asia/Singapore", "Asia/Tokyo",
    "Asia/Seoul", "Australia/Adelaide", "Australia/Sydney", "Australia/Eucla", "Pacific/Auckland", "Pacific/Chatham",
    "Pacific/Honolulu", "America/Anchorage", "America/Los_Angeles", "America/Denver", "America/Chicago", "America/New_York",
    "America/Halifax", "America/St_Johns", "America/Sao_Paulo", "Atlantic/Azores", "America/Noronha", "Atlantic/Cape_Verde",
    "Pacific/Pago_Pago", "Pacific/Marquesas", "Asia/Karachi", "Australia/Brisbane", "Australia/Darwin", "Australia/Lord_Howe",
    "Pacific/Noumea", "Pacific/Fiji", "Pacific/Gambier", "Pacific/Tongatapu", "Pacific/Kiritimati",
)  # fmt: skip


class WrongZone(msgspec.Struct, frozen=True, order=True):
    """A suspicion."""

    topic: str
    source: str  # family
    where: str  # host, or file where no host is known
    zone: str  # by which its times were read
    ahead_minutes: int  # of what stands `beside` them; negative: behind
    likely: str  # UTC+08:00
    examples: tuple[str, ...]  # IANA zones of that offset at the time
    lines: int  # of the sample
    share: float  # of them that agree
    beside: str = "their collection"

    @property
    def text(self) -> str:
        """One line for people."""
        hours, minutes = divmod(abs(self.ahead_minutes), 60)
        off = f"{hours}:{minutes:02d} h {'ahead of' if self.ahead_minutes > 0 else 'behind'} {self.beside}"
        return (
            f"{self.topic}: times of {self.source} on {self.where or 'an unknown host'} are {off} ({self.lines} lines looked at, "
            f"{self.share:.0%} agree): read as {self.zone}, likelier {self.likely} ({', '.join(self.examples)}); set the source's zone"
        )


class _Window:
    """Lines of one clock that were collected in one window."""

    __slots__ = ("counts", "first", "last")

    def __init__(self) -> None:
        self.counts: dict[int, int] = {}  # quarter-hours ahead, or OTHER -> lines
        self.first, self.last = 1 << 62, 0  # collected times


class _TwoClocks:
    """Of one file: its last record in UTC, and times of local lines before the first one."""

    __slots__ = ("local", "paired", "utc")

    def __init__(self) -> None:
        self.utc = 0
        self.local: dict[str, int] = {}  # kind of line -> time
        self.paired: set[str] = set()


Clock = tuple[str, str, str]  # family, host or file, zone


class Zones:
    """All clocks of one input partition."""

    def __init__(self) -> None:
        self._clocks: dict[Clock, dict[int, _Window]] = {}
        self._files: dict[tuple[Clock, str], _TwoClocks] = {}
        self._pairs: dict[Clock, dict[int, int]] = {}  # quarter-hours ahead, or OTHER -> pairs
        self._paired_at: dict[Clock, int] = {}
        self.left_out = 0  # lines of further clocks

    def note(self, clock: Clock, event_time: int, collected: int) -> None:
        """A line of this clock, and when it was collected."""
        windows = self._clocks.get(clock)
        if windows is None:
            if len(self._clocks) >= CLOCKS_MAX:
                self.left_out += 1
                return
            windows = self._clocks[clock] = {}
        number = collected // WINDOW_MS
        window = windows.get(number)
        if window is None:
            if len(windows) > 1:
                oldest = min(windows)
                if number < oldest:
                    return
                del windows[oldest]
            window = windows[number] = _Window()
        off = _quarters(event_time - collected + DELAY_MS)
        window.counts[off] = window.counts.get(off, 0) + 1
        window.first, window.last = min(window.first, collected), max(window.last, collected)

    def note_utc(self, clock: Clock, file: str, time: int) -> None:
        """A record of this file that is in UTC, whatever the zone of the clock."""
        beside = self._two_clocks(clock, file)
        beside.utc = time
        for kind, local in beside.local.items():
            self._pair(clock, local - time + DELAY_MS, time)  # a run's start comes before its first record
            beside.paired.add(kind)
        beside.local.clear()

    def note_local(self, clock: Clock, file: str, kind: str, time: int) -> None:
        """A line of this file in local time, read in the zone of the clock, that comes soon after or before a record in UTC."""
        beside = self._two_clocks(clock, file)
        if kind in beside.paired:
            return
        if beside.utc:
            beside.paired.add(kind)
            self._pair(clock, time - beside.utc + EARLY_MS, beside.utc)
        else:
            beside.local.setdefault(kind, time)

    def _two_clocks(self, clock: Clock, file: str) -> _TwoClocks:
        known = self._files.get((clock, file))
        if known is None:
            if len(self._files) >= FILES_MAX:
                self._files.clear()
            known = self._files[clock, file] = _TwoClocks()
        return known

    def _pair(self, clock: Clock, ahead: int, at: int) -> None:
        if len(self._pairs) >= CLOCKS_MAX and clock not in self._pairs:
            self.left_out += 1
            return
        counts, off = self._pairs.setdefault(clock, {}), _quarters(ahead)
        counts[off] = counts.get(off, 0) + 1
        self._paired_at[clock] = max(at, self._paired_at.get(clock, 0))

    def suspects(self, topic: str) -> list[WrongZone]:
        """Clocks that seem to be read in a wrong zone, by the newest window that has enough lines."""
        return sorted(self._suspects(topic))

    def _suspects(self, topic: str) -> Iterator[WrongZone]:
        for (source, where, zone), windows in self._clocks.items():
            for number in sorted(windows, reverse=True):
                window = windows[number]
                lines = sum(window.counts.values())
                if lines < LINES_MIN or window.last - window.first < SPAN_MS:
                    continue
                off, count = max(window.counts.items(), key=lambda pair: (pair[1], pair[0]))
                if off not in (0, OTHER) and count >= AGREEING * lines:
                    suspect = _wrong_zone(topic, source, where, zone, off, window.last, lines, count / lines)
                    yield from [suspect] if suspect.examples else []
                break
        for (source, where, zone), counts in self._pairs.items():
            agreeing = {off: count for off, count in counts.items() if off != OTHER}  # a long silence disagrees with nothing
            off, count = max(agreeing.items(), key=lambda pair: (pair[1], pair[0]), default=(0, 0))
            if off and count >= max(PAIRS_MIN, AGREEING * sum(agreeing.values())):
                share, at = count / sum(agreeing.values()), self._paired_at[source, where, zone]
                suspect = _wrong_zone(topic, source, where, zone, off, at, sum(counts.values()), share)
                yield from [msgspec.structs.replace(suspect, beside="the records in UTC beside them")] if suspect.examples else []


def _quarters(ahead: int) -> int:
    """Whole quarter-hours, or OTHER where what is left over is more than the delays of a punctual shipper."""
    quarters, over = divmod(ahead, QUARTER_MS)
    return quarters if over <= DELAY_MS + EARLY_MS and -QUARTERS_MAX <= quarters <= QUARTERS_MAX else OTHER


def merged(suspects: Iterable[WrongZone]) -> list[WrongZone]:
    """One for each clock, of those that several partitions told of: the one with the most lines."""
    best: dict[tuple[str, str, str, str], WrongZone] = {}
    for each in suspects:
        key = (each.topic, each.source, each.where, each.zone)
        if key not in best or (each.lines, each) > (best[key].lines, best[key]):
            best[key] = each
    return sorted(best.values())


def _wrong_zone(topic: str, source: str, where: str, zone: str, quarters: int, at: int, lines: int, share: float) -> WrongZone:
    moment = datetime.fromtimestamp(at / 1000, UTC)
    read = moment.astimezone(ZoneInfo(zone)).utcoffset()
    minutes = (0 if read is None else round(read.total_seconds() / 60)) + quarters * 15
    hours, rest = divmod(abs(minutes), 60)
    examples = tuple(place for place in PLACES if _offset_minutes(place, moment) == minutes)
    likely = f"UTC{'-' if minutes < 0 else '+'}{hours:02d}:{rest:02d}"
    return WrongZone(topic, source, where, zone, quarters * 15, likely, examples, lines, round(share, 3))


def _offset_minutes(place: str, moment: datetime) -> int:
    offset = moment.astimezone(ZoneInfo(place)).utcoffset()
    return 0 if offset is None else round(offset.total_seconds() / 60)
