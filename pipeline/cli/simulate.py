"""`trainwatch simulate`: a seed in, a folder with a simulated period out.

    logs.training.jsonl  logs.scheduler.jsonl  logs.access.jsonl    Kafka records, one JSON object a line, in order of timestamp
    truth.json                                                      what was planted, and why every job ended: of the small week
    truth.jsonl                                                     the same of a cluster: the run, acts, look-alikes, jobs; one a line
    trainwatch.yaml                                                 settings of the simulated site

Without further options it is the week of a small site, as `trainwatch demo` plays it.  With `--gpus` or `--acts` it is a cluster with any
number of acts of all patterns, written as it happens, so that the length of the period costs no memory.

A record is {"timestamp", "key", "headers", "value"}; a value that is not UTF-8 stands as "value_base64" instead.
"""

import base64
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click
import orjson
import yaml

from pipeline.cli import examples, say, say_json
from pipeline.cli.meter import meter
from pipeline.cli.times import DAYS_MAX, Number
from pipeline.errors import ConfigError
from pipeline.model.instants import DAY_MS
from pipeline.model.words import many
from pipeline.simulate import TOPICS, Record, Week
from pipeline.simulate import simulate as run
from pipeline.simulate.cluster import Run
from pipeline.simulate.cluster import simulate as happen
from pipeline.simulate.plan import FAMILIES, GPUS_PER_HOST, PLOTS, Plan, parse_acts, plan_of_plot

WEEK_DAYS = 7.0
CLUSTER_DAYS, CLUSTER_GPUS = 60.0, 2000
SHOWN_EVERY = 10_000  # records


@click.command(
    epilog=examples(
        "simulate --out week", "simulate --seed 7 --days 60 --gpus 2000 --acts all=5 --out site", "simulate --plot campaign --out campaign"
    )
)
@click.option("--seed", type=int, default=1, show_default=True, help="The same seed gives the same bytes.")
@click.option("--days", type=Number(1, DAYS_MAX), default=None, help="Length of the period; 7, and 60 for a cluster.")
@click.option("--gpus", type=click.IntRange(32, 8000), default=None, help="A cluster of so many GPUs, 8 a node; 2000 with --acts.")
@click.option("--acts", default=None, help="How many acts of which pattern: p01=3,p09=2 or all=5.")
@click.option("--plot", type=click.Choice(PLOTS), default=None, help="A story of two months instead of acts; trainwatch.yaml goes with it.")
@click.option("--intensity", type=Number(0.1, 10), default=1.0, show_default=True, help="Scales what acts do.")
@click.option("--silent", type=click.Choice(FAMILIES), multiple=True, help="A source family of which nothing arrives; may be repeated.")
@click.option("--thin", type=click.IntRange(0, 60), default=0, show_default=True, help="One harmless bulk line for so many; 0: by size.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="Folder to write, made when missing.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output: what was written.")
def simulate(
    seed: int,
    days: float | None,
    gpus: int | None,
    acts: str | None,
    plot: str | None,
    intensity: float,
    silent: tuple[str, ...],
    thin: int,
    out: Path,
    *,
    as_json: bool,
) -> None:
    """Write the log records of a simulated cluster, with the truth about them.

    Without --gpus, --acts and --plot it is a week of a small site, with acts of its own, as `demo` plays it.

    Exit 0: written; 1: the disk is full; 2: wrong usage, or the folder cannot be written.
    """
    is_cluster = gpus is not None or acts is not None
    if not is_cluster and ((silent and not plot) or thin or intensity != 1.0):
        raise click.UsageError("--intensity, --silent and --thin need --gpus or --acts")
    if plot and (is_cluster or days):
        raise click.UsageError("a plot has its own length, cluster and acts: leave out --days, --gpus and --acts")
    try:
        if plot:
            summary = write_run(happen(plan_of_plot(plot, seed, frozenset(silent))), out)
        elif is_cluster:
            plan = Plan(
                seed=seed, days=days or CLUSTER_DAYS, gpus=gpus or CLUSTER_GPUS, acts=parse_acts(acts or ""), intensity=intensity,
                silent=frozenset(silent), thin=thin,
            )  # fmt: skip
            summary = write_run(happen(plan), out)
        else:
            summary = _write_week(run(seed, days or WEEK_DAYS), days or WEEK_DAYS, out)
    except OSError as error:
        raise ConfigError(f"cannot write {out}: {error}", advice="Name a folder that you may write, with --out.") from error
    if as_json:
        say_json(orjson.dumps(summary, option=orjson.OPT_INDENT_2))
        return
    for topic in TOPICS:
        click.echo(f"{out / topic}.jsonl  {many(summary['records'][topic], 'record')}")
    click.echo(f"{summary['truth']}  {many(summary['acts'], 'act')}, {many(summary['jobs'], 'job')}")
    click.echo(f"{out / 'trainwatch.yaml'}  settings of the simulated site")


def _write_week(week: Week, days: float, folder: Path) -> dict[str, Any]:
    write(week, folder)
    summary = {
        "records": week.counts,
        "acts": len(week.acts),
        "jobs": len(week.jobs),
        "truth": str(folder / "truth.json"),
        "seed": week.seed,
    }
    _say(days, "", summary)
    return summary


def _say(days: float, of: str, summary: dict[str, Any]) -> None:
    records, jobs, acts = sum(summary["records"].values()), many(summary["jobs"], "job"), many(summary["acts"], "act")
    say(f"simulated {days:g} {'day' if days == 1 else 'days'}{of}: {many(records, 'record')}, {jobs}, {acts} of interference")


def write(week: Week, folder: Path) -> None:
    """Write all files of a simulated period into `folder`.  Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    _write_records(week.records, folder)
    (folder / "truth.jsonl").unlink(missing_ok=True)  # of a cluster that was written here before
    (folder / "truth.json").write_bytes(orjson.dumps(week.truth(), option=orjson.OPT_INDENT_2))
    _write_settings(week.settings, folder)


def write_run(happening: Run, folder: Path) -> dict[str, Any]:
    """Let a cluster's period happen, writing its records as they come, then truth and settings; returns a summary.  Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    _write_records(_shown(happening), folder)
    (folder / "truth.json").unlink(missing_ok=True)  # of a week that was written here before
    path = folder / "truth.jsonl"
    first: dict[str, Any] = {}
    acts = jobs = 0
    with path.open("wb") as stream:
        for line in happening.truth():
            first = first or line
            acts += line["truth"] == "act"
            jobs += line["truth"] == "job"
            stream.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))
    _write_settings(happening.settings(), folder)
    thinned = "" if first["thin"] == 1 else f", one harmless bulk line for {first['thin']}"
    told = ("seed", "gpus", "records", "broken", "duplicates", "thin", "thinned", "silent", "acts_planned", "acts_effective", "causes")
    summary = {**{name: first[name] for name in told}, "acts": acts, "jobs": jobs, "truth": str(path)}
    _say(happening.plan.days, f" of {first['gpus']} GPUs{thinned}", summary)
    return summary


def _shown(happening: Run) -> Iterator[Record]:
    """Its records, and on a terminal how far the period is."""
    plan = happening.plan
    begun, whole, text = round(plan.start.timestamp() * 1000), round(plan.days * DAY_MS), f"simulating {plan.hosts * GPUS_PER_HOST} GPUs"
    with meter(text) as line:
        for number, record in enumerate(happening):
            yield record
            if number % SHOWN_EVERY == 0:
                done = min(max(record.timestamp - begun, 0), whole)
                day = min(done // DAY_MS + 1, round(plan.days))
                line.tell(f"{text}: day {day} of {plan.days:g}, {number + 1:,} records", done, whole)


def _write_records(records: Iterable[Record], folder: Path) -> None:
    with ExitStack() as open_files:
        files = {topic: open_files.enter_context((folder / f"{topic}.jsonl").open("wb", buffering=1 << 20)) for topic in TOPICS}
        for record in records:
            files[record.topic].write(orjson.dumps(_as_json(record), option=orjson.OPT_APPEND_NEWLINE))


def _write_settings(settings: dict[str, Any], folder: Path) -> None:
    (folder / "trainwatch.yaml").write_text(yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")


def _as_json(record: Record) -> dict[str, Any]:
    key = None if record.key is None else record.key.decode()
    fields: dict[str, Any] = {"timestamp": record.timestamp, "key": key, "headers": _headers(record.headers)}
    try:
        fields["value"] = record.value.decode()
    except UnicodeDecodeError:
        fields["value_base64"] = base64.b64encode(record.value).decode()
    return fields


def _headers(headers: Sequence[tuple[str, bytes]]) -> dict[str, str]:
    return {name: data.decode() for name, data in headers}
