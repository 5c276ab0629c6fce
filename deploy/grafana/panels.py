"""Typed building blocks in, the JSON of Grafana's classic (v1) dashboards out.

Everything that a panel must have is an argument without a default: a question as its title, a description, what stands there when the
query answers with nothing.  So a panel that lacks one does not pass mypy, and a lint test sees to what types cannot say.  The JSON is kept
to fields that Grafana 11.6, 12 and 13 read; fields with a default of Grafana's own are left out.

    boards/*.py -> Board(rows of panels) -> as_json -> deploy/grafana/json/<folder>/<name>.json
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Json = dict[str, Any]
Kind = Literal["timeseries", "stat", "table", "barchart", "heatmap", "state-timeline"]

DATASOURCE = {"type": "grafana-clickhouse-datasource", "uid": "trainwatch-clickhouse"}
SCHEMA_VERSION = 41  # Grafana 11.6; newer ones migrate it
PLUGIN_VERSION = "4.0.0"
COLUMNS = 24
TIME_SERIES, TABLE = 0, 1  # the plugin's `format`
ALL = "$__all"

GREEN, YELLOW, ORANGE, RED, PURPLE, BLUE, GREY = "green", "yellow", "orange", "red", "purple", "blue", "text"
SEVERITIES = {"critical": PURPLE, "high": RED, "medium": ORANGE, "low": YELLOW}

# The filter on `cluster` of every query; the sort keys of the tables begin with it.
IN_CLUSTER = "$__conditionalAll(cluster IN (${cluster:singlequote}), $cluster)"
# Attempts that ended in the period.  A view of the newest versions reads all of them before it can tell their end: the jobs in question are
# found in the weeks of the table first.
ENDED = "$__timeFilter_ms(end_time) AND job_id IN (SELECT job_id FROM verdicts WHERE $__timeFilter_ms(end_time))"

# What people said of findings, the newest word of each: a finding that somebody else than whom it names found harmless accuses nobody.
LABELS = "LEFT JOIN (SELECT finding_id, label FROM labels_current) AS l USING (finding_id)"
NOT_DISMISSED = "finding_id NOT IN (SELECT finding_id FROM dismissed_current)"
LABEL_COLORS = {"true": RED, "false": GREEN, "benign": GREEN}


@dataclass(frozen=True)
class Column:
    """What a panel says of one column."""

    unit: str = ""
    link: str = ""  # address that the value leads to; see `to`
    width: int = 0
    color: str = ""
    decimals: int | None = None
    colors: Mapping[str, str] = field(default_factory=dict)  # of values, by text
    hidden: bool = False  # links of other columns use it


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One question.  `expects_rows`: tests and the preview's test on the demo hold it wrong when nothing comes."""

    kind: Kind
    title: str
    description: str
    sql: str
    no_value: str
    width: int
    height: int = 8
    unit: str = "short"
    thresholds: Sequence[tuple[float | None, str]] = ((None, GREEN),)
    columns: Mapping[str, Column] = field(default_factory=dict)
    states: Mapping[str, str] = field(default_factory=dict)  # of a state timeline: text -> colour
    stacked: bool = False
    bars: bool = False
    horizontal: bool = False
    decimals: int | None = None
    maximum: float | None = None
    expects_rows: bool = True

    @property
    def format(self) -> int:
        """How the plugin shapes the answer."""
        return TIME_SERIES if self.kind in ("timeseries", "heatmap") else TABLE

    def as_json(self, number: int, x: int, y: int) -> Json:
        """The panel at its place."""
        target = {
            "datasource": DATASOURCE, "editorType": "sql", "format": self.format, "rawSql": self.sql.strip(), "refId": "A",
            "pluginVersion": PLUGIN_VERSION, "queryType": "timeseries" if self.format == TIME_SERIES else "table",
        }  # fmt: skip
        return {
            "id": number, "type": self.kind, "title": self.title, "description": self.description, "datasource": DATASOURCE,
            "gridPos": {"x": x, "y": y, "w": self.width, "h": self.height}, "targets": [target],
            "fieldConfig": {"defaults": self._defaults(), "overrides": [_override(name, each) for name, each in self.columns.items()]},
            "options": self._options(), "links": [],
        }  # fmt: skip

    def _defaults(self) -> Json:
        steps = [{"color": color, "value": value} for value, color in self.thresholds]
        found: Json = {
            "unit": self.unit, "noValue": self.no_value, "color": {"mode": "thresholds" if self.kind == "stat" else "palette-classic"},
            "thresholds": {"mode": "absolute", "steps": steps}, "custom": self._custom(), "mappings": [],
        }  # fmt: skip
        if self.decimals is not None:
            found["decimals"] = self.decimals
        if self.maximum is not None:
            found |= {"min": 0, "max": self.maximum}
        if self.states:
            found["mappings"] = [_mapping(self.states), NOTHING]
        return found

    def _custom(self) -> Json:
        if self.kind == "timeseries":
            style = {"drawStyle": "bars", "fillOpacity": 70, "lineWidth": 1} if self.bars else {"drawStyle": "line", "fillOpacity": 10}
            return {**style, "showPoints": "auto", "spanNulls": False, "stacking": {"mode": "normal" if self.stacked else "none"}}
        if self.kind == "barchart":
            return {"fillOpacity": 80, "lineWidth": 1}
        if self.kind == "state-timeline":
            return {"fillOpacity": 75, "lineWidth": 0, "spanNulls": True}
        if self.kind == "table":
            return {"align": "auto", "cellOptions": {"type": "auto"}, "filterable": True, "inspect": True}
        return {}

    def _options(self) -> Json:
        legend = {"calcs": [], "displayMode": "list", "placement": "bottom", "showLegend": True}
        tooltip = {"mode": "multi", "sort": "desc"}
        if self.kind == "stat":
            return {
                "colorMode": "value", "graphMode": "none", "textMode": "auto", "justifyMode": "auto", "orientation": "auto",
                "reduceOptions": {"calcs": ["lastNotNull"], "fields": "/.*/", "values": False},
            }  # fmt: skip
        if self.kind == "table":
            return {"showHeader": True, "cellHeight": "sm"}
        if self.kind == "barchart":
            return {
                "orientation": "horizontal" if self.horizontal else "vertical", "stacking": "normal" if self.stacked else "none",
                "showValue": "auto", "xTickLabelMaxLength": 24, "legend": legend, "tooltip": tooltip,
            }  # fmt: skip
        if self.kind == "heatmap":
            return {
                "calculate": False, "color": {
                    "mode": "scheme", "scheme": "Greens", "steps": 64, "reverse": True, "scale": "exponential", "exponent": 0.5,
                    "fill": "dark-green",
                }, "cellGap": 1, "rowsFrame": {"layout": "auto", "value": "events"}, "yAxis": {"axisPlacement": "left"},
                "legend": {"show": True}, "tooltip": {"mode": "single", "yHistogram": False}, "showValue": "never",
                "filterValues": {"le": 0},
            }  # fmt: skip
        if self.kind == "state-timeline":
            return {"mergeValues": True, "rowHeight": 0.9, "showValue": "auto", "alignValue": "left", "legend": legend, "tooltip": tooltip}
        return {"legend": legend, "tooltip": tooltip}


# An empty text ends a state; Grafana has a mapping of its own for it.
NOTHING: Json = {"type": "special", "options": {"match": "empty", "result": {"color": "transparent", "index": 99, "text": ""}}}


def _mapping(colors: Mapping[str, str]) -> Json:
    return {
        "type": "value",
        "options": {text: {"color": color, "index": index, "text": text} for index, (text, color) in enumerate(colors.items())},
    }


def _override(name: str, column: Column) -> Json:
    properties: list[Json] = []
    if column.unit:
        properties.append({"id": "unit", "value": column.unit})
    if column.decimals is not None:
        properties.append({"id": "decimals", "value": column.decimals})
    if column.link:
        properties.append({"id": "links", "value": [{"title": "Show", "url": column.link}]})
    if column.hidden:
        properties.append({"id": "custom.hidden", "value": True})
    if column.width:
        properties.append({"id": "custom.width", "value": column.width})
    if column.color:
        properties.append({"id": "color", "value": {"mode": "fixed", "fixedColor": column.color}})
    if column.colors:
        properties += [
            {"id": "mappings", "value": [_mapping(column.colors)]},
            {"id": "custom.cellOptions", "value": {"type": "color-text"}},
        ]
    return {"matcher": {"id": "byName", "options": name}, "properties": properties}


def to(board: str, **variables: str) -> str:
    """Address of another dashboard that keeps the period and the cluster.  Values: `${__value.raw}`, `${__data.fields.name}`."""
    chosen = "".join(f"var-{name}={value}&" for name, value in variables.items())
    return f"/d/trainwatch-{board}?{chosen}${{cluster:queryparam}}&${{__url_time_range}}"


def named_series(colors: Mapping[str, str]) -> dict[str, Column]:
    """Series whose colour says what they are."""
    return {name: Column(color=color) for name, color in colors.items()}


@dataclass(frozen=True, kw_only=True)
class Variable:
    """A choice above the panels: the values of a query, or of a list."""

    name: str
    label: str
    description: str
    sql: str = ""
    values: Sequence[str] = ()
    multi: bool = False

    def as_json(self) -> Json:
        """Grafana's `query` or `custom` variable."""
        common = {
            "name": self.name, "label": self.label, "description": self.description, "multi": self.multi, "includeAll": self.multi,
            "hide": 0, "skipUrlSync": False,
        }  # fmt: skip
        if self.multi:
            common["current"] = {"selected": True, "text": ["All"], "value": [ALL]}
        if self.values:
            options = [{"text": value, "value": value, "selected": not index} for index, value in enumerate(self.values)]
            return {**common, "type": "custom", "query": ",".join(self.values), "options": options, "current": options[0]}
        query = {
            "editorType": "sql", "rawSql": self.sql.strip(), "refId": "A", "format": TABLE, "queryType": "table",
            "pluginVersion": PLUGIN_VERSION,
        }  # fmt: skip
        return {
            **common, "type": "query", "datasource": DATASOURCE, "definition": self.sql.strip(), "query": query, "refresh": 2, "sort": 0,
            "regex": "", "allowCustomValue": True, "options": [],
        }  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Annotation:
    """Marks on the time axis of every panel: time, title, text, tags."""

    name: str
    color: str
    sql: str

    def as_json(self) -> Json:
        """Grafana's annotation query."""
        target = {"editorType": "sql", "rawSql": self.sql.strip(), "refId": "Anno", "format": TABLE, "queryType": "table"}
        return {"name": self.name, "enable": True, "iconColor": self.color, "datasource": DATASOURCE, "target": target}


@dataclass(frozen=True, kw_only=True)
class Board:
    """One dashboard.  A row of panels stands under the one before; within it they stand side by side."""

    name: str
    title: str
    folder: str
    description: str
    variables: Sequence[Variable]
    rows: Sequence[Sequence[Panel]]
    annotations: Sequence[Annotation] = ()
    period: tuple[str, str] = ("now-7d", "now")
    refresh: str = "1m"

    @property
    def panels(self) -> Iterable[Panel]:
        """All panels, in reading order."""
        return (panel for row in self.rows for panel in row)

    def as_json(self) -> Json:
        """The whole dashboard; ids of panels count from 1 in reading order."""
        panels: list[Json] = []
        y = 0
        for row in self.rows:
            x = 0
            for panel in row:
                panels.append(panel.as_json(len(panels) + 1, x, y))
                x += panel.width
            y += max(panel.height for panel in row)
        siblings = {
            "type": "dashboards", "title": "trainwatch", "tags": ["trainwatch"], "asDropdown": True, "icon": "external link",
            "includeVars": True, "keepTime": True, "targetBlank": False, "tooltip": "", "url": "",
        }  # fmt: skip
        return {
            "uid": f"trainwatch-{self.name}", "title": f"trainwatch: {self.title}", "description": self.description, "tags": ["trainwatch"],
            "schemaVersion": SCHEMA_VERSION, "version": 1, "editable": False, "graphTooltip": 2, "timezone": "utc",
            "refresh": self.refresh, "time": {"from": self.period[0], "to": self.period[1]}, "timepicker": {}, "links": [siblings],
            "annotations": {"list": [each.as_json() for each in self.annotations]},
            "templating": {"list": [each.as_json() for each in self.variables]}, "panels": panels,
        }  # fmt: skip


CLUSTER = Variable(
    name="cluster",
    label="Cluster",
    description="Clusters whose jobs and records are shown.",
    sql="SELECT DISTINCT cluster FROM verdicts WHERE cluster != '' ORDER BY cluster",
    multi=True,
)
