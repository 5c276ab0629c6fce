"""`trainwatch evidence keygen` and `verify BUNDLE`: what needs no server."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pipeline.cli import main
from pipeline.cli.evidence import _report_names
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


def test_an_empty_fingerprint_is_a_mistake(tmp_path: Path) -> None:
    """A script whose variable is not set must not be told that all is well."""
    done = run("verify", str(written(tmp_path)), "--trust", "")
    assert (done.exit_code, "--trust is empty" in done.output) == (2, True)


def test_whoever_lacks_the_package_is_told_so(tmp_path: Path) -> None:
    """With an exit code that does not say that the bundle is wrong, on a machine that has Python and this file alone."""
    words = [sys.executable, "-I", "-S", str(written(tmp_path, "bundle") / "verify.py"), "."]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.returncode, "pip install cryptography" in done.stderr) == (2, True), done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"{", b"[1,", b"[" * 200_000, b"PK\x03\x04"])
def test_what_is_no_bundle_is_said_to_be_none(tmp_path: Path, content: bytes) -> None:
    """Whoever sends it chose the bytes: as a bundle, as its manifest, as the file of a witness. No traceback."""
    path = tmp_path / "sent"
    path.write_bytes(content)
    folder = written(tmp_path, "bundle")
    whole = run("verify", str(folder), "--witness", str(path))
    (folder / "manifest.json").write_bytes(content)
    for done in (run("verify", str(path)), run("verify", str(folder)), whole):
        assert (done.exit_code, type(done.exception)) == (1, SystemExit), done.output
    assert not content or f"bundle_unreadable: {path}: " in whole.output  # not the bundle, which is whole


def test_no_report_takes_the_name_of_another(tmp_path: Path) -> None:
    """Nor of a file of the bundle: the checker stays ours."""
    paths = [tmp_path / name for name in ("a.html", "b.html", "c.json", "verify.py", "README.txt", "d/verify.py", "e.html")]
    named = _report_names(paths)
    assert [*named.values()] == paths
    assert [*named] == [
        "report.html", "report-2.html", "incident.json", "report-verify.py", "report-README.txt", "report-verify-2.py", "report-3.html",
    ]  # fmt: skip


def test_only_this_account_reads_a_bundle(tmp_path: Path) -> None:
    """It holds names and log lines: as a file, and as a folder."""
    assert written(tmp_path, "bundle.zip").stat().st_mode & 0o777 == 0o600
    assert written(tmp_path, "bundle").stat().st_mode & 0o777 == 0o700
