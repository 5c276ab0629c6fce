"""The examples at the end of every `--help`: there for each command, and what a reader copies is taken as it stands."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from pipeline.cli import Deferred, Options, examples, main
from tests.conftest import ROOT

HEAD = "\b\nExamples:\n"
AROUND = re.compile(r"^(\||>|<)$")  # where the shell goes on by itself


def commands(group: click.Group, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """All that do something, with the words that lead to them."""
    for word in group.list_commands(click.Context(group)):
        found = resolved(group, word)
        if not isinstance(found, click.Group) or found.invoke_without_command:
            yield (*words, word), found
        if isinstance(found, click.Group):
            yield from commands(found, (*words, word))


def resolved(group: click.Group, word: str) -> click.Command:
    """A member of a group."""
    found = group.get_command(click.Context(group), word)
    assert found is not None, word
    return found.command if isinstance(found, Deferred) else found


def parse(line: str) -> tuple[str, ...]:
    """The words of the command that takes the line.  Files that have to be there are made; nothing is run.  Raises UsageError."""
    program, *rest = shlex.split(line, comments=True)
    assert program == "trainwatch"
    rest = rest[: next((at for at, word in enumerate(rest) if AROUND.match(word)), len(rest))]
    command: click.Command = main
    context = click.Context(main, info_name=program, obj=Options())
    words: list[str] = []
    while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
        words.append(rest.pop(0))
        if words[-1] not in command.list_commands(context):
            raise click.UsageError(f"no command {' '.join(words)}")
        command = resolved(command, words[-1])
    given = click.Context(command, parent=context)
    values, _, _ = command.make_parser(given).parse_args([*rest])
    for each in command.params:
        if isinstance(each.type, click.Path) and each.type.exists:
            value = values.get(each.name or "")
            for path in value if isinstance(value, list | tuple) else [value] if isinstance(value, str) else ():
                Path(path).touch()
    command.make_context(words[-1], rest, parent=context)
    return tuple(words)


COMMANDS = dict(commands(main))
GROUPS = [words for words in {words[:-1] for words in COMMANDS} if words not in COMMANDS]
LINES = [(words, line.strip()) for words, command in COMMANDS.items() for line in (command.epilog or "").removeprefix(HEAD).splitlines()]


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_has_examples(words: tuple[str, ...]) -> None:
    """In one form, each of its own command, and no more than a reader looks over."""
    told = COMMANDS[words].epilog or ""
    lines = [line.strip().removeprefix("trainwatch ") for line in told.removeprefix(HEAD).splitlines()]
    assert told == examples(*lines)
    assert 1 <= len(lines) <= 7
    assert all(line.startswith(" ".join(words)) for line in lines)


@pytest.mark.parametrize("words", sorted(GROUPS), ids=lambda words: " ".join(words) or "trainwatch")
def test_the_help_of_a_group_ends_with_examples(words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of its members; a reader of `dlq --help` need not ask each of them."""
    monkeypatch.chdir(tmp_path)
    text = CliRunner().invoke(main, [*words, "--help"]).output
    lines = [line.strip() for line in text.partition("Examples:\n")[2].splitlines()]
    assert 1 <= len(lines) <= 12
    assert all(parse(line)[: len(words)] == words for line in lines)


@pytest.mark.parametrize(("words", "line"), LINES, ids=[line for _, line in LINES])
def test_an_example_is_taken_as_it_stands(words: tuple[str, ...], line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By click: its options exist, and its values are ones that they take."""
    monkeypatch.chdir(tmp_path)
    named = parse(line)
    assert named[: len(words)] == words


@pytest.mark.parametrize(
    "line",
    ["trainwatch rules --verbose", "trainwatch rules p01 p02", "trainwatch incident lst", "trainwatch simulate --days 2",
     "trainwatch dlq show 7", "trainwatch migrate sideways"],
)  # fmt: skip
def test_a_wrong_example_would_be_seen(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Options, words and values that there are not."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(click.UsageError):
        parse(line)


def test_detectors_and_settings_in_examples_exist() -> None:
    """What click leaves to the command: names of ours."""
    from pipeline.cli.asking import detector_ids  # noqa: PLC0415  the commands load it late, too

    named = {found for _, line in LINES for found in re.findall(r"\bp\d\d(?:_\w+)?", line)}
    assert named
    assert detector_ids(sorted(named))
    pages = (ROOT / "schemas" / "SETTINGS.md").read_text(encoding="utf-8")
    for _, line in LINES:
        for setting in re.findall(r"--set (\S+)=", line):
            assert f"`{setting}`" in pages
