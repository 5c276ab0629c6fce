"""Known vulnerabilities of what the locks name, from a folder of advisories: what is affected is told, and what cannot be known, too."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from deploy import advisories

NOW = datetime(2026, 3, 2, tzinfo=UTC)
LOCK = """
# comments are none
aiohttp==3.9.1 \\
    --hash=sha256:0000000000000000000000000000000000000000000000000000000000000000
typing_extensions==4.1.0 \\
    --hash=sha256:0000000000000000000000000000000000000000000000000000000000000000
"""


def record(name: str, *events: dict[str, str], versions: tuple[str, ...] = (), **more: Any) -> dict[str, Any]:
    """An advisory in the form of the OSV schema."""
    affected = {
        "package": {"ecosystem": "PyPI", "name": name},
        "ranges": [{"type": "ECOSYSTEM", "events": list(events)}],
        "versions": versions,
    }
    return {"id": "PYSEC-1", "modified": "2026-03-01T00:00:00Z", "affected": [affected]} | more


@pytest.mark.parametrize(
    ("found", "advisory"),
    [
        (1, record("aiohttp", {"introduced": "0"}, {"fixed": "3.9.2"})),
        (0, record("aiohttp", {"introduced": "0"}, {"fixed": "3.9.1"})),
        (0, record("aiohttp", {"introduced": "3.10"}, {"fixed": "3.10.2"})),
        (1, record("aiohttp", {"introduced": "3.0"}, {"fixed": "3.1"}, {"introduced": "3.9"})),
        (0, record("aiohttp", {"introduced": "3.0"}, {"fixed": "3.1"})),
        (0, record("aiohttp", {"fixed": "3.9.1"}, {"introduced": "0"})),
        (1, record("aiohttp", {"introduced": "3.9"}, {"fixed": "3.1"}, {"introduced": "3.0"})),
        (0, record("aiohttp", {"last_affected": "3.9.0"}, {"introduced": "0"})),
        (1, record("aiohttp", {"last_affected": "3.9.1"}, {"introduced": "0"})),
        (1, record("aiohttp", {"last_affected": "3.9.1"}, {"introduced": "3.9.1"})),
        (1, record("aiohttp", {"fixed": "3.9.1"}, {"introduced": "3.9.1"})),
        (1, record("aiohttp", {"introduced": "0"}, {"last_affected": "3.9.1"})),
        (0, record("aiohttp", {"introduced": "0"}, {"last_affected": "3.9.0"})),
        (1, record("AIOHTTP", versions=("3.9.1",))),
        (1, record("typing-extensions", {"introduced": "0"})),
        (0, record("aiohttp-cors", {"introduced": "0"})),
        (0, record("aiohttp", {"introduced": "0"}, withdrawn="2026-01-01T00:00:00Z")),
        (
            0,
            record("aiohttp", {"introduced": "0"})
            | {"affected": [{"package": {"ecosystem": "npm", "name": "aiohttp"}, "versions": ["3.9.1"]}]},
        ),
    ],
)
def test_what_is_affected(found: int, advisory: dict[str, Any]) -> None:
    """By a list of versions or by ranges of them, whoever writes the name."""
    assert len(list(advisories.known(LOCK, [advisory]))) == found


@pytest.mark.parametrize("ending", ["yaml", "json"])
def test_a_folder_is_asked(ending: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As PyPA keeps it, or as OSV gives it away: what is found is listed with the release that mends it."""
    folder = tmp_path / "vulns" / "aiohttp"
    folder.mkdir(parents=True)
    (folder / f"PYSEC-1.{ending}").write_text(json.dumps(record("aiohttp", {"introduced": "0"}, {"fixed": "3.9.2"})), encoding="utf-8")
    assert advisories.report(LOCK, tmp_path, NOW) == 1
    assert "aiohttp 3.9.1: PYSEC-1, mended in 3.9.2" in capsys.readouterr().out
    assert advisories.report(LOCK.replace("3.9.1", "3.9.2"), tmp_path, NOW) == 0


def test_what_stands_in_two_locks_is_one_package(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Unless they pin two versions of it: then each is looked up."""
    advisory = record("aiohttp", {"introduced": "0"}, {"fixed": "3.9.2"})
    (tmp_path / "PYSEC-1.json").write_text(json.dumps(advisory), encoding="utf-8")
    for other, packages, code in ((LOCK, 2, 1), (LOCK.replace("3.9.1", "3.9.2"), 3, 1)):
        for both in (LOCK + other, other + LOCK):
            assert advisories.report(both, tmp_path, NOW) == code
            assert f"{packages} packages looked up in 1 advisories, 1 vulnerabilities known" in capsys.readouterr().out


def test_old_advisories_clear_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What was found since stands in none of them; nor does an empty folder know anything."""
    assert advisories.report(LOCK, tmp_path, NOW) == 3
    (tmp_path / "PYSEC-1.json").write_text(json.dumps(record("other", modified="2024-10-10T17:35:05Z")), encoding="utf-8")
    assert advisories.report(LOCK, tmp_path, NOW) == 3
    assert "the newest is of 2024-10-10" in capsys.readouterr().err
