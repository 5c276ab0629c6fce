"""What servers answer with, asked for again and again in; what is new, or all of it anew, out, until Ctrl-C: for `--follow`."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext, suppress
from typing import TYPE_CHECKING, TypeVar

from pipeline.cli import say
from pipeline.cli.asking import Row
from pipeline.errors import TransientError

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

ROWS_MAX = 100_000  # among which news are looked for: an old one may become final, or be taken back
POLL_SECONDS = 2.0

Found = TypeVar("Found")


class Seen:
    """What was said of each id; revisions that change none of `tells` are not news."""

    def __init__(self, id_: str, tells: Sequence[str]) -> None:
        self._id, self._tells = id_, tells
        self._said: dict[str, tuple[object, ...]] = {}

    def news(self, rows: Iterable[Row]) -> Iterator[Row]:
        """Those that are new, or say something else than before."""
        for row in rows:
            said = tuple(row[name] for name in self._tells)
            if self._said.get(row[self._id]) != said:
                self._said[row[self._id]] = said
                yield row


def follow(ask: Callable[[], list[Row]], show: Callable[[list[Row]], None], seen: Seen, shown: Iterable[Row]) -> None:
    """Show what is new, until Ctrl-C; a server that is away is asked again.  `shown`: what was shown, or left out, before."""
    list(seen.news(shown))
    with suppress(KeyboardInterrupt):
        while True:
            time.sleep(POLL_SECONDS)
            try:
                show(list(seen.news(ask())))
            except TransientError as error:
                say(f"{error}; asking again")


def watch(
    look: Callable[[], Found],
    tell: Callable[[Found], None],
    shown: Callable[[Found], "RenderableType"],
    *,
    console: "Console | None" = None,
    seconds: float = POLL_SECONDS,
) -> Found | None:
    """Look again every so many seconds until Ctrl-C; answers with what was seen last.

    With a terminal as `console` it is `shown` there in place; else each look is told after the other.
    """
    from rich.live import Live  # noqa: PLC0415  keeps --help quick

    found: Found | None = None
    with suppress(KeyboardInterrupt), Live(console=console, auto_refresh=False) if console else nullcontext() as live:
        while True:
            try:
                found = look()
                if live is None:
                    tell(found)
                else:
                    live.update(shown(found), refresh=True)
            except TransientError as error:
                say(f"{error}; asking again")
            time.sleep(seconds)
    return found
