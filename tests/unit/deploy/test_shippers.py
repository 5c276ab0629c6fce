"""Settings for shippers and the service: what can be checked without the programs that read them."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from pipeline.formats import assembly
from pipeline.formats.payloads import sacct
from pipeline.settings import Settings

DEPLOY = Path(__file__).parents[3] / "deploy"
SHIPPERS = DEPLOY / "shippers"
UNIT = DEPLOY / "systemd" / "trainwatch-worker@.service"
RULES = (SHIPPERS / "auditd-trainwatch.rules").read_text(encoding="utf-8")


def test_every_file_is_in_the_table_and_no_other() -> None:
    """What is shipped says whether it was tried."""
    table = (SHIPPERS / "README.md").read_text(encoding="utf-8")
    listed = {name for row in re.findall(r"^\| (`[^|]+) \|", table, re.MULTILINE) for name in re.findall(r"`([^`]+)`", row)}
    assert listed == {path.name for path in SHIPPERS.iterdir()} - {"README.md"}


def test_all_signals_that_are_understood_are_asked_for() -> None:
    """A call that the parser knows and no rule records would be a blind spot by neglect."""
    asked = {call for match in re.findall(r"arch=b64 -S (\S+)", RULES) for call in match.split(",")}
    assert set(assembly._SIGNALS) <= asked
    assert {"execve", "execveat"} <= asked


def test_each_rule_has_a_key() -> None:
    """By which a person finds out why a record is there."""
    rules = [line for line in RULES.splitlines() if line.startswith("-")]
    assert len(rules) >= 10
    assert all(re.search(r"-k tw_\w+$", line) for line in rules)


@pytest.mark.parametrize("path", sorted(SHIPPERS.glob("*.y*ml")), ids=lambda path: path.name)
def test_yaml_is_yaml(path: Path) -> None:
    """And names no topic that nobody reads."""
    text = path.read_text(encoding="utf-8")
    assert yaml.safe_load(text)
    assert set(re.findall(r"\blogs\.[a-z]+\b", text)) - {"logs.kafka"} <= set(Settings().kafka.input_topics)


@pytest.mark.parametrize("name", ["rsyslog-trainwatch.conf", "slurm.conf"])
def test_topics_are_those_that_are_read(name: str) -> None:
    """By default."""
    topics = set(re.findall(r"logs\.[a-z]+", (SHIPPERS / name).read_text(encoding="utf-8")))
    assert topics
    assert topics <= set(Settings().kafka.input_topics)


def test_the_sacct_columns_are_those_of_the_parser() -> None:
    """In this order."""
    script = (SHIPPERS / "sacct-every-10-minutes.sh").read_text(encoding="utf-8")
    found = re.search(r"-o (\S+)", script)
    assert found is not None
    assert tuple(found[1].split(",")) == tuple(sacct.COLUMNS)


def test_the_service_is_one_that_systemd_takes(tmp_path: Path) -> None:
    """`systemd-analyze verify`, where there is one; the program it starts need not be there."""
    if (analyse := shutil.which("systemd-analyze")) is None:
        pytest.skip("systemd-analyze is not installed")
    unit = tmp_path / "trainwatch-worker@1.service"
    unit.write_text(re.sub(r"^ExecStart=\S+ worker", "ExecStart=/bin/true", UNIT.read_text(encoding="utf-8"), flags=re.MULTILINE))
    done = subprocess.run([analyse, "verify", str(unit)], capture_output=True, text=True, timeout=60, check=False)
    assert "trainwatch" not in done.stderr, done.stderr


def test_the_service_keeps_secrets_out_of_arguments() -> None:
    """They come by a file that others cannot read."""
    text = UNIT.read_text(encoding="utf-8")
    assert "EnvironmentFile=-/etc/trainwatch/secrets" in text
    assert "PASSWORD" not in text.upper().replace("PASSWORDS", "")
