"""`trainwatch bench` on the real broker: it measures what it says, and leaves nothing behind."""

from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml
from click.testing import CliRunner
from kafka import KafkaAdminClient

from pipeline.cli import main
from pipeline.settings import Settings

pytestmark = pytest.mark.servers


def run(servers: Settings, folder: Path, *arguments: str) -> tuple[int, dict[str, Any]]:
    """Exit code and report."""
    path = folder / "site.yaml"
    clickhouse = servers.clickhouse.model_dump(mode="json", include={"host", "port", "http_port"})
    content = {"kafka": {"bootstrap_servers": servers.kafka.bootstrap_servers}, "clickhouse": clickhouse}
    path.write_text(yaml.safe_dump(content))
    result = CliRunner().invoke(main, ["--settings", str(path), "bench", *arguments, "--json"])
    assert result.exit_code in {0, 3}, result.output
    return result.exit_code, orjson.loads(result.stdout)


def topics(servers: Settings) -> set[str]:
    """Names of topics of benches."""
    admin: Any = KafkaAdminClient(bootstrap_servers=servers.kafka.bootstrap_servers)
    try:
        return {name for name in admin.list_topics() if "bench" in name}
    finally:
        admin.close()


def test_ingest(servers: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each consumer reads its share; ratios follow from the rates; the exit code follows from the ratios; the topic is gone.

    How fast is for the command to say: other tests run beside this one.
    """
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    code, report = run(servers, tmp_path, "ingest", "--records", "100000", "--rounds", "1")
    (results,) = report["rounds"]
    rates = {each["consumer"]: each["records"] / each["cpu_seconds"] for each in results}
    assert rates == pytest.approx(report["events_per_core_second"])
    assert {each["consumer"]: each["records"] > 3000 for each in results} == {"batch": True, "stock": True, "aiokafka": True}
    assert report["batch_to_stock"] == pytest.approx(rates["batch"] / rates["stock"])
    assert report["reached"] is (report["batch_to_stock"] >= 25 and report["batch_to_aiokafka"] >= 0.8)
    assert code == (0 if report["reached"] else 3)
    assert topics(servers) == set()
    assert list(here.iterdir()) == []
