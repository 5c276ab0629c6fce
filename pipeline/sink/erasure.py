"""Lines of a person, or named ones, in; their bytes gone from ClickHouse, their places and hashes kept, out.

    events      the row stays, so that every offset is accounted for; raw, attrs, actor and file are emptied
    enriched    rows made of the event are deleted: they are a copy
    erasures    one signed statement for each line, written before anything is emptied

What is on hold, and what a finding cites that stands and whose incident nobody has closed, is left: it is somebody's evidence, perhaps that
person's own.  Findings, incidents, journals and custody keep what they say; retention takes them.  Kafka keeps its copies as long as the
topics are set to, and a backup keeps what it has.

Holds: it may break off anywhere and be asked for again; nothing is erased that has no statement.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from pipeline.evidence.erasure import Erasure
from pipeline.sink.clickhouse import Database

AT_ONCE = 500  # lines emptied by one statement
FIELDS = tuple(field.name for field in msgspec.structs.fields(Erasure))
LINES = """
SELECT _topic, _incarnation, _partition, _offset, _index, event_id, sha256,
    event_id IN (SELECT event_id FROM {db}.events_held) AS held,
    event_id IN
    (
        SELECT event_id FROM {db}.finding_evidence_current WHERE finding_id IN
        (
            SELECT finding_id FROM {db}.findings_current WHERE status != 'retracted' AND
            (
                finding_id NOT IN (SELECT finding_id FROM {db}.incident_findings_current)
                OR finding_id IN
                (
                    SELECT finding_id FROM {db}.incident_findings_current WHERE incident_id NOT IN
                    (
                        SELECT incident_id FROM {db}.incident_journal WHERE action = 'status'
                        GROUP BY incident_id HAVING argMax(value, at) = 'closed'
                    )
                )
            )
        )
    ) AS cited
FROM {db}.events
WHERE raw != '' AND (event_id IN %(ids)s OR (actor = %(actor)s AND actor != ''))
    AND ts >= fromUnixTimestamp64Milli(%(since)s) AND ts < fromUnixTimestamp64Milli(%(until)s)
ORDER BY 1, 2, 3, 4, 5
"""


class Line(msgspec.Struct, frozen=True):
    """A stored line that was asked for, and why it must stay, if it must."""

    topic: str
    incarnation: str
    partition: int
    offset: int
    index: int
    event_id: str
    sha256: str
    held: bool
    cited: bool

    @property
    def kept_because(self) -> str:
        """Empty: it may go."""
        return "it is on hold" if self.held else "a finding cites it, and nobody has closed its incident" if self.cited else ""


def lines_of(database: Database, ids: Sequence[str], actor: str, since: int, until: int) -> list[Line]:
    """Lines with these event ids, and those of an identity; what is empty already is left out."""
    asked = {"ids": list(ids) or [""], "actor": actor, "since": since, "until": until}
    names = tuple(field.name for field in msgspec.structs.fields(Line))
    return [msgspec.convert(dict(zip(names, row, strict=True)), Line, strict=False) for row in database.query(LINES, asked)]


def erase(database: Database, erasures: Sequence[Erasure]) -> None:
    """Write the statements, then empty the lines; answers when no row holds them any more."""
    for begin in range(0, len(erasures), AT_ONCE):
        some = erasures[begin : begin + AT_ONCE]
        database.insert("erasures", {name: [getattr(each, name) for each in some] for name in FIELDS}, async_insert=0)
        places = [(each.topic, each.incarnation, each.partition, each.offset, each.line) for each in some]
        where = {"places": places, "ids": sorted({each.event_id for each in some})}
        database.query(
            "ALTER TABLE {db}.events UPDATE raw = '', attrs = map(), actor = '', file = '' "
            "WHERE (_topic, _incarnation, _partition, _offset, _index) IN %(places)s SETTINGS mutations_sync = 2",
            where,
        )
        database.query("DELETE FROM {db}.enriched_events WHERE event_id IN %(ids)s", where)


def erasures_in(database: Database, span: Mapping[str, Any]) -> dict[tuple[int, int], Erasure]:
    """(offset, index) -> what was erased there, of one partition (`topic`, `partition`, `life`, `lo`, `hi` in `span`)."""
    columns = ", ".join("toUnixTimestamp64Milli(time)" if name == "time" else name for name in FIELDS)
    found = database.query(
        f"SELECT {columns} FROM {{db}}.erasures WHERE topic = %(topic)s AND partition = %(partition)s AND incarnation = %(life)s "  # noqa: S608  our own names
        "AND offset >= %(lo)s AND offset < %(hi)s ORDER BY time",
        span,
    )
    return {(each.offset, each.line): each for each in (Erasure(**dict(zip(FIELDS, row, strict=True))) for row in found)}


def reasons(database: Database, ids: Iterable[str]) -> dict[str, str]:
    """Event id -> why its line was erased."""
    sql = "SELECT event_id, any(reason) FROM {db}.erasures WHERE event_id IN %(ids)s GROUP BY event_id"
    return dict(database.query(sql, {"ids": [*ids, ""]}))
