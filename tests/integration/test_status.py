"""`trainwatch status` on the real servers: a shared day whose workers have read all."""

import socket
import time
from pathlib import Path

import orjson
import pytest
import yaml
from click.testing import CliRunner, Result

from pipeline.cli import main
from tests.integration.day import Day

pytestmark = pytest.mark.servers
UNREACHABLE = 3


def asked(day: Day, folder: Path, *words: str, port: int = 0) -> Result:
    """Servers are those of the settings; `port`: ClickHouse is to be there."""
    path = folder / "site.yaml"
    clickhouse = day.settings.clickhouse.model_dump(mode="json", include={"host", "port", "http_port", "database"})
    clickhouse["port"] = port or clickhouse["port"]
    content = {"kafka": {"bootstrap_servers": day.settings.kafka.bootstrap_servers}, "clickhouse": clickhouse}
    path.write_text(yaml.safe_dump(content))
    return CliRunner().invoke(main, ["--settings", str(path), "status", *words])


def test_stages_and_records_are_told(day: Day, tmp_path: Path) -> None:
    """What workers noted: nobody waits, and of what was not stored each code."""
    result = asked(day, tmp_path, "--since", "1d", "--json")
    assert result.exit_code == 0
    said = orjson.loads(result.stdout)
    assert (said["kafka"]["state"], said["clickhouse"]["state"]) == ("external-ok", "external-ok")
    (ingest,) = said["stages"]
    assert (ingest["stage"], ingest["workers"], ingest["lag"], ingest["lag_seconds"]) == ("ingest", 1, 0, 0)
    for topic in said["records"]:
        assert topic["read"] == topic["written"] + sum(topic["codes"].values())
        assert topic["unaccounted"] == 0
    assert sum(sum(topic["codes"].values()) for topic in said["records"]) > 0
    shown = asked(day, tmp_path, "--since", "1d").output
    assert all(topic["topic"] in shown for topic in said["records"])


def test_what_cannot_be_read_is_told(day: Day, tmp_path: Path) -> None:
    """By family and host, with the most that any note knew; only what is asked for."""
    (gap,) = orjson.loads(asked(day, tmp_path, "--since", "3650d", "--json").stdout)["unreadable"]
    assert (gap["source"], gap["host"], gap["unread"]) == ("kernel", "gpu-900", 30)
    assert "gpu-900" in asked(day, tmp_path, "--since", "3650d").output
    assert orjson.loads(asked(day, tmp_path, "--json").stdout)["unreadable"] == []


def test_a_database_that_is_away_is_told_and_hides_no_broker(day: Day, tmp_path: Path) -> None:
    """The broker answers, ClickHouse does not: exit 3, and a word on why nothing is known of stages."""
    result = asked(day, tmp_path, port=1)
    assert result.exit_code == UNREACHABLE
    assert "not all is known" in result.output
    assert day.settings.kafka.bootstrap_servers in result.output


def test_a_database_that_hangs_holds_nobody_up(day: Day, tmp_path: Path) -> None:
    """It takes the connection and says nothing, as a stopped process does: soon the broker is told, and that ClickHouse gives no answer."""
    with socket.create_server((day.settings.clickhouse.host, 0)) as silent:
        port = silent.getsockname()[1]
        began = time.monotonic()
        result = asked(day, tmp_path, port=port)
        assert time.monotonic() - began < 25  # some 7; the settings would wait for 30, behind 5 for a greeting
    assert result.exit_code == UNREACHABLE
    assert "no answer from ClickHouse" in result.output
    assert f"{port} (timed out)" in " ".join(result.output.split())
    assert day.settings.kafka.bootstrap_servers in result.output
