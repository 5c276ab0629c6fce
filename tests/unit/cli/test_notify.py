"""`notify`: what people type beside the running notifier, where none has run."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from pipeline.cli import main


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("list",), "no notifier has run with"),
        (("ack", "a378b78a07ce"), "no notifier has run with"),
        (("snooze", "a378b78a07ce", "4h"), "no notifier has run with"),
        (("retry",), "no notifier has run with"),
        (("snooze", "a378b78a07ce", "4"), "36h or 7d"),
        (("snooze", "a378b78a07ce", "31d"), "longer than 30 days"),
        (("ack", "a378b78a07ce", "--note", "x" * 501), "500 characters"),
        (("test", "oncall"), "there is nobody to notify"),
    ],
)
def test_wrong_usage_is_said_and_leaves_no_file(words: tuple[str, ...], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty file in whatever folder one is in would say that nothing was ever told."""
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(main, ["notify", *words])
    assert done.exit_code == 2
    assert told in done.stderr
    assert [*tmp_path.iterdir()] == []
