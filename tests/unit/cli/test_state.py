"""`trainwatch state`: what it refuses before it asks any server."""

from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from pipeline.cli import main

NOBODY = {"kafka": {"bootstrap_servers": "127.0.0.1:1"}}


@pytest.fixture
def settings(tmp_path: Path) -> str:
    path = tmp_path / "trainwatch.yaml"
    path.write_text(yaml.safe_dump(NOBODY))
    return str(path)


def test_nothing_is_replaced_without_a_yes(settings: str) -> None:
    """No terminal, no --yes: exit 3, and no server was asked, since there is none."""
    done = CliRunner().invoke(main, ["--settings", settings, "state", "restore", "state.tw"])
    assert (done.exit_code, "nothing was changed" in done.stderr) == (3, True)


@pytest.mark.parametrize("words", [["state", "save"], ["state", "restore", "a", "b"], ["state", "drop", "a"]])
def test_wrong_usage_is_exit_2(settings: str, words: list[str]) -> None:
    """As everywhere."""
    assert CliRunner().invoke(main, ["--settings", settings, *words]).exit_code == 2
