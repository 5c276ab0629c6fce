"""A dashboard with its answers in, one self-contained HTML page out.

Panels lie on Grafana's grid of 24 columns.  No address of anything outside, and a content security policy that lets the two scripts of
`script.py` draw the charts and refuses everything else; links to other dashboards become the command that shows them, which unfolds below
the value and can be copied.  A panel says what it asks, why it is empty or that it failed.  Without script each chart is the table of its
values.

Holds: nothing but `escaped` text and our own numbers goes into the page's HTML, data of charts only as JSON without a `<`; the same answers
give the same bytes.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pipeline.dashboard import charts, script
from pipeline.dashboard.charts import Chart, Moment, Series, State
from pipeline.dashboard.definition import ALL, Dashboard, Panel
from pipeline.dashboard.period import Period
from pipeline.dashboard.query import Answer, Choices
from pipeline.dashboard.text import color_of, escaped, mapped_color, moment, shown, threshold_color

CLUSTER = "cluster"  # the variable that links take along
TABLE_ROWS_MAX = 500
CHARTS = ("timeseries", "barchart", "heatmap", "state-timeline")
CELL_CLASSES = {"t": 40, "w": 120}  # characters: on one line, narrow; longer text gets a wide column

STYLE = """
:root{color-scheme:light dark;--bg:#f4f5f7;--panel:#fff;--ink:#22252b;--dim:#6b7080;--line:#d9dce3}
@media (prefers-color-scheme:dark){:root{--bg:#111217;--panel:#181b1f;--ink:#d8d9da;--dim:#8e8e99;--line:#2c3235}}
*{box-sizing:border-box}
body{margin:0;padding:12px;background:var(--bg);color:var(--ink);font:13px/1.4 system-ui,sans-serif}
header{padding:0 4px 10px}h1{font-size:20px;margin:0 0 2px}header p{margin:2px 0;color:var(--dim)}header b{color:var(--ink)}
main{display:grid;grid-template-columns:repeat(24,minmax(0,1fr));grid-auto-rows:30px;gap:8px}
section{background:var(--panel);border:1px solid var(--line);border-radius:3px;padding:6px 10px;overflow:hidden;display:flex;
flex-direction:column;min-width:0;position:relative}
h2{font-size:13px;margin:0 0 4px;font-weight:600;flex:none}h2[title]{cursor:help}
.body{flex:1;min-height:0;overflow:auto;container-type:inline-size}
td,.failed{color:color-mix(in srgb,var(--c,var(--ink)) 65%,var(--ink))}.failed{--c:#d44a3a;padding:12px 0}
.stat>div{color:color-mix(in srgb,var(--c,var(--ink)) 85%,var(--ink))}
.empty{color:var(--dim);padding:12px 0;text-align:center}
.stat{font-size:30px;font-weight:600;height:100%;display:flex;align-items:center;justify-content:space-evenly;text-align:center}
.stat small{display:block;font-size:12px;font-weight:400;color:var(--dim);line-height:1.2}
.chart.drawn{height:100%}.values>summary{color:var(--dim);cursor:pointer;text-align:right}
.drawn+.values>summary{position:absolute;top:6px;right:10px}
.drawn+.values[open]{position:absolute;inset:30px 0 0;padding:0 10px;overflow:auto;background:var(--panel);z-index:1}
.drawn+.values[open]>summary{top:0}
table{border-collapse:collapse;width:100%;font-size:12px}th{text-align:left;position:sticky;top:0;background:var(--panel);color:var(--dim)}
th,td{padding:3px 10px 3px 0;border-bottom:1px solid var(--line);vertical-align:top}
td.w,td.l,td.f{overflow-wrap:anywhere}
th,.n,.t{white-space:nowrap}th.n,.n{text-align:right}td.w{min-width:min(240px,24cqw)}td.l{min-width:min(440px,36cqw)}
td.f{width:var(--w);min-width:min(var(--w),36cqw)}
.link summary{display:inline;border-bottom:1px dotted var(--dim);cursor:pointer}
.link code{display:block;min-width:200px;padding:4px;background:var(--bg);white-space:normal;overflow-wrap:anywhere;text-align:left;
user-select:all}
@media screen and (max-width:900px){main{grid-template-columns:minmax(0,1fr)}
section{grid-column:1!important;grid-row:auto/span var(--h)!important}}
@media print{:root{color-scheme:light;--bg:#fff;--panel:#fff;--ink:#22252b;--dim:#555;--line:#d9dce3}body{padding:0}
section{break-inside:avoid;print-color-adjust:exact}.drawn+.values{display:none}
.drawn div,.drawn svg{width:100%!important;height:100%!important}}
"""
HINT_LINKS = "Click an underlined value: the command that shows it unfolds."
HINT_CHARTS = "Drag across a chart to zoom into its time, double-click for all of it; click a name below it to hide that."


@dataclass(frozen=True, slots=True)
class Place:
    """What all panels of a page share."""

    period: Period
    command: str  # how a reader calls the program on this site
    further: str = ""  # what the links of a page take along: its clusters and period
    moments: Sequence[Moment] = ()


def page(
    dashboard: Dashboard,
    answered: Iterable[tuple[Panel, Answer]],
    choices: Choices,
    period: Period,
    command: str,
    moments: Sequence[Moment] = (),
) -> str:
    """The page.  `command` is how a reader calls the program on this site, for what links lead to."""
    place = Place(period, command, _further(choices, period), moments)
    drawings: list[Mapping[str, Any]] = []
    sections = []
    for panel, answer in answered:
        chart = _chart(panel, answer, place) if panel.kind in CHARTS and answer.rows and not answer.error else None
        sections.append(_section(panel, answer, place, "" if chart is None else _drawn(chart, len(drawings))))
        drawings += [] if chart is None else [chart.drawing]
    panels = "\n".join(sections)
    from_, to = (moment(datetime.fromtimestamp(each // 1000, UTC)) for each in (period.from_ms, period.to_ms))
    chosen = " · ".join(
        f"{escaped(variable.label)} <b>{escaped(_chosen(choices.values[variable.name]))}</b>" for variable in dashboard.variables
    )
    hints = [HINT_LINKS] * ('<details class="link">' in panels) + [HINT_CHARTS] * bool(drawings)
    how = f"<p>{' '.join(hints)}</p>" if hints else ""
    policy, drawing = script.policy(charts=bool(drawings)), script.scripts(drawings) if drawings else ""
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="referrer" content="no-referrer"><meta name="viewport" content="width=device-width">'
        f"<title>{escaped(dashboard.title)}</title><style>{STYLE}</style></head>\n"
        f"<body><header><h1>{escaped(dashboard.title)}</h1><p>{escaped(dashboard.description)}</p>"
        f"<p>{from_} to {to} UTC{' · ' if chosen else ''}{chosen}</p>{how}</header>\n<main>\n{panels}\n</main>\n{drawing}</body></html>\n"
    )


def is_empty(panel: Panel, answer: Answer) -> bool:
    """Is there nothing to see?  A stat is empty without a value, others without a row."""
    if panel.kind == "stat":
        return not answer.rows or all(value is None for value in answer.rows[0])
    return not answer.rows


def _chosen(values: Sequence[str]) -> str:
    return "all" if tuple(values) == (ALL,) else ", ".join(values) or "none"


def _section(panel: Panel, answer: Answer, place: Place, drawn: str) -> str:
    grid = f"grid-column:{panel.x + 1}/span {panel.width};grid-row:{panel.y + 1}/span {panel.height};--h:{panel.height}"
    if answer.error:
        state, body = "failed", f'<div class="failed">{escaped(answer.error)}</div>'
    elif is_empty(panel, answer):
        state, body = "empty", f'<div class="empty">{escaped(panel.no_value)}</div>'
    else:
        state, body = "filled", drawn or _body(panel, answer, place)
    return (
        f'<section style="{grid}" data-kind="{escaped(panel.kind)}" data-state="{state}">'
        f'<h2 title="{escaped(panel.description)}">{escaped(panel.title)}</h2>{body}</section>'
    )


def _body(panel: Panel, answer: Answer, place: Place) -> str:
    return _stat(panel, answer) if panel.kind == "stat" else f'<div class="body">{_table(panel, answer, place)}</div>'


def _chart(panel: Panel, answer: Answer, place: Place) -> Chart:
    period, options, custom = place.period, panel.options, panel.defaults.get("custom", {})
    if panel.kind == "state-timeline":
        return charts.state_timeline(_lanes(panel, answer), period, place.moments)
    if panel.kind == "barchart":
        names, series = _categories(panel, answer)
        return charts.bars(
            names, series, unit=_unit(panel), stacked=options.get("stacking") == "normal",
            horizontal=options.get("orientation") == "horizontal", maximum=panel.defaults.get("max"),
        )  # fmt: skip
    series = series_of(panel, answer)
    if panel.kind == "heatmap":
        return charts.heat_map([Series(each.name, color_of("green"), each.points) for each in series], period, _unit(panel))
    return charts.time_series(
        series, period, unit=_unit(panel), bars=custom.get("drawStyle") == "bars",
        stacked=custom.get("stacking", {}).get("mode") == "normal", moments=place.moments,
    )  # fmt: skip


def _drawn(chart: Chart, number: int) -> str:
    """The place of a chart, and its values as a table: open until the script has drawn it, and where none runs."""
    head = "".join(f"<th>{escaped(each)}</th>" for each in chart.columns)
    rows = "".join(f"<tr>{''.join(f'<td>{escaped(cell)}</td>' for cell in row)}</tr>" for row in chart.rows[:TABLE_ROWS_MAX])
    return (
        f'<div class="body"><div class="chart" data-chart="{number}"></div><details class="values" open><summary>values</summary>'
        f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>{_further_rows(len(chart.rows))}</details></div>"
    )


def _further_rows(count: int) -> str:
    return f"<p>{count - TABLE_ROWS_MAX} further rows are not shown.</p>" if count > TABLE_ROWS_MAX else ""


def _unit(panel: Panel) -> str:
    return str(panel.defaults.get("unit", "short"))


def _stat(panel: Panel, answer: Answer) -> str:
    """One value, or several side by side with their names."""
    cells = []
    for name, value in zip(answer.columns, answer.rows[0], strict=True):
        field = panel.of(name)
        styled = f' style="--c:{threshold_color(float(value), field)}"' if isinstance(value, int | float) else ""
        under = f"<small>{escaped(name.replace('_', ' '))}</small>" if len(answer.columns) > 1 else ""
        cells.append(f"<div{styled}>{escaped(shown(value, field)) or '-'}{under}</div>")
    return f'<div class="stat">{"".join(cells)}</div>'


# --- shapes of an answer --------------------------------------------------------------------------------------------------------------


def series_of(panel: Panel, answer: Answer) -> list[Series]:
    """Time first, then numbers; a text column tells the series apart, as the plugin's `time series` format does."""
    texts = [at for at, value in enumerate(answer.rows[0]) if isinstance(value, str | bytes)]
    numbers = [at for at in range(1, len(answer.columns)) if at not in texts]
    points: dict[str, list[tuple[int, float | None]]] = {}
    for row in answer.rows:
        time = int(row[0].timestamp() * 1000) if isinstance(row[0], datetime) else 0
        for at in numbers:
            name = " ".join(shown(row[each], {}) for each in texts) if texts else answer.columns[at]
            points.setdefault(name, []).append((time, None if row[at] is None else float(row[at])))
    return [Series(name, _series_color(panel, name, number), sorted(points[name])) for number, name in enumerate(sorted(points))]


def _series_color(panel: Panel, name: str, number: int) -> str:
    color = panel.of(name).get("color", {})
    return color_of(str(color.get("fixedColor", "")), number)


def _categories(panel: Panel, answer: Answer) -> tuple[list[str], list[Series]]:
    names = [shown(row[0], {}) for row in answer.rows]
    series = []
    for at, name in enumerate(answer.columns[1:], start=1):
        points = [(number, None if row[at] is None else float(row[at])) for number, row in enumerate(answer.rows)]
        series.append(Series(name, _series_color(panel, name, at - 1), points))
    return names, series


def _lanes(panel: Panel, answer: Answer) -> dict[str, list[State]]:
    lanes: dict[str, list[State]] = {}
    for at, name in enumerate(answer.columns[1:], start=1):
        field = panel.of(name)
        states: list[State] = []
        for row in answer.rows:
            if row[at] is None:
                continue
            value = shown(row[at], field)
            if not states or states[-1].text != value:
                states.append(State(int(row[0].timestamp() * 1000), value, mapped_color(value, field) or color_of("", len(value))))
        lanes[name] = states
    return lanes


# --- tables ---------------------------------------------------------------------------------------------------------------------------


def _table(panel: Panel, answer: Answer, place: Place) -> str:
    fields = [panel.of(name) for name in answer.columns]
    seen = [at for at, field in enumerate(fields) if not field.get("custom.hidden")]
    classes = [' class="n"' if any(_is_number(row[at]) for row in answer.rows) else "" for at in seen]
    names = [escaped(answer.columns[at].replace("_", " ")) for at in seen]
    head = "".join(f"<th{kind}>{name}</th>" for kind, name in zip(classes, names, strict=True))
    rows = "".join(f"<tr>{_cells(answer.columns, row, fields, place)}</tr>" for row in answer.rows[:TABLE_ROWS_MAX])
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>{_further_rows(len(answer.rows))}"


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _cells(columns: Sequence[str], row: Sequence[Any], fields: Sequence[Mapping[str, Any]], place: Place) -> str:
    cells = []
    for value, field in zip(row, fields, strict=True):
        if field.get("custom.hidden"):
            continue
        written = shown(value, field)
        kind = "n" if _is_number(value) else next((name for name, most in CELL_CLASSES.items() if len(written) <= most), "l")
        color, width = mapped_color(written, field), field.get("custom.width")
        styles = [f"--c:{color}"] if color and color != "none" else []
        if width and kind != "n":
            kind = "f"
            styles.append(f"--w:{width}px")
        styled = f' style="{";".join(styles)}"' if styles else ""
        body = escaped(written)
        if written and (links := field.get("links")):
            leads = _command(str(links[0]["url"]), written, dict(zip(columns, row, strict=True)), place)
            body = f'<details class="link"><summary>{body}</summary><code>{escaped(leads)}</code></details>' if leads else body
        cells.append(f'<td class="{kind}"{styled}>{body}</td>')
    return "".join(cells)


LINK = re.compile(r"/d/trainwatch-(\w+)\?(.*)")


def _further(choices: Choices, period: Period) -> str:
    """As links of Grafana do it: the clusters that are chosen, and the period, to whole seconds around it."""
    clusters = choices.values.get(CLUSTER, (ALL,))
    words = [f"--var {CLUSTER}={_quoted(each)}" for each in clusters if each != ALL]
    times = (period.from_ms // 1000, -(-period.to_ms // 1000))
    words += [f"--{end} {datetime.fromtimestamp(time, UTC):%Y-%m-%dT%H:%M:%SZ}" for end, time in zip(("from", "to"), times, strict=True)]
    return " ".join(words)


def _command(address: str, value: str, fields: Mapping[str, Any], place: Place) -> str:
    """The command that shows what a link of Grafana leads to."""
    match = LINK.fullmatch(address)
    if match is None:
        return ""
    words = [f"{place.command} dashboard {match[1]}"]
    for part in match[2].split("&"):
        name, _, given = part.partition("=")
        if name.startswith("var-"):
            filled = given.replace("${__value.raw}", value)
            filled = re.sub(r"\$\{__data\.fields\.(\w+)\}", lambda found: shown(fields.get(found[1]), {}), filled)
            words.append(f"--var {name.removeprefix('var-')}={_quoted(filled)}")
    return " ".join([*words, place.further])


def _quoted(text: str) -> str:
    return text if re.fullmatch(r"[\w./:@-]+", text) else "'" + text.replace("'", "'\\''") + "'"
