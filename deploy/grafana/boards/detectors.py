"""Detector quality: what each detector says, how often it holds back, takes back, and cannot check."""

from deploy.grafana.panels import (
    BLUE,
    CLUSTER,
    GREEN,
    GREY,
    IN_CLUSTER,
    RED,
    YELLOW,
    Annotation,
    Board,
    Column,
    Panel,
    named_series,
)  # fmt: skip

IN_PERIOD = f"FROM findings_current AS f WHERE $__timeFilter_ms(effect_time) AND {IN_CLUSTER}"
TOLD = IN_PERIOD.replace("findings_current", "findings_told")
OUTCOMES = {"alert": RED, "below_gate": YELLOW, "suppressed": BLUE, "retracted": GREY}
SUPPRESSED = "startsWith(f.gate, 'suppressed until ')"
HELD_BACK = f"""countIf(NOT f.alert AND NOT {SUPPRESSED} AND f.status != 'retracted') AS below_gate,
    countIf({SUPPRESSED} AND f.status != 'retracted') AS suppressed"""

SUMMARY = Panel(
    kind="table", title="What does each detector say?", width=24, height=10, no_value="No detector said anything in this period",
    description="Findings in the period. Suppressed: alerts that the settings hold back. Retracted: a later record acquitted. "
    "Named: by an incident. Unchecked: share of explanations that no source could answer.",
    columns={
        "named": Column(unit="percentunit", decimals=0), "unchecked": Column(unit="percentunit", decimals=0),
        "confidence": Column(unit="percentunit", decimals=0), "to_final_word": Column(unit="s"),
    },
    sql=f"""
SELECT detector, max(detector_version) AS version, count() AS findings, countIf(f.alert AND f.status != 'retracted') AS alert,
    {HELD_BACK}, countIf(f.status = 'retracted') AS retracted, avg(actor != '') AS named,
    quantile(0.5)(f.confidence) AS confidence,
    ifNotFinite(sum(arrayCount(item -> item.2 = 'not_checked', checklist)) / sum(length(checklist)), 0) AS unchecked,
    quantile(0.5)(dateDiff('second', effect_time, closes_at)) AS to_final_word, max(effect_time) AS last
{TOLD} GROUP BY detector ORDER BY detector
""",
)  # fmt: skip
OUTCOME = Panel(
    kind="barchart", title="How often does it fire, hold back, take back?", width=12, horizontal=True, stacked=True,
    columns=named_series(OUTCOMES), description="Findings by detector and outcome.", no_value="No findings in this period",
    sql=f"""
SELECT detector, countIf(f.alert AND f.status != 'retracted') AS alert, {HELD_BACK},
    countIf(f.status = 'retracted') AS retracted
{IN_PERIOD} GROUP BY detector ORDER BY detector
""",
)  # fmt: skip
WEEKS = Panel(
    kind="timeseries", title="Does a detector change its habits over the weeks?", width=12, bars=True, stacked=True,
    description="Findings per detector and week. A step without a change of the detector is a change of the cluster.",
    no_value="No findings in this period",
    sql=f"""
SELECT toStartOfDay(toMonday(effect_time)) AS time, detector, count() AS findings
{IN_PERIOD} AND status != 'retracted' GROUP BY time, detector ORDER BY time, detector
""",
)  # fmt: skip
GATES = Panel(
    kind="table", title="Why does it hold back?", width=12, no_value="Every finding was above its gate", expects_rows=False,
    description="Reasons for which findings stay below their gate.",
    sql=f"SELECT detector, gate AS reason, count() AS findings {IN_PERIOD} AND NOT alert GROUP BY detector, reason "
    "ORDER BY findings DESC LIMIT 100",
)  # fmt: skip
UNCHECKED = Panel(
    kind="table", title="Which explanations could not be checked?", width=12, no_value="All could be checked", expects_rows=False,
    description="Explanations without an answer, with the sources that were missing. A source that is added here makes findings surer.",
    sql=f"""
SELECT detector, item.1 AS explanation, arrayStringConcat(item.5, ', ') AS missing, count() AS findings
FROM findings_current ARRAY JOIN checklist AS item
WHERE $__timeFilter_ms(effect_time) AND {IN_CLUSTER} AND item.2 = 'not_checked'
GROUP BY detector, explanation, missing ORDER BY findings DESC LIMIT 100
""",
)  # fmt: skip
LABELS = Panel(
    kind="table", title="Do people agree with it?", width=24, height=7, no_value="No findings in this period",
    description="Newest label of each finding. Precision counts labelled findings alone: what nobody looked at says nothing.",
    columns={"precision": Column(unit="percentunit", decimals=0)},
    sql=f"""
SELECT detector, count() AS findings, countIf(l.label != '') AS labelled, countIf(l.label = 'true') AS true_findings,
    countIf(l.label = 'false') AS false_findings, countIf(l.label = 'benign') AS benign_findings,
    if(labelled = 0, NULL, true_findings / labelled) AS precision
FROM (SELECT finding_id, detector {IN_PERIOD} AND status != 'retracted') AS f
LEFT JOIN labels_current AS l ON l.finding_id = f.finding_id
GROUP BY detector ORDER BY detector
""",
)  # fmt: skip
LOST = Panel(
    kind="barchart", title="What was lost under its findings?", width=12, horizontal=True, unit="h",
    columns=named_series({"low": YELLOW, "middle": RED, "high": GREY}), no_value="No loss is known in this period",
    description="GPU-hours of the attempts that its findings are about. An attempt under findings of two detectors stands with both.",
    sql=f"""
SELECT f.detector AS detector, sum(l.gpu_hours_low) AS low, sum(l.gpu_hours_middle) AS middle, sum(l.gpu_hours_high) AS high
FROM (SELECT DISTINCT detector, attempt {IN_PERIOD} AND status != 'retracted' AND attempt != '') AS f
INNER JOIN loss_lines_current AS l ON l.attempt = f.attempt
WHERE l.ledger = 'direct' AND l.incident_id IN (SELECT incident_id FROM incidents_current WHERE status != 'retracted')
GROUP BY detector ORDER BY detector
""",
)  # fmt: skip
WITHHELD = Panel(
    kind="table", title="Why is a name withheld?", width=24, height=6, no_value="Every finding names somebody", expects_rows=False,
    description="What the finding lacks, else what its incident says; findings that were taken back left out.",
    sql=f"SELECT detector, actor_withheld AS reason, count() AS findings {TOLD} AND actor = '' AND status != 'retracted' "
    "GROUP BY detector, reason ORDER BY findings DESC LIMIT 100",
)  # fmt: skip
BENIGN = Panel(
    kind="barchart", title="Which innocent causes ended jobs?", width=12, horizontal=True, columns={"jobs": Column(color=GREEN)},
    description="Benign causes of ended attempts, by the record that proved them.", no_value="No job ended in this period",
    sql=f"""
SELECT cause, count() AS jobs FROM verdicts_current
WHERE $__timeFilter_ms(end_time) AND {IN_CLUSTER} AND verdict = 'benign' AND status != 'retracted'
GROUP BY cause ORDER BY jobs DESC LIMIT 20
""",
)  # fmt: skip

BOARD = Board(
    name="detectors", title="Detector quality", folder="operation",
    description="Fires, held back, taken back, unchecked, by detector and week.",
    variables=(CLUSTER,), period=("now-90d", "now"),
    annotations=(
        Annotation(
            name="New versions and settings", color="blue",
            sql=f"SELECT min(effect_time) AS time, concat('settings ', settings_digest) AS title, concat('software ', software) AS text, "
            f"['settings'] AS tags FROM findings WHERE $__timeFilter_ms(effect_time) AND {IN_CLUSTER} GROUP BY settings_digest, software",
        ),
    ),
    rows=((SUMMARY,), (OUTCOME, WEEKS), (LABELS,), (LOST, BENIGN), (GATES, UNCHECKED), (WITHHELD,)),
)  # fmt: skip
