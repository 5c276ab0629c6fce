"""Text for people: everything that comes from records is made harmless before it reaches a terminal.

Log content is written by attackers: control characters could rewrite the screen, brackets could become markup.
"""

import shlex
import shutil
import sys
import unicodedata
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.text import Text

from pipeline.cli.fitting import Fitted

CELL_MAX = 200
FILE_WIDTH = 160


def safe(text: object, length: int = CELL_MAX) -> str:
    """One line without control characters or markup, cut at `length`."""
    plain = "".join(" " if char in "\t\r\n" else char for char in str(text)[: length * 2])
    plain = "".join(char if unicodedata.category(char)[0] != "C" else "�" for char in plain)
    marked = escape(plain if len(plain) <= length else plain[: length - 1] + "…")
    # An odd backslash at the end would eat the markup that follows it; rich sees to a single one only.
    return marked + "\\" if (len(marked) - len(marked.rstrip("\\"))) % 2 else marked


def confidence(score: float, withheld: str) -> str:
    """In words where no actor is named: a bare number would read as confidence in a person.  `withheld` is why there is no name."""
    return f"{score:.2f} in the act; no name: {safe(withheld)}" if withheld else f"{score:.2f}"


def invocation() -> str:
    """How this program was called, for commands that a reader can paste: `trainwatch` only where the shell finds this one by that name."""
    called = Path(sys.argv[0])
    if called.name == "__main__.py":
        return f"{shlex.quote(sys.executable)} -m pipeline"
    found = shutil.which(called.name)
    found_here = found is not None and called.exists() and Path(found).samefile(called)
    return shlex.quote(called.name if found_here else str(called))


def moment(time: datetime | int | None) -> str:
    """UTC, to the second, of milliseconds or of what ClickHouse answers."""
    if time is None or (isinstance(time, int) and time < 0):
        return "-"
    return f"{datetime.fromtimestamp(time / 1000, UTC) if isinstance(time, int) else time:%Y-%m-%d %H:%M:%S}Z"


def build_table(title: str, *columns: str) -> Fitted:
    """A table whose cells wrap, or stand below one another where it is too narrow for them."""
    table = Fitted(title=title, title_justify="left", title_style="bold", expand=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def write(console: Console, markup: str, indent: int = 2) -> None:
    """A paragraph, all lines of which begin at the same place."""
    for line in Text.from_markup(markup, emoji=False).wrap(console, max(console.width - indent, 1), overflow="fold"):
        line.rstrip()
        console.print(Text(" " * indent).append_text(line), soft_wrap=True)


def stdout() -> Console:
    """Where results go; into a file as wide as a wide terminal."""
    plain = Console(highlight=False, emoji=False)  # `:name:` in a log line is text
    return plain if plain.is_terminal else Console(highlight=False, emoji=False, width=FILE_WIDTH)


def stderr() -> Console:
    """Where progress goes."""
    return Console(stderr=True, highlight=False, emoji=False)
