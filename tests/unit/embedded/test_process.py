"""Processes and the notes by which they are recognised."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.embedded import process
from pipeline.embedded.process import Note
from tests.patience import PATIENCE_SECONDS

OWN = process.note_of(os.getpid(), {})
NO_PID = 2**22 + 1  # above the largest pid of Linux


@pytest.mark.parametrize(
    ("note", "alive"),
    [
        pytest.param(OWN, True, id="this very process"),
        pytest.param(Note(OWN.pid, f"{OWN.birth}0", {}), False, id="the pid belongs to a later process now"),
        pytest.param(Note(OWN.pid, f"other-boot:{OWN.birth.rpartition(':')[2]}", {}), False, id="the machine was booted since"),
        pytest.param(Note(OWN.pid, "", {}), False, id="it had ended before it could be noted"),
        pytest.param(Note(NO_PID, OWN.birth, {}), False, id="the process is gone"),
    ],
)
def test_a_process_is_known_by_pid_and_start(note: Note, alive: bool) -> None:
    """A pid that was given to another process is not the server."""
    assert process.is_alive(note) is alive


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"\xff\xfe", b'{"pid": "x"}', b"[]", b'{"pid": 1}'],
)
def test_an_unreadable_note_is_no_note(tmp_path: Path, content: bytes) -> None:
    """A crash of the machine can leave half a file; it must not stop `up`."""
    path = tmp_path / "kafka.json"
    path.write_bytes(content)
    assert process.read_note(path) is None


def test_a_note_is_read_as_written(tmp_path: Path) -> None:
    """Writing makes the folder and leaves nothing but the note."""
    note = Note(pid=7, birth="boot:15", ports={"kafka": 20_000})
    process.write_note(tmp_path / "run" / "kafka.json", note)
    assert process.read_note(tmp_path / "run" / "kafka.json") == note
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["kafka.json"]


def test_a_missing_note_is_no_note(tmp_path: Path) -> None:
    """Nothing was ever started here."""
    assert process.read_note(tmp_path / "kafka.json") is None


def test_a_spawned_process_has_its_own_session_and_log(tmp_path: Path) -> None:
    """Ctrl-C at our terminal does not reach it, and its output is kept."""
    log = tmp_path / "logs" / "a.out"
    pid = process.spawn(["/bin/sh", "-c", "pwd; exec sleep 60"], log=log, folder=tmp_path / "work")
    note = process.note_of(pid, {})
    try:
        assert process.is_alive(note)
        assert os.getsid(pid) != os.getsid(0)
        _wait_for(lambda: log.read_text() == f"{tmp_path / 'work'}\n")
    finally:
        process.stop(note, patience_seconds=5)
    assert not process.is_alive(note)


def test_a_process_that_ends_at_once_is_noted_as_gone(tmp_path: Path) -> None:
    """Its pid is never taken for a running server."""
    pid = process.spawn(["/bin/false"], log=tmp_path / "a.out", folder=tmp_path)
    _wait_for(lambda: not process.is_alive(process.note_of(pid, {})))


def test_a_process_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    """`down` always ends."""
    log = tmp_path / "a.out"
    pid = process.spawn(["/bin/sh", "-c", "trap '' TERM; echo ready; while :; do sleep 1; done"], log=log, folder=tmp_path)
    note = process.note_of(pid, {})
    _wait_for(lambda: "ready" in log.read_text())
    process.stop(note, patience_seconds=0.2)
    assert not process.is_alive(note)


def test_stopping_spares_a_process_that_took_over_the_pid(tmp_path: Path) -> None:
    """The note of a dead server must not end whoever has its pid today."""
    pid = process.spawn(["/bin/sleep", "60"], log=tmp_path / "a.out", folder=tmp_path)
    note = process.note_of(pid, {})
    try:
        process.stop(Note(pid=pid, birth="boot:1", ports={}), patience_seconds=1)
        assert process.is_alive(note)
    finally:
        os.kill(pid, signal.SIGKILL)


def _wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)
