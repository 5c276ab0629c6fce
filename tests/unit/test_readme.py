"""README and the reference of settings against the code."""

import ast
import re
from pathlib import Path

import click
import pytest

from pipeline import settings
from pipeline.cli import COMMANDS, main
from pipeline.cli.settings import markdown_page
from pipeline.detect.detector import registry
from pipeline.formats.payloads import sacct
from tests.readme import NOT_RUN, README, commands

ROOT = Path(__file__).parents[2]
FOLDERS = {"trainwatch operation"}  # of Grafana
SETTINGS = (ROOT / "schemas" / "SETTINGS.md").read_text(encoding="utf-8")


def test_the_settings_table_is_the_one_that_the_code_renders() -> None:
    """Renew it with `trainwatch settings --markdown > schemas/SETTINGS.md`."""
    assert markdown_page() == SETTINGS


def test_every_command_that_is_shown_exists() -> None:
    """A reader can type what stands there; that it works is shown by tests/integration/test_demo.py."""
    words = {match[1] for command in commands() for match in re.finditer(r"^trainwatch (?:--settings \S+ )?([a-z]+)", command)}
    assert len(words) > 20
    assert words <= set(COMMANDS)


def named() -> dict[str, str]:
    """Commands of ours in any document, help or advice, each with a place where it stands; of what is filled in later an X."""
    found: dict[str, str] = {}
    for path in sorted(path for folder in ("deploy", "pipeline", "schemas") for path in (ROOT / folder).rglob("*.*")):
        texts = []
        if path.suffix == ".md":
            texts = [path.read_text(encoding="utf-8")]
        elif path.suffix == ".py":
            nodes = [*ast.walk(ast.parse(path.read_bytes()))]
            texts = [node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)]
            parts = [node.values for node in nodes if isinstance(node, ast.JoinedStr)]
            texts += ["".join(str(part.value) if isinstance(part, ast.Constant) else "X" for part in each) for each in parts]
        spoken = {" ".join(each.split()) for text in texts for each in re.findall(r"`(trainwatch [^`]+)`", text)}
        found |= dict.fromkeys(spoken, str(path.relative_to(ROOT)))
    return found


def test_every_command_that_is_named_anywhere_is_understood() -> None:
    """Its words and its options: advice that cannot be typed costs an hour at night."""
    spoken = named() | dict.fromkeys((each for each in commands() if each.startswith("trainwatch ")), "README.md")
    assert len(spoken) > 100
    assert {where: wrong for each, where in spoken.items() if (wrong := _not_understood(each)) and each not in FOLDERS} == {}


def _not_understood(line: str) -> str:
    words = [word.strip("[],.") for word in line.partition(" # ")[0].partition(" |")[0].split()[1:]]
    command: click.Command = main
    if words[0] == "--settings":
        del words[:2]
    with click.Context(command, info_name="trainwatch") as ctx:
        while isinstance(command, click.Group) and words and words[0].isalpha() and words[0].islower():
            if (found := command.get_command(ctx, words[0])) is None:
                return f"{line}: no {words[0]}"
            command = found.make_context(words.pop(0), [], parent=ctx, resilient_parsing=True).command
        known = {option for each in command.params for option in each.opts} | {"--help", "--version"}
    return "".join(f"{line}: no {word}" for word in words if re.fullmatch(r"--[a-z-]+", word) and word not in known)


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
