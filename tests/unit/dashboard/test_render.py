"""The page: every kind of panel drawn, hostile text harmless, nothing from outside, the same bytes each time."""

import base64
import hashlib
import json
import re
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from typing import Any

import pytest

from deploy.grafana.panels import Board, Column, Kind, Panel, Variable, to
from pipeline.dashboard import charts, render, script
from pipeline.dashboard.charts import Moment, Series, State
from pipeline.dashboard.definition import Dashboard, _dashboard
from pipeline.dashboard.period import Period
from pipeline.dashboard.query import Answer, Choices
from pipeline.dashboard.text import COLORS, escaped, number, shown, threshold_color

T0 = datetime(2026, 3, 2, 11, tzinfo=UTC)
HOUR = Period(int(T0.timestamp() * 1000), int(T0.timestamp() * 1000) + 3_600_000)
TIMES = "--from 2026-03-02T11:00:00Z --to 2026-03-02T12:00:00Z"
HOSTILE = "</td></section><script>alert(1)</script><img src=x onerror=alert(1)>\"' style=\x1b[2J\u202e &amp; \udcff"

ROWS: dict[Kind, Answer] = {
    "timeseries": Answer(("time", "name", "value"), ((T0, HOSTILE, 1.0), (T0 + timedelta(minutes=5), "b", None))),
    "stat": Answer(("value", HOSTILE, "currency"), ((3, 4.5, HOSTILE),)),
    "table": Answer(("job", "text"), ((HOSTILE, HOSTILE), ("48344", b"\xff bytes"))),
    "barchart": Answer(("name", "a", "b"), ((HOSTILE, 1, 2), ("x", None, 0))),
    "heatmap": Answer(("time", "name", "value"), ((T0, HOSTILE, 1), (T0 + timedelta(minutes=30), "b", 9))),
    "state-timeline": Answer(("time", "job"), ((T0, HOSTILE), (T0 + timedelta(minutes=30), ""), (T0 + timedelta(minutes=40), None))),
}


class Page(HTMLParser):
    """What a browser would see of it: elements that nest as they must, attributes, text."""

    VOID = frozenset({"meta"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = self.panels = ""
        self.codes: list[str] = []  # commands that a reader can copy
        self.charts: list[dict[str, Any]] = []  # what the script draws
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] == ["script"]:
            self.charts = self.charts or (json.loads(data) if data.startswith("[") else [])
            return
        self.text += data
        if self.open[-1:] == ["code"]:
            self.codes.append(data)
        self.panels += data if "section" in self.open and "h2" not in self.open else ""

    def sections(self) -> list[dict[str, str | None]]:
        return [attrs for tag, attrs in self.elements if tag == "section"]


def panel(kind: Kind, **changes: Any) -> Panel:
    """One of a kind, with a link on a column called job."""
    given = {"width": 12, "no_value": "Nothing came", "columns": {"job": Column(link=to("job", job="${__value.raw}"))}, **changes}
    return Panel(kind=kind, title=f"What of {kind}?", description=f"Says: {HOSTILE}.", sql="SELECT 1", **given)


def board(*panels: Panel) -> Dashboard:
    """A dashboard of these, one under the other, as the preview reads it."""
    variables = (Variable(name="job", label="Job", description="A job.", sql="SELECT 1"),)
    made = Board(name="x", title="X", folder="f", description=HOSTILE, variables=variables, rows=[[each] for each in panels])
    return _dashboard(made.as_json())


def page(dashboard: Dashboard, *answers: Answer) -> str:
    """The page of these answers."""
    choices = Choices({"job": (HOSTILE,)}, {})
    return render.page(dashboard, zip(dashboard.panels, answers, strict=True), choices, HOUR, "trainwatch")


@pytest.mark.parametrize("kind", list(ROWS))
def test_hostile_text_stays_text(kind: Kind) -> None:
    """No element, attribute or control character comes from values, in no kind of panel; they are read as they are."""
    text = page(board(panel(kind)), ROWS[kind])
    found = Page(text)
    assert "<script>alert(1)</script>" in found.panels
    assert {tag for tag, _ in found.elements} & {"img", "iframe", "a", "form", "object"} == set()
    assert [tag for tag, _ in found.elements].count("script") == (0 if kind in ("stat", "table") else 3)
    names = {name for _, attrs in found.elements for name in attrs}
    assert not any(name.startswith("on") or name in ("src", "xlink:href") for name in names)
    assert "\x1b" not in text
    assert "\u202e" not in text
    text.encode()


def test_nothing_comes_from_outside() -> None:
    """The policy refuses all but the page's own style; no address of anything stands in it."""
    text = page(board(*map(panel, ROWS)), *ROWS.values())
    found = Page(text)
    policy = policy_of(found)
    assert policy.startswith("default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; script-src 'sha256-")
    assert "unsafe" not in policy.partition("script-src")[2]
    assert [tag for tag, attrs in found.elements if {"href", "src"} & attrs.keys()] == []
    for word in ("http://", "https://", "url(", "@import"):
        assert word not in text.replace(script.LIBRARY.read_text(encoding="utf-8"), "")


def policy_of(found: Page) -> str:
    """What the page lets a browser do."""
    [policy] = [attrs["content"] for tag, attrs in found.elements if tag == "meta" and attrs.get("http-equiv") == "Content-Security-Policy"]
    assert policy is not None
    return policy


def test_two_scripts_may_run_and_no_other() -> None:
    """The policy names the hashes of what stands between the tags: the library as shipped, and our drawing; without charts, none."""
    text = page(board(panel("timeseries")), ROWS["timeseries"])
    sources = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    assert sources == [path.read_text(encoding="utf-8") for path in (script.LIBRARY, script.DRAWING)]
    hashes = [base64.b64encode(hashlib.sha256(each.encode()).digest()).decode() for each in sources]
    assert policy_of(Page(text)).endswith(f"; script-src 'sha256-{hashes[0]}' 'sha256-{hashes[1]}'")
    plain = page(board(panel("table")), ROWS["table"])
    assert "<script" not in plain
    assert "script-src" not in policy_of(Page(plain))


def test_the_library_is_the_one_that_is_named() -> None:
    """By its hash, its version, and with its licence beside it; nothing in it ends a script element."""
    about = json.loads((script.LIBRARY.parent / "about.json").read_text(encoding="utf-8"))
    source = script.LIBRARY.read_bytes()
    assert (about["file"], about["sha256"]) == (script.LIBRARY.name, hashlib.sha256(source).hexdigest())
    assert f't.version="{about["version"]}"'.encode() in source
    assert not re.search(rb"</script|<!--|<script|\r", source, re.IGNORECASE)
    assert "Apache License" in (script.LIBRARY.parent / "LICENSE").read_text(encoding="utf-8")
    assert "Apache ECharts" in (script.LIBRARY.parent / "NOTICE").read_text(encoding="utf-8")


@pytest.mark.parametrize("kind", list(ROWS))
def test_each_kind_is_drawn(kind: Kind) -> None:
    """As a chart with the table of its values, a table or a number."""
    found = Page(page(board(panel(kind)), ROWS[kind]))
    assert [each["data-state"] for each in found.sections()] == ["filled"]
    drawn = kind not in ("table", "stat")
    assert len(found.charts) == drawn
    assert ({"data-chart": "0", "class": "chart"} in [attrs for _, attrs in found.elements]) is drawn
    assert ({"class": "values", "open": None} in [attrs for _, attrs in found.elements]) is drawn
    assert ("table" in {tag for tag, _ in found.elements}) is (kind != "stat")


@pytest.mark.parametrize("kind", list(ROWS))
def test_an_empty_panel_says_why(kind: Kind) -> None:
    """Its own text for no data."""
    found = Page(page(board(panel(kind)), Answer(ROWS[kind].columns, ())))
    assert [each["data-state"] for each in found.sections()] == ["empty"]
    assert "Nothing came" in found.text


def test_a_stat_without_a_value_is_empty() -> None:
    """NULL is no number."""
    assert "Nothing came" in page(board(panel("stat")), Answer(("value",), ((None,),)))


def test_a_failed_panel_says_so_and_the_others_stay() -> None:
    """With the words of the server, escaped."""
    found = Page(page(board(panel("stat"), panel("table")), Answer((), (), f"Code: 60 {HOSTILE}"), ROWS["table"]))
    assert [each["data-state"] for each in found.sections()] == ["failed", "filled"]
    assert "Code: 60" in found.text


def test_panels_lie_where_grafana_puts_them() -> None:
    """The grid's columns and rows, counted from 1."""
    found = Page(page(board(panel("stat", height=4), panel("table")), ROWS["stat"], ROWS["table"]))
    assert [each["style"] for each in found.sections()] == [
        "grid-column:1/span 12;grid-row:1/span 4;--h:4",
        "grid-column:1/span 12;grid-row:5/span 8;--h:8",
    ]


def test_cells_say_how_they_wrap() -> None:
    """Numbers and short text stay on one line, long text wraps."""
    answer = Answer(("a", "b", "c", "d", "e"), ((1, T0, True, "long " * 20, "long " * 30),))
    found = Page(page(board(panel("table")), answer))
    assert [attrs["class"] for tag, attrs in found.elements if tag == "td"] == ["n", "t", "t", "w", "l"]


def test_a_column_keeps_the_width_that_the_board_gives_it() -> None:
    """As in Grafana: a hash of 64 characters wraps within it, and does not push what stands beside it out of the picture."""
    text = page(board(panel("table", columns={"sha256": Column(width=140)})), Answer(("sha256", "line"), (("ab" * 32, "long " * 40),)))
    cells = [(attrs["class"], attrs.get("style")) for tag, attrs in Page(text).elements if tag == "td"]
    assert cells == [("f", "--w:140px"), ("l", None)]
    assert "td.f{width:var(--w)" in text


def test_a_hidden_column_serves_links_alone() -> None:
    """Neither its heading nor its values are there; a link of another column is filled from it."""
    columns = {"id": Column(link=to("incident", finding="${__data.fields.finding}")), "finding": Column(hidden=True)}
    answer = Answer(("id", "finding", "count"), (("48f4", "48f4f8006304", 2),))
    found = Page(page(board(panel("table", columns=columns)), answer))
    assert found.codes == [f"trainwatch dashboard incident --var finding=48f4f8006304 {TIMES}"]
    assert [tag for tag, _ in found.elements if tag in ("th", "td")] == ["th"] * 2 + ["td"] * 2
    assert "48f4f8006304" not in found.text.replace(found.codes[0], "")


def test_a_link_becomes_the_command_that_shows_it() -> None:
    """In full, with the site and the time, as text that can be copied without script; quoted for a shell where needed."""
    assert f"trainwatch dashboard job --var job=48344 {TIMES}" in Page(page(board(panel("table")), ROWS["table"])).codes
    answer = Answer(("job",), (("a b'; rm -rf x",),))
    assert Page(page(board(panel("table")), answer)).codes == [f"trainwatch dashboard job --var job='a b'\\''; rm -rf x' {TIMES}"]
    choices = Choices({"job": ("1",), "cluster": ("main", "b c")}, {})
    text = render.page(board(panel("table")), [(panel_of(answer), answer)], choices, HOUR, "trainwatch --settings site.yaml")
    (code,) = Page(text).codes
    assert code.startswith("trainwatch --settings site.yaml dashboard job ")
    assert code.endswith(f" --var cluster=main --var cluster='b c' {TIMES}")


def panel_of(answer: Answer) -> Any:
    """Of a board, with a link on its first column."""
    return board(panel("table", columns={answer.columns[0]: Column(link=to("job", job="${__value.raw}"))})).panels[0]


@pytest.mark.parametrize("kind", ["timeseries", "state-timeline"])
def test_moments_are_marked_within_the_period(kind: Kind) -> None:
    """Across panels over time, before what they show, with what they were, harmless."""
    moments = [Moment(HOUR.from_ms + 60_000, HOSTILE, "#d44a3a"), Moment(HOUR.to_ms + 1, "later", "#d44a3a")]
    made = board(panel(kind))
    text = render.page(made, [(made.panels[0], ROWS[kind])], Choices({"job": ("1",)}, {}), HOUR, "trainwatch", moments)
    [chart] = Page(text).charts
    assert [each[0] for each in chart["moments"]] == [HOUR.from_ms + 60_000]
    assert "<script>alert(1)</script>" in chart["moments"][0][1]
    assert "later" not in text
    assert "<script>alert" not in text


def test_the_same_answers_give_the_same_bytes() -> None:
    """No clock, no order of sets."""
    assert page(board(*map(panel, ROWS)), *ROWS.values()) == page(board(*map(panel, ROWS)), *ROWS.values())


@pytest.mark.parametrize(
    ("value", "unit", "decimals", "text"),
    [
        (1234567, "short", None, "1,234,567"), (0.12345678, "short", None, "0.1235"), (0.5, "percentunit", None, "50.0 %"),
        (0.99999, "percentunit", 3, "99.999 %"), (2048, "bytes", None, "2.0 KiB"), (7, "bytes", None, "7 B"), (90, "s", None, "1.5 min"),
        (7200, "s", None, "2 h"), (0, "s", None, "0 s"), (250, "ms", None, "250 ms"), (1.26, "h", 1, "1.3 h"), (3, "cps", None, "3/s"),
        (float("nan"), "short", None, ""),
    ],
)  # fmt: skip
def test_numbers_with_their_units(value: float, unit: str, decimals: int | None, text: str) -> None:
    """As short as they can be read."""
    assert number(value, unit, decimals) == text


def test_values_as_text() -> None:
    """Times in UTC, truth as yes and no, lists by comma, NULL as nothing."""
    assert [shown(value, {}) for value in (T0, True, None, ("a", 1), b"\xff")] == ["2026-03-02 11:00:00", "yes", "", "a, 1", "\\xff"]


def test_escaping_keeps_what_can_be_read() -> None:
    """One line, cut at its length."""
    assert escaped("a<b>\n\"'&", 100) == "a&lt;b&gt; &quot;&#x27;&amp;"
    assert escaped("x" * 50, 10) == "x" * 9 + "…"


def test_a_number_takes_the_colour_of_its_step() -> None:
    """The highest that it reaches."""
    field = {"thresholds": {"steps": [{"value": None, "color": "green"}, {"value": 1, "color": "red"}]}}
    assert threshold_color(0.5, field) != threshold_color(1, field)


def _light(red: float, green: float, blue: float) -> float:
    """Relative luminance of WCAG 2, of channels from 0 to 1."""
    linear = (each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in (red, green, blue))
    return sum(share * each for share, each in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def _channels(hexadecimal: str) -> list[float]:
    wide = hexadecimal if len(hexadecimal) == 7 else "#" + "".join(each * 2 for each in hexadecimal[1:])
    return [int(wide[at : at + 2], 16) / 255 for at in (1, 3, 5)]


@pytest.mark.parametrize("color", [each for each in COLORS.values() if each != "none"])
@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize(("words", "least"), [("td,.failed", 4.5), (".stat>div", 3.0)])
def test_coloured_words_can_be_read(color: str, theme: int, words: str, least: float) -> None:
    """WCAG 2.1 asks for so much between text and ground, large text and other: our purple on dark has 2.9, our yellow on white 2.6."""
    ground, ink = (_channels(re.findall(rf"--{name}:(#\w+)", render.STYLE)[theme]) for name in ("panel", "ink"))
    mixed = r"\{color:color-mix\(in srgb,var\(--c,var\(--ink\)\) (\d+)%,var\(--ink\)\)\}"
    (percent,) = re.findall(re.escape(words) + mixed, render.STYLE)
    share = int(percent) / 100
    red, green, blue = (share * one + (1 - share) * other for one, other in zip(_channels(color), ink, strict=True))
    darker, lighter = sorted((_light(red, green, blue), _light(*ground)))
    assert (lighter + 0.05) / (darker + 0.05) >= least


def test_colours_of_words_are_mixed_by_the_style() -> None:
    """As its variable: a fixed colour would pass it by.  A text beside a number has none."""
    text = page(board(panel("stat")), Answer(("value", "currency"), ((3, "CNY"),)))
    assert len(re.findall(r'<div style="--c:#[0-9a-f]{6}">', text)) == 1
    assert "<div>CNY" in text
    assert 'style="color:' not in text


def test_the_period_is_told_to_the_second() -> None:
    """Its milliseconds are nobody's question; links keep them."""
    choices = Choices({"job": ("48344",)}, {})
    dashboard, period = board(panel("table")), Period(HOUR.from_ms + 886, HOUR.to_ms + 886)
    text = render.page(dashboard, [(dashboard.panels[0], ROWS["table"])], choices, period, "trainwatch")
    assert "<p>2026-03-02 11:00:00 to 2026-03-02 12:00:00 UTC" in text


def test_states_last_until_the_next_one() -> None:
    """An empty text ends a state; what lies outside of the period is cut."""
    start = HOUR.from_ms
    states = [State(start - 10, "before", "#111"), State(start + 600_000, "", "none"), State(start + 1_800_000, "running", "#222")]
    chart = charts.state_timeline({"job": states}, HOUR)
    assert [each["spans"] for each in chart.drawing["series"]] == [[[start, start + 600_000, 0]], [[start + 1_800_000, HOUR.to_ms, 0]]]
    assert [row[2:] for row in chart.rows] == [("job", "before"), ("job", "running")]


def test_bars_that_stand_on_one_another_have_the_same_times() -> None:
    """The library stacks by position: a series without a value there has a gap."""
    first, second = Series("a", "#111", [(HOUR.from_ms, 2.0)]), Series("b", "#222", [(HOUR.from_ms, 1.0), (HOUR.from_ms + 60_000, 3.0)])
    chart = charts.time_series([first, second], HOUR, unit="short", bars=True, stacked=True)
    times = [HOUR.from_ms, HOUR.from_ms + 60_000]
    assert [[at for at, _ in each["points"]] for each in chart.drawing["series"]] == [times, times]
    assert chart.drawing["series"][0]["points"][1] == [times[1], None]
    assert chart.drawing["step"] == 60_000
    assert chart.rows == [["2026-03-02 11:00:00Z", "2", "1"], ["2026-03-02 11:01:00Z", "", "3"]]


def test_a_darker_cell_is_more() -> None:
    """By the square root; nothing and no number are no cell."""
    points = [(HOUR.from_ms, 1.0), (HOUR.from_ms + 60_000, 4.0), (HOUR.from_ms + 120_000, 0.0), (HOUR.from_ms + 180_000, float("nan"))]
    cells = charts.heat_map([Series("a", "#111", points)], HOUR, "short").drawing["cells"]
    assert [(cell[2:]) for cell in cells] == [[0, 1.0, 0.575], [0, 4.0, 1.0]]


def test_what_is_no_number_is_a_gap() -> None:
    """JSON has neither NaN nor infinity."""
    points = [(HOUR.from_ms, float("nan")), (HOUR.from_ms + 1, float("inf")), (HOUR.from_ms + 2, 1.0)]
    chart = charts.time_series([Series("a", "#111", points)], HOUR, unit="short", bars=False, stacked=False)
    assert [value for _, value in chart.drawing["series"][0]["points"]] == [None, None, 1.0]
    assert "NaN" not in script.scripts([chart.drawing]).replace(script.LIBRARY.read_text(encoding="utf-8"), "").split("</script>")[0]


def test_several_values_of_a_stat_have_names() -> None:
    """Low, middle and high side by side, a missing one as a dash; a single one stands alone."""
    several = page(board(panel("stat", unit="h")), Answer(("low", "high", "currency"), ((None, 8.0, HOSTILE),)))
    assert [word in Page(several).text for word in ("-low", "8.0 hhigh")] == [True, True]
    assert "<small>" not in page(board(panel("stat")), Answer(("value",), ((3,),)))


def test_numbers_and_their_headings_are_on_one_side() -> None:
    """A column with a number in any row is one of numbers."""
    text = page(board(panel("table")), Answer(("text", "count"), (("a", None), ("b", 2))))
    assert "<th>text</th>" in text
    assert '<th class="n">count</th>' in text


def test_each_state_is_once_in_the_legend() -> None:
    """With its colour; no state has none."""
    rows = ((T0, "running"), (T0 + timedelta(minutes=5), ""), (T0 + timedelta(minutes=9), "running"))
    [chart] = Page(page(board(panel("state-timeline", states={"running": "green"})), Answer(("time", "job"), rows))).charts
    assert [(each["name"], each["color"], len(each["spans"])) for each in chart["series"]] == [("running", "#3d9950", 2)]


def test_counts_have_whole_steps() -> None:
    """Half a finding is not on an axis; shares keep their fractions."""
    counts = [Series("a", "#000", [(HOUR.from_ms, 1.0), (HOUR.to_ms, 2.0)])]
    shares = [Series("a", "#000", [(HOUR.from_ms, 1.5)])]
    assert [charts.time_series(each, HOUR, unit="short", bars=True, stacked=True).drawing["whole"] for each in (counts, shares)] == [
        True,
        False,
    ]
