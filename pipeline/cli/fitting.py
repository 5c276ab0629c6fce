"""A table in; one that can be read on a narrow terminal out.

A table whose columns do not fit breaks words into columns of seven letters.  Here the widest cells stand on lines of their own instead:

    effect                id            severity
    2026-03-02 21:10:28Z  059fa83fba9f  high
        job 48344 of u005 was cancelled on the request of somebody else

A column is long where its cells take more than `LONG` places: such a one may wrap, down to that width.  The others stay in one piece, since
they are looked for and pasted.  The first column says what the row is about: if it has to go, it goes above.

Holds: no line is wider than the terminal; where all fits, it is an ordinary table.
"""

from collections.abc import Iterator, Mapping, Sequence

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

LONG = 30  # places
BORDERS = 3  # of each column: a line, and a space on both sides
GAP, INDENT = 2, 4


class Fitted(Table):
    """A table of cells of text."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """As an ordinary table where it fits."""

        def text(cell: RenderableType | None) -> Text:
            return cell if isinstance(cell, Text) else console.render_str(str(cell or ""), highlight=False, emoji=False)

        cells = [[text(cell) for cell in column.cells] for column in self.columns]
        heads = [text(column.header if self.show_header else "") for column in self.columns]
        widths = [max(map(_width, (head, *each))) for head, each in zip(heads, cells, strict=True)]
        if sum(min(width, LONG) + BORDERS for width in widths) + 1 <= options.max_width:
            for column, width in zip(self.columns, widths, strict=True):
                column.min_width = min(width, LONG)
            yield from super().__rich_console__(console, options)
        else:
            yield from _bold(text(self.title))
            yield from self._narrow(heads, cells, widths, options.max_width)
            yield from (text(self.caption),) if self.caption else ()

    def _narrow(self, heads: Sequence[Text], cells: Sequence[Sequence[Text]], widths: Sequence[int], room: int) -> Iterator[RenderableType]:
        """Rows of what stands beside one another, each with what stands above and below it; columns that say nothing are left out."""
        rugged = {at for at, each in enumerate(cells) if any("\n" in cell.plain for cell in each)}
        beside = {at: width for at, width in enumerate(widths) if any(cell.plain for cell in cells[at])}
        while len(beside) > 1 and (rugged & beside.keys() or sum(beside.values()) + GAP * (len(beside) - 1) > room):
            del beside[max(beside, key=lambda at: (at in rugged, beside[at], at))]
        below = [at for at in range(1, len(widths)) if at not in beside]
        yield from _bold(self._line([heads[at] for at in beside], beside))
        for row in range(self.row_count):
            if 0 not in beside:
                yield cells[0][row]
            yield self._line([cells[at][row] for at in beside], beside)
            for at in below:
                if cells[at][row].plain:
                    name = f"{heads[at].plain or self.columns[at].header}: " if len(below) > 1 and self.columns[at].header else ""
                    yield Padding(Text.assemble(name, cells[at][row], overflow="fold"), (0, 0, 0, INDENT))

    def _line(self, cells: Sequence[Text], beside: Mapping[int, int]) -> Text:
        padded = []
        for cell, (at, width) in zip(cells, beside.items(), strict=True):
            space = " " * max(width - cell.cell_len, 0)
            padded.append(Text.assemble(*((space, cell) if self.columns[at].justify == "right" else (cell, space))))
        line = Text(" " * GAP, overflow="fold").join(padded)
        line.rstrip()
        return line


def _width(text: Text) -> int:
    return max(map(cell_len, text.plain.splitlines()), default=0)


def _bold(line: Text) -> Iterator[Text]:
    """A heading, if it says anything."""
    if line.plain.strip():
        line.stylize("bold")
        yield line
