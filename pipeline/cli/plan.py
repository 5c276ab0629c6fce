"""`trainwatch plan`: what a rate of records takes, from measured numbers."""

from typing import TYPE_CHECKING

import click
import msgspec

from pipeline.cli import Options, examples, say_json
from pipeline.cli.console import build_table, safe, stdout
from pipeline.cli.times import Number

if TYPE_CHECKING:
    from pipeline.runtime.capacity import Amount, Plan

HOST_RECORDS_PER_SECOND = 100  # where nobody says how many hosts there are
HOST_JOBS_PER_DAY = 1.1  # of the site that was measured


@click.command(
    epilog=examples("plan --events-per-second 50000", "plan --events-per-second 50000 --hosts 200 --input-days 3 --markdown > plan.md")
)
@click.option("--events-per-second", required=True, type=Number(1, 1e8), help="Records a second, at the busiest hour.")
@click.option("--hosts", type=click.IntRange(1), help="Hosts that jobs run on; default: one for 100 records a second.")
@click.option("--jobs-per-day", type=Number(0), help="Jobs that end in a day; default: 1.1 a host.")
@click.option("--record-bytes", type=Number(10, 1e6), help="Average size of a record; default: that of the demo, 185.")
@click.option("--input-days", type=Number(0.1, 365), help="How long Kafka keeps inputs.  [default: 7]")
@click.option("--replicas", type=click.IntRange(1, 7), help="Copies of each topic.  [default: 3]")
@click.option("--interval-seconds", type=Number(0.05, 60), help="Between checkpoints; default: checkpoint.interval_seconds.")
@click.option("--markdown", is_flag=True, help="The plan as a page.")
@click.option("--measured", is_flag=True, help="The numbers that plans are made from, and where they are from.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
@click.pass_obj
def plan(
    options: Options,
    /,
    *,
    events_per_second: float,
    hosts: int | None,
    jobs_per_day: float | None,
    interval_seconds: float | None,
    markdown: bool,
    measured: bool,
    as_json: bool,
    **more: float | None,
) -> None:
    """Say how many workers, partitions, brokers and nodes a rate takes, and how much fills their disks.

    From numbers that were measured on two cores and a simulated week; retention is that of the settings.  A plan is within a factor of
    two or three of the truth: measure your own lines before you buy.

    Exit 0; 2: wrong usage or settings.
    """
    from pipeline.runtime import capacity  # noqa: PLC0415  keeps --help quick
    from pipeline.topology import build_topology  # noqa: PLC0415

    settings = options.settings
    hosts = hosts or max(1, round(events_per_second / HOST_RECORDS_PER_SECOND))
    demand = capacity.Demand(
        events_per_second=events_per_second,
        hosts=hosts,
        jobs_per_day=HOST_JOBS_PER_DAY * hosts if jobs_per_day is None else jobs_per_day,
        interval_seconds=interval_seconds or settings.checkpoint.interval_seconds,
        **{name: value for name, value in more.items() if value is not None},  # type: ignore[arg-type]
    )
    made = capacity.plan(demand, settings, build_topology(settings))
    if as_json:
        say_json(msgspec.json.encode(made))
    elif markdown:
        click.echo(page(made), nl=False)
    else:
        _show(made)
    if measured:
        _show_measured()


def amount_text(value: float) -> str:
    """Two digits are more than is known."""
    rounded = float(f"{value:.2g}")
    return f"{rounded:,.0f}" if rounded >= 10 or rounded == int(rounded) else f"{rounded:g}"


def _range(amount: "Amount") -> str:
    return "" if amount.low == amount.high else f"{amount_text(amount.low)} to {amount_text(amount.high)}"


def _show(made: "Plan") -> None:
    console = stdout()
    table = build_table(f"{made.demand.events_per_second:,.0f} records a second", "", "what", "about", "likely", "unit", "from")
    for amount in made.amounts:
        table.add_row(
            amount.part, safe(amount.name), amount_text(amount.middle), _range(amount), safe(amount.unit), safe(amount.how)
        )  # fmt: skip
    console.print(table)
    for note in made.notes:
        click.echo(f"* {note}")


def _show_measured() -> None:
    from pipeline.runtime.capacity import MEASURED  # noqa: PLC0415  keeps --help quick

    table = build_table("Measured", "value", "of what", "where", "within a factor of")
    for value, unit, source, doubt in MEASURED:
        table.add_row(f"{value:g}", safe(unit), safe(source), f"{doubt:g}")
    stdout().print(table)


def page(made: "Plan") -> str:
    """As Markdown."""
    demand = made.demand
    said = (
        f"{demand.events_per_second:,.0f} records a second of {demand.record_bytes:g} bytes, {demand.hosts:,} hosts, "
        f"{demand.jobs_per_day:,.0f} ended jobs a day; inputs kept {demand.input_days:g} days, {demand.replicas} replicas, "
        f"a checkpoint every {demand.interval_seconds:g} s."
    )
    lines = [
        said,
        "",
        "| part | what | about | likely | unit | from |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {amount.part} | {amount.name} | {amount_text(amount.middle)} | {_range(amount)} | {amount.unit} | {amount.how} |"
        for amount in made.amounts
    ]
    return "\n".join([*lines, "", *(f"* {note}" for note in made.notes)]) + "\n"
