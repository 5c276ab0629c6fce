"""Lines of sources that settings expect, and when they were collected, in; sources that fell under their rate out.

Absence means something only where a source was alive; a source that still says a little is easily taken for one that says all.  So
settings may state how many lines an hour each host of a source has at least (`sources[].expected_per_hour`), and the hours are counted:

    expected 60     hour      9      10      11      12
    gpu-001                  71      64      12       0      ->  11: 12 of 60     12: silent

Hours are those of collected time, so that a backlog, and a replay, fall into the hours in which they were shipped.  An hour is looked at
once it has been over for SETTLED_MS in the whole partition; the first hour of a host is never looked at, since it began before we
listened.  A host that was never heard is unknown here, but Prometheus sees that of a whole source (`trainwatch_source_lines`).

Lines are counted per partition.  With the host as the key of records, as the README advises, a host has one partition; without, `merged`
adds up what the partitions of one worker saw.

What anybody may send is no sign of life of a source that has an authenticated topic: whoever cuts a host off could hum in its place.

Holds: the same lines in any order give the same counts; bounded; not part of what survives a restart, since nothing is judged by it.
"""

from collections.abc import Iterable

import msgspec

from pipeline.model.instants import HOUR_MS

SETTLED_MS = 600_000  # shippers deliver this late
HOSTS_MAX = 20_000
HOURS_KEPT = 3
FORGOTTEN_HOURS = 7 * 24  # a host that was last heard so long ago is gone for good


class Heard(msgspec.Struct):
    """One host of one source."""

    first: int  # hour
    last: int
    counts: dict[int, int]  # hour -> lines, the newest hours


class Under(msgspec.Struct, frozen=True, order=True):
    """A host of a source that fell under its rate in the last hour that is over."""

    source: str  # name in the settings
    host: str
    lines: int
    expected: int
    hour: int  # its start, UTC ms
    last: int  # start of the hour in which it was last heard, UTC ms

    @property
    def text(self) -> str:
        """One line for people, with what to do."""
        what = f"source {self.source} on {self.host or 'an unknown host'}: {self.lines} lines in an hour, at least {self.expected} expected"
        return f"{what}; see whether its shipper runs, or lower expected_per_hour"


class Rates:
    """All sources of one partition of which settings expect a rate."""

    def __init__(self, expected: Iterable[tuple[str, int]]) -> None:
        self.expected: dict[str, int] = {}  # entries that share a name are one source
        for name, rate in expected:
            if rate:
                self.expected[name] = max(rate, self.expected.get(name, 0))
        self.heard: dict[tuple[str, str], Heard] = {}
        self.begun = self.newest = 0  # collected times between which the partition was read
        self.left_out = 0  # lines of further hosts

    def note(self, source: str, host: str, collected: int) -> None:
        """A line of a source that has a rate."""
        hour = collected // HOUR_MS
        heard = self.heard.get((source, host))
        if heard is None:
            if len(self.heard) >= HOSTS_MAX:
                self.left_out += 1
                return
            heard = self.heard[source, host] = Heard(hour, hour, {})
        counts = heard.counts
        counts[hour] = counts.get(hour, 0) + 1
        heard.first, heard.last = min(heard.first, hour), max(heard.last, hour)
        if len(counts) > HOURS_KEPT:
            del counts[min(counts)]

    def progress(self, first: int, newest: int) -> None:
        """Lines were read that were collected between these times, of whatever source."""
        if first > 0:
            self.begun = min(self.begun or first, first)
            self.newest = max(self.newest, newest)


def merged(parts: Iterable[tuple[Rates, int]]) -> tuple[list[Under], dict[str, int]]:
    """(hosts under their rate, source -> lines) in the last hour that is over in all partitions: each with how far time has come in it."""
    some = [(rates, newest) for rates, newest in parts if newest]
    if not some:
        return [], {}
    hour = (min(newest for _, newest in some) - SETTLED_MS) // HOUR_MS - 1
    if hour <= min(rates.begun for rates, _ in some) // HOUR_MS:
        return [], {}
    expected = {name: rate for rates, _ in some for name, rate in rates.expected.items()}
    lines = dict.fromkeys(expected, 0)
    together: dict[tuple[str, str], tuple[int, int, int]] = {}  # first and last hour, lines
    for rates, _ in some:
        for key, heard in rates.heard.items():
            first, last, count = together.get(key, (heard.first, heard.last, 0))
            told = heard.counts.get(hour, 0)
            together[key] = min(first, heard.first), max(last, heard.last), count + told
            lines[key[0]] += told
    under = [
        Under(source, host, count, expected[source], hour * HOUR_MS, last * HOUR_MS)
        for (source, host), (first, last, count) in together.items()
        if first < hour and count < expected[source] and hour - last < FORGOTTEN_HOURS
    ]
    return sorted(under), lines
