"""`trainwatch check` on real servers: a good site passes, and each thing that is broken on purpose is named with its cure."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from kafka import KafkaAdminClient
from kafka.admin import ConfigResource, ConfigResourceType, NewPartitions

from pipeline.cli import main
from pipeline.evidence.signing import make_key
from pipeline.runtime.admin import Admin
from pipeline.settings import Settings
from pipeline.sink import copied
from pipeline.sink.clickhouse import Database
from pipeline.topology import build_topology

pytestmark = pytest.mark.servers

HIDDEN = "not-for-any-eyes"


class Place:
    """A site's settings file, and what `check` says of it."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self.settings, self.folder, self.path = settings, folder, folder / "trainwatch.yaml"
        self.write()

    def write(self, **more: Any) -> None:
        kafka = self.settings.kafka.model_dump(mode="json", exclude_defaults=True)
        clickhouse = self.settings.clickhouse.model_dump(mode="json", include={"host", "port", "http_port", "database"})
        self.path.write_text(yaml.safe_dump({"kafka": kafka, "clickhouse": clickhouse, **more}))

    def check(self, *words: str) -> tuple[int, dict[str, dict[str, str]], str]:
        """Exit code, lines by what they are about, and all that was printed."""
        done = CliRunner().invoke(main, ["--settings", str(self.path), "check", *words])
        table = CliRunner().invoke(main, ["--settings", str(self.path), "check", "--problems"])
        assert done.exit_code == table.exit_code, done.output + table.output
        shown = done.output + table.output
        if "--json" not in words:
            return done.exit_code, {}, shown
        report = json.loads(done.stdout)
        assert report["holds"] == (done.exit_code == 0)
        return done.exit_code, {f"{line['area']} {line['what']}": line for line in report["lines"]}, shown


@pytest.fixture
def place(servers: Settings, tmp_path: Path) -> Place:
    """With tables and topics."""
    with Database(servers.clickhouse) as database:
        copied.make(database)
    with Admin(servers, build_topology(servers)) as admin:
        admin.ensure()
    return Place(servers, tmp_path)


def failing(lines: dict[str, dict[str, str]]) -> set[str]:
    assert all(line["advice"] for line in lines.values() if line["mark"] in ("fail", "warn"))
    return {what for what, line in lines.items() if line["mark"] == "fail"}


def test_a_good_site_passes_and_a_broken_one_is_told_how_to_mend_it(place: Place) -> None:
    """Files, targets, topics and tables, in one site, since servers are shared and slow to set up."""
    code, lines, _ = place.check("--json")
    assert (code, failing(lines)) == (0, set())
    assert lines["clickhouse rights"]["mark"] == "ok"

    key_file, secret = place.folder / "evidence.key", place.folder / "oncall.key"
    make_key(key_file, 0)
    key_file.chmod(0o644)
    secret.write_text(HIDDEN)
    secret.chmod(0o644)
    target = {"name": "oncall", "url": f"http://hooks.example.org/{HIDDEN}", "secret_file": str(secret)}
    place.write(evidence={"key_file": str(key_file)}, notify={"targets": [target]})
    place.path.chmod(0o644)
    kafka, topology = place.settings.kafka, build_topology(place.settings)
    broken, grown = topology.facts_topic("jobs"), topology.facts_topic("hosts")
    admin: Any = KafkaAdminClient(bootstrap_servers=kafka.bootstrap_servers)
    admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, broken, {"message.timestamp.type": "CreateTime"})])
    admin.create_partitions({grown: NewPartitions(kafka.partitions + 1)})
    admin.delete_topics([kafka.training_topics[0]])
    admin.close()
    with Database(place.settings.clickhouse) as database:
        database.command(f"ALTER TABLE {database.name}.events MODIFY SETTING non_replicated_deduplication_window = 10")

    code, lines, shown = place.check("--json")
    assert code == 1
    assert failing(lines) == {
        "files settings, with a secret in them",
        "files evidence.key_file",
        "files evidence key",
        "files notify.targets.0.secret_file",
        "files notify oncall",
        f"kafka facts {broken}",
        f"kafka input {kafka.training_topics[0]}",
        f"kafka state {topology.state_topic(grown)}",
        "clickhouse deduplication",
    }
    assert HIDDEN not in shown
    assert "message.timestamp.type=LogAppendTime" in lines[f"kafka facts {broken}"]["advice"]


def test_an_input_whose_times_nothing_bounds_is_told(place: Place) -> None:
    """What its line says to type ends it; so does a broker that stamps records itself."""
    kafka = place.settings.kafka
    bounded, stamped, left = kafka.training_topics[0], kafka.access_topics[0], kafka.scheduler_topics[0]
    _, lines, _ = place.check("--json")
    told = [lines[f"kafka input {name}"] for name in (bounded, stamped, left)]
    assert {line["mark"] for line in told} == {"warn"}
    assert f"--bootstrap-server {kafka.bootstrap_servers} " in told[0]["advice"]
    typed = told[0]["advice"].partition("--add-config ")[2].partition(": ")[0]
    admin: Any = KafkaAdminClient(bootstrap_servers=place.settings.kafka.bootstrap_servers)
    for topic, (name, value) in ((bounded, typed.split("=")), (stamped, ("message.timestamp.type", "LogAppendTime"))):
        admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, {name: value})])
    admin.close()
    _, lines, _ = place.check("--json")
    assert [lines[f"kafka input {name}"]["mark"] for name in (bounded, stamped, left)] == ["ok", "ok", "warn"]


def test_what_does_not_answer_costs_its_own_lines_alone(place: Place) -> None:
    """And wrong settings are one line, not a traceback."""
    nobody = 1  # nothing of ours listens there
    place.settings = place.settings.model_copy(
        update={"clickhouse": place.settings.clickhouse.model_copy(update={"port": nobody, "http_port": nobody})}
    )
    place.write()
    code, lines, _ = place.check("--json")
    assert (code, failing(lines)) == (1, {"clickhouse address"})
    assert lines["kafka address"]["mark"] == "ok"
    place.path.write_text("kafka: {grupe: x}\n")
    code, lines, _ = place.check("--json")
    assert (code, failing(lines)) == (1, {"settings settings"})


def test_a_database_without_tables_is_named(servers: Settings, tmp_path: Path) -> None:
    """With the command that makes them; topics likewise."""
    code, lines, shown = Place(servers, tmp_path).check("--json")
    assert code == 1
    assert "trainwatch migrate" in lines["clickhouse migrations"]["advice"]
    assert "trainwatch topics create" in shown
