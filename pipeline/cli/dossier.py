"""What `trainwatch analyse --cases FOLDER` writes: of every incident that is an alert its report, and a sealed bundle that was checked.

    FOLDER/INCIDENT/report.html  incident.json  the same as of `trainwatch incident report`
    FOLDER/INCIDENT/bundle.zip                  the same as of `trainwatch evidence export`, with both reports inside
    FOLDER/INCIDENT/rumour.json                 what people say of its scale against the records, where that was asked
    FOLDER/evidence.key                         the key that sealed it, and its ring, unless the settings name one

The records are sealed when they are analysed: a bundle proves nothing about the time before (evidence/from_files.py).
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import orjson

from pipeline import __version__
from pipeline.cli import say
from pipeline.cli.asking import account, user
from pipeline.cli.incident_read import told_journal
from pipeline.cli.output import write_file
from pipeline.cli.times import now_ms
from pipeline.errors import ConfigError, require
from pipeline.evidence import verify
from pipeline.evidence.bundle import Case, build, cited_beside, resting_on, write
from pipeline.evidence.chain import Sealer, identities_digest
from pipeline.evidence.from_files import Exhibits, seal_all
from pipeline.evidence.signing import Signer, load_ring, load_signer, make_key
from pipeline.incidents.report import Entry, Made, Report, as_json, candidate_of, lines_of, page
from pipeline.incidents.report_summary import clocks_of
from pipeline.loss.rumour import Rumour, check
from pipeline.model.finding import Finding
from pipeline.model.incident import Incident
from pipeline.model.outcome import EventRow, Record
from pipeline.model.words import many

if TYPE_CHECKING:
    from pipeline.runtime.local import Results
    from pipeline.settings import Settings

BUNDLE, KEY_FILE = "bundle.zip", "evidence.key"
SEALED_NOW = "records were sealed when the files were analysed: what happened to the files before, nothing here proves"


class Told(NamedTuple):
    """What people say."""

    replies: Sequence[tuple[str, str]] = ()  # who, text
    rumour: Rumour | None = None


class Dossier(NamedTuple):
    """One incident, written and checked."""

    incident: Incident
    folder: Path
    verdict: verify.Verdict
    records: int


def prepare(settings: "Settings", folder: Path) -> Path:
    """The key to seal with; made in the folder when the settings name none.  Asked before the work, which takes minutes.

    Raises ConfigError when the folder holds bundles, or cannot be made, or the key cannot be read.
    """
    if there := sorted(folder.glob(f"*/{BUNDLE}")):
        raise ConfigError(f"{there[0]} exists already", advice="Name another folder: a bundle is never written over.")
    key_file = settings.evidence.key_file or folder / KEY_FILE
    if settings.evidence.key_file is None and not key_file.exists():
        _make(folder)
        make_key(key_file, now_ms())
        say(f"made {key_file}: keep it for yourself when you hand over what stands beside it")
    load_signer(key_file)
    return key_file


def write_all(
    settings: "Settings", results: "Results", records: Sequence[Record], folder: Path, key_file: Path, told: Told
) -> list[Dossier]:
    """All of them.  Raises ConfigError when a file cannot be written, or is there."""
    now = now_ms()
    signer, rows = load_signer(key_file), [row for row in results.rows if isinstance(row, EventRow)]
    chain = seal_all(records, rows, Sealer(signer, settings), now)
    exhibits, unlisted, made = Exhibits(records, rows, chain), unlisted_of(results), []
    for name in sorted(results.incidents):
        body = results.incidents[name]
        if not body["alert"] or body["status"] == "retracted":
            continue
        incident = msgspec.json.decode(orjson.dumps(body), type=Incident)
        bodies = bodies_of(incident, results, unlisted)
        cited = {(str(item["event_id"]), str(item["sha256"])) for each in bodies for item in _evidence(each)}
        known = {event for event, _ in cited}
        beside = {event: told for event, told in resting_on(name, body, bodies).items() if event not in known}
        wanted = sorted({*cited, *((event, "") for event in beside)})
        shown = list(exhibits.of(wanted))
        target = folder / name
        _make(target)
        report = _report(settings, incident, bodies, rows, told, now)
        files = {"report.html": page(report).encode(), "incident.json": as_json(report)}
        case = Case(
            subject=name,
            findings=[{"canonical": each, "software": __version__, "settings": settings.digest(), "revision": 1} for each in bodies],
            evidence=[
                *({"finding_id": each["id"], **_cites(item)} for each in bodies for item in _evidence(each)),
                *(cited_beside(*beside[event], line) for event in sorted(beside) if (line := exhibits.line(event)) is not None),
            ],
            unavailable=[
                {"event_id": event, "sha256": sha256, "why": "no record that was read holds it"}
                for event, sha256 in wanted
                if exhibits.line(event) is None
            ],
            exhibits=shown,
            chain=chain,
            custody=[_custody(now, name, shown)],
            ring=load_ring(key_file),
            created=now,
            by=account(),
            settings=settings.digest(),
            identities=identities_digest(settings),
            extra=files,
        )
        made.append(_written(case, signer, incident, target, files, told))
    for who, _ in told.replies:
        if not any(_called(settings, each.incident, who) for each in made):
            say(f"{who} is a candidate of none of these incidents: the reply stands nowhere")
    return made


Body = Mapping[str, Any]


def unlisted_of(results: "Results") -> list[Body]:
    """Findings that no incident lists: a large one lists some thousands of its own, and counts all."""
    listed = {name for body in results.incidents.values() for name in _listed(body)}
    return [body for name, body in sorted(results.findings.items()) if name not in listed and body["status"] != "retracted"]


def bodies_of(incident: Incident, results: "Results", unlisted: Sequence[Body]) -> list[Body]:
    """All findings of an incident, by id.  Of those that none lists whatever lies in its time: as of two large ones at one time each takes
    those of the other, too, better twice than not at all (sink/evidence.py does the same)."""
    names = {*_listed(results.incidents[incident.id])}
    found: dict[str, Body] = {name: results.findings[name] for name in names if name in results.findings}
    if incident.findings > len(names):
        inside = (each for each in unlisted if incident.first <= each["effect_time"] <= incident.last)
        found |= {str(each["id"]): each for each in inside if each["subject"][1] == incident.cluster}
    return [found[name] for name in sorted(found)]


def _listed(body: Body) -> list[str]:
    return [*(each["finding"] for each in body["members"]), *(each[0] for each in body["others"])]


def _make(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"cannot make {folder}: {error.strerror}", advice="Name a folder where you may write.") from error


def _written(case: Case, signer: Signer, incident: Incident, folder: Path, files: Mapping[str, bytes], told: Told) -> Dossier:
    """On the disk, and read back from there."""
    bundle = folder / BUNDLE
    write(build(case, signer), bundle)
    for name, content in files.items():
        write_file(folder / name, content)
    if told.rumour is not None:
        checked = check(told.rumour, incident.loss, incident.limits)
        write_file(folder / "rumour.json", orjson.dumps(msgspec.to_builtins(checked), option=orjson.OPT_INDENT_2))
    verdict = verify.verify_bundle(verify.read_bundle(bundle), trust=signer.fingerprint)
    return Dossier(incident, folder, verdict, len(case.exhibits))


def _report(
    settings: "Settings", incident: Incident, bodies: Sequence[Mapping[str, Any]], rows: Sequence[EventRow], told: Told, now: int
) -> Report:
    listed, times = {each.finding for each in incident.members}, {(each.event_id, each.sha256) for each in incident.timeline}
    findings = [msgspec.json.decode(orjson.dumps(each), type=Finding) for each in bodies if each["id"] in listed]
    cited = [row for row in rows if (row.event_id, row.sha256) in times]
    return Report(
        incident=incident,
        revision=1,
        findings=tuple(sorted(findings, key=lambda each: (each.effect_time, each.id))),
        lines=lines_of(incident.timeline, {(row.event_id, row.sha256): row.raw for row in cited}),
        clocks=clocks_of((row.host, row.event_time, row.collected_time) for row in cited),
        settings=settings.digest(),
        judged_by=__version__,
        made=Made(at=now, settings=settings.digest(), identities=identities_digest(settings)),
        journal=told_journal(
            settings,
            incident,
            [
                Entry(at=now, operator=user(), action="reply", value=called, text=text)
                for who, text in told.replies
                if (called := _called(settings, incident, who))
            ],
        ),
    )


def _called(settings: "Settings", incident: Incident, who: str) -> str:
    pseudonyms = settings.veil().pseudonyms
    return candidate_of(incident, who, settings.directory().key, pseudonyms.name if pseudonyms else str)


def _evidence(body: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    items = body["evidence"]
    require(isinstance(items, list), "a canonical finding cites evidence")
    return items  # type: ignore[no-any-return]


def _cites(item: Mapping[str, Any]) -> dict[str, Any]:
    return {name: item[name] for name in ("role", "event_id", "sha256", "source", "event_time", "summary")}


def _custody(now: int, name: str, shown: Sequence[object]) -> dict[str, Any]:
    detail = f"{many(len(shown), 'record')}; {SEALED_NOW}"
    return {
        "time": now,
        "account": account(),
        "action": "exported",
        "subject": name,
        "detail": detail,
        "sha256": "",
        "software": __version__,
    }


def told_of(replies: Sequence[tuple[str, str]], rumour: tuple[int, float] | None) -> Told:
    """From the options of the command.  Raises ConfigError."""
    if any(not text.strip() for _, text in replies):
        raise ConfigError("an empty reply", advice="--reply WHO TEXT: say what was replied.")
    return Told(tuple(replies), None if rumour is None else Rumour(gpus=rumour[0], days=rumour[1]))
