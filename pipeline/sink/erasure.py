"""Lines of a person, or named ones, in; their bytes gone from ClickHouse, their places and hashes kept, out.

    events      the row stays, so that every offset is accounted for; raw, attrs, actor and file are emptied
    enriched    rows made of the event are deleted: they are a copy
    erasures    one signed statement for each line, written before anything is emptied

What is on hold, and what a finding cites that stands and whose incident nobody has closed, is left: it is somebody's evidence, perhaps that
person's own.  Findings, incidents, journals and custody keep what they say; retention takes them.  Kafka keeps its copies as long as the
topics are set to, and a backup keeps what it has.

    some lines ──► statements ──► one mutation ──► the next ones ──► ... ──► none is left, those included that came meanwhile

A mutation writes every part anew that has such a line, so it takes as many as it can; it asks for them itself.  (ClickHouse refuses that of
replicated tables, because replicas might come to different answers; we have none.)

Holds: it may break off anywhere and be asked for again; nothing is erased that has no statement.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from pipeline.errors import require
from pipeline.evidence.erasure import Erasure

if TYPE_CHECKING:
    from pipeline.sink.clickhouse import Database

AT_ONCE = 200_000  # lines emptied by one mutation: as many as are held in memory
EVENTS_AT_ONCE = 2000
FIELDS = tuple(field.name for field in msgspec.structs.fields(Erasure))
COLUMNS = ", ".join("toUnixTimestamp64Milli(time)" if name == "time" else name for name in FIELDS)
CLOSED = """
SELECT incident_id FROM {db}.incident_journal WHERE action = 'status' GROUP BY incident_id HAVING argMax(value, at) = 'closed'
"""
# A large incident lists some of its findings and counts all.  One that no incident lists is counted by one in whose time it falls, and by
# which is written down nowhere: so it is over only when all that may count it are closed.
COUNTED_BY_CLOSED = f"""
SELECT f.finding_id FROM {{db}}.findings_current AS f INNER JOIN
(
    SELECT cluster, first_time, last_time, incident_id IN ({CLOSED}) AS closed
    FROM {{db}}.incidents_current AS i LEFT JOIN
    (SELECT incident_id, uniqExact(finding_id) AS listed FROM {{db}}.incident_findings_current GROUP BY incident_id) AS l USING incident_id
    WHERE i.status != 'retracted' AND i.findings > l.listed
) AS counting ON counting.cluster = f.cluster
WHERE f.effect_time >= counting.first_time AND f.effect_time <= counting.last_time
GROUP BY f.finding_id HAVING min(counting.closed)
"""  # noqa: S608  our own names
LINES = f"""
SELECT _topic, _incarnation, _partition, _offset, _index, event_id, sha256,
    event_id IN (SELECT event_id FROM {{db}}.events_held) AS held,
    event_id IN
    (
        SELECT event_id FROM {{db}}.finding_evidence_current WHERE finding_id IN
        (
            SELECT finding_id FROM {{db}}.findings_current WHERE status != 'retracted' AND
            (
                finding_id IN (SELECT finding_id FROM {{db}}.incident_findings_current WHERE incident_id NOT IN ({CLOSED}))
                OR finding_id NOT IN (SELECT finding_id FROM {{db}}.incident_findings_current) AND finding_id NOT IN ({COUNTED_BY_CLOSED})
            )
        )
    ) AS cited
FROM {{db}}.events
WHERE raw != '' AND (event_id IN %(ids)s OR (actor = %(actor)s AND actor != ''))
    AND ts >= fromUnixTimestamp64Milli(%(since)s) AND ts < fromUnixTimestamp64Milli(%(until)s)
"""  # noqa: S608  same
GOING = f"SELECT * FROM ({LINES}) WHERE NOT (held OR cited) ORDER BY 1, 2, 3, 4, 5 LIMIT %(most)s"  # noqa: S608  our own names
STAYING = f"SELECT * FROM ({LINES}) WHERE held OR cited ORDER BY 1, 2, 3, 4, 5 LIMIT %(most)s"  # noqa: S608  same
SAID = "FROM {db}.erasures WHERE time = fromUnixTimestamp64Milli(%(time)s) AND account = %(account)s"
EMPTY = f"""
ALTER TABLE {{db}}.events UPDATE raw = '', attrs = map(), actor = '', file = ''
WHERE (_topic, _incarnation, _partition, _offset, _index) IN (SELECT topic, incarnation, partition, offset, line {SAID})
SETTINGS mutations_sync = 2
"""
# `DELETE FROM` would only mask them: a setting shows them again, until a merge that may never come.
COPIES = f"""
ALTER TABLE {{db}}.enriched_events DELETE WHERE event_id IN (SELECT event_id {SAID}) SETTINGS mutations_sync = 2
"""
COUNTS = f"SELECT countIf(NOT (held OR cited)), countIf(held OR cited) FROM ({LINES})"  # noqa: S608  same


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Lines with these event ids, and those of an identity; what is empty already is none of them."""

    ids: tuple[str, ...]
    actor: str
    since: int  # event time, UTC ms
    until: int

    def asked(self, most: int = 0) -> dict[str, Any]:
        """As the statements take it."""
        return {**msgspec.structs.asdict(self), "ids": [*self.ids, ""], "most": most}


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


def counts(database: "Database", wanted: Wanted) -> tuple[int, int]:
    """How many may go, and how many must stay."""
    ((going, staying),) = database.query(COUNTS, wanted.asked())
    return int(going), int(staying)


def going(database: "Database", wanted: Wanted) -> list[Line]:
    """The first that may go, no more than can go at once."""
    return _lines(database.query(GOING, wanted.asked(AT_ONCE)))


def staying(database: "Database", wanted: Wanted, most: int) -> list[Line]:
    """The first that must stay."""
    return _lines(database.query(STAYING, wanted.asked(most)))


def _lines(rows: Iterable[Sequence[Any]]) -> list[Line]:
    names = tuple(field.name for field in msgspec.structs.fields(Line))
    return [msgspec.convert(dict(zip(names, row, strict=True)), Line, strict=False) for row in rows]


def erase(database: "Database", erasures: Sequence[Erasure]) -> None:
    """Write the statements, which are of one time and account, then empty their lines; answers when no row holds them any more."""
    of_one = {(each.time, each.account) for each in erasures}
    require(len(of_one) == 1, f"statements of {len(of_one)} erasures at once")
    database.insert("erasures", {name: [getattr(each, name) for each in erasures] for name in FIELDS}, async_insert=0)
    for statement in (EMPTY, COPIES):
        database.query(statement, {"time": erasures[0].time, "account": erasures[0].account})


def erasures_in(database: "Database", span: Mapping[str, Any]) -> dict[tuple[int, int], Erasure]:
    """(offset, index) -> what was erased there, of one partition (`topic`, `partition`, `life`, `lo`, `hi` in `span`)."""
    found = database.query(
        f"SELECT {COLUMNS} FROM {{db}}.erasures WHERE topic = %(topic)s AND partition = %(partition)s AND incarnation = %(life)s "  # noqa: S608  our own names
        "AND offset >= %(lo)s AND offset < %(hi)s ORDER BY time",
        span,
    )
    return {(each.offset, each.line): each for each in map(_erasure, found)}


def erasures_of(database: "Database", ids: Iterable[str]) -> list[Erasure]:
    """What is said of events with these ids, by whomever: nobody has looked yet whether the site signed it."""
    sql, some = f"SELECT {COLUMNS} FROM {{db}}.erasures WHERE event_id IN %(ids)s ORDER BY time", list(ids)  # noqa: S608  our own names
    pages = (some[begin : begin + EVENTS_AT_ONCE] for begin in range(0, len(some), EVENTS_AT_ONCE))
    return [_erasure(row) for page in pages for row in database.query(sql, {"ids": page})]


def _erasure(row: Sequence[Any]) -> Erasure:
    return Erasure(**dict(zip(FIELDS, row, strict=True)))
