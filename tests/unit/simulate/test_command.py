"""`trainwatch simulate` writes records, truth and settings that agree."""

import base64
import io
import json
import re
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from rich.console import Console

from pipeline.cli import meter as metering
from pipeline.cli.simulate import simulate as command
from pipeline.errors import ConfigError
from pipeline.settings import load
from pipeline.simulate import TOPICS, Record, simulate


def read(folder: Path) -> list[Record]:
    """Records of all topic files of a folder."""
    records = []
    for topic in TOPICS:
        for line in (folder / f"{topic}.jsonl").read_text(encoding="utf-8").splitlines():
            entry = json.loads(line)
            value = base64.b64decode(entry["value_base64"]) if "value_base64" in entry else entry["value"].encode()
            key = None if entry["key"] is None else entry["key"].encode()
            headers = tuple((name, text.encode()) for name, text in entry["headers"].items())
            records.append(Record(topic, entry["timestamp"], key, value, headers))
    return records


def test_files_hold_every_record_the_truth_and_valid_settings(tmp_path: Path) -> None:
    """What is read back from the folder is what was simulated, byte for byte."""
    folder = tmp_path / "week"
    result = CliRunner().invoke(command, ["--seed", "9", "--days", "1", "--out", str(folder)], catch_exceptions=False)
    assert result.exit_code == 0
    week = simulate(9, 1)
    assert read(folder) == [record for topic in TOPICS for record in week.records if record.topic == topic]
    assert json.loads((folder / "truth.json").read_text())["acts"] == week.truth()["acts"] != []
    assert yaml.safe_load((folder / "trainwatch.yaml").read_text()) == week.settings
    assert len(load(folder / "trainwatch.yaml").identities) == len(week.settings["identities"])
    assert str(folder / "truth.json") in result.stdout


def test_the_truth_of_another_simulation_does_not_stay(tmp_path: Path) -> None:
    """One folder, first a cluster and then a week: what is read beside the logs is about them."""
    for options, truth in (["--gpus", "32"], "truth.jsonl"), ([], "truth.json"), (["--acts", "p01=1", "--gpus", "32"], "truth.jsonl"):
        CliRunner().invoke(command, [*options, "--days", "1", "--out", str(tmp_path)], catch_exceptions=False)
        assert [each.name for each in tmp_path.glob("truth.*")] == [truth]


def test_a_terminal_shows_how_far_a_period_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A large one takes minutes.  Whole nodes are simulated, and it says how many."""
    page = io.StringIO()
    monkeypatch.setattr(metering, "stderr", lambda: Console(file=page, width=160, force_terminal=True, color_system=None))
    result = CliRunner().invoke(command, ["--gpus", "100", "--days", "1", "--out", str(tmp_path)], catch_exceptions=False)
    assert re.search(r"simulating 96 GPUs: day 1 of 1, [0-9,]+ records", page.getvalue())
    assert "96 GPUs" in result.stderr


def test_a_folder_that_cannot_be_written_is_said_so(tmp_path: Path) -> None:
    """A file where the folder should be made gives an error with advice, not a traceback."""
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot write"):
        CliRunner().invoke(command, ["--days", "1", "--out", str(tmp_path / "file" / "week")], catch_exceptions=False)
