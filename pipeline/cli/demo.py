"""`trainwatch demo`: everything at once on one machine, on real servers, with a simulated cluster.

    servers -> migrations, topics -> worker (a process of its own) -> a simulated week through Kafka -> findings, as they arrive -> table

It has a folder of its own below the embedded one and starts anew each time, so that it never mixes with a site's data; what an earlier
demo left there is emptied, which is asked where somebody can answer.  Its settings are left there: `trainwatch --settings
<folder>/trainwatch.yaml ...` works on what the demo left.  Exit 0 only if exactly the planted interference was found.

Holds: whoever breaks it off is told that servers still run, and how to stop them.
"""

import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import msgspec
import yaml
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from pipeline import settings as settings_module
from pipeline.cli import Options, examples
from pipeline.cli.console import build_table, confidence, invocation, moment, safe, stderr, stdout
from pipeline.cli.times import DAYS_MAX, Number, now_ms
from pipeline.embedded import servers
from pipeline.errors import ConfigError, FatalError
from pipeline.evidence.signing import make_key
from pipeline.model.outcome import Record
from pipeline.model.words import many
from pipeline.runtime import admin, replay
from pipeline.runtime.following import Follower, caught_up
from pipeline.settings import Settings
from pipeline.simulate import Week, simulate
from pipeline.sink import migrate
from pipeline.sink.clickhouse import Database
from pipeline.topology import PUBLIC, build_topology

WRONG_FINDINGS = 3
SERVERS_FOLDER = "servers"
KEY_FILE = "evidence.key"
WAIT_SECONDS_MAX = 600
POLL_SECONDS = 0.5
# Invented, like the week: no offer of anybody.  A site states its own (README, Incidents).
PRICES = {"prices": [{"from": "2026-01-01", "currency": "CNY", "method": "rent", "gpu_hour": [10, 20, 40]}]}
QUERIES_TO_TRY = (
    "SELECT detector, job_id, owner, actor, summary FROM {database}.findings_told WHERE status != 'retracted' ORDER BY cause_time",
    "SELECT verdict, cause, count() FROM {database}.verdicts_current GROUP BY ALL ORDER BY 3 DESC",
    "SELECT ts, what, source, kind, actor, text FROM {database}.job_timeline WHERE job_id = '{job}' ORDER BY ts LIMIT 50",
)


@click.command(epilog=examples("demo", "demo --days 2 --seed 5 --stop"))
@click.option("--seed", type=int, default=1, show_default=True, help="The same seed gives the same week.")
@click.option("--days", type=Number(1, DAYS_MAX), default=7.0, show_default=True, help="Length of the simulated period.")
@click.option("--stop/--keep", default=False, help="Stop the servers at the end; by default they keep running.")
@click.option("--again", is_flag=True, help="Empty the folder of an earlier demo without asking.")
@click.pass_obj
def demo(options: Options, seed: int, days: float, *, stop: bool, again: bool) -> None:
    """Start everything, simulate a week of a small cluster, and show what trainwatch finds in it.

    A second demo empties the folder of the first.  On a terminal it asks before; elsewhere, and with --again, it only says so.

    Exit 0: exactly the planted interference was found; 1: something failed, or an earlier demo is to stay; 3: something else was found.
    """
    say = stderr()
    folder = (options.settings.embedded.directory / "demo").resolve()
    say.print(f"demo in {folder}, seed {seed}", soft_wrap=True)
    began = time.monotonic()
    own = _own_servers(folder)
    if not again:
        _ask(folder)
    week = simulate(seed, days)
    say.print(f"simulated {days:g} days: {many(len(week.records), 'record')}, {many(len(week.jobs), 'job')}")
    _empty(folder, own, say)
    with _ended(folder, own, say, stop=stop):
        site = _prepare(folder, week, say)
        with _worker(folder, say):
            _stream(site, week, say)
            right = _report(site, week, folder, time.monotonic() - began, stop=stop)
    raise SystemExit(0 if right else WRONG_FINDINGS)


def command_on(folder: Path) -> str:
    """What a reader types to work on what the demo left."""
    return f"{invocation()} --settings {shlex.quote(str(folder / settings_module.SETTINGS_FILE))}"


def _ask(folder: Path) -> None:
    """Whether an earlier demo may be emptied, where there is one, and somebody who can answer."""
    if not folder.exists() or not sys.stdin.isatty():
        return
    if not click.confirm(f"{folder} holds an earlier demo. Stop its servers and empty it?", default=True, err=True):
        click.echo(f"nothing was changed; look at the earlier demo with: {command_on(folder)} status", err=True)
        raise SystemExit(1)


def _own_servers(folder: Path) -> Settings:
    """Settings that name the demo's servers, refused where the environment, which wins, would lead it to others."""
    # No file: a trainwatch.yaml in the working directory is the site's.
    settings = settings_module.load(Path(os.devnull), {"embedded": {"directory": str(folder / SERVERS_FOLDER)}})
    own = settings.embedded.directory == folder / SERVERS_FOLDER
    if not own or settings.kafka.bootstrap_servers or settings.clickhouse.host:
        names = ("EMBEDDED__DIRECTORY", "KAFKA__BOOTSTRAP_SERVERS", "CLICKHOUSE__HOST")
        named = ", ".join(f"{settings_module.ENVIRONMENT_PREFIX}{name}" for name in names)
        message = "the environment would lead the demo to other servers than its own"
        raise ConfigError(message, advice=f"Unset {named} for it; embedded.directory in trainwatch.yaml says where it is.")
    return settings


def _empty(folder: Path, settings: Settings, say: Console) -> None:
    """Servers first: they hold their files."""
    if folder.exists():
        say.print(f"emptying {folder}, which an earlier demo left", soft_wrap=True)
        servers.down(settings, say=say.print)
        shutil.rmtree(folder)


@contextmanager
def _ended(folder: Path, settings: Settings, say: Console, *, stop: bool) -> Iterator[None]:
    """Servers outlive this command, also when it is broken off: stop them if that is wanted, else say how to."""
    whole = False
    try:
        yield
        whole = True
    finally:
        if stop:
            servers.down(settings, say=say.print)
        elif not whole and servers.pids(settings):
            say.print(f"the demo's servers still run; stop them with: {command_on(folder)} down", soft_wrap=True)


def _prepare(folder: Path, week: Week, say: Console) -> Settings:
    """Servers on an empty folder, settings of the simulated site, tables and topics."""
    own = {"embedded": {"directory": str(folder / SERVERS_FOLDER)}, "evidence": {"key_file": str(folder / KEY_FILE)}, "loss": PRICES}
    folder.mkdir(parents=True)
    make_key(folder / KEY_FILE, now_ms())
    path = folder / settings_module.SETTINGS_FILE
    head = "# The demo's cluster does not exist: people, machines and prices are invented.\n"
    path.write_text(head + yaml.safe_dump({**week.settings, **own}, sort_keys=True), encoding="utf-8")
    settings = settings_module.load(path)
    servers.up(settings, say=say.print)
    site = servers.connected(settings)
    with Database(site.clickhouse) as database:
        migrate.up(database, say=_quietly)
    with admin.Admin(site, build_topology(site)) as topics:
        topics.ensure()
    say.print("tables and topics are there")
    return site


def _quietly(_: str) -> None:
    """Migrations of an empty database are of no interest here."""


@contextmanager
def _worker(folder: Path, say: Console) -> Iterator[None]:
    """A worker as a process of its own, ended by SIGTERM when the block ends."""
    log = folder / "worker.log"
    command = [sys.executable, "-m", "pipeline", "--settings", str(folder / settings_module.SETTINGS_FILE), "worker"]
    package = str(Path(settings_module.__file__).resolve().parents[2])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (package, os.environ.get("PYTHONPATH", ""))))}
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, env=environment)
    say.print(f"worker started (pid {process.pid}, log {log})")
    try:
        yield
        if process.poll() is not None:
            raise FatalError(f"the worker ended with code {process.returncode}", advice=f"Read {log}.")
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()


def _stream(site: Settings, week: Week, say: Console) -> None:
    """Send the week, print findings as they arrive, return when everything is judged and stored."""
    topology = build_topology(site)
    total = len(week.records)
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Follower(site, topology.public_topic("findings")) as findings, Progress(*columns, console=say) as progress:
        announcer = Announcer(findings, progress.console)
        sending = progress.add_task("sending", total=total)
        replay.send(site, _as_shipped(week), final=True, progress=lambda sent: progress.update(sending, completed=sent))
        judging = progress.add_task("judging", total=total)
        deadline = time.monotonic() + WAIT_SECONDS_MAX
        while not (state := caught_up(site, topology)).done:
            if time.monotonic() > deadline:
                raise FatalError(f"still waiting: {many(state.lag, 'record')}", advice="Read worker.log in the demo folder.")
            progress.update(judging, completed=total - min(state.input_lag, total))
            announcer.announce(POLL_SECONDS)
        progress.update(judging, completed=total)
        announcer.announce(POLL_SECONDS)


def _as_shipped(week: Week) -> Iterator[Record]:
    for number, each in enumerate(week.records):
        yield Record(
            topic=each.topic, partition=number, offset=0, timestamp=each.timestamp, value=each.value, key=each.key, headers=each.headers
        )


class Announcer:
    """Prints a finding when it is raised, final or taken back; revisions that only add to its checklist stay silent.

    Whoever acted stays unsaid: that is for the incident, which comes later and weighs all findings of one cause.
    """

    def __init__(self, findings: Follower, console: Console) -> None:
        self._findings, self._console = findings, console
        self._said: dict[str, str] = {}

    def announce(self, seconds: float) -> None:
        """Print what has arrived, after waiting at most `seconds`."""
        for value in self._findings.poll(seconds):
            body = msgspec.json.decode(value)["unmapped"]["trainwatch"]["canonical"]
            if self._said.get(body["id"]) != body["status"]:
                self._said[body["id"]] = body["status"]
                self._console.print(_headline(body), soft_wrap=True)


def _headline(body: dict[str, Any]) -> str:
    about = (
        f"job {safe(body['attempt'][1])} of {safe(body['owner'])}"
        if body["attempt"]
        else f"{safe(body['subject'][0])} {safe(body['subject'][2])}"
    )
    return f"[bold]{moment(body['cause_time'])}[/bold] {safe(body['status']):<11} {safe(body['detector'])}  {about}"


def _report(site: Settings, week: Week, folder: Path, seconds: float, *, stop: bool) -> bool:
    """Print what was found, and compare it with what was planted."""
    out = stdout()
    with Database(site.clickhouse) as database:
        findings = database.query(
            "SELECT detector, job_id, owner, actor, cause_time, confidence, finding_id, actor_withheld, alert "
            "FROM {db}.findings_told "
            "WHERE status != 'retracted' ORDER BY cause_time"
        )
        alerts = database.query("SELECT detector, job_id, actor FROM {db}.findings_current WHERE status != 'retracted' AND alert")
        evidence: dict[str, list[Any]] = {}
        for finding_id, role, source, summary in database.query(
            "SELECT finding_id, role, source, summary FROM {db}.finding_evidence_current ORDER BY finding_id, event_time, position"
        ):
            evidence.setdefault(finding_id, []).append((role, source, summary))
        verdicts = database.query("SELECT verdict, cause, count() FROM {db}.verdicts_current GROUP BY 1, 2 ORDER BY 3 DESC")
        stored, *_ = database.query("SELECT count(), uniqExact(_topic, _partition, _offset) FROM {db}.events")
    table = build_table("Findings", "time", "detector", "job", "owner", "actor", "confidence", "evidence")
    for detector, job, owner, actor, cause_time, score, finding_id, withheld, alert in findings:
        cited = dict.fromkeys(f"{role}: {summary} ({source})" for role, source, summary in evidence.get(finding_id, ()))
        table.add_row(
            moment(cause_time), safe(detector), safe(job), safe(owner), safe(actor or "withheld"),
            confidence(score, "" if actor else withheld or "unknown") + ("" if alert else "\nbelow the gate: no alert"),
            "\n".join(safe(line) for line in cited),
        )  # fmt: skip
    out.print(table)
    summary = build_table("Verdicts", "verdict", "cause", "jobs")
    for verdict, cause, count in verdicts:
        summary.add_row(safe(verdict), safe(cause), str(count))
    out.print(summary)
    # Whom the records name is compared; whom people are told is in the table.
    raised = {(str(detector), str(job), str(actor)) for detector, job, actor in alerts}
    planted = {(str(each.detector), str(each.job), str(each.actor)) for each in week.expected_findings()}
    out.print(f"{many(stored[0], 'event')} of {many(stored[1], 'record')} stored; {seconds:.0f} s in all")
    for name, rows in (("not found", planted - raised), ("not planted", raised - planted)):
        for row in sorted(rows):
            out.print(f"[red]{name}[/red]: {safe(', '.join(filter(None, row)))}")
    right = raised == planted
    out.print(f"[bold]{len(raised & planted)} of {len(planted)} planted acts found, {len(raised - planted)} false alarms[/bold]")
    job = next((str(row[1]) for row in findings if row[1]), "ID")  # some are about no job
    _where_to_look(out, site, folder, job, stop=stop)
    return right


def _where_to_look(out: Console, site: Settings, folder: Path, job: str, *, stop: bool) -> None:
    """What to look at, and with what; of servers that stop now how to start them again, as they come back at the same addresses."""
    command = command_on(folder)
    if stop:
        out.print(f"\nThe servers stop now; start them again to look at the rest: {command} up", soft_wrap=True)
    out.print(f"\nClickHouse web page: http://{site.clickhouse.host}:{site.clickhouse.http_port}/play   three queries to try there:")
    for sql in QUERIES_TO_TRY:
        out.print(f"  {safe(sql.format(database=site.clickhouse.database, job=job), 500)}", soft_wrap=True)
    topology = build_topology(site)
    topics = ", ".join(topology.public_topic(name) for name in (*PUBLIC, "evidence", "dead-letter"))
    out.print(f"Kafka {site.kafka.bootstrap_servers}: {topics}", soft_wrap=True)
    out.print(f"A job in full: {command} job explain {job}", soft_wrap=True)
    out.print(f"Overview page: {command} dashboard overview --open", soft_wrap=True)
    if not stop:
        out.print(f"Stop the servers: {command} down", soft_wrap=True)
