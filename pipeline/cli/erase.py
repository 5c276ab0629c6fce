"""`trainwatch evidence erase`: the bytes of lines go, their hashes stay, and it stands on record who did it and why."""

import sys
from typing import TYPE_CHECKING

import click

from pipeline.cli import Options, examples, say
from pipeline.cli.asking import account, clickhouse
from pipeline.cli.console import safe
from pipeline.cli.times import Since, now_ms
from pipeline.errors import ConfigError
from pipeline.evidence.erasure import Erasure
from pipeline.evidence.signing import load_signer
from pipeline.model.words import many
from pipeline.sink import erasure as store
from pipeline.sink.erasure import Wanted
from pipeline.sink.evidence import Custody, note

if TYPE_CHECKING:
    from pipeline.evidence.signing import Signer
    from pipeline.sink.clickhouse import Database

FOREVER = 2**42
KEPT, NOTHING = 3, 4  # exit codes
SHOWN_MAX = 20
RESTS_MAX = 5  # times that fewer lines are left than can go at once
MUTATION_SECONDS = 600.0  # longest wait for one


@click.command(
    epilog=examples(
        "evidence erase --actor u017 --until 90d --reason DSR-12 --dry-run",
        "evidence erase --event a378b78a07ce5d0e9f7c2b1a4e6d8f03 --reason DSR-12",
    )
)
@click.option("--event", "events", multiple=True, help="Id of an event; may be given again.")
@click.option(
    "--actor", default="", help="All events of this identity, by the name that ClickHouse has; a real one is turned into its pseudonym."
)
@click.option("--since", type=Since(), default=0, help="Only events from then on: a time with offset, a date, or an age (90d).")
@click.option("--until", type=Since(), default=FOREVER, help="Only events before then.")
@click.option("--reason", required=True, help="Why, e.g. the number of the request; it stands in every check of the chain.")
@click.option("--dry-run", is_flag=True, help="Say what would be erased.")
@click.option("--yes", is_flag=True, help="Erase without asking.")
@click.pass_obj
def erase(options: Options, events: tuple[str, ...], actor: str, since: int, until: int, reason: str, *, dry_run: bool, yes: bool) -> None:
    """Empty stored lines on request: their bytes and fields go, their places and hashes stay, and `evidence verify` still succeeds.

    What is on hold, or cited by a finding whose incident is not closed, is left and named. Kafka and backups keep their copies as long as
    they are set to. On a terminal it asks, since nothing brings a line back.

    Exit 0: all of it is erased, or would be; 1: not confirmed; 3: some or all of it stays, and why is said; 4: there is nothing.
    """
    if not events and not actor:
        raise click.UsageError("say what to erase: --event or --actor")
    if not reason.strip():
        raise click.UsageError("--reason is empty: whoever checks the chain will ask why")
    pseudonyms = options.settings.veil().pseudonyms
    if pseudonyms is not None and actor and not pseudonyms.is_one(actor) and not actor.startswith("uid:"):
        actor = pseudonyms.name(actor)  # the other is written down nowhere
        say(f"known here as {actor}")
    key_file = options.settings.evidence.key_file
    signer = load_signer(key_file) if key_file is not None else None
    wanted = Wanted(ids=events, actor=actor, since=since, until=until)
    with clickhouse(options, MUTATION_SECONDS) as database:
        if signer is None and database.query("SELECT count() FROM {db}.evidence_roots")[0][0]:
            raise ConfigError("no evidence.key_file is set", advice="An erasure is signed, or the chain would call it tampering: set it.")
        going, staying = store.counts(database, wanted)
        for each in store.staying(database, wanted, SHOWN_MAX) if staying else ():
            say(f"event {safe(each.event_id)} stays: {each.kept_because}")
        if (
            going
            and not dry_run
            and not yes
            and sys.stdin.isatty()
            and not click.confirm(f"Erase {many(going, 'line')} for ever?", err=True)
        ):
            raise click.ClickException("nothing was erased")
        if going and not dry_run:
            what, who = actor or many(len(events), "event"), account()
            note(database, Custody(now_ms(), who, "erasing", what, f"{many(going, 'line')}: {reason}"))
            going = _erase(database, wanted, reason, who, signer)
            note(database, Custody(now_ms(), who, "erased", what, f"{many(going, 'line')}: {reason}"))
            left, staying = store.counts(database, wanted)
            if left:
                say(f"{many(left, 'further line')} came meanwhile: ask again, or say --until when")
                staying += left
    click.echo(f"{many(going, 'line')} {'would be ' if dry_run else ''}erased, {staying} stay")
    raise SystemExit(KEPT if staying else 0 if going else NOTHING)


def _erase(database: "Database", wanted: Wanted, reason: str, who: str, signer: "Signer | None") -> int:
    """Until none is left, those included that come meanwhile: they may come for ever, so only so often.  Answers with how many."""
    done = rests = 0
    while rests < RESTS_MAX and (lines := store.going(database, wanted)):
        when = now_ms()
        made = (
            Erasure(
                time=when, account=who, reason=reason, topic=each.topic, incarnation=each.incarnation, partition=each.partition,
                offset=each.offset, line=each.index, event_id=each.event_id, sha256=each.sha256,
            )
            for each in lines
        )  # fmt: skip
        store.erase(database, [each.signed(signer) if signer else each for each in made])
        done, rests = done + len(lines), rests + (len(lines) < store.AT_ONCE)
        if done > len(lines):
            say(f"{many(done, 'line')} erased")
    return done
