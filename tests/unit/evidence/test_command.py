"""`trainwatch evidence keygen` and `verify BUNDLE`: what needs no server."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pipeline.cli import main
from pipeline.evidence.signing import load_ring, load_signer
from tests.unit.evidence.build import OLD, written


def run(*words: str) -> Result:
    """The command."""
    return CliRunner().invoke(main, ["evidence", *words])


def test_a_key_is_made_and_rotated(tmp_path: Path) -> None:
    """The fingerprint is told, the key is not; a second one needs --rotate."""
    file = tmp_path / "evidence.key"
    first = run("keygen", "--file", str(file))
    assert first.exit_code == 0
    assert load_signer(file).fingerprint in first.output
    assert "PRIVATE" not in first.output
    assert run("keygen", "--file", str(file)).exit_code == 2
    assert run("keygen", "--file", str(file), "--rotate").exit_code == 0
    assert len(load_ring(file)) == 2


def test_without_a_file_it_says_where_to_name_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No default: the key must lie where the site wants it."""
    monkeypatch.chdir(tmp_path)
    done = run("keygen")
    assert done.exit_code == 2
    assert "evidence.key_file" in done.output


def test_a_bundle_is_checked_by_the_command(tmp_path: Path) -> None:
    """As JSON for scripts; the exit code says the same."""
    bundle = written(tmp_path)
    done = run("verify", str(bundle), "--trust", OLD.fingerprint, "--json")
    assert (done.exit_code, json.loads(done.stdout)["ok"]) == (0, True)
    done = run("verify", str(bundle), "--trust", "00" * 32, "--json")
    assert done.exit_code == 1
    assert [each["code"] for each in json.loads(done.stdout)["problems"]] == ["key_untrusted"]
