// The page's charts: one block of JSON in (see charts.py), drawings by Apache ECharts out.
//
// Constant: the page's policy names the hash of these bytes.  What attackers wrote comes in the JSON alone and ends as text of an SVG; tooltips
// are drawn, not written as HTML.  Colours of the page are its CSS variables, so that dark, light and paper need no drawing anew.
"use strict";
(() => {
  const INK = "var(--ink)", DIM = "var(--dim)", LINE = "var(--line)", PANEL = "var(--panel)", VOID = "var(--bg)";
  const CHAR = 6.2, DAY = 86400000, LISTED_MAX = 14, POINTS_MARKED_MAX = 120, MARKS_MAX = 3000;

  const iso = (time) => new Date(time).toISOString();
  const clock = (time) => `${iso(time).slice(0, 10)} ${iso(time).slice(11, 19)}Z`;
  const literal = (text) => text.replaceAll("{", "{\u2060"); // no markup of ECharts' own rich text
  const line = (name, value, unit) => literal(`${name}: ${value === null ? "-" : number(value, unit)}`);

  // As text.py writes numbers.
  function number(value, unit) {
    const plain = () => (Number.isInteger(value) || Math.abs(value) >= 1000
      ? Math.round(value).toLocaleString("en-US") : String(Number(value.toPrecision(4))));
    if (unit === "percentunit") return `${(value * 100).toFixed(1)} %`;
    if (unit === "h") return `${value.toLocaleString("en-US", { minimumFractionDigits: 1, maximumFractionDigits: 1 })} h`;
    if (unit === "s" || unit === "ms") {
      const seconds = unit === "s" ? value : value / 1000;
      for (const [size, name] of [[DAY / 1000, "d"], [3600, "h"], [60, "min"], [1, "s"]]) {
        if (Math.abs(seconds) >= size) return `${(seconds / size).toFixed(1)} ${name}`.replace(".0 ", " ");
      }
      return seconds ? `${(seconds * 1000).toFixed(0)} ms` : "0 s";
    }
    if (unit === "bytes") {
      let power = 0;
      for (; Math.abs(value) >= 1024 && power < 5; power += 1) value /= 1024;
      return `${value.toFixed(power ? 1 : 0)} ${["B", "KiB", "MiB", "GiB", "TiB", "PiB"][power]}`;
    }
    return plain() + (unit === "cps" ? "/s" : "");
  }

  // Largest first, as in Grafana; a long list is cut, the table has all of it.
  function listed(head, lines) {
    const more = lines.length - LISTED_MAX;
    return [literal(head), ...lines.slice(0, LISTED_MAX), ...(more > 0 ? [`and ${more} more`] : [])].join("\n");
  }

  const edge = (text, most) => ({ color: DIM, fontSize: 11, width: most, overflow: "truncate", ...text });
  const quiet = { axisLine: { show: false }, axisTick: { show: false }, splitLine: { lineStyle: { color: LINE } } };
  const room = (names, width) => Math.min(Math.max(Math.max(0, ...names.map((name) => name.length)) * CHAR + 12, 40), width * 0.4);

  function frame(legend) {
    return {
      animation: false, useUTC: true, aria: { enabled: true }, textStyle: { fontFamily: "system-ui, sans-serif", fontSize: 11 },
      grid: { left: 62, right: 14, top: 10, bottom: legend ? 46 : 24, outerBoundsMode: "none" },
      legend: { show: legend, type: "scroll", bottom: 0, left: 0, icon: "rect", itemWidth: 10, itemHeight: 10, inactiveColor: LINE,
        textStyle: { color: DIM, width: 260, overflow: "truncate" }, pageTextStyle: { color: DIM }, pageIconColor: DIM, pageIconInactiveColor: LINE },
      tooltip: { renderMode: "richText", confine: true, backgroundColor: PANEL, borderColor: LINE, textStyle: { color: INK, fontSize: 12 },
        axisPointer: { lineStyle: { color: DIM }, shadowStyle: { color: LINE, opacity: 0.3 }, label: { show: false } } },
    };
  }

  // Time from left to right; a drag chooses a part of it, a double click all of it again.
  function overTime(chart, legend) {
    const span = chart.to - chart.from;
    const label = (time) => (time % DAY === 0 ? iso(time).slice(5, 10)
      : `${span > DAY ? `${iso(time).slice(5, 10)} ` : ""}${iso(time).slice(11, time % 60000 ? 19 : 16)}`);
    return {
      ...frame(legend),
      xAxis: { type: "time", min: chart.from, max: chart.to, ...quiet, splitLine: { show: true, lineStyle: { color: LINE } },
        axisLabel: { ...edge(), hideOverlap: true, formatter: label } },
      dataZoom: [{ type: "inside", xAxisIndex: 0, filterMode: "none", zoomOnMouseWheel: "ctrl", moveOnMouseMove: false }],
      toolbox: { top: -50, feature: { dataZoom: { yAxisIndex: "none", filterMode: "none" } } },
    };
  }

  function moments(chart) {
    if (!chart.moments.length) return [];
    return [{
      type: "custom", name: "moments", clip: true, z: 5, data: chart.moments.map(([time]) => [time]), encode: { x: 0 },
      tooltip: { formatter: (at) => literal(`${clock(chart.moments[at.dataIndex][0])}\n${chart.moments[at.dataIndex][1]}`) },
      renderItem: ({ coordSys, dataIndex }, api) => {
        const x = api.coord([api.value(0), 0])[0];
        return { type: "line", shape: { x1: x, x2: x, y1: coordSys.y, y2: coordSys.y + coordSys.height },
          style: { stroke: chart.moments[dataIndex][2], lineWidth: 2, lineDash: [3, 3] } };
      },
    }];
  }

  function timeSeries(chart) {
    const option = overTime(chart, true), { step } = chart, count = chart.series.reduce((sum, each) => sum + each.points.length, 0);
    const values = chart.series.flatMap((each) => each.points.map((point) => point[1])).filter((value) => value !== null);
    const low = Math.min(...values), high = Math.max(...values), named = new Map(chart.series.map((each) => [each.name, each]));
    // A bar stands in the middle of its interval; that the interval is known, its neighbour is there, without a value.
    const points = (each) => each.points.map(([time, value]) => [time + step / 2, value])
      .concat(step && each.points.length ? [[each.points[each.points.length - 1][0] + 1.5 * step, null]] : []);
    option.tooltip = { ...option.tooltip, trigger: "axis", axisPointer: { ...option.tooltip.axisPointer, type: step ? "shadow" : "line" },
      formatter: (items) => {
        const mark = items.find((each) => each.seriesName === "moments" && !named.has("moments"));
        if (mark) return literal(`${clock(chart.moments[mark.dataIndex][0])}\n${chart.moments[mark.dataIndex][1]}`);
        const found = items.filter((each) => each.value[1] !== null).sort((one, other) => other.value[1] - one.value[1]);
        return found.length ? listed(clock(found[0].value[0] - step / 2), found.map((each) => line(each.seriesName, each.value[1], chart.unit))) : "";
      } };
    option.legend.data = chart.series.map((each) => each.name);
    option.yAxis = { type: "value", ...quiet, scale: !step && low >= high / 2, minInterval: chart.whole ? 1 : 0, splitNumber: 4,
      axisLabel: { ...edge(), formatter: (value) => number(value, chart.unit) } };
    option.series = chart.series.map((each) => ({
      name: each.name, color: each.color, data: points(each),
      ...(step ? { type: "bar", stack: chart.stacked ? "all" : undefined, barCategoryGap: "8%", barMinHeight: 1 }
        : { type: "line", symbol: "circle", symbolSize: each.points.length <= POINTS_MARKED_MAX ? 5 : 2, showSymbol: count <= MARKS_MAX,
          showAllSymbol: true, lineStyle: { width: 1.6 } }),
    })).concat(moments(chart));
    return option;
  }

  // A row per lane: cells of a heat map, spans of states.
  function lanes(chart, width, legend) {
    const option = overTime(chart, legend), left = room(chart.lanes, width);
    option.grid.left = left;
    option.tooltip.trigger = "item";
    option.yAxis = { type: "category", data: chart.lanes, inverse: true, ...quiet, axisLabel: { ...edge({}, left - 8), interval: 0 } };
    return option;
  }

  function block(api, coordSys, share) {
    const [x, y] = api.coord([api.value(0), api.value(2)]), end = api.coord([api.value(1), api.value(2)])[0], high = api.size([0, 1])[1] * share;
    return echarts.graphic.clipRectByRect({ x, y: y - high / 2, width: Math.max(end - x, 1), height: Math.max(high, 1) }, coordSys);
  }

  function heatMap(chart, width) {
    const option = lanes(chart, width, false);
    option.yAxis.splitArea = { show: true, areaStyle: { color: [VOID, VOID] } };
    option.yAxis.splitLine = { show: true, lineStyle: { color: PANEL } };
    option.tooltip.formatter = ({ value }) => `${clock(value[0])}\n${line(chart.lanes[value[2]], value[3], chart.unit)}`;
    option.series = [{ type: "custom", name: "cells", clip: true, data: chart.cells, encode: { x: [0, 1], y: 2 },
      renderItem: ({ coordSys }, api) => {
        const shape = block(api, coordSys, 0.9);
        return shape && { type: "rect", shape, style: { fill: chart.color, opacity: api.value(4) } };
      } }];
    return option;
  }

  function states(chart, width) {
    const option = lanes(chart, width, true);
    option.legend.data = chart.series.map((each) => each.name);
    option.series = chart.series.map((each) => ({
      type: "custom", name: each.name, color: each.color, clip: true, data: each.spans, encode: { x: [0, 1], y: 2 },
      tooltip: { formatter: ({ value }) => literal(`${chart.lanes[value[2]]}: ${each.name}\n${clock(value[0])}\nto ${clock(value[1])}`) },
      renderItem: ({ coordSys }, api) => {
        const shape = block(api, coordSys, 0.8), fits = shape && shape.width > each.name.length * CHAR + 8;
        return shape && { type: "rect", shape, style: { fill: each.color, opacity: 0.85 }, textConfig: { position: "insideLeft" },
          textContent: { type: "text", style: { text: fits ? each.name : "", fill: "#fff", fontSize: 11 } } };
      },
    })).concat(moments(chart));
    return option;
  }

  function bars(chart, width) {
    const option = frame(true), left = chart.horizontal ? room(chart.names, width) : 62;
    const total = (index) => chart.series.map((each) => each.values[index] || 0).reduce((sum, value) => sum + value, 0);
    const label = { show: chart.horizontal, position: "right", color: DIM };
    option.grid = { ...option.grid, left, right: chart.horizontal ? 64 : 14, bottom: chart.horizontal ? 28 : 46 };
    option.legend.data = chart.series.map((each) => each.name);
    option.tooltip = { ...option.tooltip, trigger: "axis", axisPointer: { ...option.tooltip.axisPointer, type: "shadow" },
      formatter: (items) => listed(chart.names[items[0].dataIndex], items.filter((each) => each.seriesIndex < chart.series.length)
        .map((each) => line(each.seriesName, each.value, chart.unit))) };
    const names = { type: "category", data: chart.names, inverse: chart.horizontal, ...quiet,
      axisLabel: { ...edge({}, chart.horizontal ? left - 8 : width / Math.max(chart.names.length, 1)), interval: 0 } };
    const values = { type: "value", ...quiet, show: !chart.horizontal, max: chart.maximum, minInterval: chart.whole ? 1 : 0, splitNumber: 4,
      axisLabel: { ...edge(), formatter: (value) => number(value, chart.unit) } };
    [option.xAxis, option.yAxis] = chart.horizontal ? [values, names] : [names, values];
    option.series = chart.series.map((each) => ({
      type: "bar", name: each.name, color: each.color, data: each.values, stack: chart.stacked ? "all" : undefined, barMaxWidth: 26,
      label: { ...label, show: label.show && !chart.stacked, formatter: (at) => (at.value === null ? "" : number(at.value, chart.unit)) },
    }));
    if (chart.stacked) { // what the parts come to, behind the last of them
      option.series.push({ type: "bar", name: "total", stack: "all", silent: true, data: chart.names.map(() => 0),
        label: { ...label, formatter: (at) => number(total(at.dataIndex), chart.unit) } });
    }
    return option;
  }

  const build = { lines: timeSeries, "bars over time": timeSeries, "heat map": heatMap, states, bars };
  const charts = JSON.parse(document.getElementById("charts").textContent), drawn = [], timed = [];
  for (const place of document.querySelectorAll(".chart")) {
    const chart = charts[Number(place.dataset.chart)];
    place.classList.add("drawn");
    place.nextElementSibling.open = false; // the table of values: open for who has no script
    const shown = echarts.init(place, null, { renderer: "svg" });
    shown.setOption(build[chart.kind](chart, place.clientWidth));
    drawn.push(shown);
    if ("from" in chart) timed.push(shown);
    new ResizeObserver(() => shown.resize()).observe(place);
  }

  // All charts over time show the same part of it.
  let leading = null;
  const show = (part, but) => timed.filter((each) => each !== but).forEach((each) => each.dispatchAction({ type: "dataZoom", ...part }));
  for (const each of timed) {
    each.dispatchAction({ type: "takeGlobalCursor", key: "dataZoomSelect", dataZoomSelectActive: true });
    each.getZr().on("dblclick", () => show({ start: 0, end: 100 }));
    each.on("datazoom", () => {
      if (leading) return;
      leading = each;
      const { startValue, endValue } = each.getOption().dataZoom[0];
      show({ startValue, endValue }, each);
      leading = null;
    });
  }

  // On paper a drawing takes the width that its panel has there.
  addEventListener("beforeprint", () => {
    for (const each of document.querySelectorAll(".chart svg")) {
      each.setAttribute("viewBox", `0 0 ${each.getAttribute("width")} ${each.getAttribute("height")}`);
    }
  });
})();
