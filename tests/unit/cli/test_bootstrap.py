"""`trainwatch bootstrap`: lists in, records out, as text; what it says of them, and its exit codes."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pipeline.cli import main
from pipeline.formats.listing import COMMANDS

TAKEN = ["--taken", "2026-03-02T08:00:00+08:00"]
ROW = (
    "48213|48213|u017|5017|llm|gpu|normal|RUNNING|2026-03-01T20:00:00|2026-03-01T20:01:00|2-00:00:00|gpu-[001-002]|gres:gpu:8|/d|pretrain\n"
)
NOBODY = ROW.replace("48213", "48214").replace("|u017|5017|", "|||")


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def bootstrap(*arguments: str, given: str = "") -> Result:
    return CliRunner().invoke(main, ["bootstrap", *arguments], input=given)


def test_text_in_text_out() -> None:
    """One record a job on standard output, from standard input, nothing else beside it."""
    done = bootstrap(*TAKEN, "--output", "-", given=ROW)
    assert done.exit_code == 0
    record = json.loads(done.stdout)
    assert record["timestamp"] == 1_772_409_600_000
    assert record["headers"] == {"source": "bootstrap", "collected": "1772409600000"}
    value = json.loads(record["value"])
    assert (value["trainwatch_bootstrap"], value["taken"], value["listed_by"]) == (1, 1_772_409_600_000, "squeue")
    assert (value["job"]["job"], value["job"]["nodes"], value["job"]["start"]) == ("48213", ["gpu-001", "gpu-002"], 1_772_395_260_000)
    assert "cluster main: 1 job (1 RUNNING) on 2 hosts; history begins at 2026-03-02 00:00:00Z" in done.stderr


def test_what_it_writes_is_read_by_analyse() -> None:
    """The file is called after its topic."""
    Path("list").write_text(ROW, encoding="utf-8")
    done = bootstrap("list", *TAKEN, "--output", "logs.scheduler.jsonl", "--json")
    assert done.exit_code == 0
    assert json.loads(done.stdout) == {"cluster": "main", "taken": 1_772_409_600_000, "jobs": 1, "refused": []}
    analysed = CliRunner().invoke(main, ["analyse", "logs.scheduler.jsonl", "--json"])
    assert analysed.exit_code == 0
    said = json.loads(analysed.stdout)
    assert (said["records"], said["dead_letters"], said["wrong_zones"], said["under_rate"]) == (1, {}, [], [])


def test_the_zone_of_times_without_offset() -> None:
    """As it is told."""
    done = bootstrap(*TAKEN, "--zone", "Asia/Shanghai", "--output", "-", given=ROW)
    assert json.loads(json.loads(done.stdout)["value"])["job"]["start"] == 1_772_395_260_000 - 8 * 3_600_000


def test_jobs_without_owner_are_told() -> None:
    """Nobody can be foreign to them."""
    assert "1 of them without an owner" in bootstrap(*TAKEN, "--output", "-", given=ROW + NOBODY).stderr


def test_rows_that_cannot_be_read_are_named() -> None:
    """Exit 3, the rest is written; control characters do not reach the terminal."""
    done = bootstrap(*TAKEN, "--output", "-", given=ROW + "\x1b[2J torn off\n")
    assert done.exit_code == 3
    assert len(done.stdout.splitlines()) == 1
    assert "torn off" in done.stderr
    assert "\x1b" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "given", "said"),
    [
        ([], "an ordinary sentence", "squeue -a -o"),
        (["--topic", "logs.access"], ROW, "logs.scheduler"),
        (["--zone", "Mars/Base"], ROW, "IANA"),
        (["--taken", "yesterday"], ROW, "not a time; write for example"),
        (["nowhere.txt"], ROW, "nowhere.txt"),
    ],
    ids=["no list", "another family's topic", "no zone", "no time", "no file"],
)
def test_wrong_usage(arguments: list[str], given: str, said: str) -> None:
    """Exit 2, and what to do."""
    done = bootstrap("--output", "-", *arguments, given=given)
    assert done.exit_code == 2
    assert said in done.stderr


def test_it_prints_the_commands() -> None:
    """A person pastes one and pipes it here."""
    assert bootstrap("--commands").stdout.splitlines() == [*COMMANDS.values()]
