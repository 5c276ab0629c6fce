"""`trainwatch label FINDING true|false|benign`: what an investigator says of a finding; and how often detectors are right by that.

Nothing is changed or deleted: a finding keeps what it says, and a later label of the same finding stands above the earlier one.
"""

import getpass
import socket
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import cache

import click
import msgspec

from pipeline.cli import Options
from pipeline.cli.console import build_table, moment, safe, stdout
from pipeline.detect.detector import registry
from pipeline.embedded import servers
from pipeline.sink import labels
from pipeline.sink.clickhouse import Database
from pipeline.sink.evidence import Custody
from pipeline.sink.labels import Labelled, Quality, Word

NOT_FOUND = 4
ROWS = 20
ROWS_MAX = 100_000
NOTE_MAX = 2000
NAME_MAX = 100

EXAMPLES = """\b
Examples:
  trainwatch label a378b78a07ce true --note "confirmed with u002"
  trainwatch label a378b78a07ce benign --because admin_ticket --note "CHG-17, entered late"
  trainwatch label --list
  trainwatch label --summary
"""


@cache
def explanations() -> tuple[str, ...]:
    """Names under which detectors know what is harmless."""
    return tuple(sorted({each.__name__ for detector in registry() for each in detector.meta.benign}))


def _complete_explanation(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:  # noqa: ARG001  a signature of click
    return [name for name in explanations() if name.startswith(incomplete)]


@click.command(epilog=EXAMPLES)
@click.argument("finding", default="")
@click.argument("word", type=click.Choice([word.value for word in Word]), default=None, required=False)
@click.option(
    "--because",
    default="",
    shell_complete=_complete_explanation,
    help="Of a benign one: the explanation, by the name that its checklist uses.",
)
@click.option("--note", default="", help="In your words; stays for good.")
@click.option("--as", "on_behalf_of", default="", help="Who you are; your account is noted as well. Default: the setting `operator`.")
@click.option("--list", "listing", is_flag=True, help="Labels instead, the newest first; of FINDING, or all.")
@click.option("--summary", is_flag=True, help="Precision of each detector instead.")
@click.option("--limit", type=click.IntRange(1, ROWS_MAX), default=ROWS, show_default=True, help="Rows of --list.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@click.pass_obj
def label(  # noqa: PLR0913, RUF100  one parameter an option
    options: Options,
    finding: str,
    word: str | None,
    because: str,
    note: str,
    on_behalf_of: str,
    limit: int,
    *,
    listing: bool,
    summary: bool,
    as_json: bool,
) -> None:
    """Say whether FINDING (an id, or how it begins) was true, false, or benign because of something.

    Labels feed the precision of detectors, are never deleted, and stand in the custody log.

    Exit 0: noted; 4: there is no such finding; 2: wrong usage.
    """
    _refuse(finding, word, because, note, on_behalf_of, listing=listing, summary=summary)
    settings = servers.connected(options.settings, kafka=False)
    with Database(settings.clickhouse) as database:
        if summary:
            _show_quality(labels.quality(database), as_json=as_json)
        elif listing:
            found = _one(database, finding).finding_id if finding else ""
            _show_labels(labels.history(database, found, limit=limit), as_json=as_json)
        else:
            chosen = _one(database, finding)
            said = Word(word or "")
            on_behalf_of = on_behalf_of or options.settings.operator
            detail = " ".join(filter(None, (said.value, because and f"because {because}", on_behalf_of and f"for {on_behalf_of}")))
            custody = Custody(round(1000 * time.time()), account(), "labelled", chosen.finding_id, detail)
            labels.add(database, chosen, said, custody, because=because, on_behalf_of=on_behalf_of, note=note)
            told = {
                "finding": chosen.finding_id,
                "detector": chosen.detector,
                "label": said.value,
                "because": because,
                "by": custody.account,
            }
            click.echo(
                msgspec.json.encode(told).decode()
                if as_json
                else f"{chosen.finding_id} {safe(chosen.detector)}: {detail}, by {safe(custody.account)}"
            )


def _refuse(finding: str, word: str | None, because: str, note: str, on_behalf_of: str, *, listing: bool, summary: bool) -> None:
    """Raises UsageError with what to type instead."""
    if listing or summary:
        if word or because or note or on_behalf_of or (summary and (finding or listing)):
            raise click.UsageError("--summary stands alone; --list takes FINDING, --limit and --json.")
        return
    if not finding or word is None:
        raise click.UsageError(
            f"say which finding and what: trainwatch label FINDING {'|'.join(Word)}. `trainwatch finding list` shows ids."
        )
    if (word == Word.BENIGN) != bool(because):
        raise click.UsageError("benign needs --because NAME, the others none; names: " + ", ".join(explanations()))
    if because and because not in explanations():
        raise click.UsageError(f"{because!r} is no explanation that detectors know; names: " + ", ".join(explanations()))
    if len(note) > NOTE_MAX or len(on_behalf_of) > NAME_MAX:
        raise click.UsageError(f"--note takes {NOTE_MAX} characters, --as {NAME_MAX}.")


def _one(database: Database, prefix: str) -> Labelled:
    found = labels.find(database, prefix)
    if len(found) > 1:
        raise click.UsageError(f"{prefix} begins {len(found)} ids or more: {', '.join(each.finding_id for each in found[:5])} ...")
    if not found:
        click.echo(f"there is no finding {safe(prefix)}: `trainwatch finding list --all` shows all ids", err=True)
        raise SystemExit(NOT_FOUND)
    return found[0]


def account() -> str:
    """Account and machine, as the custody log has them."""
    name = "unknown"
    with suppress(KeyError, OSError):  # a uid without a name, in a container
        name = getpass.getuser()
    return f"{name}@{socket.gethostname()}"


def _show_labels(found: Sequence[labels.Label], *, as_json: bool) -> None:
    if as_json:
        for each in found:
            click.echo(msgspec.json.encode(each).decode())
        return
    table = build_table("", "time", "finding", "detector", "label", "because", "by", "for", "note")
    for each in found:
        cells = (each.finding_id, each.detector, each.label, each.because, each.account, each.on_behalf_of)
        table.add_row(moment(each.time), *(safe(cell) for cell in cells), safe(each.note, 400))
    stdout().print(table)


def _show_quality(found: Sequence[Quality], *, as_json: bool) -> None:
    if as_json:
        for each in found:
            click.echo(msgspec.json.encode({**msgspec.to_builtins(each), "precision": each.precision, "bounds": each.bounds}).decode())
        return
    table = build_table("", "detector", "findings", "alerts", "labelled", "true", "false", "benign", "precision", "95 %")
    for each in found:
        low, high = each.bounds
        share = "-" if each.precision is None else f"{each.precision:.2f}"
        counts = (each.findings, each.alerts, each.labelled, each.true, each.false, each.benign)
        table.add_row(safe(each.detector), *map(str, counts), share, f"{low:.2f} to {high:.2f}" if each.labelled else "-")
    stdout().print(table)
