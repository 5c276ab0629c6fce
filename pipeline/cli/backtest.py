"""`trainwatch backtest`: a range of history in; what other settings, or this release, would have raised or dropped out.  Changes nothing.

    records of the range ──┬── stages under the settings as they are  ── findings ──┐
    (Kafka or ClickHouse)  └── stages under the changed ones          ── findings ──┴── compared

Without a change the findings are compared with those that ClickHouse holds, byte for byte.
"""

import difflib
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import click
import msgspec
import orjson

from pipeline.cli import Options, examples, say, say_json
from pipeline.cli.asking import complete_detector, detector_ids
from pipeline.cli.console import build_table, moment, safe, stderr, stdout
from pipeline.cli.times import Day, Duration
from pipeline.errors import ConfigError
from pipeline.model.words import many

if TYPE_CHECKING:
    from pathlib import Path

    from pipeline.runtime.comparing import Body, Change, Comparison, Frame
    from pipeline.runtime.history import History
    from pipeline.runtime.local import Results
    from pipeline.settings import Settings
    from pipeline.sink.clickhouse import Database

DIFFERENT = 3
SHOWN_MAX = 200
LEFT_OUT_SHOWN = 10
JUDGED = ("ingest", "time", "retention", "detect")  # sections whose settings change what is found
LISTS = ("sources", "identities", "tickets", "artefact_roots")
STORED = """
SELECT finding_id, canonical FROM {db}.findings_current
WHERE status != 'retracted' AND effect_time >= fromUnixTimestamp64Milli(toInt64(%(since)s))
"""


@click.command(
    epilog=examples(
        "backtest --since 2026-03-01",
        "backtest --since 2026-03-01 --set detect.kill_window_seconds=600 --rule p01",
        "backtest --since 2026-03-01 --from kafka --fail-on-difference",
    )
)
@click.option("--since", type=Day(), required=True, help="Findings whose effect is of this time or later; a date is midnight UTC.")
@click.option("--until", type=Day(), help="... and before this one; default: to the end.")
@click.option("--from", "origin", type=click.Choice(["clickhouse", "kafka"]), default="clickhouse", show_default=True, help="What to read.")
@click.option(
    "--set", "changes", multiple=True, metavar="NAME=VALUE", help="Another value of a setting, e.g. detect.kill_window_seconds=600."
)
@click.option(
    "--settings-file", type=click.Path(exists=True, dir_okay=False), help="Other settings: all that judging depends on is taken from it."
)
@click.option(
    "--rule",
    "rules",
    multiple=True,
    metavar="DETECTOR",
    shell_complete=complete_detector,
    help="Only findings of this detector; may be given again.",
)
@click.option("--warm-up", type=Duration(), help="How much before --since is read to know the state; default: the longest window.")
@click.option("--fail-on-difference", is_flag=True, help="Exit 3 when a finding was raised, dropped or changed.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output, with canonical bodies.")
@click.pass_context
def backtest(
    ctx: click.Context,
    /,
    since: int,
    until: int | None,
    origin: str,
    changes: tuple[str, ...],
    settings_file: "str | None",
    rules: tuple[str, ...],
    warm_up: int | None,
    fail_on_difference: bool,
    as_json: bool,
) -> None:
    """Show what changed settings would have raised or dropped on history.

    Without --set and --settings-file the findings of this release are compared with those that ClickHouse holds.  The whole pipeline runs
    in memory; nothing is written anywhere.

    Exit 0: compared; 1: a server does not answer; 2: wrong settings, or nothing in the range; 3: with --fail-on-difference, a difference.
    """
    from pipeline.runtime.comparing import Frame, compare, windows_of  # noqa: PLC0415  keeps --help quick

    if until is not None and until <= since:
        raise click.BadParameter("it is not later than --since", param_hint="'--until'")
    settings = ctx.ensure_object(Options).settings
    only = detector_ids(rules)
    changed = with_changes(settings, changes, settings_file)
    now, then = windows_of(changed or settings), windows_of(settings)
    windows = {name: max(window, then[name]) for name, window in now.items()}
    warm_up = max(windows.values()) if warm_up is None else warm_up
    with ExitStack() as stack:
        history, database = opened(stack, settings, origin, since - warm_up, until, stored=changed is None)
        if not history.total:
            raise ConfigError(
                f"there are no records from {moment(since - warm_up)} to {moment(until) if until else 'now'} in {origin}",
                advice="Check --since and --until, and `trainwatch status`; with --from kafka only what the topics still hold can be read.",
            )
        runs = Runs([settings] if changed is None else [settings, changed])
        with metered(history) as batches:
            for records in batches:
                runs.feed(records)
        found = runs.finish()
        before = stored_findings(database, since) if database is not None else bodies(found[0])
    frame = Frame(since=since, until=until, begins=history.begins, heard=runs.heard, stored=changed is None, windows=windows, rules=only)
    comparison = compare(before, bodies(found[-1]), frame)
    if as_json:
        say_json(orjson.dumps(as_object(comparison, frame, history, found, runs), option=orjson.OPT_SORT_KEYS))
    else:
        show(comparison, frame, history, found, runs)
    ctx.exit(DIFFERENT if fail_on_difference and comparison.changes else 0)


# --- what is asked --------------------------------------------------------------------------------------------------------------


def with_changes(settings: "Settings", changes: Sequence[str], path: "Path | str | None") -> "Settings | None":
    """The settings with all that judging depends on changed; None without a change.  Raises ConfigError."""
    from pathlib import Path  # noqa: PLC0415  keeps --help quick

    from pipeline import settings as settings_module  # noqa: PLC0415

    if not changes and path is None:
        return None
    changed = settings
    if path is not None:
        other = settings_module.load(Path(path))
        changed = settings.model_copy(update={name: getattr(other, name) for name in (*JUDGED, *LISTS)})
    for change in changes:
        changed = _with_change(changed, change)
    return changed


def _with_change(settings: "Settings", change: str) -> "Settings":
    import yaml  # noqa: PLC0415  keeps --help quick
    from pydantic import ValidationError  # noqa: PLC0415

    name, equals, text = change.partition("=")
    if not equals:
        raise ConfigError(f"--set {change!r}: no value", advice="Write NAME=VALUE, e.g. detect.kill_window_seconds=600.")
    section, key, deeper = _known_name(settings, name.strip())
    part = getattr(settings, section)
    try:
        value = yaml.safe_load(text)
        value = {**getattr(part, key), deeper: value} if deeper else value
        changed = type(part).model_validate({**part.model_dump(), key: value})
        sections = {each: getattr(settings, each) for each in type(settings).model_fields}
        return type(settings).model_validate({**sections, section: changed})  # sections may contradict one another
    except yaml.YAMLError as error:
        raise ConfigError(f"--set {name}: {text!r} is not a value", advice="Values are written as in trainwatch.yaml.") from error
    except ValidationError as error:
        reasons = "; ".join(str(each["msg"]) for each in error.errors())
        raise ConfigError(f"--set {name}: {text!r}: {reasons}", advice="See schemas/SETTINGS.md.") from error


def _known_name(settings: "Settings", name: str) -> tuple[str, str, str]:
    """Section, key, and what stands below a key that is a mapping.  Raises ConfigError."""
    section, _, rest = name.partition(".")
    key, _, deeper = rest.partition(".")
    fields = type(getattr(settings, section)).model_fields if section in JUDGED else {}
    if key in fields and (not deeper or isinstance(getattr(getattr(settings, section), key), Mapping)):
        return section, key, deeper
    if section in LISTS:
        raise ConfigError(
            f"--set {name}: {section} is a list", advice="Write the changed list into a file and name it with --settings-file."
        )
    if section in type(settings).model_fields and section not in JUDGED:
        raise ConfigError(f"--set {name}: this changes nothing that is found", advice=f"Settings that do begin with {', '.join(JUDGED)}.")
    known = [f"{each}.{key}" for each in JUDGED for key in type(getattr(settings, each)).model_fields]
    raise ConfigError(f"there is no setting {name!r}", advice=_near(name, known) or "See schemas/SETTINGS.md.")


def _near(name: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    if not close:  # without its section: kill_window_seconds
        close = [each for each in known if name and each.rpartition(".")[2] == name.rpartition(".")[2]]
    return f"Did you mean {' or '.join(close)}?" if close else ""


# --- running --------------------------------------------------------------------------------------------------------------------


def opened(
    stack: ExitStack, settings: "Settings", origin: str, begin: int, end: int | None, *, stored: bool
) -> "tuple[History, Database | None]":
    """The history, and the database where stored findings are asked for.  Raises TransientError or FatalError."""
    from pipeline.embedded.servers import connected  # noqa: PLC0415  keeps --help quick
    from pipeline.errors import ServerFailed  # noqa: PLC0415
    from pipeline.runtime.history import ClickHouseHistory, KafkaHistory, Span  # noqa: PLC0415
    from pipeline.sink import migrate  # noqa: PLC0415
    from pipeline.sink.clickhouse import Database  # noqa: PLC0415

    span = Span(max(begin, 0), end)
    database = None
    if origin == "clickhouse" or stored:
        settings = connected(settings, kafka=False)
        database = stack.enter_context(Database(settings.clickhouse))
        migrate.check(database)
    if origin == "kafka" or database is None:
        history: History = stack.enter_context(KafkaHistory(connected(settings, clickhouse=False).kafka, span))
    else:
        try:
            settings = connected(settings, clickhouse=False)
        except ServerFailed as error:
            say(f"{error}: dead letters are not read")
        history = ClickHouseHistory(database, settings.kafka, span)
    return history, database if stored else None


class Runs:
    """The stages under one or two settings, fed with the same records."""

    def __init__(self, several: "Sequence[Settings]") -> None:
        from pipeline.ingest.stored import Restored  # noqa: PLC0415  keeps --help quick
        from pipeline.runtime.local import LocalRuntime  # noqa: PLC0415
        from pipeline.topology import build_topology  # noqa: PLC0415

        self.heard = self.records = 0
        self._restored = [Restored() for _ in several]
        self._runtimes = []
        for settings, restored in zip(several, self._restored, strict=True):
            topology = build_topology(settings)
            ingest, *rest = topology.stages
            topology = topology._replace(stages=(ingest._replace(step=restored.step), *rest))
            self._runtimes.append(LocalRuntime(settings, topology=topology))

    @property
    def otherwise(self) -> int:
        """Stored lines that are read otherwise today."""
        return self._restored[0].otherwise

    def feed(self, records: "Sequence[Any]") -> None:
        """Records in order, and a checkpoint."""
        if not records:
            return
        self.records += len(records)
        self.heard = max(self.heard, *(record.timestamp for record in records))
        for runtime in self._runtimes:
            runtime.feed(records)
            runtime.checkpoint()

    def finish(self) -> "list[Results]":
        """All windows close."""
        return [runtime.finish() for runtime in self._runtimes]


def bodies(results: "Results") -> "dict[str, Body]":
    """Canonical bodies of findings that were not taken back, as JSON gives them."""
    return {key: orjson.loads(body) for key, body in results.canonical_findings().items()}


def stored_findings(database: "Database", since: int) -> "dict[str, Body]":
    """What ClickHouse holds: the last word on each finding that was not taken back."""
    return {str(key): orjson.loads(body) for key, body in database.query(STORED, {"since": since})}


@contextmanager
def metered(history: "History") -> Iterator[Iterator[list[Any]]]:
    """The records in batches, and a line on the terminal with rate and remaining time; none where standard error is not a terminal."""
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn  # noqa: PLC0415  keeps --help quick

    console = stderr()
    columns = TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn()
    begun = time.monotonic()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("judging", total=history.total)

        def counted() -> Iterator[list[Any]]:
            done = 0
            for batch in history.batches():
                yield batch.records
                done += batch.units
                a_second = done / max(time.monotonic() - begun, 0.001)
                text = f"judging: {done:,} of {history.total:,} {history.unit}, {a_second:,.0f} {history.unit}/s"
                bar.update(task, advance=batch.units, description=text)

        yield counted()


# --- what is answered -----------------------------------------------------------------------------------------------------------


def as_object(comparison: "Comparison", frame: "Frame", history: "History", found: "Sequence[Results]", runs: Runs) -> dict[str, Any]:
    """Everything for `--json`."""
    return {
        "since": frame.since,
        "until": frame.until,
        "history_begins": frame.begins,
        "compared_with": "clickhouse" if frame.stored else "settings",
        "records": runs.records,
        "read_otherwise": runs.otherwise,
        "gaps": history.gaps,
        "dead_letters": _dead_letters(history, found[0]),
        "verdicts_differ": _verdicts_differ(found),
        **msgspec.to_builtins(comparison),
    }


def show(comparison: "Comparison", frame: "Frame", history: "History", found: "Sequence[Results]", runs: Runs) -> None:
    """Everything for people."""
    console = stdout()
    old, new = ("stored", "now") if frame.stored else ("before", "after")
    table = build_table("Findings by detector", "detector", old, new, f"alerts {old}", f"alerts {new}", "raised", "dropped", "changed")
    for count in comparison.counts:
        numbers = count.before, count.after, count.alerts_before, count.alerts_after, count.raised, count.dropped, count.changed
        table.add_row(safe(count.detector), *map(str, numbers))
    console.print(table if comparison.counts else "no findings in the range")
    if comparison.changes:
        columns = "change", "effect", "detector", "subject", f"alert {old}", f"alert {new}", "confidence", "what differs"
        table = build_table("Findings that differ", *columns)
        for change in comparison.changes[:SHOWN_MAX]:
            table.add_row(*_row(change))
        console.print(table)
        if (more := len(comparison.changes) - SHOWN_MAX) > 0:
            console.print(f"and {more:,} more; --json lists all")
    elif comparison.counts:
        console.print("no finding differs")
    for each in comparison.left_out[:LEFT_OUT_SHOWN]:
        console.print(f"left out: {safe(each.detector)}, {safe(each.subject)}: {safe(each.why)}", soft_wrap=True)
    if (more := len(comparison.left_out) - LEFT_OUT_SHOWN) > 0:
        console.print(f"and {more:,} more left out; --json lists all")
    _show_missing(console, frame, history, found, runs)


def _show_missing(console: Any, frame: "Frame", history: "History", found: "Sequence[Results]", runs: Runs) -> None:
    """What the answer does not rest on."""
    if letters := _dead_letters(history, found[0]):
        codes = ", ".join(f"{safe(code)} {count}" for code, count in letters.items())
        console.print(
            f"listed as dead letters: {many(sum(letters.values()), 'offset')} of the range ({codes}); they were not judged then either"
        )
    for gap in history.gaps:
        console.print(f"missing: {safe(gap)}", soft_wrap=True)
    if runs.otherwise:
        console.print(f"{runs.otherwise:,} stored lines are read otherwise by this release")
    if differ := _verdicts_differ(found):
        console.print(f"verdicts on jobs that differ, too: {differ:,}")
    begins = f"; history begins at {moment(frame.begins)}" if frame.begins is not None else ""
    say(f"{many(runs.records, 'record')} read{begins}")


def _row(change: "Change") -> tuple[str, ...]:
    scores = [f"{body['confidence']['score']:.2f}" if body else "-" for body in (change.before, change.after)]
    differs = [f"{name}: {then or '-'} → {now or '-'}" for name, then, now in change.answers]
    differs += [name for name in change.fields if name != "checklist" or not change.answers]
    return (
        change.change,
        moment(change.effect_time),
        safe(change.detector),
        safe(change.subject),
        _alert(change.before),
        _alert(change.after),
        " → ".join(dict.fromkeys(scores)),
        safe("; ".join(differs) or (change.after or change.before or {}).get("summary", "")),
    )


def _alert(body: "Body | None") -> str:
    if body is None:
        return "-"
    return "alert" if body["alert"] else f"no: {safe(body['gate'])}"


def _dead_letters(history: "History", results: "Results") -> dict[str, int]:
    """By code: what is listed, or else what was refused on the way."""
    if history.letters:
        return history.letters
    codes = [value.decode() for letter in results.dead_letters for name, value in letter.headers if name == "x-dlq-code"]
    return {code: codes.count(code) for code in sorted(set(codes))}


def _verdicts_differ(found: "Sequence[Results]") -> int:
    """Jobs of which two runs say otherwise."""
    old, new = found[0].verdicts, found[-1].verdicts
    said = ("verdict", "cause", "findings")
    return sum(
        key not in old or key not in new or any(old[key][name] != new[key][name] for name in said) for key in old.keys() | new.keys()
    )
