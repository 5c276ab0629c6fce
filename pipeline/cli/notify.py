"""`trainwatch notify`: tell webhooks of findings and incidents; acknowledge and snooze them.

The commands that people type write the same file as the running notifier, so they are run on its machine.
"""

import logging
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import click
import msgspec

from pipeline.cli import Options, examples, say, say_json
from pipeline.cli.asking import account, the_one
from pipeline.cli.console import build_table, moment, safe, stdout
from pipeline.cli.replay import with_broker
from pipeline.cli.times import UNITS, Duration, Since, now_ms
from pipeline.errors import BrokerUnavailable, ConfigError
from pipeline.model.words import many

if TYPE_CHECKING:
    from pipeline.runtime.health import HealthServer
    from pipeline.runtime.notify import Notifier
    from pipeline.runtime.notify_book import Book, Standing
    from pipeline.settings import NotifySettings

FAILED = 3
POLL_SECONDS = 1.0
SNOOZE_DAYS_MAX = 30
ROWS = 30
NOTE_MAX = 500

EXAMPLES = examples(
    "notify                                  # runs until SIGTERM or Ctrl-C",
    "notify --once                           # tells what waits, then ends: for cron",
    "notify test oncall",
    'notify ack a378b78a07ce --note "with u002"',
    "notify snooze a378b78a07ce 4h",
    "notify list",
    "notify list --failed                    # exit 3: something could not be told",
)


@click.group(invoke_without_command=True, epilog=EXAMPLES)
@click.option("--once", is_flag=True, help="Tell what waits, then end.")
@click.pass_context
def notify(ctx: click.Context, *, once: bool) -> None:
    """Tell the webhooks under notify.targets of findings and incidents, as they come.

    Run one notifier for a site: what it told stands in notify.state_file. It serves /healthz, /readyz and /metrics on notify.health_port.

    Exit 0: ended as asked; 1: the broker does not answer at the start, or with --once at any time; without --once the
    notifier waits for it later; 2: wrong settings; 3: with --once, something could not be told, not even at a second try.
    """
    if ctx.invoked_subcommand is not None:
        return
    from pipeline.runtime.notify import Notifier, targets_of  # noqa: PLC0415  keeps --help quick
    from pipeline.runtime.notify_book import Book  # noqa: PLC0415

    targets_of(ctx.ensure_object(Options).settings.notify)  # before there is a book, by which every target seems to have been told
    settings = with_broker(ctx.ensure_object(Options).settings)
    with (
        Book(settings.notify.state_file) as book,
        Notifier(settings, book, say) as notifier,
        asked_to_end() as ended,
        ExitStack() as served,
    ):
        if not once and (server := _serve(notifier, settings.notify)):
            served.callback(server.close)
        say(f"notifying {', '.join(target.name for target in settings.notify.targets)}")
        quiet = 0
        while not ended():
            try:
                done = notifier.round(POLL_SECONDS, ended)
            except BrokerUnavailable as error:
                if once:
                    raise
                say(f"{error}; trying again")
                time.sleep(error.retry_after_seconds)
                continue
            # The first answers of a group may be empty while partitions are handed out.
            quiet = 0 if done.taken or done.told else quiet + 1
            if once and quiet > 2 and notifier.caught_up():
                break
        untold = notifier.untold
    ctx.exit(FAILED if once and untold else 0)


def _serve(notifier: "Notifier", settings: "NotifySettings") -> "HealthServer | None":
    from pipeline.runtime.health import serve  # noqa: PLC0415  keeps --help quick

    log = logging.getLogger("trainwatch.notify")
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(message)s")
    log.setLevel(logging.INFO)
    metrics = notifier.metrics
    return serve(metrics, metrics, settings.health_host, settings.health_port, log, "notify.health_port")


@contextmanager
def asked_to_end() -> Iterator[Callable[[], bool]]:
    """SIGTERM and Ctrl-C end after what is under way."""
    asked = []

    def note(*_: object) -> None:
        asked.append(True)

    before = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@notify.command(epilog=examples("notify test oncall"))
@click.argument("target")
@click.pass_obj
def test(options: Options, target: str) -> None:
    """Send TARGET a notice that says it is a test.

    Exit 0: taken; 3: not, with the reason.
    """
    from pipeline.runtime.notify import send_test  # noqa: PLC0415  keeps --help quick

    answer = send_test(options.settings.notify, target, now_ms())
    click.echo(f"{safe(target)}: " + ("taken" if answer.taken else safe(answer.why)))
    raise SystemExit(0 if answer.taken else FAILED)


@notify.command(epilog=examples('notify ack a378b78a07ce --note "with u002"', "notify ack a378b78a07ce --undo"))
@click.argument("subject")
@click.option("--note", default="", help="What you are doing about it.")
@click.option("--undo", is_flag=True, help="Nobody works on it after all.")
@click.pass_obj
def ack(options: Options, subject: str, note: str, *, undo: bool) -> None:
    """Say that you work on finding or incident SUBJECT: it is not escalated, and changes are still told.

    Exit 0: noted; 4: the notifier has not heard of it.
    """
    from pipeline.runtime.notify_book import ACK, UNACK  # noqa: PLC0415  keeps --help quick

    _answer(options, subject, UNACK if undo else ACK, note=note)


@notify.command(epilog=examples("notify snooze a378b78a07ce 4h", "notify snooze a378b78a07ce 0m              # ends it"))
@click.argument("subject")
@click.argument("duration", type=Duration())
@click.option("--note", default="", help="Why it can wait.")
@click.pass_obj
def snooze(options: Options, subject: str, duration: int, note: str) -> None:
    """Tell nobody of SUBJECT for DURATION: 30m, 4h, 2d; 0m ends it.

    Exit 0: noted; 4: the notifier has not heard of it.
    """
    from pipeline.runtime.notify_book import SNOOZE  # noqa: PLC0415

    if duration > SNOOZE_DAYS_MAX * UNITS["d"]:
        raise click.UsageError(f"that is longer than {SNOOZE_DAYS_MAX} days: write 30m, 4h or 2d.")
    _answer(options, subject, SNOOZE, until=now_ms() + duration, note=note)


@notify.command(epilog=examples("notify retry", "notify retry a378b78a07ce"))
@click.argument("subject", default="")
@click.pass_obj
def retry(options: Options, subject: str) -> None:
    """Try again at once what waits or was given up: of SUBJECT, or all.

    Exit 0: noted; 4: the notifier has not heard of it.
    """
    with _book(options) as book:
        click.echo(f"to be tried again: {many(book.retry(_known(book, subject) if subject else ''), 'delivery', 'deliveries')}")


@notify.command(
    "list",
    epilog=examples("notify list --open --since 7d", "notify list --failed                      # exit 3: something could not be told"),
)
@click.option("--since", type=Since(), default=0, help="First heard since then: 30m, 2h, 7d, or a time with offset.")
@click.option("--open", "unanswered", is_flag=True, help="Only what nobody has acknowledged.")
@click.option("--failed", is_flag=True, help="Only what a target has not taken so far; exit 3 when there is any: for cron.")
@click.option("--limit", type=click.IntRange(1, 100_000), default=ROWS, show_default=True, help="Rows, the newest.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@click.pass_obj
def list_(options: Options, since: int, limit: int, *, unanswered: bool, failed: bool, as_json: bool) -> None:
    """What the notifier has heard, whom it told, who works on it.

    Exit 0: also when there is nothing; 3: with --failed, something waits for its next try or was given up.
    """
    from pipeline.runtime.notify import targets_of  # noqa: PLC0415  keeps --help quick

    settings, now = options.settings.notify, now_ms()
    if failed and not settings.targets:
        targets_of(settings)  # raises: of nobody it would be true that all were told
    with _book(options) as book:
        failing = {each.word.notice.id for each in book.failing(settings, now)}
        standings = [
            each
            for each in book.standings(now)
            if each.since >= since and not (unanswered and each.acknowledged_by) and (not failed or each.notice.id in failing)
        ][:limit]
    if as_json:
        for each in standings:
            say_json(msgspec.json.encode(each))
    elif standings:
        _show(standings, settings.tries_max)
    else:
        say(
            "every target took what it was to hear"
            if failed and not failing
            else "the notifier has heard of nothing that these options choose"
        )
    raise SystemExit(FAILED if failed and failing else 0)


def _show(standings: "Sequence[Standing]", tries_max: int) -> None:
    table = build_table("", "heard", "what", "id", "severity", "status", "title", "told", "waiting", "answer")
    for each in standings:
        notice = each.notice
        waiting = ", ".join(f"{name} ({tries}: {why})" + " given up" * (tries >= tries_max) for name, tries, why in each.waiting)
        cells = (notice.kind, notice.id[:12], notice.severity, notice.status, notice.title, ", ".join(each.told), waiting, _answered(each))
        table.add_row(moment(each.since), *(safe(cell) for cell in cells))
    stdout().print(table)


def _answered(each: "Standing") -> str:
    if each.snoozed_until:
        return f"snoozed until {moment(each.snoozed_until)}"
    return f"acknowledged by {each.acknowledged_by}" if each.acknowledged_by else ""


def _book(options: Options) -> "Book":
    from pipeline.runtime.notify_book import Book  # noqa: PLC0415  keeps --help quick

    path = options.settings.notify.state_file
    if not path.exists():
        advice = "Type this on the notifier's machine, with its settings and in its folder; notify.state_file says where the file is."
        raise ConfigError(f"no notifier has run with {path}", advice=advice)
    return Book(path)


def _known(book: "Book", begun: str) -> str:
    return the_one(book.ids(begun), begun, f"the notifier has not heard of {safe(begun)}: `trainwatch notify list` shows what it has")


def _answer(options: Options, subject: str, action: str, **said: Any) -> None:
    if len(said["note"]) > NOTE_MAX:
        raise click.UsageError(f"--note takes {NOTE_MAX} characters.")
    with _book(options) as book:
        chosen, who = _known(book, subject), account()
        book.answer(chosen, now=now_ms(), account=who, action=action, **said)
    until = f" until {moment(said['until'])}" if "until" in said else ""
    click.echo(f"{chosen}: {action}{until}, by {safe(who)}")
