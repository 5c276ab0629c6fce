"""What deployment files say of us, asked of the program itself: a command line, or a variable, must be one that trainwatch takes."""

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import click
import pytest

from pipeline import settings
from pipeline.cli import main

READ_BY_COMMANDS = settings.OTHER_VARIABLES


def check_command(words: Sequence[str]) -> None:
    """`trainwatch WORDS` would be understood."""
    command: click.Command = main
    left = list(words)
    with click.Context(command, info_name="trainwatch") as ctx:
        while isinstance(command, click.Group) and left and not left[0].startswith("-"):
            found = command.get_command(ctx, left[0])
            assert found is not None, words
            command = found.make_context(left.pop(0), [], parent=ctx, resilient_parsing=True).command
        given, rest, _ = command.make_parser(click.Context(command)).parse_args(left)
    assert not rest, words
    for parameter in command.params:
        value = given.get(parameter.name or "")
        assert value is not None or not parameter.required, words
        if isinstance(value, str) and not isinstance(parameter.type, click.Path):
            parameter.type.convert(value, parameter, None)


def check_variable(name: str) -> None:
    """A TRAINWATCH_* variable is a setting, or read by the commands."""
    known = {setting for setting, _, _ in settings.table()}
    assert name in READ_BY_COMMANDS or name.removeprefix(settings.ENVIRONMENT_PREFIX).lower().replace("__", ".") in known, name


def tool(name: str, how: str) -> str:
    """Where a linter of others is, on the path or beside this interpreter.  Skips where it is not, and says how to get it."""
    found = shutil.which(name) or shutil.which(name, path=str(Path(sys.executable).parent))
    if found is None:
        pytest.skip(f"no {name} here: {how}")
    return found
