"""`trainwatch dashboard NAME`: a Grafana dashboard as one HTML file, from the configured ClickHouse, without Grafana.

The same JSON and the same SQL as in Grafana.  The page is written to a file, since it may be large and is to be opened in a browser; its
path is what stands on standard output.
"""

import shlex
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING

import click
import orjson

from pipeline.cli import Options, examples, say, say_json
from pipeline.cli.asking import WHERE_IDS
from pipeline.cli.console import build_table, invocation, moment, safe, stdout
from pipeline.cli.looking import on_record
from pipeline.cli.meter import meter
from pipeline.cli.output import write_file
from pipeline.cli.times import now_ms

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from pipeline.dashboard.definition import Dashboard, Panel
    from pipeline.dashboard.period import Period
    from pipeline.dashboard.query import Answer, Reader

PANELS_FAILED = 3
SERVER = "clickhouse"
FINDING = "finding"
SUBJECTS = (FINDING, "job", "kind", "entity")  # variables that a page is about, also when nobody chose


def _complete_name(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:  # noqa: ARG001  a signature of click
    from pipeline.dashboard import definition  # noqa: PLC0415  keeps --help quick

    return [name for name in definition.dashboards() if name.startswith(incomplete)]


@click.command(epilog=examples("dashboard overview --open", "dashboard job --var job=48344 --from -2d --out job.html"))
@click.argument("name", required=False, shell_complete=_complete_name)
@click.option("--from", "start", help="Begin: -7d, now-6h, 2026-03-02T21:00:00Z. Default: that of the job, else the dashboard's.")
@click.option("--to", "end", help="End; default now, or the newest event.")
@click.option("--var", "variables", multiple=True, metavar="NAME=VALUE", help="Value of a variable; may be repeated.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="File to write; default trainwatch-NAME.html.")
@click.option("--open", "in_browser", is_flag=True, help="Open it in the browser.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output: file, period, variables, panels.")
@click.pass_obj
def dashboard(
    options: Options,
    name: str | None,
    start: str | None,
    end: str | None,
    variables: tuple[str, ...],
    out: Path | None,
    *,
    in_browser: bool,
    as_json: bool,
) -> None:
    """Show a Grafana dashboard as one HTML page, without Grafana.

    Without NAME: list the dashboards. A finding's id may be cut to its beginning. Each page is a row of the custody log.

    Exit 0: written; 1: nothing is known of what --var names; 3: written, and a panel's query failed.
    """
    from pipeline.dashboard import definition, query, render  # noqa: PLC0415  keeps --help quick
    from pipeline.embedded import servers  # noqa: PLC0415  same
    from pipeline.settings import chosen  # noqa: PLC0415  same
    from pipeline.sink.clickhouse import Database  # noqa: PLC0415  same

    known = definition.dashboards()
    if name is None:
        _list(known, as_json=as_json)
        return
    if name not in known:
        raise click.UsageError(f"no dashboard {safe(name)}; there are {', '.join(known)}")
    board, given = known[name], _given(variables)
    settings = servers.connected(options.settings, kafka=False)
    with Database(settings.clickhouse) as database:
        reader = query.Reader(database)
        shown = _period(board, start, end, reader)
        choices = query.choose(board, given, shown, reader)
        if first := _first(choices.values, given):
            say(first)
        if start is None and end is None:
            shown = query.span(choices, shown, reader)
        answered = []
        with meter("asking ClickHouse", quiet=as_json) as line:
            for each in query.answers(board, choices, shown, reader):
                answered.append(each)
                line.count("asking ClickHouse", "panels", len(answered), len(board.panels))
        marked = query.moments(board, choices, shown, reader)
        _require_something(given, shown, answered)
        on_record(database, f"dashboard {name}", [_subject(choices.values, given)])
    path_of_settings = chosen(options.path)
    command = invocation() if path_of_settings is None else f"{invocation()} --settings {shlex.quote(str(path_of_settings))}"
    text = render.page(board, answered, choices, shown, command, marked)
    path = out or Path(f"trainwatch-{board.name}.html")
    write_file(path, text.encode())
    failed = {panel.title: answer.error for panel, answer in answered if answer.error}
    for title, reason in failed.items():
        say(f"panel failed: {title} {safe(reason)}")
    if as_json:
        empty = [panel.title for panel, answer in answered if not answer.error and render.is_empty(panel, answer)]
        found = {
            "file": str(path), "from_ms": shown.from_ms, "to_ms": shown.to_ms, "variables": choices.values, "panels": len(answered),
            "empty": empty, "failed": failed,
        }  # fmt: skip
        say_json(orjson.dumps(found, option=orjson.OPT_INDENT_2))
    else:
        click.echo(str(path))
    if in_browser and not webbrowser.open(path.resolve().as_uri()):
        say(f"no browser was found: open {path} yourself")
    if failed:
        raise SystemExit(PANELS_FAILED)


def _require_something(given: "Mapping[str, Sequence[str]]", shown: "Period", answered: "Sequence[tuple[Panel, Answer]]") -> None:
    """Raises ClickException when no panel knows anything of what was asked for by name: an empty page would look like a quiet one."""
    from pipeline.dashboard import query, render  # noqa: PLC0415  keeps --help quick

    named = ", ".join(f"{name}={', '.join(values)}" for name, values in given.items() if name != render.CLUSTER)
    answers = [answer for _, answer in answered]
    if named and query.says_nothing(answers) and not any(answer.error for answer in answers):
        period = f"{moment(shown.from_ms)} to {moment(shown.to_ms)}"
        raise click.ClickException(
            f"nothing is known of {safe(named)}, {period}. No page was written; --from and --to choose another time."
            + (f"  {WHERE_IDS}." if FINDING in given else "")
        )


def _list(known: "dict[str, Dashboard]", *, as_json: bool) -> None:
    if as_json:
        found = [
            {"name": each.name, "title": each.title, "description": each.description, "variables": [item.name for item in each.variables]}
            for each in known.values()
        ]
        say_json(orjson.dumps(found, option=orjson.OPT_INDENT_2))
        return
    table = build_table("Dashboards", "name", "shows", "variables", "panels")
    for each in known.values():
        table.add_row(each.name, each.description, ", ".join(item.name for item in each.variables), str(len(each.panels)))
    stdout().print(table)


def _subject(chosen: "Mapping[str, Sequence[str]]", given: "Collection[str]") -> str:
    """Of a page, as the custody log names it: a finding by its id, like the commands that show one; else `job 48344`, or all.

    Of an entity with its kind, chosen or not: a host may be called as a person is.
    """
    shown = [(name, value) for name, values in chosen.items() if name in SUBJECTS or name in given for value in values if value]
    return ", ".join(value if name == FINDING else f"{name} {value}" for name, value in shown) or "all"


def _first(chosen: "Mapping[str, Sequence[str]]", given: "Collection[str]") -> str:
    """Which one a page is about of which nobody said which; empty: somebody did, or it is about all.  A reader took it for his own."""
    taken = {name: value for name, values in chosen.items() if name in SUBJECTS and name not in given for value in values if value}
    shown = ", ".join(f"{name} {value}" for name, value in taken.items())
    return f"shown is {shown}, the first in the list; --var {[*taken][-1]}=... chooses another" if taken else ""


def _given(variables: tuple[str, ...]) -> dict[str, list[str]]:
    given: dict[str, list[str]] = {}
    for each in variables:
        name, equals, value = each.partition("=")
        if not equals:
            raise click.UsageError(f"--var {safe(each)}: write NAME=VALUE")
        given.setdefault(name, []).append(value)
    return given


def _period(board: "Dashboard", start: str | None, end: str | None, reader: "Reader") -> "Period":
    """What is asked for; without a word, the dashboard's own length up to now, or up to the newest event where nothing came since.

    So that a demo, whose week is simulated, and a replay of old logs are seen without knowing their dates.  The server's own state is
    of today.
    """
    from pipeline.dashboard.period import parse_period  # noqa: PLC0415  keeps --help quick

    now = now_ms()
    own = board.period[0]
    if start is None and end is None:
        newest = reader.newest_ms() if board.name != SERVER else None
        shown = parse_period(own, "now", now)
        if newest is not None and newest < shown.from_ms:
            shown = parse_period(own, "now", newest + 60_000)
            say(f"nothing is newer than {moment(newest)}: the period ends with the newest event; --from and --to choose another")
        return shown
    return parse_period(start or own, end or "now", now)
