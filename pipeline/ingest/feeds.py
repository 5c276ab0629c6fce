"""Which lines a format could read in; sources most of whose lines can no longer be read, and what is therefore not heard from them, out.

A line that a format knows as its own and cannot read is a gap of its family at once (step.py).  One that no format claims has no family:
as a rule it is of a daemon that nobody asked about; but it may be a whole audit log, because an update changed how it is written.  What
the source was before tells the two apart.

    feed      lines that one shipper sends of one file; digits of its name are left out, since files are rotated
    steady    of its first LEARNT lines nine in ten were read; a whole system log seldom is, and of such a feed nothing is concluded
    score     an unread line adds 100 - percent, a read one takes percent off, down to 0; more than an hour without an unread one: 0
    failing   a steady feed whose score has come to that of `records` unread lines in a row; until it is 0 again

    read      . . . x . . x x . x x x x x x x . . . . . .
    score     0 0 0 1 0 0 1 2 1 2 3 4 4 4 4 4 3 2 1 0 0 0        percent 50, records 3, in units of 50; it stops a little above
    failing                       # # # # # # # # #

From the first of these unread lines on, all families that were ever read in the feed are lost: they spoke, and nobody knows what they
said.  Where any user of the host may write to the feed, as to a system log, only the families that each host has for itself are lost:
otherwise a user could silence a family of the whole cluster by two lines of `logger` in another's name and some unreadable ones.  A feed
that has failed for a day and is read in part all the while is so by nature, and no longer steady.

Output of jobs is not a feed: whoever runs a job could blind everybody by printing.  For the same reason what any user of a host may write,
as to its system log, does not count where several feeds fail at once, which is our own fault (`together`).

Time is what two shippers agree on: the one whose clock is furthest ahead is not asked, unless it is alone.  Else one record from the future
would make all other feeds look silent, and forgotten.

Holds: the same lines in the same order give the same answer, cut into any batches, after any restart; FEEDS_MAX are remembered.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import lru_cache
from heapq import nlargest
from typing import NamedTuple

import msgspec

from pipeline.model.facts import Fact
from pipeline.model.ids import rank
from pipeline.model.instants import DAY_MS, HOUR_MS
from pipeline.model.source import FAMILIES, PER_HOST, Source
from pipeline.stream.cases import Cases

FEEDS = b"\x00feeds"  # reserved case: no subject's key begins with a zero byte
NEVER_KEPT = (b"", b"")
SEPARATOR = "\x1f"
FEEDS_MAX, HOST_FEEDS_MAX = 8_192, 64
LEARNT = 100  # lines by which a feed is known
UNREAD_MAX = 10  # of these, in a steady one
FORGOTTEN_DAYS = 30
CAP_PERCENT = 125  # of the score at which a feed fails: so many read lines, and it is heard again
BY_NATURE = 10  # a tenth is read
OPEN_TO_USERS = FAMILIES["training"] | {Source.SSHD, Source.KERNEL}  # by `logger`, or by printing
_DIGITS = re.compile(r"[0-9]+")


class Feed(msgspec.Struct, array_like=True):
    """What is known of one."""

    families: tuple[Source, ...] = ()  # read in it, ascending
    learnt: int = 0  # lines, up to LEARNT
    unread: int = 0  # of these
    day: int = 0  # when a line was read last
    score: int = 0
    since: int = 0  # UTC ms of collection: the first unread line after which the score was not 0 again
    last: int = 0  # the last one
    missed: int = 0  # unread since then
    read: int = 0  # read since then
    failing: bool = False

    @property
    def steady(self) -> bool:
        """Is it usually read?"""
        return self.learnt >= LEARNT and self.unread <= UNREAD_MAX

    @property
    def lost(self) -> tuple[Source, ...]:
        """Families that are lost with it: where any user may have written, those that are lost on this host alone."""
        return self.families if OPEN_TO_USERS.isdisjoint(self.families) else tuple(each for each in self.families if each in PER_HOST)


class Failing(NamedTuple):
    """A source most of whose lines cannot be read, for people."""

    cluster: str
    host: str
    sender: str
    families: tuple[str, ...]
    since: int  # UTC ms of collection
    last: int
    missed: int

    @property
    def text(self) -> str:
        """One line, with what to do."""
        what = f"{', '.join(self.families)} on {self.host or 'an unknown host'}: {self.missed} lines since it was last read cannot be read"
        return f"{what}; what it did not say there proves nothing. `trainwatch dlq list` shows them"


class Gap(msgspec.Struct):
    """What of a failing feed was not read in an hour of collection: at least this, for people."""

    cluster: str
    host: str
    file: str  # # for each number in its name
    families: tuple[Source, ...]
    hour: int  # UTC ms
    first: int
    last: int
    unread: int = 0


class Clock:
    """How far one shipper has come, UTC ms of collection."""

    __slots__ = ("time",)

    def __init__(self) -> None:
        self.time = 0


class Feeds:
    """Of one partition; what must survive is in its cases."""

    def __init__(self, cases: Cases, percent: int, records: int) -> None:
        self._cases, self._good, self._bad, self._fails_at = cases, percent, 100 - percent, records * (100 - percent)
        known = sorted(cases.of(FEEDS).items(), key=lambda entry: entry[1])
        self.known = {key: _decode(body) for key, (_, body) in known}
        self._count = int.from_bytes(known[-1][1][0], "big") if known else 0
        self._hosts = Counter(map(_owner, self.known))
        self._touched: dict[str, None] = {}
        self._noted: list[tuple[str, tuple[Source, ...], int, int, int]] = []  # in this batch
        self._gaps: dict[tuple[str, int], Gap] = {}
        self._untold: dict[tuple[str, int], None] = {}
        self.uneasy = {key for key, feed in self.known.items() if feed.score}
        self.clocks: dict[str, Clock] = {}  # sender -> how far it has come
        for key, feed in self.known.items():
            self._hear(key, max(feed.last, feed.day * DAY_MS))
        self.began = any(feed.failing for feed in self.known.values())  # some began to fail, and nobody looked yet

    def is_news(self, key: str, family: Source, collected: int) -> bool:
        """Does a line that was read say anything new of its feed?  Asked of each: seldom yes."""
        feed = self.known.get(key)
        return feed is None or feed.score > 0 or feed.learnt < LEARNT or feed.day < collected // DAY_MS or family not in feed.families

    def read(self, key: str, family: Source, collected: int) -> None:
        """A format read a line."""
        feed = self._feed(key)
        self._hear(key, collected)
        if collected - feed.last > HOUR_MS:
            self._calm(key, feed)
        feed.day = max(feed.day, collected // DAY_MS)
        if family not in feed.families:
            feed.families = tuple(sorted((*feed.families, family)))
        if feed.learnt < LEARNT:
            feed.learnt += 1
        if feed.score:
            feed.read += 1
            feed.score = max(feed.score - self._good, 0)
            if not feed.score:
                self._calm(key, feed)

    def unread(self, key: str, collected: int) -> tuple[tuple[Source, ...], int]:
        """Nobody could read a line: families that are lost by that, and since when (UTC ms).  None, where nothing is concluded."""
        feed = self._feed(key)
        self._hear(key, collected)
        if feed.learnt < LEARNT:
            feed.learnt, feed.unread = feed.learnt + 1, feed.unread + 1
        if not feed.steady:
            return (), 0
        if collected - feed.last > HOUR_MS:
            self._calm(key, feed)
        if not feed.score:
            self.uneasy.add(key)
            feed.since, feed.missed, feed.read = collected, 0, 0
        feed.last, feed.missed = max(feed.last, collected), feed.missed + 1
        feed.score = min(feed.score + self._bad, self._fails_at * CAP_PERCENT // 100)
        if feed.failing and feed.last - feed.since > DAY_MS and feed.read * BY_NATURE > feed.missed + feed.read:
            self._calm(key, feed)
            feed.unread = LEARNT
            return (), 0
        if feed.score < self._fails_at and not feed.failing:
            return (), 0
        if feed.failing:
            self._noted.append((key, feed.lost, collected, collected, 1))
            return feed.lost, collected
        feed.failing = self.began = True
        since = min(max(feed.since, feed.last - DAY_MS), collected)
        self._noted.append((key, feed.lost, since, collected, feed.missed))
        return feed.lost, since

    def begin(self) -> bool:
        """Before a batch.  True: the one before did not come to its end, and what it noted is taken back: its records come again."""
        taken_back = bool(self._touched)
        for key in self._touched:
            _, body = self._cases.of(FEEDS).get(key, NEVER_KEPT)
            self.uneasy.discard(key)
            if not body:
                self._forget(key)
                continue
            feed = self.known[key] = _decode(body)
            if feed.score:
                self.uneasy.add(key)
        self._touched.clear()
        self._noted.clear()
        return taken_back

    def keep(self) -> bool:
        """At the end of a batch.  True: some were forgotten."""
        for key in self._touched:
            self._count += 1
            feed = self.known[key] = self.known.pop(key)
            self._cases.merge(Fact(FEEDS, key, rank(self._count), _encode(feed)))
        self._touched.clear()
        for noted in self._noted:
            self._note(*noted)
        self._noted.clear()
        before, oldest = len(self.known), agreed([self]) // DAY_MS - FORGOTTEN_DAYS
        while self.known:
            key = next(iter(self.known))
            if len(self.known) <= FEEDS_MAX and self.known[key].day >= oldest:
                break
            self._forget(key)
            self._cases.drop(FEEDS, key)
        return len(self.known) < before

    def clock(self, sender: str) -> Clock:
        """Whoever reads its lines moves it."""
        clock = self.clocks.get(sender)
        if clock is None:
            clock = Clock()
            if len(self.clocks) < FEEDS_MAX:
                self.clocks[sender] = clock
        return clock

    def failing(self, now: int) -> Iterator[Failing]:
        """Those that fail, as far as this partition has come: no further than `now`, UTC ms."""
        now = min(now, max((clock.time for clock in self.clocks.values()), default=0))
        for key, feed in self.known.items():
            if feed.failing and now - feed.last <= HOUR_MS:
                _, cluster, host, sender, _ = key.split(SEPARATOR)
                families = tuple(family.value for family in feed.families)
                yield Failing(cluster, host, sender, families, feed.since, feed.last, feed.missed)

    def senders(self, now: int) -> Iterator[str]:
        """Of steady feeds that no user of a host may write to, and that were read on the day of `now` or the day before."""
        for key, feed in self.known.items():
            if feed.steady and feed.day >= now // DAY_MS - 1 and OPEN_TO_USERS.isdisjoint(feed.families):
                yield key.split(SEPARATOR)[3]

    def take_gaps(self) -> list[Gap]:
        """Those of which more is known than when they were taken last."""
        taken = [self._gaps[place] for place in self._untold]
        self._untold.clear()
        settled = agreed([self]) - 2 * HOUR_MS
        for place in [place for place in self._gaps if place[1] < settled]:
            del self._gaps[place]
        return taken

    def _note(self, key: str, families: tuple[Source, ...], first: int, last: int, unread: int) -> None:
        place = key, last - last % HOUR_MS
        gap = self._gaps.get(place)
        if gap is None:
            if len(self._gaps) >= FEEDS_MAX:
                return
            _, cluster, host, _, file = key.split(SEPARATOR)
            gap = self._gaps[place] = Gap(cluster, host, file, families, place[1], first, last)
        gap.first, gap.last, gap.unread = min(gap.first, first), max(gap.last, last), gap.unread + unread
        self._untold[place] = None

    def _forget(self, key: str) -> None:
        del self.known[key]
        self._hosts -= Counter([_owner(key)])
        self.uneasy.discard(key)

    def _calm(self, key: str, feed: Feed) -> None:
        feed.score = feed.missed = feed.read = feed.since = 0
        feed.failing = False
        self.uneasy.discard(key)

    def _hear(self, key: str, collected: int) -> None:
        clock = self.clock(key.split(SEPARATOR)[3])
        clock.time = max(clock.time, collected)

    def _feed(self, key: str) -> Feed:
        feed = self.known.get(key)
        if feed is None:
            feed, host = Feed(), _owner(key)
            if self._hosts[host] >= HOST_FEEDS_MAX:
                return feed  # whoever names files as he likes takes no place from others
            self._hosts[host] += 1
            self.known[key] = feed
        self._touched.pop(key, None)  # the newest stand last
        self._touched[key] = None
        return feed


@lru_cache(maxsize=FEEDS_MAX)
def feed_key(topic: str, cluster: str, host: str, sender: str, file: str) -> str:
    """Names a feed.  `sender`: the host that its shipper names; empty: whoever may write to the topic could have named any."""
    return SEPARATOR.join((topic, cluster, host, sender, _DIGITS.sub("#", file)))


def _owner(key: str) -> str:
    return key.rpartition(SEPARATOR)[0]


def agreed(parts: Iterable[Feeds]) -> int:
    """UTC ms of collection that two shippers have reached, or the only one; 0: none was heard."""
    times: dict[str, int] = {}
    for feeds in parts:
        for sender, clock in feeds.clocks.items():
            times[sender] = max(times.get(sender, 0), clock.time)
    return min(nlargest(2, times.values()), default=0)


def merged(parts: Iterable[Feeds], now: int) -> list[Failing]:
    """All that fail, the longest first.  No part has come further than `now`, UTC ms, whatever clocks its shippers have."""
    return sorted((each for feeds in parts for each in feeds.failing(now)), key=lambda each: (each.since, each))


def together(parts: Iterable[Feeds], hosts_min: int) -> list[str]:
    """Hosts whose feeds fail at one time, where that is at least `hosts_min` and half of all: no log author's doing.  Else none.

    Of what any user of a host may write nothing counts, and all that names no shipper counts as one.
    """
    now = agreed(parts := list(parts))
    closed = {family.value for family in OPEN_TO_USERS}
    failing = {each.sender for each in merged(parts, now) if closed.isdisjoint(each.families)}
    every = failing.union(*(feeds.senders(now) for feeds in parts))
    return sorted(failing) if hosts_min and len(failing) >= hosts_min and 2 * len(failing) >= len(every) else []


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Feed).decode
