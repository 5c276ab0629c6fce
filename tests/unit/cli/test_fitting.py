"""Tables on narrow terminals: no word is broken while there is room for it on a line of its own."""

import io

import pytest
from rich.console import Console

from pipeline.cli.console import build_table
from pipeline.cli.fitting import Fitted

WHAT = "p03_foreign_cancel (final): job 48344 of u005 was cancelled on the request of somebody else"


def found() -> Fitted:
    table = build_table("Findings", "effect", "id", "severity", "about", "actor", "sure", "what")
    table.columns[5].justify = "right"
    table.add_row("2026-03-02 21:10:28Z", "059fa83fba9f", "high", "job 48344 of u005", "u001", "0.97", WHAT)
    table.add_row("2026-03-06 02:30:56Z", "4fab92f177d9", "medium", "identity u016", "withheld", "0.6", "short")
    return table


def printed(table: Fitted, width: int) -> list[str]:
    page = io.StringIO()
    Console(file=page, width=width, highlight=False).print(table)
    return [line.rstrip() for line in page.getvalue().splitlines()]


def test_what_does_not_fit_stands_on_lines_of_its_own() -> None:
    """The long column goes below its row; the others stay in columns, in one piece."""
    assert printed(found(), 80) == [
        "Findings",
        "effect                id            severity  about              actor     sure",
        "2026-03-02 21:10:28Z  059fa83fba9f  high      job 48344 of u005  u001      0.97",
        "    p03_foreign_cancel (final): job 48344 of u005 was cancelled on the request",
        "    of somebody else",
        "2026-03-06 02:30:56Z  4fab92f177d9  medium    identity u016      withheld   0.6",
        "    short",
    ]


@pytest.mark.parametrize("width", range(20, 200, 7))
def test_nothing_is_wider_than_the_terminal_and_no_word_is_lost(width: int) -> None:
    lines = printed(found(), width)
    assert max(map(len, lines)) <= width
    text = "".join("".join(lines).split())
    for word in ("059fa83fba9f", "2026-03-06", "withheld"):
        assert word in text


def test_several_columns_below_say_which_they_are() -> None:
    lines = printed(found(), 40)
    assert "    what: short" in lines
    assert "    about: identity u016" in lines


def test_a_wide_first_column_stands_above_its_row() -> None:
    """It says what the row is about."""
    table = build_table("", "partition", "read", "written")
    table.add_row("trainwatch.verdicts.v1/0", "617", "617")
    assert printed(table, 30) == ["read  written", "trainwatch.verdicts.v1/0", "617   617"]


def test_where_all_fits_it_is_an_ordinary_table() -> None:
    assert printed(found(), 160)[1].startswith("┏")


def test_cells_of_several_lines_keep_them() -> None:
    table = build_table("", "job", "evidence")
    table.add_row("48344", "cause: request to cancel (slurmctld)\neffect: job ended CANCELLED (slurm_jobcomp)")
    assert printed(table, 34)[1:] == [
        "48344",
        "    cause: request to cancel",
        "    (slurmctld)",
        "    effect: job ended CANCELLED",
        "    (slurm_jobcomp)",
    ]


def test_an_empty_cell_has_no_line() -> None:
    table = build_table("", "stage", "why")
    table.add_row("ingest", "")
    table.add_row("hosts", "no worker reports on 4 partitions, and that is long")
    assert printed(table, 30)[:3] == ["stage", "ingest", "hosts"]


def test_a_column_that_says_nothing_takes_no_room() -> None:
    table = build_table("", "heard", "id", "waiting", "answer", "title")
    table.add_row("2026-11-27 03:20:17Z", "059fa83fba9f", "", "", "cancelled by a non-owner")
    assert printed(table, 50)[:2] == ["heard                 id", "2026-11-27 03:20:17Z  059fa83fba9f"]
