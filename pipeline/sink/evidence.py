"""Findings in; the rows, ranges and chains that prove them, from ClickHouse, out; who asked for them noted; holds.

    finding or incident ── cites ──► event ids ── rows of `events` ──► records ── `evidence_roots` ──► ranges, and their neighbours
                            └─────► sha256 of the line: which of these records, by what was sealed of them

What is on hold is looked up in the copies too, so that a bundle can still be made when retention has taken the rows.  Nothing of a
record is changed here; `custody_log` gets a row for every look, hold and export, and there is no statement that changes one.
"""

from base64 import b64decode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
import orjson
from msgspec.structs import asdict

from pipeline import __version__
from pipeline.evidence.bundle import Cited, Exhibit, Line, cited_beside, is_told, resting_on, told_of, value_from_lines
from pipeline.evidence.erasure import is_of_site
from pipeline.evidence.verify import Ring
from pipeline.model.sealed import Sealed
from pipeline.sink.erasure import CLOSED, erasures_of

if TYPE_CHECKING:
    from pipeline.sink.clickhouse import Database

CHAIN_MAX = 10_000  # ranges of one partition in a bundle; more, and only neighbours are taken
PREFIX_MIN = 6  # digits of an id that mean one
NEIGHBOURS = 100  # ranges on each side of one that proves a record: with a witness told every minute, he knows one of them
ROOTS = ("evidence_roots_held", "evidence_roots")
SEALED_FIELDS = tuple(field.name for field in msgspec.structs.fields(Sealed))
SEALED_COLUMNS = (
    "topic, partition, incarnation, number, lo, hi, records, root, previous, head, signing_key, toUnixTimestamp64Milli(sealed_time), "
    "settings_digest, identities_digest, software, signature, "
)
FINDINGS = (
    "SELECT finding_id, canonical, software, settings_digest, revision FROM {db}.findings_current "
    "WHERE finding_id IN %(ids)s ORDER BY finding_id"
)
CITED = (
    "SELECT finding_id, role, event_id, sha256, source, toUnixTimestamp64Milli(event_time), summary FROM {db}.finding_evidence_current "
    "WHERE finding_id IN %(ids)s ORDER BY finding_id, position"
)
INCIDENT = "SELECT canonical FROM {db}.incidents_current WHERE incident_id = %(id)s AND canonical != '' LIMIT 1"
ROWS = """
SELECT DISTINCT _topic, _partition, _incarnation, _offset, _index, event_id, toUnixTimestamp64Milli(ts), base64Encode(raw) FROM {db}.%s
WHERE (_topic, _partition, _offset) IN (SELECT _topic, _partition, _offset FROM {db}.%s WHERE event_id IN %%(ids)s)
ORDER BY _topic, _partition, _incarnation, _offset, _index
"""
SUBJECTS = """
SELECT DISTINCT id FROM
(
    SELECT finding_id AS id FROM {db}.findings WHERE startsWith(finding_id, %(begun)s)
    UNION ALL SELECT incident_id AS id FROM {db}.incident_findings_current WHERE startsWith(incident_id, %(begun)s)
    UNION ALL SELECT incident_id AS id FROM {db}.incidents_current
        WHERE status != 'retracted' AND arrayExists(each -> startsWith(each, %(begun)s), aliases)
)
ORDER BY id LIMIT 5
"""
CUSTODY = """
SELECT toUnixTimestamp64Milli(time), account, action, subject, detail, sha256, software FROM {db}.custody_log
WHERE startsWith(subject, %(subject)s) OR subject IN
(
    SELECT arrayJoin(aliases) FROM {db}.incidents_current WHERE startsWith(incident_id, %(subject)s)
    UNION ALL SELECT incident_id FROM {db}.incidents_current WHERE merged_into != '' AND startsWith(merged_into, %(subject)s)
    UNION ALL SELECT finding_id FROM {db}.incident_findings_current WHERE startsWith(incident_id, %(subject)s)
    UNION ALL SELECT incident_id FROM {db}.incident_findings_current WHERE startsWith(finding_id, %(subject)s)
)
ORDER BY time, account, action
"""
# An incident lists some thousands of its findings and counts all.  The others are in no list of any incident, for each finding is in one;
# should two such incidents overlap in time, one takes those of the other too: better held twice than not at all.
COUNTED = (
    "SELECT findings, cluster, toUnixTimestamp64Milli(first_time), toUnixTimestamp64Milli(last_time) FROM {db}.incidents_current "
    "WHERE incident_id = %(id)s"
)
UNLISTED = """
SELECT finding_id FROM {db}.findings_current
WHERE status != 'retracted' AND cluster = %(cluster)s
    AND effect_time >= fromUnixTimestamp64Milli(%(first)s) AND effect_time <= fromUnixTimestamp64Milli(%(last)s)
    AND finding_id NOT IN (SELECT finding_id FROM {db}.incident_findings_current)
"""
# The last word on the state of an incident, where that is its end.
STATES = """
SELECT incident_id, toUnixTimestamp64Milli(max(at)), argMax(value, at), toString(toDate(max(at))), argMax(operator, at), argMax(text, at)
FROM {db}.incident_journal WHERE action = 'status' GROUP BY incident_id
"""
WHILE_OPEN = ", while it is open"  # ends the detail of what `evidence hold --open` held
HELD_WHILE_OPEN = """
SELECT DISTINCT hold FROM {db}.events_held WHERE hold NOT IN
(
    SELECT subject FROM {db}.custody_log GROUP BY subject
    HAVING maxIf(time, action = 'held' AND NOT endsWith(detail, %(open)s)) > maxIf(time, action = 'released')
)
ORDER BY hold
"""
MERGES_MAX = 100  # that are followed: what is written may lead in a circle
PAGE = 2000  # values of a list in one statement: ClickHouse reads 256 KiB of one
HELD_COLUMNS = "ts, kafka_time, event_id, sha256, raw, _topic, _partition, _offset, _index, _incarnation"

T = TypeVar("T")
Place = tuple[str, int, str, int]  # topic, partition, incarnation, offset


class Custody(msgspec.Struct, frozen=True):
    """One row of `custody_log`."""

    time: int  # UTC ms
    account: str
    action: str
    subject: str
    detail: str = ""
    sha256: str = ""
    software: str = __version__


class Found(msgspec.Struct, frozen=True):
    """What ClickHouse has of a subject."""

    findings: list[dict[str, Any]]
    evidence: list[dict[str, Any]]
    unavailable: list[dict[str, Any]]  # event_id, sha256, why; of a line that was erased also the erasure
    exhibits: list[Exhibit]
    chain: list[Sealed]


def pages(values: Sequence[T], size: int = PAGE) -> Iterator[list[T]]:
    """All of them, so many at a time."""
    return (list(values[begin : begin + size]) for begin in range(0, len(values), size))


def findings_of(database: "Database", subject: str) -> list[str]:
    """Ids of findings: of one, or of all in an incident."""
    found = database.query("SELECT DISTINCT finding_id FROM {db}.findings WHERE finding_id = %(id)s", {"id": subject})
    if not found:
        sql = "SELECT DISTINCT finding_id FROM {db}.incident_findings_current WHERE incident_id = %(id)s ORDER BY finding_id"
        found = database.query(sql, {"id": subject})
        for count, cluster, first, last in database.query(COUNTED, {"id": subject}) if found else ():
            if count > len(found):
                found += database.query(UNLISTED, {"cluster": cluster, "first": first, "last": last})
    return sorted(str(finding) for (finding,) in found)


def subjects(database: "Database", begun: str) -> list[str]:
    """Ids of findings and incidents: that one, or else those that begin so, or that an incident which begins so was merged into."""
    if len(begun) < PREFIX_MIN or findings_of(database, begun):
        return [begun]
    return [str(found) for (found,) in database.query(SUBJECTS, {"begun": begun})]


def is_incident(database: "Database", subject: str) -> bool:
    """Is it the id of an incident, as it was published?"""
    return bool(database.query("SELECT 1 FROM {db}.incidents_current WHERE incident_id = %(id)s LIMIT 1", {"id": subject}))


def open_incidents(database: "Database") -> list[str]:
    """Ids of incidents that nobody has closed."""
    found = database.query(
        f"SELECT DISTINCT incident_id FROM {{db}}.incidents_current WHERE status != 'retracted' AND incident_id NOT IN ({CLOSED}) "  # noqa: S608  our own names
        "ORDER BY incident_id"
    )
    return [str(incident) for (incident,) in found]


def gather(database: "Database", findings: Sequence[str], subject: str = "", ring: Ring | None = None) -> Found:
    """Everything that proves what the findings cite, as far as it is there: the records of their effects and causes, those that ruled a
    harmless explanation out, and those from which the loss of `subject`, an incident, was worked out, or by which checkpoints were traced.

    `ring`: the site's keys.  What these did not sign is no erasure: the record is taken as it stands, and whoever checks it sees that its
    line was changed.  None, where no ring is at hand and nothing leaves the house: whatever is said to be erased is.
    """
    told = [row for ids in pages(findings) for row in database.query(FINDINGS, {"ids": ids})]
    bodies = [
        {"canonical": orjson.loads(canonical), "software": software, "settings": settings, "revision": revision}
        for _, canonical, software, settings, revision in told
    ]
    names = ("finding_id", "role", "event_id", "sha256", "source", "event_time", "summary")
    evidence = [dict(zip(names, row, strict=True)) for page in pages(findings) for row in database.query(CITED, {"ids": page})]
    cited = {(str(each["event_id"]), str(each["sha256"])) for each in evidence}
    known = {event_id for event_id, _ in cited}
    incident = next((orjson.loads(canonical) for (canonical,) in database.query(INCIDENT, {"id": subject})), None) if subject else None
    beside = resting_on(subject, incident, (body["canonical"] for body in bodies))
    wanted = sorted({*cited, *((event_id, "") for event_id in beside if event_id not in known)})
    records = _records(database, sorted({*known, *beside}))
    records, erased = _without_erased(database, records, ring)
    roots = _roots(database, records)
    records = {place: _as_sealed(roots[place], place, lines) if place in roots else lines for place, lines in records.items()}
    found = _places_of(records, roots)
    said = {(item["event_id"], item["sha256"]) for body in bodies for item in body["canonical"].get("evidence", ())} | erased.keys()
    chosen: dict[Place, None] = {}
    unavailable = []
    for event_id, sha256 in wanted:
        places = found.get((event_id, sha256), [])
        if not places and (event_id, sha256) not in said:
            places = found.get((event_id, ""), [])  # its finding cites no such line, so retention took none: shown, it is called changed
        proved = [place for place in places if place in roots]
        if proved:
            chosen[proved[0]] = None  # one that came twice is proved once
            if event_id not in known:
                evidence.append(cited_beside(*beside[event_id], next(line for line in records[proved[0]] if line.event_id == event_id)))
        else:
            why = "no sealed range holds it: evidence was not kept then" if places else "its row is not in ClickHouse any more"
            unavailable.append({"event_id": event_id, "sha256": sha256, "why": why, **erased.get((event_id, sha256), {})})
    exhibits = [_exhibit(database, place, records[place], roots[place]) for place in sorted(chosen)]  # range by range
    return Found(bodies, evidence, unavailable, exhibits, chain_around(database, [each.sealed for each in exhibits]))


def _places_of(records: Mapping[Place, tuple[Line, ...]], roots: Mapping[Place, Sealed]) -> dict[Cited, list[Place]]:
    """Where each line is, by event and sha256, and by the event alone.

    What was sealed of a line tells which it is, whatever its row holds; then what it holds, wherever that was moved to.
    """
    sealed: dict[Cited, dict[Place, None]] = {}
    stored: dict[Cited, dict[Place, None]] = {}
    for place, lines in records.items():
        rows = told_of(roots[place], place[3]).rows if place in roots else []
        for line in lines:
            if line.index < len(rows):
                sealed.setdefault((line.event_id, rows[line.index][1]), {})[place] = None
            for sha256 in (line.sha256, ""):
                stored.setdefault((line.event_id, sha256), {})[place] = None
    return {name: list(sealed.get(name, {}) | stored.get(name, {})) for name in sealed.keys() | stored.keys()}


def _without_erased(
    database: "Database", records: Mapping[Place, tuple[Line, ...]], ring: Ring | None
) -> tuple[dict[Place, tuple[Line, ...]], dict[Cited, dict[str, Any]]]:
    """Records of which nothing was erased; and what is to be said of the lines of the others."""
    said = erasures_of(database, {line.event_id for lines in records.values() for line in lines if not line.raw})
    known = {
        (each.topic, each.partition, each.incarnation, each.offset, each.line): each
        for each in said
        if ring is None or is_of_site(each, ring)
    }
    whole: dict[Place, tuple[Line, ...]] = {}
    erased: dict[Cited, dict[str, Any]] = {}
    for place, lines in records.items():
        gone = [known[*place, line.index] for line in lines if not line.raw and (*place, line.index) in known]
        if not gone:
            whole[place] = lines
            continue
        why = {"why": f"a line of its record was erased: {gone[0].reason}"}
        erased |= {(line.event_id, sha256): why for line in lines for sha256 in (line.sha256, "")}
        erased |= {
            (each.event_id, sha256): {"why": f"it was erased: {each.reason}", "erasure": asdict(each)}
            for each in gone
            for sha256 in (each.sha256, "")
        }
    return whole, erased


def _records(database: "Database", ids: Sequence[str]) -> dict[Place, tuple[Line, ...]]:
    """Place -> all its stored lines, of records with one of these events; held copies included, beside the row where they differ."""
    lines: dict[Place, dict[Line, None]] = {}
    for table, page in ((table, page) for table in ("events_held", "events") for page in pages(ids)):
        for topic, partition, life, offset, index, event_id, time, raw in database.query(ROWS % (table, table), {"ids": page}):
            lines.setdefault((topic, partition, life, offset), {})[Line(index, event_id, time, b64decode(raw))] = None
    return {place: tuple(sorted(found, key=lambda line: line.index)) for place, found in sorted(lines.items())}


def _as_sealed(sealed: Sealed, place: Place, lines: tuple[Line, ...]) -> tuple[Line, ...]:
    """Each line once: of a copy and a row that differ the one that was sealed, else the row.  What is on hold stands by its own."""
    rows = told_of(sealed, place[3]).rows
    chosen: dict[int, Line] = {}
    for line in lines:  # of one number the row comes last
        was = chosen.get(line.index)
        if was is None or line.index >= len(rows) or not _is_line(was, rows[line.index]):
            chosen[line.index] = line
    return tuple(chosen.values())


def _is_line(line: Line, told: tuple[int, str]) -> bool:
    return told == (line.time, line.sha256)


def _roots(database: "Database", places: Iterable[Place]) -> dict[Place, Sealed]:
    """The range of each place, which come in order; where there are two, it is a fork, and the chain shows both."""
    found: dict[Place, Sealed] = {}
    known: list[Sealed] = []  # those in which the place before was
    for place in places:
        topic, partition, life, offset = place
        near = [
            each
            for each in known
            if (each.topic, each.partition, each.incarnation) == (topic, partition, life) and each.lo <= offset < each.hi
        ]
        if not near:
            where = {"topic": topic, "partition": partition, "life": life, "offset": offset}
            near = known = ranges(database, "lo <= %(offset)s AND hi > %(offset)s", where, leaves=True)
        fitting = [each for each in near if is_told(each, offset)]
        if fitting:
            found[place] = fitting[0]
    return found


def ranges(
    database: "Database", condition: str, where: Mapping[str, Any], *, leaves: bool = False, tables: Sequence[str] = ROOTS
) -> list[Sealed]:
    """Ranges of one partition (`topic`, `partition`, `life` in `where`), each head once, by number."""
    columns = SEALED_COLUMNS + ("leaves" if leaves else "''")
    one = "topic = %(topic)s AND partition = %(partition)s AND incarnation = %(life)s AND (" + condition + ")"
    found: dict[tuple[Any, ...], Sealed] = {}
    for table in tables:
        sql = f"SELECT {columns} FROM {{db}}.{table} WHERE {one} ORDER BY number, lo, hi, head, sealed_time"  # noqa: S608  our own names
        for row in database.query(sql, where):
            values = dict(zip(SEALED_FIELDS, row, strict=True))
            if isinstance(values["leaves"], bytes):
                values["leaves"] = values["leaves"].decode("utf-8", "replace")
            sealed = Sealed(**values)
            key = sealed.number, sealed.lo, sealed.hi, sealed.head
            if key not in found or sealed.leaves:  # one hold keeps the leaves, another may have the range as a neighbour alone
                found[key] = sealed
    return [found[key] for key in sorted(found)]


def chain_around(database: "Database", sealed: Iterable[Sealed]) -> list[Sealed]:
    """The chain from the first of these to the last, with neighbours; where that is too long, the neighbours of each alone."""
    numbers: dict[tuple[str, int, str], set[int]] = {}
    for each in sealed:
        numbers.setdefault((each.topic, each.partition, each.incarnation), set()).add(each.number)
    found: list[Sealed] = []
    for (topic, partition, life), wanted in sorted(numbers.items()):
        spans = [(max(1, number - NEIGHBOURS), number + NEIGHBOURS) for number in sorted(wanted)]
        if spans[-1][1] - spans[0][0] <= CHAIN_MAX:
            spans = [(spans[0][0], spans[-1][1])]
        for first, last in _joined(spans):
            where = {"topic": topic, "partition": partition, "life": life, "first": first, "last": last}
            found += ranges(database, "number >= %(first)s AND number <= %(last)s", where)
    return found


def _joined(spans: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    joined = list(spans[:1])
    for before, span in pairwise(spans):
        if span[0] <= before[1] + 1:
            joined[-1] = joined[-1][0], span[1]
        else:
            joined.append(span)
    return joined


def _exhibit(database: "Database", place: Place, lines: tuple[Line, ...], sealed: Sealed) -> Exhibit:
    """With the record's bytes where a line is all of it, or where they were put on hold."""
    offset = place[3]
    value = value_from_lines(told_of(sealed, offset), lines)
    if value is not None:
        return Exhibit(sealed, offset, lines, value, "events")
    sql = (
        "SELECT base64Encode(value) FROM {db}.records_held "
        "WHERE topic = %(topic)s AND partition = %(partition)s AND incarnation = %(life)s AND offset = %(offset)s LIMIT 1"
    )
    held = database.query(sql, dict(zip(("topic", "partition", "life", "offset"), place, strict=True)))
    return Exhibit(sealed, offset, lines, b64decode(held[0][0]), "hold") if held else Exhibit(sealed, offset, lines, None)


# --- heads ----------------------------------------------------------------------------------------------------------------------------


def partitions(database: "Database") -> list[tuple[str, int, str]]:
    """(topic, partition, incarnation) of every chain."""
    found = database.query("SELECT DISTINCT topic, partition, incarnation FROM {db}.evidence_roots ORDER BY ALL")
    return [(topic, partition, life) for topic, partition, life in found]


def newest_heads(database: "Database") -> list[Sealed]:
    """The newest range of every chain, without leaves."""
    heads = []
    for topic, partition, life in partitions(database):
        where = {"topic": topic, "partition": partition, "life": life}
        newest = (
            "number = (SELECT max(number) FROM {db}.evidence_roots "
            "WHERE topic = %(topic)s AND partition = %(partition)s AND incarnation = %(life)s)"
        )
        heads += ranges(database, newest, where)
    return heads


# --- custody --------------------------------------------------------------------------------------------------------------------------


def note(database: "Database", entry: Custody) -> None:
    """A row of the log."""
    row = {name: [value] for name, value in asdict(entry).items()}
    database.insert("custody_log", row, async_insert=0)


def custody(database: "Database", subject: str = "") -> list[Custody]:
    """The log, oldest first; of subjects that begin so, of incidents that were merged into these, and, since it is the same evidence, of
    an incident's findings and a finding's incidents; or all."""
    found = database.query(CUSTODY, {"subject": subject})
    return [Custody(*row) for row in found]


# --- holds ----------------------------------------------------------------------------------------------------------------------------


def hold(database: "Database", subject: str, found: Found, originals: Mapping[Place, bytes]) -> int:
    """Copy rows, ranges and whole records to where no retention reaches, from other holds where it has been already: these may be let go
    of.  To hold again adds what is new.  Answers with records."""
    offsets: dict[tuple[str, int, str], list[int]] = {}
    for each in found.exhibits:
        offsets.setdefault((each.sealed.topic, each.sealed.partition, each.sealed.incarnation), []).append(each.offset)
    for (topic, partition, life), some in sorted(offsets.items()):
        place = "_topic = %(topic)s AND _partition = %(partition)s AND _incarnation = %(life)s AND _offset IN %(offsets)s"
        for page in pages(some):
            database.query(
                f"INSERT INTO {{db}}.events_held (hold, {HELD_COLUMNS}) "  # noqa: S608  our own names
                f"SELECT DISTINCT %(hold)s, {HELD_COLUMNS} FROM "
                f"(SELECT {HELD_COLUMNS} FROM {{db}}.events WHERE {place} "
                f"UNION ALL SELECT {HELD_COLUMNS} FROM {{db}}.events_held WHERE {place})",
                {"topic": topic, "partition": partition, "life": life, "offsets": page, "hold": subject},
            )
    _hold_ranges(database, subject, found)
    rows = list(originals.items())
    if rows:
        columns = {name: [place[at] for place, _ in rows] for at, name in enumerate(("topic", "partition", "incarnation", "offset"))}
        database.insert("records_held", {"hold": [subject] * len(rows), **columns, "value": [value for _, value in rows]}, async_insert=0)
    return len(found.exhibits)


def _hold_ranges(database: "Database", subject: str, found: Found) -> None:
    names = (
        "topic, incarnation, partition, number, lo, hi, records, root, previous, head, signing_key, sealed_time, settings_digest, "
        "identities_digest, software, signature"
    )
    proving = {each.sealed.head for each in found.exhibits}
    one = "topic = %(topic)s AND partition = %(partition)s AND incarnation = %(life)s AND head IN %(heads)s"
    heads: dict[tuple[str, int, str], list[str]] = {}
    for each in found.chain:
        heads.setdefault((each.topic, each.partition, each.incarnation), []).append(each.head)
    for (topic, partition, life), some in sorted(heads.items()):
        for page in pages(some, PAGE // 3):  # which stand three times in the statement
            where = {"topic": topic, "partition": partition, "life": life, "heads": page, "hold": subject}
            database.query(
                f"INSERT INTO {{db}}.evidence_roots_held (hold, {names}, leaves) "  # noqa: S608  our own names
                f"SELECT %(hold)s, {names}, if(head IN %(proving)s, leaves, '') FROM "
                f"(SELECT {names}, leaves FROM {{db}}.evidence_roots WHERE {one} "
                f"UNION ALL SELECT {names}, leaves FROM {{db}}.evidence_roots_held WHERE {one}) "
                "ORDER BY length(leaves) DESC LIMIT 1 BY topic, incarnation, partition, number, lo, hi, head",
                {**where, "proving": [*proving.intersection(page), ""]},
            )


def release(database: "Database", subject: str) -> None:
    """Let go of a hold: its copies are deleted."""
    for table in ("events_held", "evidence_roots_held", "records_held"):
        database.query(f"DELETE FROM {{db}}.{table} WHERE hold = %(hold)s", {"hold": subject})  # noqa: S608  our own names


def over(database: "Database", before: int) -> list[tuple[str, str]]:
    """(hold, why it may go) of incidents that were closed before then, UTC ms, and not opened again since, under whichever of their ids.

    What somebody put on hold by name he lets go of by name.
    """
    found = database.query(HELD_WHILE_OPEN, {"open": WHILE_OPEN})
    merged = dict(database.query("SELECT incident_id, merged_into FROM {db}.incidents_current WHERE merged_into != ''")) if found else {}
    last: dict[str, tuple[Any, ...]] = {}  # of an incident and all that were merged into it
    for incident, *said in database.query(STATES) if found else ():
        home = _home(incident, merged)
        last[home] = max(last.get(home, ()), tuple(said))
    gone = []
    for (subject,) in found:
        home = _home(subject, merged)
        at, state, day, who, text = last.get(home, (0, "", "", "", ""))
        if state == "closed" and at < before:
            gone.append((subject, f"incident {home} was closed on {day} by {who}{': ' if text else ''}{text}"))
    return gone


def _home(incident: str, merged: Mapping[str, str]) -> str:
    """The incident that has its findings now."""
    for _ in range(MERGES_MAX):
        incident = merged.get(incident, incident)
    return incident


def holds(database: "Database") -> list[tuple[str, int]]:
    """(subject, rows) of every hold."""
    found = database.query(
        "SELECT hold, uniqExact(_topic, _partition, _incarnation, _offset, _index) FROM {db}.events_held GROUP BY hold ORDER BY hold"
    )
    return [(subject, rows) for subject, rows in found]
