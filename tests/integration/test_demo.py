"""The demo as a user runs it: a process of its own, servers of its own, and the same findings as `analyse` on the same records."""

import os
import subprocess
import sys
from pathlib import Path

import orjson
import pytest

from pipeline import settings as settings_module
from pipeline.embedded import servers as embedded
from pipeline.sink.clickhouse import Database
from tests.conftest import ROOT

pytestmark = pytest.mark.servers

SEED, DAYS = "5", "1"


def trainwatch(folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    """The command, in a folder of its own."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200"}
    return subprocess.run(
        [sys.executable, "-m", "pipeline", *words], cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )


def canonical(body: object) -> bytes:
    return orjson.dumps(body, option=orjson.OPT_SORT_KEYS)


def test_the_demo_finds_what_was_planted_and_analyse_finds_the_same(installed: None, tmp_path: Path) -> None:
    """Exit 0, and canonical bodies on the servers equal those that `analyse` gives over the files of `simulate`."""
    done = trainwatch(tmp_path, "demo", "--seed", SEED, "--days", DAYS)
    try:
        assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        assert "0 false alarms" in done.stdout
        path = tmp_path / ".trainwatch" / "demo" / "trainwatch.yaml"
        site = embedded.connected(settings_module.load(path))
        with Database(site.clickhouse) as database:
            stored = {
                name: {key: canonical(orjson.loads(body)) for key, body in database.query(sql)}
                for name, sql in (
                    ("findings", "SELECT finding_id, canonical FROM {db}.findings_current WHERE status != 'retracted'"),
                    ("verdicts", "SELECT verdict_id, canonical FROM {db}.verdicts_current"),
                )
            }
            ((job,), *_) = database.query("SELECT job_id FROM {db}.findings_current WHERE alert ORDER BY cause_time")
        explained = trainwatch(tmp_path, "--settings", str(path), "job", "explain", job)
        assert explained.returncode == 0, explained.stderr
        assert "actor" in explained.stdout
    finally:
        down = trainwatch(tmp_path, "--settings", str(tmp_path / ".trainwatch" / "demo" / "trainwatch.yaml"), "down")
    assert down.returncode == 0, down.stderr

    assert trainwatch(tmp_path, "simulate", "--seed", SEED, "--days", DAYS, "--out", "week").returncode == 0
    files = [str(file.relative_to(tmp_path)) for file in sorted((tmp_path / "week").glob("*.jsonl"))]
    analysed = trainwatch(tmp_path, "--settings", "week/trainwatch.yaml", "analyse", "--json", "--verdicts", *files)
    assert analysed.returncode == 0, analysed.stderr
    told = orjson.loads(analysed.stdout)
    assert {body["id"]: canonical(body) for body in told["findings"] if body["status"] != "retracted"} == stored["findings"]
    assert {body["id"]: canonical(body) for body in told["verdicts"]} == stored["verdicts"]
