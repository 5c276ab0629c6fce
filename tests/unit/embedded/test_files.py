"""Locks, logs and sizes."""

from pathlib import Path

import pytest

from pipeline.embedded import files
from pipeline.embedded.files import MIB
from pipeline.errors import ServerFailed


def test_a_long_log_becomes_the_one_older_log(tmp_path: Path) -> None:
    """At most two files, however often the server starts."""
    log = tmp_path / "kafka.out"
    for content in ("first" * 10, "second" * 10, "short"):
        log.write_text(content)
        files.rotate(log, bytes_max=20)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"kafka.out": "short", "kafka.out.1": "second" * 10}


def test_a_missing_log_needs_no_rotation(tmp_path: Path) -> None:
    """The first start."""
    files.rotate(tmp_path / "kafka.out")
    assert files.tail(tmp_path / "kafka.out") == ""


def test_the_tail_is_the_last_lines(tmp_path: Path) -> None:
    """Bounded, whatever the log is like."""
    log = tmp_path / "kafka.out"
    log.write_bytes(b"x" * 50_000 + b"\nnext to last\n\xff last \n")
    assert files.tail(log, lines_max=2) == "next to last\n\ufffd last "
    assert len(files.tail(log)) < 400


def test_holes_in_files_do_not_count_as_used(tmp_path: Path) -> None:
    """Kafka's index files are long and nearly empty; a quota on lengths would refuse to start an empty broker."""
    with (tmp_path / "index").open("wb") as index:
        index.truncate(100 * MIB)
    (tmp_path / "segment").write_bytes(b"x" * 3 * MIB)
    assert files.used_mib(tmp_path) == 3


def test_room_is_told_for_a_folder_that_is_not_there_yet(tmp_path: Path) -> None:
    """It is asked before anything is made."""
    assert files.free_mib(tmp_path / "not" / "yet") == pytest.approx(files.free_mib(tmp_path), rel=0.05)


def test_a_second_holder_of_a_lock_is_told_to_wait(tmp_path: Path) -> None:
    """The lock is taken by the open file, so the second one here is like a second process."""
    lock = tmp_path / "run" / "lock"
    told: list[str] = []

    class Stop(Exception):
        """Ends the wait, which would be for ever in one thread."""

    def stop(line: str) -> None:
        told.append(line)
        raise Stop

    with files.exclusive(lock, say=told.append), pytest.raises(Stop), files.exclusive(lock, say=stop):
        pytest.fail("two holders")
    with files.exclusive(lock, say=stop):
        assert len(told) == 1
    assert str(lock) in told[0]


def test_the_folder_of_the_servers_is_closed_to_others(tmp_path: Path) -> None:
    """Records lie there; one that was open before is closed, and a file in its place is told."""
    (tmp_path / "open").mkdir(mode=0o755)
    for name in ("open", "new"):
        files.private(tmp_path / name)
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o700
    (tmp_path / "file").touch()
    for taken in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(ServerFailed, match="cannot make") as refused:
            files.private(taken)
        assert "embedded.directory" in refused.value.advice
