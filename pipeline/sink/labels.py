"""What an investigator says of a finding in; a row that stays, and how often each detector is right, out.

    true      it was interference            false     it never happened so
    benign    it happened, and was harmless because of an explanation that detectors know by name

Holds: rows are only ever added; the newest of a finding counts, and the older ones stay readable; whoever labels stands in the custody log
as whoever exports does, written first, so that there is no label without its entry.
"""

from collections.abc import Sequence
from enum import StrEnum

import msgspec

from pipeline import __version__
from pipeline.detect.chance import wilson
from pipeline.errors import ConfigError, require
from pipeline.sink import evidence
from pipeline.sink.clickhouse import Database
from pipeline.sink.evidence import Custody

PREFIX_MIN = 6  # of an id: as many digits as people type
FOUND_MAX = 20

QUALITY = """
SELECT detector, findings, alerts, labelled, true_findings, false_findings, benign_findings FROM {db}.detector_quality ORDER BY detector
"""
# Of a finding that went meanwhile the label stays, under what was noted with it.
HISTORY = """
SELECT finding_id, toUnixTimestamp64Milli(at), account, on_behalf_of, label, because, note, detector, revision FROM {db}.labels
WHERE (%(finding)s = '' OR finding_id = %(finding)s) ORDER BY at DESC, label_id LIMIT %(limit)s
"""
FINDING = """
SELECT finding_id, detector, detector_version, revision, status FROM {db}.findings_current
WHERE startsWith(finding_id, %(prefix)s) ORDER BY finding_id LIMIT %(limit)s
"""


class Word(StrEnum):
    """What can be said."""

    TRUE = "true"
    FALSE = "false"
    BENIGN = "benign"


class Labelled(msgspec.Struct, frozen=True):
    """A finding, as far as a label needs it."""

    finding_id: str
    detector: str
    detector_version: int
    revision: int
    status: str


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


def find(database: Database, prefix: str) -> list[Labelled]:
    """Findings whose id begins so.  Raises ConfigError on a prefix that is too short to mean one."""
    if len(prefix) < PREFIX_MIN:
        raise ConfigError(f"{prefix!r} is too short for an id", advice=f"Give at least its first {PREFIX_MIN} digits.")
    return [Labelled(*row) for row in database.query(FINDING, {"prefix": prefix, "limit": FOUND_MAX})]


def add(
    database: Database, finding: Labelled, word: Word, custody: Custody, *, because: str = "", on_behalf_of: str = "", note: str = ""
) -> None:
    """Note who says it, then say it."""
    require(bool(because) == (word is Word.BENIGN), "a benign finding, and no other, has an explanation")
    evidence.note(database, custody)
    row: dict[str, Sequence[object]] = {
        "finding_id": [finding.finding_id],
        "account": [custody.account],
        "on_behalf_of": [on_behalf_of],
        "label": [word.value],
        "because": [because],
        "note": [note],
        "detector": [finding.detector],
        "detector_version": [finding.detector_version],
        "revision": [finding.revision],
        "software": [__version__],
    }
    database.insert("labels", row, async_insert=0)


def history(database: Database, finding: str = "", *, limit: int = 100) -> list[Label]:
    """All labels, or those of one finding; the newest first."""
    return [Label(*row) for row in database.query(HISTORY, {"finding": finding, "limit": limit})]


def quality(database: Database) -> list[Quality]:
    """Per detector that found anything."""
    return [Quality(*row) for row in database.query(QUALITY)]
