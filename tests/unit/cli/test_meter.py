"""What a terminal shows of work that takes a while, and that nothing else sees it."""

import io
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from pipeline.cli import meter as metering
from pipeline.cli.meter import FilesRead, meter
from pipeline.cli.replay import DRAWN_EVERY, file_options, metered
from pipeline.runtime.files import read_files
from pipeline.settings import Settings

LINE = "type=SYSCALL msg=audit(1772451641.{:03}:9001): arch=c000003e syscall=62 success=yes exit=0 a0=1267 a1=9 pid=912 auid=5017 uid=0\n"


@pytest.fixture(name="page")
def page_(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """A terminal instead of standard error."""
    page = io.StringIO()
    monkeypatch.setattr(metering, "stderr", lambda: Console(file=page, width=160, force_terminal=True, color_system=None))
    return page


def test_a_count_tells_share_rate_and_the_time_that_is_left(page: io.StringIO) -> None:
    """Of each of two things that are counted one after the other."""
    with meter("asking") as line:
        for total in (400, 10):
            for done in (total // 4, total // 2, total):
                line.count("comparing", "records", done, total)
    shown = page.getvalue()
    assert "comparing: 10 of 10 records" in shown
    assert re.search(r"of 10 records, [0-9,]+/s ", shown)
    assert "100%" in shown
    assert "100% 0:00:00 0:00:00" in shown  # so long, and so long still


def test_a_rate_is_that_of_the_work(page: io.StringIO, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What it took to connect before is none of it; by one number alone none is known."""
    now, shown = 0.0, []
    monkeypatch.setattr(metering, "time", SimpleNamespace(monotonic=lambda: now))
    with meter("asking") as line:
        for passed, doing, done, total in ((100, "rows", 7, 400), (2, "rows", 27, 400), (100, "letters", 0, 50), (1, "letters", 5, 50)):
            now += passed
            line.count("comparing", doing, done, total)
            shown.append(line._bar.tasks[0].description)
    assert shown == [
        "comparing: 7 of 400 rows", "comparing: 27 of 400 rows, 10/s", "comparing: 0 of 50 letters", "comparing: 5 of 50 letters, 5/s",
    ]  # fmt: skip
    file = tmp_path / "a.log"
    file.write_text("".join(LINE.format(number) for number in range(DRAWN_EVERY)))
    options = file_options(source="", host="gpu-012", topic="", collected=None)
    with metered("sending", read_files([file], options, Settings())) as records:
        now += 100
        next(records)
        now += 0.5
        assert sum(1 for _ in records) == DRAWN_EVERY - 1
    assert f", {2 * DRAWN_EVERY:,} records/s" in page.getvalue()


def test_nothing_is_shown_to_a_program(page: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    """With JSON, and where standard error goes into a file."""
    with meter("asking", quiet=True) as line:
        line.count("comparing", "records", 1, 2)
    assert not page.getvalue()
    monkeypatch.setattr(metering, "stderr", lambda: Console(file=page, width=160, force_terminal=False))
    with meter("asking") as line:
        line.count("comparing", "records", 1, 2)
    assert "comparing" not in page.getvalue()


def test_files_are_read_to_their_whole_size(page: io.StringIO, tmp_path: Path) -> None:
    """Once, though a reader looks into them before; a terminal sees how fast, and how much is left."""
    files = [tmp_path / "a.log", tmp_path / "b.log"]
    for file in files:
        file.write_text("".join(LINE.format(number) for number in range(DRAWN_EVERY)))
    read = FilesRead(files)
    options = file_options(source="", host="gpu-012", topic="", collected=None)
    with metered("sending", read_files(files, options, Settings(), read), read) as records:
        assert sum(1 for _ in records) == 2 * DRAWN_EVERY
    assert read.done == read.total == sum(file.stat().st_size for file in files)
    assert f"sending: {2 * DRAWN_EVERY:,} records" in page.getvalue()
    assert "%" in page.getvalue()
