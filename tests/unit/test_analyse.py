"""`trainwatch analyse`: files in, findings out, the same whatever the partitions; what it prints, and what it answers a script."""

import io
from pathlib import Path
from typing import Any

import orjson
import pytest
from click.testing import CliRunner, Result
from rich.console import Console

from pipeline.cli import main
from pipeline.cli.analyse import show_findings
from pipeline.cli.simulate import write
from pipeline.simulate import TOPICS, Week, simulate

LINE = b"type=SYSCALL msg=audit(1772451641.000:9001): arch=c000003e syscall=62 success=yes exit=0 a0=1267 a1=9 pid=912 auid=5017 uid=0\n"


@pytest.fixture(scope="module")
def week() -> Week:
    """A simulated day with planted interference."""
    return simulate(1, 1.0)


@pytest.fixture(scope="module")
def folder(week: Week, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its files."""
    folder = tmp_path_factory.mktemp("day")
    write(week, folder)
    return folder


def analyse(folder: Path, *arguments: str) -> Result:
    """The command on the simulated day."""
    settings = ["--settings", str(folder / "trainwatch.yaml")]
    return CliRunner().invoke(main, [*settings, "analyse", *(str(folder / f"{topic}.jsonl") for topic in TOPICS), *arguments])


def test_planted_interference_is_found(week: Week, folder: Path) -> None:
    """The alerts name the planted acts and nobody else; the bodies are the same over 1 and 4 partitions; dead letters are counted."""
    one, four = (orjson.loads(analyse(folder, "--json", "--partitions", count).stdout) for count in "14")
    alerts = {(body["detector"], body["attempt"][1], body["actor"]) for body in one["findings"] if body["alert"]}
    assert alerts == {(str(act.detector), str(act.job), str(act.actor)) for act in week.expected_findings()}
    assert one["findings"] == four["findings"]
    assert one["verdicts"] == four["verdicts"]
    assert one["records"] == len(week.records)
    assert one["dead_letters"] == four["dead_letters"]
    assert sum(one["dead_letters"].values()) > 0


def test_for_people(week: Week, folder: Path) -> None:
    """The page names each finding with evidence and checklist, sums up the verdicts, and lists them when asked."""
    result = analyse(folder, "--verdicts", "--fail-on-findings")
    assert result.exit_code == 3
    for part in ("Findings", "owner_or_service", "Verdicts", "completed", "Ended jobs", "dead letters: "):
        assert part in result.stdout
    for act in week.expected_findings():
        assert f"job {act.job}" in result.stdout.replace("\n", " ")


def test_quiet_input(tmp_path: Path) -> None:
    """Without findings the exit code is 0, and the page says so."""
    path = tmp_path / "audit.log"
    path.write_bytes(LINE)
    result = CliRunner().invoke(main, ["analyse", str(path), "--fail-on-findings"])
    assert result.exit_code == 0
    assert "no findings" in result.stdout


@pytest.mark.parametrize(
    ("lines", "arguments", "said"),
    [
        (b"nothing that any format reads\n", [], "--topic"),
        (b"nothing that any format reads\n", ["--topic", "access"], "--collected"),
        (LINE, ["--collected", "2026-03-09T08:00:00"], "has no offset"),
        (LINE, ["--collected", "yesterday"], "not a time; write for example"),
    ],
    ids=["no format", "no time", "no offset", "no moment"],
)
def test_what_a_file_does_not_tell(tmp_path: Path, lines: bytes, arguments: list[str], said: str) -> None:
    """A file that needs an option, or an option that says too little, is wrong usage, and the message says what to write."""
    path = tmp_path / "some.log"
    path.write_bytes(lines)
    result = CliRunner().invoke(main, ["analyse", str(path), *arguments])
    assert result.exit_code == 2
    assert said in result.stderr


def test_hostile_text_is_harmless() -> None:
    """What log authors wrote cannot move the cursor, colour the page or become markup."""
    hostile = "\x1b[2J\x07[bold red]not markup[/]\r\n\u202e"
    body: dict[str, Any] = {
        "id": "f1",
        "detector": "p03_foreign_cancel",
        "attempt": ["main", hostile, 0, 0],
        "owner": hostile,
        "actor": "",
        "actor_withheld": hostile,
        "effect_time": 0,
        "summary": hostile,
        "status": "final",
        "alert": False,
        "gate": hostile,
        "confidence": {"score": 0.5},
        "evidence": [{"role": "cause", "event_time": 0, "source": "sshd", "summary": hostile, "event_id": hostile, "sha256": hostile}],
        "checklist": [{"name": "admin_ticket", "answer": "not_checked", "note": hostile, "missing": [hostile]}],
    }
    page = io.StringIO()
    show_findings(Console(file=page, width=200, highlight=False), [body], {"f1": ["auditd", hostile]})
    assert "not heard about that time: auditd, " in page.getvalue()
    assert "[bold red]not markup[/]" in page.getvalue()
    assert not set("\x1b\x07\r\u202e") & set(page.getvalue())
