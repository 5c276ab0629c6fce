"""`trainwatch incident list | show | report | rumour | status | assign | note | reply | reveal | presence`: cases, and what people did.

What the pipeline says of an incident is its own and changes with the evidence.  What people do is written into a journal that is only ever
added to: who, when, what; nothing in it changes what is judged.  A merged incident keeps its journal: old ids lead to the one that has the
findings now, and the entries of all its ids are shown with it.
"""

from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec
import orjson
from rich.console import Console

from pipeline.cli import Options, Verbs, asking, examples, following, say, say_json
from pipeline.cli.asking import SHORT, clickhouse
from pipeline.cli.console import build_table, moment, safe, stdout, write
from pipeline.cli.incident_read import body_of, journals, resolve, told
from pipeline.cli.looking import on_record
from pipeline.cli.output import write_file
from pipeline.cli.presence import presence
from pipeline.cli.reveal import reveal
from pipeline.cli.times import Number, Since
from pipeline.incidents.report import ENTRY_MAX, OPEN, Report, as_json, elsewhere, newest, page, unnamed
from pipeline.incidents.report_labels import UNWEIGHED, labels_of
from pipeline.incidents.report_repeats import act_of, repeats_of
from pipeline.incidents.report_text import called, figures, ratio
from pipeline.loss.rumour import Checked, Rumour, check
from pipeline.model.incident import Loss, Range
from pipeline.model.words import many

if TYPE_CHECKING:
    from pipeline.settings import Settings

STATES = (OPEN, "investigating", "contained", "closed")
LOSS_LINES_SHOWN = 40
NEWS = ("severity", "status", "alert", "attempts", "named", "state", "assignee", "dismissed")

LIST = """
SELECT incident_id, cluster, title, severity, status, alert, findings, attempts, named, leader, first_time, last_time, aliases, dismissed
FROM {db}.incidents_current AS i
LEFT JOIN
(
    SELECT m.incident_id AS incident_id, count() AS dismissed FROM {db}.incident_findings_current AS m
    WHERE m.finding_id IN (SELECT finding_id FROM {db}.dismissed_current) GROUP BY m.incident_id
) AS d USING (incident_id)
WHERE status != 'retracted' AND (%(cluster)s = '' OR cluster = %(cluster)s)
    AND last_time >= fromUnixTimestamp64Milli(%(since)s)
ORDER BY alert DESC, last_time DESC
LIMIT %(limit)s
"""


@click.group(cls=Verbs)
def incident() -> None:
    """Findings of one cause, who may have done it, and what it touched."""


@incident.command(
    "list", epilog=examples("incident list --since 30d", "incident list --json | jq -r .incident_id", "incident list --follow")
)
@click.option("--since", type=Since(), default=0, help="Of which something happened since then: 30m, 2h, 7d, or a time with offset.")
@click.option("--cluster", default="", help="Only this cluster; default all.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="At most so many.")
@click.option("--follow", is_flag=True, help="Go on, and print each as it is opened, grows, or is taken up; ends with Ctrl-C.")
@click.option("--json", "as_json_too", is_flag=True, help="One JSON object per incident, one a line.")
@click.pass_obj
def list_(options: Options, since: int, cluster: str, limit: int, *, follow: bool, as_json_too: bool) -> None:
    """List incidents, alerts first, with their state and whom they are assigned to."""
    with clickhouse(options) as database:

        def ask(limit: int) -> list[asking.Row]:
            rows = asking.rows(database, LIST, {"since": since, "cluster": cluster, "limit": limit})
            entries = journals(database, [name for row in rows for name in (row["incident_id"], *row["aliases"])])
            for row in rows:
                mine = tuple(entry for name in (row["incident_id"], *row.pop("aliases")) for entry in entries.get(name, ()))
                row["state"], row["assignee"] = newest(mine, "status") or STATES[0], newest(mine, "assign")
            return rows

        rows = ask(following.ROWS_MAX if follow else limit)
        _list(rows[:limit], as_json=as_json_too, heading=True)
        if follow:
            seen = following.Seen("incident_id", NEWS)
            following.follow(lambda: ask(following.ROWS_MAX), partial(_list, as_json=as_json_too, heading=False), seen, rows)


def _list(rows: list[asking.Row], *, as_json: bool, heading: bool) -> None:
    if as_json:
        for row in rows:
            say_json(orjson.dumps(row, default=str))
        return
    if not rows and not heading:
        return
    table = build_table("Incidents" if heading else "", "id", "last", "severity", "what", "attempts", "leading", "state", "assigned to")
    table.show_header = heading
    for row in rows:
        title = f"{row['title']}{_dismissed(row['dismissed'])}"
        shown = (row["incident_id"][:12], f"{row['last_time']:%Y-%m-%d %H:%M}Z", row["severity"], title, row["attempts"])
        table.add_row(*map(safe, shown), safe(row["named"] or unnamed(row["leader"])), safe(row["state"]), safe(row["assignee"] or "-"))
    stdout().print(table)


@incident.command(epilog=examples("incident show 5f0c2e", "incident show 5f0c2e --json | jq .incident.attribution"))
@click.argument("incident_id")
@click.option("--json", "as_json_too", is_flag=True, help="One JSON object instead of tables.")
@click.pass_obj
def show(options: Options, incident_id: str, *, as_json_too: bool) -> None:
    """Show incident INCIDENT_ID, or the one into which it was merged; the first six digits are enough.

    The look goes into the custody log.

    Exit 0: found; 4: nothing is known under this id; 5: several begin so.
    """
    found = _looked_at(options, incident_id, "incident show")
    if as_json_too:
        say_json(as_json(found))
    else:
        print_report(stdout(), found)


@incident.command(epilog=examples("incident report 5f0c2e", "incident report 5f0c2e --out case.json --json"))
@click.argument("incident_id")
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), help="File to write.  [default: incident-<12 digits>.html, or .json, here]"
)
@click.option("--json", "as_json_too", is_flag=True, help="JSON instead of HTML.")
@click.pass_obj
def report(options: Options, incident_id: str, out: Path | None, *, as_json_too: bool) -> None:
    """Write the whole report of INCIDENT_ID into one file that needs no network: HTML, or JSON of the same.

    It goes into the custody log.  `incident show --json` gives the JSON on standard output.

    Exit 0: written; 4: nothing is known under this id; 5: several begin so.
    """
    found = _looked_at(options, incident_id, "incident report")
    body = as_json(found) if as_json_too else page(found).encode()
    out = out or Path(f"incident-{found.incident.id[:12]}.{'json' if as_json_too else 'html'}")
    write_file(out, body)
    say(f"{out}: {many(len(body), 'byte')}; it holds names and log lines, so mind who reads it")


@incident.command(epilog=examples("incident rumour 5f0c2e --gpus 8000 --days 61"))
@click.argument("incident_id")
@click.option("--gpus", type=click.IntRange(1), required=True, help="How many GPUs people say were concerned.")
@click.option("--days", type=Number(0, min_open=True), required=True, help="For how many days.")
@click.option("--money", type=Number(0), default=None, help="What they say it cost, in the currency of the prices.")
@click.option("--json", "as_json_too", is_flag=True, help="One JSON object instead of text.")
@click.pass_obj
def rumour(options: Options, incident_id: str, gpus: int, days: float, money: float | None, *, as_json_too: bool) -> None:
    """Hold what people say of the scale of INCIDENT_ID against the records.

    The look goes into the custody log.

    Exit 0: compared; 4: nothing is known under this id; 5: several begin so.
    """
    with clickhouse(options) as database:
        body = body_of(database, resolve(database, incident_id)).incident
        on_record(database, "incident rumour", [body.id])
    checked = check(Rumour(gpus=gpus, days=days, money=money), body.loss, body.limits)
    if as_json_too:
        say_json(orjson.dumps(msgspec.to_builtins(checked)))
    else:
        _print_checked(stdout(), checked, body.loss.currency)


@incident.command(epilog=examples('incident status 5f0c2e contained --why "account locked"'))
@click.argument("incident_id")
@click.argument("state", type=click.Choice(STATES))
@click.option("--why", default="", help="Reason, for the journal.")
@click.pass_obj
def status(options: Options, incident_id: str, state: str, why: str) -> None:
    """Say in the journal how far work on INCIDENT_ID has come.

    Exit 0: noted; 4: nothing is known under this id; 5: several begin so.
    """
    _write(options, incident_id, "status", state, why)


@incident.command(epilog=examples("incident assign 5f0c2e u002"))
@click.argument("incident_id")
@click.argument("assignee")
@click.pass_obj
def assign(options: Options, incident_id: str, assignee: str) -> None:
    """Say in the journal who works on INCIDENT_ID.

    Exit 0: noted; 4: nothing is known under this id; 5: several begin so.
    """
    _write(options, incident_id, "assign", assignee, "")


@incident.command(epilog=examples('incident note 5f0c2e "the owner was asked"'))
@click.argument("incident_id")
@click.argument("text")
@click.pass_obj
def note(options: Options, incident_id: str, text: str) -> None:
    """Add TEXT to the journal of INCIDENT_ID.

    Exit 0: noted; 4: nothing is known under this id; 5: several begin so.
    """
    _write(options, incident_id, "note", "", text)


@incident.command(epilog=examples('incident reply 5f0c2e "I was told to stop that job." --from u017'))
@click.argument("incident_id")
@click.argument("text")
@click.option("--from", "who", required=True, help="Who replied: the named person, or who speaks for them.")
@click.pass_obj
def reply(options: Options, incident_id: str, text: str, who: str) -> None:
    """Add the reply of a person whom INCIDENT_ID concerns: it stands in every report, as it was given.

    A candidate who is not named stands there under a label, in TEXT too; in the journal nothing is changed.

    Exit 0: noted; 4: nothing is known under this id; 5: several begin so.
    """
    _write(options, incident_id, "reply", who, text)


incident.add_command(reveal)
incident.add_command(presence)


# --- asking -----------------------------------------------------------------------------------------------------------------------


def _looked_at(options: Options, asked: str, command: str) -> Report:
    with clickhouse(options) as database:
        found = told(options.settings, database, resolve(database, asked))
        on_record(database, command, [found.incident.id])
    return found


def _write(options: Options, asked: str, action: str, value: str, text: str) -> None:
    if len(value) + len(text) > ENTRY_MAX:
        raise click.UsageError(f"at most {ENTRY_MAX:,} characters go into one entry")
    if not (value + text).strip():
        raise click.UsageError("an entry without a word stays in the journal for good: say something")
    with clickhouse(options) as database:
        incident_id = resolve(database, asked)
        entry = {"incident_id": incident_id, "operator": operator(options.settings), "action": action, "value": value, "text": text}
        database.insert("incident_journal", {"at": [datetime.now(UTC)], **{name: [each] for name, each in entry.items()}})
    say(f"{incident_id[:12]}: {action} {value}".rstrip() + f", by {entry['operator']}")


def operator(settings: "Settings") -> str:
    """Who sits here: the system user, which nobody chooses freely, and what the settings state beside it."""
    user = asking.user()
    return f"{user} ({settings.operator})" if settings.operator else user


# --- showing ----------------------------------------------------------------------------------------------------------------------


def print_report(console: Console, found: Report) -> None:
    """The main of it for a terminal; the report has everything."""
    body, said, scope = found.incident, found.incident.attribution, found.incident.scope
    console.print(f"[bold]Incident {safe(body.id)}[/bold] {safe(body.title)}")
    write(console, f"{safe(body.severity)}, {safe(body.status)}, {moment(body.first)} to {moment(body.last)}, revision {found.revision}")
    console.print(f"  state {safe(found.state)}, assigned to {safe(found.assignee or '-')}")
    name = f"named: [bold]{safe(said.named)}[/bold]" if said.named else f"no name: {safe(said.withheld, 400)}"
    leading = f"leading: {safe(said.named or unnamed(said.leader))}; next: {safe(unnamed(said.second))}"
    write(console, f"{leading}; factor {ratio(said.gap_low)} to {ratio(said.gap_high)}, mostly by assumption; {name}")
    labels = labels_of(body, found.journal)
    if found.dismissed.any:
        write(console, f"{safe(found.dismissed, 600)}; {UNWEIGHED}")
    table = build_table("Findings", "effect", "id", "detector", "about", "what", "gate")
    by_id = {each.id: each for each in found.findings}
    for member, others in repeats_of(body.members, found.findings):
        label = labels.get(member.finding[:SHORT], "")
        gate = ("alert" if member.alert else member.gate) + (f"; labelled {label}" if label else "")
        more = f"; {len(others)} more of the same {act_of(member, by_id)}: see the report" if others else ""
        cells = (member.finding[:SHORT], member.detector, called(member.subject), member.summary + more, gate)
        table.add_row(moment(member.effect_time), *map(safe, cells))
    console.print(table)
    table = build_table("Hypotheses", "kind", "who", "low", "high", "evidence")
    for each in said.hypotheses:
        kinds = ", ".join(row.kind for row in each.weighed)
        table.add_row(*map(safe, (each.kind, each.who or "-", ratio(each.low), ratio(each.high), kinds)))
    console.print(table)
    console.print(
        f"Scope: {many(scope.affected or len(scope.attempts), 'attempt')} of {many(scope.affected_users or len(scope.users), 'owner')}, "
        f"{scope.exposed} more loaded suspect artefacts, {scope.derived} went on from what these saved; "
        f"{scope.unaffected} of {scope.examined} that ended are unaffected, {scope.unexplained} unexplained"
    )
    for line in found.limits:
        write(console, safe(line, 400))
    _print_loss(console, body.loss)
    for entry in found.journal:
        write(console, f"{moment(entry.at)} {safe(entry.operator)}: {safe(entry.action)} {safe(entry.value)} {safe(entry.text, 400)}")
    for line in elsewhere(found):
        write(console, safe(line))


def _dismissed(count: int) -> str:
    """Beside whoever leads: else people that others have cleared would be accused again by whoever looks next."""
    return f"; {count} labelled false or benign" if count else ""


def _print_loss(console: Console, loss: Loss) -> None:
    """Totals, and the first lines of them."""
    console.print(f"Loss, low / middle / high: {_between(loss.direct_gpu_hours)} GPU-hours of at most {many(loss.gpus, 'GPU')}")
    if loss.currency:
        write(console, f"direct {_between(loss.direct_money)} {safe(loss.currency)}, indirect {_between(loss.indirect_money)}, kept apart")
    if loss.lines:
        table = build_table("Loss", "kind", "of", "GPU-hours", safe(loss.currency or "money"), "formula", "note")
        for line in loss.lines[:LOSS_LINES_SHOWN]:
            attempt = called(line.attempt.name) if line.attempt else "-"
            table.add_row(*map(safe, (line.kind, attempt, _between(line.gpu_hours), _between(line.money), line.formula, line.note)))
        console.print(table)
        write(console, "GPUs, times, shares and prices that go into each line: in the report, or with --json.")
        if len({(line.kind, line.attempt) for line in loss.lines}) < len(loss.lines):
            write(console, "Lines of one job and kind are of different GPUs or hours: none is counted twice in a reading.")
    if len(loss.lines) > LOSS_LINES_SHOWN:
        write(console, f"and {len(loss.lines) - LOSS_LINES_SHOWN} further lines: see the report")
    for line_left_out in loss.unknown:
        write(console, safe(line_left_out, 400))


def _print_checked(console: Console, checked: Checked, currency: str) -> None:
    """The two beside one another; no judgement on whoever said it."""
    table = build_table("What people say, against the records", "", "said", "records: low / middle / high")
    table.add_row("GPU-hours", f"{checked.claimed_gpu_hours:,.0f}", _between(Range.of(checked.recorded_gpu_hours)))
    table.add_row("different GPUs", f"{checked.claimed_gpus:,}", f"at most {checked.recorded_gpus:,}")
    said = "-" if checked.claimed_money is None else f"{checked.claimed_money:,.0f}"
    table.add_row(safe(currency or "money"), said, _between(Range.of(checked.recorded_money)) if currency else "no prices are set")
    console.print(table)
    if checked.times_too_large is None:
        console.print("No GPU-hours are on record: what is said can be neither supported nor refuted.")
    else:
        console.print(f"What is said is {checked.times_too_large:,.2f} times the high reading of the records.")
    for line in checked.unknown:
        write(console, safe(line, 400))


def _between(amount: Range) -> str:
    """Low to high, the middle between."""
    low, middle, high = figures(amount)
    return middle if low == high else f"{low} / {middle} / {high}"
