"""An incident and what people noted in; which of its findings they labelled false or benign, and that in words, out.

The attribution weighs records alone, so that it names on whoever people have cleared: whoever tells the name tells this beside it.
Nobody acquits himself: the words of an account that is a candidate of the incident, or says that it speaks for one, are told, and not
counted.  Where its name is withheld its operator stands under its label here (`told_journal`).  SQL knows named accounts alone:
`dismissed_current`.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from pipeline.incidents.report_text import day_and_time
from pipeline.model.incident import Incident
from pipeline.model.operator import login_of, spoken_for
from pipeline.model.words import many

if TYPE_CHECKING:
    from pipeline.incidents.report import Entry

WHO_MAX = 3
UNWEIGHED = "the attribution rests on records alone and does not weigh labels"


class Dismissed(NamedTuple):
    """How many findings people labelled false or benign, by the newest word on each of others than candidates, and how many there are."""

    findings: int
    of: int
    alerts: int  # above the gate
    of_alerts: int
    by: tuple[tuple[str, int], ...]  # who labelled, and when last, UTC ms; the latest first
    by_candidates: int  # findings that whoever is a candidate himself labels so; not counted above

    @property
    def whole(self) -> bool:
        """Is nobody accused any more?  Does none above the gate stand; where none is: none at all."""
        return self.findings > 0 and (self.alerts == self.of_alerts if self.of_alerts else self.findings == self.of)

    @property
    def any(self) -> bool:
        """Is there something to tell?"""
        return self.findings + self.by_candidates > 0

    def as_dict(self) -> dict[str, Any]:
        """For machines."""
        return {**self._asdict(), "by": [{"operator": name, "at": at} for name, at in self.by], "whole": self.whole}

    def __str__(self) -> str:
        """What was labelled, by whom and when; text of people is not escaped."""
        own = (
            f"candidates themselves labelled {self.by_candidates} of {many(self.of, 'finding')} false or benign, which is not counted"
            if self.by_candidates
            else ""
        )
        if not self.findings:
            return own
        who = ", ".join(f"{name}, {day_and_time(at)}" for name, at in self.by[:WHO_MAX])
        more = f", and {len(self.by) - WHO_MAX} more" if len(self.by) > WHO_MAX else ""
        above = f", {self.alerts} of the {self.of_alerts} above the gate" if self.of_alerts else ""
        said = f"people labelled {self.findings} of {many(self.of, 'finding')} false or benign{above} (last {who}{more})"
        return f"{said}; {own}" if own else said


def apart(incident: Incident, journal: "Sequence[Entry]") -> "tuple[list[Entry], list[Entry]]":
    """What candidates of the incident noted, and what all others did.  An operator is the account or, of a candidate, what the incident
    calls him (`told_journal`), with the host or the topic behind it."""
    candidates = {each.who for each in incident.attribution.hypotheses} | {incident.attribution.named}
    own = [each for each in journal if {login_of(each.operator), spoken_for(each.operator)} & (candidates - {""})]
    return own, [each for each in journal if each not in own]


def newest_labels(journal: "Sequence[Entry]") -> "dict[str, Entry]":
    """Of findings, by the beginning of their ids, the newest that people have said on each."""
    said = [each for each in journal if each.action == "label" and each.value.strip()]
    return {each.value.split()[0]: each for each in sorted(said, key=lambda each: each.at)}


def labels_of(incident: Incident, journal: "Sequence[Entry]") -> dict[str, str]:
    """The same of others than the candidates, by its word alone."""
    _, others = apart(incident, journal)
    return {finding: _word(each) for finding, each in newest_labels(others).items()}


def _word(label: "Entry") -> str:
    return (*label.value.split()[1:2], "")[0]


def dismissed(incident: Incident, journal: "Sequence[Entry]") -> Dismissed:
    """Of all its findings, those that are told by their ids alone included."""
    own, others = apart(incident, journal)
    said = newest_labels(others)
    alerts = {each.finding: each.alert for each in incident.members} | {each.finding: each.alert for each in incident.others}
    cleared = _cleared(alerts, said)
    by: dict[str, int] = {}
    for entry in (said[begun] for begun in cleared.values()):
        by[entry.operator] = max(entry.at, by.get(entry.operator, entry.at))
    return Dismissed(
        findings=len(cleared),
        of=max(incident.findings, len(incident.members)),
        alerts=sum(alerts[finding] for finding in cleared),
        of_alerts=sum(count for _, _, count in incident.detectors) if incident.detectors else sum(alerts.values()),
        by=tuple(sorted(by.items(), key=lambda each: (-each[1], each[0]))),
        by_candidates=len(_cleared(alerts, newest_labels(own))),
    )


def _cleared(findings: Iterable[str], said: "Mapping[str, Entry]") -> dict[str, str]:
    """Findings labelled false or benign, with how the label writes them."""
    words = {begun: _word(entry) for begun, entry in said.items()}
    return {finding: begun for finding in findings for begun in words if finding.startswith(begun) and words[begun] != "true"}
