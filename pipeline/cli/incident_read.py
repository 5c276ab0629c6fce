"""The beginning of an incident's id in; the incident that has these findings now, and everything that is known of it, out.

A merged incident leads to the one that took it over, as often as that happened, and the journals of all its ids are read together; of
other incidents that had some of its findings before it is said that something stands there.  What `told` answers may be shown to anybody;
what `read` answers holds the words of people as they were noted.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import click
import msgspec

from pipeline.cli import asking, say
from pipeline.cli.console import safe
from pipeline.cli.times import now_ms
from pipeline.errors import ConfigError
from pipeline.evidence.chain import identities_digest
from pipeline.incidents.free_text import FreeText, untold
from pipeline.incidents.report import Entry, Made, Report, candidate_of, lines_of
from pipeline.incidents.report_summary import clocks_of
from pipeline.model.finding import Finding
from pipeline.model.incident import Incident
from pipeline.model.operator import FOR, login_of
from pipeline.sink.evidence import pages

if TYPE_CHECKING:
    from pipeline.settings import Settings
    from pipeline.sink.clickhouse import Database

SEVERAL = 5
ID_MIN = 6  # digits of an id that are enough
MERGES_MAX = 100
UNTOLD = "not told without the key"  # of the site: by it alone one sees whether a name is withheld

FIND = """
SELECT incident_id, status, merged_into, incident_id = %(id)s AS exact FROM {db}.incidents_current
WHERE startsWith(incident_id, %(id)s) OR has(aliases, %(id)s) ORDER BY exact DESC, incident_id
"""
BODY = "SELECT canonical, revision, aliases, settings_digest, software FROM {db}.incidents_current WHERE incident_id = %(id)s"
FINDINGS = "SELECT canonical FROM {db}.findings_current WHERE finding_id IN %(ids)s ORDER BY effect_time, finding_id"
LINES = """
SELECT event_id, sha256, raw, host, toUnixTimestamp64Milli(ts), toUnixTimestamp64Milli(collected_time)
FROM {db}.events WHERE event_id IN %(ids)s ORDER BY event_id, collected_time, _topic, _partition, _offset LIMIT 1 BY event_id, sha256
"""
MERGED = "SELECT incident_id FROM {db}.incidents_current WHERE merged_into = %(id)s"
FORMER = """
SELECT incident_id, count() FROM {db}.incident_journal
WHERE incident_id NOT IN %(own)s AND incident_id IN (SELECT incident_id FROM {db}.incident_findings WHERE finding_id IN %(ids)s)
GROUP BY incident_id ORDER BY incident_id
"""
JOURNAL = """
SELECT incident_id, toUnixTimestamp64Milli(at) AS at, operator, action, value, text FROM {db}.incident_journal
WHERE incident_id IN %(ids)s ORDER BY at, entry_id
"""

LABELS = """
SELECT toUnixTimestamp64Milli(at) AS at, concat(account, if(on_behalf_of = '', '', ' for '), on_behalf_of) AS operator, 'label' AS action,
    concat(left(finding_id, 12), ' ', label, if(because = '', '', concat(' because ', because))) AS value, note AS text
FROM {db}.labels WHERE finding_id IN %(ids)s ORDER BY at, label_id
"""


def resolve(database: "Database", asked: str) -> str:
    """The id of the incident that has these findings now.  Exits 4 when there is none, 5 when several begin so."""
    name = asked.strip().lower()
    for _ in range(MERGES_MAX):
        found = asking.rows(database, FIND, {"id": name}) if len(name) >= ID_MIN else []
        exact = [row for row in found if row["exact"]]
        live = [row for row in found if row["status"] != "retracted"]
        chosen = exact[:1] or live or found
        if not chosen:
            say(f"nothing is known under {safe(asked)}: {asking.WHERE_IDS}")
            raise SystemExit(asking.NOT_FOUND)
        if len(chosen) > 1:
            click.echo(f"several incidents begin with {safe(asked)}: {', '.join(row['incident_id'][:16] for row in chosen[:5])}", err=True)
            raise SystemExit(SEVERAL)
        if not chosen[0]["merged_into"]:
            return str(chosen[0]["incident_id"])
        name = str(chosen[0]["merged_into"])
    return name


def told(settings: "Settings", database: "Database", incident_id: str) -> Report:
    """What is known of an incident, as people are told it: nothing that people wrote tells a name that is withheld."""
    found = read(database, incident_id)
    return msgspec.structs.replace(found, journal=told_journal(settings, found.incident, found.journal), made=made_now(settings))


def made_now(settings: "Settings") -> Made:
    """A report that is made now, from these settings."""
    try:
        digest = settings.digest()
    except ConfigError:
        digest = ""
    return Made(at=now_ms(), settings=digest, identities=identities_digest(settings))


def told_journal(settings: "Settings", incident: Incident, journal: Sequence[Entry]) -> tuple[Entry, ...]:
    """Who replied, who wrote, and what was written, without names that are withheld; whoever has not the site's key cannot know which these
    are."""
    try:
        veil, directory = settings.veil(), settings.directory()
    except ConfigError:
        people = [entry.identity() for entry in settings.identities]
        named = incident.attribution.named
        return tuple(
            msgspec.structs.replace(
                each,
                value=UNTOLD if each.action == "reply" and each.value.strip() != named else each.value,
                text=untold(each.text, people, UNTOLD),
            )
            for each in journal
        )
    pseudonyms, text = veil.pseudonyms, FreeText(incident, directory, veil)

    def who(value: str) -> str:
        return candidate_of(incident, value, directory.key, pseudonyms.name if pseudonyms else str) or text(value)

    def operator(value: str) -> str:
        """Of a candidate, whom the incident calls by the id that the map has for his login; else as it is."""
        account, means, whom = value.partition(FOR)
        login = login_of(account)
        return f"{held(login)}{account.removeprefix(login)}{means}{whom and held(whom)}"

    def held(login: str) -> str:
        ids = directory.holders(login)
        candidates = (candidate_of(incident, each, directory.key, pseudonyms.name if pseudonyms else str) for each in ids)
        return next(filter(None, candidates), login)

    return tuple(
        msgspec.structs.replace(
            each,
            operator=operator(each.operator),
            value=who(each.value.strip()) if each.action == "reply" else text(each.value),
            text=text(each.text),
        )
        for each in journal
    )


class Body(NamedTuple):
    """An incident as it was said last, without lines and journal."""

    incident: Incident
    revision: int
    aliases: Sequence[str]
    settings: str
    software: str


def body_of(database: "Database", incident_id: str) -> Body:
    """What the pipeline says of an incident."""
    ((canonical, *rest),) = database.query(BODY, {"id": incident_id})
    return Body(msgspec.json.decode(canonical, type=Incident), *rest)


def read(database: "Database", incident_id: str) -> Report:
    """Everything that is known of an incident."""
    body, revision, aliases, settings, software = body_of(database, incident_id)
    members = [member.finding for member in body.members] or [""]
    findings = database.query(FINDINGS, {"ids": members})
    cited = {(each.event_id, each.sha256) for each in body.timeline}
    stored = database.query(LINES, {"ids": sorted({event_id for event_id, _ in cited}) or [""]})
    lines = {(str(event_id), str(sha256)): row for event_id, sha256, *row in stored if (event_id, sha256) in cited}
    merged = [name for (name,) in database.query(MERGED, {"id": incident_id})]  # aliases of a large one are told in part
    own = sorted({incident_id, *aliases, *merged})
    journal = journals(database, own)
    ids = [*members, *(each.finding for each in body.others)]  # what people found harmless must not go untold
    former = {(str(name), int(count)) for some in pages(ids) for name, count in database.query(FORMER, {"own": own, "ids": some})}
    labels = [Entry(**row) for some in pages(ids) for row in asking.rows(database, LABELS, {"ids": some})]
    entries = sorted([*labels, *(entry for each in journal.values() for entry in each)], key=lambda entry: entry.at)
    return Report(
        incident=body,
        revision=revision,
        findings=tuple(msgspec.json.decode(text, type=Finding) for (text,) in findings),
        lines=lines_of(body.timeline, {each: asking.text_of(raw) for each, (raw, *_) in lines.items()}),
        journal=tuple(entries),
        formerly=tuple(sorted(former)),
        clocks=clocks_of((host, ts, collected) for _, host, ts, collected in lines.values()),
        settings=settings,
        judged_by=software,
    )


def journals(database: "Database", ids: Sequence[str]) -> dict[str, tuple[Entry, ...]]:
    """What people noted, by incident, oldest first."""
    found: dict[str, list[Entry]] = {}
    for row in (row for some in pages(ids) for row in asking.rows(database, JOURNAL, {"ids": some})):
        found.setdefault(str(row.pop("incident_id")), []).append(Entry(**row))
    return {name: tuple(entries) for name, entries in found.items()}
