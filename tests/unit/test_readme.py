"""README and the reference of settings against the code."""

import re
from pathlib import Path

from pipeline.cli import COMMANDS
from pipeline.cli.settings import markdown_page
from pipeline.detect.detector import registry
from pipeline.formats.payloads import sacct

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SETTINGS = (ROOT / "schemas" / "SETTINGS.md").read_text(encoding="utf-8")


def test_the_settings_table_is_the_one_that_the_code_renders() -> None:
    """Renew it with `trainwatch settings --markdown > schemas/SETTINGS.md`."""
    assert markdown_page() == SETTINGS


def test_every_command_that_is_shown_exists() -> None:
    """A reader can type what stands there."""
    blocks = "\n".join(re.findall(r"^```\n(.*?)^```", README, re.MULTILINE | re.DOTALL))
    shown = {match[1] for match in re.finditer(r"^trainwatch (?:--settings \S+ )?([a-z]+)", blocks, re.MULTILINE)}
    assert shown
    assert shown <= set(COMMANDS)


def test_the_sacct_columns_are_those_of_the_parser() -> None:
    """The list is what a site copies into its cron job."""
    assert ",".join(sacct.COLUMNS) in README.replace("\n    ", "")


def test_every_detector_is_listed_and_no_other() -> None:
    """The table of detectors is complete."""
    listed = set(re.findall(r"^\| `(p\d\d_\w+)` \|", README, re.MULTILINE))
    assert listed == {detector.meta.id for detector in registry()}
