"""`trainwatch evidence`: keys, heads, bundles that stand on their own, holds, and who looked at what.

Every command that shows or copies evidence writes a row of `custody_log` first, and does not go on when it cannot.
"""

import hashlib
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec
import orjson

from pipeline.cli import Options, Verbs, examples, say, say_json
from pipeline.cli.asking import NOT_FOUND, account, clickhouse, the_one
from pipeline.cli.console import build_table, moment, safe, stdout
from pipeline.cli.erase import erase
from pipeline.cli.incident_read import told
from pipeline.cli.meter import meter
from pipeline.cli.times import now_ms
from pipeline.errors import ConfigError, TrainwatchError
from pipeline.evidence import verify as checker
from pipeline.evidence.bundle import Case, Exhibit, build, told_of, write
from pipeline.evidence.chain import entry_of, identities_digest
from pipeline.evidence.signing import Signer, load_ring, load_signer, make_key, ring_file, rotate_key
from pipeline.incidents.report import as_json, page
from pipeline.model.instants import DAY_MS
from pipeline.model.words import many
from pipeline.sink import evidence as store
from pipeline.sink.evidence import Custody, Found, Place

if TYPE_CHECKING:
    from pipeline.settings import Settings
    from pipeline.sink.clickhouse import Database

CLOSED_DAYS = 30  # in which somebody who was named, or his lawyer, may ask for what an incident rested on
REPORT_FILES = {".html": "report.html", ".json": "incident.json", ".pdf": "report.pdf"}


@click.group(cls=Verbs)
def evidence() -> None:
    """Sealed records: keys, signed heads, verifiable bundles, holds."""


@evidence.command(epilog=examples("evidence keygen --file /etc/trainwatch/keys/evidence.key", "evidence keygen --rotate"))
@click.option("--file", "file", type=click.Path(path_type=Path, dir_okay=False), help="Private key; default evidence.key_file.")
@click.option("--rotate", is_flag=True, help="A new key in place of the present one, signed by it.")
@click.pass_obj
def keygen(options: Options, file: Path | None, *, rotate: bool) -> None:
    """Make the key with which workers sign, readable by this account alone, and the ring of public keys beside it.

    Copy both files to every machine that runs workers. Write the fingerprint down where nobody who can log in here can change it: whoever
    checks a bundle compares it.
    """
    file = file or options.settings.evidence.key_file
    if file is None:
        raise click.UsageError("name the file: --file, or evidence.key_file in the settings.")
    signer = (rotate_key if rotate else make_key)(file, now_ms())
    click.echo(f"key {signer.key}\nfingerprint {signer.fingerprint}")
    say(f"private: {file}; public: {file}.ring.json")
    if rotate:
        say(f"the old private key is {file}.*: destroy it when all workers were started again, within a day")
    else:
        say(f"in the settings: evidence: {{key_file: {file.resolve()}}}; then start the workers again")


@evidence.command(epilog=examples("evidence heads", "evidence heads --json > heads.jsonl      # for a witness outside"))
@click.option("--json", "as_json", is_flag=True, help="One signed head a line, as a witness keeps them.")
@click.pass_obj
def heads(options: Options, *, as_json: bool) -> None:
    """The newest signed head of every partition: what to hand to somebody outside, who then knows all before it."""
    with clickhouse(options) as database:
        store.note(database, Custody(now_ms(), account(), "listed", "heads"))
        found = store.newest_heads(database)
    if as_json:
        for sealed in found:
            click.echo(checker.canonical(entry_of(sealed)).decode())
        return
    table = build_table("", "partition", "ranges", "up to", "sealed", "key", "head")
    for each in found:
        name = f"{each.topic}/{each.partition}"
        table.add_row(safe(name), str(each.number), str(each.hi), moment(each.time), safe(each.key), safe(each.head))
    stdout().print(table)


@evidence.command(epilog=examples("evidence export a378b78a07ce -o case.zip", "evidence export a378b78a07ce --report case.html"))
@click.argument("subject")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="A .zip, or a folder; default evidence-SUBJECT.zip.")
@click.option("--report", "reports", type=click.Path(path_type=Path, exists=True, dir_okay=False), multiple=True, help="A report to add.")
@click.option("--no-report", is_flag=True, help="Leave out the incident's own report, with its journal; so does --report.")
@click.option("--no-kafka", is_flag=True, help="Do not look in Kafka for whole records that ClickHouse has not.")
@click.pass_obj
def export(options: Options, subject: str, output: Path | None, reports: Sequence[Path], *, no_report: bool, no_kafka: bool) -> None:
    """Write a bundle of everything that proves finding or incident SUBJECT, to be checked anywhere: `evidence verify`.

    The bundle of an incident holds its report, as HTML and JSON.

    Exit 0: written; 4: nothing is known of SUBJECT, or several begin so.
    """
    settings = options.settings
    key_file = settings.evidence.key_file
    if key_file is None:
        raise ConfigError("no evidence.key_file is set", advice="Set it to where the ring of public keys lies, beside the private key.")
    ring, signer = load_ring(key_file), _signer(key_file)
    with clickhouse(options) as database:
        known = _found(database, subject, checker.Ring(ring))
        if known is None:
            raise SystemExit(NOT_FOUND)
        subject, found = known[0], _with_originals(settings, known[1], kafka=not no_kafka)
        created, who = now_ms(), account()
        store.note(database, Custody(created, who, "exporting", subject, many(len(found.exhibits), "record")))
        case = Case(
            subject=subject,
            findings=found.findings,
            evidence=found.evidence,
            unavailable=found.unavailable,
            exhibits=found.exhibits,
            chain=found.chain,
            custody=[msgspec.structs.asdict(each) for each in store.custody(database, subject)],
            ring=ring,
            created=created,
            by=who,
            settings=settings.digest(),
            identities=identities_digest(settings),
            extra={name: path.read_bytes() for name, path in _report_names(reports).items()}
            or ({} if no_report else _own_report(settings, database, subject)),
        )
        path = output or Path(f"evidence-{subject}.zip")
        sha256 = write(build(case, signer), path)
        store.note(database, Custody(now_ms(), who, "exported", subject, f"{many(len(found.exhibits), 'record')} to {path.name}", sha256))
    whole = sum(each.value is not None for each in found.exhibits)
    click.echo(f"{path}\nsha256 {sha256}")
    say(
        f"{many(len(found.exhibits), 'record')}, {whole} of them whole, "
        f"{many(len(found.chain), 'range')}, {many(len(found.unavailable), 'event')} unavailable"
    )
    for each in found.unavailable:
        say(f"event {safe(each['event_id'])}: {each['why']}")


@evidence.command(
    epilog=examples(
        "evidence verify                          # everything in ClickHouse",
        "evidence verify case.zip --trust 0123456789abcdef --witness heads.jsonl",
    )
)
@click.argument("bundle", type=click.Path(path_type=Path, exists=True), required=False)
@click.option("--trust", help="Fingerprint of a key of the site, 16 digits or more, that you got elsewhere.")
@click.option(
    "--witness", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="Heads that somebody outside kept, JSON lines."
)
@click.option("--unsigned", is_flag=True, help=f"Of a BUNDLE: {checker.ACCEPT_UNSIGNED}.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
@click.pass_context
def verify(ctx: click.Context, bundle: Path | None, trust: str | None, witness: Path | None, *, unsigned: bool, as_json: bool) -> None:
    """Check BUNDLE, offline and without settings; without it, everything that is sealed in this site's ClickHouse.

    When records were taken away together with all that tells of them, only heads that somebody outside kept can show it: --witness.

    Exit 0: nothing is wrong; 1: something is, and it is named, or ClickHouse does not answer.
    """
    if trust is not None and not trust.strip():
        raise click.UsageError(checker.NO_FINGERPRINT)
    trust = trust or ""
    read = witness
    try:
        kept = checker.heads_of(witness.read_bytes()) if witness else []
        read = bundle or witness
        if bundle is not None:
            verdict = checker.verify_bundle(checker.read_bundle(bundle), trust=trust, witness=kept, unsigned=unsigned)
        else:
            verdict = _verify_site(ctx.ensure_object(Options), trust, kept, quiet=as_json)
    except (checker.Unreadable, ValueError, OSError, RecursionError) as error:
        verdict = checker.Verdict([checker.Problem("bundle_unreadable", str(read), str(error).removeprefix(f"{read}: "))], [], [])
    if as_json:
        problems = [problem._asdict() for problem in verdict.problems]
        click.echo(checker.canonical({**verdict._asdict(), "problems": problems, "ok": verdict.ok}))  # ASCII: texts may hold anything
    else:
        click.echo(checker.told(verdict), nl=False)
    ctx.exit(0 if verdict.ok else 1)


def _verify_site(options: Options, trust: str, kept: Sequence[object], *, quiet: bool) -> checker.Verdict:
    from pipeline.sink.evidence_audit import audit  # noqa: PLC0415  keeps the check of a bundle quick

    key_file = options.settings.evidence.key_file
    if key_file is None:
        raise ConfigError("no evidence.key_file is set", advice="Name a bundle, or set it to where the ring of public keys lies.")
    ring = checker.Ring(load_ring(key_file), trust)
    with clickhouse(options) as database, meter("reading what is sealed", quiet=quiet) as line:
        tell = partial(line.count, "checking", "records")
        found = audit(database, ring, inputs=options.settings.kafka.input_topics, witness=kept, progress=tell)
        store.note(
            database,
            Custody(now_ms(), account(), "verified", "site", f"{many(found.ranges, 'range')}, {many(len(found.problems), 'problem')}"),
        )
    return checker.Verdict(found.problems, found.notes, ring.fingerprints, found.records, found.ranges)


@evidence.command(
    epilog=examples(
        "evidence hold --open                     # daily",
        "evidence hold a378b78a07ce",
        "evidence hold                            # what is held",
    )
)
@click.argument("subjects", nargs=-1)
@click.option("--open", "every", is_flag=True, help="All incidents that are not closed; to be run daily.")
@click.option("--no-kafka", is_flag=True, help="Do not copy whole records from Kafka.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object for each subject, one a line.")
@click.pass_obj
def hold(options: Options, subjects: Sequence[str], *, every: bool, no_kafka: bool, as_json: bool) -> None:
    """Keep what findings or incidents SUBJECTS cite until it is released: rows, ranges, whole records; without SUBJECTS, list what is held.

    Hold while a matter is open, again when findings were added, and release it afterwards.

    Exit 0: held; 4: nothing is known of one of SUBJECTS, or several begin so, and the others are held.
    """
    named, unknown, ring = frozenset(subjects), 0, _ring(options.settings.evidence.key_file)
    # What was named is held until somebody lets go of it; the rest as long as it is open: `release --closed`.
    with clickhouse(options) as database:
        subjects = [*subjects, *(store.open_incidents(database) if every else ())]
        for asked in subjects:
            known = _found(database, asked, ring)
            if known is None:
                unknown += asked in named  # of an open incident retention may have taken all, which nobody can mend
                continue
            subject, found = known[0], _with_originals(options.settings, known[1], kafka=not no_kafka)
            originals = {_place(each): each.value for each in found.exhibits if each.value is not None and each.value_from != "events"}
            how_long = "" if asked in named else store.WHILE_OPEN
            store.note(database, Custody(now_ms(), account(), "held", subject, f"{many(len(found.exhibits), 'record')}{how_long}"))
            count = store.hold(database, subject, found, originals)
            told = {"subject": subject, "records": count, "unavailable": len(found.unavailable)}
            if as_json:
                say_json(orjson.dumps(told))
            else:
                click.echo(f"{safe(subject)}: {many(count, 'record')} held, {many(len(found.unavailable), 'event')} unavailable")
        if not subjects and not every:
            for subject, rows in store.holds(database):
                if as_json:
                    say_json(orjson.dumps({"subject": subject, "rows": rows}))
                else:
                    click.echo(f"{safe(subject)}: {many(rows, 'row')}")
    raise SystemExit(NOT_FOUND if unknown else 0)


@evidence.command(
    epilog=examples('evidence release a378b78a07ce --reason "court case 12 is over"', "evidence release --closed           # daily")
)
@click.argument("subject", default="")
@click.option("--closed", "every", is_flag=True, help="Holds of `hold --open` alone, of incidents that were closed long enough ago.")
@click.option("--days", type=click.IntRange(min=0), default=CLOSED_DAYS, show_default=True, help="With --closed: how long ago.")
@click.option("--reason", default="", help="Why; stands in the chain of custody.")
@click.pass_obj
def release(options: Options, subject: str, *, every: bool, days: int, reason: str) -> None:
    """Let go of a hold: the copies are deleted, and retention counts again.

    With --closed: of all incidents that were held because they were open, and that were closed DAYS ago or earlier: until then somebody
    may answer. What was held by name stays until it is released by name.

    Exit 0: released; 4: SUBJECT (its id, or how it begins) is not on hold.
    """
    if bool(subject) == every:
        raise click.UsageError("name a SUBJECT, or give --closed")
    with clickhouse(options) as database:
        if every:
            over = store.over(database, now_ms() - days * DAY_MS)
            for known, why in over:
                store.note(database, Custody(now_ms(), account(), "released", known, f"{why}{'; ' if reason else ''}{reason}"))
                store.release(database, known)
                click.echo(f"{safe(known)}: released")  # why stands in the chain of custody: a case's journal is for no log of a host
            if not over:
                say(f"nothing is held for what was closed {many(days, 'day')} ago and more")
            return
        held = [each for each, _ in store.holds(database)]
        begun = [each for each in held if each.startswith(subject)] if len(subject) >= store.PREFIX_MIN else []
        chosen = [subject] if subject in held else begun
        subject = the_one(chosen, subject, f"{safe(subject)} is not on hold: `trainwatch evidence hold` lists what is")
        store.note(database, Custody(now_ms(), account(), "released", subject, reason))
        store.release(database, subject)
        click.echo(f"{safe(subject)}: released")


evidence.add_command(erase)


@evidence.command(epilog=examples("evidence log", "evidence log a378b78a07ce --json"))
@click.argument("subject", default="")
@click.option("--json", "as_json", is_flag=True, help="One row a line.")
@click.pass_obj
def log(options: Options, subject: str, *, as_json: bool) -> None:
    """The chain of custody: who looked at, checked, held or took out evidence, of SUBJECT or all."""
    with clickhouse(options) as database:
        entries = store.custody(database, subject)
    if as_json:
        for entry in entries:
            say_json(msgspec.json.encode(entry))
        return
    table = build_table("", "time", "who", "did", "subject", "what", "sha256")
    for entry in entries:
        table.add_row(moment(entry.time), *map(safe, (entry.account, entry.action, entry.subject, entry.detail, entry.sha256)))
    stdout().print(table)


# --- parts ----------------------------------------------------------------------------------------------------------------------------


def _ring(key_file: Path | None) -> checker.Ring | None:
    """The site's keys, where they are here: whoever puts something on hold need not have them."""
    return checker.Ring(load_ring(key_file)) if key_file is not None and ring_file(key_file).exists() else None


def _found(database: "Database", asked: str, ring: checker.Ring | None) -> tuple[str, Found] | None:
    """The finding or incident whose id begins so, and what proves it; None, and said, when there is none, or several."""
    ids = store.subjects(database, asked)
    findings = store.findings_of(database, ids[0]) if len(ids) == 1 else []
    if findings:
        return ids[0], store.gather(database, findings, ids[0], ring)
    say(f"{safe(asked)} begins several: {', '.join(ids)}" if len(ids) > 1 else f"{safe(asked)} is no finding and no incident: check the id")
    return None


def _own_report(settings: "Settings", database: "Database", subject: str) -> dict[str, bytes]:
    """Of an incident; of a finding there is none."""
    if not store.is_incident(database, subject):
        return {}
    report = told(settings, database, subject)
    return {REPORT_FILES[".html"]: page(report).encode(), REPORT_FILES[".json"]: as_json(report)}


def _report_names(reports: Iterable[Path]) -> dict[str, Path]:
    """Under which names reports go into the bundle: none twice, and none that it has already."""
    named: dict[str, Path] = {}
    for path in reports:
        name = Path(REPORT_FILES.get(path.suffix, f"report-{path.name}"))
        number = 1 + sum(Path(REPORT_FILES.get(each.suffix, f"report-{each.name}")) == name for each in named.values())
        named[str(name) if number == 1 else f"{name.stem}-{number}{name.suffix}"] = path
    return named


def _with_originals(settings: "Settings", found: Found, *, kafka: bool) -> Found:
    """Whole records from Kafka where ClickHouse has their lines alone.  A broker that is away takes nothing from the rest."""
    from pipeline.embedded import servers  # noqa: PLC0415  keeps --help quick
    from pipeline.runtime.originals import read_originals  # noqa: PLC0415

    bare = {_place(each) for each in found.exhibits if each.value is None}
    if not bare or not kafka:
        return found
    try:
        connected = servers.connected(settings)
        values = read_originals(connected.kafka, [(topic, partition, offset) for topic, partition, _, offset in bare])
    except TrainwatchError as error:
        say(f"whole records were not looked for in Kafka: {error}")
        return found
    exhibits = []
    for each in found.exhibits:
        value = values.get((each.sealed.topic, each.sealed.partition, each.offset)) if each.value is None else None
        if value is not None and not _is_sealed(each, value):
            say(f"{each.sealed.topic}/{each.sealed.partition}@{each.offset}: Kafka has another record there than was sealed")
            value = None
        exhibits.append(each if value is None else msgspec.structs.replace(each, value=value, value_from="kafka"))
    return msgspec.structs.replace(found, exhibits=exhibits)


def _is_sealed(exhibit: Exhibit, value: bytes) -> bool:
    return told_of(exhibit.sealed, exhibit.offset).sha256 == hashlib.sha256(value).hexdigest()


def _place(exhibit: Exhibit) -> Place:
    sealed = exhibit.sealed
    return sealed.topic, sealed.partition, sealed.incarnation, exhibit.offset


def _signer(key_file: Path) -> Signer | None:
    """Whoever exports need not hold the private key; then the manifest is not signed."""
    if not key_file.exists():
        say(f"{key_file} is not here: the manifest is not signed, and `trainwatch evidence verify` asks for --unsigned")
        return None
    return load_signer(key_file)
