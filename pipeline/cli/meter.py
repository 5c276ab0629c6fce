"""What a command that takes more than a moment shows while it works: what, how much, how fast, and how long it will still take.

One line on the terminal, gone at the end.  Nothing where standard error is not a terminal, nor where JSON was asked for.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.cli.console import stderr

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


class Meter:
    """The line."""

    def __init__(self, bar: "Progress", task: "TaskID") -> None:
        self._bar, self._task = bar, task
        self.begin()

    def begin(self, done: int = 0) -> None:
        """From here on rates are told: what was done before, and how long it took, counts for none."""
        self._begun, self._before = time.monotonic(), done

    def tell(self, text: str, done: int = 0, total: int | None = None) -> None:
        """What is being done, and how far; where it will end is unknown without `total`."""
        self._bar.update(self._task, description=text, completed=done, total=total)

    def count(self, doing: str, unit: str, done: int, total: int) -> None:
        """The same, of `unit`s: with their rate, once there are two numbers to tell it.  Another total begins anew."""
        if self._bar.tasks[0].total != total:
            self.begin(done)
        rate = f", {self.rate(done)}/s" if done != self._before else ""
        self.tell(f"{doing}: {done:,} of {total:,} {unit}{rate}", done, total)

    def rate(self, done: int) -> str:
        """So many in a second."""
        return f"{(done - self._before) / max(time.monotonic() - self._begun, 0.001):,.0f}"


class FilesRead:
    """How much of some files was read; called with every further size."""

    def __init__(self, files: Sequence[Path]) -> None:
        self.done, self.total = 0, sum(file.stat().st_size for file in files) or None

    def __call__(self, size: int) -> None:
        self.done += size


@contextmanager
def meter(doing: str, *, quiet: bool = False) -> Iterator[Meter]:
    """A line while the block lasts."""
    from rich import progress  # noqa: PLC0415  keeps --help quick

    console = stderr()
    words = progress.SpinnerColumn(), progress.TextColumn("{task.description}"), progress.TaskProgressColumn()
    times = progress.TimeElapsedColumn(), progress.TimeRemainingColumn()
    with progress.Progress(*words, *times, console=console, transient=True, disable=quiet or not console.is_terminal) as bar:
        yield Meter(bar, bar.add_task(doing, total=None))
