"""`trainwatch bench soak`: hours of a site at a set rate, with small troubles all the time; then everything is accounted for.

Troubles and what is watched: `pipeline/faults/soak.py`.
"""

import shutil
from typing import TYPE_CHECKING

import click
import msgspec

from pipeline.cli import Options, examples, say, say_json
from pipeline.cli.console import build_table, stdout
from pipeline.cli.faults import own_servers
from pipeline.cli.times import Number

if TYPE_CHECKING:
    from pipeline.faults.soak import Soaked

WRONG, GROWS = 1, 3


@click.command(epilog=examples("bench soak --minutes 30 --rate 150"))
@click.option("--minutes", type=Number(0.5, 60 * 24), default=5.0, show_default=True, help="How long.")
@click.option("--rate", type=Number(1, 50_000), default=300.0, show_default=True, help="Records a second.")
@click.option("--seed", type=int, default=1, show_default=True, help="The same seed draws the same troubles.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output, with all samples.")
@click.pass_context
def soak(ctx: click.Context, /, minutes: float, rate: float, seed: int, as_json: bool) -> None:
    """Kill, stop, join and freeze workers, slow and cut ClickHouse, delete and rotate, while a site runs; then account for every record.

    On embedded servers of its own, removed at the end.  Exit 0: nothing lost, nothing doubled, the same findings as in memory, and open
    files did not grow; 1: one of these is not so; 2: wrong usage; 3: all that, but memory grew, which a soak of an hour or more can tell.
    """
    from pipeline.faults import soak as soaking  # noqa: PLC0415  keeps --help quick

    with own_servers(ctx.ensure_object(Options), "soak") as (servers, folder):
        soaked = soaking.soak(servers, folder / "site", seconds=60 * minutes, rate=rate, seed=seed, say=say)
        if not soaked.wrong:
            shutil.rmtree(folder / "site", ignore_errors=True)
    right = not soaked.wrong
    if as_json:
        said = {
            "ok": right,
            "wrong": soaked.wrong,
            "memory_slope_mib_per_hour": soaked.memory_slope_mib_per_hour,
            "flat": soaked.flat,
            "soak": soaked,
        }
        say_json(msgspec.json.encode(said))
    else:
        _show(soaked)
    ctx.exit(WRONG if not right else GROWS if soaked.flat is False else 0)


def _show(soaked: "Soaked") -> None:
    result = soaked.result
    table = build_table("Soak", "what", "figure")
    table.add_row("records", f"{soaked.sent:,} at {soaked.records_per_second:,.0f} a second")
    table.add_row("troubles", ", ".join(f"{name} {times}" for name, times in soaked.troubles.items()) or "none")
    table.add_row("folded again", f"{result.replayed:,} offsets; {result.take_overs} take-overs, {result.retries} inserts tried again")
    table.add_row("lost, doubled", f"{result.lost}, {result.doubled}")
    table.add_row(
        "findings", f"{result.findings}, {'equal' if result.findings_equal and result.verdicts_equal else 'NOT EQUAL'} to memory's"
    )
    if soaked.settled:
        first, last = soaked.settled[0], soaked.settled[-1]
        word = {None: "too short to say", True: "flat", False: "NOT FLAT"}[soaked.flat]
        grew = f"{soaked.memory_slope_mib_per_hour:+.1f} MiB/h in the second half, at most {soaked.memory_slope_max:.0f}: {word}"
        table.add_row("memory", f"{last.resident_mib:.0f} MiB, {grew}")
        table.add_row("open files", f"{first.files} in the middle, {last.files} at the end")
        table.add_row("lag", f"{max(each.lag for each in soaked.samples):,} records at most")
        table.add_row("disk", f"{last.rows_mib:.0f} MiB of rows")
    stdout().print(table)
    for line in soaked.wrong:
        say(f"WRONG: {line}")
