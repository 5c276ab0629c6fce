"""An incident and what people noted in; which of its findings they labelled false or benign, and that in words, out.

The attribution weighs records alone, so that it names on whoever people have cleared: whoever tells the name tells this beside it.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from pipeline.incidents.report_text import day_and_time
from pipeline.model.incident import Incident
from pipeline.model.words import many

if TYPE_CHECKING:
    from pipeline.incidents.report import Entry

WHO_MAX = 3
OWN_CAUSE = "one of those who labelled goes by the name of the account that is named"
UNWEIGHED = "the attribution rests on records alone and does not weigh labels"


class Dismissed(NamedTuple):
    """How many findings people labelled false or benign, by the newest word on each, and how many there are."""

    findings: int
    of: int
    alerts: int  # above the gate
    of_alerts: int
    by: tuple[tuple[str, int], ...]  # who labelled, and when last, UTC ms; the latest first

    @property
    def whole(self) -> bool:
        """Does none above the gate stand?  Where none is: none at all."""
        return self.findings > 0 and (self.alerts == self.of_alerts if self.of_alerts else self.findings == self.of)

    def in_own_cause(self, named: str) -> bool:
        """Did the account itself that an incident names label some?  An operator is `account@host`, as the command found it."""
        return bool(named) and any(name.partition("@")[0] == named for name, _ in self.by)

    def acquits(self, named: str) -> bool:
        """Is nobody accused any more, by the word of others?"""
        return self.whole and not self.in_own_cause(named)

    def told(self) -> dict[str, Any]:
        """For machines."""
        return {**self._asdict(), "by": [{"operator": name, "at": at} for name, at in self.by], "whole": self.whole}

    def __str__(self) -> str:
        """What was labelled, by whom and when; text of people is not escaped."""
        who = ", ".join(f"{name}, {day_and_time(at)}" for name, at in self.by[:WHO_MAX])
        more = f", and {len(self.by) - WHO_MAX} more" if len(self.by) > WHO_MAX else ""
        above = f", {self.alerts} of the {self.of_alerts} above the gate" if self.of_alerts else ""
        return f"people labelled {self.findings} of {many(self.of, 'finding')} false or benign{above} (last {who}{more})"


def newest_labels(journal: "Sequence[Entry]") -> "dict[str, Entry]":
    """Of findings, by the beginning of their ids, the newest that people have said on each."""
    said = [each for each in journal if each.action == "label" and each.value.strip()]
    return {each.value.split()[0]: each for each in sorted(said, key=lambda each: each.at)}


def labels_of(journal: "Sequence[Entry]") -> dict[str, str]:
    """The same, by its word alone."""
    return {finding: (*each.value.split()[1:2], "")[0] for finding, each in newest_labels(journal).items()}


def dismissed(incident: Incident, journal: "Sequence[Entry]") -> Dismissed:
    """Of all its findings, those that are told by their ids alone included."""
    said, words = newest_labels(journal), labels_of(journal)
    alerts = {each.finding: each.alert for each in incident.members} | {each.finding: each.alert for each in incident.others}
    cleared = {finding: begun for finding in alerts for begun in words if finding.startswith(begun) and words[begun] != "true"}
    by: dict[str, int] = {}
    for entry in (said[begun] for begun in cleared.values()):
        by[entry.operator] = max(entry.at, by.get(entry.operator, entry.at))
    return Dismissed(
        findings=len(cleared),
        of=max(incident.findings, len(incident.members)),
        alerts=sum(alerts[finding] for finding in cleared),
        of_alerts=sum(count for _, _, count in incident.detectors) if incident.detectors else sum(alerts.values()),
        by=tuple(sorted(by.items(), key=lambda each: (-each[1], each[0]))),
    )
