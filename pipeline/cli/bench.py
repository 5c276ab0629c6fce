"""`trainwatch bench [JOB]`: how fast this machine is with our pipeline and with its peers, results checked; without a job the quick table.

Each job makes its own load from a seed, on the servers of the settings, on the embedded ones that run, or on a pair that is started for it
and ended with it.  What is made is removed.  Peers that are not installed are left out with a word (extra `bench`).

Exit 0: measured, and every required ratio is reached; 1: something failed, or a result was wrong; 3: a requirement is missed.
"""

from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from pipeline.cli import Options, examples, say, say_json
from pipeline.cli.console import stdout
from pipeline.cli.times import Number
from pipeline.model.words import many

if TYPE_CHECKING:
    from pipeline.bench.report import JobReport
    from pipeline.bench.site import Site

TOO_SLOW = 3

ROUNDS_MIN = 3  # fewer have no median that says anything
_WARMS_UP = "trainwatch.bench.warms_up"

_seed = click.option("--seed", type=int, default=1, show_default=True, help="The same seed gives the same load.")
_json = click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
_peers = click.option("--peers", default="", help="Comma separated; default: all that are installed.")


def _rounds(command: Callable[..., None]) -> Callable[..., None]:
    """Rounds, and one before them that does not count."""
    rounds = click.option(
        "--rounds", type=click.IntRange(1, 25), default=3, show_default=True, callback=_few, help="Interleaved rounds; medians are told."
    )
    warm_up = click.option(
        "--warm-up/--no-warm-up",
        default=True,
        expose_value=False,
        callback=_warm_up,
        help="Run all once before, uncounted.  [default: yes]",
    )
    return rounds(warm_up(command))


def _few(_ctx: click.Context, _option: click.Parameter, rounds: int) -> int:
    if rounds < ROUNDS_MIN:
        say(
            f"medians of {rounds} round{'s' if rounds > 1 else ''} say little: one slow moment of the machine is the result; take 3 or more"
        )
    return rounds


def _warm_up(ctx: click.Context, _option: click.Parameter, warms_up: bool) -> None:
    ctx.meta[_WARMS_UP] = warms_up


def _records(default: int) -> Callable[[Callable[..., None]], Callable[..., None]]:
    return click.option(
        "--records", type=click.IntRange(min=1000), default=default, show_default=True, help="Records that our worker reads in a run."
    )


@click.group(
    invoke_without_command=True, epilog=examples("bench                                    # all jobs, small", "bench ingest --rounds 5")
)
@click.pass_context
def bench(ctx: click.Context) -> None:
    """Measure speed on real servers, side by side with peers; `formats`, `state` and `mix --local` need none.  Without a job: `all`.

    Exit 0: measured, every required ratio reached; 1: something failed or came out wrong; 3: a requirement is missed.
    """
    if ctx.invoked_subcommand is None:
        ctx.invoke(everything)


@bench.command("all", epilog=examples("bench all --scale 0.1 --rounds 1"))
@click.option("--scale", type=Number(0.001, 10), default=1.0, show_default=True, help="Multiplies all sizes.")
@_rounds
@_seed
@_json
@click.pass_context
def everything(ctx: click.Context, /, scale: float, rounds: int, seed: int, as_json: bool) -> None:
    """All jobs at sizes that take some minutes in all."""
    from pipeline.bench import job_full, job_idle, job_ingest, job_join, job_latency, job_mix  # noqa: PLC0415  keeps --help quick

    def size(records: int) -> int:
        return max(1000, int(records * scale))

    jobs: list[Callable[[Site], JobReport]] = [
        lambda site: job_ingest.run(site, size(400_000), rounds, seed=seed),
        lambda site: job_full.run(site, "json", size(120_000), rounds, seed=seed),
        lambda site: job_full.run(site, "auditd", size(120_000), rounds, seed=seed),
        lambda site: job_mix.run(site, size(200_000), rounds, seed=seed),
        lambda site: job_join.run(site, size(200_000), rounds, seed=seed),
        lambda site: job_join.run(site, size(100_000), rounds, seed=seed, disordered=True),
        lambda site: job_join.run_hosts(site, size(100_000), rounds, seed=seed),
        lambda site: job_latency.run(site, max(3.0, 15 * min(scale, 1.0)), seed=seed),
        lambda site: job_idle.run(site, max(3.0, 30 * min(scale, 1.0))),
    ]
    _run(ctx, jobs, as_json=as_json)


@bench.command(epilog=examples("bench ingest", "bench ingest --records 200000 --peers aiokafka,stock"))
@_records(1_000_000)
@_rounds
@_seed
@_peers
@_json
@click.pass_context
def ingest(ctx: click.Context, /, records: int, rounds: int, seed: int, peers: str, as_json: bool) -> None:
    """Bare JSON ingest: decode, typed columns, insert into ClickHouse."""
    from pipeline.bench import job_ingest  # noqa: PLC0415  keeps --help quick

    names = _chosen(peers, job_ingest.PEERS)
    _run(ctx, [lambda site: job_ingest.run(site, records, rounds, seed=seed, peers=names)], as_json=as_json)


@bench.command("full-json", epilog=examples("bench full-json --rounds 5"))
@_records(300_000)
@_rounds
@_seed
@_peers
@_json
@click.pass_context
def full_json(ctx: click.Context, /, records: int, rounds: int, seed: int, peers: str, as_json: bool) -> None:
    """Full JSON ingest as the product does it: event id, raw line kept and hashed, identity, facts routed."""
    _full(ctx, "json", records, rounds, seed, peers, as_json=as_json)


@bench.command("full-auditd", epilog=examples("bench full-auditd --rounds 5"))
@_records(300_000)
@_rounds
@_seed
@_peers
@_json
@click.pass_context
def full_auditd(ctx: click.Context, /, records: int, rounds: int, seed: int, peers: str, as_json: bool) -> None:
    """The same on auditd text."""
    _full(ctx, "auditd", records, rounds, seed, peers, as_json=as_json)


def _full(ctx: click.Context, kind: str, records: int, rounds: int, seed: int, peers: str, *, as_json: bool) -> None:
    from pipeline.bench import job_full  # noqa: PLC0415  keeps --help quick

    names = _chosen(peers, job_full.PEERS)
    _run(ctx, [lambda site: job_full.run(site, kind, records, rounds, seed=seed, peers=names)], as_json=as_json)


@bench.command(epilog=examples("bench mix", "bench mix --local --profile whole"))
@_records(500_000)
@_rounds
@_seed
@_peers
@click.option("--local", is_flag=True, help="In memory, without servers: microseconds per record and stage.")
@click.option("--profile", type=click.Choice(["ingest", "whole"]), help="With --local: functions by their own time, on standard error.")
@_json
@click.pass_context
def mix(
    ctx: click.Context, /, records: int, rounds: int, seed: int, peers: str, local: bool, profile: str | None, as_json: bool
) -> None:  # fmt: skip
    """The whole path, all stages and detectors: 90 % access, 9 % training, 1 % scheduler records."""
    from pipeline.bench import job_mix  # noqa: PLC0415  keeps --help quick
    from pipeline.bench import local as in_memory  # noqa: PLC0415

    if profile and not local:
        raise click.UsageError("--profile goes with --local")
    if local:
        report = in_memory.measure(records, seed, say=say, profile=profile or "")
        if as_json:
            say_json(msgspec.json.encode(report))
        else:
            click.echo("\n".join(in_memory.lines(report)))
        return
    names = _chosen(peers, job_mix.PEERS)
    _run(ctx, [lambda site: job_mix.run(site, records, rounds, seed=seed, peers=names)], as_json=as_json)


@bench.command(epilog=examples("bench join --disordered", "bench join --hosts"))
@_records(500_000)
@_rounds
@_seed
@_peers
@click.option("--disordered", is_flag=True, help="Facts displaced by up to half an hour; some engines lose matches there.")
@click.option("--hosts", is_flag=True, help="The whole hosts stage of the product, by our worker and under stock agents.")
@_json
@click.pass_context
def join(ctx: click.Context, /, records: int, rounds: int, seed: int, peers: str, disordered: bool, hosts: bool, as_json: bool) -> None:
    """Interval join, state checkpointed."""
    from pipeline.bench import job_join  # noqa: PLC0415  keeps --help quick

    if hosts:
        if disordered:
            raise click.UsageError("--disordered goes without --hosts")
        some = _chosen(peers, job_join.HOSTS_PEERS)
        _run(ctx, [lambda site: job_join.run_hosts(site, records, rounds, seed=seed, peers=some)], as_json=as_json)
        return
    names = _chosen(peers, job_join.PEERS)
    _run(ctx, [lambda site: job_join.run(site, records, rounds, seed=seed, disordered=disordered, peers=names)], as_json=as_json)


@bench.command(epilog=examples("bench seal --rounds 7"))
@_records(200_000)
@_rounds
@_seed
@_json
@click.pass_context
def seal(ctx: click.Context, /, records: int, rounds: int, seed: int, as_json: bool) -> None:
    """Ingest, and the whole path, with evidence sealed against the same without: 5 % at most."""
    from pipeline.bench import job_seal  # noqa: PLC0415  keeps --help quick

    jobs = [partial(job_seal.run, kind=kind, records=records, rounds=rounds, seed=seed) for kind in ("json", "auditd", "mix")]
    _run(ctx, jobs, as_json=as_json)


@bench.command(epilog=examples("bench latency --rate 2000 --seconds 30"))
@click.option("--seconds", type=Number(min=1), default=20.0, show_default=True, help="Time of steady producing.")
@click.option("--rate", type=click.IntRange(min=100), default=5000, show_default=True, help="Records per second.")
@click.option("--findings", type=click.IntRange(min=0), default=3, show_default=True, help="Findings whose delay is measured.")
@_seed
@_peers
@_json
@click.pass_context
def latency(ctx: click.Context, /, seconds: float, rate: int, findings: int, seed: int, peers: str, as_json: bool) -> None:
    """From the producer to visible in ClickHouse, ours and peers; and from the last fact to the provisional finding."""
    from pipeline.bench import job_latency  # noqa: PLC0415  keeps --help quick

    names = _chosen(peers, job_latency.PEERS)
    _run(ctx, [lambda site: job_latency.run(site, seconds, seed=seed, rate=rate, findings=findings, peers=names)], as_json=as_json)


@bench.command(epilog=examples("bench scale --workers 2"))
@_records(200_000)
@click.option("--workers", type=click.IntRange(2, 64), default=4, show_default=True, help="Workers of the group.")
@_rounds
@_seed
@_json
@click.pass_context
def scale(ctx: click.Context, /, records: int, workers: int, rounds: int, seed: int, as_json: bool) -> None:
    """Several workers in one group against one; and one host that has nearly all the access records."""
    from pipeline.bench import job_scale  # noqa: PLC0415  keeps --help quick

    _run(ctx, [lambda site: job_scale.run(site, records, workers, rounds, seed=seed)], as_json=as_json)


@bench.command(epilog=examples("bench rebalance --scale 0.1"))
@click.option("--scale", type=Number(0.001, 10), default=1.0, show_default=True, help="Share of the state of 45 days.")
@_json
@click.pass_context
def rebalance(ctx: click.Context, /, scale: float, as_json: bool) -> None:
    """How long a second worker, and the first, stand still when it comes, with the state of 45 days."""
    from pipeline.bench import job_rebalance  # noqa: PLC0415  keeps --help quick

    _run(ctx, [lambda site: job_rebalance.run(site, scale)], as_json=as_json)


@bench.command(epilog=examples("bench memory --scale 0.1 --records 50000"))
@_records(400_000)
@click.option("--scale", type=Number(0.001, 10), default=1.0, show_default=True, help="Share of the state of 45 days.")
@_seed
@_json
@click.pass_context
def memory(ctx: click.Context, /, records: int, scale: float, seed: int, as_json: bool) -> None:
    """Memory of a worker that has the state of 45 days and reads the mix."""
    from pipeline.bench import job_memory  # noqa: PLC0415  keeps --help quick

    _run(ctx, [lambda site: job_memory.run(site, records, scale, seed=seed)], as_json=as_json)


@bench.command(epilog=examples("bench idle --seconds 60"))
@click.option("--seconds", type=Number(min=1), default=30.0, show_default=True, help="Time under the meter.")
@_json
@click.pass_context
def idle(ctx: click.Context, /, seconds: float, as_json: bool) -> None:
    """What a worker takes while nothing happens."""
    from pipeline.bench import job_idle  # noqa: PLC0415  keeps --help quick

    _run(ctx, [lambda site: job_idle.run(site, seconds)], as_json=as_json)


@bench.command(epilog=examples("bench state --scale 0.1"))
@click.option("--scale", type=Number(0.001, 10), default=1.0, show_default=True, help="Share of the state of 45 days.")
@_json
@click.pass_context
def state(ctx: click.Context, /, scale: float, as_json: bool) -> None:
    """Recovery time, memory and bytes written of a state of 45 days; no servers."""
    from pipeline.bench import job_state  # noqa: PLC0415  keeps --help quick

    _tell(ctx, [job_state.run(scale, say=say)], as_json=as_json)


@bench.command("dashboards", epilog=examples("bench dashboards --events 1000000"))
@click.option("--events", type=click.IntRange(min=100_000), default=5_000_000, show_default=True, help="Events in the table.")
@click.option("--rounds", type=click.IntRange(1, 25), default=5, show_default=True, help="Each panel is asked so often.")
@_json
@click.pass_context
def dashboards_(ctx: click.Context, /, events: int, rounds: int, as_json: bool) -> None:
    """Every panel of the dashboards on a large table: 90th percentile of its time, and the share of the table that it reads."""
    from pipeline.bench import job_dashboards  # noqa: PLC0415  keeps --help quick
    from pipeline.cli.panels import queries  # noqa: PLC0415

    _run(ctx, [lambda site: job_dashboards.run(site, queries, events, rounds)], as_json=as_json)


@bench.command("formats", epilog=examples("bench formats", "bench formats --formats sshd,auditd --rounds 25"))
@click.option("--lines", "count", type=click.IntRange(500, 1_000_000), default=10_000, show_default=True, help="Lines of each format.")
@click.option("--rounds", type=click.IntRange(3, 101), default=5, show_default=True, help="Interleaved rounds; medians are told.")
@click.option("--formats", "names", default="", help="Comma separated; default: all.")
@_seed
@_json
@click.pass_context
def formats_(ctx: click.Context, /, count: int, rounds: int, names: str, seed: int, as_json: bool) -> None:
    """Parsers alone, on one core: microseconds a line, pinned and sniffed; no servers."""
    from pipeline.bench import formats  # noqa: PLC0415  keeps --help quick

    chosen = tuple(name.strip() for name in names.split(",") if name.strip()) or formats.ALL
    if unknown := set(chosen) - set(formats.ALL):
        raise click.UsageError(f"unknown format {min(unknown)}; known: {', '.join(formats.ALL)}")
    speeds = formats.measure(chosen, count, rounds, seed=seed, say=say)
    if as_json:
        say_json(msgspec.json.encode(speeds))
    else:
        stdout().print(formats.table(speeds))
        within = sum(each.sniffing_reached for each in speeds.formats)
        say(
            f"sniffing adds {speeds.sniffing_share:.1%} to a parser, the median over formats; "
            f"less than {formats.SNIFFED_SHARE:.0%} to {within} of {len(speeds.formats)} formats"
        )
    ctx.exit(0 if speeds.reached else TOO_SLOW)


@bench.command(epilog=examples("bench fuzz --minutes 5", "bench fuzz --formats auditd --samples audit.log"))
@click.option("--minutes", type=Number(min=0.01), default=1.0, show_default=True, help="How long.")
@click.option("--formats", "named", default="", help="Comma separated; default: all.")
@click.option("--samples", type=click.Path(exists=True, path_type=Path), multiple=True, help="A file or folder of lines to mutate too.")
@click.option("--keep", type=click.Path(path_type=Path), default=Path("fuzz-failures"), show_default=True, help="Folder for failing input.")
@_seed
@_json
@click.pass_context
def fuzz(ctx: click.Context, /, minutes: float, named: str, samples: tuple[Path, ...], keep: Path, seed: int, as_json: bool) -> None:
    """Mutated lines against every parser; no servers.  Exit 0: every promise was kept; 1: one was broken."""
    from pipeline.bench import fuzz as fuzzing  # noqa: PLC0415  keeps --help quick

    lines = [line for each in samples for line in fuzzing.sample_lines(each, seed)]
    report = fuzzing.run(_chosen_formats(named, fuzzing.ALL), 60 * minutes, seed=seed, samples=lines, keep=keep, say=say)
    if as_json:
        say_json(msgspec.json.encode(report))
    else:
        stdout().print(fuzzing.table(report))
        say("every promise was kept" if report.clean else f"BROKEN: {many(len(report.violations), 'promise')}")
    ctx.exit(0 if report.clean else 1)


if find_spec("pipeline.cli.faults") is not None:
    bench.add_command(import_module("pipeline.cli.faults").faults)
    bench.add_command(import_module("pipeline.cli.soak").soak)


def _chosen_formats(named: str, known: Sequence[str]) -> tuple[str, ...]:
    names = tuple(name.strip() for name in named.split(",") if name.strip()) or tuple(known)
    if unknown := set(names) - set(known):
        raise click.UsageError(f"unknown format {min(unknown)}; known: {', '.join(known)}")
    return names


def _chosen(peers: str, known: Sequence[str]) -> tuple[str, ...]:
    names = tuple(name.strip() for name in peers.split(",") if name.strip()) or tuple(known)
    if unknown := set(names) - set(known):
        raise click.UsageError(f"unknown peer {min(unknown)}; known: {', '.join(known)}")
    return (known[0], *(name for name in names if name != known[0]))


def _run(ctx: click.Context, jobs: "Sequence[Callable[[Site], JobReport]]", *, as_json: bool) -> None:
    from pipeline.bench.site import open_site  # noqa: PLC0415  keeps --help quick

    with open_site(ctx.ensure_object(Options).settings, say, warms_up=ctx.meta.get(_WARMS_UP, True)) as site:
        reports = [job(site) for job in jobs]
    _tell(ctx, reports, as_json=as_json)


def _tell(ctx: click.Context, reports: "Sequence[JobReport]", *, as_json: bool) -> None:
    from pipeline.bench.report import tables  # noqa: PLC0415  keeps --help quick

    reached = all(report.reached for report in reports)
    if as_json:
        say_json(msgspec.json.encode({"jobs": reports, "reached": reached}))
    else:
        for report in reports:
            for table in tables(report):
                stdout().print(table)
        asked = any(each.counts for report in reports for each in report.requirements)
        say(
            "a requirement is NOT reached"
            if not reached
            else "every required ratio is reached"
            if asked
            else "no required ratio could be judged"
        )
    ctx.exit(0 if reached else TOO_SLOW)
