"""What a job found out, as a value for JSON and as tables for people; ratios are medians of ratios within a round.

A machine that is slow for a while is slow for everybody in that round, so ratios are steadier than rates.
"""

import statistics
from collections.abc import Mapping, Sequence

import msgspec
from rich.table import Table

from pipeline.bench.running import Spent

OURS = "trainwatch"
ROUNDS_MIN = 3  # fewer have no median that says anything


class Measured(msgspec.Struct, frozen=True):
    """One run of one consumer, whose result was checked."""

    peer: str
    events: int
    cpu_seconds: float
    seconds: float
    peak_mib: float
    correct: float = 1.0  # share of the reference that was found; a wrong row or a doubled one is an error and ends the bench
    note: str = ""

    @classmethod
    def of(cls, peer: str, events: int, spent: Spent, correct: float = 1.0, note: str = "") -> "Measured":
        """From what the meter says."""
        return cls(peer, events, spent.cpu_seconds, spent.seconds, spent.peak_mib, correct, note)

    @property
    def per_cpu_second(self) -> float:
        return self.events / max(self.cpu_seconds, 1e-9)


class Requirement(msgspec.Struct, frozen=True):
    """A bound of the contract and what was measured."""

    what: str
    bound: float
    measured: float
    at_most: bool = False
    counts: bool = True  # towards the exit code: ratios do, absolute rates depend on the machine

    @property
    def reached(self) -> bool:
        return self.measured <= self.bound if self.at_most else self.measured >= self.bound


class Line(msgspec.Struct, frozen=True):
    """One consumer over all rounds: medians."""

    peer: str
    events: int
    events_per_cpu_second: float
    cpu_us_per_event: float
    events_per_second: float
    peak_mib: float
    correct: float
    ours_to_it: float | None = None  # ratio of rates per CPU second, of the same rounds
    note: str = ""
    rounds: int = ROUNDS_MIN

    @property
    def name(self) -> str:
        """Of whom it tells, and of how few rounds."""
        few = f" ({self.rounds} round{'s' if self.rounds > 1 else ''})" if self.rounds < ROUNDS_MIN else ""
        return f"{self.peer}{few}"


class Delay(msgspec.Struct, frozen=True):
    """How long one consumer keeps a record from being seen."""

    peer: str
    p50_seconds: float
    p99_seconds: float
    largest_seconds: float

    @classmethod
    def of(cls, peer: str, seconds: Sequence[float]) -> "Delay":
        """Of all records."""
        found = sorted(seconds)
        p50, p99 = (found[min(int(len(found) * share), len(found) - 1)] for share in (0.5, 0.99))
        return cls(peer, p50, p99, found[-1])


class JobReport(msgspec.Struct, frozen=True, kw_only=True):
    """One job."""

    job: str
    title: str
    load: str
    lines: list[Line] = []
    rounds: list[list[Measured]] = []
    delays: list[Delay] = []  # of the same load, ours first
    figures: dict[str, float] = {}  # latencies and others that are not rates
    details: dict[str, dict[str, float]] = {}  # figures by name, too many for a table
    requirements: list[Requirement] = []
    left_out: list[str] = []  # peers that are not installed
    reached: bool = True

    def judged(self, requirements: Sequence[Requirement]) -> "JobReport":
        """With requirements, and whether all that count are reached."""
        reached = all(each.reached for each in requirements if each.counts)
        return msgspec.structs.replace(self, requirements=[*requirements], reached=reached)


def lines(rounds: Sequence[Sequence[Measured]]) -> list[Line]:
    """Medians over rounds, ours first."""
    runs: dict[str, list[Measured]] = {}
    for results in rounds:
        for each in results:
            runs.setdefault(each.peer, []).append(each)
    ours = runs.get(OURS, [])
    found = []
    for peer, some in sorted(runs.items(), key=lambda item: (item[0] != OURS, item[0])):
        rate = statistics.median(each.per_cpu_second for each in some)
        ratio = None
        if peer != OURS and len(ours) == len(some):
            ratio = statistics.median(mine.per_cpu_second / theirs.per_cpu_second for mine, theirs in zip(ours, some, strict=True))
        found.append(
            Line(
                peer,
                some[0].events,
                rate,
                1e6 / rate,
                statistics.median(each.events / each.seconds for each in some),
                max(each.peak_mib for each in some),
                min(each.correct for each in some),
                ratio,
                some[0].note,
                len(some),
            )
        )
    return found


def demand(found: Sequence[Line], rate: float, ratios: Mapping[str, float]) -> list[Requirement]:
    """The requirements of a job with a rate of ours and ratios against peers; peers that did not run are left out."""
    known = {line.peer: line for line in found}
    demands = [Requirement("events per CPU second", rate, known[OURS].events_per_cpu_second, counts=False)]
    for peer, bound in ratios.items():
        if peer in known and (ratio := known[peer].ours_to_it) is not None:
            demands.append(Requirement(f"x {peer}", bound, ratio))
    return demands


def tables(report: JobReport) -> list[Table]:
    """For people."""
    found = []
    if report.lines:
        names = ("consumer", "events", "events/CPU s", "CPU us/event", "events/s", "peak MiB", "correct", "ours is")
        table = _table(f"{report.title}: {report.load}", names)
        for line in report.lines:
            ratio = "" if line.ours_to_it is None else f"{line.ours_to_it:.2f} x"
            cells = (
                f"{line.events:,}",
                f"{line.events_per_cpu_second:,.0f}",
                f"{line.cpu_us_per_event:.2f}",
                f"{line.events_per_second:,.0f}",
            )
            table.add_row(line.name, *cells, f"{line.peak_mib:.0f}", f"{line.correct:.2%}", ratio)
        found.append(table)
    if report.delays:
        table = _table("the same of peers: bare JSON records, 1 s flush", ("consumer", "p50 s", "p99 s", "max s"))
        for delay in report.delays:
            table.add_row(delay.peer, f"{delay.p50_seconds:.2f}", f"{delay.p99_seconds:.2f}", f"{delay.largest_seconds:.2f}")
        found.append(table)
    if report.figures:
        table = _table(report.title if not report.lines else "figures", ("figure", "value"))
        for name, value in report.figures.items():
            table.add_row(name, f"{value:,.3f}")
        found.append(table)
    if report.requirements:
        table = _table("required", ("what", "bound", "measured", ""))
        for each in report.requirements:
            table.add_row(each.what, f"{'<=' if each.at_most else '>='} {each.bound:,g}", f"{each.measured:,.4g}", _word(each))
        found.append(table)
    return found


def _word(each: Requirement) -> str:
    if each.reached:
        return "reached"
    return "NOT reached" if each.counts else "not reached on this machine"


def _table(title: str, columns: Sequence[str]) -> Table:
    table = Table(title=title, title_justify="left")
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number == 0 else "right", no_wrap=True)
    return table
