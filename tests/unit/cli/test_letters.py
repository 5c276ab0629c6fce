"""What is printed of dead letters: nothing that a log author wrote acts on the terminal."""

import unicodedata

import pytest
from click.testing import CliRunner

from pipeline.cli import main
from pipeline.cli.letters import escaped

SAMPLES = [
    (b"plain", "plain"),
    ("größe 温度".encode(), "größe 温度"),
    (b"two\nlines", "two\nlines"),
    (b"\x1b[2J\x1b]0;title\x07", "\\x1b[2J\\x1b]0;title\\x07"),
    (b"over\rwritten\ttab\x00", "over\\rwritten\\ttab\\x00"),
    (b"\xff\xfe", "\\xff\\xfe"),
    ("right\u202eleft\u2066".encode(), "right\\u202eleft\\u2066"),
    ("\u200b\u2028\x85\x9b".encode(), "\\u200b\\u2028\\x85\\x9b"),
]


@pytest.mark.parametrize(("data", "text"), SAMPLES)
def test_bytes_are_shown_without_effect(data: bytes, text: str) -> None:
    """Control characters, direction marks and broken bytes are written out; text of any language is not."""
    assert escaped(data) == text
    assert not [char for char in escaped(data) if unicodedata.category(char)[0] == "C" and char != "\n"]


WRONG = [
    (["show", "12"], "2:1204"),
    (["show", "0:1-3"], "one letter at a time"),
    (["show", "0:5-3"], "must not be below"),
    (["replay"], "take --all"),
    (["replay", "0:0-999999999"], "at most"),
    (["replay", "--offset", "7-3"], "1204-1210"),
    (["list", "--code", "nonsense"], "nonsense"),
    (["list", "--since", "yesterday"], "write for example 2h"),
    (["list", "--since", "2026-03-02T00:00:00"], "no offset"),
]


@pytest.mark.parametrize(("words", "says"), WRONG)
def test_wrong_usage_is_explained(words: list[str], says: str) -> None:
    """Exit 2, before any server is asked."""
    done = CliRunner().invoke(main, ["dlq", *words])
    assert done.exit_code == 2
    assert says in done.stderr
