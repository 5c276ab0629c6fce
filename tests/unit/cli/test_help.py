"""What a person waits for who only asks how a command is used."""

import re
import subprocess
import sys
from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from pipeline.cli import COMMANDS, main

# Each takes a tenth of a second or more to import, and none is needed to say which words a command takes.
SLOW = ("faust", "aiokafka", "kafka", "clickhouse_driver", "pydantic", "psutil", "pipeline.detect.detector")
KNOWN_SLOW = {"demo", "settings", "worker"}
PROGRAM = """
import sys
from click.testing import CliRunner
from pipeline.cli import main
for word in sys.argv[1:]:
    assert CliRunner().invoke(main, [word, "--help"]).exit_code == 0, word
    for slow in %r:
        assert slow not in sys.modules, f"{word} imports {slow}"
"""


def test_help_imports_nothing_slow() -> None:
    """Of all commands but a few, so that pressing tab and reading help is quick."""
    words = [word for word in COMMANDS if word not in KNOWN_SLOW]
    done = subprocess.run([sys.executable, "-c", PROGRAM % (SLOW,), *words], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr


def below(command: click.Command, path: str) -> Iterator[tuple[str, click.Command]]:
    """A command and all below it, by what is typed."""
    with click.Context(command, info_name=path) as ctx:
        command = command.make_context(path, [], parent=ctx, resilient_parsing=True).command
        yield path, command
        if isinstance(command, click.Group):
            for word in command.list_commands(ctx):
                found = command.get_command(ctx, word)
                assert found is not None, word
                yield from below(found, f"{path} {word}")


def test_no_option_takes_a_secret() -> None:
    """Whoever lists processes reads arguments: secrets come from files and the environment."""
    asked = {path: [name for each in command.params for name in each.opts] for path, command in below(main, "trainwatch")}
    assert len(asked) > 60
    assert {path: names for path, names in asked.items() if re.search(r"password|secret|token|\bkey\b", " ".join(names))} == {}


@pytest.mark.parametrize(
    ("typed", "told"), [("statsu", "Did you mean status"), ("findings", "Did you mean finding?"), ("qqq", "No such command")]
)
def test_a_mistyped_command_is_told_which_there_is(typed: str, told: str) -> None:
    """Or that there is none like it."""
    done = CliRunner().invoke(main, [typed])
    assert done.exit_code == 2
    assert told in done.stderr
    assert ("mean" in done.stderr) is ("mean" in told)


@pytest.mark.parametrize("words", ["notify --settings x.yaml", "finding list --settings x.yaml", "job --settings=x explain"])
def test_settings_behind_the_command_are_told_where_they_stand(words: str) -> None:
    """Before it: whoever copies an example adds them at its end."""
    done = CliRunner().invoke(main, words.split())
    assert done.exit_code == 2
    assert f"trainwatch --settings FILE {words.split(maxsplit=1)[0]}" in done.stderr
