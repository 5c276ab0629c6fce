"""Settings for shippers: what can be checked without the programs that read them."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from pipeline.formats import assembly
from pipeline.formats.payloads import sacct
from pipeline.settings import Settings, cache_folder

SHIPPERS = Path(__file__).parents[3] / "deploy" / "shippers"
UNPACKED = cache_folder() / "shippers"
RULES = (SHIPPERS / "auditd-trainwatch.rules").read_text(encoding="utf-8")


def test_every_file_is_in_the_table_and_no_other() -> None:
    """What is shipped says whether it was tried."""
    table = (SHIPPERS / "README.md").read_text(encoding="utf-8")
    listed = {name for row in re.findall(r"^\| (`[^|]+) \|", table, re.MULTILINE) for name in re.findall(r"`([^`]+)`", row)}
    assert listed == {path.name for path in SHIPPERS.iterdir()} - {"README.md"}


def test_every_sink_of_vector_keeps_records_once_and_waits() -> None:
    """A retry must not double a record, nor may a full buffer lose one."""
    sinks = yaml.safe_load((SHIPPERS / "vector.yaml").read_text(encoding="utf-8"))["sinks"]
    assert {sink["topic"] for sink in sinks.values()} == set(Settings().kafka.input_topics)
    for sink in sinks.values():
        assert sink["librdkafka_options"] == {"enable.idempotence": "true"}
        assert (sink["buffer"]["type"], sink["buffer"]["when_full"]) == ("disk", "block")


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


def _auditctl(*words: str) -> str:
    """What auditctl says of a rule, in a namespace of its own: it reads the rule and may not load it.  Skips where it cannot be run."""
    program = shutil.which("auditctl", path=f"{os.environ.get('PATH', '')}:/sbin:/usr/sbin") or str(UNPACKED / "sbin/auditctl")
    unshare = shutil.which("unshare")
    if unshare is None or not Path(program).is_file():
        pytest.skip("no auditctl here: deploy/test unpacks it where apt-get and its packages are")
    libraries = {"LD_LIBRARY_PATH": ":".join(map(str, UNPACKED.glob("lib/*-linux-gnu")))}
    done = subprocess.run(
        [unshare, "--user", "--map-root-user", program, *words], capture_output=True, text=True, timeout=30, check=False, env=libraries
    )
    if "unshare" in done.stderr or "error while loading" in done.stderr:
        pytest.skip(done.stderr)
    return done.stdout + done.stderr


GOOD_RULE = ("-a", "always,exit", "-F", "arch=b64", "-S", "kill", "-k", "tw")


@pytest.mark.parametrize("rule", [line for line in RULES.splitlines() if line.startswith("-")])
def test_auditctl_reads_each_rule(rule: str) -> None:
    """It says of it what it says of one that is surely right, which here is that the rule may not be loaded."""
    assert _auditctl(*rule.split()) == _auditctl(*GOOD_RULE)


@pytest.mark.parametrize("wrong", ["kill:killx", "arch:bits", "always:sometimes"])
def test_auditctl_would_complain(wrong: str) -> None:
    """So that the test above can fail."""
    before, _, after = wrong.partition(":")
    assert _auditctl(*(word.replace(before, after) for word in GOOD_RULE)) != _auditctl(*GOOD_RULE)


@pytest.mark.parametrize("path", sorted(SHIPPERS.glob("*.y*ml")), ids=lambda path: path.name)
def test_yaml_is_yaml(path: Path) -> None:
    """And names no topic that nobody reads."""
    text = path.read_text(encoding="utf-8")
    assert yaml.safe_load(text)
    assert set(re.findall(r"\blogs\.[a-z]+\b", text)) - {"logs.kafka"} <= set(Settings().kafka.input_topics)


@pytest.mark.parametrize("name", ["rsyslog-trainwatch.conf", "syslog-ng-trainwatch.conf", "slurm.conf"])
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
