"""`trainwatch bench faults`: break workers, servers and input on purpose, many times, and count what was lost.

Faults and what they prove: `pipeline/faults/table.py`.  Each run takes 15 to 60 seconds; the suite can be stopped at any time and goes on
where it was when `--results` names the same file.
"""

import logging
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from pipeline.cli import Options, examples, say, say_json
from pipeline.cli.console import build_table, stdout
from pipeline.model.words import many

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pipeline.faults.servers import Servers
    from pipeline.faults.suite import Row

WRONG = 1
EQUAL = {True: "yes", False: "NO", None: "not compared"}
AGAIN, NOT_AGAIN = "the same command goes on from here", "with --results FILE it would go on from here"


@click.command(epilog=examples("bench faults --list", "bench faults --seeds 3 --results faults.jsonl"))
@click.option("--seeds", type=click.IntRange(1, 10_000), default=1, show_default=True, help="Runs of each fault.")
@click.option("--first-seed", type=click.IntRange(0), default=1, show_default=True, help="The seed to begin with.")
@click.option("--only", multiple=True, metavar="NAME", help="This fault alone; may be repeated.")
@click.option(
    "--results", type=click.Path(path_type=Path, dir_okay=False), help="File of results, one JSON line a run; finished ones are skipped."
)
@click.option("--list", "listed", is_flag=True, help="Say what the faults are, and do nothing.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
@click.pass_context
def faults(
    ctx: click.Context, /, seeds: int, first_seed: int, only: tuple[str, ...], results: Path | None, listed: bool, as_json: bool
) -> None:
    """Nothing lost, nothing twice, the same findings: under every fault, with many seeds.

    On embedded servers of its own, which are killed, brought back, and removed at the end.  Exit 0: all runs were right, and every
    fault bit in every run; 1: something was lost, doubled or judged otherwise, a fault did not bite, or Ctrl-C came first; 2: wrong usage.
    """
    from pipeline.faults import suite  # noqa: PLC0415  keeps --help quick
    from pipeline.faults.table import BY_NAME, FAULTS  # noqa: PLC0415

    unknown = [name for name in only if name not in BY_NAME]
    if unknown:
        raise click.BadParameter(f"no fault is named {unknown[0]}; there are {', '.join(BY_NAME)}", param_hint="--only")
    chosen = [fault for fault in FAULTS if not only or fault.name in only]
    if listed:
        for fault in chosen:
            click.echo(f"{fault.name}\n    {fault.does}\n    bit when {fault.bites}")
        return
    wanted = [(fault, seed) for seed in range(first_seed, first_seed + seeds) for fault in chosen]
    done = suite.finished(results)
    known = {(each.fault, each.seed) for each in done}
    open_runs = [(fault, seed) for fault, seed in wanted if (fault.name, seed) not in known]
    say(f"{many(len(wanted), 'run')}, {len(wanted) - len(open_runs)} of them finished before")
    ended = False
    if open_runs:
        with own_servers(ctx.ensure_object(Options), "faults") as (servers, folder):
            try:
                for number, (fault, seed) in enumerate(open_runs, 1):
                    say(f"[{number}/{len(open_runs)}] {fault.name}: {fault.does}")
                    result = suite.until_bitten(fault, seed, servers, folder, say=say)
                    suite.note(results, result)
                    done.append(result)
            except KeyboardInterrupt:
                say(f"ended after {many(number - 1, 'run')}; {AGAIN if results else NOT_AGAIN}")
                ended = True
    table = suite.rows([each for each in done if (each.fault, each.seed) in {(fault.name, seed) for fault, seed in wanted}], chosen)
    right = all(row.right for row in table) and not ended
    if as_json:
        say_json(msgspec.json.encode({"ok": right, "faults": table}))
    else:
        _show(table)
    ctx.exit(0 if right else WRONG)


@contextmanager
def own_servers(options: Options, name: str) -> "Iterator[tuple[Servers, Path]]":
    """Embedded servers in a new folder, on ports of their own; of the folder nothing stays but the logs of runs that went wrong."""
    from pipeline.embedded import servers as embedded  # noqa: PLC0415  keeps --help quick
    from pipeline.faults.servers import Servers  # noqa: PLC0415

    folder = Path(tempfile.mkdtemp(prefix=f"trainwatch-{name}-"))
    say(f"logs of what goes wrong stay in {folder}")
    for client in ("aiokafka", "kafka"):  # what they say of servers and connections that are ended on purpose
        logging.getLogger(client).setLevel(logging.CRITICAL)
    settings = options.settings
    update = {"directory": folder / "servers", "kafka_port": 0, "clickhouse_port": 0, "clickhouse_http_port": 0}
    own = settings.model_copy(
        update={
            "embedded": settings.embedded.model_copy(update=update),
            "kafka": settings.kafka.model_copy(update={"bootstrap_servers": ""}),
            "clickhouse": settings.clickhouse.model_copy(update={"host": ""}),
        }
    )
    try:
        embedded.up(own, say=say)
        yield Servers(own), folder
    finally:
        embedded.down(own, say=say)
        shutil.rmtree(folder / "servers", ignore_errors=True)
        if not any(folder.iterdir()):
            folder.rmdir()


def _show(table: "Sequence[Row]") -> None:
    shown = build_table(
        "Faults",
        "fault",
        "runs",
        "bit",
        "replayed offsets",
        "lost",
        "doubled",
        "findings",
        "findings equal",
        "verdicts equal",
        "incidents equal",
        "wrong",
        "s/run",
    )
    for row in table:
        cells = (row.runs, row.bit, row.replayed, row.lost, row.doubled, row.findings)
        equal = (EQUAL[each] for each in (row.findings_equal, row.verdicts_equal, row.incidents_equal))
        shown.add_row(row.fault, *(f"{cell:,}" for cell in cells), *equal, str(row.wrong), f"{row.seconds / max(1, row.runs):.0f}")
    stdout().print(shown)
