"""`trainwatch bench` on the real servers: each job measures what it says on a tiny load, checks it, and leaves nothing behind.

How fast is for the command to say: other tests run beside this one.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml
from click.testing import CliRunner, Result
from kafka import KafkaAdminClient

from pipeline.bench import bare, job_full, job_latency, job_memory, job_mix, join, mix
from pipeline.bench.report import Measured, demand, lines
from pipeline.cli import main
from pipeline.settings import Settings
from pipeline.sink.clickhouse import Database

pytestmark = pytest.mark.servers

MISSED = 3
SITES = mix.SITES


@pytest.fixture(autouse=True)
def few_sites(monkeypatch: pytest.MonkeyPatch) -> None:
    """Access logs of two sites are enough for tiny loads; those of all take five seconds to make."""
    monkeypatch.setattr(mix, "SITES", 2)


def invoke(servers: Settings, folder: Path, *arguments: str) -> Result:
    """The command, on the running servers."""
    path = folder / "site.yaml"
    clickhouse = servers.clickhouse.model_dump(mode="json", include={"host", "port", "http_port"})
    content = {"kafka": {"bootstrap_servers": servers.kafka.bootstrap_servers}, "clickhouse": clickhouse}
    path.write_text(yaml.safe_dump(content))
    return CliRunner().invoke(main, ["--settings", str(path), "bench", *arguments, "--json"])


def run(servers: Settings, folder: Path, *arguments: str) -> tuple[int, dict[str, Any]]:
    """Exit code and the report of the only job."""
    result = invoke(servers, folder, *arguments)
    assert result.exit_code in {0, MISSED}, result.output + str(result.exception)
    answer = orjson.loads(result.stdout)
    (report,) = answer["jobs"]
    assert (result.exit_code == 0) is answer["reached"] is report["reached"]
    return result.exit_code, report


def left(servers: Settings) -> set[str]:
    """Topics and databases of benches of this process: others may run at the same time."""
    mine = f"bench{os.getpid()}x"
    admin: Any = KafkaAdminClient(bootstrap_servers=servers.kafka.bootstrap_servers)
    try:
        topics = {name for name in admin.list_topics() if name.startswith(mine)}
    finally:
        admin.close()
    with Database(servers.clickhouse) as database:
        return topics | {name for (name,) in database.query("SELECT name FROM system.databases") if name.startswith(mine)}


CONTESTS: Sequence[tuple[Sequence[str], dict[str, int]]] = (
    (("ingest", "--peers", "aiokafka,stock"), {"trainwatch": 2000, "aiokafka": 2000, "stock": 2000}),
    (("full-json",), {"trainwatch": 2000, "stock": 2000}),
    (("full-auditd", "--peers", "trainwatch"), {"trainwatch": 2000}),
    (("mix", "--records", "20000"), {"trainwatch": 20_000, "stock": 2000}),
    (("join", "--disordered", "--peers", "aiokafka,stock"), {"trainwatch": 2000, "aiokafka": 2000, "stock": 2000}),
)


@pytest.mark.parametrize(("arguments", "events"), CONTESTS, ids=[arguments[0] for arguments, _ in CONTESTS])
def test_contest(
    servers: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: Sequence[str], events: dict[str, int]
) -> None:
    """Every consumer comes out right on all of its events; figures follow from what was measured; nothing is left behind."""
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    _, report = run(servers, tmp_path, arguments[0], "--records", "2000", "--rounds", "1", "--no-warm-up", *arguments[1:])
    assert {line["peer"]: line["events"] for line in report["lines"]} == events
    assert {line["correct"] for line in report["lines"] if line["peer"] != "stock" or arguments[0] != "mix"} == {1.0}
    (results,) = report["rounds"]
    for line, each in zip(report["lines"], sorted(results, key=lambda each: (each["peer"] != "trainwatch", each["peer"])), strict=True):
        assert line["cpu_us_per_event"] == pytest.approx(1e6 * each["cpu_seconds"] / each["events"])
        assert line["peak_mib"] > 10
    assert left(servers) == set()
    assert list(here.iterdir()) == []


def one_off(answer: Any) -> Any:
    """A reference that differs from the load in one figure, or in one body."""
    if isinstance(answer, tuple):
        return (*answer[:-1], answer[-1] + 1)
    changed = {name: value for name, value in answer.items() if name not in {"rows", "verdicts"}}
    if "rows" in answer:
        return {**changed, "rows": one_off(answer["rows"])}
    first, *rest = answer["verdicts"].items()
    return {**changed, "verdicts": dict([(first[0], "{}"), *rest])}


@pytest.mark.parametrize(
    ("arguments", "module", "reference"),
    [(("ingest",), bare, "reference"), (("full-auditd",), job_full, "reference"), (("mix", "--records", "20000"), job_mix, "expected_of")],
    ids=["ingest", "full-auditd", "mix"],
)
def test_a_result_that_is_not_that_of_the_load_is_told_no_speed(
    servers: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: Sequence[str], module: Any, reference: str
) -> None:
    """Rows, their bytes and the bodies of verdicts are compared with what is worked out offline: one that differs ends it."""
    real = getattr(module, reference)
    monkeypatch.setattr(module, reference, lambda *words: one_off(real(*words)))
    few = ("--records", "2000", "--rounds", "1", "--no-warm-up", "--peers", "trainwatch")
    result = invoke(servers, tmp_path, arguments[0], *few, *arguments[1:])
    assert result.exit_code == 1
    assert "trainwatch came out wrong" in result.stderr
    assert not result.stdout
    assert left(servers) == set()


def test_latency(servers: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All records of a steady stream become visible, in ascending percentiles, and a finding comes without further records."""
    monkeypatch.setattr(job_latency, "WARM_UP_SECONDS", 0.5)  # four times; no figure is looked at
    _, report = run(servers, tmp_path, "latency", "--seconds", "1", "--rate", "200", "--findings", "1", "--peers", "aiokafka")
    figures = report["figures"]
    for interval in ("1", "0.2"):
        p50, p99, largest = (figures[f"visible, {interval} s flush, {name}, s"] for name in ("p50", "p99", "max"))
        assert 0 < p50 <= p99 <= largest
    assert [delay["peer"] for delay in report["delays"]] == ["trainwatch", "aiokafka"]
    assert all(0 < delay["p50_seconds"] <= delay["p99_seconds"] <= delay["largest_seconds"] for delay in report["delays"])
    assert figures["provisional finding behind its last fact, 1 s flush, on its topic, max, s"] > 0
    assert left(servers) == set()


def test_scale(servers: Settings, tmp_path: Path) -> None:
    """Two workers, one worker and a hot host all come out as in memory; ratios are those of what was measured."""
    _, report = run(servers, tmp_path, "scale", "--records", "4000", "--workers", "2", "--rounds", "1", "--no-warm-up")
    figures = report["figures"]
    bounds = {each["what"]: each["measured"] for each in report["requirements"]}
    alone, together, hot = (figures[f"{name}, CPU us a record"] for name in ("alone", "together", "hot"))
    assert bounds["CPU of a record, 2 workers to one"] == pytest.approx(together / alone)
    assert bounds["CPU of a record, one hot host to the mix"] == pytest.approx(hot / alone)
    assert left(servers) == set()


def test_rebalance(servers: Settings, tmp_path: Path) -> None:
    """Two workers share a state that one had taken over whole."""
    _, report = run(servers, tmp_path, "rebalance", "--scale", "0.002")
    assert [each["what"] for each in report["requirements"]] == ["recovery of one worker, s"]
    assert all(value > 0 for value in report["figures"].values())
    assert left(servers) == set()


def test_memory(servers: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker with a state reads the whole mix, and its memory is looked at all the while."""
    monkeypatch.setattr(job_memory, "PARTS", 2)
    _, report = run(servers, tmp_path, "memory", "--scale", "0.002", "--records", "1600")
    figures = report["figures"]
    assert [each["measured"] for each in report["requirements"]] == [figures["largest, MB"]]
    assert figures["taken over, MB"] > 0
    assert max(value for name, value in figures.items() if "half" in name) <= figures["largest, MB"]
    assert left(servers) == set()


def test_idle(servers: Settings, tmp_path: Path) -> None:
    """The share follows from CPU seconds and seconds."""
    _, report = run(servers, tmp_path, "idle", "--seconds", "2")
    figures = report["figures"]
    assert figures["share of a core"] == pytest.approx(figures["CPU seconds"] / figures["seconds"])
    assert figures["seconds"] > 0


def test_loads_are_functions_of_their_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same seed gives the same records, another seed others, and the mix has its shares."""
    for build in (lambda seed: mix.build(seed, 3000).records, lambda seed: join.build(seed, 1000).facts):
        assert build(1) == build(1) != build(2)
    assert [*bare.records(1, 50, "t", 2)] == [*bare.records(1, 50, "t", 2)] != [*bare.records(2, 50, "t", 2)]
    monkeypatch.setattr(mix, "SITES", SITES)
    shares = mix.build(1, 50_000).shares()
    assert shares == pytest.approx({mix.ACCESS: 0.9, mix.TRAINING: 0.09, mix.SCHEDULER: 0.01}, abs=0.01)


def test_ratios_are_taken_within_rounds() -> None:
    """A slow round is slow for both and does not move the ratio; a requirement names what was missed."""
    rounds = [[Measured("trainwatch", 100, cpu, 1, 1), Measured("stock", 100, 20 * cpu, 1, 1)] for cpu in (1.0, 5.0, 1.0)]
    found = lines(rounds)
    assert [(line.peer, line.ours_to_it) for line in found] == [("trainwatch", None), ("stock", 20)]
    rate, ratio = demand(found, 50, {"stock": 25, "quix": 4})
    assert (rate.reached, ratio.reached, ratio.what) == (True, False, "x stock")
