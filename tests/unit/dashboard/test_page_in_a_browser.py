"""The page as a browser draws it: hostile names stay text, nothing but our scripts runs, and a reader can look closer."""

import re
import time
from collections.abc import Callable
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from deploy.grafana.panels import Kind
from pipeline.dashboard import render
from pipeline.dashboard.charts import Moment
from pipeline.dashboard.query import Answer, Choices
from pipeline.dashboard.text import number
from tests.browser import CHROMIUM, DARK, NONE_HERE, Tab, opened
from tests.unit.dashboard.test_render import HOUR, ROWS, T0, board, page, panel

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason=NONE_HERE)

CHARTS: tuple[Kind, ...] = ("timeseries", "barchart", "heatmap", "state-timeline")
OWNED = "document.title='owned'"
HOSTILE = f'</script><script>{OWNED}</script><img src=x onerror="{OWNED}">{{a|b}}'
HOSTILE_ROWS: dict[Kind, Answer] = {
    "timeseries": Answer(("time", "name", "value"), tuple((T0 + timedelta(minutes=at), HOSTILE, 5.0) for at in range(0, 61, 5))),
    "barchart": Answer(("name", HOSTILE), ((HOSTILE, 1), ("x", 2))),
    "heatmap": Answer(("time", "name", "value"), ((T0, HOSTILE, 1), (T0 + timedelta(minutes=30), HOSTILE, 9))),
    "state-timeline": Answer(("time", "job"), ((T0, HOSTILE), (T0 + timedelta(minutes=50), "b"))),
}
CHART = "document.querySelectorAll('.chart')[{}]"


def visit(text: str, folder: Path, steps: Callable[[Tab], Any], *options: str, without_script: bool = False) -> Any:
    """What the steps find in the page."""
    path = folder / "page.html"
    path.write_text(text, encoding="utf-8")
    with opened(path, folder / "profile", *options, without_script=without_script) as tab:
        return steps(tab)


def hostile_page() -> str:
    """All kinds of charts, every name an attacker's, and what he did marked across them."""
    made = board(*map(panel, CHARTS))
    moments = [Moment(HOUR.from_ms + 1_800_000, HOSTILE, "#d44a3a")]
    answers = zip(made.panels, (HOSTILE_ROWS[kind] for kind in CHARTS), strict=True)
    return render.page(made, answers, Choices({"job": (HOSTILE,)}, {}), HOUR, "trainwatch", moments)


def test_hostile_names_are_drawn_as_text(tmp_path: Path) -> None:
    """On axes, in legends and tooltips, in each kind of chart: read as written, and nothing of it runs or is loaded."""

    def steps(tab: Tab) -> None:
        for chart, kind in enumerate(CHARTS):
            x, y = tab.middle(CHART.format(chart))
            shown = set()
            for aside in (-60, -40, -20, -2, 20, 40, 60):
                tab.mouse("mouseMoved", x + aside, y)
                tab.mouse("mouseMoved", x + aside + 1, y + 1)
                shown |= set(tab.texts(chart))
            assert any(f"</script><script>{OWNED}" in each for each in shown), (kind, shown)
        assert tab.ask("document.querySelectorAll('img, .chart script').length") == 0
        assert tab.ask("document.title") == "trainwatch: X"
        assert tab.console == []

    visit(hostile_page(), tmp_path, steps)


@pytest.mark.parametrize("guarded", [True, False])
def test_the_policy_stops_what_escaping_would_miss(tmp_path: Path, *, guarded: bool) -> None:
    """Script, handler and link written into the page as they are: refused, and said so.  Without the policy they run: the trial is one."""
    planted = f'<script>{OWNED}</script><img src="x" onerror="{OWNED}"><svg onload="{OWNED}"></svg>'
    text = hostile_page().replace("<main>", f"<main>{planted}")
    text = text if guarded else re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", text)

    def steps(tab: Tab) -> tuple[str, int]:
        time.sleep(0.3)
        return tab.ask("document.title"), sum("Content Security Policy" in each for each in tab.console)

    title, refused = visit(text, tmp_path, steps)
    assert (title, refused >= 3) == (("trainwatch: X", True) if guarded else ("owned", False))


def test_every_kind_is_drawn_and_described(tmp_path: Path) -> None:
    """As SVG with something in it, with a description for who does not see it; its table of values is folded away; the console is empty."""

    def steps(tab: Tab) -> None:
        for chart in range(len(CHARTS)):
            assert tab.ask(f"document.querySelectorAll('.chart')[{chart}].querySelectorAll('svg path').length") > 2
        labels = tab.ask("[...document.querySelectorAll('.chart')].map(e => e.getAttribute('aria-label'))")
        assert all("chart" in each for each in labels), labels
        assert tab.ask("document.querySelectorAll('details.values[open]').length") == 0
        assert tab.console == []

    visit(page(board(*map(panel, CHARTS)), *(ROWS[kind] for kind in CHARTS)), tmp_path, steps)


def test_on_a_narrow_screen_panels_stand_below_one_another(tmp_path: Path) -> None:
    """Each over the whole width and as high as before: a quarter of it would cut numbers off."""

    def steps(tab: Tab) -> None:
        places = tab.ask(
            "[...document.querySelectorAll('section')].map(e => e.getBoundingClientRect()).map(r => [r.left, r.top, r.width, r.height])"
        )
        assert {left for left, *_ in places} == {12}
        assert all(width > 500 for _, _, width, _ in places)
        assert all(one[1] + one[3] < other[1] for one, other in pairwise(places))
        assert places[0][3] == pytest.approx(4 * 30 + 3 * 8, abs=1)

    stats = [panel("stat", height=4, width=6) for _ in range(4)]
    visit(page(board(*stats), *[ROWS["stat"]] * 4), tmp_path, steps, "--window-size=600,1600")


def test_without_script_the_values_are_a_table(tmp_path: Path) -> None:
    """Open, and in sight."""

    def steps(tab: Tab) -> None:
        assert tab.ask("document.querySelectorAll('.chart svg').length") == 0
        assert tab.ask("document.querySelectorAll('details.values[open]').length") == len(CHARTS)
        assert tab.ask("[...document.querySelectorAll('details.values table')].every(e => e.offsetHeight > 20)")

    visit(page(board(*map(panel, CHARTS)), *(ROWS[kind] for kind in CHARTS)), tmp_path, steps, without_script=True)


def test_a_drag_zooms_all_charts_and_a_double_click_ends_it(tmp_path: Path) -> None:
    """As in Grafana: one period for the page."""
    rows = tuple((T0 + timedelta(minutes=at), "a", float(at)) for at in range(0, 61, 5))
    answer = Answer(("time", "name", "value"), rows)
    text = page(board(panel("timeseries"), panel("heatmap")), answer, answer)

    def steps(tab: Tab) -> None:
        whole = [tab.texts(0), tab.texts(1)]
        x, y = tab.middle(CHART.format(0))
        tab.mouse("mouseMoved", x - 50, y)
        tab.mouse("mousePressed", x - 50, y, button="left", clickCount=1)
        for aside in (0, 30, 60):
            tab.mouse("mouseMoved", x + aside, y, button="left", buttons=1)
        tab.mouse("mouseReleased", x + 60, y, button="left", clickCount=1)
        time.sleep(0.3)
        zoomed = [tab.texts(0), tab.texts(1)]
        for before, after in zip(whole, zoomed, strict=True):
            assert {"11:10", "11:50"} <= set(before)
            assert not {"11:10", "11:50"} & set(after)
            assert any(re.fullmatch(r"11:[23]\d(:\d\d)?", each) for each in after), after
        tab.click(x, y, times=2)
        time.sleep(0.3)
        assert {"11:10", "11:50"} <= set(tab.texts(0)) & set(tab.texts(1))
        assert tab.console == []

    visit(text, tmp_path, steps)


def test_a_mark_does_not_widen_the_axis_of_values(tmp_path: Path) -> None:
    """A loss between 6.3 and 6.4 is a line with a shape, also where a moment is marked."""
    rows = tuple((T0 + timedelta(minutes=at), "loss", 6.3 + at / 600) for at in range(0, 61, 5))
    made, moments = board(panel("timeseries")), [Moment(HOUR.from_ms + 1_800_000, "killed", "#d44a3a")]
    text = render.page(
        made, [(made.panels[0], Answer(("time", "name", "value"), rows))], Choices({"job": ("1",)}, {}), HOUR, "trainwatch", moments
    )
    red = "[...document.querySelectorAll('svg path')].filter(e => e.getAttribute('stroke') === '#d44a3a').length"

    def steps(tab: Tab) -> None:
        assert not {"0", "2", "8"} & set(tab.texts())
        assert tab.ask(red) == 1

    visit(text, tmp_path, steps)


def test_a_name_in_the_legend_hides_its_series(tmp_path: Path) -> None:
    """And the axis fits what is left."""
    rows = tuple((T0 + timedelta(minutes=at), name, value) for at in range(0, 61, 5) for name, value in (("small", 2.0), ("large", 900.0)))
    name = "[...document.querySelectorAll('svg text')].find(e => e.textContent === 'large')"

    def steps(tab: Tab) -> None:
        assert "750" in tab.texts() or "800" in tab.texts()
        tab.click(*tab.middle(name))
        time.sleep(0.3)
        assert not {"750", "800", "600"} & set(tab.texts())

    visit(page(board(panel("timeseries")), Answer(("time", "name", "value"), rows)), tmp_path, steps)


def test_a_tooltip_says_time_name_and_value(tmp_path: Path) -> None:
    """Of a bar, the beginning of its interval; largest first."""
    rows = tuple((T0 + timedelta(minutes=at), name, value) for at in range(0, 60, 20) for name, value in (("a", 1.0), ("b", 7.0)))

    def steps(tab: Tab) -> None:
        x, y = tab.middle(CHART.format(0))
        tab.mouse("mouseMoved", x, y)
        tab.mouse("mouseMoved", x + 2, y)
        time.sleep(0.3)
        shown = tab.texts()
        at = shown.index("2026-03-02 11:20:00Z")
        assert shown[at : at + 3] == ["2026-03-02 11:20:00Z", "b: 7", "a: 1"]

    visit(page(board(panel("timeseries", bars=True)), Answer(("time", "name", "value"), rows)), tmp_path, steps)


@pytest.mark.parametrize(
    ("unit", "values"),
    [
        ("short", (0, 3, 0.25, 0.12345678, 999.5, 12345.6, 1234567)),
        ("percentunit", (0.5, 1)),
        ("bytes", (7, 2048, 5_000_000)),
        ("s", (0, 0.25, 1, 90, 7200, 200_000)),
        ("ms", (250, 61_000)),
        ("h", (1.26, 12345.5)),
        ("cps", (3, 0.7)),
    ],
)
def test_the_script_writes_numbers_as_we_do(tmp_path: Path, unit: str, values: tuple[float, ...]) -> None:
    """One value, one text, wherever it is read."""
    answer = Answer(("name", "value"), tuple((f"n{at}", value) for at, value in enumerate(values)))

    def steps(tab: Tab) -> list[str]:
        return tab.texts()

    shown = visit(page(board(panel("barchart", unit=unit, horizontal=True)), answer), tmp_path, steps)
    assert [number(value, unit) for value in values] == [each for each in shown if not re.fullmatch(r"n\d|value", each)]


def test_dark_and_paper(tmp_path: Path) -> None:
    """Text follows the scheme that the reader asked for; on paper it is dark, and a drawing fits its panel."""
    text = page(board(panel("timeseries", width=24)), ROWS["timeseries"])
    ink = "getComputedStyle(document.querySelector('.chart svg text')).fill"

    def steps(tab: Tab) -> None:
        assert tab.ask(ink) == "rgb(142, 142, 153)"
        tab.call("Emulation.setEmulatedMedia", media="print")
        tab.ask("dispatchEvent(new Event('beforeprint'))")
        assert tab.ask(ink) == "rgb(85, 85, 85)"
        tab.ask("document.querySelector('main').style.width = '600px'")
        assert tab.ask("document.querySelector('.chart svg').getBoundingClientRect().width") < 600
        assert tab.ask("document.querySelector('.values').offsetHeight") == 0

    visit(text, tmp_path, steps, DARK)
