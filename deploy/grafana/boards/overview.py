"""Overview: is anybody interfering, since when, at what cost, and is anything blind?"""

from deploy.grafana.panels import (
    BLUE,
    CLUSTER,
    ENDED,
    GREEN,
    IN_CLUSTER,
    LABEL_COLORS,
    LABELS,
    NOT_DISMISSED,
    ORANGE,
    RED,
    SEVERITIES,
    YELLOW,
    Annotation,
    Board,
    Column,
    Panel,
    named_series,
    to,
)  # fmt: skip

FINDINGS = f"FROM findings_current WHERE $__timeFilter_ms(effect_time) AND {IN_CLUSTER} AND status != 'retracted'"
TOLD = FINDINGS.replace("findings_current", "findings_told")
# Incidents of the period, with what people say of their state and findings, and what they cost; all are small tables.
CASES = f"""
FROM
(
    SELECT * FROM incidents_current
    WHERE last_time >= $__fromTime_ms AND first_time <= $__toTime_ms AND {IN_CLUSTER} AND status != 'retracted'
) AS i
LEFT JOIN
(
    SELECT incident_id, argMaxIf(value, at, action = 'status') AS state, argMaxIf(value, at, action = 'assign') AS assignee
    FROM incident_journal GROUP BY incident_id
) AS j ON j.incident_id = i.incident_id
LEFT JOIN
(
    SELECT incident_id, sumIf(gpu_hours_middle, ledger = 'direct') AS hours_middle FROM loss_lines_current GROUP BY incident_id
) AS l ON l.incident_id = i.incident_id
LEFT JOIN
(
    SELECT incident_id, countIf(NOT {NOT_DISMISSED}) AS dismissed, countIf(alert AND {NOT_DISMISSED}) AS standing
    FROM incident_findings_current
    WHERE incident_id IN (SELECT incident_id FROM incidents_current WHERE last_time >= $__fromTime_ms AND first_time <= $__toTime_ms)
    GROUP BY incident_id
) AS d ON d.incident_id = i.incident_id
WHERE i.incident_id != ''
"""
# Of the period, those whose alerts people all labelled false or benign; without an alert: all of whose findings.
CLEARED = f"""
    SELECT incident_id FROM incident_findings_current
    WHERE incident_id IN (SELECT incident_id FROM incidents_current WHERE last_time >= $__fromTime_ms AND first_time <= $__toTime_ms)
    GROUP BY incident_id HAVING countIf(alert AND {NOT_DISMISSED}) = 0 AND (countIf(alert) > 0 OR countIf({NOT_DISMISSED}) = 0)
"""
LOSSES = f"""
FROM losses_once WHERE last_time >= $__fromTime_ms AND first_time <= $__toTime_ms AND {IN_CLUSTER}
    AND NOT hasAll((SELECT groupArray(incident_id) FROM ({CLEARED})), incidents)
"""
SEVERITY_WEIGHT = "transform(severity, ['critical', 'high', 'medium', 'low'], [8., 4., 2., 1.], 1.)"

ALERTS = Panel(
    kind="stat", title="How many findings call for action?", width=6, height=4, thresholds=((None, GREEN), (1, RED)),
    description="Findings above their gate whose effect lies in the period; left out are those taken back, and those that people labelled "
    "false or benign.",
    no_value="No findings", sql=f"SELECT countIf(alert) AS findings {FINDINGS} AND {NOT_DISMISSED}",
)  # fmt: skip
INCIDENTS = Panel(
    kind="stat", title="How many incidents call for action?", width=6, height=4, thresholds=((None, GREEN), (1, ORANGE)),
    no_value="No incidents",
    description="Findings of one cause count once. Those that nobody closed (`trainwatch incident status`), with a finding above its gate "
    "that nobody labelled false or benign.",
    sql=f"SELECT countIf(standing > 0 AND state != 'closed') AS incidents {CASES}",
)  # fmt: skip
TIME_TO_DETECT = Panel(
    kind="stat", title="How long from the effect to the finding?", width=8, height=4, unit="s", no_value="No findings",
    thresholds=((None, GREEN), (1800, YELLOW), (7200, RED)),
    description="Medians. First word: until it stood here, by the clock; of those that came within a day, since a replay of old logs tells "
    "nothing about it. Final word: until every source that could acquit has passed, in event time.",
    sql=f"""
SELECT ifNotFinite(quantile(0.5)(seconds_to_first), NULL) AS to_first_word,
    ifNotFinite(quantile(0.5)(seconds_to_final), NULL) AS to_final_word
FROM detection_times WHERE $__timeFilter_ms(effect_time) AND {IN_CLUSTER} AND status != 'retracted' AND alert
""",
)  # fmt: skip
LOST = Panel(
    kind="stat", title="How many GPU-hours were lost?", width=8, height=4, unit="h", decimals=1, no_value="None",
    thresholds=((None, GREEN), (1, ORANGE), (100, RED)),
    description="Over the incidents of the period, each hour once. Low: what records show beside a finding above its gate. Middle: what "
    "such a finding makes likely. High: with findings below it. Left out are incidents whose alerts people all labelled false or benign. "
    "Every incident shows its lines and their formulas.",
    sql=f"""
SELECT sum(gpu_hours_low) AS low, sum(gpu_hours_middle) AS middle, sum(gpu_hours_high) AS high {LOSSES} AND ledger = 'direct'
""",
)  # fmt: skip
MONEY = Panel(
    kind="stat", title="What did that cost?", width=8, height=4, decimals=0, thresholds=((None, BLUE),), expects_rows=False,
    description="GPU-hours at the prices of the settings (`loss.prices`), each once, and people's time as it was stated. In the currency "
    "set last. Left out are incidents whose alerts people all labelled false or benign.",
    no_value="No prices are set: loss.prices of the settings",
    sql=f"""
SELECT sum(money_low) AS low, sum(money_middle) AS middle, sum(money_high) AS high, currency
{LOSSES} AND currency != '' GROUP BY currency ORDER BY max(last_time) DESC LIMIT 1
""",
)  # fmt: skip
JOBS = Panel(
    kind="stat", title="How many jobs ended unexplained?", width=6, height=4, thresholds=((None, GREEN), (10, YELLOW)),
    description="Ended attempts that neither a benign explanation nor a finding accounts for.", no_value="None",
    sql=f"""
SELECT countIf(verdict = 'unexplained') AS jobs
FROM verdicts_current WHERE {ENDED} AND {IN_CLUSTER} AND status != 'retracted'
""",
)  # fmt: skip
COMPLETE = Panel(
    kind="stat", title="Is every record accounted for?", width=6, height=4, unit="percentunit", decimals=3,
    thresholds=((None, RED), (1, GREEN)),
    description="Offsets written, dead-lettered, filtered or known to be absent, of those read in the period or in the last day. "
    "`trainwatch verify` names what is missing.",
    no_value="Nothing read",
    sql="""
SELECT 1 - sum(unaccounted) / sum(read) AS share
FROM range_accounts WHERE $__timeFilter(stored) OR stored >= now() - toIntervalDay(1)
""",
)  # fmt: skip
WHEN = Panel(
    kind="timeseries", title="When did findings happen, and how severe are they?", width=14, bars=True, stacked=True,
    description="By the time of the effect; those taken back left out.", no_value="No findings in this period",
    columns=named_series(SEVERITIES),
    sql=f"""
SELECT $__timeInterval(effect_time) AS time, severity, count() AS findings
{FINDINGS} GROUP BY time, severity ORDER BY time, severity
""",
)  # fmt: skip
PATTERNS = Panel(
    kind="barchart", title="Which patterns occur?", width=10, horizontal=True, stacked=True, columns=named_series(SEVERITIES),
    description="Findings per detector and severity; those below the gate included.", no_value="No findings in this period",
    sql=f"""
SELECT detector, countIf(severity = 'critical') AS critical, countIf(severity = 'high') AS high, countIf(severity = 'medium') AS medium,
    countIf(severity = 'low') AS low
{FINDINGS} GROUP BY detector ORDER BY detector
""",
)  # fmt: skip
OPEN = Panel(
    kind="table", title="Which incidents are there?", width=24, height=9, no_value="No incidents in this period",
    description="Findings of one cause, those with an alert first. An empty name: naming is withheld, and the reason stands beside it. "
    "Dismissed: how many of its findings people labelled false or benign; the name counts them on.",
    columns={
        "severity": Column(colors=SEVERITIES), "what": Column(link=to("incident", finding="${__data.fields.founder}")),
        "named": Column(link=to("entity", kind="identity", entity="${__value.raw}")), "GPU-hours": Column(unit="h", decimals=1),
        "state": Column(colors={"open": RED, "investigating": ORANGE, "contained": YELLOW, "closed": GREEN}),
        "founder": Column(hidden=True),
    },
    sql=f"""
SELECT first_time AS time, severity, title AS what, if(state = '', 'open', state) AS state, assignee, alert, findings,
    dismissed, attempts, exposed, hours_middle AS "GPU-hours", named, withheld, arrayStringConcat(users, ', ') AS victims,
    i.founder AS founder
{CASES} ORDER BY alert DESC, first_time DESC LIMIT 100
""",
)  # fmt: skip
LIST = Panel(
    kind="table", title="Which findings need a look?", width=24, height=9, no_value="No findings in this period",
    description="Newest first, those that people labelled false or benign at the end. Whoever acted is named where an incident names "
    "them; otherwise the reason stands behind what was found.",
    columns={
        "id": Column(link=to("incident", finding="${__data.fields.finding}")), "finding": Column(hidden=True),
        "confidence": Column(unit="percentunit", decimals=0),
        "severity": Column(colors=SEVERITIES), "label": Column(colors=LABEL_COLORS),
        "actor": Column(link=to("entity", kind="identity", entity="${__value.raw}")),
        "owner": Column(link=to("entity", kind="identity", entity="${__value.raw}")), "job": Column(link=to("job", job="${__value.raw}")),
    },
    sql=f"""
SELECT effect_time AS time, severity, detector, job_id AS job, owner, actor, confidence, status, alert,
    concat(if(subject = 'job', '', concat(subject, ' ', subject_name, ': ')), summary,
        multiIf(NOT alert, concat('; below the gate: ', gate), actor = '', concat('; nobody is named: ', actor_withheld), '')) AS what,
    label, left(finding_id, 12) AS id, finding_id AS finding
FROM (SELECT * {TOLD}) AS f {LABELS} ORDER BY alert AND label NOT IN ('false', 'benign') DESC, effect_time DESC LIMIT 200
""",
)  # fmt: skip
RISK = Panel(
    kind="table", title="Which people, hosts and files stand out?", width=12, height=9, no_value="Nobody and nothing", expects_rows=False,
    description="Sum of severity weight (critical 8, high 4, medium 2, low 1) times confidence over the findings above their gate: of "
    "people those in which an incident names them, of hosts those about them, of files those about their bytes. Not whose account was "
    "borrowed: that is done to them; nor by what people labelled false or benign. A reason to look, not a measure of guilt.",
    columns={
        "risk": Column(decimals=1), "name": Column(link=to("entity", kind="${__data.fields.kind}", entity="${__value.raw}")),
    },
    sql=f"""
SELECT entity.1 AS kind, entity.2 AS name, sum({SEVERITY_WEIGHT} * confidence) AS risk, count() AS findings, max(effect_time) AS last
FROM (SELECT severity, confidence, effect_time, [('identity', actor), ('host', if(subject = 'host', subject_name, '')),
    ('artefact', if(anchor LIKE '/%', anchor, ''))] AS entities {TOLD} AND alert AND {NOT_DISMISSED})
ARRAY JOIN entities AS entity WHERE entity.2 != ''
GROUP BY kind, name ORDER BY risk DESC LIMIT 20
""",
)  # fmt: skip
ENDS = Panel(
    kind="barchart", title="Why did jobs end?", width=12, height=9, horizontal=True, stacked=True,
    columns=named_series({"benign": GREEN, "unexplained": YELLOW, "interference": RED}),
    description="Ended attempts by cause.", no_value="No job ended in this period",
    sql=f"""
SELECT cause, countIf(verdict = 'benign') AS benign, countIf(verdict = 'unexplained') AS unexplained,
    countIf(verdict = 'interference') AS interference
FROM verdicts_current WHERE {ENDED} AND {IN_CLUSTER} AND status != 'retracted'
GROUP BY cause ORDER BY count() DESC, cause LIMIT 20
""",
)  # fmt: skip

BOARD = Board(
    name="overview", title="Overview", folder="investigation",
    description="Findings, incidents, what they cost, and whether anything is missing.", variables=(CLUSTER,),
    annotations=(
        Annotation(
            name="Findings that call for action", color="red",
            sql=f"SELECT effect_time AS time, title, summary AS text, [toString(detector), toString(severity)] AS tags "
            f"{FINDINGS} AND alert",
        ),
    ),
    rows=((ALERTS, INCIDENTS, JOBS, COMPLETE), (TIME_TO_DETECT, LOST, MONEY), (WHEN, PATTERNS), (OPEN,), (LIST,), (RISK, ENDS)),
)  # fmt: skip
