"""`trainwatch bootstrap` on the real broker: each listed job arrives once, at the time of the list, where `analyse` would have it."""

from pathlib import Path

import orjson
import pytest
import yaml
from click.testing import CliRunner

from pipeline.cli import main
from pipeline.settings import Settings
from tests.integration.test_replay import PARTITIONS, site
from tests.integration.topics import read

__all__ = ["site"]  # the fixture
pytestmark = pytest.mark.servers

ROW = "{0}|{0}|u017|5017|llm|gpu|normal|RUNNING|2026-03-01T20:00:00|2026-03-01T20:01:00|2-00:00:00|gpu-[001-002]|gres:gpu:8|/d|pretrain\n"
TAKEN = 1_772_409_600_000


def test_listed_jobs_arrive(site: Settings, tmp_path: Path) -> None:
    """On the first scheduler topic, by the job as the key."""
    kafka = site.kafka.model_dump(mode="json", include={"bootstrap_servers", "training_topics", "scheduler_topics", "access_topics"})
    path = tmp_path / "site.yaml"
    path.write_text(yaml.safe_dump({"kafka": kafka, "embedded": {"directory": str(tmp_path / "none")}}))
    jobs = [str(number) for number in range(48_000, 48_020)]
    result = CliRunner().invoke(
        main,
        ["--settings", str(path), "bootstrap", "--taken", "2026-03-02T00:00:00Z", "--json"],
        input="".join(ROW.format(job) for job in jobs),
    )
    assert result.exit_code == 0, result.output
    assert orjson.loads(result.stdout)["records"] == len(jobs)
    records = read(site, site.kafka.scheduler_topics[0])
    assert sorted(orjson.loads(record.value)["job"]["job"] for record in records) == jobs
    assert {record.timestamp for record in records} == {TAKEN}
    assert all(record.key == orjson.loads(record.value)["job"]["job"].encode() for record in records)
    assert 1 < len({record.partition for record in records}) <= PARTITIONS
