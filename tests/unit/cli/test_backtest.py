"""What `backtest` understands of its options, and what it prints."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from rich.console import Console

from pipeline.cli import backtest, main
from pipeline.errors import ConfigError
from pipeline.runtime.comparing import Change, Comparison, Count, Frame, LeftOut
from pipeline.runtime.history import Batch
from pipeline.runtime.local import Results
from pipeline.settings import Settings

MIDNIGHT = 1_772_323_200_000  # 2026-03-01T00:00:00Z


@pytest.mark.parametrize(
    ("change", "section", "name", "value"),
    [
        ("detect.kill_window_seconds=600", "detect", "kill_window_seconds", 600),
        ("detect.degrade_ratio_min=1.5", "detect", "degrade_ratio_min", 1.5),
        ("detect.roaming_networks=[10.0., 192.168.]", "detect", "roaming_networks", ("10.0.", "192.168.")),
        ("time.grace_seconds = 30", "time", "grace_seconds", 30),
        ("time.out_of_order_seconds_by_family.sacct=60", "time", "out_of_order_seconds_by_family", {"sacct": 60}),
        ("time.out_of_order_seconds_by_family.auditd=5", "time", "out_of_order_seconds_by_family", {"sacct": 900, "auditd": 5}),
    ],
)
def test_set(change: str, section: str, name: str, value: Any) -> None:
    """One setting changes, also below a mapping; the rest stays."""
    base = Settings()
    changed = backtest.with_changes(base, [change], None)
    assert changed is not None
    assert getattr(getattr(changed, section), name) == value
    assert changed.digest() != base.digest()
    same = getattr(changed, section).model_copy(update={name: getattr(getattr(base, section), name)})
    assert changed.model_copy(update={section: same}) == base


@pytest.mark.parametrize(
    ("change", "message", "advice"),
    [
        ("detect.kil_window_seconds=1", "there is no setting 'detect.kil_window_seconds'", "Did you mean detect.kill_window_seconds"),
        ("kill_window_seconds=1", "there is no setting", "detect.kill_window_seconds"),
        ("detect=1", "there is no setting 'detect'", ""),
        ("=1", "there is no setting ''", ""),
        ("detect.kill_window_seconds.more=1", "there is no setting", "detect.kill_window_seconds"),
        ("detect.kill_window_seconds", "no value", "NAME=VALUE"),
        ("detect.kill_window_seconds=soon", "valid integer", "SETTINGS.md"),
        ("detect.kill_window_seconds=0", "greater than or equal to 1", "SETTINGS.md"),
        ("detect.kill_window_seconds=[", "is not a value", "trainwatch.yaml"),
        ("detect.import_window_seconds=86400000", "retention.artefact_days is 90", "SETTINGS.md"),
        ("kafka.group=other", "changes nothing that is found", "detect"),
        ("identities=[]", "is a list", "--settings-file"),
    ],
)
def test_set_refuses(change: str, message: str, advice: str) -> None:
    """An unknown name, with those that are near; a value that does not fit; what has no effect."""
    with pytest.raises(ConfigError) as refused:
        backtest.with_changes(Settings(), [change], None)
    assert message in str(refused.value)
    assert advice in refused.value.advice


def test_another_file(tmp_path: Path) -> None:
    """All that judging depends on comes from it; the servers stay, and --set goes on top.  Without either nothing is changed."""
    path = tmp_path / "other.yaml"
    path.write_text(
        "kafka: {group: other}\ndetect: {kill_window_seconds: 60, cancel_window_seconds: 7}\nidentities: [{id: u017, uid: 5017}]\n"
    )
    changed = backtest.with_changes(Settings(), ["detect.kill_window_seconds=61"], path)
    assert changed is not None
    assert (changed.kafka, changed.detect.kill_window_seconds, changed.detect.cancel_window_seconds) == (Settings().kafka, 61, 7)
    assert [each.id for each in changed.identities] == ["u017"]
    assert backtest.with_changes(Settings(), [], None) is None


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--since", "2026-03-01T00:00:00"], "has no offset"),
        (["--since", "yesterday"], "not a time; write for example 2026-03-09"),
        (["--since", "2026-03-01", "--until", "2026-03-01"], "not later than"),
        (["--since", "2026-03-01", "--warm-up", "7"], "not a duration"),
        (["--since", "2026-03-01", "--rule", "p99"], "there is no detector"),
        (["--since", "2026-03-01", "--set", "detect.nothing=1"], "there is no setting"),
        ([], "--since"),
    ],
)
def test_wrong_usage(arguments: list[str], said: str) -> None:
    """Exit 2, and what to write instead."""
    result = CliRunner().invoke(main, ["backtest", *arguments])
    assert result.exit_code == 2
    assert said in result.output


def test_without_servers(tmp_path: Path) -> None:
    """Exit 1, and how to start them."""
    file = tmp_path / "trainwatch.yaml"
    file.write_text(f"embedded: {{directory: {tmp_path}}}\n")
    for origin in ("clickhouse", "kafka"):
        result = CliRunner().invoke(main, ["--settings", str(file), "backtest", "--since", "2026-03-01", "--from", origin])
        assert result.exit_code == 1
        assert "trainwatch up" in result.output


class Past:
    """A history that has been read."""

    total, unit, begins = 10, "rows", None
    gaps = ("logs.access/0: records below offset 7 are deleted [bold]\x1b[31m",)
    letters = {"decode_error": 3}  # noqa: RUF012  read only

    def batches(self) -> Iterator[Batch]:
        yield from (Batch([], 4), Batch([], 6))


def shown(monkeypatch: pytest.MonkeyPatch, comparison: Comparison, **changes: Any) -> str:
    page = io.StringIO()
    monkeypatch.setattr(backtest, "stdout", lambda: Console(file=page, width=240, highlight=False, force_terminal=True, color_system=None))
    frame = Frame(since=MIDNIGHT, until=None, windows={}, **changes)
    backtest.show(comparison, frame, Past(), [Results()], backtest.Runs([Settings()]))  # type: ignore[arg-type]
    return page.getvalue()


def test_what_is_printed_is_harmless(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names from records hold no markup and no control characters; gaps and dead letters are named."""
    evil = "job main/\x1b[2J[red]7"
    before = {"alert": True, "gate": "", "confidence": {"score": 0.9}, "summary": "s"}
    after = {"alert": False, "gate": "not checked: [link]", "confidence": {"score": 0.45}, "summary": "s"}
    change = Change(
        change="changed", id="f1", detector="p03_foreign_cancel", subject=evil, effect_time=MIDNIGHT, before=before, after=after,
        fields=("alert", "checklist", "gate"), answers=(("preempted", "excluded", "not_checked"),),
    )  # fmt: skip
    counts = [Count(detector="p03_foreign_cancel", before=1, after=1, alerts_before=1, changed=1)]
    left = [LeftOut(id="f2", detector="p01_foreign_kill", subject=evil, why="history begins at 2026-03-01 00:00:00Z")]
    page = shown(monkeypatch, Comparison(counts, [change], left))
    assert "\x1b[2J" not in page
    assert "\x1b[31m" not in page
    for part in ("[red]7", "0.90 → 0.45", "preempted: excluded → not_checked", "no: not checked: [link]", "left out: p01_foreign_kill"):
        assert part in page
    assert "listed as dead letters: 3 offsets of the range (decode_error 3)" in page
    assert "missing: logs.access/0: records below offset 7 are deleted [bold]" in page


def test_no_difference_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty page would leave the reader in doubt."""
    assert "no finding differs" in shown(monkeypatch, Comparison([Count(detector="p03_foreign_cancel", before=1, after=1)], [], []))
    assert "no findings in the range" in shown(monkeypatch, Comparison([], [], []))


def test_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every batch passes; a terminal sees how many, how fast, and how much remains."""
    page = io.StringIO()
    monkeypatch.setattr(backtest, "stderr", lambda: Console(file=page, width=160, force_terminal=True, color_system=None))
    with backtest.metered(Past()) as batches:  # type: ignore[arg-type]
        assert list(batches) == [[], []]
    assert "judging: 10 of 10 rows" in page.getvalue()
    assert "rows/s" in page.getvalue()
    assert "100%" in page.getvalue()
