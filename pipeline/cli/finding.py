"""`trainwatch finding list | show ID`: what was found, and all that stands behind one finding, from ClickHouse.

What is printed came from logs, which attackers write: every cell goes through `console.safe`.
"""

import shlex
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import orjson
from rich.console import Console

from pipeline.cli import Options, Verbs, examples, say, say_json
from pipeline.cli.asking import SHORT, Row, clickhouse, complete_detector, detector_ids, evidence, finding_of, rows
from pipeline.cli.console import build_table, confidence, invocation, moment, safe, stdout, write
from pipeline.cli.following import ROWS_MAX, Seen
from pipeline.cli.following import follow as follow_rows
from pipeline.cli.looking import on_record
from pipeline.cli.times import Since
from pipeline.model.source import in_words

if TYPE_CHECKING:
    from pipeline.sink.clickhouse import Database

ROWS = 50
NEWS = ("status", "alert", "actor", "label")
LINE_MAX = 400
SUMMARY_MAX = 120
VERIFY = "whether records arrive and are judged is said by `trainwatch verify`"

# An id that is quoted as the newest word of its finding; `since` in UTC milliseconds of the effect.
LIST = """
SELECT f.finding_id AS finding_id, f.detector AS detector, f.severity AS severity, f.status AS status, f.alert AS alert, f.gate AS gate,
    f.subject AS subject, f.subject_name AS subject_name, f.cluster AS cluster, f.job_id AS job_id, f.owner AS owner, f.actor AS actor,
    f.actor_withheld AS actor_withheld, f.confidence AS confidence, f.cause_time AS cause_time, f.effect_time AS effect_time,
    f.summary AS summary, f.revision AS revision, l.label AS label
FROM {db}.findings_told AS f
LEFT JOIN {db}.labels_current AS l ON l.finding_id = f.finding_id
WHERE f.effect_time >= fromUnixTimestamp64Milli(%(since)s) AND (%(retracted)s OR f.status != 'retracted')
    AND (NOT %(alert)s OR f.alert) AND (empty(%(detectors)s) OR f.detector IN %(detectors)s)
ORDER BY f.effect_time DESC, f.finding_id
LIMIT %(limit)s
"""
SHOW = "SELECT * FROM {db}.findings_told WHERE finding_id = %(finding)s"
INCIDENTS = """
SELECT i.incident_id AS incident_id, i.title AS title, i.status AS status
FROM {db}.incident_findings_current AS m
INNER JOIN {db}.incidents_current AS i ON i.incident_id = m.incident_id
WHERE m.finding_id = %(finding)s AND i.status != 'retracted'
ORDER BY incident_id
"""

LIST_EXAMPLES = examples(
    "finding list --alert --since 7d", "finding list --detector p03_foreign_cancel --json | jq .actor", "finding list --follow"
)
SHOW_EXAMPLES = examples("finding show 059fa83fba9f", "finding show 059fa83fba9f --json | jq '.evidence[].raw'")


@click.group(cls=Verbs)
def finding() -> None:
    """Suspected interference: what was found, and what proves it."""


@finding.command("list", epilog=LIST_EXAMPLES)
@click.option("--since", type=Since(), default=0, help="Effects since then: 30m, 2h, 7d, or a time with offset.")
@click.option(
    "--detector",
    "detectors",
    multiple=True,
    shell_complete=complete_detector,
    help="Only of this detector, p03 or p03_foreign_cancel; may be repeated.",
)
@click.option("--alert", is_flag=True, help="Only those above their gate.")
@click.option("--all", "retracted", is_flag=True, help="Also those that later facts took back.")
@click.option("--limit", type=click.IntRange(1, ROWS_MAX), default=ROWS, show_default=True, help="Rows, the newest.")
@click.option("--follow", is_flag=True, help="Go on, and print each as it is raised, named, final or taken back; ends with Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@click.pass_obj
def list_(options: Options, /, *, follow: bool, as_json: bool, limit: int, **chosen: Any) -> None:
    """List findings, the newest last.  Whoever acted is named where an incident names them.

    Exit 0: also when there are none; 1: ClickHouse does not answer; 2: wrong usage or settings.
    """
    chosen["detectors"] = sorted(detector_ids(chosen["detectors"]))  # ClickHouse knows an empty array, and no empty tuple
    with clickhouse(options) as database:

        def ask(limit: int) -> list[Row]:
            return rows(database, LIST, {**chosen, "limit": limit})[::-1]

        def earlier() -> list[Row]:
            return rows(database, LIST, {**chosen, "since": 0, "limit": 1})

        tell(ask, limit, follow=follow, as_json=as_json, earlier=earlier if chosen["since"] else None)


def tell(
    ask: Callable[[int], list[Row]], limit: int, *, follow: bool, as_json: bool, earlier: Callable[[], list[Row]] | None = None
) -> None:
    """Print the newest, then what is new among all: an old finding may become final, or be taken back.

    `earlier` gives the newest of all times, for when none is since then.
    """
    found = ask(ROWS_MAX if follow else limit)
    _print(found[-limit:], as_json=as_json, heading=True)
    if not found and not as_json:
        before = earlier() if earlier else []
        told = f"the newest before is of {moment(before[0]['effect_time'])}: give an earlier --since" if before else VERIFY
        say(f"no findings; {told}")
    if not follow:
        if not as_json and len(found) == limit:
            say(f"the newest {limit}; --limit shows more")
        return
    follow_rows(lambda: ask(ROWS_MAX), partial(_print, as_json=as_json, heading=False), Seen("finding_id", NEWS), found)


def _print(found: Sequence[Row], *, as_json: bool, heading: bool) -> None:
    if as_json:
        for row in found:
            say_json(orjson.dumps(row, default=str))
        return
    if found:
        stdout().print(table_of(found, heading=heading))


def table_of(found: Sequence[Row], *, heading: bool = True) -> Any:
    """Findings as a table."""
    table = build_table("", "effect", "id", "severity", "about", "actor", "sure", "what")
    table.show_header = heading
    for row in found:
        withheld = "" if row["actor"] else row["actor_withheld"] or "unknown"
        status = row["status"] if row["alert"] else f"{row['status']}, below gate"
        about = f"{row['subject']} {row['subject_name']}"
        if row["owner"] not in ("", row["subject_name"]):
            about += f" of {row['owner']}"
        said = f"; labelled {row['label']}" if row["label"] else ""
        table.add_row(
            moment(row["effect_time"]),
            safe(str(row["finding_id"])[:SHORT]),
            safe(row["severity"]),
            safe(about),
            safe(row["actor"] or "withheld"),
            f"{row['confidence']:.2f}" + ("*" if withheld else ""),
            safe(f"{row['detector']} ({status}): ") + safe(row["summary"], SUMMARY_MAX) + safe(said),
        )
    if any(not row["actor"] for row in found):
        table.caption = "* in the act; nobody is named: `finding show` says why"
    return table


@finding.command(epilog=SHOW_EXAMPLES)
@click.argument("finding_id")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of tables.")
@click.pass_obj
def show(options: Options, finding_id: str, *, as_json: bool) -> None:
    """Show FINDING_ID (or how it begins): what is said, what was checked, the lines that prove it, what to do next.

    Whoever acted is named where an incident names them. The look goes into the custody log.

    Exit 0: found; 4: there is no such finding.
    """
    with clickhouse(options) as database:
        finding_id = finding_of(database, finding_id).finding_id
        found = _ask(database, finding_id)
        on_record(database, "finding show", [finding_id])
    if as_json:
        say_json(orjson.dumps(found, default=str, option=orjson.OPT_INDENT_2))
    else:
        show_finding(stdout(), found, command_on(options.path))


def _ask(database: "Database", finding_id: str) -> Row:
    from pipeline.sink import labels  # noqa: PLC0415  keeps --help quick

    asked = {"finding": finding_id}
    (row,) = rows(database, SHOW, asked)
    names = "name", "answer", "by", "note", "missing"
    row["checklist"] = [dict(zip(names, item, strict=True)) for item in row["checklist"]]
    return {
        **row,
        "evidence": evidence(database, [finding_id]),
        "incidents": rows(database, INCIDENTS, asked),
        "labels": [{name: getattr(each, name) for name in each.__struct_fields__} for each in labels.history(database, finding_id)],
        "detector_says": _meta(str(row["detector"])),
    }


def _meta(detector: str) -> dict[str, Any]:
    """What this release says of the detector; nothing of one that it does not have."""
    from pipeline.detect.detector import registry  # noqa: PLC0415  keeps --help quick

    for each in registry():
        if each.meta.id == detector:
            return {"runbook": each.meta.runbook, "blind_spots": list(each.meta.blind_spots)}
    return {}


def command_on(path: Path | None) -> str:
    """What a reader types to go on with the same settings."""
    return invocation() if path is None else f"{invocation()} --settings {shlex.quote(str(path))}"


def show_finding(console: Console, found: Row, command: str) -> None:
    """Everything for people."""
    gate = "alert" if found["alert"] else f"below the gate: {safe(found['gate'])}"
    console.print(
        f"[bold]{safe(found['title'])}[/bold]  {safe(found['detector'])} v{found['detector_version']}, {safe(found['finding_id'])}"
    )
    write(console, safe(found["summary"], LINE_MAX))
    write(console, f"{safe(found['severity'])}, {safe(found['status'])}, revision {found['revision']}; {gate}")
    write(console, f"about {safe(found['subject'])} {safe(found['subject_name'], LINE_MAX)} of {safe(found['owner'] or 'nobody known')}")
    withheld = "" if found["actor"] else str(found["actor_withheld"] or "unknown")
    write(console, f"actor {safe(found['actor'] or 'withheld')}; confidence {confidence(found['confidence'], withheld)}")
    parts = ", ".join(f"{safe(name)} {value:.2f}" for name, value in dict(found["confidence_parts"]).items())
    write(console, f"= {parts}" if parts else "of one part", 4)
    write(console, f"cause {moment(found['cause_time'])}, effect {moment(found['effect_time'])}, closes {moment(found['closes_at'])}")
    if found["silent"]:
        write(console, f"not heard about that time: {safe(', '.join(found['silent']))}")
    for each in found["incidents"]:
        write(console, f"in incident {safe(each['incident_id'])}: {safe(each['title'])} ({safe(each['status'])})")
    for each in found["labels"]:
        because = f" because {safe(each['because'])}" if each["because"] else ""
        write(console, f"labelled [bold]{safe(each['label'])}[/bold]{because} by {safe(each['account'])}: {safe(each['note'], LINE_MAX)}")
    checks = build_table("Harmless explanations", "explanation", "answer", "why")
    for item in found["checklist"]:
        why = f"missing: {', '.join(map(str, item['missing']))}" if item["missing"] else str(item["note"])
        checks.add_row(safe(item["name"]), safe(item["answer"]), safe(why, LINE_MAX))
    console.print(checks)
    lines = build_table("Evidence", "role", "time", "source", "host", "what", "line")
    for item in found["evidence"]:
        line = item["raw"] or "(the line is no longer in ClickHouse)"
        cells = (item["source"], item["host"], item["summary"])
        lines.add_row(safe(item["role"]), moment(item["event_time"]), *(safe(cell) for cell in cells), safe(line, LINE_MAX))
    console.print(lines)
    if words := in_words(item["source"] for item in found["evidence"]):
        write(console, words)
    said = found["detector_says"]
    if said:
        console.print(f"[bold]First:[/bold] {safe(said['runbook'], 1000)}")
        for blind in said["blind_spots"]:
            write(console, f"blind spot: {safe(blind, LINE_MAX)}")
    command, short = safe(command, LINE_MAX), safe(str(found["finding_id"])[:SHORT])
    console.print("[bold]Next[/bold]")
    if found["job_id"]:
        console.print(f"  {command} job explain {safe(found['job_id'])}", soft_wrap=True)
    console.print(f"  {command} evidence export {safe(found['finding_id'])}", soft_wrap=True)
    console.print(f"  {command} label {short} true|false|benign --note ...", soft_wrap=True)
