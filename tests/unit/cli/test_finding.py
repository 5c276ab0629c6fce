"""`finding`: what is printed of what the tables hold, and nothing of it acts on the terminal."""

import io
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest
from rich.console import Console

from pipeline.cli.finding import command_on, show_finding, table_of, tell

T0 = datetime(2026, 3, 2, 6, 12, 34, tzinfo=UTC)
ROW: dict[str, Any] = {
    "finding_id": "a" * 32, "detector": "p03_foreign_cancel", "detector_version": 1, "title": "Job cancelled by a non-owner",
    "severity": "high", "status": "final", "alert": True, "gate": "", "subject": "job", "subject_name": "48213", "job_id": "48213",
    "owner": "u017", "actor": "u042", "actor_withheld": "", "confidence": 0.9, "confidence_parts": {"sources": 0.9}, "revision": 2,
    "cause_time": T0, "effect_time": T0, "closes_at": T0, "summary": "cancelled", "silent": [], "label": "", "labels": [], "incidents": [],
    "checklist": [], "evidence": [], "detector_says": {},
}  # fmt: skip
HOSTILE = "[red]x[/red] \x1b[2J\x07 \u202e \r\nowned"


def page(thing: Any, width: int = 220) -> str:
    text = io.StringIO()
    console = Console(file=text, width=width, highlight=False)
    if callable(thing):
        thing(console)
    else:
        console.print(thing)
    return text.getvalue()


def shown(**changes: Any) -> str:
    return page(lambda console: show_finding(console, {**ROW, **changes}, "trainwatch"))


def test_a_list_says_when_nobody_is_named() -> None:
    """The number beside it is confidence in the act, which the foot of the table explains."""
    found = page(table_of([{**ROW, "actor": "", "actor_withheld": "one source"}]))
    assert "0.90*" in found
    assert "nobody is named" in found
    assert "*" not in page(table_of([ROW]))


def test_a_list_says_what_is_below_the_gate() -> None:
    """It is no alert, and looks like one otherwise."""
    assert "final, below gate" in page(table_of([{**ROW, "alert": False}]))


@pytest.mark.parametrize("width", [80, 100, 160])
def test_a_narrow_terminal_keeps_what_is_pasted_in_one_piece(width: int) -> None:
    """The id is what the next command takes; words wrap instead, and no line is longer than the terminal."""
    found = page(
        table_of([{**ROW, "label": "benign", "summary": "job 48213 of u017 was cancelled on the request of somebody else"}]), width
    )
    assert all(part in found for part in ("aaaaaaaaaaaa", "2026-03-02", "06:12:34Z", "high", "u042", "benign"))
    assert max(map(len, found.splitlines())) <= width


@pytest.mark.parametrize("field", ["summary", "subject_name", "owner", "actor", "gate", "title", "actor_withheld"])
def test_no_field_acts_on_the_terminal(field: str) -> None:
    """Names of files and jobs are chosen by attackers: neither control characters nor markup come through, and no line is added."""
    quiet = {"alert": False, "actor": ROW["actor"] if field != "actor_withheld" else ""}
    for found in (shown(**{**quiet, field: HOSTILE}), page(table_of([{**ROW, **quiet, field: HOSTILE}]))):
        assert not {"\x1b", "\x07", "\u202e", "\r"} & set(found)
    assert "[red]x[/red]" in shown(**{**quiet, field: HOSTILE})
    assert not any(line.startswith("owned") for line in shown(**{**quiet, field: HOSTILE}).splitlines())


def test_evidence_shows_lines_or_that_they_are_gone() -> None:
    """Retention may have dropped the line before the finding."""
    cited = {"role": "cause", "event_time": T0, "source": "slurmctld", "summary": "request", "host": "ctl-1", "raw": "REQUEST_KILL_JOB"}
    assert "REQUEST_KILL_JOB" in shown(evidence=[cited])
    assert "no longer in ClickHouse" in shown(evidence=[{**cited, "raw": ""}])


def test_what_could_not_be_checked_names_the_source() -> None:
    """And what was excluded says why."""
    checks = [
        {"name": "admin_ticket", "answer": "not_checked", "by": "", "note": "", "missing": ["tickets"]},
        {"name": "preempted", "answer": "excluded", "by": "e1", "note": "nothing was preempted", "missing": []},
    ]
    found = shown(checklist=checks)
    assert "missing: tickets" in found
    assert "nothing was preempted" in found


def test_what_to_type_next_keeps_the_settings() -> None:
    """A command that is pasted works on the same servers."""
    assert command_on(Path("a b.yaml")).endswith(" --settings 'a b.yaml'")
    assert "trainwatch label aaaaaaaaaaaa" in shown()


def test_following_prints_what_is_new_and_no_older_row(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Rows above --limit are known from the start; a finding is told again when it says something else."""
    monkeypatch.setattr("pipeline.cli.following.POLL_SECONDS", 0)
    old, shown = {**ROW, "finding_id": "1" * 32}, {**ROW, "finding_id": "2" * 32, "status": "provisional"}
    answers = iter([[old, shown], [old, shown], [old, {**shown, "status": "final"}, {**ROW, "finding_id": "3" * 32}]])

    def ask(limit: int) -> list[dict[str, Any]]:
        found = next(answers, None)
        if found is None:
            raise KeyboardInterrupt
        return found[-limit:]

    tell(ask, 1, follow=True, as_json=True)
    said = [(row["finding_id"][0], row["status"]) for row in map(orjson.loads, capsys.readouterr().out.splitlines())]
    assert said == [("2", "provisional"), ("2", "final"), ("3", "final")]


def test_an_empty_list_says_of_when_the_newest_is(capsys: pytest.CaptureFixture[str]) -> None:
    """Of history that was sent in, or of the demo, `--since 7d` shows nothing: that is no word on whether anything was found."""
    tell(lambda _: [], 1, follow=False, as_json=False, earlier=lambda: [ROW])
    assert "the newest before is of 2026-03-02 06:12:34Z: give an earlier --since" in capsys.readouterr().err
    for earlier in (None, list):
        tell(lambda _: [], 1, follow=False, as_json=False, earlier=earlier)
        assert "trainwatch verify" in capsys.readouterr().err
