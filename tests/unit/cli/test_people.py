"""`evidence erase` and `incident reveal`, as far as they need no server: what is refused before anything is asked."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pipeline.cli import main


def run(folder: Path, settings: str, *words: str) -> Result:
    """The command with a settings file."""
    file = folder / "trainwatch.yaml"
    file.write_text(settings)
    return CliRunner().invoke(main, ["--settings", str(file), *words])


REFUSED = [
    ("nothing to erase", "", ("evidence", "erase", "--reason", "r"), "--event or --actor"),
    ("no reason", "", ("evidence", "erase", "--event", "e1"), "--reason"),
    ("a reason of blanks", "", ("evidence", "erase", "--event", "e1", "--reason", " "), "--reason is empty"),
    ("no pseudonyms here", "", ("incident", "reveal", "4f2a9c", "p-7f3a90c1d2", "--reason", "r"), "privacy.pseudonyms is off"),
    ("no key", "privacy: {pseudonyms: true}", ("incident", "reveal", "4f2a9c", "p-7f3a90c1d2", "--reason", "r"), "undone by guessing"),
    (
        "a name instead of a pseudonym",
        "privacy: {pseudonyms: true, key: a key for tests alone}",
        ("incident", "reveal", "4f2a9c", "u017", "--reason", "r"),
        "looks like p-7f3a90c1d2",
    ),
    (
        "a key that is not there",
        "privacy: {pseudonyms: true, key_file: /nowhere/pseudonyms.key}",
        ("incident", "reveal", "4f2a9c", "p-7f3a90c1d2", "--reason", "r"),
        "cannot read /nowhere/pseudonyms.key",
    ),
]


@pytest.mark.parametrize(("settings", "words", "why"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_what_cannot_be_meant_is_refused(tmp_path: Path, settings: str, words: tuple[str, ...], why: str) -> None:
    """Exit 2, and how it is meant."""
    done = run(tmp_path, settings, *words)
    assert (done.exit_code, why in done.output) == (2, True), done.output
