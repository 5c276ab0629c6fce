"""`trainwatch job explain ID`: why a job ended, from ClickHouse: verdict, findings, the lines that prove it, and its timeline."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click
import orjson

from pipeline.cli import Options, Verbs, examples, say_json
from pipeline.cli.asking import NOT_FOUND, SHORT, Row, clickhouse, evidence, rows
from pipeline.cli.console import build_table, confidence, moment, safe, stdout, write
from pipeline.cli.following import Seen
from pipeline.cli.following import follow as follow_rows
from pipeline.cli.looking import on_record
from pipeline.cli.times import Since
from pipeline.incidents.report_labels import UNWEIGHED, Dismissed
from pipeline.model.source import in_words
from pipeline.model.words import many

if TYPE_CHECKING:
    from rich.console import Console

    from pipeline.sink.clickhouse import Database

TIMELINE_ROWS = 40
TIMELINE_ROWS_MAX = 10_000
ALIKE_MAX = 25  # rows read for each that is shown, since those that are alike are shown as one
NUMBER = re.compile(r"(?<![\w.-])\d{3,}(?!\.?[\w-])")
NO_LIMIT = 2**63 - 1
NO_FINDING = (
    "no finding is about this job: the records show no act of another person against it without leave; what no source recorded stands "
    "nowhere here"
)
NEWS = {  # of each part: what makes a row another one
    "verdicts": ("attempt", "verdict", "cause", "status", "by_event_id"),
    "findings": ("finding_id", "status", "severity", "actor", "alert", "label"),
    "timeline": ("ts", "what", "source", "kind", "host", "actor", "text"),
}

VERDICTS = """
SELECT attempt, owner, state, verdict, cause, status, by_event_id, by_sha256, by_source, by_summary, findings, start_time, end_time, gpus,
    checklist
FROM {db}.verdicts_current WHERE job_id = %(job)s AND (%(cluster)s = '' OR cluster = %(cluster)s)
AND status != 'retracted' ORDER BY end_time
"""
FINDINGS = """
SELECT f.finding_id AS finding_id, attempt, f.detector AS detector, severity, status, owner, actor, actor_withheld, summary, confidence,
    alert, gate, checklist, label, because, account AS labelled_by, labelled_at
FROM (SELECT * FROM {db}.findings_told WHERE job_id = %(job)s AND (%(cluster)s = '' OR cluster = %(cluster)s)) AS f
LEFT JOIN (SELECT finding_id, label, because, account, labelled_at FROM {db}.labels_current) AS l ON l.finding_id = f.finding_id
ORDER BY cause_time
"""
LOSSES = """
SELECT l.incident_id AS incident_id, any(i.title) AS title, arraySort(groupUniqArray(l.kind)) AS kinds, sum(l.gpu_hours_low) AS low,
    sum(l.gpu_hours_middle) AS middle, sum(l.gpu_hours_high) AS high, arraySort(groupUniqArrayIf(l.note, l.note != '')) AS notes
FROM {db}.loss_lines_current AS l INNER JOIN {db}.incidents_current AS i ON i.incident_id = l.incident_id
WHERE l.job_id = %(job)s AND l.ledger = 'direct' AND i.status != 'retracted'
    AND (%(cluster)s = '' OR startsWith(l.attempt, concat(%(cluster)s, '/')))
GROUP BY l.incident_id ORDER BY l.incident_id
"""  # also of a job that nobody touched: it may have gone on from what an altered one had saved
DISMISSED = """
SELECT m.incident_id AS incident_id, arraySort(groupArrayIf(m.finding_id, has(%(findings)s, m.finding_id))) AS of_job,
    countIf(l.label != '') AS dismissed, count() AS findings, countIf(m.alert AND l.label != '') AS alerts_dismissed,
    countIf(m.alert) AS alerts, maxMapIf(map(l.account, toUInt64(toUnixTimestamp64Milli(l.labelled_at))), l.label != '') AS labelled_by,
    countIf(o.label != '') AS dismissed_by_named, any(i.named) AS named
FROM {db}.incident_findings_current AS m
INNER JOIN {db}.incidents_current AS i ON i.incident_id = m.incident_id
LEFT JOIN {db}.dismissed_current AS l ON l.finding_id = m.finding_id
LEFT JOIN
(
    SELECT finding_id, arrayJoin(arrayFilter(who -> who != '', [holder, on_behalf_of])) AS speaker, argMax(label, (at, label_id)) AS label
    FROM {db}.labels WHERE account != '' GROUP BY finding_id, speaker HAVING label IN ('false', 'benign')
) AS o ON o.finding_id = m.finding_id AND o.speaker = i.named
WHERE i.status != 'retracted' AND
(
    has(%(incidents)s, m.incident_id)
    OR m.incident_id IN (SELECT incident_id FROM {db}.incident_findings_current WHERE has(%(findings)s, finding_id))
)
GROUP BY m.incident_id HAVING dismissed + dismissed_by_named > 0 ORDER BY m.incident_id
"""  # the name that an incident gives counts on what people labelled false or benign
LINES = "SELECT event_id, sha256, raw FROM {db}.events WHERE event_id IN %(ids)s ORDER BY ALL LIMIT 1 BY event_id, sha256"
TIMELINE = """
SELECT * EXCEPT id FROM
(
    SELECT ts, what, source, kind, host, actor, relation, text, id FROM {db}.job_timeline
    WHERE job_id = %(job)s AND (%(cluster)s = '' OR cluster = %(cluster)s) AND ts >= fromUnixTimestamp64Milli(%(since)s)
    ORDER BY ts DESC, what DESC, id DESC LIMIT %(limit)s
)
ORDER BY ts, what, id
"""  # of a long one its end: there stands why
TIMELINE_LENGTH = """
SELECT count() FROM {db}.job_timeline
WHERE job_id = %(job)s AND (%(cluster)s = '' OR cluster = %(cluster)s) AND ts >= fromUnixTimestamp64Milli(%(since)s)
"""


@click.group(cls=Verbs)
def job() -> None:
    """What is known of one job."""


@job.command(epilog=examples("job explain 48344", "job explain 48344 --all", "job explain 48344 --since 1h --follow"))
@click.argument("job_id")
@click.option("--cluster", default="", help="Only this cluster; default all.")
@click.option(
    "--timeline",
    type=click.IntRange(0, TIMELINE_ROWS_MAX),
    help=f"Its last rows, alike ones as one; default {TIMELINE_ROWS}, with --json each.",
)
@click.option("--all", "everything", is_flag=True, help="The whole timeline.")
@click.option("--since", type=Since(), default=0, help="Only this part of the timeline: 30m, 2h, 7d, or a time with offset.")
@click.option("--follow", is_flag=True, help="Go on, and print what is new of it and of what is said of the job; ends with Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of tables; with --follow one a line.")
@click.pass_obj
def explain(
    options: Options, job_id: str, cluster: str, timeline: int | None, since: int, *, everything: bool, follow: bool, as_json: bool
) -> None:
    """Say why job JOB_ID (raw id) ended, with the records that prove it.

    Whoever acted is named where an incident names them. The look goes into the custody log.

    Exit 0: found; 4: nothing is known of this job.
    """
    if everything and timeline is not None:
        raise click.UsageError("--all is the whole timeline: leave --timeline out.")
    if timeline is None:
        timeline = NO_LIMIT if everything or as_json else TIMELINE_ROWS
    with clickhouse(options) as database:
        read = timeline if as_json else min(timeline * ALIKE_MAX, NO_LIMIT)
        asked = {"job": job_id, "cluster": cluster, "since": since, "limit": read}
        everything_known = _ask(database, {**asked, "limit": NO_LIMIT if follow else read})
        found = {**everything_known, "timeline": _last(everything_known["timeline"], read)}
        _on_record(database, job_id, found)
        known = found["verdicts"] or found["findings"] or found["timeline_length"]
        if as_json:
            say_json(orjson.dumps(found, default=str, option=0 if follow else orjson.OPT_INDENT_2))
        elif known:
            show(stdout(), job_id, found, timeline)
        if known and follow:
            _follow(database, job_id, asked, everything_known, as_json=as_json)
    if not known:
        click.echo(f"nothing is known of job {safe(job_id)}: check the id, and `trainwatch status`", err=True)
        raise SystemExit(NOT_FOUND)


def _last(rows: list[Any], length: int) -> list[Any]:
    return rows[max(0, len(rows) - length) :]


def _alike(timeline: list[Row]) -> list[list[Row]]:
    """Rows of one moment that differ only in numbers of three digits and more, as of processes: a signal to each would hide who sent it.

    What is part of a name (`u017`, `gpu-012`) is not a number.
    """
    found: dict[tuple[Any, ...], list[Row]] = {}
    for row in timeline:
        same = *(row[name] for name in NEWS["timeline"] if name != "text"), NUMBER.sub("0", str(row["text"]))
        found.setdefault(same, []).append(row)
    return list(found.values())


def _follow(database: "Database", job_id: str, asked: dict[str, Any], known: dict[str, Any], *, as_json: bool) -> None:
    """News, each among rows of its kind."""

    def ask() -> list[Row]:
        return _rows(_ask(database, {**asked, "limit": NO_LIMIT}))

    def tell(news: list[Row]) -> None:
        if not news:
            return
        found: dict[str, Any] = {part: [each["row"] for each in news if each["part"] == part] for part in NEWS}
        ids = {row["finding_id"] for row in found["findings"]}
        found["evidence"] = [item for item in news[0]["evidence"] if item["finding_id"] in ids]
        found["dismissed"] = [case for case in news[0]["dismissed"] if ids & {*case["of_job"]}]
        found["timeline_length"] = len(found["timeline"])
        _on_record(database, job_id, found)
        if as_json:
            say_json(orjson.dumps(found, default=str))
        else:
            show(stdout(), job_id, found)

    follow_rows(ask, tell, Seen("said", ()), _rows(known))


def _rows(found: dict[str, Any]) -> list[Row]:
    beside = {name: found[name] for name in ("evidence", "dismissed")}
    return [
        {"part": part, "row": row, **beside, "said": (part, *(str(row[name]) for name in names))}
        for part, names in NEWS.items()
        for row in found[part]
    ]


def _on_record(database: "Database", job_id: str, found: dict[str, Any]) -> None:
    if found["evidence"] or found["timeline"]:
        on_record(database, "job explain", [f"job {job_id}", *(str(row["finding_id"]) for row in found["findings"])])


def _ask(database: "Database", asked: dict[str, Any]) -> dict[str, Any]:
    verdicts = rows(database, VERDICTS, asked)
    findings = rows(database, FINDINGS, asked)
    ((length,),) = database.query(TIMELINE_LENGTH, asked)
    found = database.query(LINES, {"ids": [str(row["by_event_id"]) for row in verdicts] or [""]})
    lines = {(event_id, sha256): raw for event_id, sha256, raw in found}
    for row in verdicts:
        row["by_raw"] = lines.get((row["by_event_id"], row["by_sha256"]), "")
    ids, losses = [str(row["finding_id"]) for row in findings], rows(database, LOSSES, asked)
    cases = {"findings": ids or [""], "incidents": [str(row["incident_id"]) for row in losses] or [""]}
    return {
        "verdicts": verdicts,
        "findings": findings,
        "evidence": evidence(database, ids),
        "losses": losses,
        "dismissed": rows(database, DISMISSED, cases),
        "timeline": rows(database, TIMELINE, asked) if asked["limit"] else [],
        "timeline_length": length,
    }


def show(console: "Console", job_id: str, found: dict[str, Any], lines: int = NO_LIMIT) -> None:
    """Everything for people; of the timeline its last `lines`."""
    cleared = found.get("dismissed", ())
    for row in found["verdicts"]:
        console.print(f"[bold]Job {safe(job_id)}[/bold] of {safe(row['owner'])}, attempt {safe(row['attempt'])}", soft_wrap=True)
        gpus = many(row["gpus"], "GPU") if row["gpus"] else "GPUs unknown"
        write(console, f"ran {moment(row['start_time'])} to {moment(row['end_time'])}, ended as {safe(row['state'])}, {gpus}")
        write(console, f"verdict: [bold]{safe(row['verdict'])}[/bold], {safe(row['cause'])} ({safe(row['status'])})")
        if row["by_event_id"]:
            write(console, f"proved by {safe(row['by_source'])}: {safe(row['by_summary'])}")
            write(console, safe(row["by_raw"], 400), 4)
        _show_checklist(console, row["checklist"])
    for row in found["findings"]:
        sure = confidence(row["confidence"], "" if row["actor"] else row["actor_withheld"] or "unknown")
        console.print(f"[bold]{safe(row['detector'])}[/bold] {safe(row['severity'])}, {safe(row['status'])}: {safe(row['summary'], 400)}")
        write(console, f"actor {safe(row['actor'] or 'withheld')}; confidence {sure}; {'alert' if row['alert'] else safe(row['gate'])}")
        because = f" because {safe(row['because'])}" if row["because"] else ""
        who = f" ({safe(row['labelled_by'])}, {moment(row['labelled_at'])})" if row.get("labelled_by") else ""
        labelled = f"; labelled [bold]{safe(row['label'])}[/bold]{because}{who}" if row["label"] else ""
        write(console, f"finding {safe(str(row['finding_id'])[:SHORT])}{labelled}")
        _show_dismissed(console, [case for case in cleared if row["finding_id"] in case["of_job"]])
        _show_checklist(console, row["checklist"])
        table = build_table("", "role", "time", "source", "what", "line")
        for item in found["evidence"]:
            if item["finding_id"] == row["finding_id"]:
                table.add_row(
                    safe(item["role"]), moment(item["event_time"]), safe(item["source"]), safe(item["summary"]), safe(item["raw"])
                )
        console.print(table)
    if found["verdicts"] and not found["findings"] and "losses" in found:  # of news one does not know what was told before
        write(console, NO_FINDING)
    for row in found.get("losses", ()):
        hours = " / ".join(f"{row[name]:,.2f}" for name in ("low", "middle", "high"))
        counted = f"counts its loss, low / middle / high: {hours} GPU-hours ({', '.join(map(safe, row['kinds']))})"
        write(console, f"incident {safe(row['incident_id'][:SHORT])} ({safe(row['title'])}) {counted}")
        _show_dismissed(console, [case for case in cleared if row["incident_id"] == case["incident_id"]])
        for note in row["notes"]:
            write(console, safe(note, 400), 4)
    timeline = _last(_alike(found["timeline"]), lines)
    if timeline:
        table = build_table("Timeline", "time", "what", "source", "kind", "host", "actor", "text")
        for row, *others in timeline:
            text = f"{len(others) + 1} alike, the first: {row['text']}" if others else row["text"]
            cells = (row["what"], row["source"], row["kind"], row["host"], row["actor"], text)
            table.add_row(moment(row["ts"]), *(safe(cell, 120) for cell in cells))
        console.print(table)
    used = [row["source"] for row in (*found["evidence"], *(row for row, *_ in timeline))]
    if words := in_words([*used, *(row["by_source"] for row in found["verdicts"] if row["by_event_id"])]):
        write(console, words)
    if (shown := sum(map(len, timeline))) < found["timeline_length"]:
        console.print(f"{shown} of {found['timeline_length']:,} rows of the timeline, its end; --all shows the rest")


def _show_dismissed(console: "Console", cases: Sequence[Row]) -> None:
    """Beside whoever an incident names, and what it says was lost: else people that others have cleared would be accused again."""
    for case in cases:
        by = tuple(sorted(case["labelled_by"].items(), key=lambda each: (-each[1], each[0])))
        own = case["dismissed_by_named"]
        cleared = Dismissed(case["dismissed"], case["findings"], case["alerts_dismissed"], case["alerts"], by, own)
        none = ": by their word nothing is against anybody" if cleared.whole else ""
        write(console, f"incident {safe(case['incident_id'][:SHORT])}: {safe(cleared, 600)}{none}; {UNWEIGHED}")


def _show_checklist(console: "Console", checklist: Sequence[tuple[Any, ...]]) -> None:
    if not checklist:
        return
    table = build_table("", "explanation", "answer", "why")
    for name, answer, _, note, missing in checklist:
        why = f"missing: {', '.join(map(str, missing))}" if missing else str(note)
        table.add_row(safe(name), safe(answer), safe(why))
    console.print(table)
