"""`trainwatch simulate` writes records, truth and settings that agree."""

import base64
import json
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

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


def test_a_folder_that_cannot_be_written_is_said_so(tmp_path: Path) -> None:
    """A file where the folder should be made gives an error with advice, not a traceback."""
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot write"):
        CliRunner().invoke(command, ["--days", "1", "--out", str(tmp_path / "file" / "week")], catch_exceptions=False)
