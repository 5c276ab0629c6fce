"""`trainwatch score`: simulate clusters with known interference, judge them, and say how good the judgement was.

    trainwatch score --seeds 5 --days 30 --gpus 512 --acts all=3 --results score.jsonl

Each seed is a period of its own, streamed through the whole pipeline in memory.  Finished ones are kept in `--results` and skipped next
time, so a long run can be stopped and gone on with; those of another plan in the same file are left alone.
"""

import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from pipeline.cli import examples, say, say_json
from pipeline.cli.console import build_table, safe, stdout
from pipeline.cli.times import DAYS_MAX, Number
from pipeline.errors import FatalError
from pipeline.model.words import many

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import Console

    from pipeline.score.seed import SeedScore
    from pipeline.score.table import ChecklistTable, IncidentTable, Rate, Row, Table
    from pipeline.simulate.plan import Plan

MISSED = 1
PROGRESS_RECORDS = 100_000


@click.command(
    epilog=examples("score --seeds 2 --days 30", "score --seeds 20 --first-seed 101 --acts p01=3,p09=2 --results score.jsonl --workers 2")
)
@click.option("--seeds", type=click.IntRange(1, 10_000), default=1, show_default=True, help="How many periods.")
@click.option("--first-seed", type=click.IntRange(0), default=1, show_default=True, help="The seed to begin with.")
@click.option("--days", type=Number(1, DAYS_MAX), default=30.0, show_default=True, help="Length of a period.")
@click.option("--gpus", type=click.IntRange(32, 8000), default=512, show_default=True, help="Size of the cluster.")
@click.option("--acts", default="all=3", show_default=True, help="How many acts of which pattern: p01=3,p09=2 or all=5.")
@click.option("--intensity", type=Number(0.1, 10), default=1.0, show_default=True, help="Scales what acts do.")
@click.option("--silent", multiple=True, help="A source family of which nothing arrives; may be repeated.")
@click.option("--thin", type=click.IntRange(0, 60), default=0, show_default=True, help="One harmless bulk line for so many; 0: by size.")
@click.option("--workers", type=click.IntRange(1, 64), default=1, show_default=True, help="Periods at a time, a process each.")
@click.option(
    "--results",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File of results, one JSON line a period; finished ones of the same plan are skipped.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
@click.pass_context
def score(
    ctx: click.Context,
    /,
    seeds: int,
    first_seed: int,
    days: float,
    gpus: int,
    acts: str,
    intensity: float,
    silent: tuple[str, ...],
    thin: int,
    workers: int,
    results: Path | None,
    *,
    as_json: bool,
) -> None:
    """Measure the detectors on simulated clusters: recall, precision, false findings, delays, and whom incidents name at what cost.

    Exit 0: all bars reached; 1: a bar was missed, or a period did not finish; 2: wrong usage.
    """
    from pipeline.score.results import finished  # noqa: PLC0415  keeps --help quick
    from pipeline.score.table import for_machines, table_of  # noqa: PLC0415
    from pipeline.simulate.plan import Plan, parse_acts  # noqa: PLC0415

    def plan_of(seed: int) -> Plan:
        return Plan(seed=seed, days=days, gpus=gpus, acts=parse_acts(acts), intensity=intensity, silent=frozenset(silent), thin=thin)

    plan = plan_of(first_seed)  # refuses what cannot be simulated before anything runs
    if workers > 1 and results is None:
        raise click.BadParameter("several workers need a file to meet in: add --results FILE", param_hint="--workers")
    scores = finished(results, plan)
    wanted = range(first_seed, first_seed + seeds)
    left = [plan_of(seed) for seed in wanted if seed not in {each.seed for each in scores}]
    say(f"{many(seeds, 'period')} of {days:g} days, {seeds - len(left)} of them finished before")
    if workers > 1 and results is not None:
        _in_processes(left, workers, results)
        scores = finished(results, plan)
    else:
        scores += [_one(each, results) for each in left]
    scores = [each for each in scores if each.seed in wanted]
    if missing := sorted({*wanted} - {each.seed for each in scores}):
        broken = f"periods did not finish: seeds {', '.join(map(str, missing))}"
        raise FatalError(broken, advice="What ended them stands above; the same command goes on with those that are missing.")
    table = table_of(scores)
    if as_json:
        say_json(msgspec.json.encode(for_machines(table)))
    else:
        show(stdout(), table)
    ctx.exit(0 if reached(table) else MISSED)


def _one(plan: "Plan", results: Path | None) -> "SeedScore":
    from pipeline.score.results import note  # noqa: PLC0415  keeps --help quick
    from pipeline.score.seed import score as judge  # noqa: PLC0415

    done = 0

    def progress(records: int) -> None:
        nonlocal done
        if done // PROGRESS_RECORDS != (done + records) // PROGRESS_RECORDS:
            say(f"seed {plan.seed}: {many(done + records, 'record')}")
        done += records

    found = judge(plan, progress)
    if results is not None:
        note(results, found)
    say(
        f"seed {found.seed}: {many(found.records, 'record')}, {many(found.jobs, 'attempt')}, {many(found.alerts, 'alert')}, "
        f"{found.false_alerts} of them false, "
        f"{len(found.named_wrongly)} named wrongly; missed: {', '.join(found.missed) or 'none'}"
    )
    return found


def _in_processes(plans: "Sequence[Plan]", workers: int, results: Path) -> None:
    """The same command once per seed, so many at a time: what they find stands in the results.  They end with us."""
    started: list[subprocess.Popen[bytes]] = []

    def run(plan: "Plan") -> None:
        acts = ",".join(f"{pattern}={count}" for pattern, count in plan.acts.items())
        options = {
            "seeds": 1, "first-seed": plan.seed, "days": plan.days, "gpus": plan.gpus, "acts": acts, "intensity": plan.intensity,
            "thin": plan.thin, "results": results,
        }  # fmt: skip
        words = [f"--{name}={value}" for name, value in options.items()] + [f"--silent={family}" for family in sorted(plan.silent)]
        with subprocess.Popen([sys.executable, "-m", "pipeline", "score", *words], stdout=subprocess.DEVNULL) as process:
            started.append(process)

    with ThreadPoolExecutor(workers) as pool:
        try:
            list(pool.map(run, plans))  # broken off, it begins no further ones
        finally:
            for process in started:
                process.terminate()


def reached(table: "Table") -> bool:
    """All bars of the table."""
    from pipeline.score.table import FALSE_PER_BAD_END, FALSE_PER_WEEK  # noqa: PLC0415

    quiet = (table.false_on_jobs.value or 0.0) <= FALSE_PER_BAD_END and table.false_per_week <= FALSE_PER_WEEK
    return quiet and not table.named_wrongly and table.incidents.reached and all(row.reached for row in table.rows if row.recall.n)


def _delay(row: "Row") -> str:
    if row.median_delay_hours is None:
        return ""
    return f"{row.median_delay_hours:g}" + (f" ({row.delay_hours[0]:g}-{row.delay_hours[1]:g})" if row.delay_hours else "")


def _spans(numbers: "Sequence[int]") -> str:
    """`101-120, 130`."""
    begin = [each for each in sorted(numbers) if each - 1 not in numbers]
    end = [each for each in sorted(numbers) if each + 1 not in numbers]
    return ", ".join(f"{first}-{last}" if first < last else f"{first}" for first, last in zip(begin, end, strict=True))


def show(console: "Console", table: "Table") -> None:
    """Tables for people."""
    seeds = f"seed{'s' if len(table.seeds) > 1 else ''} {_spans(table.seeds)}"
    title = f"{many(len(table.seeds), 'period')} ({seeds}), {table.days:g} days together"
    counted = ("acts", "recall", "where all sources tell", "also below the gate", "named", "precision", "false/M at risk", "delay, h")
    rows = build_table(title, "pattern", *counted, "bar")
    for row in table.rows:
        rows.add_row(
            row.pattern,
            str(row.recall.n),
            _rate(row.recall),
            "" if row.shown == row.recall else f"{row.shown.k} of {row.shown.n}",
            _rate(row.seen),
            _rate(row.named),
            _rate(row.precision),
            _per_million(row.false_at_risk),
            _delay(row),
            "" if row.reached or not row.recall.n else f"below {row.bar:g}",
        )
    console.print(rows)
    console.print(
        f"false alerts on jobs: {table.false_on_jobs.k} of {many(table.false_on_jobs.n, 'attempt')} that failed or were cancelled, "
        f"{table.false_per_week:g} a week; named wrongly: {table.named_wrongly}; "
        f"of edits without leave that did no harm: {table.harmless_alerts}"
    )
    show_incidents(console, table.incidents)
    if table.fell_for:
        fell = build_table("False alerts", "pattern: look-alike", "alerts")
        for kind, count in sorted(table.fell_for.items(), key=lambda each: (-each[1], each[0])):
            fell.add_row(safe(kind), str(count))
        console.print(fell)
    show_look_alikes(console, table)
    show_checklist(console, table.checklist)
    said = build_table("Why attempts ended, and what was said of them", "cause", "verdicts")
    for cause, counts in table.verdicts.items():
        most = sorted(counts.items(), key=lambda each: (-each[1], each[0]))[:5]
        said.add_row(safe(cause), ", ".join(f"{safe(word)} {count}" for word, count in most))
    console.print(said)
    way = table.transport
    console.print(
        f"transport: {many(way.records, 'record')}, {way.duplicates} of them twice; broken: {_counts(way.broken)}; held back: "
        f"{_counts(way.held_back)}, {many(way.late, 'event')} late by more than grace; dead letters: {_counts(way.dead_letters)}"
    )


def show_look_alikes(console: "Console", table: "Table") -> None:
    """Of how many harmless things that look like acts anything was said."""
    rows = build_table(
        "Harmless things that look like acts", "look-alike", "of", "simulated", "raised an alert", "anything, also below the gate"
    )
    for row in table.look_alikes:
        rows.add_row(safe(row.kind), row.pattern, str(row.alerted.n), _rate(row.alerted), _rate(row.seen))
    console.print(rows)


def show_checklist(console: "Console", of: "ChecklistTable") -> None:
    """What was acquitted, by what; and what could not be."""
    rows = build_table("What explanations did", "", "of", "rate", "by")
    rows.add_row("ended badly, harmed by nobody: acquitted", str(of.acquitted.n), _rate(of.acquitted), _counts(of.by))
    rows.add_row("of these not", "", "", _counts(of.not_acquitted))
    rows.add_row("harmed by an act, and acquitted all the same", "", "", _counts(of.harmed))
    rows.add_row("findings below the gate: not excluded", "", "", _counts(of.open))
    rows.add_row("findings taken back", "", "", _counts(of.taken_back))
    rows.add_row("suspicions ended before there was a finding", str(sum(of.ended.values())), "", _counts(of.ended))
    if of.told.n:
        rows.add_row("findings that say what was missing", str(of.told.n), _rate(of.told), "")
    console.print(rows)


def show_incidents(console: "Console", of: "IncidentTable") -> None:
    """A section of its own."""
    rows = build_table("Incidents above the gate", "", "of", "rate", "")
    rows.add_row("right person leads, where one can be told", str(of.leading.n), _rate(of.leading), _below(of.leading))
    rows.add_row("and for the findings of each who acted", str(of.actors.n), _rate(of.actors), _below(of.actors))
    rows.add_row("of these where several acted in one", str(of.actors_together.n), _rate(of.actors_together), "")
    rows.add_row("the leader is named; withheld otherwise", str(of.named.n), _rate(of.named), "")
    rows.add_row("wasted GPU-hours between low and high", str(of.loss_inside.n), _rate(of.loss_inside), _below(of.loss_inside))
    console.print(rows)
    leaders = ", ".join(f"{safe(kind)} {count}" for kind, count in of.leaders.items())
    wide = build_table("How wide their readings of the loss are", "", "of", "10 %", "25 %", "median", "75 %", "90 %")
    for what, spread in (("high / low", of.width), ("middle / wasted", of.middle_over_wasted), ("high / wasted", of.high_over_wasted)):
        shares = (spread.tenth, spread.quarter, spread.median, spread.three_quarters, spread.nine_tenths)
        wide.add_row(what, str(spread.n), *("low is 0" if each is None else f"{each:g}" for each in shares if spread.n))
    console.print(wide)
    left_out = f", {of.left_out} found and in none" if of.left_out else ""
    console.print(
        f"{many(of.acts, 'act')} in {many(of.incidents, 'incident')}{left_out}, {many(of.fragments, 'fragment')}; "
        f"leaders: {leaders or 'none'}; "
        f"named wrongly: {of.named_wrongly}"
    )


def _below(rate: "Rate") -> str:
    from pipeline.score.table import INCIDENTS_MIN  # noqa: PLC0415  keeps --help quick

    return f"below {INCIDENTS_MIN:g}" if rate.value is not None and rate.value < INCIDENTS_MIN else ""


def _counts(counts: "Mapping[str, int]") -> str:
    return ", ".join(f"{safe(name)} {count}" for name, count in counts.items()) or "none"


def _per_million(rate: "Rate") -> str:
    if rate.value is None:
        return ""
    low, high = rate.interval[0] if rate.k else 0.0, rate.interval[1]  # of nothing the lower bound is rounding
    return f"{rate.value * 1e6:.3g} ({low * 1e6:.2g}-{high * 1e6:.2g}) of {rate.n}"


def _rate(rate: "Rate") -> str:
    if rate.value is None:
        return ""
    low, high = rate.interval
    return f"{rate.value:.2f} ({low:.2f}-{high:.2f})"
