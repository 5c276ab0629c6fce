"""Scores of many periods in; one row per pattern with confidence intervals, and the bars that were reached, out.

Intervals are Wilson's, 95 %: counts are small, and rates near 0 and 1 matter (J. Am. Stat. Assoc. 22 (1927) 209).
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import ceil, floor, isfinite, sqrt
from statistics import median
from typing import Any

import msgspec

from pipeline.detect.chance import NORMAL_95, wilson
from pipeline.model.instants import HOUR_MS
from pipeline.score.incidents import RIGHT, WRONG, OfActor
from pipeline.score.seed import OfLookAlike, OfPattern, SeedScore

HIGH_RECALL = frozenset({"p01", "p02", "p03", "p04", "p05", "p06", "p07", "p08", "p11", "p12", "p17", "p18"})
RECALL_MIN, RECALL_MIN_OTHERS = 0.95, 0.8
FALSE_PER_BAD_END = 1e-4
FALSE_PER_WEEK = 1.0
INCIDENTS_MIN = 0.9


class Rate(msgspec.Struct, frozen=True):
    """k of n, with its interval."""

    k: int
    n: int

    @property
    def value(self) -> float | None:
        return self.k / self.n if self.n else None

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's."""
        return wilson(self.k, self.n)


def for_machines(value: object) -> Any:
    """A table, or a part of it, as plain values: each rate with its interval, `low` to `high`."""
    if isinstance(value, Rate):
        low, high = value.interval
        return {"k": value.k, "n": value.n, "value": value.value, "low": low, "high": high}
    if isinstance(value, msgspec.Struct):
        return {name: for_machines(getattr(value, name)) for name in value.__struct_fields__}
    if isinstance(value, tuple):
        return [for_machines(each) for each in value]
    return value


class Spread(msgspec.Struct, frozen=True):
    """Quantiles of a ratio: the least value that such a share does not exceed.  None: no bound, since what is divided by is nothing."""

    n: int
    tenth: float | None = None
    quarter: float | None = None
    median: float | None = None
    three_quarters: float | None = None
    nine_tenths: float | None = None

    @classmethod
    def of(cls, ratios: Iterable[float]) -> "Spread":
        """Without interpolation, which knows nothing of the infinite."""
        ordered = sorted(ratios)
        found = [ordered[ceil(share * len(ordered)) - 1] for share in (0.1, 0.25, 0.5, 0.75, 0.9)] if ordered else []
        return cls(len(ordered), *(round(each, 3) if isfinite(each) else None for each in found))


class IncidentTable(msgspec.Struct, frozen=True):
    """Incidents above the gate that stand for acts; fragments of these are counted apart."""

    incidents: int
    acts: int  # that stand in them
    fragments: int
    left_out: int  # acts that an alert found, and for which no incident stands
    leading: Rate  # the right person leads, of the attributable
    leaders: dict[str, int]  # of the attributable: right | borrowed | open | wrong
    actors: Rate  # of all who acted in them and can be told, those for the findings of whose acts they come first
    actors_together: Rate  # the same, where several acted in one incident
    named: Rate  # of the attributable; the others are withheld
    named_wrongly: int  # of all incidents, also fragments and what is below the gate
    loss_inside: Rate  # what was wasted lies between low and high
    width: Spread  # high / low
    middle_over_wasted: Spread  # where anything was wasted, as the next
    high_over_wasted: Spread  # how far the high reading goes beyond

    @property
    def reached(self) -> bool:
        """All bars, as far as there is anything to judge: whoever makes no incidents of what was found has reached none."""
        rates = [each.value for each in (self.leading, self.actors, self.loss_inside) if each.value is not None]
        return self.named_wrongly == self.left_out == 0 and all(rate >= INCIDENTS_MIN for rate in rates)


class Row(msgspec.Struct, frozen=True):
    """One pattern over all periods."""

    pattern: str
    recall: Rate
    seen: Rate
    named: Rate  # of the attributable
    precision: Rate
    false_per_million_records: float
    median_delay_hours: float | None
    false_at_risk: Rate = Rate(0, 0)  # false alerts of the events that could have begun one (at_risk.py)
    shown: Rate = Rate(0, 0)  # recall of the acts of which each source shows what it should: full telemetry
    delay_hours: tuple[float, float] | None = None  # between these the median delay lies, 95 %

    @property
    def bar(self) -> float:
        return RECALL_MIN if self.pattern in HIGH_RECALL else RECALL_MIN_OTHERS

    @property
    def reached(self) -> bool:
        """By the acts that all sources show; where there are none, as with a silent family, by all."""
        judged = self.shown if self.shown.n else self.recall
        return (judged.value or 0.0) >= self.bar


class LookAlikeRow(msgspec.Struct, frozen=True):
    """One kind of harmless things over all periods."""

    kind: str
    pattern: str  # whose acts it looks like
    alerted: Rate  # of those simulated, by an alert about it
    seen: Rate  # also below the gate


class ChecklistTable(msgspec.Struct, frozen=True):
    """What explanations acquitted, and what they left open (checked.py)."""

    acquitted: Rate  # attempts that failed or were cancelled and that no act harmed
    by: dict[str, int]
    not_acquitted: dict[str, int]  # by verdict
    harmed: dict[str, int]  # attempts that an act harmed, and a record acquits
    open: dict[str, int]
    taken_back: dict[str, int]
    told: Rate  # findings of detectors that read a silent family, which say so
    ended: dict[str, int]  # suspicions that an explanation ended before there was a finding


class TransportTable(msgspec.Struct, frozen=True):
    """What became of records on their way; planted, and noticed."""

    records: int
    duplicates: int
    broken: dict[str, int]
    held_back: dict[str, int]
    late: int  # events behind the mark of their source by more than grace
    dead_letters: dict[str, int]


class Table(msgspec.Struct, frozen=True):
    """All of it."""

    seeds: tuple[int, ...]
    days: float
    rows: tuple[Row, ...]
    false_on_jobs: Rate  # of attempts that failed or were cancelled
    false_per_week: float
    harmless_alerts: int  # of what somebody did without leave and without harm; not among the false ones
    named_wrongly: int
    fell_for: dict[str, int]
    verdicts: dict[str, dict[str, int]]
    incidents: IncidentTable
    look_alikes: tuple[LookAlikeRow, ...]
    checklist: ChecklistTable
    transport: TransportTable


def incident_table(scores: Sequence[SeedScore]) -> IncidentTable:
    """Over all periods."""
    everything = [each for score in scores for each in score.incidents]
    counted = [each for each in everything if each.counted]
    attributable = [each for each in counted if each.attributable]
    wasted = [each for each in counted if each.wasted > 0]
    acting = [(len(each.by_actor) > 1, actor) for each in counted for actor in each.by_actor if actor.attributable]
    return IncidentTable(
        incidents=len(counted),
        acts=sum(len(each.acts) for each in counted),
        fragments=sum(each.alert and not each.acts for each in everything),
        left_out=sum(map(_left_out, scores)),
        leading=Rate(sum(each.leader == RIGHT for each in attributable), len(attributable)),
        leaders=dict(sorted(Counter(each.leader for each in attributable).items())),
        actors=_led(actor for _, actor in acting),
        actors_together=_led(actor for together, actor in acting if together),
        named=Rate(sum(each.named == RIGHT for each in attributable), len(attributable)),
        named_wrongly=sum(each.named == WRONG for each in everything),
        loss_inside=Rate(sum(each.inside for each in counted), len(counted)),
        width=Spread.of(each.width for each in counted),
        middle_over_wasted=Spread.of(each.middle / each.wasted for each in wasted),
        high_over_wasted=Spread.of(each.high / each.wasted for each in wasted),
    )


def _led(actors: Iterable[OfActor]) -> Rate:
    leaders = [each.leader for each in actors]
    return Rate(leaders.count(RIGHT), len(leaders))


def _left_out(score: SeedScore) -> int:
    """At least: an act that only another pattern's alerts found may stand in an incident as well."""
    found = sum(each.found for each in score.patterns.values())
    return max(0, found - sum(len(each.acts) for each in score.incidents if each.counted))


def table_of(scores: Sequence[SeedScore]) -> Table:
    """Sums over periods, each counted once."""
    records = sum(each.records for each in scores) or 1
    days = sum(each.days for each in scores)
    rows = []
    for pattern in sorted({pattern for each in scores for pattern in each.patterns}):
        of = [each.patterns.get(pattern, OfPattern()) for each in scores]
        delays = [delay for each in of for delay in each.delays_ms]
        alerts, true = sum(each.alerts for each in of), sum(each.true for each in of)
        acts = sum(each.acts for each in of)
        rows.append(
            Row(
                pattern,
                Rate(sum(each.found for each in of), acts),
                Rate(sum(each.seen for each in of), acts),
                Rate(sum(each.named for each in of), sum(each.attributable for each in of)),
                Rate(true, alerts),
                round((alerts - true) * 1e6 / records, 3),
                round(median(delays) / HOUR_MS, 2) if delays else None,
                Rate(alerts - true, sum(each.at_risk for each in of)),
                Rate(sum(each.shown_found for each in of), sum(each.shown for each in of)),
                _hours_of_median(delays),
            )
        )
    verdicts: dict[str, Counter[str]] = {}
    for score in scores:
        for cause, counts in score.verdicts.items():
            verdicts.setdefault(cause, Counter()).update(counts)
    return Table(
        seeds=tuple(each.seed for each in scores),
        days=days,
        rows=tuple(rows),
        false_on_jobs=Rate(sum(each.false_on_jobs for each in scores), sum(each.ended_badly for each in scores)),
        false_per_week=round(sum(each.false_on_jobs for each in scores) * 7 / days, 3) if days else 0.0,
        harmless_alerts=sum(each.harmless_alerts for each in scores),
        named_wrongly=sum(len(each.named_wrongly) for each in scores),
        fell_for=dict(sum((Counter(each.fell_for) for each in scores), Counter())),
        verdicts={cause: dict(sorted(counts.items())) for cause, counts in sorted(verdicts.items())},
        incidents=incident_table(scores),
        look_alikes=tuple(_look_alikes(scores)),
        checklist=_checklist(scores),
        transport=_transport(scores),
    )


def _hours_of_median(delays_ms: Sequence[int]) -> tuple[float, float] | None:
    """Between which delays their median lies, 95 %, whatever their distribution: the ranks n/2 -+ 1.96 sqrt(n)/2, outwards.

    None: fewer than six were seen, of which no two bound it.  Conover, Practical Nonparametric Statistics, 3.2.
    """
    ordered, half = sorted(delays_ms), NORMAL_95 * sqrt(len(delays_ms)) / 2
    low, high = floor(len(ordered) / 2 - half), ceil(1 + len(ordered) / 2 + half)
    if low < 1 or high > len(ordered):
        return None
    return round(ordered[low - 1] / HOUR_MS, 2), round(ordered[high - 1] / HOUR_MS, 2)


def _look_alikes(scores: Sequence[SeedScore]) -> Iterator[LookAlikeRow]:
    for kind in sorted({kind for each in scores for kind in each.look_alikes}):
        of = [each.look_alikes.get(kind, OfLookAlike()) for each in scores]
        simulated, pattern = sum(each.simulated for each in of), max(each.pattern for each in of)
        alerted, seen = sum(each.alerted for each in of), sum(each.seen for each in of)
        yield LookAlikeRow(kind, pattern, Rate(alerted, simulated), Rate(seen, simulated))


def _checklist(scores: Sequence[SeedScore]) -> ChecklistTable:
    lists = [each.checklist for each in scores]
    by, others = _added(each.acquitted for each in lists), _added(each.not_acquitted for each in lists)
    right = sum(by.values())
    return ChecklistTable(
        acquitted=Rate(right, right + sum(others.values())),
        by=by,
        not_acquitted=others,
        harmed=_added(each.harmed for each in lists),
        open=_added(each.open for each in lists),
        taken_back=_added(each.taken_back for each in lists),
        told=Rate(sum(each.told for each in lists), sum(each.told_of for each in lists)),
        ended=_added(each.ended for each in lists),
    )


def _transport(scores: Sequence[SeedScore]) -> TransportTable:
    ways = [each.transport for each in scores]
    return TransportTable(
        records=sum(each.records for each in scores),
        duplicates=sum(each.planted.duplicates for each in ways),
        broken=_added(each.planted.broken for each in ways),
        held_back=_added(each.planted.late for each in ways),
        late=sum(each.late for each in ways),
        dead_letters=_added(each.dead_letters for each in ways),
    )


def _added(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """The most first."""
    total: Counter[str] = Counter()
    for each in counts:
        total.update(each)
    return dict(sorted(total.items(), key=lambda each: (-each[1], each[0])))
