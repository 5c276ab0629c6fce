"""An incident in; what a careful examiner would say of it first, and of what nobody knows, as sentences out.

    what was seen; who is named or not, and why; what it cost, low / middle / high; what is not known

Text from records is not escaped here: whoever prints it does that.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from pipeline.incidents.report_labels import UNWEIGHED, Dismissed
from pipeline.incidents.report_text import day_and_time, figures, ratio
from pipeline.loss.width import BETWEEN
from pipeline.model.finding import Status
from pipeline.model.incident import NONE, Incident
from pipeline.model.source import Source
from pipeline.model.words import many

WHOLE_HOURS = 100  # from so many on hundredths of an hour would be a precision that nothing behind them has
SOURCES_MAX = 3
REPLIES_MAX = 3
CLOCKS_MAX = 20
AHEAD_MS = 1000  # some shippers stamp whole seconds
_SILENT = re.compile(r"(.+?) was not heard on ")  # incidents/building.py
CLOCKS = (
    "Times are those of each host's own clock, and nothing here says how far one is off: records of two hosts that lie closer together "
    "than that may have come in the other order. A clock that is behind looks like a shipper that is slow."
)


def summary(incident: Incident, cleared: Dismissed, replied: Sequence[str]) -> list[str]:
    """Four sentences or so.  `replied`: who did, each once."""
    return [_seen(incident), _who(incident, cleared, replied), _cost(incident), _unknown(incident)]


def limits_of(incident: Incident, clocks: Mapping[str, int]) -> list[str]:
    """What is not known: by the incident, and of the clocks of whose lines are cited.  `clocks`: host -> ms ahead, at least."""
    ahead = sorted(clocks.items(), key=lambda each: (-each[1], each[0]))
    said = [f"The clock of {host} was ahead by {ms / 1000:,.3g} s at least: a cited line of it is from after it was collected."
            for host, ms in ahead[:CLOCKS_MAX]]  # fmt: skip
    more = [f"Clocks of {many(len(ahead) - CLOCKS_MAX, 'further host')} were ahead, by less."] if len(ahead) > CLOCKS_MAX else []
    return [*incident.limits, CLOCKS, *said, *more]


def clocks_of(lines: Iterable[tuple[str, int, int]]) -> dict[str, int]:
    """By how much clocks were ahead at least; of cited lines (host, when it says that it was, when it was collected; 0: nobody says)."""
    found: dict[str, int] = {}
    for host, time, collected in lines:
        if host and collected > 0 and time - collected >= AHEAD_MS:
            found[host] = max(found.get(host, 0), time - collected)
    return found


def _seen(incident: Incident) -> str:
    scope = incident.scope
    counts = incident.detectors or tuple((each.detector, 1, int(each.alert)) for each in incident.members)
    findings, alerts = sum(count for _, count, _ in counts), sum(alerts for _, _, alerts in counts)
    where = f"{many(scope.affected or len(scope.attempts), 'attempt')} of {many(scope.affected_users or len(scope.users), 'owner')}"
    return (
        f"Between {day_and_time(incident.first)} and {day_and_time(incident.last)}, {incident.title.partition(':')[0]}: "
        f"{many(findings, 'finding')}, {alerts} above the gate, on {where}."
    )


def _who(incident: Incident, cleared: Dismissed, replied: Sequence[str]) -> str:
    """Whom people have cleared is not accused here: what they labelled comes before the name, else right behind it."""
    said = incident.attribution
    labelled = f" But {cleared}; {UNWEIGHED}." if cleared.any else ""
    if not said.named:
        return f"Nobody is named. Why: {said.withheld}.{labelled.replace(' But p', ' And p')}"
    heard = _heard(said.named, replied)
    if cleared.whole:
        return f"Nobody is accused: {cleared}. That the account {said.named} is named is no conclusion any more: {UNWEIGHED}. {heard}"
    likely = (
        f"what was seen is {ratio(said.gap_low)} to {ratio(said.gap_high)} times as likely if its holder did it as by the nearest other "
        "explanation, by ratios of which most are assumptions. "
        if said.gap_low is not None and said.gap_high is not None
        else ""
    )
    return f"The account {said.named} is named: {likely}That is no finding of guilt.{labelled} {heard}"


def _heard(named: str, replied: Sequence[str]) -> str:
    if not replied:
        return "No reply is on record."
    more = f" and {len(replied) - REPLIES_MAX} more" if len(replied) > REPLIES_MAX else ""
    whose = "" if named in replied else ", for whoever is named or for another"
    who = f"{', '.join(replied[:REPLIES_MAX])}{more}{whose and f'{whose},'}"
    return f"{'Replies' if len(replied) > 1 else 'A reply'} of {who} {'are' if len(replied) > 1 else 'is'} on record."


def _cost(incident: Incident) -> str:
    loss = incident.loss
    if loss.direct_gpu_hours == NONE:
        return "No loss of GPU-hours could be worked out."
    money = f", {' / '.join(figures(loss.direct_money, 0))} {loss.currency}" if loss.currency else ""
    people = f"; people's time {' / '.join(figures(loss.indirect_money, 0))} {loss.currency}" if loss.indirect_money != NONE else ""
    hours = " / ".join(figures(loss.direct_gpu_hours, 0 if loss.direct_gpu_hours.high >= WHOLE_HOURS else 2))
    wide = next((each for each in loss.unknown if BETWEEN in each), "")  # a wide range must not be read without what it rests on
    return f"If the findings hold, it cost {hours} GPU-hours (low / middle / high){money}{people}.{wide and f' {wide}'}"


def _unknown(incident: Incident) -> str:
    parts = [*_open(incident), "whatever no source recorded"]
    return f"Not known is {'; '.join(parts[:-1])}{'; and ' if len(parts) > 1 else ''}{parts[-1]}."


def _open(incident: Incident) -> Iterator[str]:
    silent = [found[1] for line in incident.limits if (found := _SILENT.match(line))]
    if silent:
        more = f" and {len(silent) - SOURCES_MAX} more" if len(silent) > SOURCES_MAX else ""
        yield f"what happened while {', '.join(silent[:SOURCES_MAX])}{more} {'were' if len(silent) > 1 else 'was'} not heard"
    if untold := sum(each.amount for each in incident.scope.unjudged if (each.source, each.what) == (Source.PROBE, "attempts")):
        yield f"what {many(untold, 'attempt')} loaded"
    if incident.scope.unexplained:
        yield f"how {many(incident.scope.unexplained, 'attempt')} ended"
    if incident.status is not Status.FINAL:
        yield "what records of the time will say that may still come"
