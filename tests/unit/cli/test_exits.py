"""Exit codes: what the help of a command says, against what its code can end with."""

import ast
import inspect
import re
import textwrap
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

import click
import pytest
from click.testing import CliRunner

from pipeline.cli import COMMANDS, main

ALWAYS = {0, 1, 2}  # of any command, as `trainwatch --help` says
ELSEWHERE = {"worker": {3}}  # ended by its watchdog
SAID = re.compile(r"\b([0-9])(?=: |; |\.? ?$)")


def commands() -> Iterator[tuple[str, click.Command, str]]:
    """Words, command, and the help of the group above it."""
    for word, (target, _) in COMMANDS.items():
        module, name = target.split(":")
        yield from below(word, getattr(import_module(f"pipeline.cli.{module}"), name), "")


def below(words: str, command: click.Command, above: str) -> Iterator[tuple[str, click.Command, str]]:
    yield words, command, above
    if isinstance(command, click.Group):
        for name, each in command.commands.items():
            yield from below(f"{words} {name}", each, command.help or "")


ALL = {words: (command, above) for words, command, above in commands()}


def said(text: str) -> set[int]:
    """Codes that a help text explains."""
    _, begun, told = " ".join(text.split()).partition("Exit 0")
    return {0, *map(int, SAID.findall(told))} if begun else set()


class Reader:
    """Codes that a function of a command can end with, and all that it calls within `pipeline.cli`."""

    def __init__(self) -> None:
        self._seen: set[Any] = set()
        self.codes: set[int] = set()

    def read(self, function: Callable[..., Any]) -> None:
        function = inspect.unwrap(function)
        if function in self._seen or not inspect.isfunction(function):
            return
        self._seen.add(function)
        tree, names = parsed(function), named(function)
        for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
            if ast.unparse(call.func) in {"SystemExit", "ctx.exit", "sys.exit"}:
                self.codes |= values(call.args[0], names)
            elif inspect.isfunction(called := found(call.func, names)) and called.__module__.startswith("pipeline.cli"):
                self.read(called)


def parsed(function: Callable[..., Any]) -> ast.Module:
    return ast.parse(textwrap.dedent(inspect.getsource(function)))


def named(function: Callable[..., Any]) -> dict[str, Any]:
    """What names stand for in it, those that it imports itself included."""
    names = dict(function.__globals__)
    for node in ast.walk(parsed(function)):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("pipeline.cli"):
            module = import_module(node.module)
            names |= {each.asname or each.name: getattr(module, each.name, None) for each in node.names}
    return names


def found(expression: ast.expr, names: dict[str, Any]) -> Any:
    """What a name, or a name of a module, stands for; None: it is none of ours."""
    if isinstance(expression, ast.Name):
        return names.get(expression.id)
    return getattr(found(expression.value, names), expression.attr, None) if isinstance(expression, ast.Attribute) else None


def values(expression: ast.expr, names: dict[str, Any]) -> set[int]:
    """Numbers that it can be."""
    if isinstance(expression, ast.IfExp):
        return values(expression.body, names) | values(expression.orelse, names)
    if isinstance(expression, ast.Call) and inspect.isfunction(called := found(expression.func, names)):
        returned = [node.value for node in ast.walk(parsed(called)) if isinstance(node, ast.Return) and node.value]
        return set().union(*(values(each, named(called)) for each in returned))
    number = expression.value if isinstance(expression, ast.Constant) else found(expression, names)
    return {number} if isinstance(number, int) else set()


@pytest.mark.parametrize("words", [words for words, (command, _) in ALL.items() if command.callback])
def test_help_says_what_a_command_ends_with(words: str) -> None:
    """Each code but those of all commands, and none that cannot come."""
    command, above = ALL[words]
    reader = Reader()
    assert command.callback
    reader.read(command.callback)
    can = (reader.codes | ELSEWHERE.get(words, set())) - ALWAYS
    own = said(command.help or "")
    assert can <= own | said(above)
    assert own - ALWAYS <= can or isinstance(command, click.Group)


def test_codes_of_all_commands_are_said_once() -> None:
    """Where somebody looks who has none yet."""
    assert said(CliRunner().invoke(main, ["--help"]).output.partition("Options:")[0]) == ALWAYS
