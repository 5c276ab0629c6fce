"""What an investigator says of a finding in; a row that stays, and how often each detector is right, out.

    true      it was interference            false     it never happened so
    benign    it happened, and was harmless because of an explanation that detectors know by name

Holds: rows are only ever added; the newest of a finding counts, and the older ones stay readable; whoever labels stands in the custody log
as whoever exports does, written first, so that there is no label without its entry.
"""

import difflib
from collections.abc import Iterable, Mapping
from enum import StrEnum
from functools import cache
from typing import TYPE_CHECKING
from uuid import UUID

import msgspec

from pipeline import __version__
from pipeline.detect.chance import wilson
from pipeline.errors import ConfigError, require
from pipeline.model.identity import Directory
from pipeline.model.operator import person_of
from pipeline.sink import evidence
from pipeline.sink.evidence import Custody

if TYPE_CHECKING:
    from pipeline.settings import Settings
    from pipeline.sink.clickhouse import Database

PREFIX_MIN = 6  # of an id: as many digits as people type
FOUND_MAX = 20
NOTE_MAX = 2000
NAME_MAX = 100

QUALITY = """
SELECT detector, findings, alerts, labelled, true_findings, false_findings, benign_findings FROM {db}.detector_quality ORDER BY detector
"""
# Of a finding that went meanwhile the label stays, under what was noted with it.
HISTORY = """
SELECT finding_id, toUnixTimestamp64Milli(at), account, on_behalf_of, label, because, note, detector, revision FROM {db}.labels
WHERE (%(finding)s = '' OR finding_id = %(finding)s) ORDER BY at DESC, label_id LIMIT %(limit)s
"""
FINDING = "SELECT finding_id, detector, detector_version, revision FROM {db}.findings_current WHERE "
BEGUN = FINDING + "startsWith(finding_id, %(prefix)s) ORDER BY finding_id LIMIT %(limit)s"
EXACTLY = FINDING + "finding_id IN %(ids)s"
NOTED = "SELECT 1 FROM {db}.labels WHERE finding_id = %(finding)s AND label_id = toUUID(%(label)s) LIMIT 1"


class Word(StrEnum):
    """What can be said."""

    TRUE = "true"
    FALSE = "false"
    BENIGN = "benign"


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody says of a finding."""

    finding: str
    label: Word
    account: str  # who says it
    because: str = ""  # of a benign one: the explanation, by the name that detectors use
    note: str = ""
    on_behalf_of: str = ""


class Labelled(msgspec.Struct, frozen=True):
    """A finding, as far as a label needs it."""

    finding_id: str
    detector: str
    detector_version: int
    revision: int


class Label(msgspec.Struct, frozen=True):
    """One row of `labels`."""

    finding_id: str
    time: int  # UTC ms, by the clock of the server
    account: str
    on_behalf_of: str
    label: str
    because: str
    note: str
    detector: str
    revision: int


class Quality(msgspec.Struct, frozen=True):
    """What people said of a detector's findings."""

    detector: str
    findings: int
    alerts: int
    labelled: int
    true: int
    false: int
    benign: int

    @property
    def precision(self) -> float | None:
        """True ones among the labelled; None without labels."""
        return self.true / self.labelled if self.labelled else None

    @property
    def bounds(self) -> tuple[float, float]:
        """Between which the precision lies, 95 % (Wilson 1927): three of three is not certainty."""
        return wilson(self.true, self.labelled)


def find(database: "Database", prefix: str) -> list[Labelled]:
    """Findings whose id begins so.  Raises ConfigError on a prefix that is too short to mean one."""
    if len(prefix) < PREFIX_MIN:
        raise ConfigError(f"{prefix!r} is too short for an id", advice=f"Give at least its first {PREFIX_MIN} digits.")
    return [Labelled(*row) for row in database.query(BEGUN, {"prefix": prefix, "limit": FOUND_MAX})]


def exactly(database: "Database", ids: Iterable[str]) -> list[Labelled]:
    """Findings with these whole ids, as far as they are there."""
    return [Labelled(*row) for page in evidence.pages(list(ids)) for row in database.query(EXACTLY, {"ids": page})]


def refusal(said: Said, detector: str = "") -> str:
    """Why it is not a label, for whoever said it; empty: it is one.  `detector`: whose finding it is of, once that is known."""
    if (said.label is Word.BENIGN) != bool(said.because):
        return "benign needs an explanation, the others none"
    known = explanations(detector)
    if said.because and said.because not in known:
        shown = known if detector else difflib.get_close_matches(said.because, known, n=3) or known
        whose = f"{detector} knows" if detector else "detectors know"
        return f"{said.because!r} is no explanation that {whose}; known are {', '.join(shown)}"
    if len(said.note) > NOTE_MAX or max(len(said.account), len(said.on_behalf_of)) > NAME_MAX:
        return f"a note takes {NOTE_MAX} characters, a name {NAME_MAX}"
    return ""


@cache
def explanations(detector: str = "") -> tuple[str, ...]:
    """Names under which a detector knows what is harmless; those of all, where none is named or this release has none of that name."""
    from pipeline.detect.detector import registry  # noqa: PLC0415  it imports all detectors, which `--help` needs not

    asked = [each.meta for each in registry() if each.meta.id == detector] or [each.meta for each in registry()]
    return tuple(sorted({each.__name__ for meta in asked for each in meta.benign}))


def custody_of(said: Said, finding: Labelled, account: str, time: int) -> Custody:
    """The entry of the log that belongs to it."""
    return Custody(time, account, "labelled", finding.finding_id, _words(said))


def _words(said: Said) -> str:
    because, on_behalf_of = said.because and f"because {said.because}", said.on_behalf_of and f"for {said.on_behalf_of}"
    return " ".join(filter(None, (said.label.value, because, on_behalf_of)))


def person(settings: "Settings", said: Said, custody: Custody) -> str:
    """Whose account it is that labels, else for whom it says that it does, as incidents name people; empty: neither is in the map, or its
    pseudonym would stand beside it."""
    if settings.privacy.pseudonyms:
        return ""
    directory = Directory([entry.identity() for entry in settings.identities])
    return person_of(directory, custody.account, custody.time) or person_of(directory, said.on_behalf_of, custody.time)


def add(
    database: "Database",
    finding: Labelled,
    said: Said,
    custody: Custody,
    *,
    person: str = "",
    more: Mapping[str, object] | None = None,
) -> None:
    """Note who says it, then say it.  `person`: whose account it is, if that is known; `more`: columns that the server would fill in."""
    why = refusal(said, finding.detector)
    require(not why, why)
    evidence.note(database, custody)
    row: dict[str, object] = {
        "finding_id": finding.finding_id,
        "account": custody.account,
        "person": person,
        "on_behalf_of": said.on_behalf_of,
        "label": said.label.value,
        "because": said.because,
        "note": said.note,
        "detector": finding.detector,
        "detector_version": finding.detector_version,
        "revision": finding.revision,
        "software": __version__,
        **(more or {}),
    }
    database.insert("labels", {name: [value] for name, value in row.items()}, async_insert=0)


def give_up(database: "Database", said: Said, account: str, time: int, why: str) -> None:
    """Put on record that a label was not noted; whoever said it may say it again."""
    evidence.note(database, Custody(time, account, "not labelled", said.finding, f"{_words(said)}: {why}"))


def is_noted(database: "Database", finding: str, label_id: UUID) -> bool:
    """Whether a label of this id stands."""
    return bool(database.query(NOTED, {"finding": finding, "label": str(label_id)}))


def history(database: "Database", finding: str = "", *, limit: int = 100) -> list[Label]:
    """All labels, or those of one finding; the newest first."""
    return [Label(*row) for row in database.query(HISTORY, {"finding": finding, "limit": limit})]


def quality(database: "Database") -> list[Quality]:
    """Per detector that found anything."""
    return [Quality(*row) for row in database.query(QUALITY)]
