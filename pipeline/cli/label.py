"""`trainwatch label FINDING true|false|benign`: what an investigator says of a finding, here or on a topic; how often detectors are right.

Nothing is changed or deleted: a finding keeps what it says, and a later label of the same finding stands above the earlier one.
"""

import time
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

import click
import msgspec

from pipeline.cli import Options, examples, say, say_json
from pipeline.cli.asking import SHORT, account, clickhouse, finding_of
from pipeline.cli.console import build_table, moment, safe, stdout
from pipeline.cli.times import now_ms
from pipeline.errors import TrainwatchError, TransientError
from pipeline.model.words import many
from pipeline.sink import labels
from pipeline.sink.labels import Quality, Said, Word, custody_of, explanations, refusal

if TYPE_CHECKING:
    from pipeline.sink.clickhouse import Database

POLL_SECONDS = 1.0
COMPLETE_SECONDS = 2.0  # which a shell waits when somebody presses the tabulator key
ROWS = 20
ROWS_MAX = 100_000

EXAMPLES = examples(
    'label a378b78a07ce true --note "confirmed with u002"',
    'label a378b78a07ce benign --because admin_ticket --note "CHG-17, entered late"',
    "label --list",
    "label --summary",
    "label --from-topic                    # runs until SIGTERM or Ctrl-C; with --once it ends: for cron",
)


def _complete_explanation(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:  # noqa: ARG001  a signature of click
    """Of the finding's own detector, where ClickHouse says at once which that is; else of all."""
    from pipeline.embedded import servers  # noqa: PLC0415  keeps --help quick
    from pipeline.sink.clickhouse import Database  # noqa: PLC0415

    typed = ctx.params.get("finding") or next(iter(ctx.args), "")  # click leaves words in `args` before an option without a value
    found: Sequence[labels.Labelled] = ()
    with suppress(TrainwatchError):
        settings = servers.connected(Options(ctx.find_root().params.get("path")).settings, kafka=False).clickhouse
        with Database(settings.model_copy(update={"timeout_seconds": COMPLETE_SECONDS})) as database:
            found = labels.find(database, typed)
    return [name for name in explanations(found[0].detector if len(found) == 1 else "") if name.startswith(incomplete)]


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
@click.option("--from-topic", is_flag=True, help="Note the labels that come on the topic trainwatch.labels.v1, until SIGTERM or Ctrl-C.")
@click.option("--once", is_flag=True, help="With --from-topic: note what waits, then end.")
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
    from_topic: bool,
    once: bool,
    as_json: bool,
) -> None:
    """Say whether FINDING (an id, or how it begins) was true, false, or benign because of something.

    Labels feed the precision of detectors, are never deleted, and stand in the custody log. Tools that cannot run this command send them
    to the topic trainwatch.labels.v1; one `--from-topic` of a site notes them. A label whose finding is not there yet waits for it, a day
    at most; if it is given up, the custody log says so.

    Exit 0: noted, or ended as asked; 1: a server does not answer: --from-topic without --once needs Kafka to start, and waits for both
    later; 2: wrong usage; 3: with --once, one was not a label, or was given up; 4: there is no such finding.
    """
    said = _said(finding, word, because, note, on_behalf_of or options.settings.operator)
    modes = [name for name, chosen in (("--list", listing), ("--summary", summary), ("--from-topic", from_topic)) if chosen]
    if modes and (len(modes) > 1 or word or because or note or on_behalf_of or (finding and not listing)):
        raise click.UsageError("--summary and --from-topic stand alone; --list takes FINDING, --limit and --json.")
    if not modes and said is None:
        raise click.UsageError(
            f"say which finding and what: trainwatch label FINDING {'|'.join(Word)}. `trainwatch finding list` shows ids."
        )
    with clickhouse(options) as database:
        if from_topic:
            raise SystemExit(_take(options, database, once=once))
        if summary:
            _show_quality(labels.quality(database), as_json=as_json)
        elif said is None or listing:
            found = finding_of(database, finding).finding_id if finding else ""
            _show_labels(labels.history(database, found, limit=limit), as_json=as_json)
        else:
            chosen = finding_of(database, finding)
            if why := refusal(said, chosen.detector):
                raise click.UsageError(f"{why}.")
            custody = custody_of(said, chosen, said.account, now_ms())
            labels.add(database, chosen, said, custody, person=labels.person(options.settings, said, custody))
            told = {"finding": chosen.finding_id, "detector": chosen.detector, "label": said.label, "because": because, "by": said.account}
            if as_json:
                say_json(msgspec.json.encode(told))
            else:
                click.echo(f"{chosen.finding_id} {safe(chosen.detector)}: {custody.detail}, by {safe(said.account)}")


def _said(finding: str, word: str | None, because: str, note: str, on_behalf_of: str) -> Said | None:
    """What is said; None: nothing.  Raises UsageError with what to type instead."""
    if not finding or word is None:
        return None
    said = Said(finding=finding, label=Word(word), account=account(), because=because, note=note, on_behalf_of=on_behalf_of)
    if why := refusal(said):
        if said.label is Word.BENIGN and not because:
            why += f". Write --because NAME: `trainwatch finding show {finding}` lists what was looked at"
        raise click.UsageError(f"{why}.")
    return said


def _take(options: Options, database: "Database", *, once: bool) -> int:
    """Note what comes on the topic, until it is ended; the exit code."""
    from pipeline.cli.notify import FAILED, asked_to_end  # noqa: PLC0415  keeps --help quick
    from pipeline.cli.replay import with_broker  # noqa: PLC0415
    from pipeline.runtime.labelling import Labeller  # noqa: PLC0415

    refused = quiet = 0
    with Labeller(with_broker(options.settings), database, say) as labeller, asked_to_end() as ended:
        say(f"noting labels from {labeller.topic}")
        while not ended():
            try:
                told = labeller.round(POLL_SECONDS)
            except TransientError as error:
                if once:
                    raise
                say(f"{error}; trying again")
                time.sleep(error.retry_after_seconds)
                continue
            refused += told.refused
            if told.noted:
                say(f"{many(told.noted, 'label')} noted")
            # The first answers of a group may be empty while partitions are handed out.
            quiet = 0 if any(told) else quiet + 1
            if once and quiet > 2 and labeller.caught_up():
                break
        if labeller.waiting:
            say(f"waiting for their findings, to be read again next time: {many(len(labeller.waiting), 'label')}")
    return FAILED if once and refused else 0


def _show_labels(found: Sequence[labels.Label], *, as_json: bool) -> None:
    if as_json:
        for each in found:
            say_json(msgspec.json.encode(each))
        return
    table = build_table("", "time", "finding", "detector", "label", "because", "by", "for", "note")
    table.columns[1].no_wrap = True  # an id is pasted
    for each in found:
        cells = (each.finding_id[:SHORT], each.detector, each.label, each.because, each.account, each.on_behalf_of)
        table.add_row(moment(each.time), *(safe(cell) for cell in cells), safe(each.note, 400))
    stdout().print(table)


def _show_quality(found: Sequence[Quality], *, as_json: bool) -> None:
    if as_json:
        for each in found:
            say_json(msgspec.json.encode({**msgspec.to_builtins(each), "precision": each.precision, "bounds": each.bounds}))
        return
    table = build_table("", "detector", "findings", "alerts", "labelled", "true", "false", "benign", "precision", "95 %")
    for each in found:
        low, high = each.bounds
        share = "-" if each.precision is None else f"{each.precision:.2f}"
        counts = (each.findings, each.alerts, each.labelled, each.true, each.false, each.benign)
        table.add_row(safe(each.detector), *map(str, counts), share, f"{low:.2f} to {high:.2f}" if each.labelled else "-")
    stdout().print(table)
