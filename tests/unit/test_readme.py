"""README and the reference of settings against the code."""

import re
from pathlib import Path

import pytest

from pipeline import settings
from pipeline.cli import COMMANDS
from pipeline.cli.settings import markdown_page
from pipeline.detect.detector import registry
from pipeline.formats.payloads import sacct
from tests.readme import NOT_RUN, README, commands

ROOT = Path(__file__).parents[2]
SETTINGS = (ROOT / "schemas" / "SETTINGS.md").read_text(encoding="utf-8")


def test_the_settings_table_is_the_one_that_the_code_renders() -> None:
    """Renew it with `trainwatch settings --markdown > schemas/SETTINGS.md`."""
    assert markdown_page() == SETTINGS


def test_every_command_that_is_shown_exists() -> None:
    """A reader can type what stands there; that it works is shown by tests/integration/test_demo.py."""
    words = {match[1] for command in commands() for match in re.finditer(r"^trainwatch (?:--settings \S+ )?([a-z]+)", command)}
    assert len(words) > 20
    assert words <= set(COMMANDS)


def test_what_no_test_runs_is_still_shown_and_has_a_reason() -> None:
    """The list does not outlive what it excuses."""
    assert set(NOT_RUN) - set(commands()) == set()
    assert [command for command, why in NOT_RUN.items() if len(why) < 10] == []


def test_commands_are_found_wherever_they_stand() -> None:
    """In blocks, in sentences over two lines, behind comments; names alone and output are none."""
    text = "Use `trainwatch demo` or `trainwatch rules\np09`, see `deploy/`.\n\n    trainwatch verify  # is it `all` there?\n\n"
    text += "```\n./deploy/test -k x\nsays: trainwatch\n```\n```yaml\ntrainwatch: up\n```\n`trainwatch demo --days 1`; `./deploy/nothing`\n"
    assert commands(text) == ["trainwatch rules p09", "trainwatch verify", "./deploy/test -k x", "trainwatch demo --days 1"]


@pytest.mark.parametrize("block", re.findall(r"^```yaml\n(.*?)^```", README, re.MULTILINE | re.DOTALL))
def test_settings_that_are_shown_are_settings(block: str, tmp_path: Path) -> None:
    """Names, values, and what must fit together; files that they name are those of a site."""
    path = tmp_path / "trainwatch.yaml"
    path.write_text(block, encoding="utf-8")
    settings.load(path)


def test_the_sacct_columns_are_those_of_the_parser() -> None:
    """The list is what a site copies into its cron job."""
    assert ",".join(sacct.COLUMNS) in README.replace("\n    ", "")


def test_every_detector_is_listed_and_no_other() -> None:
    """The table of detectors is complete."""
    listed = set(re.findall(r"^\| `(p\d\d_\w+)` \|", README, re.MULTILINE))
    assert listed == {detector.meta.id for detector in registry()}
