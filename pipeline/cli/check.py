"""`trainwatch check`: will these settings hold, on these systems?  Each thing that does not says what to do about it."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import click
import msgspec

from pipeline.cli import Options, examples, say_json
from pipeline.cli.console import build_table, safe, stdout
from pipeline.cli.times import now_ms
from pipeline.errors import TrainwatchError

if TYPE_CHECKING:
    from pipeline.runtime.soundness import Line
    from pipeline.settings import Settings

FAILED = 1
ACCOUNTS = ("worker", "notifier", "operator", "owner", "investigator", "labeller", "privacy", "dashboards", "reader")
COLOURS = {"ok": "green", "warn": "yellow", "fail": "bold red", "skip": "cyan"}


@click.command(epilog=examples("check", "check --problems", "check --as investigator"))
@click.option(
    "--as", "account", type=click.Choice(ACCOUNTS), default="worker", show_default=True, help="Whose account these settings name."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
@click.option("--problems", is_flag=True, help="Only what is not ok.")
@click.pass_context
def check(ctx: click.Context, account: str, as_json: bool, problems: bool) -> None:
    """Prove the settings against the files, Kafka and ClickHouse that they name.

    Looks at modes of secrets, rights of the accounts, topics and how they are kept, clocks, tables, parts and disks.  Changes nothing,
    sends nothing, and prints no secret.  --as names whose work the account is for: a server on which it has none is not asked.

    Exit 0: nothing fails, though there may be warnings; 1: something fails, and its line says what to do.
    """
    from pipeline.runtime import soundness  # noqa: PLC0415  keeps --help quick

    lines = list(_lines(ctx.ensure_object(Options), account))
    counts = soundness.counted(lines)
    if as_json:
        say_json(msgspec.json.encode({"as": account, **soundness.as_json(lines)}))
    else:
        _show([line for line in lines if not problems or line.mark is not soundness.Mark.OK])
        click.echo(", ".join(f"{count} {mark.value}" for mark, count in counts.items() if count))
    ctx.exit(FAILED if counts[soundness.Mark.FAIL] else 0)


def _lines(options: Options, account: str) -> "Iterator[Line]":
    from pipeline.embedded.servers import connected  # noqa: PLC0415  keeps --help quick
    from pipeline.runtime import accounts, examine, soundness  # noqa: PLC0415
    from pipeline.settings import chosen  # noqa: PLC0415
    from pipeline.topology import build_topology  # noqa: PLC0415

    try:
        settings = options.settings
    except TrainwatchError as error:
        yield examine.from_error("settings", "settings", error)
        return
    path = chosen(options.path)
    yield soundness.ok("settings", "settings", f"{path or 'defaults and environment'}, digest {settings.digest()}")
    yield from soundness.references(settings)
    yield from soundness.clusters(settings)
    yield from soundness.patterns(settings)
    yield soundness.unreadable(settings)
    yield soundness.prices(settings, now_ms())
    yield from soundness.excuses(settings, now_ms())
    yield from examine.files(settings, path)
    role = accounts.ACCOUNTS[account]
    asked: tuple[tuple[str, str, Callable[[Settings], Iterator[Line]]], ...] = (
        ("kafka", role.kafka, lambda found: examine.kafka(found, build_topology(found), now_ms, account)),
        ("clickhouse", role.clickhouse, lambda found: examine.clickhouse(found, account)),
    )
    for area, ask in ((area, ask) for area, theirs, ask in asked if theirs):
        try:
            found = connected(settings, kafka=area == "kafka", clickhouse=area == "clickhouse")
            yield from ask(found)
        except TrainwatchError as error:
            yield examine.from_error(area, "address", error)


def _show(lines: "list[Line]") -> None:
    table = build_table("", "", "what", "found, and what to do")
    for line in lines:
        mark = f"[{COLOURS[line.mark.value]}]{line.mark.value}[/]"
        advice = f"\n[bold]->[/] {safe(line.advice)}" if line.advice else ""
        table.add_row(mark, safe(f"{line.area}: {line.what}"), f"{safe(line.found)}{advice}")
    stdout().print(table)
