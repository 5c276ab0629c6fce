"""`trainwatch analyse FILES...`: log files in, the findings about them out, with no server.

The same reader as `replay` and the same stages as the worker, in memory.  Judged at watermarks on the way, so that a finding can be
raised and taken back as it would be on a live cluster, and at the end of input, as after `replay --final`.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec
import orjson

from pipeline.cli import Options, examples, say, say_json
from pipeline.cli.console import build_table, confidence, moment, safe, stdout
from pipeline.cli.meter import FilesRead
from pipeline.cli.replay import file_options, metered, reading_options
from pipeline.cli.times import Number
from pipeline.incidents.telling import told_bodies
from pipeline.model.words import many

if TYPE_CHECKING:
    from rich.console import Console

    from pipeline.cli.dossier import Dossier
    from pipeline.model.outcome import Record
    from pipeline.runtime.local import Results
    from pipeline.settings import Settings

CHECKPOINT_RECORDS = 2000
BROKEN, ALERTS = 1, 3
LINE_MAX = 400

Body = dict[str, Any]


@click.command(
    epilog=examples(
        "analyse slurmctld.log audit.log --verdicts",
        "analyse logs.access.jsonl logs.scheduler.jsonl logs.training.jsonl --cases cases",
        "analyse slurmctld.log --fail-on-findings --json | jq .findings",
    )
)
@reading_options
@click.option("--partitions", type=click.IntRange(1, 64), default=1, show_default=True, help="Partitions per topic; changes no finding.")
@click.option("--verdicts", "with_verdicts", is_flag=True, help="List the verdict on every ended job.")
@click.option(
    "--cases",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for the report and a sealed bundle of every alerting incident.",
)
@click.option(
    "--reply", "replies", nargs=2, multiple=True, metavar="WHO TEXT", help="With --cases: what a candidate replied, as it was given."
)
@click.option(
    "--rumour",
    nargs=2,
    type=(click.IntRange(1), Number(0, min_open=True)),
    metavar="GPUS DAYS",
    help="With --cases: held against the records.",
)
@click.option("--fail-on-findings", is_flag=True, help="Exit 3 when a finding is an alert.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output, with canonical bodies.")
@click.pass_context
def analyse(
    ctx: click.Context,
    /,
    files: tuple[Path, ...],
    partitions: int,
    with_verdicts: bool,
    fail_on_findings: bool,
    as_json: bool,
    cases: Path | None,
    replies: tuple[tuple[str, str], ...],
    rumour: tuple[int, float] | None,
    **known: Any,
) -> None:
    """Find interference in log files, without any server.

    FILES are raw logs, or files of `trainwatch simulate` (*.jsonl); they are read as `trainwatch replay` reads them and give the same
    findings.  Settings come before the command, such as those that `simulate` writes beside its files: `trainwatch --settings
    DIRECTORY/trainwatch.yaml analyse ...`.  With --cases the records are held in memory, sealed, and bundles are checked as `trainwatch
    evidence verify` does.

    Exit 0: analysed; 1: a bundle does not verify; 2: a file is missing, or needs an option; 3: with --fail-on-findings, at least one alert.
    """
    from pipeline.runtime.files import read_files  # noqa: PLC0415  keeps --help quick

    settings = ctx.ensure_object(Options).settings
    if cases is None and (replies or rumour):
        raise click.UsageError("--reply and --rumour go into what --cases writes: name a folder")
    if cases is not None and partitions != 1:
        raise click.UsageError("--cases seals each topic as one: leave out --partitions, which changes no finding")
    if cases is not None:
        from pipeline.cli import dossier  # noqa: PLC0415  keeps --help quick

        key_file, told = dossier.prepare(settings, cases), dossier.told_of(replies, rumour)
    kept: list[Record] = []
    read = FilesRead(files)
    records = read_files(files, file_options(**known), settings, read)
    with metered("analysing", records if cases is None else _keeping(records, kept), read, quiet=as_json) as counted:
        results = run(settings, counted, partitions, keep_rows=cases is not None)
    findings = _in_order(results)
    if as_json:
        say_json(orjson.dumps(as_object(results), option=orjson.OPT_SORT_KEYS))
    else:
        show(stdout(), results, with_verdicts=with_verdicts)
    if cases is not None:
        whole = [_say_dossier(each) for each in dossier.write_all(settings, results, kept, cases, key_file, told)]
        if not all(whole):
            ctx.exit(BROKEN)
    ctx.exit(ALERTS if fail_on_findings and any(body["alert"] for body in findings) else 0)


def _keeping(records: Iterable["Record"], kept: "list[Record]") -> "Iterator[Record]":
    """The same, and a note of each."""
    for record in records:
        kept.append(record)
        yield record


def _say_dossier(made: "Dossier") -> bool:
    """On standard error, which JSON leaves alone; answers with whether the bundle is whole."""
    said = made.incident.attribution
    say(f"{made.folder}: {safe(said.named) or f'no name: {safe(said.withheld, LINE_MAX)}'}; leading {safe(said.leader)}")
    for line in made.verdict.problems:
        say(f"   {safe(line.code)}: {safe(line.where)}")
    say(f"   bundle of {many(made.records, 'record')} {'verified' if made.verdict.ok else 'DOES NOT VERIFY'}")
    return made.verdict.ok


def run(settings: "Settings", records: Iterable["Record"], partitions: int = 1, *, keep_rows: bool = False) -> "Results":
    """Drive the stages over the records and end all channels."""
    from pipeline.runtime.local import LocalRuntime  # noqa: PLC0415  keeps --help quick

    runtime = LocalRuntime(settings, partitions, keep_rows=keep_rows)
    records = iter(records)
    while batch := list(islice(records, CHECKPOINT_RECORDS)):
        runtime.feed(batch)
        runtime.checkpoint()
    return runtime.finish()


def as_object(results: "Results") -> Body:
    """Everything for `--json`.  Bodies are the canonical ones."""
    return {
        "records": results.records,
        "findings": _in_order(results),
        "unheard": {body["id"]: results.unheard[body["id"]] for body in _in_order(results) if results.unheard[body["id"]]},
        "verdicts": [results.verdicts[key] for key in sorted(results.verdicts)],
        "incidents": [results.incidents[key] for key in sorted(results.incidents) if results.incidents[key]["status"] != "retracted"],
        "dead_letters": _dead_letters(results),
        "filtered": _filtered(results),
        "published": results.published,
        "wrong_zones": msgspec.to_builtins(results.sources.wrong_zones),
        "under_rate": msgspec.to_builtins(results.sources.under),
        "unreadable": msgspec.to_builtins(results.sources.failing),
    }


def show(console: "Console", results: "Results", *, with_verdicts: bool) -> None:
    """Everything for people."""
    findings = told_bodies(_in_order(results), results.incidents.values())
    show_findings(console, findings, results.unheard)
    _show_verdicts(console, list(results.verdicts.values()), each=with_verdicts)
    for title, counts in (("dead letters", _dead_letters(results)), ("filtered", _filtered(results))):
        if counts:
            console.print(f"{title}: " + ", ".join(f"{safe(code)} {count}" for code, count in counts.items()))
    sources = results.sources
    for text in [each.text for some in (sources.wrong_zones, sources.under, sources.failing) for each in some]:
        console.print(f"[bold]look at the source:[/bold] {safe(text, LINE_MAX)}", soft_wrap=True)
    say(f"{many(results.records, 'record')}, {many(len(results.verdicts), 'ended job')}, {many(len(findings), 'finding')}")


def show_findings(console: "Console", findings: Sequence[Body], unheard: Mapping[str, Sequence[str]]) -> None:
    """A table of findings, then each one's evidence and checklist.  Bodies are canonical ones, with the actor that people are told.

    `unheard`: by the id of a finding, sources that its detector reads and of which nothing was heard about its time.
    """
    if not findings:
        console.print("no findings")
        return
    table = build_table("Findings", "#", "effect", "detector", "job", "owner", "actor", "confidence")
    for number, body in enumerate(findings, start=1):
        withheld = "" if body["actor"] else body["actor_withheld"] or "unknown"
        cells = moment(body["effect_time"]), body["detector"], _job(body), body["owner"] or "unknown", body["actor"] or "withheld"
        table.add_row(str(number), *(safe(cell) for cell in cells), confidence(body["confidence"]["score"], withheld))
    console.print(table)
    for number, body in enumerate(findings, start=1):
        state = "alert" if body["alert"] else f"no alert: {body['gate']}"
        console.print(f"[bold]{number}  {safe(body['summary'], LINE_MAX)}[/bold] ({safe(body['status'])}, {safe(state)})", soft_wrap=True)
        for (role, time, source, summary), ids in _cited(body).items():
            more = f" and {len(ids) - 1} more" if len(ids) > 1 else ""
            line = f"   {safe(role):<8} {moment(time)}  {safe(source)}: {safe(summary, LINE_MAX)}  [dim]{safe(ids[0])}{more}[/dim]"
            console.print(line, soft_wrap=True)
        for check in body["checklist"]:
            why = f"missing: {', '.join(check['missing'])}" if check["missing"] else check["note"]
            console.print(f"   {safe(check['name']):<20} {safe(check['answer']):<12} {safe(why)}", soft_wrap=True)
        if silent := unheard.get(body["id"]):
            console.print(f"   not heard about that time: {safe(', '.join(silent))}", soft_wrap=True)


def _cited(body: Body) -> dict[tuple[str, int, str, str], list[str]]:
    """Event ids of the evidence under what it says: the records of one audit event say the same."""
    cited: dict[tuple[str, int, str, str], list[str]] = {}
    for item in body["evidence"]:
        cited.setdefault((item["role"], item["event_time"], item["source"], item["summary"]), []).append(item["event_id"])
    return cited


def _show_verdicts(console: "Console", verdicts: Sequence[Body], *, each: bool) -> None:
    if not verdicts:
        console.print("no ended jobs")
        return
    counts = Counter((str(body["verdict"]), str(body["cause"])) for body in verdicts)
    table = build_table("Verdicts", "verdict", "cause", "jobs")
    for (verdict, cause), count in sorted(counts.items(), key=lambda entry: (-entry[1], entry[0])):
        table.add_row(safe(verdict), safe(cause), str(count))
    console.print(table)
    if not each:
        return
    table = build_table("Ended jobs", "job", "owner", "state", "end", "verdict", "cause", "by")
    for body in sorted(verdicts, key=lambda body: (body["end"], body["id"])):
        by = body["by"]["summary"] if body["by"] else ""
        cells = _job(body), body["owner"], body["state"], moment(body["end"]), body["verdict"], body["cause"], by
        table.add_row(*(safe(cell) for cell in cells))
    console.print(table)


def _job(body: Body) -> str:
    """`cluster/id`, from the attempt; of a finding about something else what it is about."""
    if body["attempt"] is None:
        kind, cluster, name = body["subject"]
        return f"{kind} {cluster}/{name}"
    return f"{body['attempt'][0]}/{body['attempt'][1]}"


def _in_order(results: "Results") -> list[Body]:
    """The last body of each finding that was not taken back, by time of effect."""
    kept = [body for body in results.findings.values() if body["status"] != "retracted"]
    return sorted(kept, key=lambda body: (body["effect_time"], body["id"]))


def _dead_letters(results: "Results") -> dict[str, int]:
    counts = Counter(value.decode() for letter in results.dead_letters for name, value in letter.headers if name == "x-dlq-code")
    return dict(sorted(counts.items()))


def _filtered(results: "Results") -> dict[str, int]:
    counts = Counter(code for _, _, code in results.listed)
    counts.subtract(_dead_letters(results))
    return {code: count for code, count in sorted(counts.items()) if count > 0}
