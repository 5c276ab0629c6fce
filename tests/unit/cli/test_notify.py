"""`notify`: what people type beside the running notifier, where none has run."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from pipeline.cli import main
from pipeline.runtime.notify_book import Book
from pipeline.settings import NotifySettings, TargetSettings
from tests.unit.runtime.test_notices import notice


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
        (("--once",), "there is nobody to notify"),
        (("list", "--failed"), "there is nobody to notify"),
    ],
)
def test_wrong_usage_is_said_and_leaves_no_file(words: tuple[str, ...], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty file in whatever folder one is in would say that nothing was ever told."""
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(main, ["notify", *words])
    assert done.exit_code == 2
    assert told in done.stderr
    assert [*tmp_path.iterdir()] == []


def test_a_book_without_targets_tells_no_lie(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody was told anything: for cron that is not well."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "trainwatch.yaml").write_text("notify: {state_file: n.sqlite}")
    with Book(tmp_path / "n.sqlite"):
        done = CliRunner().invoke(main, ["notify", "list", "--failed"])
    assert (done.exit_code, "there is nobody to notify" in done.stderr) == (2, True)


def test_what_could_not_be_told_ends_the_list_with_3(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For cron: nobody watches the notifier's standard error."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "trainwatch.yaml").write_text("notify: {state_file: n.sqlite, tries_max: 1, targets: [{name: oncall}]}")
    settings = NotifySettings(targets=(TargetSettings(name="oncall"),), tries_max=1)
    with Book(tmp_path / "n.sqlite") as book:
        for word in (notice(), notice(id="b" * 32, severity="low")):
            book.take(word, b"{}", epoch=1, offset=1, now=1, aged=False)
        run = CliRunner(env={"COLUMNS": "300"})
        none = run.invoke(main, ["notify", "list", "--failed"])
        assert (none.exit_code, none.stdout, none.stderr) == (0, "", "every target took what it was to hear\n")
        (due,) = book.due(settings, 1)
        book.failed(due, 1, "answer 404", settings)
        done = run.invoke(main, ["notify", "list", "--failed"])
        assert (done.exit_code, done.output.count("final")) == (3, 1)
        assert "oncall (1: answer 404) given up" in done.output
        assert run.invoke(main, ["notify", "list"]).exit_code == 0
