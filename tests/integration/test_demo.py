"""The demo as a user runs it: a process of its own, servers of its own, the same findings as `analyse` on the same records, and behind it
every command of README, in the order in which a reader meets them.

    demo ──► its folder: trainwatch.yaml, servers ──► README's commands, in this process, with the demo's job, finding and incident in
                                                      the place of README's, its paths below the folder, and shorter numbers
"""

import glob
import os
import re
import shlex
import subprocess
import sys
import webbrowser
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import orjson
import pytest
import yaml
from click.testing import CliRunner, Result

from pipeline import settings as settings_module
from pipeline.cli import main
from pipeline.embedded import servers as embedded
from pipeline.settings import Settings
from pipeline.sink.clickhouse import Database
from tests.conftest import ROOT
from tests.integration.test_consumers import Hook
from tests.patience import PATIENCE_SECONDS
from tests.readme import NOT_RUN, README, commands

pytestmark = pytest.mark.servers

SEED, DAYS = "5", "1"


class Demo(NamedTuple):
    """What `trainwatch demo` left."""

    folder: Path  # in which it was called
    path: Path  # its settings
    settings: Settings  # connected to its servers
    said: str

    def ask(self, sql: str) -> list[tuple[object, ...]]:
        with Database(self.settings.clickhouse) as database:
            return database.query(sql)


def trainwatch(folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    """The command, in a folder of its own."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200"}
    return subprocess.run(
        [sys.executable, "-m", "pipeline", *words], cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )


def canonical(body: object) -> bytes:
    return orjson.dumps(body, option=orjson.OPT_SORT_KEYS)


@pytest.fixture(scope="module")
def demo(installed: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """Run once for this file; its servers end with it."""
    folder = tmp_path_factory.mktemp("demo")
    path = folder / ".trainwatch" / "demo" / "trainwatch.yaml"
    done = trainwatch(folder, "demo", "--seed", SEED, "--days", DAYS)
    try:
        assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        yield Demo(folder, path, embedded.connected(settings_module.load(path)), done.stderr + done.stdout)
    finally:
        down = trainwatch(folder, "--settings", str(path), "down")
    assert down.returncode == 0, down.stderr


def test_the_demo_finds_what_was_planted_and_analyse_finds_the_same(demo: Demo) -> None:
    """Exit 0, and canonical bodies on the servers equal those that `analyse` gives over the files of `simulate`."""
    assert "0 false alarms" in demo.said
    stored = {
        name: {key: canonical(orjson.loads(str(body))) for key, body in demo.ask(sql)}
        for name, sql in (
            ("findings", "SELECT finding_id, canonical FROM {db}.findings_current WHERE status != 'retracted'"),
            ("verdicts", "SELECT verdict_id, canonical FROM {db}.verdicts_current"),
        )
    }
    assert trainwatch(demo.folder, "simulate", "--seed", SEED, "--days", DAYS, "--out", "week").returncode == 0
    files = [str(file.relative_to(demo.folder)) for file in sorted((demo.folder / "week").glob("*.jsonl"))]
    analysed = trainwatch(demo.folder, "--settings", "week/trainwatch.yaml", "analyse", "--json", "--verdicts", *files)
    assert analysed.returncode == 0, analysed.stderr
    told = orjson.loads(analysed.stdout)
    assert {body["id"]: canonical(body) for body in told["findings"] if body["status"] != "retracted"} == stored["findings"]
    assert {body["id"]: canonical(body) for body in told["verdicts"]} == stored["verdicts"]


def test_the_worker_told_where_it_stood(demo: Demo) -> None:
    """Of each stage, for the dashboard; the last word of each partition says that nothing waits, and who remembers something says so."""
    last = demo.ask(
        "SELECT stage, argMax(lag, (_inserted, durable)), argMax(state_bytes, (_inserted, durable)) "
        "FROM {db}.standings GROUP BY stage, topic, partition"
    )
    stages = {str(stage) for stage, _, _ in last}
    assert stages == {"ingest", "hosts", "artefacts", "identities", "jobs", "cohorts", "incidents", "sink"}
    assert {lag for _, lag, _ in last} == {0}
    assert {str(stage) for stage, _, size in last if size} >= stages - {"sink"}


# --- README -----------------------------------------------------------------------------------------------------------------------

SMALLER = {
    "--seeds 20 ": "--seeds 1 ",
    "--workers 2": "--workers 1",
    "--days 60 --gpus 2000 --acts all=5": "--days 1 --gpus 64 --acts p03=1",
    "backtest --since 2026-03-01": "backtest --since 2026-03-02T21:00:00Z --warm-up 1h",
}
EXITS = {
    "trainwatch sniff --topic logs.unknown": 1,  # the simulator breaks some records, and sniff says which
    "trainwatch dlq replay --code unknown_format": 3,  # it asks, and nobody is at a terminal
}
LOGS = {
    "var/log/slurm/slurmctld.log": "[2026-03-02T12:00:00.123] sched: Allocate JobId=7 NodeList=gpu-012 #CPUs=8 Partition=h800\n",
    "var/log/auth.log": "2026-03-02T12:00:00.000000+00:00 login-1 sshd[811]: Accepted password for u017 from 10.0.0.7 port 50022 ssh2\n",
    "var/log/audit/audit.log": "type=SYSCALL msg=audit(1772450000.123:7): arch=c000003e syscall=62 success=yes exit=0 a0=d5e a1=9 a2=0 "
    'a3=0 items=0 ppid=811 pid=812 auid=5017 uid=5017 gid=6001 euid=5017 tty=pts0 ses=7 comm="kill" exe="/usr/bin/kill" key="kill"\n',
}
LISTED = "48000|48000|u017|5017|llm|gpu|normal|RUNNING|2026-03-01T20:00:00|2026-03-01T20:01:00|2-00:00:00|gpu-012|gres:gpu:8|/d|train"
PROGRAMS = {
    "trainwatch": f'exec {shlex.quote(sys.executable)} -m pipeline "$@"',
    "python": f'exec {shlex.quote(sys.executable)} "$@"',
    "torchrun": f'exec {shlex.quote(sys.executable)} "$@"',
    "squeue": f"echo {shlex.quote(LISTED)}",
}


class Reader:
    """Somebody who types README's commands one after the other after the demo, where `trainwatch` is on the path."""

    def __init__(self, demo: Demo, folder: Path, hook: Hook) -> None:
        self._demo, self._folder = demo, folder
        for name, text in {**LOGS, "train.py": "print('step 1')\n", "etc/trainwatch/oncall.url": hook.url}.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)
            (folder / name).chmod(0o600)
        for name, line in PROGRAMS.items():
            (folder / "bin").mkdir(exist_ok=True)
            (folder / "bin" / name).write_text(f"#!/bin/sh\n{line}\n")
            (folder / "bin" / name).chmod(0o755)
        target = {"name": "oncall", "url_file": str(folder / "etc" / "trainwatch" / "oncall.url")}
        content = yaml.safe_load(demo.path.read_text())
        content["notify"] = {"targets": [target], "state_file": str(folder / "notify.sqlite")}
        (folder / "trainwatch.yaml").write_text(yaml.safe_dump(content))
        self._stands_for = self._meant()

    def _meant(self) -> dict[str, str]:
        """README's word -> that of this demo."""
        ((finding, job),) = self._demo.ask(
            "SELECT finding_id, job_id FROM {db}.findings_current WHERE alert AND severity = 'critical' LIMIT 1"
        )
        incidents = self._demo.ask("SELECT incident_id FROM {db}.incidents_current WHERE status != 'retracted' AND alert ORDER BY findings")
        (incident,), *others = incidents
        heads = self.typed("trainwatch evidence heads --json").stdout
        (self._folder / "heads.jsonl").write_text(heads)
        letter = orjson.loads(self.typed("trainwatch dlq list --json").stdout)["letters"][0]
        for (other,) in others:  # to hold all would only take longer
            assert self.typed(f"trainwatch incident status {other} closed").exit_code == 0
        return {
            r"\b48344\b": str(job), r"\b059fa83fba9f\b": str(finding)[:12], r"\bID\b": str(incident),
            r"\bFINGERPRINT\b": orjson.loads(heads.splitlines()[0])["seal"]["key"],
            r"\b1:204\b": f"{letter['partition']}:{letter['offset']}",
            r"(?<= )/(?=var/log/|etc/trainwatch/)": "", r"\blogs\.unknown\b": "logs.access",
        }  # fmt: skip

    def type(self, command: str) -> tuple[int, str]:
        """Exit code and what was said."""
        line = command
        for written, meant in (self._stands_for | {re.escape(long): short for long, short in SMALLER.items()}).items():
            line = re.sub(written, meant, line)
        if line.startswith("trainwatch ") and "probe -- " not in line:
            done = self.typed(line)
            return done.exit_code, done.output + (repr(done.exception) if done.exception else "")
        path = os.pathsep.join((str(self._folder / "bin"), os.environ["PATH"]))
        environment = {**os.environ, "PATH": path, "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "pipeline" / "probe")))}
        folder = ROOT if line.startswith("deploy/") else self._folder
        ran = subprocess.run(
            ["/bin/bash", "-c", line], cwd=folder, env=environment, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
        )
        return ran.returncode, ran.stdout + ran.stderr

    def typed(self, line: str) -> Result:
        """In this process, which spares the second that each start takes."""
        words = [found for word in shlex.split(line)[1:] for found in (sorted(glob.glob(word)) if "*" in word else [word])]
        return CliRunner(env={"COLUMNS": "200"}).invoke(main, words)


def test_every_command_of_the_readme_runs(demo: Demo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All that `NOT_RUN` does not name with a reason, each with the exit code that stands for success, and none in silence."""
    opened: list[str] = []

    def opens(url: str) -> bool:
        opened.append(url)
        return True

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(webbrowser, "open", opens)
    hook = Hook()
    try:
        reader = Reader(demo, tmp_path, hook)
        wrong = {}
        for command in commands():
            if command not in NOT_RUN:
                code, said = reader.type(command)
                if code != EXITS.get(command, 0) or not (said.strip() or command.startswith("eval ")):
                    wrong[command] = f"exit {code}: {said[-1500:]}"
        assert wrong == {}
    finally:
        hook.close()
    assert opened == [(tmp_path / "trainwatch-overview.html").as_uri()]
    assert {"finding", "incident"} <= {body["kind"] for body in hook.bodies()}
    assert [body["title"] for body in hook.bodies()].count("test of trainwatch notify") == 1


def _shape(line: str) -> str:
    """What of a line is the same in every demo."""
    bare = re.sub(r"[┏┓━┳┡┩╇┃]+", " ", line)
    bare = re.sub(r"\S*\.venv/bin/python -m pipeline|\S*python\S* -m pipeline", "PROGRAM", bare)
    return re.sub(r"[\d,.]*\d[\d,.]*", "0", " ".join(re.sub(r"\S*\.trainwatch/", ".trainwatch/", bare).split()))


def test_the_readme_shows_what_the_demo_says(demo: Demo) -> None:
    """Each line of its picture of the demo, numbers, names and folders aside; of tables the headings."""
    block = README.partition("== installed after")[2].partition("```")[0]
    shown = {
        _shape(line) for line in block.splitlines()[1:] if line.strip() and not line.startswith(("...", "2026-", "│", "sending", "judging"))
    }
    assert len(shown) > 15
    assert shown - {_shape(line) for line in demo.said.splitlines()} == set()


def test_the_readmes_sql_has_answers(demo: Demo) -> None:
    """Every statement runs on the demo's tables, and has rows."""
    (block,) = re.findall(r"^```sql\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    ((job,),) = demo.ask("SELECT job_id FROM {db}.findings_current WHERE alert AND job_id != '' LIMIT 1")
    statements = [each for each in block.split(";\n") if each.strip()]
    assert len(statements) > 3
    for each in statements:
        assert demo.ask(each.replace("'48344'", f"'{job}'")), each
