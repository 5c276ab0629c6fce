"""Processes out of the fork server are to whoever started them what `python -m` would be."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

from pipeline.faults.born import Born
from tests.patience import PATIENCE_SECONDS


@pytest.mark.parametrize(("words", "code"), [(["2026", "2"], 0), (["--nonsense"], 2)], ids=["right", "wrong"])
def test_it_runs_a_module_with_an_output_and_an_exit_code_of_its_own(words: list[str], code: int, tmp_path: Path) -> None:
    """What it says stands in the files that were named, behind what stood there."""
    out, errors = tmp_path / "out", tmp_path / "errors"
    out.write_text("before\n")
    assert Born("calendar", words, os.environ, out, errors).wait(PATIENCE_SECONDS) == code
    assert ("February 2026" in out.read_text()) == (code == 0)
    assert out.read_text().startswith("before\n")
    assert ("--nonsense" in errors.read_text()) == (code == 2)


def test_it_has_the_environment_that_it_is_given(tmp_path: Path) -> None:
    """And nothing of ours."""
    Born("site", ["--user-site"], {"PYTHONUSERBASE": str(tmp_path), "HOME": "/"}, tmp_path / "out").wait(PATIENCE_SECONDS)
    assert str(tmp_path) in (tmp_path / "out").read_text()


def test_a_signal_is_its_exit_code(tmp_path: Path) -> None:
    """A frozen one is still there, and is not waited for in vain."""
    born = Born("http.server", ["0", "--bind", "127.0.0.1"], os.environ, tmp_path / "out")
    born.send_signal(signal.SIGSTOP)
    with pytest.raises(subprocess.TimeoutExpired):
        born.wait(0.2)
    assert born.poll() is None
    born.kill()
    assert born.wait(PATIENCE_SECONDS) == -signal.SIGKILL
